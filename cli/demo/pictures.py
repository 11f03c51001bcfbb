"""The demo's pictures: a real clip behind more and more film, what the network sees, and the film's curves."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dataset_builder.actions import NTU_ACTIONS
from dataset_builder.formats import open_reader
from dataset_builder.naming import parse_name
from lps_sim import Degrader, FilmModel
from lps_sim.apply import film_camera
from lps_sim.media import iter_frames, probe
from lps_sim.report import Block, clip, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STREET_LAYERS = (0, 2, 4, 8, 10)
STREET_FRAMES = 60
STREET_START = 78  # the street clip's cyclist waits between cars from here on
IFNS_GAP_FRAMES = 4
DIFFERENCE_GAIN = 8  # one fixed enlargement for all pictures of differences; nothing is stretched by its own range


def street(video: Path, film: FilmModel, seed: int, start: int | None = None) -> list[Block]:
    """The opening: one real clip behind 0, 2, 4, 8 and 10 layers, as playing clips; from its middle by default."""
    info = probe(video)
    if start is None:
        start = max(0, (info.frames - STREET_FRAMES) // 2)
    frames = np.stack(list(islice(iter_frames(video), start, start + STREET_FRAMES)))
    camera = film_camera(film, info.width, info.height)
    blocks = []
    for layers in STREET_LAYERS:
        shown = frames if layers == 0 else Degrader(film, layers, camera, seed=seed).degrade(frames)
        name = "no film" if layers == 0 else f"{layers} layers"
        alt = f"{video.name}, {len(frames)} frames from frame {start}, {name}"
        blocks.append(clip(shown[::2], float(info.fps) / 2, name, alt, quality=75))
    return blocks


def seen_by_the_network(clean: Path, degraded: Path, names: list[str]) -> list[Block]:
    """For each clip: clean, degraded, and the three IFNS differences of the degraded frames in one colour picture."""
    with_film, without_film = open_reader(degraded), open_reader(clean)
    blocks = []
    for name in names:
        action = NTU_ACTIONS[(parse_name(name).action or 1) - 1]
        count = with_film.frame_count(name)
        sampled = np.arange(0, count, 2)
        rate = float(with_film.fps(name)) / 2
        differences = ifns_picture(with_film.read(name, range(count)), with_film.mean(name))[sampled]
        for frames, what in (
            (without_film.read(name, sampled), "no film"),
            (with_film.read(name, sampled), f"{with_film.layers} layers"),
            (differences, "IFNS differences"),
        ):
            blocks.append(clip(_enlarged(frames), rate, f"{action}: {what}", f"{action}, {name}, {what}"))
    return blocks


def ifns_picture(frames: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The three differences of every frame as red, green, blue code values around mid-grey, (T, H, W, 3) uint8.

    Red: frame - predecessor, green: frame - clip mean, blue: frame - successor, each averaged over colour and
    multiplied by the fixed :data:`DIFFERENCE_GAIN`.
    """
    grey = frames.astype(np.float32).mean(axis=-1)
    index = np.arange(len(grey))
    predecessor = grey[np.maximum(index - IFNS_GAP_FRAMES, 0)]
    successor = grey[np.minimum(index + IFNS_GAP_FRAMES, len(grey) - 1)]
    differences = np.stack([grey - predecessor, grey - mean.mean(axis=-1), grey - successor], axis=-1)
    return np.clip(np.rint(127.5 + DIFFERENCE_GAIN * differences), 0, 255).astype(np.uint8)


def _enlarged(frames: np.ndarray, factor: int = 2) -> np.ndarray:
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def film_curves(truth: FilmModel, fitted: FilmModel, layers: tuple[int, ...]) -> Figure:
    """MTF, encircled energy and PSF of the true and the fitted film, green channel."""
    frequency_cpr = np.geomspace(0.3, 100, 200)
    angle_rad = np.radians(np.geomspace(0.05, 35, 120))
    figure, axes = new_figure(1, 3, (14, 4))
    for place, count in enumerate(layers):
        colour = f"C{place}"
        # The true film broad and pale, the fitted one thin on top: both stay visible where they agree.
        for film, look, name in (
            (truth, {"linewidth": 5, "alpha": 0.35}, "true"),
            (fitted, {"linewidth": 1.2}, "fitted"),
        ):
            mtf, energy = film.mtf(frequency_cpr, count)[:, 1], film.encircled_energy(angle_rad, count)[:, 1]
            axes[0, 0].semilogx(frequency_cpr, mtf, color=colour, label=f"N = {count}, {name}", **look)
            axes[0, 1].semilogx(np.degrees(angle_rad), energy, color=colour, **look)
            axes[0, 2].loglog(np.degrees(angle_rad), film.psf(angle_rad, count)[:, 1], color=colour, **look)
    axes[0, 0].set(xlabel="angular frequency (cycles/rad)", ylabel="MTF", title="What contrast is left", ylim=(0, 1.02))
    axes[0, 1].set(xlabel="angle (degrees)", ylabel="encircled energy", title="Where the light goes", ylim=(0, 1.02))
    axes[0, 2].set(
        xlabel="angle (degrees)", ylabel="PSF (1/sr)", title="How a point of light spreads", ylim=(1e-3, None)
    )
    axes[0, 0].legend(fontsize="small")
    return figure


def learning_curves(histories: dict[str, list[dict[str, Any]]]) -> Figure:
    """Training loss and validation action top-1 by epoch, one line a data set."""
    figure, axes = new_figure(1, 2, (11, 3.6))
    for name, history in histories.items():
        epochs = [record["epoch"] for record in history]
        axes[0, 0].plot(epochs, [record["loss"] for record in history], label=name)
        scored = [record for record in history if record.get("validation_top1") is not None]
        axes[0, 1].plot([r["epoch"] for r in scored], [100 * r["validation_top1"] for r in scored], "o-", label=name)
    axes[0, 0].set(xlabel="epoch", ylabel="training loss")
    axes[0, 1].set(xlabel="epoch", ylabel="action top-1 on validation performers (%)", ylim=(0, 100))
    axes[0, 1].legend()
    return figure


def confusion(action: dict[str, Any], title: str) -> Figure:
    """Confusion matrix, rows are true classes and sum to 1."""
    counts = np.asarray(action["confusion"], dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.6 + 0.33 * len(counts)
    figure, axes = new_figure(1, 1, (side, side))
    axes[0, 0].grid(False)
    axes[0, 0].imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for true, predicted in zip(*np.nonzero(shares >= 0.1)):
        tone = "white" if shares[true, predicted] > 0.55 else "black"
        text = f"{100 * shares[true, predicted]:.0f}"
        axes[0, 0].text(predicted, true, text, ha="center", va="center", fontsize=7, color=tone)
    axes[0, 0].set_xticks(range(len(counts)), action["classes"], rotation=60, ha="right", fontsize=8)
    axes[0, 0].set_yticks(range(len(counts)), action["classes"], fontsize=8)
    axes[0, 0].set(xlabel="predicted", ylabel="true", title=title)
    return figure
