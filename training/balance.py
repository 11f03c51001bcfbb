"""Class balance: how often each clip comes in an epoch when rare classes are to be seen as often as common ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def clip_weights(classes: Sequence[int] | np.ndarray, strength: float) -> np.ndarray:
    """Expected draws a clip and epoch: n_c^-strength up to scale, n_c the clips of its class.

    ``strength`` 0 draws every clip once, 1 every class equally often.

    Returns
    -------
    (N,) with sum N
    """
    _, member, counts = np.unique(np.asarray(classes), return_inverse=True, return_counts=True)
    weights = counts[member].astype(float) ** -strength
    found: np.ndarray = weights * len(weights) / weights.sum()
    return found


def balanced_order(classes: Sequence[int] | np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """An epoch's shuffled clip indices (N,) by systematic sampling: clip i comes floor or ceil of its weight times.

    Of all ways to draw with these expectations this one varies least: a class's share of an epoch is exact to one draw.
    """
    classes = np.asarray(classes)
    shuffled = rng.permutation(len(classes))
    # A class's clips side by side: then its share is rounded once, and not once a clip.
    shuffled = shuffled[np.argsort(classes[shuffled], kind="stable")]
    ends = np.cumsum(clip_weights(classes, strength)[shuffled])
    ends[-1] = len(classes)  # against rounding: every draw finds a clip
    drawn = shuffled[np.searchsorted(ends, np.arange(len(classes)) + rng.random(), side="right")]
    return rng.permutation(drawn)
