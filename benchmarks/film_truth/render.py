"""Photograph the scenes through simulated films: a calibration set of the example's form, and its truth.

irradiance = lens blur * (film(scene) + room veil)          codes = sensor(exposure x V x irradiance)
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lps_sim.calibration.shots import Shot, ShotGeometry, write_shots
from lps_sim.camera import Camera
from lps_sim.media import write_image
from lps_sim.seeding import named_rng

from .kernel import GAMMA_RAD, THETA_RAD, encircled_energy, haze, smooth_kernel, transfer_function
from .scenes import Scene, all_scenes
from .sphere import Sphere
from .transport import FilmParameters, ballistic_transmittance, transport

LENS_BLUR_PX = 0.55
# Room light that reaches the sensor at every layer count, in units of a white screen's radiance.
ROOM_VEIL = 0.0015
HEADROOM = 0.85
Q_CPR = np.geomspace(1.0, 228.5, 120)
# The camera that photographs: natural vignetting and a further quadratic one, unknown to shots.yaml.
CAMERA = Camera(640, 360, 457.0, full_well_e=9000, read_noise_e=3, prnu=0.004, cos_power=4, vignetting=(-0.23,))
LAYERS = (1, 2, 4, 8, 10)
PHOTONS = 40_000_000


@dataclass(frozen=True)
class Kernel:
    """One layer count's truth: kernel on GAMMA_RAD, unscattered share, transmittance and its standard error."""

    h: NDArray[np.float64]
    ballistic: float
    transmittance: float
    transmittance_sd: float

    @property
    def haze(self) -> float:
        """Share of the transmitted light beyond 2.5 degrees."""
        return haze(self.h, self.ballistic)


def kernels(
    film: FilmParameters, layers: Sequence[int], photons: int, seed: int, cache: Path | None = None
) -> dict[int, Kernel]:
    """Kernels of a film at several layer counts; read from and kept in ``cache`` (.npz) where that is given."""
    stamp = np.append(film.vector(), [film.rough_faces, photons, seed])
    known = {}
    if cache is not None and cache.is_file():
        with np.load(cache) as stored:
            if np.array_equal(stored["stamp"], stamp):
                known = dict(stored)
    found = {}
    for count in layers:
        if f"h_{count}" not in known:
            counted = transport(film, count, photons, seed)
            total = float(counted.scattered.sum()) + counted.ballistic
            known[f"h_{count}"] = smooth_kernel(counted)
            known[f"figures_{count}"] = np.array([counted.ballistic, total, counted.transmittance_sd])
        found[count] = Kernel(known[f"h_{count}"], *map(float, known[f"figures_{count}"]))
    if cache is not None:
        np.savez(cache, **{**known, "stamp": stamp})
    return found


def seen_through(
    scenes: NDArray[np.float64], film: FilmParameters, layers: int, kernel: Kernel, sphere: Sphere, oblique: str
) -> NDArray[np.float64]:
    """Irradiance behind film and lens, without vignetting: (S, H, W) radiance -> (S, H, W)."""
    if oblique == "full":
        unscattered = ballistic_transmittance(film, layers, sphere.cos)
    else:
        lengthened = 1 / np.sqrt(1 - (1 - sphere.cos**2) / film.n**2) - 1
        unscattered = kernel.ballistic * np.exp(-layers * (film.tau1 + film.tau2 + film.tau_abs) * lengthened)
    light = scenes * unscattered
    if kernel.h.any():
        light = light + sphere.scattered(scenes, kernel.h)
    return _lens(light)


def _lens(light: NDArray[np.float64]) -> NDArray[np.float64]:
    return gaussian_filter(light + ROOM_VEIL, (0, LENS_BLUR_PX, LENS_BLUR_PX), mode="nearest")


def make_set(
    film: FilmParameters,
    out_dir: str | os.PathLike[str],
    layers: Sequence[int] = LAYERS,
    seed: int = 0,
    camera: Camera = CAMERA,
    photons: int = PHOTONS,
    oblique: Literal["full", "extinction"] = "full",
    report: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write ``shots.yaml``, its pictures and ``truth.npz``.

    Parameters
    ----------
    film : one sheet
    out_dir : folder, made if missing; ``kernels.npz`` in it keeps the transported light for a second run
    layers : film layer counts; bare shots are always taken
    seed : of photons and noise
    camera : records the shots; its exposure is replaced by each shot's, its vignetting is left out of ``shots.yaml``
    photons : followed for each layer count
    oblique : how the unscattered light falls with the field angle: "full" (longer ways and Fresnel faces, exact) or
        "extinction" (longer ways only, the faces as at normal incidence, like the scattered light's kernel)
    report : called with a line of progress now and then

    Returns
    -------
    path of ``shots.yaml``
    """
    if oblique not in ("full", "extinction"):
        raise ValueError(f"oblique must be full or extinction, got {oblique!r}")
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    counts = sorted(set(layers))
    film_kernels = kernels(film, counts, photons, seed, folder / "kernels.npz")
    for count, kernel in film_kernels.items():
        share = kernel.ballistic / kernel.transmittance
        report(f"N = {count}: T {kernel.transmittance:.4f}, unscattered/T {share:.4f}, haze {kernel.haze:.3f}")
    scenes = all_scenes(camera.width, camera.height)
    light = np.stack([scene.light for scene in scenes])
    sphere = Sphere(camera.width, camera.height, camera.f_px)
    truth: dict[str, NDArray[np.generic]] = _figures(film, film_kernels)
    held = [index for index, scene in enumerate(scenes) if scene.role == "held"]
    truth["names_held"] = np.array([scenes[index].name for index in held])
    truth["scenes"] = light[held].astype(np.float16)
    shots: list[Shot] = []
    for count in [0, *counts]:
        seen = _lens(light) if count == 0 else seen_through(light, film, count, film_kernels[count], sphere, oblique)
        taken, exposures = _photograph(scenes, seen, count, camera, seed, folder)
        shots += taken
        signal = np.stack([camera.with_exposure(exposures[index]).signal(seen[index]) for index in held])
        truth[f"held_linear_N{count}"] = signal.astype(np.float16)
        report(f"N = {count}: photographed after {time.perf_counter() - started:.0f} s")
    np.savez_compressed(folder / "truth.npz", **truth)  # type: ignore[arg-type]
    plain = replace(camera, exposure=1.0, cos_power=0.0, vignetting=())
    write_shots(folder / "shots.yaml", plain, ShotGeometry(refractive_index=1.5), shots)
    return folder / "shots.yaml"


def _photograph(
    scenes: Sequence[Scene], seen: NDArray[np.float64], count: int, camera: Camera, seed: int, folder: Path
) -> tuple[list[Shot], list[float]]:
    """All pictures of one layer count, and each scene's first exposure.

    The first exposure brings the brightest pixel to HEADROOM; the black screen's is set by the flat's.
    """
    exposures = [float(HEADROOM / camera.with_exposure(1.0).signal(picture).max()) for picture in seen]
    flat = next(exposure for scene, exposure in zip(scenes, exposures, strict=True) if scene.target == "flat")
    shots = []
    for index, scene in enumerate(scenes):
        off = scene.target == "screen_off"
        if off:
            exposures[index] = flat
        for factor in scene.bracket:
            exposure = round(exposures[index] * factor, 6)
            file = f"N{count:02d}_{scene.name}_x{1 if off else factor:g}.png"
            codes = camera.with_exposure(exposure).sense(seen[index], named_rng(seed, "film truth", file))
            write_image(folder / file, codes)
            row = {"file": file, "target": scene.target, "scene": scene.name, "layers": count, "role": scene.role}
            shots.append(Shot(exposure=exposure, **row))  # type: ignore[arg-type]
    return shots, exposures


def _figures(film: FilmParameters, film_kernels: dict[int, Kernel]) -> dict[str, NDArray[np.generic]]:
    """What the fit is judged by, under the example's names."""
    figures: dict[str, NDArray[np.generic]] = {
        "q_cyc_per_rad": Q_CPR,
        "theta_rad": THETA_RAD,
        "gamma_rad": GAMMA_RAD,
        "mc_params_n_tau1_g1_tau2_g2_tauabs_pflat_alpha_ggx": film.vector(),
        "rough_faces": np.array(film.rough_faces),
    }
    for count, kernel in film_kernels.items():
        figures |= {
            f"A_N{count}": transfer_function(kernel.h, kernel.ballistic, Q_CPR),
            f"EE_N{count}": encircled_energy(kernel.h, kernel.ballistic),
            f"T_N{count}": np.array(kernel.transmittance),
            f"T_sd_N{count}": np.array(kernel.transmittance_sd),
            f"ballistic_N{count}": np.array(kernel.ballistic),
            f"h_N{count}": kernel.h,
        }
    return figures
