"""Who may talk to the rig's server: the token in the path, the host asked for, and the page a request comes from.

A page of some other site in the operator's browser can send requests to ``127.0.0.1`` and open websockets there; its
``Origin`` gives it away. A name of an attacker's that resolves to this machine (DNS rebinding) shows in ``Host``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from secrets import compare_digest
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_NOT_FOUND, _FORBIDDEN = 404, 403
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that is bound to ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """ASGI middleware before every page, asset, call and websocket.

    Parameters
    ----------
    app : what is guarded
    token : first segment of every path; empty where none is needed. It is stripped before ``app`` sees the path
    loopback : True: only requests that name this machine itself are answered
    """

    def __init__(self, app: Application, token: str, loopback: bool) -> None:
        self._app, self._token, self._loopback = app, token, loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path = self._inner_path(scope["path"])
        if path is None:
            await _refuse(scope, receive, send, _NOT_FOUND, "the address lacks the token that lps rig serve printed")
        elif not self._same_site(scope):
            await _refuse(scope, receive, send, _FORBIDDEN, "only this server's own pages may talk to it")
        else:
            inner = {**scope, "path": path, "raw_path": path.encode()}
            await self._app(inner, receive, _with_headers(send))

    def _inner_path(self, path: str) -> str | None:
        if not self._token:
            return path
        first, slash, rest = path.removeprefix("/").partition("/")
        right = compare_digest(first.encode(), self._token.encode())
        return slash + rest if right and slash else None

    def _same_site(self, scope: Scope) -> bool:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if self._loopback and not is_loopback(_host_name(host)):
            return False
        if origin is None:
            return True  # not a browser's cross-site request: those always carry it
        return urlsplit(origin).netloc == host


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, reason: str) -> None:
    from starlette.responses import PlainTextResponse
    from starlette.websockets import WebSocketClose

    if scope["type"] == "websocket":
        await WebSocketClose(1008, reason)(scope, receive, send)
    else:
        await PlainTextResponse(reason, status)(scope, receive, send)


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *_HEADERS]}
        await send(message)

    return sending
