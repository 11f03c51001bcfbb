"""Statistics of data sets that were made: light before and after the film, contact sheet, damage, the page."""

from __future__ import annotations

import itertools
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from dataset_builder.formats.base import ClipReader
from dataset_builder.layout import MANIFEST_FILE
from dataset_builder.manifest import ClipRow, Manifest
from dataset_builder.naming import ntu_name, parse_name
from dataset_builder.stats import collect_stats
from dataset_builder.stats_counts import Breakdown, Distribution, Group
from dataset_builder.stats_figures import length_figure, named_figure
from dataset_builder.stats_page import write_page
from lps_sim import FilmModel
from lps_sim.media import write_video

from .test_stats import FILM, NAMES, dataset, done

LAYERS = (4, 10)
# The stored clips are 8 bits through a codec, and light is exchanged over the border with the mirrored world beyond.
LIGHT_TOLERANCE = 0.035
# The clean twin went through the codec, the clean frames made from the source did not: a few tenths of a code.
CODEC_TOLERANCE = 0.02


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
