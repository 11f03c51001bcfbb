"""The film's transfer function without a model, and a fitted film held against it.

Two estimators know nothing of kernel families, layer law or gains: the cross-spectrum of bare and filmed pictures
(:mod:`lps_sim.calibration.cross_spectrum`) and the modulation ratio of fringes (:mod:`lps_sim.calibration.fringes`).
Both see only a part of the view, and light that is scattered across its border biases them at low frequencies. A film
is therefore compared through the same estimator: its predicted pictures take the filmed ones' place. Window, rings and
outline of the screen then cancel, and what is left is the film's error and the noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..film import FilmModel
from .checks import Check

Floats = NDArray[np.float64]

USABLE_COHERENCE = 0.2
# Fits to shots of an independent renderer miss its truth by up to 0.013 (film model, section 4): less than this is the
# law's own error, not a wrong film. A relative error d of N mu moves the MTF by up to d / e, 0.037 for one of 10 %.
FILM_FLOOR = 0.015
FALSE_ALARM = 0.002  # chance that noise alone fails a sound film, over all rings, layer counts and channels


@dataclass(frozen=True)
class ModelFree:
    """A transfer function that was measured without a model, at one layer count.

    Parameters
    ----------
    layers : the layer count
    q_cpr : (Q,) cycles/rad, rising; of a ring, where the scenes' power lies in it
    mtf : (Q, C) real part of H / gain; C = 1 for grey sets, else 3; mtf * gain is absolute
    sd : (Q, C) its standard deviation by noise; bias by window and outline of the screen is not in it
    coherence : (Q, C) gamma^2, 0..1
    gain : (C,) what H was divided by: a gain that was given, or else the mean light behind the film over that before it
    source : "cross spectrum" or "fringes"
    scenes : that it rests on
    projection : angle coordinates of the estimate
    """

    layers: int
    q_cpr: Floats
    mtf: Floats
    sd: Floats
    coherence: Floats
    gain: Floats
    source: str
    scenes: tuple[str, ...]
    projection: str

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(Q, C): where the coherence is high enough for the estimate to mean something."""
        return self.coherence > USABLE_COHERENCE

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return _plain(vars(self))


@dataclass(frozen=True)
class FilmDifference:
    """Model-free minus film, both through the estimator, at one layer count.

    q_cpr : (Q,); difference, sd : (Q, C) in units of the gain, noise alone; predicted : (Q, C) the film's curve
    through the estimator; usable : (Q, C); degrees : (Q,) of freedom behind each sd; source : as of ModelFree
    """

    layers: int
    q_cpr: Floats
    predicted: Floats
    difference: Floats
    sd: Floats
    usable: NDArray[np.bool_]
    degrees: Floats
    source: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return _plain(vars(self))


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays and tuples as lists."""
    return {
        key: value.tolist() if isinstance(value, np.ndarray) else list(value) if isinstance(value, tuple) else value
        for key, value in fields.items()
    }


class Estimator(Protocol):
    """What gives model-free estimates: :class:`CrossSpectrum`, :class:`lps_sim.calibration.fringes.FringeRatios`."""

    label: str
    layers: list[int]

    def estimate(self, layers: int, gain: Sequence[float] | None = None) -> ModelFree:
        """H(q) at one layer count."""
        ...

    def difference(self, film: FilmModel, layers: int, gain: Sequence[float]) -> FilmDifference:
        """Model-free minus film, the film through the same estimator."""
        ...


def check_gain(gain: Sequence[float], channels: int) -> Floats:
    """(channels,) gains > 0, or ValueError."""
    values = np.asarray(gain, dtype=float)
    if values.shape != (channels,) or not (values > 0).all():
        raise ValueError(f"gain must hold {channels} values > 0, one a channel, got {list(gain)}")
    return values


def compare_with_film(
    free: Estimator, film: FilmModel, gains: Mapping[int, Sequence[float]]
) -> tuple[Check, list[FilmDifference]]:
    """Hold a film against the model-free estimate, through the same estimator.

    A point (a ring in frequency, a fringe) is out when it is off by more than the film's floor (:data:`FILM_FLOOR`)
    and t standard deviations, Student's t such that noise alone puts any of all points out with probability
    :data:`FALSE_ALARM` (Bonferroni): one point out is one more than chance allows.

    Parameters
    ----------
    free : the estimator with the set's pictures
    film : the film; its scattering and geometry take part
    gains : layers -> (C,) fitted gain; layer counts that it lacks are not compared

    Returns
    -------
    the check, whose value is the largest difference in units of the gain, of the points that are out if there are
    any; and the curves it rests on
    """
    name = f"{free.label} MTF"
    rows = [free.difference(film, layers, gains[layers]) for layers in free.layers if layers in gains]
    tests = sum(int(row.usable.sum()) for row in rows)
    if not tests:
        text = "no scene tells the transfer function without a model"
        return Check(name, "warn", text, cure="film a noise target, bare and through the film"), rows
    points = []  # (out, size, layers, frequency)
    for row in rows:
        t = stats.t.isf(FALSE_ALARM / 2 / tests, row.degrees)[:, None]
        size = np.abs(row.difference)
        out = size > FILM_FLOOR + t * row.sd
        points += [(out[k], size[k], row.layers, row.q_cpr[k[0]]) for k in zip(*np.nonzero(row.usable))]
    _, worst, layers, frequency = max(points)
    count = sum(bool(point[0]) for point in points)
    where = f"{worst:.4f} (N = {layers}, {frequency:.3g} cycles/rad)"
    scope = f"{tests} points at layers {', '.join(str(row.layers) for row in rows)}"
    if not count:
        text = f"film and {name} agree within {where}, {scope}"
        return Check(name, "ok", text, float(worst), FILM_FLOOR), rows
    text = f"{name} disagrees by up to {where}; {count} of {scope} are off by more than {FILM_FLOOR:g} and noise"
    cure = "check exposures, screen-off shots and that nothing moved; try --family auto and --geometry auto"
    return Check(name, "fail", text, float(worst), FILM_FLOOR, cure=cure), rows
