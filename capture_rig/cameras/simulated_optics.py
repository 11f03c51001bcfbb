"""From a screen's codes to the light on a simulated sensor: screen, perspective, film, lens, in this order.

    light  = glow + (1 - glow) eotf(codes)
    plane  = room light + area means of the light over camera pixels, dark beside the screen
    sensor = lens blur of (T_N K_N plane + v_N)

Everything here is linear in the light, so the mixture that an open shutter gathers is a mixture of finished pictures.
"""

from __future__ import annotations

import functools
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lps_sim import Camera, apply_film
from lps_sim.operator import FilmKey
from lps_sim.transfer import eotf_table

from .pose import ScreenPose, screen_to_camera

_KEPT = 3  # pictures: the two that an open shutter sees, and one more
_BLUR_REACH = 4.0  # standard deviations


@dataclass(frozen=True)
class OpticalSetting:
    """All that decides what a picture looks like on the sensor; two equal settings give equal light."""

    film: FilmKey | None
    layers: int
    engine: str
    border: str
    pose: ScreenPose | None
    lens_blur_px: float
    eotf: str
    black_glow: float
    room_light: float


class SimulatedOptics:
    """The light on the sensor, kept while neither the picture nor the setting changes."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self._kept: deque[tuple[OpticalSetting, NDArray[np.uint8], NDArray[Any]]] = deque(maxlen=_KEPT)

    def light(self, codes: NDArray[np.uint8], setting: OpticalSetting) -> NDArray[Any]:
        """(H, W, 3) irradiance of screen codes (h, w, 3) uint8, 1 = the screen's white; float64 exact, float32 fast.

        Raises ValueError for codes of another shape or type. The array is shared: do not write to it.
        """
        codes = np.asarray(codes)
        if codes.dtype != np.uint8 or codes.ndim != 3 or codes.shape[2] != 3:
            raise ValueError(f"view must give screen codes, uint8 (H, W, 3), got {codes.dtype} {codes.shape}")
        for known, picture, light in self._kept:
            if known == setting and picture.shape == codes.shape and np.array_equal(picture, codes):
                return light
        light = self._light(codes, setting)
        self._kept.append((setting, codes.copy(), light))
        return light

    def _light(self, codes: NDArray[np.uint8], setting: OpticalSetting) -> NDArray[Any]:
        glow = np.float32(setting.black_glow)
        emitted = (glow + (1 - glow) * eotf_table(setting.eotf, 8))[codes]
        plane = self._on_plane(emitted, setting.pose)
        if setting.room_light:
            plane = plane + np.float32(setting.room_light)
        if setting.engine == "exact":
            plane = plane.astype(np.float64)
        if setting.layers and setting.film is not None:
            plane = apply_film(plane, setting.film.film, setting.layers, self.camera, setting.engine, setting.border)
        return blurred(plane, setting.lens_blur_px)

    def _on_plane(self, emitted: NDArray[np.float32], pose: ScreenPose | None) -> NDArray[np.float32]:
        height, width = emitted.shape[:2]
        if pose is None:
            if (width, height) == (self.camera.width, self.camera.height):
                return emitted
            pose = ScreenPose.placed((width, height), self.camera)
        means = _means(pose, (width, height), self.camera)
        return (means @ emitted.reshape(-1, 3)).reshape(self.camera.height, self.camera.width, 3)


@functools.lru_cache(maxsize=2)
def _means(pose: ScreenPose, screen_size: tuple[int, int], camera: Camera) -> sparse.csr_matrix:
    return screen_to_camera(pose, screen_size, camera)


def blurred(light: NDArray[Any], sigma_px: float) -> NDArray[Any]:
    """Gaussian blur of (H, W, 3) light; what lies beyond the frame's edge is taken as bright as the edge."""
    if not sigma_px:
        return light
    import cv2

    side = 2 * int(_BLUR_REACH * sigma_px + 0.5) + 1
    return cv2.GaussianBlur(light, (side, side), sigma_px, borderType=cv2.BORDER_REPLICATE)
