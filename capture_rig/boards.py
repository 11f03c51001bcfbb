"""ChArUco board for a screen: chessboard corners that name themselves, for registration without film.

A square is 8 modules wide, of which a 4 x 4 ArUco marker with its black rim takes the middle 6; a module is a whole
number of pixels, so that every edge lies between two pixels.

Reference: Garrido-Jurado et al. 2014 (ArUco).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

SQUARE_MODULES, MARKER_MODULES = 8, 6
_MOST_MARKERS = 250  # of the dictionary
_SQUARES_ACROSS = 8  # along the shorter side
_LEAST_SQUARES = 3  # below, fewer than four corners


@dataclass(frozen=True)
class CharucoBoard:
    """Where the board lies on the screen.

    Parameters
    ----------
    columns, rows : squares
    square_px : side of a square, screen px
    left, top : first pixel of the board
    """

    columns: int
    rows: int
    square_px: int
    left: int
    top: int

    def detector_board(self) -> Any:
        """OpenCV's board, in squares of 1; its corner ids count row by row from the top left."""
        import cv2

        dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_250)
        return cv2.aruco.CharucoBoard((self.columns, self.rows), 1.0, MARKER_MODULES / SQUARE_MODULES, dictionary)

    def corners(self) -> np.ndarray:
        """(columns - 1) x (rows - 1) inner corners in the order of their ids: (n, 2) screen px, centres at integers."""
        x = self.left - 0.5 + self.square_px * np.arange(1, self.columns)
        y = self.top - 0.5 + self.square_px * np.arange(1, self.rows)
        return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def charuco_board(width: int, height: int) -> CharucoBoard:
    """The board for a screen of ``width`` x ``height`` px: as many whole squares as fit, eight along its shorter side.

    Raises ValueError for a screen on which no three squares fit.
    """
    module = max(1, min(width, height) // (SQUARE_MODULES * (_SQUARES_ACROSS + 1)))
    square = SQUARE_MODULES * module
    columns, rows = ((side - 2 * module) // square for side in (width, height))
    if min(columns, rows) < _LEAST_SQUARES:
        least = _LEAST_SQUARES * SQUARE_MODULES + 2
        raise ValueError(f"charuco needs a screen of at least {least} px each way, got {width}x{height}")
    columns = min(columns, 2 * _MOST_MARKERS // rows) if columns >= rows else columns
    rows = min(rows, 2 * _MOST_MARKERS // columns)
    return CharucoBoard(columns, rows, square, (width - columns * square) // 2, (height - rows * square) // 2)


def charuco(width: int, height: int) -> np.ndarray:
    """The board in black on a white screen: homography and lens distortion without film."""
    board = charuco_board(width, height)
    size = (board.columns * board.square_px, board.rows * board.square_px)
    drawn = board.detector_board().generateImage(size, marginSize=0, borderBits=1)
    picture = np.ones((height, width), dtype=np.float32)
    picture[board.top : board.top + size[1], board.left : board.left + size[0]] = drawn > 127
    return picture
