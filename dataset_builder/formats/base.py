"""What the formats share: a clip is written aside, read back, hashed, and only then moved to its place; readers.

A clip's payload is what its format keeps of the frames: the bytes of one video file, in blocks of any size, or one
chunk of bytes a frame. Formats of the same payload exchange clips without touching a pixel.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import cv2
import numpy as np

from lps_sim.errors import suggestion

from ..layout import MANIFEST_FILE, PARTIAL, fsync_directory, mean_path, read_dataset
from ..manifest import ClipRow, Manifest, StoredClip

BLOCK_BYTES = 1 << 20
# A clip's mean is kept in 16 bits as 256 times the code value, rounded to eighths of a code: an error of 1/16 code at
# most, a fifth of the rounding noise of one 8-bit frame, and the zero bits below it keep the PNG small. Run-length
# coding of differences to the row above is written in half of the time that libpng's choice of filters takes and read
# in two thirds, for 2 % more bytes (102 kB of 224x224); OpenCV before 4.11 knows no such option.
MEAN_SCALE = 256
_MEAN_STEP = 32
_PNG_OPTIONS: tuple[int, ...] = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
if hasattr(cv2, "IMWRITE_PNG_FILTER"):
    _PNG_OPTIONS += (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)
MEAN_TOLERANCE_DN = _MEAN_STEP / MEAN_SCALE / 2
"""Largest rounding error of a stored mean, code values."""


class ClipWriter:
    """Writes one clip of a data set. Use as a context manager; ``stored`` tells afterwards what is on disk.

    Nothing stands under the clip's name unless the block ends without an exception: files are written below
    ``.partial``, decoded again (their mean is the clip mean that readers return), flushed to disk, hashed, renamed.

    Parameters
    ----------
    root : the data set's directory
    name : the clip's name; may have folders
    fps : frames a second
    width, height : pixels
    codec : the data set's codec settings
    """

    by_frame = False
    """Whether the payload is one chunk a frame; its SHA-256 is then that of the chunks' binary digests in order."""

    def __init__(
        self, root: Path, name: str, fps: Fraction, width: int, height: int, codec: dict[str, Any] | None = None
    ) -> None:
        self.root, self.name = root, name
        self.fps, self.width, self.height = fps, width, height
        self.codec = dict(codec or {})
        self.stored: StoredClip | None = None
        self._frames = 0
        self._partial = root / PARTIAL / f"{secrets.token_hex(8)}{self.suffix()}"

    def __enter__(self) -> ClipWriter:
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        self._open(self._partial)
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one (H, W, 3) uint8 RGB frame."""
        expected = (self.height, self.width, 3)
        if frame.shape != expected or frame.dtype != np.uint8:
            raise ValueError(f"frame must be uint8 of shape {expected}, got {frame.dtype} of shape {frame.shape}")
        self._append(frame)
        self._frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close(kind, error, trace)
            if kind is None:
                self.stored = self._store()
        finally:
            _remove(self._partial)

    def _store(self) -> StoredClip:
        mean, counted = mean_frame(self.decode(self._partial))
        if counted != self._frames:
            raise ValueError(f"{self.name}: wrote {self._frames} frames, but {counted} can be read back")
        return self._place(encode_mean(mean), self._frames)

    def copy(self, payload: Iterable[bytes], mean_png: bytes, original: ClipRow) -> StoredClip:
        """Store a clip that is coded as this format codes it, with its mean; instead of the context and ``write``.

        Raises ValueError when payload or mean are not those of the ``original`` row.
        """
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._fill(self._partial, payload)
            if self.digest(self._partial) != original.output_sha256 or sha256_bytes(mean_png) != original.mean_sha256:
                raise ValueError(f"{self.name}: changed since it was made; run lps data verify on its data set")
            self.stored = self._place(mean_png, original.frames)
        finally:
            _remove(self._partial)
        return self.stored

    def _place(self, mean_png: bytes, frames: int) -> StoredClip:
        """Move what was written, and its mean, to where they belong."""
        mean_partial = self._partial.with_suffix(".mean.png")
        try:
            write_synced(mean_partial, (mean_png,))
            output, mean = self.output_path(self.name), mean_path(self.name)
            stored = StoredClip(
                output=output,
                output_sha256=self.digest(self._partial),
                output_bytes=self.size(self._partial),
                frames=frames,
                fps=str(self.fps),
                width=self.width,
                height=self.height,
                mean=mean,
                mean_sha256=sha256_bytes(mean_png),
            )
            _move(mean_partial, self.root / mean)
            _move(self._partial, self.root / output)
        finally:
            mean_partial.unlink(missing_ok=True)
        return stored

    # What a format fills in.

    @classmethod
    def suffix(cls) -> str:
        """Ending of the written file; empty for a folder."""
        raise NotImplementedError

    @classmethod
    def output_path(cls, name: str) -> str:
        """Where a clip stands, relative to the data set's directory."""
        raise NotImplementedError

    @classmethod
    def payload(cls, path: Path) -> Iterator[bytes]:
        """The payload of what was written."""
        with open(path, "rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                yield block

    @classmethod
    def digest(cls, path: Path) -> str:
        """SHA-256 of the payload. Raises ValueError or OSError when it cannot be read."""
        digest = PayloadDigest(cls.by_frame)
        for chunk in cls.payload(path):
            digest.update(chunk)
        return digest.hexdigest()

    @classmethod
    def size(cls, path: Path) -> int:
        """Bytes of the payload."""
        return path.stat().st_size

    @classmethod
    def decode(cls, path: Path) -> Iterator[np.ndarray]:
        """Every frame of what was written, in order. Raises ValueError or OSError for damage."""
        raise NotImplementedError

    def _open(self, path: Path) -> None:
        raise NotImplementedError

    def _append(self, frame: np.ndarray) -> None:
        raise NotImplementedError

    def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def _fill(self, path: Path, payload: Iterable[bytes]) -> None:
        """Write a payload as it is, down to the disk."""
        write_synced(path, payload)


class PayloadDigest:
    """SHA-256 of a payload, chunk by chunk; ``by_frame`` as in :class:`ClipWriter`."""

    def __init__(self, by_frame: bool) -> None:
        self._by_frame, self._digest = by_frame, hashlib.sha256()

    def update(self, chunk: bytes) -> None:
        """Add the next chunk."""
        self._digest.update(hashlib.sha256(chunk).digest() if self._by_frame else chunk)

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        return self._digest.hexdigest()


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def mean_frame(frames: Iterable[np.ndarray]) -> tuple[np.ndarray, int]:
    """The mean of frames (H, W, 3) uint8 as (H, W, 3) float32 code values, and their number.

    Raises ValueError when there is none.
    """
    total: np.ndarray | None = None
    count = 0
    for frame in frames:
        # 32 bits hold sixteen million frames, and at 1080p half the memory of 64.
        total = frame.astype(np.uint32) if total is None else np.add(total, frame, out=total)
        count += 1
    if total is None:
        raise ValueError("a clip needs at least one frame")
    return np.divide(total, count, dtype=np.float32), count


def encode_mean(mean: np.ndarray) -> bytes:
    """A mean frame (code values) as a 16-bit PNG."""
    values = mean * np.float32(MEAN_SCALE / _MEAN_STEP)
    values = np.rint(values, out=values).astype(np.uint16) * np.uint16(_MEAN_STEP)
    done, data = cv2.imencode(".png", np.ascontiguousarray(values[:, :, ::-1]), _PNG_OPTIONS)
    if not done:
        raise ValueError(f"the mean frame of shape {mean.shape} cannot be written as PNG")
    return bytes(data)


def decode_mean(data: bytes, place: str | Path) -> np.ndarray:
    """The clip mean in code values, (H, W, 3) float32; ``place`` is named when it is damaged (ValueError)."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if image is None or image.dtype != np.uint16 or image.ndim != 3:
        raise ValueError(f"{place}: not a 16-bit RGB PNG")
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return np.multiply(rgb, np.float32(1 / MEAN_SCALE), dtype=np.float32)


def write_synced(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a new file and see it to the disk."""
    with open(path, "wb") as stream:
        for chunk in chunks:
            stream.write(chunk)
        stream.flush()
        os.fsync(stream.fileno())


def _move(partial: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if partial.is_dir() and target.exists():
        shutil.rmtree(target)
    os.replace(partial, target)
    fsync_directory(target.parent)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


class ClipFacts(NamedTuple):
    """What a reader keeps in memory of each clip."""

    frames: int
    fps: str
    label: str
    output: str
    bytes: int


class ClipReader:
    """Random access to the finished clips of a data set; may be pickled and shared with worker processes.

    The manifest is read once, at construction: clips finished later are seen by a new reader.
    Raises ValueError when ``dataset_dir`` is not a data set.
    """

    writer: type[ClipWriter]

    def __init__(self, dataset_dir: str | os.PathLike[str]) -> None:
        self.root = Path(dataset_dir)
        self.dataset = read_dataset(self.root)
        with Manifest(self.root / MANIFEST_FILE) as manifest:
            self._clips = {
                row.name: ClipFacts(row.frames, row.fps, row.label, sys.intern(row.output), row.output_bytes)
                for row in manifest.rows("done")
                if self._readable(row)
            }

    def _readable(self, row: ClipRow) -> bool:
        """Whether a finished clip stands where this reader reads."""
        return True

    @property
    def layers(self) -> int:
        """Film layers of the data set; 0 for the clean twin."""
        return int(self.dataset["layers"])

    def names(self) -> list[str]:
        """Names of the finished clips, sorted."""
        return list(self._clips)

    def absent(self, names: Iterable[str]) -> list[str]:
        """Those of the clips whose files are missing or not as long as the manifest says; nothing is decoded."""
        return [name for name in names if not self._stands(self._facts(name))]

    def _stands(self, facts: ClipFacts) -> bool:
        path = self.root / facts.output
        return path.is_file() and path.stat().st_size == facts.bytes

    def frame_count(self, name: str) -> int:
        """Number of frames of a clip."""
        return self._facts(name).frames

    def fps(self, name: str) -> Fraction:
        """Frames a second of a clip."""
        return Fraction(self._facts(name).fps)

    def label(self, name: str) -> str:
        """The clip's class by folder or CSV; empty where the name tells it (NTU, P3AR-PKU)."""
        return self._facts(name).label

    def mean(self, name: str) -> np.ndarray:
        """The mean over all decoded frames, (H, W, 3) float32 code values, exact to 1/16 code."""
        return decode_mean(self.mean_png(name), f"{self.root}: mean of {name}")

    def mean_png(self, name: str) -> bytes:
        """The mean as it is stored: a 16-bit PNG of 256 times the code value."""
        self._facts(name)
        return (self.root / "means" / f"{name}.png").read_bytes()

    def payload(self, name: str) -> Iterator[bytes]:
        """What is stored of a clip's frames: a chunk a frame, or a file in blocks."""
        return self.writer.payload(self.root / self._facts(name).output)

    def frames(self, name: str) -> Iterator[np.ndarray]:
        """Every frame of a clip in order, one at a time, (H, W, 3) uint8 RGB."""
        return self._read(name, list(range(self._facts(name).frames)))

    def read(self, name: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Frames by index, in the order asked for, repeats allowed: (K, H, W, 3) uint8 RGB.

        Raises ValueError for an unknown clip or an index outside 0..n-1.
        """
        count = self._facts(name).frames
        wanted = [int(index) for index in indices]
        for index in wanted:
            if not 0 <= index < count:
                raise ValueError(f"indices of {name} must be 0..{count - 1}, got {index}")
        if not wanted:
            raise ValueError(f"indices of {name} must name one frame or more, got none")
        places: dict[int, list[int]] = {}
        for place, index in enumerate(wanted):
            places.setdefault(index, []).append(place)
        found: np.ndarray | None = None
        missing = len(places)
        for index, frame in zip(sorted(places), self._read(name, sorted(places))):
            if found is None:
                found = np.empty((len(wanted), *frame.shape), np.uint8)
            for place in places[index]:
                found[place] = frame
            missing -= 1
        if found is None or missing:
            raise ValueError(f"{self.root}: clip {name} holds fewer frames than its manifest says; run lps data verify")
        return found

    def _facts(self, name: str) -> ClipFacts:
        try:
            return self._clips[name]
        except KeyError:
            near = suggestion(name, list(self._clips)[:8])
            raise ValueError(f"name: {name!r} is not a finished clip of {self.root}; {near}") from None

    def _read(self, name: str, indices: list[int]) -> Iterator[np.ndarray]:
        """The frames of increasing indices, one by one."""
        raise NotImplementedError
