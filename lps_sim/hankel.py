"""From a radial transfer function to encircled energy and point spread: Hankel transforms on logarithmic grids.

Halos reach from hundredths of a degree to beyond the view, so a linear grid cannot hold them. FFTLog (Hamilton
2000; ``scipy.fft.fht``) transforms 16 decades of frequency at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fht, fhtoffset
from scipy.interpolate import CubicSpline, PchipInterpolator

Floats = NDArray[np.float64]

# 1e-10..1e6 cycles/rad: at the lower end the OTF of every allowed film is 1 to within its slowest power law, at the
# upper end the scattered part is 0. 16 decades in 8192 steps: 0.45 % a step.
_LOG_Q = np.linspace(np.log(1e-10), np.log(1e6), 8192)
_STEP = float(_LOG_Q[1] - _LOG_Q[0])
FREQUENCIES_CPR: Floats = np.exp(_LOG_Q)


def _transform(values: Floats, order: int, bias: float) -> tuple[Floats, Floats]:
    """(ln kappa, integral values(q) J_order(kappa q) kappa dq) for ``values`` on :data:`FREQUENCIES_CPR`."""
    offset = fhtoffset(_STEP, order, initial=0.0, bias=bias)
    log_kappa = offset - _LOG_Q[::-1]
    return log_kappa, fht(values, _STEP, order, offset=offset, bias=bias)


def encircled(transfer: Floats) -> Callable[[Floats], Floats]:
    """Energy within theta: EE(theta) = 2 pi theta * integral transfer(q) J1(2 pi theta q) dq.

    Parameters
    ----------
    transfer : (Q,) radial OTF on :data:`FREQUENCIES_CPR`, falling to 0 (take an unscattered part off first)

    Returns
    -------
    function of theta in rad (any shape), between 0 and transfer(0), never falling
    """
    # Bias -1 makes both sides vanish at both ends (input ~ q, output ~ kappa and 1/kappa): no wrap-around.
    log_kappa, energy = _transform(transfer, order=1, bias=-1.0)
    total = float(transfer[0])
    rising = np.maximum.accumulate(np.clip(energy, 0.0, total))
    # Only the inner decades are asked for; the ends of the grid carry the transform's edge error.
    spline = PchipInterpolator(log_kappa[512:-512], rising[512:-512])
    low, high = log_kappa[512], log_kappa[-513]

    def energy_within(theta_rad: Floats) -> Floats:
        kappa = 2.0 * np.pi * np.asarray(theta_rad, dtype=float)
        log = np.log(np.maximum(kappa, np.exp(low)))
        return np.where(kappa <= np.exp(low), 0.0, np.where(log >= high, total, spline(np.minimum(log, high))))

    return energy_within


def point_spread(transfer: Floats) -> Callable[[Floats], Floats]:
    """Density per steradian: psf(theta) = 2 pi * integral transfer(q) J0(2 pi theta q) q dq.

    Parameters
    ----------
    transfer : (Q,) radial OTF on :data:`FREQUENCIES_CPR`, falling to 0

    Returns
    -------
    function of theta in rad (any shape), >= 0
    """
    log_kappa, values = _transform(transfer * FREQUENCIES_CPR, order=0, bias=0.0)
    density = 2.0 * np.pi * values / np.exp(log_kappa)
    keep = slice(512, -512)
    spline = CubicSpline(log_kappa[keep], density[keep])
    low, high = float(log_kappa[keep][0]), float(log_kappa[keep][-1])

    def per_steradian(theta_rad: Floats) -> Floats:
        kappa = 2.0 * np.pi * np.maximum(np.asarray(theta_rad, dtype=float), np.finfo(float).tiny)
        return np.maximum(spline(np.clip(np.log(kappa), low, high)), 0.0)

    return per_steradian


# A transfer function is smooth in log q: every 32nd frequency (15 % apart) holds it, tested to 1e-5 of the energy.
NODES_CPR: Floats = FREQUENCIES_CPR[::32]


def node_maps(psf_at_rad: Floats, energy_within_rad: Floats) -> tuple[Floats, Floats]:
    """Matrices from a transfer function at :data:`NODES_CPR` to its point spread and encircled energy.

    Both are linear in the transfer function, so a fit that asks again and again for the same angles pays a small
    product instead of a transform.

    Parameters
    ----------
    psf_at_rad : (T,) angles for :func:`point_spread`, 0.01..1000 rad
    energy_within_rad : (E,) angles for :func:`encircled`, 0.01..1000 rad

    Returns
    -------
    (T, J) and (E, J)
    """
    spread, energy = _node_splines()
    log_kappa = np.log(2.0 * np.pi * psf_at_rad)
    psf = spread(log_kappa) * 2.0 * np.pi / np.exp(log_kappa)
    return psf.T, energy(np.log(2.0 * np.pi * energy_within_rad)).T


@functools.cache
def _node_splines() -> tuple[CubicSpline, CubicSpline]:
    """The transforms of every node's cardinal spline over the angles that fits ask for, 0.01 to 1000 rad."""
    unit = CubicSpline(np.log(NODES_CPR), np.eye(NODES_CPR.size))(_LOG_Q).T
    splines = []
    for values, order, bias in ((unit * FREQUENCIES_CPR, 0, 0.0), (unit, 1, -1.0)):
        log_kappa, transformed = _transform(values, order, bias)
        asked = (log_kappa > np.log(2 * np.pi * 0.009)) & (log_kappa < np.log(2 * np.pi * 1100))
        splines.append(CubicSpline(log_kappa[asked], transformed[:, asked], axis=1))
    return splines[0], splines[1]
