"""The map file of a recapture: which played frames belong to which clip, one line ``START END NAME`` a clip.

Frames are inclusive and counted over the clips in the order in which they are played, that of their sorted names; NAME
is the video file's name (with folders where the source has any) and may hold spaces.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lps_sim.files import write_atomic

from ..index import Index, IndexEntry, checked_name
from ..naming import format_name, parse_name
from ..scan import is_video_name

_LINE = re.compile(r"(\d{1,12})[ \t]+(\d{1,12})[ \t]+(\S.*?)[ \t]*")


@dataclass(frozen=True)
class MapEntry:
    """One clip: ``first`` and ``last`` played frame, both of them its own; ``file`` as in the map; ``name`` of the
    clip in a data set: the file's without ``_rgb`` and ending."""

    first: int
    last: int
    file: str
    name: str

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.last - self.first + 1

    @property
    def label(self) -> str:
        """The first folder of the file, as data sets in class folders are labelled; empty without one."""
        parts = PurePosixPath(self.file).parts
        return parts[0] if len(parts) > 1 else ""


@dataclass(frozen=True)
class ReplayMap:
    """A map file's clips in playing order. ``gaps`` are (first, last) played frames that belong to none, between
    clips; ``sha256`` is that of the lines as this program writes them."""

    entries: tuple[MapEntry, ...]
    gaps: tuple[tuple[int, int], ...] = ()

    @property
    def played_frames(self) -> int:
        """Length of the played list in frames, from frame 0 on."""
        return self.entries[-1].last + 1

    @property
    def sha256(self) -> str:
        """Checksum of what the map says, however its file is spaced."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    def text(self) -> str:
        """The map file's contents."""
        return "".join(f"{entry.first} {entry.last} {entry.file}\n" for entry in self.entries)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the map file whole or not at all."""
        write_atomic(path, self.text())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ReplayMap:
        """Read a map file. Raises ValueError with the number of the first line that breaks the rule."""
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not a map file ({error})") from error
        try:
            return cls.of(entry for number, line in enumerate(lines, 1) if (entry := _parsed(number, line)))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def of(cls, numbered: Iterator[tuple[int, MapEntry]]) -> ReplayMap:
        """A map of (line number, clip); clips must follow each other without a common frame or name.

        Raises ValueError naming the line and the rule.
        """
        entries: list[MapEntry] = []
        gaps: list[tuple[int, int]] = []
        lines: dict[str, int] = {}
        for number, entry in numbered:
            after = entries[-1].last + 1 if entries else entry.first
            if entry.name in lines:
                raise ValueError(f"line {number}: clip {entry.name} stands in line {lines[entry.name]} already")
            if entries and entry.first < entries[-1].first:
                raise ValueError(
                    f"line {number}: START must rise from line to line, got {entry.first} after {entries[-1].first}"
                )
            if entry.first < after:
                raise ValueError(
                    f"line {number}: START must be behind the last clip's END {entries[-1].last}, got {entry.first}"
                )
            if entry.first > after:
                gaps.append((after, entry.first - 1))
            lines[entry.name] = number
            entries.append(entry)
        if not entries:
            raise ValueError("no line START END NAME in it")
        return cls(tuple(entries), tuple(gaps))


def _parsed(number: int, line: str) -> tuple[int, MapEntry] | None:
    if not line.strip() or line.lstrip().startswith("#"):
        return None
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"line {number}: must be START END NAME with whole numbers >= 0, got {line[:80]!r}")
    first, last, file = int(match[1]), int(match[2]), match[3]
    if last < first:
        raise ValueError(f"line {number}: END must be START or more, got {first} {last}")
    try:
        return number, MapEntry(first, last, file, clip_name(file))
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error


def clip_name(file: str) -> str:
    """The clip's name in a data set: the bare NTU or P3AR-PKU name, else the path without a video's ending.

    Raises ValueError for a path that could leave the data set's directory.
    """
    checked_name(file)
    try:
        return format_name(parse_name(PurePosixPath(file).name))
    except ValueError:
        return checked_name(str(PurePosixPath(file).with_suffix("")) if is_video_name(file) else file)


def build_map(index: Index, count: bool = False) -> ReplayMap:
    """The map of all clips of an index, played in the order of their files' names.

    Parameters
    ----------
    index : of the played files
    count : decode every file for its number of frames, where the header's may be wrong

    Raises
    ------
    ValueError
        a file tells no number of frames, or two clips would have one name
    MediaError
        a file that is decoded is damaged
    """
    plain = index.naming in ("ntu", "p3ar-pku")
    named = sorted((PurePosixPath(entry.path).name if plain else entry.path, entry) for entry in index.entries)
    return ReplayMap.of(_placed(index, named, count))


def _placed(index: Index, named: list[tuple[str, IndexEntry]], count: bool) -> Iterator[tuple[int, MapEntry]]:
    from lps_sim.media import probe

    first = 0
    for number, (file, entry) in enumerate(named, 1):
        # A container without a frame count in its header is read to its end.
        frames = entry.frames if entry.frames and not count else probe(index.source(entry), count=True).frames
        yield number, MapEntry(first, first + frames - 1, file, clip_name(file))
        first += frames
