"""What a run shows while it runs: progress, ``metrics.jsonl``, TensorBoard and Weights & Biases."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch
from accelerate import Accelerator

from lps_sim.files import write_atomic

from .config import TrainConfig


@dataclass(frozen=True)
class Progress:
    """State of a run for a display: ``phase`` is note (``text``), decode, resume, train or validate; ``detail`` has
    figures by name."""

    phase: str
    done: int
    total: int
    detail: dict[str, float] = field(default_factory=dict)
    text: str = ""


class Pace:
    """Clips through training steps, the seconds these took, and how many of them were spent waiting for data.

    Copy one to remember a moment; ``clips`` are those of all processes together.
    """

    def __init__(self) -> None:
        self.seconds, self.waiting, self.clips = 0.0, 0.0, 0
        self.begin()

    def begin(self) -> None:
        """The next step starts now: what lay between, such as a validation, does not count."""
        self._last = time.monotonic()

    def waited(self, get: Callable[[], Any]) -> Any:
        """Result of ``get``, its time counted as waiting for data."""
        asked = time.monotonic()
        result = get()
        self.waiting += time.monotonic() - asked
        return result

    def add(self, clips: int) -> None:
        """A step of ``clips`` is done."""
        now = time.monotonic()
        self.seconds += now - self._last
        self._last = now
        self.clips += clips

    def figures(self, since: Pace) -> dict[str, float]:
        """``clips_s`` and ``data_wait`` (0..1) since an earlier copy."""
        seconds = max(self.seconds - since.seconds, 1e-9)
        return {"clips_s": (self.clips - since.clips) / seconds, "data_wait": (self.waiting - since.waiting) / seconds}


def memory_figures(device: torch.device) -> dict[str, float]:
    """``memory_mb``: this process's resident memory; on a GPU ``device_memory_mb``: the most that tensors took."""
    figures = {"memory_mb": psutil.Process().memory_info().rss / 1e6}
    if device.type == "cuda":
        figures["device_memory_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return figures


class MetricsLog:
    """``metrics.jsonl`` and the trackers: one line every ``log_every`` steps, and one an epoch.

    A line has ``kind`` (step or epoch), ``epoch``, ``step`` (optimiser steps done) and figures. Every line is flushed
    to disk before the next checkpoint, so that a run that goes on neither lacks nor repeats one.

    Parameters
    ----------
    path : the file; only the main process writes
    step, epochs : lines after this step, and of epochs from this one on, are those of a run that was cut off; they go
    """

    def __init__(self, accelerator: Accelerator, path: Path, step: int, epochs: int) -> None:
        self.accelerator, self.path = accelerator, path
        if accelerator.is_main_process:
            write_atomic(path, "".join(_lines_up_to(path, step, epochs)))

    def write(self, kind: str, values: dict[str, float]) -> None:
        """Add one line; its numbers go to the trackers too."""
        if self.accelerator.is_main_process:
            with open(self.path, "a", encoding="utf-8") as stream:
                stream.write(json.dumps({"kind": kind, **values}) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        prefix = "train" if kind == "step" else "epoch"
        numbers = {f"{prefix}/{name}": value for name, value in values.items() if name != "step"}
        self.accelerator.log(numbers, step=int(values["step"]))


def _lines_up_to(path: Path, step: int, epochs: int) -> list[str]:
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []:
        try:
            values = json.loads(line)
        except ValueError:
            break  # a killed process leaves a part of a line, the last one
        if values["step"] <= step and (values["kind"] == "step" or values["epoch"] < epochs):
            kept.append(line)
    return kept


def require_trackers(tracking: Sequence[str]) -> None:
    """Raise ValueError with the cure when a configured tracker is not installed."""
    for name in tracking:
        if importlib.util.find_spec(name) is None:
            raise ValueError(
                f"tracking: {name} is not installed; pip install 'lens-privacy-sealing[track]' or leave it out"
            )


def start_trackers(accelerator: Accelerator, config: TrainConfig, step: int) -> None:
    """Open the configured trackers; points after ``step``, of a run that was cut off, are replaced."""
    if config.tracking:
        arguments = {
            "tensorboard": {"purge_step": step + 1},
            # Offline unless the user says otherwise: training nodes often reach no network. `wandb sync` sends it.
            "wandb": {"mode": os.environ.get("WANDB_MODE", "offline"), "dir": str(config.out), "resume": "allow"},
        }
        accelerator.init_trackers("tracking", _flat(config.model_dump(mode="json")), arguments)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings -> dotted keys with numbers, flags and text, as trackers take them."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            result.update(_flat(value, f"{prefix}{key}."))
        else:
            result[prefix + key] = value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
    return result
