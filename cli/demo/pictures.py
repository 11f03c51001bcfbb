"""The demo's pictures: a real clip behind more and more film, what the network sees, and how it learned."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dataset_builder.actions import NTU_ACTIONS
from dataset_builder.formats import open_reader
from dataset_builder.naming import parse_name
from lps_sim import Degrader, FilmModel
from lps_sim.apply import film_camera
from lps_sim.media import iter_frames, probe
from lps_sim.report import Block, clip, new_figure
from training.ifns import interframe_differences, neighbour_indices

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STREET_LAYERS = (0, 2, 4, 8, 10)
STREET_FRAMES = 60
STREET_START = 78  # the street clip's cyclist waits between cars from here on
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
    multiplied by the fixed :data:`DIFFERENCE_GAIN`. Computed by the network's own :mod:`training.ifns`.
    """
    predecessors, successors = neighbour_indices(np.arange(len(frames)), len(frames))

    def batch(codes: np.ndarray) -> torch.Tensor:  # (..., H, W, C) -> (1, ..., C, H, W)
        return torch.from_numpy(np.moveaxis(codes.astype(np.float32), -1, -3)[np.newaxis])

    differences = interframe_differences(
        batch(frames), batch(frames[predecessors]), batch(frames[successors]), batch(mean), signed=True
    )[0].numpy()  # (T, 3, H, W): predecessor, successor, mean
    coloured = np.moveaxis(differences[:, [0, 2, 1]], 1, -1)
    return np.clip(np.rint(127.5 + DIFFERENCE_GAIN * coloured), 0, 255).astype(np.uint8)


def _enlarged(frames: np.ndarray, factor: int = 2) -> np.ndarray:
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


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
