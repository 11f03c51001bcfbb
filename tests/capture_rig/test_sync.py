"""Marks: sequences, the strip's constant light, and every frame found again through film."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from capture_rig.marks import (
    BITS,
    CLIP,
    COUNT,
    DARK,
    END,
    MINUTE,
    START,
    TRAINING,
    MarkPainter,
    Stretch,
    counter,
    lay_out,
    patterns,
    sequence,
)
from capture_rig.sync import GRID, Marks, NoMarksError, read_marks, signature
from lps_sim.transfer import eotf

from .played import FPS, Run, filmed

SMALL = (160, 90)
CLIPS = [(f"clip{number}", frames) for number, frames in enumerate((41, 30, 53, 64))]


def clip_frames(stretches: tuple[Stretch, ...]) -> np.ndarray:
    return np.concatenate([np.arange(part.first, part.end) for part in stretches if part.kind == CLIP])


@cache
def filmed_once(layers: int, still: bool, shutter: float, phase: float) -> Run:
    return filmed(lay_out(CLIPS, FPS), SMALL, layers, still, shutter=shutter, phase=phase)


def read(run: Run, stretches: tuple[Stretch, ...], numbered: bool = True) -> Marks:
    times = (run.numbers if numbered else np.arange(len(run.numbers))) / FPS
    return read_marks(run.signatures, times, stretches, FPS)


def drawn_run(stretches: tuple[Stretch, ...], blur: float = 1.0, seed: int = 0) -> np.ndarray:
    """(P, CELLS) of every played frame once, blurred over cells: a film without the cost of one."""
    painter, rng = MarkPainter(*SMALL), np.random.default_rng(seed)
    table = patterns(stretches)
    cells = [signature(painter.paint(row)).reshape(GRID) for row in table]
    return np.array([gaussian_filter(one, blur).ravel() + rng.normal(0, 1e-3, one.size) for one in cells], np.float32)


@pytest.mark.parametrize(("kind", "chips"), [(START, 63), (END, 63), (MINUTE, 31), (TRAINING, 31)])
def test_a_code_looks_like_itself_at_no_other_shift(kind: str, chips: int) -> None:
    code = sequence(kind).astype(int)
    assert len(code) == chips
    assert [int(code @ np.roll(code, shift)) for shift in range(chips)] == [chips] + [-1] * (chips - 1)


def test_the_counter_changes_one_bit_a_frame_and_tells_64_frames_apart() -> None:
    bits = counter(np.arange(2 * COUNT))
    assert ((bits[1:] != bits[:-1]).sum(axis=1) == 1).all()
    assert len(np.unique(bits[:COUNT], axis=0)) == COUNT
    assert (bits[COUNT:] == bits[:COUNT]).all()


def test_the_strips_light_is_the_same_at_every_count() -> None:
    painter = MarkPainter(192, 108, level=0.5)
    light = [
        eotf(painter.paint(np.append(bits, np.nan).astype(np.float32)) / 255.0, "srgb").sum()
        for bits in counter(np.arange(COUNT))
    ]
    assert np.ptp(light) < 1e-9 * light[0]
    assert light[0] > 0


def test_a_run_has_a_mark_a_minute_between_clips_and_ends_in_the_dark() -> None:
    stretches = lay_out([(f"c{number}", 40 * FPS) for number in range(4)], FPS)
    kinds = [part.kind for part in stretches]
    assert kinds == [DARK, START, TRAINING, CLIP, CLIP, MINUTE, CLIP, CLIP, END, DARK]
    assert [part.first for part in stretches[1:]] == [part.end for part in stretches[:-1]]


def test_a_clip_keeps_its_shape_above_the_strip() -> None:
    painter = MarkPainter(320, 180)
    box = painter.box_of(100, 100)
    assert (box.width, box.height) == (painter.stage.height, painter.stage.height)
    picture = painter.paint(np.full(BITS + 1, np.nan, np.float32), np.full((box.height, box.width, 3), 9, np.uint8))
    assert (picture == 9).all(axis=2).sum() == box.width * box.height


@pytest.mark.parametrize(
    ("layers", "still", "shutter", "phase"),
    [(8, False, 0.0, 0.5), (8, True, 0.5, 0.7), (12, False, 0.5, 0.2)],
    ids=["8 layers", "8 layers, stills, shutter half open", "12 layers, shutter half open"],
)
def test_every_frame_and_every_loss_is_found_through_film(
    layers: int, still: bool, shutter: float, phase: float
) -> None:
    stretches = lay_out(CLIPS, FPS)
    run = filmed_once(layers, still, shutter, phase)
    marks = read(run, stretches)
    of_clips = clip_frames(stretches)
    shown = np.isin(run.shows, of_clips)
    assert np.abs(marks.shown[shown] - run.shows[shown]).max() <= 1
    lost = sorted(set(of_clips) - set(run.shows))
    assert len(lost) >= 2
    assert list(marks.dropped) == lost
    assert marks.doubled == ()
    assert marks.agreement > 0.99


def test_losses_that_the_recorder_does_not_number_are_found_all_the_same() -> None:
    stretches = lay_out(CLIPS, FPS)
    run = filmed_once(8, False, 0.0, 0.5)
    marks = read(run, stretches, numbered=False)
    assert list(marks.dropped) == sorted(set(clip_frames(stretches)) - set(run.shows))


def test_doubled_frames_are_listed() -> None:
    stretches = lay_out(CLIPS, FPS)
    cells = drawn_run(stretches)
    twice = [int(clip_frames(stretches)[place]) for place in (10, 60)]
    order = np.sort(np.concatenate([np.arange(len(cells)), twice]))
    marks = read_marks(cells[order], np.arange(len(order)) / FPS, stretches, FPS)
    assert list(marks.doubled) == twice
    assert marks.dropped == ()
    assert (marks.shown == order).all()


def test_the_clocks_drift_is_told_by_a_recorder_that_numbers_its_frames() -> None:
    stretches = lay_out([(f"clip{number}", 400) for number in range(6)], FPS)
    cells = drawn_run(stretches)
    drift = 2e-3
    shows = np.floor((np.arange(len(cells)) + 0.5) * (1 + drift)).astype(int)
    shows = shows[shows < len(cells)]
    kept = np.random.default_rng(0).random(len(shows)) > 0.02
    times = np.flatnonzero(kept) / FPS
    marks = read_marks(cells[shows[kept]], times, stretches, FPS)
    # One frame over the run is as well as whole frames tell it.
    assert marks.clock_drift == pytest.approx(drift, abs=1 / len(cells))
    assert [code.kind for code in marks.codes] == [START, MINUTE, END]


def test_a_faster_recorder_shows_frames_twice_and_misses_none() -> None:
    stretches = lay_out(CLIPS, FPS)
    cells = drawn_run(stretches)
    at = np.arange(0.1, len(cells), 25 / 30)
    marks = read_marks(cells[at.astype(int)], np.arange(len(at)) / 30, stretches, FPS)
    of_clips = np.isin(at.astype(int), clip_frames(stretches))
    assert np.abs(marks.shown - at.astype(int))[of_clips].max() == 0
    assert marks.dropped == ()


def test_frames_that_show_something_else_are_no_played_frames() -> None:
    stretches = lay_out(CLIPS, FPS)
    cells = drawn_run(stretches)
    covered = slice(int(clip_frames(stretches)[60]), int(clip_frames(stretches)[100]))
    cells[covered] = np.random.default_rng(5).normal(0.2, 0.05, cells[covered].shape)
    marks = read_marks(cells, np.arange(len(cells)) / FPS, stretches, FPS)
    assert (marks.shown[covered.start + 8 : covered.stop - 8] == -1).mean() > 0.9
    assert (marks.shown[clip_frames(stretches)[:50]] == clip_frames(stretches)[:50]).all()


def test_a_recording_without_a_start_code_is_refused() -> None:
    stretches = lay_out(CLIPS, FPS)
    noise = np.random.default_rng(0).random((400, GRID[0] * GRID[1])).astype(np.float32)
    with pytest.raises(NoMarksError, match="no start code in 400 recorded frames"):
        read_marks(noise, np.arange(400) / FPS, stretches, FPS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lay_out([], FPS), "clips must hold at least one clip"),
        (lambda: MarkPainter(40, 180), "screen must be at least 48 x 80 px"),
        (lambda: MarkPainter(320, 180, level=0), "level must be above 0"),
        (lambda: signature(np.zeros((4, 4, 3), np.uint8)), "codes must be uint8"),
        (lambda: read_marks(np.zeros((3, 5)), np.array([0, 1, 1]), lay_out(CLIPS, FPS), FPS), "times must be at least"),
    ],
)
def test_what_cannot_be_is_refused_by_name(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
