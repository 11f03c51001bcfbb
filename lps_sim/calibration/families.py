"""The kernel families that compete in a fit: their parameters, ranges and starting points, and the film they make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UnknownNameError
from ..film import FAMILIES, FilmGeometry, FilmModel
from ..scattering import Scattering

Floats = NDArray[np.float64]

# name -> (lower, upper) in natural units: deg, events per sheet; beta is fitted as beta - 1, since it starts at 1.
_RANGES = {
    "sigma": (0.005, 4.0),
    "tau1": (0.003, 5.0),
    "s1": (0.3, 60.0),
    "beta1": (1.05, 8.0),
    "tau2": (0.01, 30.0),
    "s2": (0.05, 10.0),
    "beta2": (1.2, 12.0),
}
_LEAST_RADIATIVE_S1 = 1.55  # deg, just above what the transfer equation takes
_STARTS = {
    "ballistic+moffat": [{"tau1": 0.25, "s1": 8.0, "beta1": 1.6}],
    "gaussian+moffat": [{"sigma": 0.5, "tau1": 0.15, "s1": 10.0, "beta1": 1.6}],
    "2moffat": [{"tau1": 0.15, "s1": 10.0, "beta1": 1.6, "tau2": 2.0, "s2": 1.0, "beta2": 3.0}],
    "gaussian": [{"sigma": 1.0}],
}


@dataclass(frozen=True)
class Family:
    """A family's free parameters per sheet, fitted as logarithms (of beta - 1 for the exponents).

    name : of the family; names : of its parameters, in order; law : from one layer to many, lps_sim.film.LAYER_LAWS
    """

    name: str
    names: tuple[str, ...]
    law: str = "poisson"

    @classmethod
    def of(cls, name: str, law: str = "poisson") -> Family:
        """The family by name, UnknownNameError otherwise; a Gaussian alone has the Poisson law only."""
        if name not in FAMILIES:
            raise UnknownNameError("family", name, [*FAMILIES, "auto"])
        names = tuple(_STARTS[name][0])
        return cls(name, names, law if "s1" in names else "poisson")

    @property
    def starts(self) -> list[Floats]:
        """Starting points of the search, (P,) each."""
        return [self.encode(start) for start in _STARTS[self.name]]

    @property
    def bounds(self) -> tuple[Floats, Floats]:
        """(lower, upper) of the fitted logarithms, (P,) each."""
        least = {name: _RANGES[name][0] for name in self.names}
        if self.law == "radiative":
            least["s1"] = _LEAST_RADIATIVE_S1
        low = self.encode(least)
        return low, self.encode({name: _RANGES[name][1] for name in self.names})

    def encode(self, values: dict[str, float]) -> Floats:
        """Natural units -> fitted logarithms."""
        return np.log([values[name] - name.startswith("beta") for name in self.names])

    def decode(self, logs: Floats) -> dict[str, float]:
        """Fitted logarithms -> natural units (deg, events per sheet, exponent)."""
        return {name: float(np.exp(log)) + name.startswith("beta") for name, log in zip(self.names, logs)}

    def log_scale(self, logs: Floats) -> Floats:
        """d(log of the parameter) / d(fitted logarithm): 1, but (beta - 1)/beta for exponents."""
        natural = self.decode(logs)
        return np.array([(natural[n] - 1) / natural[n] if n.startswith("beta") else 1.0 for n in self.names])

    def film(
        self, logs: list[Floats], geometry: FilmGeometry, c1: Floats | float = 0.0, c2: Floats | float = 0.0
    ) -> FilmModel:
        """The film of one parameter vector (all channels alike) or of three (R, G, B)."""
        values = [self.decode(vector) for vector in (logs if len(logs) == 3 else [logs[0]] * 3)]

        def rgb(name: str) -> Floats:
            return np.array([value[name] for value in values])

        components = [
            Scattering("moffat", rgb(f"tau{k}"), np.radians(rgb(f"s{k}")), rgb(f"beta{k}"))
            for k in (1, 2)
            if f"tau{k}" in self.names
        ]
        sigma = np.radians(rgb("sigma")) if "sigma" in self.names else np.zeros(3)
        parts = tuple(components)
        return FilmModel("fit", self.name, sigma, parts, c1, c2, geometry=geometry, layer_law=self.law)  # type: ignore[arg-type]
