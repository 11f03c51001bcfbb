"""Sections of a fit's report that say how sure it is: parameters, jackknife, families, geometries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import report as page
from ..film import FilmModel
from ..film_report import parameters
from ..report import Block
from .report_figures import jackknife_figure, left_out_label
from .report_material import Material, Section

Floats = NDArray[np.float64]

KINDS = ("shot type", "layer count")


def parameters_section(material: Material) -> Section:
    """Parameters with their 95 % intervals and both kinds of error."""
    film, intervals = material.film, material.result.intervals
    noise = _by_name(film, film.covariance)
    systematic = _by_name(film, film.systematic_covariance)
    rows, numbers = [], []
    for row in parameters(film):
        name, values = row["name"], np.asarray(row["value"])
        value = f"{values[0]:.4g}" if np.ptp(values) == 0 else " / ".join(f"{v:.4g}" for v in values)
        errors = [known.get(name) for known in (noise, systematic)]
        own = {key: list(pair) for key, pair in intervals.items() if key.partition("_")[0] == name}
        shown = "; ".join(f"{low:.4g} to {high:.4g}" for low, high in own.values()) or "–"
        rows.append([name, value, row["unit"], shown, *map(_share, errors)])
        numbers.append({**row, "interval_95": own, "relative_sd_noise": errors[0], "relative_sd_systematic": errors[1]})
    columns = ["parameter", "value (R / G / B if they differ)", "unit", "95 % interval", "sd, noise", "sd, systematic"]
    blocks = [
        page.table(rows, columns),
        page.paragraph(
            "Noise is what repeats of the same shots would differ by. Systematic is what leaving out shots moves "
            "beyond that: what the model cannot describe. The interval holds both. A dash: not estimated."
        ),
    ]
    return Section("Parameters per sheet", "parameters", blocks, numbers)


def _by_name(film: FilmModel, covariance: Floats | None) -> dict[str, float]:
    """Parameter -> relative standard deviation of its worst channel."""
    found: dict[str, float] = {}
    for name, variance in zip(film.parameter_names, [] if covariance is None else np.diag(covariance)):
        stem = name.partition("_")[0]
        found[stem] = max(found.get(stem, 0.0), float(np.sqrt(max(variance, 0.0))))
    return found


def _share(error: float | None) -> str:
    return "–" if error is None else f"{100 * error:.2g} %" if error else "none found"


def jackknife_section(material: Material) -> Section:
    """How the parameters move when a shot type or a layer count is left out."""
    rows = material.result.jackknife
    heading = "What leaving shots out moves"
    numbers = [vars(row) for row in rows]
    if not rows:
        text = "Not estimated: that takes at least two kinds of shots, or two layer counts."
        return Section(heading, "jackknife", [page.paragraph(text)], {"rows": []})
    names = list(rows[0].shifts)
    cells = [
        [left_out_label(row), row.kind, *(f"{100 * np.expm1(row.shifts[name]):+.2g} %" for name in names),
         "yes" if row.significant else "no"]
        for row in rows
    ]  # fmt: skip
    moves = {kind: _jackknife_sd([row.shifts for row in rows if row.kind == kind]) for kind in KINDS}
    sizes = ", ".join(f"{kind}s {100 * move:.2g} %" for kind, move in moves.items() if move is not None)
    text = f"Standard deviation of the log parameters together, by the jackknife over: {sizes}. "
    if material.result.dominant == "noise":
        text += "What noise explains is the larger part: which shots were taken matters less."
    else:
        text += f"Systematic errors dominate, and the choice of {material.result.dominant}s makes most of them."
    blocks: list[Block] = [
        page.paragraph(text),
        page.picture(
            jackknife_figure(rows, _by_name(material.film, material.film.covariance)),
            "Move of each parameter when the shots named on the left are left out. Grey: 95 % of the full fit's "
            "noise. Full dots: more than noise explains.",
            "Dots, one panel a parameter: change in per cent when one shot type or layer count is left out of the fit.",
        ),
        page.table(cells, ["fit", "left out", *names, "beyond noise"], "Change of the parameters"),
    ]
    return Section(heading, "jackknife", blocks, {"rows": numbers, "dominant": material.result.dominant, "sd": moves})


def _jackknife_sd(shifts: list[dict[str, float]]) -> float | None:
    """sqrt((G - 1)/G sum of squared moves) over G groups and all parameters; None for fewer than two groups."""
    count = len(shifts)
    if count < 2:
        return None
    return float(np.sqrt((count - 1) / count * sum(move**2 for row in shifts for move in row.values())))


def families_section(material: Material) -> Section:
    """Which families competed."""
    scores = material.result.scores
    rows = [
        [s.family, s.law, f"{s.bic - scores[0].bic:,.0f}", s.reduced_chi2, s.converged,
         ", ".join(f"{name} {value:.4g}" for name, value in s.parameters.items())]
        for s in scores
    ]  # fmt: skip
    columns = ["family", "layer law", "BIC above the best", "chi² per degree", "converged", "parameters per sheet"]
    blocks = [
        page.table(rows, columns, "Kernel families on identical pixels, best first"),
        page.paragraph(
            "Ten units of BIC are strong evidence if the residuals are noise. Where chi² is well above 1 they are not, "
            "and only large differences count."
        ),
    ]
    numbers = [{**vars(score), "bic_above_best": score.bic - scores[0].bic} for score in scores]
    return Section("Families", "families", blocks, numbers)


def geometries_section(material: Material) -> Section:
    """Which geometries competed, by scenes that were left out."""
    scores = material.result.geometries
    numbers = [vars(score) for score in scores]
    if not scores:
        text = "Not compared: the geometry was given, or too few scenes are left to predict one from the others."
        return Section("Geometry", "geometries", [page.paragraph(text)], numbers)
    rows = [[s.projection, s.oblique_ballistic, s.score, f"{s.above_best:.3g} ± {s.above_best_sd:.2g}"] for s in scores]
    columns = ["projection", "unscattered light falls with obliquity", "chi² a pixel", "above the best"]
    blocks = [
        page.table(rows, columns, "Each scene predicted from a fit to the others"),
        page.paragraph("A difference within two of its standard errors says nothing."),
    ]
    return Section("Geometry", "geometries", blocks, numbers)
