"""The loss: action plus weighted privacy cross-entropies, and its record over steps and processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor
from torch.nn import functional

from .config import LossConfig
from .sides import Labels


class NonFiniteLossError(ValueError):
    """The loss became NaN or infinite; the message names epoch, step and the clips of the batch."""


class Criterion:
    """Action cross-entropy plus weighted privacy cross-entropies, on smoothed and mixed labels."""

    def __init__(self, loss: LossConfig, labels: Labels, device: torch.device) -> None:
        self.smoothing, self.device = loss.label_smoothing, device
        self.classes = {"action": len(labels.actions), **{head: len(v) for head, v in labels.heads.items()}}
        self.weights = {"action": 1.0, **{head: loss.privacy[head] for head in labels.heads}}

    def __call__(
        self, action: Tensor, privacy: dict[str, Tensor], labels: dict[str, Tensor], mix: Any
    ) -> dict[str, Tensor]:
        """``loss`` and its terms by head. Every label is a known class, since classes come from the training clips."""
        terms = {}
        for head, logits in {"action": action, **privacy}.items():
            hard = functional.one_hot(labels[head].to(self.device), self.classes[head]).float()
            soft = hard * (1 - self.smoothing) + self.smoothing / self.classes[head]
            terms[f"{head}_loss"] = functional.cross_entropy(logits.float(), mix.targets(soft))
        loss = torch.stack([self.weights[name.removesuffix("_loss")] * term for name, term in terms.items()]).sum()
        return {"loss": loss, **terms}


class LossRecord:
    """Loss terms of batches, left on the device until asked for: reading each at once would stall a GPU every step."""

    def __init__(self, accelerator: Accelerator, accumulate: int) -> None:
        self.accelerator, self.accumulate = accelerator, accumulate
        self._names: tuple[str, ...] = ()
        self._batches: list[tuple[int, int, list[str], Tensor]] = []

    def add(self, epoch: int, step: int, clips: list[str], losses: dict[str, Tensor]) -> None:
        """Note one batch's terms."""
        self._names = tuple(losses)
        self._batches.append((epoch, step, clips, torch.stack(list(losses.values())).detach()))

    def collect(self) -> list[dict[str, float]]:
        """Terms of every step noted since the last call, averaged over its batches and over the processes.

        Every process must call it after the same step.

        Raises
        ------
        NonFiniteLossError
            On every process, when the loss was not finite on any; the clips are those of the batches concerned.
        """
        if not self._batches:
            return []
        own = torch.stack([terms for *_, terms in self._batches])  # (batches, terms)
        of_all = self.accelerator.gather(own[None]).cpu()  # (processes, batches, terms)
        self._require_finite(of_all)
        self._batches.clear()
        of_steps = of_all.double().mean(dim=0).unflatten(0, (-1, self.accumulate)).mean(dim=1)
        return [dict(zip(self._names, row)) for row in of_steps.tolist()]

    def _require_finite(self, losses: Tensor) -> None:
        bad = ~losses[:, :, 0].isfinite()  # (processes, batches)
        if not bool(bad.any()):
            return
        first = int(bad.any(dim=0).int().argmax())
        epoch, step, clips, _ = self._batches[first]
        concerned = gather_object(clips if bad[self.accelerator.process_index, first] else [])
        value = losses[int(bad[:, first].int().argmax()), first, 0].item()
        raise NonFiniteLossError(f"loss is {value} in epoch {epoch}, step {step}, clips {', '.join(concerned)}")


def add_terms(sums: dict[str, float], steps: Iterable[dict[str, float]]) -> None:
    """Add the terms of steps to running sums, with their number under ``steps``."""
    for terms in steps:
        for name, value in {"steps": 1, **terms}.items():
            sums[name] = sums.get(name, 0) + value


def mean_terms(sums: dict[str, float]) -> dict[str, float]:
    """Means of running sums of :func:`add_terms`."""
    return {name: value / sums["steps"] for name, value in sums.items() if name != "steps"}
