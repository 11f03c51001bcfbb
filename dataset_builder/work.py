"""What a worker is asked to do: make a clip, or seal the shard of clips that are made. One function does either."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .clip import ClipResult, ClipSettings, ClipTask, describe, is_fatal, process_clip
from .formats.shards import DamagedClipError
from .manifest import ClipRow, StoredShard
from .seal import seal_block


@dataclass(frozen=True)
class SealTask:
    """A block whose clips are all made; ``rows`` are the finished ones, in the order of their names."""

    layers: int
    root: Path
    block: int
    rows: tuple[ClipRow, ...]

    @property
    def name(self) -> str:
        """For a display."""
        return f"shard {self.block}"

    @property
    def source_bytes(self) -> int:
        """Bytes to copy."""
        return sum(row.output_bytes for row in self.rows)


@dataclass(frozen=True)
class SealResult:
    """The shard; or the finished clip that is not what its row says any more; or neither, where sealing failed."""

    stored: StoredShard | None = None
    damaged: DamagedClipError | None = None
    error: str = ""
    fatal: bool = False


Task = ClipTask | SealTask
Result = ClipResult | SealResult


def work(settings: ClipSettings, task: Task) -> Result:
    """Do one task; never raises for a bad clip."""
    if isinstance(task, ClipTask):
        return process_clip(settings, task)
    try:
        return SealResult(seal_block(task.root, task.block, task.rows))
    except DamagedClipError as error:
        return SealResult(damaged=error)
    except Exception as error:  # the border of a worker: the parts stay, and the driver seals them at the end
        return SealResult(error=describe(error), fatal=is_fatal(error))
