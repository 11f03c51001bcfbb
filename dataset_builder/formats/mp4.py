"""One H.264 file a clip, ``clips/<name>.mp4``, with key frames often enough for random access."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from lps_sim.media import EncoderSettings, MediaError, VideoWriter, iter_frames
from lps_sim.media.colour import ToRgb

from .base import ClipReader, ClipWriter


@dataclass(frozen=True)
class ReproducibleSettings(EncoderSettings):
    """Encoder settings without x264's macroblock tree, which reads memory that it never set.

    Measured: unless the width is a multiple of 64, the same frames come out as other bytes from run to run (with
    glibc's MALLOC_PERTURB_ at 5 values, 5 different files at 224x224; without the tree always one). At the same CRF
    the file is larger, and nearer to the original.
    """

    x264_params: str = "mbtree=0"

    def options(self) -> dict[str, str]:
        """The encoder's options."""
        options = super().options()
        return {**options, "x264-params": self.x264_params} if self.codec == "libx264" else options


class Mp4Writer(ClipWriter):
    """Writes ``clips/<name>.mp4``; ``codec`` holds the fields of :class:`ReproducibleSettings`."""

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
        settings = ReproducibleSettings(**self.codec)
        self._video = VideoWriter(path, self.width, self.height, self.fps, settings)
        self._video.__enter__()

    def _append(self, frame: np.ndarray) -> None:
        self._video.write(frame)

    def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._video.__exit__(kind, error, trace)


class Mp4Reader(ClipReader):
    """Reads a clip from the key frame before each index asked for; only the frames asked for are converted."""

    def _read(self, name: str, indices: list[int]) -> Iterator[np.ndarray]:
        path = self.root / Mp4Writer.output_path(name)
        gop = int(self.dataset["codec"]["gop"])
        to_rgb = ToRgb()
        try:
            with av.open(str(path)) as container:
                for frame in _frames_at(container, indices, gop):
                    yield to_rgb(frame)
        except av.error.FFmpegError as error:
            raise MediaError(f"{path}: damaged: {error.strerror}") from error


def _frames_at(container: Any, indices: list[int], gop: int) -> Iterator[Any]:
    """Decoded frames of increasing indices; gaps of more than a group of pictures are jumped over.

    Frame i of a written clip is shown at i / fps, so its index follows from its time.
    """
    stream = container.streams.video[0]
    ticks_per_frame = 1 / (stream.average_rate * stream.time_base)
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
