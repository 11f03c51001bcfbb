"""What the formats of many clips a file share: parts, the sealing of parts into a shard, and reading out of shards.

A clip is made as every other, into a part of its own. Shards are written from parts, with the clips in the order of
their names and nothing of when and where, so that the same clips give the same bytes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ..layout import MANIFEST_FILE
from ..manifest import PARTS, SHARDS, ClipRow, Manifest
from .base import BLOCK_BYTES, ClipReader, ClipWriter


class DamagedClipError(ValueError):
    """A finished clip of which the payload or the mean is missing or has changed on disk."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(name, reason)  # both, so that it passes between processes

    def __str__(self) -> str:
        return self.reason


class ClipSource(Protocol):
    """Where a shard's clips are taken from. Both raise DamagedClipError."""

    def payload(self, row: ClipRow) -> Iterator[bytes]:
        """The clip's payload, checked against its row at the end."""

    def mean_png(self, row: ClipRow) -> bytes:
        """The clip's stored mean."""


class ShardIndex(Protocol):
    """Where each clip lies in a shard. Holds numbers only; ``stream`` is the shard opened for reading, unbuffered."""

    def __contains__(self, name: object) -> bool:
        """Whether the shard holds the clip."""

    def names(self) -> list[str]:
        """The clips in the shard."""

    def payload(self, stream: BinaryIO, name: str) -> Iterator[bytes]:
        """The payload of a clip."""

    def mean_png(self, stream: BinaryIO, name: str) -> bytes:
        """The stored mean of a clip."""


class PartWriter(ClipWriter):
    """A writer whose clips end in shards."""

    shard_suffix: str

    @classmethod
    def output_path(cls, name: str) -> str:
        return f"{PARTS}/{name}{cls.suffix()}"

    @classmethod
    def shard_path(cls, block: int) -> str:
        """Where a shard stands, relative to the data set's directory."""
        return f"{SHARDS}/{block:06d}{cls.shard_suffix}"

    @classmethod
    def write_shard(cls, path: Path, dataset: dict[str, Any], rows: Sequence[ClipRow], source: ClipSource) -> None:
        """Write the clips of ``rows``, one or more, to a new file."""
        raise NotImplementedError

    @classmethod
    def read_index(cls, stream: BinaryIO, place: Path) -> ShardIndex:
        """Where the clips lie. Raises ValueError naming ``place`` when it is not a whole shard."""
        raise NotImplementedError


class ShardReader(ClipReader):
    """Reads clips out of shards; those that still are parts are not listed.

    A shard is indexed when a clip of it is asked for, once a process. Every read opens the shard anew and reads at
    offsets, so that any number of threads and processes, forked or spawned, may share a reader.
    """

    writer: type[PartWriter]

    def __init__(self, dataset_dir: str | os.PathLike[str]) -> None:
        super().__init__(dataset_dir)
        self._indices: dict[str, tuple[tuple[int, ...], ShardIndex]] = {}
        with Manifest(self.root / MANIFEST_FILE) as manifest:
            self._bytes = {shard.output: shard.bytes for shard in manifest.shards()}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_indices": {}}

    def _readable(self, row: ClipRow) -> bool:
        return row.sealed

    def absent(self, names: Iterable[str]) -> list[str]:
        asked = list(names)
        outputs = {self._facts(name).output for name in asked}
        whole = {output for output in outputs if self._shard_stands(output)}
        return [name for name in asked if self._facts(name).output not in whole]

    def _shard_stands(self, output: str) -> bool:
        path = self.root / output
        return path.is_file() and path.stat().st_size == self._bytes.get(output)

    def payload(self, name: str) -> Iterator[bytes]:
        with self._opened(name) as (stream, index):
            yield from index.payload(stream, name)

    def mean_png(self, name: str) -> bytes:
        with self._opened(name) as (stream, index):
            return index.mean_png(stream, name)

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[tuple[BinaryIO, Any]]:
        """The clip's shard, opened, and its index."""
        output = self._facts(name).output
        path = self.root / output
        with open(path, "rb", buffering=0) as stream:
            status = os.fstat(stream.fileno())
            # A shard is replaced when clips that had failed are added to it: then its clips lie elsewhere.
            identity = (status.st_ino, status.st_size, status.st_mtime_ns)
            known = self._indices.get(output)
            if known is None or known[0] != identity:
                known = self._indices[output] = (identity, self.writer.read_index(stream, path))
            if name not in known[1]:
                raise ValueError(f"{path}: does not hold clip {name}; run lps data verify")
            yield stream, known[1]


def read_range(stream: BinaryIO, start: int, stop: int) -> bytes:
    """The bytes start..stop - 1 of an opened file. Raises ValueError when the file ends before."""
    data = os.pread(stream.fileno(), stop - start, start)
    while len(data) < stop - start:
        more = os.pread(stream.fileno(), stop - start - len(data), start + len(data))
        if not more:
            raise ValueError(f"{stream.name}: truncated: {stop - start - len(data)} bytes are missing at its end")
        data += more
    return data


def read_blocks(stream: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    """The bytes start..stop - 1 of an opened file, block by block."""
    for position in range(start, stop, BLOCK_BYTES):
        yield read_range(stream, position, min(position + BLOCK_BYTES, stop))
