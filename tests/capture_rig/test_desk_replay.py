"""Twenty clips played in a real Chromium with marks, photographed from its screenshots through film, and cut again."""

import json
import os

import numpy as np
import pytest
from click.testing import CliRunner

from capture_rig.cameras.pose import ScreenPose
from capture_rig.cameras.simulated import SimulatedCamera
from capture_rig.display.server import RigServer
from capture_rig.recording import read_times
from capture_rig.replay import MAP_FILE, Capture, capture_replay, read_list
from cli.main import main
from lps_sim import Camera, FilmModel
from lps_sim.screen_view import ScreenView

from .browser import ScreenshotScreen
from .played import FPS, write_clips

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif("LPS_SLOW_TESTS" not in os.environ, reason="some 900 screenshots; LPS_SLOW_TESTS=1 runs it"),
]

SIZE = (320, 180)


def test_every_cut_of_twenty_clips_is_within_a_frame_and_every_drop_is_listed(chromium, tmp_path):
    (tmp_path / "clips").mkdir()
    lengths = write_clips(tmp_path / "clips", 20, frames=24)
    sensor = Camera.from_field_of_view(*SIZE, 60.0)
    pose = ScreenPose.placed(SIZE, sensor, fill=0.9, roll_deg=1, tilt_deg=3, pan_deg=-4)
    with RigServer(size=SIZE) as server:
        screen = ScreenshotScreen(server, chromium, *SIZE)
        camera = SimulatedCamera(
            screen.at,
            sensor,
            FilmModel.load("p3ar-10layer"),
            8,
            pose=pose,
            lens_blur_px=0.5,
            fps=FPS,
            screen_fps=FPS,
            phase=0.4,
            clock_drift=5e-4,
            drop_rate=0.02,
            engine="fast",
            seed=11,
        )
        capture_replay(read_list(tmp_path / "clips"), tmp_path / "raw", screen, camera, FPS, reserve_bytes=0)
        assert screen.page.errors == []
        screen.close()
    (segment,) = Capture.load(tmp_path / "raw").segments
    _, at_s = read_times(tmp_path / "raw" / segment["file"].replace(".mp4", ".csv"))
    truth = segment["played_first"] + np.floor(at_s * FPS + 1e-9).astype(int)
    run = CliRunner()
    told = run.invoke(main, ["rig", "read-marks", str(tmp_path / "raw"), "--json"], catch_exceptions=False)
    (marks,) = json.loads(told.stdout)["segments"]
    shown = np.full(len(truth), -1)
    for recorded, first, count in marks["runs"]:
        shown[recorded : recorded + count] = np.arange(first, first + count)
    frames = {
        segment["played_first"] + frame
        for part in segment["stretches"]
        if part["kind"] == "clip"
        for frame in range(part["first"], part["first"] + part["frames"])
    }
    of_clips = np.isin(truth, list(frames))
    assert np.abs(shown - truth)[of_clips].max() <= 1
    assert set(marks["dropped"]) == frames - set(truth)
    assert frames - set(truth)

    view = ScreenView(pose.homography, SIZE, SIZE, sensor.f_px)
    view.save(tmp_path / "screen.json")
    arguments = [str(tmp_path / "raw"), str(tmp_path / "raw" / MAP_FILE), str(tmp_path / "p3ar"), "--sync", "marks"]
    arguments += ["--screen", str(tmp_path / "screen.json"), "--layers", "8", "--json"]
    cut = run.invoke(main, ["data", "ingest-replay", *arguments], catch_exceptions=False)
    assert cut.exit_code == 0, cut.output
    report = json.loads((tmp_path / "p3ar" / "replay.json").read_text())
    assert [clip["played"][1] - clip["played"][0] + 1 for clip in report["clips"]] == lengths
