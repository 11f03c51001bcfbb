"""What a camera wrote about a picture's exposure."""

from __future__ import annotations

import os
from dataclasses import dataclass

_EXIF_IFD = 0x8769
_EXPOSURE_TIME, _F_NUMBER, _ISO = 0x829A, 0x829D, 0x8827


@dataclass(frozen=True)
class ExifExposure:
    """Exposure time in s, ISO speed and f-number; None where the file does not say."""

    time_s: float
    iso: float | None
    f_number: float | None

    @property
    def relative(self) -> float:
        """time_s x ISO / f_number^2, with 1 for what is unknown: proportional to the signal of a given light."""
        return self.time_s * (self.iso or 1.0) / (self.f_number or 1.0) ** 2


def read_exif_exposure(path: str | os.PathLike[str]) -> ExifExposure | None:
    """The exposure in a JPEG's, TIFF's or PNG's EXIF data; None where there is no usable exposure time.

    RAW files that are TIFF inside (.dng, .nef, .arw, ...) are read as such. Source: EXIF 2.32 (CIPA DC-008), tags
    ExposureTime, PhotographicSensitivity, FNumber.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            exif = image.getexif()
            fields = {**exif, **exif.get_ifd(_EXIF_IFD)}
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return None
    time_s = _positive(fields.get(_EXPOSURE_TIME))
    if time_s is None:
        return None
    return ExifExposure(time_s, _positive(fields.get(_ISO)), _positive(fields.get(_F_NUMBER)))


def _positive(value: object) -> float | None:
    """A rational or number above 0; lenses without electronics write 0/0 or 0."""
    if isinstance(value, tuple):
        value = value[0] if value else None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if 0 < number < float("inf") else None
