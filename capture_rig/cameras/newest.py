"""Frames read in a thread of their own, of which the newest are kept: a slow reader never gets stale ones."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from .protocol import CameraLostError, Frame

T = TypeVar("T")


class NewestFrames:
    """Runs ``grab`` in a thread and keeps the last frames that it returned.

    Parameters
    ----------
    grab : the next frame, None when there is none yet; raises CameraLostError when there will be none
    name : of the camera, for messages
    kept : frames that wait for :meth:`read`; when there are more, the oldest is dropped and leaves a gap in the numbers
    """

    def __init__(self, grab: Callable[[], Frame | None], name: str, kept: int = 1) -> None:
        if kept < 1:
            raise ValueError(f"kept must be at least 1, got {kept}")
        self._grab, self._name = grab, name
        self._frames: deque[Frame] = deque(maxlen=kept)
        self._change = threading.Condition()
        self._lost: str | None = None
        self._asked: deque[tuple[Future[Any], Callable[[], None]]] = deque()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=f"frames of {name}", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float) -> Frame:
        """The oldest frame that is kept, waited for; raises CameraLostError when none comes in time or ever."""
        end_s = time.monotonic() + timeout_s
        with self._change:
            while not self._frames:
                if self._lost is not None:
                    raise CameraLostError(self._lost)
                if not self._change.wait(max(0.0, end_s - time.monotonic())) and time.monotonic() >= end_s:
                    raise CameraLostError(f"{self._name}: no frame came within {timeout_s:g} s")
            return self._frames.popleft()

    def between(self, work: Callable[[], T], timeout_s: float) -> T:
        """The result of ``work``, done by the frames' own thread between two frames, since drivers bear no two at once.

        Frames that were waiting are dropped. Raises CameraLostError when the thread does not come to it in time, and
        what ``work`` raises.
        """
        done: Future[T] = Future()

        def run() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                result = work()
            except Exception as error:
                # For the caller, who waits in another thread.
                done.set_exception(error)
                return
            with self._change:
                self._frames.clear()
            done.set_result(result)

        with self._change:
            if self._lost is not None:
                raise CameraLostError(self._lost)
            self._asked.append((done, run))
        try:
            return done.result(timeout_s)
        except (CancelledError, FutureTimeout) as error:
            done.cancel()
            with self._change:
                reason = self._lost or f"{self._name}: does not answer within {timeout_s:g} s"
            raise CameraLostError(reason) from error

    def stop(self, wait_s: float = 2.0) -> bool:
        """End the thread; False when it still hangs in the driver after ``wait_s``."""
        with self._change:
            self._stopped = True
            self._lost = self._lost or f"{self._name}: the camera is closed"
            self._frames.clear()
            self._refuse()
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped:
            while self._asked:
                self._asked.popleft()[1]()
            try:
                frame = self._grab()
            except CameraLostError as error:
                self._end(str(error))
                return
            except Exception as error:
                # Whatever a driver raises ends the camera, and the reader must hear of it instead of waiting.
                self._end(f"{self._name}: {type(error).__name__}: {error}")
                return
            with self._change:
                if frame is not None and not self._stopped:
                    self._frames.append(frame)
                    self._change.notify_all()

    def _end(self, reason: str) -> None:
        with self._change:
            self._lost = self._lost or reason
            self._refuse()

    def _refuse(self) -> None:
        """Wake all who wait for a frame or an answer that will not come."""
        for done, _ in self._asked:
            done.cancel()
        self._change.notify_all()
