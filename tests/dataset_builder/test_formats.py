import json
import pickle
from fractions import Fraction

import numpy as np
import pytest

from dataset_builder.formats import FORMATS, open_reader, writer_class
from dataset_builder.formats.base import MEAN_TOLERANCE_DN
from dataset_builder.layout import MANIFEST_FILE
from dataset_builder.manifest import ClipRow, Manifest
from dataset_builder.seal import seal_ready
from lps_sim.media import EncoderSettings

VIDEO = EncoderSettings(gop=6, crf=10).to_dict()
CODECS = {
    "mp4": VIDEO,
    "frames": {"codec": "jpeg", "quality": 95},
    "hdf5": {"codec": "jpeg", "quality": 95, "clips_per_shard": 2},
    "webdataset": {**VIDEO, "clips_per_shard": 2},
}
# x264 at CRF 10 and JPEG at quality 95 on the blurred test clip; a wrong frame differs by ten times as much.
CODEC_ERROR_DN = 2.0


def moving_clip(frames=40, height=48, width=64):
    """A bright blurred bar that moves, so that every frame differs from its neighbours."""
    x = np.arange(width)
    bars = [255 * np.exp(-(((x - 4 - 1.4 * t) / 5) ** 2)) for t in range(frames)]
    clip = np.broadcast_to(np.stack(bars)[:, None, :, None], (frames, height, width, 3))
    return np.clip(np.rint(clip * [1.0, 0.8, 0.6]), 0, 255).astype(np.uint8)


def write_dataset(root, format_name, clips, codec=None, seal=True):
    """A data set as the runner leaves it, without a film; as it is before the end without ``seal``."""
    codec = codec or CODECS[format_name]
    settings = {"lps_dataset": 1, "format": format_name, "layers": 0, "film": None, "codec": codec}
    root.mkdir(parents=True)
    (root / "dataset.json").write_text(json.dumps(settings))
    stored = {}
    with Manifest(root / MANIFEST_FILE, writable=True) as manifest:
        manifest.add([ClipRow(name, "a.avi", label="wave") for name in clips], codec.get("clips_per_shard"))
        for name, frames in clips.items():
            height, width = frames.shape[1:3]
            with writer_class(format_name)(root, name, Fraction(30000, 1001), width, height, codec) as writer:
                for frame in frames:
                    writer.write(frame)
            manifest.record_done(name, writer.stored, "ab" * 32, seed=1)
            stored[name] = writer.stored
        if seal:
            seal_ready(root, manifest)
    return stored


@pytest.fixture(params=sorted(FORMATS))
def dataset(request, tmp_path):
    write_dataset(tmp_path / "set", request.param, {"class one/ü": moving_clip(), "b": moving_clip(frames=1)})
    return tmp_path / "set"


def test_a_clip_reads_back_within_the_codecs_error_with_its_facts(dataset):
    reader = open_reader(dataset)
    assert reader.names() == ["b", "class one/ü"]
    assert (reader.frame_count("class one/ü"), reader.fps("b"), reader.label("b")) == (
        40,
        Fraction(30000, 1001),
        "wave",
    )
    assert reader.layers == 0
    frames = reader.read("class one/ü", range(40))
    assert frames.shape == (40, 48, 64, 3)
    assert frames.dtype == np.uint8
    error = frames.astype(float) - moving_clip()
    assert np.sqrt((error**2).mean(axis=(1, 2, 3))).max() < CODEC_ERROR_DN


@pytest.mark.parametrize("indices", [[39], [0], [17, 3, 17, 38, 4], [5, 6, 7], [0, 39], [12, 13, 24]])
def test_random_access_gives_the_very_frames_of_sequential_reading(dataset, indices):
    reader = open_reader(dataset)
    whole = reader.read("class one/ü", range(40))
    assert np.array_equal(reader.read("class one/ü", indices), whole[indices])


def test_the_clip_mean_is_that_of_the_frames_as_they_are_read(dataset):
    reader = open_reader(dataset)
    mean = reader.mean("class one/ü")
    assert (mean.shape, mean.dtype) == ((48, 64, 3), np.float32)
    expected = reader.read("class one/ü", range(40)).astype(float).mean(axis=0)
    assert abs(mean - expected).max() <= MEAN_TOLERANCE_DN


def test_a_reader_survives_pickling_for_worker_processes(dataset):
    reader = open_reader(dataset)
    again = pickle.loads(pickle.dumps(reader))
    assert np.array_equal(again.read("b", [0]), reader.read("b", [0]))


@pytest.mark.parametrize(
    ("name", "indices", "rule"),
    [
        ("absent", [0], "'absent' is not a finished clip"),
        ("b", [1], r"must be 0\.\.0, got 1"),
        ("b", [-1], r"must be 0\.\.0, got -1"),
        ("b", [], "got none"),
    ],
)
def test_a_wrong_clip_or_index_is_refused(dataset, name, indices, rule):
    with pytest.raises(ValueError, match=rule):
        open_reader(dataset).read(name, indices)


@pytest.mark.parametrize("format_name", sorted(FORMATS))
def test_the_same_frames_give_the_same_bytes(tmp_path, format_name):
    first, second = (write_dataset(tmp_path / run, format_name, {"a": moving_clip()})["a"] for run in ("one", "two"))
    assert first == second


@pytest.mark.parametrize("format_name", sorted(FORMATS))
def test_a_clip_that_fails_leaves_nothing_behind(tmp_path, format_name):
    writer = writer_class(format_name)(tmp_path, "a", Fraction(30), 64, 48, CODECS[format_name])

    def decoder_gives_up():
        with writer:
            writer.write(moving_clip()[0])
            raise RuntimeError("decoder gave up")

    with pytest.raises(RuntimeError, match="decoder gave up"):
        decoder_gives_up()
    assert writer.stored is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("format_name", sorted(FORMATS))
def test_a_clip_written_again_replaces_the_old_one_whole(tmp_path, format_name):
    codec = CODECS[format_name]
    for frames in (40, 3):
        with writer_class(format_name)(tmp_path, "a", Fraction(30), 64, 48, codec) as writer:
            for frame in moving_clip(frames):
                writer.write(frame)
    decoded = list(writer.decode(tmp_path / writer.stored.output))
    assert len(decoded) == 3 == writer.stored.frames
    assert writer.digest(tmp_path / writer.stored.output) == writer.stored.output_sha256


@pytest.mark.parametrize("format_name", sorted(FORMATS))
def test_a_frame_of_another_size_and_an_empty_clip_are_refused(tmp_path, format_name):
    make = writer_class(format_name)
    with (
        pytest.raises(ValueError, match="frame must be uint8 of shape"),
        make(tmp_path, "a", Fraction(30), 64, 48, CODECS[format_name]) as writer,
    ):
        writer.write(np.zeros((48, 32, 3), np.uint8))
    with (
        pytest.raises(ValueError, match="at least one frame"),
        make(tmp_path, "a", Fraction(30), 64, 48, CODECS[format_name]),
    ):
        pass


def test_frames_lie_in_the_layout_of_the_published_loader(tmp_path):
    write_dataset(tmp_path / "set", "frames", {"S001C002P003R001A004": moving_clip(3)})
    names = sorted(path.name for path in (tmp_path / "set" / "frames" / "S001C002P003R001A004").iterdir())
    assert names == ["0.jpg", "1.jpg", "2.jpg"]


def test_an_unknown_format_or_a_folder_that_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'mp4'"):
        writer_class("mp5")
    with pytest.raises(ValueError, match="not a data set directory"):
        open_reader(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        open_reader(tmp_path)
