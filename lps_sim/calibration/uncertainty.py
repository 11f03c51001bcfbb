"""How sure a fit is: noise from the residuals themselves, systematics from what leaving shots out moves.

Noise: the sandwich H^-1 B H^-1, H the Gauss-Newton Hessian and B the scores summed over tiles of the picture, so that
residuals which depend on their neighbours (fixed pattern, noise of the bare picture, blurred) count as they should.

Systematics: a fit to fewer shots differs from the full one by d, whose noise alone has the covariance C_fewer - C_full
(Hausman 1978, for an efficient estimate). Only what noise does not explain at 95 % is systematic; its delete-a-group
jackknife covariance is (G-1)/G sum d d^T over the G groups. To it comes the scale of every filmed scene, which exposure
times, lamp and operator hold to two thousandths at best and which no residual shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, t

from .columns import MODEL_FLOOR, FilmedPixels, film_coefficients
from .solver import Search, Solution

Floats = NDArray[np.float64]

# Relative: the weights take no pixel for better than this because the law is not; an error of the law, of an exposure
# time or of the screen is common to a whole shot.
SHOT_SCALE = MODEL_FLOOR
_NOISE_QUANTILE = 0.95
_FEW_STEPS = 8  # from the full solution to one with fewer shots
_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class LeftOut:
    """The fit without some shots.

    kind : "shot type" or "layer count"; left_out : the target or the layer count
    shifts : parameter -> move of its natural logarithm; significant : more than noise explains
    """

    kind: str
    left_out: str
    shifts: dict[str, float]
    significant: bool


@dataclass(frozen=True)
class Uncertainty:
    """Covariances of one solution's vector (log parameters, then log gains).

    noise : (V, V); systematic : (V, V), scaled so that 1.96 standard deviations are the 95 % interval of the few groups
    jackknife : every fit with fewer shots; spread : (V,) standard deviation by the jackknife that moves more, noise in
    dominant : "noise", "shot scale", "shot type" or "layer count", what the log parameters' error is mostly made of
    """

    noise: Floats
    systematic: Floats
    jackknife: tuple[LeftOut, ...]
    spread: Floats
    dominant: str


def noise_covariance(search: Search, solution: Solution, pixels: Sequence[FilmedPixels]) -> Floats:
    """(V, V) sandwich covariance of the solution's vector, scores summed over the tiles of every scene."""
    film, vector = solution.film(), solution.vector
    jacobian = search.jacobian(vector)
    hessian = jacobian.T @ jacobian
    slopes = search.slopes(solution.logs)
    sums: dict[str, Floats] = {}
    for part in pixels:
        n = part.source.layers
        gain = float(np.exp(solution.log_gains[n]))
        light = gain * part.light(film_coefficients(search.basis, film, n))
        lean = part.root_weight**2 * (light - part.y)
        derivative = np.zeros((part.y.size, vector.size))
        # The last row of a slope belongs to the geometry's correction, which stands still.
        derivative[:, : search.size] = gain * part.gain * (part.columns @ slopes[n][:-1].astype(np.float32))
        derivative[:, search.size + search.counts.index(n)] = light
        scores = derivative * lean[:, None]
        tiles = int(part.tiles.max()) + 1
        total = np.stack([np.bincount(part.tiles, column, tiles) for column in scores.T], axis=1).astype(float)
        known = sums.get(part.source.scene)
        sums[part.source.scene] = total if known is None else known + total
    scores = np.concatenate(list(sums.values()))
    clusters = len(scores)
    inverse = _inverse(hessian)
    return inverse @ (scores.T @ scores) @ inverse * clusters / max(clusters - vector.size, 1)


def shot_scale_covariance(search: Search, solution: Solution) -> Floats:
    """(V, V) covariance from the scale of every filmed scene, known to :data:`SHOT_SCALE` only, one apart from another.

    No residual shows such an error where the gain or the halo can follow it.
    """
    jacobian = search.jacobian(solution.vector)
    inverse = _inverse(jacobian.T @ jacobian)
    total, start = np.zeros_like(inverse), 0
    for part in search.parts:
        rows = slice(start, start + len(part.rows))
        start += len(part.rows)
        lean = SHOT_SCALE * (jacobian[rows].T @ part.rows[:, -1])
        total += np.outer(lean, lean)
    return inverse @ total @ inverse


def uncertainty(
    search: Search, solution: Solution, pixels: Sequence[FilmedPixels], jackknife: bool = True
) -> Uncertainty:
    """Noise and, by leaving out shot types and layer counts in turn, systematic covariance of a solution."""
    noise = noise_covariance(search, solution, pixels)
    groups = {
        "shot type": {part.target: [p for p in search.parts if p.target != part.target] for part in search.parts},
        "layer count": {str(n): [p for p in search.parts if p.layers != n] for n in search.counts},
    }
    size = search.size
    rows: list[LeftOut] = []
    excess = {kind: np.zeros_like(noise) for kind in groups}
    whole = {kind: np.zeros_like(noise) for kind in groups}
    scale = _noise_scale(search, solution, noise)
    for kind, parts in groups.items():
        if len(parts) < 2 or not jackknife:
            continue
        share = (len(parts) - 1) / len(parts)
        for left_out, kept in parts.items():
            fewer = Search(search.family, search.geometry, search.basis, kept)
            other = fewer.solve(solution.logs, most_steps=_FEW_STEPS)
            move = other.logs - solution.logs
            expected = scale * _inverse(_hessian(fewer, other))[:size, :size] - noise[:size, :size]
            significant = _exceeds_noise(move, expected)
            names = search.family.names
            rows.append(LeftOut(kind, left_out, dict(zip(names, move.tolist())), significant))
            # The gains move with the parameters; that of a layer count which is left out stays where it is.
            gains = [other.log_gains.get(n, known) - known for n, known in solution.log_gains.items()]
            both = np.concatenate([move, gains])
            whole[kind] += share * np.outer(both, both)
            if significant:
                excess[kind] += share * np.outer(both, both)
    kind = max(groups, key=lambda k: float(np.trace(excess[k][:size, :size])))
    few = len(groups[kind])
    left_out_error = excess[kind] * ((t.ppf(0.975, few - 1) / _NORMAL_95) ** 2 if few > 1 else 0.0)
    scale_error = shot_scale_covariance(search, solution)
    systematic = scale_error + left_out_error
    larger = max(groups, key=lambda k: float(np.trace(whole[k][:size, :size])))
    spread = np.sqrt(np.diag(whole[larger]))
    shares = {"noise": noise, "shot scale": scale_error, kind: left_out_error}
    dominant = max(shares, key=lambda name: float(np.trace(shares[name][:size, :size])))
    return Uncertainty(noise, systematic, tuple(rows), spread, dominant)


def _hessian(search: Search, solution: Solution) -> Floats:
    jacobian = search.jacobian(solution.vector)
    return jacobian.T @ jacobian


def _noise_scale(search: Search, solution: Solution, noise: Floats) -> float:
    """Sandwich against inverse Hessian, over the parameters: what correlated residuals cost."""
    plain = np.diag(_inverse(_hessian(search, solution)))[: search.size]
    return max(1.0, float(np.median(np.diag(noise)[: search.size] / plain)))


def _exceeds_noise(move: Floats, expected: Floats) -> bool:
    """Whether a move is larger than noise of covariance ``expected`` makes it in 5 % of the cases."""
    values, vectors = np.linalg.eigh((expected + expected.T) / 2)
    known = values > 1e-9 * max(float(values.max()), 1e-30)
    if not known.any():
        return True
    statistic = float((((move @ vectors)[known]) ** 2 / values[known]).sum())
    return statistic > float(chi2.ppf(_NOISE_QUANTILE, int(known.sum())))


def _inverse(hessian: Floats) -> Floats:
    """Inverse of a positive matrix whose parameters may have very different scales."""
    scale = 1 / np.sqrt(np.maximum(np.diag(hessian), 1e-300))
    return np.linalg.pinv(hessian * np.outer(scale, scale), rcond=1e-13, hermitian=True) * np.outer(scale, scale)
