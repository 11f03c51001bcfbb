"""Monte-Carlo transport of unpolarised light through a stack of film sheets separated by air.

Sheets are laterally infinite, so that only directions and the depth inside a sheet matter. Every sheet has two faces
(Fresnel reflection and refraction; the back one, or both, rough: micro-facets of Walter et al. 2007), and a cloudy bulk
with up to two kinds of scattering events (Henyey and Greenstein 1941, in full three dimensions). Reflections inside and
between sheets are followed until a photon leaves the stack in front or behind, or is absorbed.

Sources: Walter, Marschner, Li, Torrance 2007, Microfacet models for refraction through rough surfaces; Henyey and
Greenstein 1941; Stokes 1862 for the pile of plates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

# Exit angles are counted in bins of equal width in log(angle); the first bin reaches from the axis to FIRST_EDGE_RAD.
FIRST_EDGE_RAD = math.radians(0.02)
BINS = 600
_BATCHES = 64
# A facet whose slope exceeds this many widths is taken for visible with the largest probability.
_BECKMANN_SLOPES = 6.0
_GGX_SLOPES = 40.0
_MAX_STEPS = 200_000


@dataclass(frozen=True)
class FilmParameters:
    """One sheet of film.

    Parameters
    ----------
    n : refractive index
    tau1, g1 : mean number of scattering events of the first kind in a normal crossing, and their mean cosine, 0..1
    tau2, g2 : the same of the second kind
    tau_abs : absorption of a normal crossing, exp(-tau_abs)
    p_flat : share of a rough face that is smooth, 0..1
    alpha : width of the facets' slopes (Beckmann: root mean square slope), 0 = smooth faces
    ggx : whether the slopes follow GGX in the place of Beckmann
    rough_faces : 1 (the back face) or 2
    """

    n: float = 1.5
    tau1: float = 0.0
    g1: float = 0.0
    tau2: float = 0.0
    g2: float = 0.0
    tau_abs: float = 0.0
    p_flat: float = 0.0
    alpha: float = 0.0
    ggx: bool = False
    rough_faces: int = 1

    def vector(self) -> NDArray[np.float64]:
        """The parameters in the order of ``mc_params_n_tau1_g1_tau2_g2_tauabs_pflat_alpha_ggx``."""
        return np.array(
            [self.n, self.tau1, self.g1, self.tau2, self.g2, self.tau_abs, self.p_flat, self.alpha, float(self.ggx)]
        )


@dataclass(frozen=True)
class Transport:
    """Where the light of a normally incident beam goes; shares of the incident flux.

    ``scattered`` is the scattered, transmitted flux in each angle bin between ``edges_rad``, ``scattered_sd`` its
    standard error; ``ballistic`` the transmitted flux that was never deflected, known without noise.
    """

    layers: int
    photons: int
    edges_rad: NDArray[np.float64]
    scattered: NDArray[np.float64]
    scattered_sd: NDArray[np.float64]
    ballistic: float
    ballistic_counted: float
    reflected: float
    absorbed: float
    lost: float

    @property
    def transmittance(self) -> float:
        """T_N: scattered and unscattered transmitted flux."""
        return float(self.scattered.sum()) + self.ballistic_counted

    @property
    def transmittance_sd(self) -> float:
        """Standard error of the transmittance, of a binomial count (weights are at most 1)."""
        share = self.transmittance
        return math.sqrt(max(share * (1 - share), 0) / self.photons)


def angle_edges() -> NDArray[np.float64]:
    """Edges of the exit-angle bins, radians: 0, then log-spaced from FIRST_EDGE_RAD to 90 degrees."""
    return np.concatenate([[0.0], np.geomspace(FIRST_EDGE_RAD, math.pi / 2, BINS)])


def transport(film: FilmParameters, layers: int, photons: int, seed: int) -> Transport:
    """Follow photons that enter a stack of sheets along its normal.

    Parameters
    ----------
    film : one sheet
    layers : sheets, >= 0
    photons : how many, rounded up to a whole number of batches
    seed : every batch draws from its own stream, so that the result does not depend on the number of threads
    """
    if layers < 0 or photons < 1:
        raise ValueError(f"layers must be >= 0 and photons >= 1, got {layers} and {photons}")
    per_batch = -(-photons // _BATCHES)
    seeds = np.random.SeedSequence([seed, layers]).generate_state(_BATCHES, dtype=np.uint64)
    flux, squares, ends = _run(film.vector(), film.rough_faces, layers, per_batch, seeds)
    total = per_batch * _BATCHES
    scattered = flux.sum(axis=0) / total
    variance = np.maximum(squares.sum(axis=0) / total - scattered**2, 0) / total
    ballistic, reflected, absorbed, lost = ends.sum(axis=0) / total
    return Transport(
        layers=layers,
        photons=total,
        edges_rad=angle_edges(),
        scattered=scattered,
        scattered_sd=np.sqrt(variance),
        ballistic=float(ballistic_transmittance(film, layers, np.array(1.0))),
        ballistic_counted=float(ballistic),
        reflected=float(reflected),
        absorbed=float(absorbed),
        lost=float(lost),
    )


def ballistic_transmittance(film: FilmParameters, layers: int, cosine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the light arriving at an angle that passes the stack undeflected, all specular reflections counted.

    The pile of plates with extinction: a face that is rough passes or mirrors only on its smooth share.

    Parameters: one sheet, number of sheets, cosine of the angle in air (any shape, 0..1). Returns the same shape.
    """
    cosine = np.asarray(cosine, dtype=float)
    inside = np.sqrt(1 - (1 - cosine**2) / film.n**2)
    mirrored = fresnel(cosine, inside, film.n)
    through = np.exp(-(film.tau1 + film.tau2 + film.tau_abs) / inside)
    share = film.p_flat if film.alpha > 0 else 1.0
    passed, front, back = np.ones_like(cosine), np.zeros_like(cosine), np.zeros_like(cosine)
    clear = np.ones_like(cosine)
    for _ in range(layers):
        for smooth, medium in ((share if film.rough_faces == 2 else 1.0, clear), (share, through)):
            # One face, reached through a medium: adding of two layers without scattering.
            t, r = smooth * (1 - mirrored), smooth * mirrored
            loop = 1 - (back * medium**2) * r
            front, back, passed = (
                front + passed**2 * medium**2 * r / loop,
                r + t**2 * back * medium**2 / loop,
                passed * medium * t / loop,
            )
    return passed


def fresnel(cos_air: NDArray[np.float64], cos_inside: NDArray[np.float64], n: float) -> NDArray[np.float64]:
    """Unpolarised Fresnel reflectance of an air-film face, the same from both sides."""
    s = (cos_air - n * cos_inside) / (cos_air + n * cos_inside)
    p = (n * cos_air - cos_inside) / (n * cos_air + cos_inside)
    return (s**2 + p**2) / 2


@njit(inline="always")
def _uniform(state):
    """Uniform in [0, 1), splitmix64."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit
def _scatter(x, y, z, g, state):
    """New direction after one Henyey-Greenstein event of mean cosine g."""
    u = _uniform(state)
    if abs(g) < 1e-6:
        c = 2 * u - 1
    else:
        ratio = (1 - g * g) / (1 - g + 2 * g * u)
        c = (1 + g * g - ratio * ratio) / (2 * g)
    s = math.sqrt(max(1 - c * c, 0.0))
    phi = 2 * math.pi * _uniform(state)
    a, b = s * math.cos(phi), s * math.sin(phi)
    # An orthonormal frame about the old direction that has no singular axis (Duff et al. 2017).
    sign = math.copysign(1.0, z)
    k = -1.0 / (sign + z)
    xy = x * y * k
    nx = a * (1 + sign * x * x * k) + b * xy + c * x
    ny = a * sign * xy + b * (sign + y * y * k) + c * y
    nz = -a * sign * x - b * y + c * z
    norm = 1 / math.sqrt(nx * nx + ny * ny + nz * nz)
    return nx * norm, ny * norm, nz * norm


@njit
def _face(x, y, z, eta, rough, p_flat, alpha, ggx, state):
    """One face met from the side of index ratio eta = n_here / n_beyond.

    Returns the new direction, whether the light passed, and whether it was deflected.
    """
    up = -1.0 if z > 0 else 1.0
    facet = rough and _uniform(state) >= p_flat
    cos_in = abs(z)
    sin_in = math.sqrt(max(1 - cos_in * cos_in, 0.0))
    bound = cos_in + sin_in * alpha * (_GGX_SLOPES if ggx else _BECKMANN_SLOPES)
    while True:
        mx, my, mz = 0.0, 0.0, up
        if facet:
            u = _uniform(state)
            slope2 = alpha * alpha * (u / (1 - u) if ggx else -math.log(1 - u))
            cm = 1 / math.sqrt(1 + slope2)
            sm = cm * math.sqrt(slope2)
            phi = 2 * math.pi * _uniform(state)
            mx, my, mz = sm * math.cos(phi), sm * math.sin(phi), up * cm
            c = -(x * mx + y * my + z * mz)
            # Facets are met in proportion to their projected area.
            if c <= 0 or _uniform(state) * bound * cm > c:
                continue
        c = -(x * mx + y * my + z * mz)
        sin2 = eta * eta * (1 - c * c)
        reflectance = 1.0
        ct = 0.0
        if sin2 < 1:
            ct = math.sqrt(1 - sin2)
            rs = (eta * c - ct) / (eta * c + ct)
            rp = (c - eta * ct) / (c + eta * ct)
            reflectance = (rs * rs + rp * rp) / 2
        if _uniform(state) < reflectance:
            nx, ny, nz = x + 2 * c * mx, y + 2 * c * my, z + 2 * c * mz
            passed = False
        else:
            k = eta * c - ct
            nx, ny, nz = eta * x + k * mx, eta * y + k * my, eta * z + k * mz
            passed = True
        # A facet that sends light to the wrong side of the face meets it again: another facet is drawn.
        if passed == (nz * up < 0) and abs(nz) > 1e-9:
            norm = 1 / math.sqrt(nx * nx + ny * ny + nz * nz)
            return nx * norm, ny * norm, nz * norm, passed, facet
        if not facet:
            return x, y, -z, False, False


@njit
def _photon(p, rough_faces, layers, state):
    """One photon: (0 passed | 1 reflected | 2 lost, weight, weight absorbed, deflected, exit angle)."""
    n, tau1, g1, tau2, g2, tau_abs, p_flat, alpha, ggx = p
    tau = tau1 + tau2
    x, y, z = 0.0, 0.0, 1.0
    weight, deflected = 1.0, False
    gap, sheet, inside, depth = 0, 0, False, 0.0
    for _ in range(_MAX_STEPS):
        if not inside:
            if z > 0 and gap == layers:
                sine = math.sqrt(x * x + y * y)
                return 0, weight, deflected, math.atan2(sine, z)
            if z < 0 and gap == 0:
                return 1, weight, deflected, 0.0
            sheet = gap if z > 0 else gap - 1
            back = z < 0
            rough = alpha > 0 and (back or rough_faces == 2)
            x, y, z, passed, facet = _face(x, y, z, 1 / n, rough, p_flat, alpha, ggx > 0, state)
            deflected = deflected or facet
            if passed:
                inside = True
                depth = 1.0 if back else 0.0
            continue
        room = (1 - depth) if z > 0 else depth
        free = 1e30 if tau == 0 else -math.log(1 - _uniform(state)) * abs(z) / tau
        event = free < room
        travelled = free if event else room
        if tau_abs > 0:
            weight *= math.exp(-tau_abs * travelled / abs(z))
            if weight < 0.01:
                if _uniform(state) < 0.5:
                    return 2, 0.0, deflected, 0.0
                weight *= 2
        if event:
            depth += travelled if z > 0 else -travelled
            g = g1 if _uniform(state) * tau < tau1 else g2
            x, y, z = _scatter(x, y, z, g, state)
            if z == 0:
                z = 1e-9
            deflected = True
            continue
        back = z > 0
        rough = alpha > 0 and (back or rough_faces == 2)
        x, y, z, passed, facet = _face(x, y, z, n, rough, p_flat, alpha, ggx > 0, state)
        deflected = deflected or facet
        if passed:
            inside = False
            gap = sheet + 1 if back else sheet
        else:
            depth = 1.0 if back else 0.0
    return 3, weight, deflected, 0.0


@njit(parallel=True)
def _run(p, rough_faces, layers, per_batch, seeds):
    """Batches of photons: flux and squared weights in each bin, and (ballistic, reflected, absorbed, lost) flux."""
    batches = len(seeds)
    flux = np.zeros((batches, BINS))
    squares = np.zeros((batches, BINS))
    ends = np.zeros((batches, 4))
    step = math.log(math.pi / 2 / FIRST_EDGE_RAD) / (BINS - 1)
    for batch in prange(batches):
        state = np.empty(1, dtype=np.uint64)
        state[0] = seeds[batch]
        for _ in range(per_batch):
            end, weight, deflected, angle = _photon(p, rough_faces, layers, state)
            if end == 0:
                if deflected:
                    place = 0
                    if angle >= FIRST_EDGE_RAD:
                        place = min(1 + int(math.log(angle / FIRST_EDGE_RAD) / step), BINS - 1)
                    flux[batch, place] += weight
                    squares[batch, place] += weight * weight
                else:
                    ends[batch, 0] += weight
            elif end == 1:
                ends[batch, 1] += weight
            elif end == 3:
                ends[batch, 3] += weight
            ends[batch, 2] += 1 - weight if end != 3 else 0.0
    return flux, squares, ends
