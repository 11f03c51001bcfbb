"""Sealing: the parts of a block become its shard once no clip of the block is still to be made.

The order of effects lets a run that is killed anywhere be run again: the shard is whole under its name, then the
manifest says so in one durable transaction, then the parts go. A clip is taken from its part, or from the shard there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from lps_sim.files import sha256_file

from .formats import SHARDED, writer_class
from .formats.base import PayloadDigest, sha256_bytes
from .formats.shards import DamagedClipError, PartWriter, ShardIndex
from .layout import PART_SUFFIXES, PARTIAL, fsync_directory, read_dataset, remove_clip
from .manifest import PARTS, ClipRow, Manifest, StoredShard


def seal_ready(root: Path, manifest: Manifest, names: Iterable[str] | None = None) -> list[StoredShard]:
    """Seal the blocks of a data set that are ready; those written.

    Parameters
    ----------
    root : the data set's directory, whose lock is held
    manifest : its manifest, writable
    names : the clips that have just become done or failed; None, at the start and the end of a run while no clip is
        being written, looks at every block and clears away what an interrupted sealing left

    A finished clip whose part is missing or has changed on disk is recorded as failed, with the reason, and left out.
    Cheap when nothing is ready, and where the format has no shards.

    Raises OSError when the disk is full; the parts then stay.
    """
    if names is None:
        if read_dataset(root)["format"] not in SHARDED:
            return []
        blocks = manifest.blocks_to_seal()
    else:
        blocks = manifest.blocks_to_seal({manifest.block_of(name) for name in names})
    sealed = [_seal(root, manifest, block) for block in blocks]
    if names is None:
        _remove_sealed_parts(root, manifest)
    return [stored for stored in sealed if stored is not None]


def _seal(root: Path, manifest: Manifest, block: int) -> StoredShard | None:
    while rows := manifest.block_rows(block):
        try:
            stored = seal_block(root, block, rows)
        except DamagedClipError as error:
            record_damaged(root, manifest, error)
            continue
        record_sealed(root, manifest, rows, stored)
        return stored
    return None


def record_sealed(root: Path, manifest: Manifest, rows: Sequence[ClipRow], stored: StoredShard) -> None:
    """Note in the manifest what :func:`seal_block` wrote from ``rows``, then remove the parts."""
    manifest.record_shard(stored, [row.name for row in rows])
    for row in rows:
        if not row.sealed:
            remove_clip(root, row.name)


def record_damaged(root: Path, manifest: Manifest, error: DamagedClipError) -> None:
    """Note that a finished clip is not what its row says: it has failed, and the block is sealed without it."""
    manifest.record_failed(error.name, error.reason)
    remove_clip(root, error.name)


def seal_block(root: Path, block: int, rows: Sequence[ClipRow]) -> StoredShard:
    """Write the shard of a block's finished clips, given in the order of their names, from their parts or its old self.

    The bytes depend on the clips alone. Does not touch the manifest, so that any process may do it; see
    :func:`record_sealed` and :func:`record_damaged`. Raises DamagedClipError for the first clip that is not what its
    row says.
    """
    dataset = read_dataset(root)
    writer = writer_class(str(dataset["format"]))
    if not issubclass(writer, PartWriter):
        raise ValueError(f"{root}: format {dataset['format']} has no shards")
    output = writer.shard_path(block)
    target, partial = root / output, root / PARTIAL / f"{secrets.token_hex(8)}{writer.shard_suffix}"
    for folder in (target.parent, partial.parent):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with _opened_source(root, target, writer) as source:
            writer.write_shard(partial, dataset, rows, source)
        with open(partial, "rb") as stream:
            os.fsync(stream.fileno())
        stored = StoredShard(
            block=block,
            output=output,
            sha256=sha256_file(partial),
            bytes=partial.stat().st_size,
            clips=len(rows),
            frames=sum(row.frames for row in rows),
        )
        os.replace(partial, target)
        fsync_directory(target.parent)
    finally:
        partial.unlink(missing_ok=True)
    return stored


@contextlib.contextmanager
def _opened_source(root: Path, shard: Path, writer: type[PartWriter]) -> Iterator[_BlockSource]:
    with ExitStack() as stack:
        stream, index = None, None
        if shard.exists():
            stream = stack.enter_context(open(shard, "rb", buffering=0))
            # A shard that cannot be read is no source: its clips are then found missing, one by one.
            with contextlib.suppress(ValueError):
                index = writer.read_index(stream, shard)
        yield _BlockSource(root, writer, stream, index)


class _BlockSource:
    """The clips of a block: parts, and those of the shard that is there already."""

    def __init__(self, root: Path, writer: type[PartWriter], stream: BinaryIO | None, index: ShardIndex | None) -> None:
        self._root, self._writer, self._stream, self._index = root, writer, stream, index

    def payload(self, row: ClipRow) -> Iterator[bytes]:
        digest, size = PayloadDigest(self._writer.by_frame), 0
        for chunk in self._stored(row):
            size += len(chunk)
            if size > row.output_bytes:
                break
            digest.update(chunk)
            yield chunk
        if size != row.output_bytes or digest.hexdigest() != row.output_sha256:
            raise DamagedClipError(row.name, f"{row.output}: changed on disk after the clip was finished")

    def _stored(self, row: ClipRow) -> Iterator[bytes]:
        part = self._root / self._writer.output_path(row.name)
        try:
            if part.exists():
                yield from self._writer.payload(part)
            else:
                index, stream = self._sealed(row)
                yield from index.payload(stream, row.name)
        except ValueError as error:
            raise DamagedClipError(row.name, f"{row.output}: cannot be read: {error}") from error

    def mean_png(self, row: ClipRow) -> bytes:
        part = self._root / "means" / f"{row.name}.png"
        try:
            if part.exists():
                data = part.read_bytes()
            else:
                index, stream = self._sealed(row)
                data = index.mean_png(stream, row.name)
        except ValueError as error:
            raise DamagedClipError(row.name, f"{row.mean}: cannot be read: {error}") from error
        if sha256_bytes(data) != row.mean_sha256:
            raise DamagedClipError(row.name, f"{row.mean}: changed on disk after the clip was finished")
        return data

    def _sealed(self, row: ClipRow) -> tuple[ShardIndex, BinaryIO]:
        if self._index is None or self._stream is None or row.name not in self._index:
            raise ValueError("missing")
        return self._index, self._stream


def _remove_sealed_parts(root: Path, manifest: Manifest) -> None:
    """Remove the files of clips that stand in their shard, and the folders that this leaves empty."""
    for top, suffixes in ((PARTS, PART_SUFFIXES), ("means", (".png",))):
        for folder, _, files in os.walk(root / top, topdown=False):
            for file in files:
                path = Path(folder, file)
                row = manifest.row(path.relative_to(root / top).with_suffix("").as_posix())
                if path.suffix in suffixes and row is not None and row.sealed:
                    path.unlink()
            if not os.listdir(folder):
                os.rmdir(folder)
