"""The camera's response curve from exposure brackets: linear light for every code.

    code = f(exposure x irradiance),   ln f^-1(code) = ln irradiance + ln exposure

Every pixel seen at two or more exposures ties two codes together; smoothness does the rest (Debevec & Malik 1997, least
squares on the logarithm; Robertson et al. 1999, alternating means). The scale is free: 1 is the largest code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from ..camera import MEASURED, Camera
from ..errors import UnknownNameError
from ..seeding import named_rng
from .shot_validation import SATURATED_SHARE, is_grey
from .shots import Shot, ShotSet

Floats = NDArray[np.float64]
METHODS = ("debevec", "robertson")

_CODES = 256
# Least squares on every pixel would not fit in memory; these cover the codes evenly.
_SAMPLES = {"debevec": 900, "robertson": 40_000}
_SMOOTHNESS = 200.0  # Debevec's lambda: of the second derivative, against one unit a sample
_ROBERTSON_STEPS = 100
_ROBERTSON_EXPOSURES = 4
# Codes from here on are well measured; below, the logarithm of few noisy codes is not, and the curve is drawn to 0.
_TOE = 8
_SMOOTH_CODES = 2.0
_LEAST_STEP = 1e-7


@dataclass(frozen=True)
class MeasuredResponse:
    """A response curve and how well pixels repeat under it.

    response : (256,) linear light of equally spaced codes, rising from 0 to 1
    relative_sd : (256,) standard deviation of one pixel's light at each code against the same pixel's mean over the
        exposures, relative; NaN where a code was not seen twice
    pixels, exposures : that it rests on
    """

    response: Floats
    relative_sd: Floats
    pixels: int
    exposures: int

    @property
    def median_sd(self) -> float:
        """The median of relative_sd over the codes seen."""
        return float(np.nanmedian(self.relative_sd)) if np.isfinite(self.relative_sd).any() else float("nan")

    def camera(self, camera: Camera) -> Camera:
        """The camera with this curve in the place of its transfer function."""
        return replace(camera, eotf=MEASURED, response=tuple(float(f"{value:.8g}") for value in self.response))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields; null where a code was not seen."""
        sd = [None if np.isnan(value) else float(value) for value in self.relative_sd]
        return {
            "pixels": self.pixels,
            "exposures": self.exposures,
            "response": self.response.tolist(),
            "relative_sd": sd,
        }


def measure_response(
    codes: Sequence[NDArray[Any]],
    exposures: Sequence[float],
    method: str = "debevec",
    max_code: int | None = None,
) -> MeasuredResponse:
    """The response curve from one bracket: the same light at several exposures.

    Parameters
    ----------
    codes : arrays of one shape (H, W) or (H, W, C), uint8 or uint16; every channel counts as further pixels
    exposures : one each, > 0, relative and linear, at least two different ones
    method : "debevec", or "robertson" for four exposures or more in steps of at most two
    max_code : the largest code; default 255 or 65535 by type

    Returns
    -------
    the curve at 256 equally spaced codes, smoothed and made to rise, with its scatter

    Raises
    ------
    UnknownNameError
        another method
    ValueError
        fewer than two exposures, exposures out of range, shapes that differ, too few codes covered

    Notes
    -----
    OpenCV's estimators work on 8 bits: codes of more bits are taken in 256 steps.
    """
    if method not in METHODS:
        raise UnknownNameError("method", str(method), METHODS)
    times = np.asarray(exposures, dtype=float)
    if len(codes) != times.size or np.unique(times).size < 2 or not (times > 0).all():
        raise ValueError(f"exposures must be > 0, one a picture, at least two different, got {times.tolist()}")
    if len({np.shape(one) for one in codes}) != 1:
        raise ValueError(f"codes must have one shape, got {[np.shape(one) for one in codes]}")
    steps_between = np.diff(np.log2(np.unique(times)))
    if method == "robertson" and (steps_between.size + 1 < _ROBERTSON_EXPOSURES or steps_between.max() > 1.01):
        raise ValueError(
            f"robertson needs {_ROBERTSON_EXPOSURES} exposures or more, each at most twice the one before, got "
            f"{times.tolist()}; with fewer, codes an exposure ratio apart are tied to each other alone: use debevec"
        )
    top = max_code or (255 if np.asarray(codes[0]).dtype == np.uint8 else 65535)
    order = np.argsort(times)
    times = times[order]
    stack = np.stack([np.asarray(codes[i]).ravel() for i in order]).astype(np.float64) / top
    seen = ((stack > _TOE / 255) & (stack < SATURATED_SHARE)).sum(axis=0)
    stack = stack[:, seen >= 2]
    steps = np.rint(stack * (_CODES - 1)).astype(np.uint8)
    covered = np.unique(steps)
    if covered.size < 32:
        raise ValueError(
            f"codes must cover 32 of 256 steps unsaturated at two exposures, got {covered.size}; "
            "bracket a step wedge or a filmed edge by a factor of 2 to 8"
        )
    chosen = steps[:, _spread(steps, _SAMPLES[method])]
    curve = _tidy(_estimate(chosen, times, method))
    return MeasuredResponse(curve, _scatter(curve, stack, times), int(stack.shape[1]), int(times.size))


def measure_set_response(shot_set: ShotSet, method: str = "debevec") -> MeasuredResponse:
    """The response curve from a set's brackets of role fit: those of the exposure ratios that most pictures share.

    Only ratios count, so that brackets of different scenes and layer counts stand side by side as one picture.

    Raises ValueError where the set has no bracket, and as :func:`measure_response`.
    """
    groups: dict[tuple[str, int], list[Shot]] = {}
    for shot in shot_set.shots:
        if shot.role == "fit" and shot.file not in shot_set.unusable and shot.target not in ("dark", "screen_off"):
            groups.setdefault((shot.scene, shot.layers), []).append(shot)
    brackets: dict[tuple[float, ...], list[list[Shot]]] = {}
    for group in groups.values():
        ordered = sorted(group, key=lambda shot: shot.exposure)
        ratios = tuple(float(f"{shot.exposure / ordered[0].exposure:.3g}") for shot in ordered)
        if len(set(ratios)) > 1:
            brackets.setdefault(ratios, []).append(ordered)
    if not brackets:
        raise ValueError("the set has no bracket: no scene at two exposures; add a step wedge at 3 exposures or more")
    by_length = method == "robertson"
    times, shots = max(
        brackets.items(), key=lambda item: (len(item[0]) if by_length else 0, len(item[0]) * len(item[1]))
    )
    channels = 1 if all(is_grey(shot_set.codes(group[0])) for group in shots) else 3
    pictures = [
        np.concatenate([shot_set.codes(group[i])[..., :channels] for group in shots]) for i in range(len(times))
    ]
    return measure_response(pictures, times, method, shot_set.camera.max_code)


def _spread(steps: NDArray[np.uint8], count: int) -> NDArray[np.intp]:
    """Indices of pixels whose codes in the longest unsaturated exposure are spread evenly; the same at every call.

    Pixels are drawn by one exposure's code alone: rare pairs of codes are mostly noise.
    """
    valid = steps < SATURATED_SHARE * (_CODES - 1)
    last = len(steps) - 1 - np.argmax(valid[::-1], axis=0)
    code = steps[last, np.arange(steps.shape[1])]
    rng = named_rng(0, "response pixels")
    order = rng.permutation(code.size)
    order = order[np.argsort(code[order], kind="stable")]
    _, first, inverse = np.unique(code[order], return_index=True, return_inverse=True)
    rank = np.arange(order.size) - first[inverse]
    return order[np.argsort(rank, kind="stable")][:count]


def _estimate(steps: NDArray[np.uint8], times: Floats, method: str) -> Floats:
    """OpenCV's curve on a strip of pixels: (256,) linear light, any scale."""
    import cv2

    pictures = [np.ascontiguousarray(np.broadcast_to(row[None, :, None], (1, row.size, 3))) for row in steps]
    seconds = times.astype(np.float32)
    if method == "robertson":
        estimator = cv2.createCalibrateRobertson(_ROBERTSON_STEPS, 1e-4)
        return np.asarray(estimator.process(pictures, seconds), float)[:, 0, 1]
    solver = cv2.createCalibrateDebevec(steps.shape[1], _SMOOTHNESS, False)
    return np.asarray(solver.process(pictures, seconds), float)[:, 0, 1]


def _tidy(raw: Floats) -> Floats:
    """Smooth in the logarithm, rising, 0 at code 0 and 1 at the last."""
    top = int(SATURATED_SHARE * (_CODES - 1))
    seen = np.flatnonzero(np.isfinite(raw) & (raw > 0))
    logs = np.interp(np.arange(_TOE, top + 1), seen, np.log(raw[seen]))
    logs = np.maximum.accumulate(gaussian_filter1d(logs, _SMOOTH_CODES, mode="nearest"))
    codes = np.arange(_TOE, top + 1)
    slope = np.polyfit(np.log(codes[-30:]), logs[-30:], 1)[0]
    end = logs[-1] + slope * np.log((_CODES - 1) / top)
    light = np.exp(np.append(logs, end) - end)
    knots = np.concatenate([[0], codes, [_CODES - 1]])
    curve = PchipInterpolator(knots, np.concatenate([[0.0], light]))(np.arange(_CODES))
    curve = np.maximum.accumulate(curve) + _LEAST_STEP * np.arange(_CODES)
    return (curve - curve[0]) / (curve[-1] - curve[0])


def _scatter(curve: Floats, stack: Floats, times: Floats) -> Floats:
    """Relative standard deviation of each code's light against the pixel's exposure-weighted mean over the others."""
    light = np.interp(stack, np.linspace(0, 1, _CODES), curve)
    ok = (stack > _TOE / 255) & (stack < SATURATED_SHARE)
    weight = ok * times[:, None]
    total, mass = (light * ok).sum(axis=0), weight.sum(axis=0)
    squares, counts = np.zeros(_CODES), np.zeros(_CODES)
    for row, one, valid, mass_one in zip(stack, light, ok, weight):
        other = mass - mass_one
        use = valid & (other > 0)
        expected = (total - one * valid)[use] / other[use] * mass_one[use]
        code = np.rint(row[use] * (_CODES - 1)).astype(int)
        squares += np.bincount(code, (one[use] / expected - 1) ** 2, _CODES)
        counts += np.bincount(code, minlength=_CODES)
    return np.sqrt(np.divide(squares, counts, out=np.full(_CODES, np.nan), where=counts > 9))
