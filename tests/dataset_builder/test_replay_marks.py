"""Recordings in several files, cut by marks that were read before."""

import hashlib
import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from dataset_builder.replay.config import ReplayConfig
from dataset_builder.replay.ingest import ingest_replay
from dataset_builder.replay.marks import MarksFile
from dataset_builder.replay.straighten import Straightener
from dataset_builder.verify import verify_dataset
from lps_sim.media import EncoderSettings, iter_frames, write_video
from tests.dataset_builder.replay_material import moving_square

FRAMES = 20
LOSSLESS = EncoderSettings(codec="ffv1", pixel_format="yuv444p10le")
NEAR_DN = 4.0  # mean error of a clip of noise-free squares after H.264, code values


def runs(shown):
    """(recorded, played, count), written frame by frame."""
    return [[place, int(played), 1] for place, played in enumerate(shown) if played >= 0]


@pytest.fixture
def captured(tmp_path):
    """Four clips in two files: ten dark frames before and between; played frames 12, 13 and 33 are lost, 65 is
    stored twice."""
    clips = [moving_square(FRAMES, seed) for seed in range(4)]
    folder = tmp_path / "capture"
    folder.mkdir()
    # Each segment is played as ten dark frames and two clips: 50 played frames.
    played = {first + k: frame for first, clip in zip((10, 30, 60, 80), clips) for k, frame in enumerate(clip)}
    segments = []
    for number, numbers in enumerate((range(50), range(50, 100))):
        shown = [at for at in numbers if at not in (12, 13, 33)]
        if number:
            shown.insert(shown.index(65), 65)
        dark = np.full((36, 64, 3), 16, np.uint8)
        path = folder / f"segment-{number:03d}.mkv"
        write_video(path, [dark] * 3 + [played.get(at, dark) for at in shown], 30, LOSSLESS)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        segments.append(
            {
                "file": path.name,
                "sha256": digest,
                "frames": 3 + len(shown),
                "runs": runs([-1] * 3 + shown),
                "clock_drift": 5e-4,
                "error": "",
            }
        )
    boxes = {f"{name}.mp4": [0, 0, 64, 36] for name in "abcd"}
    marks = {
        "format": "lps-replay-marks",
        "version": 1,
        "fps": 25.0,
        "screen": [64, 40],
        "segments": segments,
        "boxes": boxes,
    }
    (folder / "marks.json").write_text(json.dumps(marks))
    lines = [f"{first} {first + FRAMES - 1} {name}.mp4\n" for first, name in zip((10, 30, 60, 80), "abcd")]
    (folder / "MAP").write_text("".join(lines))
    return folder, clips


def config(folder, destination, **changes):
    fields = {"recording": folder, "map": folder / "MAP", "destination": destination, "threads": 1, "layers": 8}
    return ReplayConfig(**{**fields, "sync": "marks", **changes})


def stored(root, name):
    (path,) = (root / "rgb").rglob(f"{name}.mp4") if (root / "rgb").is_dir() else root.rglob(f"{name}.mp4")
    return np.stack(list(iter_frames(path)))


def test_clips_of_two_files_are_cut_by_their_marks_and_every_loss_is_listed(captured, tmp_path):
    folder, clips = captured
    summary = ingest_replay(config(folder, tmp_path / "set"))
    assert (summary.done, summary.ok) == (4, True)
    report = json.loads((tmp_path / "set" / "replay.json").read_text())
    found = {clip["name"]: (clip["dropped"], clip["doubled"], clip["missing"]) for clip in report["clips"]}
    assert found == {"a": ([2, 3], [], []), "b": ([3], [], []), "c": ([], [5], []), "d": ([], [], [])}
    assert (report["sync"], report["dropped"], report["clock_drift"]) == ("marks", 3, 5e-4)
    for name, clip in zip("abcd", clips):
        frames = stored(tmp_path / "set", name)
        keep = [k for k in range(FRAMES) if k not in found[name][0]]
        assert len(frames) == FRAMES
        assert np.abs(frames[keep].astype(float) - clip[keep]).mean() < NEAR_DN
    assert verify_dataset(tmp_path / "set").ok


def test_a_second_run_has_nothing_to_do_and_other_marks_are_refused(captured, tmp_path):
    folder, _ = captured
    ingest_replay(config(folder, tmp_path / "set"))
    again = ingest_replay(config(folder, tmp_path / "set"))
    assert (again.done, again.already_done) == (0, 4)
    marks = json.loads((folder / "marks.json").read_text())
    (folder / "other.json").write_text(json.dumps({**marks, "segments": marks["segments"][:1]}))
    with pytest.raises(ValueError, match="other settings"):
        ingest_replay(config(folder, tmp_path / "set", marks=folder / "other.json"))


def test_a_clip_whose_segment_has_no_marks_fails_and_the_others_are_made(captured, tmp_path):
    folder, _ = captured
    marks = json.loads((folder / "marks.json").read_text())
    marks["segments"][0] |= {"runs": [], "clock_drift": None, "error": "no start code"}
    (folder / "marks.json").write_text(json.dumps(marks))
    summary = ingest_replay(config(folder, tmp_path / "set"))
    assert summary.done == 2
    assert [name for name, _ in summary.failed] == ["a", "b"]
    assert "lacks 20 of 20 frames" in summary.failed[0][1]


def test_a_file_that_the_marks_were_not_read_from_is_refused(captured, tmp_path):
    folder, clips = captured
    write_video(folder / "segment-001.mkv", clips[0], 30, LOSSLESS)
    with pytest.raises(ValueError, match="not the file that the marks were read from"):
        ingest_replay(config(folder, tmp_path / "set"))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"format": "other"}, "is not a marks file"),
        ({"version": 2}, "version must be 1"),
        ({"segments": []}, "at least one"),
        ({"boxes": {"a.mp4": [0, 0, 65, 36]}}, "box of a.mp4 must lie on the screen"),
    ],
)
def test_a_marks_file_that_breaks_a_rule_is_refused_by_name(captured, change, rule):
    folder, _ = captured
    path = folder / "marks.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=rule) as error:
        MarksFile.load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("bad", [[[60, 1, 1]], [[0, 5, 0]], [[0, 9, 1], [1, 8, 1]]])
def test_runs_that_leave_the_file_or_fall_are_refused(captured, bad):
    folder, _ = captured
    path = folder / "marks.json"
    marks = json.loads(path.read_text())
    marks["segments"][0]["runs"] = bad
    path.write_text(json.dumps(marks))
    with pytest.raises(ValueError, match=r"segment-000\.mkv"):
        MarksFile.load(path)


class TiltedView:
    """A screen that stands in the picture by a homography."""

    def __init__(self, homography):
        self.homography = homography

    def to_camera(self, points):
        return cv2.perspectiveTransform(points[None], self.homography)[0]

    def rectify(self, picture, size):
        scale = np.diag([64 / size[0], 40 / size[1], 1.0])
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpPerspective(picture, self.homography @ scale, size, flags=how)


def test_a_clip_is_cut_straight_out_of_a_tilted_screen_at_the_recording_s_resolution():
    """A smooth picture in a box of the screen, seen tilted and 4 times as large."""
    corners = np.float32([[0, 0], [64, 0], [64, 40], [0, 40]])
    seen = np.float32([[20, 10], [276, 24], [270, 170], [30, 180]])
    homography = cv2.getPerspectiveTransform(corners, seen).astype(np.float64)
    y, x = np.mgrid[0:36, 0:48]
    clip = np.stack([4 * x + 20, 5 * y + 30, 128 + 0 * x], axis=-1).astype(np.uint8)
    screen = np.zeros((40, 64, 3), np.uint8)
    screen[0:36, 8:56] = clip
    picture = cv2.warpPerspective(screen, homography, (300, 200))
    cut = Straightener(TiltedView(homography), (64, 40), {"a.mp4": (8, 0, 48, 36)})(picture, "a.mp4")
    assert cut.shape[1] == pytest.approx(48 * 4, abs=6)
    expected = cv2.resize(clip, cut.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    assert np.abs(cut.astype(float) - expected)[8:-8, 8:-8].mean() < 3
    with pytest.raises(ValueError, match=r"where on the screen b\.mp4 stood"):
        Straightener(TiltedView(homography), (64, 40), {})(picture, "b.mp4")


def test_the_command_takes_the_capture_s_folder(captured, tmp_path):
    folder, _ = captured
    command = ["data", "ingest-replay", str(folder), str(folder / "MAP"), str(tmp_path / "set"), "--size", "32x18"]
    result = CliRunner().invoke(main, [*command, "--sync", "marks", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["replay"]["dropped"] == 3
    refused = CliRunner().invoke(main, [*command, "--sync", "offset", "--offset", "1", "--screen", "SCREEN.json"])
    assert (refused.exit_code, "screen goes with sync marks" in refused.stderr) == (1, True)
