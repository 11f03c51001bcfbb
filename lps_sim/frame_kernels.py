"""Compiled loops that read a frame once: codes to linear light to weighted means in cells, two rows at a time.

Two rows of light of one colour, (2, W) float32, stay in the first-level cache until they are spent. Cells take pixels
by bands of weights (:class:`lps_sim.resampling.Cells`): rows first, into as many running sums as two rows have cells,
then columns, once a cell row is complete. Everything releases the interpreter lock.

The planes of a 4:2:0 frame are read as pairs of pixels, and light and sums then hold the even columns first and the odd
ones after them: nothing needs to be shuffled until a cell row is complete. Two rows of luma between the same two of
chroma are a pair, so the frame's first row and its last stand alone.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .fused import dot, fma

# The compiler must neither fuse products nor reorder sums: it does so otherwise in code that was just compiled than in
# the same code from the cache, and then single codes of a clip change, and its hash. Where it pays, both are written
# out.
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# Codes are finite: minimum and maximum are then one instruction.
_FINITE = {**_OPTIONS, "fastmath": {"nnan", "ninf", "nsz"}}


@njit(**_OPTIONS)
def _drop_row(sums, halves, start_x, taps_x, natural, out, cell_row):
    """One complete row of sums (3, S) into the cells of ``out[:, cell_row]``; the sums are cleared.

    halves: where the odd columns begin in ``sums``, after the even ones; 0 if in order. natural: scratch, (W,).
    """
    count = taps_x.shape[1]
    for c in range(3):
        row, cells = sums[c], out[c, cell_row]
        if halves:
            even, odd = row[: natural.size // 2], row[halves : halves + natural.size // 2]
            for x in range(even.size):
                natural[2 * x] = even[x]
                natural[2 * x + 1] = odd[x]
        else:
            natural[:] = row[: natural.size]
        for cell in range(start_x.size):
            first = start_x[cell]
            cells[cell] = dot(natural[first : first + count], taps_x[cell])
        row[:] = 0.0


@njit(**_OPTIONS)
def _add(light, near, far, here, there):
    """Add a row of light to one cell row, and to the next unless its weight is 0."""
    if far == 0:
        for x in range(light.size):
            here[x] = fma(near, light[x], here[x])
    else:
        for x in range(light.size):
            here[x] = fma(near, light[x], here[x])
            there[x] = fma(far, light[x], there[x])


@njit(**_OPTIONS)
def _add_two(light, below, near, near_below, far, far_below, here, there):
    """:func:`_add` for two rows that share their cells."""
    if far == 0 and far_below == 0:
        for x in range(light.size):
            here[x] = fma(near, light[x], fma(near_below, below[x], here[x]))
    else:
        for x in range(light.size):
            here[x] = fma(near, light[x], fma(near_below, below[x], here[x]))
            there[x] = fma(far, light[x], fma(far_below, below[x], there[x]))


@njit(**_OPTIONS)
def _add_row(light, taps, base, sums, c):
    """Add a row of light of colour c to all its cells, the first of which is ``base``."""
    count, slots = taps.size, sums.shape[0]
    for k in range(0, count, 2):
        far = taps[k + 1] if k + 1 < count else np.float32(0.0)
        _add(light, taps[k], far, sums[(base + k) % slots, c], sums[(base + k + 1) % slots, c])


@njit(**_OPTIONS)
def _add_rows(light, low, high, y, c, grids, sums):
    """Add the rows y + low .. y + high - 1 of colour c, light[low:high] (2, S), to the cells of every grid."""
    for g in range(len(grids)):
        start, taps, ring = grids[g][0], grids[g][1], sums[g]
        count, slots = taps.shape[1], ring.shape[0]
        if high - low < 2 or start[y] != start[y + 1]:
            for k in range(low, high):
                _add_row(light[k], taps[y + k], start[y + k], ring, c)
            continue
        base, above, below = start[y], taps[y], taps[y + 1]
        for k in range(0, count, 2):
            far, far_below = np.float32(0.0), np.float32(0.0)
            if k + 1 < count:
                far, far_below = above[k + 1], below[k + 1]
            here, there = ring[(base + k) % slots, c], ring[(base + k + 1) % slots, c]
            _add_two(light[0], light[1], above[k], below[k], far, far_below, here, there)


@njit(**_OPTIONS)
def _drop_until(y, halves, grids, sums, bases, natural, outs):
    """Drop the cell rows that pixel row y is past; all of them where y is the frame's height."""
    for g in range(len(grids)):
        start, ring = grids[g][0], sums[g]
        end = start[y] if y < start.size else outs[g].shape[1]
        for base in range(bases[g], end):
            _drop_row(ring[base % ring.shape[0]], halves, grids[g][2], grids[g][3], natural, outs[g], base)
        bases[g] = max(bases[g], end)


@njit(**_OPTIONS)
def _grey_row(pairs, scale, shift, grey):
    """scale luma - shift of the pixel pairs of one row: (W/2,) uint16 -> even and odd columns in the halves of grey."""
    half = grey.size // 2
    even, odd = grey[: pairs.size], grey[half : half + pairs.size]
    for x in range(pairs.size):
        even[x] = fma(scale, np.float32(pairs[x] & np.uint16(255)), -shift)
        odd[x] = fma(scale, np.float32(pairs[x] >> np.uint16(8)), -shift)


@njit(**_OPTIONS)
def _colour_rows(u, v, u_below, v_below, matrix, colour):
    """What chroma adds to R, G and B at its own columns of the two luma rows between two of its rows.

    u, v, u_below, v_below (W/2,) uint8 -> colour (2, 3, W/2 + 2), the first and last sample repeated.
    """
    near, far, middle = np.float32(0.75), np.float32(0.25), np.float32(128)
    green_u, blue_u, red_v, green_v = matrix[3], matrix[4], matrix[5], matrix[6]
    red, green, blue = colour[0, 0, 1:-1], colour[0, 1, 1:-1], colour[0, 2, 1:-1]
    red_below, green_below, blue_below = colour[1, 0, 1:-1], colour[1, 1, 1:-1], colour[1, 2, 1:-1]
    for x in range(u.size):
        u0, u1 = np.float32(u[x]) - middle, np.float32(u_below[x]) - middle
        v0, v1 = np.float32(v[x]) - middle, np.float32(v_below[x]) - middle
        this_u, this_v = fma(near, u0, far * u1), fma(near, v0, far * v1)
        next_u, next_v = fma(far, u0, near * u1), fma(far, v0, near * v1)
        red[x], red_below[x] = red_v * this_v, red_v * next_v
        green[x], green_below[x] = fma(green_u, this_u, green_v * this_v), fma(green_u, next_u, green_v * next_v)
        blue[x], blue_below[x] = blue_u * this_u, blue_u * next_u
    for row in range(2):
        for c in range(3):
            line = colour[row, c]
            line[0], line[-1] = line[1], line[-2]


@njit(inline="always")
def _curve(code, bottom, top, low, straight, high):
    """Linear light of a code less the knee, clipped to bottom..top; see :class:`lps_sim.incoming.EotfPolynomial`."""
    code = max(min(code, top), bottom)
    bright = max(code, np.float32(0.0))
    rise = fma(fma(fma(fma(high[4], bright, high[3]), bright, high[2]), bright, high[1]), bright, high[0])
    if straight:
        return fma(rise, bright, fma(low[1], code, low[0]))
    return fma(rise, bright, fma(fma(fma(low[3], code, low[2]), code, low[1]), code, low[0]))


@njit(**_FINITE)
def _light_row(grey, colour, centred, knee, low, high, light):
    """Linear light of grey (S,) + colour (W/2 + 2,), even columns in the first half of (S,), odd ones in the other.

    Colour lies at the even columns or, ``centred``, midway between the two; it is linear between its samples.
    """
    half = light.size // 2
    before, here, after = colour[:-2], colour[1:-1], colour[2:]
    grey_even, grey_odd, even, odd = grey[: here.size], grey[half:], light[: here.size], light[half:]
    bottom, top = -knee, np.float32(1.0) - knee
    a0, a1, a2, a3 = low[0], low[1], low[2], low[3]
    a = (a0, a1, a2, a3)
    b = (high[0], high[1], high[2], high[3], high[4])
    straight = a2 == 0 and a3 == 0
    near, far, both = np.float32(0.75), np.float32(0.25), np.float32(0.5)
    if centred:
        for x in range(here.size):
            even[x] = _curve(fma(near, here[x], fma(far, before[x], grey_even[x])), bottom, top, a, straight, b)
            odd[x] = _curve(fma(near, here[x], fma(far, after[x], grey_odd[x])), bottom, top, a, straight, b)
    else:
        for x in range(here.size):
            even[x] = _curve(grey_even[x] + here[x], bottom, top, a, straight, b)
            odd[x] = _curve(fma(both, here[x] + after[x], grey_odd[x]), bottom, top, a, straight, b)


@njit(**_OPTIONS)
def _yuv_rows(pairs, u, v, matrix, knee, y, grey, colour):
    """Grey and colour of the rows y and y + 1, y odd, of those that the frame has; returns which, (low, high)."""
    height, last = pairs.shape[0], u.shape[0] - 1
    low, high = max(y, 0) - y, min(y + 2, height) - y
    for k in range(low, high):
        _grey_row(pairs[y + k], matrix[0], matrix[0] * matrix[1] + knee, grey[k])
    above, below = max((y - 1) // 2, 0), min((y + 1) // 2, last)
    _colour_rows(u[above], v[above], u[below], v[below], matrix, colour)
    return low, high


@njit(**_OPTIONS)
def shrink_codes(frame, table, grids, sums, scratch, outs):
    """Means of ``table[frame]`` in the cells of one or more grids: (H, 3 W) uint8 -> outs, (3, rows, columns) float32.

    A grid is (start_y (H,), taps_y (H, K), start_x (columns,), taps_x (columns, M)): each pixel row's first cell row
    and its weights, each cell column's first pixel and its weights. sums: zeros (K + 1 or more, 3, S) a grid, S >= W;
    scratch: (2, S).
    """
    height, width = frame.shape[0], frame.shape[1] // 3
    natural = np.empty(width, np.float32)
    bases = np.zeros(len(grids), np.int64)
    for y in range(0, height, 2):
        _drop_until(y, 0, grids, sums, bases, natural, outs)
        high = min(2, height - y)
        for c in range(3):
            for k in range(high):
                row, light = frame[y + k], scratch[k]
                for x in range(width):
                    light[x] = table[row[3 * x + c]]
            _add_rows(scratch, 0, high, y, c, grids, sums)
    _drop_until(height, 0, grids, sums, bases, natural, outs)


@njit(**_OPTIONS)
def shrink_light(frame, grids, sums, scratch, outs):
    """:func:`shrink_codes` on linear float32 light, (H, 3 W)."""
    height, width = frame.shape[0], frame.shape[1] // 3
    natural = np.empty(width, np.float32)
    bases = np.zeros(len(grids), np.int64)
    for y in range(0, height, 2):
        _drop_until(y, 0, grids, sums, bases, natural, outs)
        high = min(2, height - y)
        for c in range(3):
            for k in range(high):
                row, light = frame[y + k], scratch[k]
                for x in range(width):
                    light[x] = row[3 * x + c]
            _add_rows(scratch, 0, high, y, c, grids, sums)
    _drop_until(height, 0, grids, sums, bases, natural, outs)


@njit(**_OPTIONS)
def shrink_yuv(pairs, u, v, centred, matrix, knee, low, high, grids, sums, scratch, outs):
    """:func:`shrink_codes` on the planes of a 4:2:0 frame: pairs (H, W/2) uint16 of luma, u and v (H/2, W/2) uint8.

    matrix as in :class:`lps_sim.yuv.YuvFrame`; knee, low, high as in :class:`lps_sim.incoming.EotfPolynomial`; scratch:
    (4, S) zeros, S even and >= W.
    """
    height, width = pairs.shape[0], 2 * pairs.shape[1]
    natural = np.empty(width, np.float32)
    colour = np.empty((2, 3, width // 2 + 2), np.float32)
    light, grey, halves = scratch[:2], scratch[2:], scratch.shape[1] // 2
    bases = np.zeros(len(grids), np.int64)
    for y in range(-1, height, 2):
        _drop_until(max(y, 0), halves, grids, sums, bases, natural, outs)
        first, end = _yuv_rows(pairs, u, v, matrix, knee, y, grey, colour)
        for c in range(3):
            for k in range(first, end):
                _light_row(grey[k], colour[k, c], centred, knee, low, high, light[k])
            _add_rows(light, first, end, y, c, grids, sums)
    _drop_until(height, halves, grids, sums, bases, natural, outs)


@njit(**_OPTIONS)
def light_of_yuv(pairs, u, v, centred, matrix, knee, low, high, scratch, out):
    """Linear light of every pixel of a 4:2:0 frame: (H, 3 W) float32."""
    height, count = pairs.shape
    colour = np.empty((2, 3, count + 2), np.float32)
    light, grey, halves = scratch[0], scratch[2:], scratch.shape[1] // 2
    even, odd = light[:count], light[halves : halves + count]
    for y in range(-1, height, 2):
        first, end = _yuv_rows(pairs, u, v, matrix, knee, y, grey, colour)
        for k in range(first, end):
            row = out[y + k]
            for c in range(3):
                _light_row(grey[k], colour[k, c], centred, knee, low, high, light)
                for x in range(count):
                    row[6 * x + c] = even[x]
                    row[6 * x + 3 + c] = odd[x]
