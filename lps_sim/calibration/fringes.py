"""Modulation ratios of phase-shifted fringes: the transfer function at single frequencies, with no window and no model.

    x_k = a + |c| cos(arg c + k delta),   y_k = a' + |c'| cos(arg c' + k delta),   H(q) = <c* c'> / <|c|^2>

A blur is linear, so the film's complex wave c' is the bare one's, convolved; mean light does not leak into it. The
ratio of the means a'/a is the transmittance for the light of the screen (the veil is off already, see
:mod:`lps_sim.calibration.observations`).

**Names.** Shots of target ``fringe`` whose scenes differ only in the number at their end are one set: the phases
``fringe_8_x_0`` .. ``fringe_8_x_3``, or ``fringe_x016_p0`` .. ``fringe_x016_p3`` as in
:func:`capture_rig.targets.standard_set`. The numbers count equal steps (0, 1, 2, 3) or degrees (0, 90, 180, 270). The
step itself is estimated from the bare pictures of four or more phases; three phases alone cannot tell it, and take
that of the other sets, else 120 degrees. The frequency is that of the bare wave in the picture, never that of the name.

On a flat screen the frequency in angle varies over the view, so only the middle half of width and height is used, in
4 x 4 blocks. H is their regression on the local frequency, at its mean; the residuals of the blocks give the
standard deviation, and with it whatever else varies over the view. Noise of the bare pictures lowers H by the share
2 var / (K b^2), which is below 1e-3 for four phases of full contrast and is left in.

References: Creath 1988 (phase-measurement interferometry); Hariharan, Oreb & Eiju 1987.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from ..film import FilmModel
from ..geometry import plane_to_angle, radial_scale
from .model_free import USABLE_COHERENCE, FilmDifference, ModelFree, check_gain
from .observations import Exclusion, FilmedScene, Observations, Reader
from .predicted import film_channel, pictures_behind

Floats = NDArray[np.float64]
Waves = NDArray[np.complex128]

MIN_PHASES = 3
_NAME = re.compile(r"(?P<set>.+)_p?(?P<phase>\d+)")
_BLOCKS = 4  # along each side of the middle half
_DEFAULT_STEP_RAD = 2 * math.pi / 3
_STEP_RANGE_RAD = (0.2, math.pi - 0.1)  # at 0 and pi the wave's quadrature is gone
_LEAST_MODULATION = 0.02  # of the mean: below, a bare picture holds no fringes to compare with


@dataclass(frozen=True)
class FringeWave:
    """One set of phases, demodulated.

    name : of the set; mean : (H, W, C) a; wave : (H, W, C) complex c
    """

    name: str
    mean: Floats
    wave: Waves


@dataclass
class _Filmed:
    name: str
    bare: FringeWave
    film: FringeWave
    scenes: tuple[str, ...]


class FringeRatios:
    """Fringe sets of a calibration set; estimates and comparisons by layer count, as by ``CrossSpectrum``.

    Parameters
    ----------
    seen, reader : of :func:`lps_sim.calibration.observations.observe`
    projection : one of ``lps_sim.geometry.PROJECTIONS``: the coordinates in which frequencies are counted

    Attributes
    ----------
    layers : layer counts with a usable set; exclusions : sets that cannot be used, with the reason
    step_rad : set -> phase step that its bare pictures show, 0..pi (a step above 180 degrees is its mirror image)
    """

    label = "fringe"

    def __init__(self, seen: Observations, reader: Reader, projection: str = "equal_area") -> None:
        self.camera, self.projection = reader.set.camera, projection
        plane_to_angle(0.0, projection)  # refuses an unknown one
        self.exclusions: list[Exclusion] = []
        self.step_rad: dict[str, float] = {}
        self._blocks = _middle_blocks(self.camera.height, self.camera.width)
        self._filmed: dict[int, list[_Filmed]] = {}
        sets: dict[tuple[str, int], dict[int, FilmedScene]] = {}
        for entry in seen.scenes:
            match = _NAME.fullmatch(entry.scene) if entry.target == "fringe" else None
            if match:
                sets.setdefault((match["set"], entry.layers), {})[int(match["phase"])] = entry
            elif entry.target == "fringe":
                self._leave_out(entry.scene, "no phase number at the end of its scene's name")
        # Sets with more phases first: their steps serve those that cannot tell their own.
        for (name, layers), phases in sorted(sets.items(), key=lambda item: -len(item[1])):
            self._add(name, layers, phases)
        self.layers = sorted(self._filmed)

    def estimate(self, layers: int, gain: Sequence[float] | None = None) -> ModelFree:
        """H at the frequency of every fringe set of a layer count; gain as in ``CrossSpectrum.estimate``.

        Raises ValueError for a layer count without a usable set, and for gains too few or too many.
        """
        sets = self._sets(layers)
        h, sd, coherence = self._ratios([(s.bare.wave, s.film.wave) for s in sets])
        means = [_inside(s.film.mean, self._blocks) / _inside(s.bare.mean, self._blocks) for s in sets]
        unit = np.mean(means, axis=0) if gain is None else check_gain(gain, h.shape[1])
        return ModelFree(
            layers=layers,
            q_cpr=self._frequencies(sets),
            mtf=h / unit,
            sd=sd / unit,
            coherence=coherence,
            gain=unit,
            source="fringes",
            scenes=tuple(scene for s in sets for scene in s.scenes),
            projection=self.projection,
        )

    def difference(self, film: FilmModel, layers: int, gain: Sequence[float]) -> FilmDifference:
        """Model-free minus film, as ``CrossSpectrum.difference``."""
        sets = self._sets(layers)
        unit = check_gain(gain, sets[0].bare.wave.shape[-1])
        predicted = [unit * wave for wave in self._behind(film, layers, [s.bare.wave for s in sets])]
        measured, _, coherence = self._ratios([(s.bare.wave, s.film.wave) for s in sets])
        expected, _, _ = self._ratios([(s.bare.wave, p) for s, p in zip(sets, predicted)])
        _, sd, _ = self._ratios([(s.bare.wave, s.film.wave - p) for s, p in zip(sets, predicted)])
        return FilmDifference(
            layers=layers,
            q_cpr=self._frequencies(sets),
            predicted=expected / unit,
            difference=(measured - expected) / unit,
            sd=sd / unit,
            usable=coherence > USABLE_COHERENCE,
            degrees=np.full(len(sets), _BLOCKS**2 - 2.0),
            source="fringes",
        )

    def _leave_out(self, what: str, reason: str) -> None:
        self.exclusions.append(Exclusion(what, f"modulation ratio: {reason}"))

    def _add(self, name: str, layers: int, phases: dict[int, FilmedScene]) -> None:
        """Demodulate one set at one layer count, or list why not."""
        what = f"fringe set {name} at {layers} layers"
        if len(phases) < MIN_PHASES:
            return self._leave_out(what, f"needs {MIN_PHASES} phases, has {len(phases)}")
        numbers = sorted(phases)
        entries = [phases[number] for number in numbers]
        if any(np.isinf(_crop(entry.y_variance, self._blocks)).any() for entry in entries):
            return self._leave_out(what, "saturated in the middle of the picture")
        steps = (np.array(numbers) - numbers[0]) // math.gcd(*(n - numbers[0] for n in numbers))
        bare = np.stack([entry.x for entry in entries])
        if len(phases) > MIN_PHASES:
            self.step_rad.setdefault(name, phase_step(_crop(bare, self._blocks, 1), steps))
        known = list(self.step_rad.values())
        step = self.step_rad.get(name, float(np.median(known)) if known else _DEFAULT_STEP_RAD)
        before = demodulate(name, bare, steps, step)
        after = demodulate(name, np.stack([entry.y for entry in entries]), steps, step)
        if (_inside(np.abs(before.wave), self._blocks) < _LEAST_MODULATION * _inside(before.mean, self._blocks)).any():
            return self._leave_out(what, "no fringes in the bare pictures")
        scenes = tuple(entry.scene for entry in entries)
        self._filmed.setdefault(layers, []).append(_Filmed(name, before, after, scenes))
        return None

    def _sets(self, layers: int) -> list[_Filmed]:
        if layers not in self._filmed:
            raise ValueError(f"layers must be among those with usable fringe sets ({self.layers}), got {layers}")
        return sorted(self._filmed[layers], key=lambda s: float(self._frequencies([s])[0]))

    def _behind(self, film: FilmModel, layers: int, waves: Sequence[Waves]) -> list[Waves]:
        """Complex waves (H, W, C) behind a film, real and imaginary parts by themselves: a blur is linear."""
        columns = []
        for c in range(waves[0].shape[-1]):
            parts = [part for wave in waves for part in (wave[..., c].real, wave[..., c].imag)]
            behind = pictures_behind(film, layers, parts, self.camera, film_channel(c, waves[0].shape[-1]))
            columns.append([real + 1j * imaginary for real, imaginary in zip(behind[::2], behind[1::2])])
        return [np.stack(channels, axis=-1) for channels in zip(*columns)]

    def _local(self, wave: Waves) -> Floats:
        """(blocks,) frequency of a bare wave in every block, cycles/rad in angle coordinates."""
        f_px = self.camera.f_px
        found = []
        for rows, columns in self._blocks:
            c = wave[rows, columns].sum(axis=-1)
            along_y = np.angle((c[:-1].conj() * c[1:]).sum()) / (2 * np.pi) * f_px
            along_x = np.angle((c[:, :-1].conj() * c[:, 1:]).sum()) / (2 * np.pi) * f_px
            y = ((rows.start + rows.stop - 1) / 2 - (self.camera.height - 1) / 2) / f_px
            x = ((columns.start + columns.stop - 1) / 2 - (self.camera.width - 1) / 2) / f_px
            radius = max(math.hypot(y, x), 1e-9)
            radial = (along_y * y + along_x * x) / radius / radial_scale(radius, self.projection)
            around = (along_x * y - along_y * x) / float(plane_to_angle(radius, self.projection))
            found.append(math.hypot(radial, around))
        return np.array(found)

    def _frequencies(self, sets: Sequence[_Filmed]) -> Floats:
        return np.array([self._local(s.bare.wave).mean() for s in sets])

    def _ratios(self, pairs: Sequence[tuple[Waves, Waves]]) -> tuple[Floats, Floats, Floats]:
        """(H, sd, coherence), (sets, C) each, of (bare wave, wave behind the film)."""
        rows = []
        for bare, film in pairs:
            cross = np.stack([(bare[b].conj() * film[b]).sum(axis=(0, 1)) for b in self._blocks])
            power = np.stack([(np.abs(bare[b]) ** 2).sum(axis=(0, 1)) for b in self._blocks])
            behind = np.stack([(np.abs(film[b]) ** 2).sum(axis=(0, 1)) for b in self._blocks])
            q = self._local(bare)
            columns = np.stack([np.ones_like(q), q - q.mean()], axis=-1)
            h = cross.real / power
            line, *_ = np.linalg.lstsq(columns, h, rcond=None)
            spread = ((h - columns @ line) ** 2).sum(axis=0) / (q.size - 2)
            coherence = np.abs(cross.sum(axis=0)) ** 2 / np.maximum(power.sum(axis=0) * behind.sum(axis=0), 1e-300)
            rows.append((line[0], np.sqrt(spread / q.size), coherence))
        h, sd, coherence = (np.stack(values) for values in zip(*rows))
        return h, sd, coherence


def phase_step(pictures: Floats, steps: NDArray[np.intp]) -> float:
    """The step delta (rad, 0..pi) between pictures of one wave, of which picture k stands at ``steps[k] * delta``.

    The pictures of a wave span 1, cos(k delta) and sin(k delta) over k: the step is that which leaves least outside.

    Parameters: pictures (K, ...) linear light, K >= 4; steps (K,) whole numbers. Raises ValueError for fewer.
    """
    if len(pictures) <= MIN_PHASES:
        raise ValueError(f"pictures must be at least {MIN_PHASES + 1} phases to tell their step, got {len(pictures)}")
    flat = np.asarray(pictures, dtype=float).reshape(len(pictures), -1)
    gram = flat @ flat.T

    def outside(step: float) -> float:
        span, _ = np.linalg.qr(_carrier(steps, step))
        return float(np.trace(gram) - np.trace(span.T @ gram @ span))

    trial = np.linspace(*_STEP_RANGE_RAD, 200)
    best = int(np.argmin([outside(step) for step in trial]))
    around = trial[max(best - 1, 0)], trial[min(best + 1, trial.size - 1)]
    return float(minimize_scalar(outside, bounds=around, method="bounded", options={"xatol": 1e-6}).x)


def demodulate(name: str, pictures: Floats, steps: NDArray[np.intp], step_rad: float) -> FringeWave:
    """Mean and complex wave at every pixel by least squares over the phases.

    Parameters: name of the set; pictures (K, H, W, C) linear light, K >= 3; steps (K,) whole numbers; step_rad.
    """
    mean, cosine, sine = np.tensordot(np.linalg.pinv(_carrier(steps, step_rad)), pictures, axes=1)
    return FringeWave(name, mean, cosine - 1j * sine)


def _carrier(steps: NDArray[np.intp], step_rad: float) -> Floats:
    angle = np.asarray(steps) * step_rad
    return np.stack([np.ones(angle.size), np.cos(angle), np.sin(angle)], axis=-1)


Block = tuple[slice, slice]


def _middle_blocks(height: int, width: int) -> list[Block]:
    """The blocks of the middle half of the frame's height and width."""
    rows, columns = (np.linspace(side / 4, side * 3 / 4, _BLOCKS + 1).round().astype(int) for side in (height, width))
    return [
        (slice(int(top), int(bottom)), slice(int(left), int(right)))
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def _crop(values: Floats, blocks: Sequence[Block], axis: int = 0) -> Floats:
    """What the blocks cover together, of values whose rows lie along ``axis``."""
    rows, columns = (slice(blocks[0][k].start, blocks[-1][k].stop) for k in (0, 1))
    return values[(slice(None),) * axis + (rows, columns)]


def _inside(values: Floats, blocks: Sequence[Block]) -> Floats:
    """(C,) mean over the blocks of (H, W, C)."""
    return np.asarray(_crop(values, blocks).mean(axis=(0, 1)), dtype=float)
