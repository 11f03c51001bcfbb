"""How long a file says it is: a truncated MP4 or Matroska file is found out from its outermost boxes, undecoded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

_EBML_HEADER, _EBML_SEGMENT = 0x1A45DFA3, 0x18538067


def missing_bytes(path: Path) -> int:
    """How many bytes the file lacks by its own account; 0 where it is whole, or its format does not say.

    MP4/MOV (ISO/IEC 14496-12): the sizes of the top-level boxes. Matroska/WebM (RFC 8794): the size of the segment.
    """
    size = path.stat().st_size
    with open(path, "rb") as stream:
        head = stream.read(8)
        stream.seek(0)
        if head[4:8] == b"ftyp":
            return max(0, _boxes_end(stream, size) - size)
        if head[:4] == _EBML_HEADER.to_bytes(4, "big"):
            return max(0, _segment_end(stream, size) - size)
    return 0


def _boxes_end(stream: BinaryIO, size: int) -> int:
    position = 0
    while position + 8 <= size:
        stream.seek(position)
        header = stream.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1 and len(header) == 16:
            length = int.from_bytes(header[8:], "big")
        if length < 8:  # 0: to the end of the file; 2..7: not a box, left to the decoder
            return size
        position += length
    return position


def _segment_end(stream: BinaryIO, size: int) -> int:
    while stream.tell() < size:
        element = _vint(stream, keep_marker=True)
        length = _vint(stream, keep_marker=False)
        if element is None or length is None:
            return size
        if element == _EBML_SEGMENT:
            return stream.tell() + length
        stream.seek(length, os.SEEK_CUR)
    return size


def _vint(stream: BinaryIO, keep_marker: bool) -> int | None:
    """EBML variable-length number; None for "unknown size" (all ones, as live recordings have) or a bad one."""
    first = stream.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + stream.read(length - 1), "big")
    if keep_marker:
        return value
    value &= (1 << 7 * length) - 1
    return None if value == (1 << 7 * length) - 1 else value
