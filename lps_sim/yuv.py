"""A decoded 4:2:0 frame as it is stored, and what makes red, green and blue of it (ITU-T H.273)."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from .errors import UnknownNameError

# Luma weights of red and blue: BT.601 is BT.470BG and SMPTE 170M alike.
LUMA_WEIGHTS = {
    "bt709": (0.2126, 0.0722),
    "fcc": (0.30, 0.11),
    "bt470bg": (0.299, 0.114),
    "smpte170m": (0.299, 0.114),
    "smpte240m": (0.212, 0.087),
    "bt2020nc": (0.2627, 0.0593),
}


@dataclass(frozen=True)
class YuvFrame:
    """One 8-bit frame whose colour has half the resolution each way.

    Parameters
    ----------
    luma : (H, W) uint8, H and W even
    u, v : (H/2, W/2) uint8, blue and red difference; samples lie midway between rows
    matrix : one of :data:`LUMA_WEIGHTS`
    full_range : codes 0..255; else luma 16..235 and chroma 16..240
    centred : chroma samples lie midway between columns too (MPEG-1, JPEG), else at the even ones (MPEG-2, H.264)

    Raises ValueError naming the plane and its rule, UnknownNameError for another matrix.
    """

    luma: np.ndarray
    u: np.ndarray
    v: np.ndarray
    matrix: str
    full_range: bool = False
    centred: bool = False

    def __post_init__(self) -> None:
        if self.matrix not in LUMA_WEIGHTS:
            raise UnknownNameError("matrix", self.matrix, LUMA_WEIGHTS)
        height, width = self.luma.shape
        if height % 2 or width % 2 or 0 in self.luma.shape:
            raise ValueError(f"luma must have even sides, got {width}x{height}")
        for name, shape in (("luma", (height, width)), ("u", (height // 2, width // 2)), ("v", self.u.shape)):
            plane = getattr(self, name)
            if plane.dtype != np.uint8 or plane.shape != shape:
                raise ValueError(f"{name} must be uint8 {shape}, got {plane.dtype} {plane.shape}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3), that of the picture in red, green and blue."""
        return (*self.luma.shape, 3)

    @property
    def luma_pairs(self) -> np.ndarray:
        """(H, W/2) uint16, two pixels each, the even column in the low byte; luma's own memory where it can be."""
        luma = self.luma if self.luma.strides[1] == 1 else np.ascontiguousarray(self.luma)
        return luma.view("<u2").astype(np.uint16, copy=False)

    @property
    def coefficients(self) -> np.ndarray:
        """(8,) float32: scale, offset, blue-difference gains of R, G, B, red-difference gains of R, G, B.

        R, G, B (0..1) = scale (luma - offset) + gain_u (u - 128) + gain_v (v - 128).
        """
        return _coefficients(self.matrix, self.full_range)

    def rgb(self) -> np.ndarray:
        """Codes 0..1 of the picture in red, green and blue, clipped but not rounded: (H, W, 3) float32."""
        scale, offset, *gains = self.coefficients
        u, v = (full_chroma(plane, self.centred) for plane in (self.u, self.v))
        luma = scale * (self.luma - offset)
        return np.clip(np.stack([luma + gains[c] * u + gains[3 + c] * v for c in range(3)], axis=-1), 0, 1)


def full_chroma(plane: np.ndarray, centred: bool) -> np.ndarray:
    """Chroma at every pixel, minus 128, linear between its samples: (h, w) uint8 -> (2 h, 2 w) float32."""
    half = plane.astype(np.float32) - 128
    before, after = np.concatenate([half[:1], half[:-1]]), np.concatenate([half[1:], half[-1:]])
    rows = np.stack([0.75 * half + 0.25 * before, 0.75 * half + 0.25 * after], axis=1).reshape(-1, half.shape[1])
    left = np.concatenate([rows[:, :1], rows[:, :-1]], axis=1)
    right = np.concatenate([rows[:, 1:], rows[:, -1:]], axis=1)
    columns = [0.75 * rows + 0.25 * left, 0.75 * rows + 0.25 * right] if centred else [rows, 0.5 * (rows + right)]
    return np.stack(columns, axis=2).reshape(rows.shape[0], -1)


@functools.lru_cache(maxsize=16)
def _coefficients(matrix: str, full_range: bool) -> np.ndarray:
    red, blue = LUMA_WEIGHTS[matrix]
    green = 1 - red - blue
    luma, offset, chroma = (255, 0, 255) if full_range else (219, 16, 224)
    by_u = [0.0, -2 * (1 - blue) * blue / green, 2 * (1 - blue)]
    by_v = [2 * (1 - red), -2 * (1 - red) * red / green, 0.0]
    values = np.array([1 / luma, offset, *(g / chroma for g in by_u), *(g / chroma for g in by_v)], np.float32)
    values.flags.writeable = False
    return values
