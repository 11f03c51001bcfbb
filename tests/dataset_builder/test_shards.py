"""Shards: the same clips give the same bytes however they came about, and any number of processes read them."""

import hashlib
import io
import itertools
import json
import os
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from dataset_builder.formats import open_reader, writer_class
from dataset_builder.formats.webdataset import Window, key_of, name_of
from dataset_builder.layout import MANIFEST_FILE, locked
from dataset_builder.manifest import ClipRow, Manifest
from dataset_builder.seal import seal_ready
from dataset_builder.verify import verify_dataset

from .test_formats import CODECS, moving_clip, write_dataset

NAMES = ["S001C001P001R001A001", "class one/ü", "v1.5 (take 2)"]
CLIPS = {name: moving_clip(frames, 16, 24) for name, frames in zip(NAMES, (5, 3, 1))}
SHARD_FORMATS = {"hdf5": ".h5", "webdataset": ".tar"}
ROOT = Path(__file__).parents[2]


@pytest.fixture(params=sorted(SHARD_FORMATS))
def format_name(request):
    return request.param


def digests(root):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (root / "shards").iterdir()}


def make(root, manifest, name):
    """One clip as a worker makes it."""
    format_name = json.loads((root / "dataset.json").read_text())["format"]
    frames = CLIPS[name]
    with writer_class(format_name)(root, name, Fraction(30000, 1001), 24, 16, CODECS[format_name]) as writer:
        for frame in frames:
            writer.write(frame)
    manifest.record_done(name, writer.stored, "ab" * 32, seed=1)


def files_outside_shards(root):
    return [path for top in ("parts", "means", ".partial") for path in (root / top).rglob("*") if path.is_file()]


@pytest.fixture
def sealed(tmp_path, format_name):
    write_dataset(tmp_path / "sealed", format_name, CLIPS)
    return tmp_path / "sealed"


def test_clips_move_from_parts_into_shards_and_keep_their_hashes(tmp_path, format_name, sealed):
    open_set = tmp_path / "open"
    stored = write_dataset(open_set, format_name, CLIPS, seal=False)
    assert len(files_outside_shards(open_set)) == 6
    assert open_reader(open_set).names() == []
    assert sorted(digests(sealed)) == [f"00000{block}{SHARD_FORMATS[format_name]}" for block in (0, 1)]
    assert files_outside_shards(sealed) == []
    assert not (sealed / "parts").exists()
    with Manifest(sealed / MANIFEST_FILE) as manifest:
        for row in manifest.rows():
            assert row.output == row.mean == f"shards/00000{NAMES.index(row.name) // 2}{SHARD_FORMATS[format_name]}"
            before = stored[row.name]
            assert (row.output_sha256, row.output_bytes) == (before.output_sha256, before.output_bytes)
        assert [(shard.clips, shard.frames) for shard in manifest.shards()] == [(2, 8), (1, 1)]
        assert {Path(shard.output).name: shard.sha256 for shard in manifest.shards()} == digests(sealed)


def test_any_order_of_work_gives_the_same_shards(tmp_path, format_name, sealed):
    for run, order in enumerate(itertools.permutations(NAMES)):
        root = tmp_path / str(run)
        write_dataset(root, format_name, {})
        with Manifest(root / MANIFEST_FILE, writable=True) as manifest:
            manifest.add([ClipRow(name, "a.avi", label="wave") for name in order], clips_per_shard=2)
            finished = []
            for name in order:
                make(root, manifest, name)
                finished += seal_ready(root, manifest, [name])
            assert [shard.clips for shard in finished] == ([1, 2] if order.index(NAMES[2]) < 2 else [2, 1])
        assert digests(root) == digests(sealed)


def test_a_clip_that_failed_first_is_added_to_its_shard_as_if_it_never_had(tmp_path, format_name, sealed):
    root = tmp_path / "retried"
    write_dataset(root, format_name, {})
    with Manifest(root / MANIFEST_FILE, writable=True) as manifest:
        manifest.add([ClipRow(name, "a.avi", label="wave") for name in NAMES], clips_per_shard=2)
        manifest.record_failed(NAMES[0], "disk on fire")
        make(root, manifest, NAMES[1])
        (first,) = seal_ready(root, manifest, NAMES[:2])
        assert first.clips == 1
        reader = open_reader(root)
        frames = reader.read(NAMES[1], [0, 2])
        make(root, manifest, NAMES[0])
        make(root, manifest, NAMES[2])
        assert [shard.clips for shard in seal_ready(root, manifest)] == [2, 1]
    assert digests(root) == digests(sealed)
    # An open reader looks for its clip anew in the shard that took the place of the one it knew.
    assert np.array_equal(reader.read(NAMES[1], [0, 2]), frames)


KILLED = """
import os, signal, sys
from pathlib import Path
from dataset_builder import seal
from dataset_builder.layout import MANIFEST_FILE
from dataset_builder.manifest import Manifest
root, step, calls = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
real = getattr(seal, step)
def counted(*arguments):
    global calls
    if calls == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    calls -= 1
    return real(*arguments)
setattr(seal, step, counted)
with Manifest(root / MANIFEST_FILE, writable=True) as manifest:
    seal.seal_ready(root, manifest)
"""


@pytest.mark.parametrize(
    ("step", "calls"),
    [("sha256_file", 0), ("fsync_directory", 0), ("remove_clip", 0), ("remove_clip", 1)],
    ids=["written", "renamed", "recorded", "first part removed"],
)
def test_a_sealing_that_is_killed_is_ended_by_the_next_run(tmp_path, format_name, sealed, step, calls):
    root = tmp_path / "killed"
    write_dataset(root, format_name, CLIPS, seal=False)
    died = subprocess.run([sys.executable, "-c", KILLED, str(root), step, str(calls)], cwd=ROOT, check=False)
    assert died.returncode == -9
    with locked(root), Manifest(root / MANIFEST_FILE, writable=True) as manifest:
        seal_ready(root, manifest)
        assert seal_ready(root, manifest) == []
    for leftover in (root / ".partial").iterdir():
        leftover.unlink()  # as the runner does when it starts
    assert digests(root) == digests(sealed)
    assert files_outside_shards(root) == []
    assert verify_dataset(root).ok


def test_a_manifest_that_a_power_cut_set_back_is_brought_up_to_date_from_the_shards(tmp_path, format_name, sealed):
    root = tmp_path / "cut"
    write_dataset(root, format_name, CLIPS, seal=False)
    before = (root / MANIFEST_FILE).read_bytes()
    for _ in range(2):
        (root / MANIFEST_FILE).write_bytes(before)
        with Manifest(root / MANIFEST_FILE, writable=True) as manifest:
            assert [shard.clips for shard in seal_ready(root, manifest)] == [2, 1]
    assert digests(root) == digests(sealed)
    assert verify_dataset(root).ok


@pytest.mark.parametrize("hurt", ["changed", "missing", "longer", "mean"])
def test_a_part_that_changed_on_disk_fails_and_the_others_are_sealed(tmp_path, format_name, sealed, hurt):
    root = tmp_path / "hurt"
    stored = write_dataset(root, format_name, CLIPS, seal=False)[NAMES[0]]
    part = root / (stored.mean if hurt == "mean" else stored.output)
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 1
    part.write_bytes(bytes(data) + b"x" * 100 if hurt == "longer" else data)
    if hurt == "missing":
        part.unlink()
    with Manifest(root / MANIFEST_FILE, writable=True) as manifest:
        assert [shard.clips for shard in seal_ready(root, manifest)] == [1, 1]
        assert manifest.row(NAMES[0]).status == "failed"
        assert manifest.row(NAMES[0]).error.startswith(f"{part.relative_to(root)}: ")
        make(root, manifest, NAMES[0])
        assert [shard.clips for shard in seal_ready(root, manifest)] == [2]
    assert digests(root) == digests(sealed)


def test_formats_without_shards_have_nothing_to_seal(tmp_path):
    root = tmp_path / "set"
    write_dataset(root, "mp4", CLIPS)
    with Manifest(root / MANIFEST_FILE, writable=True) as manifest:
        assert seal_ready(root, manifest) == seal_ready(root, manifest, NAMES) == []
    assert len(open_reader(root).names()) == 3


def test_threads_share_a_reader(sealed):
    reader = open_reader(sealed)
    wanted = [(name, index) for name in NAMES for index in range(len(CLIPS[name]))] * 4
    expected = {name: open_reader(sealed).read(name, range(len(CLIPS[name]))) for name in NAMES}
    with ThreadPoolExecutor(4) as pool:
        for (name, index), frames in zip(wanted, pool.map(lambda item: reader.read(item[0], [item[1]]), wanted)):
            assert np.array_equal(frames[0], expected[name][index])


def test_raw_frames_are_the_very_frames(tmp_path):
    write_dataset(tmp_path / "set", "hdf5", CLIPS, codec={"codec": "raw", "clips_per_shard": 2})
    reader = open_reader(tmp_path / "set")
    for name, clip in CLIPS.items():
        assert np.array_equal(reader.read(name, range(len(clip))), clip)
    assert verify_dataset(tmp_path / "set").ok


def test_an_hdf5_shard_can_be_read_by_its_documented_layout(tmp_path):
    write_dataset(tmp_path / "set", "hdf5", CLIPS)
    with h5py.File(tmp_path / "set" / "shards" / "000000.h5") as file:
        assert dict(file.attrs)["encoding"] == "jpeg"
        assert list(file["name"].asstr()) == NAMES[:2]
        assert file["frames"][:].tolist() == [5, 3]
        assert file["data"].chunks is None
        frame = int(file["first_frame"][1]) + 2
        start, stop = file["frame_offset"][frame : frame + 2]
        picture = cv2.imdecode(file["data"][start:stop], cv2.IMREAD_COLOR)[:, :, ::-1]
        start, stop = file["mean_offset"][1:3]
        mean = cv2.imdecode(file["mean_data"][start:stop], cv2.IMREAD_UNCHANGED)[:, :, ::-1] / 256
    reader = open_reader(tmp_path / "set")
    assert np.array_equal(picture, reader.read(NAMES[1], [2])[0])
    assert np.array_equal(mean.astype(np.float32), reader.mean(NAMES[1]))


def test_a_tar_shard_says_nothing_of_when_and_by_whom_it_was_made(tmp_path):
    write_dataset(tmp_path / "set", "webdataset", CLIPS)
    with tarfile.open(tmp_path / "set" / "shards" / "000000.tar") as archive:
        members = archive.getmembers()
        facts = json.load(archive.extractfile(f"{NAMES[0]}.json"))
    assert [member.name for member in members] == [
        f"{name}{suffix}" for name in NAMES[:2] for suffix in (".json", ".mean.png", ".mp4")
    ]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
    assert (facts["name"], facts["frames"], facts["fps"], facts["layers"]) == (NAMES[0], 5, "30000/1001", 0)
    assert (facts["setup"], facts["performer"], facts["action"], "gender" in facts) == (1, 1, 1, False)


# The package leaves its files for the garbage collector to close.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_webdataset_package_reads_the_shards(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    write_dataset(tmp_path / "set", "webdataset", CLIPS)
    shards = sorted(str(path) for path in (tmp_path / "set" / "shards").iterdir())
    samples = {name_of(sample["__key__"]): sample for sample in webdataset.WebDataset(shards, shardshuffle=False)}
    assert sorted(samples) == sorted(NAMES)
    with Manifest(tmp_path / "set" / MANIFEST_FILE) as manifest:
        for row in manifest.rows():
            sample = samples[row.name]
            assert hashlib.sha256(sample["mp4"]).hexdigest() == row.output_sha256
            assert hashlib.sha256(sample["mean.png"]).hexdigest() == row.mean_sha256
            assert json.loads(sample["json"])["name"] == row.name


@pytest.mark.parametrize("name", ["a", "v1.5", "100%", "x/y.z/1.2.3%2E", ".hidden", "ü ñ"])
def test_a_key_has_no_dot_in_its_last_part_and_tells_the_name(name):
    assert "." not in key_of(name).rpartition("/")[2]
    assert name_of(key_of(name)) == name


def test_a_window_is_a_file_of_its_own(tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(100)))
    with open(tmp_path / "file", "rb", buffering=0) as stream:
        window = Window(stream, 10, 30)
        assert window.read() == bytes(range(10, 30))
        assert (window.seek(-5, os.SEEK_END), window.read(10), window.read(1)) == (15, bytes(range(25, 30)), b"")
        assert (window.seek(2), window.seek(3, os.SEEK_CUR), window.tell(), window.read(2)) == (2, 5, 5, b"\x0f\x10")
        assert io.BufferedReader(window).seek(0) == 0
        beyond = Window(stream, 90, 200)
        with pytest.raises(ValueError, match="truncated: 100 bytes are missing"):
            beyond.read()
