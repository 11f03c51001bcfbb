"""Worker processes that may die: each holds one task at a time, so that a death costs that task one attempt, no more.

``concurrent.futures`` gives up the whole pool when one worker is killed and cannot tell whose task it held.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_ENVIRONMENT = {
    # Read by OpenMP, BLAS and numba when they are loaded: the processes are the parallelism, one thread each.
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    # Read by glibc: frames come from the system and go back to it, where its heap would keep their holes.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
}
_ATTEMPTS = 2


@dataclass(frozen=True)
class WorkerDied:
    """In the place of a result: the processes that held the task ended without an answer, every time it was tried."""

    reason: str


@dataclass(frozen=True)
class _Worker:
    process: Any
    pipe: Connection


def run_tasks(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[tuple[Task, Result | WorkerDied]]:
    """Run ``function`` over tasks in ``workers`` fresh processes; yield (task, result) as they finish, in any order.

    ``function`` is sent to each process once, and must not raise for a bad task: an exception ends its process.
    A task whose process dies is tried once more in a new one, then yielded with :class:`WorkerDied`. With 0 workers
    the tasks run in this process, in order. Closing the generator, or Ctrl-C, kills the processes; they also end by
    themselves when this process dies, however it dies.
    """
    if workers == 0:
        for task in tasks:
            yield task, function(task)
        return
    waiting = deque((task, 1) for task in tasks)
    idle: list[_Worker] = []
    busy: dict[Connection, tuple[_Worker, Task, int]] = {}
    try:
        while waiting or busy:
            while waiting and (idle or len(busy) < workers):
                worker = idle.pop() if idle else _start(function)
                task, attempt = waiting.popleft()
                busy[worker.pipe] = (worker, task, attempt)
                with contextlib.suppress(OSError):  # it died while idle: its closed pipe is met below
                    worker.pipe.send(task)
            for pipe in [pipe for pipe in wait(list(busy)) if isinstance(pipe, Connection)]:
                try:
                    result = pipe.recv()
                except (EOFError, OSError):
                    worker, task, attempt = busy.pop(pipe)
                    reason = _bury(worker)
                    if attempt < _ATTEMPTS:
                        waiting.appendleft((task, attempt + 1))
                    else:
                        yield task, WorkerDied(f"worker process died {attempt} times on it ({reason})")
                    continue
                worker, task, _ = busy.pop(pipe)
                idle.append(worker)
                yield task, result
    finally:
        for worker, _, _ in busy.values():
            worker.process.kill()
        for worker in [*idle, *(worker for worker, _, _ in busy.values())]:
            _bury(worker)


def _start(function: Callable[[Any], Any]) -> _Worker:
    # spawn: a fork would copy the threads' locks of PyAV and OpenCV in whatever state they are.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, function), daemon=True)
    kept = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        process.start()
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    theirs.close()  # so that its end of the pipe closes when it dies
    return _Worker(process, ours)


def _bury(worker: _Worker) -> str:
    """Wait for a worker whose pipe is closed, or about to be; how it ended."""
    worker.pipe.close()
    worker.process.join()
    code = worker.process.exitcode
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """A worker's life: tasks in, results out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import cv2

    cv2.setNumThreads(1)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(function(task))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
