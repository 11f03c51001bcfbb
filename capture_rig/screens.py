"""The showing side of the rig: a screen that says when a picture is really on it.

A screen shows one picture and waits for its confirmation (:meth:`Screen.show`), or plays pictures at a rate
(:meth:`Screen.play`). :class:`VirtualScreen` is a screen in memory, for simulated captures: what it shows at a time is
asked for, not waited for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]


class ScreenLostError(RuntimeError):
    """The display page is gone or does not answer; nothing that was recorded is touched by it."""


@dataclass(frozen=True)
class ScreenFacts:
    """What is known of a screen.

    Parameters
    ----------
    width_px, height_px : pixels that pictures are shown on, one to one
    name : of the program or device
    device_pixel_ratio : screen pixels a page pixel, as measured; 1 where there is no page
    refresh_hz : measured refresh rate; None where it is unknown
    full_screen : whether nothing else is on the screen
    eotf : transfer curve that its codes are made for
    simulated : True for a screen in memory
    """

    width_px: int
    height_px: int
    name: str
    device_pixel_ratio: float = 1.0
    refresh_hz: float | None = None
    full_screen: bool = True
    eotf: str = "srgb"
    simulated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class Shown:
    """Confirmation that a picture is on the screen.

    Parameters
    ----------
    number : running number of the picture, from 0
    at_s : ``time.monotonic()`` of this machine when the confirmation came
    missed_refreshes : refreshes of the screen that came and went while the picture should have been there already
    """

    number: int
    at_s: float
    missed_refreshes: int = 0


class Playback(Protocol):
    """A run of pictures that a screen is playing."""

    @property
    def finished(self) -> bool:
        """True once the last picture has been shown for its time; ScreenLostError when the run was broken off."""

    def stop(self) -> None:
        """End it now; the screen goes dark."""

    def report(self) -> dict[str, Any]:
        """JSON-ready: pictures shown, refreshes missed, and the numbers of pictures that came late."""


class Screen(Protocol):
    """Anything that shows pictures pixel for pixel."""

    @property
    def facts(self) -> ScreenFacts:
        """What is known of it now."""

    def show(self, codes: Codes, label: str = "") -> Shown:
        """Show one picture, (H, W) or (H, W, 3) uint8 screen codes of the screen's own size; returns when it is there.

        Raises ValueError for another size or type, ScreenLostError when no confirmation comes.
        """

    def play(self, pictures: Iterable[Codes], fps: float) -> Playback:
        """Start to play pictures at ``fps`` a second; raises as :meth:`show`."""


class VirtualScreen:
    """A screen in memory. Its time is virtual while it plays: :meth:`at` says what is on it at ``time_s`` of the run.

    Parameters
    ----------
    width_px, height_px : size
    eotf : transfer curve that its codes are made for
    """

    def __init__(self, width_px: int, height_px: int, eotf: str = "srgb") -> None:
        self._facts = ScreenFacts(width_px, height_px, "virtual screen", eotf=eotf, simulated=True)
        self._number = -1
        self._picture: Codes = np.zeros((height_px, width_px, 3), np.uint8)
        self._run: _VirtualPlayback | None = None

    @property
    def facts(self) -> ScreenFacts:
        """Its size and curve."""
        return self._facts

    def show(self, codes: Codes, label: str = "") -> Shown:
        """Show one picture at once; raises ValueError for another size or type."""
        self._run = None
        self._picture = check_picture(codes, self._facts)
        self._number += 1
        return Shown(self._number, time.monotonic())

    def play(self, pictures: Iterable[Codes], fps: float) -> Playback:
        """Lay pictures on the virtual time line from 0 on; they are drawn as :meth:`at` comes to them."""
        if not fps > 0:
            raise ValueError(f"fps must be above 0, got {fps:g}")
        self._run = _VirtualPlayback(iter(pictures), fps, self._facts)
        return self._run

    def at(self, time_s: float) -> Codes:
        """(H, W, 3) uint8: what is on the screen at a time of the run, which never goes back; else the last picture."""
        if self._run is not None:
            self._picture = self._run.at(time_s)
        return self._picture


class _VirtualPlayback:
    def __init__(self, pictures: Iterator[Codes], fps: float, facts: ScreenFacts) -> None:
        self._pictures, self._fps, self._facts = pictures, fps, facts
        self._shown, self._finished = -1, False
        self._picture = np.zeros((facts.height_px, facts.width_px, 3), np.uint8)

    @property
    def finished(self) -> bool:
        return self._finished

    def stop(self) -> None:
        self._finished = True
        self._picture = np.zeros_like(self._picture)

    def report(self) -> dict[str, Any]:
        return {"shown": self._shown + 1, "missed_refreshes": 0, "late": []}

    def at(self, time_s: float) -> Codes:
        while self._shown < math.floor(time_s * self._fps) and not self._finished:
            picture = next(self._pictures, None)
            if picture is None:
                self.stop()
            else:
                self._picture = check_picture(picture, self._facts)
                self._shown += 1
        return self._picture


def check_picture(codes: Codes, facts: ScreenFacts) -> Codes:
    """The picture as (H, W, 3) uint8; raises ValueError when it is not the screen's size or type."""
    array = np.asarray(codes)
    size = (facts.height_px, facts.width_px)
    if array.dtype != np.uint8 or array.shape not in (size, (*size, 3)):
        raise ValueError(
            f"a picture for this screen must be uint8 {size} or {(*size, 3)}, got {array.dtype} {array.shape}"
        )
    return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array
