"""Clips of a P3AR data set as training samples: names to labels, frames drawn, decoded clips kept in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from dataset_builder.actions import NTU_ACTIONS, PKU_ACTIONS
from dataset_builder.naming import SampleName, parse_name
from dataset_builder.splits import split_names, validation_performers
from lps_sim.seeding import named_rng

from .config import DataConfig
from .ifns import aggregation_weights, neighbour_indices

# Private attribute -> field of the sample's name that tells it.
HEAD_FIELDS = {
    "identity": "performer",
    "gender": "gender",
    "hair": "hair",
    "glasses": "glasses",
    "upper_wear": "upper_wear",
    "lower_wear": "lower_wear",
}
FINE = 128
"""Steps of a code value in resized frames (int16): averaging pixels gains precision that 8 bits would round away."""
UNSEEN = -1
"""Label of an attribute value that no training clip has: left out of the loss and of closed-set scores."""


class ClipReader(Protocol):
    """What training needs of a data set; ``dataset_builder.formats.open_reader`` gives one."""

    def names(self) -> list[str]:
        """Names of all whole clips."""

    def frame_count(self, name: str) -> int:
        """Frames of a clip."""

    def read(self, name: str, indices: Sequence[int]) -> np.ndarray:
        """(K, H, W, 3) uint8 frames at the given indices."""

    def mean(self, name: str) -> np.ndarray:
        """(H, W, 3) float32 mean of all frames in code values."""


@dataclass(frozen=True)
class Labels:
    """The closed sets that the network tells apart, in the order of its outputs."""

    actions: tuple[int, ...]
    class_names: tuple[str, ...]
    heads: dict[str, tuple[int, ...]]

    def of(self, name: str) -> dict[str, int]:
        """Class index of the action and of every privacy head; :data:`UNSEEN` where training knows no such value."""
        sample = sample_of(name)
        found = {head: getattr(sample, HEAD_FIELDS[head]) for head in self.heads}
        result = {head: _index(self.heads[head], value) for head, value in found.items()}
        return {"action": _index(self.actions, sample.action), **result}


def sample_of(name: str) -> SampleName:
    """What a clip's name says; folders in front of it are the data set's own."""
    return parse_name(PurePosixPath(name).name)


def _index(values: Sequence[int], value: int) -> int:
    return values.index(value) if value in values else UNSEEN


@dataclass(frozen=True)
class DataPlan:
    """Names of each side, the labels derived from the training side, and the names that the protocol does not cover."""

    train: list[str]
    validation: list[str]
    test: list[str]
    labels: Labels
    outside: tuple[str, ...] = ()


def plan_data(names: Sequence[str], config: DataConfig, heads: Sequence[str]) -> DataPlan:
    """Split a data set's clips and derive the classes. Validation performers are carved from the training side.

    Raises
    ------
    ValueError
        When a listed clip is not in the data set, a side is empty, a test action never occurs in training, or a
        privacy head has no field in the names.
    """
    present = set(names)
    outside: tuple[str, ...] = ()
    if config.train is not None and config.test is not None:
        listed, test = read_name_list(config.train), read_name_list(config.test)
        for argument, wanted in (("data.train", listed), ("data.test", test)):
            _require_present(argument, wanted, present)
        both = sorted(set(listed) & set(test))
        if both:
            raise ValueError(f"data.train and data.test must not share clips, both have {_few(both)}")
        held = validation_performers((sample_of(name).performer for name in listed), config.validation_share)
        train = [name for name in listed if sample_of(name).performer not in held]
        validation = [name for name in listed if sample_of(name).performer in held]
    else:
        split = split_names(sorted(present), config.protocol, config.validation_share)
        train, validation, test = list(split.train), list(split.val), list(split.test)
        outside = split.outside
    keep = set(config.actions)
    train, validation, test = (
        [name for name in side if not keep or sample_of(name).action in keep] for side in (train, validation, test)
    )
    for side, clips in (("training", train), ("validation", validation), ("test", test)):
        if not clips:
            raise ValueError(f"data: no {side} clips among the {len(names)} of the data set ({_rule(config)})")
    return DataPlan(train, validation, test, _labels(train, validation + test, heads), outside)


def _labels(train: Sequence[str], others: Sequence[str], heads: Sequence[str]) -> Labels:
    samples = [sample_of(name) for name in train]
    actions = tuple(sorted({sample.action for sample in samples}))
    unknown = sorted({sample_of(name).action for name in others} - set(actions))
    if unknown:
        raise ValueError(f"data: actions {unknown} occur in validation or test but in no training clip")
    names = PKU_ACTIONS if samples[0].dataset == "p3ar-pku" else NTU_ACTIONS
    values = {}
    for head in heads:
        if head not in HEAD_FIELDS or not getattr(samples[0], HEAD_FIELDS[head]):
            usable = [name for name, attribute in HEAD_FIELDS.items() if getattr(samples[0], attribute)]
            raise ValueError(f"loss.privacy: the names tell no {head!r}; they tell {', '.join(usable)}")
        values[head] = tuple(sorted({getattr(sample, HEAD_FIELDS[head]) for sample in samples}))
    return Labels(actions, tuple(names[number - 1] for number in actions), values)


def read_name_list(path: str | Path) -> list[str]:
    """Bare sample names of a text file, one a line; blank lines and # comments are skipped."""
    lines = (line.split("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [str(parse_name(Path(line).name)) for line in lines if line]


def _require_present(argument: str, wanted: Sequence[str], present: set[str]) -> None:
    missing = [name for name in wanted if name not in present]
    if missing:
        raise ValueError(f"{argument}: {len(missing)} of {len(wanted)} clips are not in the data set: {_few(missing)}")


def _few(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _rule(config: DataConfig) -> str:
    return f"lists {config.train}, {config.test}" if config.train else f"protocol {config.protocol}"


def segment_indices(frame_count: int, segments: int, offsets: np.ndarray | float = 0.5) -> np.ndarray:
    """One frame from each of ``segments`` equal parts of a clip (temporal segment sampling).

    Parameters
    ----------
    offsets : (segments,) or scalar in [0, 1): place within each segment; 0.5 is the centre

    Returns
    -------
    (segments,) int, not decreasing, each 0..frame_count - 1
    """
    start = np.arange(segments) + offsets
    return np.minimum((start * frame_count / segments).astype(int), frame_count - 1)


class ClipDataset(Dataset[dict[str, Any]]):
    """Samples of a list of clips.

    A sample's frames depend on (seed, epoch, name) only, so they are the same for any number of reading processes.

    Parameters
    ----------
    reader : clip reader
    names : the clips, in the order of the indices
    labels : what to tell apart
    config : frames, gap, cache
    seed : None draws the centre of each segment (test); a number draws a random frame of each (training)
    """

    def __init__(
        self, reader: ClipReader, names: Sequence[str], labels: Labels, config: DataConfig, seed: int | None = None
    ) -> None:
        self.reader, self.names, self.labels, self.config, self.seed = reader, list(names), labels, config, seed
        self._cache: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._cached_bytes = 0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Sample of an index (epoch 0) or of an (epoch, index) pair.

        Returns name; ``frames`` (T, 3, 3, H, W) (frame, predecessor, successor; colour), uint8 or, where resized, int16
        in steps of 1/128 code value; ``mean`` (3, H, W) float32 code values; ``weights`` (T, 2); ``labels`` {action or
        head: index}.
        """
        epoch, index = key if isinstance(key, tuple) else (0, key)
        name = self.names[index]
        count = self.reader.frame_count(name)
        segments = self.config.frames
        offsets: np.ndarray | float = 0.5
        if self.seed is not None:
            offsets = named_rng(self.seed, "segments", epoch, name).random(segments)
        centre = segment_indices(count, segments, offsets)
        before, after = neighbour_indices(centre, count, self.config.gap)
        wanted = np.stack([centre, before, after], axis=1)  # (T, 3)
        frames, mean = self._read(name, wanted)
        return {
            "name": name,
            "frames": torch.from_numpy(frames).permute(0, 1, 4, 2, 3),
            "mean": torch.from_numpy(mean).permute(2, 0, 1),
            "weights": torch.from_numpy(aggregation_weights(centre, count, self.config.gap)),
            "labels": self.labels.of(name),
        }

    def preload(self, on_progress: Callable[[int, int], None] | None = None, threads: int = 2) -> None:
        """Decode clips into memory until ``config.cache_mb`` is full; decoders release the interpreter lock."""
        if not self.config.cache_mb:
            return
        with ThreadPoolExecutor(threads) as pool:
            for done, _ in enumerate(pool.map(self._load, self.names), start=1):
                if on_progress:
                    on_progress(done, len(self.names))

    def _load(self, name: str) -> None:
        if self._cached_bytes >= self.config.cache_mb * 1e6:
            return
        loaded = self._decode(name, range(self.reader.frame_count(name)))
        with self._lock:
            self._cache[name] = loaded
            self._cached_bytes += loaded[0].nbytes

    def _read(self, name: str, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(T, 3, H, W, 3) frames at ``wanted`` (T, 3), and the clip's mean."""
        if name in self._cache:
            frames, mean = self._cache[name]
            return frames[wanted], mean
        indices, place = np.unique(wanted, return_inverse=True)
        frames, mean = self._decode(name, [int(index) for index in indices])
        return frames[place.reshape(wanted.shape)], mean

    def _decode(self, name: str, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        frames, mean = self.reader.read(name, indices), np.asarray(self.reader.mean(name), dtype=np.float32)
        return fit_frames(frames, self.config.size), _resized(mean, self.config.size)


def fit_frames(frames: np.ndarray, size: int) -> np.ndarray:
    """(K, H, W, 3) uint8 -> (K, size, size, 3): unchanged where it fits, else area-averaged int16 in 1/128 codes."""
    if frames.shape[1:3] == (size, size):
        return frames
    return np.rint(np.stack([_resized(frame.astype(np.float32), size) for frame in frames]) * FINE).astype(np.int16)


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    if image.shape[:2] == (size, size):
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def white_level(frames: Tensor) -> int:
    """The value of frames of :func:`fit_frames` that is white (code 255)."""
    return 255 * (FINE if frames.dtype == torch.int16 else 1)


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Samples -> batch: tensors stacked, names listed, labels (B,) int64."""
    batch = {key: torch.stack([sample[key] for sample in samples]) for key in ("frames", "mean", "weights")}
    labels = {key: torch.tensor([sample["labels"][key] for sample in samples]) for key in samples[0]["labels"]}
    return {"name": [sample["name"] for sample in samples], **batch, "labels": labels}


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Shuffled batches of (epoch, index) keys, the same on every machine, each process its share.

    Incomplete batches at the end of an epoch are dropped, so that every optimiser step weighs its clips alike; with a
    new order each epoch no clip is left out for good.
    """

    def __init__(self, count: int, batch: int, seed: int, rank: int = 0, processes: int = 1, group: int = 1) -> None:
        self.count, self.batch, self.seed, self.rank, self.processes = count, batch, seed, rank, processes
        self.epoch, self.first = 0, 0
        """Epoch to draw, and the batch to begin with: a run that goes on in mid-epoch has had those before."""
        per_step = batch * processes * group
        if count < per_step:
            raise ValueError(
                f"optim.batch x optim.accumulate x processes must be at most the {count} training clips, got {per_step}"
            )
        self.batches = count // per_step * group

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = named_rng(self.seed, "order", self.epoch).permutation(self.count)
        for position in range(self.first, self.batches):
            start = (position * self.processes + self.rank) * self.batch
            yield [(self.epoch, int(index)) for index in order[start : start + self.batch]]


def frame_tensors(batch: dict[str, Any], device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A batch's frames on the device, scaled to [0, 1].

    Returns
    -------
    frames, predecessors, successors : (B, T, 3, H, W) float32
    mean : (B, 3, H, W) float32
    """
    frames = batch["frames"].to(device, non_blocking=True).float()  # (B, T, 3, 3, H, W)
    frames = frames.div_(white_level(batch["frames"]))
    centre, before, after = frames.unbind(dim=2)
    return centre, before, after, batch["mean"].to(device, non_blocking=True).float().div(255)


def open_dataset(config: DataConfig) -> ClipReader:
    """Reader of the configured P3AR data set.

    Raises ValueError when no data set is configured, or the directory is not one.
    """
    from dataset_builder.formats import open_reader

    if config.dataset is None:
        raise ValueError("data.dataset must be the directory of a P3AR data set, got none")
    reader: ClipReader = open_reader(config.dataset)
    return reader
