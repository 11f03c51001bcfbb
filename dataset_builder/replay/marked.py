"""Recordings that carry marks: a marks file says which played frame every recorded frame shows, segment by segment.

The file is JSON as ``lps rig read-marks`` writes it::

    {"format": "lps-replay-marks", "version": 1, "fps": 25.0,
     "segments": [{"file": "segment-000.mp4",      beside the marks file
                   "sha256": "...", "frames": 7410,
                   "runs": [[31, 26, 118], ...],   recorded frame, played frame, frames: both rise by one
                   "clock_drift": 0.0005,          by how much the recorder's second is longer than the screen's
                   "error": ""}],                  why nothing of it could be read
     "boxes": {"a.mp4": [240, 0, 1440, 928]}}      where a clip of MAP stood on the screen: left, top, width, height

Played frames are those of MAP, counted over all segments; other keys are left alone. The segments, one behind the
other, are handled as one recording.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lps_sim.files import sha256_file
from lps_sim.yuv import YuvFrame

from .alignment import Alignment, line_through
from .recording import FrameReader, Picture, Recording

FORMAT, VERSION = "lps-replay-marks", 1


@dataclass(frozen=True)
class MarkedSegment:
    """One video file: its place, checksum, number of frames, (recorded, played, count) runs and clock drift."""

    path: Path
    sha256: str
    frames: int
    runs: tuple[tuple[int, int, int], ...]
    clock_drift: float


@dataclass(frozen=True)
class MarksFile:
    """What a marks file says; ``sha256`` is its own, ``boxes`` are (left, top, width, height) by the map's names,
    ``unread`` (file, reason) of segments without marks."""

    segments: tuple[MarkedSegment, ...]
    fps: float
    boxes: dict[str, tuple[int, int, int, int]]
    sha256: str
    unread: tuple[tuple[str, str], ...] = ()

    @classmethod
    def load(cls, path: Path) -> MarksFile:
        """Read a marks file. Raises ValueError naming what breaks the rule, FileNotFoundError."""
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: is not a marks file ({error})") from error
        if not isinstance(kept, dict) or (kept.get("format"), kept.get("version")) != (FORMAT, VERSION):
            raise ValueError(f"{path}: format must be {FORMAT} of version {VERSION}")
        try:
            unread = tuple((one["file"], one["error"]) for one in kept["segments"] if one["error"])
            segments = tuple(_segment(path.parent, one) for one in kept["segments"] if not one["error"])
            boxes = {name: _box(name, box) for name, box in kept["boxes"].items()}
            fps = float(kept["fps"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: lacks or misuses {error}") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if not segments:
            raise ValueError(f"{path}: no segment has marks{f' ({unread[0][1]})' if unread else ''}")
        return cls(segments, fps, boxes, sha256_file(path), unread)

    def beside(self, recording: Path) -> MarksFile:
        """The same for segments in another folder, or for one of them alone.

        Raises ValueError for a file that the marks say nothing of.
        """
        folder = recording if recording.is_dir() else recording.parent
        chosen = tuple(one for one in self.segments if recording.is_dir() or one.path.name == recording.name)
        if not chosen:
            raise ValueError(f"{recording}: the marks say nothing of it, they are of {self.segments[0].path.name} ...")
        return replace(self, segments=tuple(replace(one, path=folder / one.path.name) for one in chosen))

    def alignment(self, played_frames: int) -> Alignment:
        """Which played frame every frame shows, the segments one behind the other; those of MAP alone.

        Raises ValueError where none does.
        """
        shown = np.full(sum(segment.frames for segment in self.segments), -1, np.intp)
        weights = [segment.frames for segment in self.segments]
        starts = np.concatenate([[0], np.cumsum(weights)])
        for segment, start in zip(self.segments, starts):
            for recorded, played, count in segment.runs:
                shown[start + recorded : start + recorded + count] = np.arange(played, played + count)
        shown[shown >= played_frames] = -1
        offset = line_through(shown)[0]
        parts = [shown[start:end] for start, end in itertools.pairwise(starts)]
        # A pause between two segments is no drift.
        net = [line_through(part)[1] if (part >= 0).any() else 0.0 for part in parts]
        # An alignment counts recorded frames a played frame: a longer second gives fewer.
        slower = float(np.average([segment.clock_drift for segment in self.segments], weights=weights))
        return Alignment(shown, offset, float(np.average(net, weights=weights)), -slower / (1 + slower))


def _segment(folder: Path, entry: dict[str, Any]) -> MarkedSegment:
    name, frames = Path(entry["file"]), int(entry["frames"])
    if len(name.parts) != 1 or name.is_absolute() or name.name == "..":
        raise ValueError(f"file must lie beside the marks file, got {entry['file']}")
    after, last = 0, -1
    for recorded, played, count in entry["runs"]:
        if recorded < after or played < last or count < 1 or recorded + count > frames:
            raise ValueError(
                f"{name}: runs must rise and lie in {frames} frames, got {[recorded, played, count]} after {after}"
            )
        after, last = recorded + count, played + count - 1
    runs = tuple((int(a), int(b), int(c)) for a, b, c in entry["runs"])
    return MarkedSegment(folder / name, entry["sha256"], frames, runs, float(entry["clock_drift"]))


def _box(name: str, box: list[int]) -> tuple[int, int, int, int]:
    x, y, width, height = map(int, box)
    if min(x, y) < 0 or min(width, height) < 1:
        raise ValueError(f"box of {name} must be left, top >= 0 and width, height >= 1, got {box}")
    return x, y, width, height


class MarkedRecording:
    """The segments of a marks file as one recording, in the place of a :class:`.recording.Recording`.

    Raises ValueError for a segment that is not the file whose marks were read, FileNotFoundError.
    """

    def __init__(self, marks: MarksFile, folder: Path, threads: int = 0) -> None:
        self.folder = folder
        self.marks = marks
        self._parts = [Recording(one.path, folder / one.path.stem, threads) for one in marks.segments]
        for part, segment in zip(self._parts, marks.segments):
            if part.sha256 != segment.sha256:
                raise ValueError(f"{segment.path}: is not the file that the marks were read from; read them again")

    @property
    def sha256(self) -> str:
        """Of the marks file, which holds those of the segments."""
        return self.marks.sha256

    @property
    def frames(self) -> int:
        """Of all segments."""
        return sum(segment.frames for segment in self.marks.segments)

    @property
    def damage(self) -> str:
        """Why frames are lacking; empty where none are."""
        told = [f"{name}: {reason}" for name, reason in self.marks.unread]
        return "; ".join([*told, *(part.damage for part in self._parts if part.damage)])

    @contextlib.contextmanager
    def reader(self) -> Iterator[MarkedReader]:
        """A reader of single frames in rising order."""
        with ExitStack() as stack:
            readers = [stack.enter_context(part.reader()) for part in self._parts]
            yield MarkedReader(readers, [segment.frames for segment in self.marks.segments], self.sha256)


class MarkedReader:
    """Frames of rising numbers, counted over all segments."""

    def __init__(self, readers: list[FrameReader], frames: list[int], sha256: str) -> None:
        self.sha256 = sha256
        self._readers, self._starts = readers, np.concatenate([[0], np.cumsum(frames)])

    def at(self, index: int) -> Picture:
        """Frame ``index``, not before the last one asked for; raises MediaError as a segment's reader does."""
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._readers[part].at(index - int(self._starts[part]))


class Rectifier:
    """Camera frames to what stood on the screen: the whole screen, or a clip's own part of it.

    Parameters
    ----------
    path : of a :class:`lps_sim.screen_view.ScreenView`, as ``lps rig register`` writes it
    boxes : (left, top, width, height) of clips in screen px
    """

    def __init__(self, path: Path, boxes: dict[str, tuple[int, int, int, int]]) -> None:
        from lps_sim.screen_view import ScreenView

        self._view = ScreenView.load(path)
        self._boxes = boxes
        self._file: str | None = None

    def rectified(self, picture: Picture, file: str) -> NDArray[np.uint8]:
        """(h, w, 3) uint8 of a frame of the map's clip ``file``."""
        codes = np.rint(255 * picture.rgb()).astype(np.uint8) if isinstance(picture, YuvFrame) else picture
        if file != self._file:
            self._file, self._straighten = file, self._view.rectifier(region=self._boxes.get(file))
        straight: NDArray[np.uint8] = self._straighten(codes)
        return straight
