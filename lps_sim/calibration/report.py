"""The fit's report: one page that says what was fitted, how well, how sure, and what nobody knows from these shots.

:func:`write_report` writes ``report.html`` (one file, opens offline) and ``report.json`` with every number on it. A
section is a function of :class:`Material` that returns its blocks and its numbers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import report as page
from ..error_bars import log_covariance
from ..files import write_atomic
from .fit import FitResult
from .report_material import Material, Section
from .report_sections import edges_section, energy_section, shots_section, transfer_section
from .report_trust import families_section, geometries_section, jackknife_section, parameters_section
from .shots import ShotSet

Floats = NDArray[np.float64]

_Q_CPR = np.geomspace(1.0, 200.0, 80)
_THETA_DEG = np.geomspace(0.1, 60.0, 60)
_NORMAL_95 = 1.96
_STEP = 1e-3  # of the log parameters, for the derivatives behind a band
_FRINGES_SHOWN = 1  # fringe scenes a layer count among the pictures: their phases look alike


def write_report(
    result: FitResult,
    shot_set: ShotSet,
    folder: str | os.PathLike[str],
    on_step: Callable[[str], None] | None = None,
) -> Path:
    """Write ``folder/report.html`` and ``folder/report.json``.

    Parameters
    ----------
    result : of :func:`lps_sim.calibration.fit.fit_film`
    shot_set : that it was fitted to
    folder : made if missing
    on_step : called with one line at the start of every step

    Returns
    -------
    path of the page
    """
    material = Material(result, shot_set, on_step or (lambda step: None))
    sections = []
    for make in SECTIONS:
        material.on_step(make.__name__.removesuffix("_section").replace("_", " "))
        sections.append(make(material))
    whole = page.Page(f"Fit of {result.film.name}", lead=_lead(material))
    for section in sections:
        whole.section(section.heading, *section.blocks)
    numbers = {"film": result.film.name, **{section.key: section.numbers for section in sections}}
    path = Path(folder) / "report.html"
    write_atomic(path.with_suffix(".json"), json.dumps(_finite(numbers), indent=1))
    whole.write(path)
    return path


def _lead(material: Material) -> str:
    family, counts = material.film.family, ", ".join(map(str, material.layers))
    return (
        f"Family {family}, fitted to {len(material.seen.scenes)} {'simulated ' if material.shot_set.simulated else ''}"
        f"filmed scenes at N = {counts} layers. Every number of this page is in report.json beside it."
    )


# -- sections, in the order of the page


def summary_section(material: Material) -> Section:
    """The verdict, the checks, and what is and is not known."""
    result, checks = material.result, material.checks
    fails, warns = ([check for check in checks if check.status == status] for status in ("fail", "warn"))
    verdict = "do not trust this film" if fails else "usable, with warnings" if warns else "usable"
    if not result.converged:
        verdict = "do not trust this film: the search did not converge"
    usable = [estimate.q_cpr[estimate.usable.any(axis=1)] for estimate in material.model_free]
    reach = max((float(q.max()) for q in usable if q.size), default=None)
    figures = [
        (verdict, "verdict", f"{len(fails)} of {len(checks)} checks failed, {len(warns)} warned"),
        (f"{result.reduced_chi2:.2f}", "chi² per degree of freedom", "1 is noise alone; up to 3 is sound"),
        ("–" if reach is None else f"{reach:.0f} cycles/rad", "measured without a model up to", "coherence above 0.2"),
        (f"{material.film.haze(material.layers[-1])[material.channel]:.2f}", f"haze at N = {material.layers[-1]}", ""),
    ]
    rows = [[check.name, check.status, check.text, check.cure] for check in checks]
    blocks = [page.facts(figures)]
    if rows:
        blocks.append(page.table(rows, ["check", "status", "what was found", "cure"], "Checks, the worst first"))
    blocks.append(page.paragraph("What these shots tell, and what they cannot tell:"))
    blocks.append(page.bullets(_known(material, reach)))
    numbers = {
        "verdict": verdict,
        "reduced_chi2": result.reduced_chi2,
        "converged": result.converged,
        "iterations": result.iterations,
        "highest_model_free_cpr": reach,
        "simulated": material.shot_set.simulated,
        "checks": [check.to_dict() for check in checks],
    }
    return Section("Summary", "summary", blocks, numbers)


def _known(material: Material, reach: float | None) -> list[str]:
    counts = ", ".join(map(str, material.layers))
    camera = material.camera
    corner = np.degrees(np.arctan(np.hypot(camera.width, camera.height) / 2 / camera.f_px))
    errors = log_covariance(material.film)
    kind = "none is known" if errors is None else errors[1]
    if material.result.dominant == "noise":
        larger = "Noise is the larger part."
    else:
        larger = f"Noise is the smaller part; the choice of {material.result.dominant}s matters more."
    if any(check.status == "fail" for check in material.checks):
        first = "Known: nothing to rely on. A check failed, and the numbers below describe these shots badly."
    else:
        first = f"Known: how the film scatters at N = {counts}, for scenes like these, within the errors shown below."
    items = [
        first,
        "Not measured: other layer counts. They follow from the layer law, which is an assumption until a shot through "
        "such a stack is held against it.",
        f"Not measured: light that the film throws farther than the view reaches (its corners are {corner:.0f} degrees "
        "from the axis). The far tail is the kernel family's, not the data's; it moves transmittance and encircled "
        "energy at large angles.",
        f"Error bars hold: {kind}. {larger} What all shots share (a wrong exposure time, stray light, a camera that "
        "processes its pictures) is in no error bar.",
    ]
    if reach is not None:
        why = "the pixels end" if reach > 0.7 * camera.nyquist_cpr else "the film leaves less contrast than noise"
        items.insert(
            1,
            f"Not seen without a model: contrast beyond {reach:.0f} cycles/rad. There {why}, and the curve is the "
            "family's extrapolation.",
        )
    if material.shot_set.simulated:
        items.insert(0, "No real film was measured: the set says that it is simulated.")
    if material.seen.grey:
        items.append("Not measured: colour. The set is grey, and all three channels carry the same numbers.")
    return items


def exclusions_section(material: Material) -> Section:
    """What took no part."""
    numbers = [vars(item) for item in material.exclusions]
    block = page.table([[i.what, i.reason] for i in material.exclusions], ["left out", "reason"])
    empty = page.paragraph("Nothing was left out.")
    return Section("Left out", "exclusions", [block if numbers else empty], numbers)


def provenance_section(material: Material) -> Section:
    """Which shots made the film."""
    provenance = dict(material.film.provenance)
    shots = provenance.get("shots", [])
    facts = [(_words(key), str(value)) for key, value in provenance.items() if isinstance(value, str) and value]
    facts.append(("film checksum", material.film.checksum()))
    for name, fields in (("geometry", vars(material.film.geometry)), ("camera", material.camera.to_dict())):
        facts.append((name, ", ".join(f"{_words(key)} {value}" for key, value in fields.items())))
    files = [[shot["file"], shot["layers"], shot["role"], shot["sha256"][:16]] for shot in shots]
    blocks = [page.table(facts, ["what", "value"], "Where the numbers come from")]
    if files:
        blocks.append(
            page.table(files, ["file", "layers", "role", "SHA-256, first 16 digits"], "Shots behind the film")
        )
    numbers = {
        **provenance,
        "checksum": material.film.checksum(),
        "geometry": vars(material.film.geometry),
        "camera": material.camera.to_dict(),
    }
    return Section("Provenance", "provenance", blocks, numbers)


SECTIONS: tuple[Callable[[Material], Section], ...] = (
    summary_section,
    parameters_section,
    shots_section,
    edges_section,
    transfer_section,
    energy_section,
    jackknife_section,
    families_section,
    geometries_section,
    exclusions_section,
    provenance_section,
)


def _words(key: str) -> str:
    return key.replace("_", " ")


def _finite(value: Any) -> Any:
    """The same with numpy scalars as numbers and what is not finite as null: JSON has no NaN."""
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_finite(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
