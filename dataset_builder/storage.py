"""Where sources come from and data sets go: folders of this machine, or URLs that fsspec opens (``s3://``, ``gs://``).

A worker always works on local files: a remote source is fetched into its scratch folder first, and what it made is
delivered afterwards, whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from .layout import PARTIAL, fsync_directory

Location = Path | str
"""A folder or file: a Path of this machine, or a URL as text."""

# Stores where an object appears whole or not at all; elsewhere a file is uploaded aside and renamed.
_WHOLE_OBJECTS = frozenset({"abfs", "adl", "az", "gcs", "gs", "memory", "oss", "s3", "s3a"})


def parse_location(text: str | os.PathLike[str]) -> Location:
    """A URL as it is, without a closing slash; everything else, ``file://`` included, as a Path."""
    plain = os.fspath(text)
    if plain.startswith("file://"):
        return Path(plain.removeprefix("file://"))
    if "://" in plain:
        return plain.rstrip("/")
    return Path(plain)


def is_remote(location: Location) -> bool:
    """Whether it is a URL."""
    return isinstance(location, str)


def below(location: Location, relative: str) -> Location:
    """A file or folder below a location."""
    return f"{location}/{relative}" if isinstance(location, str) else location / relative


class Remote:
    """A folder behind a URL. Paths are relative to it and POSIX.

    Raises ValueError when fsspec knows no such protocol or its package is missing.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        try:
            self.fs, self._base = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise ValueError(f"{url}: cannot be opened: {' '.join(str(error).split())}") from error

    def path(self, relative: str) -> str:
        """The file system's own path of a file."""
        return f"{self._base}/{relative}" if relative else self._base

    def exists(self, relative: str = "") -> bool:
        """Whether there is such a file or folder, by the store's present state."""
        self.fs.invalidate_cache()
        found: bool = self.fs.exists(self.path(relative))
        return found

    def match(self, pattern: str) -> list[str]:
        """The store's paths of the files whose relative path fits a pattern such as ``layers-*/dataset.json``."""
        self.fs.invalidate_cache()
        found: list[str] = self.fs.glob(self.path(pattern))
        return sorted(found)

    def get(self, relative: str, local: Path) -> None:
        """Fetch a file, or a folder of files, to ``local``. Raises FileNotFoundError."""
        local.parent.mkdir(parents=True, exist_ok=True)
        source = self.path(relative)
        if self.fs.isdir(source):
            local.mkdir(exist_ok=True)
            for path in self.fs.find(source):
                self.fs.get_file(path, str(local / PurePosixPath(path).name))
        else:
            self.fs.get_file(source, str(local))

    def put(self, local: Path, relative: str) -> None:
        """Upload a file, or a folder of files; each appears whole."""
        if local.is_dir():
            for file in sorted(local.iterdir()):
                self.put(file, f"{relative}/{file.name}")
            return
        target = self.path(relative)
        self.fs.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
        protocol = self.fs.protocol if isinstance(self.fs.protocol, str) else self.fs.protocol[0]
        if protocol in _WHOLE_OBJECTS:
            self.fs.put_file(str(local), target)
            return
        aside = f"{target}.{secrets.token_hex(4)}.part"
        try:
            self.fs.put_file(str(local), aside)
            self.fs.mv(aside, target)
        except BaseException:
            with contextlib.suppress(OSError):
                self.fs.rm(aside)
            raise

    def remove(self, relative: str) -> None:
        """Remove a file or folder, if it is there."""
        if self.exists(relative):
            self.fs.rm(self.path(relative), recursive=True)

    def files(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every file below, in the order of their names: relative path, and what the store says of it."""
        self.fs.invalidate_cache()
        found = self.fs.find(self._base, detail=True)
        prefix = f"{self._base.strip('/')}/"
        for path in sorted(found):
            yield path.lstrip("/").removeprefix(prefix), found[path]


@contextlib.contextmanager
def fetched(source: Location, scratch: Path | None) -> Iterator[Path]:
    """A source as a local file: itself, or fetched below ``scratch`` (default: the system's) for the block's time."""
    if isinstance(source, Path):
        yield source
        return
    folder, _, file = source.rpartition("/")
    with scratch_folder(scratch) as temporary:
        local = temporary / file
        Remote(folder).get(file, local)
        yield local


@contextlib.contextmanager
def scratch_folder(scratch: Path | None) -> Iterator[Path]:
    """An empty folder below ``scratch`` (default: the system's), removed afterwards."""
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lps-", dir=scratch) as folder:
        yield Path(folder)


def deliver(local: Path, destination: Location, relative: str) -> None:
    """Move a file, or a folder of files, from scratch to its place below a data set: it appears whole or not at all."""
    if isinstance(destination, str):
        Remote(destination).put(local, relative)
        return
    target, aside = destination / relative, destination / PARTIAL / secrets.token_hex(8)
    aside.parent.mkdir(parents=True, exist_ok=True)
    try:
        if local.is_dir():
            aside.mkdir()
            for file in sorted(local.iterdir()):
                _copy(file, aside / file.name)
            if target.exists():
                shutil.rmtree(target)
        else:
            _copy(local, aside)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(aside, target)
        fsync_directory(target.parent)
    finally:
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with open(target, "rb") as stream:
        os.fsync(stream.fileno())
