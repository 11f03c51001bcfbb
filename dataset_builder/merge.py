"""Join what the jobs of a job array made: their files move to one data set, their rows into one manifest.

Files are renamed, never copied, so merging a hundred thousand clips takes seconds a data set. A merge that is stopped
goes on where it was: a file that has moved already is found at its new place.
"""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lps_sim.files import write_atomic

from .layout import (
    FILM_FILE,
    MANIFEST_FILE,
    claim_dataset,
    find_datasets,
    fsync_directory,
    locked,
    read_dataset,
)
from .manifest import ClipRow, Manifest

_JOB = re.compile(r"job-(\d+)-of-(\d+)")
_ROWS = 1000  # clips moved between two transactions


@dataclass(frozen=True)
class Merged:
    """One merged data set: its directory, the clips that came from jobs, and those that failed or are missing there."""

    directory: Path
    clips: int
    failed: int
    pending: int

    @property
    def ok(self) -> bool:
        """True when every clip of every job is whole."""
        return not self.failed and not self.pending


def merge_jobs(
    destination: Path, partial: bool = False, on_progress: Callable[[int, int, str], None] | None = None
) -> list[Merged]:
    """Merge ``DST/job-III-of-NNN`` into DST, one data set a layer count; the emptied job folders are removed.

    Parameters
    ----------
    destination : what the jobs were given as destination
    partial : merge although jobs are missing or have clips left to do
    on_progress : called with (clips moved, clips of all jobs, job)

    Raises
    ------
    ValueError
        there are no jobs, or they are of several arrays; some are missing or unfinished and ``partial`` is not set;
        a job is still at work; jobs differ in what they were asked to make, or made the same clip
    """
    jobs = _jobs(destination)
    groups: dict[str, list[Path]] = defaultdict(list)
    for job in jobs:
        for root in find_datasets(job):
            groups[root.relative_to(job).as_posix()].append(root)
    with ExitStack() as stack:
        for roots in groups.values():
            for root in roots:
                stack.enter_context(locked(root))
        if not partial:
            _require_whole(destination, jobs, groups)
        total = sum(sum(_counts(root).values()) for roots in groups.values() for root in roots)
        done = 0
        merged = []
        for relative, roots in sorted(groups.items()):
            target = destination / relative
            stack.enter_context(locked(target))
            _check_alike(roots)
            with Manifest(target / MANIFEST_FILE, writable=True) as manifest:
                for root in roots:
                    clips = _merge_one(root, target, manifest)
                    done += clips
                    if on_progress:
                        on_progress(done, total, root.relative_to(destination).as_posix())
                counts = manifest.counts()
            merged.append(Merged(target, counts["done"], counts["failed"], counts["pending"]))
    for job in jobs:
        shutil.rmtree(job)
    return merged


def _jobs(destination: Path) -> list[Path]:
    found = sorted(path for path in destination.glob("job-*-of-*") if path.is_dir() and _JOB.fullmatch(path.name))
    if not found:
        raise ValueError(f"{destination}: holds no job-III-of-NNN of lps data degrade --shard")
    arrays = sorted({_size(path) for path in found})
    if len(arrays) > 1:
        raise ValueError(f"{destination}: holds jobs of several arrays, of {', '.join(map(str, arrays))} jobs")
    return found


def _size(job: Path) -> int:
    match = _JOB.fullmatch(job.name)
    return int(match[2]) if match else 0


def _require_whole(destination: Path, jobs: list[Path], groups: dict[str, list[Path]]) -> None:
    count = _size(jobs[0])
    there = {job.name for job in jobs}
    missing = [n for n in range(count) if f"job-{n:03d}-of-{count:03d}" not in there]
    # A merge that was stopped has removed no job before all were moved, so a missing one was never run.
    problems = [f"job {n} of {count} is missing" for n in missing]
    for roots in groups.values():
        for root in roots:
            if pending := _counts(root)["pending"]:
                problems.append(f"{root.relative_to(destination)} has {pending} clips to do")
    if problems:
        raise ValueError(f"{destination}: not ready to merge: {'; '.join(problems)} (merge what there is: --partial)")


def _counts(root: Path) -> dict[str, int]:
    with Manifest(root / MANIFEST_FILE) as manifest:
        return {str(status): count for status, count in manifest.counts().items()}


def _check_alike(roots: list[Path]) -> None:
    """Jobs must have shared out the same names."""
    names = {read_dataset(root)["job"]["names_sha256"] for root in roots}
    if len(names) > 1:
        raise ValueError(
            f"{roots[0].parent.parent}: the jobs shared out different indices; give all of them one INDEX file"
        )


def _merge_one(root: Path, target: Path, manifest: Manifest) -> int:
    settings = {key: value for key, value in read_dataset(root).items() if key not in ("lps_dataset", "job")}
    claim_dataset(target, settings)
    if (root / FILM_FILE).exists() and not (target / FILM_FILE).exists():
        write_atomic(target / FILM_FILE, (root / FILM_FILE).read_bytes())
    moved = 0
    with Manifest(root / MANIFEST_FILE) as source:
        for stored in source.shards():
            _move(root, target, [stored.output])
            manifest.record_shard(stored, ())
        for rows in _chunks(source.rows()):
            _refuse_doubles(rows, target, manifest)
            _move(root, target, (path for row in rows if row.status == "done" for path in (row.mean, row.output)))
            manifest.take(rows)
            moved += len(rows)
        manifest.record_problems(sorted({*manifest.problems(), *source.problems()}))
    return moved


def _chunks(rows: Iterator[ClipRow]) -> Iterator[list[ClipRow]]:
    chunk: list[ClipRow] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _refuse_doubles(rows: list[ClipRow], target: Path, manifest: Manifest) -> None:
    for row in rows:
        there = manifest.row(row.name)
        if there is not None and there != row:
            raise ValueError(f"{target}: has clip {row.name} already, from other work")


def _move(root: Path, target: Path, paths: Iterable[str]) -> None:
    """Rename files or folders from one data set to another; those that have moved before are left."""
    folders = set()
    for relative in dict.fromkeys(paths):
        if (root / relative).exists():
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            (root / relative).rename(target / relative)
            folders.add((target / relative).parent)
        elif not (target / relative).exists():
            raise ValueError(f"{root / relative}: missing; run lps data verify {root}")
    for folder in folders:
        fsync_directory(folder)
