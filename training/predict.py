"""What a trained network says of any video: sampled as in a test, through a film first where one is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lps_sim.apply import film_camera
from lps_sim.camera import Camera
from lps_sim.fast import Degrader
from lps_sim.film import FilmModel, check_layers

from .checkpoint import load_model
from .config import DataConfig
from .data import ClipDataset, collate
from .evaluate import predict
from .scores import probabilities
from .videos import FrameDegrader, VideoClips
from .views import Views


@dataclass(frozen=True)
class VideoPrediction:
    """One video's most probable actions (name, probability), the first the most probable, and heads' (value, ...)."""

    path: str
    frames: int
    actions: list[tuple[str, float]]
    privacy: dict[str, list[tuple[int, float]]]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return asdict(self)


def predict_videos(
    paths: Sequence[str | os.PathLike[str]],
    checkpoint: str | os.PathLike[str],
    film: FilmModel | None = None,
    layers: int = 0,
    camera: Camera | None = None,
    views: Views | None = None,
    top: int = 5,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Iterator[VideoPrediction]:
    """The top actions of each video, one after another.

    Parameters
    ----------
    paths : video files, clean where a film is given
    checkpoint : of :func:`training.checkpoint.save_model`
    film, layers : film put before the videos, 1..64 layers, as ``lps data degrade`` does; None: as they are
    camera : that looks through the film, resized to each video; None: the one that the film was measured with
    views : draws and crops whose probabilities are averaged; None: one
    top : how many classes are told, 1 or more
    seed : of the sensor noise

    Raises
    ------
    ValueError
        Before any video for a wrong argument or checkpoint; at its turn for a file that is not a video.
    """
    if top < 1:
        raise ValueError(f"top must be 1 or more, got {top}")
    if film is not None:
        check_layers(layers)
    elif layers:
        raise ValueError(f"film must be given for layers {layers}")
    views = views or Views()
    model, card = load_model(checkpoint)
    model.to(device)
    data = DataConfig().model_copy(update=card.inputs)
    side = views.side(data.size)
    through: Callable[[int, int], FrameDegrader] | None = None
    if film is not None:
        through = _through(film, layers, camera, side, seed)
    clips = VideoClips({str(path): Path(path) for path in paths}, through=through)
    dataset = ClipDataset(clips, clips.names(), None, data, views=views)
    values = card.labels.heads

    def told() -> Iterator[VideoPrediction]:
        for index, name in enumerate(clips.names()):
            batch = collate([dataset[index]])
            found = predict(model, [batch], torch.tensor(card.input_ids), data, torch.device(device), views=views)
            actions = _top(found.logits["action"][0], card.labels.class_names, top)
            heads = {head: _top(found.logits[head][0], values[head], top) for head in values}
            yield VideoPrediction(name, clips.frame_count(name), actions, heads)

    return told()


def _through(
    film: FilmModel, layers: int, camera: Camera | None, side: int, seed: int
) -> Callable[[int, int], FrameDegrader]:
    def of_size(width: int, height: int) -> FrameDegrader:
        seen = film_camera(film, width, height) if camera is None else camera.resized(width, height)
        return Degrader(film, layers, seen, output_size=(side, side), seed=seed).degrade

    return of_size


def _top(logits: Any, classes: Sequence[Any], most: int) -> list[tuple[Any, float]]:
    shares = probabilities(logits)
    return [(classes[index], float(shares[index])) for index in shares.argsort()[::-1][:most]]
