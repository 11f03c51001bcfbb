import json
import pickle

import pytest
from click.testing import CliRunner

from cli.main import main
from dataset_builder.index import Index, IndexEntry, build_index
from dataset_builder.naming import ntu_name


@pytest.fixture
def run():
    """Runs ``lps data``; the result has exit_code, stdout and stderr."""
    return lambda *arguments: CliRunner().invoke(main, ["data", *map(str, arguments)])


def saved_index(tmp_path, clips, naming):
    entries = (IndexEntry(n, f"{n}.avi", 9, 1, 30, "30", 1920, 1080, "mpeg4", label) for n, label in sorted(clips))
    Index(tmp_path, naming, tuple(entries)).save(tmp_path / "index.jsonl")
    return tmp_path / "index.jsonl"


@pytest.fixture
def ntu_index(tmp_path):
    grid = [(s, c, p, r, a) for s in (1, 2) for c in (1, 2, 3) for p in range(1, 9) for r in (1, 2) for a in (1, 8, 55)]
    return saved_index(tmp_path, [(ntu_name(*numbers), "") for numbers in grid], "ntu")


@pytest.fixture
def class_index(tmp_path):
    clips = [(f"{c}/v_{c}_g{g:02d}_c01", c) for c in ("Biking", "Diving") for g in range(1, 11)]
    return saved_index(tmp_path, clips, "folders")


def test_equal_bytes_are_listed_and_no_failure(run, tmp_path, carphone_path):
    (tmp_path / "src").mkdir()
    for name in ("a", "b"):
        (tmp_path / "src" / f"{name}.mp4").write_bytes(carphone_path.read_bytes())
    result = run("index", tmp_path / "src", "-o", tmp_path / "i.jsonl", "--sha256")
    assert (result.exit_code, result.stdout.count("2 clips, 240 frames")) == (0, 1)
    assert "equal bytes: 1\n  a = b\n" in result.stderr
    assert build_index(tmp_path / "src", cache=Index.load(tmp_path / "i.jsonl")).duplicates() == [("a", "b")]
    assert json.loads(run("index", tmp_path / "src", "-o", tmp_path / "i.jsonl", "--json").stdout)["duplicates"]


def test_a_subset_with_few_shots_is_written_beside_the_index(run, ntu_index, tmp_path):
    options = ("--actions", "1,A8", "--performers", "1-4,8", "--cameras", "2,3", "--limit-per-class", 5)
    result = run("split", ntu_index, "--protocol", "ntu60-xview", *options, "--json")
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)
    assert (counts["train"], counts["test"], len(counts["validation_performers"])) == (10, 0, 1)
    names = (tmp_path / "splits" / "ntu60-xview" / "train.txt").read_text().split()
    assert {name[-4:] for name in names} == {"A001", "A008"}
    assert {name[8:12] for name in names} <= {"P001", "P002", "P003", "P004", "P008"}


def test_the_identity_protocols_are_written_as_lists_and_as_pairs(run, ntu_index, tmp_path):
    assert run("split", ntu_index, "--protocol", "identity-closed").exit_code == 0
    result = run("split", ntu_index, "--protocol", "identity-verification", "--pairs", 40)
    assert (result.exit_code, "pairs 40" in result.stdout) == (0, True)
    folder = tmp_path / "splits"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.txt")} == {
        "identity-closed/train.txt",
        "identity-closed/test.txt",
        "identity-verification/pairs.txt",
    }
    lines = (folder / "identity-verification" / "pairs.txt").read_text().splitlines()
    assert sum(line.endswith(" 1") for line in lines) == 20 == sum(line.endswith(" 0") for line in lines)
    seen = (folder / "identity-closed" / "train.txt").read_text()
    assert not any(line[8:12] in {name[8:12] for name in seen.split()} for line in lines)


def test_class_folders_are_split_at_random_and_exported_for_pyskl(run, class_index, tmp_path):
    pickled = tmp_path / "clips.pkl"
    options = ("--protocol", "random", "--train-share", 0.5, "--seed", 3, "--validation", 0, "--pyskl", pickled)
    result = run("split", class_index, *options)
    assert result.exit_code == 0, result.output
    assert "train 10, val 0, test 10" in result.stdout
    data = pickle.loads(pickled.read_bytes())
    assert data["split"]["test"] == (tmp_path / "splits" / "random" / "test.txt").read_text().splitlines()
    assert {a["frame_dir"].split("/")[0]: a["label"] for a in data["annotations"]} == {"Biking": 0, "Diving": 1}
    assert data["annotations"][0]["img_shape"] == (1080, 1920)


def test_lists_of_the_data_set_are_followed_and_what_they_name_in_vain_is_counted(run, class_index, tmp_path):
    (tmp_path / "trainlist02.txt").write_text("Biking/v_Biking_g01_c01.avi 1\nBiking/v_Biking_g02_c01.avi 1\n")
    (tmp_path / "testlist02.txt").write_text("Biking/v_Biking_g03_c01.avi\nBiking/v_Biking_g77_c01.avi\n")
    result = run("split", class_index, "--protocol", "ucf101-2", "--lists", tmp_path, "--validation", 0)
    assert "train 2, val 0, test 1" in result.stdout
    assert "not covered by ucf101-2: 17" in result.stdout
    assert "in its lists, but no clip: 1, such as Biking/v_Biking_g77_c01" in result.stdout


def test_a_data_set_directory_is_split_like_an_index(run, tmp_path, carphone_path):
    (tmp_path / "src").mkdir()
    for performer in (1, 2, 3):
        (tmp_path / "src" / f"{ntu_name(1, 1, performer, 1, 8)}_rgb.mp4").write_bytes(carphone_path.read_bytes())
    made = run("degrade", tmp_path / "src", tmp_path / "set", "--clean", "--size", "32x24", "--workers", 0)
    assert made.exit_code == 0, made.output
    pickled = tmp_path / "set.pkl"
    result = run("split", tmp_path / "set", "--protocol", "ntu120-xsub", "--pyskl", pickled, "--json")
    assert json.loads(result.stdout)["out"] == str(tmp_path / "set" / "splits" / "ntu120-xsub")
    annotations = pickle.loads(pickled.read_bytes())["annotations"]
    assert [(a["total_frames"], a["img_shape"], a["label"]) for a in annotations] == [(120, (24, 32), 7)] * 3
    assert run("verify", tmp_path / "set").exit_code == 0


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--protocol", "ntu120-one-shot"), 2, "did you mean 'ntu120-oneshot'"),
        (("--protocol", "ntu120-xsub", "--performers", "one"), 2, "is not a list of numbers such as 1,3,8-12"),
        (("--protocol", "ntu120-xsub", "--actions", "drink watre"), 2, "did you mean 'drink water'"),
        (("--protocol", "ntu120-xsub", "--setups", "7"), 1, "no clip is left"),
        (("--protocol", "ucf101-1"), 1, "needs the folder of UCF101's own lists"),
        (("--protocol", "random", "--train-share", "1.5"), 1, "train share must be above 0 and below 1, got 1.5"),
        (("--protocol", "identity-verification", "--unseen", "0"), 1, "two performers or more, got 0"),
        (("--protocol", "identity-verification", "--pyskl", "x.pkl"), 1, "has pairs and no lists"),
        (("--protocol", "ntu120-oneshot"), 1, "S001C003P008R001A055, the protocol's exemplar"),
    ],
)
def test_a_split_that_cannot_be_is_one_line_and_writes_nothing(
    run, ntu_index, tmp_path, monkeypatch, options, status, message
):
    monkeypatch.chdir(tmp_path)
    if "ntu120-oneshot" in options:
        options = (*options, "--cameras", "1-2", "--actions", "55")
    result = run("split", ntu_index, *options)
    assert (result.exit_code, result.stderr.count("Error: ")) == (status, 1), result.output
    assert message in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"index.jsonl"}
