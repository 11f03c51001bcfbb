"""Does a data set hold what its manifest says? Every file hashed and decoded, every stray file found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lps_sim.files import sha256_file
from lps_sim.film import FilmModel

from .formats import writer_class
from .formats.base import MEAN_TOLERANCE_DN, ClipWriter, decode_mean, mean_frame
from .layout import CONTENT, FILM_FILE, MANIFEST_FILE, PARTIAL, read_dataset
from .manifest import ClipRow, Manifest, Status


@dataclass(frozen=True)
class Finding:
    """One thing that is not as the manifest says."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Verdict:
    """What a verification found in one data set; ``counts`` are the manifest's clips by status."""

    directory: Path
    checked: int
    findings: tuple[Finding, ...]
    counts: dict[Status, int]

    @property
    def ok(self) -> bool:
        """True when everything that the manifest calls done is there, whole and unchanged, and nothing else is."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        findings = [{"path": finding.path, "reason": finding.reason} for finding in self.findings]
        return {"directory": str(self.directory), "checked": self.checked, "findings": findings, "counts": self.counts}


def verify_dataset(
    root: Path, workers: int | None = None, on_progress: Callable[[int, int, str], None] | None = None
) -> Verdict:
    """Re-hash and decode every finished clip and its mean, check the film's checksum, and look for stray files.

    Parameters: root, a data set's directory; workers, threads (default: processors, at most 8); on_progress, called
    with (done, total, name). Raises ValueError when ``root`` is not a data set or its manifest cannot be read.
    """
    dataset = read_dataset(root)
    writer = writer_class(str(dataset["format"]))
    with Manifest(root / MANIFEST_FILE) as manifest:
        rows = list(manifest.rows("done"))
        counts = manifest.counts()
    findings = list(_check_film(root, dataset))
    with ThreadPoolExecutor(workers or min(os.cpu_count() or 1, 8)) as pool:
        for done, (row, found) in enumerate(zip(rows, pool.map(lambda row: _check_clip(root, row, writer), rows)), 1):
            findings += found
            if on_progress:
                on_progress(done, len(rows), row.name)
    findings += _strays(root, rows)
    return Verdict(root, len(rows), tuple(findings), counts)


def _check_film(root: Path, dataset: dict[str, Any]) -> Iterator[Finding]:
    if dataset["film"] is None:
        return
    try:
        checksum = FilmModel.load(root / FILM_FILE).checksum()
    except (ValueError, OSError) as error:
        yield Finding(FILM_FILE, " ".join(str(error).split()))
        return
    if checksum != dataset["film"]["checksum"]:
        yield Finding(
            FILM_FILE, f"is another film: checksum {checksum}, dataset.json says {dataset['film']['checksum']}"
        )


def _check_clip(root: Path, row: ClipRow, writer: type[ClipWriter]) -> list[Finding]:
    found = [*_check_file(root, row.output, row.output_sha256, writer.digest)]
    found += _check_file(root, row.mean, row.mean_sha256, sha256_file)
    if found:
        return found
    try:
        mean, frames = mean_frame(writer.decode(root / row.output))
        if frames != row.frames:
            return [Finding(row.output, f"holds {frames} frames, the manifest says {row.frames}")]
        error_dn = float(abs(mean - decode_mean((root / row.mean).read_bytes(), row.mean)).max())
        if error_dn > MEAN_TOLERANCE_DN:
            return [Finding(row.mean, f"is not the mean of the clip's frames: off by {error_dn:.3g} code values")]
    except (ValueError, OSError) as error:
        return [Finding(row.output, f"cannot be decoded: {' '.join(str(error).split())}")]
    return []


def _check_file(root: Path, relative: str, expected: str, digest: Callable[[Path], str]) -> Iterator[Finding]:
    path = root / relative
    if not path.exists():
        yield Finding(relative, "missing")
        return
    try:
        actual = digest(path)
    except (ValueError, OSError) as error:
        yield Finding(relative, f"cannot be read: {' '.join(str(error).split())}")
        return
    if actual != expected:
        yield Finding(relative, f"changed: SHA-256 is {actual[:16]}..., the manifest says {expected[:16]}...")


def _strays(root: Path, rows: list[ClipRow]) -> Iterator[Finding]:
    """Files below the content folders that no finished clip owns."""
    owned = {row.output for row in rows} | {row.mean for row in rows}
    for top in CONTENT:
        yield from _strays_below(root, top, owned)
    if (root / PARTIAL).is_dir():
        for entry in sorted(os.scandir(root / PARTIAL), key=lambda entry: entry.name):
            yield Finding(
                f"{PARTIAL}/{entry.name}", "unfinished: a run is at work, or was killed (running it again ends it)"
            )


def _strays_below(root: Path, relative: str, owned: set[str]) -> Iterator[Finding]:
    folder = root / relative
    if not folder.is_dir():
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = f"{relative}/{entry.name}"
        if path in owned:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _strays_below(root, path, owned)
        else:
            yield Finding(path, "orphan: no finished clip owns it")
