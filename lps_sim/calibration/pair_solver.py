"""Least squares over homography, film, veil and gains at once, and how far its answer can be trusted.

Gauss-Newton with damping on the normal equations, frame by frame (Levenberg 1944), robust by reweighting (soft L1).
Standard deviations are cluster-robust (Cameron, Gelbach & Miller 2011): scores are summed over whole frames and over
whole blocks of the picture, so that neither a frame's common error nor a pattern that stays in place passes as noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .families import Family
from .pair_model import Shot, View

Floats = NDArray[np.float64]

HOMOGRAPHY, VEIL = 8, 3
SPACE_BLOCKS = (4, 6)  # rows, columns of the picture whose errors are taken as one
_MOST_DAMPING = 1e8
_ALIKE = 16  # pixels that a film's blur and the codec make as good as one
_ENOUGH = 1e-5  # relative fall of the cost at which a search ends
_PRIOR_DEVIATIONS = 2.0  # half the documented range of a film parameter is this many standard deviations
# Documented ranges (docs/film_model.md) of natural units per sheet: the weak knowledge that keeps what the pair says
# nothing about inside the possible.
RANGES = {"sigma": (0.03, 3.0), "tau1": (0.02, 3.0), "s1": (1.0, 30.0), "beta1": (1.05, 3.0)}


@dataclass
class State:
    """One point of the search.

    entries : (8,) homography; family; logs : (F,) of the film; veil : (3,); gains : (T,)
    """

    entries: Floats
    family: Family
    logs: Floats
    veil: Floats
    gains: Floats

    @property
    def vector(self) -> Floats:
        return np.concatenate([self.entries, self.logs, self.veil, self.gains])

    def moved(self, step: Floats) -> State:
        """The state one step on, the film kept inside its family's bounds.

        Gains move by factors and the veil follows them: more scattering, more gain and less veil describe nearly the
        same frames, and this keeps the search on that curve instead of its tangent.
        """
        f = self.logs.size
        low, high = self.family.bounds
        step_veil, step_gains = step[HOMOGRAPHY + f : HOMOGRAPHY + f + VEIL], step[HOMOGRAPHY + f + VEIL :]
        factors = np.clip(step_gains / self.gains, -2.0, 2.0)
        mean = float(factors.mean())
        return State(
            self.entries + step[:HOMOGRAPHY],
            self.family,
            np.clip(self.logs + step[HOMOGRAPHY : HOMOGRAPHY + f], low + 1e-6, high - 1e-6),
            np.exp(-mean) * (self.veil * (1 + mean) + step_veil),
            self.gains * np.exp(factors),
        )


@dataclass
class Solution:
    """The end of a search.

    state; cost : robust, in squared codes of the filmed material per residual scale; scale : (codes) of a residual;
    points : pixels; iterations, converged : of the search; residual_rms : of every frame, codes
    """

    state: State
    cost: float
    scale: float
    points: int
    iterations: int
    converged: bool
    residual_rms: list[float] = field(default_factory=list)

    @property
    def bic(self) -> float:
        """Bayesian information criterion of the residuals' scale, lower is better; neighbours count as one."""
        points = self.points / _ALIKE
        return points * 2 * float(np.log(self.scale)) + self.state.vector.size * float(np.log(points))


def prior(family: Family) -> tuple[Floats, Floats]:
    """(centre, standard deviation) of the fitted logarithms: the middle and a quarter of the documented range."""
    low, high = (family.encode({name: RANGES[name][end] for name in family.names}) for end in (0, 1))
    return (low + high) / 2, (high - low) / 2 / _PRIOR_DEVIATIONS


def first_gains(view: View, shots: Sequence[Shot], entries: Floats, family: Family, logs: Floats) -> State:
    """A state with the gains that fit best without a veil."""
    response = [view.response(family, logs)]
    gains = []
    for shot in shots:
        light = view.predict(shot, entries, response, False)[0] * view.vignetting(shot)
        w = shot.root_weight
        gains.append(float((w * shot.y) @ (w * light) / max(float((w * light) @ (w * light)), 1e-12)))
    return State(entries, family, logs, np.zeros(VEIL), np.maximum(np.array(gains), 1e-6))


def solve(
    view: View,
    shots: Sequence[Shot],
    start: State,
    steps: Floats | None = None,
    iterations: int = 20,
) -> Solution:
    """Search from ``start``; residuals beyond 1.5 scales count by soft L1.

    Parameters
    ----------
    view, shots : the data at one size
    steps : (8, K) directions in which the homography may go; all by default
    iterations : at most
    """
    f, t = start.logs.size, len(shots)
    moves = np.eye(HOMOGRAPHY) if steps is None else steps
    reduce = np.zeros((HOMOGRAPHY + f + VEIL + t, moves.shape[1] + f + VEIL + t))
    reduce[:HOMOGRAPHY, : moves.shape[1]] = moves
    reduce[HOMOGRAPHY:, moves.shape[1] :] = np.eye(f + VEIL + t)
    centre, deviation = prior(start.family)
    state, damping, converged, done = start, 1e-3, False, 0
    residuals = _residuals(view, shots, state)
    scale = _scale(residuals)
    cost = _cost(residuals, scale) + _penalty(state, centre, deviation)
    while done < iterations and not converged:
        done += 1
        hessian, gradient = _normal(view, shots, state, scale)[:2]
        rows = slice(HOMOGRAPHY, HOMOGRAPHY + f)
        hessian[rows, rows] += np.diag(1 / deviation**2)
        gradient[rows] += (state.logs - centre) / deviation**2
        hessian, gradient = reduce.T @ hessian @ reduce, reduce.T @ gradient
        better = False
        while damping < _MOST_DAMPING:
            damped = hessian + damping * np.diag(np.diag(hessian) + 1e-12 * np.trace(hessian))
            trial = state.moved(-reduce @ np.linalg.solve(damped, gradient))
            tried = _residuals(view, shots, trial)
            new = _cost(tried, scale) + _penalty(trial, centre, deviation)
            if new < cost:
                better = True
                break
            damping *= 8
        if not better:
            converged = True
            break
        fall = (cost - new) / cost
        state, residuals, damping = trial, tried, max(damping / 8, 1e-9)
        scale = _scale(residuals)
        cost = _cost(residuals, scale) + _penalty(state, centre, deviation)
        converged = fall < _ENOUGH
    return Solution(
        state=state,
        cost=cost,
        scale=scale,
        points=sum(r.size for r in residuals),
        iterations=done,
        converged=converged,
        residual_rms=[float(np.sqrt((r**2).mean())) for r in residuals],
    )


def covariance(view: View, shots: Sequence[Shot], solution: Solution) -> Floats:
    """Cluster-robust covariance of ``State.vector``: frames and blocks of the picture as clusters, both added."""
    state = solution.state
    f = state.logs.size
    hessian, _, by_frame, by_block = _normal(view, shots, state, solution.scale)
    _, deviation = prior(state.family)
    rows = slice(HOMOGRAPHY, HOMOGRAPHY + f)
    hessian[rows, rows] += np.diag(1 / deviation**2)
    inverse = np.linalg.pinv(hessian, rcond=1e-14, hermitian=True)
    middle = np.zeros_like(hessian)
    for scores in (by_frame, by_block):
        used = scores[np.abs(scores).sum(axis=1) > 0]
        middle += used.T @ used * len(used) / max(1, len(used) - 1)
    middle[rows, rows] += np.diag(1 / deviation**2)
    return inverse @ middle @ inverse


def model(view: View, shots: Sequence[Shot], state: State) -> list[Floats]:
    """(P,) predicted light of every shot."""
    response = [view.response(state.family, state.logs)]
    lights = [view.predict(shot, state.entries, response, False)[0] for shot in shots]
    return [
        gain * view.vignetting(shot) * (light + view.veil_shapes(shot) @ state.veil)
        for shot, light, gain in zip(shots, lights, state.gains)
    ]


def _residuals(view: View, shots: Sequence[Shot], state: State) -> list[Floats]:
    return [s.root_weight * (light - s.y) for s, light in zip(shots, model(view, shots, state))]


def _normal(view: View, shots: Sequence[Shot], state: State, scale: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Hessian, gradient, and the gradient summed by frame (T, V) and by block of the picture (B, V)."""
    f, size = state.logs.size, state.vector.size
    responses = view.responses(state.family, state.logs)
    hessian, by_frame = np.zeros((size, size)), np.zeros((len(shots), size))
    by_block = np.zeros((SPACE_BLOCKS[0] * SPACE_BLOCKS[1], size))
    common = HOMOGRAPHY + f + VEIL
    for t, shot in enumerate(shots):
        film, slopes = view.predict(shot, state.entries, responses, True)
        shapes, v = view.veil_shapes(shot), view.vignetting(shot) * shot.root_weight / scale
        shown = v * (film + shapes @ state.veil)
        residual = state.gains[t] * shown - shot.root_weight * shot.y / scale
        jacobian = np.empty((shot.y.size, common + 1))
        jacobian[:, :-1] = state.gains[t] * v[:, None] * np.concatenate([slopes, shapes], axis=1)
        jacobian[:, -1] = shown
        weighted = jacobian * _weights(residual)[:, None]
        index = np.append(np.arange(common), common + t)
        hessian[np.ix_(index, index)] += weighted.T @ jacobian
        scores = weighted * residual[:, None]
        by_frame[t, index] = scores.sum(axis=0)
        block = view.blocks(shot, *SPACE_BLOCKS)
        order = np.argsort(block, kind="stable")
        numbers, first = np.unique(block[order], return_index=True)
        by_block[np.ix_(numbers, index)] += np.add.reduceat(scores[order], first, axis=0)
    return hessian, by_frame.sum(axis=0), by_frame, by_block


_SOFT = 1.5


def _weights(ratio: Floats) -> Floats:
    return 1 / np.sqrt(1 + (ratio / _SOFT) ** 2)


def _cost(residuals: Sequence[Floats], scale: float) -> float:
    return sum(float((_SOFT**2 * (np.sqrt(1 + (r / scale / _SOFT) ** 2) - 1)).sum()) for r in residuals)


def _penalty(state: State, centre: Floats, deviation: Floats) -> float:
    return 0.5 * float((((state.logs - centre) / deviation) ** 2).sum())


def _scale(residuals: Sequence[Floats]) -> float:
    """Robust standard deviation of all residuals, codes; quantised material never falls below a tenth of a code."""
    return max(0.1, 1.4826 * float(np.median(np.abs(np.concatenate(residuals)))))
