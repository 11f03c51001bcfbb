"""From a calibration set's files to what the fit and the prediction see: veil off, vignetting out, brackets merged.

    filmed = V [ T_N K_N (x - r) ] + off_N,     bare = V (x - r) + off_0

off_N is the screen-off shot at N layers: room light, whatever way it comes in, and the unlit display r seen through
the film. Taking each layer count's own off shot away leaves the bare picture as the input of the filmed one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter

from .merge import Merged, merge_bracket
from .shot_validation import NO_SCENE
from .shots import SATURATED_SHARE, Shot, ShotSet, is_grey

Floats = NDArray[np.float64]

# A screen-off shot is smooth: this blur (share of the width) takes its noise away.
_VEIL_BLUR = 0.02
_LIT_SHARE = 0.1
_RIM_PX = 4
_MIN_LIT = 100  # pixels, for a fit of four coefficients
# A bare picture with more saturated pixels than this cannot be the input of a fit: it would bias every parameter.
MAX_SATURATED_INPUT = 1e-4


@dataclass(frozen=True)
class Exclusion:
    """What was left out of a fit, and why."""

    what: str
    reason: str


@dataclass(frozen=True)
class FilmedScene:
    """One scene at one layer count: input x and output y in linear light, veil off and vignetting out.

    x, y, x_variance, y_variance : (H, W, C), C = 1 for grey sets and 3 for colour; y_variance is infinite where y is
        saturated
    """

    scene: str
    target: str
    layers: int
    x: Floats
    x_variance: Floats
    y: Floats
    y_variance: Floats
    files: tuple[str, ...]


@dataclass
class Observations:
    """Everything that a calibration set says, at the camera's full size.

    vignetting : (H, W), 1 on the axis
    white : (C,) level of the bare flat on the axis, the unit of the film's veil
    off : layers -> (H, W, C) smoothed screen-off shot, in linear light at exposure 1
    """

    grey: bool
    vignetting: Floats
    white: Floats
    off: dict[int, Floats]
    scenes: list[FilmedScene]
    exclusions: list[Exclusion] = field(default_factory=list)


class Reader:
    """Reads and merges the brackets of a set; every (scene, layers, role) once."""

    def __init__(self, shot_set: ShotSet) -> None:
        self.set = shot_set
        self.grey = all(is_grey(shot_set.codes(shot)) for shot in shot_set.shots[:4])
        self.channels = 1 if self.grey else 3
        self._merged: dict[tuple[str, ...], Merged] = {}

    def merge(self, shots: list[Shot]) -> Merged:
        """The bracket's linear irradiance, (H, W, C)."""
        key = tuple(shot.file for shot in shots)
        if key not in self._merged:
            codes = [self.set.codes(shot)[..., : self.channels] for shot in shots]
            self._merged[key] = merge_bracket(
                codes, [shot.exposure for shot in shots], self.set.camera, self.set.recorded
            )
        return self._merged[key]

    def saturated(self, shot: Shot) -> bool:
        """Whether no pixel of a shot is below saturation."""
        return bool(self.set.codes(shot).min() >= SATURATED_SHARE * self.set.camera.max_code)

    def off(self, layers: int, vignetting: Floats | None = None) -> Floats | None:
        """The screen-off shot at a layer count, smoothed, or None where there is none.

        With the lens' vignetting known it is taken out before smoothing, which would flatten it.
        """
        shots = self.set.select(target="screen_off", layers=layers)
        if not shots:
            return None
        blur = _VEIL_BLUR * self.set.camera.width
        v = np.ones((1, 1, 1)) if vignetting is None else vignetting[..., None]
        return v * gaussian_filter(self.merge(shots).mean / v, (blur, blur, 0), mode="nearest")

    def vignetting(self) -> tuple[Floats, Floats]:
        """(V, white level per channel) from the bare flat, or the camera's own V and 1 where there is none.

        ln V = p ln cos(theta) + a1 t^2 + a2 t^4 + a3 t^6, t = tan(theta), fitted where the flat is lit: the cos^4 law
        and what lenses add to it. A display that does not fill the view leaves a dark surround, which says nothing
        about V. A tenth of a per cent matters: it moves a wide halo by several times its noise.
        """
        camera = self.set.camera
        shots = self.set.select(target="flat", layers=0)
        if not shots:
            return camera.vignetting_map(), np.ones(self.channels)
        flat = self.merge(shots).mean
        dark = self.off(0)
        if dark is not None:
            flat = flat - dark
        level = flat.mean(axis=-1)
        # The rim of the lit part is blurred by the lens; the frame's own border is not a rim.
        lit = binary_erosion(level > _LIT_SHARE * level.max(), iterations=_RIM_PX, border_value=1)
        if lit.sum() < _MIN_LIT:
            return camera.vignetting_map(), np.ones(self.channels)
        cosine = camera.cos_theta_map()
        t2 = 1.0 / cosine**2 - 1.0
        terms = np.stack([np.ones_like(t2), np.log(cosine), t2, t2**2, t2**3], axis=-1)
        v = np.maximum(np.exp(terms[..., 1:] @ _log_fit(terms[lit], level[lit])[1:]), 1e-3)
        white = np.array([np.median(flat[lit, c] / v[lit]) for c in range(self.channels)])
        return v, white


def _log_fit(terms: Floats, level: Floats, rounds: int = 6) -> Floats:
    """(K,) coefficients of level = exp(terms @ coefficients) by Gauss-Newton; terms (P, K), level (P,) > 0 mostly."""
    found = np.linalg.lstsq(terms, np.log(np.maximum(level, 1e-3 * level.max())), rcond=None)[0]
    for _ in range(rounds):
        model = np.exp(terms @ found)
        found = found + np.linalg.lstsq(terms * model[:, None], level - model, rcond=None)[0]
    return found


def observe(
    shot_set: ShotSet, role: str | None = "fit", layers: tuple[int, ...] | None = None
) -> tuple[Observations, Reader]:
    """Merge, clean and pair every filmed scene of a set with its bare picture.

    Parameters
    ----------
    shot_set : the set
    role : "fit", "held" or None for both
    layers : only these layer counts, or all

    Returns
    -------
    the observations (scenes that cannot be used are among its exclusions), and the reader that made them
    """
    reader = Reader(shot_set)
    vignetting, white = reader.vignetting()
    v = vignetting[..., None]
    result = Observations(reader.grey, vignetting, white, {}, [])
    filmed = [s for s in shot_set.select(role=role, filmed=True) if s.target not in NO_SCENE]
    counts = [n for n in shot_set.layer_counts(filmed) if layers is None or n in layers]
    for count in [0, *counts]:
        off = reader.off(count, vignetting)
        result.off[count] = off if off is not None else np.zeros((*vignetting.shape, reader.channels))
        if off is None and count:
            result.exclusions.append(Exclusion(f"veil at {count} layers", "no screen_off shot; veil taken as 0"))

    inputs: dict[str, tuple[Floats, Floats] | None] = {}
    for scene in dict.fromkeys(shot.scene for shot in filmed):
        bare_shots = [s for s in shot_set.select(scene=scene, layers=0) if s.target not in NO_SCENE]
        inputs[scene] = None
        if not bare_shots:
            result.exclusions.append(Exclusion(f"scene {scene}", "no bare (layers 0) shot"))
            continue
        bare = reader.merge(bare_shots)
        if bare.saturated_share > MAX_SATURATED_INPUT:
            share = f"{100 * bare.saturated_share:.2g} % of the bare picture saturated at every exposure"
            result.exclusions.append(Exclusion(f"scene {scene}", share))
            continue
        inputs[scene] = ((bare.mean - result.off[0]) / v, bare.variance / v**2)

    for scene, known in inputs.items():
        if known is None:
            continue
        for count in counts:
            shots = [s for s in filmed if s.scene == scene and s.layers == count]
            if not shots:
                continue
            merged = reader.merge(shots)
            files = tuple(shot.file for shot in shots)
            if merged.saturated_share == 1:
                result.exclusions.append(Exclusion(", ".join(files), "saturated everywhere"))
                continue
            y = (merged.mean - result.off[count]) / v
            result.scenes.append(FilmedScene(scene, shots[0].target, count, *known, y, merged.variance / v**2, files))
    return result, reader


def decimate(values: Floats, factor: int) -> Floats:
    """Area mean over ``factor`` x ``factor`` pixels of (H, W, ...); H and W must be multiples of it."""
    if factor == 1:
        return values
    height, width = values.shape[:2]
    return values.reshape(height // factor, factor, width // factor, factor, *values.shape[2:]).mean(axis=(1, 3))
