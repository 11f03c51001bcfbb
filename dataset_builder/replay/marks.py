"""Marks that were read from a recording: ``marks.json`` of ``lps rig read-marks``, instead of a comparison of frames.

The file says for every segment of the recording which played frame each recorded one shows, as runs in which both rise
by one, and where every clip stood on the screen::

    {"format": "lps-replay-marks", "version": 1, "fps": 25.0, "screen": [1920, 1080], "simulated": false,
     "segments": [{"file": "segment-000.mp4", "sha256": "...", "frames": 7410,
                   "runs": [[31, 26, 118], ...],      recorded frame, played frame, frames
                   "clock_drift": 0.0005, "error": ""}],
     "boxes": {"a.mp4": [240, 0, 1440, 928]}}         left, top, width, height on the screen, px

Played frames are counted over all segments, as in MAP; recorded ones begin at 0 in every segment.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .alignment import Alignment, line_through

FORMAT, VERSION = "lps-replay-marks", 1
MARKS_FILE = "marks.json"


@dataclass(frozen=True)
class Segment:
    """One file of a recording.

    Parameters
    ----------
    file : beside the marks
    sha256, frames : of it, when its marks were read
    shown : (frames,) played frame of every recorded one, -1 where it shows none
    clock_drift : of the recorder against the screen; None where it is not known
    error : why no marks could be read; empty for a good one
    """

    file: str
    sha256: str
    frames: int
    shown: NDArray[np.intp]
    clock_drift: float | None
    error: str


@dataclass(frozen=True)
class MarksFile:
    """A marks file. ``fps`` at which clips were played; ``screen`` (width, height) px; ``boxes``: (left, top, width,
    height) on it by the clip's name in MAP; ``sha256`` of the file's bytes."""

    fps: float
    screen: tuple[int, int]
    segments: tuple[Segment, ...]
    boxes: dict[str, tuple[int, int, int, int]]
    sha256: str

    @classmethod
    def load(cls, path: Path) -> MarksFile:
        """Read a marks file. Raises ValueError naming the file and the rule, FileNotFoundError as it comes."""
        data = path.read_bytes()
        try:
            text = json.loads(data)
            if not isinstance(text, dict) or text.get("format") != FORMAT:
                raise ValueError("is not a marks file; lps rig read-marks writes one")
            if text.get("version") != VERSION:
                raise ValueError(f"version must be {VERSION}, got {text.get('version')!r}")
            segments = tuple(_segment(entry) for entry in text["segments"])
            _check_order(segments)
            fps, screen = float(text["fps"]), tuple(int(side) for side in text["screen"])
            boxes = {str(name): _box(name, box, screen) for name, box in text["boxes"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: is not a marks file: {type(error).__name__}: {error}") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return cls(fps, (screen[0], screen[1]), segments, boxes, hashlib.sha256(data).hexdigest())

    def alignment(self, played_frames: int) -> Alignment:
        """Of the segments one after another. ``played_frames``: of the map; what was played behind it is left out.

        Raises ValueError where no frame shows one of them.
        """
        shown = np.concatenate([segment.shown for segment in self.segments])
        shown[shown >= played_frames] = -1
        known = [(one.clock_drift, one.frames) for one in self.segments if one.clock_drift is not None]
        drift = sum(drift * frames for drift, frames in known) / sum(frames for _, frames in known) if known else 0.0
        return Alignment(shown, *line_through(shown), clock_drift=drift)


def _segment(entry: dict[str, Any]) -> Segment:
    frames, error = int(entry["frames"]), str(entry["error"])
    file = str(entry["file"])
    if Path(file).name != file:
        raise ValueError(f"file of a segment must be a plain name, got {file!r}")
    shown = np.full(frames, -1, np.intp)
    for recorded, played, count in entry["runs"]:
        if not (recorded >= 0 and count >= 1 and played >= 0 and recorded + count <= frames):
            raise ValueError(
                f"{file}: run {[recorded, played, count]} must lie within its {frames} frames, with count >= 1"
            )
        shown[recorded : recorded + count] = np.arange(played, played + count)
    drift = entry["clock_drift"]
    return Segment(file, str(entry["sha256"]), frames, shown, None if drift is None else float(drift), error)


def _check_order(segments: tuple[Segment, ...]) -> None:
    if not segments:
        raise ValueError("segments must hold at least one, got none")
    highest = -1
    for segment in segments:
        matched = segment.shown[segment.shown >= 0]
        if matched.size and (np.diff(matched, prepend=highest) < 0).any():
            raise ValueError(f"{segment.file}: played frames of runs must never fall, nor below {highest}")
        highest = int(matched[-1]) if matched.size else highest


def _box(name: str, box: list[int], screen: tuple[int, ...]) -> tuple[int, int, int, int]:
    x, y, width, height = (int(side) for side in box)
    if not (x >= 0 and y >= 0 and width >= 1 and height >= 1 and x + width <= screen[0] and y + height <= screen[1]):
        raise ValueError(f"box of {name} must lie on the screen of {screen[0]}x{screen[1]}, got {list(box)}")
    return x, y, width, height
