"""AdamW as published: its parameter groups, the rate over the steps, and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from .config import OptimConfig


def adamw(model: nn.Module, optim: OptimConfig) -> torch.optim.AdamW:
    """The optimiser of the trainable parameters, at step 0."""
    groups = parameter_groups(model, optim)
    # One kernel a group instead of a dozen passes over the weights.
    return torch.optim.AdamW(groups, lr=optim.rate, betas=optim.betas, eps=optim.eps, fused=True)


def parameter_groups(model: nn.Module, optim: OptimConfig) -> list[dict[str, Any]]:
    """AdamW groups as published: no decay on 1-D parameters, message and prompt parameters at a higher rate."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            raised = ".message_" in name or ".prompts_" in name
            rate = optim.rate * (optim.prompt_rate_factor if raised else 1)
            decay = optim.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "base_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def rate_factor(step: int, steps_per_epoch: int, optim: OptimConfig) -> float:
    """Share of the base rate at a step: linear warm-up, then half a cosine down to ``final_fraction``."""
    warmup = optim.warmup_epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / (warmup + 1)
    total = optim.epochs * steps_per_epoch
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return optim.final_fraction + (1 - optim.final_fraction) * 0.5 * (1 + math.cos(math.pi * progress))


class WeightAverage:
    """Exponential moving average of what training changes: trainable parameters and floating-point buffers.

        a <- d a + (1 - d) w,   d = min(decay, (1 + t) / (10 + t)) at step t

    The rising start keeps the random weights of the first steps out (as in TensorFlow's ExponentialMovingAverage).

    Parameters
    ----------
    decay : 0..1; 0 switches the average off: it holds nothing and :meth:`swapped` changes nothing
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        changing: list[tuple[str, Tensor]] = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        changing += [(name, buffer) for name, buffer in model.named_buffers() if buffer.is_floating_point()]
        self._weights: dict[str, Tensor] = {name: value.detach() for name, value in changing if decay}
        self.tensors = {name: value.clone() for name, value in self._weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step ``step``, counted from 0."""
        if self.tensors:
            decay = min(self.decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(_local(self.tensors), _local(self._weights), 1 - decay)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over averages saved under the same names."""
        for name, value in self.tensors.items():
            value.copy_(tensors[name])

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The model has the averaged weights inside, its own again afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self.tensors.items():
            held = value.clone()
            value.copy_(self._weights[name])
            self._weights[name].copy_(held)


def _local(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """What this process holds of tensors that may be sharded."""
    return [value.to_local() if isinstance(value, DTensor) else value for value in tensors.values()]
