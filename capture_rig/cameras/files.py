"""Recordings as cameras: a folder of pictures, or a video file, such as a phone made them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .counting import FrameCounter, as_recorded
from .protocol import CameraFacts, CameraLostError, CameraRefusedError, CameraSettings, Frame

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


class _Recording:
    """What both have in common: frames from an iterator, and an exposure that is what it was."""

    _frames: Iterator[Frame]
    _name: str
    facts: CameraFacts

    def set_exposure(self, exposure: float) -> float:
        """Takes 1, the exposure that it has; raises CameraRefusedError for any other."""
        if exposure != 1:
            raise CameraRefusedError(f"{self._name}: a recording keeps its exposure; asked for {exposure:g} times it")
        return 1.0

    def read(self, timeout_s: float = 2.0) -> Frame:
        """The next frame, without waiting; raises CameraLostError at the end, MediaError for what cannot be read."""
        frame = next(self._frames, None)
        if frame is None:
            raise CameraLostError(f"{self._name}: the recording has ended")
        return frame

    def close(self) -> None:
        """Later reads fail."""
        if hasattr(self._frames, "close"):
            self._frames.close()
        self._frames = iter(())

    def __exit__(self, *error: object) -> None:
        self.close()


class FolderCamera(_Recording):
    """The pictures of a folder, in the order of their names with numbers read as numbers (img2 before img10).

    Parameters
    ----------
    folder : with .png, .jpg, .tif or camera RAW pictures of one size, not below it
    settings : what they should be like; ``fps`` also gives them their times, 1 a second without it

    ``files`` and ``exposures`` tell every picture's path and what its EXIF data says of the exposure, None where it
    says nothing.

    Raises
    ------
    CameraRefusedError
        no pictures
    MediaError
        a picture that cannot be read, here of the first and in :meth:`read` of the others
    """

    def __init__(self, folder: str | os.PathLike[str], settings: CameraSettings | None = None) -> None:
        from lps_sim.media.exif import read_exif_exposure
        from lps_sim.media.raw import RAW_SUFFIXES

        settings = settings or CameraSettings()
        self._name = os.fspath(folder)
        suffixes = (*PICTURE_SUFFIXES, *RAW_SUFFIXES)
        found = [path for path in Path(folder).iterdir() if path.suffix.lower() in suffixes and path.is_file()]
        self.files = tuple(sorted(found, key=lambda path: natural_key(path.name)))
        if not self.files:
            raise CameraRefusedError(f"{self._name}: no pictures ({', '.join(suffixes)})")
        self.exposures = tuple(read_exif_exposure(path) for path in self.files)
        fps = settings.fps or 1.0
        first = self._picture(self.files[0], None)
        height, width = first.shape[:2]
        bits = 8 * first.itemsize
        raw = self.files[0].suffix.lower() in RAW_SUFFIXES
        told = [None if one is None else vars(one) for one in self.exposures]
        self.facts = CameraFacts(
            name=self._name,
            backend="files",
            width=width,
            height=height,
            fps=settings.fps,
            bits=bits,
            eotf="linear" if raw else "srgb",
            settings=as_recorded(settings, width=width, height=height, fps=settings.fps, exposure_s=self._exposure_s()),
            details={"pictures": len(self.files), "files": [path.name for path in self.files], "exif": told},
        )
        self._frames = (
            Frame(self._picture(path, first), number / fps, number) for number, path in enumerate(self.files)
        )

    def __enter__(self) -> FolderCamera:
        return self

    def _exposure_s(self) -> float | None:
        """The exposure time that all pictures share."""
        times = {None if one is None else one.time_s for one in self.exposures}
        return times.pop() if len(times) == 1 else None

    @staticmethod
    def _picture(path: Path, like: np.ndarray | None) -> np.ndarray:
        from lps_sim.media import MediaError, read_image

        picture = read_image(path)
        if like is not None and (picture.shape != like.shape or picture.dtype != like.dtype):
            first, other = (f"{one.dtype} {one.shape}" for one in (like, picture))
            raise MediaError(f"{path}: all pictures must be {first} like the first, got {other}")
        return picture


class VideoCamera(_Recording):
    """The frames of a video file with their presentation times; numbers jump where the times leave a gap.

    Parameters
    ----------
    path : of the file
    settings : what it should be like

    Raises MediaError for what is no video, here; for damage, where it is met in :meth:`read`.
    """

    def __init__(self, path: str | os.PathLike[str], settings: CameraSettings | None = None) -> None:
        from lps_sim.media import probe

        settings = settings or CameraSettings()
        self._name = os.fspath(path)
        info = probe(path)
        fps = float(info.fps) or None
        self.facts = CameraFacts(
            name=self._name,
            backend="files",
            width=info.width,
            height=info.height,
            fps=fps,
            eotf="srgb",
            settings=as_recorded(settings, width=info.width, height=info.height, fps=fps),
            details={"video": info.to_dict()},
        )
        self._frames = self._timed(fps)

    def __enter__(self) -> VideoCamera:
        return self

    def _timed(self, fps: float | None) -> Iterator[Frame]:
        from lps_sim.media import iter_timed_frames

        counter = FrameCounter(1 / fps if fps else None)
        first_s: float | None = None
        for index, (time_s, codes) in enumerate(iter_timed_frames(self._name)):
            if time_s is None:
                time_s = index / (fps or 1.0)
            first_s = time_s if first_s is None else first_s
            yield Frame(codes, time_s - first_s, counter.count(time_s))


def natural_key(name: str) -> tuple[Any, ...]:
    """Sorting key: text without case, runs of digits as numbers."""
    parts = re.split(r"(\d+)", name.casefold())
    return tuple((int(part), part) if k % 2 else (part,) for k, part in enumerate(parts))
