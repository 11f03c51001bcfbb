"""Bare pictures without their noise: overlapping DCT blocks, thresholded, then Wiener-weighted, at unit noise.

A film that passes a sharp image passes the bare shot's noise with it; a prediction from a single shot is then no better
than that shot. The noise is known from the camera, so its level is made 1 everywhere first (variance stabilisation),
blocks are taken at every offset, and the thresholded picture guides the weights of the second pass.

References
----------
Yu & Sapiro 2011, "DCT image denoising" (IPOL); second pass as in Dabov et al. 2007 (BM3D), without its block search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Floats = NDArray[np.float64]

_BLOCK = 8
_THRESHOLD_SD = 2.7
_LEVELS = 256  # of the noise against the level


def denoised(picture: Floats, variance: Floats) -> Floats:
    """An estimate of the noise-free picture.

    Parameters
    ----------
    picture : (H, W, C) linear light
    variance : same shape, of the noise; independent between pixels; infinite where the picture is saturated, which
        stays as it is

    Returns
    -------
    the same shape, float64
    """
    result = np.array(picture, dtype=float)
    for channel in range(picture.shape[-1]):
        values, known = picture[..., channel], np.isfinite(variance[..., channel])
        if min(values.shape) < _BLOCK or not known.any() or not np.ptp(values[known]) > 0:
            continue
        level, unit = _unit_noise(values[known], variance[..., channel][known])
        z = np.interp(values, level, unit)
        guide = _blocks_weighted(z, z, _thresholded)
        clean = np.interp(_blocks_weighted(z, guide, _wiener), unit, level)
        result[..., channel] = np.where(known, clean, values)
    return result


def _unit_noise(values: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """(L,) levels and what they become where noise has the standard deviation 1: the integral of 1 / sd."""
    order = np.argsort(values)
    parts = [part for part in np.array_split(order, _LEVELS) if part.size]
    at = np.array([np.median(values[part]) for part in parts])
    sd = np.sqrt([np.median(variance[part]) for part in parts])
    level = np.linspace(values.min(), values.max(), 4 * _LEVELS)
    rate = 1.0 / np.maximum(np.interp(level, at, sd), 1e-12)
    return level, np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(level))])


def _thresholded(block: NDArray, _guide: NDArray) -> NDArray:
    return (np.abs(block) > _THRESHOLD_SD).astype(block.dtype)


def _wiener(_block: NDArray, guide: NDArray) -> NDArray:
    return guide**2 / (guide**2 + 1)


def _blocks_weighted(z: Floats, guide: Floats, shrink: Callable[[NDArray, NDArray], NDArray]) -> Floats:
    """Every block's DCT times ``shrink``, all blocks averaged by the noise that each keeps; (H, W)."""
    height, width = z.shape
    noisy, known = (np.pad(part, _BLOCK, mode="symmetric").astype(np.float32) for part in (z, guide))
    total, weights = np.zeros_like(noisy), np.zeros_like(noisy)
    for place in _offsets(noisy.shape):
        spectrum = fft.dctn(_cut(noisy[place]), axes=(2, 3), norm="ortho")
        pattern = spectrum if guide is z else fft.dctn(_cut(known[place]), axes=(2, 3), norm="ortho")
        keep = shrink(spectrum, pattern)
        keep[..., 0, 0] = 1  # the mean of a block is never taken for noise
        weight = 1 / (keep**2).sum(axis=(2, 3), keepdims=True)
        clean = fft.idctn(spectrum * keep, axes=(2, 3), norm="ortho")
        total[place] += _join(clean * weight)
        weights[place] += _join(np.broadcast_to(weight, clean.shape))
    return (total / weights)[_BLOCK : _BLOCK + height, _BLOCK : _BLOCK + width].astype(float)


def _offsets(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """The parts of a picture that whole blocks tile, from every offset."""
    for top in range(_BLOCK):
        for left in range(_BLOCK):
            rows, columns = ((count - begin) // _BLOCK * _BLOCK for count, begin in zip(shape, (top, left)))
            yield slice(top, top + rows), slice(left, left + columns)


def _cut(picture: NDArray) -> NDArray:
    """(H, W) -> (rows, columns, block, block)."""
    rows, columns = picture.shape[0] // _BLOCK, picture.shape[1] // _BLOCK
    return picture.reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2)


def _join(blocks: NDArray) -> NDArray:
    """The reverse of :func:`_cut`."""
    rows, columns = blocks.shape[:2]
    return blocks.swapaxes(1, 2).reshape(rows * _BLOCK, columns * _BLOCK)
