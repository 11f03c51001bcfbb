"""What the recording makes of the played picture: a linear map from its cells to the recorded ones, and its errors.

Film scatters light linearly, so in linear light each recorded cell is a weighted sum of the played ones plus a constant
(veil, black bars). Weights and errors are fitted to an alignment that may still be wrong by frames here and there. The
errors' covariance makes distances count: errors shared by many cells (a veil that grows, automatic exposure) count
little, and noise as what it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from .signature import CELLS, COLUMNS, FULL_SCALE, ROWS

Floats = NDArray[np.float32]

_RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # relative to the mean variance of a played cell
_BLURS = (0.0, 0.7, 1.5, 4.0)  # in cells
_BLOCK = 64  # neighbouring frames are alike: folds are made of blocks
_GAIN_SPREAD, _VEIL_SPREAD = 0.1, 0.02  # of the recorded light: exposure and veil that may change at any time
_LINEAR = 0.003  # of the recorded contrast: how well a recording is a linear map of cells even without noise
_INDEPENDENT = 0.3  # of the median variance of the errors along their principal axes


@dataclass(frozen=True)
class Response:
    """Played and recorded signatures as vectors of unit error variance, comparable by their distance.

    weights : (CELLS, CELLS) played cell (less its mean) to whitened recorded cell
    whitener : (CELLS, CELLS) recorded cell to whitened one
    played_mean, recorded_mean : (CELLS,)
    light : (CELLS,) played cell (less its mean) to the mean light of the recorded frame (less its mean)
    """

    weights: Floats
    whitener: Floats
    played_mean: Floats
    recorded_mean: Floats
    light: Floats

    def expected(self, played: NDArray[np.uint16]) -> Floats:
        """(T, CELLS) whitened signatures that these played frames should give."""
        return (np.asarray(played, np.float32) / np.float32(FULL_SCALE) - self.played_mean) @ self.weights

    def observed(self, recorded: NDArray[np.uint16], exposure: Floats) -> Floats:
        """(T, CELLS) whitened signatures of recorded frames taken at these (T,) relative exposures."""
        light = np.asarray(recorded, np.float32) / (np.float32(FULL_SCALE) * exposure[:, None])
        return (light - self.recorded_mean) @ self.whitener

    def exposures(self, played: NDArray[np.uint16], recorded: NDArray[np.uint16]) -> Floats:
        """(T,) mean light of recorded frames over that which these played frames should give."""
        expected = (np.asarray(played, np.float32) / np.float32(FULL_SCALE) - self.played_mean) @ self.light
        expected += self.recorded_mean.mean()
        ratio: Floats = np.asarray(recorded, np.float32).mean(axis=1) / np.float32(FULL_SCALE)
        return ratio / np.maximum(expected, np.float32(1 / FULL_SCALE))


def fit_response(played: NDArray[np.uint16], recorded: NDArray[np.uint16], exposure: Floats) -> Response:
    """Fit to (T, CELLS) signatures of played frames and of the recorded frames, at (T,) exposures, that show them.

    All cells are blurred alike, as far as that explains the recording, and the rest is a ridge regression cell by
    cell. The ridge is the one that predicts blocks of frames best that it was not fitted to; the errors are those of
    that prediction.
    """
    x, y = (np.asarray(frames, np.float64) / FULL_SCALE for frames in (played, recorded))
    y /= exposure[:, None]
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    x, y = x - x_mean, y - y_mean
    contrast = float(y.std())
    blur = _common_blur(x, y)
    y = y - x @ blur
    fold = np.arange(len(x)) // _BLOCK % 2 == 0
    halves = [(x[part], y[part]) for part in (fold, ~fold)] if fold.any() and not fold.all() else [(x, y), (x, y)]
    scale = float((x**2).mean()) or 1.0
    trials = [_held_out(halves, ridge * scale) for ridge in _RIDGES]
    best = int(np.argmin([np.trace(errors) for errors in trials]))
    errors, weights = trials[best], blur + _ridge(x, y, _RIDGES[best] * scale)
    light = float(y_mean.mean())
    # Errors that few frames have shown are not taken for none: each cell has a share of its own of the typical one.
    typical = float(np.median(np.linalg.eigvalsh(errors)))
    lowest = (_LINEAR * contrast) ** 2 + (1.0 / FULL_SCALE) ** 2
    errors += max(_INDEPENDENT * typical, lowest) * np.eye(CELLS)
    errors += _GAIN_SPREAD**2 * np.outer(y_mean, y_mean) + (_VEIL_SPREAD * light) ** 2
    whitener = np.linalg.cholesky(np.linalg.inv(errors))
    single = (weights @ whitener, whitener, x_mean, y_mean, weights.mean(axis=1))
    return Response(*(array.astype(np.float32) for array in single))


def _common_blur(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(CELLS, CELLS) weights of one sum of blurs for all cells: what is expected where nothing ever moved."""
    cells = np.eye(CELLS).reshape(CELLS, ROWS, COLUMNS)
    blurs = [gaussian_filter(cells, (0, width, width), mode="nearest").reshape(CELLS, CELLS) for width in _BLURS]
    blurs.append(np.full((CELLS, CELLS), 1 / CELLS))
    columns = [x @ blur for blur in blurs]
    normal = np.array([[np.vdot(one, other) for other in columns] for one in columns])
    shares = np.linalg.lstsq(normal, np.array([np.vdot(column, y) for column in columns]), rcond=None)[0]
    return sum(share * blur for share, blur in zip(shares, blurs))


def _ridge(x: NDArray[np.float64], y: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    solved: NDArray[np.float64] = np.linalg.solve(x.T @ x / len(x) + ridge * np.eye(CELLS), x.T @ y / len(x))
    return solved


def _held_out(halves: list[tuple[NDArray[np.float64], NDArray[np.float64]]], ridge: float) -> NDArray[np.float64]:
    """Covariance of the errors on each half of the weights fitted to the other."""
    total = np.zeros((CELLS, CELLS))
    for (x, y), (x_other, y_other) in (halves, halves[::-1]):
        errors = y_other - x_other @ _ridge(x, y, ridge)
        total += errors.T @ errors / len(errors) / 2
    return total
