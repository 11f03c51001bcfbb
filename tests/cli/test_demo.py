"""The demo from command to page, with very little data: every step real, the numbers mean nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.demo.settings import DemoSettings
from cli.main import main


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "out"
    result = CliRunner().invoke(main, ["demo", "--quick", "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    return out


def test_the_page_is_one_file_that_asks_nothing_of_the_outside(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", page)
    assert page.count("data:image/") > 10


def test_the_page_shows_every_part_of_the_pipeline(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    for words in ("10 layers", "IFNS", "Modulation transfer function", "Learning curves", "Confusion matrix", "chance"):
        assert words in page


def test_clean_and_degraded_are_scored_by_the_same_protocol(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    closed = {name: run["closed_set"] for name, run in results["identity"].items()}
    assert set(closed) == {"clean", "degraded"}
    for key in ("performers", "train_clips", "test_clips", "chance"):
        assert closed["clean"][key] == closed["degraded"][key]
    tested = {run["results"]["action"]["clips"] for run in results["runs"].values()}
    assert len(tested) == 1


def test_the_data_sets_it_made_verify(finished: Path) -> None:
    for layers in ("layers-00", "layers-10"):
        result = CliRunner().invoke(main, ["data", "verify", str(finished / "p3ar" / layers)])
        assert result.exit_code == 0, result.output


def test_the_same_command_does_no_work_twice(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished / "steps").iterdir()}
    result = CliRunner().invoke(main, ["demo", "--quick", "--out", str(finished)])
    assert result.exit_code == 0, result.output
    assert before == {path: path.stat().st_mtime_ns for path in (finished / "steps").iterdir()}


def test_other_settings_in_the_same_folder_are_refused(finished: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--quick", "--seed", "1", "--out", str(finished)])
    assert result.exit_code == 1
    assert "made with other settings (seed)" in result.output


def test_a_video_that_is_a_text_file_is_refused_before_any_work(tmp_path: Path) -> None:
    fake = tmp_path / "street.mp4"
    fake.write_text("not a video\n" * 100)
    result = CliRunner().invoke(main, ["demo", "--quick", "--video", str(fake), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "not a video" in result.output
    assert not (tmp_path / "out").exists()


def test_the_full_demo_tests_on_performers_that_training_never_sees() -> None:
    from dataset_builder.splits import side

    settings = DemoSettings.of_size("full", out=Path("out"))
    sides = {
        side(f"S001C001P{performer:03d}R001A001", settings.protocol): performer for performer in settings.performers
    }
    assert set(sides) == {"train", "test"}
