"""The search: least squares of one family's parameters and one gain a layer count on the scenes' rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from ..film import FilmGeometry, FilmModel
from .basis import OperatorBasis
from .columns import SquareRoot, film_coefficients
from .families import Family
from .transmittance import lossless_gain

Floats = NDArray[np.float64]

_STEP = 1e-5  # of the logarithms, for the Jacobian
_MAX_STEPS = 60
_GAIN_SLACK = 1.01  # of the faces' limit: exposures are known to about 1 %


@dataclass(frozen=True)
class Solution:
    """One family's best fit to some scenes.

    logs : (P,) fitted logarithms of the parameters; log_gains : layers -> ln g_N
    chi2 : weighted sum of squares; points : pixels behind it
    """

    family: Family
    geometry: FilmGeometry
    logs: Floats
    log_gains: dict[int, float]
    chi2: float
    points: int
    converged: bool
    iterations: int

    @property
    def bic(self) -> float:
        """Bayesian information criterion; lower is better."""
        return self.chi2 + (self.logs.size + len(self.log_gains)) * float(np.log(max(self.points, 1)))

    @property
    def reduced_chi2(self) -> float:
        """Chi^2 per degree of freedom."""
        return self.chi2 / max(1, self.points - self.logs.size - len(self.log_gains))

    @property
    def vector(self) -> Floats:
        """Logs, then log gains in the order of their layer counts."""
        return np.concatenate([self.logs, list(self.log_gains.values())])

    def film(self) -> FilmModel:
        """The film without transmittance."""
        return self.family.film([self.logs], self.geometry)


class Search:
    """Residuals and derivatives of one family in one geometry on some scenes.

    Parameters
    ----------
    family, geometry : of the film
    basis : of the scenes' columns
    parts : one a filmed scene
    """

    def __init__(
        self, family: Family, geometry: FilmGeometry, basis: OperatorBasis, parts: Sequence[SquareRoot]
    ) -> None:
        self.family, self.geometry, self.basis, self.parts = family, geometry, basis, parts
        self.counts = sorted({part.layers for part in parts})
        self.size = len(family.names)

    def coefficients(self, logs: Floats) -> dict[int, Floats]:
        """Layers -> coefficients of the columns; the last 1 is the geometry correction's."""
        film = self.family.film([logs], self.geometry)
        return {n: np.append(film_coefficients(self.basis, film, n), 1.0) for n in self.counts}

    def slopes(self, logs: Floats) -> dict[int, Floats]:
        """Layers -> (J, P) derivatives of the coefficients with respect to the logs."""
        here = self.coefficients(logs)
        moved = [self.coefficients(logs + _STEP * unit) for unit in np.eye(self.size)]
        return {n: np.stack([(m[n] - here[n]) / _STEP for m in moved], axis=1) for n in self.counts}

    def residual(self, vector: Floats) -> Floats:
        """Rows of all scenes."""
        known, gains = self.coefficients(vector[: self.size]), dict(zip(self.counts, np.exp(vector[self.size :])))
        return np.concatenate(
            [p.rows[:, :-1] @ (gains[p.layers] * known[p.layers]) - p.rows[:, -1] for p in self.parts]
        )

    def jacobian(self, vector: Floats) -> Floats:
        """Derivative of :meth:`residual`."""
        known, gains = self.coefficients(vector[: self.size]), dict(zip(self.counts, np.exp(vector[self.size :])))
        slopes = self.slopes(vector[: self.size])
        blocks = []
        for part in self.parts:
            n = part.layers
            block = np.zeros((len(part.rows), vector.size))
            block[:, : self.size] = part.rows[:, :-1] @ (gains[n] * slopes[n])
            block[:, self.size + self.counts.index(n)] = part.rows[:, :-1] @ (gains[n] * known[n])
            blocks.append(block)
        return np.concatenate(blocks)

    def start_gains(self, logs: Floats) -> Floats:
        """Best log gains for given parameters, one a layer count, in closed form."""
        known = self.coefficients(logs)
        gains = []
        for n in self.counts:
            model = np.concatenate([p.rows[:, :-1] @ known[n] for p in self.parts if p.layers == n])
            filmed = np.concatenate([p.rows[:, -1] for p in self.parts if p.layers == n])
            gains.append(max(float(model @ filmed) / max(float(model @ model), 1e-300), 1e-5))
        return np.log(gains)

    def solve(self, start: Floats, most_steps: int = _MAX_STEPS) -> Solution:
        """Least squares from a starting point (P,) within the family's bounds."""
        low, high = self.family.bounds
        free = np.full(len(self.counts), np.inf)
        index = self.geometry.refractive_index
        most = np.log([_GAIN_SLACK * lossless_gain(index, n) for n in self.counts])
        begin = np.clip(start, low + 1e-6, high - 1e-6)
        found = least_squares(
            self.residual,
            np.concatenate([begin, np.minimum(self.start_gains(begin), most - 1e-6)]),
            jac=self.jacobian,
            bounds=(np.concatenate([low, -free]), np.concatenate([high, most])),
            x_scale="jac",
            ftol=1e-8,
            xtol=1e-8,
            max_nfev=most_steps,
        )
        return Solution(
            family=self.family,
            geometry=self.geometry,
            logs=found.x[: self.size],
            log_gains=dict(zip(self.counts, found.x[self.size :].tolist())),
            chi2=float(2 * found.cost),
            points=sum(part.pixels for part in self.parts),
            converged=bool(found.status > 0),
            iterations=int(found.nfev),
        )
