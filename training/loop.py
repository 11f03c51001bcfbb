"""Training, top to bottom in execution order: data, model, optimiser, epochs, validation, checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from lps_sim import __version__
from lps_sim.files import atomic_path, write_atomic
from lps_sim.seeding import named_seed

from .augment import colour_matrices, mix_clips, random_crop_flip
from .checkpoint import ModelCard, save_model
from .config import DataConfig, MSPNetConfig, OptimConfig, TrainConfig, dump_config
from .data import ClipDataset, ClipReader, EpochBatches, Labels, collate, frame_tensors, open_dataset, plan_data
from .evaluate import predict
from .ifns import network_input
from .model import MSPNet
from .online import OnlineFilm, online_film
from .scores import top_k
from .text import tokenize_classes
from .weights import load_pretrained

SCALE_CLIPS = 64
"""Training clips from which the spread of the differences is measured."""


class NonFiniteLossError(ValueError):
    """The loss became NaN or infinite; the message names the step and the clips of the batch."""


@dataclass(frozen=True)
class Progress:
    """State of a run for a display: ``phase`` is decode, train or validate; ``detail`` has epoch, loss, lr, clips_s."""

    phase: str
    done: int
    total: int
    detail: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RunSummary:
    """What a run left: its folder, the best checkpoint and validation score, one record an epoch."""

    out: Path
    checkpoint: Path
    best_epoch: int
    validation_top1: float
    seconds: float
    history: list[dict[str, float]]
    notes: list[str]


def train(
    config: TrainConfig,
    on_progress: Callable[[Progress], None] | None = None,
    reader: ClipReader | None = None,
    resume: bool = False,
) -> RunSummary:
    """Train MSPNet as configured.

    The best checkpoint is chosen by action top-1 on validation performers carved from the training side (loss breaks
    ties), never on the test side. Random draws depend on (seed, epoch) only, so a resumed run goes on as if it had not
    stopped.

    Parameters
    ----------
    on_progress : called after each batch
    reader : clips; default: those of ``config.data.dataset``
    resume : go on after the last finished epoch in ``config.out``, if there is one

    Raises
    ------
    ValueError
        Before any training, for missing clips, empty sides or an occupied ``config.out``.
    NonFiniteLossError
        When the loss is not finite.
    """
    started = time.monotonic()
    report = on_progress or (lambda progress: None)
    last = config.out / "checkpoints" / "last.pt"
    best = config.out / "checkpoints" / "best.safetensors"
    if last.exists() and not resume:
        raise ValueError(f"out: {config.out} already holds a run; resume it or choose another folder")

    # -- data
    heads = [head for head, weight in config.loss.privacy.items() if weight > 0]
    reader = reader or open_dataset(config.data)
    plan = plan_data(reader.names(), config.data, heads)
    accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision=config.optim.precision)
    device, optim = accelerator.device, config.optim
    batches = EpochBatches(
        len(plan.train),
        optim.batch,
        config.seed,
        accelerator.process_index,
        accelerator.num_processes,
        optim.accumulate,
        [plan.labels.of(name)["action"] for name in plan.train],
        config.data.balance,
    )
    film = online_film(config.data)
    train_set = ClipDataset(reader, plan.train, plan.labels, config.data, seed=named_seed(config.seed, "clips"))
    validation_set = ClipDataset(reader, plan.validation, plan.labels, config.data)
    clips = len(train_set) + len(validation_set)
    train_set.preload(lambda done, _: report(Progress("decode", done, clips)))
    validation_set.preload(lambda done, _: report(Progress("decode", len(train_set) + done, clips)))
    workers = config.data.workers
    train_loader = DataLoader(train_set, batch_sampler=batches, collate_fn=collate, num_workers=workers)
    validation_loader = DataLoader(validation_set, optim.batch, collate_fn=collate, num_workers=workers)

    # -- model
    torch.manual_seed(named_seed(config.seed, "weights") % 2**63)
    tokens = tokenize_classes(plan.labels.class_names, config.tokenizer, config.weights)
    model = MSPNet(model_config(config, plan.labels, tokens.vocab_size, tokens.input_ids.shape[1]))
    notes = [str(load_pretrained(model, config.weights))] if config.weights else []
    if config.data.normalise:
        set_input_scale(model, train_set, config.data, film)
    frozen_text = config.model.freeze_text
    if frozen_text:
        for part in (model.xclip.text_model, model.xclip.text_projection):
            part.requires_grad_(False)
    model.to(device)
    input_ids = tokens.input_ids.to(device)
    with torch.no_grad():
        text_features = model.encode_text(input_ids) if frozen_text else None

    # -- optimiser
    optimizer = torch.optim.AdamW(parameter_groups(model, optim), lr=optim.rate, betas=optim.betas, eps=optim.eps)
    network, optimizer = accelerator.prepare(model, optimizer)
    steps_per_epoch = len(batches) // optim.accumulate
    criterion = Criterion(config, plan.labels, device)

    # -- where we stand
    history: list[dict[str, float]] = []
    first_epoch, best_score, best_epoch = 0, (-1.0, -math.inf), -1
    if last.exists():
        state = torch.load(last, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        history, best_score, best_epoch = state["history"], tuple(state["best_score"]), state["best_epoch"]
        first_epoch = state["epoch"] + 1
    if accelerator.is_main_process:
        write_atomic(config.out / "config.yaml", dump_config(config, lps=__version__))

    for epoch in range(first_epoch, optim.epochs):
        # Every draw of an epoch comes from (seed, epoch, process): resuming needs no generator state.
        epoch_seed = named_seed(config.seed, "epoch", epoch, accelerator.process_index) % 2**63
        torch.manual_seed(epoch_seed)
        generator = Generator().manual_seed(epoch_seed)
        batches.epoch = epoch
        network.train()
        epoch_started, waited, totals = time.monotonic(), 0.0, Totals()
        for position, (batch, wait) in enumerate(timed(train_loader)):
            waited += wait
            step, part = divmod(position, optim.accumulate)
            if part == 0:
                lr_factor = rate_factor(epoch * steps_per_epoch + step, steps_per_epoch, optim)
                for group in optimizer.param_groups:
                    group["lr"] = group["base_lr"] * lr_factor

            inputs = frame_tensors(batch, device, film)  # 4 x (B, T, 3, H, W)
            colour = colour_matrices(len(batch["name"]), config.augment, generator).to(device)
            differences = network_input(*inputs, ifns=config.model.ifns, signed=config.data.signed, colour=colour)
            differences = random_crop_flip(differences, config.augment, generator)
            differences, mix = mix_clips(differences, config.augment, generator)

            synchronise = part == optim.accumulate - 1
            with nullcontext() if synchronise else accelerator.no_sync(network):
                with accelerator.autocast():
                    out = network(
                        differences,
                        input_ids=None if frozen_text else input_ids,
                        weights=batch["weights"].to(device) if config.model.cfsa_weights else None,
                        text_features=text_features,
                    )
                losses = criterion(out.action_logits, out.privacy_logits, batch["labels"], mix)
                if not math.isfinite(value := losses["loss"].item()):
                    raise NonFiniteLossError(
                        f"loss is {value} in epoch {epoch}, step {step}, clips {', '.join(batch['name'])}"
                    )
                # Equal batches: the mean over the accumulated ones is the loss of one large batch.
                accelerator.backward(losses["loss"] / optim.accumulate)
            if synchronise:
                if optim.clip_norm:
                    accelerator.clip_grad_norm_(network.parameters(), optim.clip_norm)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

            totals.add({name: term.item() for name, term in losses.items()})
            spent = time.monotonic() - epoch_started
            done = (position + 1) * optim.batch * accelerator.num_processes
            report(
                Progress(
                    "train",
                    epoch * len(batches) + position + 1,
                    optim.epochs * len(batches),
                    {"epoch": epoch, "loss": value, "lr": optim.rate * lr_factor, "clips_s": done / spent},
                )
            )

        # -- validation, on performers that training never sees
        record: dict[str, float] = {
            "epoch": epoch,
            **totals.means(),
            "lr": optim.rate * lr_factor,
            "clips_s": done / spent,
            "data_wait": waited / spent,
        }
        if (epoch + 1) % config.evaluate_every == 0 or epoch + 1 == optim.epochs:
            scores = validate(model, validation_loader, tokens.input_ids, config.data, device, report, film)
            record.update(scores)
            score = (scores["validation_top1"], -scores["validation_loss"])
            if score > best_score:
                best_score, best_epoch = score, epoch
                card = model_card(config, plan.labels, tokens.input_ids, {"epoch": epoch, **scores})
                if accelerator.is_main_process:
                    save_model(best, model, card)
        record["seconds"] = time.monotonic() - started
        history.append(record)
        if accelerator.is_main_process:
            write_atomic(config.out / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in history))
            with atomic_path(last) as temporary:
                state = {
                    "epoch": epoch,
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "history": history,
                    "best_score": best_score,
                    "best_epoch": best_epoch,
                }
                torch.save(state, temporary)
    return RunSummary(config.out, best, best_epoch, best_score[0], time.monotonic() - started, history, notes)


def model_config(config: TrainConfig, labels: Labels, vocab_size: int, context_length: int) -> MSPNetConfig:
    """The network's configuration: the run's options, completed by what data and tokenizer say."""
    return MSPNetConfig(
        **config.model.model_dump(),
        image_size=config.data.size,
        num_frames=config.data.frames,
        vocab_size=vocab_size,
        context_length=77 if vocab_size == 49408 else context_length,  # CLIP's weights bring 77 positions
        privacy_heads={head: len(values) for head, values in labels.heads.items()},
    )


def model_card(config: TrainConfig, labels: Labels, input_ids: Tensor, record: dict[str, Any]) -> ModelCard:
    """What a checkpoint must know beside its weights."""
    data = config.data
    inputs = {"frames": data.frames, "gap": data.gap, "size": data.size, "signed": data.signed}
    return ModelCard(labels, input_ids.tolist(), inputs, record)


@torch.no_grad()
def set_input_scale(model: MSPNet, dataset: ClipDataset, data: DataConfig, film: OnlineFilm | None = None) -> None:
    """Set the network's offset and gain from the differences of evenly chosen training clips.

    One constant a channel for the whole data set: never a frame's own minimum and maximum, which would destroy the
    attenuation and make the input flicker.
    """
    chosen = range(0, len(dataset), max(1, len(dataset) // SCALE_CLIPS))
    total, squares, count = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), 0
    for index in chosen:
        frames = frame_tensors(collate([dataset[index]]), torch.device("cpu"), film)
        inputs = network_input(*frames, ifns=model.config.ifns, signed=data.signed)
        values = inputs.transpose(0, 2).flatten(1).double()  # (3, N)
        total += values.sum(dim=1)
        squares += values.square().sum(dim=1)
        count += values.shape[1]
    mean = total / count
    spread = (squares / count - mean.square()).clamp(min=0).sqrt()
    # A still data set has no spread; half a code value of an 8-bit frame is then the scale.
    model.aggregator.offset.copy_(mean)
    model.aggregator.gain.copy_(1 / spread.clamp(min=0.5 / 255))


def parameter_groups(model: MSPNet, optim: OptimConfig) -> list[dict[str, Any]]:
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


class Criterion:
    """Action cross-entropy plus weighted privacy cross-entropies, on smoothed and mixed labels."""

    def __init__(self, config: TrainConfig, labels: Labels, device: torch.device) -> None:
        self.smoothing, self.device = config.loss.label_smoothing, device
        self.classes = {"action": len(labels.actions), **{head: len(v) for head, v in labels.heads.items()}}
        self.weights = {"action": 1.0, **{head: config.loss.privacy[head] for head in labels.heads}}

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


def validate(
    model: MSPNet,
    loader: DataLoader[dict[str, Any]],
    input_ids: Tensor,
    data: DataConfig,
    device: torch.device,
    report: Callable[[Progress], None],
    film: OnlineFilm | None = None,
) -> dict[str, float]:
    """Action top-1, top-5 and loss on the validation clips."""
    found = predict(model, loader, input_ids, data, device, film=film)
    logits, labels = found.logits["action"], found.labels["action"]
    loss = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    scores = {
        "validation_top1": float(top_k(logits, labels, 1).mean()),
        "validation_top5": float(top_k(logits, labels, 5).mean()),
        "validation_loss": loss,
    }
    report(Progress("validate", len(labels), len(labels), scores))
    return scores


class Totals:
    """Running means of the loss terms of an epoch."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, terms: dict[str, float]) -> None:
        """Add one batch's terms."""
        self.count += 1
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """Mean of every term over the batches added."""
        return {name: value / self.count for name, value in self.sums.items()}


def timed(loader: DataLoader[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], float]]:
    """Batches, each with the seconds that the loop waited for it."""
    asked = time.monotonic()
    for batch in loader:
        yield batch, time.monotonic() - asked
        asked = time.monotonic()
