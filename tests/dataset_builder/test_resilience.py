import os
import subprocess
import time

import pytest

from dataset_builder.config import DegradeConfig
from dataset_builder.degrade import degrade_dataset
from dataset_builder.index import build_index
from dataset_builder.layout import MANIFEST_FILE
from dataset_builder.manifest import Manifest
from dataset_builder.merge import merge_jobs
from dataset_builder.runners.pool import WorkerDied, run_tasks
from dataset_builder.verify import verify_dataset

from .interruptions import FILM, Run, content, kill_until_done, write_clips

CLIPS = 16
FORMATS = {"mp4": {}, "webdataset": {"clips_per_shard": 3}, "hdf5": {"clips_per_shard": 3}}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    write_clips(root, CLIPS)
    return root


def config(source, destination, format_name="mp4", **changes):
    fields = {"film": FILM, "layers": (8,), "workers": 0, "size": (48, 48), **FORMATS[format_name]}
    return DegradeConfig(source=source, destination=destination, format=format_name, **{**fields, **changes})


def options(format_name):
    shards = FORMATS[format_name].get("clips_per_shard")
    extra = ("--clips-per-shard", shards) if shards else ()
    return ("--film", FILM, "--layers", 8, "--size", "48x48", "--format", format_name, "--workers", 2, *extra)


@pytest.fixture(scope="module")
def reference(source, tmp_path_factory):
    """Format -> an uninterrupted run in one process."""
    roots = {}
    for format_name in FORMATS:
        roots[format_name] = tmp_path_factory.mktemp("reference") / format_name
        assert degrade_dataset(config(source, roots[format_name], format_name)).ok
    return roots


@pytest.mark.parametrize(("format_name", "seed"), [("mp4", 1), ("hdf5", 2)])
def test_killed_jobs_and_workers_end_in_the_same_bytes(source, reference, tmp_path, format_name, seed):
    root = tmp_path / "set"
    jobs, workers = kill_until_done(source, root, options(format_name), kills=3, seed=seed, longest_s=2.0)
    assert jobs >= 1
    assert jobs + workers >= 2
    assert content(root) == content(reference[format_name])
    verdict = verify_dataset(root)
    assert (verdict.findings, verdict.checked) == ((), CLIPS)
    assert not (root / ".partial").exists()


@pytest.mark.parametrize("format_name", ["mp4", "webdataset"])
def test_a_full_file_system_stops_the_job_and_room_lets_it_go_on(source, reference, tmp_path, format_name):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    try:
        root = small / "set"
        status, output = Run(source, root, *options(format_name)).finish()
        assert (status, "Traceback" in output) == (1, False), output
        assert "No space left on device" in output or "disk is full" in output, output
        subprocess.run(["mount", "-o", "remount,size=30m", str(small)], check=True)
        with Manifest(root / MANIFEST_FILE) as manifest:
            before = manifest.counts()
        assert before["failed"] == 0
        assert before["done"] < CLIPS
        status, output = Run(source, root, *options(format_name)).finish()
        assert status == 0, output
        assert content(root) == content(reference[format_name])
        assert verify_dataset(root).ok
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.mark.parametrize("format_name", FORMATS)
def test_shares_of_a_job_array_merge_into_what_one_job_makes(source, reference, tmp_path, format_name):
    root = tmp_path / "set"
    build_index(source).save(tmp_path / "index.jsonl")
    for share in ("1/3", "2/3"):
        assert degrade_dataset(config(tmp_path / "index.jsonl", root, format_name, shard=share)).ok
    with pytest.raises(ValueError, match="job 0 of 3 is missing"):
        merge_jobs(root)
    last = degrade_dataset(config(tmp_path / "index.jsonl", root, format_name, shard="3/3"))
    assert 0 < last.clips < CLIPS
    (merged,) = merge_jobs(root)
    assert (merged.ok, merged.clips) == (True, CLIPS)
    assert content(root) == content(reference[format_name])
    assert verify_dataset(root).ok
    assert not list(root.glob("job-*"))
    again = degrade_dataset(config(tmp_path / "index.jsonl", root, format_name))
    assert (again.done, again.already_done) == (0, CLIPS)
    with pytest.raises(ValueError, match="is a whole data set already"):
        degrade_dataset(config(tmp_path / "index.jsonl", root, format_name, shard="1/3"))


def test_a_merge_that_was_stopped_goes_on(source, reference, tmp_path, monkeypatch):
    root = tmp_path / "set"
    build_index(source).save(tmp_path / "index.jsonl")
    for share in ("0/2", "1/2"):
        degrade_dataset(config(tmp_path / "index.jsonl", root, shard=share, layers=(0, 8)))
    real, calls = Manifest.take, []

    def stopped(self, rows):
        calls.append(rows)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(self, rows)

    monkeypatch.setattr(Manifest, "take", stopped)
    with pytest.raises(KeyboardInterrupt):
        merge_jobs(root)
    monkeypatch.setattr(Manifest, "take", real)
    assert [merged.clips for merged in merge_jobs(root)] == [CLIPS, CLIPS]
    assert content(root / "layers-08") == content(reference["mp4"])


def test_jobs_that_shared_out_different_indices_do_not_merge(source, tmp_path):
    build_index(source).save(tmp_path / "all.jsonl")
    fewer = tmp_path / "fewer"
    write_clips(fewer, 4)
    build_index(fewer).save(tmp_path / "fewer.jsonl")
    degrade_dataset(config(tmp_path / "all.jsonl", tmp_path / "set", shard="0/2"))
    degrade_dataset(config(tmp_path / "fewer.jsonl", tmp_path / "set", shard="1/2"))
    with pytest.raises(ValueError, match="shared out different indices"):
        merge_jobs(tmp_path / "set")


def test_a_source_that_was_replaced_is_degraded_again(tmp_path):
    source, root = tmp_path / "source", tmp_path / "set"
    write_clips(source, 2)
    assert degrade_dataset(config(source, root)).done == 2
    write_clips(tmp_path / "other", 1, frames=20, seed=5)
    (name,) = os.listdir(tmp_path / "other")
    os.replace(tmp_path / "other" / name, source / name)
    again = degrade_dataset(config(source, root))
    assert (again.done, again.already_done, again.frames) == (1, 1, 20)
    assert verify_dataset(root, sources=True).ok
    data = bytearray((source / name).read_bytes())
    data[len(data) // 2] ^= 1  # of the same size, so that no run looks at it
    (source / name).write_bytes(data)
    assert degrade_dataset(config(source, root)).done == 0
    assert verify_dataset(root).ok
    (finding,) = verify_dataset(root, sources=True).findings
    assert (finding.path, finding.reason[:8]) == (str(source / name), "changed:")


def test_a_clip_that_hangs_is_ended_at_its_limit_and_the_rest_is_done(tmp_path):
    source, root = tmp_path / "source", tmp_path / "set"
    write_clips(source, 4)
    build_index(source).save(tmp_path / "index.jsonl")
    hanging = source / "S001C001P001R001A002_rgb.mp4"
    hanging.unlink()
    os.mkfifo(hanging)  # opening it waits for a writer that never comes
    reports = []
    summary = degrade_dataset(
        config(tmp_path / "index.jsonl", root, workers=1, clip_timeout_s=8), on_progress=reports.append
    )
    assert summary.done == 3
    assert summary.failed == (("S001C001P001R001A002", "took longer than its time limit of 8 s"),)
    assert max(worker.seconds for report in reports for worker in report.workers) > 2
    assert (reports[-1].done, reports[-1].failed, reports[-1].total) == (4, 1, 4)


def slow(seconds):
    time.sleep(seconds)
    return seconds


def test_a_task_over_its_limit_does_not_hold_up_the_others():
    results = dict(run_tasks(slow, [60.0, 0.01, 0.02, 0.03], workers=2, limit_s=lambda task: 3.0))
    assert results.pop(60.0) == WorkerDied("took longer than its time limit of 3 s")
    assert results == {0.01: 0.01, 0.02: 0.02, 0.03: 0.03}


def test_a_shard_does_not_wait_for_a_clip_whose_source_is_gone(tmp_path):
    source, root = tmp_path / "source", tmp_path / "set"
    write_clips(source, 3)
    first = source / "S001C001P001R001A001_rgb.mp4"
    whole = first.read_bytes()
    build_index(source).save(tmp_path / "index.jsonl")
    first.write_bytes(whole[:-3000])
    assert len(degrade_dataset(config(tmp_path / "index.jsonl", root, "hdf5")).failed) == 1
    first.rename(tmp_path / "kept.mp4")
    retried = degrade_dataset(config(source, root, "hdf5", retry_failed=True))
    assert (retried.ok, retried.already_done) == (True, 2)
    with Manifest(root / MANIFEST_FILE) as manifest:
        assert [shard.clips for shard in manifest.shards()] == [2]
    first.write_bytes(whole)
    again = degrade_dataset(config(source, root, "hdf5", retry_failed=True))
    assert (again.ok, again.done, again.already_done) == (True, 1, 2)
    assert verify_dataset(root).ok


def test_a_finished_clip_that_was_damaged_before_its_shard_was_sealed_is_listed(tmp_path, monkeypatch):
    source, root = tmp_path / "source", tmp_path / "set"
    write_clips(source, 3)
    from dataset_builder import work

    real = work.process_clip

    def stopped(settings, task):
        if task.name.endswith("A003"):
            raise KeyboardInterrupt
        return real(settings, task)

    monkeypatch.setattr(work, "process_clip", stopped)
    with pytest.raises(KeyboardInterrupt):
        degrade_dataset(config(source, root, "webdataset"))
    monkeypatch.setattr(work, "process_clip", real)
    part = root / "parts" / "S001C001P001R001A001.mp4"
    part.write_bytes(part.read_bytes()[:-1])
    summary = degrade_dataset(config(source, root, "webdataset"))
    ((name, error),) = summary.failed
    assert (name, "changed on disk" in error) == ("S001C001P001R001A001", True)
    assert degrade_dataset(config(source, root, "webdataset", retry_failed=True)).ok
    assert verify_dataset(root).ok
