"""Training, top to bottom in execution order: data, model, optimiser, where we stand, steps, validation."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Generator, Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from lps_sim import __version__
from lps_sim.files import write_atomic
from lps_sim.seeding import named_seed

from .augment import colour_matrices, crop_flip, crop_flip_maps, mix_clips
from .checkpoint import ModelCard, save_model
from .config import DataConfig, MSPNetConfig, TrainConfig, dump_config
from .criterion import Criterion, LossRecord, add_terms, mean_terms
from .data import ClipDataset, EpochBatches, collate, frame_tensors, open_dataset
from .evaluate import predict
from .ifns import network_input
from .model import MSPNet
from .online import OnlineFilm, online_film
from .optimizer import WeightAverage, adamw, rate_factor
from .parallel import (
    Agreement,
    Preempted,
    Termination,
    Wish,
    accelerator_of,
    leave_termination_to_the_run,
    reshard,
    shard,
)
from .run_state import Checkpoints, full_weights, names_digest
from .scores import Predictions, top_k
from .sides import ClipReader, Labels, plan_data, require_whole
from .text import tokenize_classes
from .trackers import MetricsLog, Pace, Progress, memory_figures, require_trackers, start_trackers
from .weights import load_pretrained

FROZEN_RANDOM_TEXT = (
    "the text tower is frozen at random values: give weights, or set model.freeze_text=false so that it learns"
)
SCALE_CLIPS = 64
"""Training clips from which the spread of the differences is measured."""


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
    """Train MSPNet as configured, in one process or in those that ``torchrun`` started.

    The best checkpoint is chosen by action top-1 on validation performers carved from the training side (loss breaks
    ties), never on the test side. Random draws depend on seed, epoch, step and clip only; those of augmentation not on
    the process either, so that two processes train as one with the doubled batch.

    Parameters
    ----------
    on_progress : called after each step
    reader : clips; default: those of ``config.data.dataset``
    resume : go on from the newest whole checkpoint in ``config.out``, in mid-epoch; begin where there is none

    Raises
    ------
    ValueError
        Before any training, for missing clips or trackers, empty sides, fewer than two actions, an occupied
        ``config.out``, or a checkpoint of other data or steps.
    NonFiniteLossError
        When the loss is not finite, on every process.
    Preempted
        After SIGTERM to any process, once the step is finished and saved.
    """
    started = time.monotonic()
    report = on_progress or (lambda progress: None)
    optim = config.optim
    require_trackers(config.tracking)
    checkpoints = Checkpoints(config.out / "checkpoints", config.keep_last)
    best = config.out / "checkpoints" / "best.safetensors"
    if checkpoints.steps() and not resume:
        raise ValueError(f"out: {config.out} already holds a run; resume it or choose another folder")

    # -- data
    heads = [head for head, weight in config.loss.privacy.items() if weight > 0]
    reader = reader or open_dataset(config.data)
    plan = plan_data(reader.names(), config.data, heads)
    require_whole(reader, plan.train + plan.validation)
    if len(plan.labels.actions) < 2:
        raise ValueError(f"data: the training clips must show at least 2 actions, got {list(plan.labels.class_names)}")
    accelerator = accelerator_of(config)
    device, rank, processes = accelerator.device, accelerator.process_index, accelerator.num_processes
    classes = [plan.labels.of(name)["action"] for name in plan.train]
    batches = EpochBatches(
        len(plan.train), optim.batch, config.seed, rank, processes, optim.accumulate, classes, config.data.balance
    )
    clips_a_step = optim.batch * optim.accumulate * processes
    steps_per_epoch = len(batches) // optim.accumulate
    film = online_film(config.data)
    train_set = ClipDataset(reader, plan.train, plan.labels, config.data, seed=named_seed(config.seed, "clips"))
    own_share = share_of(plan.validation, rank, processes)
    validation_set = ClipDataset(reader, own_share, plan.labels, config.data)
    clips = len(train_set) + len(validation_set)
    train_set.preload(lambda done, _: report(Progress("decode", done, clips)))
    validation_set.preload(lambda done, _: report(Progress("decode", len(train_set) + done, clips)))
    loading: dict[str, Any] = {
        "collate_fn": collate,
        "num_workers": config.data.workers,
        "pin_memory": device.type == "cuda",
        "worker_init_fn": leave_termination_to_the_run,
    }
    keep = config.data.workers > 0  # readers live on from epoch to epoch
    train_loader = DataLoader(train_set, batch_sampler=batches, persistent_workers=keep, **loading)
    validation_loader = DataLoader(validation_set, optim.batch, **loading)

    # -- model
    torch.manual_seed(named_seed(config.seed, "weights") % 2**63)
    tokens = tokenize_classes(plan.labels.class_names, config.tokenizer, config.weights)
    model = MSPNet(model_config(config, plan.labels, tokens.vocab_size, tokens.input_ids.shape[1]))
    notes = [str(load_pretrained(model, config.weights))] if config.weights else []
    if config.model.freeze_text and not config.weights:
        notes.append(FROZEN_RANDOM_TEXT)
        report(Progress("note", 0, 0, text=FROZEN_RANDOM_TEXT))
    if config.data.normalise:
        set_input_scale(model, train_set, config.data, film)
    frozen_text = config.model.freeze_text
    if frozen_text:
        for part in (model.xclip.text_model, model.xclip.text_projection):
            part.requires_grad_(False)
    model.to(device)
    network = shard(model, device) if config.parallel == "fsdp" else accelerator.prepare(model)

    # -- optimiser
    optimizer = accelerator.prepare(adamw(model, optim))
    average = WeightAverage(model, optim.ema_decay)
    criterion = Criterion(config.loss, plan.labels, device)

    # -- where we stand
    terms = {
        "seed": config.seed,
        "clips a step (optim.batch x optim.accumulate x processes)": clips_a_step,
        "digest of the training clips": names_digest(plan.train),
        "classes": {"action": len(plan.labels.actions), **{head: len(v) for head, v in plan.labels.heads.items()}},
        "parallel": config.parallel,
    }
    standing = checkpoints.load(accelerator, model, optimizer, average, terms)
    seconds_before, total_steps = standing.seconds, optim.epochs * steps_per_epoch
    if standing.step:
        report(Progress("resume", standing.step, total_steps))
    if accelerator.is_main_process:
        write_atomic(config.out / "config.yaml", dump_config(config, lps=__version__))
    metrics = MetricsLog(accelerator, config.out / "metrics.jsonl", standing.step, len(standing.history))
    start_trackers(accelerator, config, standing.step)
    input_ids = tokens.input_ids.to(device)
    with torch.no_grad():
        text_features = model.encode_text(input_ids) if frozen_text else None
    losses, agreement = LossRecord(accelerator, optim.accumulate), Agreement(processes)
    last_save, first_step = time.monotonic(), standing.step
    latest_loss: dict[str, float] = {}
    pace = Pace()
    window_pace = copy.copy(pace)
    stepping = time.monotonic()

    with Termination() as termination:
        while standing.epoch < optim.epochs:
            batches.epoch, batches.first = standing.epoch, standing.step_in_epoch * optim.accumulate
            stream = iter(train_loader)
            network.train()
            pace.begin()
            epoch_pace = copy.copy(pace)
            while standing.step_in_epoch < steps_per_epoch:
                for group in optimizer.param_groups:
                    group["lr"] = group["base_lr"] * rate_factor(standing.step, steps_per_epoch, optim)
                torch.manual_seed(named_seed(config.seed, "step", standing.step, rank) % 2**63)  # dropout
                # Augmentation is drawn for the whole step alike on every process, each of which takes its clips' part.
                augmentation_seed = named_seed(config.seed, "augmentation", standing.step) % 2**63
                generator = Generator().manual_seed(augmentation_seed)
                colours = colour_matrices(clips_a_step, config.augment, generator)
                crops = crop_flip_maps(clips_a_step, config.augment, generator)
                for part in range(optim.accumulate):
                    batch = pace.waited(lambda: next(stream))  # noqa: B023 (called at once)
                    start = (part * processes + rank) * optim.batch
                    own = slice(start, start + optim.batch)
                    inputs = frame_tensors(batch, device, film)  # 4 x (B, T, 3, H, W)
                    differences = network_input(
                        *inputs, ifns=config.model.ifns, signed=config.data.signed, colour=colours[own].to(device)
                    )
                    differences = crop_flip(differences, crops[own])
                    mixing = Generator().manual_seed(augmentation_seed)
                    differences, mix = mix_clips(differences, config.augment, mixing)
                    synchronise = part == optim.accumulate - 1
                    with nullcontext() if synchronise else accelerator.no_sync(network):
                        with accelerator.autocast():
                            out = network(
                                differences,
                                input_ids=None if frozen_text else input_ids,
                                weights=batch["weights"].to(device) if config.model.cfsa_weights else None,
                                text_features=text_features,
                            )
                        found = criterion(out.action_logits, out.privacy_logits, batch["labels"], mix)
                        losses.add(standing.epoch, standing.step_in_epoch, batch["name"], found)
                        # Equal batches: the mean over the accumulated ones is the loss of one large batch.
                        accelerator.backward(found["loss"] / optim.accumulate)
                if optim.clip_norm:
                    accelerator.clip_grad_norm_(network.parameters(), optim.clip_norm)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                average.update(standing.step)
                standing.step += 1
                standing.step_in_epoch += 1
                pace.add(clips_a_step)

                # -- seen while it runs, and saved
                ends_epoch = standing.step_in_epoch == steps_per_epoch
                save_due = 0 < config.save_minutes * 60 <= time.monotonic() - last_save
                if save_due:
                    last_save = time.monotonic()
                wish = Wish.STOP if termination.requested else Wish.SAVE if save_due else Wish.GO_ON
                agreed = agreement(wish, at_once=ends_epoch)
                saves = (
                    ends_epoch
                    or agreed >= Wish.SAVE
                    or (config.save_every > 0 and standing.step % config.save_every == 0)
                )
                logs = standing.step % config.log_every == 0
                if saves or logs or not latest_loss:
                    steps = losses.collect()
                    add_terms(standing.epoch_sums, steps)
                    add_terms(standing.window_sums, steps)
                    latest_loss = steps[-1]
                place = {"epoch": standing.epoch, "step": standing.step}
                lr = optim.rate * rate_factor(standing.step - 1, steps_per_epoch, optim)
                standing.seconds = seconds_before + time.monotonic() - started
                figures = {"lr": lr, **pace.figures(window_pace), **memory_figures(device)}
                if logs:
                    means = mean_terms(standing.window_sums)
                    metrics.write("step", {**place, **means, **figures, "seconds": standing.seconds})
                    standing.window_sums, window_pace = {}, copy.copy(pace)
                left = (time.monotonic() - stepping) / (standing.step - first_step) * (total_steps - standing.step)
                detail = {**place, "loss": latest_loss["loss"], **figures, "seconds_left": left}
                report(Progress("train", standing.step, total_steps, detail))
                if saves:
                    checkpoints.save(accelerator, model, optimizer, average, standing)
                    last_save = time.monotonic()
                if agreed == Wish.STOP:
                    accelerator.end_training()
                    raise Preempted(
                        f"SIGTERM: stopped after step {standing.step} of {total_steps} and saved in "
                        f"{checkpoints.folder}; go on with --resume"
                    )

            # -- validation, on performers that training never sees
            record: dict[str, float] = {
                "epoch": standing.epoch,
                "step": standing.step,
                **mean_terms(standing.epoch_sums),
                "lr": optim.rate * rate_factor(standing.step - 1, steps_per_epoch, optim),
                **pace.figures(epoch_pace),
            }
            if (standing.epoch + 1) % config.evaluate_every == 0 or standing.epoch + 1 == optim.epochs:
                with average.swapped():
                    scores = validate(
                        model, validation_loader, plan.validation, tokens.input_ids, config.data, accelerator, film
                    )
                    report(Progress("validate", len(plan.validation), len(plan.validation), scores))
                    record.update(scores)
                    score = (scores["validation_top1"], -scores["validation_loss"])
                    if standing.best_score is None or score > tuple(standing.best_score):
                        standing.best_score, standing.best_epoch = score, standing.epoch
                        card = model_card(config, plan.labels, tokens.input_ids, {"epoch": standing.epoch, **scores})
                        weights = full_weights(model)
                        if accelerator.is_main_process:
                            whole_model = MSPNet(model.config)
                            whole_model.load_state_dict(weights)
                            save_model(best, whole_model, card)
            record["seconds"] = seconds_before + time.monotonic() - started
            metrics.write("epoch", record)
            standing.history.append(record)
            standing.epoch, standing.step_in_epoch, standing.epoch_sums = standing.epoch + 1, 0, {}
    accelerator.end_training()
    top1 = standing.best_score[0] if standing.best_score else float("nan")
    seconds = time.monotonic() - started
    return RunSummary(config.out, best, standing.best_epoch, top1, seconds, standing.history, notes + checkpoints.notes)


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


def share_of(names: Sequence[str], rank: int, processes: int) -> list[str]:
    """One process's part of a list, equally long for all: the first names are repeated to fill the last round."""
    repeated = [*names, *names[: -len(names) % processes]]
    return repeated[rank::processes]


def validate(
    model: MSPNet,
    loader: DataLoader[dict[str, Any]],
    names: Sequence[str],
    input_ids: Tensor,
    data: DataConfig,
    accelerator: Accelerator,
    film: OnlineFilm | None = None,
) -> dict[str, float]:
    """Action top-1, top-5 and loss on the validation clips ``names``, of which each process reads its share."""
    own = predict(model, loader, input_ids, data, accelerator.device, film=film)
    reshard(model)
    logits, labels = _in_order([Predictions(*parts) for parts in gather_object([tuple(vars(own).values())])], names)
    loss = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    return {
        "validation_top1": float(top_k(logits, labels, 1).mean()),
        "validation_top5": float(top_k(logits, labels, 5).mean()),
        "validation_loss": loss,
    }


def _in_order(parts: Sequence[Predictions], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(N, K) action logits and (N,) labels in the order of ``names``, from the shares of :func:`share_of`."""
    found = [name for part in parts for name in part.names]
    place = {name: row for row, name in enumerate(found)}
    rows = [place[name] for name in names]
    logits = np.concatenate([part.logits["action"] for part in parts])
    return logits[rows], np.concatenate([part.labels["action"] for part in parts])[rows]
