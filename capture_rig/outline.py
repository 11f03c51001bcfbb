"""Where the screen stands by its outline alone, from a bare picture of it lit evenly: no board, no fringes.

Each side is a line through the edge's places, each of which is told by the light gathered across it, and the corners
are where the sides meet.
A lens that bends lines is not told: good for telling fields and fringes apart, not for measuring.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from lps_sim.screen_view import ScreenView

Floats = NDArray[Any]

_PLACES = 60  # along a side
_INNER = 0.8  # of a side: near the corners another side is near
_REACH = 0.05  # of a side, to look for the edge across; at least some pixels of blur
_LEAST_REACH_PX = 4.0
_STEP_PX = 0.25
_LEAST_SIDE_PX = 16


def register_outline(light: Floats, display_size: tuple[int, int], f_px: float) -> ScreenView:
    """The view of a bare screen, upright and wholly in the frame, that shows one level.

    Parameters
    ----------
    light : (H, W) linear light
    display_size : (width, height) of the display in px
    f_px : focal length in camera px, as in :class:`lps_sim.screen_view.ScreenView`

    Raises ValueError where no screen of four sides is seen, or it reaches beyond the frame.
    """
    import cv2

    light = np.asarray(light, dtype=np.float64)
    bright = float(np.median(light[light > light.max() / 2])) if light.max() > 0 else 0.0
    mask = (light > bright / 2).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=cv2.contourArea, default=None)
    corners = None if contour is None or not bright else _four_corners(contour[:, 0].astype(np.float64))
    if corners is None:
        raise ValueError("light: no screen of four sides is seen; show it bare, evenly lit, in a dark room")
    height, width = light.shape
    if (corners.min(axis=0) < 1).any() or (corners.max(axis=0) > [width - 2, height - 2]).any():
        raise ValueError("light: the screen reaches beyond the frame; its outline cannot be told")
    sides = [_side(light, corners[k], corners[(k + 1) % 4]) for k in range(4)]
    meet = np.array([np.cross(sides[k - 1][0], sides[k][0]) for k in range(4)])
    seen = meet[:, :2] / meet[:, 2:]
    across, down = display_size[0] - 0.5, display_size[1] - 0.5
    shown = np.array([[-0.5, -0.5], [across, -0.5], [across, down], [-0.5, down]])
    matrix = cv2.getPerspectiveTransform(shown.astype(np.float32), seen.astype(np.float32)).astype(np.float64)
    residual = float(np.sqrt(np.concatenate([away**2 for _, away in sides]).mean()))
    return ScreenView(
        tuple(map(tuple, (matrix / matrix[2, 2]).tolist())),
        display_size,
        (width, height),
        f_px,
        residual_px=residual,
        provenance={"method": "outline"},
    )


def _four_corners(contour: Floats) -> Floats | None:
    """(4, 2) corners of a contour from the upper left clockwise; None where it is no quadrilateral."""
    import cv2

    hull = cv2.convexHull(contour.astype(np.float32))
    for share in (0.02, 0.03, 0.05, 0.08):
        found = cv2.approxPolyDP(hull, share * cv2.arcLength(hull, True), True)[:, 0].astype(np.float64)
        if len(found) == 4:
            break
    else:
        return None
    if min(np.hypot(*(found - np.roll(found, 1, axis=0)).T)) < _LEAST_SIDE_PX:
        return None
    away = found - found.mean(axis=0)
    # The image's y points down, so that a rising angle is clockwise.
    found = found[np.argsort(np.arctan2(away[:, 1], away[:, 0]))]
    return np.roll(found, -int(np.argmin(found.sum(axis=1))), axis=0)


def _side(light: Floats, start: Floats, end: Floats) -> tuple[Floats, Floats]:
    """Line (3,) through the places of the edge between two corners; and their distances from it."""
    length = float(np.hypot(*(end - start)))
    along = (end - start) / length
    normal = np.array([-along[1], along[0]])  # inwards: clockwise with y down
    reach = max(_LEAST_REACH_PX, _REACH * length)
    at = start + np.linspace((1 - _INNER) / 2, (1 + _INNER) / 2, _PLACES)[:, None] * (end - start)
    steps = round(2 * reach / _STEP_PX)
    offset = -reach + (np.arange(steps) + 0.5) * _STEP_PX
    places = at[:, None] + offset[None, :, None] * normal
    across = map_coordinates(light, [places[..., 1], places[..., 0]], order=1, mode="nearest")
    outside, inside = across[:, : steps // 4].mean(axis=1), across[:, -(steps // 4) :].mean(axis=1)
    # A step of any blur, as long as it is even, gathers the light of a sharp one at its middle.
    gathered = ((across - outside[:, None]) / np.maximum(inside - outside, 1e-12)[:, None]).sum(axis=1) * _STEP_PX
    seen = (inside > 2 * outside) & (gathered > 0) & (gathered < 2 * reach)
    if seen.sum() < _PLACES // 2:
        raise ValueError("light: a side of the screen is not seen; show it bare, evenly lit, in a dark room")
    found = (at + (offset[-1] + _STEP_PX / 2 - gathered)[:, None] * normal)[seen]
    kept = np.ones(len(found), bool)
    for _ in range(3):
        middle = found[kept].mean(axis=0)
        across_line = np.linalg.svd(found[kept] - middle)[2][1]
        away = (found - middle) @ across_line
        kept = np.abs(away) <= 3 * np.std(away[kept]) + _STEP_PX
    return np.array([*across_line, -float(across_line @ middle)]), away[kept]
