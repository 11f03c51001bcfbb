"""The shift-variant sum over the sphere: what a camera sees of a scene through film.

    y(o) = b(theta_o) x(o) + sum over pixels i of x(i) h(angle between i and o) sqrt(cos_i / cos_o) dOmega_i

Pairs of pixels close together are summed one by one. The rest of the kernel, smooth at that distance, is summed between
the nodes of a coarser grid, with polynomial interpolation of order _STENCIL to and from it; the kernel passes from one
sum to the other smoothly over pixel distances. Everything uses true angles between directions; there is no Fourier
transform and no flattening of the sphere.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from .kernel import GAMMA_RAD, kernel_table

# Pixel distances at which the kernel begins to leave the fine sum, and has left it.
BLEND_PX = (12.0, 36.0)
STEP_PX = 4
_STENCIL = 6
# Table of the kernel over the chord 2 sin(gamma / 2), equidistant; linear between (relative error about 1e-6).
_TABLE = 200_001


class Sphere:
    """Directions and solid angles of a camera's pixels.

    Parameters: width, height in pixels; f_px; the lens is centred and undistorted.
    """

    def __init__(self, width: int, height: int, f_px: float) -> None:
        self.width, self.height, self.f_px = width, height, f_px
        x = (np.arange(width) - (width - 1) / 2) / f_px
        y = (np.arange(height) - (height - 1) / 2) / f_px
        self.cos = 1 / np.sqrt(1 + x[None, :] ** 2 + y[:, None] ** 2)
        self.solid_angle = self.cos**3 / f_px**2

    def directions(self, x_px: NDArray[np.float64], y_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Unit vectors (len(y), len(x), 3) of pixel positions; positions outside the frame are allowed."""
        x = (x_px - (self.width - 1) / 2) / self.f_px
        y = (y_px - (self.height - 1) / 2) / self.f_px
        vectors = np.stack([*np.meshgrid(x, y), np.ones((len(y), len(x)))], axis=-1)
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    def scattered(self, scenes: NDArray[np.float64], h: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scattered radiance at every pixel: scenes (S, H, W) of radiance -> (S, H, W); h on GAMMA_RAD."""
        table = chord_table(h)
        weighted = np.moveaxis(scenes * (np.sqrt(self.cos) * self.solid_angle), 0, -1)
        near = _near(np.ascontiguousarray(weighted), self._pixels(), table, *BLEND_PX)
        x_nodes, to_x = _interpolation(self.width, STEP_PX)
        y_nodes, to_y = _interpolation(self.height, STEP_PX)
        coarse = np.einsum("yY,xX,yxs->YXs", to_y, to_x, weighted, optimize=True)
        far = _far(np.ascontiguousarray(coarse), self.directions(x_nodes, y_nodes), table, STEP_PX, *BLEND_PX)
        seen = near + np.einsum("yY,xX,YXs->yxs", to_y, to_x, far, optimize=True)
        return np.moveaxis(seen, -1, 0) / np.sqrt(self.cos)

    def scattered_at(
        self, scenes: NDArray[np.float64], h: NDArray[np.float64], pixels: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The same, by the plain sum over all pixels, at a few pixels (P, 2) of (y, x): (S, P); for checks."""
        directions = self._pixels()
        weighted = scenes * (np.sqrt(self.cos) * self.solid_angle)
        table = kernel_table(h)
        seen = np.empty((len(scenes), len(pixels)))
        for number, (y, x) in enumerate(pixels):
            chord = np.linalg.norm(directions - directions[y, x], axis=-1)
            weight = table(np.minimum(2 * np.arcsin(chord / 2), GAMMA_RAD[-1]))
            seen[:, number] = (weighted * weight).sum(axis=(1, 2)) / math.sqrt(self.cos[y, x])
        return seen

    def _pixels(self) -> NDArray[np.float64]:
        return self.directions(np.arange(self.width, dtype=float), np.arange(self.height, dtype=float))


def chord_table(h: NDArray[np.float64]) -> NDArray[np.float64]:
    """h at equidistant chords from 0 to that of a right angle."""
    chord = np.linspace(0, math.sqrt(2), _TABLE)
    return np.asarray(kernel_table(h)(np.minimum(2 * np.arcsin(chord / 2), GAMMA_RAD[-1])))


def _interpolation(count: int, step: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Node positions in pixels, and the matrix (count, nodes) of Lagrange interpolation from nodes to pixels."""
    half = _STENCIL // 2
    intervals = -(-(count - 1) // step)
    # Enough nodes beyond both ends that every stencil is centred.
    nodes = (np.arange(-half + 1, intervals + half) * step).astype(float)
    matrix = np.zeros((count, len(nodes)))
    for pixel in range(count):
        first = min(pixel // step, intervals - 1)
        stencil = slice(first, first + _STENCIL)
        points = nodes[stencil]
        for index, point in enumerate(points):
            others = np.delete(points, index)
            matrix[pixel, first + index] = np.prod((pixel - others) / (point - others))
    return nodes, matrix


@njit(inline="always")
def _far_share(distance, start, stop):
    """0 up to start, 1 from stop, seventh-order smooth step between."""
    t = (distance - start) / (stop - start)
    if t <= 0:
        return 0.0
    if t >= 1:
        return 1.0
    return t * t * t * t * (35 + t * (-84 + t * (70 - 20 * t)))


@njit(inline="always")
def _kernel(a, b, table):
    """The kernel between two unit vectors."""
    dx, dy, dz = a[0] - b[0], a[1] - b[1], a[2] - b[2]
    place = math.sqrt(dx * dx + dy * dy + dz * dz) * ((len(table) - 1) / math.sqrt(2.0))
    index = min(int(place), len(table) - 2)
    return table[index] + (place - index) * (table[index + 1] - table[index])


@njit(parallel=True, fastmath=True)
def _near(weighted, directions, table, start, stop):
    height, width, scenes = weighted.shape
    reach = int(stop)
    share = np.zeros((reach + 1, reach + 1))
    for y in range(reach + 1):
        for x in range(reach + 1):
            share[y, x] = 1 - _far_share(math.sqrt(x * x + y * y), start, stop)
    seen = np.zeros((height, width, scenes))
    for y in prange(height):
        for x in range(width):
            for v in range(max(0, y - reach), min(height, y + reach + 1)):
                for u in range(max(0, x - reach), min(width, x + reach + 1)):
                    part = share[abs(v - y), abs(u - x)]
                    if part > 0:
                        k = part * _kernel(directions[y, x], directions[v, u], table)
                        for s in range(scenes):
                            seen[y, x, s] += k * weighted[v, u, s]
    return seen


@njit(parallel=True, fastmath=True)
def _far(weighted, directions, table, step, start, stop):
    height, width, scenes = weighted.shape
    seen = np.zeros((height, width, scenes))
    for y in prange(height):
        for x in range(width):
            for v in range(height):
                for u in range(width):
                    distance = step * math.sqrt((v - y) * (v - y) + (u - x) * (u - x))
                    part = _far_share(distance, start, stop)
                    if part > 0:
                        k = part * _kernel(directions[y, x], directions[v, u], table)
                        for s in range(scenes):
                            seen[y, x, s] += k * weighted[v, u, s]
    return seen
