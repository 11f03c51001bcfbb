"""Camera RAW pictures as linear codes, through the optional package rawpy (LibRaw)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .colour import MediaError

RAW_SUFFIXES = (".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".rw2", ".orf")


class MissingRawReaderError(MediaError):
    """A RAW picture was asked for, but rawpy is not installed."""


def read_raw(path: Path) -> np.ndarray:
    """A RAW picture as (H, W, 3) uint16 in the camera's own colours, proportional to the light.

    Black level off, 65535 at the sensor's white level; no automatic brightness, white balance off (factor 1 for every
    channel), no colour matrix, not turned. It goes with a camera of ``eotf: linear`` and ``bits: 16``.

    Raises
    ------
    MissingRawReaderError
        rawpy is not installed
    MediaError
        not a RAW picture that LibRaw knows
    """
    try:
        import rawpy
    except ImportError as error:
        raise MissingRawReaderError(
            f"{path}: camera RAW needs the package rawpy; install it with: pip install 'lens-privacy-sealing[raw]'"
        ) from error
    try:
        with rawpy.imread(str(path)) as raw:
            image = raw.postprocess(
                gamma=(1, 1),
                no_auto_bright=True,
                output_bps=16,
                use_camera_wb=False,
                use_auto_wb=False,
                user_wb=[1.0, 1.0, 1.0, 1.0],
                output_color=rawpy.ColorSpace.raw,
                user_flip=0,
            )
    except rawpy.LibRawError as error:
        raise MediaError(f"{path}: not a RAW picture: {error}") from error
    return np.ascontiguousarray(image)
