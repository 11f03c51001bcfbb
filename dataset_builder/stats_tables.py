"""Rows of the statistics' tables, for the page and the terminal, and how bytes and lengths are written."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from .stats import DatasetStats
from .stats_counts import Breakdown, ManifestCounts, Reason
from .stats_light import QUANTITIES

LIGHT_COLUMNS = ("data set", "quantity", "before", "after", "kept")
BREAKDOWN_COLUMNS = ("field", "values", "fewest", "median", "most", "where fewest")
LENGTH_COLUMNS = ("fewest", "10 %", "median", "mean", "90 %", "most")
MISSING_COLUMNS = ("reason", "where", "what", "count", "first examples")


def overview_row(dataset: DatasetStats) -> dict[str, Any]:
    """One line about a data set, for the page and the terminal."""
    counted = dataset.counted
    film = counted.settings["film"]
    shapes = list(counted.shapes)
    frame_size = "–" if not shapes else f"{shapes[0][0]}x{shapes[0][1]}" if len(_sizes(counted)) == 1 else "various"
    return {
        "data set": counted.directory.name,
        "film": film["name"] if film else "none",
        "layers": counted.layers,
        "format": counted.settings["format"],
        "size": frame_size,
        **{status: counted.counts[status] for status in ("done", "pending", "failed")},
        "frames": counted.frames,
        "length": hours(counted.seconds),
        "on disk": size(stored_bytes(dataset)),
    }


def _sizes(counted: ManifestCounts) -> set[tuple[int, int]]:
    return {(width, height) for width, height, _ in counted.shapes}


def light_rows(datasets: Sequence[DatasetStats]) -> list[list[Any]]:
    """Rows of :data:`LIGHT_COLUMNS`: medians, in brackets 10 and 90 %."""
    rows = []
    for dataset in datasets:
        light = dataset.light
        for quantity in QUANTITIES if light.after else ():
            cells = [_median_and_spread(light.values(quantity, when), when) for when in ("before", "after", "kept")]
            rows.append([dataset.counted.title, quantity.replace("_", " "), *cells])
    return rows


def _median_and_spread(values: np.ndarray, when: str) -> str | None:
    if not values.size:
        return None
    low, median, high = np.quantile(values, (0.1, 0.5, 0.9))
    if when == "kept":
        return f"{median:.0%} ({low:.0%}–{high:.0%})".replace("%–", "–")
    return f"{median:.3f} ({low:.3f}–{high:.3f})"


def breakdown_rows(breakdowns: Sequence[Breakdown]) -> list[list[Any]]:
    """Rows of :data:`BREAKDOWN_COLUMNS`."""
    rows = []
    for breakdown in breakdowns:
        clips = [group.clips for group in breakdown.groups]
        fewest = min(breakdown.groups, key=lambda group: group.clips)
        where = "" if min(clips) == max(clips) else group_label(fewest.key, fewest.label)
        rows.append([breakdown.field, len(clips), min(clips), int(np.median(clips)), max(clips), where])
    return rows


def length_rows(counted: ManifestCounts) -> list[list[Any]]:
    """Rows of what is counted and :data:`LENGTH_COLUMNS`."""
    rows = []
    for what, shown, form in (
        ("frames", counted.clip_frames, lambda value: f"{value:,.0f}"),
        ("seconds", counted.clip_seconds, lambda value: f"{value:.2f}"),
        ("bytes", counted.clip_bytes, size),
    ):
        values = [*(shown.quantile(q) for q in (0.0, 0.1, 0.5)), shown.mean, *(shown.quantile(q) for q in (0.9, 1.0))]
        rows.append([what, *map(form, values)])
    return rows


def missing_rows(datasets: Sequence[DatasetStats]) -> list[list[Any]]:
    """Rows of :data:`MISSING_COLUMNS`; what is alike in several data sets is one row."""
    found: dict[tuple[str, Reason], list[str]] = {}
    for dataset in datasets:
        for what, reasons in (
            ("failed", dataset.counted.failed),
            ("refused", dataset.counted.refused),
            ("not readable although finished", dataset.light.unreadable),
        ):
            for reason in reasons:
                found.setdefault((what, reason), []).append(dataset.counted.directory.name)
    return [
        [reason.reason, "all" if len(where) == len(datasets) > 1 else ", ".join(where), what, reason.count,
         "; ".join(reason.examples)]
        for (what, reason), where in found.items()
    ]  # fmt: skip


def group_label(key: str, label: str) -> str:
    return f"{key} {label}".strip()


def stored_bytes(dataset: DatasetStats) -> int:
    return dataset.disk.clips + (dataset.disk.means or 0) + dataset.disk.records


def float_rate(fps: str) -> str:
    """``30000/1001`` as 29.97."""
    return f"{float(Fraction(fps)):.4g}"


def hours(seconds: float) -> str:
    """A length of video: ``35 s``, ``12.5 min``, ``75.5 h``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:,.1f} h"


def size(amount: float) -> str:
    """Bytes: ``812 B``, ``53.2 kB``, ``1.20 GB``; powers of 1000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 999.5 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} B" if unit == "B" else f"{amount:.3g} {unit}"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
