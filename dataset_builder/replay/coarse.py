"""How many frames the recording runs behind the played clips, stretch by stretch: correlation of what changes.

Differences between neighbouring frames cancel the veil and all that stands still, and their mean over the frame is
taken off, which cancels automatic exposure. Each is divided by its own size plus a floor, so that a frame counts by the
direction of its change and one cut cannot outvote a hundred frames.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import uniform_filter

from .signature import COLUMNS, ROWS

CHUNK, HOP = 384, 192  # recorded frames correlated as one, and from one such stretch to the next
_NEAR = 512  # lags searched to either side of the neighbouring stretch's
_FAR = 30_000  # and where nothing is known: a thousand seconds at 30 frames a second
_LOST = 6  # stretches without a clear peak after which the search is wide again
_SURE = 9.0  # standard deviations of the other lags' correlations that a peak must stand above them
_SURE_FAR = 12.0
_EXCLUDED = 12  # lags beside a peak that are part of it
_FLOOR = 3.0  # in medians of a frame's change


class Lag(NamedTuple):
    """Recorded frame r shows played frame r + ``lag``; ``sure``: a peak was found here, not carried over."""

    start: int
    lag: int
    sure: bool


def track_lags(recorded: NDArray[np.uint16], played: NDArray[np.uint16], guess: int | None = None) -> list[Lag]:
    """The lag of every stretch of HOP recorded frames, by its middle.

    Parameters
    ----------
    recorded, played : (R, CELLS), (P, CELLS) signatures; arrays or memory maps, read a stretch at a time
    guess : lag to search about first; else every lag within 30,000 frames

    Raises
    ------
    ValueError
        the recording and the clips have nothing in common within the searched lags
    """
    starts = list(range(0, max(len(recorded) - CHUNK, 0) + 1, HOP))
    found: dict[int, int] = {}
    anchor = None
    for number, start in enumerate(starts):
        reach, centre = (_FAR, 0) if guess is None else (_NEAR, guess)
        lag, sureness = _correlate(recorded, played, start, centre, reach)
        if sureness >= (_SURE_FAR if guess is None else _SURE):
            found[number], anchor = lag, number
            break
    if anchor is None:
        where = "30,000 frames" if guess is None else f"{_NEAR} frames of offset {-guess}"
        raise ValueError(
            f"no stretch of the recording matches the played clips within {where}: wrong clips, a wrong MAP, or "
            "nothing that moves"
        )
    for order in (range(anchor + 1, len(starts)), range(anchor - 1, -1, -1)):
        _follow(recorded, played, starts, order, found[anchor], found)
    lags, last = [], found[min(found)]
    for number, start in enumerate(starts):
        last = found.get(number, last)
        lags.append(Lag(start, last, number in found))
    return lags


def _follow(
    recorded: NDArray[np.uint16],
    played: NDArray[np.uint16],
    starts: list[int],
    order: range,
    lag: int,
    found: dict[int, int],
) -> None:
    """Go from stretch to stretch, each searched about the last sure one's lag; widely after some that were not."""
    missed = 0
    for number in order:
        reach = _NEAR if missed < _LOST else _FAR
        nearest, sureness = _correlate(recorded, played, starts[number], lag, reach)
        if sureness >= (_SURE if reach == _NEAR else _SURE_FAR):
            found[number] = lag = nearest
            missed = 0
        else:
            missed += 1


def _correlate(
    recorded: NDArray[np.uint16], played: NDArray[np.uint16], start: int, centre: int, reach: int
) -> tuple[int, float]:
    """The lag of the highest correlation within ``centre`` +- ``reach``, and how far it stands out, in standard
    deviations; (centre, 0) where there is nothing to correlate."""
    chunk = _changes(recorded[start : start + CHUNK])
    first, end = start + centre - reach, start + centre + reach + CHUNK
    inside = slice(max(first, 0), min(end, len(played)))
    if inside.stop - inside.start < 2 or not chunk.any():
        return centre, 0.0
    stretch = _changes(played[inside])
    size = fft.next_fast_len(len(chunk) + len(stretch), real=True)
    spectrum = fft.rfft(stretch, size, axis=0) * fft.rfft(chunk, size, axis=0).conj()
    correlation = fft.irfft(spectrum.sum(axis=1), size)
    # Place k: the chunk's first change beside change k of the stretch; negative ones, at the end, hang over its start.
    correlation = np.roll(correlation, len(chunk))[: len(chunk) + len(stretch)]
    lags = np.arange(len(correlation)) - len(chunk) + inside.start - start
    peak = int(correlation.argmax())
    others = np.abs(np.arange(len(correlation)) - peak) > _EXCLUDED
    spread = correlation[others].std() if others.any() else 0.0
    if not spread > 0:
        return centre, 0.0
    return int(lags[peak]), float((correlation[peak] - correlation[others].mean()) / spread)


def _changes(signatures: NDArray[np.uint16]) -> NDArray[np.float32]:
    """(T - 1, CELLS): change from each frame to the next, spread over neighbouring cells, saturating in size."""
    change = np.diff(np.asarray(signatures, np.float32), axis=0)
    # A recording whose screen does not fill the frame has its cells beside the played ones.
    change = uniform_filter(change.reshape(-1, ROWS, COLUMNS), (1, 3, 3), mode="nearest").reshape(change.shape)
    change -= change.mean(axis=1, keepdims=True)
    energy = np.sqrt((change**2).sum(axis=1, keepdims=True))
    moving = energy[energy > 0]
    return change / (energy + _FLOOR * float(np.median(moving))) if moving.size else change
