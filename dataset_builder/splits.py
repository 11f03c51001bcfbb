"""Who is trained on and who is tested on: the official splits, a validation split, and the fair identity protocols."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lps_sim.errors import UnknownNameError
from lps_sim.seeding import named_rng

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


def identity_closed_set(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Closed-set identity protocol: the same performers on both sides, clips disjoint by setup and replication.

    Of each performer, every second setup (the first, third, ...) with replication 1 is trained on, and the other
    setups with replication 2 are tested on, so neither room and clothing nor a motion's rendition is shared.
    A performer seen in one setup only is split by replication alone, one with a single replication by setup alone,
    and one with neither is left out, as are the clips of the two mixed quarters. NTU names only.

    Returns (train, test), each sorted; every performer of one side is on the other.
    """
    performers: dict[int, list[tuple[str, SampleName]]] = defaultdict(list)
    for name in sorted(set(names)):
        sample = parse_name(name, "ntu")
        performers[sample.performer].append((name, sample))
    train: list[str] = []
    test: list[str] = []
    for clips in performers.values():
        setups = sorted({sample.setup for _, sample in clips})
        replications = sorted({sample.replication for _, sample in clips})
        first_setups, other_setups = _halves(setups)
        first_replications, other_replications = _halves(replications)
        if len(setups) == len(replications) == 1:
            continue
        mine = [n for n, s in clips if s.setup in first_setups and s.replication in first_replications]
        theirs = [n for n, s in clips if s.setup in other_setups and s.replication in other_replications]
        if mine and theirs:
            train += mine
            test += theirs
    return sorted(train), sorted(test)


def _halves(numbers: list[int]) -> tuple[set[int], set[int]]:
    """Alternate members; a single number stands on both sides."""
    return (set(numbers), set(numbers)) if len(numbers) == 1 else (set(numbers[::2]), set(numbers[1::2]))


class VerificationPair(NamedTuple):
    """Two clips, and whether one performer is in both."""

    first: str
    second: str
    same: bool


def verification_pairs(names: Iterable[str], pairs: int = 2000, seed: int = 0) -> list[VerificationPair]:
    """Same-or-different pairs for verification (ROC AUC); pass the clips of performers unseen in training.

    Half of the pairs are of one performer, half of two. Each comes as a matched couple on one first clip: the same
    performer in another setup or, where there is none, in another replication; and another performer in a clip as
    near as possible to that one (first the same setup, then camera, action, replication), so that only the person
    tells them apart. Deterministic from the seed.

    Raises ValueError when there are not two performers, or none with two setups or replications.
    """
    if pairs < 2:
        raise ValueError(f"pairs must be 2 or more, got {pairs}")
    samples = {name: parse_name(name, "ntu") for name in sorted(set(names))}
    by_performer: dict[int, list[str]] = defaultdict(list)
    by_setup: dict[int, list[str]] = defaultdict(list)
    for name, sample in samples.items():
        by_performer[sample.performer].append(name)
        by_setup[sample.setup].append(name)
    if len(by_performer) < 2:
        raise ValueError(f"names: verification needs two performers or more, got {len(by_performer)}")
    rng = named_rng(seed, "verification pairs")
    anchors = [name for name in samples if _partners(name, samples, by_performer)]
    if not anchors:
        raise ValueError("names: no performer occurs in two setups or two replications")
    result = []
    for _ in range(pairs // 2):
        first = anchors[int(rng.integers(len(anchors)))]
        partners = _partners(first, samples, by_performer)
        positive = partners[int(rng.integers(len(partners)))]
        negatives = _strangers(first, positive, samples, by_setup)
        negative = negatives[int(rng.integers(len(negatives)))]
        result += [VerificationPair(first, positive, True), VerificationPair(first, negative, False)]
    return result


def _partners(name: str, samples: dict[str, SampleName], by_performer: dict[int, list[str]]) -> list[str]:
    me = samples[name]
    mine = by_performer[me.performer]
    other_setup = [other for other in mine if samples[other].setup != me.setup]
    return other_setup or [other for other in mine if samples[other].replication != me.replication]


def _strangers(first: str, like: str, samples: dict[str, SampleName], by_setup: dict[int, list[str]]) -> list[str]:
    """Clips of other performers than the first clip's, as near to ``like`` as there are."""
    performer, target = samples[first].performer, samples[like]
    found = [n for n in by_setup[target.setup] if samples[n].performer != performer]
    found = found or [n for n in samples if samples[n].performer != performer]
    for field in ("camera", "action", "replication"):
        nearer = [n for n in found if getattr(samples[n], field) == getattr(target, field)]
        found = nearer or found
    return found
