"""Frames brought to the network's size without losing what averaging gains."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

FINE = 128
"""Steps of a code value in resized frames (int16): averaging pixels gains precision that 8 bits would round away."""


def fit_frames(frames: np.ndarray, size: int) -> np.ndarray:
    """(K, H, W, 3) uint8 -> (K, size, size, 3): unchanged where it fits, else int16 in 1/128 codes.

    Averaged over areas where it shrinks, bilinear where it grows.
    """
    if frames.shape[1:3] == (size, size):
        return frames
    return np.rint(np.stack([resized(frame.astype(np.float32), size) for frame in frames]) * FINE).astype(np.int16)


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 3) -> (size, size, 3) of the same type."""
    if image.shape[:2] == (size, size):
        return image
    grows = min(image.shape[:2]) < size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR if grows else cv2.INTER_AREA)


def white_level(frames: Tensor) -> int:
    """The value of frames of :func:`fit_frames` that is white (code 255)."""
    return 255 * (FINE if frames.dtype == torch.int16 else 1)
