"""What a data set holds, in numbers: the manifest counted, a sample of clips measured clean and degraded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .layout import DATASET_FILE, FILM_FILE, MANIFEST_FILE, find_datasets, layers_name, read_dataset
from .manifest import Manifest
from .naming import parse_name
from .stats_counts import ManifestCounts, count_manifest
from .stats_light import LightComparison, LightMeter

DEFAULT_SAMPLES = 200
SHEET_CLIPS = 12


@dataclass(frozen=True)
class DiskUse:
    """Bytes of one data set. ``clips`` is exact; ``means`` and ``sources`` are ``sampled`` clips' mean size times the
    number of finished clips, None where none of these files was found; ``records`` is the manifest and the film."""

    clips: int
    means: int | None
    sources: int | None
    records: int
    sampled: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dict(vars(self))


@dataclass(frozen=True)
class DatasetStats:
    """One data set: counts of the manifest, bytes on disk, and its sample in linear light."""

    counted: ManifestCounts
    disk: DiskUse
    light: LightComparison

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        counted = self.counted
        film = counted.settings["film"]
        return {
            "directory": str(counted.directory),
            "layers": counted.layers,
            "film": film["name"] if film else None,
            "format": counted.settings["format"],
            "counts": counted.counts,
            "frames": counted.frames,
            "seconds": counted.seconds,
            "bits_per_pixel": 8 * counted.output_bytes / counted.pixels if counted.pixels else None,
            "breakdowns": [breakdown.to_dict() for breakdown in counted.breakdowns],
            "clip_frames": counted.clip_frames.to_dict(),
            "clip_seconds": counted.clip_seconds.to_dict(),
            "clip_bytes": counted.clip_bytes.to_dict(),
            "shapes": [
                {"width": width, "height": height, "fps": fps, "clips": clips}
                for (width, height, fps), clips in counted.shapes.items()
            ],
            "bytes": self.disk.to_dict(),
            "light": self.light.to_dict(),
            "failed": [reason.to_dict() for reason in counted.failed],
            "refused": [reason.to_dict() for reason in counted.refused],
        }


@dataclass(frozen=True)
class Stats:
    """All data sets at one place, and the clips of the contact sheet in the order of their actions."""

    place: Path
    datasets: tuple[DatasetStats, ...]
    sheet: tuple[str, ...]

    @property
    def unreadable(self) -> list[str]:
        """Clips that a manifest calls done and that could not be read, with directory and reason."""
        return [
            f"{dataset.counted.directory}: {example}"
            for dataset in self.datasets
            for reason in dataset.light.unreadable
            for example in reason.examples
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"place": str(self.place), "datasets": [dataset.to_dict() for dataset in self.datasets]}


def collect_stats(
    place: str | os.PathLike[str],
    clean: str | os.PathLike[str] | None = None,
    samples: int = DEFAULT_SAMPLES,
    workers: int | None = None,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> Stats:
    """Count and sample the data sets at ``place``, whole or not; may be asked while a run is at work on them.

    Parameters
    ----------
    place : a data set's directory, or the folder of ``layers-NN`` data sets
    clean : the data set without film to compare with; default: the ``layers-00`` beside, or else the source files
    samples : how many clips of each data set are opened, and their clean twins, at most
    workers : threads that decode; default the number of processors, at most 8
    on_progress : called with (clips measured, clips to measure, name)

    Raises
    ------
    ValueError : no data set there, ``clean`` is no data set without film, or samples is below 0
    """
    roots = find_datasets(place)
    counted = [count_manifest(root, samples) for root in roots]
    twin = _clean_twin(roots, clean)
    sheet = _sheet([one.sampled for one in sorted(counted, key=lambda one: one.layers == 0)])
    total = sum(len(one.sampled) * (1 if one.layers == 0 else 2) for one in counted)
    measured = 0

    def count(name: str) -> None:
        nonlocal measured
        measured += 1
        if on_progress:
            on_progress(measured, total, name)

    meter = LightMeter(sheet, workers, count)
    datasets = [
        DatasetStats(one, _disk_use(one), meter.compare(one.directory, one.sampled, twin if one.layers else None))
        for one in counted
    ]
    return Stats(Path(place), tuple(datasets), sheet)


def _clean_twin(roots: Sequence[Path], clean: str | os.PathLike[str] | None) -> Path | None:
    """The data set without film: the one given, or one of ``roots``, or the ``layers-00`` beside a single root."""
    if clean is None:
        beside = roots[0].resolve().parent / layers_name(0)
        candidates = [*roots, beside] if (beside / DATASET_FILE).is_file() else roots
    else:
        candidates = find_datasets(clean)
    counts = {root: int(read_dataset(root)["layers"]) for root in candidates}
    found = next((root for root, layers in counts.items() if layers == 0), None)
    if found is None and clean is not None:
        have = ", ".join(map(str, counts.values()))
        raise ValueError(f"clean must hold a data set of 0 layers, got {clean} with layers {have}")
    return found


def _sheet(samples: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Clips for the contact sheet: of as many actions as there is room for, evenly spread, preferably in every sample.

    ``samples`` are the data sets' samples, in the order of their hashes.
    """
    common = set(samples[0]).intersection(*samples[1:]) if samples else set()
    candidates = [name for name in (samples[0] if samples else ()) if not common or name in common]
    by_action: dict[str, list[str]] = {}
    for name in candidates:
        by_action.setdefault(action_key(name), []).append(name)
    actions = sorted(by_action)
    chosen: list[str] = []
    for rank in range(max(map(len, by_action.values()), default=0)):
        left = [by_action[action][rank] for action in actions if rank < len(by_action[action])]
        room = SHEET_CLIPS - len(chosen)
        chosen += left if len(left) <= room else [left[place * len(left) // room] for place in range(room)]
    return tuple(sorted(chosen, key=lambda name: (action_key(name), name)))


def action_key(name: str) -> str:
    """What stands for the action in a clip's name: ``A008``, or its first folder."""
    try:
        return f"A{parse_name(name).action:03d}"
    except ValueError:
        return name.partition("/")[0] if "/" in name else ""


def _disk_use(counted: ManifestCounts) -> DiskUse:
    means, sources = [], []
    with Manifest(counted.directory / MANIFEST_FILE) as manifest:
        for name in counted.sampled:
            row = manifest.row(name)
            if row is not None and row.mean:
                means += _size(counted.directory / row.mean)
            if row is not None:
                sources += _size(Path(row.source))
    done = counted.counts["done"]
    return DiskUse(
        clips=counted.output_bytes,
        means=round(sum(means) / len(means) * done) if means else None,
        sources=round(sum(sources) / len(sources) * done) if sources else None,
        records=sum(sum(_size(counted.directory / name)) for name in (MANIFEST_FILE, FILM_FILE)),
        sampled=len(counted.sampled),
    )


def _size(path: Path) -> list[int]:
    """The file's size, or nothing where there is no such file."""
    return [path.stat().st_size] if path.is_file() else []
