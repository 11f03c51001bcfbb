"""The display page as a screen: the door to :class:`.link.DisplayLink` for threads other than the server's."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

from ..screens import Codes, ScreenFacts, ScreenLostError, Shown
from .link import DisplayLink
from .playback import BrowserPlayback

Result = TypeVar("Result")

_GRACE_S = 5.0


class BrowserScreen:
    """A :class:`capture_rig.screens.Screen` on a page of a browser. May be used from any thread but the server's own.

    Parameters
    ----------
    link : the server's side of the page
    loop : the server's event loop
    timeout_s : longest wait for a confirmation
    """

    def __init__(self, link: DisplayLink, loop: asyncio.AbstractEventLoop, timeout_s: float) -> None:
        self._link, self._loop, self._timeout_s = link, loop, timeout_s

    @property
    def facts(self) -> ScreenFacts:
        """What is known of it now; ScreenLostError while no page is open and no size was fixed."""
        return self._link.facts

    @property
    def status(self) -> dict[str, Any]:
        """JSON-ready: whether a page is connected, what it says of itself, whether it is one to one, and notices."""
        return self._link.status()

    def wait(self, timeout_s: float = 60.0) -> ScreenFacts:
        """Wait until a display page is open; raises ScreenLostError when none comes."""
        return self._call(self._link.wait(timeout_s), timeout_s)

    def show(self, codes: Codes, label: str = "") -> Shown:
        """Show one picture, (H, W) or (H, W, 3) uint8; returns after the page's confirmation.

        Raises ValueError for another size or type; ScreenLostError when the page is gone, does not answer, or cannot
        show it pixel for pixel.
        """
        return self._call(self._link.show(codes, label), 2 * self._timeout_s)

    def play(self, pictures: Iterable[Codes], fps: float) -> BrowserPlayback:
        """Play pictures at ``fps`` a second; returns with the first one on the screen. Raises as :meth:`show`."""
        if not fps > 0:
            raise ValueError(f"fps must be above 0, got {fps:g}")
        playback = self._call(self._link.play(pictures, fps), 3 * self._timeout_s)
        playback.halted_by(self._halt)
        return playback

    def _halt(self, playback: BrowserPlayback) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._link.stop, playback)

    def _call(self, work: Coroutine[Any, Any, Result], timeout_s: float) -> Result:
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError as error:
            work.close()
            raise ScreenLostError("the rig's server is closed") from error
        try:
            return future.result(timeout_s + _GRACE_S)
        except FutureTimeoutError as error:
            future.cancel()
            raise ScreenLostError(f"the rig's server did not answer for {timeout_s + _GRACE_S:g} s") from error
        except CancelledError as error:
            raise ScreenLostError("the rig's server was closed") from error
