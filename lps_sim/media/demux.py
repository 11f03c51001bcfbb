"""Containers: opening a file's video stream and walking its frames with every kind of damage turned into an error.

What can be found: a file shorter than its container says, an incomplete packet, fewer frames than an AVI header counts,
decoder errors, and pictures that the decoder had to patch. What cannot: a few bytes altered inside a picture may
still decode to some picture, almost always in VP9 and HEVC and now and then in H.264 (no codec here has a checksum:
compare SHA-256 sums for that), and a transport stream does not say how long it should be.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from .colour import MediaError
from .structure import missing_bytes

# FFmpeg renders text as a terminal and follows playlists to other files; neither is a video file.
_NOT_VIDEO_FORMATS = {"tty", "hls", "concat", "dash"}
# The format whose header counts every stored frame and that has no edit list to leave some out.
_COUNTED_FORMAT = "avi"

MAX_SIDE_PX, MAX_PIXELS = 16384, 1 << 26
"""The largest picture that is read, a side and as a whole (8192x8192): 200 MB a frame as RGB. FFmpeg by itself would
allocate the 200,000 pixels a row that a header may claim."""


def existing(path: str | os.PathLike[str]) -> Path:
    """The path of a file that is there and not empty; FileNotFoundError or MediaError otherwise."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
    if not path.is_file():
        raise MediaError(f"{path}: not a file")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: not a video: the file is empty")
    return path


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its (first) video stream; cover pictures of sound files do not count as video.

    Raises MediaError for what is no video, for a truncated file, and for a picture above :data:`MAX_PIXELS`.
    """
    if missing := missing_bytes(path):
        raise MediaError(f"{path}: truncated: {missing} bytes are missing at its end")
    try:
        container = av.open(str(path), options={"protocol_whitelist": "file"})
    except av.error.FFmpegError as error:
        raise MediaError(f"{path}: not a video: {error.strerror}") from error
    with container:
        names = set(container.format.name.split(","))
        if names & _NOT_VIDEO_FORMATS:
            raise MediaError(f"{path}: not a video: a text file or playlist")
        if "image2" in names or container.format.name.endswith("_pipe"):
            raise MediaError(f"{path}: not a video: a still image")
        attached = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & attached]
        if not streams:
            holds = "only sound" if container.streams.audio else "no picture"
            raise MediaError(f"{path}: not a video: it holds {holds}")
        context = streams[0].codec_context
        if max(context.width, context.height) > MAX_SIDE_PX or context.width * context.height > MAX_PIXELS:
            raise MediaError(
                f"{path}: claims {context.width}x{context.height} pixels; at most {MAX_SIDE_PX} a side and "
                f"{MAX_PIXELS} in all are read"
            )
        # For a size that only the packets tell: the decoder then refuses it before it allocates.
        context.options = {"max_pixels": str(MAX_PIXELS)}
        yield container, streams[0]


class PacketTimes:
    """Number and presentation times of a stream's packets: enough to tell a variable frame rate."""

    def __init__(self, tick_s: Fraction | None) -> None:
        self._tick_s = tick_s or Fraction(1)
        self._ticks: list[int] = []
        self.packets = 0

    def add(self, packet: Any) -> None:
        """Note a packet of the video stream."""
        self.packets += 1
        tick = packet.pts if packet.pts is not None else packet.dts
        if tick is not None and not packet.is_discard:
            self._ticks.append(tick)

    def variable(self, fps: Fraction, reordered: int = 0) -> bool:
        """Whether steps differ by more than rounding to ticks (one either way) and a tenth of a frame explain.

        ``reordered``: how many of the last times to leave out, since packets come in decoding order and those shown
        between them may not have been read.
        """
        ticks = np.unique(self._ticks)
        steps = np.diff(ticks[: max(len(ticks) - reordered, 3)])
        if len(steps) < 2 or not fps:
            return False
        allowed = 2.0 + 0.1 / float(self._tick_s * fps)
        return bool(steps.max() - steps.min() > allowed)


def decoded(container: Any, stream: Any, path: Path, times: PacketTimes, whole: bool = True) -> Iterator[Any]:
    """Every frame (av.VideoFrame) of the stream in display order; not ``whole``: from where the container stands.

    Raises MediaError where FFmpeg reports or conceals damage, and at the end when the file is shorter than its header
    says.
    """
    frames = 0
    try:
        for packet in container.demux(stream):
            if packet.size:
                if packet.is_corrupt:
                    raise MediaError(f"{path}: truncated: packet {times.packets} is not complete")
                times.add(packet)
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise MediaError(f"{path}: damaged: frame {frames} could not be decoded without errors")
                frames += 1
                yield frame
    except av.error.FFmpegError as error:
        raise MediaError(f"{path}: damaged after {frames} frames: {error.strerror}") from error
    if frames == 0:
        raise MediaError(f"{path}: damaged: no frame can be decoded")
    if whole and container.format.name == _COUNTED_FORMAT and times.packets < stream.frames:
        raise MediaError(f"{path}: truncated: the header counts {stream.frames} frames, the file holds {times.packets}")
