"""A list of clips, played with marks on a screen and filmed: hours of it, in segments that each stand for themselves.

A segment is one run of the screen (start code, training pattern, clips, end code) in one video file. ``capture.json``
lists the finished ones; a capture that was stopped or killed goes on with the first clip that none of them holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lps_sim import __version__
from lps_sim.files import clear_unfinished, sha256_file, write_atomic
from lps_sim.media import MediaError, iter_frames, probe

from .cameras.protocol import CameraLostError, CameraSource
from .marks import CLIP, MarkPainter, Stretch, lay_out, patterns
from .recording import COMPLETE, DISK, STOPPED, free_bytes, record_run
from .screens import Screen

CAPTURE_FILE, MAP_FILE = "capture.json", "MAP"
FORMAT, VERSION = "lps-replay-capture", 1
SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
DEFAULT_RESERVE_BYTES = 1 << 30
DEFAULT_SEGMENT_S = 300.0
_BEHIND_S = 1.0  # of a run that broke off, what was shown last may not have reached the file


class DiskFullError(OSError):
    """The disk has less free than is to be left; what was recorded is whole."""


@dataclass(frozen=True)
class Clip:
    """One clip to be played: ``name`` as in the map (the path below the list's folder), file, frames and size in px."""

    name: str
    path: Path
    frames: int
    width: int
    height: int


@dataclass
class Capture:
    """What ``capture.json`` holds: the settings of a capture and its finished segments, in playing order."""

    folder: Path
    settings: dict[str, Any]
    segments: list[dict[str, Any]] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, settings: Mapping[str, Any]) -> Capture:
        """Begin a capture, or go on with it. Raises ValueError for a folder with another list or other settings."""
        path = folder / CAPTURE_FILE
        # As JSON gives it back, so that a new capture and one that goes on compare alike.
        wanted = json.loads(json.dumps(settings))
        if not path.exists():
            return cls(folder, wanted)
        capture = cls.load(folder)
        changed = [key for key in wanted if capture.settings.get(key) != wanted[key]]
        if changed:
            raise ValueError(f"{folder}: holds a capture with other settings ({', '.join(changed)}); choose another")
        return capture

    @classmethod
    def load(cls, folder: Path) -> Capture:
        """Read a capture; ValueError where there is none."""
        path = folder / CAPTURE_FILE
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ValueError(f"{folder}: holds no capture ({CAPTURE_FILE} is missing)") from error
        except ValueError as error:
            raise ValueError(f"{path}: is not JSON ({error})") from error
        if kept.get("format") != FORMAT or kept.get("version") != VERSION:
            raise ValueError(f"{path}: is not a replay capture of version {VERSION}")
        return cls(folder, kept["settings"], kept["segments"], kept["problems"])

    def save(self) -> None:
        """Write ``capture.json`` and the map of the clips that finished segments hold."""
        text = {
            "format": FORMAT,
            "version": VERSION,
            "package_version": __version__,
            "settings": self.settings,
            "segments": self.segments,
            "problems": self.problems,
        }
        write_atomic(self.folder / CAPTURE_FILE, json.dumps(text, indent=1) + "\n")
        lines = [
            f"{segment['played_first'] + part['first']} {segment['played_first'] + part['first'] + part['frames'] - 1} "
            f"{part['name']}\n"
            for segment in self.segments
            for part in segment["stretches"]
            if part["name"] in segment["clips"]
        ]
        write_atomic(self.folder / MAP_FILE, "".join(lines))

    @property
    def done(self) -> set[str]:
        """Names of the clips that finished segments hold."""
        return {name for segment in self.segments for name in segment["clips"]}

    @property
    def played_frames(self) -> int:
        """Frames of all finished segments."""
        return sum(segment["played"] for segment in self.segments)


def read_list(path: Path) -> tuple[Clip, ...]:
    """The clips of a folder (all its videos, by sorted name) or of a text file (one path a line, in this order).

    Paths in a text file are relative to it; empty lines and lines that start with ``#`` are skipped.

    Raises
    ------
    ValueError
        no clip, a clip twice, or one that is no readable video, with its line or name
    FileNotFoundError
        no such list
    """
    if path.is_dir():
        files = sorted(one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES)
        named = [(file.relative_to(path).as_posix(), file) for file in files]
    else:
        lines = (line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
        named = [(_name(line), path.parent / line) for line in lines if line and not line.startswith("#")]
    names = [name for name, _ in named]
    if not names:
        raise ValueError(f"{path}: holds no video")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path}: every clip must stand in it once, got {twice[0]} more than once")
    clips = []
    for name, file in named:
        info = probe(file)
        frames = info.frames or probe(file, count=True).frames
        clips.append(Clip(name, file, frames, info.width, info.height))
    return tuple(clips)


def _name(line: str) -> str:
    return Path(line).name if Path(line).is_absolute() or ".." in Path(line).parts else Path(line).as_posix()


def segment_clips(clips: Sequence[Clip], fps: float, longest_s: float) -> tuple[Clip, ...]:
    """The first clips that fit in one segment; always one."""
    chosen: list[Clip] = []
    frames = 0
    for clip in clips:
        if chosen and frames + clip.frames > longest_s * fps:
            break
        chosen.append(clip)
        frames += clip.frames
    return tuple(chosen)


def run_pictures(
    stretches: Sequence[Stretch],
    clips: Mapping[str, Clip],
    painter: MarkPainter,
    problems: dict[str, str],
) -> Iterator[NDArray[np.uint8]]:
    """The screen's pictures of one run. A clip that cannot be read to its end goes on black, and its reason goes to
    ``problems``: the marks stay in step."""
    table = patterns(stretches)
    for stretch in stretches:
        pictures = _clip_pictures(clips[stretch.name], painter, problems) if stretch.kind == CLIP else iter(())
        for frame in range(stretch.first, stretch.end):
            yield painter.paint(table[frame], next(pictures, None))


def _clip_pictures(clip: Clip, painter: MarkPainter, problems: dict[str, str]) -> Iterator[NDArray[np.uint8]]:
    import cv2

    box = painter.box_of(clip.width, clip.height)
    shown = 0
    try:
        for frame in iter_frames(clip.path):
            shrinks = frame.shape[1] > box.width
            how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            yield cv2.resize(frame, (box.width, box.height), interpolation=how)
            shown += 1
    except (MediaError, OSError) as error:
        problems[clip.name] = f"cannot be read behind frame {shown}: {error}"
        return
    if shown < clip.frames:
        problems[clip.name] = f"holds {shown} frames, its header says {clip.frames}"


def capture_replay(
    clips: Sequence[Clip],
    folder: Path,
    screen: Screen,
    camera: CameraSource,
    fps: float,
    level: float = 1.0,
    segment_s: float = DEFAULT_SEGMENT_S,
    reserve_bytes: int = DEFAULT_RESERVE_BYTES,
    stop: Callable[[], bool] = lambda: False,
    on_clips: Callable[[int, int], None] | None = None,
    free: Callable[[Path], int] = free_bytes,
) -> Capture:
    """Play and film clips, or go on with it.

    Parameters
    ----------
    clips : of :func:`read_list`
    folder : ``capture.json``, ``MAP``, and ``segment-000.mp4`` with ``.csv`` a segment
    fps : pictures a second
    level : of the strip's bright patches, see :class:`capture_rig.marks.MarkPainter`
    segment_s : longest segment; all that is lost when the process is killed
    reserve_bytes : space that is left free on the disk
    stop : asked at every frame: True ends it after this frame, with all that was recorded
    on_clips : called with (clips done, clips)
    free : bytes that the disk of a folder still takes

    Returns the capture; ``capture.problems`` says which clips could not be played.

    Raises
    ------
    ValueError
        the folder holds another capture
    DiskFullError
        the disk is nearly full; the segments so far are whole, and the same call goes on
    CameraLostError
        the camera or the screen is gone; likewise
    """
    facts = screen.facts
    painter = MarkPainter(facts.width_px, facts.height_px, facts.eotf, level)
    folder.mkdir(parents=True, exist_ok=True)
    capture = Capture.open(folder, _settings(clips, screen, camera, fps, level))
    clear_unfinished(folder)
    if not capture.segments:
        capture.save()
    while left := [clip for clip in clips if clip.name not in capture.done | capture.problems.keys()]:
        if on_clips is not None:
            on_clips(len(clips) - len(left), len(clips))
        if free(folder) < reserve_bytes:
            raise DiskFullError(f"{folder}: less than {reserve_bytes >> 20} MiB are free; make room and run it again")
        ended = _segment(
            capture, segment_clips(left, fps, segment_s), painter, screen, camera, fps, reserve_bytes, stop, free
        )
        if ended == DISK:
            raise DiskFullError(f"{folder}: less than {reserve_bytes >> 20} MiB are free; make room and run it again")
        if ended == STOPPED:
            break
        if ended != COMPLETE:
            raise CameraLostError(f"{ended}; what was recorded is kept, and the same call goes on")
    if on_clips is not None:
        on_clips(len(capture.done), len(clips))
    return capture


def _segment(
    capture: Capture,
    clips: Sequence[Clip],
    painter: MarkPainter,
    screen: Screen,
    camera: CameraSource,
    fps: float,
    reserve_bytes: int,
    stop: Callable[[], bool],
    free: Callable[[Path], int],
) -> str:
    """Play and film one segment and enter it; returns why it ended."""
    stretches = lay_out([(clip.name, clip.frames) for clip in clips], fps)
    path = capture.folder / f"segment-{len(capture.segments):03d}.mp4"
    problems: dict[str, str] = {}
    pictures = run_pictures(stretches, {clip.name: clip for clip in clips}, painter, problems)
    playback = screen.play(pictures, fps)
    restart = getattr(camera, "restart", None)
    if restart is not None:
        restart()
    try:
        recorded = record_run(path, camera, playback, reserve_bytes, stop, free=free)
        report = playback.report()
    finally:
        playback.stop()
    reached = stretches[-1].end if recorded.ended == COMPLETE else int(report["shown"] - _BEHIND_S * fps)
    whole = [part.name for part in stretches if part.kind == CLIP and part.end <= reached and part.name not in problems]
    capture.problems |= problems
    segment = {
        "file": path.name,
        "sha256": sha256_file(path),
        "frames": len(recorded.numbers),
        "played_first": capture.played_frames,
        "played": stretches[-1].end,
        "ended": recorded.ended,
        "clips": whole,
        "boxes": {clip.name: vars(painter.box_of(clip.width, clip.height)) for clip in clips},
        "stretches": [part.to_dict() for part in stretches],
        "screen_report": report,
        "camera": camera.facts.to_dict(),
    }
    capture.segments.append(segment)
    capture.save()
    return recorded.ended


def _settings(clips: Sequence[Clip], screen: Screen, camera: CameraSource, fps: float, level: float) -> dict[str, Any]:
    seen = camera.facts
    return {
        "simulated": screen.facts.simulated or seen.simulated,
        "fps": fps,
        "level": level,
        "screen": [screen.facts.width_px, screen.facts.height_px],
        "screen_eotf": screen.facts.eotf,
        "camera": {"name": seen.name, "backend": seen.backend, "size": [seen.width, seen.height], "eotf": seen.eotf},
        "clips": [[clip.name, os.fspath(clip.path.resolve()), clip.frames] for clip in clips],
    }
