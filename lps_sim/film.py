"""FilmModel: per-sheet parameters of a laminating film, and what any number of layers of it does to light.

    y = Q{ g V(r) [ T_N K_N x + v_N ] + noise },   OTF_N(q) = exp(-N mu(q)),   1/T_N = 1 + c1 N + c2 N^2

mu(q) is the exponent of one sheet (:mod:`lps_sim.scattering`), T_N the transmittance of the stack and v_N the veil,
light that the stack scatters in from outside the view. Angles are at the camera, in rad; frequencies in cycles/rad.

Two laws lead from one layer to many. ``poisson`` is the formula above, exact for small angles. ``radiative`` keeps it
for the rough faces and solves the transfer equation of the whole stack for the bulk (:mod:`lps_sim.stack`):
reflections between the sheets, oblique faces, and no light beyond 90 degrees.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import trapezoid

from . import hankel, stack
from .errors import UnknownNameError
from .film_geometry import FilmGeometry
from .scattering import Scattering, rgb, sheet_exponent

Floats = NDArray[np.float64]

MAX_LAYERS = 64
# family -> (has a rough face, number of scattering components)
_SHAPE_OF_FAMILY = {
    "ballistic+moffat": (False, 1),
    "gaussian+moffat": (True, 1),
    "2moffat": (False, 2),
    "gaussian": (True, 0),
}
FAMILIES = tuple(_SHAPE_OF_FAMILY)
LAYER_LAWS = ("poisson", "radiative")
HAZE_ANGLE_RAD = np.radians(2.5)  # ASTM D1003: light beyond 2.5 degrees is haze


def check_layers(layers: int, minimum: int = 1) -> int:
    """A layer count as int; ValueError ``layers must be 1..64, got 0`` when out of range or not whole."""
    if isinstance(layers, bool) or int(layers) != layers or not minimum <= layers <= MAX_LAYERS:
        raise ValueError(f"layers must be {minimum}..{MAX_LAYERS}, got {layers}")
    return int(layers)


@dataclass(frozen=True, eq=False)
class FilmModel:
    """A film indexed by its number of layers.

    Parameters
    ----------
    name : of the film
    family : one of :data:`FAMILIES`; ``ballistic`` families have no rough face (sigma = 0)
    sigma_rad : (3,) Gaussian of the rough faces, rad per sqrt(sheet) at the film, >= 0
    components : scattering events inside a sheet. The radiative law takes the first for the bulk, a Moffat or
        Henyey-Greenstein event of 1.5 degrees or more; a second is then part of the faces
    c1, c2 : (3,) transmittance law 1/T_N = 1 + c1 N + c2 N^2, >= 0
    transmittance_table : layers -> (3,) transmittance where it is known better than by the law, 0..1
    veil_table : layers -> (3,) veil in units of the linear value of white. Between entries the veil is linear in N,
        with 0 at N = 0; beyond the last entry it stays at that entry.
    geometry : :class:`FilmGeometry`
    layer_law : "poisson" or "radiative", see the module
    provenance : where the numbers come from: at least ``kind`` and ``text``
    parameter_names : of the fitted parameters, in the order of ``covariance``
    covariance : (P, P) of the natural logarithms of the fitted parameters, from the fit's Jacobian, or None
    systematic_covariance : (P, P) of the log parameters, what leaving shots out moves beyond noise, scaled so that
        1.96 standard deviations are a 95 % interval, or None
    jackknife_spread : (P,) standard deviation of the log parameters by the jackknife, noise and all, or None
    calibration_camera : fields of the camera that the film was measured with (or, in a preset, imitates), or None
    fit_quality : one entry a shot: file, role, residual figures

    Notes
    -----
    The parameters are per sheet; every N follows from them. ``otf`` is normalised to the stack's transmitted
    light (1 at q = 0): absolute throughput lives in ``transmittance``.

    References
    ----------
    Wells 1969; Henyey & Greenstein 1941; Moffat 1969; ASTM D1003
    """

    name: str
    family: str
    sigma_rad: Floats
    components: tuple[Scattering, ...]
    c1: Floats
    c2: Floats
    veil_table: Mapping[int, Floats] = field(default_factory=dict)
    geometry: FilmGeometry = field(default_factory=FilmGeometry)
    layer_law: str = "poisson"
    transmittance_table: Mapping[int, Floats] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    parameter_names: tuple[str, ...] = ()
    covariance: Floats | None = None
    systematic_covariance: Floats | None = None
    jackknife_spread: Floats | None = None
    calibration_camera: Mapping[str, Any] | None = None
    fit_quality: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        if self.family not in FAMILIES:
            raise UnknownNameError("family", str(self.family), FAMILIES)
        if self.layer_law not in LAYER_LAWS:
            raise UnknownNameError("layer_law", str(self.layer_law), LAYER_LAWS)
        put("sigma_rad", rgb("sigma_rad", self.sigma_rad))
        put("components", tuple(self.components))
        put("c1", rgb("c1", self.c1))
        put("c2", rgb("c2", self.c2))
        put("veil_table", {check_layers(n): rgb("veil", self.veil_table[n]) for n in sorted(self.veil_table)})
        table = self.transmittance_table
        put("transmittance_table", {check_layers(n): rgb("transmittance", table[n], high=1.02) for n in sorted(table)})
        put("parameter_names", tuple(self.parameter_names))
        put("fit_quality", tuple(dict(row) for row in self.fit_quality))
        has_face = bool((self.sigma_rad > 0).any())
        face, count = _SHAPE_OF_FAMILY[self.family]
        if has_face != face or len(self.components) != count:
            raise ValueError(
                f"family {self.family!r} needs sigma {'> 0' if face else '= 0'} and {count} components, "
                f"got sigma {self.sigma_rad.tolist()} rad and {len(self.components)} components"
            )
        if self.layer_law == "radiative":
            bulk = self.components[0] if self.components else None
            if bulk is None or bulk.kind == "gaussian" or bulk.s_rad.min() < stack.WIDE_RAD:
                raise ValueError(
                    "layer_law radiative needs a first component of kind moffat or henyey_greenstein with s_rad >= "
                    f"{stack.WIDE_RAD:.4f} (1.5 degrees), got {bulk and (bulk.kind, bulk.s_rad.tolist())}"
                )
        p = len(self.parameter_names)
        for label, value, shape in (
            ("covariance", self.covariance, (p, p)),
            ("systematic_covariance", self.systematic_covariance, (p, p)),
            ("jackknife_spread", self.jackknife_spread, (p,)),
        ):
            if value is not None:
                array = np.array(value, dtype=float)
                if array.shape != shape:
                    raise ValueError(f"{label} must have shape {shape} as parameter_names, got {array.shape}")
                put(label, array)

    # -- transfer functions ---------------------------------------------------------------------------------------
    def exponent(self, q_cpr: ArrayLike) -> Floats:
        """mu(q) of one sheet, ``q.shape + (3,)``: the law of small angles, whatever ``layer_law`` is."""
        return sheet_exponent(self._at_film(q_cpr), self.sigma_rad, self.components)

    def otf(self, q_cpr: ArrayLike, layers: int) -> Floats:
        """OTF_N(q), ``q.shape + (3,)``; real, 1 at q = 0; layers 0..64 (0: no film, all 1).

        exp(-N mu(q)) by the Poisson law; by the radiative one its wide events' factor is the stack's.
        """
        return self.surface_otf(q_cpr, layers) * self.bulk_otf(q_cpr, layers)

    def mtf(self, q_cpr: ArrayLike, layers: int) -> Floats:
        """MTF = |OTF|: (Q,) cycles/rad -> (Q, 3), 1 at q = 0; layers 0..64 (0: no film, all 1)."""
        return np.abs(self.otf(q_cpr, layers))

    def surface_otf(self, q_cpr: ArrayLike, layers: int) -> Floats:
        """The rough faces' Gaussian factor of the OTF alone, ``q.shape + (3,)``."""
        return np.exp(-check_layers(layers, 0) * sheet_exponent(self._at_film(q_cpr), self.sigma_rad, ()))

    def bulk_otf(self, q_cpr: ArrayLike, layers: int, kernel: bool = False) -> Floats:
        """The scattering events' factor of the OTF alone, ``q.shape + (3,)``: surface_otf x bulk_otf = otf.

        ``kernel``: that of the operator's kernel, see :meth:`kernel_otf`.
        """
        n, q = check_layers(layers, 0), self._at_film(q_cpr)
        if self.layer_law == "poisson" or not n:
            return np.exp(-n * sheet_exponent(q, np.zeros(3), self.components))
        factor = np.exp(-n * sheet_exponent(q, np.zeros(3), self.components[1:]))
        index = self.geometry.refractive_index
        factor *= self._by_channel(
            lambda bulk: stack.direct_share(bulk, index, n) + stack.scattered_transfer(q, bulk, index, n, kernel)
        )
        return factor

    def _at_film(self, q_cpr: ArrayLike) -> Floats:
        """Frequencies of angles at the film for those of angles at the camera: q (1 - d/Z)."""
        return np.asarray(q_cpr, dtype=float) * self.geometry.blur_factor

    def bulk_tau(self) -> Floats:
        """(3,) mean number of scattering events a sheet, sum of tau_k."""
        return np.sum([c.tau for c in self.components], axis=0) if self.components else np.zeros(3)

    def bulk_direct(self, layers: int) -> Floats:
        """(3,) share of the transmitted light that the bulk leaves unscattered; 1 at layers 0."""
        n = check_layers(layers, 0)
        if self.layer_law == "poisson" or not n:
            return np.exp(-n * self.bulk_tau())
        bulk = self._by_channel(lambda events: stack.direct_share(events, self.geometry.refractive_index, n))
        return bulk * np.exp(-n * (self.bulk_tau() - self.components[0].tau))

    def ballistic_fraction(self, layers: int) -> Floats:
        """b_N, (3,) share of the transmitted light left unscattered: 0 with a rough face, else :meth:`bulk_direct`."""
        if check_layers(layers, 0) == 0:
            return np.ones(3)
        if (self.sigma_rad > 0).all():
            return np.zeros(3)
        return np.where(self.sigma_rad > 0, 0.0, self.bulk_direct(layers))

    def bulk_events(self, channel: int) -> tuple[stack.Event, ...]:
        """The bulk's events in one channel, for the transfer equation of the radiative law."""
        bulk = self.components[0]
        return ((float(bulk.tau[channel]), float(bulk.s_rad[channel]), float(bulk.beta[channel])),)

    def _by_channel(self, value: Callable[[tuple[stack.Event, ...]], Any]) -> Floats:
        """A figure of the bulk for each channel, (..., 3); equal channels are computed once."""
        events = [self.bulk_events(c) for c in range(3)]
        known = {key: np.asarray(value(key)) for key in dict.fromkeys(events)}
        return np.stack([known[key] for key in events], axis=-1)

    def scattered_otf(self, q_cpr: ArrayLike, layers: int) -> Floats:
        """OTF_N - b_N, ``q.shape + (3,)``: the transfer function of the scattered light; 0 at high q."""
        return self.otf(q_cpr, layers) - self.ballistic_fraction(layers)

    def kernel_otf(self, q_cpr: ArrayLike, layers: int) -> Floats:
        """Transfer function of the operator's kernel without its unscattered part, ``q.shape + (3,)``.

        The radiative law makes the film reciprocal at wide angles: between two directions it passes
        h(angle) / sqrt(cos_in cos_out) with h = p / sqrt(cos(angle)), p the share per steradian behind a beam along the
        normal, whose transfer function :meth:`scattered_otf` is. The Poisson law knows no such difference.
        """
        return self.surface_otf(q_cpr, layers) * self.bulk_otf(q_cpr, layers, kernel=True) - self.ballistic_fraction(
            layers
        )

    def far_kernel(self, radius: Floats, layers: int) -> Floats:
        """The operator's kernel far out, per steradian: (R,) radii of its plane, rad -> (R, 3).

        Far means many times the width of the faces' blur, which is left out under the radiative law.
        """
        n = check_layers(layers)
        if self.layer_law == "poisson":
            known = self.kernel_otf(hankel.FREQUENCIES_CPR, n)
            return np.stack([hankel.point_spread(known[:, c])(radius) for c in range(3)], axis=-1)
        scale, index = self.geometry.blur_factor, self.geometry.refractive_index
        return self._by_channel(lambda bulk: stack.stack(bulk, index).kernel_density(radius / scale, n)) / scale**2

    def kernel_beyond(self, radius: float, layers: int) -> Floats:
        """(3,) share of the operator's kernel beyond a radius of its plane, far out as in :meth:`far_kernel`."""
        if self.layer_law == "radiative":
            # The sphere ends at 90 degrees, and far grids reach beyond.
            if radius >= 1.5:
                return np.zeros(3)
            radii = np.linspace(radius, 1.5, 400)
            return 2 * np.pi * trapezoid(self.far_kernel(radii, layers) * radii[:, None], radii, axis=0)
        known = self.kernel_otf(hankel.FREQUENCIES_CPR, check_layers(layers))
        within = [float(hankel.encircled(known[:, c])(np.array(radius))) for c in range(3)]
        return known[0] - np.array(within)

    # -- energy and levels ----------------------------------------------------------------------------------------
    def encircled_energy(self, theta_rad: ArrayLike, layers: int) -> Floats:
        """Share of the transmitted light that leaves within theta of its direction: (T,) rad -> (T, 3).

        EE(theta) = b_N + 2 pi theta * integral (OTF_N(q) - b_N) J1(2 pi theta q) dq

        It is a share of all light that the stack transmits forward (times T_N: share of the incident light), starts
        at b_N and tends to 1. It is not normalised to any field of view: divide by its value at a chosen angle for
        that. The Poisson law is planar in theta, as every small-angle theory; layers 0..64.
        """
        theta = np.asarray(theta_rad, dtype=float)
        if not np.isfinite(theta).all() or (theta < 0).any():
            raise ValueError("theta_rad must be finite and >= 0")
        ballistic = self.ballistic_fraction(layers)
        scattered = self.scattered_otf(hankel.FREQUENCIES_CPR, layers)
        halo = [hankel.encircled(scattered[:, c])(theta) for c in range(3)]
        return np.minimum(ballistic + np.stack(halo, axis=-1), 1.0)

    def psf(self, theta_rad: ArrayLike, layers: int) -> Floats:
        """Radial point spread of the scattered light, per steradian: (T,) rad -> (T, 3).

        Integrates to 1 - b_N; the unscattered part is a delta function and is left out. Layers 1..64.
        """
        theta = np.asarray(theta_rad, dtype=float)
        scattered = self.scattered_otf(hankel.FREQUENCIES_CPR, check_layers(layers))
        return np.stack([hankel.point_spread(scattered[:, c])(theta) for c in range(3)], axis=-1)

    def transmittance(self, layers: int) -> Floats:
        """T_N, (3,) in linear light: the table's, else 1 / (1 + c1 N + c2 N^2); 1 at layers 0."""
        n = check_layers(layers, 0)
        if n in self.transmittance_table:
            return self.transmittance_table[n]
        return 1.0 / (1.0 + self.c1 * n + self.c2 * n * n)

    def veil(self, layers: int) -> Floats:
        """v_N, (3,) in units of linear white: linear in N between the table's entries, then constant; 0 at layers 0."""
        n = check_layers(layers, 0)
        if not self.veil_table:
            return np.zeros(3)
        known = [0, *self.veil_table]
        levels = np.vstack([np.zeros(3), *self.veil_table.values()])
        return np.array([np.interp(n, known, levels[:, c]) for c in range(3)])

    def haze(self, layers: int) -> Floats:
        """Share of the transmitted light scattered beyond 2.5 degrees (ASTM D1003), (3,). High haze is not privacy.

        The angle is at the film, so that haze is the film's own wherever it hangs.
        """
        return 1.0 - self.encircled_energy(HAZE_ANGLE_RAD * self.geometry.blur_factor, layers)

    # -- the same film elsewhere ------------------------------------------------------------------------------------
    def at(self, film_distance_m: float | None = None, scene_distance_m: float | None = None) -> FilmModel:
        """The same film hung at another distance, or before a scene at another one: the shower-curtain effect.

        The blur angle at the camera is theta (1 - d/Z), theta the film's own angle, d camera to film, Z camera to
        scene. Parameters, covariance, transmittance and veil are the film's and stay; only the geometry changes.

        Parameters
        ----------
        film_distance_m, scene_distance_m : d and Z in m, 0 <= d < Z; None: as the film has it now

        Returns
        -------
        the film itself where nothing changes; else a film of the new geometry, whose provenance keeps under
        ``calibrated_at`` the distances that it was first given for

        Raises
        ------
        ValueError
            d < 0 or d >= Z

        References
        ----------
        Dror et al. 1998; small angles, checked by traced rays in tests/lps_sim/test_film_transfer.py
        """
        old = self.geometry
        geometry = replace(
            old,
            film_distance_m=old.film_distance_m if film_distance_m is None else float(film_distance_m),
            target_distance_m=old.target_distance_m if scene_distance_m is None else float(scene_distance_m),
        )
        if geometry == old:
            return self
        found = {"film_distance_m": old.film_distance_m, "target_distance_m": old.target_distance_m}
        return replace(self, geometry=geometry, provenance={"calibrated_at": found, **self.provenance})

    # -- identity and files ---------------------------------------------------------------------------------------
    def checksum(self) -> str:
        """SHA-256 (64 hexadecimal digits) of the physical parameters: equal for the same film in any file."""
        physics = {
            "family": self.family,
            "sigma_rad": _bits(self.sigma_rad),
            "components": [[c.kind, _bits(c.tau), _bits(c.s_rad), _bits(c.beta)] for c in self.components],
            "c1": _bits(self.c1),
            "c2": _bits(self.c2),
            "veil": {str(n): _bits(v) for n, v in self.veil_table.items()},
            "geometry": {
                key: value if isinstance(value, (str, bool)) else float(value).hex()
                for key, value in vars(self.geometry).items()
            },
        }
        if self.transmittance_table:
            physics["transmittance"] = {str(n): _bits(t) for n, t in self.transmittance_table.items()}
        if self.layer_law != "poisson":
            physics["layer_law"] = self.layer_law
        return hashlib.sha256(json.dumps(physics, sort_keys=True).encode()).hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the film file (HDF5, :mod:`lps_sim.film_file`): whole or not at all."""
        from .film_file import save_film

        save_film(self, path)

    @staticmethod
    def load(name_or_path: str | os.PathLike[str]) -> FilmModel:
        """A film file, or a preset by its name.

        Raises
        ------
        ValueError
            no such file, not a film file, or written by a newer schema
        lps_sim.errors.UnknownNameError
            neither a file nor a preset; the nearest preset is suggested
        """
        from .film_file import load_film

        return load_film(name_or_path)

    @staticmethod
    def presets() -> list[str]:
        """Names of the films that ship with the package, sorted."""
        from .film_file import preset_names

        return preset_names()


def _bits(array: Floats) -> list[str]:
    """Every float with all its bits, so that a checksum does not depend on printing."""
    return [float(value).hex() for value in array]
