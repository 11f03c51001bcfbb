"""One clip, pure: decoded frames in, degraded frames out, a few at a time. No files, clocks or shared random state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np

from lps_sim.yuv import YuvFrame

Picture = np.ndarray | YuvFrame
CHUNK_FRAMES = 2
"""Frames degraded at once: little enough to bound memory (a frame of 1080p is 6 MB out and 3 MB in)."""

Key = TypeVar("Key")


class FrameDegrader(Protocol):
    """What degrades frames: :class:`lps_sim.Degrader`. The result must not depend on how a clip is cut into chunks."""

    def degrade(self, frames: Sequence[Picture], first_frame: int = 0) -> np.ndarray:
        """T pictures -> (T, h, w, 3) uint8; ``first_frame`` is the index of the first of them in the clip."""
        ...


def degrade_stream(
    frames: Iterable[Picture], degraders: Mapping[Key, FrameDegrader], chunk_frames: int = CHUNK_FRAMES
) -> Iterator[dict[Key, np.ndarray]]:
    """Degrade one clip in several ways, decoding it once.

    Parameters
    ----------
    frames : decoded frames, (H, W, 3) uint8 or planes, in order
    degraders : one a result, by any key (the layer count)
    chunk_frames : frames degraded at once, 1 or more; does not change the result

    Yields
    ------
    key -> (K, h, w, 3) uint8, K <= chunk_frames, chunk after chunk to the clip's end
    """
    if chunk_frames < 1:
        raise ValueError(f"chunk_frames must be 1 or more, got {chunk_frames}")
    source = iter(frames)
    first = 0
    while chunk := list(islice(source, chunk_frames)):
        yield {key: degrader.degrade(chunk, first_frame=first) for key, degrader in degraders.items()}
        first += len(chunk)
