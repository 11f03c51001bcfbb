"""From a calibration set to a film that says how sure it is: gate, fit, and a model-free second opinion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..film import FilmModel
from .checks import Check, failed
from .cross_spectrum import CrossSpectrum
from .fit import FitResult, fit_film
from .fringes import FringeRatios
from .gate import inspect_shots
from .model_free import compare_with_film
from .observations import Observations, Reader, observe
from .shots import ShotSet


class RefusedShotsError(ValueError):
    """The gate found shots that would fit as well as the truth does, and give a wrong film. ``checks``: all of them."""

    def __init__(self, checks: Sequence[Check]) -> None:
        wrong = failed(checks)
        super().__init__(
            f"{len(wrong)} of {len(checks)} checks of the shots failed: "
            + "; ".join(f"{check.name}: {check.text} -> {check.cure}" for check in wrong)
        )
        self.checks = tuple(checks)


def calibrate(
    shot_set: ShotSet,
    layers: Sequence[int] | None = None,
    family: str = "auto",
    geometry: str = "auto",
    name: str = "fitted film",
    created: str = "",
    on_step: Callable[[str], None] | None = None,
    law: str = "auto",
    jackknife: bool = True,
    force: bool = False,
) -> FitResult:
    """Check the shots, fit the film, and hold it against a model-free estimate.

    Parameters
    ----------
    force : fit although the gate failed; the film records what failed
    others : as :func:`lps_sim.calibration.fit.fit_film`

    Returns
    -------
    the fit, whose ``checks`` are those of the shots, of the fit and of the comparison; the film's provenance has them

    Raises
    ------
    RefusedShotsError
        a check of the shots failed and ``force`` is not set
    ValueError
        as :func:`lps_sim.calibration.fit.fit_film`
    """
    say = on_step or (lambda step: None)
    say("checking the shots")
    gate = inspect_shots(shot_set, layers)
    if failed(gate) and not force:
        raise RefusedShotsError(gate)
    result = fit_film(shot_set, layers, family, geometry, name, created, on_step, law, jackknife)
    say("comparing with the model-free estimate")
    checks = (*gate, *result.checks, *_second_opinion(result, shot_set))
    provenance = {**result.film.provenance, "checks": [check.to_dict() for check in checks]}
    return replace(result, checks=checks, film=replace(result.film, provenance=provenance))


def _second_opinion(result: FitResult, shot_set: ShotSet) -> list[Check]:
    seen, reader = observe(shot_set, "fit", tuple(sorted(result.gains)))
    kinds = [kind for kind in film_estimators(result.film, seen, reader) if kind.layers]
    return [compare_with_film(kind, result.film, result.gains)[0] for kind in kinds]


def film_estimators(film: FilmModel, seen: Observations, reader: Reader) -> tuple[CrossSpectrum, FringeRatios]:
    """The model-free estimators in the coordinates of a film."""
    # Faces and bulk of a two-stage film convolve in different coordinates; the comparison holds in either.
    projection = film.geometry.projection
    projection = "equal_area" if projection == "two_stage" else projection
    return CrossSpectrum(seen, reader, projection), FringeRatios(seen, reader, projection)
