"""What a user would blur frames with instead: convolutions of the linear frame on the image plane.

Each takes one linear frame, float32, and gives its blur. They know no angle space, light from outside at most as a
mirror image, no noise and no coding; padding, tables and kernels are made beforehand and not counted.
benchmarks/degrade.py times them and finds the error that they reach.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from scipy import fft

from lps_sim import Camera, FilmModel

# Half a truncated kernel's side: direct convolution costs its square; OpenCV and kornia's fft_conv go through FFT.
DIRECT_RADIUS_PX, FFT_RADIUS_PX = 31, 255
# Frames on each side as far as a mirror image is padded; a halo goes on beyond.
PADDED_FRAMES = 0.5


class Alternative(NamedTuple):
    """A name, what it leaves out, and the work: no arguments -> (H, W, 3) float32 linear light before T and veil."""

    name: str
    simplification: str
    blur: Callable[[], np.ndarray]


def core_sigma_px(film: FilmModel, layers: int, camera: Camera) -> float | None:
    """Standard deviation of the film's Gaussian core at the image centre; of a film without rough faces, the Gaussian
    with the same frequency of half contrast; None where contrast never falls to half."""
    rough = float(film.sigma_rad.max()) * layers**0.5 * camera.f_px
    if rough > 0:
        return rough
    q = np.geomspace(0.01, 1e4, 4000)
    below = np.flatnonzero(film.mtf(q, layers)[:, 1] < 0.5)
    if below.size == 0:
        return None
    return float(np.sqrt(np.log(2) / 2) / np.pi / q[below[0]] * camera.f_px)


def plane_transfer(film: FilmModel, layers: int, camera: Camera, f_y: np.ndarray, f_x: np.ndarray) -> np.ndarray:
    """OTF (rows, columns, 3) float32 on the image plane: frequencies in cycles per pixel, scaled as at its centre."""
    q = np.hypot(f_y[:, None], f_x[None, :]) * camera.f_px
    nodes = np.linspace(0, 1, 4096) ** 3 * float(q.max())
    otf = film.otf(nodes, layers)
    return np.stack([np.interp(q, nodes, otf[:, c]) for c in range(3)], axis=-1).astype(np.float32)


def truncated_kernel(film: FilmModel, layers: int, camera: Camera, radius: int) -> tuple[np.ndarray, float]:
    """(3, 2 r + 1, 2 r + 1) float32 point spread summing to 1, and the share of the light that it held before."""
    side = fft.next_fast_len(max(2048, 8 * radius), True)
    spread = fft.irfft2(
        plane_transfer(film, layers, camera, fft.fftfreq(side), fft.rfftfreq(side)), (side, side), axes=(0, 1)
    )
    spread = np.roll(spread, (radius, radius), axis=(0, 1))[: 2 * radius + 1, : 2 * radius + 1]
    kernel = np.ascontiguousarray(np.moveaxis(spread, -1, 0), np.float32)
    shares = kernel.sum(axis=(1, 2))
    return kernel / shares[:, None, None], float(shares.min())


def mirrored(light: np.ndarray) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The frame amid its mirror image, sides good for an FFT, and where it lies."""
    pads = []
    for side in light.shape[:2]:
        whole = fft.next_fast_len(round(side * (1 + 2 * PADDED_FRAMES)), True)
        pads.append(((whole - side) // 2, whole - side - (whole - side) // 2))
    inner = tuple(slice(before, before + side) for (before, _), side in zip(pads, light.shape[:2]))
    return np.pad(light, [*pads, (0, 0)], mode="symmetric"), (inner[0], inner[1])


def cut_radius(radius: int, light: np.ndarray) -> int:
    """The radius, or what a smaller frame allows."""
    return min(radius, (min(light.shape[:2]) - 1) // 2)


def alternatives(light: np.ndarray, film: FilmModel, layers: int, camera: Camera) -> list[Alternative]:
    """All that can be had here."""
    found = [*by_scipy(light, film, layers, camera), *by_opencv(light, film, layers, camera)]
    if importlib.util.find_spec("torch"):
        found += by_torch(light, film, layers, camera)
    return found


def by_scipy(light: np.ndarray, film: FilmModel, layers: int, camera: Camera) -> list[Alternative]:
    """Real FFT of the padded frame, and the cosine transform, which needs no padding."""
    height, width = light.shape[:2]
    padded, inner = mirrored(light)
    rows, columns = padded.shape[:2]
    planes, padded = (np.ascontiguousarray(np.moveaxis(field, -1, 0)) for field in (light, padded))
    transfer = plane_transfer(film, layers, camera, fft.fftfreq(rows), fft.rfftfreq(columns))
    transfer = np.ascontiguousarray(np.moveaxis(transfer, -1, 0))
    cosine = plane_transfer(film, layers, camera, np.arange(height) / (2 * height), np.arange(width) / (2 * width))
    cosine = np.ascontiguousarray(np.moveaxis(cosine, -1, 0))

    def by_fft() -> np.ndarray:
        spectrum = fft.rfft2(padded)
        spectrum *= transfer
        blurred = fft.irfft2(spectrum, (rows, columns), overwrite_x=True)
        return np.moveaxis(blurred[:, inner[0], inner[1]], 0, -1)

    def by_cosine() -> np.ndarray:
        spectrum = fft.dctn(planes, axes=(1, 2))
        spectrum *= cosine
        return np.moveaxis(fft.idctn(spectrum, axes=(1, 2), overwrite_x=True), 0, -1)

    pad = f"mirror image for {PADDED_FRAMES:g} frame sides around"
    return [
        Alternative("scipy.fft rfft2", f"image plane; {pad}", by_fft),
        Alternative("scipy.fft dctn", "image plane", by_cosine),
    ]


def by_opencv(light: np.ndarray, film: FilmModel, layers: int, camera: Camera) -> list[Alternative]:
    """filter2D with the film's kernel cut off, and GaussianBlur with the width of its core."""
    radius = cut_radius(FFT_RADIUS_PX, light)
    kernel, share = truncated_kernel(film, layers, camera, radius)
    planes = [np.ascontiguousarray(light[..., c]) for c in range(3)]
    sigma_px = core_sigma_px(film, layers, camera)

    def filtered() -> np.ndarray:
        pairs = zip(planes, kernel)
        return np.stack([cv2.filter2D(p, -1, k, borderType=cv2.BORDER_REFLECT) for p, k in pairs], axis=-1)

    found = [Alternative("OpenCV filter2D", cut_text(radius, share), filtered)]
    if sigma_px is not None:

        def gaussian() -> np.ndarray:
            return cv2.GaussianBlur(light, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)

        found.append(Alternative("OpenCV GaussianBlur", f"Gaussian of {sigma_px:.1f} px alone, no halo", gaussian))
    return found


def by_torch(light: np.ndarray, film: FilmModel, layers: int, camera: Camera) -> list[Alternative]:
    """torch.fft, kornia and deepinv, the last two where they are installed; eager, on the processor."""
    import torch

    padded, inner = mirrored(light)
    rows, columns = padded.shape[:2]
    frame, padded_frame = (torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 0))) for x in (light, padded))
    transfer = plane_transfer(film, layers, camera, fft.fftfreq(rows), fft.rfftfreq(columns))
    response = torch.from_numpy(np.ascontiguousarray(np.moveaxis(transfer, -1, 0)))

    def by_fft() -> np.ndarray:
        blurred = torch.fft.irfft2(torch.fft.rfft2(padded_frame) * response, s=(rows, columns))
        return np.moveaxis(blurred.numpy()[:, inner[0], inner[1]], 0, -1)

    pad = f"mirror image for {PADDED_FRAMES:g} frame sides around"
    found = [Alternative("torch.fft rfft2", f"image plane; {pad}", by_fft)]
    small, large = (cut_radius(radius, light) for radius in (DIRECT_RADIUS_PX, FFT_RADIUS_PX))
    narrow, narrow_share = truncated_kernel(film, layers, camera, small)
    wide, wide_share = truncated_kernel(film, layers, camera, large)
    if importlib.util.find_spec("kornia"):
        from kornia import filters

        # A kernel a colour: colours take the place of the batch.
        def direct() -> np.ndarray:
            return np.moveaxis(filters.filter2d(frame[:, None], torch.from_numpy(narrow)).numpy()[:, 0], 0, -1)

        found.append(Alternative("kornia.filters.filter2d", cut_text(small, narrow_share), direct))
        if hasattr(filters, "fft_conv"):

            def through_fft() -> np.ndarray:
                return np.moveaxis(filters.fft_conv(frame[:, None], torch.from_numpy(wide)).numpy()[:, 0], 0, -1)

            found.append(Alternative("kornia.filters.fft_conv", cut_text(large, wide_share), through_fft))
    if importlib.util.find_spec("deepinv"):
        from deepinv.physics import BlurFFT

        physics = BlurFFT(img_size=tuple(frame.shape), filter=torch.from_numpy(wide)[None])

        def by_physics() -> np.ndarray:
            return np.moveaxis(physics(frame[None]).numpy()[0], 0, -1)

        found.append(Alternative("deepinv BlurFFT", cut_text(large, wide_share) + "; frame repeats itself", by_physics))
    return found


def cut_text(radius: int, share: float) -> str:
    """What a truncation leaves."""
    return f"image plane; kernel cut to {2 * radius + 1}x{2 * radius + 1} px ({100 * share:.1f} % of its light)"
