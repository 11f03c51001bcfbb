"""Which clips a run still has to make: the index held against what the manifests say is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .clip import ClipTask
from .index import Index, IndexEntry
from .manifest import ClipRow, Manifest
from .shares import Share
from .storage import Location
from .work import Task

# A clip's time limit, where none is asked for: beyond what two cores shared with other work need by a factor of ten.
_LIMIT_S, _LIMIT_S_PER_MB = 300.0, 60.0


@dataclass(frozen=True)
class Plan:
    """``entries`` are all clips of the run, ``wanted`` the layer counts that a clip still lacks, by its name.

    ``failed`` are the clips that failed in an earlier run and are left so, with their errors.
    """

    entries: list[IndexEntry]
    wanted: dict[str, tuple[int, ...]]
    failed: dict[str, str]
    source_bytes: int

    @property
    def already_done(self) -> int:
        """Clips of which nothing is left to do, and that did not fail."""
        return len(self.entries) - len(self.wanted) - len(self.failed)

    def tasks(self, index: Index, locations: Mapping[int, Location]) -> Iterator[ClipTask]:
        """The clips to make, in the order of their names."""
        for entry in self.entries:
            if layers := self.wanted.get(entry.name):
                targets = {count: locations[count] for count in layers}
                yield ClipTask(entry.name, index.source(entry), entry.size, entry.fps, targets)


def plan(
    index: Index,
    manifests: Mapping[int, Manifest],
    clips_per_shard: int | None,
    share: Share | None = None,
    retry_failed: bool = False,
) -> Plan:
    """Bring the manifests up to date with the index; what is left to do.

    A finished clip whose source has another size than when it was made is made again. A pending one whose source is
    gone fails.
    """
    if share is None:
        entries, blocks = list(index.entries), None
    else:
        shared = list(share.of(index.entries, clips_per_shard or 1))
        entries = [entry for _, entry in shared]
        blocks = [block if clips_per_shard else -1 for block, _ in shared]
    names = {entry.name for entry in entries}
    wanted: dict[str, tuple[int, ...]] = {}
    failed: dict[str, str] = {}
    for layers, manifest in manifests.items():
        manifest.add(
            (
                ClipRow(
                    name=entry.name,
                    source=str(index.source(entry)),
                    label=entry.label,
                    source_bytes=entry.size,
                    block=blocks[position] if blocks is not None else -1,
                )
                for position, entry in enumerate(entries)
            ),
            clips_per_shard if blocks is None else None,
        )
        manifest.record_problems((problem.path, problem.reason) for problem in index.problems)
        if retry_failed:
            manifest.retry(name for name, _ in manifest.failures() if name in names)
        todo = manifest.names("pending")
        manifest.record_gone(name for name in todo if name not in names)
        failed.update((name, error) for name, error in manifest.failures() if name in names)
        for name in todo:
            if name in names:
                wanted[name] = (*wanted.get(name, ()), layers)
    source_bytes = sum(entry.size for entry in entries if entry.name in wanted)
    return Plan(entries, wanted, {n: error for n, error in failed.items() if n not in wanted}, source_bytes)


def time_limit_s(limit_s: float | None, task: Task) -> float:
    """Seconds that a clip may take: ``limit_s``, or 5 minutes and a minute more for every megabyte of its source.

    By the source's size and not its number of frames, which a header can lie about.
    """
    return limit_s if limit_s is not None else _LIMIT_S + _LIMIT_S_PER_MB * task.source_bytes / 1e6
