"""What a screen emits for every code, measured with the step wedge and a camera of known response.

The wedge's field k over the even picture at the same pixel is free of vignetting and of the screen's own unevenness:

    L_k = (light of field k - dark) / (light of the even picture - dark),   L(v) = b + (1 - b) v^gamma

with v = code / largest code and b the screen's black over its white, in the room as it is. Where the camera's response
is not known, exposure brackets of the same wedge give it first (:mod:`lps_sim.calibration.response`): a code's light
ratio to another is then tied to known exposures, and what is left is the screen's.

A lens's veiling glare lifts the dark fields of a wedge beside its bright ones and is not told from the screen's own
light; black is therefore measured with the whole screen black where there is such a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.optimize import least_squares

from lps_sim.calibration.merge import Merged
from lps_sim.screen_view import ScreenView
from lps_sim.transfer import EOTF_NAMES, MeasuredCurve, Transfer, eotf

from .targets import screen_codes, wedge, wedge_fields

Floats = NDArray[np.float64]

_INNER = 0.6  # of a field's width and height: blur and a view that is off by some pixels stay outside
_LEAST_PIXELS = 12  # of a field
_LEAST_FIELDS = 5
_LIT = 0.1  # of the even picture's median
_FLOOR = 0.002  # relative: rounding of a screen's 8-bit codes aside, no field is known better
_ABSOLUTE = 1e-5  # of white: black fields of a camera without light
_ABOVE_BLACK = 5.0  # standard deviations: darker fields say nothing of a curve
_CURVE_CODES = 256


@dataclass(frozen=True)
class ScreenCurve:
    """A screen's measured luminance.

    Parameters
    ----------
    codes : (K,) rising, share of the largest code, 0..1; luminance, sd : (K,) relative to white, black in it
    gamma, gamma_sd : of the power law that fits best
    black : luminance of code 0 over white's
    misfit : rms of the relative residuals of the power law, where a field is above black
    nearest : the named curve that is nearest, and ``nearest_misfit`` of the same kind
    """

    codes: Floats
    luminance: Floats
    sd: Floats
    gamma: float
    gamma_sd: float
    black: float
    misfit: float
    nearest: str
    nearest_misfit: float

    def curve(self) -> MeasuredCurve:
        """Linear light of 256 equally spaced codes, black taken off: for ``screen_codes`` and ``lps_sim.transfer``.

        Between the fields the curve's local power is interpolated (monotone cubic, Fritsch & Carlson 1980).
        """
        light = np.clip((self.luminance - self.black) / (1 - self.black), 0, 1)
        inside = (self.codes > 0) & (self.codes < 1) & (light > 0)
        knots = np.concatenate([[0.0], self.codes[inside], [1.0]])
        # Nearly a straight line through the origin, so that little is left to the interpolation.
        straight = np.maximum.accumulate(np.concatenate([[0.0], light[inside] ** (1 / self.gamma), [1.0]]))
        places = np.arange(_CURVE_CODES) / (_CURVE_CODES - 1)
        found = np.clip(PchipInterpolator(knots, straight)(places), 0, 1) ** self.gamma
        found = np.maximum.accumulate(found) + 1e-9 * np.arange(_CURVE_CODES)
        return MeasuredCurve(tuple(((found - found[0]) / (found[-1] - found[0])).tolist()))

    def misfit_to(self, curve: Transfer) -> float:
        """rms of the relative differences to another curve, where a field is above black."""
        return _misfit(self.luminance, self.sd, self.black, eotf(self.codes, curve))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; ``response`` is the measured curve at 256 codes."""
        rows = {name: getattr(self, name).tolist() for name in ("codes", "luminance", "sd")}
        figures = ("gamma", "gamma_sd", "black", "misfit", "nearest", "nearest_misfit")
        return {**{name: getattr(self, name) for name in figures}, **rows, "response": list(self.curve().response)}


def measure_screen(
    wedge_seen: Merged,
    flat_seen: Merged,
    view: ScreenView,
    shown: Transfer = "srgb",
    steps: int = 16,
    dark: Floats | float = 0.0,
    black_seen: Merged | None = None,
) -> ScreenCurve:
    """A screen's curve from bare pictures of one camera that did not move.

    Parameters
    ----------
    wedge_seen, flat_seen : linear light (H, W) of the wedge and of the white screen, brackets merged
    view : of the screen, right to a tenth of a field
    shown : the curve that the wedge's codes were made for
    steps : of the wedge
    dark : (H, W) or one number: light with the lens cap on, same units
    black_seen : of the screen all black, in the same light of the room; default: the wedge's own black fields

    Returns
    -------
    ScreenCurve

    Raises
    ------
    ValueError
        pictures of another size than the view's camera, or fewer than five fields that are seen, unsaturated and lit
    """
    size = view.camera_size[::-1]
    for name, one in (("wedge_seen", wedge_seen), ("flat_seen", flat_seen), ("black_seen", black_seen)):
        if one is not None and one.mean.shape != size:
            raise ValueError(f"{name} must be {size} as the view's camera, got {one.mean.shape}")
    number = _fields_seen(view, steps)
    white = flat_seen.mean - dark
    seen = (number >= 0) & np.isfinite(flat_seen.variance)
    lit = seen & (white > _LIT * np.median(white[seen])) if seen.any() else seen

    def level(source: Merged, where: NDArray[np.bool_]) -> tuple[float, float] | None:
        inside = where & lit & np.isfinite(source.variance)
        return _ratio((source.mean - dark)[inside], white[inside]) if inside.sum() >= _LEAST_PIXELS else None

    codes = [*_codes(steps, view.display_size, shown), 0.0]
    found = {codes[min(field, steps)]: level(wedge_seen, number == field) for field in range(number.max() + 1)}
    if black_seen is not None:
        found[0.0] = level(black_seen, seen)
    levels = {code: pair for code, pair in found.items() if pair is not None}
    count = sum(code > 0 for code in levels)
    if count < _LEAST_FIELDS or max(levels) < 1:
        raise ValueError(
            f"wedge_seen: {count} fields are seen, lit and unsaturated, {_LEAST_FIELDS} with the white one are needed; "
            "expose less, or correct where the screen stands"
        )
    knots = np.array(sorted(levels))
    luminance, sd = np.array([levels[code] for code in knots]).T
    return _fitted(knots, luminance / luminance[-1], sd / luminance[-1])


def _fields_seen(view: ScreenView, steps: int) -> NDArray[np.intp]:
    """(H, W) number of the field whose inner part a camera pixel looks at; -1 elsewhere."""
    width, height = view.display_size
    fields = wedge_fields(width, height, steps)
    columns, rows = len(np.unique(fields[0])), len(np.unique(fields[:, 0]))
    y, x = np.mgrid[: view.camera_size[1], : view.camera_size[0]].astype(float)
    place = (view.to_display(np.stack([x, y], axis=-1)) + 0.5) / [width / columns, height / rows]
    place = np.where(np.isfinite(place), place, -1.0)
    inner = (np.abs(place - np.floor(place) - 0.5) < _INNER / 2).all(axis=-1)
    on_screen = ((place >= 0) & (place < [columns, rows])).all(axis=-1)
    column, row = np.floor(place).astype(int).transpose(2, 0, 1)
    return np.where(inner & on_screen, row * columns + column, -1)


def _codes(steps: int, display_size: tuple[int, int], shown: Transfer) -> list[float]:
    """The wedge's codes, share of the largest, by field."""
    fields, light = wedge_fields(*display_size, steps), wedge(*display_size, steps=steps)
    levels = np.array([light[fields == field][0] for field in range(steps)])
    return list((screen_codes(levels, shown) / 255.0).tolist())


def _ratio(light: Floats, white: Floats) -> tuple[float, float]:
    """Light over white by their sums, and its standard deviation from the scatter of the pixels."""
    ratio = float(light.sum() / white.sum())
    scatter = float(np.sqrt(((light - ratio * white) ** 2).sum())) / float(white.sum())
    return ratio, float(np.sqrt(scatter**2 + (_FLOOR * ratio) ** 2 + _ABSOLUTE**2))


def _fitted(codes: Floats, luminance: Floats, sd: Floats) -> ScreenCurve:
    def law(values: Floats) -> Floats:
        gamma, black = values
        return black + (1 - black) * codes**gamma

    found = least_squares(
        lambda values: (law(values) - luminance) / sd, [2.2, max(luminance[0], 0.0)], bounds=([0.5, -0.01], [5.0, 0.9])
    )
    spread = float((found.fun**2).sum() / max(len(codes) - 2, 1))
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * max(spread, 1.0)
    gamma, black = map(float, found.x)
    if codes[0] == 0:  # measured, and not what a law that does not hold near black would make of it
        black = float(luminance[0])
    named = {name: _misfit(luminance, sd, black, eotf(codes, name)) for name in EOTF_NAMES}
    nearest = min(named, key=lambda name: named[name])
    return ScreenCurve(
        codes=codes,
        luminance=luminance,
        sd=sd,
        gamma=gamma,
        gamma_sd=float(np.sqrt(covariance[0, 0])),
        black=black,
        misfit=_misfit(luminance, sd, black, codes**gamma),
        nearest=nearest,
        nearest_misfit=named[nearest],
    )


def _misfit(luminance: Floats, sd: Floats, black: float, expected: Floats) -> float:
    above = luminance - black > _ABOVE_BLACK * sd
    light = (luminance - black) / (1 - black)
    return float(np.sqrt(np.mean((light[above] / expected[above] - 1) ** 2)))
