"""Which clips train, validate and test, what they are labelled, and whether they are all there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from dataset_builder.actions import NTU_ACTIONS, PKU_ACTIONS
from dataset_builder.naming import SampleName, parse_name
from dataset_builder.splits import split_names, validation_performers

from .config import DataConfig

# Private attribute -> field of the sample's name that tells it.
HEAD_FIELDS = {
    "identity": "performer",
    "gender": "gender",
    "hair": "hair",
    "glasses": "glasses",
    "upper_wear": "upper_wear",
    "lower_wear": "lower_wear",
}
UNSEEN = -1
"""Label of an attribute value that no training clip has: left out of the loss and of closed-set scores."""


class ClipReader(Protocol):
    """What training needs of a data set; ``dataset_builder.formats.open_reader`` gives one."""

    def names(self) -> list[str]:
        """Names of all whole clips."""

    def absent(self, names: Iterable[str]) -> list[str]:
        """Those of the clips whose files are missing or cut short."""

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


def require_whole(reader: ClipReader, names: Sequence[str]) -> None:
    """Raise ValueError, with the first names, when files of clips are missing or cut short."""
    absent = reader.absent(names)
    if absent:
        raise ValueError(
            f"data: {len(absent)} of {len(names)} clips have no whole file: {_few(absent)}; "
            "lps data verify tells which, lps data degrade makes them again"
        )


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
