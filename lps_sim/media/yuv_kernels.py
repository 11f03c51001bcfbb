"""Compiled RGB to the 4:2:0 planes of an encoder: swscale's own filter, a sixth of its time for small frames.

Colour is the mean of two columns, and of four rows with the weights 1, 3, 3, 1. Sums are whole numbers below 2^24,
exact in single precision and rounded once: the same bytes on every processor.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..yuv import LUMA_WEIGHTS

_LUMA_SCALE_BITS, _CHROMA_SCALE_BITS = 15, 17  # of 8-bit codes: the most that keeps the sums below 2^24
_CHROMA_PARTS = 16  # a chroma sample's pixels, weights counted
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


def whole_weights(matrix: str, bits: int) -> np.ndarray:
    """(3, 5) float32, for Y, U and V in limited range: whole weights of R, G and B, what they are to be multiplied with
    to give codes of ``bits`` bits, and the offset, half a code for rounding included.

    R, G, B are codes 0..255, for U and V the sum over 16 parts. The weights of U and of V add up to 0: grey stays grey.
    """
    red, blue = LUMA_WEIGHTS[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    one = 2.0 ** (bits - 8)
    scale = 2.0**_LUMA_SCALE_BITS / one
    rows = [[*np.rint(219 * one * luma / 255 * scale), 1 / scale, 16 * one + 0.5]]
    scale = 2.0**_CHROMA_SCALE_BITS / one
    for channel in (2, 0):
        gain = 224 * one / (2 * (1 - luma[channel]) * 255 * _CHROMA_PARTS)
        whole = np.rint(gain * scale * (np.eye(3)[channel] - luma))
        whole[channel] -= whole.sum()
        rows.append([*whole, 1 / scale, 128 * one + 0.5])
    return np.array(rows, np.float32)


@njit(**_OPTIONS)
def _planar_row(row, out):
    """(3 W,) uint8 -> (3, W) float32."""
    red, green, blue = out[0], out[1], out[2]
    for x in range(red.size):
        red[x] = row[3 * x]
        green[x] = row[3 * x + 1]
        blue[x] = row[3 * x + 2]


@njit(**_OPTIONS)
def _coded_row(colours, weights, out):
    """Codes of a row, (3, W) -> (W,) of the output's type."""
    red, green, blue = colours[0], colours[1], colours[2]
    r, g, b, unit, offset = weights[0], weights[1], weights[2], weights[3], weights[4]
    for x in range(out.size):
        out[x] = np.int32((r * red[x] + g * green[x] + b * blue[x]) * unit + offset)


@njit(**_OPTIONS)
def rgb_to_420(rgb, weights, luma, u, v):
    """(H, 3 W) uint8, H and W even -> luma (H, W), u and v (H/2, W/2), uint8 or uint16; rows at the edges repeat."""
    height, width = luma.shape
    rows, parts = np.empty((4, 3, width), np.float32), np.empty((3, width // 2), np.float32)
    three = np.float32(3.0)
    _planar_row(rgb[0], rows[0])
    _coded_row(rows[0], weights[0], luma[0])
    for k in range(u.shape[0]):
        y = 2 * k
        for below in range(y + 1, min(y + 3, height)):
            _planar_row(rgb[below], rows[below % 4])
            _coded_row(rows[below % 4], weights[0], luma[below])
        for c in range(3):
            first, last = rows[max(y - 1, 0) % 4, c], rows[min(y + 2, height - 1) % 4, c]
            here, there, total = rows[y % 4, c], rows[(y + 1) % 4, c], parts[c]
            for x in range(total.size):
                inner = here[2 * x] + here[2 * x + 1] + there[2 * x] + there[2 * x + 1]
                total[x] = three * inner + (first[2 * x] + first[2 * x + 1] + last[2 * x] + last[2 * x + 1])
        _coded_row(parts, weights[1], u[k])
        _coded_row(parts, weights[2], v[k])
