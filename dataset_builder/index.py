"""The index of a source tree: every clip's name, file and probed properties, and every file refused with its reason.

File format (JSON lines, UTF-8): the first line ``{"lps_index": 2, "root", "naming", "excluded"}``, then one line a
clip, sorted by name, ``{"name", "path", "size", "mtime_ns", "frames", "fps", "width", "height", "codec", "label",
"sha256"}`` with ``path`` relative to ``root`` and ``sha256`` empty unless it was asked for, then one line a refused
file ``{"problem": reason, "path"}``. Version 1 had no ``sha256`` and is still read.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from lps_sim.errors import UnknownNameError
from lps_sim.files import write_atomic

from .probing import Probed, probe_all
from .source_names import (
    NAMINGS,
    Listed,
    checked_name,
    choose,
    list_csv,
    list_videos,
    printable_path,
    read_exclude_list,
)
from .source_tree import LocalTree, RemoteTree, SourceTree
from .storage import Location, below, parse_location

_VERSION = 2
_READABLE = (1, 2)
OnProgress = Callable[[int, int, str], None]
"""Called with (done, total, name) after each item."""


@dataclass(frozen=True)
class IndexEntry:
    """One clip. ``fps`` is a fraction such as ``30000/1001``; ``label`` is the class: a folder's or CSV's, or empty.

    ``sha256`` of the file's bytes is empty unless the index was built with it.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    frames: int
    fps: str
    width: int
    height: int
    codec: str
    label: str = ""
    sha256: str = ""

    @property
    def frame_rate(self) -> Fraction:
        """Frames a second."""
        return Fraction(self.fps)


@dataclass(frozen=True)
class Problem:
    """A file that is not in the index, and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Index:
    """A probed source tree. ``excluded`` are the names left out by exclude lists; ``version`` is the file's."""

    root: Location
    naming: str
    entries: tuple[IndexEntry, ...]
    problems: tuple[Problem, ...] = ()
    excluded: tuple[str, ...] = field(default=())
    version: int = _VERSION

    def source(self, entry: IndexEntry) -> Location:
        """The clip's file."""
        return below(self.root, entry.path)

    def names(self) -> list[str]:
        """Names of the clips, sorted."""
        return [entry.name for entry in self.entries]

    def duplicates(self) -> list[tuple[str, ...]]:
        """Names of clips that are the same bytes, as far as their SHA-256 is known. All of them are usable clips."""
        by_content: dict[str, list[str]] = defaultdict(list)
        for entry in self.entries:
            if entry.sha256:
                by_content[entry.sha256].append(entry.name)
        return sorted(tuple(names) for names in by_content.values() if len(names) > 1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index file whole or not at all."""
        head = {"lps_index": _VERSION, "root": str(self.root), "naming": self.naming, "excluded": list(self.excluded)}
        lines: list[object] = [head, *map(vars, self.entries)]
        lines += [{"problem": problem.reason, "path": problem.path} for problem in self.problems]
        write_atomic(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Index:
        """Read an index file.

        Raises ValueError when it is none, is damaged, is of a newer version, or names a clip outside a data set.
        """
        try:
            with open(path, encoding="utf-8") as stream:
                head = json.loads(stream.readline())
                if not isinstance(head, dict) or "lps_index" not in head:
                    raise ValueError(f"{path}: not an index file (its first line has no lps_index)")
                if head["lps_index"] not in _READABLE:
                    readable = " and ".join(map(str, _READABLE))
                    raise ValueError(f"{path}: index version {head['lps_index']}, this program reads {readable}")
                rows = [json.loads(line) for line in stream]
            for row in rows:
                if "problem" not in row:
                    checked_name(row["name"])
            return cls(
                root=parse_location(head["root"]),
                naming=head["naming"],
                entries=tuple(IndexEntry(**row) for row in rows if "problem" not in row),
                problems=tuple(Problem(row["path"], row["problem"]) for row in rows if "problem" in row),
                excluded=tuple(head["excluded"]),
                version=head["lps_index"],
            )
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not an index file ({error})") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: damaged index file ({error})") from error


def build_index(
    src: str | os.PathLike[str],
    naming: str = "auto",
    exclude: Sequence[str | os.PathLike[str]] = (),
    workers: int | None = None,
    cache: Index | None = None,
    on_progress: OnProgress | None = None,
    sha256: bool = False,
) -> Index:
    """Scan and probe a source: a folder of videos or, with naming ``csv``, a CSV file.

    Parameters
    ----------
    src : folder, here or behind a URL that fsspec opens (its files are then fetched whole, once), or CSV file with a
        header row ``path[,name][,label]``; its paths are relative to the CSV file
    naming : ``ntu`` and ``p3ar-pku`` accept those names only; ``folders`` names a clip by its path without ending and
        labels it by its first folder (UCF101, HMDB51 and Kinetics are laid out so); ``auto`` is ntu or p3ar-pku when
        any video is named so, else folders
    exclude : files of names to leave out, one a line (see :func:`dataset_builder.source_names.read_exclude_list`)
    workers : threads that probe; default the number of processors, at most 8
    cache : an earlier index of the same tree; a file of unchanged size and modification time is not opened again,
        unless its SHA-256 is asked for and not yet known. One of an older version is not used
    on_progress : called with (done, total, path)
    sha256 : hash every file, so that :meth:`Index.duplicates` knows the same bytes under two names

    Raises
    ------
    ValueError : ``src`` holds no video at all, is not of the kind that ``naming`` needs, or lies at a path that is not
        UTF-8; or an exclude list is empty
    """
    if naming not in NAMINGS:
        raise UnknownNameError("naming", naming, NAMINGS)
    source = parse_location(src)
    tree: SourceTree
    if isinstance(source, str):
        if naming == "csv":
            raise ValueError(f"{source}: a CSV file must lie on this machine")
        tree = RemoteTree(source)
        naming, listed = list_videos(tree.videos(), naming)
    elif not source.exists():
        raise ValueError(f"{source}: no such file or folder")
    elif printable_path(str(source.resolve())) != str(source.resolve()):
        raise ValueError(f"{printable_path(str(source))}: the path must be printable UTF-8, for an index holds it")
    elif naming == "csv":
        tree, listed = LocalTree(source.resolve().parent), list_csv(source)
    elif source.is_dir():
        tree = LocalTree(source.resolve())
        naming, listed = list_videos(tree.videos(), naming)
    else:
        raise ValueError(f"{source}: naming {naming} needs a folder of videos (a CSV file needs --naming csv)")
    if not listed:
        raise ValueError(f"{source}: no video files in it")
    left_out = {name for path in exclude for name in read_exclude_list(path, naming)}
    excluded = {item.name for item in listed if item.name in left_out}
    chosen, refused = choose(item for item in listed if item.reason or item.name not in left_out)
    problems = [Problem(printable_path(item.path), item.reason) for item in refused]
    entries = []
    for item, result in zip(chosen, _probe(tree, chosen, cache, workers, sha256, on_progress)):
        if isinstance(result, Probed):
            entries.append(IndexEntry(name=item.name, path=item.path, label=item.label, **vars(result)))
        else:
            problems.append(Problem(item.path, result))
    problems.sort(key=lambda problem: problem.path)
    return Index(tree.root, naming, tuple(entries), tuple(problems), tuple(sorted(excluded)))


def is_index_file(source: Location, naming: str) -> bool:
    """Whether a source is an index file already, and no folder, URL or CSV file to be indexed."""
    return isinstance(source, Path) and not source.is_dir() and naming != "csv"


def open_index(source: Location, naming: str, kept: Path | None) -> Index:
    """The index of a source: read, where it is an index file, else built, with the one ``kept`` earlier as a cache.

    Raises ValueError when there is no such file or folder, and as :meth:`Index.load` and :func:`build_index`.
    """
    if isinstance(source, Path) and not source.exists():
        raise ValueError(f"{source}: no such file or folder")
    if is_index_file(source, naming):
        return Index.load(source)
    return build_index(source, naming, cache=Index.load(kept) if kept is not None and kept.is_file() else None)


def _probe(
    tree: SourceTree,
    items: list[Listed],
    cache: Index | None,
    workers: int | None,
    sha256: bool,
    on_progress: OnProgress | None,
) -> list[Probed | str]:
    known = {}
    if cache is not None and cache.root == tree.root and cache.version == _VERSION:
        known = {entry.path: _properties(entry) for entry in cache.entries}

    def on_done(done: int) -> None:
        if on_progress:
            on_progress(done, len(items), items[done - 1].path if done else "")

    return probe_all(tree, [item.path for item in items], known, workers, sha256, on_done)


def _properties(entry: IndexEntry) -> Probed:
    return Probed(**{name: value for name, value in vars(entry).items() if name not in ("name", "path", "label")})
