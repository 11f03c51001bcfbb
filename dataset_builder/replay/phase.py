"""The part of a frame by which a recording runs ahead of whole played frames, sliding as the two clocks do.

A shutter that is open while the screen changes records both pictures. How much of the second one follows from the
motion, and, a frame more or less being a matter of the lag, counts as an angle: averaged over seconds and unwound, it
leaves the lag to change only where frames are lost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from .response import Response
from .steps import Course

_RUN = 64  # frames that give one angle
_SMOOTH = 4.0  # runs: standard deviation of the average along the recording
_CUT = 20.0  # times the median power of change: a cut, whose blend is no motion


def find_phase(
    recorded: NDArray[np.uint16],
    played: NDArray[np.uint16],
    known: NDArray[np.bool_],
    course: Course,
    response: Response,
    exposure: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(R,) phase in frames, unwound along the recording; about 0 at its start, whole frames belonging to the lag."""
    count = len(recorded)
    starts = range(0, count, _RUN)
    runs = []
    for start in starts:
        here = slice(start, start + _RUN)
        observed = response.observed(recorded[here], exposure[here])
        runs.append(_run(observed, played, known, start + course.lag[here], response))
    powers = np.concatenate([power for _, power in runs])
    limit = _CUT * float(np.median(powers)) if powers.size else 0.0
    moments = np.array([[(along[power <= limit]).sum(), power[power <= limit].sum()] for along, power in runs])
    ahead = moments[:, 0] / np.maximum(moments[:, 1], 1e-9)
    vectors = moments[:, 1] * np.exp(2j * np.pi * ahead)
    smooth = gaussian_filter1d(vectors.real, _SMOOTH) + 1j * gaussian_filter1d(vectors.imag, _SMOOTH)
    phases = np.unwrap(np.angle(smooth)) / (2 * np.pi)
    middles = np.arange(len(phases)) * _RUN + _RUN / 2
    return np.interp(np.arange(count), middles, phases).astype(np.float32)


def _run(
    observed: NDArray[np.float32],
    played: NDArray[np.uint16],
    known: NDArray[np.bool_],
    first: NDArray[np.intp],
    response: Response,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of every frame whose neighbours are known: error times change, and change squared."""
    index = first + np.arange(len(first))
    inside = (index > 0) & (index < len(played) - 1)
    for step in (-1, 0, 1):
        inside[inside] = known[index[inside] + step]
    if not inside.any():
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    place = index[inside]
    before, here, after = (response.expected(played[place + step]) for step in (-1, 0, 1))
    change = (after - before) / 2
    error = observed[inside] - here
    return (error * change).sum(axis=1), (change**2).sum(axis=1)
