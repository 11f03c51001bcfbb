"""What a user sees of a long run, on a terminal and in a log, at times that the test sets."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from cli.progress import RunDisplay, counted, duration
from dataset_builder.progress import RunProgress, SlidingPace, WorkerState

MB = 1_000_000


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def console(terminal: bool, height: int = 25) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=100, height=height, color_system=None, legacy_windows=False
    )


def lines(screen: Console) -> list[str]:
    return screen.file.getvalue().splitlines()


def drawn(display: RunDisplay) -> list[str]:
    """What the live display would show now."""
    screen = console(terminal=False)
    screen.print(display)
    return [line.rstrip() for line in lines(screen)]


def run_until(display: RunDisplay, clock: Clock, seconds: int, rate: float = 1.0) -> None:
    """A run of 1000 clips of 30 frames and 2 MB each, ``rate`` clips a second, reported every second."""
    began = clock.now
    for second in range(seconds + 1):
        clock.now = began + second
        done = int(second * rate)
        display(
            RunProgress(
                done=done,
                total=1000,
                failed=min(done, 2),
                frames=30 * done,
                total_frames=30_000,
                source_bytes=2 * MB * done,
                total_source_bytes=2000 * MB,
                seconds=second,
                workers=(WorkerState("S001C001P001R001A001", 3.0, "1"), WorkerState("S001C001P001R001A002", 75.0, "2")),
            )
        )


def test_a_log_gets_one_line_a_minute_and_one_at_the_end() -> None:
    clock, screen = Clock(), console(terminal=False)
    with RunDisplay("degrading", console=screen, clock=clock) as display:
        run_until(display, clock, 200)
    assert [line.partition(" clips")[0] for line in lines(screen)] == [
        "degrading: 60 of 1,000",
        "degrading: 120 of 1,000",
        "degrading: 180 of 1,000",
        "degrading: 200 of 1,000",
    ]


def test_a_line_tells_rates_failures_time_left_and_what_each_worker_holds() -> None:
    clock, screen = Clock(), console(terminal=False)
    with RunDisplay("degrading", console=screen, clock=clock) as display:
        run_until(display, clock, 60)
    assert lines(screen) == [
        "degrading: 60 of 1,000 clips, 2 failed; 30 frames/s; 2.0 MB/s; 1 min 00 s gone; 15 min 40 s left; "
        "at work: S001C001P001R001A002 for 1 min 15 s, S001C001P001R001A001 for 3 s",
        "degrading: 60 of 1,000 clips, 2 failed; 30 frames/s; 2.0 MB/s; in 1 min 00 s",
    ]


def test_a_terminal_shows_the_workers_and_their_times_go_on_between_two_reports() -> None:
    clock = Clock()
    display = RunDisplay("degrading", console=console(terminal=False), clock=clock)
    run_until(display, clock, 100)
    clock.now += 10
    head, figures, longest, other = drawn(display)
    assert re.fullmatch(r"degrading \S+ +100 of 1,000 clips 10\.0%", re.sub("[╺╸━]+ *━*", "━ ", head)), head
    assert figures == "30 frames/s  2.0 MB/s  1 min 50 s gone  14 min 50 s left  2 failed"
    assert longest.split("  ") == ["2", "S001C001P001R001A002", "1 min 25 s"]
    assert other.split("  ") == ["1", "S001C001P001R001A001", "13 s"]


def test_more_workers_than_lines_are_counted() -> None:
    workers = tuple(WorkerState(f"clip-{number}", float(number)) for number in range(64))
    display = RunDisplay("degrading", console=console(terminal=False, height=12), clock=Clock())
    display(RunProgress(done=1, total=100, seconds=9.0, workers=workers))
    shown = drawn(display)
    assert len(shown) <= 12
    assert shown[2].split() == ["clip-63", "1", "min", "03", "s"]
    assert shown[-1].split() == ["and", "57", "more"]


def test_a_real_terminal_is_left_with_one_line() -> None:
    clock, screen = Clock(), console(terminal=True)
    with RunDisplay("degrading", console=screen, clock=clock) as display:
        run_until(display, clock, 70)
        screen.file.truncate(0)
    text = screen.file.getvalue().lstrip("\0")
    assert text.endswith("degrading: 70 of 1,000 clips, 2 failed; 30 frames/s; 2.0 MB/s; in 1 min 10 s\n")
    erased_lines = text.count("\x1b[2K")
    assert erased_lines == 4  # bar, figures and two workers


def test_an_error_before_the_first_clip_leaves_nothing_and_later_the_count() -> None:
    for done, expected in ((0, []), (3, ["verifying: 3 of 9 clips; in 0 s"])):
        screen = console(terminal=False)

        def fail(done: int = done, screen: Console = screen) -> None:
            with counted("verifying", console=screen, clock=Clock()) as update:
                update(done, 9, "name")
                raise ValueError("the film has gone")

        with pytest.raises(ValueError, match="the film has gone"):
            fail()
        assert lines(screen) == expected


def test_a_run_with_nothing_to_do_says_nothing() -> None:
    screen = console(terminal=False)
    with counted("degrading", console=screen) as update:
        update(0, 0)
    assert lines(screen) == []


def test_names_are_shown_as_they_are_not_as_markup() -> None:
    clock, screen = Clock(), console(terminal=False)
    with RunDisplay("degrading", console=screen, clock=clock, interval_s=0.0) as display:
        display(RunProgress(done=0, total=1, workers=(WorkerState("[red]odd[/]", 1.0),)))
        assert "[red]odd[/]" in drawn(display)[2]
    assert "at work: [red]odd[/] for 1 s" in lines(screen)[0]


def test_time_left_follows_the_bytes_not_the_clips() -> None:
    """Half of the clips are short, and come first: after them a tenth of the bytes is done."""
    pace = SlidingPace(window_s=1000.0)
    pace.update(RunProgress(done=0, total=100, total_source_bytes=1000))
    now = pace.update(RunProgress(done=50, total=100, source_bytes=100, total_source_bytes=1000, seconds=10.0))
    assert now.seconds_left == pytest.approx(90.0)
    by_clips = SlidingPace(window_s=1000.0)
    by_clips.update(RunProgress(done=0, total=100))
    assert by_clips.update(RunProgress(done=50, total=100, seconds=10.0)).seconds_left == pytest.approx(10.0)


def test_the_pace_forgets_what_lies_before_its_window() -> None:
    """Ten times slower from second 1000 on: within a window's length the time left is that of the slow pace."""
    pace = SlidingPace(window_s=300.0)
    bytes_done = 0.0
    for second in range(2001):
        bytes_done += 10.0 if second < 1000 else 1.0
        now = pace.update(
            RunProgress(
                done=second,
                total=100_000,
                source_bytes=int(bytes_done),
                total_source_bytes=100_000,
                seconds=float(second),
            )
        )
    assert now.source_bytes == pytest.approx(1.0, rel=0.02)
    assert now.seconds_left == pytest.approx(100_000 - bytes_done, rel=0.02)


def test_long_clips_stretch_the_window_until_enough_of_them_are_in_it() -> None:
    """A clip takes 400 s, longer than the window: the pace stands on the last eight, and a stall slows it."""
    pace = SlidingPace(window_s=300.0)
    for done in range(21):
        now = pace.update(RunProgress(done=done, total=100, seconds=400.0 * done))
    assert now.seconds_left == pytest.approx(80 * 400.0)
    stalled = pace.update(RunProgress(done=20, total=100, seconds=400.0 * 20 + 3200.0))
    assert stalled.seconds_left == pytest.approx(2 * 80 * 400.0)


def test_before_the_first_clip_no_time_left_is_promised() -> None:
    pace = SlidingPace()
    pace.update(RunProgress(done=0, total=10))
    assert pace.update(RunProgress(done=0, total=10, seconds=50.0)).seconds_left is None
    assert pace.update(RunProgress(done=10, total=10, seconds=60.0)).seconds_left == 0.0


def test_a_count_that_starts_again_starts_a_new_pace() -> None:
    pace = SlidingPace()
    pace.update(RunProgress(done=90, total=100, seconds=10.0))
    assert pace.update(RunProgress(done=1, total=100, seconds=20.0)).clips == 0.0
    assert pace.update(RunProgress(done=11, total=100, seconds=30.0)).clips == pytest.approx(1.0)


def test_a_window_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"window_s must be above 0, got 0"):
        SlidingPace(window_s=0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
