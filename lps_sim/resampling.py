"""Weights for shrinking and spreading pictures: area means, triangle means, B-splines.

A picture's pixel i covers [i, i + 1); cells divide its length evenly.
"""

from __future__ import annotations

import numpy as np


def splat_pole(cell_px: float) -> float:
    """Pole of the filter that undoes a triangle mean of half width ``cell_px``, to second order in frequency.

    Sampled at the pixels the triangle has the variance (1 - 1/cell^2) / 6 in cells squared; so has a three-tap mean
    with a = variance / 2 on either side, whose inverse's pole solves a z^2 + (1 - 2 a) z + a = 0.
    """
    a = (1 - 1 / cell_px**2) / 12
    b = (1 - 2 * a) / (2 * a)
    return float(np.sqrt(b * b - 1) - b)


def area_weights(count: int, cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Area means of ``count`` samples in ``cells`` equal cells: first cell, its weight, the next cell's weight."""
    size = count / cells
    edges = np.arange(count + 1) / size
    cell = np.minimum(np.floor(edges[:-1] + 1e-9), cells - 1)
    far = np.clip(edges[1:] - (cell + 1), 0, None)
    far[far < 1e-9] = 0
    near = 1 / size - far
    return cell.astype(np.int32), near.astype(np.float32), far.astype(np.float32)


def splat_weights(count: int, cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangle-weighted means of ``count`` samples around the centres of equal cells, as in :func:`area_weights`.

    Against plain means this lets the square of the fine detail alias. Beyond the edges the samples are mirrored.
    """
    size = count / cells
    position = (np.arange(count) + 0.5) / size - 0.5
    cell = np.clip(np.floor(position + 1e-9), 0, cells - 1).astype(np.int64)
    far = np.where((position < 0) | (cell == cells - 1), 0.0, np.maximum(position - cell, 0.0))
    near = 1 - far
    total = np.zeros(cells + 1)
    np.add.at(total, cell, near)
    np.add.at(total, cell + 1, far)
    far = far / np.where(far > 0, total[cell + 1], 1.0)
    return cell.astype(np.int32), (near / total[cell]).astype(np.float32), far.astype(np.float32)


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
    weights = [(1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3]
    matrix = np.zeros((count, small + 2 * beyond))
    for k, weight in enumerate(weights):
        matrix[np.arange(count), base - 1 + k] = weight / 6
    return matrix


def banded(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First column and taps (rows, K) of a matrix whose rows are non-zero over a short run."""
    used = np.abs(matrix) > 1e-12
    start = used.argmax(axis=1)
    stop = matrix.shape[1] - used[:, ::-1].argmax(axis=1)
    count = int((stop - start).max())
    start = np.minimum(start, matrix.shape[1] - count)
    taps = np.take_along_axis(matrix, start[:, None] + np.arange(count)[None, :], axis=1)
    return start.astype(np.int32), taps.astype(np.float32)
