"""Splits, labels, frame sampling and the reading of clips."""

import numpy as np
import pytest
import torch

from training.config import DataConfig
from training.data import ClipDataset, EpochBatches, collate, frame_tensors, open_dataset
from training.resize import FINE, fit_frames
from training.sides import UNSEEN, plan_data, read_name_list, sample_of
from training.views import segment_indices

from .toy import FRAMES, MovingBlobs

CONFIG = DataConfig(frames=4, gap=2, size=32, validation_share=0.2)
READER = MovingBlobs()


def plan(**changes):
    return plan_data(READER.names(), CONFIG.model_copy(update=changes), ["identity"])


def dataset(seed=None, **changes):
    found = plan()
    return ClipDataset(READER, found.train, found.labels, CONFIG.model_copy(update=changes), seed)


def performers(names):
    return {sample_of(name).performer for name in names}


def test_centre_sampling_takes_the_middle_of_equal_segments():
    assert segment_indices(16, 4).tolist() == [2, 6, 10, 14]
    assert segment_indices(3, 6).tolist() == [0, 0, 1, 1, 2, 2]


def test_random_sampling_stays_inside_its_segment():
    rng = np.random.default_rng(0)
    drawn = np.array([segment_indices(40, 4, rng.random(4)) for _ in range(200)])
    assert (drawn // 10 == np.arange(4)).all()
    assert len(np.unique(drawn)) == 40


def test_the_official_split_is_kept_and_validation_performers_come_from_training():
    found = plan()
    assert performers(found.test) == {3, 10}
    assert not performers(found.validation) & performers(found.train)
    assert performers(found.validation) | performers(found.train) == {1, 2, 4, 5, 8, 9}
    assert found.labels.class_names == ("drop", "pick up", "throw", "sit down")


def test_name_lists_take_the_place_of_a_protocol(tmp_path):
    names = READER.names()
    for side, wanted in (("train", {1, 2, 3}), ("test", {9, 10})):
        rows = [f"{name}_rgb.avi  # listed" for name in names if sample_of(name).performer in wanted]
        (tmp_path / side).write_text("# names\n\n" + "\n".join(rows))
    found = plan(train=tmp_path / "train", test=tmp_path / "test")
    assert performers(found.train) | performers(found.validation) == {1, 2, 3}
    assert performers(found.test) == {9, 10}
    assert read_name_list(tmp_path / "test") == found.test


def test_listed_clips_that_the_data_set_lacks_are_counted_and_named(tmp_path):
    for side, performer in (("train", 1), ("test", 106)):
        (tmp_path / side).write_text(f"S001C001P{performer:03d}R001A005\n")
    with pytest.raises(ValueError, match=r"data\.test: 1 of 1 clips are not in the data set: S001C001P106R001A005"):
        plan(train=tmp_path / "train", test=tmp_path / "test")


def test_a_clip_on_both_sides_is_refused(tmp_path):
    (tmp_path / "names").write_text(READER.names()[0])
    with pytest.raises(ValueError, match="must not share clips"):
        plan(train=tmp_path / "names", test=tmp_path / "names")


def test_an_empty_side_is_refused_with_the_rule():
    with pytest.raises(ValueError, match="no training clips among the 128 of the data set"):
        plan(actions=(60,))
    with pytest.raises(ValueError, match="no test clips"):
        plan_data([n for n in READER.names() if sample_of(n).performer < 3], CONFIG, [])


def test_test_actions_that_training_lacks_are_refused():
    names = [n for n in READER.names() if not (n.endswith("A005") and sample_of(n).performer in (1, 2, 4, 5, 8, 9))]
    with pytest.raises(ValueError, match=r"actions \[5\] occur in validation or test but in no training clip"):
        plan_data(names, CONFIG, [])


def test_a_head_that_names_do_not_tell_is_refused():
    with pytest.raises(ValueError, match="the names tell no 'gender'; they tell identity"):
        plan_data(READER.names(), CONFIG, ["gender"])


def test_p3ar_pku_names_label_every_attribute():
    names = [
        f"S00{side}P00{person}R001U00{1 + person % 2}V001W001X002Y003A00{action}"
        for side, person, action in [(1, 1, 1), (1, 2, 1), (1, 3, 1), (2, 1, 1)]
    ]
    config = CONFIG.model_copy(update={"protocol": "p3ar-pku", "validation_share": 0.3})
    found = plan_data(names, config, ["identity", "gender", "lower_wear"])
    assert found.labels.class_names == ("drink water",)
    assert found.labels.heads["lower_wear"] == (3,)
    assert found.labels.of(names[0])["lower_wear"] == 0
    assert found.labels.of("S001P022R001U001V001W001X002Y003A001")["identity"] == UNSEEN


def test_a_sample_holds_frame_predecessor_and_successor():
    data = dataset()
    sample = data[0]
    clip = READER.read(data.names[0], range(FRAMES))
    indices = np.array([[2, 0, 4], [6, 4, 8], [10, 8, 12], [14, 12, 15]])
    np.testing.assert_array_equal(sample["frames"].permute(0, 1, 3, 4, 2), clip[indices])
    np.testing.assert_allclose(sample["weights"], [[0.5, 0.5]] * 3 + [[1 / 3, 2 / 3]], atol=1e-6)
    assert sample["labels"] == {"action": 0, "identity": 0}


def test_training_draws_depend_on_seed_epoch_and_name_only():
    first, second = dataset(seed=3), dataset(seed=3, cache_mb=50)
    second.preload()
    assert torch.equal(first[(5, 2)]["frames"], second[(5, 2)]["frames"])
    assert not torch.equal(first[(5, 2)]["frames"], first[(6, 2)]["frames"])


def test_cached_clips_are_decoded_once():
    reader = MovingBlobs()
    found = plan()
    data = ClipDataset(reader, found.train, found.labels, CONFIG.model_copy(update={"cache_mb": 50}), seed=1)
    progress = []
    data.preload(lambda done, total: progress.append((done, total)))
    reads = reader.reads
    for index in range(len(data)):
        data[(1, index)]
    assert reads == len(data) == reader.reads
    assert progress[-1] == (len(data), len(data))


def test_the_cache_keeps_to_its_limit():
    reader = MovingBlobs()
    found = plan()
    clip_mb = FRAMES * 32 * 32 * 3 / 1e6
    config = CONFIG.model_copy(update={"cache_mb": 1})
    ClipDataset(reader, found.train, found.labels, config, seed=1).preload(threads=1)
    assert reader.reads == int(1 / clip_mb) + 1  # the clip that passes the limit is the last


def test_resizing_averages_pixels_and_keeps_their_fractions():
    frames = np.zeros((1, 4, 4, 3), np.uint8)
    frames[0, 0, 0] = 1  # one code value in one of the four pixels that become one
    small = fit_frames(frames, 2)
    assert small.dtype == np.int16
    assert small[0, 0, 0].tolist() == [FINE / 4] * 3
    assert fit_frames(frames, 4) is frames


def test_white_is_one_whether_resized_or_not():
    class White(MovingBlobs):
        def _clip(self, name):
            return np.full((FRAMES, 32, 32, 3), 255, np.uint8)

    found = plan()
    for size in (32, 16):
        data = ClipDataset(White(), found.train, found.labels, CONFIG.model_copy(update={"size": size}))
        for tensor in frame_tensors(collate([data[0], data[1]]), torch.device("cpu")):
            assert tensor.shape[-2:] == (size, size)
            assert bool((tensor == 1).all())


def test_processes_share_each_step_and_order_changes_by_epoch():
    one = EpochBatches(16, batch=4, seed=1)
    two = [EpochBatches(16, batch=2, seed=1, rank=rank, processes=2) for rank in (0, 1)]
    together = [a + b for a, b in zip(*two)]
    assert list(one) == together
    first = list(one)
    one.epoch = 1
    assert sorted(i for batch in one for _, i in batch) == list(range(16))
    assert [i for batch in one for _, i in batch] != [i for batch in first for _, i in batch]


def test_fewer_clips_than_one_step_are_refused():
    with pytest.raises(ValueError, match="at most the 5 training clips, got 8"):
        EpochBatches(5, batch=4, seed=0, group=2)


def test_no_data_set_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match=r"data\.dataset must be the directory"):
        open_dataset(DataConfig())
    with pytest.raises((ValueError, OSError), match=tmp_path.name):
        open_dataset(DataConfig(dataset=tmp_path))
