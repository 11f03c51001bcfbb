"""Which played frame every recorded frame shows, by the marks beside the clips; no geometry is needed, and no clip.

1. A frame's signature is the mean linear light of a coarse grid of cells, which many layers of film leave over.
2. The codes are found by a matched filter on the signatures' mean, and give the lag at the start, every minute and at
   the end.
3. Where the six pairs of patches lie in the cells is learnt from the training pattern (least squares), what the clips
   scatter into the same cells from the recording itself, and the bits are read by generalised least squares: the best
   linear estimate that the clips disturb least (Capon 1969).
4. The most probable course of the lag is found frame by frame (Viterbi 1967); 3 and 4 are done again with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.signal import fftconvolve

from lps_sim.transfer import eotf_table

from .marks import BITS, CHIP_FRAMES, CLIP, CODES, START, TRAINING, Stretch, patterns, sequence

GRID = (14, 24)  # cells down and across
CELLS = GRID[0] * GRID[1]
FEWEST_CORRELATION = 0.5
_ROUNDS = 3
_BAND = 40  # lags on either side of the one that the codes tell
_REACH = 12  # frames by which the lag may change from one recorded frame to the next, but for jumps
_SLIP, _JUMP = 5.0, 45.0  # costs of a frame lost or doubled (a probability of 0.7 %), and of a change beyond the reach
_CAP = 4.0  # cost of one bit, at most
# A bit counts as uncertain by half its swing at least: a change of the screen under an open shutter leaves any value.
_FEWEST_DEVIATION = 0.5
_CELLS_READ, _FOLD_FRAMES = 72, 32  # cells that bits are read from; frames that are read by what others taught
_LOADING = 1e-3  # of the cells' mean variance
_SURE, _SURE_WINDOW = 0.75, 9  # share of right bits over so many frames below which nothing is said
_NEAR_S, _NEAR_SHARE = 3.0, 0.01  # a code is sought so near where the start code puts it; share of the time since
_FIRST_LAGS = 4


class NoMarksError(ValueError):
    """The recording shows no start code."""


@dataclass(frozen=True)
class FoundCode:
    """A code: ``kind``, the ``recorded`` frame (fractional) that begins it, ``played`` frame that does, and the
    correlation of the recording's brightness with it."""

    kind: str
    recorded: float
    played: int
    correlation: float


@dataclass(frozen=True)
class Marks:
    """What a recording of one run shows.

    Parameters
    ----------
    shown : (R,) played frame of every recorded frame, counted in its run; -1 before, after, and where nothing is sure;
        never falls
    sureness : (R,) share of the bits about it that agree with it, 0..1; NaN where no bits are shown
    dropped : played frames of clips, between the first and the last seen, that no recorded frame shows
    doubled : those that several show
    clock_drift : by how much the recorder's second is longer than the screen's; lost frames do not count where the
        recorder numbers its frames
    codes : those found; the first is the start code
    """

    shown: NDArray[np.intp]
    sureness: NDArray[np.float32]
    dropped: tuple[int, ...]
    doubled: tuple[int, ...]
    clock_drift: float
    codes: tuple[FoundCode, ...]

    @property
    def agreement(self) -> float:
        """Mean of the known sureness; 0 where nothing is."""
        known = self.sureness[~np.isnan(self.sureness)]
        return float(known.mean()) if known.size else 0.0


def signature(codes: NDArray[Any], eotf: str = "srgb") -> NDArray[np.float32]:
    """(CELLS,) mean linear light of the cells of a frame, (H, W, 3) uint8; 1 = full scale.

    Raises ValueError for another type, or fewer pixels than cells.
    """
    if codes.dtype != np.uint8 or codes.ndim != 3 or codes.shape[0] < GRID[0] or codes.shape[1] < GRID[1]:
        raise ValueError(f"codes must be uint8 (H, W, 3) of at least {GRID} px, got {codes.dtype} {codes.shape}")
    light = eotf_table(eotf, 8).astype(np.float32)[codes].mean(axis=2)
    edges = [np.arange(count) * side // count for count, side in zip(GRID, light.shape)]
    sums = np.add.reduceat(np.add.reduceat(light, edges[0], axis=0), edges[1], axis=1)
    areas = [np.diff(np.append(starts, side)) for starts, side in zip(edges, light.shape)]
    mean: NDArray[np.float32] = (sums / np.outer(*areas)).astype(np.float32).ravel()
    return mean


def read_marks(
    signatures: NDArray[np.float32], times: NDArray[np.float64], stretches: Sequence[Stretch], fps: float
) -> Marks:
    """Find which played frame every recorded frame shows.

    Parameters
    ----------
    signatures : (R, CELLS) of :func:`signature`
    times : (R,) seconds by the recorder's own clock, rising; a gap says that frames were lost, none says nothing
    stretches : what was played
    fps : played frames a second

    Raises
    ------
    NoMarksError
        no start code in it
    ValueError
        arrays of other shapes, or times that do not rise
    """
    signatures, times = np.asarray(signatures, np.float32), np.asarray(times, np.float64)
    if signatures.ndim != 2 or times.shape != (len(signatures),):
        raise ValueError(f"signatures must be (R, cells) and times (R,), got {signatures.shape} and {times.shape}")
    if len(times) < 2 or not (np.diff(times) > 0).all():
        raise ValueError(f"times must be at least two and rise from frame to frame, got {len(times)}")
    brightness = signatures.mean(axis=1)
    codes = _find_codes(brightness, times, stretches, fps)
    table = patterns(stretches)
    base = _base(codes, times, fps)
    step = np.diff(times, prepend=times[0]) * fps
    bits = _BitReader(signatures, table, stretches, _levels(brightness, codes[0], times, fps))
    path = base + bits.first_lag(base)
    for _ in range(_ROUNDS):
        costs = _costs(bits.read(path), table, base)
        path = _most_probable(costs, base, step)
    return _marks(path, bits.read(path), table, _of_clips(stretches), codes, times, fps)


def _of_clips(stretches: Sequence[Stretch]) -> NDArray[np.bool_]:
    """(P,) which played frames belong to a clip."""
    inside = np.zeros(stretches[-1].end, np.bool_)
    for stretch in stretches:
        inside[stretch.first : stretch.end] = stretch.kind == CLIP
    return inside


def _find_codes(
    brightness: NDArray[np.float32], times: NDArray[np.float64], stretches: Sequence[Stretch], fps: float
) -> tuple[FoundCode, ...]:
    """The start code anywhere, the others near where it puts them."""
    period = float(np.median(np.diff(times)))
    grid = times[0] + period * np.arange(round((times[-1] - times[0]) / period) + 1)
    even = brightness[np.clip(np.searchsorted(times, grid + period / 2) - 1, 0, len(times) - 1)].astype(np.float64)
    found: list[FoundCode] = []
    for stretch in (one for one in stretches if one.kind in CODES):
        chips = (np.arange(round(stretch.frames / fps / period)) + 0.5) * period * fps / CHIP_FRAMES
        score = _correlations(even, sequence(stretch.kind)[chips.astype(int)].astype(np.float64))
        if stretch.kind == START:
            if not score.size or score.max() < FEWEST_CORRELATION:
                best = f"{score.max():.2f}" if score.size else "none: too short"
                raise NoMarksError(
                    f"no start code in {len(times)} recorded frames (best correlation {best}, needed "
                    f"{FEWEST_CORRELATION:g}): is the whole screen in the picture, and was it recorded from the start?"
                )
            place = int(score.argmax())
        else:
            since = (stretch.first - found[0].played) / fps
            expected = (_time_of(found[0].recorded, times) - grid[0] + since) / period
            near = (_NEAR_S + _NEAR_SHARE * since) / period
            low, high = (int(np.clip(expected + side * near, 0, len(score))) for side in (-1, 1))
            if high <= low or score[low:high].max() < FEWEST_CORRELATION:
                continue
            place = low + int(score[low:high].argmax())
        recorded = float(np.interp(grid[place], times, np.arange(len(times))))
        found.append(FoundCode(stretch.kind, recorded, stretch.first, float(score[place])))
    return tuple(found)


def _correlations(signal: NDArray[np.float64], template: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's correlation of the template with every piece of the signal."""
    count = len(template)
    if len(signal) < count:
        return np.empty(0)
    centred = template - template.mean()
    products = fftconvolve(signal - signal.mean(), centred[::-1], "valid")
    sums = np.cumsum(np.concatenate([[0.0], signal]))
    squares = np.cumsum(np.concatenate([[0.0], signal**2]))
    spread = (squares[count:] - squares[:-count]) - (sums[count:] - sums[:-count]) ** 2 / count
    # Pieces that stand still have no correlation; rounding must not give them one.
    floor = 1e-6 * max(float(spread.max()), 1e-12)
    scores: NDArray[np.float64] = np.where(
        spread > floor, products / np.sqrt(np.maximum(spread, floor) * (centred**2).sum()), 0.0
    )
    return scores


def _time_of(frame: float, times: NDArray[np.float64]) -> float:
    return float(np.interp(frame, np.arange(len(times)), times))


def _base(codes: Sequence[FoundCode], times: NDArray[np.float64], fps: float) -> NDArray[np.intp]:
    """(R,) played frames as the codes alone tell them, between them and beyond them by the clock."""
    at = np.array([_time_of(code.recorded, times) for code in codes])
    played = np.array([code.played for code in codes], np.float64)
    between = np.interp(times, at, played)
    before, after = times < at[0], times > at[-1]
    between[before] = played[0] + (times[before] - at[0]) * fps
    between[after] = played[-1] + (times[after] - at[-1]) * fps
    base: NDArray[np.intp] = np.rint(between).astype(np.intp)
    return base


def _levels(
    brightness: NDArray[np.float32], start: FoundCode, times: NDArray[np.float64], fps: float
) -> NDArray[np.float32]:
    """(R,) brightness with the start code's black at -1 and its white at +1."""
    begin = _time_of(start.recorded, times)
    end = begin + CHIP_FRAMES * len(sequence(START)) / fps
    inside = brightness[(times >= begin) & (times < end)]
    low, high = np.quantile(inside, (0.15, 0.85))
    levels: NDArray[np.float32] = (2 * (brightness - low) / max(float(high - low), 1e-9) - 1).astype(np.float32)
    return levels


class _BitReader:
    """Estimates of the six bits and the brightness of every recorded frame, by what a course says is shown."""

    def __init__(
        self,
        signatures: NDArray[np.float32],
        table: NDArray[np.float32],
        stretches: Sequence[Stretch],
        levels: NDArray[np.float32],
    ) -> None:
        self._signatures, self._table, self._levels = signatures, table, levels
        training = next(stretch for stretch in stretches if stretch.kind == TRAINING)
        self._trained = (training.first, training.end)

    def first_lag(self, base: NDArray[np.intp]) -> int:
        """The lag by which the training pattern explains the cells best."""
        lags = range(-_FIRST_LAGS, _FIRST_LAGS + 1)
        return min(lags, key=lambda lag: self._learn(base + lag)[1])

    def read(self, path: NDArray[np.intp]) -> NDArray[np.float32]:
        """(R, 7) estimates, +1 and -1 where a bit is clear."""
        weights = self._learn(path)[0]
        nearest = np.sort(np.argsort(-(weights**2).sum(axis=0))[:_CELLS_READ])
        weights, cells = weights[:, nearest], self._signatures[:, nearest].astype(np.float64)
        shown = _rows(self._table, path)[:, :BITS]
        # What is left of the cells without the bits that the course says: clips, black, noise.
        rest = cells - np.nan_to_num(shown) @ weights
        estimates = np.empty((len(cells), BITS))
        fold = np.arange(len(cells)) // _FOLD_FRAMES % 2
        for number in (0, 1):
            # Learnt from other frames than are read, or a wrong course would confirm itself.
            others = rest[(fold != number) & ~np.isnan(shown[:, 0])]
            others = others if len(others) > _CELLS_READ else rest[~np.isnan(shown[:, 0])]
            covariance = np.cov(others, rowvar=False)
            covariance[np.diag_indices_from(covariance)] += _LOADING * covariance.trace() / len(covariance) + 1e-12
            filters = cho_solve(cho_factor(covariance), weights.T)
            gain = np.linalg.pinv(weights @ filters)
            estimates[fold == number] = (cells[fold == number] - others.mean(axis=0)) @ filters @ gain
        return np.column_stack([estimates, self._levels]).astype(np.float32)

    def _learn(self, path: NDArray[np.intp]) -> tuple[NDArray[np.float64], float]:
        """What one bit adds to the cells, (6, CELLS), and the share of the cells' changes that it leaves over."""
        inside = np.flatnonzero((path >= self._trained[0]) & (path < self._trained[1]))
        if len(inside) < 4 * BITS:
            raise NoMarksError(f"only {len(inside)} recorded frames show the training pattern; too many were lost")
        bits = self._table[path[inside], :BITS].astype(np.float64)
        cells = self._signatures[inside].astype(np.float64)
        bits, cells = bits - bits.mean(axis=0), cells - cells.mean(axis=0)
        weights = np.linalg.lstsq(bits, cells, rcond=None)[0]
        share = float(((cells - bits @ weights) ** 2).sum() / max((cells**2).sum(), 1e-30))
        return weights, share


def _rows(table: NDArray[np.float32], played: NDArray[np.intp]) -> NDArray[np.float32]:
    """Rows of the table; beyond its ends the screen is dark."""
    rows = table[np.clip(played, 0, len(table) - 1)]
    rows[(played < 0) | (played >= len(table))] = [np.nan] * BITS + [-1.0]
    return rows


def _costs(estimates: NDArray[np.float32], table: NDArray[np.float32], base: NDArray[np.intp]) -> NDArray[np.float32]:
    """(R, lags) cost of every lag about the base: squared distances of the bits, each capped; what is not shown costs
    as much as bits that cannot be read."""
    costs = np.empty((len(base), 2 * _BAND + 1), np.float32)
    unknown = BITS * _CAP / 4
    scale = np.float32(1 / (2 * _FEWEST_DEVIATION**2))
    for state in range(2 * _BAND + 1):
        rows = _rows(table, base + state - _BAND)
        distance = np.minimum((estimates - rows) ** 2 * scale, np.float32(_CAP))
        known = ~np.isnan(rows)
        lone = known[:, BITS] * np.float32(BITS)  # the whole screen counts as all of the strip
        costs[:, state] = np.where(known[:, 0], np.nansum(distance[:, :BITS], axis=1), unknown)
        costs[:, state] = np.where(lone > 0, np.nan_to_num(distance[:, BITS]) * lone, costs[:, state])
    return costs


def _most_probable(costs: NDArray[np.float32], base: NDArray[np.intp], step: NDArray[np.float64]) -> NDArray[np.intp]:
    """(R,) played frames of the cheapest course that never goes back."""
    count, states = costs.shape
    origin = np.empty((count, states), np.int16)
    total, state = costs[0].copy(), np.arange(states)
    offsets = np.arange(-_REACH, _REACH + 1)  # origin less state
    moved = np.diff(base, prepend=base[0])
    padded = np.full(states + 2 * _REACH, np.inf, np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _REACH + 1)
    for t in range(1, count):
        advance = moved[t] - offsets
        penalty = np.where(advance >= 0, np.minimum(_SLIP * np.abs(advance - step[t]), _JUMP), np.inf)
        total -= total.min()
        padded[_REACH:-_REACH] = total
        entered = windows + penalty.astype(np.float32)
        best = entered.argmin(axis=1)
        total_t = entered[state, best]
        from_state = state + best - _REACH
        # A jump enters from the best of all the states that lie behind.
        lowest = int(total.argmin())
        jump = total[lowest] + np.float32(_JUMP)
        far = (jump < total_t) & (moved[t] + state - lowest >= 0)
        from_state = np.where(far, lowest, from_state)
        total = np.where(far, jump, total_t) + costs[t]
        origin[t] = from_state
    path = np.empty(count, np.intp)
    at = int(total.argmin())
    for t in range(count - 1, -1, -1):
        path[t] = at
        at = int(origin[t, at])
    return base + path - _BAND


def _marks(
    path: NDArray[np.intp],
    estimates: NDArray[np.float32],
    table: NDArray[np.float32],
    of_clips: NDArray[np.bool_],
    codes: tuple[FoundCode, ...],
    times: NDArray[np.float64],
    fps: float,
) -> Marks:
    rows = _rows(table, path)[:, :BITS]
    known = ~np.isnan(rows[:, 0])
    right = ((estimates[:, :BITS] > 0) == (rows > 0)).mean(axis=1)
    share = _running_mean(np.where(known, right, 0.0)) / np.maximum(_running_mean(known.astype(float)), 1e-9)
    sureness = np.where(known, share, np.nan).astype(np.float32)
    inside = (path >= 0) & (path < len(table))
    shown = np.where(inside & ~(known & (share < _SURE)), path, -1)
    matched = np.flatnonzero(shown >= 0)
    counts = np.bincount(shown[matched], minlength=len(table))
    seen = np.flatnonzero(counts)
    between = np.zeros(len(table), np.bool_)
    if seen.size:
        between[seen[0] : seen[-1]] = True
    dropped = tuple(map(int, np.flatnonzero(between & of_clips & (counts == 0))))
    doubled = tuple(map(int, np.flatnonzero(of_clips & (counts > 1))))
    counted = matched[known[matched]]
    drift = 0.0
    if len(counted) > 1:
        drift = float(np.polyfit(times[counted] - times[counted[0]], shown[counted], 1)[0]) / fps - 1
    return Marks(shown, sureness, dropped, doubled, drift, codes)


def _running_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.convolve(values, np.full(_SURE_WINDOW, 1 / _SURE_WINDOW), "same")
    return mean
