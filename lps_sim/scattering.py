"""Characteristic functions of one scattering event, and the exponent of one sheet.

An event turns a ray by a small angle theta with a rotationally symmetric density p(theta) per steradian that
integrates to 1 over the plane. Its characteristic function is the two-dimensional Fourier transform of p at the
angular frequency q (cycles/rad); it is real, 1 at q = 0 and falls to 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, kve

from .errors import UnknownNameError

Floats = NDArray[np.float64]


def gaussian(q_cpr: ArrayLike, s_rad: float) -> Floats:
    """Gaussian event, exp(-2 pi^2 s^2 q^2).

    Parameters
    ----------
    q_cpr : any shape, angular frequency in cycles/rad, >= 0
    s_rad : standard deviation of the angle along one axis, rad
    """
    return np.exp(-2.0 * (np.pi * s_rad * np.asarray(q_cpr, dtype=float)) ** 2)


def henyey_greenstein(q_cpr: ArrayLike, s_rad: float) -> Floats:
    """Small-angle Henyey-Greenstein event, exp(-2 pi s q); its density is s / (2 pi (s^2 + theta^2)^1.5).

    Parameters
    ----------
    q_cpr : any shape, angular frequency in cycles/rad, >= 0
    s_rad : angular scale, rad (about 1 - g of the asymmetry g)

    References
    ----------
    Henyey & Greenstein 1941
    """
    return np.exp(-2.0 * np.pi * s_rad * np.asarray(q_cpr, dtype=float))


def moffat(q_cpr: ArrayLike, s_rad: float, beta: float) -> Floats:
    """Moffat event, density proportional to (1 + theta^2/s^2)^-beta.

    P(q) = 2^(2-beta) / Gamma(beta-1) z^(beta-1) K_{beta-1}(z),  z = 2 pi s q

    Evaluated through logarithms of the exponentially scaled Bessel function, so that z -> 0 gives 1 and a large z
    gives 0 without overflow. beta = 1.5 is Henyey-Greenstein.

    Parameters
    ----------
    q_cpr : any shape, angular frequency in cycles/rad, >= 0
    s_rad : angular scale, rad
    beta : exponent, > 1

    References
    ----------
    Moffat 1969; checked against sampled events in tests/lps_sim/test_scattering.py
    """
    nu = beta - 1.0
    z = 2.0 * np.pi * s_rad * np.asarray(q_cpr, dtype=float)
    safe = np.maximum(z, np.finfo(float).tiny)
    with np.errstate(over="ignore"):
        bessel = kve(nu, safe)
    # K overflows only where z^nu < 1e-308, and there P is 1 to the last bit; it gives up beyond z = 1e9, where P is 0.
    finite = np.isfinite(bessel) & (z > 0)
    log_p = (1.0 - nu) * np.log(2.0) - gammaln(nu) + nu * np.log(safe) + np.log(np.where(finite, bessel, 1.0)) - safe
    return np.where(finite, np.minimum(np.exp(np.where(finite, log_p, 0.0)), 1.0), np.where(z < 1, 1.0, 0.0))


KINDS = ("gaussian", "henyey_greenstein", "moffat")


def characteristic(kind: str, q_cpr: ArrayLike, s_rad: float, beta: float = 1.5) -> Floats:
    """Characteristic function by name; ``beta`` is used by the Moffat event only."""
    if kind == "gaussian":
        return gaussian(q_cpr, s_rad)
    if kind == "henyey_greenstein":
        return henyey_greenstein(q_cpr, s_rad)
    if kind == "moffat":
        return moffat(q_cpr, s_rad, beta)
    raise UnknownNameError("kind", kind, KINDS)


def rgb(name: str, value: ArrayLike, low: float = 0.0, low_open: bool = False, high: float = np.inf) -> Floats:
    """One number or three as a read-only (3,) array, checked against its range.

    Raises
    ------
    ValueError
        not 1 or 3 finite numbers, or out of [low, high] (``low_open``: low itself is out too)
    """
    array = np.array(value, dtype=np.float64)
    if array.shape not in ((), (1,), (3,)):
        raise ValueError(f"{name} must be one number or three (RGB), got shape {array.shape}")
    array = np.broadcast_to(array, (3,)).copy()
    too_low = array <= low if low_open else array < low
    if not np.isfinite(array).all() or too_low.any() or (array > high).any():
        rule = f"> {low:g}" if low_open else f">= {low:g}"
        rule += f" and <= {high:g}" if np.isfinite(high) else ""
        raise ValueError(f"{name} must be finite and {rule}, got {array.tolist()}")
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Scattering:
    """One kind of scattering event inside a sheet, per colour channel.

    Parameters
    ----------
    kind : "gaussian", "henyey_greenstein" or "moffat"
    tau : (3,) mean number of events a sheet, >= 0
    s_rad : (3,) angular scale of one event, rad, > 0
    beta : (3,) Moffat exponent, > 1 (kept at 1.5 for the other kinds)
    """

    kind: str
    tau: Floats
    s_rad: Floats
    beta: Floats

    def __init__(self, kind: str, tau: ArrayLike, s_rad: ArrayLike, beta: ArrayLike = 1.5) -> None:
        if kind not in KINDS:
            raise UnknownNameError("kind", kind, KINDS)
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "tau", rgb("tau", tau))
        object.__setattr__(self, "s_rad", rgb("s_rad", s_rad, low_open=True))
        object.__setattr__(self, "beta", rgb("beta", beta, low=1.0, low_open=True))

    def exponent(self, q_cpr: ArrayLike) -> Floats:
        """tau [1 - P(q)] of one sheet, shape ``q.shape + (3,)``."""
        q = np.asarray(q_cpr, dtype=float)
        out = np.empty((*q.shape, 3))
        for c in range(3):
            first = next(
                (k for k in range(c) if self.s_rad[k] == self.s_rad[c] and self.beta[k] == self.beta[c]),
                c,
            )
            if first < c and self.tau[first] > 0:
                out[..., c] = out[..., first] * (self.tau[c] / self.tau[first])
            else:
                p = characteristic(self.kind, q, float(self.s_rad[c]), float(self.beta[c]))
                out[..., c] = self.tau[c] * (1.0 - p)
        return out


def sheet_exponent(q_cpr: ArrayLike, sigma_rad: ArrayLike, components: tuple[Scattering, ...]) -> Floats:
    """mu(q) = 2 pi^2 sigma^2 q^2 + sum_k tau_k [1 - P_k(q)], shape ``q.shape + (3,)``.

    N sheets have the OTF exp(-N mu(q)): compound-Poisson multiple scattering (Wells 1969).

    Parameters
    ----------
    q_cpr : any shape, angular frequency in cycles/rad, >= 0
    sigma_rad : (3,) standard deviation of the rough faces' Gaussian, rad per sqrt(sheet)
    components : the sheet's scattering events
    """
    q = np.asarray(q_cpr, dtype=float)
    mu = 2.0 * (np.pi * np.asarray(sigma_rad) * q[..., None]) ** 2
    for component in components:
        mu = mu + component.exponent(q)
    return mu
