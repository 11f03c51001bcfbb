"""Replays: clips played with marks, filmed in segments, killed and gone on with, cut into named clips."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from capture_rig.cameras.protocol import CameraLostError
from capture_rig.cameras.simulated import SimulatedCamera
from capture_rig.marks_file import read_capture, runs
from capture_rig.recording import camera_clock, read_times
from capture_rig.replay import CAPTURE_FILE, MAP_FILE, Capture, Clip, DiskFullError, capture_replay, read_list
from cli.main import main
from lps_sim.media import probe

from .played import FPS, simulated, write_clips

SIZE = (160, 90)
SHUTTER = 0.5
ROOT = Path(__file__).parents[2]


def played_truth(folder: Path, segment: dict) -> np.ndarray:
    """Played frame that every recorded frame really shows: the simulated camera's times are the screen's."""
    _, at_s = read_times(folder / segment["file"].replace(".mp4", ".csv"))
    return segment["played_first"] + np.floor(at_s * FPS + SHUTTER / 2 + 1e-9).astype(int)


def capture(clips: tuple[Clip, ...], folder: Path, camera: SimulatedCamera, **how: object) -> Capture:
    return capture_replay(clips, folder, camera.view.__self__, camera, FPS, reserve_bytes=0, **how)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clip, ...]:
    folder = tmp_path_factory.mktemp("three")
    write_clips(folder, 3)
    return read_list(folder)


def test_twenty_clips_through_eight_layers_killed_in_the_middle_are_all_cut_within_a_frame(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    lengths = write_clips(tmp_path / "clips", 20, frames=12)
    folder = tmp_path / "capture"
    command = ["rig", "capture-replay", str(tmp_path / "clips"), "-o", str(folder), "--screen", "160x90"]
    command += ["--simulate", "p3ar-10layer", "--layers", "8", "--clock-drift", "0.0005", "--drop-rate", "0.05"]
    command += ["--shutter", str(SHUTTER), "--segment-s", "5", "--reserve-mib", "0", "--seed", "5", "--json"]
    process = subprocess.Popen([sys.executable, "-m", "cli.main", *command], cwd=ROOT, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not ((folder / CAPTURE_FILE).exists() and Capture.load(folder).segments) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = Capture.load(folder).done
    assert 0 < len(before) < 20

    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["done"] == 20
    assert not list(folder.glob(".*"))
    result = CliRunner().invoke(main, ["rig", "read-marks", str(folder), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    marks = json.loads(result.stdout)
    assert marks["simulated"]

    lost, found = set(), set()
    for segment, told in zip(Capture.load(folder).segments, marks["segments"], strict=True):
        truth = played_truth(folder, segment)
        frames = {
            segment["played_first"] + frame
            for part in segment["stretches"]
            if part["kind"] == "clip"
            for frame in range(part["first"], part["first"] + part["frames"])
        }
        shown = np.full(len(truth), -1)
        for recorded, first, count in told["runs"]:
            shown[recorded : recorded + count] = np.arange(first, first + count)
        of_clips = np.isin(truth, list(frames))
        assert np.abs(shown - truth)[of_clips].max() <= 1
        lost |= frames - set(truth)
        found |= set(told["dropped"])
    assert lost
    assert found == lost

    arguments = [str(folder), str(folder / MAP_FILE), str(tmp_path / "p3ar"), "--sync", "marks", "--json"]
    result = CliRunner().invoke(main, ["data", "ingest-replay", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    cut = json.loads((tmp_path / "p3ar" / "replay.json").read_text())
    assert [clip["played"][1] - clip["played"][0] + 1 for clip in cut["clips"]] == lengths
    assert {clip["played"][0] + frame for clip in cut["clips"] for frame in clip["dropped"]} == lost


def test_a_full_disk_ends_the_capture_whole_and_it_goes_on_later(three: tuple[Clip, ...], tmp_path: Path) -> None:
    _, camera = simulated(SIZE, 0)
    looks = iter([9, 9, 9, 0])
    with pytest.raises(DiskFullError, match="make room and run it again"):
        capture_replay(
            three, tmp_path, camera.view.__self__, camera, FPS, segment_s=1, reserve_bytes=5, free=lambda _: next(looks)
        )
    kept = Capture.load(tmp_path)
    assert kept.segments[-1]["ended"] == "disk nearly full"
    assert probe(tmp_path / "segment-000.mp4", count=True).frames == kept.segments[0]["frames"] == 150
    assert kept.done == set()
    assert capture(three, tmp_path, camera).done == {clip.name for clip in three}


def test_a_camera_that_is_unplugged_loses_nothing_that_was_recorded(three: tuple[Clip, ...], tmp_path: Path) -> None:
    _, camera = simulated(SIZE, 0, drop_rate=0.0)
    seen = iter(range(10_000))

    def unplugged() -> bool:
        # Behind the first clip and a second more.
        camera.unplugged = next(seen) > 213 + three[0].frames + FPS + 2
        return False

    with pytest.raises(CameraLostError, match="unplugged; what was recorded is kept"):
        capture(three, tmp_path, camera, stop=unplugged)
    assert Capture.load(tmp_path).done == {three[0].name}
    camera.unplugged = False
    finished = capture(three, tmp_path, camera)
    assert finished.done == {clip.name for clip in three}
    assert [segment["clips"] for segment in finished.segments] == [[three[0].name], [clip.name for clip in three[1:]]]
    marks = read_capture(tmp_path)
    assert [segment["error"] for segment in marks["segments"]] == ["", ""]


def test_a_clip_that_cannot_be_read_to_its_end_is_listed_and_the_marks_stay_in_step(
    three: tuple[Clip, ...], tmp_path: Path
) -> None:
    (tmp_path / "clips").mkdir()
    for clip in three:
        content = clip.path.read_bytes()
        cut = len(content) // 2 if clip is three[1] else len(content)
        (tmp_path / "clips" / clip.name).write_bytes(content[:cut] + bytes(len(content) - cut))
    damaged = tuple(
        Clip(clip.name, tmp_path / "clips" / clip.name, clip.frames, clip.width, clip.height) for clip in three
    )
    _, camera = simulated(SIZE, 0, drop_rate=0.0, shutter=SHUTTER)
    done = capture(damaged, tmp_path / "capture", camera)
    assert done.done == {three[0].name, three[2].name}
    assert list(done.problems) == [three[1].name]
    assert three[1].name not in (tmp_path / "capture" / MAP_FILE).read_text()
    marks = read_capture(tmp_path / "capture")
    assert marks["segments"][0]["dropped"] == []
    assert marks["segments"][0]["agreement"] > 0.99


def test_another_list_in_the_same_folder_is_refused(three: tuple[Clip, ...], tmp_path: Path) -> None:
    _, camera = simulated(SIZE, 0)
    capture(three[:1], tmp_path, camera)
    with pytest.raises(ValueError, match=r"other settings \(clips\)"):
        capture(three, tmp_path, camera)


def test_a_list_is_a_folder_or_lines_of_paths(three: tuple[Clip, ...], tmp_path: Path) -> None:
    folder = three[0].path.parent
    listed = folder / "list.txt"
    listed.write_text(f"# later ones first\n{three[2].name}\n\n{three[0].name}\n")
    assert [clip.name for clip in read_list(listed)] == [three[2].name, three[0].name]
    listed.write_text(f"{three[0].name}\n{three[0].name}\n")
    with pytest.raises(ValueError, match="stand in it once"):
        read_list(listed)
    listed.unlink()
    with pytest.raises(ValueError, match="holds no video"):
        read_list(tmp_path)


def test_the_cameras_clock_counts_numbers_and_trusts_its_rate_when_the_times_agree() -> None:
    numbers = np.array([4, 5, 7, 8])
    assert camera_clock(numbers, numbers * 0.0401, 25.0) == pytest.approx([0, 0.04, 0.12, 0.16])
    assert camera_clock(numbers, numbers * 0.05, 25.0) == pytest.approx([0, 0.05, 0.15, 0.20])
    assert camera_clock(numbers, numbers * 0.05, None) == pytest.approx([0, 0.05, 0.15, 0.20])


def test_runs_are_where_recorded_and_played_frames_rise_together() -> None:
    assert runs(np.array([-1, 3, 4, 6, 6, 7, -1, 8])) == [(1, 3, 2), (3, 6, 1), (4, 6, 2), (7, 8, 1)]
    assert runs(np.array([-1, -1])) == []
