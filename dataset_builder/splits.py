"""Who is trained on and who is tested on: the official splits, and a validation split by performer."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lps_sim.errors import UnknownNameError

from .naming import SampleName, parse_name

Side = Literal["train", "test"]

# fmt: off
XSUB_TRAINING_PERFORMERS = (
    1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38,
    45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91, 92, 93, 94,
    95, 97, 98, 100, 103,
)
# fmt: on
"""Training performers of the cross-subject protocols; the first 20 are those of NTU RGB+D 60."""
NTU60_SETUPS = 17
_XSUB120 = frozenset(XSUB_TRAINING_PERFORMERS)
_XSUB60 = frozenset(XSUB_TRAINING_PERFORMERS[:20])


class _Protocol(NamedTuple):
    dataset: Literal["ntu", "p3ar-pku"]
    largest_setup: int
    is_training: Callable[[SampleName], bool]


_RULES = {
    "ntu120-xsub": _Protocol("ntu", 32, lambda name: name.performer in _XSUB120),
    "ntu120-xset": _Protocol("ntu", 32, lambda name: name.setup % 2 == 0),
    "ntu60-xsub": _Protocol("ntu", NTU60_SETUPS, lambda name: name.performer in _XSUB60),
    "ntu60-xview": _Protocol("ntu", NTU60_SETUPS, lambda name: name.camera in (2, 3)),
    "p3ar-pku": _Protocol("p3ar-pku", 0, lambda name: name.split == 1),
}
PROTOCOLS = tuple(_RULES)


def _rule(protocol: str) -> _Protocol:
    if protocol not in _RULES:
        raise UnknownNameError("protocol", protocol, PROTOCOLS)
    return _RULES[protocol]


def side(name: str | SampleName, protocol: str) -> Side:
    """The side of the split that a sample falls on: ``side("S001C002P003R001A004", "ntu120-xsub")`` -> ``"test"``.

    ntu120-xsub: performer in the training list; ntu120-xset: setup even; ntu60-xsub: setup <= 17, performer in the
    first 20 of the list; ntu60-xview: setup <= 17, camera 2 or 3; p3ar-pku: S001. Rendered clips bear NTU names and
    follow the same rules.

    Raises ValueError for a name that is not of the protocol's data set or, for NTU RGB+D 60, of a setup above 17,
    and :class:`UnknownNameError` for an unknown protocol.
    """
    rule = _rule(protocol)
    sample = parse_name(name, rule.dataset) if isinstance(name, str) else name
    if sample.dataset != rule.dataset:
        raise ValueError(f"name: {sample} is of {sample.dataset}, protocol {protocol} is of {rule.dataset}")
    if sample.setup > rule.largest_setup:
        raise ValueError(f"name: {sample} is not in {protocol}: setup must be 1..{rule.largest_setup}")
    return "train" if rule.is_training(sample) else "test"


@dataclass(frozen=True)
class Split:
    """Names of each side, in the order given; ``outside`` are names that the protocol does not cover."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    outside: tuple[str, ...]
    validation_performers: tuple[int, ...]


def validation_performers(performers: Iterable[int], share: float = 0.1) -> tuple[int, ...]:
    """The performers held out of training for validation: ``ceil(share x n)`` of n, and never all of them.

    They are those whose hashed number is smallest, so the choice needs no seed, does not depend on the order, and
    changes little when performers are added. One performer alone, or share 0, gives none.

    Raises ValueError unless 0 <= share < 1.
    """
    if not 0 <= share < 1:
        raise ValueError(f"validation share must be 0 or more and below 1, got {share}")
    known = sorted(set(performers))
    count = min(math.ceil(share * len(known)), len(known) - 1)
    ranked = sorted(known, key=lambda p: hashlib.sha256(f"validation performer {p}".encode()).digest())
    return tuple(sorted(ranked[: max(count, 0)]))


def split_names(names: Iterable[str], protocol: str, validation_share: float = 0.1) -> Split:
    """Split names by an official protocol, and carve a validation split out of the training side by performer.

    A validation performer's clips are never trained on. Under cross-setup and cross-view, where a performer also
    occurs on the test side, the test side stays the official one.

    Raises ValueError for a name that is not of the protocol's data set (a name of NTU RGB+D 120 under an NTU 60
    protocol is put into ``outside`` instead).
    """
    rule = _rule(protocol)
    training: list[tuple[str, SampleName]] = []
    test, outside = [], []
    for name in names:
        sample = parse_name(name, rule.dataset)
        if sample.setup > rule.largest_setup:
            outside.append(name)
        elif rule.is_training(sample):
            training.append((name, sample))
        else:
            test.append(name)
    held = validation_performers((sample.performer for _, sample in training), validation_share)
    return Split(
        train=tuple(name for name, sample in training if sample.performer not in held),
        val=tuple(name for name, sample in training if sample.performer in held),
        test=tuple(test),
        outside=tuple(outside),
        validation_performers=held,
    )
