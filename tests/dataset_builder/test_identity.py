import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_builder.identity import identity_closed_set, seen_and_unseen, verification_pairs
from dataset_builder.naming import ntu_name, parse_name

from .ntu_names import ntu_grid, published_names

few_people = st.builds(
    ntu_name, st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 2), st.integers(1, 2)
)


def test_the_closed_set_shares_performers_but_neither_setup_nor_replication():
    train, test = identity_closed_set(ntu_grid())
    a, b = ([parse_name(name) for name in part] for part in (train, test))
    assert {n.performer for n in a} == {n.performer for n in b} == set(range(1, 9))
    for p in range(1, 9):
        for field in ("setup", "replication"):
            assert not {getattr(n, field) for n in a if n.performer == p} & {
                getattr(n, field) for n in b if n.performer == p
            }


@settings(max_examples=50)
@given(st.lists(few_people, max_size=60))
def test_a_closed_set_is_disjoint_and_closed_whatever_clips_there_are(names):
    train, test = identity_closed_set(names)
    assert {parse_name(n).performer for n in train} == {parse_name(n).performer for n in test}
    groups = [{(n[:4], n[8:16]) for n in part} for part in (train, test)]
    assert not groups[0] & groups[1]
    assert set(train) | set(test) <= set(names)


def test_one_setup_is_split_by_replication_and_one_replication_by_setup():
    train, test = identity_closed_set(ntu_grid(setups=(3,)))
    assert {n[12:16] for n in train} == {"R001"}
    assert {n[12:16] for n in test} == {"R002"}
    train, test = identity_closed_set(ntu_grid(replications=(1,)))
    assert ({n[:4] for n in train}, {n[:4] for n in test}) == ({"S001"}, {"S002"})
    assert identity_closed_set(ntu_grid(setups=(1,), replications=(1,))) == ([], [])


def test_verification_pairs_are_balanced_true_and_matched():
    names = ntu_grid()
    pairs = verification_pairs(names, pairs=200, seed=3)
    assert len(pairs) == 200
    assert sum(pair.same for pair in pairs) == 100
    for pair in pairs:
        first, second = parse_name(pair.first), parse_name(pair.second)
        assert (first.performer == second.performer) == pair.same
        assert first.setup != second.setup  # two setups exist, so nobody is recognised by the room
    for same, different in zip(pairs[::2], pairs[1::2]):
        like, other = parse_name(same.second), parse_name(different.second)
        fields = ("setup", "camera", "replication", "action")
        assert [getattr(like, f) for f in fields] == [getattr(other, f) for f in fields]
    assert pairs == verification_pairs(reversed(names), pairs=200, seed=3)
    assert pairs != verification_pairs(names, pairs=200, seed=4)


@pytest.mark.parametrize(
    ("names", "rule"),
    [(ntu_grid(performers=[1]), "two performers"), (ntu_grid(setups=(1,), replications=(1,)), "two setups or two")],
)
def test_verification_needs_people_to_tell_apart(names, rule):
    with pytest.raises(ValueError, match=rule):
        verification_pairs(names)


def test_unseen_performers_are_in_no_training_clip_and_mutual_actions_in_neither():
    names = ntu_grid(actions=(1, 23, 50, 110))
    seen, unseen = seen_and_unseen(names)
    who = [{parse_name(name).performer for name in part} for part in (seen, unseen)]
    assert not who[0] & who[1]
    assert (who[0] | who[1], len(who[1])) == (set(range(1, 9)), 2)
    assert sorted(seen + unseen) == sorted(name for name in names if name[-4:] in ("A001", "A023"))


def test_the_identity_protocols_hold_on_the_published_names():
    seen, unseen = seen_and_unseen(published_names())
    train, test = identity_closed_set(seen)
    a, b = ([parse_name(name) for name in part] for part in (train, test))
    performers = {sample.performer for sample in a}
    assert performers == {sample.performer for sample in b}
    assert len(performers) == 79  # 106 less the 27 kept for verification; each occurs in two setups or replications
    assert not {(s.setup, s.performer, s.replication) for s in a} & {(s.setup, s.performer, s.replication) for s in b}
    pairs = verification_pairs(unseen, 200)
    assert not {parse_name(name).performer for pair in pairs for name in pair[:2]} & performers
