"""What the display shows: a screen over 88 % of the view with a black glow, dark outside; linear light, white = 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture_rig import targets
from lps_sim.media import read_frames
from lps_sim.media.samples import sample_clip
from lps_sim.transfer import eotf

SCREEN_SHARE = 0.88
BLACK_GLOW = 1 / 1250
EDGE_DEG = 6.0
# Radii in pixels at 360 lines, as in the example set.
DISC_PX, HOLE_PX = 5.0, 24.0
_NOISE_SEEDS = {"noise1": 101, "noise2": 202}
_PHOTOS = {"street": ("bikes.mp4", 150), "animation": ("bigbuckbunny.mp4", 40)}
_LUMA = (0.2126, 0.7152, 0.0722)
_LINES_PX = (62, 44, 30, 20, 14, 10)
_TEXT = "LENS SEAL 0123 KRZV"


@dataclass(frozen=True)
class Scene:
    """One picture on the display: name, kind of target, radiance (H, W), role, and exposures relative to the first."""

    name: str
    target: str
    light: NDArray[np.float64]
    role: str
    bracket: tuple[float, ...]


def display(content: NDArray[np.floating], width: int, height: int) -> NDArray[np.float64]:
    """Content of the screen's size, 0..1, placed in the middle of a dark view, with the screen's black glow."""
    view = np.zeros((height, width))
    rows, columns = content.shape
    top, left = (height - rows) // 2, (width - columns) // 2
    view[top : top + rows, left : left + columns] = BLACK_GLOW + (1 - BLACK_GLOW) * content
    return view


def all_scenes(width: int, height: int) -> list[Scene]:
    """The example set's scenes for a camera of that many pixels: six for the fit, five held back."""
    columns, rows = 2 * round(SCREEN_SHARE * width / 2), 2 * round(SCREEN_SHARE * height / 2)
    scale = height / 360

    def scene(name: str, target: str, content: NDArray[np.floating], role: str, *bracket: float) -> Scene:
        return Scene(name, target, display(content, width, height), role, bracket or (1.0,))

    noise = {
        name: targets.noise(columns, rows, seed=seed, smallest_px=max(1, round(scale)), largest_px=round(50 * scale))
        for name, seed in _NOISE_SEEDS.items()
    }
    return [
        scene("disc", "disc", targets.disc(columns, rows, radius_px=DISC_PX * scale), "fit", 1, 8, 64),
        scene("edge", "edge", targets.edge(columns, rows, angle_deg=EDGE_DEG), "fit", 1, 8),
        scene("hole", "hole", targets.hole(columns, rows, radius_px=HOLE_PX * scale), "fit", 1, 8),
        scene("noise1", "noise", noise["noise1"], "fit", 1, 4),
        scene("flat", "flat", targets.flat(columns, rows), "fit"),
        *(scene(name, "photo", _photo(*source, columns, rows), "held") for name, source in _PHOTOS.items()),
        scene("siemens", "siemens", targets.siemens(columns, rows), "held"),
        scene("text", "text", _text(columns, rows, scale), "held"),
        scene("noise2", "noise", noise["noise2"], "held"),
        scene("black", "screen_off", targets.dark(columns, rows), "fit", 16),
    ]


def _photo(clip: str, frame: int, width: int, height: int) -> NDArray[np.float64]:
    """Linear luminance of a video frame, cropped to the middle and resized."""
    from PIL import Image

    codes = read_frames(sample_clip(clip), [frame])[0]
    rows, columns = codes.shape[:2]
    wanted = min(columns, round(rows * width / height)), min(rows, round(columns * height / width))
    left, top = (columns - wanted[0]) // 2, (rows - wanted[1]) // 2
    box = (left, top, left + wanted[0], top + wanted[1])
    picture = Image.fromarray(codes).resize((width, height), Image.Resampling.BICUBIC, box=box)
    light = eotf(np.asarray(picture) / 255.0, "srgb") @ np.array(_LUMA)
    return np.asarray(np.clip(light, 0, 1))


def _text(width: int, height: int, scale: float) -> NDArray[np.float64]:
    """Black lines of falling size on white."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("L", (width, height), 255)
    pen = ImageDraw.Draw(page)
    top = 0.0
    for size in _LINES_PX:
        font = ImageFont.load_default(size * scale)
        pen.text((8 * scale, top), _TEXT, fill=0, font=font)
        top += 1.5 * size * scale
    return np.asarray(page) / 255.0
