"""A real Chromium in a thread of its own, and the display page in it as a screen whose pictures can be looked at."""

from __future__ import annotations

import math
import queue
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

import cv2
import numpy as np

from capture_rig.display.server import RigServer
from capture_rig.screens import Codes, ScreenFacts, Shown

CHROMIUM = shutil.which("chromium")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
_WAIT_S = 30.0
Result = TypeVar("Result")


class Chromium:
    """Playwright's own thread: what :meth:`do` is given runs there, with the browser, one after the other."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[Any], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="chromium", daemon=True)

    def __enter__(self) -> Chromium:
        self._thread.start()
        self._started.result(_WAIT_S)
        return self

    def __exit__(self, *error: object) -> None:
        self._work.put(None)
        self._thread.join(_WAIT_S)

    def do(self, action: Callable[[Any], Result]) -> Result:
        """What ``action(browser)`` returns or raises."""
        future: Future[Result] = Future()
        self._work.put((action, future))
        return future.result(_WAIT_S)

    def open(self, url: str, width: int, height: int, ratio: float = 1.0, **options: Any) -> Page:
        """A page of ``width`` x ``height`` page pixels at ``ratio`` screen pixels each."""
        return Page(self, url, {"width": width, "height": height}, ratio, options)

    def _run(self) -> None:
        from playwright.sync_api import sync_playwright

        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
                self._started.set_result(None)
                while (item := self._work.get()) is not None:
                    action, future = item
                    try:
                        future.set_result(action(browser))
                    except BaseException as error:
                        future.set_exception(error)
                browser.close()
        except Exception as error:
            if self._started.done():
                raise
            self._started.set_exception(error)


class Page:
    """A page in a context of its own; ``errors`` collects what it says on its console and what it throws."""

    def __init__(
        self, chromium: Chromium, url: str, viewport: dict[str, int], ratio: float, options: dict[str, Any]
    ) -> None:
        self._chromium, self.errors = chromium, list[str]()

        def opened(browser: Any) -> Any:
            context = browser.new_context(viewport=viewport, device_scale_factor=ratio, **options)
            page = context.new_page()
            page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
            page.on("pageerror", lambda error: self.errors.append(str(error)))
            page.goto(url)
            return page

        self._page = chromium.do(opened)

    def do(self, action: Callable[[Any], Result]) -> Result:
        """What ``action(page)`` returns, in Playwright's thread."""
        return self._chromium.do(lambda _: action(self._page))

    def screenshot(self) -> Codes:
        """(H, W, 3) uint8: the screen's own pixels."""
        data = self.do(lambda page: page.screenshot())
        return np.ascontiguousarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1])

    def close(self) -> None:
        """Close it and its context."""
        self.do(lambda page: page.context.close())


class ScreenshotScreen:
    """A :class:`capture_rig.screens.Screen` on a real display page, for a camera that photographs its screenshots.

    Its playback is virtual as that of :class:`capture_rig.screens.VirtualScreen`: :meth:`at` puts the picture that is
    due at a time of the run on the page, waits for its confirmation, and takes a screenshot.
    """

    def __init__(self, server: RigServer, chromium: Chromium, width_px: int, height_px: int, ratio: int = 1) -> None:
        if width_px % ratio or height_px % ratio:
            raise ValueError(f"a screen of {width_px}x{height_px} px has no whole page pixels of ratio {ratio}")
        self.screen = server.screen
        self.page = chromium.open(server.display_url, width_px // ratio, height_px // ratio, ratio)
        self.screen.wait(_WAIT_S)
        self._run: _SteppedPlayback | None = None
        self._seen: Codes | None = None

    @property
    def facts(self) -> ScreenFacts:
        """What the page says of itself."""
        return self.screen.facts

    def show(self, codes: Codes, label: str = "") -> Shown:
        """Show one picture on the page."""
        self._run = self._seen = None
        return self.screen.show(codes, label)

    def play(self, pictures: Iterable[Codes], fps: float) -> _SteppedPlayback:
        """Lay pictures on a virtual time line from 0 on."""
        self._run = _SteppedPlayback(iter(pictures), fps)
        return self._run

    def at(self, time_s: float) -> Codes:
        """(H, W, 3) uint8: a screenshot of the page with the picture due at ``time_s``, which never goes back."""
        due = None if self._run is None else self._run.due(time_s)
        if due is not None:
            self.screen.show(due)
            self._seen = None
        if self._seen is None:
            self._seen = self.page.screenshot()
        return self._seen

    def close(self) -> None:
        """Close the page."""
        self.page.close()


class _SteppedPlayback:
    def __init__(self, pictures: Iterator[Codes], fps: float) -> None:
        self._pictures, self._fps = pictures, fps
        self._shown, self._finished = -1, False
        self._size: tuple[int, ...] = ()

    @property
    def finished(self) -> bool:
        return self._finished

    def stop(self) -> None:
        self._finished = True

    def report(self) -> dict[str, Any]:
        return {"shown": self._shown + 1, "missed_refreshes": 0, "late": []}

    def due(self, time_s: float) -> Codes | None:
        """The picture to put on now; None where the one on the page stays."""
        newest = None
        while self._shown < math.floor(time_s * self._fps) and not self._finished:
            picture = next(self._pictures, None)
            if picture is None:
                self.stop()
                return np.zeros(self._size, np.uint8) if self._size else newest
            newest, self._size = picture, picture.shape
            self._shown += 1
        return newest
