"""A simulated recapture with known truth: clips played one after another, filmed through film by a drifting recorder.

The order of light: picture -> screen (the frame without its bars) -> film -> exposure -> sensor noise -> encode.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lps_sim import Camera, Degrader, FilmModel
from lps_sim.media import EncoderSettings, VideoWriter
from lps_sim.seeding import named_rng

_EXPOSURE_MEMORY = 90  # frames over which automatic exposure comes back to its middle
_IDLE_CODE = 60  # of the grey screen before the first clip and after the last


@dataclass(frozen=True)
class Recorder:
    """How the screen is filmed.

    Parameters
    ----------
    lead_frames, tail_frames : recorded before the first clip and after the last: a grey screen
    drift : recorded frames a played frame, minus 1
    size : of the recording, (width, height) in pixels
    bars : share of the recording's height that is black above the screen, and below it
    shutter : share of a frame's time for which the shutter is open, 0..1; one that the screen changes in shows both
        pictures. 0: an instant
    flicker : standard deviation of automatic exposure's random walk, relative
    crf : of the H.264 encoder
    """

    lead_frames: int = 168
    tail_frames: int = 60
    drift: float = 2e-4
    size: tuple[int, int] = (320, 180)
    bars: float = 0.0
    shutter: float = 0.0
    flicker: float = 0.0
    crf: int = 14


class Shown(NamedTuple):
    """frame : (R,) played frame that every recorded frame shows, -1 before the first and after the last; blend : (R,)
    share of its light that comes from the next played frame."""

    frame: NDArray[np.intp]
    blend: NDArray[np.float64]


def shown_frames(played: int, how: Recorder, dropped: Collection[int] = (), doubled: Collection[int] = ()) -> Shown:
    """What a recording of ``played`` frames shows.

    Parameters
    ----------
    how : lead, tail, drift and shutter; a drift alone doubles a frame (recorder too fast) or drops one now and then
    dropped, doubled : played frames that the recorder misses or stores twice
    """
    # Half a frame of phase: the first shutter opens midway between two changes of the screen.
    opened = (np.arange(int(np.ceil(played * (1 + how.drift)))) + 0.5) / (1 + how.drift)
    opened = opened[opened < played]
    regular = opened.astype(np.intp)
    late = np.maximum(opened - regular + how.shutter - 1, 0) / max(how.shutter, 1e-9)
    copies = np.ones(len(regular), np.intp)
    copies[np.isin(regular, list(dropped))] = 0
    first = np.concatenate([[True], np.diff(regular) > 0])
    copies[np.isin(regular, list(doubled)) & first] += 1
    around = (how.lead_frames, how.tail_frames)
    frame = np.pad(np.repeat(regular, copies), around, constant_values=-1)
    return Shown(frame, np.pad(np.repeat(late, copies), around))


def record(
    path: str | os.PathLike[str],
    pictures: Iterable[np.ndarray],
    shown: Shown,
    film: FilmModel | None,
    layers: int,
    how: Recorder,
    fps: Fraction | int = 30,
    seed: int = 0,
) -> None:
    """Film the played pictures into ``path`` through ``layers`` of ``film``.

    Parameters
    ----------
    pictures : played frames in order, (H, W, 3) uint8, of any sizes
    shown : of :func:`shown_frames`
    film, layers : 0 layers and None for none
    seed : of exposure and noise
    """
    width, height = how.size
    camera = Camera.from_field_of_view(width, height, 70.0, full_well_e=38000, prnu=0.002)
    idle = np.full((height, width, 3), _IDLE_CODE, np.uint8)
    screen = _Screen(pictures, how)
    exposures = _exposures(how.flicker, named_rng(seed, "exposure"))
    settings = EncoderSettings(crf=how.crf, pixel_format="yuv420p", tune="").fitting(width, height)
    degraders: dict[float, Degrader] = {}
    with VideoWriter(path, width, height, fps, settings) as writer:
        for number, (index, blend) in enumerate(zip(*shown)):
            exposure = round(next(exposures), 3)
            if exposure not in degraders:
                degraders[exposure] = Degrader(film, layers, camera.with_exposure(exposure), seed=seed)
            picture = screen.at(int(index), float(blend)) if index >= 0 else idle
            writer.write(degraders[exposure].degrade(picture[np.newaxis], first_frame=number)[0])


class _Screen:
    """The played pictures on the screen, one after another."""

    def __init__(self, pictures: Iterable[np.ndarray], how: Recorder) -> None:
        self._stream, self._how = iter(pictures), how
        self._position = -1
        self._pair: list[np.ndarray] = []  # the picture at the position, and the one behind it

    def at(self, index: int, blend: float) -> np.ndarray:
        """Picture ``index``, with a share of the next one (mixed in code values)."""
        while self._position < index:
            self._pair = [*self._pair[1:], *self._more(2 if not self._pair else 1)]
            self._position += 1
        if not blend or len(self._pair) < 2:
            return self._pair[0]
        mixed: np.ndarray = cv2.addWeighted(self._pair[0], 1 - blend, self._pair[1], blend, 0)
        return mixed

    def _more(self, count: int) -> list[np.ndarray]:
        return [_on_screen(picture, self._how) for picture in itertools.islice(self._stream, count)]


def _on_screen(picture: np.ndarray, how: Recorder) -> np.ndarray:
    width, height = how.size
    bar = round(how.bars * height)
    frame = np.zeros((height, width, 3), np.uint8)
    frame[bar : height - bar] = cv2.resize(picture, (width, height - 2 * bar), interpolation=cv2.INTER_LINEAR)
    return frame


def _exposures(spread: float, rng: np.random.Generator) -> Iterator[float]:
    keep = np.exp(-1 / _EXPOSURE_MEMORY)
    value = 0.0
    while True:
        yield float(np.exp(value))
        value = keep * value + spread * np.sqrt(1 - keep**2) * float(rng.standard_normal())
