"""The fair identity protocol: who is told apart from whom, on which clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataset_builder.actions import NTU_MUTUAL_ACTIONS
from dataset_builder.splits import VerificationPair, identity_closed_set, validation_performers, verification_pairs

from ..data import sample_of

UNSEEN_SHARE = 0.25
"""Share of the performers that the attacker never sees in training, for verification."""


@dataclass(frozen=True)
class IdentityProtocol:
    """Clips of an identity attack.

    ``train`` and ``test`` hold the same ``performers``, disjoint by setup and replication (closed set).
    ``pairs`` are same-or-different pairs of clips of performers that are in neither.
    """

    performers: tuple[int, ...]
    train: list[str]
    test: list[str]
    pairs: list[VerificationPair]

    @property
    def pair_clips(self) -> list[str]:
        """Clips that occur in a pair, sorted."""
        return sorted({name for pair in self.pairs for name in (pair.first, pair.second)})


def identity_protocol(
    names: Sequence[str], unseen_share: float = UNSEEN_SHARE, pairs: int = 1000, seed: int = 0
) -> IdentityProtocol:
    """Set up the protocol on the clips of one data set; equal names give an equal protocol (clean and degraded twins).

    Clips of mutual actions are left out: two people are in view, and the name tells only one of them.

    Raises
    ------
    ValueError
        When fewer than two performers remain for the closed set, or the unseen ones allow no pairs.
    """
    names = [name for name in names if sample_of(name).action not in NTU_MUTUAL_ACTIONS]
    unseen = validation_performers((sample_of(name).performer for name in names), unseen_share)
    seen = [name for name in names if sample_of(name).performer not in unseen]
    train, test = identity_closed_set(seen)
    performers = tuple(sorted({sample_of(name).performer for name in train}))
    if len(performers) < 2:
        raise ValueError(
            f"names: the closed set needs two performers with two setups or replications each, got {len(performers)}"
        )
    strangers = [name for name in names if sample_of(name).performer in unseen]
    return IdentityProtocol(performers, train, test, verification_pairs(strangers, pairs, seed))
