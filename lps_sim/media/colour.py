"""YUV and RGB: which matrix and range a frame has, and the conversion both ways with swscale told so explicitly.

swscale's own default for 4:2:0 to RGB repeats chroma and truncates: 1-3 code values too dark, measured against the
standard's formula. The flags used here meet the formula to rounding (half a code value; see
tests/lps_sim/test_media.py). Left to itself swscale also takes every untagged frame for BT.601.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from ..yuv import LUMA_WEIGHTS, YuvFrame


class MediaError(ValueError):
    """A file that is there but cannot be used: not a video, damaged, truncated, or in an unsupported form."""


# ITU-T H.273 code points as FFmpeg stores them.
MATRICES = {
    0: "rgb",
    1: "bt709",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020nc",
    10: "bt2020c",
}
TRANSFERS = {
    1: "bt709",
    4: "gamma22",
    5: "gamma28",
    6: "smpte170m",
    8: "linear",
    13: "srgb",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "pq",
    18: "hlg",
}
HDR_TRANSFERS = ("pq", "hlg")
LIMITED, FULL = 1, 2
RANGES = {LIMITED: "limited", FULL: "full"}

# swscale's coefficient tables; BT.470BG and SMPTE 170M are both BT.601.
_SWS_MATRIX = {"bt709": 1, "fcc": 4, "bt470bg": 5, "smpte170m": 5, "smpte240m": 7, "bt2020nc": 9, "rgb": 1}
# SWS_BILINEAR | SWS_FULL_CHR_H_INT | SWS_ACCURATE_RND of libswscale; PyAV names the last two only from version 18 on.
_ACCURATE = 0x2 | 0x2000 | 0x40000
_PLANAR_420 = ("yuv420p", "yuvj420p")
_WRITTEN_420 = {"yuv420p": np.dtype(np.uint8), "yuv420p10le": np.dtype("<u2")}
_LEAST_STEP = 4  # chroma codes from sample to sample: the two sides are then a code and more apart
_ROUNDED = 0.6  # codes: rounding to 8 bits, and swscale's own sums
_HD_WIDTH, _HD_HEIGHT = 1280, 577


def is_rgb(pixel_format: str) -> bool:
    """Whether a pixel format stores red, green and blue (or a palette of them) and so needs no matrix."""
    return pixel_format.startswith(("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "pal8", "x2rgb", "x2bgr"))


def matrix_name(tag: int, pixel_format: str, width: int, height: int) -> str:
    """The YUV matrix of a frame: its tag, or where it has none the guess that players make by size.

    The guess: BT.709 from 1280 pixels wide or 577 lines high, BT.601 (``smpte170m``) below.
    """
    if is_rgb(pixel_format):
        return "rgb"
    if tag in MATRICES and MATRICES[tag] != "rgb":
        return MATRICES[tag]
    return "bt709" if width >= _HD_WIDTH or height >= _HD_HEIGHT else "smpte170m"


def range_tag(tag: int, pixel_format: str) -> int:
    """``LIMITED`` (16..235) or ``FULL`` (0..255): the tag; without one, full for RGB and yuvj formats, else limited."""
    if is_rgb(pixel_format) or pixel_format.startswith("yuvj"):
        return FULL
    return tag if tag in RANGES else LIMITED


class ToPlanes:
    """Hands out the planes of one stream's 8-bit 4:2:0 frames, not copied.

    Where the chroma samples lie between the pixels is known to FFmpeg but not told by PyAV, so it is found out: by the
    side that swscale takes on the first frame whose colour changes along a row.
    """

    def __init__(self, to_rgb: ToRgb) -> None:
        self._to_rgb = to_rgb
        self._centred: bool | None = None
        self._unknown = False

    def __call__(self, frame: Any) -> YuvFrame | None:
        """av.VideoFrame -> YuvFrame in the stored orientation, valid as long as it is referred to; None for every other
        format, for odd sizes, and where chroma lies elsewhere than midway between rows.
        """
        pixel_format = frame.format.name
        matrix = matrix_name(int(frame.colorspace), pixel_format, frame.width, frame.height)
        if self._unknown or pixel_format not in _PLANAR_420 or frame.width % 2 or frame.height % 2:
            return None
        if matrix not in LUMA_WEIGHTS:
            return None
        luma, u, v = (plane_array(plane) for plane in frame.planes)
        full_range = range_tag(int(frame.color_range), pixel_format) == FULL
        if self._centred is None and np.ptp(v) >= _LEAST_STEP:
            self._find_siting(YuvFrame(luma, u, v, matrix, full_range), frame)
        return None if self._unknown else YuvFrame(luma, u, v, matrix, full_range, bool(self._centred))

    def _find_siting(self, known: YuvFrame, frame: Any) -> None:
        steps = np.abs(np.diff(known.v.astype(np.int16), axis=1)).max(axis=1)
        row = int(steps.argmax())
        if steps[row] < _LEAST_STEP:
            return  # no colour edge yet: either side gives this picture
        # Rows of luma around that of chroma, and their neighbours in chroma.
        low, high = max(0, row - 1), min(known.v.shape[0], row + 2)
        part = replace(known, luma=known.luma[2 * low : 2 * high], u=known.u[low:high], v=known.v[low:high])
        inner = slice(2 * (row - low), 2 * (row - low) + 2)
        rgb = self._to_rgb(frame)[2 * row : 2 * row + 2].astype(float)
        errors = [np.abs(255 * replace(part, centred=side).rgb()[inner] - rgb).max() for side in (False, True)]
        self._centred = errors[1] < errors[0]
        self._unknown = min(errors) > _ROUNDED


class ToRgb:
    """Converts decoded frames of one stream to 8-bit RGB; holds swscale's context between frames."""

    def __init__(self, threads: int = 1) -> None:
        self._reformatter = VideoReformatter()
        self._threads = threads

    def __call__(self, frame: Any) -> np.ndarray:
        """av.VideoFrame -> (H, W, 3) uint8, still in the stored orientation.

        Raises MediaError for a matrix that swscale does not have (YCgCo, constant-luminance BT.2020).
        """
        pixel_format = frame.format.name
        matrix = matrix_name(int(frame.colorspace), pixel_format, frame.width, frame.height)
        if matrix not in _SWS_MATRIX:
            raise MediaError(f"colour matrix {matrix} is not supported (known: {', '.join(sorted(_SWS_MATRIX))})")
        # To planes and packed by OpenCV: the same bytes as swscale's own packed RGB in less than half of its time.
        planar = pixel_format.startswith("yuv")
        rgb = self._reformatter.reformat(
            frame,
            format="gbrp" if planar else "rgb24",
            src_colorspace=_SWS_MATRIX[matrix],
            dst_colorspace=_SWS_MATRIX[matrix],
            src_color_range=range_tag(int(frame.color_range), pixel_format),
            dst_color_range=FULL,
            interpolation=_ACCURATE,
            threads=self._threads,
        )
        if not planar:
            array: np.ndarray = rgb.to_ndarray()
            return array
        planes: list[Any] = list(rgb.planes)
        green, blue, red = (
            np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
            for plane in planes
        )
        return cv2.merge((red, green, blue))


class FromRgb:
    """Converts 8-bit RGB to an encoder's YUV format: limited range, given matrix.

    4:2:0 by :mod:`lps_sim.media.yuv_kernels`, the rest by swscale: one filter, half a code from the formula either way.
    """

    def __init__(self, pixel_format: str, matrix: str = "bt709") -> None:
        self._reformatter = VideoReformatter()
        self._pixel_format = pixel_format
        self._matrix = _SWS_MATRIX[matrix]
        self._rgb_to_420: Callable[..., None] | None = None
        if pixel_format in _WRITTEN_420:
            # Here, so that reading does without the compiler.
            from .yuv_kernels import rgb_to_420, whole_weights

            self._type = _WRITTEN_420[pixel_format]
            self._weights = whole_weights(matrix, 8 if self._type == np.uint8 else 10)
            self._rgb_to_420 = rgb_to_420

    def __call__(self, rgb: np.ndarray) -> Any:
        """(H, W, 3) uint8, C-contiguous -> av.VideoFrame."""
        if self._rgb_to_420 is not None:
            made = av.VideoFrame(rgb.shape[1], rgb.shape[0], self._pixel_format)
            planes = (plane_array(plane, self._type) for plane in made.planes)
            self._rgb_to_420(rgb.reshape(rgb.shape[0], -1), self._weights, *planes)
            made.colorspace, made.color_range = self._matrix, LIMITED
            return made
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        return self._reformatter.reformat(
            frame,
            format=self._pixel_format,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=FULL,
            dst_color_range=LIMITED,
            interpolation=_ACCURATE,
            threads=1,
        )


def plane_array(plane: Any, dtype: Any = np.uint8) -> np.ndarray:
    """A plane of an av.VideoFrame as the array (height, width) that it is, not copied."""
    rows = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // np.dtype(dtype).itemsize)
    return rows[: plane.height, : plane.width]
