"""What the rig's server answers: two pages and their files, the operator's calls, and one websocket for each page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from .link import DisplayLink
from .messages import preview_message
from .operated import Operated

_STATE_PERIOD_S = 0.2
_CONFLICT = 409
_NO_SUCH_SOCKET = 1008


class NamedShot(BaseModel):
    """The shot to take again."""

    shot: str = Field(min_length=1, max_length=200)


class LayersOn(BaseModel):
    """How many layers of film are on."""

    layers: int = Field(ge=0, le=64)


def build_app(link: DisplayLink, operated: Callable[[], Operated | None], folder: Path) -> FastAPI:
    """The application without its guard (:class:`.access.Guard`).

    Parameters
    ----------
    link : the display page's other end
    operated : the run to operate now, or None
    folder : of static files; nothing outside it is served, nor what links point to
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    def run() -> Operated:
        chosen = operated()
        if chosen is None:
            raise ValueError("nothing is set up to be operated yet")
        return chosen

    @app.exception_handler(ValueError)
    async def refused(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"message": " ".join(str(error).split())}, _CONFLICT)

    @app.get("/")
    async def entrance() -> RedirectResponse:
        return RedirectResponse("operator.html")

    @app.get("/api/state")
    async def state() -> dict[str, Any]:
        return await _state(operated(), link)

    @app.post("/api/start")
    async def start() -> dict[str, Any]:
        return await _done(run().start)

    @app.post("/api/stop")
    async def stop() -> dict[str, Any]:
        return await _done(run().stop)

    @app.post("/api/repeat")
    async def repeat(body: NamedShot) -> dict[str, Any]:
        return await _done(run().repeat, body.shot)

    @app.post("/api/confirm")
    async def confirm(body: LayersOn) -> dict[str, Any]:
        return await _done(run().confirm, body.layers)

    @app.websocket("/display")
    async def display(socket: WebSocket) -> None:
        await link.serve(socket)

    @app.websocket("/operator")
    async def operator(socket: WebSocket) -> None:
        await socket.accept()
        sending = asyncio.create_task(_tell(socket, operated, link))
        try:
            while True:
                await socket.receive_text()
        except WebSocketDisconnect:
            pass
        finally:
            sending.cancel()

    @app.websocket("/{path:path}")
    async def nowhere(socket: WebSocket, path: str) -> None:
        await socket.close(_NO_SUCH_SOCKET, "no websocket here")

    app.mount("/", StaticFiles(directory=folder))
    return app


async def _done(action: Callable[..., None], *arguments: Any) -> dict[str, Any]:
    await asyncio.to_thread(action, *arguments)
    return {"done": True}


async def _state(run: Operated | None, link: DisplayLink) -> dict[str, Any]:
    told: dict[str, Any] = {"message": "nothing is set up to be operated yet"}
    try:
        if run is not None:
            told = await asyncio.to_thread(run.state)
    except Exception as error:  # the operator must read of it, and the page lives on
        told = {"message": f"the run does not say how it stands: {error}", "phase": "failed"}
    return {**told, "display": link.status()}


async def _preview(run: Operated | None, seen_s: float | None) -> tuple[bytes | None, float | None, str]:
    """Message, its picture's time, and what went wrong; no message where there is no newer picture."""
    try:
        preview = None if run is None else await asyncio.to_thread(run.preview)
        if preview is None or preview.at_s == seen_s:
            return None, seen_s, ""
        return await asyncio.to_thread(preview_message, preview), preview.at_s, ""
    except Exception as error:  # a camera that fails must not take the operator's page with it
        return None, seen_s, f"No picture from the camera: {error}"


async def _tell(socket: WebSocket, operated: Callable[[], Operated | None], link: DisplayLink) -> None:
    """Send the state whenever it has changed, and every new picture of the camera."""
    told, seen_s = "", None
    while True:
        run = operated()
        picture, seen_s, fault = await _preview(run, seen_s)
        text = json.dumps({"type": "state", "camera_fault": fault, **await _state(run, link)}, default=str)
        if text != told:
            await socket.send_text(text)
            told = text
        if picture is not None:
            await socket.send_bytes(picture)
        await asyncio.sleep(_STATE_PERIOD_S)
