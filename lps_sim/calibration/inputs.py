"""What the search for a film sees: every scene's input as a matrix, and its filmed pictures at chosen pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude

from ..seeding import named_rng
from .basis import OperatorBasis
from .observations import FilmedScene, Observations, decimate

Floats = NDArray[np.float64]

MODEL_FLOOR = 0.002  # of y: the law itself is not better than this
PIXELS_A_SCENE = 5000
_FIT_WIDTH = 400  # wider shots are area-averaged: a film blurs more than the pixels that are lost
# Channels of a scene that differ by less than this, smoothed and apart from their gains, show one grey picture.
_NEUTRAL = 0.02


@dataclass
class FitShot:
    """One filmed scene in one channel at the chosen pixels.

    matrix : (P, J) of :class:`OperatorBasis`; path : (P,) way of the unscattered light through a sheet, 1 on the axis
    x, y : (P,) input and filmed light; root_weight : (P,) sqrt(w)
    """

    source: FilmedScene
    matrix: Floats
    path: Floats
    x: Floats
    y: Floats
    root_weight: Floats

    def light(self, coefficients: Floats, ballistic: float) -> Floats:
        """K_N x at the pixels, for a film's coefficients and its unscattered share on the axis."""
        return self.matrix @ coefficients + ballistic**self.path * self.x


def decimation(width: int, height: int) -> int:
    """The smallest common divisor of the sides that brings the width to the fit's, 1 where none does."""
    return next((d for d in range(-(-width // _FIT_WIDTH), 17) if width % d == 0 and height % d == 0), 1)


class SceneInputs:
    """Every scene's input, pixels and matrix, made once: channels of a neutral scene share the matrix.

    A screen that shows grey is one picture in three channels but for their gains; their mean also has less noise.
    """

    def __init__(self, seen: Observations, basis: OperatorBasis, factor: int, seed: int) -> None:
        self._basis = basis
        self._x = {entry.scene: decimate(entry.x, factor) for entry in seen.scenes}
        self._pixels = {scene: _choose_pixels(x.mean(axis=-1), seed, scene) for scene, x in self._x.items()}
        self._matrices: dict[tuple[str, int | None], Floats] = {}

    def of(self, scene: str, channel: int) -> tuple[Floats, Floats, NDArray[np.intp]]:
        """(x at the pixels, matrix, pixels) of one scene in one channel."""
        x, pixels = self._x[scene], self._pixels[scene]
        common = x.mean(axis=-1)
        gains = (x * common[..., None]).sum(axis=(0, 1)) / (common**2).sum()
        smooth = gaussian_filter(x - gains * common[..., None], (2, 2, 0))
        neutral = np.abs(smooth).max() < _NEUTRAL * common.max()
        light, gain, key = (common, gains[channel], None) if neutral else (x[..., channel], 1.0, channel)
        if (scene, key) not in self._matrices:
            self._matrices[scene, key] = self._basis.matrix(light, pixels)
        return gain * light.ravel()[pixels], gain * self._matrices[scene, key], pixels


def _choose_pixels(x: Floats, seed: int, scene: str) -> NDArray[np.intp]:
    """Up to PIXELS_A_SCENE flat indices, half drawn evenly, half where the scene changes: there the core is seen."""
    change = gaussian_gradient_magnitude(x, 2.0)
    chance = 0.5 / x.size + 0.5 * change / max(float(change.sum()), 1e-12)
    rng = named_rng(seed, "pixels", scene)
    return np.sort(rng.choice(x.size, min(PIXELS_A_SCENE, x.size), replace=False, p=(chance / chance.sum()).ravel()))


def fit_shots(seen: Observations, path: Floats, inputs: SceneInputs, channel: int, factor: int) -> list[FitShot]:
    """The channel's shots at the scenes' pixels, the same ones at every layer count; path (H, W) as in FitShot."""
    shots: list[FitShot] = []
    for entry in seen.scenes:
        x, matrix, pixels = inputs.of(entry.scene, channel)
        # An average over pixels of which one is saturated is not known: its variance stays infinite.
        variance = decimate(entry.y_variance[..., channel], factor).ravel()[pixels] / factor**2
        y = decimate(entry.y[..., channel], factor).ravel()[pixels]
        known = np.isfinite(variance)
        weight = 1.0 / (variance[known] + (MODEL_FLOOR * y[known]) ** 2)
        shots.append(FitShot(entry, matrix[known], path.ravel()[pixels[known]], x[known], y[known], np.sqrt(weight)))
    return shots
