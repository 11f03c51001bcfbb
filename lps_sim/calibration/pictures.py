"""Where the pictures of a calibration set are: files in a folder, or the means in a session file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..camera import Camera
from ..files import sha256_file
from ..media import read_image
from ..media.raw import RAW_SUFFIXES
from .session_file import StoredShot, read_mean
from .shot_validation import is_grey

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", *RAW_SUFFIXES)
# Pictures kept decoded between reads: a set of 640x360 as a whole, some ten 1080p pictures.
_CACHE_BYTES = 128 << 20
_LISTED = 5


class Pictures(Protocol):
    """The pictures of a set, by the names that its shots have."""

    def place(self, name: str) -> str:
        """Where a picture is, for messages."""

    def codes(self, name: str) -> NDArray[Any]:
        """(H, W, 3) code values, not to be written to; ValueError when it cannot be read."""

    def sha256(self, name: str) -> str:
        """Checksum of what is stored."""

    def complaints(self, names: Sequence[str], camera: Camera) -> list[str]:
        """What makes the pictures unusable and can be told without opening them."""


class FolderPictures:
    """Picture files, named relative to ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, name: str) -> str:
        """The file's path."""
        return str(self.folder / name)

    def codes(self, name: str) -> NDArray[Any]:
        """Read by :func:`lps_sim.media.read_image`; the last ones are kept."""
        path = self.folder / name
        about = path.stat()
        return _kept((str(path.absolute()), about.st_mtime_ns, about.st_size), lambda: read_image(path))

    def sha256(self, name: str) -> str:
        """Of the file."""
        return _sha256(self.folder / name)

    def complaints(self, names: Sequence[str], camera: Camera) -> list[str]:
        """Missing files, suffixes that are no pictures, RAW with a camera that is not linear."""
        missing = [name for name in names if not (self.folder / name).is_file()]
        if missing:
            listed = ", ".join(missing[:_LISTED]) + (", ..." if len(missing) > _LISTED else "")
            return [f"{len(missing)} of {len(names)} files missing: {listed}; paths are relative to shots.yaml"]
        unknown = [name for name in names if Path(name).suffix.lower() not in SUFFIXES]
        if unknown:
            return [f"{unknown[0]}: a shot must be one of {', '.join(SUFFIXES)}; convert it to a 16-bit TIFF"]
        raw = [name for name in names if Path(name).suffix.lower() in RAW_SUFFIXES]
        if raw and (camera.eotf != "linear" or camera.bits != 16):
            return [
                f"{raw[0]}: camera RAW is read as 16-bit linear light, but the camera has eotf {camera.eotf} and "
                f"{camera.bits} bits; set eotf: linear and bits: 16"
            ]
        return []


class SessionPictures:
    """Means over the frames of a session's shots: 16-bit codes."""

    def __init__(self, path: Path, shots: Mapping[str, StoredShot]) -> None:
        self.path, self.shots = path, dict(shots)

    def place(self, name: str) -> str:
        """File and shot."""
        return f"{self.path}: shot {name}"

    def codes(self, name: str) -> NDArray[Any]:
        """The stored mean, its checksum compared; the last ones are kept."""
        shot = self.shots[name]
        return _kept((str(self.path.absolute()), shot.group, shot.sha256), lambda: read_mean(self.path, shot))

    def sha256(self, name: str) -> str:
        """Of the mean, as written with it."""
        return self.shots[name].sha256

    def complaints(self, names: Sequence[str], camera: Camera) -> list[str]:
        """None: a session holds what it lists."""
        return []


@lru_cache(maxsize=4096)
def _sha256(path: Path) -> str:
    return sha256_file(path)


_pictures: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()


def _kept(key: Hashable, read: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """A picture, read unless it is among the last ones; a grey one is stored once and shown as three channels."""
    picture = _pictures.pop(key, None)
    if picture is None:
        picture = read()
        if picture.ndim == 2 or picture.shape[-1] == 1:
            picture = np.broadcast_to(picture.reshape(*picture.shape[:2], 1), (*picture.shape[:2], 3))
        elif is_grey(picture):
            picture = np.broadcast_to(picture[..., :1].copy(), picture.shape)
        picture.flags.writeable = False
    _pictures[key] = picture
    while sum(_stored_bytes(kept) for kept in _pictures.values()) > _CACHE_BYTES and len(_pictures) > 1:
        _pictures.popitem(last=False)
    return picture


def _stored_bytes(picture: NDArray[Any]) -> int:
    return picture.nbytes if picture.base is None else picture.base.nbytes
