"""The data set of rendered clips on disk: names, bytes, resume, refusals."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from dataset_builder.scenes import synthesize as module
from dataset_builder.scenes.render import SceneSettings, render_clip
from dataset_builder.scenes.synthesize import SynthesizeConfig, synthesize
from lps_sim.media import probe, read_video


def config(folder: Path, **changes: object) -> SynthesizeConfig:
    settings: dict[str, object] = {
        "performers": (3,),
        "setups": 1,
        "actions": (23, 58),
        "cameras": 1,
        "replications": 1,
    }
    settings |= {"size": (96, 54), "fps": 10.0, "seconds": 0.8}
    return SynthesizeConfig(destination=folder, **{**settings, **changes})


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    steps: list[tuple[int, int]] = []
    summary = synthesize(config(folder), lambda done, total: steps.append((done, total)))
    assert steps == [(1, 2), (2, 2)]
    assert (summary.planned, summary.rendered, summary.skipped, summary.failed) == (2, 2, 0, {})
    assert summary.frames == 16
    return folder


def test_clips_bear_ntu_names_and_have_ground_truth_beside_them(rendered: Path):
    assert [path.name for path in sorted(rendered.iterdir())] == [
        "S001C001P003R001A023_rgb.mp4",
        "S001C001P003R001A023_truth.npz",
        "S001C001P003R001A058_rgb.mp4",
        "S001C001P003R001A058_truth.npz",
        "synthesize.json",
    ]
    with np.load(rendered / "S001C001P003R001A058_truth.npz") as truth:
        assert truth["joints_m"].shape == (2, 8, 25, 3)
        assert truth["boxes_px"].shape == (2, 8, 4)
        people = json.loads(str(truth["attributes"]))
    assert people[0]["performer"] == 3
    assert people[1]["performer"] != 3


def test_the_video_shows_the_rendered_frames(rendered: Path):
    decoded, info = read_video(rendered / "S001C001P003R001A023_rgb.mp4")
    assert (info.width, info.height, info.frames, info.fps) == (96, 54, 8, 10)
    truth = np.stack(list(render_clip("S001C001P003R001A023", SceneSettings(96, 54, 10.0, 8)).frames()))
    # The codec halves the colour's resolution: the mean error of a fine quantiser, not of single edges.
    assert np.abs(decoded.astype(int) - truth).mean() < 4.0


def test_two_workers_write_the_same_bytes_as_one(rendered: Path, tmp_path: Path):
    summary = synthesize(config(tmp_path, workers=2))
    assert summary.failed == {}
    assert digests(tmp_path) == digests(rendered)


def test_a_second_run_keeps_whole_clips_and_renders_what_is_missing(tmp_path: Path):
    synthesize(config(tmp_path, actions=(23,)))
    before = digests(tmp_path)
    video = tmp_path / "S001C001P003R001A023_rgb.mp4"
    video.unlink()
    summary = synthesize(config(tmp_path, actions=(23,), workers=2))
    assert (summary.rendered, summary.skipped) == (1, 0)
    assert digests(tmp_path) == before
    stamp = video.stat().st_mtime_ns
    assert synthesize(config(tmp_path, actions=(23,))).skipped == 1
    assert video.stat().st_mtime_ns == stamp


def test_another_configuration_in_the_same_folder_is_refused_with_the_difference(rendered: Path):
    before = digests(rendered)
    with pytest.raises(ValueError, match="seed was 0, now 5"):
        synthesize(config(rendered, seed=5))
    with pytest.raises(ValueError, match=r"size was \[96, 54\], now \[64, 36\]"):
        synthesize(config(rendered, size=(64, 36)))
    assert digests(rendered) == before


def test_mpeg4_clips_are_avi_files_as_ntus(tmp_path: Path):
    synthesize(config(tmp_path, actions=(23,), codec="mpeg4"))
    info = probe(tmp_path / "S001C001P003R001A023_rgb.avi", count=True)
    assert (info.codec, info.frames) == ("mpeg4", 8)


def test_a_clip_that_fails_is_listed_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = module.RenderedClip

    class Broken(real):  # type: ignore[misc, valid-type]
        def truth(self):
            if self.name.action == 23:
                raise ValueError("no light")
            return super().truth()

    monkeypatch.setattr(module, "RenderedClip", Broken)
    summary = synthesize(config(tmp_path))
    assert summary.failed == {"S001C001P003R001A023": "ValueError: no light"}
    assert summary.rendered == 1
    assert not list(tmp_path.glob("*A023*"))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_names_cover_every_combination_and_a_limit_draws_from_them_evenly(tmp_path: Path):
    full = SynthesizeConfig(
        destination=tmp_path, performers=4, setups=(2, 7), actions=(8, 22), cameras=3, replications=2
    )
    names = full.names()
    assert len(names) == len(set(names)) == 4 * 2 * 2 * 3 * 2
    assert names[0] == "S002C001P001R001A008"
    limited = full.model_copy(update={"limit": 24}).names()
    assert len(limited) == 24
    assert set(limited) < set(names)
    assert {name[:4] for name in limited} == {"S002", "S007"}
    assert {name[-4:] for name in limited} == {"A008", "A022"}
    assert full.model_copy(update={"limit": 24, "seed": 1}).names() != limited


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"performers": 0}, r"performers must be 1\.\.106"),
        ({"performers": (5, 107)}, r"performers must be 1\.\.106"),
        ({"setups": 33}, r"setups must be 1\.\.32"),
        ({"actions": (2,)}, "actions must be among"),
        ({"actions": ()}, "actions must be among"),
        ({"cameras": 4}, "cameras"),
        ({"replications": 3}, "replications"),
        ({"size": (1921, 1080)}, r"size must be 16x16\.\.1920x1080, got 1921x1080"),
        ({"size": (95, 54), "codec": "mpeg4"}, "size must be even for mpeg4, got 95x54"),
        ({"performer": 3}, "did you mean 'performers'"),
    ],
)
def test_bad_settings_are_refused_by_name_and_rule(tmp_path: Path, change: dict[str, object], message: str):
    with pytest.raises((ValidationError, ValueError), match=message):
        config(tmp_path, **change)
    assert not list(tmp_path.iterdir())


def test_an_odd_size_is_written_with_full_colour_resolution(tmp_path: Path):
    synthesize(config(tmp_path, actions=(23,), size=(65, 37), seconds=0.3))
    info = probe(tmp_path / "S001C001P003R001A023_rgb.mp4")
    assert (info.width, info.height, info.pixel_format) == (65, 37, "yuv444p")
