"""What a simulated session says of its screen, through the command that a person types."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from capture_rig.cameras.pose import ScreenPose
from capture_rig.cameras.simulated import SimulatedCamera
from capture_rig.capture import CaptureRun
from capture_rig.photometry import session_photometry
from capture_rig.plan import Plan, plan_shots
from capture_rig.registration import register_session
from capture_rig.screens import VirtualScreen
from capture_rig.session import Session
from capture_rig.targets import target
from cli.main import main
from lps_sim import Camera
from lps_sim.calibration.shots import ShotGeometry
from lps_sim.media import read_image
from lps_sim.screen_view import ScreenView
from lps_sim.transfer import eotf

DISPLAY = (480, 270)
CAMERA = Camera.from_field_of_view(420, 240, 50.0, cos_power=4.0)
POSE = ScreenPose.placed(DISPLAY, CAMERA, fill=0.9, tilt_deg=4, pan_deg=-6)
GAMMA, GLOW = 2.4, 0.003


def take(path, kinds, frames=8):
    """A session of bare shots on a screen of another curve than it is told to have."""
    screen = VirtualScreen(*DISPLAY, eotf="srgb")
    plan = plan_shots((1,), kinds, frames=frames)
    plan = Plan(seed=plan.seed, shots=tuple(shot for shot in plan.shots if not shot.layers))
    camera = SimulatedCamera(
        screen.at, CAMERA, pose=POSE, lens_blur_px=0.5, eotf=f"gamma:{GAMMA}", black_glow=GLOW, room_light=0.001
    )
    with Session.create(path, plan, screen.facts, camera.facts, CAMERA, ShotGeometry()) as session:
        CaptureRun(session, screen, camera).run_all()
    return path


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return take(tmp_path_factory.mktemp("photometry") / "s.h5", ("flat", "charuco", "wedge"))


def error_px(view):
    grid = np.stack(np.meshgrid(np.linspace(0, 479, 9), np.linspace(0, 269, 7)), axis=-1)
    return float(np.sqrt(((view.to_camera(grid) - POSE.to_camera(grid, CAMERA)) ** 2).sum(axis=-1).mean()))


def test_a_sessions_screen_is_measured_with_black_and_vignetting_of_the_fourth_power(session):
    found = session_photometry(session)
    assert found.curve.gamma == pytest.approx(GAMMA, abs=0.01)
    # Of the screen in its room: glow plus room light over white.
    assert found.curve.black == pytest.approx((GLOW + 0.001) / 1.001, rel=0.05)
    assert found.curve.misfit < 0.01 < found.assumed_misfit
    assert found.flicker.peak_to_peak == 0.0
    assert [check.status for check in found.checks()] == ["ok"]
    assert found.simulated


def test_the_command_prints_and_writes_what_was_measured(session, tmp_path):
    out = tmp_path / "screen.json"
    result = CliRunner().invoke(main, ["rig", "photometry", str(session), "-o", str(out), "--json"])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content == json.loads(out.read_text())
    assert content["registration"]["method"] == "charuco"
    assert len(content["screen"]["response"]) == 256
    spoken = CliRunner().invoke(main, ["rig", "photometry", str(session)]).output
    assert "simulated screen: gamma 2." in spoken
    assert "its pictures were made for srgb" in spoken


def test_targets_are_drawn_by_the_measured_curve_so_that_the_screen_shows_the_light_that_was_meant(session, tmp_path):
    curve = tmp_path / "screen.json"
    assert CliRunner().invoke(main, ["rig", "photometry", str(session), "-o", str(curve)]).exit_code == 0
    command = ["rig", "targets", "--size", "96x64", "--out", str(tmp_path / "t"), "--curve", str(curve)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    shown = eotf(read_image(tmp_path / "t" / "siemens.png")[..., 0] / 255, f"gamma:{GAMMA}")
    # Half a code of 255 at gamma 2.4 is 0.005 of white.
    assert np.abs(shown - target("siemens", 96, 64)).max() < 0.006


def test_without_a_board_the_outline_of_the_flat_is_enough(tmp_path):
    path = take(tmp_path / "s.h5", ("flat", "wedge"), frames=4)
    assert error_px(register_session(path)) < 0.2
    found = session_photometry(path)
    assert found.view.provenance == {"method": "outline"}
    assert found.curve.gamma == pytest.approx(GAMMA, abs=0.01)
    assert found.flicker is None
    assert "six frames of the flat are needed" in CliRunner().invoke(main, ["rig", "photometry", str(path)]).output


def test_shots_that_are_missing_are_named(tmp_path):
    path = take(tmp_path / "s.h5", ("charuco",), frames=2)
    with pytest.raises(ValueError, match="photometry needs bare shots of wedge and flat"):
        session_photometry(path)
    with pytest.raises(ValueError, match="layers must be 0 for outline"):
        register_session(path, 4, "outline")


@pytest.mark.parametrize("method", ["charuco", "outline"])
def test_a_screen_is_registered_by_command_and_its_file_is_read_back(session, tmp_path, method):
    out = tmp_path / "screen.json"
    result = CliRunner().invoke(main, ["rig", "register", str(session), "-o", str(out), "--method", method])
    assert result.exit_code == 0, result.output
    assert f"method {method}" in result.output
    assert error_px(ScreenView.load(out)) < 0.2
    again = CliRunner().invoke(main, ["rig", "photometry", str(session), "--screen", str(out), "--json"])
    assert json.loads(again.stdout)["registration"]["method"] == method
