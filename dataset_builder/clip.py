"""One clip with its effects: a source file in, hashed output files in every data set asked for, one result out.

This is what every runner's worker calls; it never raises for a bad clip, it returns the reason.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
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
from .layout import mean_path, remove_clip
from .manifest import StoredClip
from .storage import Location, Remote, deliver, fetched, scratch_folder

# Not the clip's fault: every further clip would fail alike, so the run stops and the clip stays pending.
_FATAL_ERRNO = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True)
class ClipTask:
    """One source clip of ``source_bytes``, and the data sets that still lack it: layer count -> its directory."""

    name: str
    source: Location
    source_bytes: int
    fps: str
    targets: dict[int, Location]


@dataclass(frozen=True)
class ClipSettings:
    """What all clips of a run share.

    ``camera`` holds Camera fields, or ``fov_deg`` alone for the default camera. With ``scratch`` a clip is made in that
    folder of the worker's own machine and delivered when it is whole; remote data sets always work so, in the system's
    folder for temporary files if none is given.
    """

    film: FilmModel | None
    camera: dict[str, Any]
    size: tuple[int, int] | None
    fit: str
    format: str
    codec: dict[str, Any]
    seed: int
    scratch: Path | None = None


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
        with ExitStack() as stack:
            source = stack.enter_context(fetched(task.source, settings.scratch))
            digest = sha256_file(source)
            roots = {}
            for layers, location in task.targets.items():
                if isinstance(location, Path) and settings.scratch is None:
                    roots[layers] = location
                else:
                    roots[layers] = stack.enter_context(scratch_folder(settings.scratch))
            stored = _write(settings, task, source, roots, seed)
            for layers, location in task.targets.items():
                if roots[layers] != location:
                    for relative in (stored[layers].mean, stored[layers].output):
                        deliver(roots[layers] / relative, location, relative)
        return ClipResult(task.name, digest, seed, stored)
    except Exception as error:  # the border of a worker: whatever a clip does, the run goes on and the reason is kept
        for location in task.targets.values():
            _withdraw(settings, task.name, location)
        return ClipResult(task.name, error=describe(error), fatal=is_fatal(error))


def _withdraw(settings: ClipSettings, name: str, location: Location) -> None:
    if isinstance(location, Path):
        remove_clip(location, name)
        return
    # Where the store itself is what failed, what is left there is found by the next run, which writes it anew.
    with contextlib.suppress(OSError, ValueError):
        remote = Remote(location)
        for relative in (writer_class(settings.format).output_path(name), mean_path(name)):
            remote.remove(relative)


def _write(
    settings: ClipSettings, task: ClipTask, source: Path, roots: dict[int, Path], seed: int
) -> dict[int, StoredClip]:
    frames = iter_pictures(source)
    first = next(frames)
    height, width = first.shape[:2]
    camera = clip_camera(settings.camera, width, height)
    degraders = {
        layers: Degrader(
            settings.film if layers else None, layers, camera, output_size=settings.size, seed=seed, fit=settings.fit
        )
        for layers in roots
    }
    out_width, out_height = settings.size or (width, height)
    make_writer = writer_class(settings.format)
    writers = {}
    with ExitStack() as stack:
        for layers, root in roots.items():
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
