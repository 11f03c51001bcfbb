"""Formats of a data set's clips: one writer and one reader each, found by the format's name.

    reader = open_reader("p3ar/layers-08")
    frames = reader.read(reader.names()[0], [0, 4, 8])      # (3, H, W, 3) uint8

Imported on use, so that listing formats loads neither PyAV nor OpenCV.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from lps_sim.errors import UnknownNameError

from ..layout import read_dataset

if TYPE_CHECKING:
    from .base import ClipReader, ClipWriter

__all__ = ["FORMATS", "SHARDED", "open_reader", "writer_class"]

FORMATS = {
    "mp4": ("mp4", "Mp4Writer", "Mp4Reader"),
    "frames": ("frames", "FramesWriter", "FramesReader"),
    "hdf5": ("hdf5", "Hdf5Writer", "Hdf5Reader"),
    "webdataset": ("webdataset", "WebDatasetWriter", "WebDatasetReader"),
}
"""Format name -> (module, writer, reader)."""
SHARDED = ("hdf5", "webdataset")
"""Formats of many clips a file."""


def _home(format_name: str) -> tuple[str, str, str]:
    if format_name not in FORMATS:
        raise UnknownNameError("format", format_name, FORMATS)
    return FORMATS[format_name]


def writer_class(format_name: str) -> type[ClipWriter]:
    """The writer of a format. Raises UnknownNameError."""
    module, writer, _ = _home(format_name)
    found: type[ClipWriter] = getattr(importlib.import_module(f".{module}", __name__), writer)
    return found


def open_reader(dataset_dir: str | os.PathLike[str]) -> ClipReader:
    """The reader of a data set's finished clips.

    Raises ValueError when the directory is not a data set or its format is unknown to this program.
    """
    root = Path(dataset_dir)
    module, _, reader = _home(str(read_dataset(root).get("format")))
    found: type[ClipReader] = getattr(importlib.import_module(f".{module}", __name__), reader)
    return found(root)
