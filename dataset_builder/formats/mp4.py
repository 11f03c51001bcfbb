"""One H.264 file a clip, ``clips/<name>.mp4``, with key frames often enough for random access."""

from __future__ import annotations

import io
import itertools
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
    """Reads a clip's groups of pictures as far as they hold indices asked for; only those frames are converted."""

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
    """Decoded frames of increasing indices, each group of pictures up to the last one that is wanted of it.

    Frame i of a written clip is shown at i / fps, so its index follows from its time, before it is decoded. Groups are
    closed: the decoder needs nothing of a group that is left out or cut short.
    """
    stream = container.streams.video[0]
    decoder = stream.codec_context
    decoder.thread_count = 1  # reading processes share the cores; a thread a core would be started for every clip
    # Floats: fractions are slow, and a frame is many ticks long.
    ticks_per_frame = float(1 / (stream.average_rate * stream.time_base))
    if indices[0] > gop:
        container.seek(round(indices[0] * ticks_per_frame), stream=stream)
    left = list(reversed(indices))
    for frame in itertools.chain.from_iterable(
        decoder.decode(packet) for packet in _needed(container, stream, set(indices), ticks_per_frame)
    ):
        index = round(frame.pts / ticks_per_frame)
        if left and index == left[-1]:
            left.pop()
            yield frame
    if left:
        raise MediaError(f"{container.name}: no frame {left[-1]}")


def _needed(container: Any, stream: Any, wanted: set[int], ticks_per_frame: float) -> Iterator[Any]:
    """The packets that decode the wanted frames, in order; then None, for what the decoder still holds."""
    last = max(wanted)
    group: list[Any] = []
    # The file's own list: a packet also calls itself a key frame when its picture is coded alone inside a group.
    starts = {entry.timestamp for entry in stream.index_entries if entry.is_keyframe}

    def cut(group: list[Any]) -> list[Any]:
        places = [place for place, (index, _) in enumerate(group) if index in wanted]
        return [packet for _, packet in group[: places[-1] + 1]] if places else []

    for packet in container.demux(stream):
        if packet.pts is None:
            continue  # the end of the file
        index = round(packet.pts / ticks_per_frame)
        if packet.dts in starts:
            yield from cut(group)
            group = []
            if index > last:
                break
        group.append((index, packet))
    yield from cut(group)
    yield None
