"""What a plan reads: 8-bit RGB codes, the planes of a decoded 4:2:0 frame, or linear light.

Each is read once, straight to means in the cells of all grids that it is wanted on (:mod:`lps_sim.frame_kernels`): at
1080p every pass over memory costs as much as the film. The planes take two shortcuts past RGB: no rounding to 8 bits in
between, and the transfer function as a polynomial, which a processor evaluates for eight pixels at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from . import frame_kernels
from .resampling import Cells
from .transfer import Transfer, eotf
from .yuv import YuvFrame

Grid = tuple[Cells, Cells]
EOTF_ERROR = 5e-6  # of full scale: 0.02 codes at black, where sRGB is steepest
_DEGREES = (3, 7)  # below and above the knee
_KNEES = (0.04045, 0.0812, 0.08, 0.06, 0.1)  # those of sRGB and BT.709 first
_KNOTS = 2000


class Incoming(Protocol):
    """One frame on its way into a plan."""

    def shrink(self, grids: Sequence[Grid]) -> list[np.ndarray]:
        """Weighted means of linear light in the cells of each grid (rows, columns): (3, rows, columns) float32."""
        ...

    def light(self) -> np.ndarray:
        """Linear light of every pixel: (H, 3 W) float32, colours interleaved."""
        ...


@dataclass(frozen=True)
class Codes:
    """8-bit RGB, (H, W, 3), and the linear light of its codes, (256,) float32."""

    frame: np.ndarray
    table: np.ndarray

    def shrink(self, grids: Sequence[Grid]) -> list[np.ndarray]:
        """As :class:`Incoming`."""
        frame = np.ascontiguousarray(self.frame).reshape(self.frame.shape[0], -1)
        return _run(frame_kernels.shrink_codes, (frame, self.table), grids, self.frame.shape[1])

    def light(self) -> np.ndarray:
        """As :class:`Incoming`."""
        return self.table[self.frame].reshape(self.frame.shape[0], -1)


@dataclass(frozen=True)
class Light:
    """Linear light, (H, W, 3) float32."""

    frame: np.ndarray

    def shrink(self, grids: Sequence[Grid]) -> list[np.ndarray]:
        """As :class:`Incoming`."""
        return _run(frame_kernels.shrink_light, (self.light(),), grids, self.frame.shape[1])

    def light(self) -> np.ndarray:
        """As :class:`Incoming`."""
        return np.ascontiguousarray(self.frame, np.float32).reshape(self.frame.shape[0], -1)


@dataclass(frozen=True)
class Planes:
    """A 4:2:0 frame and its transfer function as a polynomial."""

    frame: YuvFrame
    curve: EotfPolynomial

    def shrink(self, grids: Sequence[Grid]) -> list[np.ndarray]:
        """As :class:`Incoming`."""
        return _run(frame_kernels.shrink_yuv, self._arguments, grids, self.frame.shape[1])

    def light(self) -> np.ndarray:
        """As :class:`Incoming`."""
        height, width, _ = self.frame.shape
        out = np.empty((height, 3 * width), np.float32)
        frame_kernels.light_of_yuv(*self._arguments, out)
        return out

    @property
    def _arguments(self) -> tuple:
        frame, curve = self.frame, self.curve
        return frame.luma, frame.u, frame.v, frame.centred, frame.coefficients, curve.knee, curve.low, curve.high


@dataclass(frozen=True)
class EotfPolynomial:
    """Linear light of codes 0..1 in two pieces; coefficients rise with the power, float32.

    knee: the last code of the lower piece; low (4,), high (8,).
    """

    knee: np.float32
    low: np.ndarray
    high: np.ndarray

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Linear light, float32, by the same operations as the compiled loops."""
        codes = np.asarray(codes, np.float32)
        low, high = (functools.reduce(lambda total, c: total * codes + c, part[::-1]) for part in (self.low, self.high))
        return np.where(codes <= self.knee, low, high)


@functools.lru_cache(maxsize=16)
def eotf_polynomial(transfer: Transfer) -> EotfPolynomial | None:
    """The transfer function within :data:`EOTF_ERROR`, or None where two such pieces do not reach it."""
    codes = np.linspace(0, 1, 20001)
    exact = eotf(codes, transfer)
    for knee in _KNEES:
        low, high = _piece(transfer, 0.0, knee, _DEGREES[0]), _piece(transfer, knee, 1.0, _DEGREES[1])
        curve = EotfPolynomial(np.float32(knee), low, high)
        if np.abs(curve(codes) - exact).max() <= EOTF_ERROR:
            return curve
    return None


def _piece(transfer: Transfer, low: float, high: float, degree: int) -> np.ndarray:
    """Coefficients of the interpolant near the best one: least squares at Chebyshev points."""
    points = (np.cos(np.pi * (np.arange(_KNOTS) + 0.5) / _KNOTS) + 1) / 2 * (high - low) + low
    fitted = Chebyshev.fit(points, eotf(points, transfer), degree, domain=[low, high]).convert(kind=Polynomial).coef
    return np.pad(fitted, (0, degree + 1 - fitted.size)).astype(np.float32)


def _run(kernel: Callable[..., None], frame: tuple, grids: Sequence[Grid], width: int) -> list[np.ndarray]:
    """A kernel's means in the cells of each grid."""
    outs = [np.empty((3, rows.count, columns.count), np.float32) for rows, columns in grids]
    sums = [np.zeros((rows.taps.shape[1], 3, width), np.float32) for rows, _ in grids]
    weights = [(rows.first, rows.taps, columns.start, columns.weights) for rows, columns in grids]
    kernel(*frame, tuple(weights), tuple(sums), tuple(outs))
    return outs
