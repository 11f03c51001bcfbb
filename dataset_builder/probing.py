"""Probing many files at once: what each holds, each within a time limit, unchanged ones not opened again."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from .source_tree import FileState, SourceTree

Item = TypeVar("Item")
Result = TypeVar("Result")

LIMIT_S = 60.0
"""Seconds that a file may take, besides those for its length."""
SLOWEST_BYTES_PER_S = 1e6
"""A file may take a second more for so many bytes: hashed, or counted where its header does not tell its frames."""
_MOST_THREADS = 8
_LOOK_AGAIN_S = 0.1


@dataclass(frozen=True)
class Probed:
    """What an index keeps of a file. ``sha256`` is empty unless it was asked for."""

    size: int
    mtime_ns: int
    frames: int
    fps: str
    width: int
    height: int
    codec: str
    sha256: str = ""


@dataclass(frozen=True)
class Overdue:
    """In the place of a result: the item took longer than its limit, and its thread was given up."""

    limit_s: float


def probe_file(path: Path, state: FileState, known: Probed | None = None, sha256: bool = False) -> Probed:
    """Properties of a video file; ``known`` ones hold as long as size and modification time are the same.

    Frames are the header's number; where it has none (Matroska, WebM) they are decoded and counted.

    Raises ValueError or OSError with the reason why the file is not usable: it cannot be read, is no video, is
    damaged, claims an absurd size, or holds HDR, whose code values are not those of a display.
    """
    from lps_sim.files import sha256_file
    from lps_sim.media import probe

    if known is None or not _unchanged(known, state):
        info = probe(path)
        if info.hdr:
            raise ValueError(f"{path}: HDR ({info.transfer}): its code values are not a display's; convert it to SDR")
        frames = info.frames or probe(path, count=True).frames
        known = Probed(state.size, state.mtime_ns, frames, str(info.fps), info.width, info.height, info.codec)
    return replace(known, sha256=sha256_file(path)) if sha256 and not known.sha256 else known


def probe_all(
    tree: SourceTree,
    paths: Sequence[str],
    known: Mapping[str, Probed],
    workers: int | None = None,
    sha256: bool = False,
    on_done: Callable[[int], None] | None = None,
) -> list[Probed | str]:
    """What each file of a tree holds, or in one line why it is not usable, in the order of ``paths``.

    ``known`` are properties by path that hold as long as size and modification time are the same. The other files
    are read by ``workers`` threads at once (default: the number of processors, at most 8): decoding runs outside the
    interpreter's lock. ``on_done`` is called with the number of files done. A file that takes longer than
    :data:`LIMIT_S` and a second for every megabyte is given up and listed, and the rest goes on.
    """
    results: list[Probed | str] = [""] * len(paths)
    to_read: list[int] = []
    for index, path in enumerate(paths):
        found = known.get(path)
        if found and (found.sha256 or not sha256) and _unchanged(found, tree.state(path)):
            results[index] = found
        else:
            to_read.append(index)

    def work(index: int) -> Probed | str:
        path = paths[index]
        try:
            with tree.local(path) as file:
                return _probed(file, tree.state(path) or _stated(file), known.get(path))
        except Exception as error:  # the border of a worker: whatever a file does, the others are probed
            return _reason(error, path)

    def _probed(file: Path, state: FileState, earlier: Probed | None) -> Probed | str:
        try:
            return probe_file(file, state, earlier, sha256)
        except (ValueError, OSError) as error:
            return _reason(error, str(file))

    def limit_s(index: int) -> float:
        state = tree.state(paths[index])
        return LIMIT_S + (state.size / SLOWEST_BYTES_PER_S if state else 0.0)

    pool = LimitedThreads(work, limit_s, workers or min(os.cpu_count() or 1, _MOST_THREADS))
    done = len(paths) - len(to_read)
    if on_done:
        on_done(done)
    for position, result in pool.run(to_read):
        if isinstance(result, Overdue):
            result = f"not read within {result.limit_s:.0f} s"
        results[to_read[position]] = result
        done += 1
        if on_done:
            on_done(done)
    return results


def _stated(file: Path) -> FileState:
    status = file.stat()
    return FileState(status.st_size, status.st_mtime_ns)


def _reason(error: Exception, path: str) -> str:
    message = " ".join(str(error).split()).removeprefix(f"{path}: ")
    expected = isinstance(error, (ValueError, OSError)) and message
    return message if expected else f"{type(error).__name__}: {message}"


def _unchanged(known: Probed, state: FileState | None) -> bool:
    return state is not None and (known.size, known.mtime_ns) == state


class LimitedThreads(Generic[Item, Result]):
    """Threads that run one function over items, each within its limit.

    A thread cannot be killed: one that holds an overdue item is replaced, and ends by itself should the function
    ever return. Threads are daemons, so that none keeps the process from ending.

    Parameters
    ----------
    function : item -> result; must not raise
    limit_s : item -> seconds that it may take
    threads : at work at once, 1 or more
    """

    def __init__(self, function: Callable[[Item], Result], limit_s: Callable[[Item], float], threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads must be 1 or more, got {threads}")
        self._function, self._limit_s, self._threads = function, limit_s, threads

    def run(self, items: Sequence[Item]) -> Iterator[tuple[int, Result | Overdue]]:
        """Yield (index, result) as items finish, or (index, :class:`Overdue`), in any order."""
        waiting = iter(range(len(items)))
        finished: queue.SimpleQueue[tuple[int, Result]] = queue.SimpleQueue()
        deadlines: dict[int, tuple[float, float]] = {}  # of the items at work: monotonic time, and the limit itself
        lock = threading.Lock()

        def serve() -> None:
            while True:
                with lock:
                    index = next(waiting, None)
                if index is None:
                    return
                limit_s = self._limit_s(items[index])
                with lock:
                    deadlines[index] = (time.monotonic() + limit_s, limit_s)
                result = self._function(items[index])
                with lock:
                    if deadlines.pop(index, None) is None:
                        return  # given up meanwhile: another thread works in this one's place
                finished.put((index, result))

        def start() -> None:
            threading.Thread(target=serve, daemon=True).start()

        def take_overdue() -> list[tuple[int, Overdue]]:
            now = time.monotonic()
            with lock:
                late = [(index, Overdue(limit_s)) for index, (end, limit_s) in deadlines.items() if end <= now]
                for index, _ in late:
                    del deadlines[index]
            return late

        for _ in range(min(self._threads, len(items))):
            start()
        left = len(items)
        try:
            while left:
                for late in take_overdue():
                    start()
                    left -= 1
                    yield late
                with contextlib.suppress(queue.Empty):
                    done = finished.get(timeout=_LOOK_AGAIN_S)
                    left -= 1
                    yield done
        finally:
            with lock:
                waiting = iter(())
