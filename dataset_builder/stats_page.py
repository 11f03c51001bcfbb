"""The page of ``lps data stats``: what data sets hold, before and after the film, and what is missing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lps_sim.report import Block, Page, bullets, facts, gallery, paragraph, picture, table

from .stats import DatasetStats, Stats, action_key
from .stats_counts import Breakdown, Distribution, ManifestCounts
from .stats_figures import length_figure, light_figure, named_figure, number_figure, ranked_figure
from .stats_tables import (
    BREAKDOWN_COLUMNS,
    LENGTH_COLUMNS,
    LIGHT_COLUMNS,
    MISSING_COLUMNS,
    breakdown_rows,
    float_rate,
    group_label,
    hours,
    length_rows,
    light_rows,
    missing_rows,
    overview_row,
    plural,
    size,
    stored_bytes,
)

_NAMED_BARS = 120
_SMALL_PANEL = 25  # bars that a panel of a quarter of the page's width can show


def write_page(stats: Stats, path: Path) -> None:
    """Write the page: one file that needs nothing else."""
    page = Page(
        f"What {stats.place.resolve().name} holds",
        "What the manifest counts, and what a sample of clips shows before and after the film.",
    )
    page.section("What there is", *_overview(stats))
    if stats.sheet:
        page.section("Clean beside degraded", *_contact_sheet(stats))
    if any(dataset.light.after for dataset in stats.datasets):
        page.section("Brightness and contrast", *_light(stats))
    for datasets in _alike(stats.datasets):
        counted = datasets[0].counted
        several = len(datasets) < len(stats.datasets)
        suffix = f": {', '.join(dataset.counted.title for dataset in datasets)}" if several else ""
        if counted.breakdowns:
            page.section(f"Clips by what their names tell{suffix}", *_breakdowns(counted))
        if counted.clip_frames.clips:
            page.section(f"Lengths{suffix}", *_lengths(counted))
    page.section("Sizes on disk", *_disk(stats))
    page.section("Failed and refused", *_missing(stats))
    page.write(path)


def _alike(datasets: Sequence[DatasetStats]) -> list[list[DatasetStats]]:
    """Data sets of one pass hold the same clips: those with equal counts and lengths share their sections."""
    groups: list[list[DatasetStats]] = []
    for dataset in datasets:
        for group in groups:
            one, other = group[0].counted, dataset.counted
            if one.breakdowns == other.breakdowns and one.clip_frames.to_dict() == other.clip_frames.to_dict():
                group.append(dataset)
                break
        else:
            groups.append([dataset])
    return groups


def _overview(stats: Stats) -> list[Block]:
    counts = [dataset.counted.counts for dataset in stats.datasets]
    done, all_clips = sum(count["done"] for count in counts), sum(sum(count.values()) for count in counts)
    largest = max((dataset.counted for dataset in stats.datasets), key=lambda counted: counted.frames)
    missing = sum(count["failed"] for count in counts)
    return [
        facts(
            [
                (f"{done:,}", "clips finished", f"of {all_clips:,} in {plural(len(counts), 'data set')}"),
                (f"{largest.frames:,}", "frames a data set", f"{hours(largest.seconds)} of video"),
                (f"{missing:,}", "clips failed", f"{_refused(stats):,} source files refused"),
                (size(sum(stored_bytes(dataset) for dataset in stats.datasets)), "on disk", "clips, means and records"),
            ]
        ),
        table([overview_row(dataset) for dataset in stats.datasets], list(overview_row(stats.datasets[0]))),
    ]


def _contact_sheet(stats: Stats) -> list[Block]:
    degraded = [dataset for dataset in stats.datasets if dataset.counted.layers]
    columns: list[tuple[str, dict[str, Any]]] = []
    clean: dict[str, Any] = {}
    for dataset in degraded:
        clean.update(dataset.light.before)
    if clean:
        columns.append(("clean", clean))
    columns += [(dataset.counted.title, dataset.light.after) for dataset in degraded or stats.datasets]
    labels = _action_labels(stats)
    blocks = []
    for name in stats.sheet:
        shown = [(title, clips[name].picture) for title, clips in columns if name in clips]
        strip = _side_by_side([image for _, image in shown if image is not None])
        if strip is None:
            continue
        what, titles = labels.get(action_key(name), ""), ", ".join(title for title, _ in shown)
        lacking = "" if len(shown) == len(columns) else f" ({titles})"
        caption = f"{what or action_key(name) or name}{lacking}, {name}"
        blocks.append(picture(strip, caption, f"Middle frame of {name}, {what}: {titles}", lossy=True))
    if not blocks:
        return [paragraph("None of the sampled clips could be read.")]
    order = ", then ".join(title for title, _ in columns)
    return [
        paragraph(f"The middle frame of clips of different actions: {order}. Nothing is stretched."),
        gallery(*blocks, minimum_px=min(960, 150 * len(columns))),
    ]


def _side_by_side(images: Sequence[np.ndarray], gap_px: int = 4) -> np.ndarray | None:
    """Images (H, W, 3) uint8 in a row on white; None without any."""
    if not images:
        return None
    height = max(image.shape[0] for image in images)
    strip = np.full((height, sum(image.shape[1] + gap_px for image in images) - gap_px, 3), 255, np.uint8)
    left = 0
    for image in images:
        strip[: image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1] + gap_px
    return strip


def _action_labels(stats: Stats) -> dict[str, str]:
    """``A008`` -> ``A008 sit down``, as far as the names tell."""
    return {
        group.key: group_label(group.key, group.label)
        for dataset in stats.datasets
        for breakdown in dataset.counted.breakdowns
        if breakdown.field.startswith(("action", "class"))
        for group in breakdown.groups
    }


def _light(stats: Stats) -> list[Block]:
    blocks = [
        paragraph(
            "Linear light, decoded by the camera's transfer function; Y is the luminance (ITU-R BT.709 weights), 1 the "
            "full scale. Brightness is the mean of Y. RMS contrast is the standard deviation of Y over a frame's "
            "pixels by the frame's mean: exposure and transmittance cancel in it, blur and veil do not. Temporal RMS "
            "is the standard deviation of Y over time by the clip's mean: motion, and the sensor's noise."
        ),
        table(light_rows(stats.datasets), LIGHT_COLUMNS,
              "Median over the sampled clips, 10 to 90 % of them in brackets; kept: after by before, clip by clip."),
        picture(
            light_figure(stats.datasets),
            "Each box holds the middle half of the sampled clips, its line the median; whiskers from 5 to 95 %.",
            "Box plots of brightness, RMS contrast and temporal RMS by number of layers",
        ),
    ]  # fmt: skip
    remarks = []
    for dataset in stats.datasets:
        light = dataset.light
        if dataset.counted.layers:
            found = f"{len(light.before)} of {plural(len(light.after), 'sampled clip')}"
            remarks.append(f"{dataset.counted.directory.name}: before from {light.before_from}, for {found}.")
        remarks += [f"No clean clip, {reason.count} times: {reason.reason}." for reason in light.without_before]
    return [*blocks, bullets(remarks)] if remarks else blocks


def _breakdowns(counted: ManifestCounts) -> list[Block]:
    shown = [breakdown for breakdown in counted.breakdowns if len(breakdown.groups) > 1]
    named = [breakdown for breakdown in shown if breakdown.field.startswith(("action", "class"))]
    numbered = [breakdown for breakdown in shown if breakdown not in named]
    wide = [breakdown for breakdown in numbered if len(breakdown.groups) > _SMALL_PANEL]
    small = [breakdown for breakdown in numbered if breakdown not in wide]
    return [
        table(breakdown_rows(counted.breakdowns), BREAKDOWN_COLUMNS, "Clips of each value, whatever their status."),
        *(_bars(breakdown) for breakdown in named),
        *(_numbers([breakdown]) for breakdown in wide),
        *([_numbers(small)] if small else []),
    ]


def _numbers(breakdowns: Sequence[Breakdown]) -> Block:
    names = ", ".join(breakdown.field.replace("_", " ") for breakdown in breakdowns)
    return picture(number_figure(breakdowns), f"Clips by {names}.", f"Bar charts of clips by {names}")


def _bars(breakdown: Breakdown) -> Block:
    """Named groups as horizontal bars, in columns that can be read; too many to name as one falling curve."""
    if len(breakdown.groups) > _NAMED_BARS:
        return picture(
            ranked_figure(breakdown),
            f"Clips by {breakdown.field}, the largest first.",
            f"Curve of clips by {breakdown.field}, falling",
        )
    return picture(named_figure(breakdown), f"Clips by {breakdown.field}.", f"Bar chart of clips by {breakdown.field}")


def _lengths(counted: ManifestCounts) -> list[Block]:
    sizes = Distribution(counted.clip_bytes.values / 1000, counted.clip_bytes.counts)
    shown = [("frames", counted.clip_frames), ("duration (s)", counted.clip_seconds), ("size of a clip (kB)", sizes)]
    shapes = list(counted.shapes.items())
    rows = [[f"{width}x{height}", float_rate(fps), clips] for (width, height, fps), clips in shapes[:12]]
    more = f"; {len(shapes) - 12} more kinds" if len(shapes) > 12 else ""
    return [
        table(length_rows(counted), ["a clip has", *LENGTH_COLUMNS], "Finished clips."),
        picture(length_figure(shown), "Finished clips by length and size.", "Histograms of frames, seconds, file size"),
        table(rows, ["size", "frames/s", "clips"], f"Frame sizes and rates{more}."),
    ]  # fmt: skip


def _disk(stats: Stats) -> list[Block]:
    rows = []
    for dataset in stats.datasets:
        disk, counted = dataset.disk, dataset.counted
        clips = counted.counts["done"]
        rows.append([
            counted.directory.name, size(disk.clips), _about(disk.means), size(disk.records),
            size(disk.clips / clips) if clips else None,
            f"{8 * disk.clips / counted.pixels:.2f}" if counted.pixels else None, _about(disk.sources),
        ])  # fmt: skip
    free = shutil.disk_usage(stats.place).free
    return [
        table(rows, ["data set", "clips", "means", "manifest and film", "a clip", "bits a pixel", "source files"]),
        paragraph(
            "About (≈) is the mean of the sampled clips times the number of finished ones. "
            f"Free on this disk: {size(free)}."
        ),
    ]


def _about(amount: int | None) -> str | None:
    return None if amount is None else f"≈ {size(amount)}"


def _refused(stats: Stats) -> int:
    return max(sum(reason.count for reason in dataset.counted.refused) for dataset in stats.datasets)


def _missing(stats: Stats) -> list[Block]:
    rows = missing_rows(stats.datasets)
    if not rows:
        return [paragraph("Nothing: every source file is a clip, and no clip has failed.")]
    return [
        table(rows, MISSING_COLUMNS),
        paragraph(
            "`lps data status` lists every one, and `lps data degrade --retry-failed` tries the failed ones again; "
            "`lps data verify` tells which finished clips are damaged."
        ),
    ]
