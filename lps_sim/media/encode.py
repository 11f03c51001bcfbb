"""Video out: fixed settings, colour tags in the stream, the same bytes for the same input, whole file or none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from ..errors import UnknownNameError
from ..files import atomic_path
from .colour import LIMITED, FromRgb, MediaError, matrix_name
from .decode import probe

_CODECS = ("libx264", "libx265", "libvpx-vp9", "mpeg4", "ffv1")
# Limited-range YUV only: swscale rounds colour correctly towards these, and half a code too low towards full range.
_PIXEL_FORMATS = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")
# FFmpeg's usual libvpx is built without 10 bits.
_FEWER_FORMATS = {"mpeg4": ("yuv420p",), "libvpx-vp9": ("yuv420p", "yuv422p", "yuv444p")}
_BT709 = 1  # H.273 code point of the BT.709 primaries, transfer and matrix alike
# mpeg4 counts its quantiser in these units when it is fixed by the "qscale" flag.
_QP_TO_LAMBDA = 118
_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm")


@dataclass(frozen=True)
class EncoderSettings:
    """How frames become a file. The defaults follow from the measurements in docs/codec.md.

    Parameters
    ----------
    codec
        ``libx264`` (default), ``libx265``, ``libvpx-vp9``, ``mpeg4`` (as NTU RGB+D's AVI files) or ``ffv1`` (lossless
        in YUV).
    crf
        Constant quality: 0..51 for x264 and x265, 0..63 for VP9; for mpeg4 the fixed quantiser 1..31; unused by ffv1.
    preset
        x264/x265 preset (speed against size). Unused by the others.
    pixel_format
        ``yuv420p`` (plays everywhere, even sizes only), ``yuv422p``, ``yuv444p`` (full colour resolution, any size),
        each also with 10 bits: ``yuv420p10le`` and so on (finer and smaller, but few browsers play it).
    gop
        Frames between key frames.
    threads
        Encoder threads. The bytes depend on this number, so it is a setting and not taken from the machine.
    tune
        x264/x265 tuning such as ``grain``, or empty.
    b_frames
        x264/x265: frames predicted from both sides between two others, at most; 0..16. They make the level pump where
        all that changes is noise.
    aq
        x264/x265: adaptive quantisation, which spends bits on smooth parts for the eye; behind film all is smooth.
    cabac
        x264: arithmetic instead of variable-length coding of the same picture: a tenth fewer bytes, and twice the time
        to decode, which every epoch of a training pays.
    """

    codec: str = "libx264"
    crf: int = 11
    preset: str = "superfast"
    pixel_format: str = "yuv420p10le"
    gop: int = 30
    threads: int = 1
    tune: str = "grain"
    b_frames: int = 0
    aq: bool = False
    cabac: bool = False

    def __post_init__(self) -> None:
        if self.codec not in _CODECS:
            raise UnknownNameError("codec", self.codec, _CODECS)
        low, high = {"libvpx-vp9": (0, 63), "mpeg4": (1, 31)}.get(self.codec, (0, 51))
        if not low <= self.crf <= high:
            raise ValueError(f"crf must be {low}..{high} for {self.codec}, got {self.crf}")
        if self.gop < 1:
            raise ValueError(f"gop must be >= 1, got {self.gop}")
        if self.threads < 1:
            raise ValueError(f"threads must be >= 1 (a fixed number keeps the bytes the same), got {self.threads}")
        if not 0 <= self.b_frames <= 16:
            raise ValueError(f"b_frames must be 0..16, got {self.b_frames}")
        if self.pixel_format not in _PIXEL_FORMATS:
            raise UnknownNameError("pixel_format", self.pixel_format, _PIXEL_FORMATS)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields, as written beside every data set."""
        return asdict(self)

    def fitting(self, width: int, height: int) -> EncoderSettings:
        """These settings, with full colour resolution where an odd size leaves no other choice."""
        if _is_multiple(width, height, self.pixel_format):
            return self
        return replace(self, pixel_format=self.pixel_format.replace("420", "444").replace("422", "444"))

    def options(self) -> dict[str, str]:
        """The encoder's options: quality, and what keeps its bytes from varying."""
        if self.codec == "mpeg4":
            return {"flags": "+qscale+bitexact", "global_quality": str(self.crf * _QP_TO_LAMBDA)}
        # swscale puts half-resolution colour in the middle of its 2x2 pixels; untagged, decoders expect it at the left,
        # half a pixel off.
        options = {"flags": "+bitexact", "chroma_sample_location": "center"}
        if self.codec == "ffv1":
            return {**options, "level": "3"}
        options["crf"] = str(self.crf)
        if self.codec == "libvpx-vp9":
            return {**options, "b": "0", "deadline": "good", "cpu-used": "4"}
        options["preset"] = self.preset
        if self.tune:
            options["tune"] = self.tune
        picked = f"bframes={self.b_frames}:aq-mode={int(self.aq)}"
        if self.codec == "libx264":
            # The macroblock tree reads memory that it never set: other bytes from run to run unless the width is a
            # multiple of 64.
            options["x264-params"] = f"mbtree=0:cabac={int(self.cabac)}:{picked}"
        else:
            options["x265-params"] = f"log-level=none:info=0:pools=none:frame-threads={self.threads}:{picked}"
        return options


class VideoWriter:
    """Writes RGB frames to a video file; used as a context manager.

    The file appears under its name only when the block ends without an exception and the frames have been counted by
    decoding it again; otherwise nothing is left and an older file stays.

    Parameters
    ----------
    path
        Output; the suffix chooses the container: .mp4, .mov, .mkv, .avi, .webm.
    width, height
        Size in pixels. Formats with half-resolution colour (yuv420p) need even numbers.
    fps
        Frames a second: int, float or Fraction.
    settings
        Codec, quality and pixel format.
    verify
        False leaves out the counting, for a caller that reads the file back itself.

    Raises
    ------
    ValueError
        For a size, rate or suffix that the settings cannot hold, or a frame of another shape or type.
    MediaError
        If the encoder refuses, or the written file does not hold every frame.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        width: int,
        height: int,
        fps: Fraction | float | int,
        settings: EncoderSettings | None = None,
        verify: bool = True,
    ) -> None:
        self.path, self.verify = Path(path), verify
        self.settings = settings or EncoderSettings()
        self.width, self.height = int(width), int(height)
        self.fps = _rate(fps)
        self.frames = 0
        if self.path.suffix.lower() not in _SUFFIXES:
            raise UnknownNameError("suffix of the video file", self.path.suffix, _SUFFIXES)
        _check_size(self.width, self.height, self.settings.pixel_format)
        formats = _FEWER_FORMATS.get(self.settings.codec, _PIXEL_FORMATS)
        if self.settings.pixel_format not in formats:
            rule = f"pixel_format must be one of {', '.join(formats)} for {self.settings.codec}"
            raise ValueError(f"{rule}, got {self.settings.pixel_format}")
        self._stack = contextlib.ExitStack()
        # MPEG-4 part 2 has no place for colour tags: it is written with the matrix that players will guess.
        tag = 2 if self.settings.codec == "mpeg4" else _BT709
        matrix = matrix_name(tag, self.settings.pixel_format, self.width, self.height)
        self._convert = FromRgb(self.settings.pixel_format, matrix)

    def __enter__(self) -> VideoWriter:
        with self._stack:
            self._temporary = self._stack.enter_context(atomic_path(self.path))
            self._open()
            self._stack = self._stack.pop_all()
        return self

    def _open(self) -> None:
        settings = self.settings
        try:
            self._container = av.open(str(self._temporary), "w", options={"fflags": "+bitexact"})
            stream = self._container.add_stream(settings.codec, rate=self.fps, options=settings.options())
            stream.width, stream.height = self.width, self.height
            stream.pix_fmt = settings.pixel_format
            context = stream.codec_context
            context.time_base = 1 / self.fps
            context.gop_size = settings.gop
            context.thread_count = settings.threads
            context.color_primaries = context.color_trc = context.colorspace = _BT709
            context.color_range = LIMITED
        except (av.error.FFmpegError, ValueError) as error:
            raise MediaError(f"{self.path}: {settings.codec} cannot write {settings.pixel_format}: {error}") from error
        self._stream = stream

    def write(self, frame: np.ndarray) -> None:
        """Append one (H, W, 3) uint8 RGB frame."""
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            expected = (self.height, self.width, 3)
            raise ValueError(f"frame must be uint8 of shape {expected}, got {frame.dtype} of shape {frame.shape}")
        picture = self._convert(np.ascontiguousarray(frame))
        picture.pts, picture.time_base = self.frames, 1 / self.fps
        self._mux(picture)
        self.frames += 1

    def _mux(self, picture: Any) -> None:
        try:
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        except av.error.FFmpegError as error:
            settings = self.settings
            raise MediaError(
                f"{self.path}: {settings.codec} cannot encode {self.width}x{self.height} {settings.pixel_format}: "
                f"{error.strerror}"
            ) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            with contextlib.suppress(av.error.FFmpegError):
                self._container.close()
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    def _finish(self) -> None:
        if self.frames == 0:
            with contextlib.suppress(av.error.FFmpegError):
                self._container.close()
            raise ValueError(f"{self.path}: a video needs at least one frame")
        self._mux(None)
        self._container.close()
        if not self.verify:
            return
        counted = probe(self._temporary, count=True).frames
        if counted != self.frames:
            raise MediaError(f"{self.path}: wrote {self.frames} frames, but {counted} can be read back")


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[np.ndarray],
    fps: Fraction | float | int,
    settings: EncoderSettings | None = None,
) -> int:
    """Write frames, an array (T, H, W, 3) or any iterable of (H, W, 3) uint8 RGB; returns their number.

    Atomic and verified as :class:`VideoWriter` says.
    """
    iterator = iter(frames)
    try:
        first = next(iterator)
    except StopIteration:
        raise ValueError(f"{path}: a video needs at least one frame") from None
    with VideoWriter(path, first.shape[1], first.shape[0], fps, settings) as writer:
        writer.write(first)
        for frame in iterator:
            writer.write(frame)
    return writer.frames


def _rate(fps: Fraction | float | int) -> Fraction:
    rate = Fraction(fps).limit_denominator(1001)
    if not 0 < rate <= 1000:
        raise ValueError(f"fps must be above 0 and at most 1000, got {fps}")
    return rate


def _check_size(width: int, height: int, pixel_format: str) -> None:
    if width < 1 or height < 1:
        raise ValueError(f"size must be at least 1x1, got {width}x{height}")
    if not _is_multiple(width, height, pixel_format):
        raise ValueError(
            f"size must be a multiple of {'x'.join(map(str, _steps(pixel_format)))} for pixel_format {pixel_format}, "
            f"got {width}x{height}; use an even size or pixel_format {pixel_format.replace('420', '444')}"
        )


def _steps(pixel_format: str) -> tuple[int, int]:
    """Pixels that share one colour sample: across, down."""
    return (1 if "444" in pixel_format else 2), (2 if "420" in pixel_format else 1)


def _is_multiple(width: int, height: int, pixel_format: str) -> bool:
    step_x, step_y = _steps(pixel_format)
    return width % step_x == 0 and height % step_y == 0
