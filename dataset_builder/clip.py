"""One clip with its effects: a source file in, hashed output files in every data set asked for, one result out.

This is what every runner's worker calls; it never raises for a bad clip, it returns the reason.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from lps_sim.camera import Camera
from lps_sim.fast import Degrader
from lps_sim.files import sha256_file
from lps_sim.film import FilmModel
from lps_sim.media import iter_pictures
from lps_sim.seeding import named_seed

from .formats import writer_class
from .job import Picture, degrade_stream
from .layout import remove_clip
from .manifest import StoredClip

# Not the clip's fault: every further clip would fail alike, so the run stops and the clip stays pending.
_FATAL_ERRNO = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True)
class ClipTask:
    """One source clip and the data sets that still lack it: layer count -> directory."""

    name: str
    source: Path
    fps: str
    targets: dict[int, Path]


@dataclass(frozen=True)
class ClipSettings:
    """What all clips of a run share. ``camera`` holds Camera fields, or ``fov_deg`` alone for the default camera."""

    film_path: str | None
    camera: dict[str, Any]
    size: tuple[int, int] | None
    fit: str
    format: str
    codec: dict[str, Any]
    seed: int


@dataclass(frozen=True)
class ClipResult:
    """What became of a clip: its stored files by layer count, or the error. ``fatal`` errors stop the run."""

    name: str
    source_sha256: str = ""
    seed: int = 0
    stored: dict[int, StoredClip] = field(default_factory=dict)
    error: str = ""
    fatal: bool = False


def process_clip(settings: ClipSettings, task: ClipTask) -> ClipResult:
    """Degrade one clip into every target. On failure none of its files is left behind."""
    seed = named_seed(settings.seed, task.name)
    try:
        digest = sha256_file(task.source)
        stored = _write(settings, task, seed)
        return ClipResult(task.name, digest, seed, stored)
    except Exception as error:  # the border of a worker: whatever a clip does, the run goes on and the reason is kept
        for root in task.targets.values():
            remove_clip(root, task.name)
        return ClipResult(task.name, error=describe(error), fatal=is_fatal(error))


def _write(settings: ClipSettings, task: ClipTask, seed: int) -> dict[int, StoredClip]:
    frames = iter_pictures(task.source)
    first = next(frames)
    height, width = first.shape[:2]
    camera = clip_camera(settings.camera, width, height)
    film = _film(settings.film_path)
    degraders = {
        layers: Degrader(film, layers, camera, output_size=settings.size, seed=seed, fit=settings.fit)
        for layers in task.targets
    }
    out_width, out_height = settings.size or (width, height)
    make_writer = writer_class(settings.format)
    writers = {}
    with ExitStack() as stack:
        for layers, root in task.targets.items():
            writer = make_writer(root, task.name, Fraction(task.fps), out_width, out_height, settings.codec)
            writers[layers] = stack.enter_context(writer)
        for chunk in degrade_stream(_chain(first, frames), degraders):
            for layers, degraded in chunk.items():
                for frame in degraded:
                    writers[layers].write(frame)
    return {layers: writer.stored for layers, writer in writers.items() if writer.stored}


def _chain(first: Picture, rest: Iterator[Picture]) -> Iterator[Picture]:
    yield first
    yield from rest


def clip_camera(fields: dict[str, Any], width: int, height: int) -> Camera:
    """The data set's camera at a clip's size, with the same horizontal field of view."""
    if "width" not in fields:
        return Camera.from_field_of_view(width, height, **fields)
    return Camera.from_dict(fields).resized(width, height)


@lru_cache(maxsize=4)
def _film(path: str | None) -> FilmModel | None:
    return FilmModel.load(path) if path is not None else None


def describe(error: BaseException) -> str:
    """One line: the message of an expected error, with the type's name in front of any other."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    message = " ".join(str(error).split())
    return message if isinstance(error, (ValueError, OSError)) and message else f"{type(error).__name__}: {message}"


def is_fatal(error: BaseException | None) -> bool:
    """Whether an error is the disk's and not the clip's."""
    while error is not None:
        if getattr(error, "errno", None) in _FATAL_ERRNO:
            return True
        error = error.__cause__ or error.__context__
    return False
