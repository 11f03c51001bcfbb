"""Worker processes that may die or hang: each holds one task at a time, so that it costs that task alone.

``concurrent.futures`` gives up the whole pool when one worker is killed and cannot tell whose task it held.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_ENVIRONMENT = {
    # Read by OpenMP, BLAS and numba when they are loaded: the processes are the parallelism, one thread each.
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    # Read by glibc: frames come from the system and go back to it, where its heap would keep their holes.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
}
_ATTEMPTS = 2
_TICK_S = 1.0

AtWork = Sequence[tuple[Task, float]]
"""Tasks in the workers' hands, oldest first, each with the seconds since it was handed out."""


@dataclass(frozen=True)
class WorkerDied:
    """In the place of a result: the processes that held the task ended without an answer, or were ended for hanging."""

    reason: str


@dataclass(frozen=True)
class _Worker:
    process: Any
    pipe: Connection


@dataclass(frozen=True)
class _Held(Generic[Task]):
    """A task in a worker's hands; ``started_s`` and ``deadline_s`` on the monotonic clock."""

    worker: _Worker
    task: Task
    attempt: int
    started_s: float
    deadline_s: float | None


class WorkerPool(Generic[Task, Result]):
    """``workers`` fresh processes that run one function; they start when first needed and stay until :meth:`close`.

    ``function`` is sent to each process once, and must not raise for a bad task: an exception ends its process.
    Use as a context manager; leaving it kills the processes, and they end by themselves when this process dies,
    however it dies. With 0 workers the tasks run in this process, in order and without a time limit.

    Parameters
    ----------
    function : task -> result; both must pickle
    workers : processes, 0 or more
    limit_s : task -> seconds that it may take; None for no limit
    on_wait : called about once a second, between results, with the tasks at work
    """

    def __init__(
        self,
        function: Callable[[Task], Result],
        workers: int,
        limit_s: Callable[[Task], float] | None = None,
        on_wait: Callable[[AtWork[Task]], None] | None = None,
    ) -> None:
        if workers < 0:
            raise ValueError(f"workers must be 0 or more, got {workers}")
        self._function, self._workers, self._limit_s, self._on_wait = function, workers, limit_s, on_wait
        self._idle: list[_Worker] = []
        self._held: dict[Connection, _Held[Task]] = {}

    def __enter__(self) -> WorkerPool[Task, Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill the processes, whatever they hold."""
        for held in self._held.values():
            held.worker.process.kill()
        for worker in [*self._idle, *(held.worker for held in self._held.values())]:
            _bury(worker)
        self._idle, self._held = [], {}

    def at_work(self) -> AtWork[Task]:
        """The tasks in the workers' hands."""
        now_s = time.monotonic()
        held = sorted(self._held.values(), key=lambda held: held.started_s)
        return [(item.task, now_s - item.started_s) for item in held]

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Result | WorkerDied]]:
        """Yield (task, result) as tasks finish, in any order; tasks are taken from the iterable as workers fall free.

        A task whose process dies is tried once more in a new one, then yielded with :class:`WorkerDied`. One that
        takes longer than its limit is yielded so at once, its process killed.
        """
        if self._workers == 0:
            for task in tasks:
                yield task, self._function(task)
            return
        source = iter(tasks)
        again: deque[Task] = deque()
        exhausted = False
        while True:
            while len(self._held) < self._workers and (again or not exhausted):
                if again:
                    self._hand_out(again.popleft(), attempt=2)
                    continue
                try:
                    task = next(source)
                except StopIteration:
                    exhausted = True
                    break
                self._hand_out(task, attempt=1)
            if not self._held:
                return
            for pipe in self._ready():
                held = self._held.pop(pipe)
                try:
                    result = pipe.recv()
                except (EOFError, OSError):
                    reason = _bury(held.worker)
                    if held.attempt < _ATTEMPTS:
                        again.append(held.task)
                    else:
                        yield held.task, WorkerDied(f"worker process died {held.attempt} times on it ({reason})")
                    continue
                self._idle.append(held.worker)
                yield held.task, result
            for held in self._overdue():
                held.worker.process.kill()
                _bury(held.worker)
                limit_s = (held.deadline_s or 0.0) - held.started_s
                yield held.task, WorkerDied(f"took longer than its time limit of {limit_s:g} s")

    def _hand_out(self, task: Task, attempt: int) -> None:
        worker = self._idle.pop() if self._idle else _start(self._function)
        now_s = time.monotonic()
        deadline_s = now_s + self._limit_s(task) if self._limit_s else None
        self._held[worker.pipe] = _Held(worker, task, attempt, now_s, deadline_s)
        with contextlib.suppress(OSError):  # it died while idle: its closed pipe is met when waiting
            worker.pipe.send(task)

    def _ready(self) -> list[Connection]:
        """Pipes with an answer or an end in them; none when the next deadline comes first."""
        while True:
            deadlines = [held.deadline_s for held in self._held.values() if held.deadline_s is not None]
            left_s = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
            tick = self._on_wait is not None and (left_s is None or left_s > _TICK_S)
            found = wait(list(self._held), _TICK_S if tick else left_s)
            if self._on_wait is not None and not found:
                self._on_wait(self.at_work())
            if found or not tick:
                return [pipe for pipe in found if isinstance(pipe, Connection)]

    def _overdue(self) -> list[_Held[Task]]:
        now_s = time.monotonic()
        pipes = [pipe for pipe, held in self._held.items() if held.deadline_s is not None and held.deadline_s <= now_s]
        return [self._held.pop(pipe) for pipe in pipes]


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    workers: int,
    limit_s: Callable[[Task], float] | None = None,
    on_wait: Callable[[AtWork[Task]], None] | None = None,
) -> Iterator[tuple[Task, Result | WorkerDied]]:
    """A :class:`WorkerPool` for these tasks alone. Closing the generator, or Ctrl-C, kills the processes."""
    with WorkerPool(function, workers, limit_s, on_wait) as pool:
        yield from pool.run(tasks)


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
