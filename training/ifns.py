"""IFNS, the Inter-Frame Noise Suppressor: three differences in which static veil and fixed pattern cancel.

For a sampled frame t of a clip with n frames, predecessor p = max(0, t - D) and successor s = min(n - 1, t + D):

    d_pred = F_t - F_p,   d_succ = F_t - F_s,   d_mean = F_t - mean(F over the clip)

each averaged over colour. Pure functions: no files, no random state.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

GAP_FRAMES = 4
"""Published distance D between a frame and its neighbours, at 30 frames a second."""


def neighbour_indices(index: np.ndarray, frame_count: int, gap: int = GAP_FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """Predecessor and successor of each sampled frame, held inside the clip.

    Parameters
    ----------
    index : (T,) int, each 0..frame_count - 1
    frame_count : frames in the clip, at least 1
    gap : D in frames, at least 1

    Returns
    -------
    (T,) predecessor max(0, t - D), (T,) successor min(frame_count - 1, t + D)

    Raises
    ------
    ValueError
        On an index outside the clip or a gap below 1.
    """
    index = np.asarray(index)
    if gap < 1:
        raise ValueError(f"gap must be at least 1 frame, got {gap}")
    if index.size and not (index.min() >= 0 and index.max() < frame_count):
        raise ValueError(f"index must be 0..{frame_count - 1}, got {index.min()}..{index.max()}")
    return np.maximum(0, index - gap), np.minimum(frame_count - 1, index + gap)


def aggregation_weights(index: np.ndarray, frame_count: int, gap: int = GAP_FRAMES) -> np.ndarray:
    """CFSA weights (s - t)/(s - p) of the predecessor's and (t - p)/(s - p) of the successor's difference.

    One half each inside the clip; the neighbour that the clip's border pulls nearer counts more.

    Returns
    -------
    (T, 2) float32; each row sums to 1 (a clip of a single frame has 1/2, 1/2)
    """
    predecessor, successor = neighbour_indices(index, frame_count, gap)
    span = (successor - predecessor).astype(np.float32)
    of_successor = np.where(span > 0, (np.asarray(index) - predecessor) / np.maximum(span, 1), 0.5)
    return np.stack([1 - of_successor, of_successor], axis=-1).astype(np.float32)


def interframe_differences(
    frames: Tensor,
    predecessors: Tensor,
    successors: Tensor,
    mean: Tensor,
    signed: bool = False,
    colour: Tensor | None = None,
) -> Tensor:
    """The three differences of every sampled frame, each averaged over colour.

    Parameters
    ----------
    frames, predecessors, successors : (B, T, C, H, W) code values in [0, 1]
    mean : (B, C, H, W) mean of all frames of the clip, same scale
    signed : keep the sign of each difference; False takes absolute values before the colour average (published figure)
    colour : (B, C, C) optional linear colour change of a clip, applied to its differences. For a linear change this
        equals changing the frames first, since offsets cancel

    Returns
    -------
    (B, T, 3, H, W): predecessor, successor, mean
    """
    planes = []
    for reference in (predecessors, successors, mean.unsqueeze(1)):
        difference = frames - reference  # (B, T, C, H, W)
        if colour is not None:
            if signed:  # averaging over colour after a linear change is one weighted sum
                planes.append(torch.einsum("bd,btdhw->bthw", colour.mean(dim=1), difference))
                continue
            difference = torch.einsum("bcd,btdhw->btchw", colour, difference)
        planes.append((difference if signed else difference.abs()).mean(dim=2))
    return torch.stack(planes, dim=2)


def network_input(
    frames: Tensor,
    predecessors: Tensor,
    successors: Tensor,
    mean: Tensor,
    ifns: bool = True,
    signed: bool = False,
    colour: Tensor | None = None,
) -> Tensor:
    """What :class:`training.model.MSPNet` sees of a clip: the three differences, or the frames themselves.

    Parameters
    ----------
    frames, predecessors, successors, mean, signed : as for :func:`interframe_differences`
    ifns : False gives the frames, in place of the three differences their three colours; the ablation without IFNS
    colour : (B, C, C) optional linear colour change of a clip; of its frames too, where they are the input

    Returns
    -------
    (B, T, 3, H, W)
    """
    if ifns:
        return interframe_differences(frames, predecessors, successors, mean, signed, colour)
    return frames if colour is None else torch.einsum("bcd,btdhw->btchw", colour, frames)
