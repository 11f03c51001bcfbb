"""What the sections of a fit's report draw from, computed once: shots, predictions, model-free estimates, bands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..camera import Camera
from ..error_bars import log_covariance, perturbed
from ..film import FilmModel
from ..report import Block
from .calibrate import film_estimators
from .checks import Check
from .cross_spectrum import CrossSpectrum
from .fit import FitResult
from .fringes import FringeRatios
from .model_free import Estimator, FilmDifference, ModelFree, compare_with_film
from .observations import Exclusion, observe
from .predicted import PredictedScene, predict_scenes
from .report_figures import Curve
from .shots import ShotSet

Floats = NDArray[np.float64]

_NORMAL_95 = 1.96
_STEP = 1e-3  # of the log parameters, for the derivatives behind a band


@dataclass(frozen=True)
class Section:
    """heading; key in report.json; blocks of the page; numbers: JSON-ready."""

    heading: str
    key: str
    blocks: Sequence[Block]
    numbers: Any


@dataclass
class Material:
    """What the sections draw from: a fit, its shots, and what is computed from both once."""

    result: FitResult
    shot_set: ShotSet
    on_step: Callable[[str], None] = field(default=lambda step: None)

    def __post_init__(self) -> None:
        self.on_step("reading the shots")
        self.seen, self.reader = observe(self.shot_set, "fit", tuple(self.layers))
        self.channel = 0 if self.seen.grey else 1

    @property
    def film(self) -> FilmModel:
        """The fitted film."""
        return self.result.film

    @property
    def layers(self) -> list[int]:
        """The fitted layer counts."""
        return sorted(self.result.gains)

    @property
    def camera(self) -> Camera:
        """Of the shots."""
        return self.shot_set.camera

    @cached_property
    def _both(self) -> tuple[CrossSpectrum, FringeRatios]:
        self.on_step("model-free estimate")
        return film_estimators(self.film, self.seen, self.reader)

    @property
    def estimators(self) -> list[Estimator]:
        """The model-free estimators that have something to say."""
        return [kind for kind in self._both if kind.layers]

    @cached_property
    def comparisons(self) -> list[tuple[Check, list[FilmDifference]]]:
        """The film held against each of them."""
        return [compare_with_film(kind, self.film, self.result.gains) for kind in self.estimators]

    @cached_property
    def model_free(self) -> list[ModelFree]:
        """Estimates at the fitted layer counts, on the scale of the film's MTF."""
        gains = self.result.gains
        return [kind.estimate(n, gains[n]) for kind in self.estimators for n in kind.layers if n in gains]

    @cached_property
    def predicted(self) -> list[PredictedScene]:
        """Every fitted scene beside its prediction."""
        self.on_step("predicting the shots")
        return list(predict_scenes(self.film, self.result.gains, self.seen, self.camera, self.channel))

    @property
    def checks(self) -> list[Check]:
        """All checks, the worst first."""
        own = [check for check, _ in self.comparisons]
        names = {check.name for check in own}
        order = {"fail": 0, "warn": 1, "ok": 2}
        every = [*own, *(check for check in self.result.checks if check.name not in names)]
        return sorted(every, key=lambda check: order[check.status])

    @property
    def exclusions(self) -> list[Exclusion]:
        """What took no part, and why."""
        return [*self.result.exclusions, *(item for kind in self._both for item in kind.exclusions)]

    def curve(self, layers: int, at: Floats, of: Callable[[FilmModel], Floats]) -> Curve:
        """A quantity of the film with its 95 % band by the covariance of its parameters; ``of``: film -> (K,)."""
        value = of(self.film)
        known = log_covariance(self.film)
        if known is None:
            return Curve(layers, at, value)
        # A parameter of another channel does not move this one.
        other = tuple(f"_{letter}" for index, letter in enumerate("rgb") if index != self.channel)
        names = self.film.parameter_names
        slopes = np.zeros((value.size, len(names)))
        for k, name in enumerate(names):
            if self.seen.grey or not name.endswith(other):
                slopes[:, k] = (of(perturbed(self.film, _STEP * np.eye(len(names))[k])) - value) / _STEP
        reach = _NORMAL_95 * np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", slopes, known[0], slopes), 0.0))
        return Curve(layers, at, value, np.clip(value - reach, 0, 1), np.clip(value + reach, 0, 1))
