"""Degrade a source tree on this machine: one driver that alone writes the manifest, and worker processes."""

from __future__ import annotations

import functools
import importlib.metadata
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lps_sim import __version__
from lps_sim.camera import Camera
from lps_sim.files import atomic_path
from lps_sim.film import FilmModel

from ..clip import ClipResult, ClipSettings, ClipTask, process_clip
from ..config import DegradeConfig
from ..index import Index, build_index
from ..layout import (
    FILM_FILE,
    MANIFEST_FILE,
    PARTIAL,
    claim_dataset,
    clear_partial,
    directories_for,
    locked,
    remove_clip,
)
from ..manifest import ClipRow, Manifest
from .pool import WorkerDied, run_tasks

INDEX_FILE = "index.jsonl"


@dataclass(frozen=True)
class Summary:
    """What a run did. Counts are of source clips; one clip makes one output in each of ``directories``.

    ``failed`` are (name, error) of this run, and of earlier runs unless they were tried again; ``problems`` are
    (path, reason) of source files that are no clips; ``frames`` counts source frames degraded by this run.
    """

    directories: dict[int, Path]
    clips: int
    done: int
    already_done: int
    failed: tuple[tuple[str, str], ...]
    problems: tuple[tuple[str, str], ...]
    frames: int
    seconds: float

    @property
    def ok(self) -> bool:
        """True when every source file is a finished clip."""
        return not self.failed and not self.problems

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "directories": {str(layers): str(path) for layers, path in self.directories.items()},
            "clips": self.clips,
            "done": self.done,
            "already_done": self.already_done,
            "failed": [{"name": name, "error": error} for name, error in self.failed],
            "problems": [{"path": path, "reason": reason} for path, reason in self.problems],
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
        }


def degrade_dataset(config: DegradeConfig, on_progress: Callable[[int, int, str], None] | None = None) -> Summary:
    """Make, or go on making, the data sets of one source.

    Parameters
    ----------
    config : what to do
    on_progress : called with (clips finished by this run, clips that it has to do, name) at the start and per clip

    Raises
    ------
    ValueError : the film, camera or source cannot be used, the directory was made with other settings, or another
        run is at work on it; nothing has then been written
    OSError : the disk is full or read-only; what was finished stays, and the same call goes on from there

    A clip that fails is recorded with its reason and the rest goes on; see :class:`Summary`.
    """
    started = time.monotonic()
    film = None
    if config.film is not None and max(config.layers) > 0:
        film = FilmModel.load(config.film).at(config.film_distance_m, config.scene_distance_m)
    camera = camera_fields(config)
    codec = config.codec()
    _check_place(config)
    index = _load_index(config)
    if not index.entries:
        reasons = "; ".join(map(str, index.problems[:3])) or "it is empty"
        raise ValueError(f"{config.source}: no usable clip in it: {reasons}")
    directories = directories_for(config.destination, config.layers)
    with ExitStack() as stack:
        manifests = {}
        for layers, root in directories.items():
            settings = _dataset_settings(config, index, film if layers else None, layers, camera, codec)
            stack.enter_context(locked(root))
            claim_dataset(root, settings)
            if layers and film is not None:
                _keep_film(film, root)
            clear_partial(root)
            stack.callback(_drop_partial, root)
            manifests[layers] = stack.enter_context(Manifest(root / MANIFEST_FILE, writable=True))
        if config.source.is_dir():
            index.save(config.destination / INDEX_FILE)
        tasks, kept_failures = _plan(config, index, directories, manifests)
        clip_settings = ClipSettings(
            film_path=str(next(root for n, root in directories.items() if n) / FILM_FILE) if film else None,
            camera=camera,
            size=config.size,
            fit=config.fit,
            format=config.format,
            codec=codec,
            seed=config.seed,
        )
        work = functools.partial(process_clip, clip_settings)
        failed = dict(kept_failures)
        done = frames = 0
        if on_progress:
            on_progress(0, len(tasks), "")
        outcomes = run_tasks(work, tasks, min(config.worker_count, len(tasks)))
        for finished, (task, result) in enumerate(outcomes, start=1):
            if isinstance(result, WorkerDied):
                result = ClipResult(task.name, error=result.reason)
            if result.fatal:
                raise OSError(f"stopped at clip {task.name}: {result.error}; the same command goes on from there")
            _record(result, task, manifests)
            if result.error:
                failed[task.name] = result.error
            else:
                done += 1
                frames += next(iter(result.stored.values())).frames
            if on_progress:
                on_progress(finished, len(tasks), task.name)
    return Summary(
        directories=directories,
        clips=len(index.entries),
        done=done,
        already_done=len(index.entries) - len(tasks) - len(kept_failures),
        failed=tuple(sorted(failed.items())),
        problems=tuple((problem.path, problem.reason) for problem in index.problems),
        frames=frames,
        seconds=time.monotonic() - started,
    )


def _check_place(config: DegradeConfig) -> None:
    """A data set inside its own source would be taken for further sources by the next run."""
    if config.destination.resolve().is_relative_to(config.source.resolve()) and config.source.is_dir():
        raise ValueError(f"{config.destination}: the destination must not lie inside the source {config.source}")


def camera_fields(config: DegradeConfig) -> dict[str, Any]:
    """The data set's camera: the fields of ``config.camera``, or ``fov_deg`` alone, each clip then giving the size."""
    if config.camera is None:
        return {"fov_deg": config.field_of_view_deg}
    return Camera.from_yaml(config.camera).to_dict()


def _load_index(config: DegradeConfig) -> Index:
    if not config.source.exists():
        raise ValueError(f"{config.source}: no such file or folder")
    if not config.source.is_dir() and config.naming != "csv":
        return Index.load(config.source)
    cached = config.destination / INDEX_FILE
    cache = Index.load(cached) if cached.is_file() else None
    return build_index(config.source, config.naming, cache=cache)


def _dataset_settings(
    config: DegradeConfig,
    index: Index,
    film: FilmModel | None,
    layers: int,
    camera: dict[str, Any],
    codec: dict[str, Any],
) -> dict[str, Any]:
    return {
        "film": {"name": film.name, "file": FILM_FILE, "checksum": film.checksum()} if film else None,
        "layers": layers,
        "camera": camera,
        "size": list(config.size) if config.size else None,
        "fit": config.fit,
        "format": config.format,
        "codec": codec,
        "seed": config.seed,
        "source": {"path": str(config.source.resolve()), "root": str(index.root), "naming": index.naming},
        "package_version": __version__,
        "libraries": {name: importlib.metadata.version(name) for name in ("av", "numpy", "opencv-python-headless")},
    }


def _keep_film(film: FilmModel, root: Path) -> None:
    if not (root / FILM_FILE).exists():
        with atomic_path(root / FILM_FILE) as temporary:
            film.save(temporary)


def _drop_partial(root: Path) -> None:
    clear_partial(root)
    (root / PARTIAL).rmdir()


def _plan(
    config: DegradeConfig, index: Index, directories: dict[int, Path], manifests: dict[int, Manifest]
) -> tuple[list[ClipTask], dict[str, str]]:
    """Bring the manifests up to date; the tasks left, and the failures of earlier runs that are not tried again."""
    missing: dict[str, dict[int, Path]] = {}
    failures: dict[str, str] = {}
    names = set(index.names())
    for layers, manifest in manifests.items():
        root = directories[layers]
        manifest.add(ClipRow(entry.name, str(index.source(entry)), entry.label) for entry in index.entries)
        manifest.record_problems((problem.path, problem.reason) for problem in index.problems)
        for row in manifest.rows("failed"):
            if row.name not in names:
                continue
            if config.retry_failed:
                missing.setdefault(row.name, {})[layers] = root
            else:
                failures[row.name] = row.error
        for name in manifest.names("pending"):
            if name in names:
                # Left by a run that was killed between a file's last rename and its row.
                remove_clip(root, name)
                missing.setdefault(name, {})[layers] = root
    tasks = [
        ClipTask(entry.name, index.source(entry), entry.fps, missing[entry.name])
        for entry in index.entries
        if entry.name in missing
    ]
    return tasks, {name: error for name, error in failures.items() if name not in missing}


def _record(result: ClipResult, task: ClipTask, manifests: dict[int, Manifest]) -> None:
    for layers in task.targets:
        if result.error:
            manifests[layers].record_failed(task.name, result.error)
        else:
            manifests[layers].record_done(task.name, result.stored[layers], result.source_sha256, result.seed)
