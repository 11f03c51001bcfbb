"""The recording on disk: its checksum, one pass that reads every frame's signature, and reading on from any frame.

Beside the data set (``DST/replay``): ``recording.json`` (file, size, SHA-256, frames once it was read to the end),
``ticks.i64`` (presentation time of every frame) and ``recorded.u16`` (its signature), both appended to while frames are
decoded, so that a run that was killed goes on at the frame where it stood.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lps_sim.files import sha256_file, write_atomic
from lps_sim.media import MediaError, iter_timed_pictures
from lps_sim.yuv import YuvFrame

from .signature import CELLS, signature

Picture = NDArray[np.uint8] | YuvFrame
FACTS_FILE = "recording.json"
_NO_TICK = np.iinfo(np.int64).min
_COMMIT_FRAMES = 512  # between two times that the appended files are flushed to disk
_NEAR_FRAMES = 300  # frames that are decoded and dropped rather than sought over


class Recording:
    """One recording and what is known of it. ``threads`` decode it.

    Raises FileNotFoundError, or ValueError when ``folder`` belongs to another recording.
    """

    def __init__(self, path: Path, folder: Path, threads: int = 0) -> None:
        self.path, self.folder, self.threads = path, folder, threads
        folder.mkdir(parents=True, exist_ok=True)
        self._facts: dict[str, Any] = _load(folder / FACTS_FILE)
        status = path.stat()
        mark = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
        if {key: self._facts.get(key) for key in mark} != mark:
            digest = sha256_file(path)
            if self._facts.get("sha256", digest) != digest:
                raise ValueError(
                    f"{path}: is another recording than {self._facts['path']}, which {folder.parent} was cut from; "
                    "choose another directory"
                )
            self._keep({**self._facts, "path": str(path.resolve()), **mark, "sha256": digest})

    def _keep(self, facts: dict[str, Any]) -> None:
        self._facts = facts
        write_atomic(self.folder / FACTS_FILE, json.dumps(facts, indent=2) + "\n")

    @property
    def sha256(self) -> str:
        """Of the whole file; computed once, and again when its size or modification time changes."""
        return str(self._facts["sha256"])

    @property
    def frames(self) -> int | None:
        """Number of frames; None until they were read to the end once."""
        return self._facts.get("frames")

    @property
    def damage(self) -> str:
        """Why the frames end before the file does; empty for a whole recording."""
        return str(self._facts.get("damage", ""))

    def ended(self, frames: int, damage: str = "") -> None:
        """Note that the recording holds so many frames."""
        self._keep({**self._facts, "frames": frames, "damage": damage})

    def read_signatures(self, on_progress: Callable[[int], None] | None = None) -> NDArray[np.uint16]:
        """(R, CELLS) signatures of all frames, as a memory map; decodes what no earlier call has.

        Damage ends the recording there: :attr:`damage` then says why.

        Raises MediaError when there is no frame at all.
        """
        path = self.folder / "recorded.u16"
        if self.frames is None:
            with _Appended(path, np.dtype(np.uint16), CELLS) as rows, self._ticks() as ticks:
                done = min(rows.count, ticks.count)
                rows.keep(done)
                ticks.keep(done)
                self._append_signatures(rows, ticks, on_progress)
        if not self.frames:
            raise MediaError(self.damage or f"{self.path}: holds no frame")
        return np.memmap(path, np.uint16, "r", shape=(self.frames, CELLS))

    def _append_signatures(self, rows: _Appended, ticks: _Appended, on_progress: Callable[[int], None] | None) -> None:
        damage = ""
        # The last frame read before says where to go on.
        place = max(rows.count - 1, 0)
        try:
            pictures = self._from(place, ticks)
            for _ in range(rows.count - place):
                next(pictures)
            for tick, picture in pictures:
                rows.append(signature(picture))
                ticks.append(np.int64(_NO_TICK if tick is None else tick))
                if rows.count % _COMMIT_FRAMES == 0:
                    rows.flush()
                    ticks.flush()
                    if on_progress:
                        on_progress(rows.count)
        except MediaError as error:
            damage = str(error)
        rows.flush()
        ticks.flush()
        self.ended(rows.count, damage)

    def _ticks(self) -> _Appended:
        return _Appended(self.folder / "ticks.i64", np.dtype(np.int64), 1)

    def _from(self, index: int, ticks: _Appended) -> Iterator[tuple[int | None, Picture]]:
        tick = int(ticks.row(index)[0]) if index < ticks.count else _NO_TICK
        return iter_timed_pictures(self.path, self.threads, index, None if tick == _NO_TICK else tick)

    @contextlib.contextmanager
    def reader(self) -> Iterator[FrameReader]:
        """A reader of single frames in rising order."""
        with self._ticks() as ticks:
            yield FrameReader(self, ticks)


class FrameReader:
    """Frames of rising indices, repeats allowed, in one sequential decode; see :meth:`Recording.reader`.

    What lies between is decoded and dropped, or sought over where times are known and it is more than seconds. Times
    of frames that are decoded for the first time are kept for the next run.
    """

    def __init__(self, recording: Recording, ticks: _Appended) -> None:
        self.sha256 = recording.sha256
        self._recording, self._ticks = recording, ticks
        self._stream: Iterator[tuple[int | None, Picture]] | None = None
        self._position = -1
        self._picture: Picture | None = None

    def at(self, index: int) -> Picture:
        """Frame ``index``, not before the last one asked for.

        Raises MediaError where the recording is damaged or ends before it; ``Recording.frames`` is known then.
        """
        if self._stream is None or (index - self._position > _NEAR_FRAMES and index < self._ticks.count):
            start = min(index, self._ticks.count)
            self._stream, self._position = self._recording._from(start, self._ticks), start - 1
        while self._position < index:
            self._advance(self._stream)
        if self._picture is None:
            raise ValueError(f"index must not fall, got {index} after {self._position}")
        return self._picture

    def _advance(self, stream: Iterator[tuple[int | None, Picture]]) -> None:
        frames = self._position + 1
        try:
            tick, self._picture = next(stream)
        except StopIteration:
            self._recording.ended(frames, self._recording.damage)
            raise MediaError(f"{self._recording.path}: ends after {frames} frames") from None
        except MediaError as error:
            self._recording.ended(frames, str(error))
            raise
        self._position = frames
        if frames == self._ticks.count:
            self._ticks.append(np.int64(_NO_TICK if tick is None else tick))
            if self._ticks.count % _COMMIT_FRAMES == 0:
                self._ticks.flush()


class _Appended:
    """A file of equal rows that is appended to; a part of a row at its end, left by a kill, is cut off."""

    def __init__(self, path: Path, dtype: np.dtype[Any], columns: int) -> None:
        self.path, self.dtype, self.columns = path, dtype, columns
        self._row_bytes = columns * dtype.itemsize
        self._stream = open(path, "a+b")  # noqa: SIM115 - closed by __exit__
        self.count = os.fstat(self._stream.fileno()).st_size // self._row_bytes
        self.keep(self.count)

    def __enter__(self) -> _Appended:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def keep(self, count: int) -> None:
        """Cut off all rows from ``count`` on."""
        self._stream.flush()
        self._stream.truncate(count * self._row_bytes)
        self.count = count

    def append(self, row: NDArray[Any] | np.generic) -> None:
        """Add one row."""
        self._stream.write(np.asarray(row, self.dtype).tobytes())
        self.count += 1

    def row(self, index: int) -> NDArray[Any]:
        """One row."""
        self._stream.flush()
        self._stream.seek(index * self._row_bytes)
        return np.frombuffer(self._stream.read(self._row_bytes), self.dtype)

    def flush(self) -> None:
        """Bring the rows to disk."""
        self._stream.flush()
        os.fsync(self._stream.fileno())


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); remove it to have the recording read anew") from error
    return dict(facts)
