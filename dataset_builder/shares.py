"""The shares of an index that the jobs of a job array make, each by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .index import Index, IndexEntry


@dataclass(frozen=True)
class Share:
    """One of ``count`` equal shares of an index, for a job array: number ``number``, 0..count - 1.

    A share is made of whole blocks, so that no two jobs have a hand in one shard.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Share:
        """``I/N`` with I from 0 to N - 1; N stands for 0, so that counting from 1 to N serves as well.

        Raises ValueError with the rule.
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and int(count) >= 1 and int(number) <= int(count)):
            raise ValueError(f"shard must be I/N with N of 1 or more and I of 0..N, got {text!r}")
        return cls(int(number) % int(count), int(count))

    def of(self, entries: Iterable[IndexEntry], block_clips: int) -> Iterator[tuple[int, IndexEntry]]:
        """The entries of this share, each with its block: ``block_clips`` entries a block, dealt out in turn."""
        for rank, entry in enumerate(entries):
            block = rank // block_clips
            if block % self.count == self.number:
                yield block, entry

    def facts(self, index: Index) -> dict[str, str]:
        """What all runs of a job have in common: its share, and the names that were shared out."""
        names = hashlib.sha256("\n".join(index.names()).encode()).hexdigest()
        return {"share": str(self), "names_sha256": names}
