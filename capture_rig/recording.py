"""One run of a screen, filmed into one video file: whole or absent, with the time of every frame."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lps_sim.files import write_atomic
from lps_sim.media import EncoderSettings, VideoWriter

from .cameras.protocol import CameraLostError, CameraSource, eight_bits
from .screens import Playback, ScreenLostError

COMPLETE, STOPPED, DISK = "complete", "stopped", "disk nearly full"
CODEC = EncoderSettings(crf=14, pixel_format="yuv420p", tune="", gop=25)
_WATCH_FRAMES = 50  # between two looks at the disk
_LINGER_S = 0.5  # a camera's pictures come later than the screen's
_USUAL_FPS = 30.0


@dataclass(frozen=True)
class Recorded:
    """One segment on disk.

    Parameters
    ----------
    numbers, at_s : (R,) number and time of every frame, as the camera gave them
    ended : ``complete``, or why it ended before the run did
    """

    numbers: NDArray[np.int64]
    at_s: NDArray[np.float64]
    ended: str


def free_bytes(folder: str | os.PathLike[str]) -> int:
    """What the disk of a folder still takes."""
    return shutil.disk_usage(folder).free


def record_run(
    path: Path,
    camera: CameraSource,
    playback: Playback,
    reserve_bytes: int,
    stop: Callable[[], bool] = lambda: False,
    on_frame: Callable[[int], None] | None = None,
    free: Callable[[Path], int] = free_bytes,
) -> Recorded:
    """Film until the run is over, and keep what there is where it breaks off.

    Parameters
    ----------
    path : video file to write; its frames' numbers and times go to ``path`` with the ending ``.csv``
    playback : the run
    reserve_bytes : space that is left free on the disk
    stop : asked at every frame
    on_frame : called with the number of frames so far
    free : bytes that the disk of a folder still takes

    Raises
    ------
    CameraLostError
        no frame came at all
    OSError
        the disk did not take it; nothing is left of this run
    """
    numbers: list[int] = []
    times: list[float] = []
    first = camera.read()
    picture = eight_bits(first.codes, camera.facts.bits)
    height, width = picture.shape[:2]
    fps = camera.facts.fps or _USUAL_FPS
    left = round(_LINGER_S * fps)
    with VideoWriter(path, width, height, fps, CODEC.fitting(width, height), verify=False) as writer:
        frame, ended = first, COMPLETE
        while True:
            writer.write(eight_bits(frame.codes, camera.facts.bits))
            numbers.append(frame.number)
            times.append(frame.at_s)
            if on_frame is not None:
                on_frame(len(numbers))
            if len(numbers) % _WATCH_FRAMES == 0 and free(path.parent) < reserve_bytes:
                ended = DISK
                break
            if stop():
                ended = STOPPED
                break
            try:
                if playback.finished:
                    left -= 1
                if left < 0:
                    break
                frame = camera.read()
            except (CameraLostError, ScreenLostError) as error:
                ended = str(error)
                break
    recorded = Recorded(np.array(numbers, np.int64), np.array(times, np.float64), ended)
    rows = "".join(f"{number},{at_s!r}\n" for number, at_s in zip(numbers, times))
    write_atomic(path.with_suffix(".csv"), "number,at_s\n" + rows)
    return recorded


def read_times(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(numbers, at_s) of a segment's CSV file; ValueError naming a file that is none."""
    try:
        table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
        return table[:, 0].astype(np.int64), table[:, 1]
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: is not a list of frame numbers and times ({error})") from error


def camera_clock(numbers: NDArray[np.int64], at_s: NDArray[np.float64], fps: float | None) -> NDArray[np.float64]:
    """(R,) seconds by the camera's own clock: even steps of its frame period, with gaps where numbers are left out.

    The period is that of ``fps`` where the times agree with it within 1 %, else that of the times.
    """
    span = int(numbers[-1] - numbers[0])
    measured = (at_s[-1] - at_s[0]) / span if span else 0.0
    period = 1 / fps if fps and (measured <= 0 or abs(measured * fps - 1) < 0.01) else measured
    clock: NDArray[np.float64] = (numbers - numbers[0]) * (period or 1 / _USUAL_FPS)
    return clock
