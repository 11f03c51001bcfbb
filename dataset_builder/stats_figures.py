"""Figures of the statistics page: clips by group, histograms of lengths, box plots of light."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters
from typing import TYPE_CHECKING

import numpy as np

from lps_sim.report import new_figure

from .manifest import STATUSES, Status
from .stats import DatasetStats
from .stats_counts import Breakdown, Distribution
from .stats_light import QUANTITIES
from .stats_tables import group_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STATUS_COLOURS: dict[Status, str] = {"done": "#0072b2", "pending": "#b8c0c8", "failed": "#d55e00"}
_BARS_A_COLUMN = 60
_BAR_IN = 0.185
_WIDTH_IN = 10.5
_PANELS_A_ROW = 4
_BINS = 40
_CAPTIONS = {
    "brightness": "brightness (1 = full scale)",
    "rms_contrast": "RMS contrast of a frame",
    "temporal_rms": "temporal RMS of a clip",
}


def light_figure(datasets: Sequence[DatasetStats]) -> Figure:
    shown = [dataset for dataset in datasets if dataset.light.after]
    degraded = [dataset for dataset in shown if dataset.counted.layers]
    figure, ((*axes,),) = new_figure(1, len(QUANTITIES), (_WIDTH_IN, 3.4))
    for panel, quantity in zip(axes, QUANTITIES):
        # The clean twin is shown itself where it is there; else what the first data set was compared with.
        boxes = [(dataset.counted.title, dataset.light.values(quantity, "after")) for dataset in shown]
        if len(degraded) == len(shown) and degraded[0].light.before:
            boxes.insert(0, ("clean", degraded[0].light.values(quantity, "before")))
        panel.boxplot(
            [values for _, values in boxes],
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": "#cfe3f1", "edgecolor": "#0072b2"},
            medianprops={"color": "#d55e00", "linewidth": 2},
        )
        panel.set_xticks(
            range(1, len(boxes) + 1), [title.replace(" layers", "").replace(" layer", "") for title, _ in boxes]
        )
        panel.set(xlabel="layers", title=_CAPTIONS[quantity], ylim=(0, None))
        panel.grid(axis="x", visible=False)
    return figure


def named_figure(breakdown: Breakdown) -> Figure:
    columns = -(-len(breakdown.groups) // _BARS_A_COLUMN)
    rows = -(-len(breakdown.groups) // columns)
    figure, ((*axes,),) = new_figure(1, columns, (_WIDTH_IN, _BAR_IN * max(rows, 4) + 1.0))
    most = max(group.clips for group in breakdown.groups)
    for column, panel in enumerate(axes):
        groups = breakdown.groups[column * rows : (column + 1) * rows]
        _stack(panel, np.arange(len(groups)), [group.counts for group in groups], horizontal=True)
        panel.set_yticks(range(len(groups)), [_shortened(group_label(g.key, g.label)) for g in groups], fontsize=8)
        panel.set(xlim=(0, 1.04 * most), ylim=(rows - 0.4, -0.6), xlabel="clips")
        panel.grid(axis="y", visible=False)
    _status_legend(figure, [breakdown])
    return figure


def number_figure(breakdowns: Sequence[Breakdown]) -> Figure:
    """Numbered groups as bars over their numbers: a panel each, at most four a row."""
    from matplotlib.ticker import MaxNLocator

    columns = min(len(breakdowns), _PANELS_A_ROW)
    rows = -(-len(breakdowns) // columns)
    figure, axes = new_figure(rows, columns, (_WIDTH_IN, 2.7 * rows))
    for panel in axes.flat[len(breakdowns) :]:
        panel.remove()
    for panel, breakdown in zip(axes.flat, breakdowns):
        numbers = np.array([int(group.key.lstrip(ascii_letters)) for group in breakdown.groups])
        _stack(panel, numbers, [group.counts for group in breakdown.groups], horizontal=False)
        panel.set(xlabel=breakdown.field.replace("_", " "), ylabel="clips")
        panel.xaxis.set_major_locator(MaxNLocator(nbins=22 if columns == 1 else 6, integer=True, min_n_ticks=1))
        panel.grid(axis="x", visible=False)
    _status_legend(figure, breakdowns)
    return figure


def ranked_figure(breakdown: Breakdown) -> Figure:
    figure, ((axes,),) = new_figure(1, 1, (_WIDTH_IN, 3.4))
    clips = sorted((group.clips for group in breakdown.groups), reverse=True)
    axes.fill_between(np.arange(1, len(clips) + 1), clips, step="mid", alpha=0.4)
    axes.step(np.arange(1, len(clips) + 1), clips, where="mid")
    axes.set(xlabel=f"{breakdown.field}, by rank", ylabel="clips", xlim=(0.5, len(clips) + 0.5), ylim=(0, None))
    return figure


def _stack(axes: Axes, places: np.ndarray, counts: Sequence[dict[Status, int]], horizontal: bool) -> None:
    below = np.zeros(len(places))
    for status, colour in STATUS_COLOURS.items():
        clips = np.array([count[status] for count in counts])
        if horizontal:
            axes.barh(places, clips, 0.75, left=below, color=colour)
        else:
            axes.bar(places, clips, 0.8, bottom=below, color=colour)
        below += clips


def _status_legend(figure: Figure, breakdowns: Sequence[Breakdown]) -> None:
    """Which colour is which status, where there is more than one."""
    from matplotlib.patches import Patch

    groups = [group for breakdown in breakdowns for group in breakdown.groups]
    seen = [status for status in STATUSES if any(group.counts[status] for group in groups)]
    if any(status != "done" for status in seen):
        handles = [Patch(color=STATUS_COLOURS[status], label=status) for status in seen]
        figure.legend(handles=handles, loc="outside upper right", ncols=len(seen), frameon=False, fontsize="small")


def _shortened(text: str, most: int = 30) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def length_figure(shown: Sequence[tuple[str, Distribution]]) -> Figure:
    """Histograms of (label of the axis, distribution), a panel each."""
    from matplotlib.ticker import MaxNLocator

    figure, ((*axes,),) = new_figure(1, len(shown), (_WIDTH_IN, 3.0))
    for panel, (label, values) in zip(axes, shown):
        low, high, bins = values.values.min(), values.values.max(), _BINS
        if low == high:  # one bar of a sensible width, not one that fills the panel
            low, high, bins = low - max(1.0, 0.1 * low), high + max(1.0, 0.1 * high), 21
        panel.hist(values.values, bins=bins, range=(low, high), weights=values.counts)
        panel.set(xlabel=label, ylabel="clips")
        panel.xaxis.set_major_locator(MaxNLocator(nbins=6))
        panel.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    return figure
