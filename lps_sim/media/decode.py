"""Video in: any codec FFmpeg reads, as upright 8-bit RGB frames, one at a time; damage is an error."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..yuv import YuvFrame
from .colour import (
    HDR_TRANSFERS,
    MATRICES,
    RANGES,
    TRANSFERS,
    MediaError,
    ToPlanes,
    ToRgb,
    is_rgb,
    matrix_name,
    range_tag,
)
from .demux import PacketTimes, decoded, existing, open_video

# How many packets at the start tell a variable frame rate when the file is not read to its end, and how many of
# their times may still be incomplete (H.264 reorders at most 16 frames).
_RATE_PACKETS, _REORDERED = 120, 16
_THREAD_TYPES = ("FRAME", "NONE")


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds.

    ``width`` and ``height`` are those of the upright picture; ``frames`` is the header's number (0 where it has none)
    or, after ``probe(count=True)``, the number that were decoded; ``rotation_deg`` is the clockwise turn that was
    applied to make it upright (0, 90, 180, 270); ``color_matrix`` and ``color_range`` are what the conversion uses,
    and ``color_tagged`` tells whether the matrix stands in the file or was guessed by size; ``transfer`` is the
    tagged transfer curve or ``unknown``; ``pixel_aspect`` is 1 unless the pixels are not square (frames are not
    stretched).
    """

    path: Path
    width: int
    height: int
    frames: int
    fps: Fraction
    codec: str
    pixel_format: str
    color_range: str
    color_matrix: str
    rotation_deg: int
    variable_rate: bool
    duration_s: float
    container: str = ""
    transfer: str = "unknown"
    color_tagged: bool = False
    pixel_aspect: Fraction = Fraction(1)

    @property
    def hdr(self) -> bool:
        """Whether the code values follow an HDR curve (PQ, HLG). They are decoded as they are, without tone mapping."""
        return self.transfer in HDR_TRANSFERS

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        fields = asdict(self)
        return {**fields, "path": str(self.path), "fps": str(self.fps), "pixel_aspect": str(self.pixel_aspect)}


def probe(path: str | os.PathLike[str], count: bool = False) -> VideoInfo:
    """What a video file holds, from its header and first frame.

    Parameters
    ----------
    path
        Video file.
    count
        Decode every frame: ``frames`` is then exact, ``variable_rate`` is judged over the whole file, and damage
        anywhere is found.

    Raises
    ------
    FileNotFoundError
        No such file.
    MediaError
        Not a video (a text file, audio only, empty), or damaged.
    """
    path = existing(path)
    with open_video(path) as (container, stream):
        times = PacketTimes(stream.time_base)
        # Slice threads would hide decoder errors, so one thread judges.
        stream.codec_context.thread_count = 1
        frames = decoded(container, stream, path, times)
        info = _describe(path, container, stream, next(frames))
        if count:
            info = replace(info, frames=1 + sum(1 for _ in frames))
            return replace(info, variable_rate=times.variable(info.fps))
    return replace(info, variable_rate=_starts_variable(path, info.fps))


def iter_frames(path: str | os.PathLike[str], threads: int = 1, thread_type: str = "FRAME") -> Iterator[np.ndarray]:
    """The frames of a video one by one, upright, as (H, W, 3) uint8 RGB code values; memory stays at a few frames.

    :func:`iter_pictures` is faster where the frames go through film.

    Parameters
    ----------
    path
        Video file.
    threads
        Decoder threads; 0 takes every core. The default of 1 suits worker processes.
    thread_type
        ``FRAME`` (a frame of delay a thread) or ``NONE``. Slice threads are not offered: with them the H.264 and VP9
        decoders keep quiet about damage.

    Raises
    ------
    FileNotFoundError
        No such file (raised here, before the first frame is asked for).
    MediaError
        Not a video, damaged or truncated: raised where the damage is met, or at the end if frames are missing.
    """
    return _checked_frames(path, threads, thread_type, None, planes=False)


def iter_pictures(path: str | os.PathLike[str], threads: int = 1) -> Iterator[np.ndarray | YuvFrame]:
    """The frames as :func:`iter_frames`, but as the decoder's own planes where they are 8-bit 4:2:0 and upright.

    What :class:`lps_sim.Degrader` takes, frame by frame of either kind: the way through RGB costs more than decoding.
    Arguments and errors as in :func:`iter_frames`.
    """
    return _checked_frames(path, threads, "FRAME", None, planes=True)


def iter_timed_pictures(
    path: str | os.PathLike[str], threads: int = 1, index: int = 0, tick: int | None = None
) -> Iterator[tuple[int | None, np.ndarray | YuvFrame]]:
    """(tick, picture) of a video from frame ``index`` on, so that hours already read need not be decoded again.

    Parameters
    ----------
    path, threads
        As in :func:`iter_frames`.
    index
        First frame wanted, counted from 0.
    tick
        That frame's presentation time in ticks of the stream, as an earlier reading gave it (None where the file has
        no times). With it the reading starts at a key frame shortly before; without it, or where the file cannot be
        sought, everything before ``index`` is decoded and dropped.

    Raises
    ------
    As :func:`iter_frames`; MediaError also when frame ``index`` is not the one of ``tick``.
    """
    path = existing(path)
    if index < 0 or threads < 0:
        raise ValueError(f"index and threads must be 0 or more, got {index} and {threads}")
    return _timed_from(path, threads, index, tick)


def iter_timed_frames(path: str | os.PathLike[str], threads: int = 1) -> Iterator[tuple[float | None, np.ndarray]]:
    """(presentation time in seconds, frame) of a video, frames as of :func:`iter_frames`; None without times.

    Arguments and errors as in :func:`iter_frames`.
    """
    path = existing(path)
    if threads < 0:
        raise ValueError(f"threads must be 0 (all cores) or more, got {threads}")
    with open_video(path) as (_, stream):
        tick_s = stream.time_base
    frames = _timed_frames(path, threads, "FRAME", None, planes=False)
    return ((None if tick is None or tick_s is None else float(tick * tick_s), picture) for tick, picture in frames)


def _timed_from(path: Path, threads: int, index: int, tick: int | None) -> Iterator[tuple[int | None, Any]]:
    if index and tick is not None:
        sought = _timed_frames(path, threads, "FRAME", None, True, tick)
        first = _first_at(sought, tick)
        if first is not None:
            yield first
            yield from sought
            return
    for number, (time, picture) in enumerate(_timed_frames(path, threads, "FRAME", None, True)):
        if number == index and tick is not None and time != tick:
            raise MediaError(f"{path}: frame {index} must stand at tick {tick}, got {time}: another recording")
        if number >= index:
            yield time, picture


def _first_at(sought: Iterator[tuple[int | None, Any]], tick: int) -> tuple[int | None, Any] | None:
    """The frame of time ``tick``; None where seeking ended behind it or at frames that lack their reference."""
    try:
        for item in sought:
            if item[0] == tick:
                return item
            if item[0] is None or item[0] > tick:
                return None
    except MediaError:
        return None
    return None


def _checked_frames(
    path: str | os.PathLike[str], threads: int, thread_type: str, only: set[int] | None, planes: bool
) -> Iterator[Any]:
    path = existing(path)
    if threads < 0:
        raise ValueError(f"threads must be 0 (all cores) or more, got {threads}")
    if thread_type not in _THREAD_TYPES:
        raise ValueError(f"thread_type must be one of {', '.join(_THREAD_TYPES)}, got {thread_type!r}")
    return (picture for _, picture in _timed_frames(path, threads, thread_type, only, planes))


def read_video(path: str | os.PathLike[str], threads: int = 1) -> tuple[np.ndarray, VideoInfo]:
    """A whole (short) video: frames (T, H, W, 3) uint8 RGB and its description with the counted number of frames."""
    frames = np.stack(list(iter_frames(path, threads)))
    info = probe(path)
    return frames, replace(info, frames=len(frames))


def read_frames(path: str | os.PathLike[str], indices: Iterable[int], threads: int = 1) -> np.ndarray:
    """Chosen frames of a video, (K, H, W, 3) uint8 RGB, in the order asked for; repeats are allowed.

    Decodes from the start to the last index asked for and converts only those frames, so every index is exact
    whatever the key frames. Raises IndexError for an index that the video does not have.
    """
    wanted = [int(index) for index in indices]
    path = existing(path)
    if not wanted or min(wanted) < 0:
        raise IndexError(f"indices must be a non-empty list of numbers >= 0, got {wanted}")
    found = dict(zip(sorted(set(wanted)), _checked_frames(path, threads, "FRAME", set(wanted), planes=False)))
    missing = [index for index in wanted if index not in found]
    if missing:
        raise IndexError(f"{path}: no frame {missing[0]}")
    return np.stack([found[index] for index in wanted])


def _starts_variable(path: Path, fps: Fraction) -> bool:
    """Whether the first packets, read without decoding, come at uneven times."""
    with open_video(path) as (container, stream):
        times = PacketTimes(stream.time_base)
        try:
            for packet in itertools.islice(container.demux(stream), _RATE_PACKETS):
                if packet.size:
                    times.add(packet)
        except av.error.FFmpegError as error:
            raise MediaError(f"{path}: damaged: {error.strerror}") from error
    return times.variable(fps, _REORDERED if times.packets == _RATE_PACKETS else 0)


def _timed_frames(
    path: Path, threads: int, thread_type: str, only: set[int] | None, planes: bool, seek: int | None = None
) -> Iterator[tuple[int | None, Any]]:
    """(tick, upright RGB frame or planes); with ``only``, those indices alone, stopping after the last.

    With ``seek``, from the key frame at or before that tick.
    """
    last = max(only) if only else None
    with open_video(path) as (container, stream):
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = thread_type
        to_rgb = ToRgb(threads)
        to_planes = ToPlanes(to_rgb)
        shape: tuple[int, ...] | None = None
        orientation = turn_deg = None
        if seek is not None:
            container.seek(seek, stream=stream)
        times = PacketTimes(stream.time_base)
        for index, frame in enumerate(decoded(container, stream, path, times, whole=seek is None)):
            if only is None or index in only:
                # Asking for a frame's side data ties frame and data into a cycle that holds its picture until the
                # garbage collector comes by: once is enough as long as the rotation stays.
                if orientation is None or frame.rotation != turn_deg:
                    orientation, turn_deg = _orientation(frame, path), frame.rotation
                picture: Any = to_planes(frame) if planes and orientation == _UPRIGHT else None
                if picture is None:
                    picture = _upright(to_rgb(frame), orientation)
                if shape is not None and picture.shape != shape:
                    raise MediaError(
                        f"{path}: frame {index} changes size from {shape[1::-1]} to {picture.shape[1::-1]}"
                    )
                shape = picture.shape
                yield frame.pts, picture
            if index == last:
                return


def _describe(path: Path, container: Any, stream: Any, frame: Any) -> VideoInfo:
    swap, _, _ = orientation = _orientation(frame, path)
    width, height = (frame.height, frame.width) if swap else (frame.width, frame.height)
    pixel_format = frame.format.name
    fps = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(0)
    if stream.duration is not None and stream.time_base is not None:
        duration_s = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        duration_s = container.duration / av.time_base
    else:
        duration_s = float(stream.frames / fps) if fps else 0.0
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        frames=int(stream.frames),
        fps=Fraction(fps),
        codec=stream.codec_context.codec.canonical_name,
        pixel_format=pixel_format,
        color_range=RANGES[range_tag(int(frame.color_range), pixel_format)],
        color_matrix=matrix_name(int(frame.colorspace), pixel_format, frame.width, frame.height),
        rotation_deg=_ROTATIONS.get(orientation, 0),
        variable_rate=False,
        duration_s=duration_s,
        container=container.format.name,
        transfer=TRANSFERS.get(int(frame.color_trc), "unknown"),
        color_tagged=is_rgb(pixel_format) or MATRICES.get(int(frame.colorspace), "rgb") != "rgb",
        pixel_aspect=Fraction(stream.sample_aspect_ratio or 1),
    )


_UPRIGHT = (False, False, False)
# (transpose, flip x, flip y), applied in this order -> clockwise degrees; the mirrored ones are not rotations.
_ROTATIONS = {
    _UPRIGHT: 0,
    (True, True, False): 90,
    (False, True, True): 180,
    (True, False, True): 270,
}


def _orientation(frame: Any, path: Path) -> tuple[bool, bool, bool]:
    """What makes a stored frame upright, from its display matrix: (transpose, flip x, flip y).

    The matrix (ISO/IEC 14496-12, tkhd) sends a stored pixel (x, y) to (a x + c y, b x + d y), 16.16 fixed point.
    """
    matrix = next((data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return _UPRIGHT
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5] / 65536.0
    if abs(b) < 1e-3 and abs(c) < 1e-3 and a != 0 and d != 0:
        return False, bool(a < 0), bool(d < 0)
    if abs(a) < 1e-3 and abs(d) < 1e-3 and b != 0 and c != 0:
        return True, bool(c < 0), bool(b < 0)
    raise MediaError(f"{path}: the display matrix turns by an angle that is not a multiple of 90 degrees")


def _upright(rgb: np.ndarray, orientation: tuple[bool, bool, bool]) -> np.ndarray:
    transpose, flip_x, flip_y = orientation
    if not (transpose or flip_x or flip_y):
        return rgb
    turned = rgb.transpose(1, 0, 2) if transpose else rgb
    turned = turned[:, ::-1] if flip_x else turned
    return np.ascontiguousarray(turned[::-1] if flip_y else turned)
