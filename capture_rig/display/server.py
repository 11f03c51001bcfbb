"""The rig's web server: the display page and the operator's page, in a thread of this process."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .access import Guard, is_loopback
from .operated import Operated

if TYPE_CHECKING:
    from uvicorn import Server

    from .browser_screen import BrowserScreen

_START_S, _STOP_S = 10.0, 10.0
_PING_S = 5.0
_TOKEN_BYTES = 16
STATIC = Path(__file__).parent / "static"


class RigServer:
    """Serves from ``with`` on until its end.

    Parameters
    ----------
    run : what the operator's page operates; the attribute may be set later, when the run needs the screen first
    host : address to bind to; others than this machine's own can be reached from the network, and need the token
    port : 0 takes a free one
    token : first part of every address; None: none on the own machine, else a random one. At least 8 letters or digits
    size : (width, height) of the pictures in px; None: as many as the display page has when it is asked
    eotf : transfer curve that the screen's codes are made for
    timeout_s : longest wait for the display page
    folder : of the pages' files

    Raises
    ------
    ModuleNotFoundError
        Without the rig extra; the message has the command that installs it.
    OSError
        When the address cannot be bound.
    ValueError
        For a token that is too short or does not fit into a URL.
    """

    def __init__(
        self,
        run: Operated | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        *,
        size: tuple[int, int] | None = None,
        eotf: str = "srgb",
        timeout_s: float = 10.0,
        folder: Path = STATIC,
    ) -> None:
        self.run = run
        self._host, self._port, self._loopback = host, port, is_loopback(host)
        self._token = _checked_token(token, self._loopback)
        self._size, self._eotf, self._timeout_s, self._folder = size, eotf, timeout_s, folder
        self._thread: threading.Thread | None = None
        self._server: Server | None = None
        self._screen: BrowserScreen | None = None

    @property
    def display_url(self) -> str:
        """Of the page on the showing screen."""
        return f"{self._base}/display.html"

    @property
    def operator_url(self) -> str:
        """Of the operator's page."""
        return f"{self._base}/operator.html"

    @property
    def screen(self) -> BrowserScreen:
        """The display page as a screen; ValueError before the server runs."""
        if self._screen is None:
            raise ValueError("the server does not run yet: use it in a with statement")
        return self._screen

    @property
    def _base(self) -> str:
        host = _outer_name() if self._host in ("0.0.0.0", "::") else self._host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self._port}" + (f"/{self._token}" if self._token else "")

    def __enter__(self) -> RigServer:
        try:
            import uvicorn

            from .link import DisplayLink
            from .pages import build_app
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"{error.name} is missing; the rig's pages need: pip install 'lens-privacy-sealing[rig]'"
            ) from error
        bound = _bound(self._host, self._port)
        self._port = bound.getsockname()[1]
        link = DisplayLink(self._size, self._eotf, self.display_url, self._timeout_s)
        app: Any = Guard(build_app(link, lambda: self.run, self._folder), self._token, self._loopback)
        config = uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            ws_ping_interval=_PING_S,
            ws_ping_timeout=_PING_S,
            timeout_graceful_shutdown=1,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(bound, link, ready), name="rig server", daemon=True)
        self._thread.start()
        if not ready.wait(_START_S):
            self.__exit__()
            raise OSError(f"the rig's server did not start within {_START_S:g} s")
        return self

    def __exit__(self, *error: object) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_STOP_S)
        self._server = self._thread = None

    def _serve(self, bound: socket.socket, link: Any, ready: threading.Event) -> None:
        from .browser_screen import BrowserScreen

        async def serving() -> None:
            self._screen = BrowserScreen(link, asyncio.get_running_loop(), self._timeout_s)
            server = self._server
            if server is None:
                return
            running = asyncio.create_task(server.serve(sockets=[bound]))
            while not server.started and not running.done():
                await asyncio.sleep(0.005)
            ready.set()
            await running

        with bound:
            asyncio.run(serving())


def _checked_token(token: str | None, loopback: bool) -> str:
    if token is None:
        return "" if loopback else secrets.token_urlsafe(_TOKEN_BYTES)
    if len(token) < 8 or not all(sign.isascii() and (sign.isalnum() or sign in "-_") for sign in token):
        raise ValueError(f"token must be at least 8 of A-Z a-z 0-9 - _, got {token!r}")
    return token


def _bound(host: str, port: int) -> socket.socket:
    """A listening address, so that a port in use is known before any thread starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OSError(f"cannot serve at {host}, port {port}: {error.strerror}") from error
    return bound


def _outer_name() -> str:
    """The address under which others most likely reach this machine; its name where no network is up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address (RFC 5737); a datagram socket sends nothing yet
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostname()
