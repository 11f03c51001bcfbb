"""The renderer's check of itself: energy, closed forms, the fast sum against the plain one, and another set's truth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .films import FILMS
from .kernel import GAMMA_RAD, encircled_energy, smooth_kernel, transfer_function
from .render import CAMERA
from .scenes import all_scenes
from .sphere import Sphere
from .transport import FilmParameters, transport

# Standard errors of a count that a sound result stays within.
_SIGMAS = 5.0
# Accumulated rounding of some 1e7 additions.
_ROUNDING = 1e-9
# The small-angle laws leave out terms of second order in the angle (events of 0.6, faces of 0.5 degrees).
_SMALL_ANGLE = 0.01
# Of the peak; the sum over the sphere errs by a fortieth of an 8-bit step at most.
_SPHERE = 1e-4
# The smoothed kernel holds the energy of the counts.
_SMOOTHED = 2e-3
# Transmittance, relative, and encircled energy, absolute, against another renderer's tables; its counts are binned
# in steps of about 0.14 degrees, which flattens a core of 0.5 degrees.
_OTHER_T, _OTHER_EE = 0.003, 0.006
_PIXELS = 24


@dataclass(frozen=True)
class Finding:
    """One comparison: what, the error found, and the most that is sound."""

    what: str
    error: float
    limit: float

    @property
    def sound(self) -> bool:
        """Whether the error is within the limit (and a number)."""
        return self.error <= self.limit


def check(photons: int, seed: int, truth: Path | None = None) -> bool:
    """Run all comparisons, print a line for each, and tell whether all are sound."""
    passed = True
    for finding in _findings(photons, seed, truth):
        print(f"{'ok  ' if finding.sound else 'FAIL'} {finding.what}: {finding.error:.2g} (limit {finding.limit:.2g})")
        passed &= finding.sound
    return passed


def _findings(photons: int, seed: int, truth: Path | None) -> Iterator[Finding]:
    yield from _energy(photons, seed)
    yield from _pile_of_plates(photons, seed)
    yield _rough_face(photons, seed)
    yield _small_angle_bulk(photons, seed)
    yield from _sum_over_the_sphere(photons, seed)
    if truth is not None:
        yield from _other_truth(photons, seed, truth)


def _energy(photons: int, seed: int) -> Iterator[Finding]:
    for name, film in FILMS.items():
        light = transport(film, 4, photons // 4, seed)
        balance = light.transmittance + light.reflected + light.absorbed + light.lost
        yield Finding(f"{name}, 4 layers: passed + reflected + absorbed = 1", abs(balance - 1), _ROUNDING)
        yield Finding(f"{name}, 4 layers: light given up", light.lost, _ROUNDING)
        kept = float(encircled_energy(smooth_kernel(light), 0.0, [GAMMA_RAD[-1]])[0])
        within = np.interp(GAMMA_RAD[-1], light.edges_rad, np.concatenate([[0.0], np.cumsum(light.scattered)]))
        yield Finding(f"{name}, 4 layers: energy of the smoothed kernel", abs(kept / float(within) - 1), _SMOOTHED)
        share = light.ballistic
        noise = math.sqrt(share * (1 - share) / light.photons) + 1 / light.photons
        yield Finding(
            f"{name}, 4 layers: unscattered light, counted against summed",
            abs(light.ballistic_counted - share),
            _SIGMAS * noise,
        )


def _pile_of_plates(photons: int, seed: int) -> Iterator[Finding]:
    """Clear sheets: T = (1 - r) / (1 + (2 N - 1) r) at normal incidence (Stokes 1862)."""
    clear = FilmParameters(n=1.5)
    r = ((clear.n - 1) / (clear.n + 1)) ** 2
    for layers in (1, 4, 10):
        expected = (1 - r) / (1 + (2 * layers - 1) * r)
        light = transport(clear, layers, photons // 4, seed)
        error = abs(light.ballistic_counted - expected)
        yield Finding(f"{layers} clear sheets, counted", error, _SIGMAS * light.transmittance_sd)
        yield Finding(f"{layers} clear sheets, summed", abs(light.ballistic - expected), _ROUNDING)


def _rough_face(photons: int, seed: int) -> Finding:
    """A fine Beckmann face: a Gaussian of standard deviation (n - 1) alpha / sqrt(2) an axis."""
    film = FilmParameters(n=1.5, alpha=0.025)
    light = transport(film, 1, photons, seed)
    sd = (film.n - 1) * film.alpha / math.sqrt(2)
    passed = np.cumsum(light.scattered) / light.scattered.sum()
    gaussian = 1 - np.exp(-(light.edges_rad[1:] ** 2) / (2 * sd**2))
    return Finding(
        "fine rough face against the Gaussian law, encircled energy", _worst(passed - gaussian), _SMALL_ANGLE
    )


def _small_angle_bulk(photons: int, seed: int) -> Finding:
    """Narrow events without faces: exp(-tau (1 - exp(-2 pi s q))), s = (1 - g) / sqrt(g) (Wells 1969)."""
    film = FilmParameters(n=1.0, tau1=1.0, g1=0.99)
    light = transport(film, 1, photons, seed)
    q = np.geomspace(1, 100, 25)
    seen = transfer_function(smooth_kernel(light), light.ballistic, q)
    law = np.exp(-film.tau1 * (1 - np.exp(-2 * math.pi * (1 - film.g1) / math.sqrt(film.g1) * q)))
    return Finding(
        "narrow bulk events against the small-angle law, transfer function", _worst(seen - law), _SMALL_ANGLE
    )


def _sum_over_the_sphere(photons: int, seed: int) -> Iterator[Finding]:
    """The two-grid sum against the plain one, at the corners, the middle and random pixels."""
    sphere = Sphere(CAMERA.width, CAMERA.height, CAMERA.f_px)
    scenes = np.stack([scene.light for scene in all_scenes(CAMERA.width, CAMERA.height) if scene.bracket != (16,)])
    rng = np.random.default_rng(seed)
    pixels = np.stack([rng.integers(0, CAMERA.height, _PIXELS), rng.integers(0, CAMERA.width, _PIXELS)], axis=1)
    pixels[:3] = (0, 0), (CAMERA.height - 1, CAMERA.width - 1), (CAMERA.height // 2, CAMERA.width // 2)
    for name, layers in (("example", 1), ("bulk-haze", 4), ("rough-ggx", 10)):
        h = smooth_kernel(transport(FILMS[name], layers, photons, seed))
        fast = sphere.scattered(scenes, h)
        plain = sphere.scattered_at(scenes, h, pixels)
        error = np.abs(fast[:, pixels[:, 0], pixels[:, 1]] - plain).max(axis=1) / fast.max(axis=(1, 2))
        yield Finding(
            f"{name}, N = {layers}: sum on two grids against the plain sum, of the peak", _worst(error), _SPHERE
        )


def _other_truth(photons: int, seed: int, path: Path) -> Iterator[Finding]:
    """Transmittance, encircled energy and transfer function of another renderer's film at its layer counts."""
    with np.load(path) as stored:
        truth = dict(stored)
    n, tau1, g1, tau2, g2, tau_abs, p_flat, alpha, ggx = truth["mc_params_n_tau1_g1_tau2_g2_tauabs_pflat_alpha_ggx"]
    faces = int(truth.get("rough_faces", 1))
    film = FilmParameters(n, tau1, g1, tau2, g2, tau_abs, p_flat, alpha, bool(ggx), faces)
    counts = sorted(int(key.removeprefix("T_N")) for key in truth if key.startswith("T_N"))
    for count in counts:
        light = transport(film, count, photons, seed)
        h = smooth_kernel(light)
        total = float(light.scattered.sum()) + light.ballistic
        relative = abs(total / float(truth[f"T_N{count}"]) - 1)
        yield Finding(f"N = {count}: transmittance against {path.name}, relative", relative, _OTHER_T)
        energy = encircled_energy(h, light.ballistic, truth["theta_rad"])
        yield Finding(f"N = {count}: encircled energy", _worst(energy - truth[f"EE_N{count}"]), _OTHER_EE)
        seen = transfer_function(h, light.ballistic, truth["q_cyc_per_rad"])
        yield Finding(f"N = {count}: transfer function", _worst(seen - truth[f"A_N{count}"]), _OTHER_EE)


def _worst(errors: NDArray[np.float64]) -> float:
    return float(np.abs(errors).max())
