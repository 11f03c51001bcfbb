"""Fair protocols for identity attacks: a closed set of performers, and same-or-different pairs of unseen ones.

On the official splits the test performers are new in part or all of them, so that an identity classifier cannot name
them and its score understates the leak.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from lps_sim.seeding import named_rng

from .actions import NTU_MUTUAL_ACTIONS
from .naming import SampleName, parse_name
from .splits import validation_performers

UNSEEN_SHARE = 0.25
"""Share of the performers that the attacker never sees in training, for verification."""


def seen_and_unseen(names: Iterable[str], unseen_share: float = UNSEEN_SHARE) -> tuple[list[str], list[str]]:
    """Clips of the performers whom an attacker trains on, and of those kept for verification (NTU names only).

    Clips of mutual actions are in neither: two people are in view, and the name tells only one of them. Who is unseen
    follows from a hash of the performers' numbers (:func:`validation_performers`).
    """
    samples = {name: parse_name(name, "ntu") for name in names}
    alone = {name: sample for name, sample in samples.items() if sample.action not in NTU_MUTUAL_ACTIONS}
    unseen = validation_performers((sample.performer for sample in alone.values()), unseen_share)
    return (
        [name for name, sample in alone.items() if sample.performer not in unseen],
        [name for name, sample in alone.items() if sample.performer in unseen],
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
