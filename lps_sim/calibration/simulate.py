"""A calibration set with known truth: scenes seen bare and through film, as the camera would record them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter

from .. import __version__
from ..camera import Camera
from ..film import FilmModel, check_layers
from ..media import write_image
from ..operator import apply_film
from ..seeding import named_rng
from .shots import Shot, ShotGeometry, write_shots

# The brightest pixels of the shortest exposure stand at this share of full scale.
_HEADROOM = 0.85
_MAX_EXPOSURE = 64.0


@dataclass(frozen=True)
class Scene:
    """What the display shows.

    Parameters
    ----------
    name : of the scene
    target : kind of target, one of ``lps_sim.calibration.shots.TARGETS``
    light : (H, W) or (H, W, 3) linear light, 1 = white
    role : "fit" or "held"
    bracket : exposures relative to the one that just holds the brightest pixels
    """

    name: str
    target: str
    light: ArrayLike
    role: str = "fit"
    bracket: tuple[float, ...] = (1.0, 8.0)


def simulate_shots(
    film: FilmModel,
    scenes: Sequence[Scene],
    camera: Camera,
    out_dir: str | os.PathLike[str],
    layers: Sequence[int] = (1, 4, 8),
    seed: int = 0,
    on_shot: Callable[[int, int], None] | None = None,
    lens_blur_px: float = 0.0,
) -> Path:
    """Photograph every scene bare and through film, with the camera's noise, and write ``shots.yaml`` beside.

    A dark shot (cap on) and a screen-off shot at every layer count are added. Outside the frame all is dark, as in a
    dark room. Every shot's noise is drawn from its file name, so that more shots do not change the others.

    Parameters
    ----------
    film : the truth
    scenes : what the display shows
    camera : records the shots; its own exposure is replaced by each shot's
    out_dir : folder, made if missing
    layers : film layer counts, 1..64 each; bare shots are always taken
    seed : of the noise
    on_shot : called with (shots done, shots in all)
    lens_blur_px : standard deviation of a Gaussian lens blur between film and sensor, px, >= 0

    Returns
    -------
    path of ``shots.yaml``, which is written last and says under ``provenance:`` that the set is simulated, and how

    Raises
    ------
    ValueError
        no scenes, two of one name, a scene of another size than the camera, layers or lens blur out of range
    """
    if not 0 <= lens_blur_px < min(camera.width, camera.height):
        raise ValueError(f"lens_blur_px must be >= 0 and below the frame's sides, got {lens_blur_px:g}")
    counts = sorted({check_layers(count) for count in layers})
    names = [scene.name for scene in scenes]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"scenes must have different names and be at least one, got {names}")
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    dark = np.zeros((camera.height, camera.width, 3))
    total = 1 + (1 + len(counts)) * (1 + sum(len(scene.bracket) for scene in scenes))
    written: list[Shot] = []

    def shoot(name: str, target: str, role: str, count: int, light: np.ndarray, exposure: float, label: str) -> None:
        file = f"N{count:02d}_{name}_x{label}.png"
        codes = camera.with_exposure(exposure).sense(light, named_rng(seed, "shot", file))
        write_image(folder / file, codes)
        written.append(
            Shot(file=file, target=target, scene=name, layers=count, exposure=exposure, role=role)  # type: ignore[arg-type]
        )
        if on_shot is not None:
            on_shot(len(written), total)

    shoot("dark", "dark", "fit", 0, dark, 1.0, "1")
    for count in [0, *counts]:
        off = apply_film(dark, film, count, camera, border="dark")
        shoot("off", "screen_off", "fit", count, off, _exposure(off, camera), "1")
        for scene in scenes:
            light = np.asarray(scene.light, dtype=float)
            light = np.repeat(light[..., None], 3, axis=2) if light.ndim == 2 else light
            seen = apply_film(light, film, count, camera, border="dark")
            if lens_blur_px:
                seen = gaussian_filter(seen, (lens_blur_px, lens_blur_px, 0), mode="nearest")
            base = _exposure(seen, camera)
            for factor in scene.bracket:
                shoot(scene.name, scene.target, scene.role, count, seen, base * factor, f"{factor:g}")
    geometry = ShotGeometry(
        film_distance_m=film.geometry.film_distance_m,
        target_distance_m=film.geometry.target_distance_m,
        refractive_index=film.geometry.refractive_index,
    )
    provenance = {
        "kind": "simulated",
        "text": f"Simulated, not photographed: targets through the film model {film.name}.",
        "film": film.name,
        "checksum": film.checksum(),
        "seed": seed,
        "lens_blur_px": float(lens_blur_px),
        "package_version": __version__,
    }
    write_shots(folder / "shots.yaml", camera.with_exposure(1.0), geometry, written, provenance)
    return folder / "shots.yaml"


def _exposure(light: np.ndarray, camera: Camera) -> float:
    """The exposure that brings the brightest thousandth to the headroom, rounded to six digits as in shots.yaml."""
    peak = float(np.quantile(camera.with_exposure(1.0).signal(light), 0.999))
    return float(f"{min(_HEADROOM / peak, _MAX_EXPOSURE) if peak > 0 else _MAX_EXPOSURE:.6g}")
