"""What there is to say about a film: its parameters with uncertainty, its behaviour by layers, and the curves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .files import atomic_path
from .film import FilmModel
from .privacy import Observer
from .privacy import report as privacy_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

MTF_FREQUENCIES_CPR = (1.0, 5.0, 10.0, 20.0, 40.0)


def relative_spread(film: FilmModel, parameter: str) -> tuple[float, str] | None:
    """(relative standard deviation, its source) of a fitted parameter, or None where it was not fitted.

    The jackknife over shot types is preferred, since systematic errors dominate the noise that the Jacobian sees.
    """
    # A colour fit has a parameter a channel; the worst of them stands for all.
    wanted = {parameter, *(f"{parameter}_{channel}" for channel in "rgb")}
    rows = [index for index, name in enumerate(film.parameter_names) if name in wanted]
    if rows and film.jackknife_spread is not None:
        return float(film.jackknife_spread[rows].max()), "jackknife"
    if rows and film.covariance is not None:
        return float(np.sqrt(np.diag(film.covariance)[rows].max())), "noise only"
    return None


def parameters(film: FilmModel) -> list[dict[str, Any]]:
    """One row a parameter: name, unit, value (3,) as list, relative_sd and its source (None where unknown)."""
    rows: list[tuple[str, str, Floats]] = []
    if (film.sigma_rad > 0).any():
        rows.append(("sigma", "deg per sqrt(sheet)", np.degrees(film.sigma_rad)))
    for index, component in enumerate(film.components, start=1):
        rows.append((f"tau{index}", "events per sheet", component.tau))
        rows.append((f"s{index}", "deg", np.degrees(component.s_rad)))
        if component.kind == "moffat":
            rows.append((f"beta{index}", "", component.beta))
    rows += [("c1", "per sheet", film.c1), ("c2", "per sheet^2", film.c2)]
    result = []
    for name, unit, value in rows:
        spread = relative_spread(film, name)
        result.append(
            {
                "name": name,
                "unit": unit,
                "value": value.tolist(),
                "relative_sd": spread[0] if spread else None,
                "source": spread[1] if spread else None,
            }
        )
    return result


def summary(film: FilmModel, layers: Sequence[int], observer: Observer | None = None) -> dict[str, Any]:
    """Everything ``lps film show`` prints, as plain numbers, lists and strings.

    Parameters
    ----------
    film : the film
    layers : layer counts, 1..64 each
    observer : the attacker's camera and scene; by default that of the film's own camera, or Observer()

    Notes
    -----
    Parameters and haze are the film's own; MTF is seen at the camera in the film's geometry; the privacy numbers are
    those of a face at the observer's distance (:mod:`lps_sim.privacy`).
    """
    if observer is None:
        observer = Observer.of_camera(film.calibration_camera or {})
    rows = []
    for count in layers:
        rows.append(
            {
                "layers": count,
                "transmittance": film.transmittance(count).tolist(),
                "veil": film.veil(count).tolist(),
                "haze": film.haze(count).tolist(),
                "mtf": {f"{q:g}": film.mtf(q, count).tolist() for q in MTF_FREQUENCIES_CPR},
                "privacy": privacy_report(film, count, observer),
            }
        )
    return {
        "name": film.name,
        "family": film.family,
        "checksum": film.checksum(),
        "geometry": dict(vars(film.geometry)),
        "parameters": parameters(film),
        "by_layers": rows,
        "provenance": dict(film.provenance),
    }


def draw_curves(film: FilmModel, layers: Sequence[int], reference: FilmModel | None = None) -> Figure:
    """MTF over frequency, encircled energy over angle, and PSF, one colour a layer count (green channel).

    The PSF is that of the scattered light, per steradian on logarithmic axes. A ``reference`` film, such as the true
    one beside a fit, is drawn broad and pale below, so that both stay visible where they agree.
    """
    from .report import new_figure

    figure, ((mtf_axes, energy_axes, psf_axes),) = new_figure(1, 3, (14, 4))
    q, theta = np.geomspace(0.2, 400, 300), np.radians(np.geomspace(0.02, 60, 300))
    for index, count in enumerate(layers):
        for drawn, width, opacity in ((reference, 5.0, 0.35), (film, 1.3, 1.0)):
            if drawn is None:
                continue
            look: dict[str, Any] = {"color": f"C{index}", "linewidth": width, "alpha": opacity}
            name = f"N = {count}" if reference is None else f"N = {count}, {drawn.name}"
            mtf_axes.semilogx(q, drawn.mtf(q, count)[:, 1], label=name, **look)
            energy_axes.semilogx(np.degrees(theta), drawn.encircled_energy(theta, count)[:, 1], **look)
            psf_axes.loglog(np.degrees(theta), np.maximum(drawn.psf(theta, count)[:, 1], 1e-12), **look)
    mtf_axes.set(xlabel="frequency (cycles/rad)", ylabel="MTF", ylim=(0, 1.02), title="What contrast is left")
    mtf_axes.legend(fontsize="small")
    energy_axes.set(xlabel="angle (degrees)", ylabel="share of transmitted light within", ylim=(0, 1.02))
    energy_axes.set_title("Where the light goes")
    energy_axes.axvline(2.5, color="grey", linewidth=0.8, linestyle=":")
    psf_axes.set(xlabel="angle (degrees)", ylabel="PSF, scattered part (1/sr)", title="How a point of light spreads")
    psf_axes.set_ylim(bottom=1e-4)
    if reference is None:
        figure.suptitle(film.name, fontsize="medium")
    return figure


def save_curves(film: FilmModel, layers: Sequence[int], path: str | os.PathLike[str]) -> None:
    """:func:`draw_curves` as a picture file whose format follows its suffix (.png, .svg, .pdf); whole or absent."""
    figure = draw_curves(film, layers)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
