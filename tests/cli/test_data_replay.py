import json

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from lps_sim.media import write_video
from tests.dataset_builder.replay_material import moving_square


@pytest.fixture
def run():
    """Runs ``lps``; the result has exit_code, stdout and stderr."""
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def replay(tmp_path):
    """Folder ``played`` of 16 clips and ``raw.mp4``, in which they are played one after another, 12 frames late."""
    (tmp_path / "played").mkdir()
    clips = [moving_square(30, seed) for seed in range(16)]
    for number, clip in enumerate(clips):
        write_video(tmp_path / "played" / f"{number:02d}.mp4", clip, 30)
    dark = np.full((12, 36, 64, 3), 16, np.uint8)
    write_video(tmp_path / "raw.mp4", np.concatenate([dark, *clips, dark]), 30)
    return tmp_path


def test_a_map_is_made_and_a_recording_cut_by_it_found_in_time_by_itself(run, replay):
    made = run("data", "replay-map", replay / "played", "-o", replay / "MAP", "--json")
    assert (made.exit_code, json.loads(made.stdout)["frames"]) == (0, 480)
    command = ("data", "ingest-replay", replay / "raw.mp4", replay / "MAP", replay / "set", "--workers", 0)
    result = run(*command, "--played", replay / "played", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["done"], found["replay"]["offset"], found["replay"]["dropped"]) == (16, 12, 0)
    again = run(*command, "--played", replay / "played")
    assert (again.exit_code, "0 clips done, 16 done before" in again.stdout) == (0, True)
    (status,) = json.loads(run("data", "status", replay / "set", "--json").stdout)
    assert status["counts"]["done"] == 16
    assert run("data", "verify", replay / "set").exit_code == 0


def test_a_clip_beyond_the_recording_s_end_makes_the_exit_status_1(run, replay):
    run("data", "replay-map", replay / "played", "-o", replay / "MAP")
    result = run("data", "ingest-replay", replay / "raw.mp4", replay / "MAP", replay / "set", "--offset", 30)
    assert result.exit_code == 1
    assert "15 clips done, 0 done before, 1 failed" in result.stdout
    assert "15: " in result.stderr
    assert "ends after 504 frames" in result.stderr


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ((), 2, "give --offset N, or --played SRC"),
        (("--sync", "offset"), 2, "--sync offset needs --offset N"),
        (("--offset", "1", "--max-gap", "-2"), 2, "--max-gap"),
        (("--offset", "1"), 1, "MAP: line 2: END must be START or more, got 9 3"),
    ],
)
def test_wrong_usage_is_one_line(run, replay, options, status, message):
    (replay / "MAP").write_text("0 8 a.mp4\n9 3 b.mp4\n")
    result = run("data", "ingest-replay", replay / "raw.mp4", replay / "MAP", replay / "set", *options)
    assert result.exit_code == status
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not (replay / "set" / "dataset.json").exists()
