"""Clips of a P3AR data set as training samples: frames drawn, decoded clips kept in memory."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler, get_worker_info

from lps_sim.seeding import named_rng, named_seed

from .balance import balanced_order
from .config import DataConfig
from .ifns import aggregation_weights, neighbour_indices
from .online import OnlineFilm, draw_film, mean_indices
from .resize import fit_frames, resized, white_level
from .sides import ClipReader, Labels
from .videos import VideoClips
from .views import Views, segment_indices


class ClipDataset(Dataset[dict[str, Any]]):
    """Samples of a list of clips.

    A sample's frames and film depend on (seed, epoch, name) only, so they are the same for any number of reading
    processes. The global generators of a reading process are seeded by (seed, epoch, process), for whatever uses them.

    Parameters
    ----------
    reader : clip reader
    names : the clips, in the order of the indices
    labels : what to tell apart; None for clips whose names tell nothing
    config : frames, gap, cache, on-line film
    seed : None draws the centre of each segment (test); a number draws a random frame of each (training)
    views : of a test: more draws of frames, one after another, and frames large enough to be cropped
    """

    def __init__(
        self,
        reader: ClipReader,
        names: Sequence[str],
        labels: Labels | None,
        config: DataConfig,
        seed: int | None = None,
        views: Views | None = None,
    ) -> None:
        self.reader, self.names, self.labels, self.config, self.seed = reader, list(names), labels, config, seed
        self.views = views or Views()
        self.side = self.views.side(config.size)
        self._seeded_epoch = -1
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
        head: index}. With several draws T is that of all of them.

        With an on-line film, instead of ``frames`` and ``mean``: ``clean`` (K, H, W, 3) uint8, each frame that is
        needed once; ``place`` (T, 3) and ``mean_place`` (M,), which of them go where; ``film``, layers and noise seed.
        """
        epoch, index = key if isinstance(key, tuple) else (0, key)
        self._seed_reading_process(epoch)
        name = self.names[index]
        count = self.reader.frame_count(name)
        segments = self.config.frames
        if self.seed is None:
            centre = np.concatenate([segment_indices(count, segments, offset) for offset in self.views.offsets()])
        else:
            offsets = named_rng(self.seed, "segments", epoch, name).random(segments)
            centre = segment_indices(count, segments, offsets)
        before, after = neighbour_indices(centre, count, self.config.gap)
        wanted = np.stack([centre, before, after], axis=1)  # (T, 3)
        sample = {
            "name": name,
            "weights": torch.from_numpy(aggregation_weights(centre, count, self.config.gap)),
            "labels": self.labels.of(name) if self.labels is not None else {},
        }
        if self.config.online.film is not None:
            return sample | self._clean(name, wanted, epoch)
        frames, mean = self._read(name, wanted)
        return {
            **sample,
            "frames": torch.from_numpy(frames).permute(0, 1, 4, 2, 3),
            "mean": torch.from_numpy(mean).permute(2, 0, 1),
        }

    def _clean(self, name: str, wanted: np.ndarray, epoch: int) -> dict[str, Any]:
        for_mean = mean_indices(self.reader.frame_count(name), self.config.online.mean_frames)
        indices, place = np.unique(np.concatenate([wanted.ravel(), for_mean]), return_inverse=True)
        clean = self._cache[name][0][indices] if name in self._cache else self.reader.read(name, indices.tolist())
        places = torch.from_numpy(place.ravel())
        return {
            "clean": torch.from_numpy(clean),
            "place": places[: wanted.size].view(wanted.shape),
            "mean_place": places[wanted.size :],
            "film": draw_film(self.config.online, self.seed or 0, epoch, name),
        }

    def _seed_reading_process(self, epoch: int) -> None:
        worker = get_worker_info()
        if worker is None or epoch == self._seeded_epoch:
            return
        self._seeded_epoch = epoch
        seed = named_seed(self.seed or 0, "reading process", epoch, worker.id)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 (for libraries that draw from it)
        torch.manual_seed(seed % 2**63)

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
        frames, mean = self._decode(name, wanted.ravel().tolist())
        return frames.reshape(*wanted.shape, *frames.shape[1:]), mean

    def _decode(self, name: str, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        frames = self.reader.read(name, indices)
        if self.config.online.film is not None:
            return frames, np.empty(0, np.float32)
        mean = np.asarray(self.reader.mean(name), dtype=np.float32)
        return fit_frames(frames, self.side), resized(mean, self.side)


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Samples -> batch: tensors stacked, names listed, labels (B,) int64."""
    batch: dict[str, Any] = {"weights": torch.stack([sample["weights"] for sample in samples])}
    if "clean" in samples[0]:  # clips need different numbers of frames, of different sizes
        batch |= {key: [sample[key] for sample in samples] for key in ("clean", "place", "mean_place", "film")}
    else:
        # Stacked as they lie in memory, colour innermost: in planes every clip would be copied value by value.
        frames = torch.stack([sample["frames"].permute(0, 1, 3, 4, 2) for sample in samples])
        means = torch.stack([sample["mean"].permute(1, 2, 0) for sample in samples])
        batch |= {"frames": frames.permute(0, 1, 2, 5, 3, 4), "mean": means.permute(0, 3, 1, 2)}
    labels = {key: torch.tensor([sample["labels"][key] for sample in samples]) for key in samples[0]["labels"]}
    return {"name": [sample["name"] for sample in samples], **batch, "labels": labels}


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Shuffled batches of (epoch, index) keys, the same on every machine, each process its share.

    Incomplete batches at the end of an epoch are dropped, so that every optimiser step weighs its clips alike; with a
    new order each epoch no clip is left out for good.

    Parameters
    ----------
    count : training clips
    batch : clips a process and batch
    group : batches a step of the optimiser
    classes : (count,) class of each clip, with ``balance`` as in :func:`training.balance.clip_weights`
    """

    def __init__(
        self,
        count: int,
        batch: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        group: int = 1,
        classes: Sequence[int] | None = None,
        balance: float = 0.0,
    ) -> None:
        self.classes, self.balance = classes, balance
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
        rng = named_rng(self.seed, "order", self.epoch)
        if self.classes is None or self.balance == 0:
            order = rng.permutation(self.count)
        else:
            order = balanced_order(self.classes, self.balance, rng)
        for position in range(self.first, self.batches):
            start = (position * self.processes + self.rank) * self.batch
            yield [(self.epoch, int(index)) for index in order[start : start + self.batch]]


def frame_tensors(
    batch: dict[str, Any], device: torch.device, film: OnlineFilm | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A batch's frames on the device, scaled to [0, 1]; clean clips behind the on-line ``film``.

    Returns
    -------
    frames, predecessors, successors : (B, T, 3, H, W) float32
    mean : (B, 3, H, W) float32
    """
    if film is not None:
        return film.frame_tensors(batch, device)
    frames = batch["frames"].to(device, non_blocking=True).float()  # (B, T, 3, 3, H, W)
    frames = frames.div_(white_level(batch["frames"]))
    centre, before, after = frames.unbind(dim=2)
    return centre, before, after, batch["mean"].to(device, non_blocking=True).float().div(255)


def open_dataset(config: DataConfig) -> ClipReader:
    """Reader of the configured P3AR data set, or of an index's videos.

    Raises ValueError when no data set is configured, the path is not one, or an on-line film is configured for clips
    that are degraded already.
    """
    from dataset_builder.formats import open_reader

    if config.dataset is None:
        raise ValueError("data.dataset must be the directory of a P3AR data set, got none")
    if config.dataset.is_file():
        return VideoClips.of_index(config.dataset)
    reader = open_reader(config.dataset)
    if config.online.film is not None and reader.layers:
        raise ValueError(f"data.online needs clean clips, {config.dataset} is behind {reader.layers} layers already")
    return reader
