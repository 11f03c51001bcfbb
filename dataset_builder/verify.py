"""Does a data set hold what its manifest says? Every file hashed and decoded, every stray file found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lps_sim.files import sha256_file
from lps_sim.film import FilmModel

from .formats import open_reader, writer_class
from .formats.base import (
    MEAN_TOLERANCE_DN,
    ClipReader,
    ClipWriter,
    PayloadDigest,
    decode_mean,
    mean_frame,
    sha256_bytes,
)
from .formats.shards import PartWriter
from .layout import CONTENT, FILM_FILE, MANIFEST_FILE, PARTIAL, read_dataset
from .manifest import ClipRow, Manifest, Status, StoredShard
from .storage import fetched, parse_location


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
    root: Path,
    workers: int | None = None,
    on_progress: Callable[[int, int, str], None] | None = None,
    sources: bool = False,
) -> Verdict:
    """Re-hash and decode every finished clip, its mean and every shard, check the film's checksum, find stray files.

    Parameters: root, a data set's directory; workers, threads (default: processors, at most 8); on_progress, called
    with (done, total, name); sources, hash the source files too, and compare with what the clips were made from.
    Raises ValueError when ``root`` is not a data set or its manifest cannot be read.
    """
    dataset = read_dataset(root)
    writer = writer_class(str(dataset["format"]))
    with Manifest(root / MANIFEST_FILE) as manifest:
        rows = list(manifest.rows("done"))
        counts = manifest.counts()
        shards = manifest.shards()
    reader = open_reader(root)
    findings = list(_check_film(root, dataset))
    open_shards: set[str] = set()

    def check(row: ClipRow) -> list[Finding]:
        if row.sealed:
            return _check_sealed(reader, row) if row.output in open_shards else []
        return _check_clip(root, row, writer)

    with ThreadPoolExecutor(workers or min(os.cpu_count() or 1, 8)) as pool:
        checked = pool.map(lambda shard: _check_shard(root, shard, writer), shards)
        for shard, (found, readable) in zip(shards, checked):
            findings += found
            if readable:
                open_shards.add(shard.output)
        for done, (row, found) in enumerate(zip(rows, pool.map(check, rows)), 1):
            findings += found
            if on_progress:
                on_progress(done, len(rows), row.name)
        if sources:
            made_from = sorted({(row.source, row.source_sha256) for row in rows})
            findings += [one for found in pool.map(lambda source: _check_source(*source), made_from) for one in found]
    findings += _strays(root, rows, shards)
    return Verdict(root, len(rows), tuple(findings), counts)


def _check_film(root: Path, dataset: dict[str, Any]) -> Iterator[Finding]:
    if dataset["film"] is None:
        return
    try:
        checksum = FilmModel.load(root / FILM_FILE).checksum()
    except (ValueError, OSError) as error:
        yield Finding(FILM_FILE, _one_line(error))
        return
    if checksum != dataset["film"]["checksum"]:
        yield Finding(
            FILM_FILE, f"is another film: checksum {checksum}, dataset.json says {dataset['film']['checksum']}"
        )


def _check_source(source: str, expected: str) -> list[Finding]:
    try:
        with fetched(parse_location(source), None) as path:
            return list(_compare(source, sha256_file(path), expected))
    except (ValueError, OSError) as error:
        return [Finding(source, f"source cannot be read: {_one_line(error)}")]


def _check_clip(root: Path, row: ClipRow, writer: type[ClipWriter]) -> list[Finding]:
    found = [*_check_file(root, row.output, row.output_sha256, writer.digest)]
    found += _check_file(root, row.mean, row.mean_sha256, sha256_file)
    if found:
        return found
    try:
        mean = decode_mean((root / row.mean).read_bytes(), row.mean)
        return list(_check_frames(row, writer.decode(root / row.output), mean, row.output))
    except (ValueError, OSError) as error:
        return [Finding(row.output, f"cannot be decoded: {_one_line(error)}")]


def _check_sealed(reader: ClipReader, row: ClipRow) -> list[Finding]:
    """A clip inside a shard, by the way that readers take."""
    place = f"{row.output}: {row.name}"
    digest = PayloadDigest(reader.writer.by_frame)
    try:
        for chunk in reader.payload(row.name):
            digest.update(chunk)
        found = [*_compare(place, digest.hexdigest(), row.output_sha256)]
        found += _compare(f"{place}: mean", sha256_bytes(reader.mean_png(row.name)), row.mean_sha256)
        return found or list(_check_frames(row, reader.frames(row.name), reader.mean(row.name), place))
    except (ValueError, OSError) as error:
        return [Finding(place, f"cannot be read: {_one_line(error)}")]


def _check_frames(row: ClipRow, frames: Iterator[np.ndarray], mean: np.ndarray, place: str) -> Iterator[Finding]:
    actual, count = mean_frame(frames)
    if count != row.frames:
        yield Finding(place, f"holds {count} frames, the manifest says {row.frames}")
        return
    error_dn = float(abs(actual - mean).max())
    if error_dn > MEAN_TOLERANCE_DN:
        where = f"{place}: mean" if row.sealed else row.mean
        yield Finding(where, f"is not the mean of the clip's frames: off by {error_dn:.3g} code values")


def _check_shard(root: Path, shard: StoredShard, writer: type[ClipWriter]) -> tuple[list[Finding], bool]:
    """The file as a whole; and whether clips can be looked for in it."""
    found = list(_check_file(root, shard.output, shard.sha256, sha256_file))
    if not issubclass(writer, PartWriter):
        return [*found, Finding(shard.output, "the data set's format has no shards")], False
    try:
        with open(root / shard.output, "rb", buffering=0) as stream:
            held = len(writer.read_index(stream, root / shard.output).names())
    except (ValueError, OSError) as error:
        return found or [Finding(shard.output, f"cannot be read: {_one_line(error)}")], False
    if held != shard.clips:
        found.append(Finding(shard.output, f"holds {held} clips, the manifest says {shard.clips}"))
    return found, True


def _check_file(root: Path, relative: str, expected: str, digest: Callable[[Path], str]) -> Iterator[Finding]:
    path = root / relative
    if not path.exists():
        yield Finding(relative, "missing")
        return
    try:
        actual = digest(path)
    except (ValueError, OSError) as error:
        yield Finding(relative, f"cannot be read: {_one_line(error)}")
        return
    yield from _compare(relative, actual, expected)


def _compare(place: str, actual: str, expected: str) -> Iterator[Finding]:
    if actual != expected:
        yield Finding(place, f"changed: SHA-256 is {actual[:16]}..., the manifest says {expected[:16]}...")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _strays(root: Path, rows: list[ClipRow], shards: list[StoredShard]) -> Iterator[Finding]:
    """Files below the content folders that no finished clip owns."""
    owned = {row.output for row in rows if not row.sealed} | {row.mean for row in rows if not row.sealed}
    recorded = {shard.output for shard in shards}
    for output in sorted({row.output for row in rows if row.sealed} - recorded):
        yield Finding(output, "is no shard of the manifest, which has clips in it")
    owned |= recorded
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
