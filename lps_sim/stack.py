"""Radiative transfer through a stack of sheets: what wide-angle scattering does from one layer to many.

The compound-Poisson law (Wells 1969) adds small planar angles without end. Light that is thrown far out does not keep
to it: it meets the faces obliquely (Fresnel), is trapped by total reflection, comes back between the sheets, and can
never leave beyond 90 degrees. This module solves the transfer equation for that part by adding and doubling
(van de Hulst 1980; Prahl et al. 1993): a sheet is a scattering slab of index n between two Fresnel faces, a stack is
sheets with air between them, everything is averaged over azimuth, and the light comes in along the axis.

    T_AB = T_B (1 - R_A R_B)^-1 T_A,    R_AB = R_A + T_A R_B (1 - R_A R_B)^-1 T_A

Inside a sheet one event turns a ray by Theta with a density proportional to (1 + (2 sin(Theta/2))^2 / (s/n)^2)^-beta
(Reynolds & McCormick 1980; beta = 1.5 is Henyey-Greenstein): the Moffat event of :mod:`lps_sim.scattering` on the
sphere, whose scale s outside becomes s/n inside.

Checked against closed forms (clear sheets, energy) and against photons followed one by one in
tests/lps_sim/test_stack.py; the Monte-Carlo renderer in benchmarks/film_truth agrees to 0.3 % at every angle.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import j0

Floats = NDArray[np.float64]

# Events narrower than this at the camera need no radiative transfer: their light stays near the axis, where the
# Poisson law is exact to first order, and the ring quadrature below could not resolve them.
WIDE_RAD = math.radians(1.5)

_ESCAPING = 44  # rings within the escape cone, quadratic in radius: fine near the axis
_TRAPPED = 14  # rings beyond total reflection
_AZIMUTHS = 40
_LEAST_ABSORPTION = 1e-9  # without any, light in the trapped rings of a clear sheet would circle for ever
_SERIES = 12  # terms: 1 / 12! is 2e-9
_FIRST_STEP = 0.5  # optical depth of the first doubling step along the flattest ring
_EDGE = math.sqrt(2.0)  # equal-area radius of 90 degrees
# The wide part's transfer function is tabulated here and 0 beyond: exp(-2 pi s q) is below 1e-12 there.
_Q_TABLE = np.expm1(np.linspace(0.0, np.log1p(180.0), 320))
_FINE = 3000  # radii of the Hankel transform

Event = tuple[float, float, float]  # tau, s_rad (outside), beta


class _Rings:
    """Directions inside a sheet of index n: the axis, rings that can leave, rings that can not."""

    def __init__(self, n: float) -> None:
        nodes, weights = np.polynomial.legendre.leggauss(_ESCAPING)
        self.v = (nodes + 1) / 2
        self.radius = _EDGE * self.v**2
        self.width = _EDGE * self.v * weights  # d(radius)
        outside = 1 - self.radius**2 / 2
        inside = np.sqrt(1 - (1 - outside**2) / n**2)
        critical = math.sqrt(1 - 1 / n**2)
        trapped, trapped_weights = np.polynomial.legendre.leggauss(_TRAPPED)
        # The axis has no weight: light leaves it, none is scattered exactly into it.
        self.cosine = np.concatenate([[1.0], inside, critical * (trapped + 1) / 2])
        self.weight = np.concatenate(
            [[0.0], outside * self.radius * self.width / (n * n * inside), critical * trapped_weights / 2]
        )
        self.leaving = 1 + _ESCAPING
        c_in, c_out = self.cosine[: self.leaving], np.concatenate([[1.0], outside])
        s_wave, p_wave = (c_in - n * c_out) / (c_in + n * c_out), (n * c_in - c_out) / (n * c_in + c_out)
        self.reflectance = np.concatenate([(s_wave**2 + p_wave**2) / 2, np.ones(_TRAPPED)])
        azimuth, share = np.polynomial.legendre.leggauss(_AZIMUTHS)
        u = (azimuth + 1) / 2
        self._cos_azimuth, self._share = np.cos(np.pi * u**3), 1.5 * u**2 * share  # dense in the forward direction

    def redistribution(self, events: tuple[Event, ...], n: float) -> tuple[Floats, Floats]:
        """Probability that one event sends ring j (columns) to ring i: forward, backward."""
        sine = np.sqrt(1 - self.cosine**2)
        total = sum(tau for tau, _, _ in events)
        along = self.cosine[:, None] * self.cosine
        across = (sine[:, None] * sine)[..., None] * self._cos_azimuth
        parts = []
        for sign in (1.0, -1.0):
            square = np.maximum(2 - 2 * (sign * along[..., None] + across), 0.0)
            density = sum((tau / total) * _event_density(square, s / n, beta) for tau, s, beta in events)
            parts.append(self.weight[:, None] * (density @ self._share) / 2)
        # The rings hold the event's integral to 1e-5; what is missing is put right, so that no light is lost.
        sums = parts[0].sum(axis=0) + parts[1].sum(axis=0)
        return parts[0] / sums, parts[1] / sums

    def _to_table(self, weight: Floats, place: Callable[[Floats], Floats]) -> Floats:
        """(Q, rings): light in the rings, weighted -> its Hankel transform at :data:`_Q_TABLE`, radius place(r)."""
        v = np.linspace(0, 1, _FINE + 1)
        v = (v[1:] + v[:-1]) / 2
        radius, width = _EDGE * v**2, _EDGE * 2 * v / _FINE
        knots = np.concatenate([self.v, [1.0]])  # no light leaves at 90 degrees
        unit = np.eye(_ESCAPING + 1)[:, :-1] / np.append(2 * np.pi * self.radius * self.width, 1.0)[:, None]
        intensity = CubicSpline(knots, unit * np.append(weight, 0.0)[:, None])(v)
        return j0(2 * np.pi * _Q_TABLE[:, None] * place(radius)) @ (intensity * (2 * np.pi * radius * width)[:, None])

    @functools.cached_property
    def to_light(self) -> Floats:
        """(Q, rings): light in the rings -> its transfer function at :data:`_Q_TABLE`, in angles theta."""
        return self._to_table(np.ones(_ESCAPING), lambda radius: 2 * np.arcsin(radius / 2))

    @functools.cached_property
    def to_kernel(self) -> Floats:
        """(Q, rings): light in the rings -> transfer function of the kernel p / sqrt(cos gamma), in radii r."""
        return self._to_table(1 / np.sqrt(1 - self.radius**2 / 2), lambda radius: radius)


def _event_density(square: Floats, s: float, beta: float) -> Floats:
    """Density of one event over (2 sin(Theta/2))^2, mean 1 over the sphere."""
    norm = s * s / 4 * (1 - (1 + 4 / s**2) ** (1 - beta)) / (beta - 1)
    return np.exp(-beta * np.log1p(square / s**2)) / norm


@functools.lru_cache(maxsize=32)
def _rings(n: float) -> _Rings:
    return _Rings(n)


def _slab(rings: _Rings, events: tuple[Event, ...], absorption: float, n: float) -> tuple[Floats, Floats]:
    """(T, R) of the scattering medium of one sheet without its faces, by doubling a thin layer."""
    tau = sum(event[0] for event in events)
    size, extinction = rings.cosine.size, tau + max(absorption, _LEAST_ABSORPTION)
    forward, backward = rings.redistribution(events, n) if tau else (np.zeros((size, size)),) * 2
    onward = (tau * forward - extinction * np.eye(size)) / rings.cosine
    back = tau * backward / rings.cosine
    halvings = max(0, math.ceil(math.log2(extinction / float(rings.cosine.min()) / _FIRST_STEP)))
    step = _exponential(np.block([[onward, back], [-back, -onward]]) / 2**halvings)
    reflected = np.asarray(-np.linalg.solve(step[size:, size:], step[size:, :size]), dtype=np.float64)
    passed = step[:size, :size] + step[:size, size:] @ reflected
    for _ in range(halvings):
        passed, reflected = _add(passed, reflected, passed, reflected)
    return passed, reflected


def _exponential(matrix: Floats) -> Floats:
    """exp of a matrix of norm below about 1 by its series; scipy's expm costs ten times as much at this size."""
    identity = np.eye(len(matrix))
    total: Floats = identity + matrix / _SERIES
    for order in range(_SERIES - 1, 0, -1):
        total = identity + matrix @ total / order
    return total


def _add(t_a: Floats, r_a: Floats, t_b: Floats, r_b: Floats) -> tuple[Floats, Floats]:
    """(T, R) of layer A before layer B, both the same from either side."""
    between = np.linalg.solve(np.eye(len(t_a)) - r_a @ r_b, t_a)
    return t_b @ between, r_a + t_a @ r_b @ between


def _with_faces(rings: _Rings, passed: Floats, reflected: Floats) -> tuple[Floats, Floats]:
    """(T, R) of a slab between its two Fresnel faces, for the rings that can leave."""
    face, size = rings.reflectance, len(passed)
    at_exit = np.linalg.solve(np.eye(size) - reflected * face, passed)  # light on the inner side of the far face
    returned = reflected + passed @ (face[:, None] * at_exit)
    inside = np.linalg.inv(np.eye(size) - face[:, None] * returned)
    enter = 1 - face
    sheet_t = enter[:, None] * (at_exit @ inside) * enter
    sheet_r = np.diag(face) + enter[:, None] * (returned @ inside) * enter
    keep = slice(rings.leaving)
    return sheet_t[keep, keep], sheet_r[keep, keep]


@dataclass(frozen=True)
class StackLight:
    """Where light along the axis goes behind N sheets.

    transmittance : share of it that leaves forward
    direct : share that leaves unscattered
    rings : (R,) shares that leave scattered, by ring
    """

    transmittance: float
    direct: float
    rings: Floats


class Stack:
    """Sheets of one film in air: light behind any number of them, solved once and kept.

    Parameters
    ----------
    events : (tau, s_rad, beta) each: mean number a sheet, scale at the camera (>= WIDE_RAD), exponent > 1
    refractive_index : of the sheets, 1..3
    absorption : absorbing optical depth a sheet, >= 0
    """

    def __init__(self, events: tuple[Event, ...], refractive_index: float, absorption: float = 0.0) -> None:
        n = max(float(refractive_index), 1.0 + 1e-6)
        self._rings = _rings(n)
        self._sheet = _with_faces(self._rings, *_slab(self._rings, events, absorption, n))
        self._grown = [self._sheet]

    def light(self, layers: int) -> StackLight:
        """The light behind ``layers`` sheets, 1 or more."""
        while len(self._grown) < layers:
            self._grown.append(_add(*self._grown[-1], *self._sheet))
        column = self._grown[layers - 1][0][:, 0]
        return StackLight(float(column.sum()), float(column[0]), column[1:])

    def transfer(self, layers: int, kernel: bool = False) -> CubicSpline:
        """Transfer function of the scattered light over log(1 + q), as :func:`scattered_transfer`."""
        light = self.light(layers)
        table = self._rings.to_kernel if kernel else self._rings.to_light
        return CubicSpline(np.log1p(_Q_TABLE), table @ light.rings / light.transmittance)

    def kernel_density(self, radius: Floats, layers: int) -> Floats:
        """The kernel p / sqrt(cos theta) per steradian at equal-area radii (any shape), 0 beyond 90 degrees."""
        light, rings = self.light(layers), self._rings
        cosine = 1 - rings.radius**2 / 2
        density = light.rings / (2 * np.pi * rings.radius * rings.width * np.sqrt(cosine) * light.transmittance)
        spline = CubicSpline(np.append(rings.v, 1.0), np.append(density, 0.0))
        return np.where(radius < _EDGE, spline(np.sqrt(np.minimum(radius, _EDGE) / _EDGE)), 0.0)

    @property
    def radius(self) -> Floats:
        """Equal-area radius 2 sin(theta/2) of every ring."""
        return self._rings.radius


@functools.lru_cache(maxsize=256)
def stack(events: tuple[Event, ...], refractive_index: float, absorption: float = 0.0) -> Stack:
    """The solved stack of these events, kept for the next call."""
    return Stack(events, refractive_index, absorption)


@functools.lru_cache(maxsize=1024)
def _transfer(events: tuple[Event, ...], refractive_index: float, layers: int, kernel: bool) -> CubicSpline:
    return stack(events, refractive_index).transfer(layers, kernel)


def direct_share(events: tuple[Event, ...], refractive_index: float, layers: int) -> float:
    """Unscattered share of the light that ``layers`` sheets transmit, 0..1; 1 where nothing scatters."""
    light = stack(events, refractive_index).light(layers)
    return light.direct / light.transmittance


def scattered_transfer(
    q_cpr: Floats, events: tuple[Event, ...], refractive_index: float, layers: int, kernel: bool = False
) -> Floats:
    """Transfer function of the scattered light, ``q.shape``: 1 - direct share at q = 0, falling to 0.

    A Hankel transform F(q) = integral p(theta) J0(2 pi q theta) dOmega / T of the share p per steradian that a beam
    along the normal sends out.

    Parameters
    ----------
    q_cpr : any shape, cycles/rad
    events, refractive_index, layers : the stack
    kernel : of p / sqrt(cos theta) in equal-area radii instead, the kernel of the reciprocal operator: a beam along
        the normal causes the radiance p / cos(theta), and BTDF(in, out) = h(angle between) / sqrt(cos_in cos_out)
    """
    spline = _transfer(events, refractive_index, layers, kernel)
    q = np.asarray(q_cpr, dtype=float)
    inside = q < _Q_TABLE[-1]
    return np.where(inside, spline(np.log1p(np.where(inside, q, 0.0))), 0.0)
