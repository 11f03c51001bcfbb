"""What a long run tells about itself while it is at work, and from that how fast it is and how long it will still take.

A runner calls an :data:`OnProgress` once at its start, whenever a clip is finished, and about once a second in between,
so that a clip that hangs is seen. It must not depend on the call: whoever listens draws, the runner works.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class WorkerState:
    """One worker at work: the clip it holds, for how many seconds, and the worker's own name (number, host)."""

    clip: str
    seconds: float
    name: str = ""


@dataclass(frozen=True)
class RunProgress:
    """Where a run is. Counts are of this run alone: what earlier runs finished is not in them.

    Parameters
    ----------
    done, total : clips finished, those that failed included, and clips to do
    failed : clips that failed
    frames, total_frames : source frames of the clips finished, and of all clips to do; 0 where unknown
    source_bytes, total_source_bytes : the same for the sizes of the source files, bytes
    seconds : since the run began
    workers : those at work now
    """

    done: int
    total: int
    failed: int = 0
    frames: int = 0
    total_frames: int = 0
    source_bytes: int = 0
    total_source_bytes: int = 0
    seconds: float = 0.0
    workers: tuple[WorkerState, ...] = ()


OnProgress = Callable[[RunProgress], None]


@dataclass(frozen=True)
class Pace:
    """Rates a second over the last few minutes, and the seconds left at that rate; None before anything is finished."""

    clips: float
    frames: float
    source_bytes: float
    seconds_left: float | None


class SlidingPace:
    """The pace of a run over a window that slides along.

    The work left is measured in bytes of source files, or in frames where those are unknown, or else in clips: clips
    differ in length by a factor of ten, and a run that took the short ones first would promise too much.

    Parameters
    ----------
    window_s : length of the window, seconds. It is longer where fewer than ``clips`` clips, or two a worker, were
        finished in it, so that long clips and many workers do not make the pace jump
    clips : see above
    """

    def __init__(self, window_s: float = 300.0, clips: int = 8) -> None:
        if not window_s > 0:
            raise ValueError(f"window_s must be above 0, got {window_s}")
        self.window_s, self.clips = window_s, clips
        self._marks: deque[RunProgress] = deque()

    def update(self, now: RunProgress) -> Pace:
        """Take note of where the run is. A count that falls back starts a new run."""
        marks = self._marks
        if not marks or now.done < marks[-1].done or now.total != marks[-1].total:
            marks.clear()
            marks.append(now)
        enough = max(self.clips, 2 * len(now.workers))
        while len(marks) > 1 and now.seconds - marks[1].seconds >= self.window_s and now.done - marks[1].done >= enough:
            marks.popleft()
        first = marks[0]
        if now.done > marks[-1].done and now.seconds - marks[-1].seconds >= self.window_s / 100:
            marks.append(now)
        elapsed = now.seconds - first.seconds
        if elapsed <= 0 or now.done == first.done:
            return Pace(0.0, 0.0, 0.0, 0.0 if now.done >= now.total else None)
        left, worked = _work(first, now)
        return Pace(
            clips=(now.done - first.done) / elapsed,
            frames=(now.frames - first.frames) / elapsed,
            source_bytes=(now.source_bytes - first.source_bytes) / elapsed,
            seconds_left=left * elapsed / worked if worked else None,
        )


def _work(first: RunProgress, now: RunProgress) -> tuple[int, int]:
    """Work left, and work done since ``first``, in the best unit that is known."""
    if now.total_source_bytes:
        return now.total_source_bytes - now.source_bytes, now.source_bytes - first.source_bytes
    if now.total_frames:
        return now.total_frames - now.frames, now.frames - first.frames
    return now.total - now.done, now.done - first.done
