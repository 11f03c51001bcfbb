"""The gate's view of the response: exposure ratios within brackets, constant (exposure) and by level (tone curve)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..transfer import EOTF_NAMES, Transfer
from .checks import Check, judge
from .gate_shots import GateShots, floor_of
from .merge import undithered, variance
from .shots import Shot

Floats = NDArray[np.float64]

# A tone curve that bends the ratio by this much from dark to bright: a sound camera bends it by 0.1 % (rounding,
# clipped noise); fifteen times as much is no noise, and is as large as what a halo adds to the dark side of an edge.
TONE_WARN, TONE_FAIL = 0.0075, 0.015
# Shutters repeat to a percent or so; a twentieth is no longer the film's transmittance.
RATIO_WARN, RATIO_FAIL = 0.02, 0.05
FLICKER_WARN, FLICKER_FAIL = 0.01, 0.05
_SAME = 1.02  # exposures closer than this count as repeats
_BINS_AN_OCTAVE = 2
_FEWEST_BLOCKS = 12
_PRECISE = 0.01  # a bin's ratio is used from this standard deviation down
_SIGMAS = 3.0
_GAMMAS = tuple(f"gamma:{tenth / 10:g}" for tenth in range(10, 31))


@dataclass(frozen=True)
class Pair:
    """Two shots of one scene at two exposures: light a block over exposure, long / short, by level.

    level : (B,) mean light of the long shot in each bin; ratio, sd : (B,) 1 where exposures and response are right
    """

    short: Shot
    long: Shot
    level: Floats
    ratio: Floats
    sd: Floats

    @property
    def factor(self) -> float:
        """The ratio over all levels, by precision."""
        return float(np.average(self.ratio, weights=1 / (self.sd**2 + 1e-6)))

    @property
    def bend(self) -> float:
        """Largest difference between two levels' ratios, beyond three standard deviations of it; 0 for one level."""
        relative, sd = self.ratio / self.factor, self.sd
        apart = np.abs(relative[:, None] - relative) - _SIGMAS * np.hypot(sd[:, None], sd)
        return float(max(apart.max(), 0.0))


def pairs_of(
    shots: GateShots, transfer: Transfer | None = None, only: list[tuple[Shot, Shot]] | None = None
) -> list[Pair]:
    """Every pair of neighbouring exposures in every bracket that shares unsaturated, lit blocks."""
    candidates = only or [pair for group in shots.brackets() for pair in pairwise(group)]
    found = [_pair(shots, short, long, transfer) for short, long in candidates]
    return [pair for pair in found if pair is not None]


def _pair(shots: GateShots, short: Shot, long: Shot, transfer: Transfer | None) -> Pair | None:
    camera, recorded = shots.set.camera, shots.set.recorded
    single = recorded or camera
    a, b = shots.figures(short), shots.figures(long)
    light_a = a.blocks if transfer is None else shots.block_light(short, transfer)
    light_b = b.blocks if transfer is None else shots.block_light(long, transfer)
    # Which blocks are compared must not depend on the transfer function that is tried.
    use = a.known & b.known & (a.blocks > floor_of(single)) & (b.blocks > floor_of(single))
    if use.sum() < _FEWEST_BLOCKS:
        return None
    pixels = shots.block_px**2 * shots.channels
    x, y = light_a[use] / short.exposure, light_b[use] / long.exposure
    noise_x = variance(camera, a.blocks[use] / short.exposure, short.exposure, recorded) / pixels
    noise_y = variance(camera, b.blocks[use] / long.exposure, long.exposure, recorded) / pixels
    unsure_x, unsure_y = (
        undithered(single, level) / np.maximum(level, 1e-12) for level in (a.blocks[use], b.blocks[use])
    )
    number = np.floor(_BINS_AN_OCTAVE * np.log2(b.blocks[use])).astype(int)
    rows = []
    for one in np.unique(number):
        inside = number == one
        if inside.sum() < _FEWEST_BLOCKS:
            continue
        ratio = y[inside].sum() / x[inside].sum()
        scatter = ((y[inside] - ratio * x[inside]) ** 2).sum()
        spread = max(scatter, noise_y[inside].sum() + ratio**2 * noise_x[inside].sum())
        sd = np.sqrt(spread) / x[inside].sum() + unsure_x[inside].mean() + unsure_y[inside].mean()
        if sd < _PRECISE:
            rows.append((b.blocks[use][inside].mean(), ratio, sd))
    if not rows:
        return None
    level, ratio, sd = np.array(rows).T
    return Pair(short, long, level, ratio, sd)


def response_checks(shots: GateShots) -> list[Check]:
    """Tone response, exposure ratio and flicker."""
    pairs = pairs_of(shots)
    brackets = [pair for pair in pairs if pair.long.exposure > _SAME * pair.short.exposure]
    repeats = [pair for pair in pairs if pair.long.exposure <= _SAME * pair.short.exposure]
    return [_tone(shots, brackets), _ratio(brackets), *_flicker(repeats)]


def _tone(shots: GateShots, pairs: list[Pair]) -> Check:
    name = "tone response"
    usable = [pair for pair in pairs if pair.level.size > 1]
    if not usable:
        text = "no bracket shares enough levels, so that the camera's transfer function could not be checked"
        return Check(name, "warn", text, cure="shoot every scene at two exposures, a factor of 4 to 8 apart")
    worst = max(usable, key=lambda pair: pair.bend)
    status, limit = judge(worst.bend, TONE_WARN, TONE_FAIL)
    text = (
        f"the ratio of light to exposure bends by {100 * worst.bend:.2g} % from dark to bright between "
        f"{worst.short.file} and {worst.long.file} (limit {100 * limit:g} %, {len(usable)} pairs)"
    )
    cure = "" if status == "ok" else _better_curve(shots, usable)
    return Check(name, status, text, 100 * worst.bend, 100 * limit, "%", cure)


def _better_curve(shots: GateShots, pairs: list[Pair]) -> str:
    """The cure: a named transfer function under which the worst pairs are straight, or a measurement."""
    worst = sorted(pairs, key=lambda pair: -pair.bend)[:3]
    only = [(pair.short, pair.long) for pair in worst]
    now = sum(pair.bend for pair in worst)
    bends = {
        name: sum(pair.bend for pair in pairs_of(shots, name, only))
        for name in (*EOTF_NAMES, *_GAMMAS)
        if name != shots.set.camera.eotf
    }
    best = min(bends, key=lambda name: bends[name])
    lock = "turn off every picture style, HDR, sharpening and denoising; or measure the curve: lps film response"
    if bends[best] < 0.5 * now and bends[best] < len(only) * TONE_FAIL:
        return f"set eotf: {best} (the bend falls to {100 * bends[best] / len(only):.2g} %); else {lock}"
    return f"no built-in transfer function fits; {lock}"


def _ratio(pairs: list[Pair]) -> Check:
    name = "exposure ratio"
    if not pairs:
        return Check(name, "ok", "no bracket to compare exposures in")
    worst = max(pairs, key=lambda pair: abs(np.log(pair.factor)))
    value = abs(worst.factor - 1)
    status, limit = judge(value, RATIO_WARN, RATIO_FAIL)
    text = (
        f"{worst.long.file} over {worst.short.file}: light {100 * (worst.factor - 1):+.2g} % off the ratio of their "
        f"exposures {worst.long.exposure:g} and {worst.short.exposure:g} (limit {100 * limit:g} %, {len(pairs)} pairs)"
    )
    cure = (
        "" if status == "ok" else "correct the exposure in shots.yaml; lock exposure, ISO and aperture (no automatic)"
    )
    return Check(name, status, text, 100 * value, 100 * limit, "%", cure)


def _flicker(pairs: list[Pair]) -> list[Check]:
    if not pairs:
        return []
    off = [abs(pair.factor - 1) for pair in pairs]
    worst = pairs[int(np.argmax(off))]
    status, limit = judge(max(off), FLICKER_WARN, FLICKER_FAIL)
    text = (
        f"{worst.short.file} and {worst.long.file}, the same exposure, differ by {100 * max(off):.2g} % "
        f"(limit {100 * limit:g} %, {len(pairs)} pairs of repeats)"
    )
    cure = (
        "" if status == "ok" else "expose for a multiple of the display's and the lamps' period; no automatic exposure"
    )
    return [Check("flicker", status, text, 100 * max(off), 100 * limit, "%", cure)]
