"""Export between all formats: the same bytes where formats share them, and an honest record where they do not."""

import itertools
import json

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from dataset_builder import export as export_module
from dataset_builder.config import FORMATS, DegradeConfig
from dataset_builder.export import ExportConfig, export_dataset
from dataset_builder.formats import SHARDED, open_reader, writer_class
from dataset_builder.layout import MANIFEST_FILE, locked
from dataset_builder.manifest import ClipRow, Manifest
from dataset_builder.verify import verify_dataset

from .test_formats import moving_clip, write_dataset

CLIPS = {
    "S001C001P001R001A001": moving_clip(7, 16, 24),
    "class one/ü": moving_clip(3, 16, 24),
    "v1.5": moving_clip(1, 16, 24),
}
# Both codecs at their settings on the test clip, one after the other; a wrong frame differs by ten times as much.
TWO_CODECS_ERROR_DN = 4.0
# (kind of a clip's bytes) by format
PAYLOAD = {"mp4": "video", "webdataset": "video", "frames": "jpeg", "hdf5": "jpeg"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The same clips in each format."""
    root = tmp_path_factory.mktemp("sources")
    for format_name in FORMATS:
        write_dataset(root / format_name, format_name, CLIPS)
    return root


def export(source, destination, format_name, **options):
    options = {"workers": 0, **options}
    return export_dataset(ExportConfig(source=source, destination=destination, format=format_name, **options))


def content(root):
    """Every file of clips, by its path."""
    tops = ("clips", "frames", "means", "parts", "shards")
    files = [path for top in tops for path in (root / top).rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize(("origin", "target"), list(itertools.product(FORMATS, FORMATS)))
def test_every_format_becomes_every_other(sources, tmp_path, origin, target):
    summary = export(sources / origin, tmp_path / "out", target)
    same = PAYLOAD[origin] == PAYLOAD[target]
    assert (summary.ok, summary.done, summary.pixels) == (True, 3, "unchanged" if same else "re-encoded")
    assert verify_dataset(tmp_path / "out").findings == ()
    before, after = open_reader(sources / origin), open_reader(tmp_path / "out")
    assert after.names() == before.names()
    assert (after.dataset["format"], after.dataset["exported_from"]["format"]) == (target, origin)
    assert after.dataset["exported_from"]["pixels"] == summary.pixels
    assert after.dataset["layers"] == before.dataset["layers"]
    for name, clip in CLIPS.items():
        assert (after.fps(name), after.label(name)) == (before.fps(name), "wave")
        frames = after.read(name, range(len(clip)))
        if same:
            assert np.array_equal(frames, before.read(name, range(len(clip))))
            assert after.mean_png(name) == before.mean_png(name)
        assert np.sqrt(((frames.astype(float) - clip) ** 2).mean()) < TWO_CODECS_ERROR_DN
    with Manifest(tmp_path / "out" / MANIFEST_FILE) as manifest:
        assert {(row.source, row.source_sha256, row.seed) for row in manifest.rows()} == {("a.avi", "ab" * 32, "1")}


@pytest.mark.parametrize(("origin", "through"), [("mp4", "webdataset"), ("frames", "hdf5")])
def test_there_and_back_gives_the_same_bytes(sources, tmp_path, origin, through):
    export(sources / origin, tmp_path / "through", through, clips_per_shard=2)
    export(tmp_path / "through", tmp_path / "back", origin)
    assert content(tmp_path / "back") == content(sources / origin)
    assert content(tmp_path / "through") == content(sources / through)
    again = export(tmp_path / "back", tmp_path / "again", through, clips_per_shard=2)
    assert content(again.directory) == content(sources / through)
    history = json.loads((again.directory / "dataset.json").read_text())["exported_from"]
    assert [history["format"], history["exported_from"]["format"]] == [origin, through]


@pytest.mark.parametrize("origin", FORMATS)
def test_raw_frames_keep_the_pixels_of_any_format(sources, tmp_path, origin):
    summary = export(sources / origin, tmp_path / "out", "hdf5", hdf5_frames="raw")
    assert summary.pixels == "unchanged"
    before, after = open_reader(sources / origin), open_reader(tmp_path / "out")
    for name, clip in CLIPS.items():
        assert np.array_equal(after.read(name, range(len(clip))), before.read(name, range(len(clip))))
        assert after.mean_png(name) == before.mean_png(name)
    assert export(tmp_path / "out", tmp_path / "jpeg", "frames").pixels == "re-encoded"


def test_another_jpeg_quality_is_coded_again_and_recorded(sources, tmp_path):
    summary = export(sources / "frames", tmp_path / "out", "frames", jpeg_quality=60)
    data = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert (summary.pixels, data["codec"]["quality"], data["exported_from"]["codec"]["quality"]) == (
        "re-encoded",
        60,
        95,
    )
    assert sum(map(len, content(tmp_path / "out").values())) < sum(map(len, content(sources / "frames").values()))


@pytest.mark.parametrize(("target", "workers"), [("webdataset", 2), ("frames", 0)])
def test_an_export_that_was_stopped_goes_on_and_worker_processes_change_nothing(
    sources, tmp_path, target, workers, monkeypatch
):
    whole = export(sources / "mp4", tmp_path / "whole", target, workers=workers)
    real = export_module.export_clip

    def stopped(job, name):
        if name == "v1.5":
            raise KeyboardInterrupt
        return real(job, name)

    monkeypatch.setattr(export_module, "export_clip", stopped)
    with pytest.raises(KeyboardInterrupt):
        export(sources / "mp4", tmp_path / "out", target)
    monkeypatch.undo()
    again = export(sources / "mp4", tmp_path / "out", target)
    assert (again.done, again.already_done) == (1, 2)
    assert content(again.directory) == content(whole.directory)
    assert export(sources / "mp4", tmp_path / "out", target).done == 0


@pytest.mark.parametrize("target", ["webdataset", "frames"])
def test_a_clip_that_changed_on_disk_fails_and_is_tried_again_when_it_is_whole(tmp_path, target):
    write_dataset(tmp_path / "set", "mp4", CLIPS)
    clip = tmp_path / "set" / "clips" / "v1.5.mp4"
    data = clip.read_bytes()
    clip.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    summary = export(tmp_path / "set", tmp_path / "out", target)
    ((name, reason),) = summary.failed
    assert (summary.ok, summary.done, name) == (False, 2, "v1.5")
    assert "changed since it was made" in reason
    clip.write_bytes(data)
    assert export(tmp_path / "set", tmp_path / "out", target).ok
    assert verify_dataset(tmp_path / "out").ok


def test_clips_that_the_source_does_not_have_whole_are_named(tmp_path):
    root = tmp_path / "set"
    write_dataset(root, "webdataset", {"a": CLIPS["v1.5"], "b": CLIPS["v1.5"]}, seal=False)
    with Manifest(root / MANIFEST_FILE, writable=True) as manifest:
        manifest.add([ClipRow("c", "c.avi"), ClipRow("d", "d.avi")])
        manifest.record_failed("c", "not a video")
    summary = export(root, tmp_path / "out", "mp4")
    assert (summary.ok, summary.clips, summary.done) == (False, 4, 0)
    assert dict(summary.left_out) == {
        "a": "its shard is not complete yet in the source",
        "b": "its shard is not complete yet in the source",
        "c": "failed in the source: not a video",
        "d": "not made yet in the source",
    }


def test_a_destination_that_cannot_be_used_is_refused(sources, tmp_path):
    with pytest.raises(ValueError, match="must not lie inside the source"):
        export(sources / "mp4", sources / "mp4" / "out", "frames")
    export(sources / "mp4", tmp_path / "out", "frames")
    with pytest.raises(ValueError, match=r"made with other settings .*codec.quality: 95 there, 80 asked"):
        export(sources / "mp4", tmp_path / "out", "frames", jpeg_quality=80)
    with locked(tmp_path / "out"), pytest.raises(ValueError, match="another run"):
        export(sources / "mp4", tmp_path / "out", "frames")
    with pytest.raises(ValueError, match="not a data set directory"):
        export(tmp_path, tmp_path.with_name("elsewhere"), "frames")


def test_the_formats_of_a_run_are_those_that_can_be_written():
    for format_name in FORMATS:
        fields = {"format": format_name, "clips_per_shard": 7, "layers": (0,)}
        codec = DegradeConfig(source="a", destination="b", **fields).codec()
        assert ("clips_per_shard" in codec) == (format_name in SHARDED)
        assert writer_class(format_name).by_frame == (codec["codec"] == "jpeg")
    raw = DegradeConfig(source="a", destination="b", format="hdf5", hdf5_frames="raw", layers=(0,))
    assert raw.codec() == {"codec": "raw", "clips_per_shard": 256}


def test_the_command_exports_every_layer_count(tmp_path):
    for layers in ("layers-00", "layers-08"):
        write_dataset(tmp_path / "sets" / layers, "mp4", {"a": CLIPS["v1.5"]})
    arguments = ["data", "export", str(tmp_path / "sets"), str(tmp_path / "out"), "--format", "hdf5", "--workers", "0"]
    result = CliRunner().invoke(main, [*arguments, "--hdf5-frames", "raw", "--clips-per-shard", "5", "--json"])
    assert result.exit_code == 0, result.output
    assert [report["pixels"] for report in json.loads(result.stdout)] == ["unchanged", "unchanged"]
    assert [verify_dataset(tmp_path / "out" / layers).ok for layers in ("layers-00", "layers-08")] == [True, True]
    again = CliRunner().invoke(main, [*arguments, "--hdf5-frames", "raw", "--clips-per-shard", "5"])
    assert "0 clips done, 1 done before, 0 failed" in again.stdout
    refused = CliRunner().invoke(main, arguments)
    assert refused.exit_code == 1
    assert "made with other settings" in refused.stderr


def test_the_command_ends_with_status_1_when_a_clip_is_missing(tmp_path):
    write_dataset(tmp_path / "set", "mp4", {"a": CLIPS["v1.5"]})
    (tmp_path / "set" / "clips" / "a.mp4").unlink()
    arguments = ["data", "export", str(tmp_path / "set"), str(tmp_path / "out"), "--format", "webdataset"]
    result = CliRunner().invoke(main, [*arguments, "--workers", "0"])
    assert result.exit_code == 1
    assert "failed: 1" in result.stderr
    assert "a.mp4" in result.stderr
