"""What a plan reads: 8-bit RGB codes, the planes of a decoded 4:2:0 frame, or linear light.

Each is read once, straight to means in the cells of all grids that it is wanted on (:mod:`lps_sim.frame_kernels`): at
1080p every pass over memory costs as much as the film. The planes take two shortcuts past RGB: no rounding to 8 bits in
between, and the transfer function as a polynomial, which a processor evaluates for eight pixels at once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.polynomial import Polynomial

from . import frame_kernels
from .resampling import Cells
from .transfer import Transfer, eotf
from .yuv import YuvFrame

Grid = tuple[Cells, Cells]
EOTF_ERROR, EOTF_RELATIVE = 1.2e-5, 2.4e-4
"""Of full scale or of the light, whichever is more: 0.04 sRGB codes at black, 0.03 at white."""
_DEGREE = 5  # above the knee
_KNEES = (0.04045, 0.0812, 0.08, 0.06, 0.1)  # those of sRGB and BT.709 first
_KNOTS = 500
_LINE = 64  # bytes: vectors that lie across two cache lines are read at half the speed


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
        return _run(frame_kernels.shrink_yuv, self._arguments, grids, self.frame.shape[1], scratch_rows=4)

    def light(self) -> np.ndarray:
        """As :class:`Incoming`."""
        height, width, _ = self.frame.shape
        out = np.empty((height, 3 * width), np.float32)
        frame_kernels.light_of_yuv(*self._arguments, _aligned_zeros((4, _row_length(width))), out)
        return out

    @property
    def _arguments(self) -> tuple:
        frame, curve = self.frame, self.curve
        return frame.luma_pairs, frame.u, frame.v, frame.centred, frame.coefficients, curve.knee, curve.low, curve.high


@dataclass(frozen=True)
class EotfPolynomial:
    """Linear light of codes 0..1: low(code - knee) + high(max(code - knee, 0)), both polynomials.

    low (4,): coefficients that rise with the power, the last two 0 for a curve that starts straight; high (5,): those
    of the powers 1 to 5. float32.
    """

    knee: np.float32
    low: np.ndarray
    high: np.ndarray

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Linear light, float32, by the same operations as the compiled loops."""
        codes = np.asarray(codes, np.float32) - self.knee
        bright = np.maximum(codes, np.float32(0))
        low, high = (
            functools.reduce(lambda total, c: total * x + c, part[::-1])
            for part, x in ((self.low, codes), (self.high, bright))
        )
        return low + bright * high


@functools.lru_cache(maxsize=16)
def eotf_polynomial(transfer: Transfer) -> EotfPolynomial | None:
    """The transfer function within :data:`EOTF_ERROR` or :data:`EOTF_RELATIVE`, or None where no such polynomials
    reach it."""
    codes = np.linspace(0, 1, 20001)
    exact = eotf(codes, transfer)
    for degree in (1, 3):
        for knee in _KNEES:
            curve = _fitted(transfer, knee, degree)
            if (np.abs(curve(codes) - exact) <= np.maximum(EOTF_ERROR, EOTF_RELATIVE * exact)).all():
                return curve
    return None


def _fitted(transfer: Transfer, knee: float, degree: int) -> EotfPolynomial:
    """Near the best one: least squares, each error in units of what is allowed, at Chebyshev points of either side."""
    points = (1 - np.cos(np.pi * (np.arange(_KNOTS) + 0.5) / _KNOTS)) / 2
    codes = np.concatenate([knee * points, knee + (1 - knee) * points])
    light, bright = eotf(codes, transfer), np.maximum(codes - knee, 0)
    # Powers of the code alone: black stays black.
    powers = [codes**k for k in range(1, degree + 1)] + [bright**k for k in range(1, _DEGREE + 1)]
    allowed = np.maximum(EOTF_ERROR, EOTF_RELATIVE * light)
    found = np.linalg.lstsq(np.stack(powers, axis=1) / allowed[:, None], light / allowed, rcond=None)[0]
    low = Polynomial([0, *found[:degree]])(Polynomial([knee, 1])).coef
    padded = np.pad(low, (0, 4 - low.size)).astype(np.float32)
    return EotfPolynomial(np.float32(knee), padded, found[degree:].astype(np.float32))


def _run(
    kernel: Callable[..., None], frame: tuple, grids: Sequence[Grid], width: int, scratch_rows: int = 2
) -> list[np.ndarray]:
    """A kernel's means in the cells of each grid."""
    outs = [np.empty((3, rows.count, columns.count), np.float32) for rows, columns in grids]
    length = _row_length(width)
    # Two rows are added at once: their cells, where the second has moved on.
    slots = [rows.taps.shape[1] + int(np.diff(rows.first).max(initial=0)) for rows, _ in grids]
    sums = [_aligned_zeros((max(count, 2), 3, length)) for count in slots]
    weights = [(rows.first, rows.taps, columns.start, columns.weights) for rows, columns in grids]
    kernel(*frame, tuple(weights), tuple(sums), _aligned_zeros((scratch_rows, length)), tuple(outs))
    return outs


def _row_length(width: int) -> int:
    """Numbers in a row whose halves begin at cache lines and hold ``width`` between them."""
    step = _LINE // np.dtype(np.float32).itemsize
    return 2 * step * -(-width // (2 * step))


def _aligned_zeros(shape: tuple[int, ...]) -> np.ndarray:
    """float32 zeros that begin at a cache line."""
    step = _LINE // np.dtype(np.float32).itemsize
    spare = np.zeros(math.prod(shape) + step, np.float32)
    first = -(spare.ctypes.data // spare.itemsize) % step
    return spare[first : first + math.prod(shape)].reshape(shape)
