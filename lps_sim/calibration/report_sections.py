"""Sections of a fit's report that show light: shots, edges, transfer function, encircled energy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import report as page
from ..film import HAZE_ANGLE_RAD, FilmModel
from ..report import Block
from .predicted import EdgeSpread, edge_spread
from .report_figures import COLUMNS, RESIDUAL_SCALE, SHOT_COLUMNS, edge_figure, energy_figure, mtf_figure, shots_figure
from .report_material import Material, Section

Floats = NDArray[np.float64]

_Q_CPR = np.geomspace(1.0, 200.0, 80)
_THETA_DEG = np.geomspace(0.1, 60.0, 60)
_FRINGES_SHOWN = 1  # fringe scenes a layer count among the pictures: their phases look alike


def shots_section(material: Material) -> Section:
    """Data, prediction and residual of every fitted scene."""
    blocks: list[Block] = [
        page.paragraph(
            "Measured and predicted light share one scale per scene (black to the brightest thousandth of the "
            f"prediction, shown to the power 1/2.2). Residuals run from -{RESIDUAL_SCALE:g} (blue) to "
            f"{RESIDUAL_SCALE:g} (red) everywhere, in units of noise and the fit's floor of 0.2 % of the light: grain "
            "of one unit is noise, patches and outlines are what the model does not describe. Grey: saturated."
        )
    ]
    channel = "" if material.seen.grey else " (green channel)"
    for layers in material.layers:
        rows = [shot for shot in material.predicted if shot.layers == layers]
        plain = [shot for shot in rows if shot.target != "fringe"]
        waves = [shot for shot in rows if shot.target == "fringe"]
        shown = plain + waves[:_FRINGES_SHOWN]
        more = (
            f" {len(waves) - _FRINGES_SHOWN} more fringe shots are in the table." if len(waves) > _FRINGES_SHOWN else ""
        )
        for part in _rows_of(shown, SHOT_COLUMNS):
            names = ", ".join(shot.scene for shot in part)
            alt = (
                f"Pictures of {names} at {layers} layers: measured, predicted, and their difference in units of noise."
            )
            blocks.append(page.picture(shots_figure(part), f"N = {layers}{channel}: {names}.{more}", alt))
    numbers = [shot.to_dict() for shot in material.predicted]
    rows_ = [
        [n["scene"], n["layers"], n["rms_in_noise"], _percent(n["share_beyond_3"]), _percent(n["relative_rms"]),
         _percent(n["saturated_share"]) if n["saturated_share"] else "none"]
        for n in numbers
    ]  # fmt: skip
    columns = ["scene", "layers", "rms (units of noise)", "beyond 3 units", "rms of the light", "saturated"]
    blocks.append(page.table(rows_, columns, "Residuals, all shots"))
    return Section("Shots and their predictions", "shots", blocks, numbers)


def edges_section(material: Material) -> Section:
    """Edge spread of the slanted edges."""
    blocks: list[Block] = []
    numbers = []
    for scene in dict.fromkeys(shot.scene for shot in material.predicted if shot.target == "edge"):
        found: list[EdgeSpread] = []
        for shot in material.predicted:
            gain = float(material.result.gains[shot.layers][material.channel])
            spread = edge_spread(shot, gain, material.camera.f_px) if shot.scene == scene else None
            found += [spread] if spread else []
        if found:
            counts = ", ".join(str(edge.layers) for edge in found)
            worst = 100 * max(float(np.abs(edge.measured - edge.predicted).max()) for edge in found)
            caption = f"Scene {scene}, N = {counts}. The largest difference is {worst:.2g} % of the light of white."
            alt = (
                f"Light across the slanted edge of {scene} at {counts} layers, measured and predicted, and difference."
            )
            blocks.append(page.picture(edge_figure(found), caption, alt))
            numbers += [edge.to_dict() for edge in found]
    if not blocks:
        blocks.append(page.paragraph("No slanted edge among the fitted shots."))
    return Section("Edge spread", "edges", blocks, numbers)


def transfer_section(material: Material) -> Section:
    """MTF with its band, the model-free points, and the difference through the estimator."""
    c = material.channel

    def mtf(film: FilmModel, layers: int) -> Floats:
        return film.mtf(_Q_CPR, layers)[:, c]

    curves = [material.curve(n, _Q_CPR, partial(mtf, layers=n)) for n in material.layers]
    differences = [row for _, rows in material.comparisons for row in rows]
    counts = ", ".join(map(str, material.layers))
    blocks: list[Block] = []
    for part in _rows_of(curves, COLUMNS):
        caption = (
            "Above: the film's MTF (line) with its 95 % band, and what was measured without a model (points, 2 sd of "
            "noise) divided by the fitted gain. Below: model-free minus film, both through the same estimator; grey: "
            "what the layer law is off by even in a sound fit."
        )
        shown = ", ".join(str(curve.layers) for curve in part)
        alt = f"MTF against frequency at N = {shown}: fitted curve and model-free points."
        blocks.append(page.picture(mtf_figure(part, material.model_free, differences, c), caption, alt))
    blocks.append(
        page.paragraph(
            "Points in the upper row below about 3 cycles/rad lie above the curve for a known reason: the picture is a "
            "window, and its mean leaks into the lowest frequencies. The lower row is free of that."
        )
    )
    numbers = {
        "film": [curve.to_dict() for curve in curves],
        "model_free": [estimate.to_dict() for estimate in material.model_free],
        "difference": [row.to_dict() for row in differences],
    }
    return Section(f"Transfer function at N = {counts}", "mtf", blocks, numbers)


def energy_section(material: Material) -> Section:
    """Encircled energy, haze and transmittance."""
    c, theta = material.channel, np.radians(_THETA_DEG)
    # Haze is read at 2.5 degrees at the film, which the camera sees smaller where the film hangs before it.
    haze_deg = float(np.degrees(HAZE_ANGLE_RAD * material.film.geometry.blur_factor))

    def energy(film: FilmModel, layers: int) -> Floats:
        return film.encircled_energy(theta, layers)[:, c]

    def haze_of(film: FilmModel, layers: int) -> Floats:
        return film.haze(layers)[c : c + 1]

    curves = [material.curve(n, _THETA_DEG, partial(energy, layers=n)) for n in material.layers]
    rows, numbers = [], []
    for n in material.layers:
        haze = material.curve(n, np.array([haze_deg]), partial(haze_of, layers=n))
        gain = float(material.result.gains[n][c])
        sd = None if haze.high is None or haze.low is None else float(haze.high[0] - haze.low[0]) / 2
        direct, passed = (
            float(value[c]) for value in (material.film.ballistic_fraction(n), material.film.transmittance(n))
        )
        rows.append(
            [n, f"{100 * haze.value[0]:.1f} %", "–" if sd is None else f"± {100 * sd:.2g} %", direct, gain, passed]
        )
        numbers.append(
            {
                "layers": n,
                "haze": float(haze.value[0]),
                "haze_95": sd,
                "unscattered": direct,
                "gain": gain,
                "transmittance": passed,
            }
        )
    columns = ["layers", "haze", "95 %", "unscattered share", "fitted gain", "transmittance of the film"]
    blocks = [
        page.picture(
            energy_figure(curves, haze_deg),
            "Share of the transmitted light within an angle of its direction, as the camera sees it, with its 95 % "
            f"band. Dots: {haze_deg:.3g} degrees, where haze is read (ASTM D1003: 2.5 degrees at the film).",
            "Encircled energy against angle, one curve a layer count, with the haze point marked.",
        ),
        page.table(rows, columns, "Light by layer count"),
        page.paragraph(
            "Haze is not privacy: a film may scatter nine tenths of the light and still pass a sharp image with the "
            "tenth that goes straight. Judge by the unscattered share and the transfer function."
        ),
    ]
    return Section(
        "Encircled energy and haze", "energy", blocks, {"curves": [x.to_dict() for x in curves], "rows": numbers}
    )


Item = TypeVar("Item")


def _rows_of(items: Sequence[Item], most: int) -> list[Sequence[Item]]:
    """Rows of nearly equal length, ``most`` or less in each."""
    rows = -(-len(items) // most)
    ends = [round(k * len(items) / rows) for k in range(rows + 1)] if rows else []
    return [items[start:end] for start, end in pairwise(ends)]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2g} %"
