"""What the plane does to a blur that is the same for every direction on the sphere: first order in the distortion.

The equal-area plane keeps areas, not shapes: a round spot at the radius r = 2 sin(theta/2) comes out narrower along
the radius, by sqrt(1 - r^2/4), and wider across it, by the reciprocal (4.7 % each at 35 degrees). With A the metric on
the way between two directions, a transfer function H(|q|) becomes H(sqrt(q^T A q)), so to first order

    K_sphere x = K x + sum_ij <A - 1>_ij F^-1{ dH/d(q^2) q_i q_j F{x} }

and <A - 1> is a mean along the way from the input a to the output b. There A - 1 is quadratic in the position,
``-(u^2 - v^2)/4`` and ``-2 u v/4`` for its two independent parts, whose mean is ``(a a + (a b + b a)/2 + b b)/3``: five
products of polynomials in the output with convolved polynomials of the input, exact for narrow and for wide kernels.
The factor 1 + r^2/8 takes in the mean of the second order at the output.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import fft
from scipy.interpolate import CubicSpline

Transfer = Callable[[np.ndarray], np.ndarray]

_LARGEST_SQUARE = 1.9  # of r: just short of 90 degrees
_NODES = 2048


class SphereBend:
    """The five products on one angle grid.

    Parameters: shape (rows, columns), pitch_rad (y, x) of the grid; padded, the grid of the transforms.
    """

    def __init__(self, shape: tuple[int, int], pitch_rad: tuple[float, float], padded: tuple[int, int]) -> None:
        self.shape, self.padded = shape, padded
        self.q_cpr = (fft.fftfreq(padded[0], pitch_rad[0]), fft.rfftfreq(padded[1], pitch_rad[1]))
        q_y, q_x = self.q_cpr[0][:, None], self.q_cpr[1][None, :]
        self.q = np.hypot(q_y, q_x)
        self._even, self._odd = q_x**2 - q_y**2, 2 * q_x * q_y
        v, u = ((np.arange(count) - (count - 1) / 2) * pitch for count, pitch in zip(shape, pitch_rad))
        self.v, self.u = v[:, None], u[None, :]
        second = -(1 + np.minimum(self.u**2 + self.v**2, _LARGEST_SQUARE) / 8) / 12
        output = np.broadcast_arrays(self.u**2 - self.v**2, 2 * self.u * self.v, self.u, self.v, 1.0)
        self.output = [second * weight for weight in output]

    def spectra(self, field: np.ndarray, u: np.ndarray, v: np.ndarray) -> list[np.ndarray]:
        """The spectra behind the five products, before dH/d(q^2); field (..., rows, columns) at positions u, v."""
        plain, along, across, even, odd = (
            fft.rfft2(field * weight, self.padded) for weight in (1.0, u, v, u * u - v * v, 2 * u * v)
        )
        return [
            self._even * plain,
            self._odd * plain,
            self._even * along + self._odd * across,
            self._odd * along - self._even * across,
            self._even * even + self._odd * odd,
        ]


def slope(transfer: Transfer, q: np.ndarray) -> np.ndarray:
    """dH/d(q^2) of ``transfer`` (q -> (..., C)) at frequencies q: (C, *q.shape); 0 at q = 0, where it has no weight."""
    top = np.log1p(float(q.max()))
    nodes = np.linspace(0, top, _NODES)
    frequencies = np.expm1(nodes)
    values = CubicSpline(nodes, transfer(frequencies))(nodes, 1)
    values[1:] /= (2 * frequencies * (1 + frequencies))[1:, None]
    values[0] = 0.0
    out = CubicSpline(nodes, values)(np.log1p(q))
    out[q == 0] = 0.0
    return np.moveaxis(out, -1, 0)


class SphereCorrection:
    """K_sphere x - K x of (3, rows, columns) fields on an angle grid.

    Parameters: transfer (q -> (..., 3)); shape, pitch_rad of the grid; reflected: the field goes on as its mirror
    image, half a field on every side, else as zeros; dtype of the fields.
    """

    def __init__(
        self, transfer: Transfer, shape: tuple[int, int], pitch_rad: tuple[float, float], reflected: bool, dtype: type
    ) -> None:
        self._reflected, self._dtype = reflected, dtype
        rows, columns = shape
        if reflected:
            self._margin = rows // 2, columns // 2
            inner = (rows + 2 * self._margin[0], columns + 2 * self._margin[1])
            padded = inner
        else:
            self._margin = 0, 0
            inner = shape
            padded = (fft.next_fast_len(2 * rows, True), fft.next_fast_len(2 * columns, True))
        self._bend = SphereBend(inner, pitch_rad, padded)
        self.q_cpr = self._bend.q_cpr
        self.response: np.ndarray = slope(transfer, self._bend.q).astype(dtype)

    def __call__(self, fields: np.ndarray) -> np.ndarray:
        """(3, rows, columns) -> the same shape and dtype."""
        (rows, columns), (top, left) = fields.shape[1:], self._margin
        if self._reflected:
            fields = np.pad(fields, ((0, 0), (top, top), (left, left)), mode="symmetric")
        bend = self._bend
        total = np.zeros((3, rows, columns), self._dtype)
        inside = np.s_[top : top + rows, left : left + columns]
        dtype = self._dtype
        for weight, spectrum in zip(bend.output, bend.spectra(fields, bend.u.astype(dtype), bend.v.astype(dtype))):
            part = fft.irfft2((spectrum * self.response), bend.padded)
            total += (weight[inside] * part[(slice(None), *inside)]).astype(dtype)
        return total
