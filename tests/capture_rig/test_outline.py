"""A screen's outline against poses that are known."""

import numpy as np
import pytest

from capture_rig.cameras.pose import ScreenPose, screen_to_camera
from capture_rig.outline import register_outline
from lps_sim import Camera

CAMERA = Camera.from_field_of_view(240, 160, 50.0, full_well_e=20000.0)
SCREEN = (192, 108)


def seen(pose, light=None):
    light = np.ones(SCREEN[::-1]) if light is None else light
    flat = screen_to_camera(pose, SCREEN, CAMERA) @ light.ravel().astype(np.float32)
    return flat.reshape(CAMERA.height, CAMERA.width)


@pytest.mark.parametrize(
    "turn", [{}, {"tilt_deg": 8, "pan_deg": -10, "roll_deg": 3}, {"roll_deg": -12}, {"shift_px": (7.3, -4.2)}]
)
def test_corners_are_found_to_a_tenth_of_a_pixel(turn):
    pose = ScreenPose.placed(SCREEN, CAMERA, fill=0.75, **turn)
    light = 0.8 * seen(pose)
    light += 0.005 * np.random.default_rng(0).standard_normal(light.shape)
    view = register_outline(light, SCREEN, CAMERA.f_px)
    points = np.array([[0, 0], [191, 0], [0, 107], [191, 107], [96, 54]], float)
    assert np.abs(view.to_camera(points) - pose.to_camera(points, CAMERA)).max() < 0.1
    assert view.residual_px < 0.2
    assert view.provenance == {"method": "outline"}


def test_a_lens_that_bends_lines_leaves_a_pixel_or_two():
    pose = ScreenPose.placed(SCREEN, CAMERA, fill=0.85, k1=-0.08)
    view = register_outline(seen(pose), SCREEN, CAMERA.f_px)
    y, x = np.mgrid[:108:9, :192:8]
    points = np.stack([x, y], axis=-1).astype(float)
    assert np.abs(view.to_camera(points) - pose.to_camera(points, CAMERA)).max() < 2


def test_what_is_no_outline_is_refused():
    with pytest.raises(ValueError, match="no screen of four sides"):
        register_outline(np.zeros((40, 60)), SCREEN, 50.0)
    with pytest.raises(ValueError, match="reaches beyond the frame"):
        register_outline(seen(ScreenPose.placed(SCREEN, CAMERA, fill=1.2)), SCREEN, 50.0)
    y, x = np.mgrid[:160, :240]
    with pytest.raises(ValueError, match="a side of the screen is not seen"):
        register_outline((np.hypot(y - 80, x - 120) < 60).astype(float), SCREEN, 50.0)
