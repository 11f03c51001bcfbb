"""A simulated recapture with known truth: clips played one after another, filmed through film by a drifting recorder.

The order of light: picture -> screen (the frame without its bars) -> film -> exposure -> sensor noise -> encode.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

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
    flicker : standard deviation of automatic exposure's random walk, relative
    crf : of the H.264 encoder
    """

    lead_frames: int = 168
    tail_frames: int = 60
    drift: float = 2e-4
    size: tuple[int, int] = (320, 180)
    bars: float = 0.0
    flicker: float = 0.0
    crf: int = 14


def shown_frames(
    played: int, how: Recorder, dropped: Collection[int] = (), doubled: Collection[int] = ()
) -> NDArray[np.intp]:
    """(R,) played frame that every recorded frame shows, -1 before the first and after the last.

    Parameters
    ----------
    played : number of played frames
    how : lead, tail and drift; a drift alone doubles a frame (recorder too fast) or drops one now and then
    dropped, doubled : played frames that the recorder misses or stores twice
    """
    recorded = int(np.ceil(played * (1 + how.drift)))
    # Half a frame of phase: the recorder's shutter opens midway between two changes of the screen.
    regular = np.floor((np.arange(recorded) + 0.5) / (1 + how.drift)).astype(np.intp)
    regular = regular[regular < played]
    copies = np.ones(len(regular), np.intp)
    copies[np.isin(regular, list(dropped))] = 0
    first = np.concatenate([[True], np.diff(regular) > 0])
    copies[np.isin(regular, list(doubled)) & first] += 1
    outside = [np.full(count, -1, np.intp) for count in (how.lead_frames, how.tail_frames)]
    return np.concatenate([outside[0], np.repeat(regular, copies), outside[1]])


def record(
    path: str | os.PathLike[str],
    pictures: Iterable[np.ndarray],
    shown: NDArray[np.intp],
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
    seed : of exposure and noise
    """
    width, height = how.size
    camera = Camera.from_field_of_view(width, height, 70.0, full_well_e=38000, prnu=0.002)
    stream, position = iter(pictures), -1
    idle = np.full((height, width, 3), _IDLE_CODE, np.uint8)
    picture = idle
    exposures = _exposures(how.flicker, named_rng(seed, "exposure"))
    settings = EncoderSettings(crf=how.crf, pixel_format="yuv420p", tune="").fitting(width, height)
    degraders: dict[float, Degrader] = {}
    with VideoWriter(path, width, height, fps, settings) as writer:
        for number, index in enumerate(shown):
            while position < index:
                picture = _on_screen(next(stream), how)
                position += 1
            exposure = round(next(exposures), 3)
            if exposure not in degraders:
                degraders[exposure] = Degrader(film, layers, camera.with_exposure(exposure), seed=seed)
            frame = picture if index >= 0 else idle
            writer.write(degraders[exposure].degrade(frame[np.newaxis], first_frame=number)[0])


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
