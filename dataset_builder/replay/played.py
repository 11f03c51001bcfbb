"""The signatures of the played clips on one time line, computed by worker processes once and kept beside the data set.

``DST/replay/played.u16`` holds one row a played frame, ``played.json`` which clips of it are whole and of which file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lps_sim.files import write_atomic
from lps_sim.media import iter_pictures

from ..index import Index
from ..runners.pool import WorkerDied, run_tasks
from .map import ReplayMap
from .signature import CELLS, signature

_COMMIT_CLIPS = 64


@dataclass(frozen=True)
class Played:
    """signatures : (P, CELLS); known : (P,); problems : (clip, reason) of those that could not be read."""

    signatures: NDArray[np.uint16]
    known: NDArray[np.bool_]
    problems: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Task:
    name: str
    source: str
    frames: int


def read_played(
    replay_map: ReplayMap,
    index: Index,
    folder: Path,
    workers: int = 0,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> Played:
    """The signatures of all clips of a map, at their places in it.

    Parameters
    ----------
    replay_map : where the clips stand
    index : of the clips' files; found by their names
    folder : for the cache; clips whose file has not changed are not decoded again
    workers : processes; 0 for none
    on_progress : called with (clips read, clips to read, name)

    A clip that is missing, unreadable or of another number of frames than the map says is a problem, not an error.
    """
    files = {entry.name: entry for entry in index.entries}
    marks, tasks, problems = {}, [], []
    for clip in replay_map.entries:
        entry = files.get(clip.name)
        if entry is None:
            problems.append((clip.name, "stands in the map but not among the played clips"))
        else:
            marks[clip.name] = [clip.first, clip.frames, entry.size, entry.mtime_ns]
            tasks.append(_Task(clip.name, str(index.source(entry)), clip.frames))
    cache, state = folder / "played.u16", folder / "played.json"
    size = replay_map.played_frames * CELLS * np.dtype(np.uint16).itemsize
    whole: dict[str, list[int]] = {}
    if state.is_file() and cache.is_file() and cache.stat().st_size == size:
        whole = {name: mark for name, mark in json.loads(state.read_text()).items() if marks.get(name) == mark}
    rows = np.memmap(cache, np.uint16, "r+" if whole else "w+", shape=(replay_map.played_frames, CELLS))
    first = {clip.name: clip.first for clip in replay_map.entries}
    left = [task for task in tasks if task.name not in whole]
    for done, (task, result) in enumerate(run_tasks(_read, left, min(workers, len(left))), 1):
        if isinstance(result, WorkerDied):
            problems.append((task.name, result.reason))
        elif isinstance(result, str):
            problems.append((task.name, result))
        else:
            rows[first[task.name] : first[task.name] + task.frames] = result
            whole[task.name] = marks[task.name]
        if done % _COMMIT_CLIPS == 0 or done == len(left):
            rows.flush()
            write_atomic(state, json.dumps(whole))
        if on_progress:
            on_progress(done, len(left), task.name)
    known = np.zeros(replay_map.played_frames, np.bool_)
    for clip in replay_map.entries:
        known[clip.first : clip.last + 1] = clip.name in whole
    return Played(rows, known, tuple(sorted(problems)))


def _read(task: _Task) -> NDArray[np.uint16] | str:
    """A clip's signatures, or why there are none."""
    try:
        rows = np.stack([signature(picture) for picture in iter_pictures(task.source)])
    except (ValueError, OSError) as error:
        return " ".join(str(error).split())
    if len(rows) != task.frames:
        return f"the map gives it {task.frames} frames, its file holds {len(rows)}"
    return rows
