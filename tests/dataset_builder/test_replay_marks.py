"""Recordings in segments, cut by a marks file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataset_builder.replay.config import ReplayConfig
from dataset_builder.replay.ingest import ingest_replay
from dataset_builder.replay.marked import MarksFile
from lps_sim.files import sha256_file
from lps_sim.media import iter_frames, write_video
from lps_sim.screen_view import ScreenView

SHAPE = (32, 48, 3)


def level(played: int) -> int:
    return 40 + 6 * (played % 30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two segments: played frames 0..29 with frame 12 lost and 20 doubled, and 30..49 behind five others."""
    first = [*range(12), *range(13, 21), *range(20, 30)]
    second = [-1] * 5 + list(range(30, 50))
    segments = []
    for name, shown in (("a.mp4", first), ("b.mp4", second)):
        write_video(tmp_path / name, np.array([np.full(SHAPE, level(max(one, 0)), np.uint8) for one in shown]), 25)
        segments.append({"file": name, "sha256": sha256_file(tmp_path / name), "frames": len(shown), "error": ""})
    segments[0] |= {"runs": [[0, 0, 12], [12, 13, 8], [20, 20, 10]], "clock_drift": 0.001}
    segments[1] |= {"runs": [[5, 30, 20]], "clock_drift": 0.001}
    marks = {"format": "lps-replay-marks", "version": 1, "fps": 25.0, "segments": segments, "boxes": {}}
    (tmp_path / "marks.json").write_text(json.dumps(marks))
    (tmp_path / "MAP").write_text("2 17 one.mp4\n18 27 two.mp4\n31 47 three.mp4\n")
    return tmp_path


def config(folder: Path, recording: str = "", **other: object) -> ReplayConfig:
    return ReplayConfig(
        recording=folder / recording,
        map=folder / "MAP",
        destination=folder / "out",
        sync="marks",
        marks=folder / "marks.json",
        **other,
    )


def test_clips_are_cut_from_the_segment_that_shows_them(folder: Path) -> None:
    summary = ingest_replay(config(folder))
    assert summary.ok
    assert {cut.clip.name: (cut.dropped, cut.doubled) for cut in summary.cuts} == {
        "one": ((10,), ()),
        "two": ((), (2,)),
        "three": ((), ()),
    }
    files = {path.stem: path for path in (folder / "out").rglob("*.mp4")}
    means = [round(float(frame.mean())) for frame in iter_frames(files["three"])]
    assert np.abs(np.array(means) - [level(played) for played in range(31, 48)]).max() <= 2
    assert summary.report["clock_drift"] == pytest.approx(-0.001, abs=1e-5)
    assert summary.report["dropped"] == 1
    assert ingest_replay(config(folder)).already_done == 3


def test_a_clip_is_cut_out_of_the_screen_where_it_stood(folder: Path) -> None:
    """The screen fills the camera's middle at half its size; the clip is its left half, which alone is bright."""
    frame = np.zeros(SHAPE, np.uint8)
    frame[8:24, 12:24] = 200
    for segment in ("a.mp4", "b.mp4"):
        write_video(folder / segment, np.repeat(frame[np.newaxis], 31 if segment == "a.mp4" else 25, axis=0), 25)
    marks = json.loads((folder / "marks.json").read_text())
    for segment in marks["segments"]:
        segment["sha256"] = sha256_file(folder / segment["file"])
        segment["frames"] = 31 if segment["file"] == "a.mp4" else 25
    marks["boxes"] = {f"{name}.mp4": [0, 0, 24, 32] for name in ("one", "two", "three")}
    (folder / "marks.json").write_text(json.dumps(marks))
    view = ScreenView(((0.5, 0, 11.75), (0, 0.5, 7.75), (0, 0, 1)), (48, 32), (48, 32), 50.0)
    view.save(folder / "screen.json")
    assert ingest_replay(config(folder, screen=folder / "screen.json")).ok
    pictures = [next(iter_frames(path)) for path in (folder / "out").rglob("*.mp4")]
    assert len(pictures) == 3
    for picture in pictures:
        assert picture.shape == (32, 24, 3)
        assert picture[4:-4, 4:-4].min() > 190


def test_one_segment_alone_gives_its_clips_and_names_the_others(folder: Path) -> None:
    summary = ingest_replay(config(folder, "b.mp4"))
    assert summary.done == 1
    assert [name for name, _ in summary.failed] == ["one", "two"]


def test_a_segment_that_was_changed_behind_the_marks_is_refused(folder: Path) -> None:
    write_video(folder / "b.mp4", np.zeros((25, *SHAPE), np.uint8), 25)
    with pytest.raises(ValueError, match="not the file that the marks were read from"):
        ingest_replay(config(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda marks: marks.pop("version"), "format must be lps-replay-marks of version 1"),
        (lambda marks: marks.pop("boxes"), "lacks or misuses 'boxes'"),
        (lambda marks: marks["segments"][0].update(file="../a.mp4"), "file must lie beside the marks file"),
        (lambda marks: marks["segments"][1].update(runs=[[5, 30, 21]]), "runs must rise and lie in 25 frames"),
        (lambda marks: marks["segments"][1].update(runs=[[5, 30, 9], [14, 20, 1]]), "runs must rise"),
        (lambda marks: [one.update(error="no start code") for one in marks["segments"]], "no segment has marks"),
        (lambda marks: marks["boxes"].update(one=[0, 0, 0, 5]), "box of one must be"),
    ],
)
def test_a_marks_file_that_breaks_a_rule_is_refused(folder: Path, change, message: str) -> None:
    marks = json.loads((folder / "marks.json").read_text())
    change(marks)
    (folder / "marks.json").write_text(json.dumps(marks))
    with pytest.raises(ValueError, match=message):
        MarksFile.load(folder / "marks.json")


def test_marks_go_with_their_own_way_of_syncing(folder: Path) -> None:
    with pytest.raises(ValueError, match="marks must be given with sync marks"):
        ReplayConfig(recording=folder, map=folder / "MAP", destination=folder / "out", sync="marks")
