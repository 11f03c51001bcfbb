"""Fit a film to a calibration set: all film shots at once, every pixel, one gain a layer count.

    residual = sqrt(w) (y - g_N K_N x),   w = 1 / (variance + (0.002 y)^2)

The operator K_N is the one that degrades. One gain a layer count is shared by its shots, none passes what the sheets'
faces let through, and there is no free offset: a free gain and offset a shot would be degenerate with the halo. Law
and family compete by BIC on identical pixels, the geometry by scenes left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..errors import UnknownNameError
from ..film import FAMILIES, LAYER_LAWS, FilmGeometry, FilmModel
from ..film_geometry import PROJECTIONS
from .basis import OperatorBasis
from .checks import Check
from .choice import (
    FamilyScore,
    GeometryScore,
    choose_geometry,
    compete,
    rivals_elsewhere,
    robust_weights,
    set_corrections,
)
from .columns import FilmedPixels, decimation, film_coefficients, filmed_pixels, square_roots
from .families import Family
from .fit_checks import check_fit
from .fitted_film import build_film, intervals
from .observations import Exclusion, Observations, decimate, observe
from .shots import ShotSet
from .solver import Search, Solution
from .transmittance import TransmittanceLaw
from .uncertainty import LeftOut, Uncertainty, uncertainty

Floats = NDArray[np.float64]

_BASIS = "sphere"  # where the search lives; other geometries are corrections to it


@dataclass(frozen=True)
class ShotResidual:
    """How well one scene at one layer count is described: rms of the weighted residuals (1 = noise alone).

    relative_rms : of the unweighted residual, against the filmed light; misfit : the same of the residual's means over
    tiles of the picture, where noise has averaged out
    """

    scene: str
    target: str
    layers: int
    channel: int
    files: tuple[str, ...]
    pixels: int
    rms: float
    relative_rms: float
    misfit: float


@dataclass(frozen=True)
class FitResult:
    """A fitted film and how it came about.

    film : the film, with covariance, systematic covariance, provenance and per-shot quality
    converged, iterations : of the chosen family's search, worst channel
    reduced_chi2 : of the chosen family over all channels; 1 is noise alone
    gains : layers -> (C,) fitted gain g_N, before the two-parameter transmittance law
    laws : (C,) transmittance law of every channel
    scores : every family and law that competed, best first (green or grey channel)
    geometries : every geometry that was cross-validated; empty where it was given
    jackknife : the fits with fewer shots (green or grey channel); dominant : what the error is mostly made of,
        "noise", "shot scale", "shot type" or "layer count"
    intervals : parameter -> (low, high) 95 % interval in natural units, noise and systematics together
    residuals, exclusions : one entry a shot used, one a shot left out
    outliers : share of the pixels that were given no weight
    checks : of the fit itself
    """

    film: FilmModel
    converged: bool
    iterations: int
    reduced_chi2: float
    gains: dict[int, list[float]]
    laws: tuple[TransmittanceLaw, ...]
    scores: tuple[FamilyScore, ...]
    geometries: tuple[GeometryScore, ...]
    jackknife: tuple[LeftOut, ...]
    dominant: str
    intervals: dict[str, tuple[float, float]]
    residuals: tuple[ShotResidual, ...]
    exclusions: tuple[Exclusion, ...]
    outliers: float
    checks: tuple[Check, ...]


# Many products of small matrices: a second BLAS thread costs ten times what it brings.
@threadpool_limits.wrap(limits=1, user_api="blas")
def fit_film(
    shot_set: ShotSet,
    layers: Sequence[int] | None = None,
    family: str = "auto",
    geometry: str = "auto",
    name: str = "fitted film",
    created: str = "",
    on_step: Callable[[str], None] | None = None,
    law: str = "auto",
    jackknife: bool = True,
) -> FitResult:
    """Fit a film to the shots of role ``fit``.

    Parameters
    ----------
    shot_set : the calibration set
    layers : use only the film shots of these layer counts
    family : one of lps_sim.film.FAMILIES, or "auto": the best of all by BIC
    geometry : one of lps_sim.film.PROJECTIONS, or "auto": the one that predicts left-out scenes best, where light
        passes unscattered with and without obliquity
    name, created : of the film, for its file
    on_step : called with one line at the start of every step
    law : one of lps_sim.film.LAYER_LAWS, or "auto": the better by BIC
    jackknife : leave shots out in turn for the systematic part of the error

    Raises
    ------
    ValueError
        no usable film shots (with the reasons), layers that the set does not have, unknown family, law or geometry
    """
    say = on_step or (lambda message: None)
    if geometry not in (*PROJECTIONS, "auto"):
        raise UnknownNameError("geometry", geometry, [*PROJECTIONS, "auto"])
    if law not in (*LAYER_LAWS, "auto"):
        raise UnknownNameError("law", law, [*LAYER_LAWS, "auto"])
    laws = ["radiative", "poisson"] if law == "auto" else [law]
    families = [Family.of(entry, kind) for entry in (FAMILIES if family == "auto" else [family]) for kind in laws]
    families = list(dict.fromkeys(families))
    have = shot_set.layer_counts(shot_set.select(role="fit"))
    if layers is not None and not set(layers) <= set(have):
        raise ValueError(f"layers must be among those filmed ({have}), got {sorted(set(layers) - set(have))}")
    say("reading and merging shots")
    seen, _ = observe(shot_set, "fit", None if layers is None else tuple(layers))
    if not seen.scenes:
        reasons = "; ".join(f"{e.what}: {e.reason}" for e in seen.exclusions) or "none has role fit and layers > 0"
        raise ValueError(f"no usable film shots: {reasons}")

    work = _Work(shot_set, seen, geometry, say)
    main = work.channel(0 if seen.grey else 1)
    solutions, outliers = compete(families, work.geometry, work.basis, main, say)
    leader = work.leader(solutions, main, geometry)
    best, geometries = work.with_geometry(leader, main, geometry)
    chosen: dict[int, tuple[Solution, Uncertainty]] = {}
    for channel in sorted(work.channels, key=lambda c: c != main[0].channel):
        pixels = work.channel(channel)
        if channel != main[0].channel:
            say(f"fitting {best.family.name}, channel {'RGB'[channel]}")
            pixels, solved, share = work.solve_channel(pixels, best)
            outliers = max(outliers, share)
        else:
            solved = best
        say("leaving shots out" if jackknife else "estimating the noise")
        chosen[channel] = (solved, work.error(solved, pixels, jackknife))
    residuals = [row for c in work.channels for row in _residuals(chosen[c][0], work.basis, work.channel(c))]
    results = [chosen[c] for c in work.channels]
    film, transmittances = build_film(results, seen, shot_set, residuals, name, created)
    fitted = [solution for solution, _ in results]
    result = FitResult(
        film=film,
        converged=all(solution.converged for solution in fitted),
        iterations=max(solution.iterations for solution in fitted),
        reduced_chi2=float(np.mean([solution.reduced_chi2 for solution in fitted])),
        gains={n: [float(np.exp(solution.log_gains[n])) for solution in fitted] for n in best.log_gains},
        laws=transmittances,
        scores=tuple(FamilyScore.of(solution) for solution in solutions),
        geometries=tuple(geometries),
        jackknife=chosen[main[0].channel][1].jackknife,
        dominant=chosen[main[0].channel][1].dominant,
        intervals=intervals(film),
        residuals=tuple(residuals),
        exclusions=tuple(seen.exclusions),
        outliers=outliers,
        checks=(),
    )
    return replace(result, checks=check_fit(result, best))


class _Work:
    """What all steps of one fit share: the basis, the pixels by channel, the scenes' inputs."""

    def __init__(self, shot_set: ShotSet, seen: Observations, geometry: str, say: Callable[[str], None]) -> None:
        factor = decimation(shot_set.camera.width, shot_set.camera.height)
        self.camera = shot_set.camera.resized(shot_set.camera.width // factor, shot_set.camera.height // factor)
        self.say = say
        # Pixel coordinates are far from the sphere: they get a basis of their own rather than a correction.
        projection = geometry if geometry in ("equal_area", "direction_cosines", "pixel") else _BASIS
        self.basis = OperatorBasis(self.camera, projection)
        self.geometry = FilmGeometry(
            projection=projection,
            refractive_index=shot_set.geometry.refractive_index,
            film_distance_m=shot_set.geometry.film_distance_m,
            target_distance_m=shot_set.geometry.target_distance_m,
        )
        say(f"planning the operator, {projection} geometry")
        self._pixels = filmed_pixels(seen, self.basis, self.geometry.refractive_index, factor)
        self.inputs = {entry.scene: decimate(entry.x, factor).mean(axis=-1) for entry in seen.scenes}
        self.channels = list(range(1 if seen.grey else 3))

    def channel(self, channel: int) -> list[FilmedPixels]:
        """The filmed scenes in one channel."""
        return [part for part in self._pixels if part.channel == channel]

    def leader(self, solutions: list[Solution], pixels: list[FilmedPixels], wanted: str) -> Solution:
        """The family to choose a geometry for: the best on the sphere or in the equal-area plane."""
        if wanted != "auto" or len(solutions) == 1:
            return solutions[0]
        self.say("families in the equal-area plane")
        flat = replace(self.geometry, projection="equal_area")
        rival = rivals_elsewhere(solutions, flat, self.basis, self.camera, pixels, self.inputs)[0]
        if rival.bic >= solutions[0].bic:
            return solutions[0]
        return next(s for s in solutions if s.family == rival.family)

    def with_geometry(
        self, solution: Solution, pixels: list[FilmedPixels], wanted: str
    ) -> tuple[Solution, list[GeometryScore]]:
        """The solution in the geometry that was asked for, or that cross-validation prefers."""
        base = self.geometry
        if wanted not in ("auto", "two_stage"):
            return solution, []
        rough = "sigma" in solution.family.names
        names = ["two_stage"] if wanted == "two_stage" else [_BASIS, "equal_area", "direction_cosines"]
        if wanted == "auto" and rough:
            names.append("two_stage")
        candidates = [replace(base, projection=name) for name in names]
        # Obliquity matters where light passes the bulk unscattered, to the pixels or to the next stage.
        slanted = [
            c for c in candidates if "tau1" in solution.family.names and not (rough and c.projection != "two_stage")
        ]
        candidates += [replace(candidate, oblique_ballistic=True) for candidate in slanted]
        best, scores = choose_geometry(solution, candidates, self.basis, self.camera, pixels, self.inputs, self.say)
        if best.geometry.projection != self.basis.projection:
            # The correction was that of a film fitted on the sphere: once more with the film that it gave.
            set_corrections(best.film(), best.geometry, self.basis, self.camera, pixels, self.inputs)
            best = Search(best.family, best.geometry, self.basis, square_roots(pixels)).solve(best.logs)
        return best, scores

    def solve_channel(self, pixels: list[FilmedPixels], best: Solution) -> tuple[list[FilmedPixels], Solution, float]:
        """Another channel with the main one's family, law and geometry."""
        set_corrections(best.film(), best.geometry, self.basis, self.camera, pixels, self.inputs)
        first = Search(best.family, best.geometry, self.basis, square_roots(pixels)).solve(best.logs)
        share = robust_weights(first, self.basis, pixels)
        return pixels, Search(best.family, best.geometry, self.basis, square_roots(pixels)).solve(first.logs), share

    def error(self, solution: Solution, pixels: list[FilmedPixels], jackknife: bool) -> Uncertainty:
        """Noise and systematic error of a solution."""
        search = Search(solution.family, solution.geometry, self.basis, square_roots(pixels))
        return uncertainty(search, solution, pixels, jackknife)


def _residuals(solution: Solution, basis: OperatorBasis, pixels: Sequence[FilmedPixels]) -> list[ShotResidual]:
    film = solution.film()
    rows = []
    for part in pixels:
        n, source = part.source.layers, part.source
        light = np.exp(solution.log_gains[n]) * part.light(film_coefficients(basis, film, n))
        used = part.root_weight > 0
        difference = (light - part.y)[used]
        scale = float(np.sqrt((part.y[used] ** 2).mean())) or 1.0
        rms = float(np.sqrt(((part.root_weight[used] * difference) ** 2).mean()))
        relative = float(np.sqrt((difference**2).mean())) / scale
        tiles = part.tiles[used]
        count = np.maximum(np.bincount(tiles), 1)
        misfit = float(np.sqrt(((np.bincount(tiles, difference) / count) ** 2).mean())) / scale
        values = source.scene, source.target, n, part.channel, source.files
        rows.append(ShotResidual(*values, int(used.sum()), rms, relative, misfit))
    return rows
