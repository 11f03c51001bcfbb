"""What an attacker who knows the film can get back: cut-off frequency, effective face pixels, bits a face.

Frequency q is recoverable from K averaged frames while K A(q)^2 S_x(q) > S_n, with A = T_N OTF_N, the spectrum of
natural scenes S_x = sigma_x^2 / (2 pi ln(q2/q1) q^2) and white noise S_n = sigma_px^2 / f_px^2. Haze (ASTM D1003) does
not say this: a film of 86 % haze can pass a sharp image.

Every function looks at a face at the observer's distance: a film that hangs away from the lens is first moved there,
``film.at(scene_distance_m=observer.distance_m)``.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from .error_bars import log_covariance, perturbed
from .film import MAX_LAYERS, FilmModel, check_layers

Floats = NDArray[np.float64]

FACE_WIDTH_M = 0.16
INTERVAL_SD = 1.96  # standard deviations to either side: 95 % of a normal distribution

_STEP = 1e-4  # of logarithms, for derivatives
# Highest frequency searched for the cut-off, in units of Nyquist: it is capped there only after its error is known.
_BEYOND_NYQUIST = 64.0


@dataclass(frozen=True)
class Observer:
    """The attacker's camera and the scene it looks at.

    Parameters
    ----------
    width_px, f_px : image width and focal length, px
    level : mean linear light at the sensor, 0..1 of full scale
    full_well_e, read_noise_e, prnu, bits : sensor: electrons at full scale, e- rms, share of the signal, code bits
    contrast : standard deviation of the scene in linear light before the film, 0..1
    frame_rate_hz, dwell_s : a still subject gives frame rate x dwell frames to average
    distance_m : camera to face
    """

    width_px: int = 1920
    f_px: float = 1371.0
    level: float = 0.25
    full_well_e: float = 9000.0
    read_noise_e: float = 3.0
    prnu: float = 0.004
    bits: int = 8
    contrast: float = 0.2
    frame_rate_hz: float = 30.0
    dwell_s: float = 2.0
    distance_m: float = 3.0

    def __post_init__(self) -> None:
        for name in ("width_px", "f_px", "full_well_e", "frame_rate_hz", "dwell_s", "distance_m", "bits"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")
        for name in ("read_noise_e", "prnu"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}")
        for name in ("level", "contrast"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {getattr(self, name)}")

    @classmethod
    def of_camera(cls, camera: Mapping[str, Any], **changes: Any) -> Observer:
        """An observer with the fields of a Camera mapping (width, f_px, full_well_e, ...) and the other defaults."""
        fields = {key: camera[key] for key in ("f_px", "full_well_e", "read_noise_e", "prnu", "bits") if key in camera}
        if "width" in camera:
            fields["width_px"] = camera["width"]
        return cls(**{**fields, **changes})

    @property
    def dwell_frames(self) -> int:
        """Frames that an attacker can average on a still subject, at least 1."""
        return max(1, round(self.frame_rate_hz * self.dwell_s))

    @property
    def nyquist_cpr(self) -> float:
        """Highest frequency that the pixels hold, cycles/rad near the axis."""
        return self.f_px / 2.0

    def noise(self) -> tuple[float, float]:
        """(temporal noise of one frame, fixed pattern): standard deviations in linear light, 0..1 of full scale.

        Shot, read and quantisation noise (code steps of sRGB at ``level``) average down over frames; the fixed
        pattern does not, and floors the average.
        """
        shot = self.level / self.full_well_e
        read = (self.read_noise_e / self.full_well_e) ** 2
        # slope of the sRGB inverse EOTF at the mean level: code (0..1) per unit of linear light
        slope = 12.92 if self.level <= 0.0031308 else 1.055 / 2.4 * self.level ** (1 / 2.4 - 1)
        step = 1.0 / ((2**self.bits - 1) * slope)
        return float(np.sqrt(shot + read + step * step / 12.0)), self.prnu * self.level

    def noise_spectrum(self, frames: int) -> float:
        """S_n / K, the noise spectrum of an average of K ``frames``, per (cycles/rad)^2."""
        if frames < 1:
            raise ValueError(f"frames must be >= 1, got {frames}")
        temporal, fixed = self.noise()
        return (temporal**2 / frames + fixed**2) / self.f_px**2

    def scene_spectrum(self, q_cpr: Floats) -> Floats:
        """S_x(q) of natural scenes between one cycle across the view and Nyquist, per (cycles/rad)^2."""
        low = 1.0 / (2.0 * np.arctan(0.5 * self.width_px / self.f_px))
        return self.contrast**2 / (2.0 * np.pi * np.log(self.nyquist_cpr / low) * np.asarray(q_cpr) ** 2)


def _at_face(film: FilmModel, observer: Observer) -> FilmModel:
    return film.at(scene_distance_m=observer.distance_m)


def _log_ratio(film: FilmModel, layers: int, observer: Observer, frames: int, q: Floats) -> Floats:
    """Natural logarithm of the best channel's signal-to-noise power ratio K A^2 S_x / S_n at q."""
    with np.errstate(divide="ignore"):  # far out an OTF underflows to 0: nothing passes
        log_amplitude = np.log((film.transmittance(layers) * film.mtf(q, layers)).max(axis=-1))
    return 2.0 * log_amplitude + np.log(observer.scene_spectrum(q) / observer.noise_spectrum(frames))


def _crossing(film: FilmModel, layers: int, observer: Observer, frames: int) -> float:
    """The frequency at which the ratio falls through 1, not capped at Nyquist; 0 where it never reaches 1."""
    q = np.geomspace(0.1, _BEYOND_NYQUIST * observer.nyquist_cpr, 4000)
    ratio = _log_ratio(film, layers, observer, frames, q)
    above = np.flatnonzero(ratio > 0)
    if not above.size:
        return 0.0
    last = above[-1]
    if last + 1 == q.size:
        return float(q[-1])
    part = ratio[last] / (ratio[last] - ratio[last + 1])
    return float(q[last] * (q[last + 1] / q[last]) ** part)


def cutoff_cpr(film: FilmModel, layers: int, observer: Observer | None = None, frames: int = 1) -> float:
    """q_c(K): the largest recoverable frequency in cycles/rad, at most Nyquist; 0 if none is.

    Parameters
    ----------
    film, layers : the stack, 0..64 layers
    observer : camera and scene, :class:`Observer` by default
    frames : K >= 1, averaged frames
    """
    observer = observer or Observer()
    return min(_crossing(_at_face(film, observer), layers, observer, frames), observer.nyquist_cpr)


def cutoff_spread(
    film: FilmModel, layers: int, observer: Observer | None = None, frames: int = 1
) -> tuple[float, str] | None:
    """(standard deviation of ln q_c, what it holds), propagated linearly; None without error bars or without a q_c.

    q_c is where F(ln q, p) = ln(K A^2 S_x / S_n) falls through 0, so d ln q_c / dp = -(dF/dp) / (dF/d ln q) by the
    implicit function theorem, with central differences in the logarithms p of the fitted parameters. The cut-off is
    taken before the pixels cap it at Nyquist. Parameters that the film's covariance does not name count as exact.
    """
    observer = observer or Observer()
    known = log_covariance(film)
    crossing = _crossing(_at_face(film, observer), layers, observer, frames)
    if known is None or not crossing:
        return None

    def ratio(shifts: Floats, q_cpr: float) -> float:
        moved = _at_face(perturbed(film, shifts), observer)
        return float(_log_ratio(moved, layers, observer, frames, np.array(q_cpr)))

    size = len(film.parameter_names)
    zero = np.zeros(size)
    slope = ratio(zero, crossing * np.exp(_STEP)) - ratio(zero, crossing * np.exp(-_STEP))
    gradient = np.array(
        [ratio(_STEP * unit, crossing) - ratio(-_STEP * unit, crossing) for unit in np.eye(size)]
    ).reshape(size)
    gradient = -gradient / slope
    return float(np.sqrt(gradient @ known[0] @ gradient)), known[1]


def face_pixels(q_c_cpr: float, distance_m: float, face_width_m: float = FACE_WIDTH_M) -> float:
    """Effective pixels across a face, 2 q_c w / Z."""
    return 2.0 * q_c_cpr * face_width_m / distance_m


def bits_a_face(film: FilmModel, layers: int, observer: Observer | None = None, frames: int = 1) -> float:
    """Information about a face: 0.5 Omega_face * integral 2 pi q log2(1 + SNR) dq, Omega_face = (w/Z)^2 pi/4."""
    observer = observer or Observer()
    q = np.geomspace(0.1, observer.nyquist_cpr, 4000)
    ratio = np.exp(_log_ratio(_at_face(film, observer), layers, observer, frames, q))
    omega = np.pi / 4.0 * (FACE_WIDTH_M / observer.distance_m) ** 2
    return float(0.5 * omega * trapezoid(2.0 * np.pi * q * np.log2(1.0 + ratio), q))


def ballistic_threshold(observer: Observer | None = None) -> float:
    """Noise over contrast of the dwell's average: the smallest unscattered share that shows a sharp image."""
    observer = observer or Observer()
    temporal, fixed = observer.noise()
    return float(np.hypot(temporal / np.sqrt(observer.dwell_frames), fixed)) / observer.contrast


def ballistic_visible(film: FilmModel, layers: int, observer: Observer | None = None) -> bool:
    """Whether a sharp image survives: T_N b_N of the best channel above noise over contrast. A fail by itself."""
    passed = film.transmittance(layers) * film.ballistic_fraction(layers)
    return bool(passed.max() > ballistic_threshold(observer))


def stops(film: FilmModel, layers: int) -> float:
    """Light cost of a stack in photographic stops, -log2 of the green channel's T_N."""
    return float(-np.log2(film.transmittance(layers)[1]))


def report(film: FilmModel, layers: int, observer: Observer | None = None) -> dict[str, Any]:
    """The privacy numbers of a stack at K = 1 and K = frame rate x dwell.

    Returns
    -------
    dict with ``layers``, ``transmittance`` (3), ``stops``, ``ballistic`` b_N, ``ballistic_visible`` (an unscattered
    share above noise/contrast: a sharp image survives, which is a fail by itself), ``ballistic_threshold``,
    ``observer`` and ``frames``: a list of K, q_c, A(q_c), face pixels and bits, with the 95 % intervals of q_c and of
    the face pixels (:func:`cutoff_spread`; None without error bars, ``interval_source`` says what they hold)
    """
    observer = observer or Observer()
    check_layers(layers, 0)
    here = _at_face(film, observer)
    rows = []
    for frames in sorted({1, observer.dwell_frames}):
        cut = cutoff_cpr(film, layers, observer, frames)
        passed = (here.transmittance(layers) * here.otf(cut, layers)).max()
        spread = cutoff_spread(film, layers, observer, frames)
        interval = None
        if spread is not None:
            crossing = _crossing(here, layers, observer, frames)
            ends = crossing * np.exp(INTERVAL_SD * spread[0] * np.array([-1.0, 1.0]))
            interval = np.minimum(ends, observer.nyquist_cpr).tolist()
        rows.append(
            {
                "frames": frames,
                "cutoff_cpr": cut,
                "cutoff_interval_cpr": interval,
                "amplitude_at_cutoff": float(passed) if cut else 0.0,
                "face_pixels": face_pixels(cut, observer.distance_m),
                "face_pixels_interval": interval and [face_pixels(end, observer.distance_m) for end in interval],
                "interval_source": spread and spread[1],
                "bits_a_face": bits_a_face(film, layers, observer, frames),
            }
        )
    return {
        "layers": layers,
        "transmittance": film.transmittance(layers).tolist(),
        "stops": stops(film, layers),
        "ballistic": float(film.ballistic_fraction(layers).max()),
        "ballistic_visible": ballistic_visible(film, layers, observer),
        "ballistic_threshold": ballistic_threshold(observer),
        "observer": asdict(observer),
        "frames": rows,
    }


@dataclass(frozen=True)
class LayersNeeded:
    """How many layers bring a face down to a number of effective pixels.

    Parameters
    ----------
    face_pixels : the most that was asked for, across a face at the observer's distance
    frames : K = frame rate x dwell, for which it holds
    layers : the smallest count in 1..64 that holds it and leaves no sharp image, or None
    layers_sure : the smallest count whose interval's upper end holds it too, or None: no such count or no error bars
    reason : why there is none; empty where there is one
    rows : :func:`report` of the count and of its neighbours (of 1 and 64 layers where there is none)
    """

    face_pixels: float
    frames: int
    layers: int | None
    layers_sure: int | None
    reason: str
    rows: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return {**asdict(self), "rows": list(self.rows)}


def layers_needed(film: FilmModel, face_pixels: float, observer: Observer | None = None) -> LayersNeeded:
    """The fewest layers that leave at most ``face_pixels`` effective pixels across a face, and no sharp image.

    Parameters
    ----------
    film : the film
    face_pixels : 2 q_c w / Z at most, > 0, with q_c at K = frame rate x dwell
    observer : camera, scene and dwell

    Returns
    -------
    :class:`LayersNeeded`; A(q) and b_N fall with every layer, so more layers than those hold it too

    Raises
    ------
    ValueError
        ``face_pixels`` not above 0
    """
    if not (np.isfinite(face_pixels) and face_pixels > 0):
        raise ValueError(f"face_pixels must be finite and > 0, got {face_pixels:g}")
    observer = observer or Observer()
    frames = observer.dwell_frames

    def left(layers: int, sd: float = 0.0) -> float:
        return _face_pixels_left(film, layers, observer, frames, sd)

    def first(holds: Callable[[int], bool]) -> int | None:
        """The smallest layer count that holds, by bisection: what holds at N holds above."""
        if not holds(MAX_LAYERS):
            return None
        return bisect.bisect_left(range(1, MAX_LAYERS + 1), True, key=holds) + 1

    unseen = first(lambda n: not ballistic_visible(film, n, observer))
    enough = first(lambda n: left(n) <= face_pixels)
    found = None if unseen is None or enough is None else max(unseen, enough)
    sure = None
    if found is not None and log_covariance(film) is not None:
        sure = next((n for n in range(found, MAX_LAYERS + 1) if left(n, INTERVAL_SD) <= face_pixels), None)
    reasons = []
    if unseen is None:
        share = float(film.ballistic_fraction(MAX_LAYERS).max())
        reasons.append(f"a sharp image survives: {share:.2g} of the light is unscattered at {MAX_LAYERS} layers")
    if enough is None:
        reasons.append(f"{left(MAX_LAYERS):.3g} effective face pixels are left at {MAX_LAYERS} layers")
    counts = (1, MAX_LAYERS) if found is None else range(max(1, found - 2), min(MAX_LAYERS, found + 2) + 1)
    rows = tuple(report(film, n, observer) for n in counts)
    return LayersNeeded(float(face_pixels), frames, found, sure, "; ".join(reasons), rows)


def _face_pixels_left(film: FilmModel, layers: int, observer: Observer, frames: int, sd: float) -> float:
    """Effective face pixels, with the cut-off ``sd`` of its standard deviations higher."""
    crossing = _crossing(_at_face(film, observer), layers, observer, frames)
    spread = cutoff_spread(film, layers, observer, frames) if sd else None
    high = crossing * np.exp(sd * spread[0]) if spread is not None else crossing
    return face_pixels(min(high, observer.nyquist_cpr), observer.distance_m)
