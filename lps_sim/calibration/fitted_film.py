"""The FilmModel of a fit, with everything that its file records: errors, law, veil, provenance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..error_bars import log_covariance, parameter_values
from ..film import FilmModel
from .observations import Observations
from .shots import ShotSet
from .solver import Solution
from .transmittance import TransmittanceLaw, law_of_gains, transmittance_law
from .uncertainty import Uncertainty

if TYPE_CHECKING:
    from .fit import ShotResidual

Floats = NDArray[np.float64]

_LEAST_COEFFICIENT = 1e-7  # of the transmittance law: below, its logarithm says nothing
_STEP = 1e-4
_NORMAL_95 = 1.959964


def build_film(
    channels: Sequence[tuple[Solution, Uncertainty]],
    seen: Observations,
    shot_set: ShotSet,
    residuals: Sequence[ShotResidual],
    name: str,
    created: str,
) -> tuple[FilmModel, tuple[TransmittanceLaw, ...]]:
    """The film of one solution (grey) or three (R, G, B), and each channel's transmittance law."""
    solutions = [solution for solution, _ in channels]
    first = solutions[0]
    laws = [transmittance_law(s.film(), {n: float(np.exp(g)) for n, g in s.log_gains.items()}) for s in solutions]
    c1, c2 = ([getattr(law, key) for law in laws] for key in ("c1", "c2"))
    film = first.family.film(
        [s.logs for s in solutions],
        first.geometry,
        np.broadcast_to(np.array(c1), (3,)).copy(),
        np.broadcast_to(np.array(c2), (3,)).copy(),
    )
    veil = {}
    for count in first.log_gains:
        gain = np.exp([s.log_gains[count] for s in solutions])
        added = (seen.off[count] - gain * seen.off[0]) / seen.vignetting[..., None] / seen.white
        veil[count] = np.broadcast_to(np.maximum(np.median(added, axis=(0, 1)), 0.0), (3,))
    names, blocks = [], []
    for index, ((solution, error), law) in enumerate(zip(channels, laws)):
        suffix = "" if len(channels) == 1 else "_" + "rgb"[index]
        own, jacobian = _log_parameters(solution, law)
        names += [f"{parameter}{suffix}" for parameter in own]
        spread = jacobian @ np.diag(error.spread**2) @ jacobian.T
        blocks.append(
            (jacobian @ error.noise @ jacobian.T, jacobian @ error.systematic @ jacobian.T, np.sqrt(np.diag(spread)))
        )
    used = {file for row in residuals for file in row.files}
    bare = [shot for shot in shot_set.select(layers=0) if shot.scene in {row.scene for row in residuals}]
    shots = [shot for shot in shot_set.shots if shot.file in used or shot in bare]
    counted = f"{len(shots)} {'simulated ' if shot_set.simulated else ''}shots"
    provenance: dict[str, Any] = {
        "kind": "fitted",
        "text": f"Fitted to {counted} at layers {', '.join(map(str, first.log_gains))}; the law carries other counts.",
        "references": ["Wells 1969", "Moffat 1969", "Reynolds & McCormick 1980", "van de Hulst 1980"],
        "created": created,
        "package_version": __version__,
        "shots": shot_set.provenance(shots),
        "shots_origin": dict(shot_set.origin),
        "gains": {str(n): [float(np.exp(s.log_gains[n])) for s in solutions] for n in first.log_gains},
        "absorption_per_sheet": [law.absorption for law in laws],
        "effective_index": [law.refractive_index for law in laws],
    }
    return replace(
        film,
        name=name,
        transmittance_table={
            n: np.broadcast_to(np.array([law.table[n] for law in laws]), (3,)).copy() for n in laws[0].table
        },
        veil_table=veil,
        provenance=provenance,
        parameter_names=tuple(names),
        covariance=_diagonal([noise for noise, _, _ in blocks]),
        systematic_covariance=_diagonal([systematic for _, systematic, _ in blocks]),
        jackknife_spread=np.concatenate([spread for _, _, spread in blocks]),
        calibration_camera=shot_set.camera.to_dict(),
        fit_quality=tuple({**vars(row), "files": list(row.files)} for row in residuals),
    ), tuple(laws)


def intervals(film: FilmModel) -> dict[str, tuple[float, float]]:
    """95 % interval of every fitted parameter in natural units (deg, events per sheet), noise and systematics."""
    known = log_covariance(film)
    if known is None:
        return {}
    spread = _NORMAL_95 * np.sqrt(np.maximum(np.diag(known[0]), 0))
    values = parameter_values(film)
    return {
        name: (float(values[name] * np.exp(-width)), float(values[name] * np.exp(width)))
        for name, width in zip(film.parameter_names, spread)
    }


def _log_parameters(solution: Solution, law: TransmittanceLaw) -> tuple[list[str], Floats]:
    """Names of the film's parameters, and the derivative of their logarithms with respect to the solution's vector.

    The fit moves ln(beta - 1); c1 and c2 follow from the gains.
    """
    size, counts = solution.logs.size, list(solution.log_gains)
    names = list(solution.family.names)
    jacobian = np.zeros((size, size + len(counts)))
    jacobian[:, :size] = np.diag(solution.family.log_scale(solution.logs))

    def law_at(log_gains: Floats) -> Floats:
        # The gains carry the law; what the transfer equation adds beyond them moves with them.
        return np.array(law_of_gains(dict(zip(counts, np.exp(log_gains)))))

    gains = np.array(list(solution.log_gains.values()))
    rows = _derivative(law_at, gains)
    here = law_at(gains)
    for name, value, fitted, row in zip(("c1", "c2"), (law.c1, law.c2), here, rows):
        if value > _LEAST_COEFFICIENT and fitted > _LEAST_COEFFICIENT:
            names.append(name)
            jacobian = np.vstack([jacobian, np.concatenate([np.zeros(size), row / value])])
    return names, jacobian


def _derivative(function: Callable[[Floats], Floats], at: Floats) -> Floats:
    """Central differences, (values, arguments)."""
    steps = [(function(at + _STEP * unit) - function(at - _STEP * unit)) / (2 * _STEP) for unit in np.eye(at.size)]
    return np.stack(steps, axis=1)


def _diagonal(blocks: Sequence[Floats]) -> Floats:
    """Blocks of several channels in one matrix: channels share no noise that the fit would know of."""
    size = sum(len(block) for block in blocks)
    whole, start = np.zeros((size, size)), 0
    for block in blocks:
        whole[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    return whole
