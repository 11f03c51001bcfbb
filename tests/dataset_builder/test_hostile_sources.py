"""A hostile source folder through the whole chain: each file is done right or listed with its reason."""

import json
import os

import pytest
from click.testing import CliRunner

from cli.main import main
from dataset_builder.config import DegradeConfig
from dataset_builder.formats import open_reader
from dataset_builder.index import build_index
from dataset_builder.runners.local import degrade_dataset
from dataset_builder.verify import verify_dataset
from lps_sim.media import MediaError, iter_frames, probe

from .hostile import csv_with_path_tricks, hdr, hostile_folder, variable_rate

FILM = "p3ar-10layer"
SIZE = (32, 24)


@pytest.fixture(scope="module")
def source(tmp_path_factory, carphone_path):
    folder = tmp_path_factory.mktemp("hostile")
    hostile = hostile_folder(folder / "src", carphone_path)
    yield hostile
    for path in hostile.root.glob("locked.*"):
        path.chmod(0o600)


def files_below(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir()}


def assert_listed(found, expected):
    assert found.keys() == expected.keys()
    for path, reason in expected.items():
        assert reason in found[path], (path, found[path])


def test_the_index_takes_what_is_usable_and_lists_the_rest_with_its_reason(source):
    index = build_index(source.root)
    frames = {entry.name: entry.frames for entry in index.entries if entry.name not in source.damaged}
    assert frames == source.usable
    assert_listed({problem.path: problem.reason for problem in index.problems}, source.refused)
    index.save(source.root.parent / "index.jsonl")  # whatever bytes the names are made of


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_does_each_clip_or_lists_it_and_writes_nothing_elsewhere(source, tmp_path, workers):
    before = files_below(source.root.parent)
    config = DegradeConfig(
        source=source.root, destination=tmp_path / "set", film=FILM, layers=(8,), size=SIZE, workers=workers
    )
    summary = degrade_dataset(config)
    assert (summary.ok, summary.done) == (False, len(source.usable))
    assert_listed(dict(summary.failed), source.damaged)
    assert_listed(dict(summary.problems), source.refused)
    reader = open_reader(tmp_path / "set")
    assert {name: reader.frame_count(name) for name in reader.names()} == source.usable
    assert all(reader.read(name, [count - 1]).shape == (1, 24, 32, 3) for name, count in source.usable.items())
    assert verify_dataset(tmp_path / "set").ok
    assert {path.name for path in tmp_path.iterdir()} == {"set"}
    assert files_below(source.root.parent) - {"index.jsonl"} == before - {"index.jsonl"}


def test_the_command_ends_with_exit_status_1_and_one_line_a_failure(source, tmp_path):
    command = ("data", "degrade", source.root, tmp_path / "set", "--film", FILM, "--layers", "8", "--size", "32x24")
    result = CliRunner().invoke(main, [*map(str, command), "--workers", "0"])
    assert result.exit_code == 1, result.output
    assert f"{len(source.usable)} done, 0 done before, 1 failed" in result.stdout
    assert f"files refused: {len(source.refused)}" in result.stderr
    lines = result.stderr.splitlines()
    for path, reason in source.refused.items():
        assert any(line.startswith(f"  {path}: ") and reason in line for line in lines), path


def test_a_file_that_goes_or_is_locked_after_the_index_was_made_is_one_failed_clip(tmp_path, carphone_path):
    (tmp_path / "src").mkdir()
    for name in ("a", "b"):
        (tmp_path / "src" / f"{name}.mp4").write_bytes(carphone_path.read_bytes())
    index = tmp_path / "index.jsonl"
    build_index(tmp_path / "src").save(index)
    (tmp_path / "src" / "a.mp4").unlink()
    config = DegradeConfig(source=index, destination=tmp_path / "set", film=FILM, layers=(8,), size=SIZE, workers=0)
    summary = degrade_dataset(config)
    assert summary.done == 1
    ((name, error),) = summary.failed
    assert (name, "No such file" in error) == ("a", True)


def test_a_csv_cannot_name_a_clip_outside_the_data_set(tmp_path, carphone_path):
    folder = tmp_path / "deep" / "folder"
    folder.mkdir(parents=True)
    for place in (folder, folder.parent):
        (place / "one.mp4").write_bytes(carphone_path.read_bytes())
    refused = csv_with_path_tricks(folder / "clips.csv", "one.mp4")
    index = build_index(folder / "clips.csv", "csv")
    assert index.names() == ["one"]
    assert_listed({problem.path: problem.reason for problem in index.problems}, refused)


def test_a_csv_that_is_no_text_is_refused_in_one_line(tmp_path, carphone_path):
    for name, content in (("video.csv", carphone_path.read_bytes()), ("long.csv", b"path\n" + b"x" * 200_000)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}: not a CSV file"):
            build_index(tmp_path / name, "csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ValueError, match=r"pipe\.csv: not a CSV file"):
        build_index(tmp_path / "pipe.csv", "csv")


def test_a_clip_of_variable_rate_keeps_every_frame(tmp_path, carphone_path):
    frames = [frame for frame, _ in zip(iter_frames(carphone_path), range(9))]
    (tmp_path / "src").mkdir()
    variable_rate(tmp_path / "src" / "uneven.mkv", frames)
    info = probe(tmp_path / "src" / "uneven.mkv", count=True)
    assert (info.frames, info.fps, info.variable_rate) == (9, 17, True)
    (entry,) = build_index(tmp_path / "src").entries
    assert (entry.frames, entry.frame_rate) == (9, 17)
    config = DegradeConfig(source=tmp_path / "src", destination=tmp_path / "set", layers=(0,), workers=0)
    assert degrade_dataset(config).frames == 9
    clip = probe(tmp_path / "set" / "clips" / "uneven.mp4", count=True)
    assert (clip.frames, clip.fps, clip.variable_rate) == (9, 17, False)


def test_hdr_alone_is_one_line_that_says_what_to_do(tmp_path):
    (tmp_path / "src").mkdir()
    hdr(tmp_path / "src" / "pq.mkv")
    result = CliRunner().invoke(main, ["data", "index", str(tmp_path / "src"), "-o", str(tmp_path / "i.jsonl")])
    assert result.exit_code == 1
    assert "pq.mkv: HDR (pq): its code values are not a display's; convert it to SDR" in result.stderr


CLASS_FOLDERS = {
    "ucf101": "HandstandPushups/v_HandStandPushups_g01_c01",
    "hmdb51": "brush_hair/#14_I'm_so_GOOD!_(2),_[part;1]_&_@home+x_brush_hair_u_nm_np1_ba_goo_0",
    "kinetics": "air drumming/-0-aBc_D1eF_000010_000020",
}


def test_names_of_class_folder_data_sets_go_through_the_whole_chain(tmp_path, carphone_path):
    for name in CLASS_FOLDERS.values():
        path = tmp_path / "src" / f"{name}.mp4"
        path.parent.mkdir(parents=True)
        path.symlink_to(carphone_path)
    run = lambda *a: CliRunner().invoke(main, [str(x) for x in ("data", *a)])  # noqa: E731
    indexed = run("index", tmp_path / "src", "-o", tmp_path / "i.jsonl", "--sha256", "--json")
    assert indexed.exit_code == 0, indexed.output
    assert json.loads(indexed.stdout)["duplicates"] == [sorted(CLASS_FOLDERS.values())]
    options = ("--clean", "--size", "32x24", "--workers", 0)
    for form in ("mp4", "frames"):
        done = run("degrade", tmp_path / "i.jsonl", tmp_path / form, *options, "--format", form)
        assert done.exit_code == 0, done.output
        assert run("verify", tmp_path / form).exit_code == 0
        reader = open_reader(tmp_path / form)
        assert reader.names() == sorted(CLASS_FOLDERS.values())
        assert [reader.label(name) for name in reader.names()] == [name.split("/")[0] for name in reader.names()]


def test_a_clip_that_is_also_a_folder_of_clips_is_refused(tmp_path, carphone_path):
    for name in ("walk", "walk/one", "run.mp4/one", "run", "ru"):
        path = tmp_path / "src" / f"{name}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(carphone_path)
    index = build_index(tmp_path / "src")
    assert index.names() == ["ru", "run.mp4/one", "walk/one"]
    assert {problem.path: problem.reason for problem in index.problems} == {
        "run.avi": "name: run is also a folder of other clips",
        "walk.avi": "name: walk is also a folder of other clips",
    }


def test_an_absurd_size_is_refused_without_its_memory(source):
    with pytest.raises(MediaError, match="claims 200000x1080 pixels; at most 16384 a side"):
        next(iter_frames(source.root / "wide.avi"))
