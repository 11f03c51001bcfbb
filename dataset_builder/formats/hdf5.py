"""HDF5 shards, ``shards/<block>.h5``: the frames of many clips one after another, and where each begins.

====================================  ===============================================================================
data set                              holds
====================================  ===============================================================================
``data`` (B,) uint8                   every frame's bytes: JPEG, or raw RGB of height x width x 3
``frame_offset`` (F + 1,) int64       where frame f lies: ``data[frame_offset[f] : frame_offset[f + 1]]``
``name`` (C,) UTF-8                   the clips, sorted
``first_frame``, ``frames`` (C,)      a clip's frames: first_frame .. first_frame + frames - 1
``width``, ``height`` (C,)            pixels
``fps``, ``label`` (C,) UTF-8         frames a second as a fraction; the class by folder or CSV
``source_sha256`` (C,) UTF-8          of the source file
``output_sha256`` (C,) UTF-8          of the binary SHA-256 digests of the clip's frames in order
``mean_data``, ``mean_offset``        the clips' mean frames as 16-bit PNG (256 times the code value), laid out alike
====================================  ===============================================================================

Attributes: schema, schema_version, encoding (``jpeg`` or ``raw``), quality, layers, film_checksum. ``data`` is
contiguous in the file, so that its bytes can be read at an offset by any number of processes without HDF5.

A part, ``parts/<name>.h5clip``, is one clip's frames one after another, then their offsets and a fixed tail.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import h5py
import numpy as np

from lps_sim.media import MediaError

from ..manifest import ClipRow
from .base import BLOCK_BYTES
from .frames import decode_jpeg, encode_jpeg
from .shards import ClipSource, PartWriter, ShardReader, read_range

SCHEMA = "lps-shard"
SCHEMA_VERSION = 1
_TAIL = struct.Struct("<4i8s")  # frames, width, height, 1 if raw, magic
_MAGIC = b"LPSCLIP1"
_TEXTS = ("name", "fps", "label", "source_sha256", "output_sha256")
_NUMBERS = ("frames", "width", "height")


class Hdf5Writer(PartWriter):
    """Writes ``parts/<name>.h5clip`` and seals them; ``codec`` holds ``codec``, jpeg or raw, and ``quality``."""

    by_frame = True
    shard_suffix = ".h5"

    @classmethod
    def suffix(cls) -> str:
        return ".h5clip"

    @classmethod
    def payload(cls, path: Path) -> Iterator[bytes]:
        with open(path, "rb", buffering=0) as stream:
            offsets, *_ = _read_tail(stream)
            for start, stop in itertools.pairwise(offsets):
                yield read_range(stream, start, stop)

    @classmethod
    def size(cls, path: Path) -> int:
        with open(path, "rb", buffering=0) as stream:
            return _read_tail(stream)[0][-1]

    @classmethod
    def decode(cls, path: Path) -> Iterator[np.ndarray]:
        with open(path, "rb", buffering=0) as stream:
            _, width, height, raw = _read_tail(stream)
        for data in cls.payload(path):
            yield decode_frame(data, width, height, raw, path)

    def _open(self, path: Path) -> None:
        self._offsets = [0]
        self._stream = open(path, "wb")  # noqa: SIM115 (closed in _close)

    def _append(self, frame: np.ndarray) -> None:
        self._append_bytes(frame.tobytes() if self._raw else encode_jpeg(frame, int(self.codec.get("quality", 95))))

    def _append_bytes(self, data: bytes) -> None:
        self._stream.write(data)
        self._offsets.append(self._offsets[-1] + len(data))

    def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stream as stream:
            if kind is None:
                stream.write(np.array(self._offsets, "<i8").tobytes())
                stream.write(_TAIL.pack(len(self._offsets) - 1, self.width, self.height, self._raw, _MAGIC))
                stream.flush()
                os.fsync(stream.fileno())

    @property
    def _raw(self) -> bool:
        return self.codec.get("codec") == "raw"

    def _fill(self, path: Path, payload: Iterable[bytes]) -> None:
        self._open(path)
        for data in payload:
            self._append_bytes(data)
        self._close(None, None, None)

    @classmethod
    def write_shard(cls, path: Path, dataset: dict[str, Any], rows: Sequence[ClipRow], source: ClipSource) -> None:
        codec = dataset["codec"]
        means = [source.mean_png(row) for row in rows]
        # Fixed bounds of the file format, and no times: the same clips give the same bytes.
        with h5py.File(path, "w", libver=("earliest", "v110")) as file:
            file.attrs.update(schema=SCHEMA, schema_version=SCHEMA_VERSION, encoding=codec["codec"])
            file.attrs.update(layers=dataset["layers"], quality=codec.get("quality", 0))
            file.attrs["film_checksum"] = dataset["film"]["checksum"] if dataset["film"] else ""
            for key in _TEXTS:
                _put(file, key, _fixed_text([getattr(row, key) for row in rows]))
            for key in _NUMBERS:
                _put(file, key, np.array([getattr(row, key) for row in rows], np.int64))
            _put(file, "first_frame", _starts([row.frames for row in rows])[:-1])
            _put(file, "mean_offset", _starts([len(mean) for mean in means]))
            _put(file, "mean_data", np.frombuffer(b"".join(means), np.uint8))
            size = sum(row.output_bytes for row in rows)
            data = file.create_dataset("data", (size,), np.uint8, track_times=False)
            sizes = _write_frames(data, (chunk for row in rows for chunk in source.payload(row)))
            _put(file, "frame_offset", _starts(sizes))

    @classmethod
    def read_index(cls, stream: BinaryIO, place: Path) -> Hdf5Index:
        return Hdf5Index(stream, place)


def _put(file: h5py.File, key: str, values: np.ndarray) -> None:
    file.create_dataset(key, data=values, track_times=False)


def _fixed_text(values: list[str]) -> np.ndarray:
    """Strings of one fixed length: of variable length they would lie scattered over the file."""
    encoded = [value.encode() for value in values]
    return np.array(encoded, h5py.string_dtype("utf-8", max(1, *map(len, encoded))))


def _starts(sizes: Sequence[int]) -> np.ndarray:
    """Where each of several things of these sizes begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def _write_frames(data: h5py.Dataset, frames: Iterable[bytes]) -> list[int]:
    """Write frames one after another in large pieces; the size of each."""
    sizes, waiting, position = [], bytearray(), 0
    for frame in frames:
        sizes.append(len(frame))
        waiting += frame
        if len(waiting) >= BLOCK_BYTES:
            data[position : position + len(waiting)] = np.frombuffer(bytes(waiting), np.uint8)
            position += len(waiting)
            waiting.clear()
    if waiting:
        data[position : position + len(waiting)] = np.frombuffer(bytes(waiting), np.uint8)
    return sizes


def _read_tail(stream: BinaryIO) -> tuple[list[int], int, int, bool]:
    """The offsets of a part's frames, their width and height, and whether they are raw."""
    size = os.fstat(stream.fileno()).st_size
    if size >= _TAIL.size:
        frames, width, height, raw, magic = _TAIL.unpack(read_range(stream, size - _TAIL.size, size))
        end = size - _TAIL.size - 8 * (frames + 1)
        if magic == _MAGIC and frames >= 0 and end >= 0:
            offsets = np.frombuffer(read_range(stream, end, size - _TAIL.size), "<i8").tolist()
            if offsets[0] == 0 and offsets[-1] == end and offsets == sorted(offsets):
                return offsets, width, height, bool(raw)
    raise MediaError(f"{stream.name}: truncated, or not a clip's part")


def decode_frame(data: bytes, width: int, height: int, raw: bool, place: str | Path) -> np.ndarray:
    """A stored frame as (H, W, 3) uint8 RGB. Raises MediaError naming ``place`` for damage."""
    if not raw:
        return decode_jpeg(data, place)
    if len(data) != width * height * 3:
        raise MediaError(f"{place}: a raw frame must have {width * height * 3} bytes, got {len(data)}")
    return np.frombuffer(data, np.uint8).reshape(height, width, 3).copy()


class Hdf5Index:
    """Where the frames and means of a shard's clips lie in the file."""

    def __init__(self, stream: BinaryIO, place: Path) -> None:
        try:
            with h5py.File(stream, "r") as file:
                version = file.attrs.get("schema_version")
                if file.attrs.get("schema") != SCHEMA or version != SCHEMA_VERSION:
                    raise ValueError(f"{place}: must be of schema {SCHEMA} version {SCHEMA_VERSION}, got {version}")
                self.raw = file.attrs["encoding"] == "raw"
                self._frames = file["data"].id.get_offset() + file["frame_offset"][:]
                self._means = file["mean_data"].id.get_offset() + file["mean_offset"][:]
                names = file["name"].asstr()[:]
                numbers = (file[key][:].tolist() for key in ("first_frame", "frames", "width", "height"))
                self._clips = {name: (row, *facts) for row, (name, *facts) in enumerate(zip(names, *numbers))}
        except (OSError, KeyError, TypeError) as error:
            raise ValueError(f"{place}: not a whole HDF5 shard: {error}") from error

    def __contains__(self, name: object) -> bool:
        return name in self._clips

    def names(self) -> list[str]:
        """The clips in the shard."""
        return list(self._clips)

    def payload(self, stream: BinaryIO, name: str) -> Iterator[bytes]:
        """The clip's frames as they are stored."""
        return self.coded_frames(stream, name, range(self._clips[name][2]))

    def coded_frames(self, stream: BinaryIO, name: str, indices: Iterable[int]) -> Iterator[bytes]:
        """Frames of a clip as they are stored."""
        first = self._clips[name][1]
        for index in indices:
            start, stop = self._frames[first + index : first + index + 2].tolist()
            yield read_range(stream, start, stop)

    def frames(self, stream: BinaryIO, name: str, indices: Iterable[int]) -> Iterator[np.ndarray]:
        """Frames of a clip, decoded."""
        *_, width, height = self._clips[name]
        for data in self.coded_frames(stream, name, indices):
            yield decode_frame(data, width, height, self.raw, f"{stream.name}: {name}")

    def mean_png(self, stream: BinaryIO, name: str) -> bytes:
        """The clip's stored mean."""
        row = self._clips[name][0]
        return read_range(stream, *self._means[row : row + 2].tolist())


class Hdf5Reader(ShardReader):
    """Reads single frames at their offsets."""

    writer = Hdf5Writer

    def _read(self, name: str, indices: list[int]) -> Iterator[np.ndarray]:
        with self._opened(name) as (stream, index):
            yield from index.frames(stream, name, indices)
