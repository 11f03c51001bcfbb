"""The camera behind the film: exposure, vignetting, sensor noise, quantisation, coding.

Terms as in EMVA 1288 (release 4.0): the signal is counted in electrons a pixel and channel; full scale is the full
well; temporal noise is shot noise plus read noise, fixed-pattern noise is the photo-response non-uniformity (PRNU).

    electrons = full_well_e * exposure * V(theta) * irradiance * (1 + prnu * pattern)
    code      = clip(round((2^bits - 1) * inverse_eotf((Poisson(electrons) + read_noise_e * normal) / full_well_e)))

Every channel has its own full well: a camera with a colour mosaic shares pixels between channels, which this model
leaves out. Dark current is left out too (short exposures).
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import UnknownNameError
from .geometry import cos_theta, pixel_offsets
from .seeding import named_rng
from .transfer import MeasuredCurve, Transfer, check_eotf_name, eotf_table, inverse_eotf

MEASURED = "measured"


@dataclasses.dataclass(frozen=True)
class Camera:
    """A camera with a centred, undistorted lens.

    Parameters
    ----------
    width, height : pixels of a frame
    f_px : focal length in pixels; angle = atan(distance from the centre / f_px)
    eotf : transfer function of the codes: one of ``lps_sim.transfer.EOTF_NAMES``, ``gamma:G`` with G of 1..4, or
        ``measured``, which takes ``response``
    bits : bits a code, 1..16
    full_well_e : electrons a pixel at full scale
    read_noise_e : standard deviation of the noise without light, electrons
    prnu : standard deviation of the pixels' relative gain, 0.004 = 0.4 %
    exposure : full-scale signal for irradiance 1; fixed, never adapted to a frame
    cos_power : natural vignetting cos(theta)^cos_power; 0 = none (corrected lens), 4 = the cos^4 law
    vignetting : further vignetting, coefficients a1, a2, ... of ``1 + a1 t^2 + a2 t^4 + ...``, t = tan(theta)
    prnu_seed : which individual camera: the same seed has the same fixed pattern in every frame of every clip
    response : linear light of equally spaced codes, rising from 0 to 1; only with ``eotf`` ``measured``

    Raises ValueError naming the field, its value and the rule.
    """

    width: int
    height: int
    f_px: float
    eotf: str = "srgb"
    bits: int = 8
    full_well_e: float = 9000.0
    read_noise_e: float = 3.0
    prnu: float = 0.004
    exposure: float = 1.0
    cos_power: float = 0.0
    vignetting: tuple[float, ...] = ()
    prnu_seed: int = 0
    response: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("width", "height", "bits", "prnu_seed"):
            object.__setattr__(self, name, _integer(name, getattr(self, name)))
        for name in ("f_px", "full_well_e", "read_noise_e", "prnu", "exposure", "cos_power"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        for name in ("width", "height", "f_px", "full_well_e", "exposure"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name):g}")
        for name in ("read_noise_e", "prnu", "cos_power", "prnu_seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name):g}")
        if not 1 <= self.bits <= 16:
            raise ValueError(f"bits must be 1..16, got {self.bits}")
        self._check_transfer()
        if isinstance(self.vignetting, (str, bytes)) or not isinstance(self.vignetting, (tuple, list)):
            raise ValueError(f"vignetting must be a list of coefficients, got {self.vignetting!r}")
        object.__setattr__(self, "vignetting", tuple(_number("vignetting", value) for value in self.vignetting))
        if self.vignetting and not self.vignetting_map().min() > 0:
            raise ValueError(
                f"vignetting must leave light at the corners, got {self.vignetting} which falls to "
                f"{self.vignetting_map().min():.3g}"
            )

    def _check_transfer(self) -> None:
        if isinstance(self.response, (str, bytes)) or not isinstance(self.response, (tuple, list)):
            raise ValueError(f"response must be a list of linear light, got {self.response!r:.60}")
        object.__setattr__(self, "response", tuple(_number("response", value) for value in self.response))
        if self.eotf == MEASURED:
            if not self.response:
                raise ValueError("eotf measured needs response, the linear light of equally spaced codes")
            MeasuredCurve(self.response)
        elif self.response:
            raise ValueError(f"response goes with eotf measured only, got eotf {self.eotf!r}")
        else:
            check_eotf_name(self.eotf)

    # Other ways to make one.

    @classmethod
    def from_field_of_view(cls, width: int, height: int, fov_deg: float, **fields: Any) -> Camera:
        """Camera whose frame is ``fov_deg`` across its width (0 < fov_deg < 180); further fields as in the class."""
        fov = _number("fov_deg", fov_deg)
        if not 0 < fov < 180:
            raise ValueError(f"fov_deg must be between 0 and 180, got {fov:g}")
        return cls(width, height, _number("width", width) / 2 / math.tan(math.radians(fov) / 2), **fields)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Camera:
        """Camera from its fields by name; ``fov_deg`` may stand in the place of ``f_px``.

        Raises UnknownNameError for an unknown key (with the nearest known one), ValueError for a missing one.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for key in fields:
            if key not in known and key != "fov_deg":
                raise UnknownNameError("camera key", str(key), [*known, "fov_deg"])
        if ("fov_deg" in fields) == ("f_px" in fields):
            raise ValueError(
                f"camera needs f_px or fov_deg, one of the two, got {'both' if 'f_px' in fields else 'none'}"
            )
        for key in ("width", "height"):
            if key not in fields:
                raise ValueError(f"camera needs {key}, got only {', '.join(map(str, fields)) or 'nothing'}")
        return cls.from_field_of_view(**fields) if "fov_deg" in fields else cls(**fields)

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> Camera:
        """Camera from a YAML file of its fields, at the top level or under ``camera:``.

        Raises ValueError naming the file; FileNotFoundError as it comes.
        """
        import yaml

        with open(path, encoding="utf-8") as stream:
            try:
                fields = yaml.safe_load(stream)
            except yaml.YAMLError as error:
                raise ValueError(f"{os.fspath(path)}: not YAML: {' '.join(str(error).split())}") from error
        if isinstance(fields, dict) and isinstance(fields.get("camera"), dict):
            fields = fields["camera"]
        if not isinstance(fields, dict):
            raise ValueError(f"{os.fspath(path)}: must hold the camera's fields (width: 640, ...), got {fields!r:.60}")
        try:
            return cls.from_dict(fields)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain numbers, strings and lists; :meth:`from_dict` reads it back to an equal camera."""
        fields = {**dataclasses.asdict(self), "vignetting": list(self.vignetting), "response": list(self.response)}
        if not self.response:
            del fields["response"]
        return fields

    def resized(self, width: int, height: int) -> Camera:
        """The same lens and pixel electronics with another number of pixels.

        The horizontal field of view stays: f_px scales with the width. Another aspect ratio sees more or less of
        the scene vertically.
        """
        return dataclasses.replace(self, width=width, height=height, f_px=self.f_px * width / self.width)

    def with_exposure(self, exposure: float) -> Camera:
        """The same camera at another fixed exposure, e.g. ``1 / film.transmittance(10).mean()`` for a film's loss."""
        return dataclasses.replace(self, exposure=exposure)

    # Field of view.

    @property
    def fov_deg(self) -> float:
        """Angle across the frame's width, degrees."""
        return math.degrees(2 * math.atan(self.width / 2 / self.f_px))

    @property
    def nyquist_cpr(self) -> float:
        """Highest frequency the pixels can carry near the axis, cycles/rad."""
        return self.f_px / 2

    def cos_theta_map(self) -> np.ndarray:
        """Cosine of the field angle at every pixel: (H, W)."""
        return cos_theta(pixel_offsets(self.width, self.f_px), pixel_offsets(self.height, self.f_px))

    def vignetting_map(self) -> np.ndarray:
        """V: relative light at every pixel, 1 on the axis: (H, W)."""
        return self.vignetting_at(self.cos_theta_map())

    def vignetting_at(self, cos_theta: np.ndarray) -> np.ndarray:
        """V at given cosines of the field angle, same shape."""
        tan_squared = 1 / cos_theta**2 - 1
        polynomial = np.polynomial.polynomial.polyval(tan_squared, (1.0, *self.vignetting))
        return cos_theta**self.cos_power * polynomial

    # Sensor.

    @property
    def transfer(self) -> Transfer:
        """What ``lps_sim.transfer`` takes as this camera's transfer function: a name, or the measured curve."""
        return MeasuredCurve(self.response) if self.eotf == MEASURED else self.eotf

    @property
    def max_code(self) -> int:
        """Largest code, 2^bits - 1."""
        return 2**self.bits - 1

    def temporal_variance(self, signal: np.ndarray) -> np.ndarray:
        """Variance from frame to frame of the linear signal, in full scales squared (photon transfer curve).

        Shot noise plus read noise, ``signal / full_well_e + (read_noise_e / full_well_e)^2``; signal: mean linear
        sensor signal, 1 = full scale, any shape.
        """
        return np.maximum(signal, 0) / self.full_well_e + (self.read_noise_e / self.full_well_e) ** 2

    def prnu_pattern(self, shape: tuple[int, ...]) -> np.ndarray:
        """The camera's fixed pattern of relative gains, unit variance, float32, the same at every call."""
        return named_rng(self.prnu_seed, "prnu", *shape).standard_normal(shape, dtype=np.float32)

    def signal(self, irradiance: np.ndarray) -> np.ndarray:
        """Noise-free linear sensor signal, 1 = full scale: exposure and vignetting on (H, W) or (H, W, C) light."""
        light = self._frame("irradiance", irradiance)
        factor = self.exposure * self.vignetting_map()
        return light * (factor if light.ndim == 2 else factor[..., None])

    def sense(self, irradiance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One exposure: codes of the light on the sensor, with shot noise (Poisson), read noise and fixed pattern.

        Parameters: irradiance (H, W) or (H, W, C), linear, float; rng for the temporal noise. Negative light counts
        as none. Returns uint8 (bits <= 8) or uint16 of the same shape, rounded once, then clipped.
        """
        signal = self.signal(irradiance)
        if self.prnu:
            signal = signal * (1 + self.prnu * self.prnu_pattern(signal.shape))
        electrons = rng.poisson(np.maximum(signal, 0) * self.full_well_e).astype(np.float64)
        if self.read_noise_e:
            electrons += self.read_noise_e * rng.standard_normal(signal.shape)
        return self.encode(electrons / self.full_well_e)

    def encode(self, signal: np.ndarray) -> np.ndarray:
        """Codes of a linear signal (1 = full scale, any shape): coded, rounded, then clipped; uint8 or uint16."""
        codes = np.rint(inverse_eotf(np.asarray(signal, dtype=np.float64), self.transfer) * self.max_code)
        return np.clip(codes, 0, self.max_code).astype(np.uint8 if self.bits <= 8 else np.uint16)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Linear signal (1 = full scale) of integer codes, float32, same shape; exposure and V stay in."""
        codes = np.asarray(codes)
        if codes.dtype.kind not in "ui":
            raise ValueError(f"codes must be integers 0..{self.max_code}, got {codes.dtype}")
        if codes.size and (int(codes.min()) < 0 or int(codes.max()) > self.max_code):
            raise ValueError(f"codes must be 0..{self.max_code}, got {codes.min()}..{codes.max()}")
        return eotf_table(self.transfer, self.bits)[codes]

    def _frame(self, argument: str, values: np.ndarray) -> np.ndarray:
        array = np.asarray(values)
        if array.dtype.kind != "f" or array.ndim not in (2, 3) or array.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"{argument} must be linear light, float ({self.height}, {self.width}) or "
                f"({self.height}, {self.width}, C), got {array.dtype} {array.shape}"
            )
        return array


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ValueError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
    return float(value)


def _integer(name: str, value: Any) -> int:
    number = _number(name, value)
    if number != int(number):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return int(number)
