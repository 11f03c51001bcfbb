"""The files of a source, wherever they are: what is there, its size and age, and each as a local file to read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from .scan import is_video_name, walk
from .storage import Location, Remote, fetched


class FileState(NamedTuple):
    """What tells that a file has changed: bytes, and modification time in nanoseconds (0 where a store has none)."""

    size: int
    mtime_ns: int


class SourceTree(Protocol):
    """A folder of source files; paths are relative to ``root`` and POSIX."""

    @property
    def root(self) -> Location:
        """Where it is."""

    def videos(self) -> list[tuple[str, str | None]]:
        """(path, None) of every video file, or (path, reason) of one to be refused."""

    def state(self, path: str) -> FileState | None:
        """Size and age; None when it is gone."""

    def local(self, path: str) -> contextlib.AbstractContextManager[Path]:
        """The file on this machine, for the block's time."""


class LocalTree:
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root: Location = root
        self._prefix = str(root)

    def videos(self) -> list[tuple[str, str | None]]:
        return list(walk(Path(self._prefix)))

    def state(self, path: str) -> FileState | None:
        try:
            status = os.stat(os.path.join(self._prefix, path))
        except OSError:  # it is gone: reading it tells why
            return None
        return FileState(status.st_size, status.st_mtime_ns)

    def local(self, path: str) -> contextlib.AbstractContextManager[Path]:
        return contextlib.nullcontext(Path(self._prefix, path))


class RemoteTree:
    """A folder behind a URL, listed once; a file is fetched whole whenever it is asked for."""

    def __init__(self, url: str) -> None:
        self.root: Location = url
        self._states = {path: _state(details) for path, details in Remote(url).files()}

    def videos(self) -> list[tuple[str, str | None]]:
        hidden = {path for path in self._states if any(part.startswith(".") for part in path.split("/"))}
        return [(path, None) for path in self._states if is_video_name(path) and path not in hidden]

    def state(self, path: str) -> FileState | None:
        return self._states.get(path)

    @contextlib.contextmanager
    def local(self, path: str) -> Iterator[Path]:
        with fetched(f"{self.root}/{path}", None) as file:
            yield file


def _state(details: dict[str, Any]) -> FileState:
    """Size and age by what fsspec's file systems call them."""
    changed = next((details[key] for key in ("mtime", "LastModified", "last_modified", "created") if key in details), 0)
    seconds = changed.timestamp() if isinstance(changed, datetime) else float(changed or 0)
    return FileState(int(details["size"] or 0), round(seconds * 1e9))
