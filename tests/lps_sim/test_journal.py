"""A file that is changed whole or not at all: closed forms of the stream, and processes killed at any moment."""

import os
import random
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from lps_sim.journal import JOURNAL_SUFFIX, PagedFile, changing, reading, recover

PAGE = 4096


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 40)  # two pages and a half
    return path


def journal(path):
    return path.with_name(path.name + JOURNAL_SUFFIX)


def test_changes_inside_and_behind_the_end_are_read_back_and_last_together(path):
    before = path.read_bytes()
    with changing(path) as stream:
        stream.seek(PAGE - 3)
        stream.write(b"across a page")
        stream.seek(0, os.SEEK_END)
        stream.write(b"behind")
        stream.seek(PAGE - 5)
        assert stream.read(17) == before[PAGE - 5 : PAGE - 3] + b"across a page" + before[PAGE + 10 : PAGE + 12]
        assert path.read_bytes()[: len(before)] == before  # bytes in use are not touched yet
    expected = before[: PAGE - 3] + b"across a page" + before[PAGE + 10 :] + b"behind"
    assert path.read_bytes() == expected
    assert not journal(path).exists()


def test_a_write_over_the_old_end_is_one_piece(path):
    end = path.stat().st_size
    with changing(path) as stream:
        stream.seek(end - 4)
        stream.write(b"12345678")
        stream.seek(end - 6)
        assert stream.read()[2:] == b"12345678"
    assert path.read_bytes()[-8:] == b"12345678"
    assert path.stat().st_size == end + 4


def test_an_exception_leaves_the_file_as_it_was(path):
    before = path.read_bytes()

    def fail():
        with changing(path) as stream:
            stream.write(b"changed")
            stream.seek(0, os.SEEK_END)
            stream.write(b"longer")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == before


def test_a_whole_journal_is_seen_by_readers_and_applied_by_the_next_writer(path, monkeypatch):
    before = path.read_bytes()
    stream = PagedFile(path, writable=True)
    stream.write(b"new")
    original = os.fsync

    def killed(number):
        if journal(path).exists():
            raise KeyboardInterrupt
        original(number)

    monkeypatch.setattr("lps_sim.journal.os.fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        stream.commit()
    monkeypatch.setattr("lps_sim.journal.os.fsync", original)
    stream.close()
    path.write_bytes(before)  # as if not one page had reached the disk
    with reading(path) as seen:
        assert seen.read(5) == b"new" + before[3:5]
    assert path.read_bytes() == before
    assert recover(path)
    assert path.read_bytes() == b"new" + before[3:]
    assert not journal(path).exists()


def test_a_torn_journal_is_dropped(path):
    before = path.read_bytes()
    journal(path).write_bytes(b"LPSJ0001" + bytes(40))
    with reading(path) as seen:
        assert seen.read() == before
    assert not recover(path)
    assert path.read_bytes() == before
    assert not journal(path).exists()


ADDS_FOREVER = """
import sys, h5py, numpy as np
from lps_sim.journal import changing
path, number = sys.argv[1], int(sys.argv[2])
while True:
    with changing(path) as stream, h5py.File(stream, "r+") as file:
        group = file["shots"].create_group(f"{number:04d}")
        group["frames"] = np.full((3, 50, 70), number % 251, np.uint8)
        group.attrs["number"] = number
        file.attrs["count"] = number + 1
    number += 1
    print(number, flush=True)
"""


def test_an_hdf5_file_survives_writers_killed_at_any_moment(tmp_path):
    path = tmp_path / "session.h5"
    with h5py.File(path, "w") as file:
        file.create_group("shots")
        file.attrs["count"] = 0
    chance, count = random.Random(5), 0
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", ADDS_FOREVER, str(path), str(count)], stdout=subprocess.PIPE, text=True
        )
        lines = [process.stdout.readline()]
        time.sleep(chance.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        lines += process.communicate()[0].split()
        promised = int(lines[-1])
        with reading(path) as stream, h5py.File(stream, "r") as file:
            count = int(file.attrs["count"])
            assert count in (promised, promised + 1)  # killed between the change and its line
            assert sorted(file["shots"]) == [f"{number:04d}" for number in range(count)]
            for number in range(count):
                group = file["shots"][f"{number:04d}"]
                assert group.attrs["number"] == number
                assert np.array_equal(group["frames"], np.full((3, 50, 70), number % 251))
    recover(path)
    with h5py.File(path, "r") as file:  # and any other program can read it
        assert len(file["shots"]) == count > 6
