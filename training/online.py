"""On-line degradation: clean clips go through the film on the device, between reading and IFNS.

A clip has one number of layers for all its frames; it and the noise depend on (seed, epoch, name) only. Every frame
that is needed goes through once, so that a frame that is its own predecessor differs from itself by nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from lps_sim.camera import Camera
from lps_sim.film import FilmModel
from lps_sim.seal import LensPrivacySeal
from lps_sim.seeding import named_rng

from .config import DataConfig, OnlineConfig
from .views import Views

PIXELS_AT_A_TIME = 1 << 24  # of frames on a device: 8 of 1080p, about half a gigabyte with what is computed on the way


class FilmDraw(NamedTuple):
    """One clip's film: how many layers, and the seed of its noise."""

    layers: int
    seed: int


def draw_film(config: OnlineConfig, seed: int, epoch: int, name: str) -> FilmDraw:
    """The layers and noise of a clip in an epoch."""
    rng = named_rng(seed, "film", epoch, name)
    return FilmDraw(int(rng.choice(config.layers)), int(rng.integers(2**62)))


def mean_indices(frame_count: int, most: int) -> np.ndarray:
    """The centres of ``most`` equal parts of a clip, from which its mean is formed; all frames where it has no more.

    The film is linear in light and the mean is one of codes, so the degraded mean is not that of a degraded mean frame:
    single frames go through. ``most`` 0 takes all.
    """
    if not most or frame_count <= most:
        return np.arange(frame_count)
    return ((np.arange(most) + 0.5) * frame_count / most).astype(int)


class OnlineFilm:
    """The film in front of batches of clean frames.

    Parameters
    ----------
    config : film, camera and noise
    size : side of the square output, px

    Raises
    ------
    ValueError
        When there is no such film, or its camera's file is not one.
    """

    def __init__(self, config: OnlineConfig, size: int) -> None:
        if config.film is None:
            raise ValueError("data.online.film must be a film file or a preset's name, got none")
        self.config = config
        if config.camera is not None:
            camera = Camera.from_yaml(config.camera)
        else:
            # Taken on at each clip's own size, with this angle across its width.
            camera = Camera.from_field_of_view(1920, 1080, config.field_of_view_deg)
        self.seal = LensPrivacySeal(
            FilmModel.load(config.film), config.layers, camera, (size, size), noise=config.noise, round_codes=True
        )

    def describe(self) -> dict[str, Any]:
        """JSON-ready: the film with its checksum, layers, angle and noise."""
        fields = self.config.model_dump(mode="json")
        return {**fields, "film": self.seal.film.name, "checksum": self.seal.film.checksum()}

    @torch.no_grad()
    def degrade(self, clean: Tensor, draw: FilmDraw, device: torch.device) -> Tensor:
        """(K, H, W, 3) uint8 frames of one clip -> (K, 3, size, size) float32 codes in [0, 1]."""
        generator = Generator(device).manual_seed(draw.seed)
        step = max(1, PIXELS_AT_A_TIME // (clean.shape[1] * clean.shape[2]))
        parts = []
        for piece in clean.split(step):
            frames = piece.to(device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
            if self.config.aspect is not None:
                upright = (frames.shape[2], round(frames.shape[2] * self.config.aspect))
                frames = functional.interpolate(frames, upright, mode="bilinear", antialias=True)
            parts.append(self.seal(frames, layers=draw.layers, generator=generator))
        return torch.cat(parts)

    def frame_tensors(self, batch: dict[str, Any], device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As :func:`training.data.frame_tensors`, of a batch of clean clips."""
        frames, means = [], []
        for clean, place, mean_place, draw in zip(batch["clean"], batch["place"], batch["mean_place"], batch["film"]):
            degraded = self.degrade(clean, FilmDraw(*draw), device)
            frames.append(degraded[place.to(device)])  # (T, 3, 3, H, W)
            means.append(degraded[mean_place.to(device)].mean(dim=0))
        centre, before, after = torch.stack(frames).unbind(dim=2)
        return centre, before, after, torch.stack(means)


def online_film(config: DataConfig, views: Views | None = None) -> OnlineFilm | None:
    """The configured film; None where clips come degraded."""
    if config.online.film is None:
        return None
    return OnlineFilm(config.online, (views or Views()).side(config.size))
