import json
import shutil

import numpy as np
import pytest

from dataset_builder.formats import open_reader
from dataset_builder.index import build_index
from dataset_builder.manifest import Manifest
from dataset_builder.replay import ingest as ingest_module
from dataset_builder.replay.config import ReplayConfig
from dataset_builder.replay.ingest import ingest_replay
from dataset_builder.replay.map import build_map
from dataset_builder.replay.recording import Recording
from dataset_builder.replay.simulate import Recorder, record, shown_frames
from dataset_builder.verify import verify_dataset
from lps_sim import FilmModel
from lps_sim.media import EncoderSettings, iter_frames, write_video
from tests.dataset_builder.replay_material import moving_square, rendered_clips

CLIPS = 12
NEAR = 20  # frames by which a loss may be off where it lies: clips of little motion tell it late
CODEC_DN = 3.0  # mean error of a frame of film after H.264 twice and noise, code values


@pytest.fixture(scope="module")
def film_recording(tmp_path_factory):
    """Twelve rendered clips, and their recording through ten layers with six frames lost and three doubled."""
    root = tmp_path_factory.mktemp("replay")
    (root / "played").mkdir()
    clips = rendered_clips(CLIPS)
    for name, frames in clips.items():
        write_video(root / "played" / f"{name}_rgb.mp4", frames, 30, EncoderSettings(crf=16, pixel_format="yuv420p"))
    build_map(build_index(root / "played")).save(root / "MAP")
    total = sum(map(len, clips.values()))
    dropped, doubled = [60, 210, 290, 400, 450, 505], [130, 350, 480]
    how = Recorder(drift=2e-4, shutter=0.5, bars=0.05, size=(240, 136), tail_frames=20)
    shown = shown_frames(total, how, dropped, doubled)
    pictures = (frame for name in clips for frame in iter_frames(root / "played" / f"{name}_rgb.mp4"))
    record(root / "raw.mp4", pictures, shown, FilmModel.load("p3ar-10layer"), 10, how)
    return root, shown.frame


@pytest.fixture(scope="module")
def played_back(tmp_path_factory):
    """Three short clips and their recording without film, ten frames behind."""
    root = tmp_path_factory.mktemp("offset")
    (root / "played").mkdir()
    clips = [moving_square(20, seed) for seed in range(3)]
    for number, frames in enumerate(clips):
        write_video(root / "played" / f"clip {number}.mp4", frames, 25)
    build_map(build_index(root / "played")).save(root / "MAP")
    shown = [np.full((10, 36, 64, 3), 30, np.uint8), *clips, np.full((5, 36, 64, 3), 30, np.uint8)]
    write_video(root / "raw.mp4", np.concatenate(shown), 25, EncoderSettings(gop=8))
    return root, clips


def config(root, destination, **changes):
    fields = {"recording": root / "raw.mp4", "map": root / "MAP", "destination": destination, "threads": 1}
    return ReplayConfig(**{**fields, "layers": 10, **changes})


def hashes(root):
    with Manifest(root / "manifest.sqlite") as manifest:
        return {row.name: (row.output_sha256, row.mean_sha256, row.frames) for row in manifest.rows("done")}


def test_a_recording_through_ten_layers_is_cut_at_its_boundaries_and_every_loss_is_reported(film_recording, tmp_path):
    root, shown = film_recording
    summary = ingest_replay(config(root, tmp_path / "set", sync="auto", played=root / "played", size=(64, 36)))
    assert summary.ok
    assert (summary.done, summary.alignment.offset) == (CLIPS, 168)
    report = json.loads((tmp_path / "set" / "replay.json").read_text())
    for clip in report["clips"]:
        first, last = clip["played"]
        span = np.flatnonzero((shown >= first) & (shown <= last))
        # A lost first frame is stood in for by the second.
        assert abs(clip["recorded"][0] - span[0]) <= 1
        assert abs(clip["recorded"][1] - span[-1]) <= 1
    lost = [clip["played"][0] + place for clip in report["clips"] for place in clip["dropped"]]
    truth = sorted(set(range(shown.max() + 1)) - set(shown.tolist()))
    assert len(lost) == len(truth) == 6
    assert max(abs(a - b) for a, b in zip(lost, truth)) <= NEAR
    assert report["doubled"] == np.sum(np.diff(shown[shown >= 0]) == 0)
    assert report["residual_frames"]["rms"] < 0.5
    assert "S001C001P001R001A006" in (tmp_path / "set" / "replay.txt").read_text()
    # A data set like any other: every clip has all its frames, and layers and losses are on record.
    verdict = verify_dataset(tmp_path / "set")
    assert verdict.ok
    reader = open_reader(tmp_path / "set")
    assert reader.layers == 10
    lengths = {entry.clip.name: entry.clip.frames for entry in summary.cuts}
    assert {name: reader.frame_count(name) for name in reader.names()} == lengths
    data = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert (data["film"], data["source"]["kind"], data["recapture"]["sync"]) == (None, "recapture", "auto")


def test_with_an_offset_each_clip_is_the_recorded_frames_that_far_behind(played_back, tmp_path):
    root, clips = played_back
    summary = ingest_replay(config(root, tmp_path / "set", offset=10))
    assert (summary.ok, summary.done, summary.frames) == (True, 3, 60)
    reader = open_reader(tmp_path / "set")
    assert (reader.names(), reader.fps("clip 0")) == (["clip 0", "clip 1", "clip 2"], 25)
    for number, clip in enumerate(clips):
        error = np.abs(reader.read(f"clip {number}", range(20)).astype(int) - clip).mean(axis=(1, 2, 3))
        assert error.max() < CODEC_DN
    again = ingest_replay(config(root, tmp_path / "set", offset=10))
    assert (again.done, again.already_done, again.frames) == (0, 3, 0)


def test_frames_are_resized_as_asked_in_the_msp_net_layout(played_back, tmp_path):
    root, _ = played_back
    ingest_replay(config(root, tmp_path / "set", offset=10, size=(48, 48), fit="letterbox", format="frames"))
    frame = open_reader(tmp_path / "set").read("clip 1", [7])[0]
    assert frame.shape == (48, 48, 3)
    assert frame[:8].max() <= 4  # the bars
    assert (tmp_path / "set" / "frames" / "clip 1" / "19.jpg").is_file()
    assert verify_dataset(tmp_path / "set").ok


def test_a_clip_that_the_recording_does_not_reach_fails_with_its_reason_and_is_not_shortened(played_back, tmp_path):
    root, _ = played_back
    summary = ingest_replay(config(root, tmp_path / "set", offset=20))
    ((name, reason),) = summary.failed
    assert (name, summary.done) == ("clip 2", 2)
    assert "ends after 75 frames" in reason
    assert open_reader(tmp_path / "set").names() == ["clip 0", "clip 1"]
    # Now that the end is known, the report counts what is missing, and a further try says so.
    again = ingest_replay(config(root, tmp_path / "set", offset=20, retry_failed=True))
    assert again.failed == (("clip 2", "the recording lacks 5 of 20 frames: 15..19"),)
    assert again.report["missing"] == 5
    early = ingest_replay(config(root, tmp_path / "early", offset=-3))
    assert early.failed == (("clip 0", "the recording lacks 3 of 20 frames: 0..2"),)


def test_a_stopped_run_goes_on_with_the_same_bytes_and_does_no_clip_again(played_back, tmp_path, monkeypatch):
    root, _ = played_back
    ingest_replay(config(root, tmp_path / "whole", offset=10))
    cut = ingest_module._Cutter.cut
    seen = []

    def stop_at_the_second(self, clip, manifest):
        seen.append(clip.clip.name)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return cut(self, clip, manifest)

    monkeypatch.setattr(ingest_module._Cutter, "cut", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        ingest_replay(config(root, tmp_path / "set", offset=10))
    monkeypatch.undo()
    summary = ingest_replay(config(root, tmp_path / "set", offset=10))
    assert (summary.done, summary.already_done) == (2, 1)
    assert hashes(tmp_path / "set") == hashes(tmp_path / "whole")
    assert verify_dataset(tmp_path / "set").ok


def test_signatures_of_a_killed_pass_are_kept_and_the_rest_is_read_on(played_back, tmp_path):
    root, _ = played_back
    whole = Recording(root / "raw.mp4", tmp_path / "whole", 1).read_signatures()
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    # As a kill leaves it: 40 whole rows and a part of the next, times of fewer, no note of the end.
    for name, size in (("recorded.u16", 40 * 288 + 7), ("ticks.i64", 38 * 8)):
        with open(tmp_path / "part" / name, "r+b") as stream:
            stream.truncate(size)
    facts = json.loads((tmp_path / "part" / "recording.json").read_text())
    del facts["frames"]
    (tmp_path / "part" / "recording.json").write_text(json.dumps(facts))
    part = Recording(root / "raw.mp4", tmp_path / "part", 1)
    np.testing.assert_array_equal(part.read_signatures(), whole)
    assert (tmp_path / "part" / "ticks.i64").read_bytes() == (tmp_path / "whole" / "ticks.i64").read_bytes()


def test_a_damaged_recording_gives_the_clips_before_the_damage(played_back, tmp_path):
    root, _ = played_back
    shutil.copy(root / "MAP", tmp_path / "MAP")
    data = bytearray((root / "raw.mp4").read_bytes())
    data[len(data) // 2 : len(data) * 6 // 10] = bytes(len(data) * 6 // 10 - len(data) // 2)
    (tmp_path / "raw.mp4").write_bytes(data)
    summary = ingest_replay(config(tmp_path, tmp_path / "set", offset=10))
    assert summary.done == 1
    assert [name for name, _ in summary.failed] == ["clip 1", "clip 2"]
    assert summary.report["recording"]["damage"]


def test_another_recording_map_or_way_to_cut_is_refused(played_back, tmp_path):
    root, _ = played_back
    ingest_replay(config(root, tmp_path / "set", offset=10))
    with pytest.raises(ValueError, match=r"recapture.offset: 10 there, 11 asked"):
        ingest_replay(config(root, tmp_path / "set", offset=11))
    other = tmp_path / "other"
    shutil.copytree(root, other)
    (other / "MAP").write_text((root / "MAP").read_text().splitlines()[0] + "\n")
    with pytest.raises(ValueError, match=r"recapture.map_sha256"):
        ingest_replay(config(other, tmp_path / "set", offset=10))
    write_video(other / "raw.mp4", moving_square(30, 9), 25)
    with pytest.raises(ValueError, match="is another recording than"):
        ingest_replay(config(other, tmp_path / "set", offset=10))


def test_played_clips_that_cannot_be_compared_are_listed_and_cut_by_their_neighbours(film_recording, tmp_path):
    root, shown = film_recording
    played = tmp_path / "played"
    shutil.copytree(root / "played", played)
    gone, short = sorted(played.iterdir())[3], sorted(played.iterdir())[8]
    gone.unlink()
    write_video(short, list(iter_frames(short))[:-3], 30)
    summary = ingest_replay(config(root, tmp_path / "set", sync="auto", played=played, size=(32, 18)))
    assert not summary.ok
    assert [reason.split(",")[0] for _, reason in summary.problems] == [
        "stands in the map but not among the played clips",
        f"the map gives it {summary.cuts[8].clip.frames} frames",
    ]
    assert (summary.done, summary.failed) == (CLIPS, ())
    for cut in (summary.cuts[3], summary.cuts[8]):
        first = np.flatnonzero(shown >= cut.clip.first)[0]
        assert abs(cut.recorded[0] - first) <= 3  # only the neighbours tell where it begins


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "offset must be given with sync offset, got none"),
        ({"sync": "auto"}, "played must be given with sync auto"),
        ({"offset": 1, "max_gap": -1}, "max_gap"),
        ({"offset": 1, "layer": 3}, "did you mean 'layers'"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_read(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        config(tmp_path, tmp_path / "set", **changes)
