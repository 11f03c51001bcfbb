"""Frames that a thread reads: what waits, what is dropped, and who hears of the end."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from capture_rig.cameras.newest import NewestFrames
from capture_rig.cameras.protocol import CameraLostError, Frame


class Source:
    """Frames on demand, then a loss."""

    def __init__(self) -> None:
        self.go, self.number, self.lost = threading.Semaphore(0), -1, False

    def grab(self) -> Frame:
        self.go.acquire()
        if self.lost:
            raise CameraLostError("source: gone")
        self.number += 1
        return Frame(np.zeros((2, 2, 3), np.uint8), time.monotonic(), self.number)

    def give(self, count: int, frames: NewestFrames) -> None:
        wanted = self.number + count
        for _ in range(count):
            self.go.release()
        while self.number < wanted or len(frames._frames) < 1:
            time.sleep(0.001)


def test_the_newest_frames_wait_and_older_ones_are_dropped() -> None:
    source = Source()
    frames = NewestFrames(source.grab, "source", kept=3)
    source.give(10, frames)
    time.sleep(0.02)
    assert [frames.read(1).number for _ in range(3)] == [7, 8, 9]
    source.lost = True
    source.go.release()
    assert frames.stop()


def test_frames_that_came_before_the_loss_are_still_read() -> None:
    source = Source()
    frames = NewestFrames(source.grab, "source", kept=3)
    source.give(2, frames)
    source.lost = True
    source.go.release()
    assert [frames.read(1).number for _ in range(2)] == [0, 1]
    with pytest.raises(CameraLostError, match="source: gone"):
        frames.read(1)


def test_work_between_frames_runs_in_their_thread_and_drops_what_waited() -> None:
    source = Source()
    frames = NewestFrames(source.grab, "source")
    source.give(1, frames)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(frames.between, threading.get_ident, 2.0)
        while not frames._asked:
            time.sleep(0.001)
        source.go.release()
        assert answer.result() == frames._thread.ident
    source.give(1, frames)
    assert frames.read(1).number == 2
    source.lost = True
    source.go.release()
    with pytest.raises(CameraLostError, match="gone"):
        frames.read(1)


def test_who_waits_for_work_hears_of_the_loss_at_once() -> None:
    source = Source()
    frames = NewestFrames(source.grab, "source")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(frames.between, threading.get_ident, 30.0)
        while not frames._asked:
            time.sleep(0.001)
        source.lost = True
        source.go.release()
        with pytest.raises(CameraLostError, match="source: gone"):
            answer.result(timeout=5)
    with pytest.raises(CameraLostError, match="source: gone"):
        frames.between(threading.get_ident, 1.0)


def test_errors_of_the_work_reach_who_asked_and_the_frames_go_on() -> None:
    source = Source()
    frames = NewestFrames(source.grab, "source")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(frames.between, lambda: 1 / 0, 5.0)
        while not frames._asked:
            time.sleep(0.001)
        source.go.release()
        with pytest.raises(ZeroDivisionError):
            answer.result(timeout=5)
    source.give(1, frames)
    assert frames.read(1).number >= 0
    source.lost = True
    source.go.release()
    assert frames.stop()


def test_work_that_is_not_come_to_in_time_is_given_up() -> None:
    source = Source()
    frames = NewestFrames(source.grab, "source")
    with pytest.raises(CameraLostError, match=r"source: does not answer within 0.1 s"):
        frames.between(threading.get_ident, 0.1)
    source.lost = True
    source.go.release()
    assert frames.stop()


def test_kept_must_be_at_least_one() -> None:
    with pytest.raises(ValueError, match="kept must be at least 1, got 0"):
        NewestFrames(Source().grab, "source", kept=0)
