"""How alike two pictures of one scene are: PSNR, SSIM, spectra by radial frequency, contrast of one structure size."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

WINDOW_PX, WINDOW_SIGMA_PX = 11, 1.5
_K1, _K2 = 0.01, 0.03
SILHOUETTE = 0.1
"""Of the picture's height: the size of structure that tells one silhouette from another."""
_WIDER = 1.6  # of the two Gaussians whose difference is nearest to a Laplacian (Marr & Hildreth 1980)
# The difference of Gaussians of sigma s and 1.6 s passes most at 0.1747 / s cycles a pixel.
_PEAK = math.sqrt(math.log(_WIDER**2) / (2 * math.pi**2 * (_WIDER**2 - 1)))
FEWEST_SIDE_PX = 16


def mean_square(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Mean squared difference of two pictures; raises ValueError for different shapes."""
    _check_alike(first, second)
    return float(np.mean((first.astype(np.float64) - second) ** 2))


def psnr(mean_squared: float, peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB, ``10 log10(peak^2 / mean squared difference)``; infinite without any."""
    return 10 * math.log10(peak**2 / mean_squared) if mean_squared else math.inf


def ssim(first: NDArray[Any], second: NDArray[Any], peak: float = 255.0) -> float:
    """Mean structural similarity of two grey pictures, (H, W) each, at least 16x16.

    Gaussian window of 11x11 px with sigma 1.5, K1 = 0.01, K2 = 0.03, whole windows only, as in the paper. Colour is
    left to the caller, and so is the averaging of large pictures that the authors' program does first.

    Raises ValueError for other shapes.

    References
    ----------
    Wang, Bovik, Sheikh & Simoncelli, "Image quality assessment: from error visibility to structural similarity",
    IEEE Trans. Image Processing 13 (2004) 600-612.
    """
    import cv2

    _check_alike(first, second)
    if first.ndim != 2 or min(first.shape) < FEWEST_SIDE_PX:
        raise ValueError(f"pictures must be (H, W) of at least {FEWEST_SIDE_PX} px a side, got {first.shape}")

    def mean(values: Floats) -> Floats:
        blurred = cv2.GaussianBlur(values, (WINDOW_PX, WINDOW_PX), WINDOW_SIGMA_PX)
        edge = WINDOW_PX // 2
        inner: Floats = blurred[edge:-edge, edge:-edge]
        return inner

    x, y = first.astype(np.float64), second.astype(np.float64)
    mean_x, mean_y = mean(x), mean(y)
    variances = mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float((luminance * (2 * covariance + c2) / (variances + c2)).mean())


def band_contrast(light: Floats, size: float = SILHOUETTE) -> float:
    """Contrast of structures of one size: standard deviation of the band-passed light, over its mean.

    The band is the difference of two Gaussians, and passes most at half a cycle per ``size`` of the picture's height.

    Parameters
    ----------
    light : (H, W) linear light
    size : share of the height, above 0..1
    """
    import cv2

    if not 0 < size <= 1:
        raise ValueError(f"size must be above 0 and at most 1, got {size:g}")
    mean = float(light.mean())
    if mean <= 0:
        return 0.0
    sigma = 2 * _PEAK * size * light.shape[0]
    values = light.astype(np.float32)
    narrow, wide = (cv2.GaussianBlur(values, (0, 0), s, borderType=cv2.BORDER_REFLECT) for s in (sigma, _WIDER * sigma))
    return float((narrow - wide).std(dtype=np.float64)) / mean


def spectrum(light: Floats) -> NDArray[np.complex128]:
    """(H, W // 2 + 1) Fourier transform of a picture less its mean, under a Hann window."""
    height, width = light.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    centred = light - float((light * window).sum() / window.sum())
    transform: NDArray[np.complex128] = np.fft.rfft2(centred * window)
    return transform


def radial_edges(height: int, width: int) -> NDArray[np.float64]:
    """Edges of the frequency bins in cycles a picture height: a third of an octave each, from 2 to the finest that both
    directions carry."""
    finest = height / 2 * min(1.0, width / height)
    edges: NDArray[np.float64] = 2 * 2 ** (np.arange(math.floor(3 * math.log2(finest / 2)) + 1) / 3)
    return edges


def radial_sums(values: Floats, width: int) -> Floats:
    """(bins,) sums of values on the half plane of :func:`spectrum`, by the bins of :func:`radial_edges`."""
    bins, count = _bins(values.shape[0], width)
    sums: Floats = np.bincount(bins.ravel(), values.ravel(), minlength=count + 2)[1 : count + 1].astype(np.float64)
    return sums


@cache
def _bins(height: int, width: int) -> tuple[NDArray[np.intp], int]:
    along = np.fft.rfftfreq(width) * height
    down = np.fft.fftfreq(height) * height
    edges = radial_edges(height, width)
    return np.digitize(np.hypot(along[None, :], down[:, None]), edges), len(edges) - 1


def _check_alike(first: NDArray[Any], second: NDArray[Any]) -> None:
    if first.shape != second.shape:
        raise ValueError(f"pictures must have one shape, got {first.shape} and {second.shape}")
