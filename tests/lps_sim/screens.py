"""What the calibration tests show on the simulated screen."""

from __future__ import annotations

import numpy as np

from lps_sim.calibration.simulate import Scene


def screen(width: int = 160, height: int = 90, seed: int = 1) -> list[Scene]:
    """Scenes on a screen that leaves a dark rim: slanted edge, dark disc on white, blocks, flat; and held blocks."""
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.default_rng(seed)
    lit = (abs(x - width / 2) < 0.47 * width) & (abs(y - height / 2) < 0.47 * height)

    def on_screen(picture):
        return np.where(lit, np.maximum(picture, 8e-4), 0.0)

    def blocks():
        fine = rng.random((height // 3 + 1, width // 3 + 1)) > 0.5
        return np.kron(fine, np.ones((3, 3)))[:height, :width].astype(float)

    return [
        Scene("edge", "edge", on_screen(np.clip(x - width / 2 + 0.1 * y, 0, 1))),
        Scene("hole", "hole", on_screen(np.hypot(x - width / 2, y - height / 2) > 8)),
        Scene("noise", "noise", on_screen(blocks()), bracket=(1.0, 4.0)),
        Scene("flat", "flat", on_screen(np.ones((height, width))), bracket=(1.0,)),
        Scene("other", "noise", on_screen(blocks()), role="held", bracket=(1.0,)),
    ]
