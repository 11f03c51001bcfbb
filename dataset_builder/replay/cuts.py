"""From an alignment to clips: which recorded frames each clip is cut from, and what it lacks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .alignment import Alignment
from .map import MapEntry, ReplayMap

_CLEAR = 0.5  # frames: standard error beyond which a clip moves too little for its residual to mean anything


class Signatures(NamedTuple):
    """What was compared: (R, CELLS) of the recording, (P, CELLS) of the clips, and (P,) which of those are known."""

    recorded: NDArray[np.uint16]
    played: NDArray[np.uint16]
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class Cut:
    """How one clip is cut.

    Parameters
    ----------
    clip : its place in the map
    recorded : (frames,) recorded frame for each played frame of the clip, in order; -1 where there is none near
    dropped : played frames, counted from the clip's first, that the recording lacks and a neighbour stands in for
    doubled : those that it stores more than once; the first copy is taken
    missing : those that it lacks with no neighbour near enough
    residual : frames by which the recorded clip runs ahead of its played frames, as far as its motion tells; NaN
        where the clip moves too little, or without played clips to compare with
    """

    clip: MapEntry
    recorded: NDArray[np.intp]
    dropped: tuple[int, ...]
    doubled: tuple[int, ...]
    missing: tuple[int, ...]
    residual: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the array."""
        there = self.recorded[self.recorded >= 0]
        clip = asdict(self.clip)
        return {
            "name": clip["name"],
            "played": [clip["first"], clip["last"]],
            "recorded": [int(there[0]), int(there[-1])] if there.size else None,
            "lag": int(there[0]) - clip["first"] if there.size else None,
            "residual_frames": None if math.isnan(self.residual) else round(self.residual, 3),
            "dropped": list(self.dropped),
            "doubled": list(self.doubled),
            "missing": list(self.missing),
        }


def cut_clips(
    replay_map: ReplayMap,
    alignment: Alignment,
    max_gap: int,
    signatures: Signatures | None = None,
) -> Iterator[Cut]:
    """Every clip's cut, in playing order.

    Parameters
    ----------
    max_gap : played frames lost in one go that a neighbour may stand in for; of a longer run all are missing
    signatures : for residuals
    """
    first, copies = _places(alignment.shown, replay_map.played_frames)
    near = _near(first >= 0, max_gap)
    for clip in replay_map.entries:
        span = slice(clip.first, clip.last + 1)
        here = first[span]
        lost, filled = np.flatnonzero(here < 0), here.copy()
        there = np.flatnonzero(here >= 0)
        dropped: list[int] = []
        missing: list[int] = []
        for place in lost:
            if near[clip.first + place] and there.size:
                dropped.append(int(place))
                filled[place] = here[there[np.abs(there - place).argmin()]]
            else:
                missing.append(int(place))
        residual = math.nan
        if signatures and alignment.response and alignment.exposure is not None and signatures.known[span].all():
            frames = here[there]
            observed = alignment.response.observed(signatures.recorded[frames], alignment.exposure[frames])
            residual = _residual(observed, alignment.response.expected(signatures.played[span]), there)
        doubled = tuple(int(place) for place in np.flatnonzero(copies[span] > 1))
        yield Cut(clip, filled, tuple(dropped), doubled, tuple(missing), residual)


def _places(shown: NDArray[np.intp], played_frames: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First recorded frame of every played one (-1: none), and how many show it."""
    matched = np.flatnonzero(shown >= 0)
    first = np.full(played_frames, -1, np.intp)
    first[shown[matched[::-1]]] = matched[::-1]
    return first, np.bincount(shown[matched], minlength=played_frames)


def _near(there: NDArray[np.bool_], max_gap: int) -> NDArray[np.bool_]:
    """Which absent frames lie in a run of at most ``max_gap`` with recorded frames on both sides."""
    edges = np.diff(np.concatenate([[0], (~there).astype(np.int8), [0]]))
    near = np.zeros(len(there), np.bool_)
    for start, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)):
        near[start:end] = end - start <= max_gap and start > 0 and end < len(there)
    return near


def _residual(observed: NDArray[np.float32], expected: NDArray[np.float32], places: NDArray[np.intp]) -> float:
    """Least squares for t in: observed = expected + t x (change of the expected picture a frame)."""
    change = np.gradient(expected, axis=0) if len(expected) > 1 else np.zeros_like(expected)
    change = change[places]
    power = float((change**2).sum())
    if power * _CLEAR**2 < 1:
        return math.nan
    return float((change * (observed - expected[places])).sum() / power)
