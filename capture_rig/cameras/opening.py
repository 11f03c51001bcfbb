"""Which camera a text means, and which cameras this machine has."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .protocol import CameraRefusedError, CameraSettings, CameraSource

if TYPE_CHECKING:
    from .simulated import View

STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https", "udp", "tcp", "srt", "rtmp", "rtmps")
SIMULATED = "simulated:"
ACCEPTED = (
    "a number or /dev/videoN for a camera of this machine, rtsp://... or http://... for a stream, a folder of "
    "pictures, a video file, or simulated:FILM"
)
_SIMULATED_SIZE, _SIMULATED_FOV_DEG = (640, 360), 70.0
_DEVICES = "/sys/class/video4linux"


@dataclass(frozen=True)
class ListedCamera:
    """A camera of this machine.

    Parameters
    ----------
    device : what :func:`open_camera` takes
    name : by the driver
    index : of the device's several nodes; pictures usually come from 0, the others carry metadata
    readable : whether this user may open it
    """

    device: str
    name: str
    index: int
    readable: bool

    def to_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return asdict(self)


def open_camera(
    text: str,
    settings: CameraSettings | None = None,
    view: View | None = None,
    allow_ignored: bool = False,
    kept: int = 1,
) -> CameraSource:
    """The camera that a text means, opened, its settings locked.

    Parameters
    ----------
    text : ``0``, ``/dev/video0``, ``rtsp://...``, ``http://...``, a folder, a video file, or ``simulated:FILM`` (a
        preset or film file; ``simulated:`` alone has no film)
    settings : to lock
    view : what a simulated camera sees, see :class:`capture_rig.cameras.simulated.SimulatedCamera`
    allow_ignored : whether a camera that ignores its exposure is taken
    kept : frames that wait for a live camera's reader; 1 for shots, more for recordings that must lose none

    Raises
    ------
    CameraRefusedError
        naming what is accepted, or why it cannot be opened
    MediaError
        a file that is no video or picture
    """
    scheme, mark, _ = text.partition("://")
    if text.isdecimal() or text.startswith("/dev/"):
        from .opencv import OpenCVCamera

        return OpenCVCamera(int(text) if text.isdecimal() else text, settings, allow_ignored, kept)
    if mark and scheme.lower() in STREAM_SCHEMES:
        from .stream import StreamCamera

        return StreamCamera(text, settings, kept)
    if text.startswith(SIMULATED):
        return _simulated(text[len(SIMULATED) :], settings or CameraSettings(), view)
    path = Path(text)
    if text and path.is_dir():
        from .files import FolderCamera

        return FolderCamera(path, settings)
    if path.is_file():
        from .files import VideoCamera

        return VideoCamera(path, settings)
    raise CameraRefusedError(f"no camera {text!r}; a camera is {ACCEPTED}")


def list_cameras(devices: str | os.PathLike[str] = _DEVICES) -> tuple[ListedCamera, ...]:
    """The V4L2 cameras of this machine, by number; empty where there are none, or no V4L2."""
    folder = Path(devices)
    if not folder.is_dir():
        return ()
    listed = []
    for entry in folder.iterdir():
        number = entry.name.removeprefix("video")
        if entry.name.startswith("video") and number.isdecimal():
            device = f"/dev/{entry.name}"
            name, index = _line(entry / "name") or entry.name, _line(entry / "index") or "0"
            camera = ListedCamera(device, name, int(index), os.access(device, os.R_OK | os.W_OK))
            listed.append((int(number), camera))
    return tuple(camera for _, camera in sorted(listed, key=lambda one: one[0]))


def _line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _simulated(film: str, settings: CameraSettings, view: View | None) -> CameraSource:
    if view is None:
        raise CameraRefusedError(
            f"{SIMULATED}{film} needs a screen to look at; it works where the rig shows one itself"
        )
    from lps_sim import Camera, FilmModel

    from .simulated import SimulatedCamera

    width, height = settings.width or _SIMULATED_SIZE[0], settings.height or _SIMULATED_SIZE[1]
    camera = Camera.from_field_of_view(width, height, _SIMULATED_FOV_DEG)
    model = FilmModel.load(film) if film else None
    return SimulatedCamera(view, camera, model, fps=settings.fps or 25.0, settings=settings)
