"""Exposure brackets -> one linear picture with its variance (Debevec & Malik 1997; Robertson et al. 1999)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..camera import Camera
from ..transfer import eotf_table
from .shots import SATURATED_SHARE

Floats = NDArray[np.float64]

_NEAR_SATURATION = 0.85  # of full scale: ten standard deviations of shot noise below where codes are dropped
_SMOOTH_PX = 2.0


@dataclass(frozen=True)
class Merged:
    """Linear irradiance of one scene at one layer count.

    Parameters
    ----------
    mean : (H, W, ...) in units of the camera's full scale at exposure 1; where every exposure saturates, the largest
        value that the shortest one can tell (a lower bound)
    variance : same shape; infinite where every exposure saturates
    """

    mean: Floats
    variance: Floats

    @property
    def saturated_share(self) -> float:
        """Share of the pixels that no exposure holds."""
        return float(np.isinf(self.variance).mean())


def variance(camera: Camera, irradiance: Floats, exposure: float, recorded: Camera | None = None) -> Floats:
    """Variance of one shot's irradiance: shot and read noise, fixed pattern and quantisation.

    Parameters
    ----------
    camera : full well, read noise, PRNU, EOTF and bits; its own ``exposure`` is not used
    irradiance : any shape, linear, in units of full scale at exposure 1
    exposure : of the shot
    recorded : camera of the single frames where a picture is the mean of several: their rounding is in the noise where
        noise dithers it, and stays as an error of the mean where it does not
    """
    signal = np.clip(irradiance * exposure, 0.0, 1.0)
    rounding = code_step(camera, signal) ** 2 / 12.0 if recorded is None else undithered(recorded, signal) ** 2 / 2.0
    total = camera.temporal_variance(signal) + (camera.prnu * signal) ** 2 + rounding
    return total / exposure**2


def code_step(camera: Camera, signal: Floats) -> Floats:
    """Light between neighbouring codes at a linear signal, any shape."""
    table = eotf_table(camera.transfer, camera.bits).astype(float)
    return np.interp(signal, table, np.gradient(table))


def undithered(camera: Camera, signal: Floats) -> Floats:
    """Largest error of a mean of rounded codes that noise does not dither: step / pi exp(-2 pi^2 sd^2 / step^2).

    The first harmonic of the rounding error against light, which Gaussian noise damps (Widrow & Kollar 2008).
    """
    step = code_step(camera, signal)
    damped: Floats = step / np.pi * np.exp(-2 * np.pi**2 * camera.temporal_variance(signal) / step**2)
    return damped


def merge_bracket(
    codes: Sequence[NDArray[Any]], exposures: Sequence[float], camera: Camera, recorded: Camera | None = None
) -> Merged:
    """Merge shots of one scene: inverse-variance mean of the unsaturated ones.

    Neither weights nor choices follow a pixel's own noise, which would pull the mean: the variances come from a first,
    exposure-weighted mean, smoothed; and an exposure is left out where the shorter ones say that it comes near
    saturation, not only where its noise did reach it.

    Parameters
    ----------
    codes : arrays of one shape (H, W, ...), code values
    exposures : one each, > 0
    camera, recorded : as in :func:`variance`

    Raises
    ------
    ValueError
        no shots, or shapes that differ
    """
    if not codes or len(codes) != len(exposures):
        raise ValueError(f"merge needs one exposure a shot and at least one shot, got {len(codes)}, {len(exposures)}")
    if len({np.shape(array) for array in codes}) != 1:
        raise ValueError(f"shots of one scene must have one shape, got {[np.shape(array) for array in codes]}")
    limit = SATURATED_SHARE * camera.max_code
    light = [camera.decode(array).astype(float) / exposure for array, exposure in zip(codes, exposures)]
    valid = [np.asarray(array) < limit for array in codes]
    shortest = int(np.argmin(exposures))
    for index in np.argsort(exposures)[1:]:
        shorter = [k for k in range(len(codes)) if exposures[k] < exposures[index]]
        if shorter:
            expected = _mean([light[k] for k in shorter], [valid[k] * exposures[k] for k in shorter])
            told = np.any([valid[k] for k in shorter], axis=0)
            valid[index] = valid[index] & (~told | (expected * exposures[index] < _NEAR_SATURATION))

    weight: list[Any] = [ok * exposure for ok, exposure in zip(valid, exposures)]
    first = _smooth(_mean(light, weight))
    weight = [ok / variance(camera, first, exposure, recorded) for ok, exposure in zip(valid, exposures)]
    mean, total = _mean(light, weight), np.sum(weight, axis=0)
    none = total == 0
    mean = np.where(none, light[shortest], mean)
    return Merged(mean, np.where(none, np.inf, 1.0 / np.where(none, 1.0, total)))


def _smooth(picture: Floats) -> Floats:
    """The picture without its pixel noise, (H, W, ...); a single row or value stays as it is."""
    if picture.ndim < 2:
        return picture
    return gaussian_filter(picture, (_SMOOTH_PX, _SMOOTH_PX, *[0] * (picture.ndim - 2)), mode="nearest")


def _mean(values: Sequence[Floats], weights: Sequence[Any]) -> Floats:
    total = np.sum(weights, axis=0)
    weighted = np.sum([value * weight for value, weight in zip(values, weights)], axis=0)
    return weighted / np.where(total > 0, total, 1.0)
