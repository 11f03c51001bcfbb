"""Numbers of a trained network: top-k, per class, confusion, calibration, every privacy head, with intervals."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lps_sim.files import atomic_path
from lps_sim.seeding import named_rng

from .sides import UNSEEN, Labels, sample_of

BOOTSTRAP_DRAWS = 1000
CALIBRATION_BINS = 15
"""Equal parts of confidence 0..1 (Guo et al. 2017, "On Calibration of Modern Neural Networks")."""


@dataclass(frozen=True)
class Predictions:
    """Logits and labels of N clips: ``logits`` and ``labels`` by ``action`` and head, (N, n) float32 and (N,) int.

    With several views the logits are logarithms of the views' mean probabilities; softmax gives those back.
    """

    names: list[str]
    logits: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, float64."""
    powers = np.exp(np.asarray(logits, dtype=np.float64) - logits.max(axis=-1, keepdims=True))
    found: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return found


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


def calibration(logits: np.ndarray, labels: np.ndarray, bins: int = CALIBRATION_BINS) -> dict[str, Any]:
    """Expected calibration error, and the reliability behind it.

        ECE = sum over bins of n_b / N |accuracy_b - confidence_b|

    Confidence is the largest probability of a clip. ECE is biased upwards where bins hold few clips.

    Parameters
    ----------
    logits, labels : (N, n) and (N,)

    Returns
    -------
    ``ece``, ``confidence`` (mean), and ``bins``: low, high, clips, confidence, accuracy of each that holds a clip
    """
    shares = probabilities(logits)
    confidence, hits = shares.max(axis=1), shares.argmax(axis=1) == labels
    member = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = []
    for index in np.unique(member):
        inside = member == index
        rows.append(
            {
                "low": float(index / bins),
                "high": float((index + 1) / bins),
                "clips": int(inside.sum()),
                "confidence": float(confidence[inside].mean()),
                "accuracy": float(hits[inside].mean()),
            }
        )
    ece = sum(row["clips"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / len(labels)
    return {"ece": ece, "confidence": float(confidence.mean()), "bins": rows}


def score(predictions: Predictions, labels: Labels) -> dict[str, Any]:
    """Results of all heads as ``results.json`` holds them; see docs/evaluation.md. Fractions, not per cent."""
    samples = [sample_of(name) for name in predictions.names]
    logits, truth = predictions.logits["action"], predictions.labels["action"]
    hits = top_k(logits, truth, 1)
    performers = [sample.performer for sample in samples]
    action = {
        **_closed_set(logits, truth, labels.class_names, performers),
        "performers": len(set(performers)),
        "per_camera": _by(hits, [sample.camera for sample in samples]),
        "per_setup": _by(hits, [sample.setup for sample in samples]),
    }
    privacy = {head: _head_score(predictions, head, labels, performers) for head in labels.heads}
    return {"action": action, "privacy": privacy}


def _closed_set(
    logits: np.ndarray, truth: np.ndarray, classes: Sequence[str], performers: Sequence[int]
) -> dict[str, Any]:
    """Everything that is told of one head over N >= 1 clips of known classes."""
    hits = top_k(logits, truth, 1)
    counts = confusion_matrix(truth, logits.argmax(axis=1), len(classes))
    seen = counts.sum(axis=1) > 0
    recall = counts.diagonal() / np.maximum(counts.sum(axis=1), 1)
    return {
        "top1": float(hits.mean()),
        "top1_interval": list(bootstrap_interval(hits, performers)),
        "top5": float(top_k(logits, truth, 5).mean()),
        "mean_class": float(recall[seen].mean()),
        "chance": 1 / len(classes),
        "clips": len(truth),
        "per_class": {name: float(value) for name, value, any_ in zip(classes, recall, seen) if any_},
        "classes": list(classes),
        "confusion": counts.tolist(),
        "calibration": calibration(logits, truth),
    }


def _by(hits: np.ndarray, keys: Sequence[int]) -> dict[str, float]:
    array = np.asarray(keys)
    return {str(key): float(hits[array == key].mean()) for key in np.unique(array)}


def _head_score(predictions: Predictions, head: str, labels: Labels, performers: Sequence[int]) -> dict[str, Any]:
    """Closed-set score over the clips whose class training knows; how many were left out stands beside it."""
    truth = predictions.labels[head]
    known = truth != UNSEEN
    left_out = {"clips_of_unseen_classes": int((~known).sum())}
    if not known.any():
        return {"top1": None, "top5": None, "chance": 1 / len(labels.heads[head]), "clips": 0, **left_out}
    classes = [str(value) for value in labels.heads[head]]
    groups = [performer for performer, is_known in zip(performers, known) if is_known]
    return {**_closed_set(predictions.logits[head][known], truth[known], classes, groups), **left_out}


def save_predictions(path: str | os.PathLike[str], predictions: Predictions, labels: Labels) -> None:
    """Write ``predictions.npz``; docs/evaluation.md lists its arrays. Whole or absent."""
    arrays = {f"logits/{head}": value for head, value in predictions.logits.items()}
    arrays |= {f"labels/{head}": value for head, value in predictions.labels.items()}
    arrays |= {f"classes/{head}": np.array(values) for head, values in labels.heads.items()}
    arrays |= {"classes/action": np.array(labels.actions), "class_names": np.array(labels.class_names)}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, names=np.array(predictions.names), **arrays)


def load_predictions(path: str | os.PathLike[str]) -> tuple[Predictions, Labels]:
    """Read a file of :func:`save_predictions`. Raises ValueError when it is none."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        groups: dict[str, dict[str, np.ndarray]] = {"logits": {}, "labels": {}, "classes": {}}
        for key, value in arrays.items():
            group, slash, head = key.partition("/")
            if slash:
                groups[group][head] = value
        classes = {head: tuple(value.tolist()) for head, value in groups["classes"].items()}
        labels = Labels(classes.pop("action"), tuple(arrays["class_names"].tolist()), classes)
        return Predictions(arrays["names"].tolist(), groups["logits"], groups["labels"]), labels
    except (KeyError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a predictions.npz of lps test ({error})") from error


def fuse(predictions: Sequence[Predictions], weights: Sequence[float] | None = None) -> Predictions:
    """Late fusion: the weighted mean of the networks' probabilities on the same clips, as logits.

    Parameters
    ----------
    predictions : two or more, of the same clips and classes in any order of the clips
    weights : one a network; None: equal

    Raises
    ------
    ValueError
        When clips or classes differ, or there is not one weight a network.
    """
    first = predictions[0]
    weights = [1.0] * len(predictions) if weights is None else list(weights)
    if len(weights) != len(predictions) or min(weights) < 0 or sum(weights) == 0:
        raise ValueError(f"weights must be {len(predictions)} numbers >= 0, not all 0, got {weights}")
    orders = [{name: place for place, name in enumerate(one.names)} for one in predictions]
    for number, (one, order) in enumerate(zip(predictions, orders), start=1):
        if set(order) != set(orders[0]):
            raise ValueError(f"predictions {number} are of other clips: {sorted(set(order) ^ set(orders[0]))[0]}")
        if {head: value.shape[1] for head, value in one.logits.items()} != {
            head: value.shape[1] for head, value in first.logits.items()
        }:
            raise ValueError(f"predictions {number} have other heads or numbers of classes")
    mixed = {}
    for head in first.logits:
        total = np.zeros(first.logits[head].shape)
        for one, order, weight in zip(predictions, orders, weights):
            total += weight * probabilities(one.logits[head])[[order[name] for name in first.names]]
        mixed[head] = np.log(np.maximum(total / sum(weights), np.finfo(np.float32).tiny)).astype(np.float32)
    return Predictions(first.names, mixed, first.labels)
