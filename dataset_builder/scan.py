"""Walking a source tree for video files: symbolic-link loops end, and nothing but a regular file is ever opened."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
    ".vob", ".webm", ".wmv", ".y4m",
})
# fmt: on
"""File endings that are taken for videos; files of other endings are not looked at."""


def is_video_name(name: str | Path) -> bool:
    """True when the file ending, in either case, is one of :data:`VIDEO_SUFFIXES`."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def walk(root: Path) -> Iterator[tuple[str, str | None]]:
    """Every video file below ``root`` as (POSIX path relative to it, None), or (path, reason) for one to be refused.

    Folders are visited in the order of their names, those behind symbolic links after all others and each real
    folder once: a link to a folder already visited is reported, not followed. Pipes, sockets and devices with a
    video's ending are reported and not opened. Hidden files and folders are left alone.
    """
    seen: set[tuple[int, int]] = set()
    # Paths and, for what is below the root, relative ones: as text, since a tree has a hundred thousand of them.
    plain: deque[tuple[str, str]] = deque([(str(root), "")])
    linked: deque[tuple[str, str]] = deque()
    while plain or linked:
        folder, relative = plain.popleft() if plain else linked.popleft()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                yield relative, "a link to a folder that is already in the tree"
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield relative or ".", f"folder cannot be read: {error.strerror}"
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            below = f"{relative}/{entry.name}" if relative else entry.name
            if entry.is_dir(follow_symlinks=False):
                plain.append((entry.path, below))
            elif entry.is_symlink() and entry.is_dir():
                linked.append((entry.path, below))
            elif is_video_name(entry.name):
                yield below, refusal(entry.path)


def refusal(path: str | Path) -> str | None:
    """Why a path is not a regular file, or None when it is one. Does not open it."""
    try:
        status = os.stat(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    return "empty file" if status.st_size == 0 else None
