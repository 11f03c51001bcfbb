"""Checkpoints of a run in progress: everything needed to go on in mid-epoch to the same numbers.

A checkpoint is a few files, each whole or absent, and a JSON file written last that names them with their hashes:

    step-00000040.model.safetensors      weights
    step-00000040.average.safetensors    their running average, if there is one
    step-00000040.optimizer.pt           optimiser and gradient scaler (tensors and numbers; no code is loaded)
    step-00000040.json                   where the run stands

Random draws and the order of clips follow from seed, epoch and step, so no generator's state needs saving.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor, distribute_tensor

from lps_sim.files import atomic_path, clear_unfinished, sha256_file, write_atomic

from .optimizer import WeightAverage
from .parallel import whole

FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)


@dataclass
class Standing:
    """Where a run stands: plain numbers, stored as JSON.

    ``step`` optimiser steps are done, ``step_in_epoch`` of them in ``epoch``; ``history`` has one record a finished
    epoch. ``epoch_sums`` and ``window_sums`` are running sums of the loss terms since the epoch's start and the last
    line of metrics. ``terms`` are the facts that a run must not change on its way, by name.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    best_score: tuple[float, float] | None = None
    best_epoch: int = -1
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    epoch_sums: dict[str, float] = field(default_factory=dict)
    window_sums: dict[str, float] = field(default_factory=dict)
    terms: dict[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one run, newest first; only the main process writes.

    Parameters
    ----------
    folder : where they lie
    keep : how many of the newest are kept
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep
        self.notes: list[str] = []

    def steps(self) -> list[int]:
        """Steps of the checkpoints that were finished, newest first."""
        return sorted((int(path.stem.removeprefix("step-")) for path in self.folder.glob("step-*.json")), reverse=True)

    def save(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage,
        standing: Standing,
    ) -> None:
        """Write the state after ``standing.step`` and remove those no longer kept. Every process must call it."""
        inner = getattr(optimizer, "optimizer", optimizer)
        weights = full_weights(model)
        averages = {name: whole(value) for name, value in average.tensors.items()}
        scaler = accelerator.scaler.state_dict() if accelerator.scaler is not None else {}
        state = {"optimizer": get_optimizer_state_dict(model, inner, options=FULL), "scaler": scaler}
        if not accelerator.is_main_process:
            return
        files = {}
        for part, tensors in (("model", weights), ("average", averages)):
            if tensors:
                path = self._path(standing.step, f"{part}.safetensors")
                with atomic_path(path) as temporary:
                    save_file(tensors, temporary)
                    files[path.name] = sha256_file(temporary)
        path = self._path(standing.step, "optimizer.pt")
        with atomic_path(path) as temporary:
            torch.save(state, temporary)
            files[path.name] = sha256_file(temporary)
        write_atomic(self._path(standing.step, "json"), json.dumps({"files": files, **asdict(standing)}))
        self._prune()

    def load(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: WeightAverage,
        terms: Mapping[str, Any],
    ) -> Standing:
        """Bring everything to the newest whole checkpoint; without any, stand at the beginning.

        A checkpoint with a missing or damaged file is passed over for the one before, with a line in ``notes``.

        Raises
        ------
        ValueError
            When checkpoints exist but none is whole, or when the run's ``terms`` are not the checkpoint's.
        """
        if accelerator.is_main_process and self.folder.is_dir():
            clear_unfinished(self.folder)
        chosen = [self._newest_whole() if accelerator.is_main_process else None]
        step = broadcast_object_list(chosen)[0]
        if step is None:
            return Standing(terms=dict(terms))
        if step < 0:
            raise ValueError(f"resume: no checkpoint in {self.folder} is whole: {'; '.join(self.notes)}")
        values = json.loads(self._path(step, "json").read_text(encoding="utf-8"))
        files = values.pop("files")
        standing = Standing(**values)
        _require_same_terms(standing.terms, terms)
        set_full_weights(model, load_file(self._path(step, "model.safetensors")))
        path = self._path(step, "average.safetensors")
        if average.tensors and path.name in files:
            average.load(_like(average.tensors, load_file(path)))
        elif average.tensors:
            raise ValueError("resume: optim.ema_decay must stay 0, as this run began, or the run must begin anew")
        state = torch.load(self._path(step, "optimizer.pt"), map_location="cpu", weights_only=True)
        inner = getattr(optimizer, "optimizer", optimizer)
        configured = [{key: value for key, value in group.items() if key != "params"} for group in inner.param_groups]
        # Parameters that never had a gradient, such as those of a part left out, have no state.
        whole_state = StateDictOptions(full_state_dict=True, strict=False)
        set_optimizer_state_dict(model, inner, state["optimizer"], options=whole_state)
        for group, values in zip(inner.param_groups, configured):
            group.update(values)  # a run may go on with other rates
        if accelerator.scaler is not None and state["scaler"]:
            accelerator.scaler.load_state_dict(state["scaler"])
        return standing

    def _path(self, step: int, part: str) -> Path:
        return self.folder / f"step-{step:08d}.{part}"

    def _newest_whole(self) -> int | None:
        """Step of the newest whole checkpoint; None where there never was one, -1 where all are damaged."""
        steps = self.steps()
        for step in steps:
            problem = self._problem(step)
            if problem is None:
                return step
            self.notes.append(f"checkpoint of step {step} passed over: {problem}")
        return -1 if steps else None

    def _problem(self, step: int) -> str | None:
        try:
            files = json.loads(self._path(step, "json").read_text(encoding="utf-8"))["files"]
        except (ValueError, KeyError):
            return f"{self._path(step, 'json').name} is damaged"
        for name, digest in files.items():
            if not (self.folder / name).is_file():
                return f"{name} is missing"
            if sha256_file(self.folder / name) != digest:
                return f"{name} is damaged"
        return None

    def _prune(self) -> None:
        kept = {f"step-{step:08d}" for step in self.steps()[: self.keep]}
        old = [path for path in self.folder.glob("step-*") if path.name.partition(".")[0] not in kept]
        # The JSON file first: what is left without one is no checkpoint any more.
        for path in sorted(old, key=lambda path: path.suffix != ".json"):
            path.unlink()


def full_weights(model: nn.Module) -> dict[str, Tensor]:
    """The whole state dict on the CPU (on the main process; empty elsewhere where weights are sharded)."""
    weights: dict[str, Any] = get_model_state_dict(model, options=FULL)
    return {name: value.contiguous() for name, value in weights.items()}


def set_full_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load a whole state dict into a model, sharded or not."""
    set_model_state_dict(model, dict(weights), options=StateDictOptions(full_state_dict=True))


def names_digest(names: list[str]) -> str:
    """Eight hexadecimal digits that change when a list of clips does."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]


def _like(sharded: Mapping[str, Tensor], full: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole tensors, cut into shards where their namesakes are."""
    placed = {}
    for name, value in sharded.items():
        placed[name] = full[name]
        if isinstance(value, DTensor):
            placed[name] = distribute_tensor(full[name].to(value.device), value.device_mesh, value.placements)
    return placed


def _require_same_terms(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name, value in now.items():
        if saved.get(name) != value:
            raise ValueError(f"resume: {name} must stay {saved.get(name)}, as the run began, got {value}")
