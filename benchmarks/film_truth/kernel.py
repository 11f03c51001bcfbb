"""From photon counts to the scattering kernel h_N(gamma), and the figures a fit is judged by.

A beam along the film's normal sends the share ``p(gamma)`` per steradian into the angle gamma. The radiance it causes
is p / cos(gamma); the kernel between any two directions i and o is taken as symmetric,

    BTDF(i, o) = h(angle between i and o) / sqrt(cos_i cos_o),      h(gamma) = p(gamma) / sqrt(cos gamma)

so that a scene of radiance x is seen as ``y(o) = integral of x(i) h(angle) sqrt(cos_i / cos_o) dOmega_i`` plus the
unscattered part. From h and the unscattered share b (cycles/rad q, both un-normalised):

    EE(theta) = b + 2 pi integral_0^theta h sqrt(cos) sin dgamma
    A(q)      = b + 2 pi integral_0^75deg h sqrt(cos) sin J0(2 pi q gamma) dgamma
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline, PchipInterpolator
from scipy.special import j0

from .transport import Transport

# The angle beyond which light counts as out of the field in the transfer function.
FIELD_RAD = math.radians(75.0)
HAZE_RAD = math.radians(2.5)
GAMMA_RAD = np.concatenate([[0.0], np.radians(np.geomspace(0.06, 88.0, 900))])
THETA_RAD = np.concatenate([np.linspace(0, 0.2, 301), np.linspace(0.2, 1.30178726, 150)[1:]])
_KNOTS = 80
# Photons within the angle below which the kernel is taken as smooth in the angle's square.
_INNER_COUNTS = 2000
_SMOOTHING = 10.0 ** np.arange(-3, 5, 0.5)
_QUADRATURE = 60_001


def smooth_kernel(counted: Transport, gamma_rad: NDArray[np.float64] = GAMMA_RAD) -> NDArray[np.float64]:
    """h_N at given angles (per steradian, 0 where nothing is scattered), from the counts of one film.

    The logarithm of the radiance is a penalised cubic spline of log angle, fitted to the counts by maximum Poisson
    likelihood (Eilers and Marx 1996); the penalty is the one with the least Bayesian information criterion.
    """
    edges = counted.edges_rad
    counts = counted.scattered * counted.photons
    if counts.sum() == 0:
        return np.zeros_like(gamma_rad)
    # Projected solid angle of each bin: the counts' expectation is photons x radiance x this.
    expected = counted.photons * math.pi * np.diff(np.sin(edges) ** 2)
    centres = np.sqrt((edges[:-1] ** 2 + edges[1:] ** 2) / 2)
    # A smooth radiance is even in the angle: a function of its square near the axis, of its logarithm far from it.
    inner = centres[min(np.searchsorted(np.cumsum(counts), _INNER_COUNTS), len(centres) - 1)]
    basis, knots = _basis(_place(centres, inner))
    penalty = np.diff(np.eye(basis.shape[1]), 2, axis=0)
    penalty = penalty.T @ penalty
    best: tuple[float, NDArray[np.float64]] | None = None
    for smoothing in _SMOOTHING:
        coefficients, score = _poisson_spline(basis, counts, expected, smoothing * penalty)
        if best is None or score < best[0]:
            best = score, coefficients
    assert best is not None
    log_radiance = BSpline(knots, best[1], 3)(_place(gamma_rad, inner))
    return np.exp(log_radiance) * np.sqrt(np.cos(gamma_rad))


def _place(angle_rad: NDArray[np.float64], inner_rad: float) -> NDArray[np.float64]:
    return np.log1p((angle_rad / inner_rad) ** 2) / 2


def _basis(place: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    inner = np.linspace(0, place[-1] + 1e-9, _KNOTS)
    step = inner[1] - inner[0]
    knots = np.concatenate([inner[0] - step * np.arange(3, 0, -1), inner, inner[-1] + step * np.arange(1, 4)])
    return BSpline.design_matrix(place, knots, 3).toarray(), knots


def _poisson_spline(
    basis: NDArray[np.float64],
    counts: NDArray[np.float64],
    expected: NDArray[np.float64],
    penalty: NDArray[np.float64],
) -> tuple[NDArray[np.float64], float]:
    """Coefficients by iteratively re-weighted least squares, and the criterion."""
    start = np.log((counts + 0.5) / expected)
    weight = counts + 0.5
    tiny = 1e-6 * np.eye(basis.shape[1])
    coefficients = np.linalg.solve(basis.T @ (weight[:, None] * basis) + penalty + tiny, basis.T @ (weight * start))
    hat = 0.0
    for _ in range(30):
        eta = np.clip(basis @ coefficients, -60, 60)
        mean = expected * np.exp(eta)
        working = eta + (counts - mean) / np.maximum(mean, 1e-12)
        normal = basis.T @ (mean[:, None] * basis)
        updated = np.linalg.solve(normal + penalty + tiny, basis.T @ (mean * working))
        moved = np.abs(updated - coefficients).max()
        coefficients = updated
        hat = float(np.trace(np.linalg.solve(normal + penalty + tiny, normal)))
        if moved < 1e-7:
            break
    mean = expected * np.exp(np.clip(basis @ coefficients, -60, 60))
    logs = np.where(counts > 0, counts * np.log(np.maximum(counts, 1e-300) / mean), 0.0)
    deviance = 2 * float((logs - counts + mean).sum())
    return coefficients, deviance + math.log(len(counts)) * hat


def kernel_table(h: NDArray[np.float64], gamma_rad: NDArray[np.float64] = GAMMA_RAD) -> PchipInterpolator:
    """h between its tabulated angles, and flat beyond the last one."""
    return PchipInterpolator(gamma_rad, h, extrapolate=False)


def encircled_energy(h: NDArray[np.float64], ballistic: float, theta_rad: ArrayLike = THETA_RAD) -> NDArray[np.float64]:
    """EE_N(theta): share of the incident flux that leaves within theta of the beam."""
    gamma, integrand = _integrand(h, GAMMA_RAD[-1])
    steps = np.diff(gamma) * (integrand[1:] + integrand[:-1]) / 2
    return np.asarray(ballistic + np.interp(theta_rad, gamma, np.concatenate([[0.0], np.cumsum(steps)])))


def transfer_function(h: NDArray[np.float64], ballistic: float, q_cpr: ArrayLike) -> NDArray[np.float64]:
    """A_N(q), absolute: the in-field transmittance at q = 0."""
    gamma, integrand = _integrand(h, FIELD_RAD)
    return np.array(
        [ballistic + np.trapezoid(integrand * j0(2 * np.pi * q * gamma), gamma) for q in np.atleast_1d(q_cpr)]
    )


def haze(h: NDArray[np.float64], ballistic: float) -> float:
    """ASTM D1003: share of the transmitted light that leaves more than 2.5 degrees from the beam."""
    inner, total = encircled_energy(h, ballistic, [HAZE_RAD, GAMMA_RAD[-1]])
    return float(1 - inner / total)


def _integrand(h: NDArray[np.float64], end_rad: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    gamma = np.linspace(0, end_rad, _QUADRATURE)
    return gamma, kernel_table(h)(gamma) * 2 * np.pi * np.sin(gamma) * np.sqrt(np.cos(gamma))
