"""Several files recorded one after another, read as one recording."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lps_sim.media import MediaError

from .marks import MarksFile
from .recording import FrameReader, Picture, Recording


class SegmentedRecording:
    """Files in playing order, each a :class:`Recording` of its own; frames are counted over all of them.

    Parameters
    ----------
    paths, marks : the files and what was read of them
    folder : of the data set; each file has a folder in it
    threads : that decode them

    Raises
    ------
    FileNotFoundError
        a file is gone
    ValueError
        a file is another than its marks were read from, or than the data set was cut from
    """

    def __init__(self, paths: Sequence[Path], marks: MarksFile, folder: Path, threads: int = 0) -> None:
        self.marks, self.folder = marks, folder
        self.parts = tuple(
            Recording(path, folder / f"segment-{number:03d}", threads) for number, path in enumerate(paths)
        )
        for part, segment in zip(self.parts, marks.segments, strict=True):
            if part.sha256 != segment.sha256:
                raise ValueError(f"{part.path}: is not the file that the marks were read from; read them again")
        self.starts = np.concatenate([[0], np.cumsum([segment.frames for segment in marks.segments])])

    @property
    def sha256(self) -> str:
        """Of the files' checksums in order."""
        return hashlib.sha256("".join(part.sha256 for part in self.parts).encode()).hexdigest()

    @property
    def frames(self) -> int:
        """Number of frames in all."""
        return int(self.starts[-1])

    @property
    def damage(self) -> str:
        """Why files end before they should; empty where all are whole."""
        return "; ".join(part.damage for part in self.parts if part.damage)

    @contextlib.contextmanager
    def reader(self) -> Iterator[SegmentedReader]:
        """A reader of single frames in rising order."""
        with contextlib.ExitStack() as stack:
            yield SegmentedReader(self, stack)


class SegmentedReader:
    """Frames of rising indices over all files, as :class:`FrameReader` over one; a single file is open at a time."""

    def __init__(self, recording: SegmentedRecording, stack: contextlib.ExitStack) -> None:
        self.sha256 = recording.sha256
        self._recording, self._stack = recording, stack
        self._number, self._reader = -1, None

    _reader: FrameReader | None

    def at(self, index: int) -> Picture:
        """Frame ``index``, not before the last one asked for; raises MediaError where its file is damaged."""
        starts = self._recording.starts
        if not 0 <= index < starts[-1]:
            raise MediaError(f"{self._recording.folder}: holds {starts[-1]} frames, not frame {index}")
        number = int(np.searchsorted(starts, index, "right")) - 1
        if self._reader is None or number != self._number:
            self._stack.close()
            self._number = number
            self._reader = self._stack.enter_context(self._recording.parts[number].reader())
        return self._reader.at(index - int(starts[number]))
