"""Where a run keeps the records of a data set while it works: in the data set itself, or in a mirror of a remote one.

The manifest is an SQLite file, which no object store can hold open. So a remote data set's records live in a local
folder during the run and are sent along every minute and at the end: a run that dies loses the news of its last minute,
does those clips again, and writes the same bytes over them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lps_sim.files import atomic_path, write_atomic
from lps_sim.film import FilmModel

from .layout import (
    DATASET_FILE,
    FILM_FILE,
    MANIFEST_FILE,
    PARTIAL,
    layers_name,
    locked,
    remove_clip,
    unfinished_files,
)
from .manifest import PARTS, Manifest
from .records import fetch_records
from .seal import record_damaged, record_sealed, seal_ready
from .shares import Share
from .storage import Location, Remote, below
from .work import SealResult, SealTask

LEASE_FILE = ".lease.json"
LEASE_S = 300.0
"""A remote data set's lock that was not renewed for so long belonged to a run that died."""
PUSH_S = 60.0
"""Time between two uploads of a remote data set's manifest."""


@dataclass
class Place:
    """One data set at work: ``location`` is where clips go, ``root`` the local folder of its records."""

    location: Location
    root: Path
    manifest: Manifest
    remote: Remote | None = None
    _pushed_s: float = 0.0

    def keep_film(self, film: FilmModel) -> None:
        """Put the film beside the clips, once."""
        if not (self.root / FILM_FILE).exists():
            with atomic_path(self.root / FILM_FILE) as temporary:
                film.save(temporary)

    def clear(self, pending: Iterable[str]) -> None:
        """Remove what a run that was killed left between a file's last rename and its row."""
        present = {
            name
            for top in ("clips", "frames", "means", PARTS)
            if (self.root / top).is_dir()
            for name in os.listdir(self.root / top)
        }
        stems = present | {os.path.splitext(name)[0] for name in present}
        for name in pending:
            if name.partition("/")[0] in stems:
                remove_clip(self.root, name)

    def ready(self, layers: int, name: str) -> list[SealTask]:
        """The shard that a worker can seal now that a clip is done or has failed; none where this process must."""
        if self.remote is not None:
            return []
        blocks = self.manifest.blocks_to_seal([self.manifest.block_of(name)])
        return [SealTask(layers, self.root, block, tuple(self.manifest.block_rows(block))) for block in blocks]

    def record_seal(self, task: SealTask, result: SealResult) -> None:
        """Note what became of a shard. Where it could not be sealed the parts stay, for :meth:`seal` at the end."""
        if result.stored is not None:
            record_sealed(self.root, self.manifest, task.rows, result.stored)
        elif result.damaged is not None:
            record_damaged(self.root, self.manifest, result.damaged)

    def seal(self, names: Iterable[str] | None = None) -> None:
        """Seal blocks in this process, as :func:`dataset_builder.seal.seal_ready`, and send the records along."""
        if self.remote is None:
            seal_ready(self.root, self.manifest, names)
            return
        among = None if names is None else {self.manifest.block_of(name) for name in names}
        for block in self.manifest.blocks_to_seal(among):
            self._seal_remote(self.remote, block)
        if time.monotonic() - self._pushed_s > PUSH_S:
            self.push()

    def _seal_remote(self, remote: Remote, block: int) -> None:
        """Fetch a block's parts, seal them here, deliver the shard; the parts go once the manifest says so there."""
        shards = {shard.block: shard.output for shard in self.manifest.shards()}
        parts = [row for row in self.manifest.block_rows(block) if not row.sealed]
        for row in parts:
            for relative in (row.output, row.mean):
                if remote.exists(relative):
                    remote.get(relative, self.root / relative)
        if block in shards:
            remote.get(shards[block], self.root / shards[block])
        for stored in seal_ready(self.root, self.manifest, [row.name for row in parts]):
            remote.put(self.root / stored.output, stored.output)
            (self.root / stored.output).unlink()
        self.push()
        for row in parts:
            remote.remove(row.output)
            remote.remove(row.mean)

    def push(self) -> None:
        """Send the records of a remote data set to it, and renew its lease."""
        if self.remote is None:
            return
        for file in (DATASET_FILE, FILM_FILE):
            if (self.root / file).exists() and not self.remote.exists(file):
                self.remote.put(self.root / file, file)
        copy = self.root / PARTIAL / "manifest.copy"
        copy.parent.mkdir(exist_ok=True)
        self.manifest.copy_to(copy)
        self.remote.put(copy, MANIFEST_FILE)
        copy.unlink()
        _write_lease(self.root, self.remote)
        self._pushed_s = time.monotonic()


def locations_for(destination: Location, layers: tuple[int, ...], share: Share | None = None) -> dict[int, Location]:
    """The data set of each layer count: DST itself for one, ``DST/layers-NN`` for several; of a job, below its own
    ``DST/job-III-of-NNN``. A folder that already holds ``layers-NN`` goes on holding them.

    Raises ValueError when DST is a single data set and several are asked for, or was merged from jobs already.
    """
    single = _exists(below(destination, DATASET_FILE))
    if share is not None:
        if single or any(_exists(below(destination, f"{layers_name(n)}/{DATASET_FILE}")) for n in layers):
            raise ValueError(f"{destination}: is a whole data set already; go on without shard {share}")
        destination = below(destination, f"job-{share.number:03d}-of-{share.count:03d}")
        single = _exists(below(destination, DATASET_FILE))
    if len(layers) == 1 and not _holds_layers(destination):
        return {layers[0]: destination}
    if single:
        raise ValueError(
            f"{destination}: is one data set already; several layer counts ({', '.join(map(str, layers))}) need another"
        )
    return {count: below(destination, layers_name(count)) for count in layers}


def _exists(location: Location) -> bool:
    return Remote(location).exists() if isinstance(location, str) else location.exists()


def _holds_layers(destination: Location) -> bool:
    if isinstance(destination, Path):
        return any(destination.glob(f"layers-*/{DATASET_FILE}"))
    return bool(Remote(destination).match(f"layers-*/{DATASET_FILE}"))


@contextlib.contextmanager
def place_at(location: Location, scratch: Path) -> Iterator[Path]:
    """The locked local folder of a data set's records; ``scratch`` holds those of remote ones.

    Raises ValueError when another run holds the data set.
    """
    if isinstance(location, Path):
        with locked(location):
            yield location
        return
    root = mirror_folder(location, scratch)
    remote = Remote(location)
    with locked(root):
        _check_lease(location, remote)
        _write_lease(root, remote)
        try:
            fetch_records(remote, root)
            yield root
        finally:
            remote.remove(LEASE_FILE)


@contextlib.contextmanager
def opened(location: Location, root: Path) -> Iterator[Place]:
    """The data set whose folder ``root`` is locked and claimed, its manifest open for writing."""
    remote = Remote(location) if isinstance(location, str) else None
    with unfinished_files(root), Manifest(root / MANIFEST_FILE, writable=True) as manifest:
        place = Place(location, root, manifest, remote)
        try:
            yield place
        finally:
            place.push()


def mirror_folder(url: str, scratch: Path) -> Path:
    """The local folder that holds the records of a remote data set."""
    return scratch / f"records-{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def _check_lease(location: str, remote: Remote) -> None:
    if not remote.exists(LEASE_FILE):
        return
    lease = json.loads(remote.fs.cat_file(remote.path(LEASE_FILE)))
    age_s = time.time() - float(lease["time"])
    if age_s < LEASE_S:
        raise ValueError(
            f"{location}: another run (process {lease['process']} on {lease['host']}) was at work on it {age_s:.0f} s "
            f"ago; if it died, wait {LEASE_S - age_s:.0f} s"
        )


def _write_lease(root: Path, remote: Remote) -> None:
    lease = {"host": socket.gethostname(), "process": os.getpid(), "time": time.time()}
    root.mkdir(parents=True, exist_ok=True)
    write_atomic(root / LEASE_FILE, json.dumps(lease))
    remote.put(root / LEASE_FILE, LEASE_FILE)
