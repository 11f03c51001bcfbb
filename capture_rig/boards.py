"""Targets that are more than a formula: the ChArUco board that says where the screen stands, and a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lps_sim.seeding import named_rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SQUARES = 12  # along the longer side
_MARKER_SHARE = 0.75  # of a square
_LEAST_SQUARE_PX = 16
_LEAVES_A_PIXEL = 0.012
_LARGEST_LEAF, _SMALLEST_LEAF_PX = 1 / 6, 2.0  # radius: of the height, and in px
_LEAF_LEVELS = (0.03, 0.9)


def charuco_board(width: int, height: int) -> tuple[Any, NDArray[np.float64]]:
    """OpenCV's board for a screen, and where its corners stand.

    Parameters: width, height of the screen in px. Returns the board (squares of whole pixels, centred), and (K, 2) the
    inner corners in display px, pixel centres at whole numbers, in the order of their ids.

    Raises ValueError where the screen has no room for three squares of 16 px each way.
    """
    import cv2

    longer, shorter = max(width, height), min(width, height)
    many = min(_SQUARES, longer // _LEAST_SQUARE_PX)
    few = min(round(many * shorter / longer), shorter // _LEAST_SQUARE_PX)
    if few < 3:
        raise ValueError(f"charuco needs 3 squares of {_LEAST_SQUARE_PX} px each way, got {width}x{height} px")
    across, down = (many, few) if width >= height else (few, many)
    square = min(width // across, height // down)
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_100)
    board = cv2.aruco.CharucoBoard((across, down), 1.0, _MARKER_SHARE, dictionary)
    corners = np.asarray(board.getChessboardCorners())[:, :2] * square
    left, top = (width - across * square) // 2, (height - down * square) // 2
    return board, corners + np.array([left - 0.5, top - 0.5])


def charuco(width: int, height: int) -> np.ndarray:
    """ChArUco board on white: corners with numbers of their own, for :func:`capture_rig.registration.register_charuco`.

    Reference: Garrido-Jurado et al. 2014.
    """
    board, _ = charuco_board(width, height)
    across, down = board.getChessboardSize()
    square = min(width // across, height // down)
    drawn = board.generateImage((across * square, down * square), marginSize=0, borderBits=1)
    left, top = (width - across * square) // 2, (height - down * square) // 2
    picture = np.ones((height, width), np.float32)
    picture[top : top + down * square, left : left + across * square] = drawn / 255
    return picture


def photo(width: int, height: int, *, seed: int = 1, path: str = "") -> np.ndarray:
    """A picture with the statistics of natural scenes; or the file at ``path``, brought to the screen, in grey.

    Without a file: dead leaves, discs that cover each other with radii distributed as r^-3, whose spectrum falls as
    that of photographs does (Lee, Mumford & Huang 2001). A file is decoded as sRGB and shrunk or enlarged to fill the
    screen, cut at its longer side.
    """
    if path:
        return _picture_of(path, width, height)
    rng = named_rng(seed, "photo target", width, height)
    count = max(50, round(_LEAVES_A_PIXEL * width * height))
    smallest, largest = _SMALLEST_LEAF_PX, max(_LARGEST_LEAF * height, 2 * _SMALLEST_LEAF_PX)
    share = rng.uniform(size=count)
    radius = (smallest**-2 - share * (smallest**-2 - largest**-2)) ** -0.5
    centre = rng.uniform([-largest, -largest], [width + largest, height + largest], (count, 2))
    level = rng.uniform(*_LEAF_LEVELS, count)
    picture = np.full((height, width), np.mean(_LEAF_LEVELS), np.float32)
    for r, (x, y), one in zip(radius, centre, level):
        top, bottom = max(0, math.floor(y - r)), min(height, math.ceil(y + r) + 1)
        left, right = max(0, math.floor(x - r)), min(width, math.ceil(x + r) + 1)
        if top < bottom and left < right:
            distance = np.hypot(np.arange(left, right)[None, :] - x, np.arange(top, bottom)[:, None] - y)
            cover = np.clip(r + 0.5 - distance, 0, 1)
            part = picture[top:bottom, left:right]
            part += (cover * (one - part)).astype(np.float32)
    return picture


def _picture_of(path: str, width: int, height: int) -> np.ndarray:
    import cv2

    from lps_sim.media import read_image
    from lps_sim.transfer import eotf_table

    codes = read_image(path)
    bits = 8 if codes.dtype == np.uint8 else 16
    light = eotf_table("srgb", bits)[codes][..., :3] @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    scale = max(width / light.shape[1], height / light.shape[0])
    size = max(width, round(light.shape[1] * scale)), max(height, round(light.shape[0] * scale))
    light = cv2.resize(light, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.clip(light[top : top + height, left : left + width], 0, 1).astype(np.float32)
