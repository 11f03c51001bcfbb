"""Pictures that a camera took by itself, as a phone does, brought into a session by their names.

A picture's name is that of its planned shot, with a number behind it where a shot has several: ``N04_hole_x8.jpg``, or
``N04_hole_x8_1.jpg``, ``N04_hole_x8_2.jpg``. Exposures are those of the pictures' EXIF data, relative to the shortest
bare one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lps_sim.media import read_image
from lps_sim.media.exif import ExifExposure

from .cameras.files import FolderCamera
from .cameras.protocol import Frame
from .plan import PlannedShot
from .session import Session

_SAME = 1.001


@dataclass(frozen=True)
class Imported:
    """What an import did: ``taken`` shots, ``lacking`` ones that no picture shows, ``unknown`` pictures of no shot."""

    taken: tuple[str, ...]
    lacking: tuple[str, ...]
    unknown: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"taken": list(self.taken), "lacking": list(self.lacking), "unknown": list(self.unknown)}


def import_pictures(
    session: Session, folder: FolderCamera, on_shot: Callable[[int, int], None] | None = None
) -> Imported:
    """Store the pictures of a folder as the shots of a session; those that it has already stay.

    Parameters
    ----------
    session : opened for recording
    folder : of the pictures
    on_shot : called with (shots stored, shots in all)

    Raises
    ------
    ValueError
        no picture is named as a shot, one has no exposure in its EXIF data, pictures of one shot have different
        exposures, or a picture has another size than the camera's
    """
    shots = {shot.name: shot for shot in session.planned}
    found, unknown = _by_shot(folder, shots)
    if not found:
        raise ValueError(
            f"{folder.facts.name}: no picture is named as a shot of the plan, such as {next(iter(shots))}.jpg"
        )
    exposures = {name: _exposure(name, rows) for name, rows in found.items()}
    bare = [value for name, value in exposures.items() if not shots[name].layers and not shots[name].capped]
    unit = min(bare or exposures.values())
    wanted = [name for name in session.content.lacking if name in found]
    for number, name in enumerate(wanted, 1):
        frames = [Frame(_codes(path), float(k), k) for k, (path, _) in enumerate(found[name])]
        session.add_shot(shots[name], frames, exposures[name] / unit)
        if on_shot:
            on_shot(number, len(wanted))
    return Imported(tuple(wanted), tuple(session.content.lacking), tuple(unknown))


_Pictures = list[tuple[Path, ExifExposure | None]]


def _by_shot(folder: FolderCamera, shots: Mapping[str, PlannedShot]) -> tuple[dict[str, _Pictures], list[str]]:
    """Pictures of every shot in the order of the numbers behind its name, and the names of the others."""
    found: dict[str, _Pictures] = {}
    unknown = []
    for path, exposure in zip(folder.files, folder.exposures):
        numbered = re.fullmatch(r"(.+)_\d+", path.stem)
        name = path.stem if path.stem in shots else numbered[1] if numbered else ""
        if name in shots:
            found.setdefault(name, []).append((path, exposure))
        else:
            unknown.append(path.name)
    return found, unknown


def _exposure(name: str, pictures: _Pictures) -> float:
    """The one exposure of a shot's pictures: time x ISO / f-number^2."""
    values = []
    for path, exposure in pictures:
        if exposure is None:
            raise ValueError(f"{path}: no ExposureTime in its EXIF data; without it light cannot be compared")
        values.append(exposure.relative)
    if max(values) > _SAME * min(values):
        raise ValueError(f"{pictures[0][0].parent}: pictures of shot {name} have different exposures, {values}")
    return values[0]


def _codes(path: Path) -> np.ndarray:
    codes = read_image(path)
    return codes if codes.ndim == 3 else np.repeat(codes[..., None], 3, axis=2)
