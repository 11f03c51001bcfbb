"""What a finished fit says about itself: figures that a sound film keeps and a wrong model does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .checks import Check
from .solver import Solution

if TYPE_CHECKING:
    from .fit import FitResult

# A sound fit with the 0.2 % model floor has 1 to 3; saturated or shifted pictures have 10 and more.
_CHI2 = (3.0, 8.0)
# Light that the film puts in the wrong place, means over tiles, of the shot's light.
_MISFIT = (0.01, 0.03)
# Gains against the transfer equation: exposures are known to about 1 %.
_GAINS = (0.02, 0.06)
_NEAR_BOUND = 1e-3
_OUTLIERS = (0.002, 0.01)
# Move of a log parameter when a layer count is left out: the law does not hold from one count to the other.
_LAYERS = (0.05, 0.25)


def check_fit(result: FitResult, best: Solution) -> tuple[Check, ...]:
    """The checks of a fit, in a fixed order.

    Parameters
    ----------
    result : the fit; best : the solution of its main channel
    """
    worst = max(result.residuals, key=lambda row: row.misfit)
    chi2 = max(result.residuals, key=lambda row: row.rms)
    checks = [
        Check(
            "convergence",
            "ok" if result.converged else "fail",
            f"the search {'converged' if result.converged else 'did not converge'} in {result.iterations} steps",
            float(result.iterations),
            cure="" if result.converged else "look at the residuals for a shot that does not belong to the set",
        ),
        _graded(
            "residuals",
            result.reduced_chi2,
            _CHI2,
            f"reduced chi2 {result.reduced_chi2:.2f} over all shots; worst {chi2.rms**2:.1f}, scene {chi2.scene} at "
            f"{chi2.layers} layers",
            "",
            "no film of any family describes these shots together: check tone curve, layer labels, camera shift",
        ),
        _graded(
            "misplaced light",
            100 * worst.misfit,
            (100 * _MISFIT[0], 100 * _MISFIT[1]),
            f"up to {100 * worst.misfit:.2g} % of a shot's light is in the wrong place: scene {worst.scene} at "
            f"{worst.layers} layers",
            "%",
            "repeat that shot and its bare picture; check its layer label and exposure",
        ),
        _graded(
            "outliers",
            100 * result.outliers,
            (100 * _OUTLIERS[0], 100 * _OUTLIERS[1]),
            f"{100 * result.outliers:.2g} % of the pixels were given no weight",
            "%",
            "clean lens and screen; map hot pixels",
        ),
        _bounds(best),
    ]
    excess = [law.excess for law in result.laws if law.excess is not None]
    if excess:
        checks.append(
            _graded(
                "transmittance",
                100 * max(excess),
                (100 * _GAINS[0], 100 * _GAINS[1]),
                f"the gains keep to the transfer equation within {100 * max(excess):.2g} %",
                "%",
                "check the exposures; a film that is not of sheets in air needs --law poisson",
            )
        )
    counts = [row for row in result.jackknife if row.kind == "layer count"]
    if counts:
        move, row = max(((max(map(abs, r.shifts.values())), r) for r in counts if r.significant), default=(0.0, None))
        text = "leaving out a layer count moves no parameter beyond its noise"
        if row is not None:
            name = max(row.shifts, key=lambda key: abs(row.shifts[key]))
            text = f"leaving out {row.left_out} layers moves {name} by {100 * np.expm1(row.shifts[name]):+.2g} %"
        checks.append(
            _graded(
                "layer law",
                100 * move,
                (100 * _LAYERS[0], 100 * _LAYERS[1]),
                text,
                "%",
                "check the layer labels; calibrate at the layer count in use",
            )
        )
    return tuple(checks)


def _graded(name: str, value: float, limits: tuple[float, float], text: str, unit: str, cure: str) -> Check:
    """Ok below the first limit, warn below the second, fail above."""
    warn, fail = limits
    if value <= warn:
        return Check(name, "ok", text, value, warn, unit)
    return Check(name, "warn" if value <= fail else "fail", text, value, warn if value <= fail else fail, unit, cure)


def _bounds(best: Solution) -> Check:
    low, high = best.family.bounds
    at = [
        name
        for name, log, least, most in zip(best.family.names, best.logs, low, high)
        if min(log - least, most - log) < _NEAR_BOUND
    ]
    text = f"at the end of their range: {', '.join(at)}" if at else "every parameter is inside its range"
    cure = "these shots do not determine them; take a hole or edge shot, or more light" if at else ""
    return Check("parameter range", "warn" if at else "ok", text, float(len(at)), 0.0, "", cure)
