"""The pictures of a fit's report: shots beside their predictions, edges, transfer functions, encircled energy.

matplotlib is loaded when the first figure is made (:func:`lps_sim.report.new_figure`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..report import PALETTE, new_figure
from .model_free import FILM_FLOOR, FilmDifference, ModelFree
from .predicted import EdgeSpread, PredictedScene

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .uncertainty import LeftOut

Floats = NDArray[np.float64]

RESIDUAL_SCALE = 5.0  # of every residual picture, in units of noise
COLUMNS = 4  # of layer counts
SHOT_COLUMNS = 5
_DISPLAY_POWER = 1 / 2.2  # of linear light, to be looked at; the same for measured and predicted
_GREY = "0.55"


@dataclass(frozen=True)
class Curve:
    """A film's curve with its 95 % band, or low = high = None without error bars.

    layers; at : (K,) frequency in cycles/rad or angle in degrees; value, low, high : (K,)
    """

    layers: int
    at: Floats
    value: Floats
    low: Floats | None = None
    high: Floats | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in vars(self).items()}


def colour_of(layers: int, counts: Sequence[int]) -> str:
    """One colour a layer count, the same in every figure."""
    return PALETTE[list(counts).index(layers) % len(PALETTE)]


def shots_figure(shots: Sequence[PredictedScene]) -> Figure:
    """Measured, predicted and residual, one column a scene; at most :data:`SHOT_COLUMNS` scenes.

    Measured and predicted share one scale per scene, from black to the brightest thousandth of the prediction, raised
    to 1/2.2. All residuals share one scale, -5 to 5 units of noise; grey: saturated.
    """
    height, width = shots[0].measured.shape
    panel = 2.4
    size = (panel * len(shots) + 1.1, 3 * (panel * height / width + 0.1) + 0.5)
    figure, axes = new_figure(3, len(shots), size)
    for column, shot in zip(axes.T, shots):
        for cell in column:
            cell.set_axis_off()
        top = max(float(np.quantile(shot.predicted, 0.999)), 1e-9)
        for cell, picture in zip(column, (shot.measured, shot.predicted)):
            cell.imshow(np.clip(picture / top, 0, 1) ** _DISPLAY_POWER, cmap="gray", vmin=0, vmax=1)
        column[2].imshow(np.full((height, width), 0.5), cmap="gray", vmin=0, vmax=1)
        residuals = column[2].imshow(shot.residual, cmap="RdBu_r", vmin=-RESIDUAL_SCALE, vmax=RESIDUAL_SCALE)
        rms = shot.to_dict()["rms_in_noise"]
        column[0].set_title(shot.scene, fontsize="medium")
        column[2].set_title("" if rms is None else f"rms {rms:.2f}", fontsize="small", pad=2)
    for row, label in zip(axes, ("measured", "predicted", "residual")):
        row[0].text(-0.04, 0.5, label, rotation=90, va="center", ha="right", transform=row[0].transAxes)
    bar = figure.colorbar(residuals, ax=axes[2, :].tolist(), fraction=0.03, pad=0.01)
    bar.set_label("units of noise", fontsize="small")
    return figure


def edge_figure(edges: Sequence[EdgeSpread]) -> Figure:
    """One scene's edge spread at every layer count: points as binned across the edge, lines as predicted."""
    figure, ((spread, rest),) = new_figure(1, 2, (12, 4.2))
    counts = [edge.layers for edge in edges]
    spread.plot(edges[0].angle_deg, edges[0].bare, color=_GREY, linewidth=1, label="bare (input)")
    for edge in edges:
        colour = colour_of(edge.layers, counts)
        spread.plot(edge.angle_deg, edge.predicted, color=colour, linewidth=1.2)
        spread.plot(
            edge.angle_deg, edge.measured, ".", color=colour, markersize=4, label=f"N = {edge.layers}", zorder=3
        )
        off, sd = 100 * (edge.measured - edge.predicted), 100 * edge.sd
        rest.fill_between(edge.angle_deg, off - 2 * sd, off + 2 * sd, color=colour, alpha=0.25, linewidth=0)
        rest.plot(edge.angle_deg, off, color=colour, linewidth=1)
    spread.set(xlabel="angle across the edge (degrees)", ylabel="light, in units of gain x white")
    spread.set_title("Edge spread: points measured, lines predicted")
    spread.legend(fontsize="small", loc="upper left")
    rest.axhline(0, color=_GREY, linewidth=0.8)
    rest.set(xlabel="angle across the edge (degrees)", ylabel="measured - predicted (% of gain x white)")
    rest.set_title("Difference, with 2 sd of its noise")
    return figure


def mtf_figure(
    curves: Sequence[Curve], free: Sequence[ModelFree], differences: Sequence[FilmDifference], channel: int
) -> Figure:
    """MTF with its band and the model-free points, one column a layer count; below, model-free minus film.

    The lower row goes through the estimator on both sides, so that window and view cancel; at most COLUMNS curves.
    """
    figure, axes = new_figure(2, len(curves), (3.1 * len(curves) + 0.4, 6))
    for (upper, lower), curve in zip(axes.T, curves):
        _band(upper, curve, PALETTE[0], "film, 95 %")
        top = 1.0
        for estimate in (entry for entry in free if entry.layers == curve.layers):
            known = estimate.usable[:, channel]
            fringes = estimate.source == "fringes"
            upper.errorbar(
                estimate.q_cpr[known],
                estimate.mtf[known, channel],
                2 * estimate.sd[known, channel],
                fmt="s" if fringes else ".",
                color=PALETTE[2] if fringes else PALETTE[1],
                markersize=4,
                linewidth=1,
                label=estimate.source + ", 2 sd",
            )
            top = max(top, float(estimate.mtf[known, channel].max(initial=0)))
        for row in (entry for entry in differences if entry.layers == curve.layers):
            known = row.usable[:, channel]
            colour = PALETTE[2] if row.source == "fringes" else PALETTE[1]
            style = "s" if row.source == "fringes" else "."
            off, sd = row.difference[known, channel], row.sd[known, channel]
            lower.errorbar(row.q_cpr[known], off, 2 * sd, fmt=style, color=colour, markersize=4, linewidth=1)
        lower.axhspan(-FILM_FLOOR, FILM_FLOOR, color=_GREY, alpha=0.2, linewidth=0)
        lower.axhline(0, color=_GREY, linewidth=0.8)
        for cell in (upper, lower):
            cell.set(xscale="log", xlim=(curve.at[0], curve.at[-1]))
            cell.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
            cell.minorticks_off()
        upper.set(ylim=(-0.02, top + 0.04), title=f"N = {curve.layers}")
        lower.set(xlabel="frequency (cycles/rad)")
        lower.set_ylim(*_symmetric(lower, 2 * FILM_FLOOR))
    axes[0, 0].set_ylabel("MTF")
    axes[0, 0].legend(fontsize="small", loc="lower left")
    axes[1, 0].set_ylabel("model-free - film")
    return figure


def energy_figure(curves: Sequence[Curve], haze_angle_deg: float) -> Figure:
    """Encircled energy with its band, one colour a layer count; the haze points sit on the dotted line."""
    figure, ((axes,),) = new_figure(1, 1, (8.5, 4.4))
    counts = [curve.layers for curve in curves]
    axes.axvline(haze_angle_deg, color=_GREY, linewidth=1, linestyle=":")
    for curve in curves:
        colour = colour_of(curve.layers, counts)
        _band(axes, curve, colour, f"N = {curve.layers}")
        level = float(np.interp(haze_angle_deg, curve.at, curve.value))
        axes.plot([haze_angle_deg], [level], "o", color=colour, markersize=6)
    axes.set(xscale="log", ylim=(0, 1.02), xlabel="angle (degrees)", ylabel="share of transmitted light within")
    axes.set_xticks([0.1, 0.3, 1, 3, 10, 30, 60], ["0.1", "0.3", "1", "3", "10", "30", "60"])
    axes.minorticks_off()
    axes.legend(fontsize="small", loc="upper left")
    return figure


def left_out_label(row: LeftOut) -> str:
    """ "without edge", "without N = 4"."""
    return f"without {'N = ' if row.kind == 'layer count' else ''}{row.left_out}"


def jackknife_figure(rows: Sequence[LeftOut], noise: Mapping[str, float]) -> Figure:
    """Moves of every parameter (one panel each, per cent) when shots are left out; grey: 95 % of the fit's noise.

    ``noise``: parameter -> relative standard deviation of the full fit.
    """
    names = list(rows[0].shifts)
    figure, (panels,) = new_figure(1, len(names), (1.9 * len(names) + 1.6, 0.28 * len(rows) + 1.1))
    places = np.arange(len(rows))[::-1]
    for axes, name in zip(panels, names):
        moves = np.array([100 * np.expm1(row.shifts[name]) for row in rows])
        significant = np.array([row.significant for row in rows])
        reach = 196 * noise.get(name, 0.0)
        axes.axvspan(-reach, reach, color=_GREY, alpha=0.25, linewidth=0)
        axes.axvline(0, color=_GREY, linewidth=0.8)
        axes.plot(moves[significant], places[significant], "o", color=PALETTE[1], markersize=5)
        axes.plot(
            moves[~significant], places[~significant], "o", color=PALETTE[1], markersize=5, markerfacecolor="none"
        )
        limit = max(1.15 * float(np.abs(moves).max()), reach, 1e-3)
        axes.set(xlim=(-limit, limit), ylim=(-0.6, len(rows) - 0.4), title=name, xlabel="change (%)")
        axes.set_yticks(places, [""] * len(rows))
        axes.locator_params(axis="x", nbins=3)
    panels[0].set_yticks(places, [left_out_label(row) for row in rows])
    return figure


def _band(axes: Axes, curve: Curve, colour: str, label: str) -> None:
    if curve.low is not None and curve.high is not None:
        axes.fill_between(curve.at, curve.low, curve.high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(curve.at, curve.value, color=colour, linewidth=1.2, label=label)


def _symmetric(axes: Axes, least: float) -> tuple[float, float]:
    reach = max(least, *(abs(limit) for limit in axes.get_ylim()))
    return -reach, reach
