"""Splits as files: lists of names, pairs of names, and the pickle that pyskl and MMAction2 read."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lps_sim.files import write_atomic

from .identity import VerificationPair
from .protocols import SplitLists
from .selection import ListedClip, clips_with_class

# pyskl's own names for the official sides, whose "val" is the test side: key -> our lists.
_PYSKL_NAMES = {
    "ntu120-xsub": ("xsub_train", "xsub_val"),
    "ntu120-xset": ("xset_train", "xset_val"),
    "ntu60-xsub": ("xsub_train", "xsub_val"),
    "ntu60-xview": ("xview_train", "xview_val"),
    **{f"{dataset}-{n}": (f"train{n}", f"test{n}") for dataset in ("ucf101", "hmdb51") for n in (1, 2, 3)},
}


def write_lists(folder: Path, split: SplitLists) -> list[Path]:
    """Write ``train.txt`` and so on, one name a line, and ``pairs.txt`` where there are pairs; the files written."""
    written = []
    for name, clips in split.lists.items():
        written.append(folder / f"{name}.txt")
        write_atomic(written[-1], "".join(f"{clip}\n" for clip in clips))
    if split.pairs:
        written.append(folder / "pairs.txt")
        write_atomic(written[-1], "".join(f"{pair.first} {pair.second} {int(pair.same)}\n" for pair in split.pairs))
    return written


def read_pairs(path: Path) -> list[VerificationPair]:
    """Pairs of a file of lines ``NAME NAME 0|1``. Raises ValueError with the line's number for any other line."""
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split(" ")
        if len(fields) != 3 or fields[2] not in ("0", "1"):
            raise ValueError(f"{path}: line {number}: must be NAME NAME 0|1, got {line!r}")
        pairs.append(VerificationPair(fields[0], fields[1], fields[2] == "1"))
    return pairs


def class_labels(clips: Sequence[ListedClip]) -> dict[str, int]:
    """Zero-based label of each clip by name: its class's place in sorted order, or its action's number less one.

    Raises ValueError for a clip of no class.
    """
    classes = {label: index for index, label in enumerate(sorted({clip.label for clip in clips if clip.label}))}
    labels = {}
    for clip in clips_with_class(clips):
        labels[clip.name] = clip.sample.action - 1 if clip.sample and not clip.label else classes[clip.label]
    return labels


def pyskl_annotations(clips: Sequence[ListedClip], split: SplitLists) -> dict[str, Any]:
    """``{"split": {list: [name, ...]}, "annotations": [{...}, ...]}`` as pyskl and MMAction2 read it.

    An annotation holds ``frame_dir`` (the clip's name), ``total_frames``, ``img_shape`` and ``original_shape`` (height,
    width) and the zero-based ``label``; the keypoints are for a pose estimator to add. Besides our own lists, the
    official sides stand under pyskl's names, such as ``xsub_train`` (training and validation together) and
    ``xsub_val`` (the test side). ``clips`` must be all of the index, so that labels do not depend on the selection;
    annotated are those in a list.

    Raises ValueError for a clip of no class, or one whose frames are not known yet.
    """
    labels = class_labels(clips)
    lists = {name: list(names) for name, names in split.lists.items()}
    if split.protocol in _PYSKL_NAMES:
        train, test = _PYSKL_NAMES[split.protocol]
        inside = {*split.lists["train"], *split.lists["val"]}
        lists = {**lists, train: [clip.name for clip in clips if clip.name in inside], test: lists["test"]}
    listed = {name for names in lists.values() for name in names}
    annotations = []
    for clip in clips:
        if clip.name not in listed:
            continue
        if not (clip.frames and clip.width and clip.height):
            raise ValueError(f"name: {clip.name!r} is not made yet, so that its frames and size are not known")
        shape = (clip.height, clip.width)
        annotations.append(
            {
                "frame_dir": clip.name,
                "total_frames": clip.frames,
                "img_shape": shape,
                "original_shape": shape,
                "label": labels[clip.name],
            }
        )
    return {"split": lists, "annotations": annotations}


def write_pyskl(path: Path, clips: Sequence[ListedClip], split: SplitLists) -> None:
    """Write :func:`pyskl_annotations` as a pickle; of a split by pairs there is none, which raises ValueError."""
    if not split.lists:
        raise ValueError(f"pyskl: {split.protocol} has pairs and no lists of clips")
    write_atomic(path, pickle.dumps(pyskl_annotations(clips, split), protocol=4))
