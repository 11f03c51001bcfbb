"""Still images in and out: PNG and TIFF with 8 or 16 bits, JPEG with 8; camera RAW in."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import cv2
import numpy as np

from ..errors import UnknownNameError
from ..files import write_atomic
from .colour import MediaError
from .raw import RAW_SUFFIXES, read_raw

_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
_JPEG_QUALITY = 95


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """An image as (H, W, 3) RGB code values, uint8 or uint16 as stored; grey becomes three equal channels.

    Transparency is dropped; the EXIF orientation is applied. Camera RAW comes as linear light, see
    :func:`lps_sim.media.raw.read_raw`.

    Raises
    ------
    FileNotFoundError
        No such file.
    MediaError
        Not an image, truncated, or of another sample type; camera RAW without the package rawpy.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
    if not path.is_file():
        raise MediaError(f"{path}: not a file")
    if path.suffix.lower() in RAW_SUFFIXES:
        return read_raw(path)
    data = np.fromfile(path, dtype=np.uint8)
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR
    image = cv2.imdecode(data, flags) if data.size else None
    if image is None:
        raise MediaError(f"{path}: not an image" + (": the file is empty" if not data.size else ""))
    if image.dtype not in (np.uint8, np.uint16):
        raise MediaError(f"{path}: samples must be 8 or 16 bits, got {image.dtype}")
    return np.ascontiguousarray(image[:, :, ::-1])


def write_image(path: str | os.PathLike[str], rgb: np.ndarray, quality: int = _JPEG_QUALITY) -> None:
    """Write (H, W, 3) or (H, W) uint8 or uint16 code values; the suffix chooses PNG, TIFF or JPEG.

    JPEG takes uint8 only; it is written with full colour resolution (4:4:4) at ``quality`` 1..100. The file is whole
    or absent.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise UnknownNameError("suffix of the image file", path.suffix, _SUFFIXES)
    array = np.asarray(rgb)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or 0 in array.shape:
        raise ValueError(f"rgb must be of shape (H, W, 3) or (H, W), got {array.shape}")
    if array.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"rgb must be uint8 or uint16 code values, got {array.dtype}")
    if suffix in (".jpg", ".jpeg") and array.dtype != np.uint8:
        raise ValueError(f"{path}: JPEG holds 8 bits; write uint16 as .png or .tif")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be 1..100, got {quality}")
    options: list[int] = []
    if suffix in (".jpg", ".jpeg"):
        sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    stored = array if array.ndim == 2 else array[:, :, ::-1]
    done, encoded = cv2.imencode(suffix, np.ascontiguousarray(stored), options)
    if not done:
        raise MediaError(f"{path}: the image could not be encoded")
    write_atomic(path, encoded.tobytes())
