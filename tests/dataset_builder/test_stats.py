"""Statistics of data sets: closed forms of brightness and contrast, and counts of made-up manifests."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from dataset_builder.layout import DATASET_FILE, MANIFEST_FILE
from dataset_builder.manifest import ClipRow, Manifest
from dataset_builder.naming import ntu_name
from dataset_builder.stats import collect_stats
from dataset_builder.stats_counts import Distribution, common_reason, count_manifest
from dataset_builder.stats_light import clip_light, spread_indices

FILM = "p3ar-10layer"
NAMES = [ntu_name(1, camera, performer, 1, action) for camera in (1, 2) for performer in (1, 2) for action in (8, 23)]
SETTINGS = {
    "lps_dataset": 1,
    "film": {"name": FILM, "file": "film.h5", "checksum": "0"},
    "layers": 8,
    "camera": {"fov_deg": 70.0},
    "size": [64, 48],
    "fit": "squash",
    "format": "mp4",
    "codec": {"gop": 12},
    "seed": 0,
}


def grey(light) -> np.ndarray:
    """Frames (T, H, W) in [0, 1] linear -> (T, H, W, 3) codes that ``linear`` decodes."""
    return np.repeat(np.rint(255 * np.asarray(light))[..., None], 3, axis=-1).astype(np.uint8)


def test_a_chessboard_has_the_contrast_of_michelson_and_no_temporal_one() -> None:
    board = np.where(np.indices((32, 32)).sum(0) % 2, 0.6, 0.2)
    light = clip_light(grey([board] * 5), "linear")
    assert light.brightness == pytest.approx(0.4, abs=1e-6)
    assert light.rms_contrast == pytest.approx((0.6 - 0.2) / (0.6 + 0.2), abs=1e-6)
    assert light.temporal_rms == 0.0


def test_a_sinusoidal_grating_has_its_modulation_by_root_two() -> None:
    """0.5 (1 + m sin): rounding to codes leaves about 1/255/sqrt(12) of a contrast of 0.28."""
    grating = np.tile(0.5 * (1 + 0.4 * np.sin(2 * np.pi * np.arange(64) / 16)), (8, 1))
    assert clip_light(grey([grating]), "linear").rms_contrast == pytest.approx(0.4 / np.sqrt(2), rel=1e-2)


def test_contrast_does_not_depend_on_exposure_but_a_veil_divides_it() -> None:
    board = np.where(np.indices((32, 32)).sum(0) % 2, 0.8, 0.4)
    plain = clip_light(grey([board]), "linear").rms_contrast
    assert clip_light(grey([0.5 * board]), "linear").rms_contrast == pytest.approx(plain, rel=1e-6)
    veiled = clip_light(grey([0.2 * board + 0.12]), "linear")  # mean 0.12 of picture, 0.12 of veil
    assert veiled.rms_contrast == pytest.approx(plain / 2, rel=2e-2)


def test_noise_of_known_size_is_the_temporal_contrast() -> None:
    """Normal noise of 0.05 on 0.5; nine frames of 16384 pixels tell its size to half a per cent."""
    noise = np.random.default_rng(0).normal(0.5, 0.05, (9, 128, 128))
    assert clip_light(grey(noise), "linear").temporal_rms == pytest.approx(0.1, rel=0.02)


def test_codes_are_decoded_before_they_are_averaged() -> None:
    codes = np.full((1, 4, 4, 3), 188, np.uint8)
    assert clip_light(codes, "srgb").brightness == pytest.approx(0.5029, abs=1e-4)  # IEC 61966-2-1


def test_luminance_weighs_the_channels_as_bt709_does() -> None:
    for channel, weight in enumerate((0.2126, 0.7152, 0.0722)):
        frame = np.zeros((1, 2, 2, 3), np.uint8)
        frame[..., channel] = 255
        assert clip_light(frame, "linear").brightness == pytest.approx(weight, abs=1e-6)


def test_a_black_clip_has_no_contrast_rather_than_none_that_is_a_number() -> None:
    light = clip_light(np.zeros((3, 4, 4, 3), np.uint8))
    assert (light.brightness, light.rms_contrast, light.temporal_rms) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("count", [1, 2, 8, 9, 10, 250])
def test_sampled_frames_are_spread_evenly_around_the_middle_one(count) -> None:
    indices = spread_indices(count)
    assert len(indices) == len(set(indices)) == min(count, 9)
    assert indices[0] >= 0
    assert indices[-1] < count
    assert indices[len(indices) // 2] == count // 2
    assert max(np.diff(indices), default=0) - min(np.diff(indices), default=0) <= 1


def done(name: str, frames: int = 60, fps: str = "30", size: int = 1000, **fields) -> ClipRow:
    return ClipRow(
        name,
        f"/nowhere/{name}.avi",
        status="done",
        output=f"clips/{name}.mp4",
        output_bytes=size,
        frames=frames,
        fps=fps,
        width=64,
        height=48,
        mean=f"means/{name}.png",
        **fields,
    )


def dataset(root, rows, problems=(), **settings):
    """A data set's directory with nothing but its records."""
    root.mkdir(parents=True, exist_ok=True)
    (root / DATASET_FILE).write_text(json.dumps({**SETTINGS, **settings}))
    with Manifest(root / MANIFEST_FILE, writable=True) as manifest:
        manifest.add(rows)
        manifest.record_problems(problems)
    return root


def test_clips_are_counted_by_everything_that_their_names_tell(tmp_path) -> None:
    rows = [done(ntu_name(s, c, p, 1, a)) for s in (1, 2) for c in (1, 2, 3) for p in (7, 9) for a in (8, 120)]
    rows[0] = ClipRow(rows[0].name, "/x", status="failed", error="damaged")
    rows[1] = ClipRow(rows[1].name, "/x")
    counted = count_manifest(dataset(tmp_path / "set", rows))
    assert counted.counts == {"pending": 1, "done": 22, "failed": 1}
    by_field = {b.field: {(g.key, g.label): g.clips for g in b.groups} for b in counted.breakdowns}
    assert by_field == {
        "action": {("A008", "sit down"): 12, ("A120", "rock-paper-scissors"): 12},
        "performer": {("P007", ""): 12, ("P009", ""): 12},
        "camera": {("C001", ""): 8, ("C002", ""): 8, ("C003", ""): 8},
        "setup": {("S001", ""): 12, ("S002", ""): 12},
        "replication": {("R001", ""): 24},
    }
    first = counted.breakdowns[0].groups[0]
    assert first.counts == {"pending": 0, "done": 11, "failed": 1}


def test_pku_names_tell_attributes_and_class_folders_their_label(tmp_path) -> None:
    pku = "S002P003R001U002V004W001X009Y012A060"
    rows = [done(pku), done("walk/one", label="walk"), done("walk/two", label="walk"), done("run/one", label="run")]
    counted = count_manifest(dataset(tmp_path / "set", rows))
    found = {b.field: [(g.key, g.label, g.clips) for g in b.groups] for b in counted.breakdowns}
    assert found["class"] == [("run", "", 1), ("walk", "", 2)]
    assert found["action"] == [("A060", "rock-paper-scissors", 1)]
    assert {field: groups[0][0] for field, groups in found.items()} == {
        "action": "A060",
        "class": "run",
        "performer": "P003",
        "camera": "R001",
        "split": "S002",
        "gender": "U002",
        "hair": "V004",
        "glasses": "W001",
        "upper_wear": "X009",
        "lower_wear": "Y012",
    }


def test_lengths_and_sizes_are_those_of_finished_clips(tmp_path) -> None:
    rows = [done("a", 30, "30", 1000), done("b", 60, "30", 3000), done("c", 60, "25", 5000), ClipRow("d", "/x")]
    counted = count_manifest(dataset(tmp_path / "set", rows))
    assert (counted.frames, counted.output_bytes, counted.pixels) == (150, 9000, 150 * 64 * 48)
    assert counted.seconds == pytest.approx(1 + 2 + 2.4)
    assert counted.clip_frames.to_dict() == {
        "clips": 3, "min": 30.0, "p10": 30.0, "median": 60.0, "p90": 60.0, "max": 60.0, "mean": 50.0
    }  # fmt: skip
    assert counted.clip_seconds.quantile(1.0) == pytest.approx(2.4)
    assert counted.clip_bytes.quantile(0.5) == pytest.approx(3000, rel=1e-3)
    assert counted.shapes == {(64, 48, "30"): 2, (64, 48, "25"): 1}


def test_quantiles_are_those_of_the_list_of_all_values() -> None:
    values = np.random.default_rng(1).integers(1, 30, 500)
    distribution = Distribution.of(Counter(values.tolist()))
    for share in (0.0, 0.1, 0.25, 0.5, 0.9, 1.0):
        assert distribution.quantile(share) == np.quantile(values, share, method="inverted_cdf")
    assert distribution.mean == pytest.approx(values.mean())


def test_nothing_finished_is_not_an_error(tmp_path) -> None:
    for rows in ([], [ClipRow("a", "/x")]):
        counted = count_manifest(dataset(tmp_path / f"set{len(rows)}", rows), samples=5)
        assert (counted.frames, counted.sampled, counted.clip_frames.clips) == (0, (), 0)
        assert counted.clip_frames.to_dict()["median"] is None


@pytest.mark.parametrize(
    ("message", "name", "path", "reason"),
    [
        ("/s/a.avi: damaged after 12 frames: bad", "a", "/s/a.avi", "damaged after N frames: bad"),
        ("truncated: 13967 bytes are missing", "x/y.avi", "", "truncated: N bytes are missing"),
        ("name: 'über-clip.avi' is not an NTU name", "über-clip.avi", "", "name: '…' is not an NTU name"),
        (f"duplicate: {NAMES[0]} is already b/c d/e.avi", NAMES[0], "", "duplicate: … is already … …"),
        ("a frame is bad", "a", "/s/a.avi", "a frame is bad"),
        ("empty file", "z", "", "empty file"),
    ],
)
def test_messages_are_grouped_by_what_they_have_in_common(message, name, path, reason) -> None:
    assert common_reason(message, name, path) == reason


def test_reasons_come_with_counts_and_first_examples_the_most_frequent_first(tmp_path) -> None:
    rows = [
        ClipRow(f"c{n}", f"/s/c{n}.avi", status="failed", error=f"/s/c{n}.avi: damaged after {n} frames")
        for n in range(5)
    ]
    rows.append(ClipRow("d", "/s/d.avi", status="failed", error="worker process died 2 times on it (signal 9)"))
    problems = [("t.avi", "not a video"), ("u.avi", "not a video"), ("v.avi", "empty file")]
    counted = count_manifest(dataset(tmp_path / "set", rows, problems))
    assert [(reason.reason, reason.count) for reason in counted.failed] == [
        ("damaged after N frames", 5),
        ("worker process died N times on it (signal N)", 1),
    ]
    assert counted.failed[0].examples == tuple(f"c{n}: damaged after {n} frames" for n in range(3))
    assert [(reason.reason, reason.count) for reason in counted.refused] == [("not a video", 2), ("empty file", 1)]


def test_the_sample_depends_on_names_alone_and_a_larger_one_holds_the_smaller(tmp_path) -> None:
    rows = [done(f"clip{n}") for n in range(300)]
    small = count_manifest(dataset(tmp_path / "a", rows), samples=20).sampled
    large = count_manifest(dataset(tmp_path / "b", rows[::-1]), samples=50).sampled
    assert large[:20] == small
    assert len(set(small)) == 20
    assert count_manifest(tmp_path / "a", samples=1000).sampled[:50] == large
    places = sorted(int(name.removeprefix("clip")) for name in large)
    assert places[0] < 60
    assert places[-1] > 240


def test_memory_does_not_grow_with_the_number_of_clips(tmp_path) -> None:
    def peak(clips: int) -> int:
        names = (ntu_name(1 + n % 20, 1 + n % 3, 1 + n // 240, 1 + n // 120 % 2, 1 + n % 120) for n in range(clips))
        rows = (done(name, frames=40 + n % 260, size=400_000 + 7919 * n % 300_000) for n, name in enumerate(names))
        root = dataset(tmp_path / str(clips), rows)
        tracemalloc.start()
        count_manifest(root, samples=50)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(12_000) < 1.5 * peak(2_000)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda root: count_manifest(root, samples=-1), "samples must be 0 or more, got -1"),
        (lambda root: collect_stats(root / "none"), "not a data set directory"),
        (lambda root: collect_stats(root, clean=root), "clean must hold a data set of 0 layers, got .* with layers 8"),
    ],
)
def test_wrong_arguments_are_refused_with_the_rule(tmp_path, call, message) -> None:
    root = dataset(tmp_path / "set", [])
    with pytest.raises(ValueError, match=message):
        call(root)
