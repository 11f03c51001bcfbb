"""What the plane does to a blur that is the same for every direction on the sphere: first order in the distortion.

The equal-area plane keeps areas, not shapes: a round spot at the radius r = 2 sin(theta/2) comes out narrower along
the radius, by sqrt(1 - r^2/4), and wider across it, by the reciprocal (4.7 % each at 35 degrees). The blur is a
function K(d^2) of the chord d = 2 sin(angle/2) between two directions. With a and b their places in the plane,

    d^2 = |a - b|^2 + delta,    delta = [(a^2 - b^2)^2 - |a - b|^2 (a^2 + b^2)] / 8 + O(r^6)

and K(d^2) = K(|a - b|^2) + K'(|a - b|^2) delta. Products of places with K' are derivatives of the transfer function H:

    delta K'  <->  H (a - b)^2 / 16 + G [q^2 (a^2 + b^2) - (q.(a + b))^2] / 8,     G = dH/d(q^2)

so the correction is six products of a polynomial in the output with a convolved polynomial of the input. It is exact to
this order for narrow and for wide kernels; the factor 1 + r^2/8 takes in the mean of the next order at the output.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy import fft
from scipy.interpolate import CubicSpline

Transfer = Callable[[np.ndarray], np.ndarray]

_LARGEST_SQUARE = 1.9  # of r: just short of 90 degrees
_REACH_RAD = 1.45  # equal-area radius of 90 degrees and a little
_NODES = 2048
_PASSED = 1e-4  # of a transfer function: finer detail is gone
_MOST_NODES = 16


def padded_for_sphere(shape: tuple[int, int], pitch_rad: tuple[float, float]) -> tuple[int, int]:
    """Grid on which the products do not run into their own copies: the field and a kernel of 90 degrees beside it.

    Twice the field, enough for a plain convolution whose tail is taken off by a mesh, leaves 0.4 % of the light here.
    """
    reach = [min(3 * count, max(2 * count, count + _REACH_RAD / pitch)) for count, pitch in zip(shape, pitch_rad)]
    return fft.next_fast_len(math.ceil(reach[0]), True), fft.next_fast_len(math.ceil(reach[1]), True)


class SphereBend:
    """The six products on one angle grid.

    Parameters: shape (rows, columns), pitch_rad (y, x) of the grid; padded, the grid of the transforms; offset_rad
    (y, x), of the grid's middle from the axis.

    Attributes: q_cpr (y, x), q (padded grid); u, v, the places on the grid; output, six polynomials (rows, columns).
    """

    def __init__(
        self,
        shape: tuple[int, int],
        pitch_rad: tuple[float, float],
        padded: tuple[int, int],
        offset_rad: tuple[float, ...] = (0.0, 0.0),
    ) -> None:
        self.shape, self.padded = shape, padded
        self.q_cpr = (fft.fftfreq(padded[0], pitch_rad[0]), fft.rfftfreq(padded[1], pitch_rad[1]))
        self._q_v, self._q_u = self.q_cpr[0][:, None], self.q_cpr[1][None, :]
        self.q = np.hypot(self._q_v, self._q_u)
        v, u = (
            (np.arange(count) - (count - 1) / 2) * pitch + offset
            for count, pitch, offset in zip(shape, pitch_rad, offset_rad)
        )
        self.v, self.u = v[:, None], u[None, :]
        second = 1 + np.minimum(self.u**2 + self.v**2, _LARGEST_SQUARE) / 8
        output = np.broadcast_arrays(self.u**2, self.v**2, self.u * self.v, self.u, self.v, 1.0)
        self.output = [second * weight for weight in output]

    def spectra(self, field: np.ndarray, u: np.ndarray, v: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What H and G multiply behind each of the six products; field (rows, columns) at the places u, v."""
        plain, x_u, x_v, x_uu, x_vv, x_uv = (
            fft.rfft2(field * weight, self.padded) for weight in (1.0, u, v, u * u, v * v, u * v)
        )
        q_u, q_v = self._q_u, self._q_v
        along = -2 * (q_u * x_u + q_v * x_v)
        yield plain / 16, q_v**2 * plain / 8
        yield plain / 16, q_u**2 * plain / 8
        yield 0 * plain, -q_u * q_v * plain / 4
        yield -x_u / 8, q_u * along / 8
        yield -x_v / 8, q_v * along / 8
        yield (x_uu + x_vv) / 16, (q_v**2 * x_uu + q_u**2 * x_vv - 2 * q_u * q_v * x_uv) / 8


def transfer_and_slope(transfer: Transfer, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """H and dH/d(q^2) of ``transfer`` (q -> (..., C)) at frequencies q: (C, *q.shape) each; the slope is 0 at q = 0,
    where it has no weight."""
    nodes = np.linspace(0, np.log1p(float(q.max())), _NODES)
    frequencies = np.expm1(nodes)
    spline = CubicSpline(nodes, transfer(frequencies))
    slopes = spline(nodes, 1)
    slopes[1:] /= (2 * frequencies * (1 + frequencies))[1:, None]
    slopes[0] = 0.0
    place = np.log1p(q)
    slope = CubicSpline(nodes, slopes)(place)
    slope[q == 0] = 0.0
    return np.moveaxis(spline(place), -1, 0), np.moveaxis(slope, -1, 0)


class SphereCorrection:
    """K_sphere x - K x of (3, rows, columns) fields on an angle grid.

    It has no detail that the kernel does not pass, so it is computed on cells of several nodes, as many as the transfer
    function allows, and spread back by splines.

    Parameters: transfer (q -> (..., 3)); shape, pitch_rad of the grid; reflected: the field goes on as its mirror
    image, half a field on every side, else as zeros; dtype of the fields.

    Attributes: cell, nodes on a side of a cell; fill (bottom, right), nodes added to complete the last cells; margin
    (y, x), mirrored cells on every side; bend, the products on the cells; response, :meth:`respond` of ``transfer``;
    spread (y, x), from cells to nodes.
    """

    def __init__(
        self, transfer: Transfer, shape: tuple[int, int], pitch_rad: tuple[float, float], reflected: bool, dtype: type
    ) -> None:
        self._reflected, self._dtype = reflected, dtype
        self.cell = _nodes_a_cell(transfer, max(pitch_rad))
        cells = -(-shape[0] // self.cell), -(-shape[1] // self.cell)
        pitch = pitch_rad[0] * self.cell, pitch_rad[1] * self.cell
        self.fill = tuple(count * self.cell - nodes for count, nodes in zip(cells, shape))
        self.margin = (cells[0] // 2, cells[1] // 2) if reflected else (0, 0)
        inner = cells[0] + 2 * self.margin[0], cells[1] + 2 * self.margin[1]
        # The cells begin where the grid does; where they do not end with it their middle lies off the axis.
        offset = tuple(fill * step / 2 for fill, step in zip(self.fill, pitch_rad))
        self.bend = SphereBend(inner, pitch, inner if reflected else padded_for_sphere(inner, pitch), offset)
        self.q_cpr = self.bend.q_cpr
        q_y, q_x = (np.abs(q) for q in self.q_cpr)
        # Means over the cells weaken what they hold; the transfer function gives it back.
        self._means = [self._mean_response(q, step) for q, step in zip((q_y, q_x), pitch_rad)]
        self.response: np.ndarray = self.respond(transfer).astype(dtype)
        self._alike = bool(np.ptp(self.response, axis=1).max() == 0)
        self.spread: list[np.ndarray] = [
            self._spline_matrix(nodes, count).astype(dtype) for nodes, count in zip(shape, cells)
        ]

    def respond(self, transfer: Transfer) -> np.ndarray:
        """Frequency response of a transfer function and of its slope on these cells: (2, 3, *padded)."""
        return np.stack(transfer_and_slope(transfer, self.bend.q)) / (self._means[0][:, None] * self._means[1][None, :])

    def _mean_response(self, q: np.ndarray, step: float) -> np.ndarray:
        """Frequency response of the mean over a cell's nodes."""
        if self.cell == 1:
            return np.ones_like(q)
        return np.sinc(q * step * self.cell) / np.maximum(np.sinc(q * step), 1e-3)

    def _spline_matrix(self, nodes: int, cells: int) -> np.ndarray:
        """(nodes, cells) values at the nodes of the cubic spline through the cells' middles."""
        if self.cell == 1:
            return np.eye(nodes)
        at = (np.arange(nodes) - (self.cell - 1) / 2) / self.cell
        return CubicSpline(np.arange(cells), np.eye(cells))(at)

    def __call__(self, fields: np.ndarray) -> np.ndarray:
        """(3, rows, columns) -> the same shape and dtype."""
        if self._alike and np.array_equal(fields[0], fields[1]) and np.array_equal(fields[0], fields[2]):
            return np.repeat(self._correct(fields[:1], self.response[:, :1]), 3, axis=0)
        return self._correct(fields, self.response)

    def _correct(self, fields: np.ndarray, response: np.ndarray) -> np.ndarray:
        (bottom, right), (top, left), cell, dtype = self.fill, self.margin, self.cell, self._dtype
        if bottom or right:
            fields = np.pad(fields, ((0, 0), (0, bottom), (0, right)), mode="edge" if self._reflected else "constant")
        rows, columns = fields.shape[1] // cell, fields.shape[2] // cell
        small = fields.reshape(len(fields), rows, cell, columns, cell).mean(axis=(2, 4), dtype=dtype)
        if self._reflected:
            small = np.pad(small, ((0, 0), (top, top), (left, left)), mode="symmetric")
        bend = self.bend
        total = np.zeros((len(fields), rows, columns), dtype)
        inside = np.s_[top : top + rows, left : left + columns]
        # One channel at a time: twelve spectra of a full-size grid are some hundred MiB.
        for channel, (transfer, slope) in enumerate(zip(*response)):
            spectra = bend.spectra(small[channel], bend.u.astype(dtype), bend.v.astype(dtype))
            for weight, (by_transfer, by_slope) in zip(bend.output, spectra):
                part = fft.irfft2(by_transfer * transfer + by_slope * slope, bend.padded)
                total[channel] += (weight[inside] * part[inside]).astype(dtype)
        return self.spread[0] @ total @ self.spread[1].T


def _nodes_a_cell(transfer: Transfer, pitch_rad: float) -> int:
    """How many nodes of a grid a cell may hold: eight cells a period of the finest detail that the kernel passes."""
    q = np.geomspace(0.5, 0.5 / pitch_rad, 400)
    passed = np.flatnonzero(np.abs(transfer(q)).max(axis=-1) > _PASSED)
    finest = q[passed[-1]] if passed.size else q[0]
    return int(np.clip(1 / (8 * finest * pitch_rad), 1, _MOST_NODES))
