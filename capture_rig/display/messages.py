"""What server and display page say to each other: JSON texts, and pictures as a header and a PNG in one message."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from .operated import Preview

# fast: pictures live for a moment, on a line that is mostly this machine's own
_PNG_OPTIONS = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
_PREVIEW_OPTIONS = [cv2.IMWRITE_JPEG_QUALITY, 85]


class PageFacts(BaseModel):
    """What a display page says of itself.

    Parameters
    ----------
    display : random name of the tab, kept over its reloads
    width_px, height_px : screen pixels that the page can show pictures on
    device_pixel_ratio : screen pixels a page pixel
    refresh_hz : measured; None until it is
    full_screen : whether the page fills the screen
    one_to_one : whether every picture pixel is one screen pixel, by the canvas's own box in screen pixels
    visible : False behind another tab or window
    agent : the browser
    """

    model_config = ConfigDict(frozen=True)

    display: str = Field(min_length=8, max_length=64)
    width_px: int = Field(ge=1, le=32768)
    height_px: int = Field(ge=1, le=32768)
    device_pixel_ratio: float = Field(gt=0, le=16)
    refresh_hz: float | None = Field(default=None, gt=0, le=1000)
    full_screen: bool = False
    one_to_one: bool = True
    visible: bool = True
    agent: str = Field(default="browser", max_length=300)


class ShownMessage(BaseModel):
    """A still picture is on the screen."""

    number: int
    missed: int = Field(default=0, ge=0)
    one_to_one: bool


class PlayedMessage(BaseModel):
    """A picture of a playback is on the screen, ``missed`` refreshes late; ``paused_s``: the run waited for it."""

    run: int
    number: int
    missed: int = Field(default=0, ge=0)
    paused_s: float = Field(default=0.0, ge=0)
    one_to_one: bool = True


class EndedMessage(BaseModel):
    """The last picture of a playback has been shown for its time."""

    run: int


def packed(header: dict[str, Any], payload: bytes) -> bytes:
    """Header length (4 bytes, big-endian), header (JSON), payload."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "big") + text + payload


def png(codes: NDArray[np.uint8]) -> bytes:
    """(H, W) or (H, W, 3) RGB codes as PNG, bit for bit, without any statement on colour."""
    stored = codes if codes.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(codes), cv2.COLOR_RGB2BGR)
    return _encoded(".png", stored, _PNG_OPTIONS)


def preview_message(preview: Preview) -> bytes:
    """A camera's small picture as JPEG, its histogram and measures in the header."""
    header = {
        "type": "preview",
        "histogram": np.asarray(preview.histogram).tolist(),
        "clipped_share": float(preview.clipped_share),
        "dark_share": float(preview.dark_share),
        "focus": float(preview.focus),
        "at_s": float(preview.at_s),
    }
    return packed(header, _encoded(".jpg", np.asarray(preview.codes)[:, :, ::-1], _PREVIEW_OPTIONS))


def _encoded(suffix: str, stored: NDArray[np.uint8], options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, np.ascontiguousarray(stored), options)
    if not done:
        raise ValueError(f"a picture of shape {stored.shape} could not be encoded as {suffix}")
    return data.tobytes()
