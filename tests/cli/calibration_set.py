"""One small simulated calibration set for the tests of ``lps film``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lps_sim import Camera, FilmModel
from lps_sim.calibration.simulate import Scene, simulate_shots

WIDTH, HEIGHT = 160, 90


def sound_set(folder: Path, lens_blur_px: float = 0.0) -> Path:
    """``shots.yaml`` of a sound set: edge, blocks and flat at 1 and 4 layers of a rough film."""
    x = np.tile(np.arange(WIDTH), (HEIGHT, 1))
    blocks = np.kron(np.random.default_rng(0).random((15, 20)) > 0.5, np.ones((6, 8))).astype(float)
    scenes = [
        Scene("edge", "edge", np.clip((x - 60) / 40, 0.001, 1)),
        Scene("noise", "noise", 0.001 + 0.9 * blocks, bracket=(1.0, 4.0)),
        Scene("flat", "flat", np.ones((HEIGHT, WIDTH)), bracket=(1.0,)),
    ]
    camera = Camera.from_field_of_view(WIDTH, HEIGHT, 70.0)
    return simulate_shots(FilmModel.load("rough"), scenes, camera, folder, (1, 4), seed=1, lens_blur_px=lens_blur_px)
