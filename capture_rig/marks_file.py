"""From a capture's segments to ``marks.json``: which played frame every recorded frame shows, for whoever cuts it.

The file is JSON::

    {"format": "lps-replay-marks", "version": 1, "simulated": false, "fps": 25.0, "screen": [1920, 1080],
     "segments": [{"file": "segment-000.mp4", "sha256": "...", "frames": 7410,
                   "runs": [[31, 26, 118], ...],        recorded frame, played frame, frames: both rise by one
                   "clips": ["a.mp4", ...],             names in MAP, in playing order
                   "clock_drift": 0.0005, "agreement": 0.99, "dropped": [...], "doubled": [...],
                   "codes": [{"kind": "start", "recorded": 31.0, "played": 25, "correlation": 0.98}, ...],
                   "error": ""}],                       why nothing could be read
     "boxes": {"a.mp4": [240, 0, 1440, 928]}}           left, top, width, height on the screen, px

Played frames are counted over all segments, as in ``MAP``; recorded ones begin at 0 in every segment. ``dropped`` and
``doubled`` are played frames of clips.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lps_sim.files import write_atomic
from lps_sim.media import MediaError, iter_frames

from .marks import Stretch
from .recording import camera_clock, read_times
from .replay import Capture
from .sync import Marks, read_marks, signature

MARKS_FILE = "marks.json"
FORMAT, VERSION = "lps-replay-marks", 1


def read_capture(folder: Path, on_segment: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Read the marks of all segments of a capture, write ``marks.json`` and return what it holds.

    Segments that it holds already are not decoded again. ``on_segment`` is called with (segments done, segments).

    Raises ValueError where ``folder`` holds no capture. A segment that cannot be read has its reason in ``error``.
    """
    capture = Capture.load(folder)
    path = folder / MARKS_FILE
    known = {one["sha256"]: one for one in _kept(path) if not one["error"]}
    segments: list[dict[str, Any]] = []
    for number, segment in enumerate(capture.segments):
        if on_segment is not None:
            on_segment(number, len(capture.segments))
        segments.append(known.get(segment["sha256"]) or _segment(folder, segment, capture.settings))
    if on_segment is not None:
        on_segment(len(segments), len(segments))
    settings = capture.settings
    marks = {
        "format": FORMAT,
        "version": VERSION,
        **{key: settings[key] for key in ("simulated", "fps", "screen")},
        "segments": segments,
        "boxes": {
            name: [box[side] for side in ("x", "y", "width", "height")]
            for segment in capture.segments
            for name, box in segment["boxes"].items()
        },
    }
    write_atomic(path, json.dumps(marks) + "\n")
    return marks


def _kept(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON ({error}); remove it") from error
    segments: list[dict[str, Any]] = kept["segments"] if kept.get("version") == VERSION else []
    return segments


def _segment(folder: Path, segment: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    path = folder / segment["file"]
    entry = {key: segment[key] for key in ("file", "sha256", "frames", "clips")}
    nothing: dict[str, Any] = {
        "runs": [],
        "clock_drift": None,
        "agreement": 0.0,
        "dropped": [],
        "doubled": [],
        "codes": [],
    }
    try:
        numbers, at_s = read_times(path.with_suffix(".csv"))
        eotf = settings["camera"]["eotf"]
        signatures = np.stack([signature(frame, eotf) for frame in iter_frames(path)])
        times = camera_clock(numbers, at_s, segment["camera"]["fps"])
        if len(times) != len(signatures):
            raise ValueError(f"{path}: holds {len(signatures)} frames, its list of times {len(times)}")
        stretches = [Stretch(**part) for part in segment["stretches"]]
        marks = read_marks(signatures, times, stretches, settings["fps"])
    except (ValueError, OSError, MediaError) as error:
        return {**entry, **nothing, "error": str(error)}
    first = int(segment["played_first"])
    return {
        **entry,
        "runs": [[recorded, first + played, count] for recorded, played, count in runs(marks.shown)],
        "clock_drift": round(marks.clock_drift, 9),
        "agreement": round(marks.agreement, 6),
        "dropped": [first + frame for frame in marks.dropped],
        "doubled": [first + frame for frame in marks.doubled],
        "codes": [_code(marks, number, first) for number in range(len(marks.codes))],
        "error": "",
    }


def _code(marks: Marks, number: int, first: int) -> dict[str, Any]:
    code = marks.codes[number]
    return {
        "kind": code.kind,
        "recorded": round(code.recorded, 2),
        "played": first + code.played,
        "correlation": round(code.correlation, 4),
    }


def runs(shown: NDArray[np.intp]) -> list[tuple[int, int, int]]:
    """(recorded, played, count) of the runs in which both rise by one; frames that show none are left out."""
    matched = np.flatnonzero(shown >= 0)
    if not matched.size:
        return []
    broken = (np.diff(matched) != 1) | (np.diff(shown[matched]) != 1)
    starts = np.concatenate([[0], np.flatnonzero(broken) + 1])
    counts = np.diff(np.append(starts, matched.size))
    return [(int(matched[at]), int(shown[matched[at]]), int(count)) for at, count in zip(starts, counts)]
