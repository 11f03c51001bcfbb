"""The gate's view of the layer labels: more film passes less light and less contrast, whatever the film."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.ndimage import gaussian_filter

from .checks import Check, Status, judge
from .gate_shots import GateShots
from .observations import MAX_SATURATED_INPUT, Reader
from .shot_validation import NO_SCENE

# Every sheet takes 8 % or more; a rise is a swapped label or a wrong exposure. Flicker and shutters stay below this.
LIGHT_FAIL = 0.03
# Contrast may hold between neighbours, but not rise: beyond noise and this share of itself it does not belong there.
CONTRAST_RISE = 0.1
# Scenes that spread their light over the view lose the same share of it: simulated films differ by up to 3 % from scene
# to scene, and by 1 % in how that changes with the layers. A tenth more is a wrong exposure.
_BROAD = ("flat", "edge", "hole", "noise", "fringe")
LEVEL_WARN, LEVEL_FAIL = 0.05, 0.08
LEVEL_CHANGE_WARN, LEVEL_CHANGE_FAIL = 0.03, 0.05
_FEWEST_SCENES = _FEWEST_COUNTS = 3
_SIGMAS = 4.0
_DETAIL = 1 / 40  # of the width: structure finer than this is called contrast
_BRIGHT = 0.05  # scenes with less mean light than this share of the brightest say little about the level
_SAID = 0.05  # a contrast below this (of the bare scene) is a wide halo's, not a label's


@dataclass(frozen=True)
class _Cell:
    """One scene at one layer count: light and detail that get through, as shares of the bare scene's."""

    file: str
    target: str
    light: float
    detail: float
    detail_sd: float
    signal_to_noise: float


def label_checks(gate: GateShots, reader: Reader, contrast_warn: float) -> list[Check]:
    """Layer labels, from light and from contrast; and the contrast left over noise at the layer count with least."""
    cells, veiled = _cells(gate, reader)
    by_count: dict[int, dict[str, _Cell]] = {}
    for (scene, count), cell in cells.items():
        by_count.setdefault(count, {})[scene] = cell
    if not by_count:
        return [Check("layer labels", "warn", "no scene filmed and bare to judge by", cure="add filmed scenes")]
    return [_labels(by_count, veiled), *_levels(cells), _contrast(by_count, contrast_warn)]


def _labels(by_count: dict[int, dict[str, _Cell]], veiled: bool) -> Check:
    worst, text = -np.inf, "one layer count only"
    status: Status = "ok"
    for low, high in combinations(sorted(by_count), 2):
        scenes = [scene for scene in by_count[low] if scene in by_count[high]]
        if not scenes:
            continue
        few, many = ([by_count[count][scene] for scene in scenes] for count in (low, high))
        light = float(np.median([b.light / a.light for a, b in zip(few, many)])) - 1
        rises = [
            (b.detail - a.detail - _SIGMAS * np.hypot(a.detail_sd, b.detail_sd)) / max(a.detail, _SAID)
            for a, b in zip(few, many)
        ]
        rise = float(np.median(rises))
        limit_ratio = max(light / LIGHT_FAIL, rise / CONTRAST_RISE)
        if limit_ratio > worst:
            worst = limit_ratio
            # Without a screen-off shot, room light may outweigh the loss of light.
            bad = rise > CONTRAST_RISE or (light > LIGHT_FAIL and not veiled)
            status = "fail" if bad else "warn" if light > 0 else "ok"
            text = (
                f"from {low} to {high} layers light changes by {100 * light:+.2g} % (limit {100 * LIGHT_FAIL:+g} %), "
                f"contrast beyond noise by {100 * rise:+.2g} % (limit {100 * CONTRAST_RISE:+g} %); {many[0].file}"
            )
    cure = "" if status == "ok" else "are these layer counts swapped? Correct layers in shots.yaml, or the exposures"
    return Check("layer labels", status, text, worst if np.isfinite(worst) else None, 1.0, "of the limit", cure)


def _levels(cells: dict[tuple[str, int], _Cell]) -> list[Check]:
    """Scenes against each other: a single shot with a wrong exposure passes another share of light than the rest.

    log light of scene s at N layers = film(N) + bare shot(s) + rest: a bare shot's exposure shifts its whole row, a
    filmed one's its own cell.
    """
    broad = {key: cell for key, cell in cells.items() if cell.target in _BROAD and cell.light > 0}
    counts = sorted({count for _, count in broad})
    scenes = [s for s in dict.fromkeys(scene for scene, _ in broad) if all((s, count) in broad for count in counts)]
    if len(scenes) < _FEWEST_SCENES:
        return []
    table = np.log([[broad[scene, count].light for count in counts] for scene in scenes])
    table = table - np.median(table, axis=0)
    rows = np.median(table, axis=1)
    found = [
        (abs(row) / LEVEL_FAIL, row, LEVEL_WARN, LEVEL_FAIL, broad[s, counts[0]], "bare")
        for s, row in zip(scenes, rows)
    ]
    if len(counts) >= _FEWEST_COUNTS:
        for (i, j), rest in np.ndenumerate(table - rows[:, None]):
            cell = broad[scenes[i], counts[j]]
            found.append((abs(rest) / LEVEL_CHANGE_FAIL, rest, LEVEL_CHANGE_WARN, LEVEL_CHANGE_FAIL, cell, "filmed"))
    _, value, warn, fail, cell, which = max(found, key=lambda row: row[0])
    status, limit = judge(abs(value), warn, fail)
    text = (
        f"{cell.file}: {100 * value:+.2g} % light against the other scenes, as a wrong exposure of the {which} shot "
        f"gives (limit {100 * limit:g} %)"
    )
    cure = "" if status == "ok" else f"correct the exposure of this scene's {which} shot; lock exposure (no automatic)"
    return [Check("scene level", status, text, 100 * abs(value), 100 * limit, "%", cure)]


def _contrast(by_count: dict[int, dict[str, _Cell]], warn: float) -> Check:
    best = {count: max(row.values(), key=lambda cell: cell.signal_to_noise) for count, row in by_count.items()}
    count = min(best, key=lambda n: best[n].signal_to_noise)
    value = best[count].signal_to_noise
    status: Status = "warn" if value < warn else "ok"
    text = f"through {count} layers the best scene's rms signal is {value:.3g} times its noise (at least {warn:g})"
    cure = "average more frames, expose longer, or show coarser targets" if status == "warn" else ""
    return Check("contrast", status, text, value, warn, "", cure)


def _cells(gate: GateShots, reader: Reader) -> tuple[dict[tuple[str, int], _Cell], bool]:
    """Every filmed scene with its bare one; and whether any layer count lacks its screen-off shot."""
    width = gate.set.camera.width
    off = {count: reader.off(count) for count in {shot.layers for shot in gate.shots}}
    pictured = [shot for shot in gate.shots if shot.target not in NO_SCENE]
    cells: dict[tuple[str, int], _Cell] = {}
    bare: dict[str, np.ndarray] = {}
    for scene in dict.fromkeys(shot.scene for shot in pictured):
        shots = [shot for shot in pictured if shot.scene == scene and shot.layers == 0]
        if shots and (merged := reader.merge(shots)).saturated_share <= MAX_SATURATED_INPUT:
            bare[scene] = _without(merged.mean, off[0])
    brightest = max((float(x.mean()) for x in bare.values()), default=0.0)
    for scene, x in bare.items():
        if x.mean() < _BRIGHT * brightest:
            continue
        detail_x = x - gaussian_filter(x, _DETAIL * width, truncate=2.5)
        power = float((detail_x**2).sum())
        for count in sorted({shot.layers for shot in pictured if shot.scene == scene} - {0}):
            shots = [shot for shot in pictured if shot.scene == scene and shot.layers == count]
            merged = reader.merge(shots)
            if merged.saturated_share > MAX_SATURATED_INPUT:
                continue
            y = _without(merged.mean, off[count])
            noise = merged.variance.mean(axis=-1) / merged.mean.shape[-1]
            light = float(y.sum() / x.sum())
            detail = float((y * detail_x).sum() - (gaussian_filter(y, _DETAIL * width, truncate=2.5) * detail_x).sum())
            sd = float(np.sqrt((noise * detail_x**2).sum()))
            signal = max(float(y.var() - noise.mean()), 0.0)
            scale = power * max(light, 1e-9)
            snr = float(np.sqrt(signal / noise.mean()))
            cells[scene, count] = _Cell(shots[0].file, shots[0].target, light, detail / scale, sd / scale, snr)
    return cells, any(off[count] is None for count in off)


def _without(light: np.ndarray, off: np.ndarray | None) -> np.ndarray:
    return (light if off is None else light - off).mean(axis=-1)
