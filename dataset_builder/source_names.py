"""What the files of a source are called: names and classes out of folders, NTU and P3AR-PKU names, or a CSV file."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .naming import format_name, parse_name
from .scan import is_video_name, refusal

NAMINGS = ("auto", "ntu", "p3ar-pku", "folders", "csv")
# Control characters, lone surrogates (bytes that are not UTF-8) and the Unicode line and paragraph separators.
_UNNAMEABLE = {"Cc", "Cs", "Zl", "Zp"}
# What a data set puts behind a clip's name: a folder of that name would stand in the file's place.
_OUTPUT_SUFFIXES = ("", ".mp4", ".png")


@dataclass(frozen=True)
class Listed:
    """A source file with its clip's name and class, or with the reason why it is none. ``path`` is below the root."""

    path: str
    name: str = ""
    label: str = ""
    reason: str = ""


def list_videos(found: list[tuple[str, str | None]], naming: str) -> tuple[str, list[Listed]]:
    """The video files of a tree, as (path, reason to refuse it); the naming, with ``auto`` resolved, stands in front.

    ``folders`` names a clip by its path without ending and labels it by its first folder; ``ntu`` and ``p3ar-pku``
    accept those names only; ``auto`` is one of these two as soon as one video is named so, otherwise ``folders``.
    """
    naming = _resolve(naming, [path for path, _ in found])
    return naming, [_named(path, reason, naming) for path, reason in found]


def list_csv(path: Path) -> list[Listed]:
    """The clips of a CSV file with a header row ``path[,name][,label]``; its paths are relative to the file.

    Without a name a clip is called by its path without ending, so that such a path cannot lead out of the folder;
    with a name the file may lie anywhere. Raises ValueError when the file is no CSV file in UTF-8 with such a header.
    """
    if not path.is_file():
        raise ValueError(f"{path}: not a CSV file")
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if "path" not in (reader.fieldnames or ()):
                raise ValueError(f"{path}: the CSV header must have a column 'path', got {reader.fieldnames}")
            return [_row(path.resolve().parent, row, reader.line_num) for row in reader]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a CSV file in UTF-8 ({error.reason} at byte {error.start})") from error
    except csv.Error as error:
        raise ValueError(f"{path}: not a CSV file ({error})") from error


def checked_name(name: str) -> str:
    """The name itself when it can stand as a relative path inside a data set: it may have folders, but never leave it.

    Raises ValueError for an absolute path, ``..``, a hidden or empty part, a backslash, and for characters that a
    list of names, one a line, could not hold (control characters, line breaks, bytes that are not UTF-8).
    """
    parts = name.split("/")
    if any(not part or part.startswith(".") for part in parts) or "\\" in name:
        raise ValueError(f"name: {name!r} must be plain path parts: none empty or starting with a dot, no backslash")
    if name.isascii() and name.isprintable():
        return name
    if kinds := {unicodedata.category(character) for character in name} & _UNNAMEABLE:
        rule = "not UTF-8" if "Cs" in kinds else "no control character or line break"
        raise ValueError(f"name: {name!r} must be printable text: {rule}")
    return name


def printable_path(path: str) -> str:
    """A path on one line that can be encoded: a line break as ``\\n``, a byte that is not UTF-8 as ``\\xff``."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(repr(c)[1:-1] if unicodedata.category(c) in _UNNAMEABLE else c for c in text)


def choose(listed: Iterable[Listed]) -> tuple[list[Listed], list[Listed]]:
    """(Clips sorted by name, refused files): every name once, and none that is another clip's folder."""
    chosen: dict[str, Listed] = {}
    refused = []
    for item in sorted(listed, key=lambda item: (item.name, item.path)):
        if item.reason:
            refused.append(item)
        elif item.name in chosen:
            reason = f"duplicate: {item.name} is already {chosen[item.name].path}"
            refused.append(Listed(item.path, reason=reason))
        else:
            chosen[item.name] = item
    folders = {name[:end] for name in chosen for end, letter in enumerate(name) if letter == "/"}
    ambiguous = {name for name in chosen if any(name + suffix in folders for suffix in _OUTPUT_SUFFIXES)}
    refused += [Listed(chosen[name].path, reason=f"name: {name} is also a folder of other clips") for name in ambiguous]
    return [item for name, item in chosen.items() if name not in ambiguous], refused


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
            names.append(_sample_name(text, naming))
        except ValueError as error:
            if names:
                raise ValueError(f"{path}: line {number}: {error}") from error
    if not names:
        raise ValueError(f"{path}: no sample names in this exclude list")
    return names


def _resolve(naming: str, paths: Iterable[str]) -> str:
    if naming != "auto":
        return naming
    for path in paths:
        try:
            return parse_name(path.rpartition("/")[2]).dataset
        except ValueError:
            continue
    return "folders"


def _sample_name(text: str, naming: str) -> str:
    return format_name(parse_name(text, "ntu" if naming == "ntu" else "p3ar-pku"))


def _named(path: str, reason: str | None, naming: str) -> Listed:
    if reason:
        return Listed(path, reason=reason)
    folder, _, file = path.rpartition("/")
    try:
        checked_name(path)  # its folders too must be text that an index can hold
        if naming == "folders":
            return Listed(path, os.path.splitext(path)[0], folder.partition("/")[0])
        return Listed(path, _sample_name(file, naming))
    except ValueError as error:
        return Listed(path, reason=str(error))


def _row(root: Path, row: dict[str, str | None], line: int) -> Listed:
    file = row["path"] or ""
    try:
        name = checked_name(row.get("name") or str(PurePosixPath(file).with_suffix("")))
        return Listed(file, name, row.get("label") or "", refusal(root / file) or "")
    except ValueError as error:
        return Listed(file or f"line {line}", reason=str(error))
