"""Identity protocol and attackers on people whose identity is known to be visible, or not."""

import numpy as np
import pytest

from training.audit.attackers import AttackConfig, identity_attack, roc_auc
from training.audit.protocol import identity_protocol
from training.sides import sample_of

from .toy import FRAMES, SIDE, MovingBlobs

PEOPLE = range(1, 13)
BUDGET = AttackConfig(size=32, frames=3, channels=(8, 16), steps=60, batch=16, pairs=200)


class Coloured(MovingBlobs):
    """People of individual colour in rooms of different brightness; ``visible`` False paints everybody alike."""

    def __init__(self, visible):
        super().__init__(performers=PEOPLE)
        self.visible = visible

    def _clip(self, name):
        sample = sample_of(name)
        rng = np.random.default_rng(sample.performer if self.visible else 0)
        frames = np.full((FRAMES, SIDE, SIDE, 3), 40 + 20 * sample.setup, float)
        frames[:, 8:24, 8:24] = rng.uniform(0, 255, 3)
        noise = np.random.default_rng(sample.action + 10 * sample.replication).normal(0, 3, frames.shape)
        return np.clip(np.rint(frames + noise), 0, 255).astype(np.uint8)


def test_people_on_both_sides_are_the_same_and_clips_are_disjoint_by_setup_and_replication():
    protocol = identity_protocol(MovingBlobs(performers=PEOPLE).names())
    train, test = ([sample_of(name) for name in side] for side in (protocol.train, protocol.test))
    assert {s.performer for s in train} == {s.performer for s in test} == set(protocol.performers)
    assert not {s.setup for s in train} & {s.setup for s in test}
    assert not {s.replication for s in train} & {s.replication for s in test}
    assert not {sample_of(name).performer for name in protocol.pair_clips} & set(protocol.performers)
    assert len(protocol.performers) == 9


def test_clips_of_two_people_are_left_out():
    names = [name.replace("A005", "A050") for name in MovingBlobs(performers=PEOPLE).names()]
    protocol = identity_protocol(names)
    everything = [*protocol.train, *protocol.test, *protocol.pair_clips]
    assert {sample_of(name).action for name in everything} == {6, 7, 8}


def test_too_few_people_or_setups_are_refused():
    one_each = MovingBlobs(performers=(1, 2, 3), setups=(1,), replications=(1,)).names()
    with pytest.raises(ValueError, match="two performers"):
        identity_protocol(one_each)


def test_people_with_their_own_colour_are_recognised_and_alike_people_are_not():
    steps = []
    seen = identity_attack("memory", BUDGET, lambda done, total: steps.append((done, total)), Coloured(visible=True))
    alike = identity_attack("memory", BUDGET, reader=Coloured(visible=False))
    assert steps[-1] == (60, 60)
    assert seen["closed_set"]["chance"] == pytest.approx(1 / 9)
    assert seen["closed_set"]["top1"] > 0.7
    assert seen["verification"]["auc"] > 0.8
    # nothing tells these people apart: chance, within four standard deviations of 72 clips and 200 pairs
    assert alike["closed_set"]["top1"] < 1 / 9 + 4 * np.sqrt(1 / 9 * 8 / 9 / 72)
    assert abs(alike["verification"]["auc"] - 0.5) < 4 * np.sqrt(1 / 12 / 100)
    low, high = seen["closed_set"]["top1_interval"]
    assert low <= seen["closed_set"]["top1"] <= high


def test_equal_seeds_give_equal_attacks():
    short = BUDGET.model_copy(update={"steps": 10})
    first, second = (identity_attack("memory", short, reader=Coloured(visible=True)) for _ in range(2))
    assert first["closed_set"] == second["closed_set"]
    assert first["verification"] == second["verification"]


def test_roc_area_is_the_share_of_ordered_pairs():
    scores = np.array([0.9, 0.4, 0.4, 0.1])
    # pairs: 0.9 > 0.4, 0.9 > 0.1, 0.4 = 0.4 (half), 0.4 > 0.1
    assert roc_auc(scores, np.array([True, True, False, False])) == pytest.approx(3.5 / 4)
    assert roc_auc(-scores, np.array([True, True, False, False])) == pytest.approx(0.5 / 4)
    with pytest.raises(ValueError, match="both outcomes"):
        roc_auc(scores, np.ones(4, bool))
