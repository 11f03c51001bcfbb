"""An in-memory data set whose action is the direction in which a blob moves, and whose identity is its brightness."""

import numpy as np

from dataset_builder.naming import ntu_name

DIRECTIONS = {5: (0, 1), 6: (0, -1), 7: (1, 0), 8: (-1, 0)}  # action number -> step (y, x), px a frame
FRAMES, SIDE = 16, 32


class MovingBlobs:
    """Clip reader over generated clips: 32x32, 16 frames, four actions, a static noise pattern as background."""

    def __init__(self, performers=(1, 2, 3, 4, 5, 8, 9, 10), setups=(1, 2), replications=(1, 2)):
        self._names = [
            ntu_name(setup, 1, performer, replication, action)
            for setup in setups
            for performer in performers
            for replication in replications
            for action in DIRECTIONS
        ]
        self.reads = 0

    def names(self):
        return list(self._names)

    def absent(self, names):
        return []

    def frame_count(self, name):
        return FRAMES

    def read(self, name, indices):
        self.reads += 1
        return self._clip(name)[list(indices)]

    def mean(self, name):
        return self._clip(name).mean(axis=0, dtype=np.float32)

    def _clip(self, name):
        rng = np.random.default_rng([int(digit) for digit in name if digit.isdigit()])
        background = rng.integers(60, 90, (SIDE, SIDE, 3))
        step = DIRECTIONS[int(name[-3:])]
        y, x = np.mgrid[:SIDE, :SIDE]
        centre = SIDE / 2 + rng.uniform(-3, 3, 2)
        level = 20 + 12 * int(name[9:12])
        frames = []
        for t in range(FRAMES):
            cy, cx = centre + (t - FRAMES / 2) * np.asarray(step)
            blob = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 18)
            frames.append(background + level * blob[..., None])
        return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def toy_config(out, **changes):
    """A run of seconds on :class:`MovingBlobs`; ``changes`` override sections, such as ``optim={"epochs": 3}``."""
    values = {
        "base": "tiny",
        "out": str(out),
        "evaluate_every": 1,
        "data": {"size": 32, "frames": 4, "gap": 2, "cache_mb": 50, "validation_share": 0.2},
        "model": {
            "patch_size": 8,
            "vision_width": 32,
            "vision_layers": 1,
            "vision_heads": 2,
            "text_width": 16,
            "projection_dim": 32,
            "temporal_heads": 2,
            "prompt_heads": 2,
            "stem_channels": [8],
        },
        "augment": {"flip": 0.0, "mixup_alpha": 0.0},
        "optim": {"epochs": 6, "warmup_epochs": 1, "batch": 8, "rate": 3e-3},
    }
    for section, change in changes.items():
        values[section] = {**values[section], **change} if isinstance(change, dict) else change
    return values
