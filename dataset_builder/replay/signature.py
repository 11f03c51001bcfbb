"""The brightness signature of a frame: a coarse grid of mean linear light, which many layers of film leave over.

Film of ten layers blurs a frame by about a hundredth of its width and keeps a tenth of its contrast; means over cells
of a sixteenth of the width lose little more by the first, and average the camera's noise down against the second. The
cells overlap smoothly, so that the grid of a recording that shows the screen smaller, or shifted, is still a weighted
sum of the played one.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from lps_sim.transfer import eotf_table
from lps_sim.yuv import YuvFrame

ROWS, COLUMNS = 9, 16
CELLS = ROWS * COLUMNS
_FINE = 4  # steps a cell in which the overlap is drawn
_FINE_SIZE = (_FINE * COLUMNS, _FINE * ROWS)
_OVERLAP = 2.0  # of them: standard deviation of the Gaussian
FULL_SCALE = 65535
"""Signature value of full linear light: its steps are a hundredth of the 8-bit code at a tenth of full light."""


def signature(picture: NDArray[np.uint8] | YuvFrame) -> NDArray[np.uint16]:
    """(CELLS,) uint16: mean linear light of each cell, row by row; FULL_SCALE is white.

    The light is that of the luma code, which is luminance where colours are weak.

    Parameters
    ----------
    picture : (H, W, 3) uint8 sRGB, or a decoder's planes
    """
    if isinstance(picture, YuvFrame):
        luma, full_range = picture.luma, picture.full_range
    else:
        luma, full_range = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), True
    fine = cv2.resize(cv2.LUT(luma, _light_table(full_range)), _FINE_SIZE, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(fine, (0, 0), _OVERLAP, borderType=cv2.BORDER_REPLICATE)
    cells = cv2.resize(smooth, (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
    return np.rint(cells).astype(np.uint16).ravel()


@functools.lru_cache(maxsize=2)
def _light_table(full_range: bool) -> NDArray[np.float32]:
    """(256,) signature value of every luma code."""
    codes = np.arange(256.0)
    if not full_range:
        codes = np.clip((codes - 16) * 255 / 219, 0, 255)
    light = np.interp(codes, np.arange(256), eotf_table("srgb", 8))
    return (FULL_SCALE * light).astype(np.float32)
