"""What the rig asks of a camera: frames with their time, fixed settings, and a clear word when it is gone."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[Any]


class CameraLostError(RuntimeError):
    """The camera was unplugged, the stream ended, or no frame came in time."""


class CameraRefusedError(ValueError):
    """The camera cannot be opened, or does not do what was asked of it."""


@dataclass(frozen=True)
class CameraSettings:
    """Settings that are locked before a session; None leaves the camera's own value, but fixed.

    Parameters
    ----------
    width, height : frame size in pixels
    fps : frames a second
    exposure_s : exposure time in seconds
    gain : in the driver's own unit
    white_balance_k : colour temperature in kelvin
    focus : in the driver's own unit
    """

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    exposure_s: float | None = None
    gain: float | None = None
    white_balance_k: float | None = None
    focus: float | None = None


@dataclass(frozen=True)
class SettingFact:
    """One setting: what was asked for, what the camera says it has, and whether that is it."""

    name: str
    asked: float | None
    got: float | None
    honoured: bool
    note: str = ""


@dataclass(frozen=True)
class CameraFacts:
    """What is known of a camera.

    Parameters
    ----------
    name : device, address, folder or model
    backend : opencv, stream, files or simulated
    width, height : frame size in pixels
    fps : frames a second, None where unknown
    bits : of a code, 8..16
    eotf : transfer curve of its codes
    settings : read back from the driver
    simulated : True for frames that no lens has seen
    details : whatever else says what it is, JSON-ready; of a simulated camera its truth
    """

    name: str
    backend: str
    width: int
    height: int
    fps: float | None = None
    bits: int = 8
    eotf: str = "srgb"
    settings: tuple[SettingFact, ...] = ()
    simulated: bool = False
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class Frame:
    """One recorded frame.

    Parameters
    ----------
    codes : (H, W, 3) RGB, uint8 or uint16
    at_s : time of the exposure's start, or of arrival where the driver does not tell: ``time.monotonic()`` of a live
        camera, seconds from the first frame of a recording, virtual time of a simulated run
    number : running number by the camera's own count, from 0; a jump means lost frames
    """

    codes: Codes
    at_s: float
    number: int


def eight_bits(codes: Codes, bits: int) -> NDArray[np.uint8]:
    """Codes of 8 to 16 bits as uint8, the lower bits cut off; those of 8 as they are."""
    return codes if codes.dtype == np.uint8 else (codes >> (bits - 8)).astype(np.uint8)


class CameraSource(Protocol):
    """Anything that delivers frames. Opened by its constructor, closed by :meth:`close` or at the end of ``with``."""

    @property
    def facts(self) -> CameraFacts:
        """What is known of it now; settings as read back from the driver."""

    def set_exposure(self, exposure: float) -> float:
        """Set the relative, linear exposure (1: the session's base); returns the one that the camera took.

        Raises CameraRefusedError when it takes none, or another one without saying which.
        """

    def read(self, timeout_s: float = 2.0) -> Frame:
        """The next frame; raises CameraLostError when none comes."""

    def close(self) -> None:
        """Let go of the device; may be called twice."""

    def __enter__(self) -> CameraSource: ...

    def __exit__(self, *error: object) -> None: ...
