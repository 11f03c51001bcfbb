"""The display of long runs over clips: live on a terminal, else one line a minute and one at the end; on stderr."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from dataset_builder.progress import Pace, RunProgress, SlidingPace, WorkerState

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

LINE_INTERVAL_S = 60.0
_BAR_WIDTH = 40
_LINES_AROUND_WORKERS = 5
_WORKERS_ON_A_LINE = 4


class RunDisplay:
    """Shows a run that reports :class:`dataset_builder.progress.RunProgress`: use as a context manager, call with each.

    On a terminal: a bar, rates, time left, failures, and what each worker holds for how long, longest first. Elsewhere
    one line every ``interval_s`` seconds. Either way one line stays at the end. A run that an error ends before its
    first clip leaves nothing, so that the error stands alone.

    Parameters
    ----------
    title : what is being done, such as ``degrading``
    unit : what is counted, in the plural
    console : where to; default stderr
    clock : seconds, rising
    """

    def __init__(
        self,
        title: str,
        unit: str = "clips",
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        interval_s: float = LINE_INTERVAL_S,
    ) -> None:
        from rich.console import Console

        self.title, self.unit, self.interval_s = title, unit, interval_s
        self.console = console or Console(stderr=True)
        self._clock = clock
        self._sliding = SlidingPace()
        self._latest: tuple[RunProgress, Pace, float] | None = None
        self._live: Live | None = None
        self._last_line_s = clock()

    def __enter__(self) -> RunDisplay:
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            from rich.live import Live

            self._live = Live(self, console=self.console, transient=True)
            self._live.start()
        return self

    def __call__(self, progress: RunProgress) -> None:
        now = self._clock()
        self._latest = (progress, self._sliding.update(progress), now)
        if self._live is None and now - self._last_line_s >= self.interval_s:
            self._last_line_s = now
            self._print(self._line(*self._latest[:2]))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if self._latest is None:
            return
        progress = self._latest[0]
        if progress.total and (kind is None or progress.done):
            self._print(self._last_line(progress))

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _counted(self, progress: RunProgress) -> str:
        failed = f", {progress.failed:,} failed" if progress.failed else ""
        return f"{self.title}: {progress.done:,} of {progress.total:,} {self.unit}{failed}"

    def _line(self, progress: RunProgress, pace: Pace) -> str:
        """The run's state on one line."""
        parts = [self._counted(progress), *rates(pace.frames, pace.source_bytes), *_times(progress, pace, 0.0)]
        workers = longest_first(progress.workers)
        if workers:
            shown = [f"{worker.clip} for {duration(worker.seconds)}" for worker in workers[:_WORKERS_ON_A_LINE]]
            more = len(workers) - len(shown)
            parts.append("at work: " + ", ".join(shown) + (f" and {more} more" if more else ""))
        return "; ".join(parts)

    def _last_line(self, progress: RunProgress) -> str:
        """What the run did, with its mean rates."""
        seconds = progress.seconds or 1.0
        mean = rates(progress.frames / seconds, progress.source_bytes / seconds)
        return "; ".join([self._counted(progress), *mean, f"in {duration(progress.seconds)}"])

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        if self._latest is None:
            return Text(f"{self.title} ...")
        progress, pace, came = self._latest
        since = max(0.0, self._clock() - came)
        head = Table.grid(padding=(0, 1))
        share = f"{progress.done / progress.total:.1%}" if progress.total else ""
        bar = ProgressBar(total=progress.total or None, completed=progress.done, width=_BAR_WIDTH)
        head.add_row(self.title, bar, f"{progress.done:,} of {progress.total:,} {self.unit}", share)
        figures = Text("  ".join([*rates(pace.frames, pace.source_bytes), *_times(progress, pace, since)]))
        if progress.failed:
            figures.append(f"  {progress.failed:,} failed", style="bold red")
        workers = longest_first(progress.workers)
        # A live display taller than the terminal would be cut at its end, and with it the count of the rest.
        shown = workers[: max(1, self.console.height - _LINES_AROUND_WORKERS)]
        table = Table.grid(padding=(0, 2))
        for worker in shown:
            table.add_row(
                Text(worker.name, style="dim"), Text(worker.clip), Text(duration(worker.seconds + since), style="dim")
            )
        if len(workers) > len(shown):
            table.add_row("", Text(f"and {len(workers) - len(shown)} more", style="dim"))
        return Group(head, figures, table) if workers else Group(head, figures)


@contextlib.contextmanager
def counted(
    title: str,
    unit: str = "clips",
    console: Console | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[..., None]]:
    """A :class:`RunDisplay` for work that only counts: yields ``update(done, total, name)``; the name is not shown."""
    began = clock()
    with RunDisplay(title, unit, console, clock) as display:

        def update(done: int, total: int, name: str = "") -> None:
            display(RunProgress(done=done, total=total, seconds=clock() - began))

        yield update


def _times(progress: RunProgress, pace: Pace, since: float) -> list[str]:
    """Time gone and, where it can be told, time left, ``since`` seconds after the report."""
    times = [f"{duration(progress.seconds + since)} gone"]
    if pace.seconds_left is not None:
        times.append(f"{duration(max(0.0, pace.seconds_left - since))} left")
    return times


def longest_first(workers: tuple[WorkerState, ...]) -> list[WorkerState]:
    """Workers by how long they have held their clip."""
    return sorted(workers, key=lambda worker: -worker.seconds)


def rates(frames: float, source_bytes: float) -> list[str]:
    """``412 frames/s`` and ``35.1 MB/s``, as far as they are known."""
    texts = []
    if frames > 0:
        texts.append(f"{frames:,.0f} frames/s" if frames >= 10 else f"{frames:.1f} frames/s")
    if source_bytes > 0:
        texts.append(f"{source_bytes / 1e6:,.1f} MB/s")
    return texts


def duration(seconds: float) -> str:
    """``12 s``, ``3 min 05 s``, ``5 h 12 min``, ``3 d 4 h``: two units, so that the length stays the same."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
