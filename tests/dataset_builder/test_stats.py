"""Statistics of data sets: closed forms of brightness and contrast, counts of made-up manifests, and real clips."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from dataset_builder.formats.base import ClipReader
from dataset_builder.layout import DATASET_FILE, MANIFEST_FILE
from dataset_builder.manifest import ClipRow, Manifest
from dataset_builder.naming import ntu_name, parse_name
from dataset_builder.stats import collect_stats
from dataset_builder.stats_counts import Breakdown, Distribution, Group, common_reason, count_manifest
from dataset_builder.stats_figures import length_figure, named_figure
from dataset_builder.stats_light import clip_light, spread_indices
from dataset_builder.stats_page import write_page
from lps_sim import FilmModel
from lps_sim.media import write_video

FILM = "p3ar-10layer"
LAYERS = (4, 10)
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
# The stored clips are 8 bits through a codec, and light is exchanged over the border with the mirrored world beyond.
LIGHT_TOLERANCE = 0.035
# The clean twin went through the codec, the clean frames made from the source did not: a few tenths of a code.
CODEC_TOLERANCE = 0.02


# -- brightness and contrast ----------------------------------------------------------------------------------------


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


# -- counts of a manifest -------------------------------------------------------------------------------------------


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


# -- real clips -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Eight short clips with NTU names: a bright square that moves over noise."""
    root = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    for place, name in enumerate(NAMES):
        clip = rng.integers(20, 90 + 5 * place, (10, 48, 64, 3), dtype=np.uint8)
        for t in range(10):
            clip[t, 10:34, 2 * t : 2 * t + 30] = 230
        write_video(root / f"{name}_rgb.mp4", clip, 30)
    return root


@pytest.fixture(scope="module")
def built(source, tmp_path_factory):
    """The clean twin, 4 and 10 layers of these clips."""
    root = tmp_path_factory.mktemp("built") / "set"
    command = [
        "data",
        "degrade",
        str(source),
        str(root),
        "--film",
        FILM,
        "--layers",
        ",".join(map(str, LAYERS)),
        "--clean",
    ]
    result = CliRunner().invoke(main, [*command, "--workers", "0", "--size", "64x48", "--fov", "30"])
    assert result.exit_code == 0, result.output
    return root


@pytest.fixture
def built_copy(built, tmp_path):
    return shutil.copytree(built, tmp_path / "set")


def medians(dataset_stats, quantity):
    return dataset_stats.light.to_dict()[quantity]


def test_the_film_takes_the_light_that_its_transmittance_says_and_most_of_the_contrast(built) -> None:
    film, weights = FilmModel.load(FILM), np.array([0.2126, 0.7152, 0.0722])
    clean, *degraded = collect_stats(built).datasets
    assert clean.light.before_from == "no clean clips: this is the clean data set"
    contrasts = [medians(clean, "rms_contrast")["after"]["median"]]
    for layers, dataset_stats in zip(LAYERS, degraded):
        light = dataset_stats.light
        assert (light.before_from, set(light.after), set(light.before)) == (
            "the data set layers-00",
            {*NAMES},
            {*NAMES},
        )
        before, after = light.values("brightness", "before"), light.values("brightness", "after")
        expected = before * (weights @ film.transmittance(layers)) + weights @ film.veil(layers)
        np.testing.assert_allclose(after, expected, rtol=LIGHT_TOLERANCE)
        contrasts.append(medians(dataset_stats, "rms_contrast")["after"]["median"])
    assert contrasts == sorted(contrasts, reverse=True)
    assert contrasts[2] < 0.3 * contrasts[0]


def test_without_a_clean_twin_the_source_files_tell_the_same(built, built_copy) -> None:
    shutil.rmtree(built_copy / "layers-00")
    twin, source_files = (collect_stats(root).datasets[-1] for root in (built, built_copy))
    assert source_files.light.before_from == "the source files"
    for quantity in ("brightness", "rms_contrast"):
        np.testing.assert_allclose(
            sorted(source_files.light.values(quantity, "before")),
            sorted(twin.light.values(quantity, "before")),
            rtol=CODEC_TOLERANCE,
        )


def test_the_twin_beside_a_single_data_set_is_found_and_another_may_be_named(built, tmp_path) -> None:
    beside = collect_stats(built / "layers-10").datasets[0].light
    alone = shutil.copytree(built / "layers-10", tmp_path / "elsewhere")
    named = collect_stats(alone, clean=built).datasets[0].light
    assert beside.before_from == named.before_from == "the data set layers-00"
    assert beside.to_dict() == named.to_dict()


def test_the_number_of_threads_changes_nothing(built) -> None:
    assert collect_stats(built, workers=1).to_dict() == collect_stats(built, workers=3).to_dict()


def test_no_more_clips_are_opened_than_asked_for_and_each_is_reported(built) -> None:
    seen = []
    stats = collect_stats(built, samples=3, on_progress=lambda done, total, name: seen.append((done, total)))
    assert [len(dataset_stats.light.after) for dataset_stats in stats.datasets] == [3, 3, 3]
    assert seen == [(done, 15) for done in range(1, 16)]  # the clean twin once for itself, and once for each of two
    none = collect_stats(built, samples=0)
    assert none.sheet == ()
    assert none.datasets[0].counted.counts["done"] == 8


def test_the_contact_sheet_has_every_action_and_the_middle_frames_of_every_data_set(built) -> None:
    stats = collect_stats(built)
    assert sorted(stats.sheet) == sorted(NAMES)
    assert [parse_name(name).action for name in stats.sheet] == sorted(parse_name(name).action for name in NAMES)
    for dataset_stats in stats.datasets[1:]:
        for clips in (dataset_stats.light.before, dataset_stats.light.after):
            assert {clips[name].picture.shape for name in stats.sheet} == {(48, 64, 3)}


def test_damaged_clips_and_missing_sources_are_listed_with_their_reasons(built_copy, tmp_path) -> None:
    shutil.rmtree(built_copy / "layers-00")
    shutil.rmtree(built_copy / "layers-04")
    root = built_copy / "layers-10"
    (root / "clips" / f"{NAMES[0]}.mp4").unlink()
    with Manifest(root / MANIFEST_FILE, writable=True) as manifest:
        manifest._db.execute("UPDATE clips SET source = ? WHERE name = ?", (str(tmp_path / "gone.avi"), NAMES[1]))
    stats = collect_stats(built_copy)
    light = stats.datasets[0].light
    assert (len(light.after), len(light.before)) == (7, 6)
    assert [(reason.count, NAMES[0] in reason.examples[0]) for reason in light.unreadable] == [(1, True)]
    assert [reason.count for reason in light.without_before] == [1]
    assert light.without_before[0].examples[0].startswith(f"{NAMES[1]}: ")
    assert len(stats.unreadable) == 1


def test_a_data_set_may_be_asked_while_a_run_writes_to_it(built_copy) -> None:
    root = built_copy / "layers-10"
    with Manifest(root / MANIFEST_FILE, writable=True) as writer:
        writer.add([ClipRow("S001C003P001R001A008", "/x")])
        writer._db.execute("BEGIN IMMEDIATE")
        writer._db.execute("UPDATE clips SET status = 'failed'")
        stats = collect_stats(root)
        writer._db.execute("ROLLBACK")
    assert stats.datasets[0].counted.counts == {"pending": 1, "done": 8, "failed": 0}
    assert len(stats.datasets[0].light.after) == 8


def test_a_clip_that_readers_cannot_see_yet_waits_and_is_no_damage(built_copy, monkeypatch) -> None:
    """As one that is finished but not in its shard."""
    names = ClipReader.names
    monkeypatch.setattr(ClipReader, "names", lambda reader: names(reader)[1:])
    stats = collect_stats(built_copy / "layers-10")
    light = stats.datasets[0].light
    assert (light.waiting, len(light.after), light.unreadable, stats.unreadable) == (1, 7, (), [])


# -- the page -------------------------------------------------------------------------------------------------------


def test_the_page_stands_alone_and_says_what_was_counted(built, tmp_path) -> None:
    stats = collect_stats(built)
    write_page(stats, tmp_path / "stats.html")
    page = (tmp_path / "stats.html").read_text()
    assert not re.search(r"(src|href|srcset)=\"(?!data:|#)", page)
    headings = re.findall(r"<h2[^>]*>([^<]+)", page)
    assert headings == [
        "What there is",
        "Clean beside degraded",
        "Brightness and contrast",
        "Clips by what their names tell",
        "Lengths",
        "Sizes on disk",
        "Failed and refused",
    ]
    assert page.count("data:image/webp") == 8
    assert all(name in page for name in NAMES)
    assert "A008 sit down" in page
    assert "no clip has failed" in page


def test_the_page_of_an_empty_or_hostile_data_set_is_written_and_escaped(tmp_path) -> None:
    rows = [ClipRow("<i>odd/one", "/x", label="<i>odd", status="failed", error="<script>alert(1)</script>")]
    for place, given in (("empty", []), ("hostile", rows)):
        write_page(collect_stats(dataset(tmp_path / place, given)), tmp_path / f"{place}.html")
    page = (tmp_path / "hostile.html").read_text()
    assert "<script>" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;" in page
    assert "every source file is a clip" in (tmp_path / "empty.html").read_text()


def test_data_sets_that_differ_get_sections_of_their_own(tmp_path) -> None:
    names = [ntu_name(1, 1, p, 1, 8) for p in (1, 2, 3)]
    dataset(tmp_path / "set" / "layers-04", [done(name) for name in names], layers=4)
    dataset(tmp_path / "set" / "layers-08", [done(names[0]), ClipRow(names[1], "/x"), ClipRow(names[2], "/x")])
    write_page(collect_stats(tmp_path / "set", samples=0), tmp_path / "stats.html")
    page = (tmp_path / "stats.html").read_text()
    for heading in ("Clips by what their names tell: 4 layers", "Lengths: 4 layers", "Lengths: 8 layers"):
        assert f">{heading}<" in page


def test_the_names_of_120_actions_can_be_read() -> None:
    groups = tuple(Group(f"A{n:03d}", "take object out of bag", {"done": n}) for n in range(1, 121))
    full = tuple(Group(g.key, g.label, {"pending": 0, "failed": 0, **g.counts}) for g in groups)
    figure = named_figure(Breakdown("action", full))
    figure.canvas.draw()
    assert [len(axes.get_yticklabels()) for axes in figure.axes] == [60, 60]
    for axes in figure.axes:
        boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
        assert all(upper.y0 >= lower.y1 for upper, lower in itertools.pairwise(boxes))
        assert min(box.x0 for box in boxes) >= 0


@pytest.mark.parametrize(("low", "count", "step"), [(40, 260, 1.0), (1, 7, 1.0), (40, 260, 1 / 30)])
def test_an_even_distribution_is_drawn_even(low, count, step) -> None:
    values = (low + np.arange(count)) * step
    figure = length_figure([("frames", Distribution(values, np.full(count, 3)))])
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert sum(heights) == 3 * count
    assert set(heights[:-1]) == {max(heights)}
    assert len(heights) <= 41


def test_one_length_alone_is_one_bar_around_it() -> None:
    figure = length_figure([("frames", Distribution(np.array([30.0]), np.array([94])))])
    (bar,) = [bar for bar in figure.axes[0].patches if bar.get_height()]
    assert bar.get_x() < 30 < bar.get_x() + bar.get_width()
    assert bar.get_height() == 94
    assert figure.axes[0].get_xlim()[0] >= 0
