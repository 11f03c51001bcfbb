"""How large a demo is: which performers, actions and sizes, and how long the networks train."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lps_sim.config import StrictModel

# 1 2 4 5 8 9 13 14 15 16 train and the rest test by the cross-subject rule of NTU RGB+D.
PERFORMERS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
# Large movements, three of them mutual: drink water, pick up, sit down, stand up, cheer up, hand waving, kicking
# something, hopping, squat down, arm circles, kicking, shaking hands.
ACTIONS = (1, 6, 8, 9, 22, 23, 24, 26, 51, 58, 80, 97)


class DemoSettings(StrictModel):
    """Everything that decides what a demo computes; kept beside its results."""

    out: Path
    seed: int = 0
    video: Path | None = Field(default=None, description="real clip that opens the report; None: the street clip")
    workers: int | None = Field(default=None, ge=1, description="worker processes; None: one a processor")
    film: str = Field(default="p3ar-10layer", description="the true film; the pipeline sees only shots through it")
    layers: int = Field(default=10, ge=1, le=64, description="layer count of the degraded data set")
    fit_layers: tuple[int, ...] = Field(default=(1, 4, 10), description="layer counts of the calibration shots")
    fit_family: str = Field(default="auto", description="family of the fit; auto: all compete")
    shot_size: tuple[int, int] = (320, 180)
    performers: tuple[int, ...] = PERFORMERS
    actions: tuple[int, ...] = ACTIONS
    cameras: int = Field(default=3, ge=1, le=3)
    setups: tuple[int, ...] = (1, 2)
    clip_size: tuple[int, int] = (320, 180)
    fps: float = 15.0
    seconds: float = 2.4
    clips: int | None = Field(default=960, ge=1, description="render only this many of all combinations")
    frame_size: int = Field(default=112, description="side of the data set's square frames, px")
    protocol: str = "ntu120-xsub"
    training: tuple[str, ...] = Field(default=(), description="key=value overrides of the `tiny` preset")
    attack_steps: int | None = Field(default=None, ge=1, description="steps of the attacker; None: its default")

    @classmethod
    def of_size(cls, size: Literal["full", "quick"], **fields: Any) -> DemoSettings:
        """The demo as shown to visitors, or a smoke run that takes every step with very little data."""
        if size == "quick":
            small: dict[str, Any] = {
                "performers": (1, 2, 3, 4, 5, 6, 7, 8),
                "fit_family": "gaussian+moffat",
                "actions": (22, 80),
                "cameras": 1,
                "clip_size": (160, 90),
                "seconds": 1.0,
                "shot_size": (160, 90),
                "training": ("optim.epochs=2", "optim.warmup_epochs=1", "optim.batch=4", "data.validation_share=0.4"),
                "attack_steps": 10,
            }
            fields = {**small, **fields}
        return cls(**fields)

    @property
    def worker_count(self) -> int:
        """Worker processes to start."""
        return self.workers or os.cpu_count() or 1
