"""Flicker and refresh beating: what a run of frames of a still, even picture says about light that is not steady.

A lamp or a screen that pulses f times a second shows in frame k, row y (0..1 down the frame) of a rolling shutter as

    r(k, y) = 1 + A cos(2 pi (f t_k + f rho y) + phase),   t_k = k / fps

with rho the time in which the rows are read. Over frames it is seen at its alias f - n fps; over rows as f rho bands.
The strongest such wave is searched in the two-dimensional periodogram of the rows' levels, against a noise floor from
the periodogram itself (Scargle 1982). Light that pulses at a multiple of the frame rate stands still in every frame: it
is part of the picture then, here as in every shot of such a session, and is not found.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from lps_sim.calibration.checks import Check, judge
from lps_sim.calibration.gate_response import FLICKER_FAIL, FLICKER_WARN
from lps_sim.calibration.shot_validation import SATURATED_SHARE
from lps_sim.transfer import Transfer, eotf_table

Floats = NDArray[np.float64]

LEAST_FRAMES = 6
MAINS_HZ = (50.0, 60.0, 100.0, 120.0)
_ROW_BINS = 128
_LIT = 0.5  # of the bright part: what is the even picture
_MOST_SATURATED = 0.001  # of the lit pixels
_FINER = 4  # the periodogram's grid against its resolution
_FALSE_ALARM = 1e-3  # a run without flicker is called so
_BANDS = 0.3  # a frame: fewer cannot be told from none
_CLOCK = 1e-3  # relative: clocks of cameras and screens


@dataclass(frozen=True)
class Flicker:
    """The strongest wave in a run of frames.

    Parameters
    ----------
    frames, fps : of the run
    peak_to_peak : of the wave, relative to the level; 0 where nothing stands out of the noise
    floor : the smallest peak to peak that would stand out of it
    frame_peak_to_peak : of the frames' mean levels, straight drift off; noise is in it
    drift : of the level from the first frame to the last, relative
    alias_hz : frequency at which the wave is seen, -fps/2..fps/2; the sign only counts with bands
    bands : of the wave, in a frame's height
    sources : frequencies that such a wave may have, Hz, of the screen's refresh and the mains
    hidden : of the same, those that would stand still at this frame rate and are not seen
    """

    frames: int
    fps: float
    peak_to_peak: float
    floor: float
    frame_peak_to_peak: float
    drift: float
    alias_hz: float
    bands: float
    sources: tuple[float, ...]
    hidden: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "sources": list(self.sources), "hidden": list(self.hidden)}

    def check(self, exposure_s: float | None = None) -> Check:
        """The figure against the limits of the calibration's gate, with a cure; ``exposure_s``: as it is set now."""
        status, limit = judge(self.peak_to_peak, FLICKER_WARN, FLICKER_FAIL)
        where = f"{self.bands:.1f} bands a frame" if self.bands >= _BANDS else "over whole frames"
        text = f"light varies by {100 * self.peak_to_peak:.2g} % peak to peak, {where}, {abs(self.alias_hz):.3g} Hz"
        if not self.peak_to_peak:
            text = f"no wave above the noise; one of {100 * self.floor:.2g} % peak to peak would be seen"
        text += f" (limit {100 * limit:g} %, {self.frames} frames at {self.fps:.4g} a second)"
        if self.hidden:
            text += f"; {_or(self.hidden)} Hz would stand still at this frame rate and not be seen"
        cure = "" if status == "ok" else self._cure(exposure_s)
        return Check("flicker", status, text, 100 * self.peak_to_peak, 100 * limit, "%", cure)

    def _cure(self, exposure_s: float | None) -> str:
        if not self.sources:
            return "a longer exposure, or full screen brightness, where backlights do not pulse; no automatic exposure"
        times = []
        for source in self.sources:
            count = 1 if exposure_s is None else max(1, round(exposure_s * source))
            times.append(f"{count}/{source:g} s ({1000 * count / source:.4g} ms)")
        seen = " or ".join(f"{source:g}" for source in self.sources)
        return (
            f"the wave fits a source of {seen} Hz: set the exposure to a multiple of its period, {' or '.join(times)}"
        )


def row_levels(frames: Iterable[NDArray[Any]], transfer: Transfer, bits: int = 8) -> Floats:
    """(T, R) mean linear light of up to 128 groups of rows in every frame, of what is lit in the first one.

    Parameters: frames (H, W) or (H, W, C) codes of a still, even picture; transfer, bits of the codes.

    Raises ValueError for no frames, a picture without light, or one that is saturated.
    """
    table = eotf_table(transfer, bits).astype(np.float64)
    found, lit = [], None
    for number, frame in enumerate(frames):
        light = table[frame] if frame.ndim == 2 else table[frame].mean(axis=2)
        if lit is None:
            lit, groups = _lit_groups(light)
        saturated = frame >= SATURATED_SHARE * (2**bits - 1)
        share = (saturated if frame.ndim == 2 else saturated.any(axis=2))[lit].mean()
        if share > _MOST_SATURATED:
            raise ValueError(f"frames must not be saturated, got {100 * share:.2g} % of frame {number}; expose less")
        sums, counts = (light * lit).sum(axis=1), lit.sum(axis=1)
        found.append([sums[group].sum() / counts[group].sum() for group in groups])
    if not found:
        raise ValueError(f"frames must be at least {LEAST_FRAMES}, got 0")
    return np.array(found)


def steady_times(at_s: Floats, numbers: NDArray[Any]) -> Floats:
    """(T,) times of frames by a camera's own steady clock: a straight line over their numbers.

    Times of arrival waver by milliseconds, exposures do not. Where times do not lie on a line to a fifth of a frame, as
    of phones that film at a rate of their own choice, they are returned as they are.

    Parameters: at_s, numbers (T,) as in :class:`capture_rig.cameras.protocol.Frame`.
    """
    at_s, numbers = np.asarray(at_s, dtype=float), np.asarray(numbers, dtype=float)
    if len(at_s) < LEAST_FRAMES or not (np.diff(numbers) > 0).all():
        return at_s
    slope, start = np.polyfit(numbers, at_s, 1)
    line: Floats = start + slope * numbers
    return line if slope > 0 and np.abs(line - at_s).max() < slope / 5 else at_s


def _lit_groups(light: Floats) -> tuple[NDArray[np.bool_], list[NDArray[np.intp]]]:
    bright = float(np.quantile(light, 0.9))
    if not bright > 0:
        raise ValueError("frames must show an even picture that is lit, got black")
    lit = light > _LIT * bright
    counts = lit.sum(axis=1)
    rows = np.flatnonzero(counts > counts.max() / 2)
    # Equally spaced rows: a gap would be taken for a jump in phase.
    rows = np.arange(rows[0], rows[-1] + 1)
    rows = rows[counts[rows] > 0]
    return lit, np.array_split(rows, min(_ROW_BINS, len(rows)))


def find_flicker(
    levels: Floats, times_s: Floats, refresh_hz: float | None = None, height_share: float = 1.0
) -> Flicker:
    """The strongest wave over frames and rows.

    Parameters
    ----------
    levels : (T, R) light of rows, of :func:`row_levels`; T >= 6, some hundred are plenty
    times_s : (T,) of the frames, rising; lost frames may be missing
    refresh_hz : of the screen, where it is known
    height_share : of the frame's height that the rows cover

    Raises ValueError for too few frames, shapes that do not fit, times that do not rise.
    """
    levels, times = np.asarray(levels, dtype=float), np.asarray(times_s, dtype=float)
    if levels.ndim != 2 or len(levels) != len(times):
        raise ValueError(f"levels must be (T, R) with T times, got {levels.shape} and {times.shape}")
    if len(times) < LEAST_FRAMES:
        raise ValueError(f"frames must be at least {LEAST_FRAMES}, got {len(times)}")
    if not (np.diff(times) > 0).all():
        raise ValueError("times_s must rise from frame to frame")
    fps = 1 / float(np.median(np.diff(times)))
    span = float(times[-1] - times[0]) + 1 / fps
    wave, slope = _steady_off(levels, times)
    search = _Periodogram(wave, times, fps, span)
    alias, bands, power = search.strongest()
    floor = search.floor()
    seen = power > floor
    amplitude = search.amplitude(alias, bands)
    alias = (alias + fps / 2) % fps - fps / 2
    bands /= height_share
    frame_level = wave.mean(axis=1)
    return Flicker(
        frames=len(times),
        fps=fps,
        peak_to_peak=2 * amplitude if seen else 0.0,
        floor=4 * math.sqrt(floor / wave.size),
        frame_peak_to_peak=float(np.ptp(frame_level)),
        drift=slope * float(times[-1] - times[0]),
        alias_hz=alias if seen else 0.0,
        bands=bands if seen else 0.0,
        sources=_sources(alias, bands, fps, span, refresh_hz) if seen else (),
        hidden=tuple(source for source in _known(refresh_hz) if abs(_wrapped(source, fps)) < 0.75 / span),
    )


def _steady_off(levels: Floats, times: Floats) -> tuple[Floats, float]:
    """Relative deviation of every row from its mean, less the straight drift of all; and that drift a second."""
    relative = levels / levels.mean(axis=0) - 1
    away = times - times.mean()
    slope = float(away @ relative.mean(axis=1) / (away @ away))
    relative = relative - slope * away[:, None]
    return relative - relative.mean(axis=0), slope


class _Periodogram:
    """Power |sum r exp(-2 pi i (f t + kappa y))|^2 / N of (T, R) levels; noise of variance v has mean power v."""

    def __init__(self, wave: Floats, times: Floats, fps: float, span: float) -> None:
        self.wave, self.times = wave, times - times[0]
        rows = wave.shape[1]
        self.y = (np.arange(rows) + 0.5) / rows
        self.resolution = 1 / span
        self.bands = np.arange(0, rows / 2 + 1e-9, 1 / _FINER)
        step = self.resolution / _FINER
        frequency = np.arange(-fps / 2, fps / 2, step)
        # The rows' means and the drift are off: nothing is left to be found there.
        self.frequency = frequency[np.abs(frequency) > 0.75 * self.resolution]
        over_rows = wave @ np.exp(-2j * np.pi * self.y[:, None] * self.bands)
        self.power = np.abs(np.exp(-2j * np.pi * self.frequency[:, None] * self.times) @ over_rows) ** 2 / wave.size

    def at(self, frequency: float, bands: float) -> float:
        over_rows = self.wave @ np.exp(-2j * np.pi * self.y * bands)
        return float(abs(np.exp(-2j * np.pi * frequency * self.times) @ over_rows) ** 2 / self.wave.size)

    def strongest(self) -> tuple[float, float, float]:
        """(Hz, bands a frame, power) of the highest peak."""
        i, j = np.unravel_index(np.argmax(self.power), self.power.shape)
        start = np.array([self.frequency[i], self.bands[j]])
        unit = np.array([self.resolution, 1.0]) / _FINER
        found = minimize(lambda x: -self.at(*(start + x * unit)), np.zeros(2), method="Nelder-Mead")
        frequency, bands = start + found.x * unit
        if bands < 0:  # the same wave, counted the other way
            frequency, bands = -frequency, -bands
        return float(frequency), float(bands), -float(found.fun)

    def amplitude(self, frequency: float, bands: float) -> float:
        """Of the wave there, by least squares: a power alone counts one at half the frame rate twice."""
        turns = 2 * np.pi * (frequency * self.times[:, None] + bands * self.y).ravel()
        columns = np.stack([np.cos(turns), np.sin(turns)], axis=1)
        return float(np.hypot(*np.linalg.lstsq(columns, self.wave.ravel(), rcond=1e-3)[0]))

    def floor(self) -> float:
        """Power that noise alone reaches in one run of a thousand: its cells are distributed exponentially."""
        mean = float(np.median(self.power)) / math.log(2)
        cells = self.wave.size / 2
        return mean * math.log(cells * _FINER / _FALSE_ALARM)


def _known(refresh_hz: float | None) -> list[float]:
    return sorted({*MAINS_HZ, *(() if refresh_hz is None else (refresh_hz, 2 * refresh_hz))})


def _sources(alias: float, bands: float, fps: float, span: float, refresh_hz: float | None) -> tuple[float, ...]:
    """Known frequencies that are seen at ``alias``, and whose bands are read within a frame's period."""
    found = []
    for source in _known(refresh_hz):
        away = [_wrapped(source - alias, fps)] + ([_wrapped(source + alias, fps)] if bands < _BANDS else [])
        if min(map(abs, away)) < max(1 / span, _CLOCK * source) and bands < 1.1 * source / fps:
            found.append(source)
    return tuple(found)


def _wrapped(frequency: float, fps: float) -> float:
    return (frequency + fps / 2) % fps - fps / 2


def _or(values: tuple[float, ...]) -> str:
    return " or ".join(f"{value:g}" for value in values)
