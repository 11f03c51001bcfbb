"""The split lists that UCF101 and HMDB51 come with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

HMDB51_SIDES = {"1": "train", "2": "test", "0": ""}
"""The mark behind a name in HMDB51's lists: training, test, or not part of this split."""


def read_ucf101_lists(folder: Path, number: int) -> dict[str, str]:
    """Side (``train`` or ``test``) by clip name of UCF101's split 1, 2 or 3.

    ``trainlist01.txt`` holds lines ``Class/v_Class_g08_c01.avi 1`` (the class's number behind the name), and
    ``testlist01.txt`` the same without the number. Raises ValueError with file and line for anything else.
    """
    return {name: side for side in ("train", "test") for name in _ucf101_names(folder / f"{side}list{number:02d}.txt")}


def _ucf101_names(path: Path) -> Iterator[str]:
    for line, text in _lines(path):
        name = PurePosixPath(text.rpartition(" ")[0] if text.rpartition(" ")[2].isdecimal() else text)
        if len(name.parts) != 2 or name.suffix != ".avi":
            raise ValueError(f"{path}: line {line}: must be CLASS/NAME.avi, got {text!r}")
        yield str(name.with_suffix(""))


def read_hmdb51_lists(folder: Path, number: int) -> dict[str, str]:
    """Side (``train``, ``test``, or empty for neither) by clip name of HMDB51's split 1, 2 or 3.

    A file a class, ``brush_hair_test_split1.txt``, with lines ``NAME.avi MARK`` (see :data:`HMDB51_SIDES`). Raises
    ValueError when there is none, and with file and line for anything else.
    """
    tail = f"_test_split{number}.txt"
    sides = {}
    for path in sorted(path for path in folder.iterdir() if path.name.endswith(tail)):
        for line, text in _lines(path):
            name, _, mark = text.rpartition(" ")
            if not name.strip().endswith(".avi") or mark not in HMDB51_SIDES:
                raise ValueError(f"{path}: line {line}: must be NAME.avi and 0, 1 or 2, got {text!r}")
            sides[f"{path.name.removesuffix(tail)}/{name.strip().removesuffix('.avi')}"] = HMDB51_SIDES[mark]
    if not sides:
        raise ValueError(f"{folder}: no lists CLASS{tail} in it")
    return sides


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if text := line.strip():
            yield number, text
