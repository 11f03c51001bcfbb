"""``lps data stats`` as a user meets it: tables, the page, JSON, exit statuses."""

from __future__ import annotations

import itertools
import json
import shutil

import pytest
from click.testing import CliRunner

from cli.main import main
from dataset_builder.naming import ntu_name
from lps_sim.media import iter_frames, write_video

NAMES = [ntu_name(1, 1, performer, 1, action) for performer, action in ((1, 8), (2, 23), (3, 23))]


def run(*arguments):
    """Runs ``lps``; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def built(tmp_path_factory, carphone_path):
    """Three clips of eight real frames, clean and behind 8 layers, made from a folder that also holds two bad files."""
    root = tmp_path_factory.mktemp("stats")
    frames = list(itertools.islice(iter_frames(carphone_path), 8))
    for name in NAMES:
        write_video(root / "source" / f"{name}_rgb.mp4", frames, 30)
    (root / "source" / f"{ntu_name(1, 1, 4, 1, 8)}_rgb.avi").write_text("not a video")
    (root / "source" / "holiday.mp4").write_bytes((root / "source" / f"{NAMES[0]}_rgb.mp4").read_bytes())
    command = ("data", "degrade", root / "source", root / "set", "--film", "p3ar-10layer", "--layers", 8, "--clean")
    result = run(*command, "--size", "64x48", "--workers", 0)
    assert result.exit_code == 1, result.output  # two files refused
    return root / "set"


@pytest.fixture
def dataset(built, tmp_path):
    return shutil.copytree(built, tmp_path / "set")


def test_it_prints_tables_and_writes_a_page_and_its_numbers(dataset) -> None:
    result = run("data", "stats", dataset)
    assert result.exit_code == 0, result.output
    for text in ("layers-00", "layers-08", "A023 hand waving", "performer", "RMS contrast", "not a video", "64x48"):
        assert text in result.stdout
    page = dataset / "stats" / "stats.html"
    assert result.stdout.endswith(f"page: {page}\n")
    text = page.read_text()
    assert text.count("data:image/webp") == len(NAMES)
    assert "holiday.mp4" in text
    numbers = json.loads((dataset / "stats" / "stats.json").read_text())
    assert [one["layers"] for one in numbers["datasets"]] == [0, 8]


def test_json_is_all_of_stdout_and_every_number_is_in_it(dataset, tmp_path) -> None:
    result = run("data", "stats", dataset, "--json", "--out", tmp_path / "page", "--samples", 2)
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)
    assert numbers["page"] == str(tmp_path / "page" / "stats.html")
    clean, filmed = numbers["datasets"]
    assert filmed["counts"] == {"pending": 0, "done": 3, "failed": 0}
    assert (filmed["frames"], filmed["clip_frames"]["median"]) == (24, 8.0)
    assert filmed["seconds"] == pytest.approx(3 * 8 / 30)
    assert filmed["shapes"] == [{"width": 64, "height": 48, "fps": "30", "clips": 3}]
    assert [group["key"] for group in filmed["breakdowns"][0]["groups"]] == ["A008", "A023"]
    assert sum(reason["count"] for reason in filmed["refused"]) == 2
    assert (filmed["light"]["clips"], filmed["light"]["before_from"]) == (2, "the data set layers-00")
    assert 0 < filmed["light"]["rms_contrast"]["kept"]["median"] < 0.5
    assert clean["light"]["rms_contrast"]["before"] is None
    stored = sum(path.stat().st_size for path in (dataset / "layers-08" / "clips").iterdir())
    assert filmed["bytes"]["clips"] == stored


def test_progress_goes_to_stderr(dataset) -> None:
    result = run("data", "stats", dataset / "layers-08", "--samples", 2)
    assert result.stderr.startswith("measuring: 4 of 4 clips")
    assert "measuring" not in result.stdout


def test_a_finished_clip_that_is_gone_is_listed_and_the_status_is_1(dataset) -> None:
    (dataset / "layers-08" / "clips" / f"{NAMES[1]}.mp4").unlink()
    result = run("data", "stats", dataset)
    assert result.exit_code == 1
    assert "not readable although finished; lps data verify tells more:" in result.stderr
    assert NAMES[1] in result.stderr
    assert "not readable although finished" in (dataset / "stats" / "stats.html").read_text()


def test_the_statistics_folder_is_no_part_of_the_data_set(dataset) -> None:
    assert run("data", "stats", dataset / "layers-08").exit_code == 0
    verified = run("data", "verify", dataset)
    assert (verified.exit_code, verified.stdout.count("all whole and unchanged")) == (0, 2), verified.output


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("{root}/nowhere",), 1, "not a data set directory (no dataset.json in it)"),
        (("{root}", "--clean", "{root}/layers-08"), 1, "clean must hold a data set of 0 layers, got"),
        (("{root}", "--samples", "-1"), 2, "--samples"),
    ],
)
def test_errors_are_one_line_with_the_rule(dataset, arguments, status, message) -> None:
    result = run("data", "stats", *(argument.format(root=dataset) for argument in arguments))
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert (result.exit_code, len(errors)) == (status, 1), result.output
    assert message in errors[0]
    assert not (dataset / "stats").exists()
