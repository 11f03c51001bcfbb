import itertools
import json
import shutil

import pytest
from click.testing import CliRunner

from cli.main import main
from dataset_builder.naming import ntu_name
from lps_sim.media import iter_frames, write_video

FILM = "p3ar-10layer"


@pytest.fixture
def run():
    """Runs ``lps``; the result has exit_code, stdout and stderr."""
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def videos(tmp_path, carphone_path):
    root = tmp_path / "videos"
    root.mkdir()
    shutil.copy(carphone_path, root / "carphone.mp4")
    return root


@pytest.fixture
def ntu_videos(tmp_path, carphone_path):
    """Three clips of eight real frames."""
    root = tmp_path / "ntu"
    root.mkdir()
    frames = list(itertools.islice(iter_frames(carphone_path), 8))
    for performer in (1, 2, 3):
        write_video(root / f"{ntu_name(1, 1, performer, 1, 23)}_rgb.mp4", frames, 30)
    return root


def error_line(result, status):
    """The single line of an error; fails on a traceback or on more than click's usage hint around it."""
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_a_real_video_goes_from_index_to_a_verified_data_set(run, videos, tmp_path):
    index, dataset = tmp_path / "index.jsonl", tmp_path / "set"
    indexed = run("data", "index", videos, "-o", index, "--json")
    assert json.loads(indexed.stdout) == {
        "index": str(index),
        "naming": "folders",
        "clips": 1,
        "frames": 120,
        "excluded": 0,
        "duplicates": [],
        "problems": [],
    }
    command = ("data", "degrade", index, dataset, "--film", FILM, "--layers", 8, "--size", "64x48", "--workers", 0)
    degraded = run(*command, "--json")
    assert degraded.exit_code == 0, degraded.output
    summary = json.loads(degraded.stdout)
    assert (summary["clips"], summary["done"], summary["failed"], summary["frames"]) == (1, 1, [], 120)
    again = run(*command)
    assert (again.exit_code, "0 done, 1 done before" in again.stdout) == (0, True)
    (status,) = json.loads(run("data", "status", dataset, "--json").stdout)
    assert (status["counts"], status["frames"], status["layers"]) == ({"pending": 0, "done": 1, "failed": 0}, 120, 8)
    verified = run("data", "verify", dataset)
    assert (verified.exit_code, "all whole and unchanged" in verified.stdout) == (0, True)
    clip = dataset / "clips" / "carphone.mp4"
    clip.write_bytes(clip.read_bytes()[:-1])
    damaged = run("data", "verify", dataset, "--json")
    assert damaged.exit_code == 1
    (verdict,) = json.loads(damaged.stdout)
    assert [finding["path"] for finding in verdict["findings"]] == ["clips/carphone.mp4"]


def test_several_layer_counts_and_the_clean_twin_get_a_directory_each(run, ntu_videos, tmp_path):
    result = run(
        *("data", "degrade", ntu_videos, tmp_path / "sets", "--film", FILM, "--layers", "2,8", "--clean"),
        *("--size", "32x32", "--format", "frames", "--workers", 0),
    )
    assert result.exit_code == 0, result.output
    for folder in ("layers-00", "layers-02", "layers-08"):
        assert len(list((tmp_path / "sets" / folder / "frames" / "S001C001P002R001A023").iterdir())) == 8
    status = run("data", "status", tmp_path / "sets")
    assert status.stdout.count("3 of 3 clips done") == 3
    assert run("data", "verify", tmp_path / "sets").exit_code == 0


def test_split_writes_one_name_a_line(run, ntu_videos, tmp_path):
    index = tmp_path / "index.jsonl"
    assert run("data", "index", ntu_videos, "-o", index, "--naming", "ntu").exit_code == 0
    result = run("data", "split", index, "--protocol", "ntu120-xsub", "--out", tmp_path / "lists", "--json")
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)
    assert (counts["train"], counts["val"], counts["test"]) == (1, 1, 1)
    names = {side: (tmp_path / "lists" / f"{side}.txt").read_text().split() for side in ("train", "val", "test")}
    assert names["test"] == ["S001C001P003R001A023"]
    assert sorted(names["train"] + names["val"]) == ["S001C001P001R001A023", "S001C001P002R001A023"]
    assert run("data", "split", index, "--protocol", "ntu60-xview").exit_code == 0
    assert (tmp_path / "splits" / "ntu60-xview" / "test.txt").read_text().count("\n") == 3


def test_a_name_that_is_not_ntu_is_listed_with_the_rule_and_the_rest_is_indexed(
    run, ntu_videos, carphone_path, tmp_path
):
    (ntu_videos / "holiday.mp4").symlink_to(carphone_path)
    result = run("data", "index", ntu_videos, "-o", tmp_path / "i.jsonl", "--naming", "ntu")
    assert result.exit_code == 1
    assert "'holiday.mp4' is not an NTU name; the rule is SsssCcccPpppRrrrAaaa" in result.stderr
    assert "3 clips" in result.stdout


def test_no_ntu_name_at_all_is_one_line_and_writes_nothing(run, videos, tmp_path):
    line = error_line(run("data", "index", videos, "-o", tmp_path / "i.jsonl", "--naming", "ntu"), 1)
    assert "not an NTU name" in line
    assert not (tmp_path / "i.jsonl").exists()
    run("data", "index", videos, "-o", tmp_path / "i.jsonl")
    line = error_line(run("data", "split", tmp_path / "i.jsonl", "--protocol", "ntu120-xsub"), 1)
    assert "'carphone' is not an NTU name" in line
    assert not (tmp_path / "splits").exists()


def test_a_text_file_named_as_a_video_is_one_line_and_writes_nothing(run, tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.avi").write_text("this is not a video\n" * 20)
    line = error_line(run("data", "index", tmp_path / "src", "-o", tmp_path / "i.jsonl"), 1)
    assert "a.avi: not a video" in line
    degrade = ("data", "degrade", tmp_path / "src", tmp_path / "set", "--film", FILM, "--layers", 8)
    assert "a.avi: not a video" in error_line(run(*degrade), 1)
    assert {path.name for path in tmp_path.iterdir()} == {"src"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--film", FILM, "--layers", "0"), "layers must be 1..64, got 0"),
        (("--film", FILM, "--layers", "-1"), "layers must be 1..64, got -1"),
        (("--film", FILM, "--layers", "8,65"), "layers must be 1..64, got 65"),
        (("--film", FILM, "--layers", "many"), "not a list of whole numbers"),
        (("--film", "p3ar-10layers", "--layers", "8"), "did you mean 'p3ar-10layer'"),
        (("--film", "absent.h5", "--layers", "8"), "absent.h5"),
        (("--film", FILM), "give --layers"),
        (("--layers", "8"), "--layers needs --film"),
        (
            ("--film", FILM, "--layers", "8", "--format", "zip"),
            "'zip' is not one of 'mp4', 'frames', 'hdf5'",
        ),
        (("--film", FILM, "--layers", "8", "--shard", "4/3"), "shard must be I/N with N of 1 or more and I of 0..N"),
        (("--film", FILM, "--layers", "8", "--size", "224"), "is not WIDTHxHEIGHT"),
        (("--film", FILM, "--layers", "8", "--fov", "180"), "between 0 and 180"),
    ],
)
def test_wrong_usage_is_one_line_with_exit_status_2_and_writes_nothing(run, videos, tmp_path, options, message):
    line = error_line(run("data", "degrade", videos, tmp_path / "set", *options), 2)
    assert message in line
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("split", "absent.jsonl", "--protocol", "ntu120-xsub"), 1, "absent.jsonl"),
        (("split", "absent.jsonl", "--protocol", "ntu120-xsup"), 2, "did you mean 'ntu120-xsub'"),
        (("status", "absent"), 1, "not a data set directory"),
        (("verify", "absent"), 1, "not a data set directory"),
        (("index", "absent"), 1, "no such file or folder"),
        (("degrade", "absent", "set", "--film", FILM, "--layers", "8"), 1, "absent: no such file or folder"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(run, tmp_path, monkeypatch, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    assert message in error_line(run("data", *arguments), status)
    assert list(tmp_path.iterdir()) == []


def test_failed_clips_are_listed_and_the_exit_status_is_1(run, ntu_videos, tmp_path):
    index = tmp_path / "index.jsonl"
    run("data", "index", ntu_videos, "-o", index)
    bad = ntu_videos / "S001C001P002R001A023_rgb.mp4"
    bad.unlink()
    bad.write_text("now a text file " * 100)
    result = run(
        *("data", "degrade", index, tmp_path / "set", "--film", FILM, "--layers", 8, "--size", "32x32", "--workers", 0)
    )
    assert result.exit_code == 1
    assert "S001C001P002R001A023: " in result.stderr
    assert "not a video" in result.stderr
    status = run("data", "status", tmp_path / "set")
    assert "2 of 3 clips done, 0 pending, 1 failed" in status.stdout
    assert "failed S001C001P002R001A023 (attempts 1)" in status.stdout


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(run, ntu_videos, tmp_path, monkeypatch):
    from dataset_builder import work as driver

    real = driver.process_clip

    def interrupted(settings, task):
        if task.name == "S001C001P002R001A023":
            raise KeyboardInterrupt
        return real(settings, task)

    command = ("data", "degrade", ntu_videos, tmp_path / "set", "--film", FILM, "--layers", 8, "--size", "32x32")
    monkeypatch.setattr(driver, "process_clip", interrupted)
    stopped = run(*command, "--workers", 0)
    assert (stopped.exit_code, "the same command goes on" in stopped.stderr) == (130, True)
    monkeypatch.setattr(driver, "process_clip", real)
    resumed = run(*command, "--workers", 0)
    assert (resumed.exit_code, "2 done, 1 done before" in resumed.stdout) == (0, True)


def test_rendered_clips_are_named_indexed_and_split_like_ntu(run, tmp_path):
    command = (
        "data",
        "synthesize",
        tmp_path / "clips",
        "--performers",
        3,
        "--setups",
        1,
        "--cameras",
        1,
        "--workers",
        1,
    )
    options = ("--replications", 1, "--actions", "hand waving", "--size", "64x48", "--seconds", 0.1, "--json")
    rendered = run(*command, *options)
    assert rendered.exit_code == 0, rendered.output
    assert json.loads(rendered.stdout)["rendered"] == 3
    indexed = run("data", "index", tmp_path / "clips", "-o", tmp_path / "i.jsonl", "--json")
    assert (json.loads(indexed.stdout)["naming"], json.loads(indexed.stdout)["clips"]) == ("ntu", 3)
    split = run("data", "split", tmp_path / "i.jsonl", "--protocol", "ntu60-xsub", "--json")
    assert json.loads(split.stdout)["test"] == 1


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ("121", "'121' is not an NTU action"),
        ("hand wavin", "did you mean 'hand waving'"),
        ("zzz", "'zzz' is not an NTU"),
    ],
)
def test_an_unknown_action_is_refused_with_the_nearest(run, tmp_path, actions, message):
    line = error_line(run("data", "synthesize", tmp_path / "clips", "--actions", actions), 2)
    assert message in line
    assert not (tmp_path / "clips").exists()
