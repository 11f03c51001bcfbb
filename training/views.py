"""Which frames of a clip are looked at; test views: several draws and crops whose class probabilities are averaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

ENLARGED = 256 / 224
"""Side of the frame that crops are cut from, as a multiple of the network's input (published: 256 for 224)."""


def segment_indices(frame_count: int, segments: int, offsets: np.ndarray | float = 0.5) -> np.ndarray:
    """One frame from each of ``segments`` equal parts of a clip (temporal segment sampling).

    Parameters
    ----------
    offsets : (segments,) or scalar in [0, 1): place within each segment; 0.5 is the centre

    Returns
    -------
    (segments,) int, not decreasing, each 0..frame_count - 1
    """
    start = np.arange(segments) + offsets
    return np.minimum((start * frame_count / segments).astype(int), frame_count - 1)


@dataclass(frozen=True)
class Views:
    """How a clip is looked at in a test: ``clips`` draws in time, each seen in ``crops`` (1 or 3) places.

    Draw i of n takes the frame at (i + 1/2) / n of every segment, so that one draw takes the centre. Published code
    brings the short side to the input's size and crops left, centre and right; here frames are squashed to squares as
    in training, where this would give one crop three times, so the square is 256/224 as large and is cropped left,
    centre and right at half its height. One crop is the whole square.

    Raises
    ------
    ValueError
        For less than one draw, or crops other than 1 and 3.
    """

    clips: int = 1
    crops: int = 1

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise ValueError(f"views: clips must be 1 or more, got {self.clips}")
        if self.crops not in (1, 3):
            raise ValueError(f"views: crops must be 1 or 3, got {self.crops}")

    @classmethod
    def parse(cls, text: str) -> Views:
        """``4x3``: 4 draws of frames, 3 crops each."""
        clips, cross, crops = text.lower().partition("x")
        if not (cross and clips.isdecimal() and crops.isdecimal()):
            raise ValueError(f"views must be CLIPSxCROPS such as 4x3, got {text!r}")
        return cls(int(clips), int(crops))

    def side(self, size: int) -> int:
        """Side in px of the frames that views of ``size`` px are cut from."""
        return size if self.crops == 1 else round(size * ENLARGED)

    def offsets(self) -> list[float]:
        """Where in its segment each draw takes a frame, 0..1."""
        return [(draw + 0.5) / self.clips for draw in range(self.clips)]

    def cut(self, differences: Tensor, weights: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The network's inputs, one view after another.

        Parameters
        ----------
        differences : (B, clips * T, C, S, S) with S = ``side(size)``, the draws one after another
        weights : (B, clips * T, 2)

        Yields
        ------
        (B, T, C, size, size) and (B, T, 2)
        """
        margin = differences.shape[-1] - size
        top = margin // 2
        lefts = (0,) if self.crops == 1 else (0, top, margin)
        for drawn, own in zip(differences.chunk(self.clips, dim=1), weights.chunk(self.clips, dim=1)):
            for left in lefts:
                yield drawn[..., top : top + size, left : left + size], own


def mean_probabilities(logits: list[np.ndarray]) -> np.ndarray:
    """Logits (N, n) of every view -> log of the views' mean probabilities; one view's logits as they are.

    The published test sums softmax outputs over views, which ranks classes alike.
    """
    if len(logits) == 1:
        return logits[0]
    stacked = np.stack(logits).astype(np.float64)
    stacked -= stacked.max(axis=-1, keepdims=True)
    logs = stacked - np.log(np.exp(stacked).sum(axis=-1, keepdims=True))
    found: np.ndarray = np.logaddexp.reduce(logs, axis=0) - np.log(len(logs))
    return found.astype(np.float32)
