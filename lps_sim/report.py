"""The base of all HTML pages and plots: one self-contained file that opens offline, on a desk and on a phone.

A page is a title, a lead and sections of blocks. Every text is escaped; pictures and clips are data URIs; the page's
own content policy forbids any request to the outside. matplotlib is loaded when the first figure is made, and no
display is needed.
"""

from __future__ import annotations

import base64
import html
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from . import __version__
from .files import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito 2008, told apart with every common colour-vision deficiency; yellow is left out as too pale on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
# What matplotlib reads when axes are made.
STYLE: Mapping[str, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "grid.alpha": 0.3,
}
_FIGURE_DPI = 150
_HERE = Path(__file__).parent


def new_figure(
    rows: int = 1, columns: int = 1, size_in: tuple[float, float] | None = None
) -> tuple[Figure, np.ndarray]:
    """A matplotlib figure in the house style and its axes as an array (rows, columns).

    Made without pyplot: nothing global changes and nothing has to be closed. ``size_in`` is width and height in
    inches; the default is 5 x 3.4 a panel.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.rcsetup import cycler

    with rc_context({**STYLE, "axes.prop_cycle": cycler(color=PALETTE)}):
        figure = Figure(figsize=size_in or (5.0 * columns, 3.4 * rows))
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def figure_png(figure: Figure, dpi: int = _FIGURE_DPI) -> str:
    """A matplotlib figure as a PNG data URI; the same figure gives the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return _data_uri("image/png", stream.getvalue())


def image_png(array: np.ndarray, scale: int = 1) -> str:
    """An image as a lossless PNG data URI.

    Parameters
    ----------
    array
        (H, W) or (H, W, 3): uint8 code values, or floats that are clipped to [0, 1] (code values too: nothing is
        decoded or stretched here).
    scale
        Whole-number enlargement by repeated pixels.
    """
    return _encode_image([_as_uint8(array)], scale, "PNG", "image/png")


def image_webp(array: np.ndarray, scale: int = 1, quality: int = 90) -> str:
    """As :func:`image_png`, but lossy WebP: for photographs and noisy frames, a tenth of the size."""
    return _encode_image([_as_uint8(array)], scale, "WEBP", "image/webp", quality=quality)


def animation_webp(frames: Iterable[np.ndarray], fps: float, quality: int = 80) -> str:
    """Frames (T, H, W, 3) as an endlessly repeated WebP data URI, which every current browser shows as an image."""
    if fps <= 0:
        raise ValueError(f"fps must be above 0, got {fps}")
    pictures = [_as_uint8(frame) for frame in frames]
    if not pictures:
        raise ValueError("frames must hold at least one frame")
    rest = {"save_all": True, "duration": round(1000 / fps), "loop": 0, "quality": quality, "method": 2}
    return _encode_image(pictures, 1, "WEBP", "image/webp", **rest)


@dataclass(frozen=True)
class Block:
    """One piece of a section: ``kind`` names its macro in the page template, ``fields`` are that macro's values."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def paragraph(text: str) -> Block:
    """A paragraph of plain text; ```code``` between backticks is set as code, everything else is escaped."""
    return Block("paragraph", {"parts": re.split(r"`([^`]+)`", text)})


def bullets(items: Sequence[str]) -> Block:
    """A list; backticks as in :func:`paragraph`."""
    return Block("bullets", {"items": [re.split(r"`([^`]+)`", item) for item in items]})


def code(text: str, caption: str = "") -> Block:
    """Preformatted text, such as a command and its output."""
    return Block("code", {"text": text, "caption": caption})


def facts(items: Sequence[tuple[str, str, str]]) -> Block:
    """Headline figures: (value, what it is, remark) each; the remark may be empty."""
    return Block("facts", {"items": items})


def picture(
    image: np.ndarray | Figure, caption: str, alt: str, *, scale: int = 1, lossy: bool = False, pixelated: bool = False
) -> Block:
    """A figure or an image array with its caption and its description for those who cannot see it.

    ``lossy`` stores an array as WebP; ``pixelated`` keeps hard pixel edges when the browser enlarges it.
    """
    if not alt.strip():
        raise ValueError("alt must describe the picture, got an empty text")
    if isinstance(image, np.ndarray):
        uri, height, width = (image_webp if lossy else image_png)(image, scale), *image.shape[:2]
        width, height = width * scale, height * scale
    else:
        uri, (width, height) = figure_png(image), (round(side * 100) for side in image.get_size_inches())
    shown = {"uri": uri, "width": width, "height": height, "pixelated": pixelated}
    return Block("picture", {**shown, "caption": caption, "alt": alt, "still": ""})


def clip(frames: np.ndarray | Sequence[np.ndarray], fps: float, caption: str, alt: str, *, quality: int = 80) -> Block:
    """Frames (T, H, W, 3) uint8 that play in a loop; readers who asked for less motion see the first one."""
    if not alt.strip():
        raise ValueError("alt must describe the clip, got an empty text")
    uri = animation_webp(frames, fps, quality)
    height, width = frames[0].shape[:2]
    shown = {"uri": uri, "width": width, "height": height, "pixelated": False}
    return Block("picture", {**shown, "caption": caption, "alt": alt, "still": image_webp(frames[0])})


def gallery(*pictures: Block, caption: str = "", minimum_px: int = 220) -> Block:
    """Pictures and clips side by side, as many a row as fit with at least ``minimum_px`` each."""
    strangers = sorted({block.kind for block in pictures} - {"picture"})
    if strangers:
        raise ValueError(f"a gallery holds pictures and clips, got {', '.join(strangers)}")
    return Block("gallery", {"pictures": pictures, "caption": caption, "minimum_px": minimum_px})


def table(
    rows: Sequence[Sequence[Any]] | Sequence[Mapping[str, Any]], columns: Sequence[str], caption: str = ""
) -> Block:
    """A table; the first column names the row.

    ``rows`` are sequences in the order of ``columns`` or mappings by their names. Floats get three significant digits,
    None a dash; whatever should look otherwise comes as text.
    """
    cells = []
    for row in rows:
        values = [row.get(name) for name in columns] if isinstance(row, Mapping) else list(row)
        if len(values) != len(columns):
            raise ValueError(f"every row must have {len(columns)} cells ({', '.join(columns)}), got {len(values)}")
        cells.append([(format_cell(value), isinstance(value, (int, float, np.number))) for value in values])
    numeric = [any(row[place][1] for row in cells) for place in range(len(columns))]
    return Block("table", {"rows": cells, "columns": list(zip(columns, numeric)), "caption": caption})


def format_cell(value: Any) -> str:
    """A table cell as text: 0.123, 12.3, 1,230; counts in full; a dash for None and for not-a-number."""
    if value is None or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"
    return str(value)


class Page:
    """A page under construction: ``Page(title, lead).section(heading, *blocks).write(path)``."""

    def __init__(self, title: str, lead: str = "") -> None:
        self.title, self.lead = title, lead
        self.sections: list[tuple[str, tuple[Block, ...]]] = []

    def section(self, heading: str, *blocks: Block) -> Page:
        """Append a section; returns the page, so that calls can be chained."""
        self.sections.append((heading, blocks))
        return self

    def render(self) -> str:
        """The page as one HTML text."""
        return render_page(self.title, self.sections, self.lead)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the page: the file is whole or absent."""
        write_atomic(path, self.render())


def render_page(title: str, sections: Sequence[tuple[str, Sequence[Block]]], lead: str = "") -> str:
    """A self-contained HTML page from (heading, blocks) sections."""
    entries = [
        {"heading": heading, "blocks": blocks, "anchor": f"{number}-{_slug(heading)}"}
        for number, (heading, blocks) in enumerate(sections, start=1)
    ]
    css = (_HERE / "report.css").read_text(encoding="utf-8")
    return _template().render(title=title, lead=lead, sections=entries, css=css, version=__version__)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def _slug(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", html.unescape(heading).lower()).strip("-")


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _as_uint8(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3) or 0 in array.shape:
        raise ValueError(f"image must be of shape (H, W) or (H, W, 3), got {array.shape}")
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"image must be uint8 or float in [0, 1], got {array.dtype}")
    return np.rint(np.clip(array, 0.0, 1.0) * 255.0).astype(np.uint8)


def _encode_image(frames: Sequence[np.ndarray], scale: int, kind: str, media_type: str, **options: Any) -> str:
    from PIL import Image

    if scale < 1:
        raise ValueError(f"scale must be >= 1, got {scale}")
    pictures = [Image.fromarray(np.repeat(np.repeat(frame, scale, 0), scale, 1)) for frame in frames]
    if len(pictures) > 1:
        options["append_images"] = pictures[1:]
    stream = io.BytesIO()
    pictures[0].save(stream, format=kind, **options)
    return _data_uri(media_type, stream.getvalue())
