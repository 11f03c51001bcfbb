"""Identity attackers: networks trained, for that purpose alone, to tell people apart on the clips as they are.

The attacker sees plain RGB frames and the clip mean, not IFNS differences, and is the same network with the same budget
on clean and on degraded clips. Its input is scaled by constants of the data set, so that low contrast is no handicap.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from scipy.stats import rankdata
from torch import Generator, Tensor, nn
from torch.nn import functional

from lps_sim.config import StrictModel
from lps_sim.seeding import named_rng, named_seed

from ..augment import random_crop_flip
from ..config import AugmentConfig, DataConfig
from ..data import open_dataset
from ..resize import fit_frames, white_level
from ..scores import BOOTSTRAP_DRAWS, bootstrap_interval, top_k
from ..sides import ClipReader, sample_of
from ..views import segment_indices
from .protocol import identity_protocol


class AttackConfig(StrictModel):
    """Architecture and budget of an attacker: the same for clean and degraded clips."""

    size: PositiveInt = Field(default=96, description="side of the square input, px")
    frames: PositiveInt = Field(default=6, description="frames kept of a clip; all are averaged in the test")
    frames_per_step: PositiveInt = Field(default=2, description="frames of a clip in one training step")
    channels: tuple[PositiveInt, ...] = (16, 32, 64, 128)
    steps: PositiveInt = 200
    batch: PositiveInt = Field(default=24, description="clips a step")
    rate: PositiveFloat = 3e-3
    weight_decay: float = 0.05
    light: float = Field(default=0.3, ge=0, lt=1, description="random change of each colour's light, +-")
    smallest_crop: float = Field(default=0.5, gt=0, le=1, description="least share of the area in a random crop")
    dropout: float = Field(default=0.5, ge=0, lt=1)
    pairs: PositiveInt = 1000
    seed: int = 0


class IdentityNet(nn.Module):
    """Strided convolutions on what stands out from the background, pooled over the image and over frames.

    The attacker knows its cameras: the plate, the mean of all clips of one camera in one setup, is the background.
    Each pixel is weighted by m = d^2 / (d^2 + noise^2), d its distance from the plate, so that the network learns
    people and not rooms; it sees the weighted frame, the difference, and m. ``centre`` and ``spread`` (3,), ``noise``
    and ``contrast`` are constants of the training clips: low contrast is no handicap.
    """

    centre: Tensor
    spread: Tensor
    noise: Tensor
    contrast: Tensor

    def __init__(self, channels: Sequence[int], classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        for name, size in (("centre", (3, 1, 1)), ("spread", (3, 1, 1)), ("noise", ()), ("contrast", ())):
            self.register_buffer(name, torch.ones(size))
        stages: list[nn.Module] = []
        for before, after in zip((7, *channels), channels):
            stages += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.stages = nn.Sequential(*stages)
        self.embed = nn.Sequential(nn.Linear(2 * channels[-1], channels[-1]), nn.BatchNorm1d(channels[-1]))
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(channels[-1], classes)

    @torch.no_grad()
    def set_scale(self, frames: Tensor, plates: Tensor) -> None:
        """Constants from (B, K, 3, H, W) training frames and their (B, 3, H, W) plates."""
        distance = frames - plates.unsqueeze(1)
        self.centre.copy_(frames.mean(dim=(0, 1, 3, 4))[:, None, None])
        self.spread.copy_(frames.std(dim=(0, 1, 3, 4)).clamp(min=0.5 / 255)[:, None, None])
        # Most pixels are background: the median distance there is noise, in still clips of clean frames next to none.
        self.noise.copy_((4 * distance.abs().mean(dim=2).flatten().median()).clamp(min=1 / 255))
        self.contrast.copy_(distance.std().clamp(min=0.5 / 255))

    def forward(self, frames: Tensor, plates: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, 3, H, W) frames, (B, 3, H, W) plates -> (B, E) embedding, (B, classes) logits."""
        batch, count = frames.shape[:2]
        distance = frames - plates.unsqueeze(1)
        energy = distance.square().mean(dim=2, keepdim=True)
        mask = energy / (energy + self.noise**2)  # (B, K, 1, H, W)
        x = torch.cat([mask * (frames - self.centre) / self.spread, distance / self.contrast, mask], dim=2)
        x = self.stages(x.flatten(0, 1))  # (B*K, C, h, w)
        x = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)  # (B*K, 2C)
        embedding = self.embed(x.unflatten(0, (batch, count)).mean(dim=1))
        return embedding, self.classify(self.dropout(functional.relu(embedding)))


def identity_attack(
    dataset_dir: str | Path,
    config: AttackConfig | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    reader: ClipReader | None = None,
) -> dict[str, Any]:
    """Train an attacker on a data set and say how well it recognises people there.

    Closed set: the same performers in training and test, clips disjoint by setup and replication; top-1 with its
    chance level. Verification: same or different performer for pairs of clips of performers never trained on, by the
    cosine of embeddings; area under the ROC curve, 0.5 is chance. Intervals are 95 % bootstrap over performers.

    Parameters
    ----------
    dataset_dir : P3AR data set directory
    on_progress : called with (steps done, steps)
    reader : clips; default: those of ``dataset_dir``

    Raises
    ------
    ValueError
        When the data set has too few performers, setups or replications for the protocol.
    """
    started = time.monotonic()
    config = config or AttackConfig()
    reader = reader or open_dataset(DataConfig(dataset=Path(dataset_dir)))
    protocol = identity_protocol(reader.names(), pairs=config.pairs, seed=config.seed)
    train, test, others = (
        _Clips(reader, names, config) for names in (protocol.train, protocol.test, protocol.pair_clips)
    )
    net = train_attacker(train, protocol.performers, config, on_progress)

    _, logits = _apply(net, test)
    truth = _classes(protocol.test, protocol.performers)
    hits = top_k(logits, truth, 1)
    embeddings = dict(zip(others.names, _apply(net, others)[0]))
    similarity = np.array([float(embeddings[pair.first] @ embeddings[pair.second]) for pair in protocol.pairs])
    same = np.array([pair.same for pair in protocol.pairs])
    first_performer = np.array([sample_of(pair.first).performer for pair in protocol.pairs])
    return {
        "dataset": str(dataset_dir),
        "closed_set": {
            "top1": float(hits.mean()),
            "top1_interval": bootstrap_interval(hits, truth, config.seed),
            "top5": float(top_k(logits, truth, 5).mean()),
            "chance": 1 / len(protocol.performers),
            "performers": len(protocol.performers),
            "train_clips": len(protocol.train),
            "test_clips": len(protocol.test),
        },
        "verification": {
            "auc": roc_auc(similarity, same),
            "auc_interval": _auc_interval(similarity, same, first_performer, config.seed),
            "chance": 0.5,
            "pairs": len(same),
            "performers": len(set(first_performer.tolist())),
        },
        "attacker": {**config.model_dump(mode="json"), "parameters": sum(p.numel() for p in net.parameters())},
        "seconds": time.monotonic() - started,
    }


class _Clips:
    """Frames, mean and plate of each clip of a list, in memory; the mean is one more frame, with the least noise."""

    def __init__(self, reader: ClipReader, names: Sequence[str], config: AttackConfig) -> None:
        self.names = list(names)
        stacks = []
        means: dict[tuple[int, int], list[np.ndarray]] = {}
        for name in self.names:
            indices = segment_indices(reader.frame_count(name), config.frames)
            frames = fit_frames(reader.read(name, [int(index) for index in indices]), config.size)
            mean = np.asarray(fit_frames(reader.mean(name)[None], config.size))
            stacks.append(np.concatenate([frames, np.rint(mean).astype(frames.dtype)]))
            means.setdefault(_view(name), []).append(mean[0].astype(np.float32))
        plates = {view: np.mean(group, axis=0) for view, group in means.items()}
        self._frames = torch.from_numpy(np.stack(stacks)).permute(0, 1, 4, 2, 3)  # (N, K + 1, 3, S, S)
        self._plates = {view: torch.from_numpy(plate).permute(2, 0, 1) for view, plate in plates.items()}

    def __len__(self) -> int:
        return len(self.names)

    def take(self, clips: Tensor, which: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, k + 1, 3, S, S) frames and mean of some clips, (B, 3, S, S) plates; ``which`` (B, k) picks frames."""
        if which is None:
            frames = self._frames[clips]
        else:
            mean = torch.full((len(clips), 1), self._frames.shape[1] - 1)
            frames = self._frames[clips[:, None], torch.cat([which, mean], dim=1)]
        plates = torch.stack([self._plates[_view(self.names[int(clip)])] for clip in clips])
        white = white_level(frames)
        return frames.float() / white, plates / white


def _view(name: str) -> tuple[int, int]:
    sample = sample_of(name)
    return sample.setup, sample.camera


def _classes(names: Sequence[str], performers: Sequence[int]) -> np.ndarray:
    return np.array([performers.index(sample_of(name).performer) for name in names])


def train_attacker(
    clips: _Clips,
    performers: Sequence[int],
    config: AttackConfig,
    on_progress: Callable[[int, int], None] | None = None,
) -> IdentityNet:
    """Train :class:`IdentityNet` for a fixed number of steps: AdamW, cosine rate, random crops, flips, light colour."""
    generator = Generator().manual_seed(named_seed(config.seed, "attack") % 2**63)
    torch.manual_seed(named_seed(config.seed, "attacker") % 2**63)
    truth = torch.from_numpy(_classes(clips.names, performers))
    net = IdentityNet(config.channels, len(performers), config.dropout)
    net.set_scale(*clips.take(torch.arange(0, len(clips), max(1, len(clips) // 64))))
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.rate, weight_decay=config.weight_decay)
    augment = AugmentConfig(crop_area=(config.smallest_crop, 1.0), aspect=1.2)
    order = torch.empty(0, dtype=torch.long)
    net.train()
    for step in range(config.steps):
        done = step / config.steps
        for group in optimizer.param_groups:  # a tenth of linear warm-up under a cosine to zero
            group["lr"] = config.rate * min(1.0, 10 * done + 0.1) * 0.5 * (1 + math.cos(math.pi * done))
        if len(order) < config.batch:
            order = torch.cat([order, torch.randperm(len(clips), generator=generator)])
        chosen, order = order[: config.batch], order[config.batch :]
        which = torch.rand(len(chosen), config.frames, generator=generator).argsort(dim=1)[:, : config.frames_per_step]
        frames, plates = clips.take(chosen, which)
        both = torch.cat([frames, plates.unsqueeze(1)], dim=1)  # (B, k + 2, 3, S, S)
        light = 1 + config.light * (2 * torch.rand(len(chosen), 1, 3, 1, 1, generator=generator) - 1)
        both = random_crop_flip(light * both, augment, generator)
        _, logits = net(both[:, :-1], both[:, -1])
        loss = functional.cross_entropy(logits, truth[chosen], label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if on_progress:
            on_progress(step + 1, config.steps)
    return net.eval()


@torch.no_grad()
def _apply(net: IdentityNet, clips: _Clips, batch: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """(N, E) unit embeddings and (N, classes) logits, from all frames and their mirror images."""
    embeddings, logits = [], []
    for chosen in torch.arange(len(clips)).split(batch):
        frames, plates = clips.take(chosen)
        views = [net(frames, plates), net(frames.flip(-1), plates.flip(-1))]
        embeddings.append(functional.normalize(views[0][0] + views[1][0], dim=1))
        logits.append(views[0][1] + views[1][1])
    return torch.cat(embeddings).numpy(), torch.cat(logits).numpy()


def roc_auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a positive pair scores above a negative one, ties counted half."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        raise ValueError(f"positive must hold both outcomes, got {positives} true of {len(positive)}")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _auc_interval(scores: np.ndarray, positive: np.ndarray, groups: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % bootstrap interval, resampling the performers of the first clips."""
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    rng = named_rng(seed, "bootstrap auc")
    values = []
    for _ in range(BOOTSTRAP_DRAWS):
        chosen = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        values.append(roc_auc(scores[chosen], positive[chosen]))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
