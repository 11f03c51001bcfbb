"""Files that are either whole or absent, and the hashes that prove what they are."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def sha256_file(path: str | os.PathLike[str], block_bytes: int = 1 << 20) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(block_bytes):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside ``path``; on a clean exit its bytes are flushed to disk and renamed to ``path``.

    On an exception nothing is left behind and an older ``path`` stays as it was. The temporary name starts with
    ``.`` and keeps the suffix, since encoders choose their container by it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part{target.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def clear_unfinished(folder: str | os.PathLike[str]) -> None:
    """Remove what killed processes left of :func:`atomic_path` in a folder. Nobody may be writing into it."""
    for leftover in Path(folder).glob(".*.part*"):
        leftover.unlink()


def write_atomic(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Write text (UTF-8) or bytes to ``path`` so that a reader sees the old file or the new one, never a part."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def held_lock(path: str | os.PathLike[str], busy: str) -> Iterator[None]:
    """Hold a lock file. The system frees it when the process ends, however it ends.

    Raises ValueError with ``busy``, in which ``{}`` stands for the holder's process number, when another one holds it.
    """
    import fcntl

    lock = Path(path)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "a+", encoding="ascii") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            raise ValueError(busy.format(stream.read().strip() or "unknown")) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
