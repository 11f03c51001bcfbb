import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builder.naming import ntu_name, parse_name
from dataset_builder.splits import PROTOCOLS, side, split_names, validation_performers

from .ntu_names import ntu_grid, published_names

# Typed again here, from the data set's own pages, so that a slip in the code's list shows.
XSUB_60 = {1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38}
XSUB_120_REST = {45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91}
XSUB_120 = XSUB_60 | XSUB_120_REST | {92, 93, 94, 95, 97, 98, 100, 103}
PUBLISHED = {
    "ntu120-xsub": (63_026, 50_919),
    "ntu120-xset": (54_468, 59_477),
    "ntu60-xsub": (40_091, 16_487),
    "ntu60-xview": (37_646, 18_932),
}

ntu_names = st.builds(
    ntu_name, st.integers(1, 32), st.integers(1, 3), st.integers(1, 106), st.integers(1, 2), st.integers(1, 120)
)


@given(ntu_names)
def test_sides_follow_the_published_rules(name):
    s, c, p = int(name[1:4]), int(name[5:8]), int(name[9:12])
    assert (side(name, "ntu120-xsub") == "train") == (p in XSUB_120)
    assert (side(name, "ntu120-xset") == "train") == (s % 2 == 0)
    if s <= 17:
        assert (side(name, "ntu60-xsub") == "train") == (p in XSUB_60)
        assert (side(name, "ntu60-xview") == "train") == (c != 1)
    else:
        for protocol in ("ntu60-xsub", "ntu60-xview"):
            with pytest.raises(ValueError, match=r"setup must be 1\.\.17"):
                side(name, protocol)


def test_the_full_range_of_ntu_60_splits_as_the_rule_counts():
    names = [ntu_name(s, c, p, 1, 1) for s in range(1, 18) for c in (1, 2, 3) for p in range(1, 41)]
    sides = [side(name, "ntu60-xsub") for name in names]
    assert sides.count("train") == 17 * 3 * 20 == sides.count("test")


@pytest.mark.parametrize("protocol", PUBLISHED)
def test_the_published_split_sizes_are_reproduced(protocol):
    split = split_names(published_names(), protocol)
    assert (len(split.train) + len(split.val), len(split.test)) == PUBLISHED[protocol]
    assert len(split.train) + len(split.val) + len(split.test) + len(split.outside) == 113_945


def test_pku_is_split_by_its_names():
    tail = "P001R001U001V001W001X001Y001A001"
    assert (side("S001" + tail, "p3ar-pku"), side("S002" + tail, "p3ar-pku")) == ("train", "test")
    with pytest.raises(ValueError, match="not an NTU name"):
        side("S001" + tail, "ntu120-xsub")


def test_an_unknown_protocol_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'ntu120-xsub'"):
        side("S001C002P003R001A004", "ntu120-xsubject")


@pytest.mark.parametrize("protocol", [p for p in PROTOCOLS if p != "p3ar-pku"])
def test_validation_performers_come_from_the_training_side_and_are_never_trained_on(protocol):
    split = split_names(ntu_grid(performers=range(1, 31)), protocol)
    performers = {part: {parse_name(name).performer for name in getattr(split, part)} for part in ("train", "val")}
    assert performers["val"] == set(split.validation_performers) != set()
    assert not performers["train"] & performers["val"]
    assert all(side(name, protocol) == "train" for name in split.train + split.val)
    assert all(side(name, protocol) == "test" for name in split.test)


@given(st.sets(st.integers(1, 106), min_size=1), st.floats(0, 0.99), st.randoms(use_true_random=False))
def test_the_choice_of_validation_performers_depends_on_nothing_but_who_there_is(performers, share, random):
    shuffled = list(performers)
    random.shuffle(shuffled)
    chosen = validation_performers(shuffled, share)
    assert chosen == validation_performers(performers, share)
    assert set(chosen) < performers
    assert len(chosen) == 0 or share > 0


def test_names_outside_ntu_60_are_set_apart():
    split = split_names(["S001C001P001R001A001", "S018C001P001R001A001"], "ntu60-xview")
    assert (split.test, split.outside) == (("S001C001P001R001A001",), ("S018C001P001R001A001",))
