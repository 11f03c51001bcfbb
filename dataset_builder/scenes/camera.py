"""Where the three cameras of a setup stand and how they map the room to pixels.

As in NTU RGB+D, three cameras at one height look at the same action from three sides at once. Here C001 looks along
0 degrees (the performers face it, more or less), C002 from +45 and C003 from -45 degrees, all at the setup's distance.
World: y up, origin on the floor in the middle of the action, C001 on the +z side. Camera: x right, y down, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
CAMERA_ANGLES_DEG = {1: 0.0, 2: 45.0, 3: -45.0}
FIELD_OF_VIEW_DEG = 70.0  # across, as a Kinect v2 colour camera cropped a little


@dataclass(frozen=True)
class View:
    """A pinhole camera: ``rotation`` (3, 3) and ``position`` (3,) m of the world, focal length and size in pixels."""

    rotation: Array
    position: Array
    f_px: float
    width: int
    height: int

    def to_camera(self, points: NDArray[np.floating]) -> Array:
        """World points (..., 3) in metres -> camera coordinates (..., 3) in metres, z is the depth."""
        return np.asarray((points - self.position) @ self.rotation.T)

    def project(self, points: NDArray[np.floating]) -> Array:
        """World points (..., 3) -> pixel positions (..., 2); the centre of the first pixel is (0.5, 0.5)."""
        local = self.to_camera(points)
        centre = np.array([self.width, self.height]) / 2
        return np.asarray(self.f_px * local[..., :2] / local[..., 2:] + centre)


def view(camera: int, distance_m: float, height_m: float, width: int, height: int, aim_m: float = 1.02) -> View:
    """Camera 1..3 at ``distance_m`` from the action and ``height_m`` above the floor, aimed at height ``aim_m``.

    Raises ValueError for another camera number.
    """
    if camera not in CAMERA_ANGLES_DEG:
        raise ValueError(f"camera must be 1..3, got {camera}")
    angle = np.deg2rad(CAMERA_ANGLES_DEG[camera])
    position = np.array([distance_m * np.sin(angle), height_m, distance_m * np.cos(angle)])
    forward = np.array([0.0, aim_m, 0.0]) - position
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    f_px = width / (2 * np.tan(np.deg2rad(FIELD_OF_VIEW_DEG) / 2))
    return View(np.stack([right, np.cross(forward, right), forward]), position, float(f_px), width, height)
