"""Every way to divide clips, by name: official, one-shot, identity, random, and by a data set's own lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lps_sim.errors import UnknownNameError

from .identity import UNSEEN_SHARE, VerificationPair, identity_closed_set, seen_and_unseen, verification_pairs
from .naming import parse_name
from .official_lists import read_hmdb51_lists, read_ucf101_lists
from .selection import ListedClip, clips_with_class, few_shot, split_by_group
from .splits import PROTOCOLS, split_names, validation_performers

# fmt: off
ONE_SHOT_EXEMPLARS = (
    *(f"S001C003P008R001A{action:03d}" for action in range(1, 56, 6)),
    *(f"S018C003P008R001A{action:03d}" for action in range(61, 116, 6)),
)
# fmt: on
"""NTU RGB+D 120's one-shot protocol: the one sample of each novel class that may be seen. The novel classes are A001,
A007, A013 ... A115; the other hundred are for training (J. Liu et al., TPAMI 2019, and the data set's own page)."""
_NOVEL_ACTIONS = frozenset(parse_name(name).action for name in ONE_SHOT_EXEMPLARS)

ALL_PROTOCOLS = (
    *PROTOCOLS,
    "ntu120-oneshot",
    "identity-closed",
    "identity-verification",
    "random",
    *(f"{dataset}-{number}" for dataset in ("ucf101", "hmdb51") for number in (1, 2, 3)),
)


@dataclass(frozen=True)
class SplitOptions:
    """What a protocol may be told.

    Parameters
    ----------
    validation_share : share of the training performers (or, in class folders, of each class's clips by recording) held
        out for validation, 0 or more and below 1
    train_share : ``random``: share of each class's clips that is trained on
    seed : of ``random``, few-shot sets and verification pairs
    lists : ``ucf101-N`` and ``hmdb51-N``: folder of the data set's own list files
    limit_per_class : few-shot: so many training clips a class; None for all
    unseen_share : identity protocols: share of the performers kept for verification
    pairs : ``identity-verification``: number of pairs
    """

    validation_share: float = 0.1
    train_share: float = 0.7
    seed: int = 0
    lists: Path | None = None
    limit_per_class: int | None = None
    unseen_share: float = UNSEEN_SHARE
    pairs: int = 2000


@dataclass(frozen=True)
class SplitLists:
    """Names by list (``train``, ``val``, ``test`` and others), each in the order of the clips.

    ``outside`` are clips that the protocol does not cover, ``absent`` names of its lists that no clip has;
    ``validation_performers`` are those held out; ``short_classes`` the classes with fewer clips than a few-shot set
    asks for.
    """

    protocol: str
    lists: dict[str, tuple[str, ...]]
    pairs: tuple[VerificationPair, ...] = ()
    outside: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    validation_performers: tuple[int, ...] = ()
    short_classes: tuple[str, ...] = ()


def make_split(clips: Sequence[ListedClip], protocol: str, options: SplitOptions | None = None) -> SplitLists:
    """Divide clips by a protocol out of :data:`ALL_PROTOCOLS`.

    Raises UnknownNameError for another protocol, and ValueError for clips that it cannot divide (names of another
    data set, no performers to tell apart) or options that it lacks or cannot use.
    """
    options = options or SplitOptions()
    if protocol not in ALL_PROTOCOLS:
        raise UnknownNameError("protocol", protocol, ALL_PROTOCOLS)
    if options.limit_per_class is not None and protocol == "identity-verification":
        raise ValueError("limit per class: identity-verification has no training clips to limit")
    split = _maker(protocol)(clips, protocol, options)
    if options.limit_per_class is None:
        return split
    return _limited(split, clips, options.limit_per_class, options.seed)


def _maker(protocol: str) -> Callable[[Sequence[ListedClip], str, SplitOptions], SplitLists]:
    if protocol in PROTOCOLS:
        return _official
    named = {
        "ntu120-oneshot": _one_shot,
        "identity-closed": _closed_set,
        "identity-verification": _verification,
        "random": _random,
    }
    return named.get(protocol, _listed)


def _official(clips: Sequence[ListedClip], protocol: str, options: SplitOptions) -> SplitLists:
    split = split_names([clip.name for clip in clips], protocol, options.validation_share)
    lists = {"train": split.train, "val": split.val, "test": split.test}
    return SplitLists(protocol, lists, outside=split.outside, validation_performers=split.validation_performers)


def _one_shot(clips: Sequence[ListedClip], protocol: str, options: SplitOptions) -> SplitLists:
    samples = {clip.name: parse_name(clip.name, "ntu") for clip in clips}
    training = [name for name, sample in samples.items() if sample.action not in _NOVEL_ACTIONS]
    held = validation_performers((samples[name].performer for name in training), options.validation_share)
    novel = [name for name, sample in samples.items() if sample.action in _NOVEL_ACTIONS]
    exemplars = tuple(name for name in novel if name in ONE_SHOT_EXEMPLARS)
    test = tuple(name for name in novel if name not in ONE_SHOT_EXEMPLARS)
    shown = {samples[name].action for name in exemplars}
    if unshown := {samples[name].action for name in test} - shown:
        missing = next(name for name in ONE_SHOT_EXEMPLARS if parse_name(name).action in unshown)
        raise ValueError(f"names: {missing}, the protocol's exemplar of its action, is not among the clips")
    lists = {
        "train": tuple(name for name in training if samples[name].performer not in held),
        "val": tuple(name for name in training if samples[name].performer in held),
        "exemplars": exemplars,
        "test": test,
    }
    return SplitLists(protocol, lists, validation_performers=held)


def _closed_set(clips: Sequence[ListedClip], protocol: str, options: SplitOptions) -> SplitLists:
    seen, _ = seen_and_unseen([clip.name for clip in clips], options.unseen_share)
    train, test = identity_closed_set(seen)
    if not train:
        raise ValueError("names: no performer occurs in two setups or two replications")
    return SplitLists(protocol, {"train": tuple(train), "test": tuple(test)}, outside=_others(clips, train + test))


def _verification(clips: Sequence[ListedClip], protocol: str, options: SplitOptions) -> SplitLists:
    _, unseen = seen_and_unseen([clip.name for clip in clips], options.unseen_share)
    pairs = verification_pairs(unseen, options.pairs, options.seed)
    return SplitLists(protocol, {}, pairs=tuple(pairs), outside=_others(clips, unseen))


def _random(clips: Sequence[ListedClip], protocol: str, options: SplitOptions) -> SplitLists:
    if not 0 < options.train_share < 1:
        raise ValueError(f"train share must be above 0 and below 1, got {options.train_share}")
    test = split_by_group(clips_with_class(clips), 1 - options.train_share, options.seed, "test")
    return SplitLists(protocol, _with_validation(clips, test, options))


def _listed(clips: Sequence[ListedClip], protocol: str, options: SplitOptions) -> SplitLists:
    dataset, _, number = protocol.rpartition("-")
    if options.lists is None:
        raise ValueError(f"lists: {protocol} needs the folder of {dataset.upper()}'s own lists, got none")
    sides = {"ucf101": read_ucf101_lists, "hmdb51": read_hmdb51_lists}[dataset](options.lists, int(number))
    inside = [clip for clip in clips_with_class(clips) if sides.get(clip.name)]
    if not inside:
        example = next(iter(sides))
        raise ValueError(f"lists: none of their names is a clip, such as {example!r}; index the folder of the classes")
    test = {clip.name for clip in inside if sides[clip.name] == "test"}
    names = {clip.name for clip in clips}
    return SplitLists(
        protocol,
        _with_validation(inside, test, options),
        outside=_others(clips, [clip.name for clip in inside]),
        absent=tuple(name for name, side in sides.items() if side and name not in names),
    )


def _with_validation(clips: Sequence[ListedClip], test: set[str], options: SplitOptions) -> dict[str, tuple[str, ...]]:
    training = [clip for clip in clips if clip.name not in test]
    held = split_by_group(training, options.validation_share, options.seed, "validation")
    return {
        "train": tuple(clip.name for clip in training if clip.name not in held),
        "val": tuple(clip.name for clip in training if clip.name in held),
        "test": tuple(clip.name for clip in clips if clip.name in test),
    }


def _others(clips: Sequence[ListedClip], names: Iterable[str]) -> tuple[str, ...]:
    inside = set(names)
    return tuple(clip.name for clip in clips if clip.name not in inside)


def _limited(split: SplitLists, clips: Sequence[ListedClip], per_class: int, seed: int) -> SplitLists:
    """Few training clips of each action; of each performer, spread over actions, where performers are the classes."""
    names = set(split.lists["train"])
    training = [clip for clip in clips if clip.name in names]
    if split.protocol == "identity-closed":
        kind, other = (lambda clip: clip.group), (lambda clip: clip.action)
    else:
        kind, other = (lambda clip: clip.action), (lambda clip: clip.group)
    chosen = few_shot(training, per_class, seed, kind, other)
    counts = {kind(clip): 0 for clip in training}
    for clip in chosen:
        counts[kind(clip)] += 1
    return replace(
        split,
        lists={**split.lists, "train": tuple(clip.name for clip in chosen)},
        short_classes=tuple(sorted(label for label, count in counts.items() if count < per_class)),
    )
