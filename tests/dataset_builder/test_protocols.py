import pickle
from collections import Counter

import pytest

from dataset_builder.index import Index, IndexEntry
from dataset_builder.naming import parse_name
from dataset_builder.official_lists import read_hmdb51_lists, read_ucf101_lists
from dataset_builder.protocols import ALL_PROTOCOLS, ONE_SHOT_EXEMPLARS, SplitOptions, make_split
from dataset_builder.selection import ListedClip, Selection, few_shot, list_clips, source_recording, split_by_group
from dataset_builder.split_files import class_labels, pyskl_annotations, read_pairs, write_lists, write_pyskl

from .ntu_names import ntu_grid, published_names


def clips_of(names, label=""):
    return [ListedClip(name, label, 30, 64, 48) for name in names]


def ucf_clips(classes=("Biking", "Diving"), groups=5, clips=4):
    return [
        ListedClip(f"{label}/v_{label}_g{group:02d}_c{clip:02d}", label, 30, 320, 240)
        for label in classes
        for group in range(1, groups + 1)
        for clip in range(1, clips + 1)
    ]


def names(clips):
    return [clip.name for clip in clips]


def test_the_one_shot_protocol_shows_one_sample_of_each_of_twenty_novel_actions():
    # Typed again from the data set's own page, so that a slip in the code's rule shows.
    assert ONE_SHOT_EXEMPLARS[:2] == ("S001C003P008R001A001", "S001C003P008R001A007")
    assert ONE_SHOT_EXEMPLARS[9:11] == ("S001C003P008R001A055", "S018C003P008R001A061")
    assert ONE_SHOT_EXEMPLARS[-1] == "S018C003P008R001A115"
    assert len(ONE_SHOT_EXEMPLARS) == 20
    grid = ntu_grid(performers=(7, 8, 9), setups=(1, 18), cameras=(3,), actions=range(1, 121))
    split = make_split(clips_of(grid), "ntu120-oneshot")
    actions = {part: {parse_name(name).action for name in found} for part, found in split.lists.items()}
    novel = set(range(1, 121, 6))
    assert actions["exemplars"] == actions["test"] == novel
    assert actions["train"] == actions["val"] == set(range(1, 121)) - novel
    assert sorted(split.lists["exemplars"]) == sorted(ONE_SHOT_EXEMPLARS)
    assert sum(map(len, split.lists.values())) == len(grid) == len({n for part in split.lists.values() for n in part})
    with pytest.raises(ValueError, match="S001C003P008R001A007, the protocol's exemplar of its action, is not among"):
        make_split(clips_of(name for name in grid if name != "S001C003P008R001A007"), "ntu120-oneshot")


def test_the_one_shot_protocol_on_the_published_names():
    split = make_split(clips_of(published_names()), "ntu120-oneshot")
    sizes = {part: len(found) for part, found in split.lists.items()}
    assert sizes["exemplars"] == 20
    assert sum(sizes.values()) == 113_945


def test_a_subset_is_what_every_given_property_fits():
    clips = clips_of(ntu_grid(actions=(1, 8, 23)))
    chosen = Selection(
        actions=frozenset({"A8", "hand waving"}),
        performers=frozenset({1, 3}),
        cameras=frozenset({2}),
        setups=frozenset({2}),
    ).of(clips)
    assert names(chosen) == ntu_grid(performers=(1, 3), setups=(2,), cameras=(2,), actions=(8, 23))
    assert Selection().of(clips) == clips
    folders = ucf_clips()
    assert {clip.label for clip in Selection(actions=frozenset({"Diving"})).of(folders)} == {"Diving"}


@pytest.mark.parametrize(
    ("selection", "clips", "rule"),
    [
        (Selection(performers=frozenset({99})), clips_of(ntu_grid()), "no clip is left"),
        (Selection(setups=frozenset({1})), ucf_clips(), "does not tell the setup"),
        (Selection(actions=frozenset({"Dive"})), ucf_clips(), "did you mean 'Diving'"),
        (Selection(actions=frozenset({"121"})), clips_of(ntu_grid()), "unknown '121'"),
    ],
)
def test_a_subset_that_cannot_be_is_refused(selection, clips, rule):
    with pytest.raises(ValueError, match=rule):
        selection.of(clips)


def test_few_shot_sets_are_nested_balanced_and_follow_from_names_and_seed():
    clips = clips_of(ntu_grid())
    sets = {k: set(names(few_shot(clips, k))) for k in (1, 5, 8, 10, 1000)}
    assert sets[1] < sets[5] < sets[8] < sets[10] < sets[1000] == set(names(clips))
    for action in (1, 23):
        chosen = [parse_name(name) for name in sets[10] if parse_name(name).action == action]
        assert len(chosen) == 10
        assert sorted(Counter(sample.performer for sample in chosen).values()) == [1] * 6 + [2] * 2
    assert names(few_shot(clips[::-1], 5))[::-1] == names(few_shot(clips, 5))
    assert set(names(few_shot(clips, 5, seed=1))) != sets[5]
    with pytest.raises(ValueError, match="must be 1 or more, got 0"):
        few_shot(clips, 0)


def test_a_few_shot_split_limits_training_alone_and_names_the_classes_that_are_too_small():
    clips = clips_of(ntu_grid(performers=range(1, 11), actions=(1,)) + ntu_grid(performers=(2,), setups=(1,)))
    clips = list({clip.name: clip for clip in clips}.values())
    whole = make_split(clips, "ntu120-xsub")
    few = make_split(clips, "ntu120-xsub", SplitOptions(limit_per_class=20))
    assert (few.lists["val"], few.lists["test"]) == (whole.lists["val"], whole.lists["test"])
    assert set(few.lists["train"]) < set(whole.lists["train"])
    assert Counter(name[-4:] for name in few.lists["train"]) == {"A001": 20, "A023": 6}
    assert few.short_classes == ("hand waving",)
    people = make_split(clips, "identity-closed", SplitOptions(limit_per_class=2))
    assert set(Counter(name[8:12] for name in people.lists["train"]).values()) == {2}
    with pytest.raises(ValueError, match="no training clips to limit"):
        make_split(clips, "identity-verification", SplitOptions(limit_per_class=2))


def test_clips_of_one_recording_are_told_by_the_names_of_the_known_data_sets():
    assert source_recording("Biking/v_Biking_g08_c01", "Biking") == "v_Biking_g08"
    assert source_recording("air drumming/-0aBc_D1eF_000010_000020", "air drumming") == "-0aBc_D1eF"
    hmdb = "brush_hair/#20_Rhythm_(2)_brush_hair_u_nm_np1_ba_goo_0"
    assert source_recording(hmdb, "brush_hair") == "#20_Rhythm_(2)"
    assert source_recording("walk/clip_12", "walk") == "clip_12"


def test_a_random_split_holds_to_the_share_of_each_class_and_parts_no_recording():
    clips = ucf_clips(groups=20)
    split = make_split(clips, "random", SplitOptions(train_share=0.7, validation_share=0.1, seed=5))
    assert sorted(name for part in split.lists.values() for name in part) == sorted(names(clips))
    for label in ("Biking", "Diving"):
        mine = {part: [n for n in found if n.startswith(label)] for part, found in split.lists.items()}
        assert len(mine["test"]) == 24  # 0.3 of 80: six recordings
        assert 4 <= len(mine["val"]) <= 8
        recordings = [{name.rpartition("_")[0] for name in found} for found in mine.values()]
        assert sum(map(len, recordings)) == len(set.union(*recordings)) == 20
    assert make_split(clips[::-1], "random", SplitOptions(seed=5)).lists["test"][::-1] == split.lists["test"]
    assert make_split(clips, "random", SplitOptions(seed=6)).lists["test"] != split.lists["test"]
    with pytest.raises(ValueError, match="'a' has no class"):
        make_split([ListedClip("a")], "random")


def test_a_class_of_two_recordings_keeps_one_on_either_side():
    clips = ucf_clips(classes=("Biking",), groups=2, clips=10)
    for share in (0.01, 0.5, 0.99):
        assert len(split_by_group(clips, share, 0, "test")) == 10
    assert split_by_group(clips, 0.0, 0, "test") == set()


@pytest.fixture
def ucf_lists(tmp_path):
    train = [f"Biking/v_Biking_g{g:02d}_c{c:02d}.avi 1" for g in (3, 4, 5) for c in (1, 2, 3, 4)]
    (tmp_path / "trainlist01.txt").write_text("\r\n".join(train) + "\r\n")
    test = [f"Biking/v_Biking_g{g:02d}_c{c:02d}.avi" for g in (1, 2) for c in (1, 2, 3, 4)]
    (tmp_path / "testlist01.txt").write_text("\n".join([*test, "Biking/v_Biking_g99_c01.avi"]) + "\n")
    return tmp_path


def test_ucf101s_own_lists_are_followed(ucf_lists):
    split = make_split(ucf_clips(), "ucf101-1", SplitOptions(lists=ucf_lists))
    groups = {part: {name[-6:-4] for name in found} for part, found in split.lists.items()}
    assert groups["test"] == {"01", "02"}
    assert groups["train"] | groups["val"] == {"03", "04", "05"}
    assert not groups["train"] & groups["val"]
    assert {name.split("/")[0] for name in split.outside} == {"Diving"}
    assert split.absent == ("Biking/v_Biking_g99_c01",)


def test_hmdb51s_own_lists_are_followed(tmp_path):
    stems = [f"#{film}_Film!_(2)_brush_hair_u_nm_np1_ba_goo_{i}" for film in (1, 2, 3) for i in (0, 1)]
    marks = dict(zip(stems, "112201"))
    (tmp_path / "brush_hair_test_split2.txt").write_text("".join(f"{s}.avi {m} \n" for s, m in marks.items()))
    clips = [ListedClip(f"brush_hair/{stem}", "brush_hair") for stem in stems]
    split = make_split(clips, "hmdb51-2", SplitOptions(lists=tmp_path, validation_share=0))
    assert split.lists == {
        "train": tuple(f"brush_hair/{s}" for s in stems if marks[s] == "1"),
        "val": (),
        "test": tuple(f"brush_hair/{s}" for s in stems if marks[s] == "2"),
    }
    assert split.outside == (f"brush_hair/{stems[4]}",)


def test_lists_that_are_none_are_refused_with_the_line(tmp_path, ucf_lists):
    (ucf_lists / "testlist01.txt").write_text("Biking/v_Biking_g01_c01.avi\nBiking\n")
    with pytest.raises(ValueError, match=r"testlist01\.txt: line 2: must be CLASS/NAME\.avi, got 'Biking'"):
        read_ucf101_lists(ucf_lists, 1)
    with pytest.raises(ValueError, match="no lists CLASS_test_split1"):
        read_hmdb51_lists(ucf_lists, 1)
    (tmp_path / "run_test_split1.txt").write_text("a.avi 3\n")
    with pytest.raises(ValueError, match="line 1: must be NAME"):
        read_hmdb51_lists(tmp_path, 1)
    with pytest.raises(ValueError, match="needs the folder of UCF101's own lists"):
        make_split(ucf_clips(), "ucf101-1")


def test_lists_of_other_clips_say_so(ucf_lists):
    (ucf_lists / "testlist01.txt").write_text("Biking/v_Biking_g01_c01.avi\n")
    clips = [ListedClip(f"UCF-101/{clip.name}", "UCF-101") for clip in ucf_clips()]
    with pytest.raises(ValueError, match="none of their names is a clip, such as 'Biking/v_Biking_g03_c01'"):
        make_split(clips, "ucf101-1", SplitOptions(lists=ucf_lists))


def test_split_files_hold_one_name_a_line_and_pairs_read_back(tmp_path):
    clips = clips_of(ntu_grid())
    write_lists(tmp_path / "closed", make_split(clips, "identity-closed"))
    assert {path.name for path in (tmp_path / "closed").iterdir()} == {"train.txt", "test.txt"}
    split = make_split(clips, "identity-verification", SplitOptions(pairs=50))
    assert write_lists(tmp_path / "pairs", split) == [tmp_path / "pairs" / "pairs.txt"]
    pairs = read_pairs(tmp_path / "pairs" / "pairs.txt")
    assert tuple(pairs) == split.pairs
    unseen = {parse_name(name).performer for pair in pairs for name in pair[:2]}
    trained = {parse_name(name).performer for name in (tmp_path / "closed" / "train.txt").read_text().split()}
    assert not unseen & trained
    (tmp_path / "bad.txt").write_text("a b 1\na b 2\n")
    with pytest.raises(ValueError, match="line 2: must be NAME NAME"):
        read_pairs(tmp_path / "bad.txt")


def test_the_pickle_is_read_as_pyskl_reads_it(tmp_path):
    clips = clips_of(ntu_grid(actions=(1, 23, 60)))
    split = make_split(Selection(actions=frozenset({"23", "60"})).of(clips), "ntu60-xsub")
    write_pyskl(tmp_path / "ntu60.pkl", clips, split)
    with open(tmp_path / "ntu60.pkl", "rb") as stream:
        data = pickle.load(stream)
    assert set(data) == {"split", "annotations"}
    for key, parts in (("xsub_train", ("train", "val")), ("xsub_val", ("test",))):
        wanted = set(data["split"][key])
        chosen = [annotation for annotation in data["annotations"] if annotation["frame_dir"] in wanted]
        assert len(chosen) == sum(len(split.lists[part]) for part in parts) > 0
    assert {a["frame_dir"][-4:]: a["label"] for a in data["annotations"]} == {"A023": 22, "A060": 59}
    first = data["annotations"][0]
    assert (first["total_frames"], first["img_shape"], first["original_shape"]) == (30, (48, 64), (48, 64))


def test_labels_of_class_folders_are_their_places_in_sorted_order_whatever_is_selected():
    clips = ucf_clips(classes=("Diving", "Biking", "Archery"))
    labels = class_labels(clips)
    assert {name.split("/")[0]: label for name, label in labels.items()} == {"Archery": 0, "Biking": 1, "Diving": 2}
    split = make_split(Selection(actions=frozenset({"Diving"})).of(clips), "random")
    assert {a["label"] for a in pyskl_annotations(clips, split)["annotations"]} == {2}


def test_clips_without_frames_or_lists_make_no_pickle(tmp_path):
    pending = [ListedClip(name) for name in ntu_grid()]
    with pytest.raises(ValueError, match="is not made yet"):
        pyskl_annotations(pending, make_split(pending, "ntu60-xsub"))
    with pytest.raises(ValueError, match="has pairs and no lists"):
        write_pyskl(tmp_path / "x.pkl", pending, make_split(pending, "identity-verification"))
    assert list(tmp_path.iterdir()) == []


def test_an_index_is_listed_with_what_splits_need(tmp_path):
    entry = IndexEntry("walk/one", "walk/one.mp4", 10, 1, 30, "25", 64, 48, "h264", "walk")
    Index(tmp_path, "folders", (entry,)).save(tmp_path / "i.jsonl")
    assert list_clips(tmp_path / "i.jsonl") == [ListedClip("walk/one", "walk", 30, 64, 48)]


def test_an_unknown_protocol_is_refused_with_the_nearest():
    assert len(ALL_PROTOCOLS) == len(set(ALL_PROTOCOLS)) == 15
    with pytest.raises(ValueError, match="did you mean 'ntu120-oneshot'"):
        make_split([], "ntu120-one-shot")
