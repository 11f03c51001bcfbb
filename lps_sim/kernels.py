"""Compiled inner loops of the fast engine: warp, filter, spread and finish one frame on one core.

Every kernel releases the interpreter lock and walks memory in order. They are compiled on first use and cached on disk.
Small fields are (3, rows, columns), frames are rows of interleaved colours (H, 3 W).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .fused import fma

# No fused or reordered arithmetic but what is written, see frame_kernels.
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
_FINITE = {**_OPTIONS, "fastmath": {"nnan", "ninf", "nsz"}}


_HORIZON = 16  # powers of a pole of -0.32: 1e-8 is left, nothing in float32


@njit(**_OPTIONS)
def mirror_pad(source, pad, out):
    """(3, h, w) into the middle of (3, h + 2 pad, w + 2 pad), its mirror image, edge repeated, around it."""
    height, width = source.shape[1], source.shape[2]
    for c in range(3):
        for y in range(out.shape[1]):
            row = (y - pad) % (2 * height)
            row = row if row < height else 2 * height - 1 - row
            out[c, y, pad : pad + width] = source[c, row]
            for k in range(pad):
                left, right = k % (2 * width), (width - 1 - k) % (2 * width)
                out[c, y, pad - 1 - k] = source[c, row, left if left < width else 2 * width - 1 - left]
                out[c, y, pad + width + k] = source[c, row, right if right < width else 2 * width - 1 - right]


@njit(**_OPTIONS)
def inverse_filter(fields, pole):
    """Undo, in place, the symmetric three-tap mean along both axes whose inverse has this ``pole``, within 0.32 of 0.

    A pole of sqrt(3) - 2 turns samples into cubic B-spline coefficients. fields (3, h, w) float32, mirrored at the
    edges (edge repeated): a recursive filter each way along each axis, started by the geometric sum over the mirror
    image (Unser 1999).
    """
    height, width = fields.shape[1], fields.shape[2]
    start = np.zeros(width, np.float32)
    one = np.float32(1.0)
    z = np.float32(pole)
    gain = (one - z) * (one - one / z)
    tail = z / (z - one)
    for c in range(3):
        plane = fields[c]
        power = one
        start[:] = 0.0
        for k in range(min(height, _HORIZON)):
            power *= z
            for x in range(width):
                start[x] += power * plane[k, x]
        for x in range(width):
            plane[0, x] = gain * gain * (plane[0, x] + start[x])
        for y in range(1, height):
            for x in range(width):
                plane[y, x] = gain * gain * plane[y, x] + z * plane[y - 1, x]
        for x in range(width):
            plane[height - 1, x] *= tail
        for y in range(height - 2, -1, -1):
            for x in range(width):
                plane[y, x] = z * (plane[y + 1, x] - plane[y, x])
        for y in range(height):
            row = plane[y]
            power = one
            first = np.float32(0.0)
            for k in range(min(width, _HORIZON)):
                power *= z
                first += power * row[k]
            row[0] += first
        # A recursion waits for its last step: four rows at once keep the processor busy.
        for y in range(0, height - 3, 4):
            _along_rows(plane[y], plane[y + 1], plane[y + 2], plane[y + 3], z, tail)
        for y in range(height - height % 4, height):
            _along_rows(plane[y], plane[y, :0], plane[y, :0], plane[y, :0], z, tail)


@njit(**_OPTIONS)
def _along_rows(a, b, c, d, z, tail):
    """The recursive filter forth and back along four rows, or along the first where the others are empty."""
    last = a.size - 1
    if b.size == 0:
        for x in range(1, a.size):
            a[x] += z * a[x - 1]
        a[last] *= tail
        for x in range(last - 1, -1, -1):
            a[x] = z * (a[x + 1] - a[x])
        return
    p, q, r, s = a[0], b[0], c[0], d[0]
    for x in range(1, a.size):
        p, q, r, s = a[x] + z * p, b[x] + z * q, c[x] + z * r, d[x] + z * s
        a[x], b[x], c[x], d[x] = p, q, r, s
    p, q, r, s = p * tail, q * tail, r * tail, s * tail
    a[last], b[last], c[last], d[last] = p, q, r, s
    for x in range(last - 1, -1, -1):
        p, q, r, s = z * (p - a[x]), z * (q - b[x]), z * (r - c[x]), z * (s - d[x])
        a[x], b[x], c[x], d[x] = p, q, r, s


@njit(**_OPTIONS)
def warp(source, rows, columns, weight, out):
    """Cubic B-spline at given positions, times a weight.

    source (3, h, w): coefficients; rows, columns, weight (R, C) float32: positions, at least 1 and at most the size
    minus 2 (not checked); out (3, R, C) float32.
    """
    sixth, one, three, four, six = np.float32(1 / 6), np.float32(1), np.float32(3), np.float32(4), np.float32(6)
    for r in range(out.shape[1]):
        for q in range(out.shape[2]):
            y, x = rows[r, q], columns[r, q]
            # Unsigned: an index that might be negative would be tested at every access.
            j, i = np.uint32(int(y) - 1), np.uint32(int(x) - 1)
            t, u = y - np.float32(j + 1), x - np.float32(i + 1)
            s, v = one - t, one - u
            wy0, wy3 = s * s * s * sixth, t * t * t * sixth
            wy1 = (four - six * t * t + three * t * t * t) * sixth
            wy2 = one - wy0 - wy1 - wy3
            wx0, wx3 = v * v * v * sixth, u * u * u * sixth
            wx1 = (four - six * u * u + three * u * u * u) * sixth
            wx2 = one - wx0 - wx1 - wx3
            node = weight[r, q]
            for c in range(3):
                a, b, d, e = source[c, j], source[c, j + 1], source[c, j + 2], source[c, j + 3]
                total = wy0 * fma(wx0, a[i], fma(wx1, a[i + 1], fma(wx2, a[i + 2], wx3 * a[i + 3])))
                total += wy1 * fma(wx0, b[i], fma(wx1, b[i + 1], fma(wx2, b[i + 2], wx3 * b[i + 3])))
                total += wy2 * fma(wx0, d[i], fma(wx1, d[i + 1], fma(wx2, d[i + 2], wx3 * d[i + 3])))
                total += wy3 * fma(wx0, e[i], fma(wx1, e[i + 1], fma(wx2, e[i + 2], wx3 * e[i + 3])))
                out[c, r, q] = total * node


@njit(**_OPTIONS)
def warp_quintic(source, rows, columns, weight, out):
    """:func:`warp` with the quintic B-spline; positions at least 2 and at most the size minus 3 (not checked)."""
    weight_y, weight_x = np.empty(6, np.float32), np.empty(6, np.float32)
    for r in range(out.shape[1]):
        for q in range(out.shape[2]):
            y, x = rows[r, q], columns[r, q]
            j, i = np.uint32(int(y) - 2), np.uint32(int(x) - 2)
            _quintic(y - np.float32(j + 2), weight_y)
            _quintic(x - np.float32(i + 2), weight_x)
            for c in range(3):
                total = np.float32(0.0)
                for k in range(6):
                    line = source[c, j + k]
                    value = np.float32(0.0)
                    for n in range(6):
                        value = fma(weight_x[n], line[i + n], value)
                    total = fma(weight_y[k], value, total)
                out[c, r, q] = total * weight[r, q]


@njit(**_OPTIONS)
def _quintic(t, weights):
    """The six values of the quintic B-spline at a fraction ``t`` behind a knot."""
    unit = np.float32(1 / 120)
    s = np.float32(1.0) - t
    t2, s2 = t * t, s * s
    weights[0] = unit * s2 * s2 * s
    weights[5] = unit * t2 * t2 * t
    weights[1] = unit * (26 - t * (50 - t * (20 + t * (20 - t * (20 - 5 * t)))))
    weights[4] = unit * (26 - s * (50 - s * (20 + s * (20 - s * (20 - 5 * s)))))
    weights[2] = unit * (66 - t2 * (60 - t2 * (30 - 10 * t)))
    weights[3] = unit * (66 - s2 * (60 - s2 * (30 - 10 * s)))


@njit(**_OPTIONS)
def spread_columns(source, start, taps, out):
    """Resample rows with banded weights: (3, h, w), start (W,), taps (W, K) -> (h, 3 W) interleaved."""
    for y in range(source.shape[1]):
        reds, greens, blues, line = source[0, y], source[1, y], source[2, y], out[y]
        for x in range(start.size):
            weights, first = taps[x], np.uint32(start[x])
            red = green = blue = np.float32(0.0)
            for k in range(weights.size):
                cell = first + np.uint32(k)  # unsigned, as above
                red = fma(weights[k], reds[cell], red)
                green = fma(weights[k], greens[cell], green)
                blue = fma(weights[k], blues[cell], blue)
            line[3 * x], line[3 * x + 1], line[3 * x + 2] = red, green, blue


@njit(**_OPTIONS)
def _light_row(y, source, start, taps, direct, direct_weight, veil, gain, row):
    """One row of linear sensor signal: banded column resampling, unscattered light, veil, vignetting x exposure."""
    weights, first = taps[y], start[y]
    line, weight = source[first], weights[0]
    for j in range(row.size):
        row[j] = weight * line[j]
    for k in range(1, weights.size):
        line, weight = source[first + k], weights[k]
        for j in range(row.size):
            row[j] = fma(weight, line[j], row[j])
    if direct.shape[0]:
        share, own = direct_weight[y], direct[y]
        for j in range(row.size):
            row[j] = fma(share[j], own[j], row[j])
    red, green, blue = veil[0], veil[1], veil[2]
    factors = gain[y]
    for x in range(factors.size):
        factor = factors[x]
        row[3 * x] = (row[3 * x] + red) * factor
        row[3 * x + 1] = (row[3 * x + 1] + green) * factor
        row[3 * x + 2] = (row[3 * x + 2] + blue) * factor


@njit(**_OPTIONS)
def finish_light(source, start, taps, direct, direct_weight, veil, gain, out):
    """Linear sensor signal without noise, (H, 3 W) float32."""
    for y in range(out.shape[0]):
        _light_row(y, source, start, taps, direct, direct_weight, veil, gain, out[y])


@njit(**_FINITE)
def _add_noise(row, temporal, fixed, shot, read, prnu):
    for j in range(row.size):
        signal = max(row[j], np.float32(0.0))
        spread = np.sqrt(fma(shot, signal, read))
        row[j] = fma(spread, temporal[j], fma(signal * prnu, fixed[j], row[j]))


@njit(**_FINITE)
def _round(row, top, place):
    """Nearest whole numbers of row times ``top``, clipped to 0..top."""
    for j in range(row.size):
        place[j] = np.int32(min(max(row[j], np.float32(0.0)), np.float32(1.0)) * top + np.float32(0.5))


@njit(**_OPTIONS)
def finish_codes(
    source, start, taps, direct, direct_weight, veil, gain, noise, pool, pattern, offsets, pattern_offsets, codes, out
):
    """Sensor noise and coding on the way out: (H, 3 W) uint8, rounded once, then clipped.

    noise (3,) float32: shot variance a unit of signal, read variance, PRNU standard deviation, all of an output pixel;
    pool, pattern: long runs of normal deviates, entered at offsets[y] and pattern_offsets[y]; codes: uint8 table of
    signal 0..1.
    """
    row, place = np.empty(out.shape[1], np.float32), np.empty(out.shape[1], np.int32)
    index = place.view(np.uint32)  # unsigned, as above
    shot, read, prnu = noise[0], noise[1], noise[2]
    noisy = shot > 0 or read > 0 or prnu > 0
    top = np.float32(codes.size - 1)
    for y in range(out.shape[0]):
        _light_row(y, source, start, taps, direct, direct_weight, veil, gain, row)
        if noisy:
            temporal = pool[offsets[y] : offsets[y] + row.size]
            fixed = pattern[pattern_offsets[y] : pattern_offsets[y] + row.size]
            _add_noise(row, temporal, fixed, shot, read, prnu)
        _round(row, top, place)
        line = out[y]
        for j in range(line.size):
            line[j] = codes[index[j]]
