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
from ..data import ClipReader, fit_frames, open_dataset, sample_of, segment_indices, white_level
from ..evaluate import BOOTSTRAP_DRAWS, bootstrap_interval, top_k
from .protocol import identity_protocol


class AttackConfig(StrictModel):
    """Architecture and budget of an attacker: the same for clean and degraded clips."""

    size: PositiveInt = Field(default=112, description="side of the square input, px")
    frames: PositiveInt = Field(default=6, description="frames kept of a clip; all are averaged in the test")
    frames_per_step: PositiveInt = Field(default=2, description="frames of a clip in one training step")
    channels: tuple[PositiveInt, ...] = (24, 48, 96, 128)
    steps: PositiveInt = 320
    batch: PositiveInt = Field(default=24, description="clips a step")
    rate: PositiveFloat = 2e-3
    weight_decay: float = 0.05
    brightness: float = Field(default=0.15, ge=0, lt=1, description="random exposure, +-")
    pairs: PositiveInt = 1000
    seed: int = 0


class IdentityNet(nn.Module):
    """Strided convolutions on frame and clip mean, pooled over the image and over frames; linear identity logits."""

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for before, after in zip((6, *channels), channels):
            stages += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.stages = nn.Sequential(*stages)
        self.embed = nn.Sequential(nn.Linear(2 * channels[-1], channels[-1]), nn.BatchNorm1d(channels[-1]))
        self.dropout = nn.Dropout(0.2)
        self.classify = nn.Linear(channels[-1], classes)

    def forward(self, frames: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, 3, H, W) frames, (B, 3, H, W) clip means -> (B, E) embedding, (B, classes) logits."""
        batch, count = frames.shape[:2]
        both = torch.cat([frames, mean.unsqueeze(1).expand_as(frames)], dim=2)  # (B, K, 6, H, W)
        x = self.stages(both.flatten(0, 1))  # (B*K, C, h, w)
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
    """Frames and mean of each clip of a list, in memory."""

    def __init__(self, reader: ClipReader, names: Sequence[str], config: AttackConfig) -> None:
        self.names = list(names)
        frames, means = [], []
        for name in self.names:
            indices = segment_indices(reader.frame_count(name), config.frames)
            frames.append(fit_frames(reader.read(name, [int(index) for index in indices]), config.size))
            means.append(fit_frames(reader.mean(name)[None], config.size)[0])
        self._frames = torch.from_numpy(np.stack(frames)).permute(0, 1, 4, 2, 3)
        self._means = torch.from_numpy(np.stack(means)).permute(0, 3, 1, 2)

    def __len__(self) -> int:
        return len(self.names)

    def take(self, clips: Tensor, which: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, K, 3, S, S) frames and (B, 3, S, S) means of some clips; ``which`` (B, k) picks frames of each."""
        frames = self._frames[clips] if which is None else self._frames[clips[:, None], which]
        means = self._means[clips]
        return frames.float() / white_level(frames), means.float() / white_level(means)


def _classes(names: Sequence[str], performers: Sequence[int]) -> np.ndarray:
    return np.array([performers.index(sample_of(name).performer) for name in names])


def train_attacker(
    clips: _Clips,
    performers: Sequence[int],
    config: AttackConfig,
    on_progress: Callable[[int, int], None] | None = None,
) -> _Attacker:
    """Train :class:`IdentityNet` for a fixed number of steps: AdamW, cosine rate, random crops, flips and exposure."""
    generator = Generator().manual_seed(named_seed(config.seed, "attack") % 2**63)
    torch.manual_seed(named_seed(config.seed, "attacker") % 2**63)
    truth = torch.from_numpy(_classes(clips.names, performers))
    sample, _ = clips.take(torch.arange(0, len(clips), max(1, len(clips) // 64)))
    centre, spread = sample.mean(dim=(0, 1, 3, 4)), sample.std(dim=(0, 1, 3, 4)).clamp(min=0.5 / 255)
    attacker = _Attacker(IdentityNet(config.channels, len(performers)), centre, spread)
    optimizer = torch.optim.AdamW(attacker.parameters(), lr=config.rate, weight_decay=config.weight_decay)
    augment = AugmentConfig(crop_area=(0.7, 1.0), aspect=1.1)
    order = torch.empty(0, dtype=torch.long)
    attacker.train()
    for step in range(config.steps):
        done = step / config.steps
        for group in optimizer.param_groups:  # a tenth of linear warm-up under a cosine to zero
            group["lr"] = config.rate * min(1.0, 10 * done + 0.1) * 0.5 * (1 + math.cos(math.pi * done))
        if len(order) < config.batch:
            order = torch.cat([order, torch.randperm(len(clips), generator=generator)])
        chosen, order = order[: config.batch], order[config.batch :]
        which = torch.rand(len(chosen), config.frames, generator=generator).argsort(dim=1)[:, : config.frames_per_step]
        frames, means = clips.take(chosen, which)
        exposure = 1 + config.brightness * (2 * torch.rand(len(chosen), 1, 1, 1, 1, generator=generator) - 1)
        both = exposure * torch.cat([frames, means.unsqueeze(1)], dim=1)  # (B, k + 1, 3, S, S)
        both = random_crop_flip(both, augment, generator)
        _, logits = attacker(both[:, :-1], both[:, -1])
        loss = functional.cross_entropy(logits, truth[chosen], label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if on_progress:
            on_progress(step + 1, config.steps)
    return attacker.eval()


class _Attacker(nn.Module):
    """The network behind the scaling of its input by the training clips' mean and spread (3,)."""

    centre: Tensor
    spread: Tensor

    def __init__(self, net: IdentityNet, centre: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("centre", centre[:, None, None])
        self.register_buffer("spread", spread[:, None, None])

    def forward(self, frames: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        embedding, logits = self.net((frames - self.centre) / self.spread, (means - self.centre) / self.spread)
        return embedding, logits


@torch.no_grad()
def _apply(attacker: _Attacker, clips: _Clips, batch: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """(N, E) unit embeddings and (N, classes) logits, from all frames and their mirror images."""
    embeddings, logits = [], []
    for chosen in torch.arange(len(clips)).split(batch):
        frames, means = clips.take(chosen)
        views = [attacker(frames, means), attacker(frames.flip(-1), means.flip(-1))]
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
