"""Small clips and simulated runs for the tests of marks and replays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from capture_rig.cameras.pose import ScreenPose
from capture_rig.cameras.simulated import DROPPED, SimulatedCamera
from capture_rig.marks import CLIP, MarkPainter, Stretch, patterns
from capture_rig.screens import VirtualScreen
from capture_rig.sync import signature
from lps_sim import Camera, FilmModel
from lps_sim.media import write_video

FPS = 25


class Run(NamedTuple):
    """Signatures (R, CELLS), numbers (R,), and the played frame (R,) that each frame really shows most of its time."""

    signatures: np.ndarray
    numbers: np.ndarray
    shows: np.ndarray


def simulated(size: tuple[int, int], layers: int, **how: object) -> tuple[VirtualScreen, SimulatedCamera]:
    """A screen, and a camera that sees it a little askew through film and loses 2 % of its frames."""
    screen = VirtualScreen(*size)
    sensor = Camera.from_field_of_view(*size, 70.0, full_well_e=10000, read_noise_e=5.0)
    settings = {"fps": FPS, "screen_fps": FPS, "phase": 0.5, "clock_drift": 5e-4, "drop_rate": 0.02, "seed": 3, **how}
    pose = ScreenPose.placed(size, sensor, fill=0.9, roll_deg=2, tilt_deg=4, pan_deg=-5)
    film = FilmModel.load("p3ar-10layer") if layers else None
    return screen, SimulatedCamera(screen.at, sensor, film, layers, pose=pose, engine="fast", **settings)


def truth(camera: SimulatedCamera) -> np.ndarray:
    """(R,) played frame that every delivered frame shows for most of its exposure."""
    there = [one for one in camera.truth if one.fate != DROPPED]
    return np.floor([one.screen_s * FPS + camera.shutter / 2 + 1e-9 for one in there]).astype(int)


def still_or_moving(stretches: Sequence[Stretch], painter: MarkPainter, still: bool) -> Iterator[np.ndarray]:
    """Screen pictures of a run whose clips show a bright or black bar over tiles, which moves or does not."""
    table, (width, height) = patterns(stretches), (painter.stage.width, painter.stage.height)
    for stretch in stretches:
        tiles = np.random.default_rng(stretch.first).integers(20, 200, (8, 10, 1), dtype=np.uint8)
        ground = np.kron(tiles, np.ones((height // 8 + 1, width // 10 + 1, 1), np.uint8))[:height, :width].repeat(3, 2)
        for frame in range(stretch.first, stretch.end):
            clip = None
            if stretch.kind == CLIP:
                clip = ground.copy()
                left = (stretch.first + (0 if still else 3 * (frame - stretch.first))) % (width - 20)
                clip[height // 3 :, left : left + 20] = 255 if stretch.first % 2 else 0
            yield painter.paint(table[frame], clip)


def filmed(stretches: Sequence[Stretch], size: tuple[int, int], layers: int, still: bool = False, **how: object) -> Run:
    """One run, filmed to its end."""
    screen, camera = simulated(size, layers, **how)
    playback = screen.play(still_or_moving(stretches, MarkPainter(*size), still), FPS)
    signatures, numbers = [], []
    while not playback.finished:
        frame = camera.read()
        signatures.append(signature(frame.codes))
        numbers.append(frame.number)
    return Run(np.array(signatures), np.array(numbers), truth(camera))


def write_clips(folder: Path, count: int, frames: int = 20) -> list[int]:
    """Clips clip00.mp4 ... of 80x64 with a bar that moves over tiles; every third stands still for half of its time.

    Returns their lengths.
    """
    rng = np.random.default_rng(count)
    lengths = [int(rng.integers(frames - 5, frames + 6)) for _ in range(count)]
    for number, length in enumerate(lengths):
        tiles = np.kron(rng.integers(20, 200, (8, 10, 1), dtype=np.uint8), np.ones((8, 8, 1), np.uint8)).repeat(3, 2)
        clip = np.repeat(tiles[np.newaxis], length, axis=0)
        for t in range(length):
            left = 2 * (min(t, length // 2) if number % 3 == 0 else t) % 60
            clip[t, 20:, left : left + 16] = 255 if number % 2 else 0
        write_video(folder / f"clip{number:02d}.mp4", clip, FPS)
    return lengths
