"""Weights for shrinking and spreading pictures: area means, triangle means, B-splines.

A picture's pixel i covers [i, i + 1); cells divide its length evenly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SPLINE_POLES = {  # of the filters from samples to B-spline coefficients, by order (Unser 1999)
    3: (math.sqrt(3) - 2,),
    5: (
        math.sqrt(135 / 2 - math.sqrt(17745 / 4)) + math.sqrt(105 / 4) - 13 / 2,
        math.sqrt(135 / 2 + math.sqrt(17745 / 4)) - math.sqrt(105 / 4) - 13 / 2,
    ),
}


# Weights of two three-tap means whose product is nearest to sinc^4 up to 0.25 cycles a cell (minimax).
_CUBIC_MEANS = (0.18184147, -0.01642191)


@dataclass(frozen=True)
class Cells:
    """How the pixels of one axis are averaged in cells, seen from either side.

    first (P,) int32, taps (P, K) float32: a pixel's first cell and its weight there and in the next ones;
    start (C,) int32, weights (C, M) float32: a cell's first pixel and the weights of its pixels.
    """

    first: np.ndarray
    taps: np.ndarray
    start: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray) -> Cells:
        """From a matrix (cells, pixels) whose rows are non-zero over a short run that moves on from row to row."""
        return cls(*banded(matrix.T), *banded(matrix))

    @classmethod
    def each(cls, count: int) -> Cells:
        """Every pixel a cell of its own."""
        places, ones = np.arange(count, dtype=np.int32), np.ones((count, 1), np.float32)
        return cls(places, ones, places, ones)

    @property
    def count(self) -> int:
        """How many cells there are."""
        return self.start.size


def splat_poles(cell_px: float, order: int) -> tuple[float, ...]:
    """Poles of the filters that undo the means of :func:`splat_matrix`, one after the other.

    A three-tap mean with the weight a on either side has an inverse whose pole solves a z^2 + (1 - 2 a) z + a = 0. For
    the triangle a is half its variance sampled at pixels, (1 - 1/cell^2) / 6 in cells squared: right to second order in
    frequency. For the cubic B-spline two of them follow its response to 3e-4 up to a quarter of the sampling frequency.
    """
    means = ((1 - 1 / cell_px**2) / 12,) if order == 2 else _CUBIC_MEANS
    centres = [(1 - 2 * a) / (2 * a) for a in means]
    return tuple(float(np.copysign(np.sqrt(b * b - 1), b) - b) for b in centres)


def splat_response(frequency_cps: np.ndarray) -> np.ndarray:
    """What the cubic means and the filters that undo them leave of a frequency (cycles a cell)."""
    cosine = np.cos(2 * np.pi * frequency_cps)
    left = np.sinc(frequency_cps) ** 4
    for a in _CUBIC_MEANS:
        left = left / (1 - 2 * a + 2 * a * cosine)
    return left


def splat_matrix(count: int, cells: int, order: int) -> np.ndarray:
    """(cells, count): means of ``count`` samples around the centres of equal cells, by B-splines as wide as the cells.

    Order 2 is the triangle, 4 the cubic. Plain means let fine detail alias in proportion to its frequency over the
    sampling frequency; these, to that power. Beyond the edges the samples are mirrored.
    """
    position = (np.arange(count) + 0.5) * cells / count - 0.5
    base = np.floor(position + 1e-9).astype(int)
    t = np.clip(position - base, 0, 1)
    if order == 2:
        weights = [1 - t, t]
    else:
        base = base - 1
        weights = _cubic_weights(t)
    matrix = np.zeros((cells, count))
    for k, weight in enumerate(weights):
        cell = np.mod(base + k, 2 * cells)
        np.add.at(matrix, (np.minimum(cell, 2 * cells - 1 - cell), np.arange(count)), weight)
    return matrix / matrix.sum(axis=1, keepdims=True)


def area_matrix(count: int, low: float, high: float, out: int) -> np.ndarray:
    """(out, count): area means of samples over equal boxes of [low, high); linear interpolation where boxes are < 1."""
    box = (high - low) / out
    if box < 1:
        centres = np.clip(low + (np.arange(out) + 0.5) * box - 0.5, 0, count - 1)
        return np.maximum(1 - np.abs(centres[:, None] - np.arange(count)[None, :]), 0)
    left = low + np.arange(out)[:, None] * box
    index = np.arange(count)[None, :]
    return np.clip(np.minimum(index + 1, left + box) - np.maximum(index, left), 0, None) / box


def spline_matrix(count: int, small: int, beyond: int) -> np.ndarray:
    """(count, small + 2 beyond): the cubic B-spline at pixel centres of coefficients that reach beyond the frame."""
    position = (np.arange(count) + 0.5) * small / count - 0.5 + beyond
    base = np.floor(position).astype(int)
    t = position - base
    matrix = np.zeros((count, small + 2 * beyond))
    for k, weight in enumerate(_cubic_weights(t)):
        matrix[np.arange(count), base - 1 + k] = weight
    return matrix


def _cubic_weights(t: np.ndarray) -> list[np.ndarray]:
    """The four values of the cubic B-spline at a fraction ``t`` behind a knot."""
    return [(1 - t) ** 3 / 6, (4 - 6 * t**2 + 3 * t**3) / 6, (1 + 3 * t + 3 * t**2 - 3 * t**3) / 6, t**3 / 6]


def banded(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First column and taps (rows, K) of a matrix whose rows are non-zero over a short run, or zero at either end."""
    used = np.abs(matrix) > 1e-12
    rows = np.flatnonzero(used.any(axis=1))
    start, stop = used.argmax(axis=1), matrix.shape[1] - used[:, ::-1].argmax(axis=1)
    count = int((stop - start)[rows].max())
    start[: rows[0]], start[rows[-1] + 1 :] = start[rows[0]], start[rows[-1]]
    start = np.minimum(start, matrix.shape[1] - count)
    taps = np.take_along_axis(matrix, start[:, None] + np.arange(count)[None, :], axis=1)
    return start.astype(np.int32), taps.astype(np.float32)


def spline_response(frequency_cps: np.ndarray, order: int) -> np.ndarray:
    """Frequency response (cycles a sample) of the sampled cubic or quintic B-spline."""
    cosine = np.cos(2 * np.pi * frequency_cps)
    return (2 + cosine) / 3 if order == 3 else (16 + 13 * cosine + cosine**2) / 30
