"""Degrade a whole source: one driver that alone writes the manifests, and workers on this machine or on many."""

from __future__ import annotations

import functools
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lps_sim import __version__
from lps_sim.camera import Camera
from lps_sim.film import FilmModel

from .clip import ClipResult, ClipSettings, ClipTask
from .config import DegradeConfig
from .index import Index, is_index_file, open_index
from .layout import FILM_FILE, claim_dataset, library_versions
from .manifest import Manifest
from .places import Place, locations_for, opened, place_at
from .progress import OnProgress, RunProgress, WorkerState
from .runners.pool import AtWork, WorkerDied, run_tasks
from .shares import Share
from .storage import Location
from .tasks import Plan, plan, time_limit_s
from .work import Result, SealResult, SealTask, Task, work

INDEX_FILE = "index.jsonl"


@dataclass(frozen=True)
class Summary:
    """What a run did. Counts are of source clips; one clip makes one output in each of ``directories``.

    ``failed`` are (name, error) of this run, and of earlier runs unless they were tried again; ``problems`` are
    (path, reason) of source files that are no clips; ``frames`` counts source frames degraded by this run.
    """

    directories: dict[int, Location]
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


def degrade_dataset(config: DegradeConfig, on_progress: OnProgress | None = None) -> Summary:
    """Make, or go on making, the data sets of one source.

    Parameters
    ----------
    config : what to do
    on_progress : called at the start, after every clip and about once a second in between

    Raises
    ------
    ValueError : the film, camera or source cannot be used, the directory was made with other settings, or another
        run is at work on it; nothing has then been written
    OSError : the disk is full or read-only; what was finished stays, and the same call goes on from there

    A clip that fails is recorded with its reason and the rest goes on; see :class:`Summary`.
    """
    started_s = time.monotonic()
    film = None
    if config.film is not None and max(config.layers) > 0:
        film = FilmModel.load(config.film).at(config.film_distance_m, config.scene_distance_m)
    camera = camera_fields(config)
    codec = config.codec()
    _check_place(config)
    kept_index = config.destination / INDEX_FILE if isinstance(config.destination, Path) else None
    index = open_index(config.source, config.naming, kept_index)
    if not index.entries:
        reasons = "; ".join(map(str, index.problems[:3])) or "it is empty"
        raise ValueError(f"{config.source}: no usable clip in it: {reasons}")
    share = Share.parse(config.shard) if config.shard is not None else None
    locations = locations_for(config.destination, config.layers, share)
    scratch = config.scratch or Path(tempfile.gettempdir()) / "lps"
    with ExitStack() as stack:
        places: dict[int, Place] = {}
        for layers, location in locations.items():
            root = stack.enter_context(place_at(location, scratch))
            settings = _dataset_settings(config, index, film if layers else None, layers, camera, codec)
            claim_dataset(root, settings if share is None else {**settings, "job": share.facts(index)})
            places[layers] = stack.enter_context(opened(location, root))
            if layers and film is not None:
                places[layers].keep_film(film)
        if kept_index is not None and not is_index_file(config.source, config.naming):
            index.save(kept_index)
        manifests = {layers: place.manifest for layers, place in places.items()}
        todo = plan(index, manifests, codec.get("clips_per_shard"), share, config.retry_failed)
        for place in places.values():
            place.clear(place.manifest.names("pending"))
            place.seal()
            place.push()
        clip_settings = ClipSettings(
            film=film,
            camera=camera,
            size=config.size,
            fit=config.fit,
            format=config.format,
            codec=codec,
            seed=config.seed,
            scratch=scratch if config.ray is not None else config.scratch,
        )
        tally = _Tally(todo, on_progress)
        tally.report()
        feed = _Feed(todo.tasks(index, locations))
        for task, result in _outcomes(config, functools.partial(work, clip_settings), feed, tally.report):
            if isinstance(result, WorkerDied):
                result = _died(task, result)
            if result.fatal:
                raise OSError(f"stopped at {task.name}: {result.error}; the same command goes on from there")
            if isinstance(task, SealTask) and isinstance(result, SealResult):
                places[task.layers].record_seal(task, result)
            elif isinstance(task, ClipTask) and isinstance(result, ClipResult):
                for layers in task.targets:
                    feed.seals += _record(places[layers], layers, result)
                tally.count(task, result)
        for place in places.values():
            place.seal()
        failed = _failures(todo, manifests)
    return Summary(
        directories=locations,
        clips=len(todo.entries),
        done=tally.done,
        already_done=todo.already_done,
        failed=failed,
        problems=tuple((problem.path, problem.reason) for problem in index.problems),
        frames=tally.frames,
        seconds=time.monotonic() - started_s,
    )


class _Tally:
    """Counts of this run so far, and whoever listens to them."""

    def __init__(self, todo: Plan, on_progress: OnProgress | None) -> None:
        self._todo, self._on_progress = todo, on_progress
        self._started_s = time.monotonic()
        self.done = self.frames = self.source_bytes = 0
        self.failed: dict[str, str] = {}

    def count(self, task: ClipTask, result: ClipResult) -> None:
        """Add one clip."""
        self.source_bytes += task.source_bytes
        if result.error:
            self.failed[task.name] = result.error
        else:
            self.done += 1
            self.frames += next(iter(result.stored.values())).frames
        self.report()

    def report(self, at_work: AtWork[Task] = ()) -> None:
        """Tell where the run is."""
        if self._on_progress is None:
            return
        self._on_progress(
            RunProgress(
                done=self.done + len(self.failed),
                total=len(self._todo.wanted),
                failed=len(self.failed),
                frames=self.frames,
                source_bytes=self.source_bytes,
                total_source_bytes=self._todo.source_bytes,
                seconds=time.monotonic() - self._started_s,
                workers=tuple(WorkerState(task.name, seconds) for task, seconds in at_work),
            )
        )


class _Feed:
    """The clips to make and, ahead of them, the shards that have become ready to seal meanwhile."""

    def __init__(self, clips: Iterator[ClipTask]) -> None:
        self._clips = clips
        self.seals: deque[SealTask] = deque()

    def __iter__(self) -> Iterator[Task]:
        for clip in self._clips:
            while self.seals:
                yield self.seals.popleft()
            yield clip
        while self.seals:
            yield self.seals.popleft()


def _outcomes(
    config: DegradeConfig,
    do: Callable[[Task], Result],
    tasks: Iterable[Task],
    on_wait: Callable[[AtWork[Task]], None],
) -> Iterator[tuple[Task, Result | WorkerDied]]:
    limit_s = functools.partial(time_limit_s, config.clip_timeout_s)
    if config.ray is None:
        return run_tasks(do, tasks, config.worker_count, limit_s, on_wait)
    from .runners.ray_cluster import run_on_ray

    return run_on_ray(do, tasks, config.ray, limit_s, lambda task: task.source_bytes, on_wait)


def _failures(todo: Plan, manifests: dict[int, Manifest]) -> tuple[tuple[str, str], ...]:
    """Clips of the run that failed, now or earlier, or were found damaged when their shard was sealed."""
    names = {entry.name for entry in todo.entries}
    found = {name: error for manifest in manifests.values() for name, error in manifest.failures() if name in names}
    return tuple(sorted(found.items()))


def _died(task: Task, result: WorkerDied) -> Result:
    return ClipResult(task.name, error=result.reason) if isinstance(task, ClipTask) else SealResult(error=result.reason)


def _record(place: Place, layers: int, result: ClipResult) -> list[SealTask]:
    """Write a clip's row; the shard that a worker can seal now."""
    if result.error:
        place.manifest.record_failed(result.name, result.error)
    else:
        place.manifest.record_done(result.name, result.stored[layers], result.source_sha256, result.seed)
    if place.remote is not None:
        place.seal([result.name])
    return place.ready(layers, result.name)


def _check_place(config: DegradeConfig) -> None:
    """A data set inside its own source would be taken for further sources by the next run."""
    source, destination = config.source, config.destination
    if isinstance(source, Path) and isinstance(destination, Path):
        inside = source.is_dir() and destination.resolve().is_relative_to(source.resolve())
    else:
        inside = str(destination).startswith(f"{source}/") or str(destination) == str(source)
    if inside:
        raise ValueError(f"{destination}: the destination must not lie inside the source {source}")


def camera_fields(config: DegradeConfig) -> dict[str, Any]:
    """The data set's camera: the fields of ``config.camera``, or ``fov_deg`` alone, each clip then giving the size."""
    if config.camera is None:
        return {"fov_deg": config.field_of_view_deg}
    return Camera.from_yaml(config.camera).to_dict()


def _dataset_settings(
    config: DegradeConfig,
    index: Index,
    film: FilmModel | None,
    layers: int,
    camera: dict[str, Any],
    codec: dict[str, Any],
) -> dict[str, Any]:
    source = config.source.resolve() if isinstance(config.source, Path) else config.source
    return {
        "film": {"name": film.name, "file": FILM_FILE, "checksum": film.checksum()} if film else None,
        "layers": layers,
        "camera": camera,
        "size": list(config.size) if config.size else None,
        "fit": config.fit,
        "format": config.format,
        "codec": codec,
        "seed": config.seed,
        "source": {"path": str(source), "root": str(index.root), "naming": index.naming},
        "package_version": __version__,
        "libraries": library_versions(),
    }
