"""A simulated recapture with known truth: clean material on a tilted screen, filmed through film by a camera.

The order of light: decode -> screen (homography, black glow) -> film -> room veil -> automatic exposure -> sensor noise
-> encode -> H.264. The recorder's clock differs from the screen's, and it starts early. Nothing here is measured.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..camera import Camera
from ..film import FilmModel, check_layers
from ..media import EncoderSettings, VideoWriter
from ..operator import apply_film
from ..seeding import named_rng
from ..transfer import eotf_table
from .pair_geometry import matrix, overhang
from .pair_material import Material

Floats = NDArray[np.float64]

_HEADROOM = 0.8  # of full scale, for the brightest thousandth of the first frames
_FLICKER_MEMORY = 30  # frames over which automatic exposure comes back to its middle
_WIDEST = 0.5  # frame widths beyond the view that are drawn
_OVERSAMPLE = 2  # camera px a side that the screen is drawn with, against its pixels' aliasing


@dataclass(frozen=True)
class Recapture:
    """How the screen is filmed.

    Parameters
    ----------
    lead_frames : recorded before the clip starts; the screen is off
    phase : of the first clean frame within its recorded frame, -0.5 to 0.5
    drift : recorder's clock against the screen's: clean frames a recorded frame minus 1
    tilt_deg : of the screen about a vertical, a horizontal and the viewing axis (right-handed, y down)
    fill : share of the frame's width that the untilted screen fills
    flicker : standard deviation of automatic exposure's random walk, relative
    veil : room light that the film scatters in, of the screen's white, beside the film's own
    black_glow : of a black screen, of its white
    crf : of the H.264 encoder
    """

    lead_frames: int = 168
    phase: float = 0.0
    drift: float = 5e-4
    tilt_deg: tuple[float, float, float] = (3.0, 0.0, 0.0)
    fill: float = 0.92
    flicker: float = 0.03
    veil: float = 0.01
    black_glow: float = 8e-4
    crf: int = 23


@dataclass(frozen=True)
class PairTruth:
    """What a simulated pair knows.

    clean_index : (T,) clean frame shown in every recorded frame, -1: screen off
    homography : (8,) as in lps_sim.calibration.pair_geometry
    gains : (T,) exposure times transmittance
    """

    film: str
    layers: int
    camera: dict[str, Any]
    recapture: dict[str, Any]
    clean_index: NDArray[np.intp]
    homography: Floats
    gains: Floats

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        fields = {key: value for key, value in vars(self).items() if not isinstance(value, np.ndarray)}
        arrays = {key: value.tolist() for key, value in vars(self).items() if isinstance(value, np.ndarray)}
        return {"kind": "simulated", **fields, **arrays}


def simulate_pairs(
    film: FilmModel,
    layers: int,
    clean_path: str | os.PathLike[str],
    out_path: str | os.PathLike[str],
    camera: Camera | None = None,
    how: Recapture | None = None,
    frames: int | None = None,
    seed: int = 0,
    on_frame: Callable[[int], None] | None = None,
) -> PairTruth:
    """Film the clean material from a simulated screen through ``layers`` of ``film``.

    Parameters
    ----------
    film, layers : the truth; layers 1..64
    clean_path : video or folder of images
    out_path : video to be written; whole or absent
    camera : that films; default 640x360, 70 degrees across
    how : see :class:`Recapture`
    frames : clean frames to play at most; all by default
    seed : of exposure and noise
    on_frame : called with the number of recorded frames

    Raises
    ------
    ValueError
        layers out of range, a screen tilted out of sight, material that cannot be read
    """
    layers, how = check_layers(layers), how or Recapture()
    seen = camera or Camera.from_field_of_view(640, 360, 70.0, prnu=0.002)
    clean = Material.open(clean_path)
    homography = screen_homography(seen, clean.width / clean.height, how.tilt_deg, how.fill)
    # Light from the part of the screen beyond the view is scattered into it: the film sees a wider frame.
    margin = math.ceil(min(overhang(homography, (seen.height, seen.width)), _WIDEST) * seen.width)
    wide = dataclasses.replace(seen, width=seen.width + 2 * margin, height=seen.height + 2 * margin)
    inside = slice(margin, margin + seen.height), slice(margin, margin + seen.width)
    warp = _ScreenWarp(clean, wide, seen.width / 2, homography)
    table = eotf_table("srgb", 8)
    flicker = _exposures(how.flicker, named_rng(seed, "exposure"))
    index: list[int] = []
    gains: list[float] = []
    transmittance = film.transmittance(layers)
    rate = Fraction(clean.fps or 30).limit_denominator(1001)
    # As a phone's or a capture program's encoder sets it.
    usual = EncoderSettings(crf=how.crf, pixel_format="yuv420p", tune="", preset="medium", b_frames=3, aq=True)
    settings = usual.fitting(seen.width, seen.height)
    exposure = 0.0
    pictures = _played(clean, how, frames)
    with VideoWriter(out_path, seen.width, seen.height, rate, settings) as writer:
        shown, light = None, np.zeros((seen.height, seen.width, 3), np.float32)
        for number, codes in pictures:
            if number >= 0 and number != shown:
                screen = warp(table[codes if codes.dtype == np.uint8 else (codes // 257).astype(np.uint8)])
                light = apply_film(screen + how.black_glow * warp.area, film, layers, wide, "fast", "dark")[inside]
                light = light + (how.veil * transmittance).astype(np.float32)
                shown = number
            elif number < 0:
                light = np.zeros_like(light) + (film.veil(layers) + how.veil * transmittance).astype(np.float32)
            if not exposure and number >= 0:
                exposure = _HEADROOM / float(np.quantile(light, 0.999))
            factor = next(flicker) * (exposure or _HEADROOM / float(transmittance.mean()))
            writer.write(seen.with_exposure(factor).sense(light.astype(np.float64), named_rng(seed, "n", len(index))))
            index.append(number)
            gains.append(factor * float(transmittance[1]))
            if on_frame is not None:
                on_frame(len(index))
    return PairTruth(film.name, layers, seen.to_dict(), asdict(how), np.array(index), homography, np.array(gains))


def screen_homography(camera: Camera, clean_aspect: float, tilt_deg: tuple[float, float, float], fill: float) -> Floats:
    """(8,) homography from the camera's frame to the picture on a tilted screen on the optical axis.

    Parameters
    ----------
    camera : with its focal length
    clean_aspect : width / height of the picture
    tilt_deg : about the vertical, the horizontal and the viewing axis
    fill : share of the frame's width that the untilted screen fills
    """
    yaw, pitch, roll = np.radians(tilt_deg)
    about_y = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]])
    about_z = np.array([[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    turn = about_y @ about_x @ about_z
    half_tan = camera.width / 2 / camera.f_px
    # Screen plane at distance 1: point (s w, t w / aspect, 0) turned; w fills the share of the view.
    w = fill * half_tan
    to_camera = np.column_stack([turn[:, 0] * w, turn[:, 1] * w / clean_aspect, [0, 0, 1.0]])
    to_frame = np.diag([1 / half_tan, 1 / half_tan, 1]) @ to_camera
    m = np.linalg.inv(to_frame)
    if not turn[2, 2] > 0:
        raise ValueError(f"tilt_deg must leave the screen before the camera, got {tilt_deg}")
    return (m / m[2, 2]).ravel()[:8]


class _ScreenWarp:
    """Draws linear light of the clean picture where the camera sees the screen: area means of a finer drawing.

    ``half``: px of half the recording's width, the homography's unit; the camera drawn for may be a wider one.
    """

    def __init__(self, clean: Material, camera: Camera, half: float, homography: Floats) -> None:
        self._size = (camera.width * _OVERSAMPLE, camera.height * _OVERSAMPLE)
        fine = np.array(
            [
                [1 / _OVERSAMPLE / half, 0, (0.5 / _OVERSAMPLE - camera.width / 2) / half],
                [0, 1 / _OVERSAMPLE / half, (0.5 / _OVERSAMPLE - camera.height / 2) / half],
                [0, 0, 1],
            ]
        )
        pixels = np.array(
            [[clean.width / 2, 0, clean.width / 2 - 0.5], [0, clean.height / 2, clean.height / 2 - 0.5], [0, 0, 1]]
        )
        self._map = pixels @ matrix(homography) @ fine
        self.area = self(np.ones((clean.height, clean.width, 3), np.float32))

    def __call__(self, light: NDArray[np.float32]) -> NDArray[np.float32]:
        import cv2

        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        fine = cv2.warpPerspective(light, self._map, self._size, flags=flags)
        height, width = self._size[1] // _OVERSAMPLE, self._size[0] // _OVERSAMPLE
        return fine.reshape(height, _OVERSAMPLE, width, _OVERSAMPLE, 3).mean(axis=(1, 3))


def _played(clean: Material, how: Recapture, frames: int | None) -> Iterator[tuple[int, np.ndarray]]:
    """(clean frame, its codes) of every recorded frame; -1 before the clip, with the first frame's codes."""
    stream = itertools.islice(enumerate(clean.codes()), frames)
    number, codes = next(stream)
    for k in itertools.count():
        wanted = round(how.phase + (1 + how.drift) * (k - how.lead_frames))
        if k < how.lead_frames or wanted < 0:
            yield -1, codes
            continue
        while number < wanted:
            try:
                number, codes = next(stream)
            except StopIteration:
                return
        yield number, codes


def _exposures(spread: float, rng: np.random.Generator) -> Iterator[float]:
    """Automatic exposure about 1: a random walk that is drawn back, of this relative standard deviation."""
    keep = math.exp(-1 / _FLICKER_MEMORY)
    value = spread * float(rng.standard_normal())
    while True:
        yield math.exp(value)
        value = keep * value + spread * math.sqrt(1 - keep * keep) * float(rng.standard_normal())
