import shutil
from pathlib import Path

import pytest

from dataset_builder.formats import open_reader
from dataset_builder.verify import verify_dataset

from .test_formats import moving_clip, write_dataset


@pytest.fixture(params=["mp4", "frames"])
def dataset(request, tmp_path):
    root = tmp_path / "set"
    write_dataset(root, request.param, {"a": moving_clip(8), "class/b": moving_clip(5)})
    return root


@pytest.fixture(params=[".h5", ".tar"])
def sharded(request, tmp_path):
    """Two shards: the first with a and b, the second with c; the path of the first."""
    root = tmp_path / "set"
    clips = {"a": moving_clip(8), "b": 255 - moving_clip(5), "c": moving_clip(2)}
    write_dataset(root, {".h5": "hdf5", ".tar": "webdataset"}[request.param], clips)
    return root / "shards" / f"000000{request.param}"


def findings(root):
    return {finding.path: finding.reason for finding in verify_dataset(root).findings}


def first_file(root: Path) -> Path:
    """The clip a's file, or its first frame."""
    return next(path for path in (root / "clips" / "a.mp4", root / "frames" / "a" / "0.jpg") if path.exists())


def flip_byte(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def test_an_untouched_data_set_is_clean(dataset):
    verdict = verify_dataset(dataset)
    assert (verdict.ok, verdict.checked, verdict.findings) == (True, 2, ())
    assert verdict.counts == {"pending": 0, "done": 2, "failed": 0}


def test_one_flipped_byte_is_found(dataset):
    path = first_file(dataset)
    flip_byte(path, path.stat().st_size // 2)
    (reason,) = findings(dataset).values()
    assert reason.startswith("changed: SHA-256")


def test_a_truncated_file_is_found(dataset):
    path = first_file(dataset)
    path.write_bytes(path.read_bytes()[:-20])
    assert len(findings(dataset)) == 1


def test_a_missing_clip_is_found(dataset):
    path = first_file(dataset)
    gone = path if path.suffix == ".mp4" else path.parent
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    assert findings(dataset) == {gone.relative_to(dataset).as_posix(): "missing"}


def test_a_changed_or_missing_mean_is_found(dataset):
    flip_byte(dataset / "means" / "a.png", 100)
    (dataset / "means" / "class" / "b.png").unlink()
    found = findings(dataset)
    assert found["means/a.png"].startswith("changed")
    assert found["means/class/b.png"] == "missing"


def test_orphans_and_unfinished_files_are_found(dataset):
    (dataset / "means" / "z.png").write_bytes(b"x")
    (dataset / "clips" / "class").mkdir(parents=True, exist_ok=True)
    (dataset / "clips" / "class" / "z.mp4").write_bytes(b"x")
    (dataset / ".partial").mkdir(exist_ok=True)
    (dataset / ".partial" / "0123.mp4").write_bytes(b"x")
    found = findings(dataset)
    assert set(found) == {"means/z.png", "clips/class/z.mp4", ".partial/0123.mp4"}
    assert found["means/z.png"].startswith("orphan")


def test_a_frame_too_many_or_too_few_is_found(tmp_path):
    write_dataset(tmp_path / "set", "frames", {"a": moving_clip(8)})
    folder = tmp_path / "set" / "frames" / "a"
    shutil.copy(folder / "0.jpg", folder / "8.jpg")
    assert "frames/a" in findings(tmp_path / "set")
    (folder / "8.jpg").unlink()
    (folder / "3.jpg").unlink()
    assert "3.jpg is missing" in findings(tmp_path / "set")["frames/a"]


def test_untouched_shards_are_clean(sharded):
    verdict = verify_dataset(sharded.parents[1])
    assert (verdict.ok, verdict.checked, verdict.findings) == (True, 3, ())


def test_one_flipped_byte_in_a_shard_is_found_and_the_clip_that_it_hurts(sharded):
    root = sharded.parents[1]
    reader = open_reader(root)
    payload = b"".join(reader.payload("b"))
    flip_byte(sharded, sharded.read_bytes().index(payload) + len(payload) // 2)
    found = findings(root)
    assert set(found) == {f"shards/{sharded.name}", f"shards/{sharded.name}: b"}
    assert all(reason.startswith("changed: SHA-256") for reason in found.values())


def test_a_changed_mean_in_a_shard_is_found(sharded):
    root = sharded.parents[1]
    flip_byte(sharded, sharded.read_bytes().index(open_reader(root).mean_png("a")) + 100)
    assert set(findings(root)) == {f"shards/{sharded.name}", f"shards/{sharded.name}: a: mean"}


def test_a_truncated_and_a_missing_shard_are_found(sharded):
    root = sharded.parents[1]
    sharded.write_bytes(sharded.read_bytes()[: sharded.stat().st_size // 2])
    assert f"shards/{sharded.name}" in findings(root)
    sharded.unlink()
    assert findings(root) == {f"shards/{sharded.name}": "missing"}


def test_orphans_beside_shards_are_found(sharded):
    root = sharded.parents[1]
    (root / "parts").mkdir()
    for orphan in (f"parts/a{sharded.suffix}", f"shards/000007{sharded.suffix}"):
        (root / orphan).write_bytes(b"x")
    assert set(findings(root)) == {f"parts/a{sharded.suffix}", f"shards/000007{sharded.suffix}"}


@pytest.mark.parametrize("format_name", ["hdf5", "webdataset"])
def test_clips_that_wait_for_their_shard_are_checked_as_files(tmp_path, format_name):
    root = tmp_path / "set"
    stored = write_dataset(root, format_name, {"a": moving_clip(8)}, seal=False)["a"]
    assert verify_dataset(root).ok
    flip_byte(root / stored.output, 300)
    assert findings(root)[stored.output].startswith("changed")


def test_a_folder_that_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not a data set directory"):
        verify_dataset(tmp_path)
