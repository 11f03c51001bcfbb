"""A run that only keeps what it was told, with a street seen through film as the camera's picture."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class FakePreview:
    """What an operator sees of the camera; built from its codes alone."""

    codes: np.ndarray
    at_s: float = field(default_factory=time.monotonic)
    focus: float = 12.5

    @property
    def histogram(self) -> np.ndarray:
        return np.stack([np.bincount(self.codes[..., channel].ravel(), minlength=256) for channel in range(3)])

    @property
    def clipped_share(self) -> float:
        return float(np.mean(self.codes == 255))

    @property
    def dark_share(self) -> float:
        return float(np.mean(self.codes == 0))


class FakeRun:
    """Implements Operated; ``calls`` lists what the operator did."""

    def __init__(self, codes: np.ndarray | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.waiting: int | None = None
        self.running = False
        self.refusal = ""
        self._preview = None if codes is None else FakePreview(codes)
        self.shots = [shot(f"{target}_n{layers}", layers) for layers in (0, 1) for target in ("dark", "flat", "noise1")]
        self.checks: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = {}

    def state(self) -> dict[str, Any]:
        doing = [entry["name"] for entry in self.shots if entry["status"] == "doing"]
        return {
            "shots": self.shots,
            "current": doing[0] if doing else None,
            "running": self.running,
            "phase": "Taking shots" if self.running else "Stopped",
            "message": f"{len(self.calls)} calls so far",
            "waiting_for": None if self.waiting is None else {"layers": self.waiting},
            "checks": self.checks,
            **self.facts,
        }

    def preview(self) -> FakePreview | None:
        return self._preview

    def start(self) -> None:
        self._called("start")
        self.running = True

    def stop(self) -> None:
        self._called("stop")
        self.running = False

    def repeat(self, shot_name: str) -> None:
        self._called("repeat", shot_name)

    def confirm(self, layers: int) -> None:
        self._called("confirm", layers)
        self.waiting = None

    def _called(self, *call: Any) -> None:
        if self.refusal:
            raise ValueError(self.refusal)
        self.calls.append(call)


def shot(name: str, layers: int, status: str = "todo", **more: Any) -> dict[str, Any]:
    """One entry of a shot list."""
    scene = name.rpartition("_n")[0]
    entry = {"name": name, "scene": scene, "target": scene.rstrip("12"), "layers": layers, "exposure": 1.0}
    return {**entry, "role": "fit", "status": status, "note": "", **more}
