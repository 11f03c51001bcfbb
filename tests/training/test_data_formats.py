"""Samples out of every format, read by forked and by spawned processes."""

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader

from dataset_builder.config import FORMATS
from dataset_builder.formats import SHARDED
from training.config import DataConfig
from training.data import ClipDataset, collate, open_dataset
from training.sides import Labels, require_whole

from ..dataset_builder.test_formats import CODEC_ERROR_DN, moving_clip, write_dataset
from .toy import FRAMES, SIDE, MovingBlobs


class MovingBars(MovingBlobs):
    """Every clip the same bar, smooth enough for any codec and elsewhere in every frame."""

    def _clip(self, name):
        return moving_clip(FRAMES, SIDE, SIDE)


SOURCE = MovingBars(performers=(1, 2), setups=(1,), replications=(1,))
LABELS = Labels((5, 6, 7, 8), ("drop", "pick up", "throw", "sit down"), {"identity": (1, 2)})


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """The same clips in each format."""
    root = tmp_path_factory.mktemp("formats")
    clips = {name: SOURCE.read(name, range(FRAMES)) for name in SOURCE.names()}
    found = []
    for format_name in FORMATS:
        write_dataset(root / format_name, format_name, clips)
        config = DataConfig(dataset=root / format_name, frames=4, gap=2, size=SIDE)
        found.append(ClipDataset(open_dataset(config), sorted(clips), LABELS, config, seed=7))
    return found


def test_every_format_gives_the_same_samples_but_for_its_codec(datasets):
    expected = ClipDataset(SOURCE, sorted(SOURCE.names()), LABELS, DataConfig(frames=4, gap=2, size=SIDE), seed=7)
    by_format = dict(zip(FORMATS, datasets))
    for index in range(len(expected)):
        truth = expected[(3, index)]
        samples = {format_name: data[(3, index)] for format_name, data in by_format.items()}
        for sample in samples.values():
            assert (sample["name"], sample["labels"]) == (truth["name"], truth["labels"])
            error = sample["frames"].float() - truth["frames"].float()
            assert float(error.square().mean().sqrt()) < CODEC_ERROR_DN
            assert torch.equal(sample["weights"], truth["weights"])
        for key in ("frames", "mean"):
            assert torch.equal(samples["mp4"][key], samples["webdataset"][key])
            assert torch.equal(samples["frames"][key], samples["hdf5"][key])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_two_reading_processes_give_the_samples_of_this_one(datasets, start):
    together = ConcatDataset(datasets)
    loader = DataLoader(together, batch_size=4, collate_fn=collate, num_workers=2, multiprocessing_context=start)
    expected = DataLoader(together, batch_size=4, collate_fn=collate)
    names = []
    for batch, truth in zip(loader, expected):
        assert torch.equal(batch["frames"], truth["frames"])
        assert torch.equal(batch["mean"], truth["mean"])
        names += batch["name"]
    assert np.unique(names, return_counts=True)[1].tolist() == [len(FORMATS)] * len(SOURCE.names())


def last_file_of(dataset, format_name):
    folders = {"mp4": "clips", "frames": "frames", "hdf5": "shards", "webdataset": "shards"}
    files = [path for path in (dataset / folders[format_name]).rglob("*") if path.is_file()]
    return max(files, key=lambda path: (path.parent, len(path.name), path.name))


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_clip_without_its_file_is_named_before_anything_is_decoded(tmp_path, format_name):
    clips = {name: SOURCE.read(name, range(FRAMES)) for name in SOURCE.names()[:2]}
    write_dataset(tmp_path / "set", format_name, clips)
    reader = open_dataset(DataConfig(dataset=tmp_path / "set", frames=4, gap=2, size=SIDE))
    require_whole(reader, sorted(clips))
    lost = last_file_of(tmp_path / "set", format_name)
    if format_name in ("mp4", "hdf5"):
        lost.write_bytes(lost.read_bytes()[:-100])
    else:
        lost.unlink()
    absent = reader.absent(sorted(clips))
    assert absent == (sorted(clips) if format_name in SHARDED else sorted(clips)[-1:])
    with pytest.raises(ValueError, match=rf"{len(absent)} of 2 clips have no whole file: .*{absent[0]}"):
        require_whole(reader, sorted(clips))
