"""Small played clips for the tests of recaptures."""

from __future__ import annotations

import numpy as np

from dataset_builder.naming import ntu_name
from dataset_builder.scenes.render import SceneSettings, render_clip

ACTIONS = (23, 22, 6, 10, 26, 38, 24)


def moving_square(frames: int, seed: int = 0) -> np.ndarray:
    """(T, 36, 64, 3): a bright square that moves over grey tiles."""
    tiles = np.random.default_rng(seed).integers(20, 90, (9, 16), dtype=np.uint8)
    clip = np.repeat(np.kron(tiles, np.ones((4, 4), np.uint8))[None, :, :, None], frames, axis=0).repeat(3, axis=3)
    steps = np.random.default_rng(seed).integers(-3, 5, frames)
    for t, left in enumerate(np.cumsum(steps) % 48):
        clip[t, 8:24, left : left + 16] = 240
    return clip


def rendered_clips(count: int) -> dict[str, np.ndarray]:
    """Name -> frames (T, 90, 160, 3); every fifth stands still at both ends, every seventh repeats the one before."""
    rng = np.random.default_rng(count)
    names = [ntu_name(1, c, p, 1, a) for c in (1, 2, 3) for p in (1, 2, 3) for a in sorted(ACTIONS)][:count]
    clips: dict[str, np.ndarray] = {}
    for number, name in enumerate(names):
        frames = int(rng.integers(40, 60))
        still = frames // 4 if number % 5 == 2 else 0
        if number % 7 == 5:
            clips[name] = clips[names[number - 1]][:40]
            continue
        moving = np.stack(list(render_clip(name, SceneSettings(160, 90, 30, frames - 2 * still, 0)).frames()))
        clips[name] = np.concatenate([moving[:1].repeat(still, 0), moving, moving[-1:].repeat(still, 0)])
    return clips
