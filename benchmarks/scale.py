"""What a hundred thousand clips cost beside their own work: index, status, resuming, and the driver's share.

    python -m benchmarks.scale [--clips 120000] [--made 3000] [--json FILE]

The source is one tiny video under many names. Most rows of the manifest are written as finished, the rest is degraded.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dataset_builder.clip import ClipSettings, ClipTask, process_clip
from dataset_builder.config import DegradeConfig
from dataset_builder.degrade import camera_fields, degrade_dataset
from dataset_builder.index import Index, build_index
from dataset_builder.layout import MANIFEST_FILE
from dataset_builder.manifest import ClipRow, Manifest
from dataset_builder.naming import ntu_name
from lps_sim import FilmModel
from lps_sim.media import write_video

from .results import finish, number, table

NAME = "A hundred thousand clips (benchmarks/scale.py)"
FILM, LAYERS, SIZE, FRAMES = "p3ar-10layer", 10, (32, 32), 4
_LINKS = 50_000  # names of one file; ext4 allows 65,000


def write_source(root: Path, clips: int) -> None:
    """One video under ``clips`` NTU names, in one folder a setup."""
    rng = np.random.default_rng(0)
    root.mkdir()
    video = rng.integers(0, 255, (FRAMES, 32, 32, 3), dtype=np.uint8)
    numbers = itertools.product(range(1, 33), range(1, 4), range(1, 107), range(1, 3), range(1, 121))
    for rank, (setup, camera, performer, replication, action) in enumerate(itertools.islice(numbers, clips)):
        if rank % _LINKS == 0:
            first = root / f".{rank}.mp4"
            write_video(first, video, 30)
        name = ntu_name(setup, camera, performer, replication, action)
        folder = root / name[:8]
        folder.mkdir(exist_ok=True)
        os.link(first, folder / f"{name}_rgb.mp4")


def mark_finished(root: Path, index: Index, leave: int) -> None:
    """Write all clips but the last ``leave`` into the manifest as finished."""
    with Manifest(root / MANIFEST_FILE, writable=True) as manifest:
        manifest.add(ClipRow(e.name, str(index.source(e)), e.label, source_bytes=e.size) for e in index.entries)
    done = [(entry.name,) for entry in index.entries[: len(index.entries) - leave]]
    with sqlite3.connect(root / MANIFEST_FILE) as db:
        db.executemany("UPDATE clips SET status = 'done', output = 'clips/' || name || '.mp4' WHERE name = ?", done)
    db.close()


def alone(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What ``function`` returns in a process of its own, with that process's peak memory in MiB."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_send, args=(theirs, function, arguments))
    process.start()
    result: dict[str, Any] = ours.recv()
    process.join()
    return result


def _send(pipe: Any, function: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> None:
    started_s = time.monotonic()
    result = function(*arguments)
    result.setdefault("seconds", time.monotonic() - started_s)
    pipe.send({**result, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024})


def index_tree(source: Path, path: Path) -> dict[str, Any]:
    """Index a source, with the index there as a cache."""
    index = build_index(source, cache=Index.load(path) if path.exists() else None)
    index.save(path)
    return {"clips": len(index.entries)}


def resume(index: Path, root: Path, workers: int) -> dict[str, Any]:
    """Go on with a data set; seconds to the first clip, and the driver's own CPU time a clip."""
    started_s, first_s, cpu_s = time.monotonic(), 0.0, 0.0

    def note(progress: Any) -> None:
        nonlocal first_s, cpu_s
        if progress.done == 1 and not first_s:
            first_s, cpu_s = time.monotonic() - started_s, time.process_time()

    summary = degrade_dataset(_config(index, root, workers), note)
    assert summary.ok, summary.failed[:3]
    after_s = time.monotonic() - started_s - first_s
    return {
        "clips": summary.done,
        "first_clip_s": first_s,
        "driver_ms_a_clip": (time.process_time() - cpu_s) / (summary.done - 1) * 1e3,
        "core_ms_a_clip": after_s * workers / (summary.done - 1) * 1e3,
    }


def own_work(index: Path, root: Path, clips: int) -> dict[str, Any]:
    """The same clips without driver, manifest and worker processes: milliseconds of one core a clip."""
    config, loaded = _config(index, root, 0), Index.load(index)
    settings = ClipSettings(
        FilmModel.load(FILM), camera_fields(config), SIZE, "squash", "mp4", config.codec(), config.seed
    )
    tasks = [
        ClipTask(entry.name, loaded.source(entry), entry.size, entry.fps, {LAYERS: root})
        for entry in loaded.entries[: clips + 1]
    ]
    process_clip(settings, tasks[0])  # plans and compiled loops
    started_s = time.monotonic()
    for task in tasks[1:]:
        assert not process_clip(settings, task).error
    return {"clips": clips, "core_ms_a_clip": (time.monotonic() - started_s) / clips * 1e3}


def _config(index: Path, root: Path, workers: int) -> DegradeConfig:
    return DegradeConfig(source=index, destination=root, film=FILM, layers=(LAYERS,), size=SIZE, workers=workers)


def status(root: Path) -> dict[str, Any]:
    """``lps data status`` as a command."""
    started_s = time.monotonic()
    subprocess.run([sys.executable, "-m", "cli.main", "data", "status", str(root)], check=True, capture_output=True)
    return {"seconds": time.monotonic() - started_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clips", type=int, default=120_000)
    parser.add_argument("--made", type=int, default=3000, help="clips that are degraded")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lps-scale-") as folder:
        source, index, root = Path(folder, "src"), Path(folder, "index.jsonl"), Path(folder, "set")
        write_source(source, options.clips)
        results = {
            "index, first": alone(index_tree, source, index),
            "index, nothing changed": alone(index_tree, source, index),
        }
        # An empty run claims the directory; then the manifest is filled.
        started = DegradeConfig(
            source=index, destination=root, film=FILM, layers=(LAYERS,), size=SIZE, workers=0, clip_timeout_s=60
        )
        _claim(started)
        mark_finished(root, Index.load(index), options.made)
        results["resume"] = alone(resume, index, root, options.workers)
        results["nothing left to do"] = alone(resume_done, index, root)
        results["status"] = status(root)
        results["own work"] = alone(own_work, index, Path(folder, "alone"), min(options.made, 500))
    columns = ("", "clips", "seconds", "peak MiB", "first clip s", "driver ms a clip", "core ms a clip")
    cells = [
        [name, values.get("clips")]
        + [number(values.get(key), 2) for key in ("seconds", "peak_mib", "first_clip_s")]
        + [number(values.get(key), 2) for key in ("driver_ms_a_clip", "core_ms_a_clip")]
        for name, values in results.items()
    ]
    note = (
        f"{options.clips} clips of {FRAMES} frames, of which {options.made} are made by {options.workers} workers. The "
        "driver's time is its own processor time, the cores' time is wall time times workers. 'own work' makes "
        "clips in one process without driver and manifest. Peak memory is the driver's, imports included."
    )
    command = f"python -m benchmarks.scale --clips {options.clips} --made {options.made} --workers {options.workers}"
    finish(NAME, command, results, [table("Beside the clips' own work", columns, cells, note)], options.json)


def _claim(config: DegradeConfig) -> None:
    class Stop(Exception):
        pass

    def stop(progress: Any) -> None:
        raise Stop

    with contextlib.suppress(Stop):
        degrade_dataset(config, stop)


def resume_done(index: Path, root: Path) -> dict[str, Any]:
    """A run that finds everything finished."""
    summary = degrade_dataset(_config(index, root, 2))
    return {"clips": summary.already_done}


if __name__ == "__main__":
    main()
