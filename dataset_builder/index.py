"""The index of a source tree: every clip's name, file and probed properties, and every file refused with its reason.

File format (JSON lines, UTF-8): the first line ``{"lps_index": 1, "root", "naming", "excluded"}``, then one line a
clip, sorted by name, ``{"name", "path", "size", "mtime_ns", "frames", "fps", "width", "height", "codec", "label"}``
with ``path`` relative to ``root``, then one line a refused file ``{"problem": reason, "path"}``.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path, PurePosixPath

from lps_sim.errors import UnknownNameError
from lps_sim.files import write_atomic

from .naming import format_name, parse_name
from .scan import is_video_name, refusal, walk

NAMINGS = ("auto", "ntu", "p3ar-pku", "folders", "csv")
_VERSION = 1
OnProgress = Callable[[int, int, str], None]
"""Called with (done, total, name) after each item."""


@dataclass(frozen=True)
class IndexEntry:
    """One clip. ``fps`` is a fraction such as ``30000/1001``; ``label`` is the class: a folder's or CSV's, or empty."""

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
    """A probed source tree. ``excluded`` are the names left out by exclude lists."""

    root: Path
    naming: str
    entries: tuple[IndexEntry, ...]
    problems: tuple[Problem, ...] = ()
    excluded: tuple[str, ...] = field(default=())

    def source(self, entry: IndexEntry) -> Path:
        """The clip's file."""
        return self.root / entry.path

    def names(self) -> list[str]:
        """Names of the clips, sorted."""
        return [entry.name for entry in self.entries]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index file whole or not at all."""
        head = {"lps_index": _VERSION, "root": str(self.root), "naming": self.naming, "excluded": list(self.excluded)}
        lines: list[object] = [head, *map(asdict, self.entries)]
        lines += [{"problem": problem.reason, "path": problem.path} for problem in self.problems]
        write_atomic(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Index:
        """Read an index file. Raises ValueError when it is none, is damaged, or is of a newer version."""
        try:
            with open(path, encoding="utf-8") as stream:
                head = json.loads(stream.readline())
                if not isinstance(head, dict) or "lps_index" not in head:
                    raise ValueError(f"{path}: not an index file (its first line has no lps_index)")
                if head["lps_index"] != _VERSION:
                    raise ValueError(f"{path}: index version {head['lps_index']}, this program reads {_VERSION}")
                rows = [json.loads(line) for line in stream]
            return cls(
                root=Path(head["root"]),
                naming=head["naming"],
                entries=tuple(IndexEntry(**row) for row in rows if "problem" not in row),
                problems=tuple(Problem(row["path"], row["problem"]) for row in rows if "problem" in row),
                excluded=tuple(head["excluded"]),
            )
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not an index file ({error})") from error
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: damaged index file ({error})") from error


def build_index(
    src: str | os.PathLike[str],
    naming: str = "auto",
    exclude: Sequence[str | os.PathLike[str]] = (),
    workers: int | None = None,
    cache: Index | None = None,
    on_progress: OnProgress | None = None,
) -> Index:
    """Scan and probe a source: a folder of videos or, with naming ``csv``, a CSV file.

    Parameters
    ----------
    src : folder, or CSV file with a header row ``path[,name][,label]``; its paths are relative to the CSV file
    naming : ``ntu`` and ``p3ar-pku`` accept those names only; ``folders`` names a clip by its path without ending and
        labels it by its first folder (UCF101, HMDB51 and Kinetics are laid out so); ``auto`` is ntu or p3ar-pku when
        any video is named so, else folders
    exclude : files of names to leave out, one a line (see :func:`read_exclude_list`)
    workers : threads that probe; default the number of processors, at most 8
    cache : an earlier index of the same tree; a file of unchanged size and modification time is not probed again
    on_progress : called with (done, total, path)

    Raises
    ------
    ValueError : ``src`` holds no video at all, is not of the kind that ``naming`` needs, or an exclude list is empty
    """
    if naming not in NAMINGS:
        raise UnknownNameError("naming", naming, NAMINGS)
    source = Path(src)
    if not source.exists():
        raise ValueError(f"{source}: no such file or folder")
    if naming == "csv":
        root, listed = source.resolve().parent, list(_read_csv(source))
    elif source.is_dir():
        root = source.resolve()
        found = list(walk(root))
        naming = _resolve_naming(naming, [path for path, _ in found])
        listed = [_named(path, reason, naming) for path, reason in found]
    else:
        raise ValueError(f"{source}: naming {naming} needs a folder of videos (a CSV file needs --naming csv)")
    if not listed:
        raise ValueError(f"{source}: no video files in it")
    left_out = {name for path in exclude for name in read_exclude_list(path, naming)}
    problems = [Problem(item.path, item.reason) for item in listed if item.reason]
    chosen: dict[str, _Listed] = {}
    excluded = []
    for item in sorted((item for item in listed if not item.reason), key=lambda item: (item.name, item.path)):
        if item.name in left_out:
            excluded.append(item.name)
        elif item.name in chosen:
            problems.append(Problem(item.path, f"duplicate: {item.name} is already {chosen[item.name].path}"))
        else:
            chosen[item.name] = item
    entries = []
    for result in _probe_all(root, list(chosen.values()), workers, cache, on_progress):
        if isinstance(result, IndexEntry):
            entries.append(result)
        else:
            problems.append(result)
    problems.sort(key=lambda problem: problem.path)
    return Index(root, naming, tuple(entries), tuple(problems), tuple(sorted(set(excluded))))


def read_exclude_list(path: str | os.PathLike[str], naming: str = "ntu") -> list[str]:
    """Names in a list of samples to leave out, in the data set authors' text format.

    One name a line, blank lines and lines that start with ``#`` skipped. With NTU or P3AR-PKU naming, the lines
    before the first name are a header and skipped too, and a later line that is not a name is an error.

    Raises ValueError with the line's number, or when there is no name at all.
    """
    names = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8-sig").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if naming not in ("ntu", "p3ar-pku"):
            names.append(str(PurePosixPath(text).with_suffix("")) if is_video_name(text) else text)
            continue
        try:
            names.append(format_name(parse_name(text, "ntu" if naming == "ntu" else "p3ar-pku")))
        except ValueError as error:
            if names:
                raise ValueError(f"{path}: line {number}: {error}") from error
    if not names:
        raise ValueError(f"{path}: no sample names in this exclude list")
    return names


@dataclass(frozen=True)
class _Listed:
    path: str
    name: str = ""
    label: str = ""
    reason: str = ""


def _resolve_naming(naming: str, paths: Iterable[str]) -> str:
    if naming != "auto":
        return naming
    for path in paths:
        try:
            return parse_name(PurePosixPath(path).name).dataset
        except ValueError:
            continue
    return "folders"


def _named(path: str, reason: str | None, naming: str) -> _Listed:
    """A scanned file with its name by the rule of ``naming``, or the reason why it has none."""
    if reason:
        return _Listed(path, reason=reason)
    pure = PurePosixPath(path)
    try:
        if naming == "folders":
            label = pure.parts[0] if len(pure.parts) > 1 else ""
            return _Listed(path, checked_name(str(pure.with_suffix(""))), label)
        return _Listed(path, format_name(parse_name(pure.name, "ntu" if naming == "ntu" else "p3ar-pku")))
    except ValueError as error:
        return _Listed(path, reason=str(error))


def checked_name(name: str) -> str:
    """The name itself when it can stand as a relative path inside a data set: it may have folders, but never leave it.

    Raises ValueError for an absolute path, ``..``, a hidden or empty part, a backslash or a control character.
    """
    parts = name.split("/")
    if any(not part or part.startswith(".") for part in parts) or "\\" in name or not name.isprintable():
        raise ValueError(f"name: {name!r} must be plain path parts: none empty or starting with a dot, all printable")
    return name


def _read_csv(path: Path) -> Iterator[_Listed]:
    with open(path, newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        if "path" not in (reader.fieldnames or ()):
            raise ValueError(f"{path}: the CSV header must have a column 'path', got {reader.fieldnames}")
        root = path.resolve().parent
        for row in reader:
            file = row["path"] or ""
            try:
                name = checked_name(row.get("name") or str(PurePosixPath(file).with_suffix("")))
            except ValueError as error:
                yield _Listed(file or f"line {reader.line_num}", reason=str(error))
                continue
            yield _Listed(file, name, row.get("label") or "", refusal(root / file) or "")


def _probe_all(
    root: Path, items: list[_Listed], workers: int | None, cache: Index | None, on_progress: OnProgress | None
) -> Iterator[IndexEntry | Problem]:
    known: Mapping[str, IndexEntry] = {}
    if cache is not None and cache.root == root:
        known = {entry.path: entry for entry in cache.entries}
    with ThreadPoolExecutor(workers or min(os.cpu_count() or 1, 8)) as pool:
        results = pool.map(lambda item: _probe(root, item, known.get(item.path)), items)
        for done, (item, result) in enumerate(zip(items, results), start=1):
            yield result
            if on_progress:
                on_progress(done, len(items), item.path)


def _probe(root: Path, item: _Listed, known: IndexEntry | None) -> IndexEntry | Problem:
    from lps_sim.media import probe

    path = root / item.path
    try:
        status = path.stat()
        if known and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
            properties = {key: getattr(known, key) for key in ("frames", "fps", "width", "height", "codec")}
        else:
            info = probe(path)
            properties = {
                "frames": info.frames,
                "fps": str(info.fps),
                "width": info.width,
                "height": info.height,
                "codec": info.codec,
            }
    except (ValueError, OSError) as error:
        message = " ".join(str(error).split()).removeprefix(f"{path}: ")
        return Problem(item.path, message)
    return IndexEntry(
        name=item.name,
        path=item.path,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        label=item.label,
        **properties,
    )
