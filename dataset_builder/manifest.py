"""The manifest: one SQLite row a clip, written by the driver process alone, read by anyone at any time (WAL).

A clip is ``pending``, ``done`` (then its source hash, seed, frames and output hash stand in the row) or ``failed``
(error and number of attempts). What all clips share (film, camera, codec) stands once, in ``dataset.json``.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from lps_sim.errors import UnknownNameError

Status = Literal["pending", "done", "failed"]
STATUSES: tuple[Status, ...] = ("pending", "done", "failed")


@dataclass(frozen=True)
class StoredClip:
    """What a format's writer put on disk. Paths are relative to the data set's directory.

    ``output_sha256`` is the file's; for a folder of frames it is the SHA-256 of the frames' binary digests in order.
    """

    output: str
    output_sha256: str
    output_bytes: int
    frames: int
    fps: str
    width: int
    height: int
    mean: str
    mean_sha256: str


@dataclass(frozen=True)
class ClipRow:
    """One row. Fields of the output are empty or 0 until the clip is done; ``seed`` is that of the clip's noise."""

    name: str
    source: str
    label: str = ""
    status: Status = "pending"
    error: str = ""
    attempts: int = 0
    source_sha256: str = ""
    seed: str = ""
    output: str = ""
    output_sha256: str = ""
    output_bytes: int = 0
    frames: int = 0
    fps: str = ""
    width: int = 0
    height: int = 0
    mean: str = ""
    mean_sha256: str = ""


_COLUMNS = [field.name for field in fields(ClipRow)]
_INTEGERS = {"attempts", "output_bytes", "frames", "width", "height"}
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS clips (
    {", ".join(f"{name} {'INTEGER' if name in _INTEGERS else 'TEXT'} NOT NULL" for name in _COLUMNS)},
    PRIMARY KEY (name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS clips_by_status ON clips (status);
CREATE TABLE IF NOT EXISTS problems (path TEXT NOT NULL, reason TEXT NOT NULL);
"""
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM clips"


class Manifest:
    """The manifest file. Use as a context manager; ``writable`` only in the process that holds the data set's lock.

    Raises ValueError when the file is missing (reading) or is not a manifest.
    """

    def __init__(self, path: str | os.PathLike[str], writable: bool = False) -> None:
        self.path = Path(path)
        if not writable and not self.path.is_file():
            raise ValueError(f"{self.path}: no manifest there")
        try:
            self._db = self._open(writable)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path}: not a manifest ({error})") from error

    def _open(self, writable: bool) -> sqlite3.Connection:
        if writable:
            db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(_SCHEMA)
            return db
        # A data set on read-only storage cannot hold WAL's side files; there nobody writes, and it reads as it is.
        for mode in ("mode=ro", "immutable=1"):
            db = sqlite3.connect(f"{self.path.resolve().as_uri()}?{mode}", uri=True, timeout=30)
            try:
                db.execute("SELECT count(*) FROM clips").fetchone()
                return db
            except sqlite3.OperationalError:
                db.close()
        raise sqlite3.DatabaseError("its tables cannot be read")

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; WAL's side files go with the last reader."""
        self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # -- writing --------------------------------------------------------------------------------------------------
    def add(self, rows: Iterable[ClipRow]) -> None:
        """Add clips that are not there yet; of those there and not done, bring the source up to date."""
        holes = ", ".join(f":{name}" for name in _COLUMNS)
        with self._transaction():
            self._db.executemany(
                f"INSERT INTO clips VALUES ({holes}) ON CONFLICT (name) DO UPDATE "
                "SET source = excluded.source, label = excluded.label WHERE status <> 'done'",
                (asdict(row) for row in rows),
            )

    def record_done(self, name: str, stored: StoredClip, source_sha256: str, seed: int) -> None:
        """A clip whose files are whole, hashed and on disk under their final names."""
        values: dict[str, Any] = {**asdict(stored), "source_sha256": source_sha256, "seed": str(seed)}
        settings = ", ".join(f"{column} = :{column}" for column in values)
        with self._transaction():
            self._db.execute(
                f"UPDATE clips SET status = 'done', error = '', attempts = attempts + 1, {settings} WHERE name = :name",
                {**values, "name": name},
            )

    def record_failed(self, name: str, error: str) -> None:
        """A clip that could not be made, with the reason on one line."""
        with self._transaction():
            self._db.execute(
                "UPDATE clips SET status = 'failed', error = ?, attempts = attempts + 1 WHERE name = ?", (error, name)
            )

    def record_problems(self, problems: Iterable[tuple[str, str]]) -> None:
        """Replace the list of source files that are no clips, as (path, reason)."""
        with self._transaction():
            self._db.execute("DELETE FROM problems")
            self._db.executemany("INSERT INTO problems VALUES (?, ?)", problems)

    # -- reading --------------------------------------------------------------------------------------------------
    def rows(self, status: Status | None = None) -> Iterator[ClipRow]:
        """Rows in the order of their names, one at a time."""
        query, values = (
            (f"{_SELECT} ORDER BY name", ())
            if status is None
            else (
                f"{_SELECT} WHERE status = ? ORDER BY name",
                (status,),
            )
        )
        for row in self._db.execute(query, values):
            yield ClipRow(*row)

    def columns(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Some columns of every row, in the order of ``names``, one row at a time: for counts over many clips.

        Raises ValueError for a column that a row does not have.
        """
        for name in names:
            if name not in _COLUMNS:
                raise UnknownNameError("names", name, _COLUMNS)
        yield from self._db.execute(f"SELECT {', '.join(names)} FROM clips")

    def row(self, name: str) -> ClipRow | None:
        """A clip's row, or None."""
        found = self._db.execute(f"{_SELECT} WHERE name = ?", (name,)).fetchone()
        return ClipRow(*found) if found else None

    def names(self, status: Status) -> list[str]:
        """Names of the clips of one status, sorted."""
        return [
            name for (name,) in self._db.execute("SELECT name FROM clips WHERE status = ? ORDER BY name", (status,))
        ]

    def counts(self) -> dict[Status, int]:
        """Number of clips of each status."""
        counts: dict[Status, int] = dict.fromkeys(STATUSES, 0)
        counts.update(self._db.execute("SELECT status, count(*) FROM clips GROUP BY status").fetchall())
        return counts

    def totals(self) -> tuple[int, int]:
        """Frames and bytes of the finished clips."""
        query = "SELECT coalesce(sum(frames), 0), coalesce(sum(output_bytes), 0) FROM clips WHERE status = 'done'"
        frames, size = self._db.execute(query).fetchone()
        return int(frames), int(size)

    def problems(self) -> list[tuple[str, str]]:
        """Source files that are no clips, as (path, reason)."""
        return self._db.execute("SELECT path, reason FROM problems ORDER BY path").fetchall()
