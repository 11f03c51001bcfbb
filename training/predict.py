"""What a trained network says of any video: sampled as in a test, through a film first where one is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
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


class VideoPredictor:
    """A checkpoint, ready for videos: ``VideoPredictor(checkpoint)(path)``.

    Parameters
    ----------
    checkpoint : of :func:`training.checkpoint.save_model`
    film, layers : film put before the videos, 1..64 layers, as ``lps data degrade`` does; None: as they are
    camera : that looks through the film, resized to each video; None: the one that the film was measured with
    views : draws and crops whose probabilities are averaged; None: one
    seed : of the sensor noise

    Raises
    ------
    ValueError
        For a wrong argument or checkpoint.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        film: FilmModel | None = None,
        layers: int = 0,
        camera: Camera | None = None,
        views: Views | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        if film is not None:
            check_layers(layers)
        elif layers:
            raise ValueError(f"film must be given for layers {layers}")
        self.views, self.device = views or Views(), torch.device(device)
        model, self.card = load_model(checkpoint)
        self.model = model.to(self.device)
        self.data = DataConfig().model_copy(update=self.card.inputs)
        self._through: Callable[[int, int], FrameDegrader] | None = None
        if film is not None:
            self._through = _through(film, layers, camera, self.views.side(self.data.size), seed)

    def __call__(self, path: str | os.PathLike[str], top: int = 5) -> VideoPrediction:
        """The ``top`` most probable classes of a video, 1 or more. Raises ValueError when the file is not a video."""
        if top < 1:
            raise ValueError(f"top must be 1 or more, got {top}")
        name = os.fspath(path)
        clips = VideoClips({name: Path(path)}, through=self._through)
        batch = collate([ClipDataset(clips, [name], None, self.data, views=self.views)[0]])
        input_ids = torch.tensor(self.card.input_ids)
        logits = predict(self.model, [batch], input_ids, self.data, self.device, views=self.views).logits
        labels = self.card.labels
        actions = _top(logits["action"][0], labels.class_names, top)
        heads = {head: _top(logits[head][0], values, top) for head, values in labels.heads.items()}
        return VideoPrediction(name, clips.frame_count(name), actions, heads)


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
