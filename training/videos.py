"""Plain videos as clips: those of an index, or any files, seen through a film where one is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dataset_builder.index import Index
from lps_sim.errors import suggestion
from lps_sim.media import iter_frames, iter_pictures, probe, read_frames

FrameDegrader = Callable[[list, int], np.ndarray]
"""Pictures and the first one's index in the clip -> (K, h, w, 3) uint8, as :meth:`lps_sim.Degrader.degrade`."""


class VideoClips:
    """A clip reader over video files.

    Frames are found by decoding from the start, and frame counts and means by decoding all; both are remembered.

    Parameters
    ----------
    paths : clip name -> file
    frames : clip name -> number of frames, as far as known
    through : (width, height) of a video -> what degrades its frames; None leaves them clean
    """

    layers = 0

    def __init__(
        self,
        paths: Mapping[str, Path],
        frames: Mapping[str, int] | None = None,
        through: Callable[[int, int], FrameDegrader] | None = None,
    ) -> None:
        self.paths, self.through = dict(paths), through
        self._counts = dict(frames or {})
        self._means: dict[str, np.ndarray] = {}

    @classmethod
    def of_index(cls, path: str | os.PathLike[str]) -> VideoClips:
        """The videos of an index file of ``lps data index``.

        Raises ValueError when it is none, or its videos lie behind a URL.
        """
        index = Index.load(path)
        if not isinstance(index.root, Path):
            raise ValueError(f"{path}: training reads videos on this machine, these are at {index.root}")
        paths = {entry.name: index.root / entry.path for entry in index.entries}
        return cls(paths, {entry.name: entry.frames for entry in index.entries})

    def names(self) -> list[str]:
        """Names of all clips."""
        return list(self.paths)

    def absent(self, names: Iterable[str]) -> list[str]:
        """Those of the clips whose files are missing."""
        return [name for name in names if not self._path(name).is_file()]

    def frame_count(self, name: str) -> int:
        """Frames of a clip."""
        if name not in self._counts:
            self._measure(name)
        return self._counts[name]

    def mean(self, name: str) -> np.ndarray:
        """(H, W, 3) float32 mean of all frames in code values."""
        if name not in self._means:
            self._measure(name)
        return self._means[name]

    def read(self, name: str, indices: Sequence[int]) -> np.ndarray:
        """(K, H, W, 3) uint8 frames at the given indices."""
        path = self._path(name)
        if self.through is None:
            return read_frames(path, indices)
        wanted = {int(index) for index in indices}
        found = dict(self._degraded(path, wanted))
        return np.stack([found[int(index)] for index in indices])

    def _measure(self, name: str) -> None:
        path = self._path(name)
        frames = iter_frames(path) if self.through is None else (frame for _, frame in self._degraded(path, None))
        total, count = np.float64(0), 0
        for frame in frames:
            total, count = total + frame, count + 1
        self._counts[name], self._means[name] = count, np.asarray(total / count, dtype=np.float32)

    def _degraded(self, path: Path, wanted: set[int] | None) -> Iterator[tuple[int, np.ndarray]]:
        """Frames behind the film with their indices; all, or those wanted."""
        if self.through is None:
            raise ValueError(f"{path}: no film is in front of this video")
        info = probe(path)
        degrade = self.through(info.width, info.height)
        for index, picture in enumerate(iter_pictures(path)):
            if wanted is None or index in wanted:
                yield index, degrade([picture], index)[0]
            if wanted is not None and index >= max(wanted):
                return

    def _path(self, name: str) -> Path:
        if name not in self.paths:
            raise ValueError(f"name: {name!r} is not one of the videos; {suggestion(name, list(self.paths)[:8])}")
        return self.paths[name]
