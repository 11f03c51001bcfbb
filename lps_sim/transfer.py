"""Transfer functions: coded pixel values <-> linear light.

One function pair a standard, named by role and standard: ``eotf_*`` turns codes into linear light,
``inverse_eotf_*`` turns linear light into codes. Domain and range are [0, 1], where 1 is the reference white and
the largest code. Values outside are not clipped: negative ones are mirrored about 0 and those above 1 follow the
curve, so that noise below black survives until the one clipping at the end. float32 stays float32, everything else
is computed in float64.

``bt709`` is the inverse of the camera curve (OETF) of ITU-R BT.709, since light at a camera is what is modelled
here; it is not the display curve of ITU-R BT.1886 (a power of 2.4).

``gamma:G`` is a plain power law of any exponent G from 1 to 4; :class:`MeasuredCurve` is a camera's own curve, known at
equally spaced codes. Wherever a name is asked for, such a curve may stand in its place.

Sources: IEC 61966-2-1:1999; ITU-R BT.709-6, with the unrounded constants of ITU-R BT.2020-2, which make the two
pieces meet.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import UnknownNameError

SRGB_CODE_KNEE = 0.04045
SRGB_LINEAR_KNEE = SRGB_CODE_KNEE / 12.92
BT709_ALPHA = 1.09929682680944
BT709_LINEAR_KNEE = 0.018053968510807
BT709_CODE_KNEE = 4.5 * BT709_LINEAR_KNEE
GAMMA = 2.2


def eotf_srgb(codes: npt.ArrayLike) -> np.ndarray:
    """Linear light of sRGB codes: ``V / 12.92`` up to 0.04045, ``((V + 0.055) / 1.055)^2.4`` above.

    Parameters: codes, any shape, [0, 1]. Returns the same shape, [0, 1]. Raises ValueError for integer arrays.
    """
    signed, size = _split_sign(codes, "codes")
    power = ((size + 0.055) / 1.055) ** 2.4
    return np.copysign(np.where(size <= SRGB_CODE_KNEE, size / 12.92, power), signed)


def inverse_eotf_srgb(linear: npt.ArrayLike) -> np.ndarray:
    """sRGB codes of linear light, the inverse of :func:`eotf_srgb`.

    The standard's two pieces leave a gap of 2.4e-9 in linear light at the knee; the inverse is exact elsewhere.
    """
    signed, size = _split_sign(linear, "linear")
    power = 1.055 * size ** (1 / 2.4) - 0.055
    return np.copysign(np.where(size <= SRGB_LINEAR_KNEE, size * 12.92, power), signed)


def eotf_bt709(codes: npt.ArrayLike) -> np.ndarray:
    """Scene light of BT.709 codes: the inverse of the OETF ``4.5 L`` below 0.018, ``1.099 L^0.45 - 0.099`` above."""
    signed, size = _split_sign(codes, "codes")
    power = ((size + (BT709_ALPHA - 1)) / BT709_ALPHA) ** (1 / 0.45)
    return np.copysign(np.where(size < BT709_CODE_KNEE, size / 4.5, power), signed)


def inverse_eotf_bt709(linear: npt.ArrayLike) -> np.ndarray:
    """BT.709 codes of scene light: the standard's OETF."""
    signed, size = _split_sign(linear, "linear")
    power = BT709_ALPHA * size**0.45 - (BT709_ALPHA - 1)
    return np.copysign(np.where(size < BT709_LINEAR_KNEE, size * 4.5, power), signed)


def eotf_gamma22(codes: npt.ArrayLike) -> np.ndarray:
    """Linear light of codes under a plain power law, ``V^2.2``."""
    signed, size = _split_sign(codes, "codes")
    return np.copysign(size**GAMMA, signed)


def inverse_eotf_gamma22(linear: npt.ArrayLike) -> np.ndarray:
    """Codes of linear light under a plain power law, ``L^(1/2.2)``."""
    signed, size = _split_sign(linear, "linear")
    return np.copysign(size ** (1 / GAMMA), signed)


def eotf_linear(codes: npt.ArrayLike) -> np.ndarray:
    """Codes that are linear light already (RAW)."""
    return _floats(codes, "codes").copy()


def inverse_eotf_linear(linear: npt.ArrayLike) -> np.ndarray:
    """Linear light stored as it is."""
    return _floats(linear, "linear").copy()


_CURVES: dict[str, tuple[Callable[[npt.ArrayLike], np.ndarray], Callable[[npt.ArrayLike], np.ndarray]]] = {
    "srgb": (eotf_srgb, inverse_eotf_srgb),
    "bt709": (eotf_bt709, inverse_eotf_bt709),
    "gamma2.2": (eotf_gamma22, inverse_eotf_gamma22),
    "linear": (eotf_linear, inverse_eotf_linear),
}
EOTF_NAMES: tuple[str, ...] = tuple(_CURVES)
GAMMA_PREFIX = "gamma:"
GAMMA_RANGE = (1.0, 4.0)


@dataclass(frozen=True)
class MeasuredCurve:
    """A measured transfer function: linear light at equally spaced codes, straight lines between.

    Parameters
    ----------
    response : linear light of codes 0, 1/(n-1), ... 1; n >= 2 numbers that rise from 0 to 1

    Raises ValueError naming the rule. As with the named curves, negative values are mirrored about 0; above 1 the last
    straight line goes on.
    """

    response: tuple[float, ...]

    def __post_init__(self) -> None:
        values = np.asarray(self.response, dtype=float)
        if values.ndim != 1 or values.size < 2:
            raise ValueError(f"response must be a list of at least 2 numbers, got {values.shape}")
        if not (values[0] == 0 and values[-1] == 1):
            raise ValueError(f"response must start at 0 and end at 1, got {values[0]:g}..{values[-1]:g}")
        if not (np.diff(values) > 0).all():
            first = int(np.argmin(np.diff(values) > 0))
            raise ValueError(
                f"response must rise from code to code, got {values[first]:g}, {values[first + 1]:g} at {first}"
            )

    def eotf(self, codes: npt.ArrayLike) -> np.ndarray:
        """Linear light of codes in [0, 1]; same shape."""
        knots = np.linspace(0, 1, len(self.response))
        return _piecewise(codes, "codes", knots, np.asarray(self.response))

    def inverse_eotf(self, linear: npt.ArrayLike) -> np.ndarray:
        """Codes of linear light; same shape."""
        knots = np.linspace(0, 1, len(self.response))
        return _piecewise(linear, "linear", np.asarray(self.response), knots)


Transfer = str | MeasuredCurve


def gamma_of(name: str) -> float | None:
    """The exponent of a ``gamma:G`` name; None for every other name.

    Raises ValueError where G is no number or outside 1..4.
    """
    if not name.startswith(GAMMA_PREFIX):
        return None
    try:
        gamma = float(name[len(GAMMA_PREFIX) :])
    except ValueError:
        gamma = math.nan
    low, high = GAMMA_RANGE
    if not low <= gamma <= high:
        raise ValueError(f"eotf gamma:G needs a number G of {low:g}..{high:g} such as gamma:2.4, got {name!r}")
    return gamma


def check_eotf_name(name: str, argument: str = "eotf") -> str:
    """``name`` itself if it is one of :data:`EOTF_NAMES` or ``gamma:G``.

    Raises UnknownNameError with the nearest name otherwise, ValueError for a G outside 1..4.
    """
    if gamma_of(str(name)) is None and name not in _CURVES:
        raise UnknownNameError(argument, str(name), [*_CURVES, f"{GAMMA_PREFIX}2.4"])
    return name


def eotf(values: npt.ArrayLike, name: Transfer = "srgb") -> np.ndarray:
    """Linear light of codes in [0, 1] (float, any shape) under the named transfer function or a measured one.

    Raises UnknownNameError for another name, ValueError for integer arrays (divide codes by their largest value).
    """
    if isinstance(name, MeasuredCurve):
        return name.eotf(values)
    gamma = gamma_of(name)
    return _CURVES[check_eotf_name(name)][0](values) if gamma is None else _power(values, "codes", gamma)


def inverse_eotf(linear: npt.ArrayLike, name: Transfer = "srgb") -> np.ndarray:
    """Codes in [0, 1] of linear light (float, any shape) under the named transfer function; see :func:`eotf`."""
    if isinstance(name, MeasuredCurve):
        return name.inverse_eotf(linear)
    gamma = gamma_of(name)
    return _CURVES[check_eotf_name(name)][1](linear) if gamma is None else _power(linear, "linear", 1 / gamma)


@functools.lru_cache(maxsize=16)
def eotf_table(name: Transfer = "srgb", bits: int = 8) -> np.ndarray:
    """Linear light of every code of a ``bits``-bit picture: (2^bits,) float32, read-only, 0 first and 1 last.

    Raises ValueError unless ``bits`` is 1..16.
    """
    if not 1 <= bits <= 16:
        raise ValueError(f"bits must be 1..16, got {bits}")
    top = 2**bits - 1
    table = eotf(np.arange(top + 1) / top, name).astype(np.float32)
    table.flags.writeable = False
    return table


def _floats(values: npt.ArrayLike, argument: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim and array.dtype.kind != "f":
        raise ValueError(f"{argument} must be floating point in [0, 1], got an array of {array.dtype}")
    return array if array.dtype == np.float32 else array.astype(np.float64)


def _split_sign(values: npt.ArrayLike, argument: str) -> tuple[np.ndarray, np.ndarray]:
    array = _floats(values, argument)
    return array, np.abs(array)


def _power(values: npt.ArrayLike, argument: str, exponent: float) -> np.ndarray:
    signed, size = _split_sign(values, argument)
    return np.copysign(size**exponent, signed)


def _piecewise(values: npt.ArrayLike, argument: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Straight lines through (x, y) from (0, 0) to (1, 1), odd about 0, the last line extended."""
    signed, size = _split_sign(values, argument)
    inside = np.interp(size, x, y)
    beyond = 1.0 + (size - 1.0) * (y[-1] - y[-2]) / (x[-1] - x[-2])
    return np.copysign(np.where(size > 1.0, beyond, inside), signed).astype(signed.dtype)
