"""Compiled loops that read a frame once: codes to linear light to weighted means in cells, row by row.

A row of light stays in the first-level cache until it is spent: (3, W) float32, one plane a colour. Cells take pixels
by bands of weights (:class:`lps_sim.resampling.Cells`): rows first, into as many running sums as a pixel has cells,
then columns, once a cell row is complete. Everything releases the interpreter lock.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}


@njit(**_OPTIONS)
def _drop_row(sums, start_x, taps_x, out, cell_row):
    """One complete row of sums (3, W) into the cells of ``out[:, cell_row]``; the sums are cleared."""
    count = taps_x.shape[1]
    for c in range(3):
        row, cells = sums[c], out[c, cell_row]
        for cell in range(start_x.size):
            # Slices, whose indices cannot be negative, are what the compiler turns into vectors.
            pixels, weights = row[start_x[cell] : start_x[cell] + count], taps_x[cell]
            total = np.float32(0.0)
            for k in range(count):
                total += weights[k] * pixels[k]
            cells[cell] = total
        row[:] = 0.0


@njit(**_OPTIONS)
def _take_row(light, y, grid, sums, base, out):
    """Add a row of light to its cells; those that it is past are complete. Returns the first cell still open."""
    start_y, taps_y, start_x, taps_x = grid
    count = taps_y.shape[1]
    while base < start_y[y]:
        _drop_row(sums[base % count], start_x, taps_x, out, base)
        base += 1
    for k in range(0, count - 1, 2):
        near, far = taps_y[y, k], taps_y[y, k + 1]
        for c in range(3):
            here, there, source = sums[(base + k) % count, c], sums[(base + k + 1) % count, c], light[c]
            if far == 0:  # most rows, where cells do not overlap
                for x in range(source.size):
                    here[x] += near * source[x]
            else:
                for x in range(source.size):
                    here[x] += near * source[x]
                    there[x] += far * source[x]
    if count % 2:
        near = taps_y[y, count - 1]
        for c in range(3):
            here, source = sums[(base + count - 1) % count, c], light[c]
            for x in range(source.size):
                here[x] += near * source[x]
    return base


@njit(**_OPTIONS)
def _take(light, y, grids, sums, bases, outs):
    """Add a row of light to the cells of every grid."""
    for k in range(len(grids)):
        bases[k] = _take_row(light, y, grids[k], sums[k], bases[k], outs[k])


@njit(**_OPTIONS)
def _drop_rest(grids, sums, bases, outs):
    for k in range(len(grids)):
        count = sums[k].shape[0]
        for base in range(bases[k], outs[k].shape[1]):
            _drop_row(sums[k][base % count], grids[k][2], grids[k][3], outs[k], base)


@njit(**_OPTIONS)
def _code_row(frame, table, y, light):
    row = frame[y]
    for x in range(light.shape[1]):
        light[0, x] = table[row[3 * x]]
        light[1, x] = table[row[3 * x + 1]]
        light[2, x] = table[row[3 * x + 2]]


@njit(**_OPTIONS)
def _light_row(frame, y, light):
    row = frame[y]
    for x in range(light.shape[1]):
        light[0, x] = row[3 * x]
        light[1, x] = row[3 * x + 1]
        light[2, x] = row[3 * x + 2]


@njit(**_OPTIONS)
def _between_rows(plane, y, out):
    """Chroma at luma row y, minus 128, linear between its samples, which lie midway between rows.

    (H/2, W/2) uint8 -> out (W/2 + 2,), the first and last sample repeated.
    """
    near = y // 2
    far = min(max(near - 1 if y % 2 == 0 else near + 1, 0), plane.shape[0] - 1)
    here, there, inner = plane[near], plane[far], out[1:-1]
    for x in range(inner.size):
        inner[x] = np.float32(0.75) * np.float32(here[x]) + (np.float32(0.25) * np.float32(there[x]) - np.float32(128))
    out[0], out[-1] = out[1], out[-2]


@njit(**_OPTIONS)
def _between_columns(u, u_gain, v, v_gain, centred, half, out):
    """u_gain u + v_gain v at every pixel, linear between samples that lie at the even columns or, ``centred``, midway.

    u, v (W/2 + 2,) -> out (W,); half (W/2 + 2,) is scratch.
    """
    for x in range(half.size):
        half[x] = u_gain * u[x] + v_gain * v[x]
    before, here, after = half[:-2], half[1:-1], half[2:]
    if centred:
        for x in range(here.size):
            out[2 * x] = np.float32(0.75) * here[x] + np.float32(0.25) * before[x]
            out[2 * x + 1] = np.float32(0.75) * here[x] + np.float32(0.25) * after[x]
    else:
        for x in range(here.size):
            out[2 * x] = here[x]
            out[2 * x + 1] = np.float32(0.5) * (here[x] + after[x])


@njit(**_OPTIONS)
def _curve_row(grey, colour, knee, low, high, light):
    """Linear light of the codes grey + colour, clipped to 0..1: (W,) each."""
    zero, one = np.float32(0.0), np.float32(1.0)
    a0, a1, a2, a3 = low[0], low[1], low[2], low[3]
    b0, b1, b2, b3, b4, b5, b6, b7 = high[0], high[1], high[2], high[3], high[4], high[5], high[6], high[7]
    for x in range(light.size):
        code = min(max(grey[x] + colour[x], zero), one)
        dark = ((a3 * code + a2) * code + a1) * code + a0
        bright = ((((((b7 * code + b6) * code + b5) * code + b4) * code + b3) * code + b2) * code + b1) * code + b0
        light[x] = dark if code <= knee else bright


@njit(**_OPTIONS)
def _yuv_row(luma, u, v, centred, matrix, knee, low, high, y, scratch, light):
    """Linear light of one row of a 4:2:0 frame, (3, W); ``matrix`` as in :class:`lps_sim.yuv.YuvFrame`.

    scratch (5, W + 2)
    """
    width = luma.shape[1]
    blue, red, half = scratch[0, : width // 2 + 2], scratch[1, : width // 2 + 2], scratch[2, : width // 2 + 2]
    grey, colour, row = scratch[3, :width], scratch[4, :width], luma[y]
    _between_rows(u, y, blue)
    _between_rows(v, y, red)
    scale, offset = matrix[0], matrix[1]
    for x in range(width):
        grey[x] = scale * (np.float32(row[x]) - offset)
    for c in range(3):
        _between_columns(blue, matrix[2 + c], red, matrix[5 + c], centred, half, colour)
        _curve_row(grey, colour, knee, low, high, light[c])


@njit(**_OPTIONS)
def shrink_codes(frame, table, grids, sums, outs):
    """Means of ``table[frame]`` in the cells of one or more grids: (H, 3 W) uint8 -> outs, (3, rows, columns) float32.

    A grid is (start_y (H,), taps_y (H, K), start_x (columns,), taps_x (columns, M)): each pixel row's first cell row
    and its weights, each cell column's first pixel and its weights. sums: zeros (K, 3, W) a grid.
    """
    light = np.empty((3, frame.shape[1] // 3), np.float32)
    bases = np.zeros(len(grids), np.int64)
    for y in range(frame.shape[0]):
        _code_row(frame, table, y, light)
        _take(light, y, grids, sums, bases, outs)
    _drop_rest(grids, sums, bases, outs)


@njit(**_OPTIONS)
def shrink_light(frame, grids, sums, outs):
    """:func:`shrink_codes` on linear float32 light, (H, 3 W)."""
    light = np.empty((3, frame.shape[1] // 3), np.float32)
    bases = np.zeros(len(grids), np.int64)
    for y in range(frame.shape[0]):
        _light_row(frame, y, light)
        _take(light, y, grids, sums, bases, outs)
    _drop_rest(grids, sums, bases, outs)


@njit(**_OPTIONS)
def shrink_yuv(luma, u, v, centred, matrix, knee, low, high, grids, sums, outs):
    """:func:`shrink_codes` on the planes of a 4:2:0 frame, (H, W) and (H/2, W/2) uint8."""
    height, width = luma.shape
    light = np.empty((3, width), np.float32)
    scratch = np.empty((5, width + 2), np.float32)
    bases = np.zeros(len(grids), np.int64)
    for y in range(height):
        _yuv_row(luma, u, v, centred, matrix, knee, low, high, y, scratch, light)
        _take(light, y, grids, sums, bases, outs)
    _drop_rest(grids, sums, bases, outs)


@njit(**_OPTIONS)
def light_of_yuv(luma, u, v, centred, matrix, knee, low, high, out):
    """Linear light of every pixel of a 4:2:0 frame: (H, 3 W) float32."""
    height, width = luma.shape
    light = np.empty((3, width), np.float32)
    scratch = np.empty((5, width + 2), np.float32)
    for y in range(height):
        _yuv_row(luma, u, v, centred, matrix, knee, low, high, y, scratch, light)
        row = out[y]
        for x in range(width):
            row[3 * x] = light[0, x]
            row[3 * x + 1] = light[1, x]
            row[3 * x + 2] = light[2, x]
