"""A finished data set in another format: copied where both formats keep the same bytes, else decoded and coded anew.

=============================  =====================================================================
from, to                       pixels
=============================  =====================================================================
mp4, webdataset                unchanged: the video files are copied
frames, hdf5 of JPEG frames    unchanged at the same quality: the JPEG bytes are copied
any, hdf5 of raw frames        unchanged: every frame as a reader of the source gives it
all else                       coded again; ``dataset.json`` says so under ``exported_from``
=============================  =====================================================================
"""

from __future__ import annotations

import functools
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lps_sim import __version__
from lps_sim.config import StrictModel
from lps_sim.files import atomic_path

from .clip import ClipResult, describe, is_fatal
from .config import CLIPS_PER_SHARD, DegradeConfig
from .formats import SHARDED, open_reader, writer_class
from .formats.base import ClipReader, PayloadDigest
from .layout import (
    FILM_FILE,
    MANIFEST_FILE,
    claim_dataset,
    dataset_digest,
    library_versions,
    locked,
    read_dataset,
    remove_clip,
    unfinished_files,
)
from .manifest import ClipRow, Manifest
from .runners.pool import WorkerDied, run_tasks
from .seal import seal_ready

Pixels = Literal["unchanged", "re-encoded"]
_CODED_BY_FRAME = ("frames", "hdf5")


class ExportConfig(StrictModel):
    """One export.

    Parameters
    ----------
    source : a data set's directory
    destination : the directory of the new data set
    format : ``mp4``, ``frames``, ``hdf5`` or ``webdataset``
    jpeg_quality : 1..100, for ``frames`` and ``hdf5``; None: that of the source, or 95
    hdf5_frames : ``jpeg`` or ``raw``; None: as the source has them, else ``jpeg``
    clips_per_shard : for ``hdf5`` and ``webdataset``; None: that of the source, or 256
    workers : worker processes; 0 works in this process; None takes every processor
    """

    source: Path
    destination: Path
    format: Literal["mp4", "frames", "hdf5", "webdataset"]
    jpeg_quality: int | None = Field(default=None, ge=1, le=100)
    hdf5_frames: Literal["jpeg", "raw"] | None = None
    clips_per_shard: int | None = Field(default=None, ge=1, le=1_000_000)
    workers: int | None = Field(default=None, ge=0, le=1024)

    def codec(self, source: dict[str, Any]) -> dict[str, Any]:
        """Codec settings of the new data set, given the source's ``dataset.json``: the source's own where they fit."""
        kept = without_shards(source["codec"])
        shards = {}
        if self.format in SHARDED:
            inherited = source["codec"].get("clips_per_shard", CLIPS_PER_SHARD)
            shards = {"clips_per_shard": self.clips_per_shard or inherited}
        by_frame = source["format"] in _CODED_BY_FRAME
        if self.format not in _CODED_BY_FRAME:
            return {**(self._default(format="mp4") if by_frame else kept), **shards}
        frames = self.hdf5_frames or ("raw" if kept["codec"] == "raw" else "jpeg")
        if self.format == "hdf5" and frames == "raw":
            return {"codec": "raw", **shards}
        if kept["codec"] == "jpeg" and self.jpeg_quality in (None, kept["quality"]):
            return {**kept, **shards}
        quality = {} if self.jpeg_quality is None else {"jpeg_quality": self.jpeg_quality}
        return {**self._default(format="frames", **quality), **shards}

    def _default(self, **fields: Any) -> dict[str, Any]:
        return DegradeConfig(source=self.source, destination=self.destination, layers=(0,), **fields).codec()


def without_shards(codec: dict[str, Any]) -> dict[str, Any]:
    """Codec settings that say how frames are coded, not how clips are put together."""
    return {key: value for key, value in codec.items() if key != "clips_per_shard"}


@dataclass(frozen=True)
class ExportSummary:
    """What an export did. ``left_out`` are clips that the source does not have whole; both lists are (name, reason)."""

    directory: Path
    format: str
    pixels: Pixels
    clips: int
    done: int
    already_done: int
    failed: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]
    frames: int
    seconds: float

    @property
    def ok(self) -> bool:
        """True when every clip of the source's manifest stands in the new data set."""
        return not self.failed and not self.left_out

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        lists = {
            key: [{"name": name, "reason": reason} for name, reason in getattr(self, key)]
            for key in ("failed", "left_out")
        }
        return {
            **{key: getattr(self, key) for key in ("format", "pixels", "clips", "done", "already_done", "frames")},
            **lists,
            "directory": str(self.directory),
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class _Job:
    """What the clips of one export share."""

    source: Path
    destination: Path
    format: str
    codec: dict[str, Any]
    copied: bool


def export_dataset(config: ExportConfig, on_progress: Callable[[int, int, str], None] | None = None) -> ExportSummary:
    """Make, or go on making, a data set in another format from the finished clips of one.

    Clips keep name, label, noise seed and the checksum of their original source. A clip whose bytes are not those of
    the source's manifest fails; failed ones are tried again by the next call.

    Parameters
    ----------
    config : what to do
    on_progress : called with (clips finished by this call, clips that it has to do, name) at the start and per clip

    Raises
    ------
    ValueError : the source is no data set, the destination was made otherwise or lies inside the source, or another
        run is at work on it
    OSError : the disk is full or read-only; the same call goes on from there
    """
    started = time.monotonic()
    source, root = config.source, config.destination
    if root.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"{root}: the destination must not lie inside the source {source}")
    dataset = read_dataset(source)
    codec = config.codec(dataset)
    copied = _is_copy(dataset, config.format, codec)
    pixels: Pixels = "unchanged" if copied or codec["codec"] == "raw" else "re-encoded"
    job = _Job(source, root, config.format, codec, copied)
    _reader.cache_clear()  # the source may have grown since an earlier export in this process
    names = open_reader(source).names()
    left_out = tuple(_left_out(source, dataset))
    done = frames = 0
    with ExitStack() as stack:
        stack.enter_context(locked(root))
        claim_dataset(root, _settings(dataset, job, pixels))
        _keep_film(source, root)
        stack.enter_context(unfinished_files(root))
        manifest = stack.enter_context(Manifest(root / MANIFEST_FILE, writable=True))
        manifest.add(_rows(source, names), codec.get("clips_per_shard"))
        seal_ready(root, manifest)
        wanted = set(names)
        tasks = [name for name in (*manifest.names("pending"), *manifest.names("failed")) if name in wanted]
        for name in tasks:
            remove_clip(root, name)
        if on_progress:
            on_progress(0, len(tasks), "")
        workers = config.workers if config.workers is not None else os.cpu_count() or 1
        outcomes = run_tasks(functools.partial(export_clip, job), tasks, min(workers, len(tasks)))
        for finished, (name, result) in enumerate(outcomes, start=1):
            if isinstance(result, WorkerDied):
                result = ClipResult(name, error=result.reason)
            if result.fatal:
                raise OSError(f"stopped at clip {name}: {result.error}; the same command goes on from there")
            if result.error:
                manifest.record_failed(name, result.error)
            else:
                (stored,) = result.stored.values()
                manifest.record_done(name, stored, result.source_sha256, result.seed)
                done += 1
                frames += stored.frames
            seal_ready(root, manifest, [name])
            if on_progress:
                on_progress(finished, len(tasks), name)
        seal_ready(root, manifest)
        failed = tuple((row.name, row.error) for row in manifest.rows("failed") if row.name in wanted)
    return ExportSummary(
        directory=root,
        format=config.format,
        pixels=pixels,
        clips=len(names) + len(left_out),
        done=done,
        already_done=len(names) - len(tasks),
        failed=failed,
        left_out=left_out,
        frames=frames,
        seconds=time.monotonic() - started,
    )


def _is_copy(source: dict[str, Any], format_name: str, codec: dict[str, Any]) -> bool:
    """Whether both keep a clip's frames in the same bytes."""
    payloads = [writer_class(name).by_frame for name in (str(source["format"]), format_name)]
    return payloads[0] == payloads[1] and without_shards(source["codec"]) == without_shards(codec)


def _settings(source: dict[str, Any], job: _Job, pixels: Pixels) -> dict[str, Any]:
    """``dataset.json`` of the export: the source's facts, and where its bytes come from."""
    origin: dict[str, Any] = {key: source[key] for key in ("format", "codec", "exported_from") if key in source}
    made: dict[str, Any] = {"package_version": __version__}
    if not job.copied:
        made["libraries"] = library_versions()
    facts = {key: value for key, value in source.items() if key != "lps_dataset"}
    exported = {**origin, "dataset_sha256": dataset_digest(source), "pixels": pixels}
    return {**facts, **made, "format": job.format, "codec": job.codec, "exported_from": exported}


def _keep_film(source: Path, root: Path) -> None:
    if (source / FILM_FILE).exists() and not (root / FILM_FILE).exists():
        with atomic_path(root / FILM_FILE) as temporary:
            shutil.copyfile(source / FILM_FILE, temporary)


def _rows(source: Path, names: Iterable[str]) -> Iterator[ClipRow]:
    """New rows for clips of the source."""
    with Manifest(source / MANIFEST_FILE) as manifest:
        for name in names:
            row = manifest.row(name)
            if row is not None:
                yield ClipRow(name, row.source, row.label)


def _left_out(source: Path, dataset: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Clips of the source that no reader gives, with the reason."""
    with Manifest(source / MANIFEST_FILE) as manifest:
        for row in manifest.rows("pending"):
            yield row.name, "not made yet in the source"
        for row in manifest.rows("failed"):
            yield row.name, f"failed in the source: {row.error}"
        for row in manifest.rows("done") if dataset["format"] in SHARDED else ():
            if not row.sealed:
                yield row.name, "its shard is not complete yet in the source"


@functools.lru_cache(maxsize=1)
def _reader(source: Path) -> ClipReader:
    return open_reader(source)


def export_clip(job: _Job, name: str) -> ClipResult:
    """Copy or code one clip; never raises for a bad one, it returns the reason."""
    try:
        reader = _reader(job.source)
        with Manifest(job.source / MANIFEST_FILE) as manifest:
            row = manifest.row(name)
        if row is None:
            raise ValueError(f"{name}: gone from {job.source}")
        writer = writer_class(job.format)(
            job.destination, name, Fraction(row.fps), row.width, row.height, without_shards(job.codec)
        )
        if job.copied:
            writer.copy(reader.payload(name), reader.mean_png(name), row)
        else:
            _check(reader, row)
            with writer:
                for frame in reader.frames(name):
                    writer.write(frame)
        stored = {} if writer.stored is None else {0: writer.stored}
        return ClipResult(name, row.source_sha256, int(row.seed or 0), stored)
    except Exception as error:  # the border of a worker: whatever a clip does, the export goes on and says why
        remove_clip(job.destination, name)
        return ClipResult(name, error=describe(error), fatal=is_fatal(error))


def _check(reader: ClipReader, row: ClipRow) -> None:
    """Few codecs notice a flipped bit; its checksum does."""
    digest = PayloadDigest(reader.writer.by_frame)
    for chunk in reader.payload(row.name):
        digest.update(chunk)
    if digest.hexdigest() != row.output_sha256:
        raise ValueError(f"{row.name}: changed since it was made; run lps data verify on its data set")
