"""Network cameras and phones: RTSP, HTTP (MJPEG) and whatever else FFmpeg opens, through PyAV."""

from __future__ import annotations

import time
from typing import Any

from .counting import FrameCounter, as_recorded
from .newest import NewestFrames
from .protocol import CameraFacts, CameraLostError, CameraRefusedError, CameraSettings, Frame

OPEN_TIMEOUT_S = 8.0
READ_TIMEOUT_S = 5.0
# FFmpeg makes up the times of these, one a frame at an assumed rate: they cannot tell a loss.
_UNTIMED_FORMATS = {"mpjpeg", "mjpeg"}
_LOW_LATENCY = {"fflags": "nobuffer", "flags": "low_delay", "rtsp_transport": "tcp"}


class StreamCamera:
    """A live stream. Who lost it opens it again: there is no reconnection behind the reader's back.

    Parameters
    ----------
    url : rtsp://, http://, udp://, ...
    settings : what it should be like; a stream cannot be set from here
    kept : frames that wait for :meth:`read`; more make the oldest drop, with a gap in the numbers. 1 always gives the
        newest; a recorder that must not lose frames takes more
    open_timeout_s, read_timeout_s : how long the other side may keep silent
    options : of FFmpeg, over those for low latency

    Frames carry ``time.monotonic()`` of their arrival. Their numbers jump where the stream's own times leave a gap;
    MJPEG has no times, so that its losses cannot be seen.

    Raises CameraRefusedError when it cannot be opened, with FFmpeg's reason.
    """

    def __init__(
        self,
        url: str,
        settings: CameraSettings | None = None,
        kept: int = 1,
        open_timeout_s: float = OPEN_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        options: dict[str, str] | None = None,
    ) -> None:
        import av

        from lps_sim.media.colour import ToRgb

        self._name = _without_password(url)
        self._errors = av.error.FFmpegError
        try:
            self._container = av.open(
                url, options={**_LOW_LATENCY, **(options or {})}, timeout=(open_timeout_s, read_timeout_s)
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise CameraRefusedError(f"{self._name}: cannot be opened: {_reason(error)}") from error
        self._to_rgb = ToRgb()
        self._open = True
        try:
            if not self._container.streams.video:
                raise CameraRefusedError(f"{self._name}: has no picture")
            self._stream = self._container.streams.video[0]
            self._decoded = self._container.decode(self._stream)
            rate = self._stream.average_rate or self._stream.guessed_rate
            fps = float(rate) if rate else None
            self._timed = self._container.format.name not in _UNTIMED_FORMATS
            self._counter = FrameCounter(1 / fps if fps and self._timed else None)
            first = self._grab()
        except CameraLostError as error:
            self._container.close()
            raise CameraRefusedError(str(error)) from error
        except CameraRefusedError:
            self._container.close()
            raise
        height, width = first.codes.shape[:2]
        self.facts = CameraFacts(
            name=self._name,
            backend="stream",
            width=width,
            height=height,
            fps=fps if self._timed else None,
            settings=as_recorded(
                settings or CameraSettings(), width=width, height=height, fps=fps if self._timed else None
            ),
            details={
                "format": self._container.format.name,
                "codec": self._stream.codec_context.codec.canonical_name,
                "numbers": "gaps in the stream's times" if self._timed else "frames as they arrive",
            },
        )
        self._frames = NewestFrames(self._grab, self._name, kept)

    def set_exposure(self, exposure: float) -> float:
        """Takes 1, the exposure that it has; raises CameraRefusedError for any other."""
        if exposure != 1:
            raise CameraRefusedError(f"{self._name}: a stream's exposure cannot be set from here; set it at the camera")
        return 1.0

    def read(self, timeout_s: float = 2.0) -> Frame:
        """The next frame that is kept; raises CameraLostError with the reason when none comes."""
        return self._frames.read(timeout_s)

    def close(self) -> None:
        """Leave the stream; may be called twice."""
        if self._open:
            self._open = False
            # FFmpeg must not lose its container while the thread is within it: the read timeout ends that.
            if self._frames.stop(READ_TIMEOUT_S + 1):
                self._container.close()

    def __enter__(self) -> StreamCamera:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _grab(self) -> Frame:
        try:
            picture: Any = next(self._decoded, None)
        except self._errors as error:
            raise CameraLostError(f"{self._name}: the stream broke off: {_reason(error)}") from error
        if picture is None:
            raise CameraLostError(f"{self._name}: the stream has ended")
        arrived_s = time.monotonic()
        return Frame(self._to_rgb(picture), arrived_s, self._counter.count(picture.time if self._timed else None))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _without_password(url: str) -> str:
    """The address without user and password, which must not get into files and messages."""
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"
