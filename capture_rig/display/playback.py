"""A run of pictures on the display page: decoded and encoded ahead, shown at their refresh, confirmed by number."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..screens import ScreenFacts, ScreenLostError, check_picture
from .messages import PlayedMessage, packed, png

Codes = NDArray[np.uint8]
SendText = Callable[[dict[str, Any]], Awaitable[None]]
SendBytes = Callable[[bytes], Awaitable[None]]

_AHEAD_BYTES = 256 << 20  # decoded pictures that the page keeps
_AHEAD_MOST, _AHEAD_LEAST = 24, 4
_ENCODERS = 4


class BrowserPlayback:
    """A :class:`capture_rig.screens.Playback` on a display page.

    Pictures are never left out: one that comes late is shown at the next refresh, and the following ones catch up
    with the clock; where more than a picture's time is lost, the run waits and its clock moves on by that.

    Parameters
    ----------
    number : of the run
    pictures, fps : what is played
    facts : of the screen
    timeout_s : longest silence of the page
    """

    def __init__(
        self, number: int, pictures: Iterable[Codes], fps: float, facts: ScreenFacts, timeout_s: float
    ) -> None:
        self.number, self._fps, self._facts, self._timeout_s = number, fps, facts, timeout_s
        self._pictures: Iterator[Codes] = iter(pictures)
        decoded = facts.width_px * facts.height_px * 4
        self._ahead = max(_AHEAD_LEAST, min(_AHEAD_MOST, _AHEAD_BYTES // decoded))
        self._room = asyncio.Semaphore(self._ahead)
        self._started, self._ended = asyncio.Event(), asyncio.Event()
        self._error: Exception | None = None
        self._shown, self._missed, self._stopped = 0, 0, False
        self._late: list[int] = []
        self._pauses: list[dict[str, float]] = []
        self.refresh_hz = facts.refresh_hz
        self._halt: Callable[[BrowserPlayback], None] | None = None

    @property
    def finished(self) -> bool:
        """True once the last picture has been shown for its time, or the run was stopped.

        Raises ScreenLostError when the display page broke it off, and what the source of the pictures raised.
        """
        if self._error is not None:
            raise self._error
        return self._ended.is_set()

    def stop(self) -> None:
        """End it now; the screen goes dark."""
        if self._halt is not None:
            self._halt(self)

    def report(self) -> dict[str, Any]:
        """JSON-ready: pictures shown, refreshes missed, numbers of late pictures, pauses, and how the run ended."""
        return {
            "shown": self._shown,
            "missed_refreshes": self._missed,
            "late": list(self._late),
            "pauses": list(self._pauses),
            "fps": self._fps,
            "refresh_hz": self.refresh_hz,
            "stopped": self._stopped,
            "broken": None if self._error is None else str(self._error),
        }

    def halted_by(self, halt: Callable[[BrowserPlayback], None]) -> None:
        """How :meth:`stop` reaches the server's thread."""
        self._halt = halt

    async def started(self) -> None:
        """Wait for the first picture on the screen; raises as :attr:`finished`."""
        await self._started.wait()
        _ = self.finished

    async def feed(self, send_text: SendText, send_bytes: SendBytes) -> None:
        """Send every picture, never more ahead of the screen than the page keeps, and wait for the end."""
        queue: asyncio.Queue[asyncio.Future[bytes] | None] = asyncio.Queue(self._ahead)
        source = ThreadPoolExecutor(1, "pictures")
        encoders = ThreadPoolExecutor(min(_ENCODERS, os.cpu_count() or 1), "encode")
        reader = asyncio.create_task(self._read(queue, source, encoders))
        try:
            await send_text({"type": "play", "run": self.number, "fps": self._fps, "ahead": self._ahead // 2})
            count = 0
            while (encoded := await queue.get()) is not None:
                picture = await encoded
                await self._within(self._room.acquire(), self._timeout_s)
                await send_bytes(packed({"type": "frame", "run": self.number, "number": count}, picture))
                count += 1
            await send_text({"type": "end", "run": self.number, "count": count})
            await self._within(self._ended.wait(), self._timeout_s + (count - self._shown) / self._fps)
        except Exception as error:  # whatever the source raised goes to who asks whether the run has finished
            self.break_off(error)
        finally:
            self.break_off(ScreenLostError("the rig's server was closed in the middle of a run"))
            reader.cancel()
            while not queue.empty():
                _forget(queue.get_nowait())
            for pool in (source, encoders):
                pool.shutdown(wait=False, cancel_futures=True)

    async def _read(
        self,
        queue: asyncio.Queue[asyncio.Future[bytes] | None],
        source: ThreadPoolExecutor,
        encoders: ThreadPoolExecutor,
    ) -> None:
        loop = asyncio.get_running_loop()
        last: asyncio.Future[bytes] | None = None
        try:
            while (picture := await loop.run_in_executor(source, next, self._pictures, None)) is not None:
                await queue.put(loop.run_in_executor(encoders, self._encode, picture))
        except Exception as error:
            last = loop.create_future()
            last.set_exception(error)
            _forget(last)
        await queue.put(last)

    def _encode(self, picture: Codes) -> bytes:
        check_picture(picture, self._facts)
        return png(np.asarray(picture))

    async def _within(self, waiting: Any, seconds: float) -> None:
        try:
            await asyncio.wait_for(waiting, seconds)
        except asyncio.TimeoutError as error:
            raise ScreenLostError(
                f"the display page confirmed no picture for {self._timeout_s:g} s, after {self._shown} pictures; "
                "is its tab in front and its screen awake?"
            ) from error

    def played(self, message: PlayedMessage) -> None:
        """The page says that a picture is on the screen."""
        if message.number != self._shown:
            self.break_off(ScreenLostError(f"the display page showed picture {message.number}, due was {self._shown}"))
            return
        if not message.one_to_one:
            self.break_off(ScreenLostError(f"the display page scales picture {message.number}; reset its zoom"))
            return
        self._shown += 1
        self._missed += message.missed
        if message.missed:
            self._late.append(message.number)
        if message.paused_s:
            self._pauses.append({"number": message.number, "seconds": message.paused_s})
        self._room.release()
        self._started.set()

    def ended(self, stopped: bool = False) -> None:
        """The last picture has been shown for its time, or the run is stopped."""
        if not self._ended.is_set():
            self._stopped = stopped
            self._ended.set()
            self._started.set()

    def break_off(self, error: Exception) -> None:
        """End it with an error, unless it has ended."""
        if not self._ended.is_set():
            self._error = error
            self.ended()

    @property
    def over(self) -> bool:
        """Whether nothing more is to come; raises nothing."""
        return self._ended.is_set()


def _forget(encoded: asyncio.Future[bytes] | None) -> None:
    """Nobody may come for its outcome any more, which is no fault."""
    if encoded is not None and not encoded.cancelled():
        encoded.add_done_callback(lambda done: done.cancelled() or done.exception())
