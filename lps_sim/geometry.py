"""Image plane <-> angle space: where a film's blur is the same for every direction.

A direction at the angle theta from the optical axis lands at the radius ``tan(theta)`` on the image plane (in focal
lengths) and at one of these radii in angle space:

===================  =======================  ==============================  ==========================
projection           radius                   what is shift-invariant there   weights w_in, w_out
===================  =======================  ==============================  ==========================
``sphere``           2 sin(theta / 2)         scattering round on the sphere  sqrt(cos), 1 / sqrt(cos)
``equal_area``       2 sin(theta / 2)         the same, shapes apart          sqrt(cos), 1 / sqrt(cos)
``direction_cosines``  sin(theta)             a rough face                    1, 1 (the area element has the cosine)
``pixel``            tan(theta)               nothing; kept for comparison    1, 1
===================  =======================  ==============================  ==========================

``sphere`` is the equal-area plane with its distortion of shapes taken out (:mod:`lps_sim.sphere`).

The weights make the film reciprocal: a scattering kernel p per steradian is a transmission distribution function
``f = p / sqrt(cos(theta_in) cos(theta_out))``, and the radiance behind the film is
``L_out = integral f L_in cos(theta_in) dOmega``. Tested in tests/lps_sim/test_operator.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.fft import next_fast_len

from .errors import UnknownNameError

PROJECTIONS = ("sphere", "equal_area", "direction_cosines", "pixel")
_EQUAL_AREA = ("sphere", "equal_area")


def plane_to_angle(radius: Any, projection: str) -> Any:
    """Angle-space radius of an image-plane radius.

    Parameters: radius = tan(theta) >= 0 (any shape, focal lengths); projection, one of :data:`PROJECTIONS`.
    Returns the same shape, radians near the axis.
    """
    _check(projection)
    if projection == "pixel":
        return np.asarray(radius, dtype=np.float64)
    theta = np.arctan(radius)
    return 2 * np.sin(theta / 2) if projection in _EQUAL_AREA else np.sin(theta)


def angle_to_plane(radius: Any, projection: str) -> Any:
    """Image-plane radius tan(theta) of an angle-space radius; inf at and beyond 90 degrees. Inverse of
    :func:`plane_to_angle`."""
    _check(projection)
    radius = np.asarray(radius, dtype=np.float64)
    if projection == "pixel":
        return radius
    limit = math.sqrt(2) if projection in _EQUAL_AREA else 1.0
    inside = np.minimum(radius, limit)
    theta = 2 * np.arcsin(inside / 2) if projection in _EQUAL_AREA else np.arcsin(inside)
    return np.where(radius < limit, np.tan(theta), np.inf)


def radial_scale(radius: float, projection: str) -> float:
    """d(angle-space radius) / d(tan theta) at an image-plane radius: 1 on the axis, less outwards."""
    _check(projection)
    cosine = 1 / math.hypot(1.0, radius)
    if projection in _EQUAL_AREA:
        return math.cos(math.atan(radius) / 2) * cosine**2
    return cosine**3 if projection == "direction_cosines" else 1.0


def input_weight(cos_theta: np.ndarray, projection: str) -> np.ndarray:
    """w_in of the table above; the output weight w_out is its reciprocal."""
    _check(projection)
    return np.sqrt(cos_theta) if projection in _EQUAL_AREA else np.ones_like(cos_theta)


def pixel_offsets(count: int, focal_px: float) -> np.ndarray:
    """Image-plane coordinates of ``count`` pixel centres, in focal lengths, 0 in the middle of the frame: (count,)."""
    return (np.arange(count) - (count - 1) / 2) / focal_px


def cos_theta(tan_x: np.ndarray, tan_y: np.ndarray) -> np.ndarray:
    """Cosine of the field angle on a grid of image-plane coordinates: (X,), (Y,) -> (Y, X)."""
    return 1 / np.sqrt(1 + tan_x[None, :] ** 2 + tan_y[:, None] ** 2)


def refracted_cosine(cos_theta_air: np.ndarray, refractive_index: float) -> np.ndarray:
    """Cosine inside a sheet of index n by Snell's law, ``sin(theta') = sin(theta) / n``."""
    return np.sqrt(1 - (1 - cos_theta_air**2) / refractive_index**2)


def face_loss(cos_theta_air: np.ndarray, refractive_index: float) -> np.ndarray:
    """What a face takes from oblique unpolarised light beyond what it takes from light along the normal (Fresnel).

    -ln[(1 - R(theta)) / (1 - R(0))], 0 on the axis, same shape; 0.0027 at 35 degrees for an index of 1.5.
    """
    inside = refracted_cosine(cos_theta_air, refractive_index)
    s_wave = (cos_theta_air - refractive_index * inside) / (cos_theta_air + refractive_index * inside)
    p_wave = (refractive_index * cos_theta_air - inside) / (refractive_index * cos_theta_air + inside)
    along = ((refractive_index - 1) / (refractive_index + 1)) ** 2
    return -np.log((1 - (s_wave**2 + p_wave**2) / 2) / (1 - along))


class WarpGrid:
    """A rectangular grid in angle space that holds a frame, and the maps between the two.

    The grid's outer edges touch the middle of the frame's sides or lie ``surround_rad`` beyond; towards its corners it
    reaches further beyond the frame, whose outline is barrel-shaped in angle space.

    Parameters: height, width of the frame in px; focal lengths along x and y in px (they differ for a squashed
    picture); projection; pitch_rad, the largest step of the grid; margin, nodes added on every side; beyond, pixels
    outside the frame on every side that to_frame holds too; surround_rad, of angle space around the frame.

    Attributes: rows, columns; pitch_rad (y, x), the steps that fit the frame; from_frame (2, rows, columns): the
    frame's (y, x) index at every node, outside the frame in the corners, not finite beyond 90 degrees;
    outside_rad (rows, columns): how far a node lies beyond the frame, focal lengths of the image plane;
    to_frame (2, height + 2 beyond, width + 2 beyond): the grid's (y, x) index at every pixel; coverage (rows,
    columns): share of each node's cell that lies in the frame.
    """

    def __init__(
        self,
        height: int,
        width: int,
        focal_xy_px: tuple[float, float],
        projection: str,
        pitch_rad: float,
        margin: int = 0,
        beyond: int = 0,
        surround_rad: float = 0.0,
    ) -> None:
        if not pitch_rad > 0:
            raise ValueError(f"pitch_rad must be > 0, got {pitch_rad}")
        focal_x, focal_y = focal_xy_px
        # Pixel edges included, the outline reaches farthest at the middle of the frame's sides.
        extent_x = 2 * (float(plane_to_angle(width / 2 / focal_x, projection)) + surround_rad)
        extent_y = 2 * (float(plane_to_angle(height / 2 / focal_y, projection)) + surround_rad)
        self.columns = next_fast_len(math.ceil(extent_x / pitch_rad - 1e-9), real=True)
        self.rows = next_fast_len(math.ceil(extent_y / pitch_rad - 1e-9), real=True)
        pitch_y, pitch_x = self.pitch_rad = (extent_y / self.rows, extent_x / self.columns)
        self.rows, self.columns = self.rows + 2 * margin, self.columns + 2 * margin

        u = (np.arange(self.columns) - (self.columns - 1) / 2) * pitch_x
        v = (np.arange(self.rows) - (self.rows - 1) / 2) * pitch_y
        radius = np.hypot(u[None, :], v[:, None])
        stretch = _ratio(angle_to_plane(radius, projection), radius)
        self.from_frame = np.stack(
            [
                v[:, None] * stretch * focal_y + (height - 1) / 2,
                u[None, :] * stretch * focal_x + (width - 1) / 2,
            ]
        )

        beyond_y, beyond_x = (
            np.maximum(np.abs(part - (count - 1) / 2) - count / 2, 0) / focal
            for part, count, focal in zip(self.from_frame, (height, width), (focal_y, focal_x))
        )
        self.outside_rad = np.hypot(beyond_y, beyond_x)
        self.coverage = _inside(self.from_frame[0], height, axis=0) * _inside(self.from_frame[1], width, axis=1)

        tan_x, tan_y = pixel_offsets(width + 2 * beyond, focal_x), pixel_offsets(height + 2 * beyond, focal_y)
        radius = np.hypot(tan_x[None, :], tan_y[:, None])
        shrink = _ratio(plane_to_angle(radius, projection), radius)
        self.to_frame = np.stack(
            [
                tan_y[:, None] * shrink / pitch_y + (self.rows - 1) / 2,
                tan_x[None, :] * shrink / pitch_x + (self.columns - 1) / 2,
            ]
        )


def _inside(position: np.ndarray, count: int, axis: int) -> np.ndarray:
    """Share of a cell between the outer edges of ``count`` pixels along one axis: 0..1, a ramp one cell wide."""
    finite = np.isfinite(position)
    position = np.where(finite, position, 0.0)
    step = np.abs(np.gradient(position, axis=axis)) if position.shape[axis] > 1 else np.ones_like(position)
    depth = count / 2 - np.abs(position - (count - 1) / 2)
    return finite * np.clip(depth / np.maximum(step, 1e-9) + 0.5, 0, 1)


def _ratio(numerator: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """numerator / radius with the limit 1 on the axis."""
    on_axis = radius < 1e-12
    return np.where(on_axis, 1.0, numerator / np.where(on_axis, 1.0, radius))


def _check(projection: str) -> None:
    if projection not in PROJECTIONS:
        raise UnknownNameError("projection", projection, PROJECTIONS)
