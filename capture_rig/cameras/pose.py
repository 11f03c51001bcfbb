"""Where a screen stands in a simulated camera's picture, and the screen's light on the camera's pixels.

The geometry is that of :mod:`lps_sim.screen_view`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lps_sim import Camera
from lps_sim.screen_view import centre_of, distorted, projected, undistorted

Floats = NDArray[Any]

_BAND_POINTS = 400_000  # of a band of camera rows: bounds the memory, not the result
_ALIGNED = 1e-3  # slope below which a camera pixel's outline on the screen counts as upright
_NEGLIGIBLE = 1e-9  # weight


@dataclass(frozen=True)
class ScreenPose:
    """A homography from screen pixels to camera pixels, and a radial distortion about the camera's centre.

    Parameters
    ----------
    homography : (3, 3) as rows; screen px (x, y, 1) to camera px
    k1, k2 : radial distortion, in units of the focal length; 0 is none

    Raises ValueError naming the rule.
    """

    homography: tuple[tuple[float, ...], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    k1: float = 0.0
    k2: float = 0.0

    def __post_init__(self) -> None:
        matrix = np.asarray(self.homography, dtype=float)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
            raise ValueError(f"homography must be 3 x 3, finite and invertible, got {matrix.tolist()}")
        if not (math.isfinite(self.k1) and math.isfinite(self.k2)):
            raise ValueError(f"k1 and k2 must be finite, got {self.k1} and {self.k2}")
        object.__setattr__(self, "homography", tuple(tuple(row) for row in matrix.tolist()))

    @classmethod
    def placed(
        cls,
        screen_size: tuple[int, int],
        camera: Camera,
        fill: float = 1.0,
        roll_deg: float = 0.0,
        tilt_deg: float = 0.0,
        pan_deg: float = 0.0,
        shift_px: tuple[float, float] = (0.0, 0.0),
        k1: float = 0.0,
        k2: float = 0.0,
    ) -> ScreenPose:
        """A screen in front of a camera.

        Parameters
        ----------
        screen_size : (width, height) in screen pixels
        camera : its width, height and f_px
        fill : share of the frame's tighter side that the upright screen takes; above 1 it reaches beyond the frame
        roll_deg, tilt_deg, pan_deg : turns of the screen about the optical axis, the horizontal and the vertical
        shift_px : of the screen's centre from the frame's, camera px (right, down)
        k1, k2 : radial distortion

        Raises ValueError for a fill that is not above 0, or a screen that is turned away from the camera.
        """
        if not (math.isfinite(fill) and fill > 0):
            raise ValueError(f"fill must be above 0, got {fill:g}")
        width, height = screen_size
        distance = camera.f_px / (fill * min(camera.width / width, camera.height / height))
        turn = _turn(roll_deg, tilt_deg, pan_deg)
        if not turn[2, 2] > 0:
            raise ValueError(f"the screen must face the camera, got tilt {tilt_deg:g} and pan {pan_deg:g} degrees")
        away = np.array([shift_px[0] * distance / camera.f_px, shift_px[1] * distance / camera.f_px, distance])
        lens = np.array(
            [[camera.f_px, 0, (camera.width - 1) / 2], [0, camera.f_px, (camera.height - 1) / 2], [0, 0, 1]]
        )
        centred = np.array([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1]])
        matrix = lens @ np.column_stack([turn[:, 0], turn[:, 1], away]) @ centred
        return cls(tuple(map(tuple, (matrix / matrix[2, 2]).tolist())), k1, k2)

    @property
    def matrix(self) -> Floats:
        """The homography as an array, (3, 3)."""
        return np.array(self.homography)

    def to_camera(self, points: Floats, camera: Camera) -> Floats:
        """Camera px of screen px, (..., 2); NaN behind the camera."""
        centre = centre_of((camera.width, camera.height))
        offset = (projected(self.matrix, points) - centre) / camera.f_px
        return centre + camera.f_px * distorted(offset, self.k1, self.k2)

    def to_screen(self, points: Floats, camera: Camera) -> Floats:
        """Screen px of camera px, (..., 2); NaN where the line of sight misses the screen's plane."""
        centre = centre_of((camera.width, camera.height))
        offset = (np.asarray(points, dtype=float) - centre) / camera.f_px
        return projected(np.linalg.inv(self.matrix), centre + camera.f_px * undistorted(offset, self.k1, self.k2))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"homography": [list(row) for row in self.homography], "k1": self.k1, "k2": self.k2}


def screen_to_camera(pose: ScreenPose, screen_size: tuple[int, int], camera: Camera) -> sparse.csr_matrix:
    """Area means of a screen's square pixels over a camera's square pixels; what is not screen is dark.

    Parameters: screen_size (width, height). Returns (camera pixels, screen pixels) float32, both row by row: times the
    screen's light (pixels, 3) it is the light on the camera's pixels.

    A camera pixel is divided in s x s parts, each of which spans at most one screen pixel and is taken as an upright
    rectangle of its own width and height on the screen: exact where screen and camera are parallel, and with the right
    centre of gravity everywhere.
    """
    parts = _parts(pose, screen_size, camera)
    band = max(1, _BAND_POINTS // (camera.width * parts**2))
    rows = range(0, camera.height, band)
    return sparse.vstack(
        [_band(pose, screen_size, camera, parts, row, min(row + band, camera.height)) for row in rows], format="csr"
    )


def _parts(pose: ScreenPose, screen_size: tuple[int, int], camera: Camera) -> int:
    """Into how many parts a camera pixel is divided, each way."""
    outline = pose.to_screen(_grid(0, camera.height, camera.width, 1), camera)
    if outline.shape[0] < 2 or outline.shape[1] < 2:
        raise ValueError(f"camera must have at least 2 x 2 pixels, got {camera.width}x{camera.height}")
    down, across = np.gradient(outline, axis=(0, 1))
    width, height = screen_size
    with np.errstate(invalid="ignore"):
        on_screen = (np.abs(outline - [(width - 1) / 2, (height - 1) / 2]) <= [width, height]).all(axis=-1)
    if not on_screen.any():
        raise ValueError("pose: the screen is outside the camera's view")
    span = np.hypot(down, across)[on_screen]
    skewed = np.nanmax(np.abs(np.stack([down[on_screen][:, 0], across[on_screen][:, 1]]))) > _ALIGNED * np.nanmin(span)
    return max(math.ceil(float(np.nanmax(span)) - 1e-6), 2 if skewed else 1)


def _band(
    pose: ScreenPose, screen_size: tuple[int, int], camera: Camera, parts: int, first: int, last: int
) -> sparse.csr_matrix:
    width, height = screen_size
    # One part more on every side, for the differences.
    centres = pose.to_screen(_grid(first, last, camera.width, parts, beyond=1), camera)
    down, across = (centres[2:, 1:-1] - centres[:-2, 1:-1]) / 2, (centres[1:-1, 2:] - centres[1:-1, :-2]) / 2
    centres = centres[1:-1, 1:-1]
    pixel = np.arange((last - first) * camera.width).reshape(last - first, camera.width)
    pixel = np.repeat(np.repeat(pixel, parts, axis=0), parts, axis=1)
    span = np.hypot(down, across)
    with np.errstate(invalid="ignore"):
        seen = ((centres > -2) & (centres < np.array([width, height]) + 1)).all(axis=-1)
    centres, span, pixel = centres[seen], np.clip(span[seen], 1e-6, 1.0), pixel[seen]
    low = np.floor(centres - span / 2 + 0.5)
    share = np.clip((low + 0.5 - (centres - span / 2)) / span, 0, 1)  # of the part that lies in the lower screen pixel
    index = low.astype(np.int64)
    rows, columns, weights = [], [], []
    for dy in (0, 1):
        for dx in (0, 1):
            x, y = index[:, 0] + dx, index[:, 1] + dy
            weight = (share[:, 0] if dx == 0 else 1 - share[:, 0]) * (share[:, 1] if dy == 0 else 1 - share[:, 1])
            kept = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (weight > _NEGLIGIBLE)
            rows.append(pixel[kept])
            columns.append((y * width + x)[kept])
            weights.append((weight[kept] / parts**2).astype(np.float32))
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.coo_matrix(entries, shape=((last - first) * camera.width, width * height)).tocsr()


def _grid(first: int, last: int, width: int, parts: int, beyond: int = 0) -> Floats:
    """(rows, columns, 2) centres (x, y) of the parts of camera pixels, with ``beyond`` parts more on every side."""
    y = first - 0.5 + (np.arange(-beyond, (last - first) * parts + beyond) + 0.5) / parts
    x = -0.5 + (np.arange(-beyond, width * parts + beyond) + 0.5) / parts
    return np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)


def _turn(roll_deg: float, tilt_deg: float, pan_deg: float) -> Floats:
    """Rotation matrix: roll about z, then tilt about x, then pan about y."""
    (cz, sz), (cx, sx), (cy, sy) = (
        (math.cos(math.radians(angle)), math.sin(math.radians(angle))) for angle in (roll_deg, tilt_deg, pan_deg)
    )
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return about_y @ about_x @ about_z
