"""Choosing clips: what an index or data set lists, subsets by action, performer, camera, setup, and few-shot sets."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest
from pathlib import Path, PurePosixPath

from lps_sim.errors import UnknownNameError
from lps_sim.seeding import named_seed

from .actions import NTU_ACTIONS, PKU_ACTIONS
from .index import Index
from .layout import MANIFEST_FILE, find_datasets
from .manifest import Manifest
from .naming import SampleName, parse_name

# Clips cut from one recording: UCF101's groups, Kinetics' start and end seconds. HMDB51's names need the class.
_FROM_ONE_RECORDING = (re.compile(r"(.+_g\d+)_c\d+"), re.compile(r"(.+)_\d{6}_\d{6}"))
_HMDB51_TAIL = r"_[a-z]+_[a-z]+_np\d_[a-z]+_[a-z]+_\d+"


@dataclass(frozen=True)
class ListedClip:
    """A clip as an index or a manifest lists it; ``frames``, ``width`` and ``height`` are 0 where not yet known."""

    name: str
    label: str = ""
    frames: int = 0
    width: int = 0
    height: int = 0

    @cached_property
    def sample(self) -> SampleName | None:
        """What an NTU or P3AR-PKU name says; None for any other name."""
        try:
            return parse_name(self.name)
        except ValueError:
            return None

    @property
    def action(self) -> str:
        """The class: its label, or the action's name; empty when neither is known."""
        if self.label or self.sample is None:
            return self.label
        return (NTU_ACTIONS if self.sample.dataset == "ntu" else PKU_ACTIONS)[self.sample.action - 1]

    @property
    def group(self) -> str:
        """Clips of one class and one group are alike: of one performer, or cut from one recording."""
        return str(self.sample.performer) if self.sample else source_recording(self.name, self.label)


def list_clips(path: Path) -> list[ListedClip]:
    """The clips of an index file, or of a data set directory's manifest (all of its clips, finished or not)."""
    if not path.is_dir():
        return [ListedClip(e.name, e.label, e.frames, e.width, e.height) for e in Index.load(path).entries]
    with Manifest(find_datasets(path)[0] / MANIFEST_FILE) as manifest:
        return [ListedClip(row.name, row.label, row.frames, row.width, row.height) for row in manifest.rows()]


def clips_with_class(clips: Sequence[ListedClip]) -> Sequence[ListedClip]:
    """The clips themselves. Raises ValueError for one whose class nothing tells."""
    for clip in clips:
        if not clip.action:
            raise ValueError(f"name: {clip.name!r} has no class: no folder, CSV label or sample's name tells it")
    return clips


def source_recording(name: str, label: str) -> str:
    """The recording that a clip was cut from, as far as its name tells: UCF101's group (``v_Biking_g08_c01`` ->
    ``v_Biking_g08``), Kinetics' video, HMDB51's film; otherwise the clip itself.
    """
    stem = PurePosixPath(name).name
    film = re.compile(rf"(.+)_{re.escape(label)}{_HMDB51_TAIL}")
    for pattern in (*_FROM_ONE_RECORDING, film):
        if match := pattern.fullmatch(stem):
            return match[1]
    return stem


@dataclass(frozen=True)
class Selection:
    """Which clips take part; None leaves a property free. ``actions`` are numbers of a sample's name, or class labels.

    Raises UnknownNameError (from :meth:`of`) for an action that is neither a number nor known by that name.
    """

    actions: frozenset[str] | None = None
    performers: frozenset[int] | None = None
    cameras: frozenset[int] | None = None
    setups: frozenset[int] | None = None

    def of(self, clips: Sequence[ListedClip]) -> list[ListedClip]:
        """The clips that every given property fits.

        Raises ValueError when none does, and where a clip's name does not tell what is asked for.
        """
        actions = self._names_of_actions(clips)
        wanted = {"performer": self.performers, "camera": self.cameras, "setup": self.setups}
        asked = {field: numbers for field, numbers in wanted.items() if numbers is not None}
        chosen = []
        for clip in clips:
            if asked and clip.sample is None:
                raise ValueError(f"name: {clip.name!r} does not tell the {next(iter(asked))} that is asked for")
            fits = all(getattr(clip.sample, field) in numbers for field, numbers in asked.items())
            if fits and (actions is None or clip.action in actions):
                chosen.append(clip)
        if clips and not chosen:
            raise ValueError("selection: no clip is left by it")
        return chosen

    def _names_of_actions(self, clips: Sequence[ListedClip]) -> frozenset[str] | None:
        if self.actions is None:
            return None
        kinds = {clip.sample.dataset for clip in clips if clip.sample and not clip.label}
        numbered = NTU_ACTIONS if "ntu" in kinds else PKU_ACTIONS if kinds else ()
        known = {clip.action for clip in clips} | set(numbered)
        names = set()
        for text in self.actions:
            digits = text.removeprefix("A")
            if numbered and digits.isdecimal() and 1 <= int(digits) <= len(numbered):
                names.add(numbered[int(digits) - 1])
            elif text in known:
                names.add(text)
            else:
                raise UnknownNameError("actions", text, known)
        return frozenset(names)


def few_shot(
    clips: Sequence[ListedClip],
    per_class: int,
    seed: int = 0,
    class_of: Callable[[ListedClip], Hashable] = lambda clip: clip.action,
    group_of: Callable[[ListedClip], Hashable] = lambda clip: clip.group,
) -> list[ListedClip]:
    """``per_class`` clips of each class (all of a class that has fewer), spread over its groups as evenly as can be.

    Groups (performers, recordings) take turns in the order of their hashed names, as do the clips of each, so the
    choice follows from names and seed alone and a smaller one is part of a larger one.

    Raises ValueError when ``per_class`` is below 1.
    """
    if per_class < 1:
        raise ValueError(f"clips per class must be 1 or more, got {per_class}")
    classes: dict[Hashable, dict[Hashable, list[ListedClip]]] = defaultdict(lambda: defaultdict(list))
    for clip in clips:
        classes[class_of(clip)][group_of(clip)].append(clip)
    chosen: set[str] = set()
    for label, groups in classes.items():
        turns = [
            sorted(groups[group], key=lambda clip: named_seed(seed, "few-shot clip", clip.name))
            for group in sorted(groups, key=lambda group: named_seed(seed, "few-shot group", str(label), str(group)))
        ]
        ranked = [clip.name for clip in chain.from_iterable(zip_longest(*turns)) if clip is not None]
        chosen.update(ranked[:per_class])
    return [clip for clip in clips if clip.name in chosen]


def split_by_group(clips: Iterable[ListedClip], share: float, seed: int, purpose: str) -> set[str]:
    """Names of about ``share`` of each class's clips, whole groups together, so that no recording is on two sides.

    A class of two groups or more keeps one on either side; of a class with one group, all or none are taken,
    whichever is nearer. Raises ValueError unless 0 <= share < 1.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must be 0 or more and below 1, got {share}")
    classes: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for clip in clips:
        classes[clip.action][clip.group].append(clip.name)
    taken: set[str] = set()
    for label, groups in classes.items():
        target = share * sum(map(len, groups.values()))
        ranked = sorted(groups, key=lambda group: named_seed(seed, purpose, label, group))
        count = 0
        for position, group in enumerate(ranked):
            fits = count + len(groups[group]) / 2 <= target
            forced = share > 0 and position == 0 and len(ranked) > 1
            last = position == len(ranked) - 1 and len(ranked) > 1
            if forced or (fits and not last):
                taken.update(groups[group])
                count += len(groups[group])
    return taken
