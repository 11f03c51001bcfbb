"""What the operator sees of the camera: a small picture, its histogram, clipping, and how sharp it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lps_sim.calibration.shot_validation import SATURATED_SHARE

from .cameras.protocol import CameraFacts, Frame, eight_bits

LARGEST_SIDE_PX = 480
_DARK_SHARE = 4 / 255


@dataclass(frozen=True)
class CameraPreview:
    """One look through the camera.

    Parameters
    ----------
    codes : (h, w, 3) uint8, the picture reduced to at most 480 px
    histogram : (3, 256) share of the pixels at each 8-bit code, by channel
    clipped_share, dark_share : of the pixels with a channel saturated, with all channels at black
    focus : rms of the Laplacian over the mean code, of the whole picture; compare it within one scene alone
    at_s : time of the frame
    """

    codes: NDArray[np.uint8]
    histogram: NDArray[np.float64]
    clipped_share: float
    dark_share: float
    focus: float
    at_s: float


def preview_of(frame: Frame, facts: CameraFacts) -> CameraPreview:
    """The preview of a frame."""
    import cv2

    codes = np.ascontiguousarray(eight_bits(frame.codes, facts.bits))
    grey = cv2.cvtColor(codes, cv2.COLOR_RGB2GRAY).astype(np.float32)
    sharp = cv2.Laplacian(grey, cv2.CV_32F)
    scale = min(1.0, LARGEST_SIDE_PX / max(codes.shape[:2]))
    size = (max(1, round(codes.shape[1] * scale)), max(1, round(codes.shape[0] * scale)))
    return CameraPreview(
        codes=cv2.resize(codes, size, interpolation=cv2.INTER_AREA) if scale < 1 else codes,
        histogram=np.stack([np.bincount(codes[..., c].ravel(), minlength=256) for c in range(3)]) / grey.size,
        clipped_share=float((codes >= SATURATED_SHARE * 255).any(axis=-1).mean()),
        dark_share=float((codes <= _DARK_SHARE * 255).all(axis=-1).mean()),
        focus=float(np.sqrt((sharp**2).mean()) / max(float(grey.mean()), 1.0)),
        at_s=frame.at_s,
    )
