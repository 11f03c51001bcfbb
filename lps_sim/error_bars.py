"""A film's error bars: the covariance of its log parameters, and the film with its parameters shifted.

Whatever follows from a film gets its error bar from these two: derivatives by shifting, then C = J C_p J^T.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import UnknownNameError
from .film import FilmModel
from .scattering import Scattering

Floats = NDArray[np.float64]


def log_covariance(film: FilmModel) -> tuple[Floats, str] | None:
    """((P, P) covariance of the log parameters, what it holds), or None for a film without error bars.

    The systematic part (which shots were taken) is added to the noise's where the film has it.
    """
    if film.covariance is None:
        return None
    if film.systematic_covariance is None:
        return film.covariance, "noise only"
    return film.covariance + film.systematic_covariance, "noise and systematic"


def parameter_values(film: FilmModel) -> dict[str, float]:
    """Fitted parameter -> its value: sigma and s in degrees, tau in events per sheet, beta, c1, c2."""
    known = {"sigma": np.degrees(film.sigma_rad), "c1": film.c1, "c2": film.c2}
    for k, c in enumerate(film.components, start=1):
        known |= {f"tau{k}": c.tau, f"s{k}": np.degrees(c.s_rad), f"beta{k}": c.beta}
    values = {}
    for name in film.parameter_names:
        stem, _, channel = name.partition("_")
        if stem not in known or channel not in ("", "r", "g", "b"):
            raise UnknownNameError("parameter_names", name, known)
        values[name] = float(known[stem]["rgb".index(channel) if channel else 1])
    return values


def perturbed(film: FilmModel, log_shifts: ArrayLike) -> FilmModel:
    """The film with each fitted parameter multiplied by exp(shift).

    Parameters
    ----------
    film : its ``parameter_names`` are sigma, tau1, s1, beta1, ..., c1, c2, each for all channels or with _r, _g or _b
    log_shifts : (P,) shifts of the natural logarithms, in the order of ``parameter_names`` and ``covariance``

    Raises
    ------
    ValueError
        another shape, a shift that is not finite, or a name that is no parameter of this film
    """
    shifts = np.asarray(log_shifts, dtype=float)
    if shifts.shape != (len(film.parameter_names),) or not np.isfinite(shifts).all():
        raise ValueError(
            f"log_shifts must be finite and of shape ({len(film.parameter_names)},) as parameter_names, "
            f"got {shifts.tolist()}"
        )
    factors = {name: np.ones(3) for name in ("sigma", "c1", "c2")}
    factors |= {f"{key}{k}": np.ones(3) for k in range(1, len(film.components) + 1) for key in ("tau", "s", "beta")}
    for name, shift in zip(film.parameter_names, shifts):
        stem, _, channel = name.partition("_")
        if stem not in factors or channel not in ("", "r", "g", "b"):
            raise UnknownNameError("parameter_names", name, factors)
        factors[stem][slice(None) if not channel else "rgb".index(channel)] *= np.exp(shift)
    c1, c2 = film.c1 * factors["c1"], film.c2 * factors["c2"]
    return replace(
        film,
        sigma_rad=film.sigma_rad * factors["sigma"],
        components=tuple(
            Scattering(c.kind, c.tau * factors[f"tau{k}"], c.s_rad * factors[f"s{k}"], c.beta * factors[f"beta{k}"])
            for k, c in enumerate(film.components, start=1)
        ),
        c1=c1,
        c2=c2,
        # The table moves with the law.
        transmittance_table={
            n: np.minimum(known * (1 + film.c1 * n + film.c2 * n * n) / (1 + c1 * n + c2 * n * n), 1.0)
            for n, known in film.transmittance_table.items()
        },
    )
