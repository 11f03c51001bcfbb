"""The gate before the fit: is a calibration set sound? Every figure is measured from the shots themselves.

A film fitted to a wrong response, a moved camera or swapped labels looks as well fitted as any other: the check has to
come first. Limits follow from noise and physics, see each check; a figure whose own precision does not suffice does not
fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from ..camera import Camera
from .checks import Check, Status, judge
from .gate_labels import label_checks
from .gate_registration import Registration, Shift, combine
from .gate_response import response_checks
from .gate_shots import GateShots
from .observations import MAX_SATURATED_INPUT, Reader
from .shot_validation import NO_SCENE
from .shots import Shot, ShotSet

Floats = NDArray[np.float64]

# Black above this share of full scale competes with the halo, which is of that order.
BLACK_WARN, BLACK_FAIL = 0.005, 0.02
COVERAGE_WARN, COVERAGE_FAIL = 0.8, 0.5
HALO_WARN = 0.02
SHIFT_WARN_PX, SHIFT_FAIL_PX = 0.3, 1.0
SHARP_PX = 0.1
DEFECTS_WARN, DEFECTS_FAIL = 1e-4, 5e-3
NOISE_WARN = 1.5
CONTRAST_WARN = 3.0
_LIT = 0.1
_RIM_PX = 4
_LOW_LAYERS = 3  # registration is known best through the fewest layers
_SCENES = 4
_SAME_PLACE = 0.6
_FEWEST_WITNESSES = 3
# Clipped at black, read noise averages to 0.4 standard deviations.
_CLIPPED_MEAN = 0.4


def inspect_shots(
    shot_set: ShotSet,
    layers: Sequence[int] | None = None,
    roles: Sequence[str] = ("fit",),
    reader: Reader | None = None,
) -> list[Check]:
    """Every check of a calibration set, one figure each (the worst case, with its shot).

    Parameters
    ----------
    shot_set : the set
    layers : look at film shots of these layer counts only, or at all
    roles : of the shots that are looked at
    reader : a reader of the same set, whose merged brackets are used and kept

    Returns
    -------
    the checks; :func:`lps_sim.calibration.checks.failed` picks out those that forbid a fit

    Raises
    ------
    ValueError
        a layer count that the set does not have; no shot of these roles; a picture that cannot be read
    """
    counts = shot_set.layer_counts()
    if layers is not None and not set(layers) <= set(counts):
        raise ValueError(f"layers must be among those filmed ({counts}), got {sorted(set(layers) - set(counts))}")
    wanted = {0, *(counts if layers is None else layers)}
    shots = [shot for shot in shot_set.shots if shot.role in roles and shot.layers in wanted]
    if not shots:
        raise ValueError(f"roles must be among those of the shots, got {tuple(roles)}")
    reader = reader or Reader(shot_set)
    gate = GateShots(shot_set, reader.channels, shots)
    return [
        _files(gate),
        _black(gate),
        *_clipping(gate, reader),
        *response_checks(gate),
        _coverage(gate, reader),
        *_halo(gate, reader),
        *_registration(gate, reader),
        _defects(gate),
        _noise(gate),
        *label_checks(gate, reader, CONTRAST_WARN),
    ]


def _files(gate: GateShots) -> Check:
    lossy = [shot.file for shot in gate.shots if Path(shot.file).suffix.lower() in (".jpg", ".jpeg")]
    if lossy:
        text = f"{len(lossy)} shots are JPEG, 8 bits and lossy, {lossy[0]} among them"
        return Check("file format", "warn", text, float(len(lossy)), 0.0, "", "store RAW, or 16-bit TIFF or PNG")
    left_out = [shot.file for shot in gate.shots if shot.file in gate.set.unusable]
    out = f"; left out, saturated at every pixel: {', '.join(left_out)}" if left_out else ""
    return Check("file format", "ok", f"{len(gate.shots)} shots without loss{out}", 0.0, 0.0)


def _black(gate: GateShots) -> Check:
    """Light where there is none: the dark shot, else the darkest part of a bare shot beyond what the room explains."""
    camera = gate.set.camera
    dark = [shot for shot in gate.shots if shot.target == "dark"]
    if dark:
        levels = [float(gate.figures(shot).blocks.mean()) for shot in dark]
        shot, level = max(zip(dark, levels), key=lambda pair: pair[1])
        where = "with the cap on"
    else:
        off = next((s for s in gate.shots if s.target == "screen_off" and s.layers == 0), None)
        bare = [s for s in gate.shots if s.layers == 0 and s.target not in NO_SCENE and s.file not in gate.set.unusable]
        if not bare:
            return Check("black level", "warn", "no dark shot", cure="add a shot with the cap on, target: dark")
        shot = min(bare, key=lambda s: s.exposure)
        blocks = gate.figures(shot).blocks
        if off is not None:
            blocks = blocks - gate.figures(off).blocks * shot.exposure / off.exposure
        level = float(np.quantile(blocks, 0.01))
        where = "in the darkest hundredth, room light off"
    single = gate.set.recorded or camera
    noise = _CLIPPED_MEAN * single.read_noise_e / single.full_well_e + 0.5 * _step(single)
    level = max(level - noise, 0.0)
    # A display that fills the view has no dark part: without a dark shot a bright "black" proves nothing.
    status, limit = judge(level, BLACK_WARN, BLACK_FAIL if dark else np.inf)
    text = f"{shot.file}: {100 * level:.2g} % of full scale {where}, beyond read noise (limit {100 * limit:g} %)"
    cure = "" if status == "ok" else "subtract the camera's black level (RAW), or close the light leak; add a dark shot"
    return Check("black level", status, text, 100 * level, 100 * limit, "%", cure)


def _step(camera: Camera) -> float:
    return float(camera.decode(np.array([1], np.uint16))[0])


def _clipping(gate: GateShots, reader: Reader) -> list[Check]:
    """Share of pixels that no exposure holds: the bare input biases every parameter; filmed ones are only lost."""
    checks = []
    for name, filmed, warn, fail in (
        ("clipping bare", False, MAX_SATURATED_INPUT, MAX_SATURATED_INPUT),
        ("clipping filmed", True, 0.05, np.inf),
    ):
        worst, file = 0.0, ""
        for group in _groups(gate, filmed):
            share = reader.merge(group).saturated_share
            if share >= worst:
                worst, file = share, min(group, key=lambda s: s.exposure).file
        if not file:
            continue
        status, limit = judge(worst, warn, fail)
        text = f"{file}: {100 * worst:.2g} % of its bracket saturated at every exposure (limit {100 * limit:g} %)"
        cure = "" if status == "ok" else "add a shorter exposure of this scene, brightest pixels at 85 % of full scale"
        checks.append(Check(name, status, text, 100 * worst, 100 * limit, "%", cure))
    return checks


def _groups(gate: GateShots, filmed: bool) -> list[list[Shot]]:
    """Brackets with a scene, bare or filmed."""
    groups: dict[tuple[str, int], list[Shot]] = {}
    for shot in gate.shots:
        if shot.target not in NO_SCENE and (shot.layers > 0) == filmed:
            groups.setdefault((shot.scene, shot.layers), []).append(shot)
    return list(groups.values())


def _flat(gate: GateShots, reader: Reader, layers: int) -> Floats | None:
    """Merged flat at a layer count with its screen-off light off, mean over the channels."""
    shots = [s for s in gate.shots if s.target == "flat" and s.layers == layers]
    if not shots:
        return None
    flat, off = reader.merge(shots).mean, reader.off(layers)
    return (flat if off is None else flat - off).mean(axis=-1)


def _coverage(gate: GateShots, reader: Reader) -> Check:
    flat = _flat(gate, reader, 0)
    name = "screen coverage"
    if flat is None:
        text = "no bare flat: neither coverage nor vignetting can be measured"
        return Check(name, "warn", text, cure="add a shot of an all-white screen, target: flat, layers: 0")
    share = float((flat > _LIT * np.quantile(flat, 0.99)).mean())
    status: Status = "fail" if share < COVERAGE_FAIL else "warn" if share < COVERAGE_WARN else "ok"
    limit = COVERAGE_FAIL if status == "fail" else COVERAGE_WARN
    text = f"the lit screen fills {100 * share:.0f} % of the view (at least {100 * limit:g} %)"
    cure = "" if status == "ok" else "move the camera closer; what the screen does not reach says nothing"
    return Check(name, status, text, 100 * share, 100 * limit, "%", cure)


def _halo(gate: GateShots, reader: Reader) -> list[Check]:
    """Light scattered beyond the screen, as far as it is seen; what leaves the view cannot be."""
    bare = _flat(gate, reader, 0)
    if bare is None:
        return []
    lit = bare > _LIT * np.quantile(bare, 0.99)
    outside = binary_erosion(~lit, iterations=_RIM_PX, border_value=1)
    border = np.ones_like(lit)
    border[_RIM_PX:-_RIM_PX, _RIM_PX:-_RIM_PX] = False
    rows = []
    for count in sorted({s.layers for s in gate.shots} - {0}):
        flat = _flat(gate, reader, count)
        if flat is not None:
            rows.append((count, float(flat[outside].sum() / flat.sum()), float(flat[border].mean() / flat[lit].mean())))
    if not rows:
        return []
    count, share, level = max(rows, key=lambda row: row[2])
    status, limit = judge(level, HALO_WARN, np.inf)
    text = (
        f"through {count} layers the frame's border is lit to {100 * level:.2g} % of the screen's mean "
        f"(limit {100 * limit:g} %), {100 * share:.2g} % of the light lies outside the screen; "
        "what leaves the view is unseen"
    )
    cure = "" if status == "ok" else "trust the wide halo only within the view; leave a dark margin around the screen"
    return [Check("halo at the border", status, text, 100 * level, 100 * limit, "%", cure)]


def _registration(gate: GateShots, reader: Reader) -> list[Check]:
    counts = sorted({s.layers for s in gate.shots} - {0})[:_LOW_LAYERS]
    bare = [group for group in _groups(gate, False) if group[0].target not in ("flat", "fringe")]
    # An edge is blind along itself, and its one transition leans with the blur: the last resort.
    bare = [group for group in bare if group[0].target != "edge"] or bare
    rank = {"noise": 0, "photo": 1, "text": 1, "siemens": 1, "hole": 2, "disc": 3}
    bare = sorted(bare, key=lambda group: rank.get(group[0].target, 5))[:_SCENES]
    shifts: dict[int, list[tuple[str, Shift]]] = {count: [] for count in counts}
    for group in bare:
        x = reader.merge(group)
        if x.saturated_share > MAX_SATURATED_INPUT:
            continue
        register = Registration(x.mean.mean(axis=-1), gate.set.camera.f_px)
        for count in counts:
            filmed = [s for s in gate.shots if s.scene == group[0].scene and s.layers == count]
            if not filmed or (y := reader.merge(filmed)).saturated_share > MAX_SATURATED_INPUT:
                continue
            shifts[count].append((filmed[0].file, register.shift_of(y.mean.mean(axis=-1))))
    found = {count: rows for count, rows in shifts.items() if rows}
    name = "registration drift"
    if not found:
        return [Check(name, "warn", "no scene to register by", cure="add noise or hole targets, bare and filmed")]
    # One scene's estimate can go astray; a camera that moved shows in all scenes of a layer count.
    together = {count: combine([shift for _, shift in rows]) for count, rows in found.items()}
    count = max(together, key=lambda n: (together[n].certain_px(), -together[n].precision_px()))
    value = together[count].certain_px()
    status, limit = judge(value, SHIFT_WARN_PX, SHIFT_FAIL_PX)
    y, x_shift = together[count].shift_px
    text = (
        f"through {count} layers the picture lies {y:+.2f} px down, {x_shift:+.2f} px right of the bare one, known to "
        f"{together[count].precision_px():.2f} px; {value:.2f} px are certain (limit {limit:g} px); "
        f"{found[count][0][0]}"
    )
    cure = "" if status == "ok" else "fix camera and screen, and shoot the bare and the filmed shots again"
    checks = [Check(name, status, text, value, limit, "px", cure)]
    # One scene alone says something only where it is known to a tenth of a pixel: its model's own error stays out then.
    sharp = [row for rows in found.values() for row in rows if row[1].precision_px() < SHARP_PX]
    if not sharp:
        return checks
    file, one = max(sharp, key=lambda row: row[1].certain_px())
    value = one.certain_px()
    status, limit = judge(value, SHIFT_WARN_PX, np.inf)
    text = f"{file}: {value:.2f} px beside its bare shot beyond the estimate's precision (limit {limit:g} px)"
    cure = "" if status == "ok" else "look whether this scene alone has moved; shoot it again if so"
    return [*checks, Check("scene drift", status, text, value, limit, "px", cure)]


def _defects(gate: GateShots) -> Check:
    """Pixels that stand out of all their neighbours in most shots of different scenes: hot or dead."""
    shape = gate.figures(gate.shots[0]).isolated.shape
    defect = np.zeros(shape, bool)
    for dim in (True, False):
        seen, judged = np.zeros((2, *shape), int), np.zeros(shape, int)
        for shot in gate.shots:
            if (shot.target in ("dark", "screen_off")) == dim:
                figures = gate.figures(shot)
                judged += figures.judged
                seen[0] += (figures.isolated > 0) & figures.judged
                seen[1] += (figures.isolated < 0) & figures.judged
        witnesses = min(_FEWEST_WITNESSES, max(int(judged.max()), 1))
        defect |= (seen.max(axis=0) >= np.maximum(_SAME_PLACE * judged, witnesses)) & (judged > 0)
    share = float(defect.mean())
    status, limit = judge(share, DEFECTS_WARN, DEFECTS_FAIL)
    text = f"{int(defect.sum())} pixels, {100 * share:.2g} %, stand out in most shots (limit {100 * limit:g} %)"
    cure = "" if status == "ok" else "hot or dead pixels: map them out in the camera, or use another one"
    return Check("hot or dead pixels", status, text, 100 * share, 100 * limit, "%", cure)


def _noise(gate: GateShots) -> Check:
    """Pixel noise against the camera model, from shots without structure of their own."""
    smooth = [s for s in gate.shots if s.target in ("flat", "screen_off")]
    ratios = [(s.file, gate.figures(s).noise) for s in smooth if np.isfinite(gate.figures(s).noise)]
    if not ratios:
        return Check("noise level", "warn", "no smooth, lit shot to read the noise from", cure="add flat shots")
    file, worst = max(ratios, key=lambda row: abs(np.log(max(row[1], 1e-3))))
    away = float(np.exp(abs(np.log(max(worst, 1e-3)))))
    status, limit = judge(away, NOISE_WARN, np.inf)
    text = f"{file}: pixel noise is {worst:.2f} times that of the camera model (limit {limit:g} or 1/{limit:g})"
    cure = "" if status == "ok" else "correct full_well_e and read_noise_e; turn off denoising and sharpening"
    return Check("noise level", status, text, worst, limit, "", cure)
