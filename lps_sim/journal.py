"""One file that is changed whole or not at all, for writers that overwrite their own bookkeeping, as HDF5 does.

A process that is killed while it adds to an HDF5 file leaves a file that may not open again: new data and the tables
that point to them reach the disk in any order. Here what lies behind the file's end goes there at once, where nothing
points yet; what would overwrite bytes in use is kept in memory, then written to a journal beside the file, flushed,
applied, flushed, and the journal removed (write-ahead logging, Mohan et al. 1992). Whoever opens the file next applies
a whole journal and drops a torn one.

    with changing("session.h5") as stream, h5py.File(stream, "r+") as file: ...

A file that is only read is opened by :func:`reading`, which looks at it through a journal that waits to be applied. A
reader holds a shared lock on the file, and a journal is applied under an exclusive one, so that no reader sees pages
change: it finds the file before a change or after it, while another process is writing. The change waits for readers.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .files import write_atomic

JOURNAL_SUFFIX = ".journal"
_MAGIC = b"LPSJ0001"
_PAGE = 4096


class PagedFile(io.RawIOBase):
    """A file whose pages in use are overwritten in memory alone, until :meth:`commit`.

    Parameters
    ----------
    path : existing file
    writable : whether anything may be changed
    """

    def __init__(self, path: str | os.PathLike[str], writable: bool) -> None:
        self._path, self._writable = Path(path), writable
        self._file = open(path, "r+b" if writable else "rb", buffering=0)  # noqa: SIM115 (closed by close)
        if not writable:
            fcntl.flock(self._file, fcntl.LOCK_SH)
        self._kept = self._size = os.fstat(self._file.fileno()).st_size
        self._place = 0
        self._pages: dict[int, bytearray] = {}
        self._failure: OSError | None = None
        self._unwritten: list[tuple[int, bytes]] = []
        for number, page in _waiting(self._path):
            self._pages[number] = bytearray(page)

    def readable(self) -> bool:
        """True."""
        return True

    def writable(self) -> bool:
        """As opened."""
        return self._writable

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Place of the next read or write."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any stream."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = base + offset
        return self._place

    def truncate(self, size: int | None = None) -> int:
        """Shorten or lengthen; what is cut off lies behind what was kept, so nothing in use is lost."""
        self._size = self._place if size is None else size
        if self._size > self._kept and self._failure is None:
            try:
                self._file.truncate(self._size)
            except OSError as error:
                self._failure = error
        return self._size

    def readinto(self, buffer: Any) -> int:
        """Bytes as they will be."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._place))
        self._file.seek(self._place)
        done = 0
        while done < count:
            part = self._file.readinto(view[done:count])
            if not part:
                view[done:count] = bytes(count - done)  # lengthened, never written
                break
            done += part
        for number, page, start, end in self._touched(self._place, count):
            first = number * _PAGE
            view[start - self._place : end - self._place] = page[start - first : end - first]
        for first, data in self._unwritten:
            start, end = max(self._place, first), min(self._place + count, first + len(data))
            if start < end:
                view[start - self._place : end - self._place] = data[start - first : end - first]
        self._place += count
        return count

    def write(self, data: Any) -> int:
        """Behind the kept end at once, before it into pages in memory.

        A full disk is told by :meth:`commit`: HDF5 does not survive a write that fails, so what did not fit is kept in
        memory until then.
        """
        view = memoryview(data).cast("B")
        inside = max(0, min(len(view), self._kept - self._place))
        done = 0
        while done < inside:
            number, offset = divmod(self._place + done, _PAGE)
            page = self._pages.get(number)
            if page is None:
                page = self._pages[number] = self._stored_page(number)
            part = min(_PAGE - offset, inside - done, len(page) - offset)
            page[offset : offset + part] = view[done : done + part]
            done += part
        try:
            self._file.seek(self._place + done)
            while done < len(view) and self._failure is None:
                done += self._file.write(view[done:]) or 0
        except OSError as error:
            self._failure = error
        if done < len(view):
            self._unwritten.append((self._place + done, bytes(view[done:])))
        self._place += len(view)
        self._size = max(self._size, self._place)
        return len(view)

    def commit(self) -> None:
        """Make every change last, all of them or none; OSError when the disk does not take them."""
        try:
            if self._failure is not None:
                raise self._failure
            os.fsync(self._file.fileno())
            if self._pages:
                pages = b"".join(struct.pack("<QI", n, len(page)) + page for n, page in sorted(self._pages.items()))
                write_atomic(_journal(self._path), _MAGIC + hashlib.sha256(pages).digest() + pages)
        except OSError:
            self.rollback()
            raise
        # From here on the change has happened, whatever becomes of this process.
        pages_in_use, self._pages, self._kept = self._pages, {}, self._size
        if pages_in_use:
            _apply(self._file, self._path, pages_in_use.items())

    def rollback(self) -> None:
        """Forget every change since the last commit."""
        self._pages, self._unwritten, self._failure = {}, [], None
        if self._writable:
            self._file.truncate(self._kept)
        self._size = self._kept

    def close(self) -> None:
        """Let go of the file; what was not committed is not in it."""
        if not self.closed:
            self._file.close()
        super().close()

    def _stored_page(self, number: int) -> bytearray:
        page = bytearray(min(_PAGE, self._kept - number * _PAGE))
        self._file.seek(number * _PAGE)
        self._file.readinto(page)
        return page

    def _touched(self, place: int, count: int) -> Iterator[tuple[int, bytearray, int, int]]:
        """Pages in memory that a range meets: number, page, and the first and last byte of the file in common."""
        if not self._pages or not count:
            return
        for number in range(place // _PAGE, (place + count - 1) // _PAGE + 1):
            page = self._pages.get(number)
            if page is not None:
                first = number * _PAGE
                start, end = max(place, first), min(place + count, first + len(page))
                if start < end:
                    yield number, page, start, end


@contextlib.contextmanager
def changing(path: str | os.PathLike[str]) -> Iterator[PagedFile]:
    """A stream for changes that all last when the block ends, and none of them when it raises or the process dies.

    One process at a time may change a file.
    """
    recover(path)
    with PagedFile(path, writable=True) as stream:
        try:
            yield stream
        except BaseException:
            stream.rollback()
            raise
        stream.commit()


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[PagedFile]:
    """A stream to read from: the file as its last whole change left it."""
    with PagedFile(path, writable=False) as stream:
        yield stream


def recover(path: str | os.PathLike[str]) -> bool:
    """Apply a journal that a killed process left, or drop a torn one; returns whether there was a whole one."""
    pages = list(_waiting(Path(path)))
    if pages:
        with open(path, "r+b", buffering=0) as file:
            _apply(file, Path(path), pages)
    _journal(Path(path)).unlink(missing_ok=True)
    return bool(pages)


def _apply(file: Any, path: Path, pages: Iterable[tuple[int, bytes | bytearray]]) -> None:
    """Copy the pages of a whole journal into their file while nobody reads it, then remove the journal."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        for number, page in pages:
            file.seek(number * _PAGE)
            file.write(page)
        os.fsync(file.fileno())
        _journal(path).unlink()
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _journal(path: Path) -> Path:
    return path.with_name(path.name + JOURNAL_SUFFIX)


def _waiting(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of the pages of a whole journal; none of a torn one."""
    try:
        content = _journal(path).read_bytes()
    except FileNotFoundError:
        return
    head = len(_MAGIC)
    if content[:head] != _MAGIC or hashlib.sha256(content[head + 32 :]).digest() != content[head : head + 32]:
        return
    place = head + 32
    while place < len(content):
        number, count = struct.unpack_from("<QI", content, place)
        place += 12
        yield number, content[place : place + count]
        place += count
