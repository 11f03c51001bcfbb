import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from dataset_builder import clip as clip_module
from dataset_builder.config import DegradeConfig
from dataset_builder.degrade import degrade_dataset
from dataset_builder.formats import open_reader
from dataset_builder.index import build_index
from dataset_builder.layout import MANIFEST_FILE, locked
from dataset_builder.manifest import Manifest
from dataset_builder.runners.pool import WorkerDied, run_tasks
from dataset_builder.verify import verify_dataset
from lps_sim import FilmModel
from lps_sim.camera import Camera
from lps_sim.media import iter_frames, write_video
from lps_sim.transfer import eotf_table

FILM = "p3ar-10layer"
NAMES = [f"S001C001P00{p}R001A00{a}" for p in (1, 2) for a in (1, 2)]
# A frame's mean light, as a share of it: what the film exchanges over the border with the mirrored world beyond and the
# codec (0.7 %, a third of a code value); together 2.9 % measured at 30 degrees across and 8 layers.
MEAN_LIGHT_TOLERANCE = 0.035
# Change of mean light from one frame to the next that the law leaves open, as a share of it: what moves across the
# border and the codec (0.8 %); together 1.4 % measured. A frame scaled by its own maximum moves by percents.
FLICKER_TOLERANCE = 0.017
CUT_DN = 40  # a frame that differs from the one before by more code values on average is another scene


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Four short clips with NTU names: a bright square that moves over noise."""
    root = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    for name in NAMES:
        clip = rng.integers(20, 90, (12, 48, 64, 3), dtype=np.uint8)
        for t in range(12):
            clip[t, 10:30, 2 * t : 2 * t + 20] = 240
        write_video(root / f"{name}_rgb.mp4", clip, 30)
    return root


def config(source, destination, **changes):
    fields = {"film": FILM, "layers": (8,), "workers": 0, "size": (48, 48)}
    return DegradeConfig(source=source, destination=destination, **{**fields, **changes})


def hashes(root):
    with Manifest(root / MANIFEST_FILE) as manifest:
        return {row.name: (row.output_sha256, row.mean_sha256, row.source_sha256, row.seed) for row in manifest.rows()}


@pytest.fixture(scope="module")
def reference(source, tmp_path_factory):
    """An uninterrupted run in this process."""
    root = tmp_path_factory.mktemp("reference") / "set"
    summary = degrade_dataset(config(source, root))
    assert (summary.ok, summary.done, summary.clips) == (True, 4, 4)
    return root


def test_a_data_set_says_what_it_was_made_with(source, reference):
    data = json.loads((reference / "dataset.json").read_text())
    film = FilmModel.load(FILM)
    assert (data["layers"], data["size"], data["format"], data["seed"]) == (8, [48, 48], "mp4", 0)
    assert data["film"] == {"name": film.name, "file": "film.h5", "checksum": film.checksum()}
    assert FilmModel.load(reference / "film.h5").checksum() == film.checksum()
    assert data["codec"]["codec"] == "libx264"
    assert data["source"]["path"] == str(source)
    with Manifest(reference / MANIFEST_FILE) as manifest:
        assert [row.name for row in manifest.rows("done")] == NAMES
        assert all(row.frames == 12 and len(row.source_sha256) == 64 for row in manifest.rows())
        assert len({row.seed for row in manifest.rows()}) == 4  # every clip has noise of its own
    assert verify_dataset(reference).ok


def test_a_film_hung_elsewhere_is_kept_as_moved_and_not_resumed_at_another_place(source, tmp_path):
    preset = FilmModel.load(FILM)
    degrade_dataset(config(source, tmp_path / "set", film_distance_m=0.5, scene_distance_m=2.0))
    kept = FilmModel.load(tmp_path / "set" / "film.h5")
    assert kept.geometry.blur_factor == 0.75
    assert kept.checksum() == preset.at(0.5, 2.0).checksum()
    with pytest.raises(ValueError, match="film"):
        degrade_dataset(config(source, tmp_path / "set", film_distance_m=0.5, scene_distance_m=4.0))
    with pytest.raises(ValueError, match="need a film"):
        config(source, tmp_path / "clean", film=None, layers=(0,), scene_distance_m=4.0)


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_the_same_bytes(source, reference, tmp_path, workers):
    degrade_dataset(config(source, tmp_path / "set", workers=workers))
    assert hashes(tmp_path / "set") == hashes(reference)


def test_a_second_run_has_nothing_left_to_do_and_a_new_clip_is_added(source, tmp_path):
    grown = tmp_path / "grown"
    grown.mkdir()
    for name in NAMES[:2]:
        (grown / f"{name}_rgb.mp4").write_bytes((source / f"{name}_rgb.mp4").read_bytes())
    degrade_dataset(config(grown, tmp_path / "set"))
    before = hashes(tmp_path / "set")
    again = degrade_dataset(config(grown, tmp_path / "set"))
    assert (again.done, again.already_done, again.frames) == (0, 2, 0)
    (grown / f"{NAMES[2]}.mp4").write_bytes((source / f"{NAMES[2]}_rgb.mp4").read_bytes())
    more = degrade_dataset(config(grown, tmp_path / "set"))
    assert (more.done, more.already_done) == (1, 2)
    assert before.items() <= hashes(tmp_path / "set").items()


def test_several_layer_counts_are_made_in_one_pass_each_as_if_alone(source, reference, tmp_path, monkeypatch):
    decoded = []
    real = clip_module.iter_pictures
    monkeypatch.setattr(clip_module, "iter_pictures", lambda path: decoded.append(path) or real(path))
    summary = degrade_dataset(config(source, tmp_path / "sets", layers=(8, 0, 2)))
    assert len(decoded) == 4
    assert [path.name for path in summary.directories.values()] == ["layers-00", "layers-02", "layers-08"]
    assert hashes(tmp_path / "sets" / "layers-08") == hashes(reference)
    clean, sealed = (open_reader(tmp_path / "sets" / f"layers-0{n}") for n in (0, 8))
    assert (clean.layers, clean.dataset["film"], sealed.layers) == (0, None, 8)
    contrast = [reader.read(NAMES[0], [0]).astype(float).std() for reader in (clean, sealed)]
    assert contrast[0] > 3 * contrast[1]
    one = degrade_dataset(config(source, tmp_path / "sets", layers=(2,)))
    assert (one.done, one.already_done) == (0, 4)
    with pytest.raises(ValueError, match="is one data set already"):
        degrade_dataset(config(source, reference, layers=(2, 8)))


def test_the_clean_twin_alone_needs_no_film_and_ignores_a_given_one(source, tmp_path):
    given = degrade_dataset(config(source, tmp_path / "given", layers=(0,)))
    none = degrade_dataset(config(source, tmp_path / "none", layers=(0,), film=None))
    assert given.ok
    assert none.ok
    assert hashes(given.directories[0]) == hashes(none.directories[0])


def test_a_clip_that_fails_is_listed_and_the_rest_goes_on_and_it_may_be_retried(source, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in NAMES[:3]:
        (broken / f"{name}_rgb.mp4").write_bytes((source / f"{name}_rgb.mp4").read_bytes())
    (broken / "S001C001P009R001A001_rgb.avi").write_text("text " * 100)
    (broken / "holiday.mp4").write_bytes(b"x")
    build_index(broken).save(tmp_path / "index.jsonl")
    good = (broken / f"{NAMES[1]}_rgb.mp4").read_bytes()
    (broken / f"{NAMES[1]}_rgb.mp4").write_bytes(b"not a video any more " * 100)
    summary = degrade_dataset(config(tmp_path / "index.jsonl", tmp_path / "set"))
    assert (summary.done, summary.ok) == (2, False)
    assert [name for name, _ in summary.failed] == [NAMES[1]]
    assert "not a video" in summary.failed[0][1]
    assert [path for path, _ in summary.problems] == ["S001C001P009R001A001_rgb.avi", "holiday.mp4"]
    assert "not an NTU name" in summary.problems[1][1]
    assert not list((tmp_path / "set").rglob(f"{NAMES[1]}*"))
    (broken / f"{NAMES[1]}_rgb.mp4").write_bytes(good)
    again = degrade_dataset(config(tmp_path / "index.jsonl", tmp_path / "set"))
    assert (again.done, len(again.failed)) == (0, 1)
    retried = degrade_dataset(config(tmp_path / "index.jsonl", tmp_path / "set", retry_failed=True))
    assert (retried.done, retried.failed) == (1, ())
    assert verify_dataset(tmp_path / "set").ok


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"film": "simulated-rough"}, "film.checksum"),
        ({"layers": (4,)}, "layers: 8 there, 4 asked"),
        ({"size": (64, 48)}, "size: [48, 48] there, [64, 48] asked"),
        ({"crf": 30}, "codec.crf"),
        ({"seed": 1}, "seed: 0 there, 1 asked"),
        ({"format": "frames"}, "format: mp4 there, frames asked"),
    ],
)
def test_other_settings_in_the_same_directory_are_refused_with_the_difference(source, reference, change, difference):
    if "film" in change:
        change = {"film": next(name for name in FilmModel.presets() if name != FILM)}
    before = hashes(reference)
    with pytest.raises(ValueError, match="made with other settings") as caught:
        degrade_dataset(config(source, reference, **change))
    assert difference in str(caught.value)
    assert hashes(reference) == before


def test_two_runs_on_one_directory_are_kept_apart(source, tmp_path):
    with locked(tmp_path / "set"), pytest.raises(ValueError, match=f"another run \\(process {os.getpid()}\\)"):
        degrade_dataset(config(source, tmp_path / "set"))
    assert degrade_dataset(config(source, tmp_path / "set")).ok


def test_a_full_disk_stops_the_run_and_the_clip_stays_to_be_done(source, reference, tmp_path, monkeypatch):
    real, calls = clip_module._write, []

    def full(settings, task, *rest):
        calls.append(task.name)
        if len(calls) == 2:
            raise ValueError("cannot encode") from OSError(errno.ENOSPC, "No space left on device")
        return real(settings, task, *rest)

    monkeypatch.setattr(clip_module, "_write", full)
    with pytest.raises(OSError, match="stopped at S001C001"):
        degrade_dataset(config(source, tmp_path / "set"))
    with Manifest(tmp_path / "set" / MANIFEST_FILE) as manifest:
        assert manifest.counts() == {"pending": 3, "done": 1, "failed": 0}
    assert degrade_dataset(config(source, tmp_path / "set")).ok
    assert hashes(tmp_path / "set") == hashes(reference)


def test_nothing_is_written_when_the_request_cannot_work(source, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.avi").write_text("text " * 100)
    requests = [
        ({"film": "p3ar-10layers"}, "p3ar-10layer"),
        ({"film": str(tmp_path / "absent.h5")}, "absent.h5"),
        ({"source": tmp_path / "texts"}, "a.avi: not a video"),
        ({"source": tmp_path / "absent"}, "no such file"),
        ({"pixel_format": "yuv420"}, "did you mean 'yuv420p'"),
        ({"camera": tmp_path / "absent.yaml"}, "absent.yaml"),
        ({"destination": source / "inside"}, "must not lie inside"),
    ]
    for changes, message in requests:
        fields = {"source": source, "destination": tmp_path / "set", **changes}
        with pytest.raises((ValueError, OSError), match=message):
            degrade_dataset(config(fields.pop("source"), fields.pop("destination"), **fields))
    assert not (tmp_path / "set").exists()
    assert not (source / "inside").exists()
    with pytest.raises(ValueError, match="film must be given"):
        config(source, tmp_path / "set", film=None)


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(source, reference, tmp_path):
    root = tmp_path / "set"
    code = (
        "from dataset_builder.config import DegradeConfig\n"
        "from dataset_builder.degrade import degrade_dataset\n"
        f"if __name__ == '__main__':\n"
        f"    degrade_dataset(DegradeConfig(source={str(source)!r}, destination={str(root)!r}, film={FILM!r},"
        " layers=(8,), size=(48, 48), workers=2))\n"
    )
    (tmp_path / "run.py").write_text(code)
    process = subprocess.Popen([sys.executable, str(tmp_path / "run.py")], cwd=os.getcwd(), env=_environment())
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None and not list((root / "clips").glob("*.mp4")):
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    summary = degrade_dataset(config(source, root))  # the lock died with its holder
    assert summary.ok
    assert summary.done >= 1
    assert hashes(root) == hashes(reference)
    assert verify_dataset(root).ok


def _environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def suicidal(task):
    """Kills its own process for negative tasks."""
    if task < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return task * task


def test_a_killed_worker_costs_its_own_task_and_no_other():
    results = dict(run_tasks(suicidal, [1, -1, 2, 3], workers=2))
    assert results.pop(-1) == WorkerDied("worker process died 2 times on it (signal 9)")
    assert results == {1: 1, 2: 4, 3: 9}


def test_real_street_video_keeps_the_laws_of_light_through_the_whole_builder(bikes_path, carphone_path, tmp_path):
    source = tmp_path / "real"
    source.mkdir()
    (source / "bikes.mp4").symlink_to(bikes_path)
    (source / "carphone.mp4").symlink_to(carphone_path)
    index = build_index(source)
    index.save(tmp_path / "index.jsonl")
    root = tmp_path / "set"
    summary = degrade_dataset(config(tmp_path / "index.jsonl", root, size=(160, 68), field_of_view_deg=30))
    assert (summary.ok, summary.frames) == (True, 370)
    assert verify_dataset(root).ok
    film, reader = FilmModel.load(FILM), open_reader(root)
    transmittance, veil = film.transmittance(8), film.veil(8)
    for name, path in (("bikes", bikes_path), ("carphone", carphone_path)):
        frames = np.stack(list(iter_frames(path)))
        before = np.stack([mean_light(frame) for frame in frames])
        after = np.stack([mean_light(frame) for frame in reader.read(name, range(reader.frame_count(name)))])
        expected = transmittance * before + veil
        ratio = after / expected
        assert np.abs(ratio - 1).max() < MEAN_LIGHT_TOLERANCE
        steps = np.abs(np.diff(ratio, axis=0)).max(axis=1)
        cut = [cv2.norm(a, b, cv2.NORM_L1) / a.size > CUT_DN for a, b in itertools.pairwise(frames)]
        assert sum(cut) == {"bikes": 5, "carphone": 0}[name]
        assert steps[~np.array(cut)].max() < FLICKER_TOLERANCE


def mean_light(frame):
    """Mean linear light of an 8-bit sRGB frame, (3,), by counting its codes."""
    counts = np.stack([np.bincount(frame[..., c].ravel(), minlength=256) for c in range(3)])
    return counts @ eotf_table("srgb").astype(float) / counts[0].sum()


def test_a_camera_file_is_fitted_to_each_clips_size(tmp_path):
    path = tmp_path / "camera.yaml"
    path.write_text("width: 640\nheight: 360\nf_px: 457\nread_noise_e: 5\n")
    from dataset_builder.degrade import camera_fields

    camera = clip_module.clip_camera(camera_fields(config(tmp_path, tmp_path / "d", camera=path)), 320, 240)
    assert (camera.width, camera.height, camera.f_px, camera.read_noise_e) == (320, 240, 228.5, 5)
    default = clip_module.clip_camera(camera_fields(config(tmp_path, tmp_path / "d")), 640, 480)
    assert default == Camera.from_field_of_view(640, 480, 70.0)
