"""WebDataset: shards that are tar archives, ``shards/<block>.tar``, three members a clip.

``<key>.json`` holds what is known of the clip, ``<key>.mean.png`` its mean frame (16 bits, 256 times the code value),
``<key>.mp4`` its frames. The key is the clip's name with every dot of its last part written ``%2E`` (and ``%`` as
``%25``), since in WebDataset the first dot there ends the key.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote

import numpy as np

from ..manifest import ClipRow
from ..naming import parse_name
from .base import BLOCK_BYTES
from .mp4 import Mp4Writer, video_frames
from .shards import ClipSource, PartWriter, ShardReader, read_blocks, read_range

VIDEO, MEAN, FACTS = ".mp4", ".mean.png", ".json"


class WebDatasetWriter(PartWriter, Mp4Writer):
    """Writes ``parts/<name>.mp4`` as :class:`Mp4Writer` does, and seals them into tar archives."""

    shard_suffix = ".tar"

    @classmethod
    def write_shard(cls, path: Path, dataset: dict[str, Any], rows: Sequence[ClipRow], source: ClipSource) -> None:
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
            for row in rows:
                key = key_of(row.name)
                facts = json.dumps(clip_facts(row, dataset), ensure_ascii=False, sort_keys=True).encode()
                for suffix, data in ((FACTS, facts), (MEAN, source.mean_png(row))):
                    archive.addfile(_member(key + suffix, len(data)), io.BytesIO(data))
                video = _Chunks(source.payload(row))
                archive.addfile(_member(key + VIDEO, row.output_bytes), io.BufferedReader(video, BLOCK_BYTES))
                video.exhaust()

    @classmethod
    def read_index(cls, stream: BinaryIO, place: Path) -> TarIndex:
        return TarIndex(stream, place)


def _member(name: str, size: int) -> tarfile.TarInfo:
    """A header that says nothing of when and by whom the file was made."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 0
    return info


def key_of(name: str) -> str:
    """The WebDataset key of a clip's name: without a dot in its last part, and reversible."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.replace("%", "%25").replace(".", "%2E")


def name_of(key: str) -> str:
    """The clip's name of a WebDataset key."""
    folder, slash, base = key.rpartition("/")
    return folder + slash + unquote(base)


def clip_facts(row: ClipRow, dataset: dict[str, Any]) -> dict[str, Any]:
    """What a clip's JSON member says: the clip, its data set, and what an NTU or P3AR-PKU name tells."""
    facts = {
        "name": row.name,
        "label": row.label,
        "frames": row.frames,
        "fps": row.fps,
        "width": row.width,
        "height": row.height,
        "seed": row.seed,
        "layers": dataset["layers"],
        "film_checksum": dataset["film"]["checksum"] if dataset["film"] else None,
        "source_sha256": row.source_sha256,
        "output_sha256": row.output_sha256,
        "mean_sha256": row.mean_sha256,
    }
    try:
        named = asdict(parse_name(row.name.rpartition("/")[2]))
    except ValueError:  # a name of another manner tells nothing
        return facts
    return {**{key: value for key, value in named.items() if value}, **facts}


class _Place(NamedTuple):
    start: int
    stop: int


class TarIndex:
    """Where the members of an archive lie, from one walk over its headers."""

    def __init__(self, stream: BinaryIO, place: Path) -> None:
        self._videos: dict[str, _Place] = {}
        self._means: dict[str, _Place] = {}
        stream.seek(0)
        try:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                for member in archive:
                    where = _Place(member.offset_data, member.offset_data + member.size)
                    if member.name.endswith(VIDEO):
                        self._videos[name_of(member.name.removesuffix(VIDEO))] = where
                    elif member.name.endswith(MEAN):
                        self._means[name_of(member.name.removesuffix(MEAN))] = where
        except tarfile.TarError as error:
            raise ValueError(f"{place}: not a whole tar archive: {error}") from error

    def __contains__(self, name: object) -> bool:
        return name in self._videos and name in self._means

    def names(self) -> list[str]:
        """The clips in the archive."""
        return list(self._videos)

    def payload(self, stream: BinaryIO, name: str) -> Iterator[bytes]:
        """The bytes of the clip's video file, in blocks."""
        return read_blocks(stream, *self._videos[name])

    def mean_png(self, stream: BinaryIO, name: str) -> bytes:
        """The clip's stored mean."""
        return read_range(stream, *self._means[name])

    def video(self, stream: BinaryIO, name: str) -> Window:
        """The clip's video file, opened inside the archive."""
        return Window(stream, *self._videos[name])


class WebDatasetReader(ShardReader):
    """Opens a clip's video inside the archive and reads it as :class:`Mp4Reader` does."""

    writer = WebDatasetWriter

    def _read(self, name: str, indices: list[int]) -> Iterator[np.ndarray]:
        with self._opened(name) as (stream, index):
            place = f"{stream.name}: {name}"
            yield from video_frames(index.video(stream, name), indices, int(self.dataset["codec"]["gop"]), place)


class Window(io.RawIOBase):
    """The bytes start..stop - 1 of an opened file as a file of its own, for reading."""

    def __init__(self, stream: BinaryIO, start: int, stop: int) -> None:
        super().__init__()
        self._stream, self._start, self._size, self._position = stream, start, stop - start, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(origin + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = max(self._size - self._position, 0)
        count = left if size is None or size < 0 else min(size, left)
        data = read_range(self._stream, self._start + self._position, self._start + self._position + count)
        self._position += count
        return data


class _Chunks(io.RawIOBase):
    """An iterator of bytes as a file, for reading."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._chunks, self._left = iter(chunks), memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            try:
                self._left = memoryview(next(self._chunks))
            except StopIteration:
                return 0
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count

    def exhaust(self) -> None:
        """Let the iterator come to its end, where it may raise."""
        for _ in self._chunks:
            pass
