"""The server's side of the display page: one page at a time, what is on it, and what became of it.

Everything here runs in the server's event loop; :mod:`.browser_screen` is its door for other threads.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from numpy.typing import NDArray
from pydantic import ValidationError

from ..screens import ScreenFacts, ScreenLostError, Shown, check_picture
from .messages import EndedMessage, PageFacts, PlayedMessage, ShownMessage, packed, png
from .playback import BrowserPlayback

Codes = NDArray[np.uint8]

_HELLO_S = 5.0
_NOTICES = 5
_REFUSED, _REPLACED, _MISUNDERSTOOD = 4001, 4002, 4003


@dataclass
class _Page:
    socket: WebSocket
    address: str
    facts: PageFacts


@dataclass(frozen=True)
class _Still:
    number: int
    message: bytes
    confirmed: asyncio.Future[Shown]


class DisplayLink:
    """The display page that is connected, if any.

    Parameters
    ----------
    size : (width, height) of every picture in px; None: as many as the page has
    eotf : transfer curve that the screen's codes are made for
    url : where the page is, for messages
    timeout_s : longest wait for the page
    """

    def __init__(self, size: tuple[int, int] | None, eotf: str, url: str, timeout_s: float) -> None:
        self._size, self._eotf, self.url, self._timeout_s = size, eotf, url, timeout_s
        self._page: _Page | None = None
        self._still: _Still | None = None
        self._run: BrowserPlayback | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._darkening: asyncio.Task[None] | None = None
        self._number, self._runs, self._pages = -1, -1, 0
        self._joined = asyncio.Event()
        self._notices: deque[str] = deque(maxlen=_NOTICES)

    @property
    def facts(self) -> ScreenFacts:
        """What is known of the screen; ScreenLostError while neither a page nor a size says how large it is."""
        joined = self._page  # read once: other threads ask too
        page = None if joined is None else joined.facts
        size = self._size or (None if page is None else (page.width_px, page.height_px))
        if size is None:
            raise ScreenLostError(f"no display page is open; open {self.url} on the screen to be filmed")
        if page is None:
            return ScreenFacts(*size, "display page (not open)", full_screen=False, eotf=self._eotf)
        return ScreenFacts(
            *size, page.agent, page.device_pixel_ratio, page.refresh_hz, page.full_screen, eotf=self._eotf
        )

    def status(self) -> dict[str, Any]:
        """JSON-ready, for the operator: what the page says of itself, and what happened to displays."""
        page = self._page
        told = {} if page is None else {**page.facts.model_dump(exclude={"display"}), "address": page.address}
        return {
            "connected": page is not None,
            "url": self.url,
            "size": self._size,
            "playing": None if self._run is None or self._run.over else self._run.report(),
            "notices": list(self._notices),
            **told,
        }

    async def wait(self, timeout_s: float) -> ScreenFacts:
        """Wait for a display page; ScreenLostError when none comes."""
        try:
            await asyncio.wait_for(self._joined.wait(), timeout_s)
        except asyncio.TimeoutError:
            raise ScreenLostError(f"no display page came within {timeout_s:g} s; open {self.url}") from None
        return self.facts

    async def show(self, codes: Codes, label: str) -> Shown:
        """One picture; a page that joins again meanwhile gets it too."""
        self.stop()
        if self._size is None:
            await self.wait(self._timeout_s)
        picture = np.asarray(codes)
        check_picture(picture, self.facts)
        self._number += 1
        number = self._number
        data = await asyncio.get_running_loop().run_in_executor(None, png, picture)
        header = {"type": "show", "number": number, "label": label}
        confirmed: asyncio.Future[Shown] = asyncio.get_running_loop().create_future()
        self._still = _Still(number, packed(header, data), confirmed)
        await self._send(self._still.message)
        try:
            return await asyncio.wait_for(confirmed, self._timeout_s)
        except asyncio.TimeoutError:
            raise ScreenLostError(f"picture {number} was not confirmed: {self._why_silent()}") from None

    async def play(self, pictures: Iterable[Codes], fps: float) -> BrowserPlayback:
        """Start a run; returns with its first picture on the screen."""
        self.stop()
        await self.wait(self._timeout_s)
        self._still = None
        self._runs += 1
        run = BrowserPlayback(self._runs, pictures, fps, self.facts, self._timeout_s)
        self._run, self._feeding = run, asyncio.create_task(run.feed(self._send, self._send))
        await run.started()
        return run

    def stop(self, run: BrowserPlayback | None = None) -> None:
        """End the run that is playing (and is ``run``, if given); the screen goes dark."""
        if self._run is None or self._run.over or run not in (None, self._run):
            return
        self._run.ended(stopped=True)
        if self._feeding is not None:
            self._feeding.cancel()
        self._darkening = asyncio.create_task(self._send({"type": "stop", "run": self._run.number}))

    async def serve(self, socket: WebSocket) -> None:
        """Talk with a display page until it goes; a second one is refused and named to the operator."""
        await socket.accept()
        try:
            facts = PageFacts.model_validate_json(await asyncio.wait_for(socket.receive_text(), _HELLO_S))
        except (ValidationError, asyncio.TimeoutError):
            await socket.close(_MISUNDERSTOOD, "a display page says what it is first")
            return
        except WebSocketDisconnect:
            return
        client = socket.client
        page = _Page(socket, "unknown" if client is None else client.host, facts)
        if self._page is not None and self._page.facts.display != facts.display:
            await self._refuse(page)
            return
        await self._welcome(page)
        try:
            while True:
                self._hear(page, await socket.receive_text())
        except WebSocketDisconnect:
            pass
        except (ValidationError, ValueError) as error:
            self._notice(f"the display page was cut off, it said something unknown: {' '.join(str(error).split())}")
            await socket.close(_MISUNDERSTOOD, "not understood")
        finally:
            self._left(page)

    async def _refuse(self, page: _Page) -> None:
        self._notice(f"a second display at {page.address} ({page.facts.agent}) was turned away")
        reason = "Another display page is connected. Close that one, then choose Try again here."
        await page.socket.send_json({"type": "refused", "message": reason})
        await page.socket.close(_REFUSED, "another display is connected")

    async def _welcome(self, page: _Page) -> None:
        older, self._page = self._page, page
        if older is not None:
            self._break_run("the display page was reloaded")
            await older.socket.close(_REPLACED, "this display page is open anew")
        self._pages += 1
        self._joined.set()
        if self._pages > 1:
            self._notice("the display page is back")
        await self._send({"type": "welcome"})
        if self._still is not None:
            await self._send(self._still.message)

    def _left(self, page: _Page) -> None:
        if self._page is page:
            self._page = None
            self._joined.clear()
            self._notice("the display page is gone")
            self._break_run("the display page was closed, reloaded or cut off")

    def _break_run(self, reason: str) -> None:
        if self._run is not None and not self._run.over:
            shown = self._run.report()["shown"]
            error = ScreenLostError(f"{reason} after {shown} pictures of a run; the run is broken off")
            self._run.break_off(error)
            self._notice(str(error))
            if self._feeding is not None:
                self._feeding.cancel()

    def _hear(self, page: _Page, text: str) -> None:
        message = json.loads(text)
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "facts":
            page.facts = PageFacts.model_validate({**message, "display": page.facts.display})
            if self._run is not None and not self._run.over:
                self._run.refresh_hz = page.facts.refresh_hz
        elif kind == "shown":
            self._confirm(ShownMessage.model_validate(message))
        elif kind == "played":
            played = PlayedMessage.model_validate(message)
            if self._run is not None and played.run == self._run.number and not self._run.over:
                self._run.played(played)
        elif kind == "ended":
            if self._run is not None and EndedMessage.model_validate(message).run == self._run.number:
                self._run.ended()
        elif kind == "failed":
            self._notice(f"the display page: {str(message.get('message'))[:300]}")
        else:
            raise ValueError(f"unknown message of type {kind!r}")

    def _confirm(self, message: ShownMessage) -> None:
        still = self._still
        if still is None or still.number != message.number or still.confirmed.done():
            return
        if message.one_to_one:
            still.confirmed.set_result(Shown(message.number, time.monotonic(), message.missed))
        else:
            still.confirmed.set_exception(ScreenLostError(self._why_scaled()))

    def _why_scaled(self) -> str:
        facts = self.facts
        page = self._page.facts if self._page is not None else None
        has = "" if page is None else f" {page.width_px}x{page.height_px} screen pixels are there"
        return (
            f"the display page cannot show {facts.width_px}x{facts.height_px} pixel for pixel:{has}; "
            "make it full screen (click it, or press F) and reset its zoom (Ctrl+0)"
        )

    def _why_silent(self) -> str:
        if self._page is None:
            return f"no display page is open; open {self.url} on the screen to be filmed"
        if not self._page.facts.visible:
            return "the display page is behind another tab or window; bring it to the front"
        return f"the display page at {self._page.address} does not answer; reload it"

    def _notice(self, text: str) -> None:
        self._notices.append(f"{time.strftime('%H:%M:%S')} {text}")

    async def _send(self, message: dict[str, Any] | bytes) -> None:
        if self._page is None:
            return
        socket = self._page.socket
        try:
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            else:
                await socket.send_json(message)
        except (WebSocketDisconnect, RuntimeError, OSError):
            pass  # it is gone: its own receiver hears of it and says so
