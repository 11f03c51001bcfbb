"""What a data set's manifest says in numbers: clips by action, performer and camera, their lengths and sizes, failures.

One pass over the manifest's rows with memory that does not grow with their number; no clip is opened.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lps_sim.seeding import named_seed

from .actions import NTU_ACTIONS, PKU_ACTIONS
from .layout import MANIFEST_FILE, read_dataset
from .manifest import STATUSES, Manifest, Status
from .naming import NTU_FIELDS, PKU_FIELDS, parse_name
from .scan import VIDEO_SUFFIXES

_FIELDS = {"ntu": NTU_FIELDS, "p3ar-pku": PKU_FIELDS}
_ACTIONS = {"ntu": NTU_ACTIONS, "p3ar-pku": PKU_ACTIONS}
# What a user asks first comes first; other fields follow in the order of the name.
_FIRST = ("action", "class", "performer", "camera", "setup")
# File sizes are counted in steps of 1 %, so that their number does not grow with that of the clips.
_SIZE_STEP = 0.01
_MOST_REASONS = 200
_EXAMPLES = 3
OTHER_REASONS = "other reasons"


@dataclass(frozen=True)
class Group:
    """The clips of one action, performer, camera ...: ``key`` as in the names (A008), ``label`` its meaning or ""."""

    key: str
    label: str
    counts: dict[Status, int]

    @property
    def clips(self) -> int:
        """Clips of every status."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Breakdown:
    """All clips by one field of their names, or by ``class``, the label by folder or CSV; groups in order of keys."""

    field: str
    groups: tuple[Group, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        groups = [{"key": group.key, "label": group.label, **group.counts} for group in self.groups]
        return {"field": self.field, "groups": groups}


@dataclass(frozen=True)
class Distribution:
    """Values (K,), rising, and how many clips have each (K,). Quantiles are values that occur."""

    values: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, counter: Counter[Any]) -> Distribution:
        """From value -> number of clips."""
        values = sorted(counter)
        return cls(np.array(values, float), np.array([counter[value] for value in values], int))

    @property
    def clips(self) -> int:
        """Number of clips."""
        return int(self.counts.sum())

    def quantile(self, share: float) -> float:
        """The smallest value that at least ``share`` of the clips do not exceed; NaN without clips."""
        if not self.clips:
            return math.nan
        place = int(np.searchsorted(np.cumsum(self.counts), share * self.clips - 1e-9))
        return float(self.values[min(place, self.values.size - 1)])

    @property
    def mean(self) -> float:
        """Mean over clips; NaN without clips."""
        return float((self.values * self.counts).sum() / self.clips) if self.clips else math.nan

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: minimum, 10 %, median, 90 %, maximum, mean; all null without clips."""
        names = {"min": 0.0, "p10": 0.1, "median": 0.5, "p90": 0.9, "max": 1.0}
        if not self.clips:
            return {"clips": 0, **dict.fromkeys([*names, "mean"])}
        return {"clips": self.clips, **{name: self.quantile(q) for name, q in names.items()}, "mean": self.mean}


@dataclass(frozen=True)
class Reason:
    """Why files or clips are missing: the message without what is peculiar to each, how many, the first examples."""

    reason: str
    count: int
    examples: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"reason": self.reason, "count": self.count, "examples": list(self.examples)}


@dataclass(frozen=True)
class ManifestCounts:
    """One data set by its manifest. ``sampled`` are names of finished clips, chosen evenly by a hash of the name.

    ``shapes`` counts finished clips by (width, height, fps); ``output_bytes`` and ``frames`` are sums over them, and
    ``pixels`` is that of frames times width times height. ``clip_bytes`` is rounded to 1 %.
    """

    directory: Path
    settings: dict[str, Any]
    counts: dict[Status, int]
    breakdowns: tuple[Breakdown, ...]
    frames: int
    seconds: float
    pixels: int
    output_bytes: int
    clip_frames: Distribution
    clip_seconds: Distribution
    clip_bytes: Distribution
    shapes: dict[tuple[int, int, str], int]
    failed: tuple[Reason, ...]
    refused: tuple[Reason, ...]
    sampled: tuple[str, ...]

    @property
    def layers(self) -> int:
        """Film layers; 0 for the clean twin."""
        return int(self.settings["layers"])

    @property
    def title(self) -> str:
        """``8 layers`` or ``clean``."""
        return layers_title(self.layers)


def layers_title(layers: int) -> str:
    """``clean``, ``1 layer``, ``8 layers``."""
    return "clean" if layers == 0 else "1 layer" if layers == 1 else f"{layers} layers"


def count_manifest(root: Path, samples: int = 0) -> ManifestCounts:
    """Count a data set's manifest; may be asked while a run is at work on it.

    Parameters: root, a data set's directory; samples, how many names of finished clips to choose (all, if there are
    fewer). Raises ValueError when ``root`` is not a data set, its manifest cannot be read, or samples is below 0.
    """
    if samples < 0:
        raise ValueError(f"samples must be 0 or more, got {samples}")
    settings = read_dataset(root)
    tally = _Tally(samples)
    failed = ReasonCounter()
    wanted = ("name", "label", "status", "error", "source", "frames", "fps", "width", "height", "output_bytes")
    with Manifest(root / MANIFEST_FILE) as manifest:
        for name, label, status, error, source, *stored in manifest.columns(*wanted):
            tally.add(name, label, status)
            if status == "done":
                tally.add_stored(name, *stored)
            elif status == "failed":
                failed.add(name, error, source)
        refused = ReasonCounter()
        for path, reason in manifest.problems():
            refused.add(path, reason)
    return tally.finished(root, settings, failed.reasons(), refused.reasons())


@dataclass
class _Tally:
    samples: int
    groups: Counter[tuple[str, str, int | str, Status]] = field(default_factory=Counter)
    statuses: Counter[Status] = field(default_factory=Counter)
    lengths: Counter[tuple[int, str]] = field(default_factory=Counter)
    shapes: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    pixels: int = 0
    output_bytes: int = 0
    chosen: list[tuple[int, str]] = field(default_factory=list)

    def add(self, name: str, label: str, status: Status) -> None:
        self.statuses[status] += 1
        if label:
            self.groups["", "class", label, status] += 1
        try:
            sample = parse_name(name)
        except ValueError:
            return  # its name tells nothing, which is the rule for class folders
        for field_name, _ in _FIELDS[sample.dataset].values():
            self.groups[sample.dataset, field_name, getattr(sample, field_name), status] += 1

    def add_stored(self, name: str, frames: int, fps: str, width: int, height: int, size: int) -> None:
        self.lengths[frames, fps] += 1
        self.shapes[width, height, fps] += 1
        self.sizes[round(math.log(max(size, 1)) / _SIZE_STEP)] += 1
        self.pixels += frames * width * height
        self.output_bytes += size
        # The clips of smallest hash: the same whatever the order, and alike in data sets of the same clips.
        rank = -named_seed(0, name)
        if len(self.chosen) < self.samples:
            heapq.heappush(self.chosen, (rank, name))
        elif self.chosen and rank > self.chosen[0][0]:
            heapq.heapreplace(self.chosen, (rank, name))

    def finished(
        self, root: Path, settings: dict[str, Any], failed: tuple[Reason, ...], refused: tuple[Reason, ...]
    ) -> ManifestCounts:
        frames: Counter[int] = Counter()
        seconds: Counter[float] = Counter()
        for (count, fps), clips in self.lengths.items():
            frames[count] += clips
            seconds[count / float(Fraction(fps))] += clips
        lasting = Distribution.of(seconds)
        return ManifestCounts(
            directory=root,
            settings=settings,
            counts={status: self.statuses[status] for status in STATUSES},
            breakdowns=_breakdowns(self.groups),
            frames=sum(count * clips for count, clips in frames.items()),
            seconds=float((lasting.values * lasting.counts).sum()),
            pixels=self.pixels,
            output_bytes=self.output_bytes,
            clip_frames=Distribution.of(frames),
            clip_seconds=lasting,
            clip_bytes=Distribution.of(Counter({math.exp(_SIZE_STEP * step): n for step, n in self.sizes.items()})),
            shapes=dict(self.shapes.most_common()),
            failed=failed,
            refused=refused,
            sampled=tuple(name for _, name in sorted(self.chosen, reverse=True)),
        )


def _breakdowns(groups: Counter[tuple[str, str, int | str, Status]]) -> tuple[Breakdown, ...]:
    """One breakdown a field, in the order of :data:`_FIRST`; fields of two kinds of names are kept apart."""
    found: dict[tuple[str, str], dict[int | str, Counter[Status]]] = {}
    for (dataset, field_name, value, status), clips in groups.items():
        found.setdefault((dataset, field_name), {}).setdefault(value, Counter())[status] += clips
    several = len({dataset for dataset, _ in found if dataset}) > 1
    breakdowns = []
    for (dataset, field_name), values in found.items():
        letter = next((letter for letter, (name, _) in _FIELDS.get(dataset, {}).items() if name == field_name), "")
        names = _ACTIONS[dataset] if field_name == "action" else ()
        rows = []
        for value, statuses in sorted(values.items()):
            counts = {status: statuses[status] for status in STATUSES}
            if isinstance(value, int):
                rows.append(Group(f"{letter}{value:03d}", names[value - 1] if names else "", counts))
            else:
                rows.append(Group(value, "", counts))
        breakdowns.append(Breakdown(f"{field_name} ({dataset})" if several and dataset else field_name, tuple(rows)))
    return tuple(sorted(breakdowns, key=lambda one: _place(one.field)))


def _place(field_name: str) -> int:
    bare = field_name.partition(" ")[0]
    return _FIRST.index(bare) if bare in _FIRST else len(_FIRST)


class ReasonCounter:
    """Messages counted by what they have in common: without names, paths, quoted values and numbers."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, list[str]]] = {}

    def add(self, name: str, message: str, path: str = "") -> None:
        """One message about the clip or file ``name``, which may be read from ``path``."""
        reason = common_reason(message, name, path)
        if reason not in self._found and len(self._found) >= _MOST_REASONS:
            reason = OTHER_REASONS
        count, examples = self._found.get(reason, (0, []))
        if len(examples) < _EXAMPLES:
            examples.append(f"{name}: {_without(message, (path, name))}")
        self._found[reason] = (count + 1, examples)

    def reasons(self) -> tuple[Reason, ...]:
        """The most frequent first."""
        found = [Reason(reason, count, tuple(examples)) for reason, (count, examples) in self._found.items()]
        return tuple(sorted(found, key=lambda reason: (-reason.count, reason.reason)))


_SUFFIX = "|".join(re.escape(suffix) for suffix in sorted(VIDEO_SUFFIXES))
_PECULIAR = (
    (re.compile(r"'[^']*'|\"[^\"]*\""), "'…'"),
    (re.compile(rf"\S*/\S+|\S+(?:{_SUFFIX})\b", re.IGNORECASE), "…"),
    (re.compile(r"(?<![A-Za-z])\d+(?:\.\d+)?"), "N"),
)


def common_reason(message: str, name: str, path: str = "") -> str:
    """The message with what differs from clip to clip taken out.

    >>> common_reason("/src/a.avi: damaged after 12 frames", "a", "/src/a.avi")
    'damaged after N frames'
    """
    text = _without(message, (path, name))
    if any(map(str.isdigit, name)):  # a name of letters alone may be an ordinary word of the message
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    for pattern, mark in _PECULIAR:
        text = pattern.sub(mark, text)
    return text


def _without(message: str, prefixes: Iterable[str]) -> str:
    """The message without a path or name in front that stands beside it anyway."""
    for prefix in prefixes:
        if prefix:
            message = message.removeprefix(f"{prefix}: ")
    return message
