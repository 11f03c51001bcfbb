"""Cameras at this machine, through OpenCV: everything automatic switched off, every setting read back.

A driver's word is all that is read back. One that says yes and does nothing is found by the calibration gate, which
looks at the pictures.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .counting import FrameCounter
from .newest import NewestFrames
from .protocol import CameraFacts, CameraLostError, CameraRefusedError, CameraSettings, Frame, SettingFact

_FIRST_FRAME_S = 10.0  # some cameras take seconds to start
_FAILURES, _PAUSE_S = 5, 0.05  # reads that may fail one after the other: a driver now and then has no frame yet
_ANSWER_S = 5.0  # of the thread that reads, which may be waiting for a frame
_SETTLING_FRAMES = 3  # on their way already when the exposure changes (USB video cameras)
_TOLERANCE = 0.05  # relative: drivers round to their own steps
_V4L2_UNIT_S = 1e-4  # of exposure_time_absolute
_OLD_S = 2.0  # a driver's time further from now is of another clock


class Capture(Protocol):
    """What is used of cv2.VideoCapture."""

    def isOpened(self) -> bool: ...
    def grab(self) -> bool: ...
    def retrieve(self) -> tuple[bool, Any]: ...
    def get(self, prop: int) -> float: ...
    def set(self, prop: int, value: float) -> bool: ...
    def getBackendName(self) -> str: ...
    def release(self) -> None: ...


@dataclass(frozen=True)
class _Units:
    """A backend's values: of automatic exposure off, and of an exposure time there and back."""

    manual: float
    to_driver: Callable[[float], float]
    to_seconds: Callable[[float], float]


_V4L2 = _Units(1.0, lambda s: max(1.0, round(s / _V4L2_UNIT_S)), lambda value: value * _V4L2_UNIT_S)
# Windows counts exposure in powers of two of a second.
_WINDOWS = _Units(0.0, lambda s: float(round(math.log2(s))), lambda value: 2.0**value)
_UNITS = {"V4L2": _V4L2, "DSHOW": _WINDOWS, "MSMF": _WINDOWS}


class OpenCVCamera:
    """A camera that OpenCV opens.

    Parameters
    ----------
    device : index or path, such as 0 or /dev/video0
    settings : locked before the first frame; what is None keeps its value, but its automatic is switched off
    allow_ignored : True takes a camera that ignores the exposure asked for; it cannot bracket
    kept : frames that wait for :meth:`read`; 1 always gives the newest
    capture : an opened cv2.VideoCapture or its like, in place of opening ``device``

    Frames carry the driver's time where it is this machine's monotonic clock (V4L2), else that of their arrival. Their
    numbers jump where the driver's times leave a gap, and where :meth:`read` came too late.

    Raises
    ------
    CameraRefusedError
        no such device, no permission, no frame, or an exposure that is ignored
    """

    def __init__(
        self,
        device: int | str,
        settings: CameraSettings | None = None,
        allow_ignored: bool = False,
        kept: int = 1,
        capture: Capture | None = None,
    ) -> None:
        self._name = f"/dev/video{device}" if isinstance(device, int) and Path("/dev").is_dir() else str(device)
        settings = settings or CameraSettings()
        self._capture = capture if capture is not None else _opened(device, self._name)
        self._lost_reads = self._settling = 0
        self._exposure_ignored = self._closed = False
        try:
            self._backend = self._capture.getBackendName()
            self._units = _UNITS.get(self._backend)
            self._settings = {fact.name: fact for fact in self._lock(settings)}
            exposure = self._settings["exposure_s"]
            if exposure.asked is not None and self._exposure_ignored and not allow_ignored:
                raise CameraRefusedError(
                    f"{self._name}: the exposure of {exposure.asked:g} s is ignored ({exposure.note}); such a camera "
                    "cannot bracket. Use another camera, or allow ignored settings and take every shot at one exposure"
                )
            self._base_s = exposure.got
            fps = self._read_back("fps")
            self._counter = FrameCounter(1 / fps if fps else None)
            self._frames = NewestFrames(self._grab, self._name, kept)
        except ValueError:
            self._capture.release()
            raise
        try:
            first = self._frames.read(_FIRST_FRAME_S)
        except CameraLostError as error:
            self.close()
            raise CameraRefusedError(f"{self._name}: opened, but {error}") from error
        self._height, self._width = first.codes.shape[:2]

    @property
    def facts(self) -> CameraFacts:
        """Settings as the driver says them."""
        return CameraFacts(
            name=self._name,
            backend="opencv",
            width=self._width,
            height=self._height,
            fps=self._settings["fps"].got,
            settings=tuple(self._settings.values()),
            details={"opencv_backend": self._backend},
        )

    @property
    def ignored(self) -> tuple[SettingFact, ...]:
        """What was asked for and is not so."""
        return tuple(fact for fact in self._settings.values() if fact.asked is not None and not fact.honoured)

    def set_exposure(self, exposure: float) -> float:
        """Set ``exposure`` times the locked exposure time; returns the ratio that the driver took, in its own steps.

        Raises CameraRefusedError when the driver does not follow, or does not say what it took.
        """
        if not (math.isfinite(exposure) and exposure > 0):
            raise CameraRefusedError(f"exposure must be above 0, got {exposure:g}")
        if exposure == 1 and self._base_s is None:
            return 1.0
        if self._base_s is None:
            raise CameraRefusedError(
                f"{self._name}: does not tell its exposure, so it cannot be set {exposure:g} times"
            )
        asked_s = exposure * self._base_s
        fact = self._frames.between(lambda: self._exposure(asked_s), _ANSWER_S)
        self._settings["exposure_s"] = fact
        if fact.got is None or self._exposure_ignored:
            raise CameraRefusedError(f"{self._name}: the exposure of {fact.asked:g} s is ignored ({fact.note})")
        return fact.got / self._base_s

    def read(self, timeout_s: float = 2.0) -> Frame:
        """The newest frame not read yet; raises CameraLostError when none comes."""
        return self._frames.read(timeout_s)

    def close(self) -> None:
        """Let go of the device; may be called twice."""
        if not self._closed:
            self._closed = True
            # A thread that hangs in the driver still uses the device; the process's end lets go of it.
            if self._frames.stop():
                self._capture.release()

    def __enter__(self) -> OpenCVCamera:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # Settings.

    def _lock(self, asked: CameraSettings) -> list[SettingFact]:
        """Set and read back, in the order that drivers need: size and rate decide which exposures there are."""
        self._set("buffersize", 1)
        return [
            self._locked("width", asked.width),
            self._locked("height", asked.height),
            self._locked("fps", asked.fps),
            self._switched_off("auto_exposure", self._units.manual if self._units else 0.0),
            self._exposure(asked.exposure_s),
            self._locked("gain", asked.gain),
            self._switched_off("auto_white_balance", 0.0),
            self._locked("white_balance_k", asked.white_balance_k),
            self._switched_off("auto_focus", 0.0),
            self._locked("focus", asked.focus),
        ]

    def _locked(self, name: str, asked: float | None) -> SettingFact:
        taken = asked is None or self._set(name, asked)
        got = self._read_back(name)
        if asked is None:
            return SettingFact(name, None, got, True, "" if got is not None else "not told by the driver")
        honoured = got is not None and abs(got - asked) <= _TOLERANCE * abs(asked)
        if name in ("width", "height"):
            honoured = got == asked
        return SettingFact(name, asked, got, honoured, "" if honoured else _why(taken, got))

    def _switched_off(self, name: str, off: float) -> SettingFact:
        taken = self._set(name, off)
        got = self._value(name)
        if not taken:
            return SettingFact(name, None, got, False, "the driver has no such switch, or does not let go of it")
        honoured = got is not None and abs(got - off) < 1e-6
        return SettingFact(name, None, got, honoured, "" if honoured else "still on by the driver's word")

    def _exposure(self, asked_s: float | None) -> SettingFact:
        name = "exposure_s"
        before = self._read_back(name)
        if asked_s is None:
            return SettingFact(name, None, before, True, "" if before is not None else "not told by the driver")
        self._exposure_ignored = True
        if self._units is None:
            return SettingFact(name, asked_s, None, False, f"the unit of {self._backend} is not known")
        self._settling = _SETTLING_FRAMES
        taken = self._set(name, self._units.to_driver(asked_s))
        got = self._read_back(name)
        if got is None:
            return SettingFact(name, asked_s, None, False, _why(taken, got))
        nearest = abs(self._units.to_driver(got) - self._units.to_driver(asked_s)) < 0.5
        honoured = nearest or abs(got - asked_s) <= _TOLERANCE * asked_s
        # A driver that stops at the end of its range has moved, and says where to.
        moved = taken and (before is None or abs(got - before) > 1e-3 * before)
        self._exposure_ignored = not (honoured or moved)
        note = "" if honoured else f"took {got:g} s instead" if moved else _why(taken, got)
        return SettingFact(name, asked_s, got, honoured, note)

    def _read_back(self, name: str) -> float | None:
        value = self._value(name)
        if value is None or name != "exposure_s":
            return value
        return self._units.to_seconds(value) if self._units else None

    def _value(self, name: str) -> float | None:
        """The driver's own number; OpenCV says -1 or 0 for a property that there is not."""
        value = float(self._capture.get(_property(name)))
        signed = name == "exposure_s" and self._units is _WINDOWS
        zero_is_a_value = name in ("auto_exposure", "auto_white_balance", "auto_focus", "gain", "focus")
        known = math.isfinite(value) and (signed or value > 0 or (value == 0 and zero_is_a_value))
        return value if known else None

    def _set(self, name: str, value: float) -> bool:
        return bool(self._capture.set(_property(name), float(value)))

    # Frames.

    def _grab(self) -> Frame | None:
        import cv2

        done = self._capture.grab()
        arrived_s = time.monotonic()
        done, picture = self._capture.retrieve() if done else (False, None)
        if not done or picture is None:
            self._lost_reads += 1
            if self._lost_reads >= _FAILURES:
                raise CameraLostError(
                    f"{self._name}: delivers no frames any more; unplugged, or taken by another program?"
                )
            time.sleep(_PAUSE_S)
            return None
        self._lost_reads = 0
        if self._settling:
            self._settling -= 1
            return None
        driver_s = float(self._capture.get(_property("time_ms"))) / 1000
        at_s = driver_s if self._backend == "V4L2" and 0 <= arrived_s - driver_s < _OLD_S else arrived_s
        codes = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB)
        return Frame(np.ascontiguousarray(codes), at_s, self._counter.count(driver_s if driver_s > 0 else None))


def _property(name: str) -> int:
    """OpenCV's number of a property."""
    import cv2

    numbers = {
        "width": cv2.CAP_PROP_FRAME_WIDTH,
        "height": cv2.CAP_PROP_FRAME_HEIGHT,
        "fps": cv2.CAP_PROP_FPS,
        "auto_exposure": cv2.CAP_PROP_AUTO_EXPOSURE,
        "exposure_s": cv2.CAP_PROP_EXPOSURE,
        "gain": cv2.CAP_PROP_GAIN,
        "auto_white_balance": cv2.CAP_PROP_AUTO_WB,
        "white_balance_k": cv2.CAP_PROP_WB_TEMPERATURE,
        "auto_focus": cv2.CAP_PROP_AUTOFOCUS,
        "focus": cv2.CAP_PROP_FOCUS,
        "buffersize": cv2.CAP_PROP_BUFFERSIZE,
        "time_ms": cv2.CAP_PROP_POS_MSEC,
    }
    return int(numbers[name])


def _why(taken: bool, got: float | None) -> str:
    if not taken:
        return "refused by the driver" + ("" if got is None else f", which has {got:g}")
    return "not told by the driver" if got is None else f"the driver said yes and has {got:g}"


def _opened(device: int | str, name: str) -> Capture:
    import cv2

    path = Path(name)
    if name.startswith("/dev/"):
        if not path.exists():
            raise CameraRefusedError(f"{name}: no such device; `lps rig cameras` lists those there are")
        try:
            path.open("rb").close()
        except PermissionError as error:
            raise CameraRefusedError(
                f"{name}: no permission; add your user to the group video and log in again"
            ) from error
        except OSError as error:
            raise CameraRefusedError(f"{name}: {error.strerror}") from error
    capture: Capture = cv2.VideoCapture(device, cv2.CAP_V4L2 if name.startswith("/dev/") else cv2.CAP_ANY)
    if not capture.isOpened():
        capture.release()
        raise CameraRefusedError(f"{name}: OpenCV cannot open it; is another program using it?")
    return capture
