"""Pictures of results: confusion matrices and reliability diagrams."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lps_sim.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 110
_LARGEST_NUMBERED = 40


def confusion_figure(scores: Mapping[str, Any], title: str = "") -> Figure:
    """A confusion matrix as a figure: each row is a true class, shaded by its share of the row.

    Up to 40 classes, shares of 10 % and more stand in their cells in per cent.
    """
    from lps_sim.report import new_figure

    counts = np.asarray(scores["confusion"], dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    numbered = len(counts) <= _LARGEST_NUMBERED
    side = max(4.0, (0.33 if numbered else 0.16) * len(counts) + 2.6)
    figure, ((axes,),) = new_figure(1, 1, (side, side))
    axes.grid(False)
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for true, predicted in zip(*np.nonzero(shares >= 0.1)) if numbered else ():
        share = shares[true, predicted]
        tone = "white" if share > 0.55 else "black"
        axes.text(predicted, true, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=tone)
    font = 8 if numbered else 5
    axes.set_xticks(range(len(counts)), scores["classes"], rotation=60 if numbered else 90, ha="right", fontsize=font)
    axes.set_yticks(range(len(counts)), scores["classes"], fontsize=font)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(title or f"action top-1 {scores['top1']:.1%} (chance {scores['chance']:.1%})", fontsize=10)
    return figure


def plot_confusion(scores: Mapping[str, Any], path: str | Path, title: str = "") -> None:
    """:func:`confusion_figure` as a picture file; whole or absent."""
    with atomic_path(path) as temporary:
        confusion_figure(scores, title).savefig(temporary, dpi=_DPI)


def reliability_figure(heads: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Accuracy against confidence of every head that has a calibration, a panel each; dots grow with their clips."""
    from lps_sim.report import new_figure

    shown = {head: scores for head, scores in heads.items() if "calibration" in scores}
    figure, axes_grid = new_figure(1, max(1, len(shown)), (4.0 * max(1, len(shown)), 4.0))
    for axes, (head, scores) in zip(axes_grid[0], shown.items()):
        found = scores["calibration"]
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        confidence, accuracy, clips = (
            np.array([row[key] for row in found["bins"]]) for key in ("confidence", "accuracy", "clips")
        )
        axes.plot(confidence, accuracy, linewidth=1)
        axes.scatter(confidence, accuracy, s=10 + 120 * clips / clips.max())
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="confidence", ylabel="accuracy")
        axes.set_title(f"{head}: ECE {found['ece']:.1%}", fontsize=10)
    return figure


def plot_reliability(heads: Mapping[str, Mapping[str, Any]], path: str | Path) -> None:
    """:func:`reliability_figure` as a picture file; whole or absent."""
    with atomic_path(path) as temporary:
        reliability_figure(heads).savefig(temporary, dpi=_DPI)
