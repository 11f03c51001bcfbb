"""Which played frame every recorded frame shows: the one function behind which any source of marks may stand.

Lags of whole stretches first (coarse), from them what the recording makes of a picture (response), with that the lag of
every frame (steps); the last two again until nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from .coarse import HOP, Lag, track_lags
from .phase import find_phase
from .response import Response, fit_response
from .signature import CELLS
from .steps import Course, find_course

_ROUNDS = 3
_FIT_FRAMES, _FIT_RUN = 30_000, 64  # frames that the response is fitted to, in runs spread over the recording
_FIT_WORST = 300.0  # mismatch beyond which a frame is no witness
_FIT_SHARE, _FIT_TURNS = 0.8, 3  # of the frames that the first fit rests on, those that fit best; times to choose them
# Neighbouring frames show something else than the clips when their median mismatch is this share of what frames have
# with played frames drawn at random.
_FOREIGN, _RANDOM_PAIRS = 0.5, 4000
_FOREIGN_WINDOW = 9
_EXPOSURE_WINDOW, _EXPOSED_AT_ONCE = 5, 16_384  # frames
_LARGEST_EXPOSURE = 1.5  # and 1 / 1.5: what lies beyond shows something else
FEWEST_FRAMES = 96


@dataclass(frozen=True)
class Alignment:
    """What a recording shows.

    Parameters
    ----------
    shown : (R,) played frame of every recorded frame, -1 where it shows none; never falls
    offset : recorded frame that shows played frame 0, had nothing been lost on the way to the first matched frame
    net_drift : recorded frames a played frame, minus 1, of the line through all matched frames, lost ones and all
    clock_drift : the same without lost frames: the recorder's clock against the screen's. It shows where the shutter
        stays open while the screen changes; a recording of whole frames alone has 0 here, and loses or doubles a
        frame when its clock has run a frame ahead or behind
    exposure : (R,) of every recorded frame against the others, and
    response : what the signatures were compared by; None where the alignment comes from elsewhere
    """

    shown: NDArray[np.intp]
    offset: int
    net_drift: float = 0.0
    clock_drift: float = 0.0
    exposure: NDArray[np.float32] | None = None
    response: Response | None = None


def align(
    recorded: NDArray[np.uint16],
    played: NDArray[np.uint16],
    known: NDArray[np.bool_] | None = None,
    guess: int | None = None,
) -> Alignment:
    """Find which played frame every recorded frame shows.

    Parameters
    ----------
    recorded, played : (R, CELLS), (P, CELLS) signatures; memory maps are read piece by piece
    known : (P,) which played signatures are known; default all
    guess : recorded frame that shows played frame 0, to search about; default: searched within 30,000 frames

    Raises
    ------
    ValueError
        fewer than 96 frames, or nothing in the recording that matches the clips
    """
    for name, frames in (("recorded", recorded), ("played", played)):
        if len(frames) < FEWEST_FRAMES:
            raise ValueError(f"{name} must have at least {FEWEST_FRAMES} frames to be aligned, got {len(frames)}")
    known = np.ones(len(played), np.bool_) if known is None else known
    coarse = track_lags(recorded, played, None if guess is None else -guess)
    course = _spread(coarse, len(recorded))
    exposure, unknown = np.ones(len(recorded), np.float32), 0.0
    for number in range(_ROUNDS):
        response = _fit(recorded, played, known, course, exposure, trimmed=number == 0)
        exposure = _exposures(recorded, played, known, course, response)
        phase = find_phase(recorded, played, known, course, response, exposure)
        course = find_course(recorded, played, known, coarse, response, phase, exposure, unknown)
        finite = course.mismatch[np.isfinite(course.mismatch)]
        unknown = float(np.median(finite)) if finite.size else 0.0
    shown = _shown(course, known, _random_mismatch(recorded, played, known, course, response, exposure))
    return Alignment(shown, *line_through(shown), _slide(phase, shown), exposure, response)


def by_offset(recorded_frames: int, played_frames: int, offset: int) -> Alignment:
    """The alignment of a recording that runs ``offset`` frames behind throughout, as the published one does."""
    shown = np.arange(recorded_frames) - offset
    shown[(shown < 0) | (shown >= played_frames)] = -1
    return Alignment(shown, offset)


def _spread(coarse: list[Lag], count: int) -> Course:
    numbers = np.clip(np.arange(count) // HOP, 0, len(coarse) - 1)
    lags = np.array([stretch.lag for stretch in coarse], np.intp)[numbers]
    sure = np.array([stretch.sure for stretch in coarse])[numbers]
    return Course(lags, np.where(sure, 0, np.inf).astype(np.float32))


def _fit(
    recorded: NDArray[np.uint16],
    played: NDArray[np.uint16],
    known: NDArray[np.bool_],
    course: Course,
    exposure: NDArray[np.float32],
    trimmed: bool,
) -> Response:
    """The response by the frames of a course. ``trimmed``: the course is a first guess, and a part of the recording may
    show something else (least trimmed squares, Rousseeuw 1984)."""
    index = np.arange(len(recorded)) + course.lag
    usable = (index >= 0) & (index < len(played)) & (np.nan_to_num(course.mismatch, nan=np.inf) < _FIT_WORST)
    usable[usable] = known[index[usable]]
    witnesses = np.flatnonzero(usable)
    if len(witnesses) > _FIT_FRAMES:
        runs = np.arange(len(witnesses)) // _FIT_RUN
        chosen = np.linspace(0, runs[-1], _FIT_FRAMES // _FIT_RUN).astype(int)
        witnesses = witnesses[np.isin(runs, chosen)]
    if len(witnesses) < FEWEST_FRAMES:
        raise ValueError(f"only {len(witnesses)} recorded frames match the played clips; wrong clips or a wrong MAP")
    x, y, exposed = played[index[witnesses]], recorded[witnesses], exposure[witnesses]
    response = fit_response(x, y, exposed)
    for _ in range(_FIT_TURNS if trimmed else 0):
        distance = ((response.observed(y, exposed) - response.expected(x)) ** 2).sum(axis=1)
        best = distance <= np.quantile(distance, _FIT_SHARE)
        response = fit_response(x[best], y[best], exposed[best])
    return response


def _exposures(
    recorded: NDArray[np.uint16],
    played: NDArray[np.uint16],
    known: NDArray[np.bool_],
    course: Course,
    response: Response,
) -> NDArray[np.float32]:
    """(R,) exposure of every recorded frame: of neighbouring frames, so that a cut met a frame early does not count."""
    exposure = np.ones(len(recorded), np.float32)
    index = np.arange(len(recorded)) + course.lag
    usable = (index >= 0) & (index < len(played))
    usable[usable] = known[index[usable]]
    witnesses = np.flatnonzero(usable)
    for start in range(0, len(witnesses), _EXPOSED_AT_ONCE):
        some = witnesses[start : start + _EXPOSED_AT_ONCE]
        exposure[some] = response.exposures(played[index[some]], recorded[some])
    if witnesses.size:
        exposure = np.interp(np.arange(len(recorded)), witnesses, exposure[witnesses]).astype(np.float32)
    smooth: NDArray[np.float32] = median_filter(exposure, _EXPOSURE_WINDOW, mode="nearest")
    return np.clip(smooth, 1 / _LARGEST_EXPOSURE, _LARGEST_EXPOSURE)


def _random_mismatch(
    recorded: NDArray[np.uint16],
    played: NDArray[np.uint16],
    known: NDArray[np.bool_],
    course: Course,
    response: Response,
    exposure: NDArray[np.float32],
) -> float:
    """Median mismatch of recorded frames with played frames of other times."""
    index = np.arange(len(recorded)) + course.lag
    matched = np.flatnonzero((index >= 0) & (index < len(played)))
    matched = matched[known[index[matched]]]
    matched = matched[np.linspace(0, len(matched) - 1, min(len(matched), _RANDOM_PAIRS)).astype(int)]
    others = np.random.default_rng(0).permutation(index[matched])
    observed = response.observed(recorded[matched], exposure[matched])
    distance = ((observed - response.expected(played[others])) ** 2).sum(axis=1)
    return float(np.median(distance) - CELLS) / 2


def _shown(course: Course, known: NDArray[np.bool_], random_mismatch: float) -> NDArray[np.intp]:
    """Played frames, -1 outside the list and where the recording shows something else for several frames."""
    shown = np.arange(len(course.lag)) + course.lag
    shown[(shown < 0) | (shown >= len(known))] = -1
    finite = np.where(np.isfinite(course.mismatch), course.mismatch, np.float32(0))
    mismatch = median_filter(finite, _FOREIGN_WINDOW, mode="nearest")
    shown[mismatch > _FOREIGN * random_mismatch] = -1
    # A jump back (something else was on the screen before it) must not show a frame twice.
    highest = np.maximum.accumulate(shown)
    shown[shown < highest] = -1
    return shown


def line_through(shown: NDArray[np.intp]) -> tuple[int, float]:
    """(offset, net drift) of an alignment, as :class:`Alignment` has them; ValueError where no frame matches."""
    matched = np.flatnonzero(shown >= 0)
    if not matched.size:
        raise ValueError("no recorded frame matches the played clips")
    index = shown[matched].astype(float)
    spread = index - index.mean()
    slope = float(spread @ (matched - matched.mean()) / (spread @ spread)) if spread.any() else 1.0
    return int(matched[0] - shown[matched[0]]), slope - 1


def _slide(phase: NDArray[np.float32], shown: NDArray[np.intp]) -> float:
    """The clock's drift from a phase that slides with it."""
    matched = np.flatnonzero(shown >= 0)
    away = matched - matched.mean()
    return -float(away @ phase[matched] / (away @ away)) if len(matched) > 1 else 0.0
