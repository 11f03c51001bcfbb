"""The three differences in closed form."""

import numpy as np
import pytest
import torch

from training.ifns import aggregation_weights, interframe_differences, neighbour_indices

# float32 rounding of sums of a few hundred terms near 1
FLOAT32 = 1e-6


def clip(generator_seed=0, frames=3):
    generator = torch.Generator().manual_seed(generator_seed)
    return [torch.rand(2, frames, 3, 8, 8, generator=generator) for _ in range(3)] + [
        torch.rand(2, 3, 8, 8, generator=generator)
    ]


def test_neighbours_stop_at_the_clip_borders():
    predecessor, successor = neighbour_indices(np.array([0, 2, 5, 9]), frame_count=10, gap=4)
    assert predecessor.tolist() == [0, 0, 1, 5]
    assert successor.tolist() == [4, 6, 9, 9]


def test_weights_follow_the_nearer_neighbour_and_sum_to_one():
    weights = aggregation_weights(np.array([0, 2, 5, 9]), frame_count=10, gap=4)
    # (s - t)/(s - p) at t = 2: p = 0, s = 6 -> 4/6
    np.testing.assert_allclose(weights, [[1, 0], [4 / 6, 2 / 6], [0.5, 0.5], [0, 1]], atol=FLOAT32)


def test_a_clip_of_one_frame_has_equal_weights():
    assert aggregation_weights(np.array([0]), frame_count=1).tolist() == [[0.5, 0.5]]


def test_a_still_clip_has_no_differences():
    still = torch.rand(1, 1, 3, 8, 8)
    frames = still.expand(1, 4, 3, 8, 8)
    assert not interframe_differences(frames, frames, frames, still[:, 0]).any()


@pytest.mark.parametrize("signed", [True, False])
def test_static_veil_and_pattern_cancel(signed):
    frames, before, after, mean = clip()
    veil = torch.rand(3, 8, 8)
    plain = interframe_differences(frames, before, after, mean, signed)
    veiled = interframe_differences(frames + veil, before + veil, after + veil, mean + veil, signed)
    torch.testing.assert_close(plain, veiled, atol=FLOAT32, rtol=0)


def test_absolute_values_are_taken_before_the_colour_average():
    # red rises by what green falls: a signed average is blind to it
    frame = torch.zeros(1, 1, 3, 1, 1)
    other = torch.tensor([0.3, -0.3, 0.0]).view(1, 1, 3, 1, 1)
    signed = interframe_differences(frame, other, other, other[:, 0], signed=True)
    absolute = interframe_differences(frame, other, other, other[:, 0], signed=False)
    torch.testing.assert_close(signed, torch.zeros_like(signed))
    torch.testing.assert_close(absolute, torch.full_like(absolute, 0.2))


@pytest.mark.parametrize("signed", [True, False])
def test_a_linear_colour_change_of_the_differences_equals_one_of_the_frames(signed):
    frames, before, after, mean = clip()
    matrix = torch.rand(2, 3, 3)
    changed = [torch.einsum("bcd,btdhw->btchw", matrix, x) for x in (frames, before, after)]
    changed_mean = torch.einsum("bcd,bdhw->bchw", matrix, mean)
    torch.testing.assert_close(
        interframe_differences(frames, before, after, mean, signed, colour=matrix),
        interframe_differences(*changed, changed_mean, signed),
        atol=FLOAT32,
        rtol=0,
    )


def test_the_order_is_predecessor_successor_mean():
    frame, before, after = (torch.full((1, 1, 3, 1, 1), value) for value in (1.0, 0.9, 0.7))
    out = interframe_differences(frame, before, after, torch.full((1, 3, 1, 1), 0.4))
    assert out.flatten().tolist() == pytest.approx([0.1, 0.3, 0.6])


def test_impossible_gap_and_index_are_named():
    with pytest.raises(ValueError, match="gap must be at least 1 frame, got 0"):
        neighbour_indices(np.array([0]), 5, gap=0)
    with pytest.raises(ValueError, match=r"index must be 0\.\.4, got 0\.\.5"):
        neighbour_indices(np.array([0, 5]), 5)
