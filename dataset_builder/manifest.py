"""The manifest: one SQLite row a clip, written by the driver process alone, read by anyone at any time (WAL).

A clip is ``pending``, ``done`` (then its source hash, seed, frames and output hash stand in the row) or ``failed``
(error and number of attempts). What all clips share (film, camera, codec) stands once, in ``dataset.json``.

Where clips end in shards, each belongs to a block from the start: the number of its shard. Its files are parts until no
clip of the block is pending; then the block is sealed and the clip's output is the shard.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from lps_sim.errors import UnknownNameError

PARTS, SHARDS = "parts", "shards"
"""Folders of finished clips whose shard is not complete, and of the shards."""

Status = Literal["pending", "done", "failed"]
STATUSES: tuple[Status, ...] = ("pending", "done", "failed")


@dataclass(frozen=True)
class StoredClip:
    """What a format's writer put on disk. Paths are relative to the data set's directory.

    ``output_sha256`` is the file's; for single frames it is the SHA-256 of the frames' binary digests in order. It and
    ``output_bytes`` are the clip's own, in a shard as outside.
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
class StoredShard:
    """A file of many clips; ``output`` is relative to the data set's directory, ``block`` its number."""

    block: int
    output: str
    sha256: str
    bytes: int
    clips: int
    frames: int


@dataclass(frozen=True)
class ClipRow:
    """One row. Fields of the output are empty or 0 until the clip is done; ``seed`` is that of the clip's noise.

    ``output`` and ``mean`` of a clip in a shard are both the shard's path; ``block`` is -1 where there are no shards.
    """

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
    block: int = -1
    source_bytes: int = 0

    @property
    def sealed(self) -> bool:
        """Whether the clip stands in its shard."""
        return self.status == "done" and self.output.startswith(f"{SHARDS}/")


# What a manifest of an earlier version takes on for the columns that it lacks; the first two were always there.
_DEFAULTS = {field.name: field.default for field in fields(ClipRow) if field.default is not MISSING}


def _literal(value: object) -> str:
    return str(value) if isinstance(value, int) else f"'{value}'"


def _definition(name: str) -> str:
    if name not in _DEFAULTS:
        return f"{name} TEXT NOT NULL"
    kind = "INTEGER" if isinstance(_DEFAULTS[name], int) else "TEXT"
    return f"{name} {kind} NOT NULL DEFAULT {_literal(_DEFAULTS[name])}"


_GONE = "no longer in the source"
_COLUMNS = [field.name for field in fields(ClipRow)]
_TABLES = f"""
CREATE TABLE IF NOT EXISTS clips (
    {", ".join(map(_definition, _COLUMNS))},
    PRIMARY KEY (name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shards (
    block INTEGER PRIMARY KEY, output TEXT NOT NULL, sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL, clips INTEGER NOT NULL, frames INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS problems (path TEXT NOT NULL, reason TEXT NOT NULL);
"""
_INDICES = """
CREATE INDEX IF NOT EXISTS clips_by_status ON clips (status);
CREATE INDEX IF NOT EXISTS clips_by_block ON clips (block, status);
"""
# Blocks that hold a finished clip outside its shard, and none that is still to be made.
_READY = f"""
SELECT DISTINCT block FROM clips AS part
WHERE block >= 0 AND status = 'done' AND output GLOB '{PARTS}/*'
    AND NOT EXISTS (SELECT 1 FROM clips WHERE block = part.block AND status = 'pending')
"""


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
            present = _columns_of(self._db)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path}: not a manifest ({error})") from error
        # A manifest of an earlier version that may only be read stays as it is.
        columns = [name if name in present else f"{_literal(_DEFAULTS[name])} AS {name}" for name in _COLUMNS]
        self._select = f"SELECT {', '.join(columns)} FROM clips"

    def _open(self, writable: bool) -> sqlite3.Connection:
        if writable:
            db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(_TABLES)
            for name in sorted(set(_COLUMNS) - _columns_of(db)):
                db.execute(f"ALTER TABLE clips ADD COLUMN {_definition(name)}")
            db.executescript(_INDICES)
            return db
        # A data set on read-only storage cannot hold WAL's side files; there nobody writes, and it reads as it is.
        for mode in ("mode=ro", "immutable=1"):
            db = sqlite3.connect(f"{self.path.resolve().as_uri()}?{mode}", uri=True, timeout=30)
            try:
                db.execute("SELECT 1 FROM clips LIMIT 1").fetchone()
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
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled it back already
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            # A full or read-only disk, like everywhere else: what was recorded stays.
            raise OSError(f"{self.path}: cannot be written ({error})") from error

    # -- writing --------------------------------------------------------------------------------------------------
    def add(self, rows: Iterable[ClipRow], clips_per_shard: int | None = None) -> None:
        """Add clips that are not there yet; of those there and not done, bring the source up to date.

        A finished clip whose source has another size than it was made from is pending again, as is one whose source
        had gone.

        With ``clips_per_shard`` the clips that have no block yet get one, that many each in the order of their names,
        after the largest block there. So a clip's shard does not depend on who makes it and when.
        """
        names, holes = ", ".join(_COLUMNS), ", ".join("?" for _ in _COLUMNS)
        with self._transaction():
            self._db.executemany(
                f"INSERT INTO clips ({names}) VALUES ({holes}) ON CONFLICT (name) DO UPDATE "
                "SET source = excluded.source, label = excluded.label, source_bytes = excluded.source_bytes, "
                f"status = CASE WHEN status = 'done' OR error = '{_GONE}' THEN 'pending' ELSE status END "
                "WHERE status <> 'done' "
                "OR (source_bytes > 0 AND excluded.source_bytes > 0 AND source_bytes <> excluded.source_bytes)",
                map(attrgetter(*_COLUMNS), rows),
            )
            if clips_per_shard is not None:
                self._assign_blocks(clips_per_shard)

    def _assign_blocks(self, clips_per_shard: int) -> None:
        if clips_per_shard < 1:
            raise ValueError(f"clips_per_shard must be 1 or more, got {clips_per_shard}")
        (first,) = self._db.execute("SELECT coalesce(max(block), -1) + 1 FROM clips").fetchone()
        names = self._db.execute("SELECT name FROM clips WHERE block = -1 ORDER BY name").fetchall()
        self._db.executemany(
            "UPDATE clips SET block = ? WHERE name = ?",
            ((first + position // clips_per_shard, name) for position, (name,) in enumerate(names)),
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

    def record_shard(self, stored: StoredShard, names: Iterable[str]) -> None:
        """A shard that is whole, hashed and on disk under its name, and the clips that it holds."""
        values = asdict(stored)
        # The parts go next: a power cut must not leave rows that point at them.
        self._db.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            self._db.execute(f"INSERT OR REPLACE INTO shards VALUES ({', '.join(f':{key}' for key in values)})", values)
            self._db.executemany(
                "UPDATE clips SET output = ?, mean = ? WHERE name = ?",
                ((stored.output, stored.output, name) for name in names),
            )
        self._db.execute("PRAGMA synchronous = NORMAL")

    def take(self, rows: Iterable[ClipRow]) -> None:
        """Add whole rows of another manifest, in place of any of the same name."""
        holes = ", ".join(f":{name}" for name in _COLUMNS)
        with self._transaction():
            self._db.executemany(
                f"INSERT OR REPLACE INTO clips ({', '.join(_COLUMNS)}) VALUES ({holes})", map(asdict, rows)
            )

    def retry(self, names: Iterable[str]) -> None:
        """Failed clips are pending again."""
        with self._transaction():
            self._db.executemany(
                "UPDATE clips SET status = 'pending' WHERE name = ? AND status = 'failed'", ((name,) for name in names)
            )

    def record_gone(self, names: Iterable[str]) -> None:
        """Pending clips whose source is not there any more: they fail, so that their shard need not wait for them."""
        with self._transaction():
            self._db.executemany(
                "UPDATE clips SET status = 'failed', error = ? WHERE name = ? AND status = 'pending'",
                ((_GONE, name) for name in names),
            )

    def record_problems(self, problems: Iterable[tuple[str, str]]) -> None:
        """Replace the list of source files that are no clips, as (path, reason)."""
        with self._transaction():
            self._db.execute("DELETE FROM problems")
            self._db.executemany("INSERT INTO problems VALUES (?, ?)", problems)

    def copy_to(self, path: Path) -> None:
        """Write the manifest's present state to another file, without WAL's side files."""
        with contextlib.closing(sqlite3.connect(path)) as copy:
            self._db.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")

    # -- reading --------------------------------------------------------------------------------------------------
    def rows(self, status: Status | None = None) -> Iterator[ClipRow]:
        """Rows in the order of their names, one at a time."""
        where, values = ("", ()) if status is None else ("WHERE status = ?", (status,))
        for row in self._db.execute(f"{self._select} {where} ORDER BY name", values):
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
        found = self._db.execute(f"{self._select} WHERE name = ?", (name,)).fetchone()
        return ClipRow(*found) if found else None

    def names(self, status: Status) -> list[str]:
        """Names of the clips of one status, sorted."""
        return [
            name for (name,) in self._db.execute("SELECT name FROM clips WHERE status = ? ORDER BY name", (status,))
        ]

    def block_of(self, name: str) -> int:
        """The block of a clip; -1 where it has none or is not there."""
        found = self._db.execute("SELECT block FROM clips WHERE name = ?", (name,)).fetchone()
        return int(found[0]) if found else -1

    def block_rows(self, block: int) -> list[ClipRow]:
        """The finished clips of a block in the order of their names, in its shard or not."""
        query = f"{self._select} WHERE block = ? AND status = 'done' ORDER BY name"
        return [ClipRow(*row) for row in self._db.execute(query, (block,))]

    def blocks_to_seal(self, among: Iterable[int] | None = None) -> list[int]:
        """Blocks, of all or of some, without a pending clip and with finished ones outside their shard."""
        if among is None:
            return [block for (block,) in self._db.execute(f"{_READY} ORDER BY block")]
        query = f"{_READY} AND block = ?"
        return [block for block in sorted(set(among)) if self._db.execute(query, (block,)).fetchone()]

    def shards(self) -> list[StoredShard]:
        """The shards, in the order of their numbers."""
        held = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'shards'").fetchone()
        rows = self._db.execute("SELECT * FROM shards ORDER BY block") if held else ()
        return [StoredShard(*row) for row in rows]

    def failures(self) -> Iterator[tuple[str, str]]:
        """Name and error of the clips that failed, sorted by name."""
        yield from self._db.execute("SELECT name, error FROM clips WHERE status = 'failed' ORDER BY name").fetchall()

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


def _columns_of(db: sqlite3.Connection) -> set[str]:
    return {name for _, name, *_ in db.execute("PRAGMA table_info(clips)")}
