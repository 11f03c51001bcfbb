"""Reading of single frames, exact for every choice of them, and the processes that read."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dataset_builder.formats import open_reader
from lps_sim.media import EncoderSettings, MediaError, iter_frames
from training.config import DataConfig
from training.data import ClipDataset, collate

from ..dataset_builder.test_formats import moving_clip, write_dataset
from .toy import MovingBlobs

FRAMES = 40
CODINGS = {
    "closed groups": {"gop": 12},
    "one group": {"gop": 600},
    "key frames only": {"gop": 1},
    "B frames": {"gop": 12, "preset": "medium", "tune": ""},
    "full colour": {"gop": 7, "pixel_format": "yuv444p"},
    "pictures coded alone inside a group": {"gop": 600, "preset": "superfast"},
}


@pytest.fixture(scope="module", params=CODINGS)
def clip(request, tmp_path_factory):
    """A reader of one mp4 clip, and all of its frames decoded from the start."""
    root = tmp_path_factory.mktemp("mp4") / "set"
    codec = EncoderSettings(**{"crf": 10, **CODINGS[request.param]}).to_dict()
    write_dataset(root, "mp4", {"a": moving_clip(FRAMES)}, codec)
    return open_reader(root), np.stack(list(iter_frames(root / "clips" / "a.mp4")))


def test_every_choice_of_frames_is_that_of_decoding_from_the_start(clip):
    reader, whole = clip
    rng = np.random.default_rng(0)
    choices = [[0], [FRAMES - 1], [11, 12], [13], list(range(FRAMES)), [5, 5, 0, 39, 5]]
    choices += [rng.choice(FRAMES, rng.integers(1, 9)).tolist() for _ in range(20)]
    for indices in choices:
        np.testing.assert_array_equal(reader.read("a", indices), whole[indices])


def test_only_the_groups_that_are_wanted_are_decoded_and_only_up_to_the_last_frame(tmp_path, monkeypatch):
    from dataset_builder.formats import mp4

    settings = EncoderSettings(gop=12, preset="ultrafast").to_dict()  # without B frames
    write_dataset(tmp_path / "set", "mp4", {"a": moving_clip(FRAMES)}, settings)
    reader = open_reader(tmp_path / "set")
    sent = []
    needed = mp4._needed

    def spy(*arguments):
        for packet in needed(*arguments):
            sent.append(packet)
            yield packet

    monkeypatch.setattr(mp4, "_needed", spy)
    reader.read("a", [2, 27])
    # 0, 1, 2 and 24 .. 27
    assert len(sent) == 7


def test_the_fast_entropy_code_of_the_default_changes_no_pixel(tmp_path):
    found = []
    for cabac in (True, False):
        write_dataset(tmp_path / str(cabac), "mp4", {"a": moving_clip(12)}, EncoderSettings(cabac=cabac).to_dict())
        found.append(open_reader(tmp_path / str(cabac)).read("a", range(12)))
    np.testing.assert_array_equal(*found)


def test_a_clip_with_fewer_frames_than_its_manifest_says_is_damaged(clip):
    from dataset_builder.formats.mp4 import video_frames

    reader, _ = clip
    path = reader.root / "clips" / "a.mp4"
    with pytest.raises(MediaError, match="no frame 40"):
        list(video_frames(str(path), [3, FRAMES], 12, path))


def _library_draws():
    return np.random.randint(256), int(torch.randint(256, ()))  # noqa: NPY002 (what is tested)


class Restless(MovingBlobs):
    """A reader that, like some library in a data path, draws from the global generators."""

    def read(self, name, indices):
        frames = super().read(name, indices)
        frames[0, 0, 0] = random.randrange(256), *_library_draws()
        return frames


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_global_generators_of_reading_processes_follow_seed_epoch_and_process():
    reader = Restless()
    names = reader.names()[:6]

    def corners(seed, epoch):
        data = ClipDataset(reader, names, None, DataConfig(frames=1, gap=1, size=32), seed)
        keys = [[(epoch, index)] for index in range(len(names))]
        loader = DataLoader(data, batch_sampler=keys, collate_fn=collate, num_workers=2)
        return [tuple(batch["frames"][0, 0, 0, :, 0, 0].tolist()) for batch in loader]

    first = corners(1, 0)
    assert first == corners(1, 0)
    assert len(set(first)) == len(names)  # the two processes draw apart
    assert not set(first) & set(corners(1, 1))
    assert not set(first) & set(corners(2, 0))
