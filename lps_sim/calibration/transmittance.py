"""From one gain a layer count to the transmittance of any number of layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls

from ..film import FilmModel
from ..stack import stack

Floats = NDArray[np.float64]

_EXPOSURES = 0.003  # relative: how closely the law keeps to the gains that were measured
_INDEX_SD = 0.03  # of the effective index about the one that was stated: rough faces reflect a little differently
_CARRIED_TO = 16  # layers: the published stacks have 8 to 10
_MOST_ABSORPTION = 1.0


def lossless_gain(refractive_index: float, layers: int) -> float:
    """Transmittance of N clear sheets, 1 / (1 + 2 N R / (1 - R)): only their faces reflect, R = ((n-1)/(n+1))^2.

    No film passes more. The bound matters: light thrown far out of the view is not seen, so without it a gain above 1
    and a halo without end describe the same shots.
    """
    reflected = ((refractive_index - 1) / (refractive_index + 1)) ** 2
    return 1 / (1 + 2 * layers * reflected / (1 - reflected))


@dataclass(frozen=True)
class TransmittanceLaw:
    """1/T_N = 1 + c1 N + c2 N^2, exact values where more is known, and what they rest on.

    table : layers -> T_N: the gains where they were fitted; under the radiative law also what the transfer equation
        gives for the counts between and beyond
    absorption, refractive_index : absorbing optical depth a sheet and effective index with which the transfer equation
        gives the gains; None under the Poisson law, where nothing but the gains is known
    excess : largest |ln(g_N / T_N)| of the gains against it; None likewise
    """

    c1: float
    c2: float
    table: dict[int, float]
    absorption: float | None = None
    refractive_index: float | None = None
    excess: float | None = None


def law_of_gains(gains: Mapping[int, float]) -> tuple[float, float]:
    """(c1, c2) >= 0 of 1/g = 1 + c1 N + c2 N^2, least squares of the relative error; c2 = 0 for one layer count."""
    n, g = np.array(list(gains), dtype=float), np.array(list(gains.values()))
    columns = np.stack([n, n * n], axis=1)[:, : min(2, n.size)]
    solution, _ = nnls(columns * g[:, None], (1 / g - 1) * g)
    return float(solution[0]), float(solution[1]) if n.size > 1 else 0.0


def transmittance_law(film: FilmModel, gains: Mapping[int, float]) -> TransmittanceLaw:
    """The law through the gains; by the radiative one, other layer counts follow from the transfer equation.

    Parameters
    ----------
    film : the fitted film (first channel), without transmittance
    gains : layers -> fitted gain g_N
    """
    if film.layer_law != "radiative":
        return TransmittanceLaw(*law_of_gains(gains), dict(gains))
    events, given = film.bulk_events(0), film.geometry.refractive_index
    measured = {count: float(np.log(gain)) for count, gain in gains.items()}

    def misses(vector: Floats) -> Floats:
        solved = stack(events, float(vector[0]), float(vector[1]))
        return np.array([np.log(solved.light(count).transmittance) - value for count, value in measured.items()])

    def cost(vector: Floats) -> Floats:
        return np.append(misses(vector) / _EXPOSURES, (vector[0] - given) / _INDEX_SD)

    low, high = [1.01, 0.0], [3.0, _MOST_ABSORPTION]
    start = np.clip([given, 0.005], np.array(low) + 1e-3, np.array(high) - 1e-3)
    found = least_squares(cost, start, bounds=(low, high), x_scale=[_INDEX_SD, 0.005], diff_step=1e-3, max_nfev=30)
    index, absorption = map(float, found.x)
    solved = stack(events, index, absorption)
    carried = {n: solved.light(n).transmittance for n in range(1, max(_CARRIED_TO, *gains) + 1)}
    table = {**carried, **gains}
    c1, c2 = law_of_gains(table)
    return TransmittanceLaw(c1, c2, table, absorption, index, float(np.abs(misses(found.x)).max()))
