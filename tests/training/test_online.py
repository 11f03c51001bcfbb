"""On-line degradation: the same film as off-line, drawn by (seed, epoch, clip) only."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dataset_builder.config import DegradeConfig
from dataset_builder.degrade import degrade_dataset
from dataset_builder.formats import open_reader
from lps_sim.media import VideoWriter
from training.config import DataConfig, load_config
from training.data import ClipDataset, collate, frame_tensors, open_dataset
from training.loop import train
from training.online import OnlineFilm, draw_film, mean_indices, online_film
from training.sides import Labels

from .toy import MovingBlobs, toy_config

CPU = torch.device("cpu")
FILM = "p3ar-10layer"
NAME = "S001C001P001R001A005"
READER = MovingBlobs()
# Sensor noise off-line (0.6-0.8 codes on 24x24 means of 4x4 pixels: less), x264 at CRF 12, rounding: root mean square.
CODEC_DN = 1.0


def online(size=32, **changes):
    settings = {"film": FILM, "layers": (2, 4, 8), "field_of_view_deg": 60.0, **changes}
    return DataConfig(frames=4, gap=2, size=size, online=settings)


def samples(config, seed=5, names=4):
    return ClipDataset(READER, READER.names()[:names], None, config, seed)


def tensors(config, keys, **changes):
    data = samples(config, **changes)
    return frame_tensors(collate([data[key] for key in keys]), CPU, online_film(config))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """One rendered-like clip: soft coloured shapes that move over a checkered wall, 128x72, 24 frames."""
    root = tmp_path_factory.mktemp("videos")
    y, x = np.mgrid[:72, :128]
    wall = 90 + 60 * ((x // 16 + y // 12) % 2)[..., None] * np.array([1.0, 0.9, 0.7])
    with VideoWriter(root / f"{NAME}_rgb.mp4", 128, 72, 30) as writer:
        for t in range(24):
            blob = np.exp(-((x - 30 - 2.5 * t) ** 2 + (y - 36) ** 2) / 200)[..., None]
            writer.write(np.clip(np.rint(wall * (1 - blob) + 230 * blob), 0, 255).astype(np.uint8))
    return root


def test_a_fixed_layer_count_agrees_with_the_off_line_data_set(source, tmp_path):
    """Clean twin at its own size + film on line = lps data degrade at 8 layers, up to codec, noise and rounding."""
    config = DegradeConfig(
        source=source, destination=tmp_path, film=FILM, layers=(0, 8), field_of_view_deg=60, workers=0, format="mp4"
    )
    assert degrade_dataset(config).ok
    settings = online(24, layers=(8,), mean_frames=0)
    found = []
    for folder, data in (("layers-00", settings), ("layers-08", DataConfig(frames=4, gap=2, size=24))):
        data = data.model_copy(update={"dataset": tmp_path / folder})
        batch = collate([ClipDataset(open_dataset(data), [NAME], None, data)[0]])
        found.append(frame_tensors(batch, CPU, online_film(data)))
    for on_line, off_line in zip(*found):
        error = 255 * (on_line - off_line)
        assert float(error.square().mean().sqrt()) < CODEC_DN
        assert abs(float(error.mean())) < 0.5
    # the same comparison tells another number of layers apart
    data = online(24, layers=(4,), mean_frames=0).model_copy(update={"dataset": tmp_path / "layers-00"})
    batch = collate([ClipDataset(open_dataset(data), [NAME], None, data)[0]])
    wrong = 255 * (frame_tensors(batch, CPU, online_film(data))[0] - found[1][0])
    assert float(wrong.square().mean().sqrt()) > 5 * CODEC_DN


def test_degraded_clips_are_refused_as_a_source(source, tmp_path):
    config = DegradeConfig(
        source=source, destination=tmp_path / "set", film=FILM, layers=(8,), size=(24, 24), workers=0
    )
    assert degrade_dataset(config).ok
    assert open_reader(tmp_path / "set").names() == [NAME]
    with pytest.raises(ValueError, match=r"data\.online needs clean clips, .* is behind 8 layers already"):
        open_dataset(online().model_copy(update={"dataset": tmp_path / "set"}))


def test_draws_depend_on_seed_epoch_and_clip_and_cover_all_layer_counts():
    config = online().online
    draws = [draw_film(config, 3, epoch, NAME) for epoch in range(60)]
    assert {draw.layers for draw in draws} == {2, 4, 8}
    assert len({draw.seed for draw in draws}) == 60
    assert draws[7] == draw_film(config, 3, 7, NAME) != draw_film(config, 4, 7, NAME)


def test_a_clip_looks_the_same_in_any_batch_and_new_in_every_epoch():
    config = online()
    alone = tensors(config, [(1, 2)])
    among = tensors(config, [(1, 0), (1, 2), (1, 3)])
    for one, many in zip(alone, among):
        assert torch.equal(one[0], many[1])
    assert not torch.equal(alone[0], tensors(config, [(2, 2)])[0])


def test_a_frame_that_is_its_own_neighbour_has_no_difference():
    config = online().model_copy(update={"gap": 16})  # both neighbours are held at the clip's ends
    data = samples(config)[0]
    centre, before, after, _ = tensors(config, [0])
    for t, (now, earlier, later) in enumerate(data["place"].tolist()):
        assert torch.equal(centre[0, t], before[0, t]) == (now == earlier)
        assert torch.equal(centre[0, t], after[0, t]) == (now == later)
    assert torch.equal(before[0, 0], before[0, 1])


def test_the_mean_is_that_of_the_degraded_frames():
    config = online(mean_frames=0, noise=False, layers=(4,))
    mean = tensors(config, [0])[3]
    film = OnlineFilm(config.online, 32)
    clip = torch.from_numpy(READER.read(READER.names()[0], range(16)))
    expected = film.degrade(clip, draw_film(config.online, 5, 0, READER.names()[0]), CPU).mean(dim=0)
    torch.testing.assert_close(mean[0], expected, atol=1e-6, rtol=0)
    some = tensors(online(mean_frames=8, noise=False, layers=(4,)), [0])[3]
    assert 255 * float((some[0] - expected).abs().max()) < 1.5  # codes; half of the frames of a moving blob


def test_mean_frames_are_the_centres_of_equal_parts():
    assert mean_indices(40, 4).tolist() == [5, 15, 25, 35]
    assert mean_indices(3, 4).tolist() == [0, 1, 2]
    assert mean_indices(40, 0).tolist() == list(range(40))


def test_squashed_clean_frames_are_stretched_back_before_the_film():
    """A round blur must be squashed with the frame: half as wide in px as it is high."""
    point = np.zeros((1, 64, 64, 3), np.uint8)
    point[:, 28:36, 30:34] = 255  # a square that a 2:1 frame squashed
    widths = {}
    for aspect in (2.0, None):
        film = OnlineFilm(online(64, aspect=aspect, field_of_view_deg=10, noise=False, layers=(8,)).online, 64)
        x = film.degrade(torch.from_numpy(point), draw_film(film.config, 0, 0, NAME), CPU)[0, 1]
        half = x > (x.max() + x.min()) / 2
        widths[aspect] = (int(half[:, 32].sum()), int(half[32].sum()))  # px, down and across the middle
    assert widths[2.0][0] / widths[2.0][1] == pytest.approx(2, rel=0.2)
    assert widths[None][0] / widths[None][1] < 1.4


def test_training_through_a_film_runs_and_repeats(tmp_path):
    records = []
    for run in ("a", "b"):
        settings = {"film": FILM, "layers": [1, 4], "field_of_view_deg": 60.0, "mean_frames": 4}
        values = toy_config(tmp_path / run, data={"online": settings}, optim={"epochs": 1})
        record = train(load_config(values), reader=MovingBlobs((1, 2, 3, 4), (1,), (1,)))
        records.append({key: value for key, value in record.history[0].items() if "loss" in key})
    assert records[0] == records[1]
    assert np.isfinite(list(records[0].values())).all()


def test_an_index_of_plain_videos_is_a_source(source, tmp_path):
    from dataset_builder.index import build_index

    index = build_index(source)
    index.save(tmp_path / "index.jsonl")
    data = online(24, layers=(8,)).model_copy(update={"dataset": tmp_path / "index.jsonl"})
    reader = open_dataset(data)
    assert reader.names() == [NAME]
    batch = collate([ClipDataset(reader, [NAME], Labels((5,), ("drop",), {}), data)[0]])
    frames, *_, mean = frame_tensors(batch, CPU, online_film(data))
    assert frames.shape == (1, 4, 3, 24, 24)
    clean = ClipDataset(reader, [NAME], None, data.model_copy(update={"online": DataConfig().online}))[0]
    np.testing.assert_allclose(clean["mean"].mean(), reader.read(NAME, range(24)).mean(), atol=0.1)
    assert float(mean.std()) < float(clean["mean"].div(255).std())  # the film takes contrast away


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_reading_processes_and_the_cache_give_the_same_clean_clips_and_draws():
    config = online()
    cached = samples(config.model_copy(update={"cache_mb": 50}))
    cached.preload()
    keys = [[(2, 0), (2, 1)], [(2, 2), (2, 3)]]
    batches = [
        list(DataLoader(data, batch_sampler=keys, collate_fn=collate, num_workers=workers))
        for data, workers in ((samples(config), 0), (samples(config), 2), (cached, 0))
    ]
    film = OnlineFilm(config.online, config.size)
    for one, *others in zip(*batches):
        for other in others:
            assert one["film"] == other["film"]
            for first, second in zip(film.frame_tensors(one, CPU), film.frame_tensors(other, CPU)):
                assert torch.equal(first, second)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_puts_the_same_film_before_the_clips():
    config = online(noise=False)
    data = samples(config)
    batch = collate([data[(1, index)] for index in range(4)])
    film = OnlineFilm(config.online, config.size)
    here = film.frame_tensors(batch, CPU)
    for expected, found in zip(here, OnlineFilm(config.online, config.size).frame_tensors(batch, torch.device("cuda"))):
        assert float((expected - found.cpu()).abs().max()) < 1.1 / 255  # rounding may fall to the other side
