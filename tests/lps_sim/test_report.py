"""Pages are self-contained, escaped and described; arrays and figures survive the way into a data URI."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from lps_sim import report

VOID = {"meta", "img", "source", "br", "hr", "link"}


class Outline(HTMLParser):
    """Collects headings, attributes and the balance of tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def decode(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2])))


@pytest.fixture
def page() -> report.Page:
    figure, axes = report.new_figure(1, 2)
    axes[0, 0].plot([0, 1], [0, 1])
    frames = np.random.default_rng(0).integers(0, 256, (4, 8, 10, 3), dtype=np.uint8)
    still = report.picture(frames[0], "a frame", "noise", scale=3)
    return (
        report.Page("Films & <codes>", "What light is left")
        .section("Curves", report.paragraph("run `lps demo` <now>"), report.picture(figure, "MTF", "two curves"))
        .section("Numbers", report.table([["a", 1, None]], ["film", "count", "x"], "T"), report.facts([("9", "x", "")]))
        .section("Clips", report.gallery(still, still), report.clip(frames, 10, "moves", "moving noise"))
        .section("More", report.bullets(["one `two`"]), report.code("$ lps\nok", "output"))
    )


def test_page_is_balanced_html_with_one_h1_and_a_heading_per_section(page: report.Page) -> None:
    outline = Outline(page.render())
    assert outline.open == []
    assert len(outline.named("h1")) == 1
    assert len(outline.named("h2")) == 4
    anchors = [attributes["id"] for attributes in outline.named("h2")]
    assert [attributes["href"] for attributes in outline.named("a")] == [f"#{anchor}" for anchor in anchors]


def test_page_asks_nothing_from_outside(page: report.Page) -> None:
    text = page.render()
    outline = Outline(text)
    sources = [a.get(key) or "data:" for _, a in outline.tags for key in ("src", "srcset")]
    assert all(source.startswith("data:") for source in sources)
    assert not outline.named("script")
    assert not outline.named("link")
    assert not re.search(r"https?://|url\(|@import", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))


def test_texts_are_escaped_and_backticks_become_code(page: report.Page) -> None:
    text = page.render()
    assert "Films &amp; &lt;codes&gt;" in text
    assert "run <code>lps demo</code> &lt;now&gt;" in text
    assert "<now>" not in text


def test_every_image_is_described_and_sized(page: report.Page) -> None:
    images = Outline(page.render()).named("img")
    assert len(images) == 4
    assert all(image["alt"] and int(image["width"] or 0) > 0 and int(image["height"] or 0) > 0 for image in images)
    with pytest.raises(ValueError, match="alt must describe"):
        report.picture(np.zeros((2, 2)), "caption", " ")


def test_write_is_whole_and_in_utf8(page: report.Page, tmp_path) -> None:
    page.lead = "σ√N at 2.5° – ✓"
    page.write(tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == page.render()
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_png_keeps_every_code_value_and_floats_are_clipped_not_stretched() -> None:
    array = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(decode(report.image_png(array))), array)
    enlarged = np.asarray(decode(report.image_png(array, scale=2)))
    assert np.array_equal(enlarged[1::2, ::2], array)
    grey = np.array([[-0.5, 0.0, 0.5, 2.0]])
    assert np.asarray(decode(report.image_png(grey))).tolist() == [[0, 0, 128, 255]]


def test_animation_keeps_number_size_and_duration_of_frames() -> None:
    ramp = np.linspace(0, 200, 6)[:, None, None, None]
    frames = np.broadcast_to(ramp, (6, 12, 16, 3)).astype(np.uint8)
    image = decode(report.animation_webp(frames, fps=8))
    assert (image.n_frames, image.size) == (6, (16, 12))
    image.seek(1)
    image.load()
    assert image.info["duration"] == 125


def test_same_figure_gives_the_same_bytes() -> None:
    uris = []
    for _ in range(2):
        figure, axes = report.new_figure()
        axes[0, 0].plot([1, 3, 2])
        uris.append(report.figure_png(figure))
    assert uris[0] == uris[1]


def test_figures_use_the_colour_blind_safe_palette_and_leave_global_style_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    _, axes = report.new_figure()
    lines = [axes[0, 0].plot([0, k])[0].get_color() for k in range(3)]
    assert lines == list(report.PALETTE[:3])
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (12345.6, "12,346"), (12345, "12,345"), (None, "–"), (float("nan"), "–"), (True, "yes")],
)
def test_cells_are_formatted_for_reading(value: object, text: str) -> None:
    assert report.format_cell(value) == text


def test_table_rows_can_be_mappings_and_wrong_lengths_are_refused() -> None:
    block = report.table([{"b": 2, "a": "x"}], ["a", "b", "c"])
    assert [text for text, _ in block.fields["rows"][0]] == ["x", "2", "–"]
    with pytest.raises(ValueError, match=r"every row must have 2 cells \(a, b\), got 3"):
        report.table([[1, 2, 3]], ["a", "b"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: report.image_png(np.zeros((4, 4, 2))), "shape"),
        (lambda: report.image_png(np.zeros((4, 4), dtype=np.int32)), "int32"),
        (lambda: report.image_png(np.zeros((4, 4)), scale=0), "scale must be >= 1, got 0"),
        (lambda: report.animation_webp([], 5), "at least one frame"),
        (lambda: report.animation_webp([np.zeros((4, 4, 3))], 0), "fps must be above 0"),
        (lambda: report.gallery(report.paragraph("x")), "got paragraph"),
    ],
)
def test_bad_blocks_are_refused_with_the_rule(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_importing_report_does_not_load_matplotlib() -> None:
    command = "import sys, lps_sim.report; print('matplotlib' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
