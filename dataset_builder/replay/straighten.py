"""From a recorded frame to the clip's part of the screen: straight, undistorted, at the recording's own resolution."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]


class View(Protocol):
    """What is needed of :class:`lps_sim.screen_view.ScreenView`."""

    def to_camera(self, points: NDArray[Any]) -> NDArray[Any]:
        """(n, 2) camera pixels of display pixels."""

    def rectify(self, picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
        """The whole display at ``size`` (width, height)."""


class Straightener:
    """Cuts clips out of recorded frames.

    Parameters
    ----------
    view : where the screen stands in the recording
    screen : (width, height) of the screen in its own pixels
    boxes : (left, top, width, height) of every clip on the screen, by its name in MAP

    A clip comes out with about one pixel for one of the recording, an even number each way; its edges are met within
    half of one.
    """

    def __init__(self, view: View, screen: tuple[int, int], boxes: Mapping[str, Box]) -> None:
        self._view, self._screen, self._boxes = view, screen, boxes
        self._planned: dict[Box, tuple[tuple[int, int], slice, slice]] = {}

    @classmethod
    def load(cls, path: Path, screen: tuple[int, int], boxes: Mapping[str, Box]) -> Straightener:
        """With the view of a file that ``lps rig register`` wrote; errors as of ``ScreenView.load``."""
        view = importlib.import_module("lps_sim.screen_view").ScreenView.load(path)
        return cls(view, screen, boxes)

    def __call__(self, picture: NDArray[np.uint8], clip: str) -> NDArray[np.uint8]:
        """(h, w, 3) part of a recorded frame that shows ``clip``; ValueError for a clip whose place is not known."""
        if clip not in self._boxes:
            raise ValueError(f"the marks do not say where on the screen {clip} stood")
        box = self._boxes[clip]
        if box not in self._planned:
            self._planned[box] = self._plan(box)
        size, rows, columns = self._planned[box]
        part: NDArray[np.uint8] = np.ascontiguousarray(self._view.rectify(picture, size)[rows, columns])
        return part

    def _plan(self, box: Box) -> tuple[tuple[int, int], slice, slice]:
        """Size of the whole screen, and the rows and columns of the clip in it."""
        x, y, width, height = box
        corners = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], np.float64)
        top_left, top_right, bottom_right, bottom_left = self._view.to_camera(corners)

        def longer(first: tuple[Any, Any], second: tuple[Any, Any]) -> float:
            return max(float(np.hypot(*(b - a))) for a, b in (first, second))

        across = longer((top_left, top_right), (bottom_left, bottom_right))
        down = longer((top_left, bottom_left), (top_right, bottom_right))
        out = (max(2, 2 * round(across / 2)), max(2, 2 * round(down / 2)))
        size = (round(self._screen[0] * out[0] / width), round(self._screen[1] * out[1] / height))
        left, upper = round(x * size[0] / self._screen[0]), round(y * size[1] / self._screen[1])
        # Rounding must not push the part over the edge.
        left, upper = min(left, size[0] - out[0]), min(upper, size[1] - out[1])
        return size, slice(upper, upper + out[1]), slice(left, left + out[0])
