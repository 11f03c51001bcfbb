"""Test views: which frames, which crops, and how their probabilities are averaged."""

import numpy as np
import pytest
import torch

from training.config import DataConfig
from training.data import ClipDataset, collate, frame_tensors
from training.ifns import interframe_differences
from training.scores import probabilities
from training.views import Views, mean_probabilities, segment_indices

from .toy import FRAMES, MovingBlobs

READER = MovingBlobs()
CONFIG = DataConfig(frames=4, gap=2, size=32)


def test_one_draw_takes_the_centre_and_more_lie_evenly_around_it():
    assert Views().offsets() == [0.5]
    assert Views(4).offsets() == [0.125, 0.375, 0.625, 0.875]
    draws = [segment_indices(64, 4, offset).tolist() for offset in Views(4).offsets()]
    assert draws == [[2, 18, 34, 50], [6, 22, 38, 54], [10, 26, 42, 58], [14, 30, 46, 62]]


def test_three_crops_are_left_centre_and_right_of_a_larger_square():
    views = Views(2, 3)
    side = views.side(224)
    assert side == 256
    columns = torch.arange(side).expand(1, 4, 3, side, side)  # each pixel's value is its column
    weights = torch.arange(4).view(1, 4, 1).expand(1, 4, 2)
    cut = list(views.cut(columns, weights, 224))
    assert [view.shape for view, _ in cut] == [(1, 2, 3, 224, 224)] * 6
    assert [int(view[0, 0, 0, 0, 0]) for view, _ in cut] == [0, 16, 32] * 2
    assert [own[0, :, 0].tolist() for _, own in cut] == [[0, 1]] * 3 + [[2, 3]] * 3
    rows = columns.transpose(-1, -2)
    assert {int(view[0, 0, 0, 0, 0]) for view, _ in views.cut(rows, weights, 224)} == {16}


def test_a_sample_holds_all_draws_and_frames_large_enough_for_crops():
    found = ClipDataset(READER, READER.names()[:1], None, CONFIG, views=Views(2, 3))[0]
    assert found["frames"].shape == (8, 3, 3, 37, 37)
    assert found["mean"].shape == (3, 37, 37)
    single = ClipDataset(READER, READER.names()[:1], None, CONFIG, views=Views(2))[0]
    clip = READER.read(READER.names()[0], range(FRAMES))
    np.testing.assert_array_equal(single["frames"][:, 0].permute(0, 2, 3, 1), clip[[1, 5, 9, 13, 3, 7, 11, 15]])


def test_an_enlarged_crop_keeps_the_picture_in_its_place():
    names = READER.names()[:1]
    small = collate([ClipDataset(READER, names, None, CONFIG)[0]])
    large = collate([ClipDataset(READER, names, None, CONFIG, views=Views(1, 3))[0]])
    tensors = [interframe_differences(*frame_tensors(batch, torch.device("cpu"))) for batch in (small, large)]
    crops = [view for view, _ in Views(1, 3).cut(tensors[1], large["weights"], 32)]

    def centre_x(x):
        mass = x[0, 0, 2].sum(dim=0)
        return float((mass * torch.arange(32)).sum() / mass.sum())

    # 37/32 as large about the middle, which the crops move by 0, 2 and 5 px
    expected = (centre_x(tensors[0]) - 15.5) * 37 / 32 + 15.5
    assert centre_x(crops[1]) == pytest.approx(expected, abs=1)
    assert centre_x(crops[0]) > centre_x(crops[1]) > centre_x(crops[2])


def test_views_average_probabilities_and_one_view_is_left_alone():
    rng = np.random.default_rng(0)
    logits = [rng.normal(0, 30, (5, 7)).astype(np.float32) for _ in range(3)]
    mean = np.mean([probabilities(one) for one in logits], axis=0)
    np.testing.assert_allclose(probabilities(mean_probabilities(logits)), mean, atol=1e-6)
    assert mean_probabilities(logits[:1]) is logits[0]


@pytest.mark.parametrize("text", ["4", "x3", "4x", "axb", "4x2", "0x1"])
def test_views_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match="views"):
        Views.parse(text)
    assert Views.parse("4x3") == Views(4, 3)
