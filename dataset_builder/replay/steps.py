"""The most probable course of the lag, recorded frame by recorded frame: dynamic programming in a moving band.

State: lag s, recorded frame r shows played frame r + s. From one recorded frame to the next the lag stays (the rule),
falls by one (the played frame was stored again) or rises by k (k played frames were missed). The course is the one of
least cost, frames' mismatch and changes of lag together (Viterbi 1967), decided with a delay of thousands of frames, so
that memory does not grow with the recording.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .coarse import CHUNK, HOP, Lag
from .response import Response
from .signature import CELLS

BAND = 40  # lags to either side of the coarse one
_BLOCK = HOP
_DECIDED, _HELD = 64, 16  # blocks: how many are traced back at once, and how many of the last may still change
# Costs are in units of log probability. A change of lag needs the evidence of one clear frame; more missed frames in
# one go cost little each. A mismatch counts at most _CAP, so that a flash cannot force a change.
_REPEAT, _MISS, _MISS_MORE, _JUMP = 20.0, 20.0, 0.5, 90.0
_CAP, _OUTSIDE = 60.0, 12.0
_JITTER = 0.15  # frames: standard error of a frame's time, and of the response where it moves
_NEVER = 1e9


@dataclass(frozen=True)
class Course:
    """lag : (R,) of every recorded frame, to the nearest played one; mismatch : (R,) half the squared distance from it
    in standard deviations, less the expectation; NaN where that is unknown, infinite outside the list."""

    lag: NDArray[np.intp]
    mismatch: NDArray[np.float32]


def find_course(
    recorded: NDArray[np.uint16],
    played: NDArray[np.uint16],
    known: NDArray[np.bool_],
    coarse: list[Lag],
    response: Response,
    phase: NDArray[np.float32],
    exposure: NDArray[np.float32],
    unknown: float,
) -> Course:
    """The course of the lag along a whole recording.

    Parameters
    ----------
    recorded, played : (R, CELLS), (P, CELLS) signatures
    known : (P,) whether a played frame's signature is known
    coarse : of :func:`dataset_builder.replay.coarse.track_lags`
    response : of :func:`dataset_builder.replay.response.fit_response`
    phase : (R,) part of a frame by which the recording runs ahead of its lag, sliding with the clocks
    exposure : (R,) of every recorded frame against the others
    unknown : mismatch that unknown played frames are taken to have: that of most others, or clips that look like them
        would be preferred
    """
    count, states = len(recorded), 2 * BAND + 1
    lags = np.empty(count, np.intp)
    mismatch = np.full(count, np.nan, np.float32)
    cost = np.zeros(states, np.float32)
    held: list[_Block] = []
    centres = _centres(recorded, played, known, coarse, response, phase, exposure, unknown)
    starts = np.union1d(np.arange(0, count, _BLOCK), np.flatnonzero(np.diff(centres)) + 1)
    for start, end in zip(starts, [*starts[1:], count]):
        base = int(centres[start]) - BAND
        entry = None
        if held:
            cost, entry = _carried(cost, base - held[-1].base)
        middle = float(phase[(start + end) // 2])
        observed = response.observed(recorded[start:end], exposure[start:end])
        missed = _mismatches(observed, played, known, response, int(start) + base + middle, states)
        block, cost = _forward(missed, int(start), base, unknown, cost, entry)
        held.append(block)
        if len(held) == _DECIDED + _HELD:
            _trace_back(held, int(cost.argmin()), _HELD, lags, mismatch)
            del held[:_DECIDED]
    _trace_back(held, int(cost.argmin()), 0, lags, mismatch)
    return Course(lags + np.rint(phase).astype(np.intp), mismatch)


@dataclass(frozen=True)
class _Block:
    """``origin[t, s]``: state at frame t - 1 that state s at frame t came from; frame -1 is the last of the block
    before, in its own states. ``cells[t, s]``: mismatch."""

    start: int
    base: int
    origin: NDArray[np.int16]
    mismatch: NDArray[np.float32]


def _centres(
    recorded: NDArray[np.uint16],
    played: NDArray[np.uint16],
    known: NDArray[np.bool_],
    coarse: list[Lag],
    response: Response,
    phase: NDArray[np.float32],
    exposure: NDArray[np.float32],
    unknown: float,
) -> NDArray[np.intp]:
    """(R,) the lag in the middle of the band at every recorded frame: the coarse one of its stretch.

    Where that changes by more than the band holds (a pause, a long loss), the change is put at the frame that divides
    best what fits the one lag from what fits the other.
    """
    count = len(recorded)
    centres = np.array([stretch.lag for stretch in coarse], np.intp)
    numbers = np.clip(np.arange(count) // HOP, 0, len(coarse) - 1)
    # What the clocks have slid is the phase's.
    slid = np.rint(phase[np.minimum(np.arange(len(coarse)) * HOP, count - 1)]).astype(np.intp)
    centres = (centres - slid)[numbers]
    for edge in np.flatnonzero(np.abs(np.diff(centres)) > BAND) + 1:
        before, after = int(centres[edge - 1]), int(centres[edge])
        first, end = max(int(edge) - CHUNK, 0), min(int(edge) + CHUNK, count)
        # Only as far as the two lags reach: the stretches beyond have lags of their own.
        while first < edge and centres[first] != before:
            first += 1
        while end > edge and centres[end - 1] != after:
            end -= 1
        observed = response.observed(recorded[first:end], exposure[first:end])
        costs = [
            _emission(_mismatches(observed, played, known, response, first + lag + phase[edge], 1)[:, 0], unknown)
            for lag in (before, after)
        ]
        total = np.concatenate([[0], np.cumsum(costs[0] - costs[1])])
        split = first + int(total.argmin())
        centres[first:split], centres[split:end] = before, after
    return centres


def _carried(cost: NDArray[np.float32], shift: int) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Costs and origins in the states of the next block, whose first lag is higher by ``shift``.

    Where the band itself jumps (a pause, or more frames lost than it holds), any state may be entered from the best.
    """
    states = len(cost)
    best = int(cost.argmin())
    moved = np.full(states, cost[best] + (_JUMP if abs(shift) > BAND else _NEVER), np.float32)
    origin = np.full(states, best, np.int16)
    before = np.arange(states) + shift
    inside = (before >= 0) & (before < states)
    kept = np.full(states, np.inf, np.float32)
    kept[inside] = cost[before[inside]]
    better = kept < moved
    moved[better] = kept[better]
    origin[better] = before[better]
    return moved, origin


def _forward(
    mismatch: NDArray[np.float32],
    start: int,
    base: int,
    unknown: float,
    cost: NDArray[np.float32],
    entry: NDArray[np.int16] | None,
) -> tuple[_Block, NDArray[np.float32]]:
    """One block from the costs before it; ``entry``: origins of those costs in the states of the block before."""
    emission = _emission(mismatch, unknown)
    origin = np.empty(mismatch.shape, np.int16)
    state = np.arange(len(cost))
    slope = (_MISS_MORE * state).astype(np.float32)
    cost = cost - cost.min()
    for t in range(len(emission)):
        # Missed frames: the best of all lower states, dearer by the frame; running minimum and where it stands.
        sloped = cost - slope
        lowest = np.minimum.accumulate(sloped)
        place = np.maximum.accumulate(np.where(sloped <= lowest, state, 0))
        new, origin_t = cost.copy(), state.astype(np.int16)
        missed = lowest[:-1] + slope[1:] + np.float32(_MISS - _MISS_MORE)
        fewer = missed < new[1:]
        new[1:][fewer], origin_t[1:][fewer] = missed[fewer], place[:-1][fewer]
        again = cost[1:] + np.float32(_REPEAT)
        fewer = again < new[:-1]
        new[:-1][fewer], origin_t[:-1][fewer] = again[fewer], state[1:][fewer]
        cost = new + emission[t]
        origin[t] = origin_t if entry is None or t else entry[origin_t]
    return _Block(start, base, origin, mismatch), cost


def _emission(mismatch: NDArray[np.float32], unknown: float) -> NDArray[np.float32]:
    """Costs of mismatches: capped, and what stands for those that cannot be known."""
    costs = np.minimum(np.where(np.isnan(mismatch), np.float32(unknown), mismatch), np.float32(_CAP))
    costs[np.isinf(mismatch)] = _OUTSIDE
    return costs


def _mismatches(
    observed: NDArray[np.float32],
    played: NDArray[np.uint16],
    known: NDArray[np.bool_],
    response: Response,
    first: float,
    states: int,
) -> NDArray[np.float32]:
    """(T, states): half the squared distance of frame t from the played one at ``first + t + state``, less its
    expectation; NaN for unknown played frames, infinite outside their list. Between two of them lies their blend."""
    count = len(observed) + states - 1
    whole = int(np.floor(first))
    share = np.float32(first - whole)
    index = np.arange(whole, whole + count + 1)
    there = (index >= 0) & (index < len(played))
    there[there] = known[index[there]]
    pictures = np.zeros((count + 1, CELLS), np.float32)
    pictures[there] = response.expected(played[index[there]])
    # At the edge of what is known a frame stands for its blend.
    before = np.where(there[:-1, None], pictures[:-1], pictures[1:])
    after = np.where(there[1:, None], pictures[1:], pictures[:-1])
    expected = (1 - share) * before + share * after
    nearest = slice(1, None) if share > 0.5 else slice(None, -1)
    outside = (index[nearest] < 0) | (index[nearest] >= len(played))
    products = observed @ expected.T
    own = (observed**2).sum(axis=1)[:, None] + (expected**2).sum(axis=1)[None, :]
    distance = own - 2 * products
    # An error along the motion is partly one of time: sums of squares under a covariance that holds it (Woodbury).
    change = np.gradient(expected, axis=0) if count > 1 else np.zeros_like(expected)
    power = (change**2).sum(axis=1)
    along = observed @ change.T - (expected * change).sum(axis=1)[None, :]
    distance -= along**2 * (_JITTER**2 / (1 + _JITTER**2 * power))[None, :]
    distance = (distance - CELLS) / 2
    distance[:, ~there[nearest]] = np.nan
    distance[:, outside] = np.inf
    step = distance.strides
    # Row t of the band is columns t .. t + states of row t.
    return np.lib.stride_tricks.as_strided(distance, (len(observed), states), (step[0] + step[1], step[1])).copy()


def _trace_back(
    blocks: list[_Block], state: int, held: int, lags: NDArray[np.intp], mismatch: NDArray[np.float32]
) -> None:
    """Write the course of all blocks but the last ``held``, backwards from the last frame's state."""
    for number in range(len(blocks) - 1, -1, -1):
        block = blocks[number]
        for t in range(len(block.origin) - 1, -1, -1):
            if number < len(blocks) - held:
                lags[block.start + t] = block.base + state
                mismatch[block.start + t] = block.mismatch[t, state]
            state = int(block.origin[t, state])
