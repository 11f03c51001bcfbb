"""One H.264 file a clip, ``clips/<name>.mp4``, with key frames often enough for random access."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from lps_sim.media import EncoderSettings, MediaError, VideoWriter, iter_frames
from lps_sim.media.colour import ToRgb

from .base import ClipReader, ClipWriter


class Mp4Writer(ClipWriter):
    """Writes ``clips/<name>.mp4``; ``codec`` holds the fields of :class:`lps_sim.media.EncoderSettings`.

    Odd sizes are written with full colour resolution, since half of it needs even ones.
    """

    @classmethod
    def suffix(cls) -> str:
        return ".mp4"

    @classmethod
    def output_path(cls, name: str) -> str:
        return f"clips/{name}.mp4"

    @classmethod
    def decode(cls, path: Path) -> Iterator[np.ndarray]:
        return iter_frames(path)

    def _open(self, path: Path) -> None:
        fields = {key: value for key, value in self.codec.items() if key != "clips_per_shard"}
        settings = EncoderSettings(**fields).fitting(self.width, self.height)
        # The clip is read back for its mean, and its frames are counted then.
        self._video = VideoWriter(path, self.width, self.height, self.fps, settings, verify=False)
        self._video.__enter__()

    def _append(self, frame: np.ndarray) -> None:
        self._video.write(frame)

    def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._video.__exit__(kind, error, trace)


class Mp4Reader(ClipReader):
    """Reads a clip from the key frame before each index asked for; only the frames asked for are converted."""

    writer: type[ClipWriter] = Mp4Writer

    def _read(self, name: str, indices: list[int]) -> Iterator[np.ndarray]:
        path = self.root / Mp4Writer.output_path(name)
        return video_frames(str(path), indices, int(self.dataset["codec"]["gop"]), path)


def video_frames(file: str | io.RawIOBase, indices: list[int], gop: int, place: str | Path) -> Iterator[np.ndarray]:
    """RGB frames of increasing indices out of a clip that :class:`Mp4Writer` wrote: its path, or the opened file.

    ``gop`` is the most frames from one key frame to the next. Raises MediaError naming ``place`` for a damaged file.
    """
    to_rgb = ToRgb()
    try:
        with av.open(file) as container:
            for frame in _frames_at(container, indices, gop):
                yield to_rgb(frame)
    except av.error.FFmpegError as error:
        raise MediaError(f"{place}: damaged: {error.strerror}") from error


def _frames_at(container: Any, indices: list[int], gop: int) -> Iterator[Any]:
    """Decoded frames of increasing indices; gaps of more than a group of pictures are jumped over.

    Frame i of a written clip is shown at i / fps, so its index follows from its time.
    """
    stream = container.streams.video[0]
    # Floats: fractions are slow, and a frame is many ticks long.
    ticks_per_frame = float(1 / (stream.average_rate * stream.time_base))
    decoded = container.decode(stream)
    position = -1  # index of the frame decoded last
    for index in indices:
        if index - position > gop:
            container.seek(round(index * ticks_per_frame), stream=stream)
            decoded = container.decode(stream)
        for frame in decoded:
            position = round(frame.pts / ticks_per_frame)
            if position == index:
                yield frame
                break
            if position > index:
                raise MediaError(f"{container.name}: no frame {index}; the next one is {position}")
