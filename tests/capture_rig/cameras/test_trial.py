"""A short reading of a camera, and ``lps rig cameras``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from capture_rig.cameras.protocol import CameraLostError
from capture_rig.cameras.simulated import SimulatedCamera
from capture_rig.cameras.trial import try_camera
from cli.main import main
from lps_sim import Camera
from lps_sim.media import write_image
from lps_sim.transfer import eotf

GREY = np.full((48, 64, 3), 188, np.uint8)


def test_a_trial_finds_the_cameras_rate_losses_and_noise() -> None:
    linear = Camera(64, 48, 60, eotf="linear", full_well_e=500, read_noise_e=8)
    camera = SimulatedCamera(lambda _: GREY, linear, fps=30, clock_drift=0.01, drop_rate=0.1, seed=3)
    trial = try_camera(camera, 60)
    dropped = sum(seen.serial is None for seen in camera.truth)
    level = eotf(np.array(188 / 255))
    assert (trial.frames, trial.lost) == (60, dropped)
    assert dropped > 2
    assert trial.fps == pytest.approx(30 / 1.01)
    expected = 255 * np.sqrt(linear.temporal_variance(level) + 1 / 255**2 / 12)
    assert trial.noise_codes == pytest.approx(expected, rel=0.02)
    assert trial.flicker is not None
    assert trial.flicker < 0.005
    assert trial.ended == ""


def test_a_flickering_camera_is_told_by_its_frame_means() -> None:
    linear = Camera(64, 48, 60, eotf="linear")
    trial = try_camera(SimulatedCamera(lambda _: GREY, linear, exposure_wander=0.05), 100)
    assert trial.flicker == pytest.approx(0.05, rel=0.25)


def test_a_camera_that_breaks_off_says_why_and_one_without_frames_is_lost() -> None:
    camera = SimulatedCamera(lambda _: GREY, Camera(64, 48, 60))

    def unplug_after_five() -> None:
        camera.unplugged = len(camera.truth) == 5

    trial = try_camera(camera, 10, on_frame=unplug_after_five)
    assert trial.frames == 5
    assert "unplugged" in trial.ended
    camera.unplugged = True
    with pytest.raises(CameraLostError):
        try_camera(camera, 10)


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["rig", "cameras", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_without_a_camera_the_list_says_so() -> None:
    code, out, _ = run()
    assert code == 0
    assert "/dev/video" in out or "no camera at this machine" in out
    code, out, _ = run("--json")
    assert code == 0
    assert isinstance(json.loads(out)["cameras"], list)


def test_a_simulated_camera_is_tried_and_says_that_it_is_simulated() -> None:
    code, out, _ = run("--test", "simulated:", "--size", "64x48", "--fps", "30", "--frames", "5")
    assert code == 0
    assert "simulated" in out
    assert "frames read 5 of 5, lost between them 0, rate 30.00 a second" in out
    code, _, err = run("--test", "simulated:", "--size", "64x48", "--frames", "2", "--gain", "3")
    assert code == 1
    assert "ignores gain" in err


def test_what_is_ignored_makes_the_status_1_and_stands_in_the_table(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"{number}.png", GREY)
    code, out, err = run("--test", str(tmp_path), "--frames", "3", "--exposure-s", "0.01", "--size", "64x48")
    assert code == 1
    assert "IGNORED" in out
    assert "ignores exposure_s" in err
    code, out, err = run("--test", str(tmp_path), "--frames", "3", "--size", "64x48", "--json")
    assert code == 0
    assert json.loads(out)["trial"]["frames"] == 3
    code, _, err = run("--test", str(tmp_path), "--frames", "4")
    assert code == 1
    assert "3 of 4 frames came" in err


def test_wrong_use_is_explained() -> None:
    code, _, err = run("--exposure-s", "0.01")
    assert code == 2
    assert "settings go with --test CAMERA, got exposure_s" in err
    code, _, err = run("--test", "nowhere")
    assert code == 1
    assert "a camera is a number or /dev/videoN" in err
