import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_builder.actions import NTU_ACTIONS, NTU_MUTUAL_ACTIONS, PKU_ACTIONS, PKU_MUTUAL_ACTIONS
from dataset_builder.naming import NTU_FIELDS, PKU_FIELDS, SampleName, format_name, ntu_name, parse_name


def numbers(fields):
    return st.fixed_dictionaries({field: st.integers(1, largest) for field, largest in fields.values()})


@given(numbers(NTU_FIELDS))
def test_every_ntu_name_reads_back_as_its_numbers(fields):
    sample = SampleName(dataset="ntu", **fields)
    assert parse_name(format_name(sample)) == sample


@given(numbers(PKU_FIELDS))
def test_every_pku_name_reads_back_as_its_numbers(fields):
    sample = SampleName(dataset="p3ar-pku", **fields)
    assert parse_name(format_name(sample)) == sample


@pytest.mark.parametrize("tail", ["", "_rgb", ".avi", "_rgb.avi", "_rgb.mp4", ".skeleton"])
def test_the_ending_of_an_ntu_file_does_not_matter(tail):
    sample = parse_name("S001C002P003R001A004" + tail)
    assert (sample.setup, sample.camera, sample.performer, sample.replication, sample.action) == (1, 2, 3, 1, 4)
    assert str(sample) == "S001C002P003R001A004"
    assert sample.attributes == {"performer": 3}


def test_a_pku_name_tells_the_private_attributes():
    sample = parse_name("S002P022R003U002V005W001X009Y012A060_rgb.mp4")
    assert sample.dataset == "p3ar-pku"
    assert (sample.split, sample.camera, sample.action) == (2, 3, 60)
    expected = {"performer": 22, "gender": 2, "hair": 5, "glasses": 1, "upper_wear": 9, "lower_wear": 12}
    assert sample.attributes == expected


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("bikes.mp4", "SsssCcccPpppRrrrAaaa"),
        ("", "SsssCcccPpppRrrrAaaa"),
        ("S01C002P003R001A004", "SsssCcccPpppRrrrAaaa"),
        ("s001c002p003r001a004", "SsssCcccPpppRrrrAaaa"),
        ("S001C002P003R001A004_rgb.avi.part.gz", "SsssCcccPpppRrrrAaaa"),
        ("clips/S001C002P003R001A004", "SsssCcccPpppRrrrAaaa"),
        ("S001C002P003R001A００４", "SsssCcccPpppRrrrAaaa"),
        ("S033C002P003R001A004", "setup S must be 001..032, got 033"),
        ("S001C004P003R001A004", "camera C must be 001..003, got 004"),
        ("S001C002P107R001A004", "performer P must be 001..106, got 107"),
        ("S001C002P003R003A004", "replication R must be 001..002, got 003"),
        ("S001C002P003R001A000", "action A must be 001..120, got 000"),
        ("S003P022R003U002V005W001X009Y012A060", "split S must be 001..002, got 003"),
    ],
)
def test_another_name_is_refused_with_the_rule(name, rule):
    with pytest.raises(ValueError, match="name: ") as caught:
        parse_name(name)
    assert rule in str(caught.value)


def test_a_name_of_the_other_data_set_is_refused_when_one_is_asked_for():
    with pytest.raises(ValueError, match="not a P3AR-PKU name"):
        parse_name("S001C002P003R001A004", "p3ar-pku")


def test_names_can_be_made_from_numbers():
    assert ntu_name(1, 2, 3, 1, 4) == "S001C002P003R001A004"
    with pytest.raises(ValueError, match="action A must be"):
        ntu_name(1, 2, 3, 1, 121)


def test_action_lists_have_the_published_order():
    assert (len(NTU_ACTIONS), len(set(NTU_ACTIONS)), len(PKU_ACTIONS), len(set(PKU_ACTIONS))) == (120, 120, 60, 60)
    assert [NTU_ACTIONS[a - 1] for a in (1, 23, 50, 60, 106, 120)] == [
        "drink water",
        "hand waving",
        "punch/slap",
        "walking apart",
        "hit with object",
        "rock-paper-scissors",
    ]
    assert set(PKU_ACTIONS) <= set(NTU_ACTIONS)
    assert {*range(50, 61), *range(106, 121)} == NTU_MUTUAL_ACTIONS
    assert {PKU_ACTIONS[a - 1] for a in PKU_MUTUAL_ACTIONS} <= {NTU_ACTIONS[a - 1] for a in NTU_MUTUAL_ACTIONS}
