"""Which film describes the shots: law and family by BIC on identical data, geometry by shots that were left out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..camera import Camera
from ..film import FilmGeometry, FilmModel
from .basis import OperatorBasis, SceneSpectra
from .columns import FilmedPixels, SquareRoot, film_coefficients, square_roots
from .families import Family
from .solver import Search, Solution

Floats = NDArray[np.float64]

# Residuals beyond this many standard deviations count ever less (soft l1), and not at all far out: single pixels that
# are hot or dead, dust, a reflection on the screen.
_SOFT_SD = 3.0
_OUTLIER_SD = 12.0
_FEW_STEPS = 6  # from the full solution to one without a scene


@dataclass(frozen=True)
class FamilyScore:
    """One family's best fit under one law: Bayesian information criterion (lower is better), chi^2 per degree."""

    family: str
    law: str
    bic: float
    reduced_chi2: float
    parameters: dict[str, float]
    converged: bool
    iterations: int

    @classmethod
    def of(cls, solution: Solution) -> FamilyScore:
        """The score of a solution."""
        family = solution.family
        return cls(
            family.name,
            family.law,
            solution.bic,
            solution.reduced_chi2,
            family.decode(solution.logs),
            solution.converged,
            solution.iterations,
        )


@dataclass(frozen=True)
class GeometryScore:
    """One geometry's cross-validation: chi^2 a pixel of scenes left out of the fit, and how sure the difference is.

    score : mean over the scenes; above_best : score minus the best; above_best_sd : standard error over the scenes
    """

    projection: str
    oblique_ballistic: bool
    score: float
    above_best: float
    above_best_sd: float


def compete(
    families: Sequence[Family],
    geometry: FilmGeometry,
    basis: OperatorBasis,
    pixels: Sequence[FilmedPixels],
    say: Callable[[str], None],
) -> tuple[list[Solution], float]:
    """Every family's best fit on the same pixels and weights, best first, and the share of outliers.

    The weights come in two rounds: those of the noise, then those that the best first fit makes robust.
    """
    rows = square_roots(pixels)
    first = []
    for family in families:
        say(f"fitting {family.name}, {family.law} law")
        first.append(best_of(family, geometry, basis, rows))
    first.sort(key=lambda solution: solution.bic)
    share = robust_weights(first[0], basis, pixels)
    rows = square_roots(pixels)
    say("fitting again without outliers")
    # A family that lost by orders of magnitude is not worth a second search; its score stays comparable through
    # the best one's weights.
    second = [Search(s.family, geometry, basis, rows).solve(s.logs) for s in first]
    return sorted(second, key=lambda solution: solution.bic), share


def best_of(family: Family, geometry: FilmGeometry, basis: OperatorBasis, rows: Sequence[SquareRoot]) -> Solution:
    """The best of the family's starting points."""
    search = Search(family, geometry, basis, rows)
    return min((search.solve(start) for start in family.starts), key=lambda solution: solution.chi2)


def robust_weights(solution: Solution, basis: OperatorBasis, pixels: Sequence[FilmedPixels]) -> float:
    """Reduce the weights of what the solution cannot describe; the share of pixels that lost all."""
    film = solution.film()
    known = lost = 0
    for part in pixels:
        n = part.source.layers
        light = np.exp(solution.log_gains[n]) * part.light(film_coefficients(basis, film, n))
        # The bare picture's own noise comes through where light does: it was not known before the film was.
        sharp = (np.exp(solution.log_gains[n]) * float(film.ballistic_fraction(n)[0])) ** 2 * part.x_variance
        part.root_weight = part.root_weight / np.sqrt(1 + sharp * part.root_weight**2)
        residual = part.root_weight * (light - part.y)
        # What a whole shot misses is no outlier: the shot's own spread is the yardstick.
        used = part.root_weight > 0
        spread = max(1.0, 1.4826 * float(np.median(np.abs(residual[used]))) if used.any() else 1.0)
        size = np.abs(residual) / spread
        out = size > _OUTLIER_SD
        known, lost = known + int(used.sum()), lost + int((out & used).sum())
        part.root_weight = np.where(out, 0.0, part.root_weight * (1 + (size / _SOFT_SD) ** 2) ** -0.25)
    return lost / max(known, 1)


def choose_geometry(
    solution: Solution,
    candidates: Sequence[FilmGeometry],
    basis: OperatorBasis,
    camera: Camera,
    pixels: Sequence[FilmedPixels],
    inputs: dict[str, Floats],
    say: Callable[[str], None],
) -> tuple[Solution, list[GeometryScore]]:
    """The geometry that predicts left-out scenes best, and every candidate's score.

    Parameters
    ----------
    solution : the best fit in the basis' own geometry
    candidates : geometries, that of the solution among them
    basis, camera : of the decimated shots
    pixels : their corrections are set to those of the chosen geometry
    inputs : scene -> (H, W) bare picture
    say : called with one line a candidate
    """
    tried = []
    for geometry in candidates:
        say(f"cross-validating {describe(geometry)}")
        set_corrections(solution.film(), geometry, basis, camera, pixels, inputs)
        rows = square_roots(pixels)
        search = Search(solution.family, geometry, basis, rows)
        full = search.solve(solution.logs)
        tried.append((full, _left_out_scores(search, full), [part.correction for part in pixels]))
    best = min(range(len(tried)), key=lambda k: float(np.mean(tried[k][1])))
    # A geometry that the scenes cannot tell from the first one is not preferred to it.
    gain, sd = _difference(tried[0][1], tried[best][1])
    if best and gain < sd:
        best = 0
    scores = []
    for geometry, (_, parts, _) in zip(candidates, tried):
        above, error = _difference(parts, tried[best][1])
        scores.append(
            GeometryScore(geometry.projection, geometry.oblique_ballistic, float(np.mean(parts)), above, error)
        )
    for part, correction in zip(pixels, tried[best][2]):
        part.correction = correction
    return tried[best][0], scores


def describe(geometry: FilmGeometry) -> str:
    """A geometry in words."""
    return geometry.projection + (", oblique unscattered light" if geometry.oblique_ballistic else "")


def set_corrections(
    film: FilmModel,
    geometry: FilmGeometry,
    basis: OperatorBasis,
    camera: Camera,
    pixels: Sequence[FilmedPixels],
    inputs: dict[str, Floats],
) -> None:
    """Give every filmed scene what ``geometry`` adds to the basis' own geometry, for one film (deferred correction)."""
    if geometry.projection == basis.projection:
        for part in pixels:
            part.correction = np.zeros(0)
        return
    bases = {name: _basis(camera, name) for name in _projections(geometry)}
    spectra = {name: {scene: b.spectra(x) for scene, x in inputs.items()} for name, b in bases.items()}
    own = {scene: basis.spectra(x) for scene, x in inputs.items()}
    for n in sorted({part.source.layers for part in pixels}):
        here = basis.pictures(own, basis.coefficients(film, n, 0))
        there = _scattered(replace(film, geometry=geometry), n, bases, spectra, inputs)
        for part in pixels:
            if part.source.layers == n:
                scene = part.source.scene
                part.correction = part.gain * (there[scene] - here[scene])


@functools.lru_cache(maxsize=4)
def _basis(camera: Camera, projection: str) -> OperatorBasis:
    return OperatorBasis(camera, projection)


def _projections(geometry: FilmGeometry) -> tuple[str, ...]:
    return ("direction_cosines", "equal_area") if geometry.projection == "two_stage" else (geometry.projection,)


def _scattered(
    film: FilmModel,
    layers: int,
    bases: dict[str, OperatorBasis],
    spectra: dict[str, dict[str, SceneSpectra]],
    inputs: dict[str, Floats],
) -> dict[str, Floats]:
    """Scene -> scattered light of the operator's stages at the pixels of the basis."""
    if film.geometry.projection != "two_stage":
        (basis,) = bases.values()
        return basis.pictures(spectra[basis.projection], basis.coefficients(film, layers, 0))
    face, bulk = bases["direction_cosines"], bases["equal_area"]
    surface = face.coefficients_of(lambda q: film.surface_otf(q, layers)[:, 0])
    blurred = face.pictures(spectra["direction_cosines"], surface)
    direct = float(film.bulk_direct(layers)[0])
    halo = bulk.coefficients_of(lambda q: film.bulk_otf(q, layers, kernel=True)[:, 0] - direct)
    shape = next(iter(inputs.values())).shape
    halos = bulk.pictures({scene: bulk.spectra(b.reshape(shape)) for scene, b in blurred.items()}, halo)
    factor: float | Floats = direct
    if film.geometry.oblique_ballistic:
        way, loss = (part.ravel() for part in bulk.unscattered(film.geometry.refractive_index))
        factor = direct ** (1 + way) * np.exp(-2 * layers * loss)
    return {scene: halos[scene] + factor * blurred[scene] for scene in blurred}


def _left_out_scores(search: Search, full: Solution) -> Floats:
    """Chi^2 a pixel of each scene, predicted by the fit to the others (a few steps from the full fit)."""
    scores = []
    for scene in dict.fromkeys(part.scene for part in search.parts):
        kept = [part for part in search.parts if part.scene != scene]
        left = [part for part in search.parts if part.scene == scene]
        if not kept:
            continue
        others = Search(search.family, search.geometry, search.basis, kept).solve(full.logs, most_steps=_FEW_STEPS)
        left = [part for part in left if part.layers in others.log_gains]
        if not left:
            continue
        test = Search(search.family, search.geometry, search.basis, left)
        misses = test.residual(np.concatenate([others.logs, [others.log_gains[n] for n in test.counts]]))
        scores.append(float((misses**2).sum()) / max(sum(part.pixels for part in left), 1))
    return np.array(scores if scores else [full.reduced_chi2])


def rivals_elsewhere(
    solutions: Sequence[Solution],
    geometry: FilmGeometry,
    basis: OperatorBasis,
    camera: Camera,
    pixels: Sequence[FilmedPixels],
    inputs: dict[str, Floats],
) -> list[Solution]:
    """The same families in another geometry, best first; pixels are left without correction.

    A family can make up for the wrong geometry, so neither can be chosen without a look at the other. The geometry's
    correction is that of the best film so far: families that describe the same shots differ little in it.
    """
    set_corrections(solutions[0].film(), geometry, basis, camera, pixels, inputs)
    rows = square_roots(pixels)
    set_corrections(solutions[0].film(), solutions[0].geometry, basis, camera, pixels, inputs)
    found = [Search(s.family, geometry, basis, rows).solve(s.logs) for s in solutions]
    return sorted(found, key=lambda solution: solution.bic)


def _difference(a: Floats, b: Floats) -> tuple[float, float]:
    """Mean difference of two geometries' scores over the scenes, and its standard error."""
    gap = a - b
    return float(gap.mean()), float(gap.std(ddof=1) / np.sqrt(gap.size)) if gap.size > 1 else 0.0
