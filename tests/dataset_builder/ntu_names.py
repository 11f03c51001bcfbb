"""Names of NTU RGB+D samples for tests: made up, and the published list where it is at hand."""

from __future__ import annotations

import functools
import gzip
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from dataset_builder.naming import ntu_name

VARIABLE = "LPS_NTU120_NAMES"
_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "golden" / "ntu120_names.txt.gz"


def ntu_grid(
    performers: Iterable[int] = range(1, 9),
    setups: Iterable[int] = (1, 2),
    cameras: Iterable[int] = (1, 2, 3),
    replications: Iterable[int] = (1, 2),
    actions: Iterable[int] = (1, 23),
) -> list[str]:
    """Every combination."""
    return [
        ntu_name(s, c, p, r, a)
        for s in setups
        for c in cameras
        for p in performers
        for r in replications
        for a in actions
    ]


def published_names() -> list[str]:
    """The 113,945 names of NTU RGB+D 120, which are not shipped; without them the test is skipped and says so."""
    path = Path(os.environ.get(VARIABLE, _BESIDE))
    if not path.is_file():
        pytest.skip(f"no list of NTU names at {path}; {VARIABLE} may name one (gzip, one name a line)")
    return list(_read(path))


@functools.lru_cache(maxsize=1)
def _read(path: Path) -> tuple[str, ...]:
    with gzip.open(path, "rt") as stream:
        return tuple(line.strip() for line in stream)
