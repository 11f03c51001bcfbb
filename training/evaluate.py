"""Numbers of a trained network: top-1 and top-5, per class, confusion, every privacy head, with intervals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from lps_sim import __version__
from lps_sim.files import atomic_path, sha256_file, write_atomic
from lps_sim.seeding import named_rng

from .checkpoint import ModelCard, load_model
from .config import DataConfig, TrainConfig
from .data import UNSEEN, ClipDataset, ClipReader, Labels, collate, frame_tensors, open_dataset, plan_data, sample_of
from .ifns import network_input
from .model import MSPNet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BOOTSTRAP_DRAWS = 1000


@dataclass(frozen=True)
class Predictions:
    """Logits and labels of N clips: ``logits`` and ``labels`` by ``action`` and head, (N, n) float32 and (N,) int."""

    names: list[str]
    logits: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]


@torch.no_grad()
def predict(
    model: MSPNet,
    batches: Iterable[dict[str, Any]],
    input_ids: torch.Tensor,
    data: DataConfig,
    device: torch.device,
    on_batch: Callable[[int], None] | None = None,
) -> Predictions:
    """Run the network over batches of :func:`training.data.collate`, without augmentation."""
    was_training = model.training
    model.eval()
    text = model.encode_text(input_ids.to(device))
    names: list[str] = []
    logits: dict[str, list[np.ndarray]] = {}
    labels: dict[str, list[np.ndarray]] = {}
    for batch in batches:
        differences = network_input(*frame_tensors(batch, device), ifns=model.config.ifns, signed=data.signed)
        weights = batch["weights"].to(device) if model.config.cfsa_weights else None
        out = model(differences, weights=weights, text_features=text)
        for key, value in {"action": out.action_logits, **out.privacy_logits}.items():
            logits.setdefault(key, []).append(value.float().cpu().numpy())
            labels.setdefault(key, []).append(batch["labels"][key].numpy())
        names += batch["name"]
        if on_batch:
            on_batch(len(batch["name"]))
    model.train(was_training)
    joined = {key: np.concatenate(parts) for key, parts in logits.items()}
    return Predictions(names, joined, {key: np.concatenate(parts) for key, parts in labels.items()})


def top_k(logits: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """(N,) bool: is the label among the k largest of (N, n) logits; ties count against it. k is at most n."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    return (logits >= own).sum(axis=1) <= min(k, logits.shape[1])


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) counts; row: true class, column: predicted class."""
    counts = np.zeros((classes, classes), dtype=int)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def bootstrap_interval(
    values: np.ndarray, groups: Sequence[Any] | np.ndarray, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean, resampling whole groups with replacement.

    Clips of one performer are alike, so performers are the groups; resampling clips would give too narrow an interval.

    Parameters
    ----------
    values : (N,) numbers, such as hits
    groups : N group labels
    """
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(member, weights=values.astype(float))
    counts = np.bincount(member)
    draws = named_rng(seed, "bootstrap").integers(len(counts), size=(BOOTSTRAP_DRAWS, len(counts)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def score(predictions: Predictions, labels: Labels) -> dict[str, Any]:
    """Results of all heads; see ``results.json`` in the documentation. Fractions, not per cent."""
    performers = [sample_of(name).performer for name in predictions.names]
    logits, truth = predictions.logits["action"], predictions.labels["action"]
    hits = top_k(logits, truth, 1)
    counts = confusion_matrix(truth, logits.argmax(axis=1), len(labels.actions))
    seen = counts.sum(axis=1) > 0
    recall = counts.diagonal() / np.maximum(counts.sum(axis=1), 1)
    action = {
        "top1": float(hits.mean()),
        "top1_interval": bootstrap_interval(hits, performers),
        "top5": float(top_k(logits, truth, 5).mean()),
        "mean_class": float(recall[seen].mean()),
        "chance": 1 / len(labels.actions),
        "clips": len(truth),
        "performers": len(set(performers)),
        "per_class": {name: float(value) for name, value, any_ in zip(labels.class_names, recall, seen) if any_},
        "per_camera": _by(hits, [sample_of(name).camera for name in predictions.names]),
        "per_setup": _by(hits, [sample_of(name).setup for name in predictions.names]),
        "classes": list(labels.class_names),
        "confusion": counts.tolist(),
    }
    return {"action": action, "privacy": {head: _head_score(predictions, head, labels) for head in labels.heads}}


def _by(hits: np.ndarray, keys: Sequence[int]) -> dict[str, float]:
    array = np.asarray(keys)
    return {str(key): float(hits[array == key].mean()) for key in np.unique(array)}


def _head_score(predictions: Predictions, head: str, labels: Labels) -> dict[str, Any]:
    """Closed-set score over the clips whose class training knows; how many were left out stands beside it."""
    truth = predictions.labels[head]
    known = truth != UNSEEN
    result: dict[str, Any] = {
        "top1": None,
        "top5": None,
        "chance": 1 / len(labels.heads[head]),
        "clips": int(known.sum()),
        "clips_of_unseen_classes": int((~known).sum()),
    }
    if known.any():
        logits = predictions.logits[head][known]
        result["top1"] = float(top_k(logits, truth[known], 1).mean())
        result["top5"] = float(top_k(logits, truth[known], 5).mean())
    return result


def test(
    config: TrainConfig,
    checkpoint: str | Path,
    out: str | Path | None = None,  # noqa: PT028 (not a test of pytest)
    on_progress: Callable[[int, int], None] | None = None,  # noqa: PT028
    reader: ClipReader | None = None,  # noqa: PT028
) -> dict[str, Any]:
    """Test a checkpoint on the test side of a configuration's data.

    Frames, gap, size and sign are the checkpoint's; data set and split are the configuration's.

    Parameters
    ----------
    out : folder for ``results.json``, ``confusion.png`` and ``predictions.npz``; default: that of the run
    on_progress : called with (clips done, clips)

    Returns
    -------
    The content of ``results.json``.

    Raises
    ------
    ValueError
        When the checkpoint does not know an action of the test clips, or clips are missing.
    """
    from accelerate import Accelerator

    model, card = load_model(checkpoint)
    data = config.data.model_copy(update=card.inputs)
    reader = reader or open_dataset(config.data)
    plan = plan_data(reader.names(), data, list(card.labels.heads))
    _require_known_actions(plan.test, card)
    device = Accelerator(cpu=config.device == "cpu").device
    dataset = ClipDataset(reader, plan.test, card.labels, data)
    loader = DataLoader(dataset, config.optim.batch, collate_fn=collate, num_workers=data.workers)
    done = 0

    def advance(clips: int) -> None:
        nonlocal done
        done += clips
        if on_progress:
            on_progress(done, len(dataset))

    predictions = predict(model.to(device), loader, torch.tensor(card.input_ids), data, device, advance)
    results = {
        **score(predictions, card.labels),
        "checkpoint": {"sha256": sha256_file(checkpoint), **card.record},
        "data": {"dataset": str(config.data.dataset), "protocol": config.data.protocol, **card.inputs},
        "package_version": __version__,
    }
    folder = Path(out) if out is not None else config.out
    write_atomic(folder / "results.json", json.dumps(results, indent=2))
    plot_confusion(results["action"], folder / "confusion.png")
    with atomic_path(folder / "predictions.npz") as temporary:
        arrays = {f"logits/{head}": value for head, value in predictions.logits.items()}
        arrays |= {f"labels/{head}": value for head, value in predictions.labels.items()}
        np.savez_compressed(temporary, allow_pickle=False, names=np.array(predictions.names), **arrays)
    return results


def _require_known_actions(names: Sequence[str], card: ModelCard) -> None:
    unknown = sorted({sample_of(name).action for name in names} - set(card.labels.actions))
    if unknown:
        raise ValueError(f"checkpoint: it knows {len(card.labels.actions)} actions, not {unknown} of the test clips")


def confusion_figure(action: dict[str, Any], title: str = "") -> Figure:
    """A confusion matrix as a figure: each row is a true class, shaded by its share of the row; shares >= 10 % in %."""
    from lps_sim.report import new_figure

    counts = np.asarray(action["confusion"], dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, 0.33 * len(counts) + 2.6)
    figure, ((axes,),) = new_figure(1, 1, (side, side))
    axes.grid(False)
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for true, predicted in zip(*np.nonzero(shares >= 0.1)):
        share = shares[true, predicted]
        tone = "white" if share > 0.55 else "black"
        axes.text(predicted, true, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=tone)
    axes.set_xticks(range(len(counts)), action["classes"], rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(counts)), action["classes"], fontsize=8)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(title or f"action top-1 {action['top1']:.1%} (chance {action['chance']:.1%})", fontsize=10)
    return figure


def plot_confusion(action: dict[str, Any], path: str | Path) -> None:
    """:func:`confusion_figure` as a picture file; whole or absent."""
    with atomic_path(path) as temporary:
        confusion_figure(action).savefig(temporary, dpi=110)
