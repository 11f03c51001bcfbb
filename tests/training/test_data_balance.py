"""Class balance: draws a clip and epoch."""

import numpy as np
import pytest

from training.balance import balanced_order, clip_weights
from training.data import EpochBatches

CLASSES = np.repeat([0, 1, 2], [60, 30, 10])


def test_full_balance_gives_each_class_the_same_share_to_one_draw():
    for seed in range(5):
        counts = np.bincount(CLASSES[balanced_order(CLASSES, 1.0, np.random.default_rng(seed))])
        assert counts.sum() == 100
        assert np.abs(counts - 100 / 3).max() <= 1


def test_a_clip_comes_floor_or_ceil_of_its_weight_times():
    weights = clip_weights(CLASSES, 0.5)
    drawn = np.bincount(balanced_order(CLASSES, 0.5, np.random.default_rng(1)), minlength=100)
    assert (np.abs(drawn - weights) < 1).all()
    assert weights.sum() == pytest.approx(100)
    # n_c w_c ~ sqrt(n_c)
    shares = [weights[number == CLASSES].sum() for number in range(3)]
    assert shares[0] / shares[2] == pytest.approx(6**0.5)


def test_no_balance_draws_every_clip_once_in_the_old_order():
    plain = list(EpochBatches(100, 10, seed=3))
    assert plain == list(EpochBatches(100, 10, seed=3, classes=CLASSES.tolist()))
    assert sorted(index for batch in plain for _, index in batch) == list(range(100))


def test_balanced_batches_are_shared_by_processes_and_change_by_epoch():
    def batches(size, rank=0, processes=1):
        return EpochBatches(100, size, 3, rank, processes, classes=CLASSES.tolist(), balance=1.0)

    one, two = batches(10), [batches(5, rank, 2) for rank in (0, 1)]
    assert list(one) == [a + b for a, b in zip(*two)]
    seen = [CLASSES[index] for batch in one for _, index in batch]
    assert np.ptp(np.bincount(seen)) <= 2
    first = list(one)
    one.epoch = 1
    assert [i for batch in one for _, i in batch] != [i for batch in first for _, i in batch]
