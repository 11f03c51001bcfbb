"""What an attacker who knows the film can get back: cut-off frequency, effective face pixels, bits a face.

Frequency q is recoverable from K averaged frames while K A(q)^2 S_x(q) > S_n, with A = T_N OTF_N, the spectrum of
natural scenes S_x = sigma_x^2 / (2 pi ln(q2/q1) q^2) and white noise S_n = sigma_px^2 / f_px^2. Haze (ASTM D1003) does
not say this: a film of 86 % haze can pass a sharp image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from .film import FilmModel

Floats = NDArray[np.float64]

FACE_WIDTH_M = 0.16


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


def _signal_to_noise(film: FilmModel, layers: int, observer: Observer, frames: int) -> tuple[Floats, Floats, Floats]:
    """(q, A(q) of the best channel, signal-to-noise power ratio) from 0.1 cycles/rad to Nyquist, log-spaced."""
    q = np.geomspace(0.1, observer.nyquist_cpr, 4000)
    passed = (film.transmittance(layers) * film.otf(q, layers)).max(axis=-1)
    return q, passed, passed**2 * observer.scene_spectrum(q) / observer.noise_spectrum(frames)


def cutoff_cpr(film: FilmModel, layers: int, observer: Observer | None = None, frames: int = 1) -> float:
    """q_c(K): the largest recoverable frequency in cycles/rad, at most Nyquist; 0 if none is.

    Parameters
    ----------
    film, layers : the stack, 0..64 layers
    observer : camera and scene, :class:`Observer` by default
    frames : K >= 1, averaged frames
    """
    q, _, ratio = _signal_to_noise(film, layers, observer or Observer(), frames)
    above = np.flatnonzero(ratio > 1.0)
    return float(q[above[-1]]) if above.size else 0.0


def face_pixels(q_c_cpr: float, distance_m: float, face_width_m: float = FACE_WIDTH_M) -> float:
    """Effective pixels across a face, 2 q_c w / Z."""
    return 2.0 * q_c_cpr * face_width_m / distance_m


def bits_a_face(film: FilmModel, layers: int, observer: Observer | None = None, frames: int = 1) -> float:
    """Information about a face: 0.5 Omega_face * integral 2 pi q log2(1 + SNR) dq, Omega_face = (w/Z)^2 pi/4."""
    observer = observer or Observer()
    q, _, ratio = _signal_to_noise(film, layers, observer, frames)
    omega = np.pi / 4.0 * (FACE_WIDTH_M / observer.distance_m) ** 2
    return float(0.5 * omega * trapezoid(2.0 * np.pi * q * np.log2(1.0 + ratio), q))


def report(film: FilmModel, layers: int, observer: Observer | None = None) -> dict[str, Any]:
    """The privacy numbers of a stack at K = 1 and K = frame rate x dwell.

    Returns
    -------
    dict with ``ballistic`` b_N, ``ballistic_visible`` (an unscattered share above noise/contrast: a sharp image
    survives, which is a fail by itself), ``observer`` and ``frames``: a list of K, q_c, A(q_c), face pixels, bits
    """
    observer = observer or Observer()
    ballistic = float(film.ballistic_fraction(layers).max())
    temporal, fixed = observer.noise()
    rows = []
    for frames in sorted({1, observer.dwell_frames}):
        q, passed, _ = _signal_to_noise(film, layers, observer, frames)
        cut = cutoff_cpr(film, layers, observer, frames)
        rows.append(
            {
                "frames": frames,
                "cutoff_cpr": cut,
                "amplitude_at_cutoff": float(np.interp(cut, q, passed)) if cut else 0.0,
                "face_pixels": face_pixels(cut, observer.distance_m),
                "bits_a_face": bits_a_face(film, layers, observer, frames),
            }
        )
    noise = float(np.hypot(temporal / np.sqrt(observer.dwell_frames), fixed))
    threshold = noise / observer.contrast
    return {
        "ballistic": ballistic,
        "ballistic_visible": bool(ballistic * float(film.transmittance(layers).max()) > threshold),
        "ballistic_threshold": threshold,
        "observer": asdict(observer),
        "frames": rows,
    }
