"""Predict every filmed shot of a set from the bare shot of its scene, and say how far off the prediction is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import atomic_path
from ..film import FilmModel
from ..operator import apply_film
from ..transfer import inverse_eotf
from .denoise import denoised
from .observations import Exclusion, Reader, observe
from .shots import Shot, ShotGeometry, ShotSet

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ShotPrediction:
    """One predicted shot: PSNR in code values against the filmed one, absolute and after one gain and offset.

    The filmed shot has noise, which bounds both.
    """

    file: str
    scene: str
    target: str
    layers: int
    role: str
    psnr_db: float
    psnr_fitted_db: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return asdict(self)


def film_in_place(film: FilmModel, geometry: ShotGeometry) -> FilmModel:
    """The film as it hung in a set: :meth:`FilmModel.at` the distances that the set's file states.

    A distance that the file leaves out says nothing, so the film's own stays. Focal length and size need nothing: the
    model lives in angles, and the operator takes the set's camera. The refractive index is the film's.
    """
    stated = geometry.model_fields_set
    return film.at(
        geometry.film_distance_m if "film_distance_m" in stated else None,
        geometry.target_distance_m if "target_distance_m" in stated else None,
    )


def predict_shots(
    film: FilmModel,
    shot_set: ShotSet,
    layers: Sequence[int] | None = None,
    out_dir: str | os.PathLike[str] | None = None,
    on_shot: Callable[[str], None] | None = None,
    denoise: bool = True,
) -> tuple[list[ShotPrediction], list[Exclusion]]:
    """Predict the filmed shots, of both roles.

    Vignetting comes from the bare flat, the veil from the screen-off shot of the layer count (from the film where
    there is none). The light outside the view is dark. A film calibrated at other distances is moved to the set's
    (:func:`film_in_place`). The noise of the bare shots is taken off first (:mod:`.denoise`): a film that passes a
    sharp image would pass it on.

    Parameters
    ----------
    film : the film
    shot_set : the calibration set
    layers : only these layer counts
    out_dir : if given, each prediction is written there as float32 ``<shot file stem>.npy``: linear light times the
        shot's exposure, (H, W) for a grey set, else (H, W, 3)
    on_shot : called with each file name
    denoise : False takes the bare shots as they are

    Returns
    -------
    one prediction a shot, in the order of the file; and what could not be predicted, with the reason

    Raises
    ------
    ValueError
        a layer count that the set does not have, or a film that would hang behind the set's scene
    """
    have = shot_set.layer_counts()
    if layers is not None and not set(layers) <= set(have):
        raise ValueError(f"layers must be among those filmed ({have}), got {sorted(set(layers) - set(have))}")
    seen, reader = observe(shot_set, None, None if layers is None else tuple(layers))
    clear = replace(film_in_place(film, shot_set.geometry), veil_table={})
    rows: dict[str, ShotPrediction] = {}
    exclusions, bare = list(seen.exclusions), {entry.scene: (entry.x, entry.x_variance) for entry in seen.scenes}
    inputs = {scene: denoised(*known) if denoise else known[0] for scene, known in bare.items()}
    for entry in seen.scenes:
        x = np.repeat(inputs[entry.scene], 3, axis=2) if reader.grey else inputs[entry.scene]
        filmed = apply_film(x, clear, entry.layers, shot_set.camera, border="dark")[..., : reader.channels]
        light = filmed * seen.vignetting[..., None] + _veil(
            film, entry.layers, shot_set, seen.off, seen.vignetting, seen.white
        )
        for shot in (s for s in shot_set.shots if s.file in entry.files):
            if reader.saturated(shot):
                exclusions.append(Exclusion(shot.file, "saturated everywhere: it agrees with any light"))
                continue
            if on_shot is not None:
                on_shot(shot.file)
            rows[shot.file] = _compare(light * shot.exposure, shot, reader)
            if out_dir is not None:
                _write(Path(out_dir) / f"{Path(shot.file).stem}.npy", light * shot.exposure, reader.grey)
    ordered = [rows[shot.file] for shot in shot_set.shots if shot.file in rows]
    return ordered, exclusions


def _veil(
    film: FilmModel, layers: int, shot_set: ShotSet, off: dict[int, Floats], vignetting: Floats, white: Floats
) -> Floats:
    """The screen-off light, or the film's own veil where no screen-off shot was taken."""
    if shot_set.select(target="screen_off", layers=layers):
        return off[layers]
    return film.veil(layers)[: white.size] * white * vignetting[..., None]


def _compare(signal: Floats, shot: Shot, reader: Reader) -> ShotPrediction:
    camera = reader.set.camera
    measured = reader.set.codes(shot)[..., : reader.channels]

    def psnr(predicted: Floats) -> float:
        codes = inverse_eotf(np.clip(predicted, 0.0, 1.0), camera.transfer) * camera.max_code
        error = float(((codes - measured) ** 2).mean())
        return float(10 * np.log10(camera.max_code**2 / error)) if error > 0 else float("inf")

    # One gain and offset in linear light, from the pixels that are not saturated.
    light = camera.decode(measured).astype(float)
    free = light < 0.95
    fitted = signal
    if free.sum() > 2 and np.ptp(signal[free]) > 0:
        gain, offset = np.polyfit(signal[free], light[free], 1)
        fitted = gain * signal + offset
    return ShotPrediction(shot.file, shot.scene, shot.target, shot.layers, shot.role, psnr(signal), psnr(fitted))


def _write(path: Path, signal: Floats, grey: bool) -> None:
    array = (signal[..., 0] if grey else signal).astype(np.float32)
    with atomic_path(path) as temporary:
        np.save(temporary, array)
