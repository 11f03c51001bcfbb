"""The exposure at which the brightest thousandth of a picture stands at 85 % of full scale: found once, then fixed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lps_sim import Camera
from lps_sim.calibration.shot_validation import SATURATED_SHARE

from .cameras.protocol import CameraRefusedError

# Room for noise and for light that drifts.
AIM = 0.85
BRIGHTEST = 0.999
BELOW = 0.15  # relative: near enough below the aim
ABOVE = 0.03  # and above it: more would saturate in one of the frames, where noise reaches farthest
SMALLEST_EXPOSURE, LARGEST_EXPOSURE = 1 / 4096, 256.0
_ROUNDS = 8
_DIMMER = 4.0  # times, while too much is saturated to tell


def metered(photograph: Callable[[float], tuple[float, np.ndarray]], first: float, camera: Camera) -> float:
    """The exposure of a still picture, relative.

    Parameters
    ----------
    photograph : exposure -> (exposure as taken, codes (H, W, 3)); CameraRefusedError for one beyond the camera's range
    first : exposure to begin with, which the camera takes
    camera : of the codes

    Returns the last exposure taken: the aim, or as near as the camera's range and the two limits let it come.
    """
    wanted = exposure = first
    for _ in range(_ROUNDS):
        try:
            exposure, codes = photograph(wanted)
        except CameraRefusedError:
            if wanted == first:
                raise
            break
        bright = float(np.quantile(codes.max(axis=-1), BRIGHTEST))
        if bright >= SATURATED_SHARE * camera.max_code:
            wanted = exposure / _DIMMER
        else:
            level = float(camera.decode(np.array([round(bright)], codes.dtype))[0])
            if 1 - BELOW < level / AIM < 1 + ABOVE:
                break
            wanted = exposure * AIM / max(level, 1e-4)
        wanted = min(max(wanted, SMALLEST_EXPOSURE), LARGEST_EXPOSURE)
        if wanted == exposure:
            break
    return exposure
