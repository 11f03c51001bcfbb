"""The fair identity protocol: who is told apart from whom, on which clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataset_builder.identity import (
    UNSEEN_SHARE,
    VerificationPair,
    identity_closed_set,
    seen_and_unseen,
    verification_pairs,
)

from ..sides import sample_of


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
    seen, unseen = seen_and_unseen(names, unseen_share)
    train, test = identity_closed_set(seen)
    performers = tuple(sorted({sample_of(name).performer for name in train}))
    if len(performers) < 2:
        raise ValueError(
            f"names: the closed set needs two performers with two setups or replications each, got {len(performers)}"
        )
    return IdentityProtocol(performers, train, test, verification_pairs(unseen, pairs, seed))
