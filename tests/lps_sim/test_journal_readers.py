"""A journaled file beside a reader, and on a full disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from lps_sim.journal import changing, reading

ROOT = Path(__file__).parents[2]
# A writer that adds numbered groups for ever, each with data that follow from its number, and says when one is in.
WRITER = """
    import sys
    import h5py, numpy as np
    from lps_sim.journal import changing
    path, number = sys.argv[1], int(sys.argv[2])
    while True:
        with changing(path) as stream, h5py.File(stream, "r+") as file:
            group = file["shots"].create_group(f"{number:06d}")
            group["x"] = np.random.default_rng(number).integers(0, 255, (40, 60, 3), dtype=np.uint8)
            file["shots"].attrs["last"] = number
        print(number, flush=True)
        number += 1
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_group("shots").attrs["last"] = -1
    return path


def start_writer(path, number=0, **options):
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path), str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, **options)


def contents(path):
    """Numbers of the groups, every one's data compared with what its number says; and the last number noted."""
    with reading(path) as stream, h5py.File(stream, "r") as file:
        for name, group in file["shots"].items():
            expected = np.random.default_rng(int(name)).integers(0, 255, (40, 60, 3), dtype=np.uint8)
            np.testing.assert_array_equal(group["x"][()], expected)
        return [int(name) for name in file["shots"]], int(file["shots"].attrs["last"])


def test_no_page_changes_under_a_reader_and_its_writer_goes_on_afterwards(path):
    before = path.read_bytes()
    with reading(path) as stream, start_writer(path) as writer:
        wait_for(Path(f"{path}.journal").exists)
        time.sleep(0.1)
        assert path.read_bytes()[: len(before)] == before
        with h5py.File(stream, "r") as file:
            assert file["shots"].attrs["last"] == -1
        stream.close()
        assert writer.stdout.readline() == "0\n"
        writer.kill()
    assert contents(path)[1] >= 0


def wait_for(condition, limit_s=20.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("room", [1000, 6000], ids=["in the new data", "in the middle of it"])
def test_on_a_full_disk_nothing_is_lost_and_the_file_does_not_grow(path, room):
    with changing(path) as stream, h5py.File(stream, "r+") as file:
        file["shots/000000/x"] = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
        file["shots"].attrs["last"] = 0
    size = path.stat().st_size

    def limit():
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, size + room))

    with start_writer(path, 1, preexec_fn=limit, stderr=subprocess.PIPE) as writer:
        told, complaint = writer.communicate(timeout=30)
    assert "File too large" in complaint.splitlines()[-1]
    assert told == ""
    assert contents(path) == ([0], 0)
    assert path.stat().st_size == size


def test_a_journal_that_finds_no_room_undoes_the_change(path, monkeypatch):
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("lps_sim.journal.write_atomic", full)
    with (
        pytest.raises(OSError, match="No space left"),
        changing(path) as stream,
        h5py.File(stream, "r+") as file,
    ):
        file["big"] = np.zeros(100_000)
    assert path.read_bytes() == before
