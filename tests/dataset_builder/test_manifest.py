import sqlite3
import time
from dataclasses import replace

import pytest

from dataset_builder.manifest import ClipRow, Manifest, StoredClip, StoredShard


@pytest.fixture
def path(tmp_path):
    return tmp_path / "manifest.sqlite"


def stored(name):
    return StoredClip(f"clips/{name}.mp4", "ab" * 32, 1234, 30, "30000/1001", 224, 224, f"means/{name}.png", "cd" * 32)


def test_a_clip_goes_from_pending_to_done_or_failed(path):
    with Manifest(path, writable=True) as manifest:
        manifest.add([ClipRow(name, f"src/{name}.avi") for name in "cab"])
        assert manifest.counts() == {"pending": 3, "done": 0, "failed": 0}
        manifest.record_done("a", stored("a"), "ef" * 32, seed=2**64 - 1)
        manifest.record_failed("b", "not a video")
        manifest.record_failed("b", "still not a video")
    with Manifest(path) as manifest:
        assert manifest.counts() == {"pending": 1, "done": 1, "failed": 1}
        assert [row.name for row in manifest.rows()] == ["a", "b", "c"]
        done = manifest.row("a")
        assert (done.status, done.source_sha256, done.seed) == ("done", "ef" * 32, str(2**64 - 1))
        assert (done.output, done.frames, done.fps) == ("clips/a.mp4", 30, "30000/1001")
        failed = manifest.row("b")
        assert (failed.status, failed.error, failed.attempts) == ("failed", "still not a video", 2)
        assert manifest.totals() == (30, 1234)
        assert manifest.row("z") is None


def test_adding_again_keeps_what_is_done_and_updates_the_source_of_the_rest(path):
    with Manifest(path, writable=True) as manifest:
        manifest.add([ClipRow("a", "old/a.avi"), ClipRow("b", "old/b.avi")])
        manifest.record_done("a", stored("a"), "ef" * 32, seed=1)
        manifest.add([ClipRow("a", "new/a.avi"), ClipRow("b", "new/b.avi"), ClipRow("c", "new/c.avi")])
        assert [(row.name, row.source, row.status) for row in manifest.rows()] == [
            ("a", "old/a.avi", "done"),
            ("b", "new/b.avi", "pending"),
            ("c", "new/c.avi", "pending"),
        ]


def test_a_reader_sees_finished_rows_while_the_writer_is_open(path):
    with Manifest(path, writable=True) as writer:
        writer.add([ClipRow("a", "a.avi")])
        with Manifest(path) as reader:
            writer.record_failed("a", "broken")
            assert reader.counts()["failed"] == 1
            with pytest.raises(OSError, match="readonly"):
                reader.record_failed("a", "written by a reader")


def test_problems_are_replaced_by_the_next_run(path):
    with Manifest(path, writable=True) as manifest:
        manifest.record_problems([("x.avi", "empty file"), ("y.avi", "empty file")])
        manifest.record_problems([("y.avi", "not a video")])
        assert manifest.problems() == [("y.avi", "not a video")]


def test_a_file_that_is_no_manifest_is_refused(path, tmp_path):
    with pytest.raises(ValueError, match="no manifest there"):
        Manifest(path)
    assert not path.exists()
    path.write_text("hello, this is a text file that is long enough to be looked at" * 10)
    for writable in (False, True):
        with pytest.raises(ValueError, match="not a manifest"):
            Manifest(path, writable=writable)


def test_status_of_a_hundred_thousand_clips_takes_well_under_a_second(path):
    with Manifest(path, writable=True) as manifest:
        manifest.add(ClipRow(f"clip{i:06d}", f"src/clip{i:06d}.avi") for i in range(100_000))
    started = time.perf_counter()
    with Manifest(path) as manifest:
        assert manifest.counts()["pending"] == 100_000
        assert manifest.totals() == (0, 0)
        assert list(manifest.rows("failed")) == []
    assert time.perf_counter() - started < 1.0


def test_blocks_follow_the_order_of_names_and_later_clips_get_new_ones(path):
    with Manifest(path, writable=True) as manifest:
        manifest.add([ClipRow(name, "x") for name in "dbace"], clips_per_shard=2)
        assert [(row.name, row.block) for row in manifest.rows()] == [("a", 0), ("b", 0), ("c", 1), ("d", 1), ("e", 2)]
        manifest.add([ClipRow(name, "x") for name in ("a", "aa", "e", "f")], clips_per_shard=2)
        assert [manifest.block_of(name) for name in ("a", "aa", "e", "f", "absent")] == [0, 3, 2, 3, -1]
        with pytest.raises(ValueError, match="clips_per_shard must be 1 or more, got 0"):
            manifest.add([], clips_per_shard=0)


def test_a_block_is_ready_when_nothing_in_it_is_pending_and_something_is_not_sealed(path):
    part = replace(stored("a"), output="parts/a.mp4")
    with Manifest(path, writable=True) as manifest:
        manifest.add([ClipRow(name, "x") for name in "abcd"], clips_per_shard=2)
        for name in "ac":
            manifest.record_done(name, part, "ef" * 32, seed=1)
        assert manifest.blocks_to_seal() == []
        manifest.record_failed("b", "not a video")
        assert (manifest.blocks_to_seal(), manifest.blocks_to_seal([1]), manifest.blocks_to_seal([1, 0])) == (
            [0],
            [],
            [0],
        )
        assert [row.name for row in manifest.block_rows(0)] == ["a"]
        shard = StoredShard(0, "shards/000000.tar", "aa" * 32, 5000, 1, 30)
        manifest.record_shard(shard, ["a"])
        assert manifest.blocks_to_seal() == []
        manifest.record_done("b", replace(part, output="parts/b.mp4"), "ef" * 32, seed=1)
        assert manifest.blocks_to_seal() == [0]
        manifest.record_shard(replace(shard, clips=2, frames=60), ["a", "b"])
    with Manifest(path) as manifest:
        assert manifest.shards() == [replace(shard, clips=2, frames=60)]
        assert {(row.name, row.output, row.mean) for row in manifest.rows("done") if row.sealed} == {
            (name, "shards/000000.tar", "shards/000000.tar") for name in "ab"
        }


def test_a_manifest_of_an_earlier_version_is_read_as_it_is_and_brought_up_to_date_by_a_run(path):
    with Manifest(path, writable=True) as manifest:
        manifest.add([ClipRow("a", "a.avi")])
    with sqlite3.connect(path) as db:
        db.executescript("DROP INDEX clips_by_block; ALTER TABLE clips DROP COLUMN block; DROP TABLE shards;")
    db.close()
    with Manifest(path) as manifest:
        assert (manifest.row("a").block, manifest.shards()) == (-1, [])
    with Manifest(path, writable=True) as manifest:
        manifest.add([ClipRow("b", "b.avi")], clips_per_shard=1)
        assert [(row.name, row.block) for row in manifest.rows()] == [("a", 0), ("b", 1)]
