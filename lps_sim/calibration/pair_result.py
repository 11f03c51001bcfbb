"""What a pair says about a film, what it cannot say, and the film that goes into the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..camera import Camera
from ..files import sha256_file
from ..film import FilmGeometry, FilmModel
from .checks import Check, failed
from .families import Family
from .pair_checks import checks_of, unresolved
from .pair_geometry import precision_px
from .pair_material import Material
from .pair_model import PROJECTION, Shot, View
from .pair_solver import HOMOGRAPHY, Solution, covariance, model, prior
from .pair_timing import TimeMatch
from .transmittance import lossless_gain

Floats = NDArray[np.float64]

# What simulated recaptures (docs/fit_pairs.md) showed beyond the scatter between frames and parts of the picture:
# compression, resampling and the engines' own errors. Standard deviations of the logarithms (of beta - 1).
MODEL_FLOOR = {"sigma": 0.002, "tau1": 0.03, "s1": 0.025, "beta1": 0.05}
MTF_FLOOR = 0.002  # likewise, standard deviation of the MTF against its value at the lowest frequency
# Variance of blur that is not the film's, px^2 of the recording: screen pixels, lens, codec. It passes as film.
OTHER_BLUR_PX2 = 0.8
UNRESOLVED = 3.0  # times that: a Gaussian no wider may be no film at all
HOMOGRAPHY_FLOOR_PX = 0.06  # likewise, rms at 640 px across
STRETCH = 2.1  # of standard deviations to 95 %: Student's t at some 20 clusters
LOOSE = 0.35  # a parameter whose interval reaches farther than this share to either side is not pinned
_KNOWN_FROM_PRIOR = 0.5  # of the assumed range's standard deviation: above it the range speaks, not the material
_T_LIMITS = 0.02  # least transmittance that is thought possible
_MTF_POINTS = 9
_UNITS = {"sigma": "deg per sqrt(sheet)", "tau1": "events per sheet", "s1": "deg", "beta1": ""}


@dataclass(frozen=True)
class Estimate:
    """One quantity with its 95 % interval.

    name, unit; value : best estimate; low, high : interval; reason : why it is, or is not, pinned
    """

    name: str
    unit: str
    value: float
    low: float
    high: float
    reason: str


@dataclass(frozen=True)
class PairFit:
    """A film from paired material, and what of it is known.

    Parameters
    ----------
    film : with covariance of its log parameters, floor included; c1, c2 are assumed, see ``not_pinned``
    pinned, not_pinned : every quantity on one of the two lists
    mtf : q in cycles/rad -> MTF relative to the lowest q that the material reaches, low, high
    time : offset and drift
    homography : (8,) camera to picture, as in lps_sim.calibration.pair_geometry
    homography_precision_px : standard deviation of the picture's position, rms over the frame, px of the recording
    frames : recorded frames that took part; gains : of each, transmittance included
    families : name -> BIC above the best; residual_codes : robust standard deviation of what is left
    camera, camera_assumed : that filmed; whether it was assumed
    checks : figures held against limits
    converged : of the search, and no check failed
    example : (2, rows, columns) linear light of the first frame, filmed and predicted
    """

    film: FilmModel
    layers: int
    pinned: tuple[Estimate, ...]
    not_pinned: tuple[Estimate, ...]
    mtf: tuple[tuple[float, float, float, float], ...]
    time: TimeMatch
    homography: Floats
    homography_precision_px: float
    frames: NDArray[np.intp]
    gains: Floats
    families: dict[str, float]
    residual_codes: float
    camera: Camera
    camera_assumed: bool
    checks: tuple[Check, ...]
    converged: bool
    example: Floats

    def estimate(self, name: str) -> Estimate:
        """The quantity of this name from either list; KeyError otherwise."""
        return {row.name: row for row in (*self.pinned, *self.not_pinned)}[name]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return {
            "film": self.film.name,
            "checksum": self.film.checksum(),
            "family": self.film.family,
            "layers": self.layers,
            "pinned": [asdict(row) for row in self.pinned],
            "not_pinned": [asdict(row) for row in self.not_pinned],
            "mtf": [dict(zip(("q_cpr", "value", "low", "high"), row)) for row in self.mtf],
            "time": self.time.to_dict(),
            "homography": self.homography.tolist(),
            "homography_precision_px": self.homography_precision_px,
            "frames": [int(k) for k in self.frames],
            "gains": self.gains.tolist(),
            "families": self.families,
            "residual_codes": self.residual_codes,
            "camera": self.camera.to_dict(),
            "camera_assumed": self.camera_assumed,
            "checks": [check.to_dict() for check in self.checks],
            "converged": self.converged,
        }


def conclude(
    *,
    view: View,
    shots: Sequence[Shot],
    whole: Sequence[Shot],
    solution: Solution,
    rivals: Sequence[Solution],
    time: TimeMatch,
    chosen: NDArray[np.intp],
    camera: Camera,
    camera_assumed: bool,
    clipped: float,
    materials: tuple[Material, Material],
    name: str,
    created: str,
) -> PairFit:
    """The result of a finished search.

    Parameters
    ----------
    view, shots, solution : of the last search
    whole : the same frames with all their pixels, for spectra
    rivals : solutions of the families that competed, best first
    time, chosen : match in time and the recorded frames used
    camera, camera_assumed : of the recording, at its full size
    clipped : share of clipped pixels in the frames used
    materials : clean and filmed, for the provenance
    name, created : of the film
    """
    state, layers = solution.state, view.layers
    family, f = state.family, state.logs.size
    spread = covariance(view, shots, solution)
    rows = slice(HOMOGRAPHY, HOMOGRAPHY + f)
    logs_covariance = spread[rows, rows] + np.diag(_floor(family, state.logs, layers, camera) ** 2)
    low_q, high_q = measured_range(view, whole, solution)
    mtf = _relative_mtf(family, state.logs, logs_covariance, layers, low_q, high_q, camera)
    scale = camera.width / view.size[1]
    precision = precision_px(state.entries, spread[:HOMOGRAPHY, :HOMOGRAPHY], view.size) * scale
    precision = float(np.hypot(precision, HOMOGRAPHY_FLOOR_PX * camera.width / 640))

    blurred_px2 = _film_blur_px2(family, state.logs, layers, camera)
    pinned, loose = _film_estimates(family, state.logs, logs_covariance, camera, blurred_px2)
    for q, value, low, high in mtf:
        pinned.append(Estimate(f"mtf_{q:.3g}", f"of the MTF at {low_q:.3g} cycles/rad", value, low, high, "contrast"))
    if camera_assumed:
        pinned = [replace(row, reason=f"{row.reason}, given the assumed field of view") for row in pinned]
    pinned.append(_start(time))
    (pinned if _narrow(time) else loose).append(_drift(time))
    pinned.append(
        Estimate("picture position", "px, rms", 0.0, -STRETCH * precision, STRETCH * precision, "edges and motion")
    )
    loose += _never(solution, spread, camera, camera_assumed, layers, f)
    film = _film(family, state.logs, logs_covariance, solution, layers, camera, materials, name, created)
    checks = checks_of(view, solution, time, clipped, precision, camera.width)
    if blurred_px2 < UNRESOLVED * OTHER_BLUR_PX2:
        checks.append(unresolved(blurred_px2, UNRESOLVED * OTHER_BLUR_PX2))
    return PairFit(
        film=film,
        layers=layers,
        pinned=tuple(pinned),
        not_pinned=tuple(loose),
        mtf=tuple(mtf),
        time=time,
        homography=state.entries,
        homography_precision_px=precision,
        frames=chosen,
        gains=state.gains,
        families={s.state.family.name: s.bic - rivals[0].bic for s in rivals},
        residual_codes=solution.scale,
        camera=camera,
        camera_assumed=camera_assumed,
        checks=tuple(checks),
        converged=solution.converged and not failed(checks),
        example=_example(view, whole, solution),
    )


def _floor(family: Family, logs: Floats, layers: int, camera: Camera) -> Floats:
    """(F,) standard deviations of the logarithms that no scatter shows."""
    floor = np.array([MODEL_FLOOR[name] for name in family.names])
    if "sigma" in family.names:
        at = family.names.index("sigma")
        floor[at] = np.hypot(floor[at], 0.5 * OTHER_BLUR_PX2 / _film_blur_px2(family, logs, layers, camera))
    return floor


def _film_blur_px2(family: Family, logs: Floats, layers: int, camera: Camera) -> float:
    """Variance of the stack's Gaussian blur, px^2 of the recording; infinite for a family without one."""
    sigma = family.decode(logs).get("sigma", np.inf)
    return float(layers * (np.radians(sigma) * camera.f_px) ** 2)


def _example(view: View, whole: Sequence[Shot], solution: Solution) -> Floats:
    pictures = np.zeros((2, view.size[0] * view.size[1]))
    pictures[0, whole[0].pixels] = whole[0].y
    pictures[1, whole[0].pixels] = model(view, whole[:1], solution.state)[0]
    return pictures.reshape(2, *view.size)


def measured_range(view: View, whole: Sequence[Shot], solution: Solution) -> tuple[float, float]:
    """(lowest, highest) frequency in cycles/rad at which the film's picture stands above what is left.

    Power spectra of the predicted pictures without veil and of the residuals, under a Hann window, averaged over rings
    and frames. The lowest is one and a half cycles over the frame's width.
    """
    height, width = view.size
    window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
    f_px = view.camera.f_px
    q = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]) * f_px
    low = 1.5 * f_px / width
    edges = np.geomspace(low, f_px / 2, 25)
    ring = np.digitize(q.ravel(), edges)
    signal, noise = np.zeros(edges.size + 1), np.zeros(edges.size + 1)
    for shot, light, gain in zip(whole, model(view, whole, solution.state), solution.state.gains):
        veil = gain * view.vignetting(shot) * (view.veil_shapes(shot) @ solution.state.veil)
        for total, values in ((signal, light - veil), (noise, light - shot.y)):
            field = np.zeros(height * width)
            field[shot.pixels] = values - values.mean()
            power = np.abs(np.fft.rfft2(field.reshape(height, width) * window)) ** 2
            total += np.bincount(ring, power.ravel(), edges.size + 1)
    # A small picture leaves the lowest rings empty.
    above = (signal[1:-1] > 2 * noise[1:-1]) | (np.bincount(ring, minlength=edges.size + 1)[1:-1] == 0)
    count = above.size if above.all() else int(above.argmin())
    return float(low), float(edges[max(count, 1)])


def _relative_mtf(
    family: Family, logs: Floats, known: Floats, layers: int, low_q: float, high_q: float, camera: Camera
) -> list[tuple[float, float, float, float]]:
    """(q, MTF / MTF(low_q), low, high) over the measured range."""
    q = np.geomspace(low_q, high_q, _MTF_POINTS)

    def relative(at: Floats) -> Floats:
        mtf = family.film([at], FilmGeometry(projection=PROJECTION)).mtf(q, layers)[:, 1]
        return mtf / mtf[0]

    here = relative(logs)
    step = 1e-4
    slopes = np.stack([(relative(logs + step * unit) - here) / step for unit in np.eye(logs.size)], axis=1)
    deviation = np.sqrt(np.einsum("qi,ij,qj->q", slopes, known, slopes) + MTF_FLOOR**2)
    if "sigma" not in family.names:  # else it is in sigma's own floor
        deviation = np.hypot(deviation, here * OTHER_BLUR_PX2 * 2 * (np.pi * q / camera.f_px) ** 2)
    rows = [(q[k], here[k], max(0.0, here[k] - STRETCH * d), here[k] + STRETCH * d) for k, d in enumerate(deviation)]
    return [tuple(float(value) for value in row) for row in rows[1:]]  # type: ignore[misc]


def _film_estimates(
    family: Family, logs: Floats, known: Floats, camera: Camera, blurred_px2: float
) -> tuple[list[Estimate], list[Estimate]]:
    pinned: list[Estimate] = []
    loose: list[Estimate] = []
    deviation = np.sqrt(np.diag(known))
    low, high = family.bounds
    ends = [family.decode(np.clip(logs + sign * STRETCH * deviation, low, high)) for sign in (-1, 1)]
    values = family.decode(logs)
    view_deg = camera.fov_deg
    for k, name in enumerate(family.names):
        value, first, last = values[name], ends[0][name], ends[1][name]
        reasons = []
        if deviation[k] > _KNOWN_FROM_PRIOR * prior(family)[1][k]:
            reasons.append("the range assumed beforehand decides, not the material")
        if min(logs[k] - low[k], high[k] - logs[k]) < 0.02:
            reasons.append("the search ended at the bound of what is allowed")
        if max(last / value - 1, 1 - first / value) > LOOSE:
            reasons.append("traded against the frames' free gains and the veil")
        if name == "sigma" and blurred_px2 < UNRESOLVED * OTHER_BLUR_PX2:
            first = 0.0
            reasons.append("no wider than the recording's own blur: light that passes unscattered looks the same")
        if name == "s1" and value > view_deg / 2:
            reasons.append("a halo wider than the view cannot be told from veil")
        row = (name, _UNITS[name], value, first, last)
        if reasons:
            loose.append(Estimate(*row, "; ".join(reasons)))
        else:
            pinned.append(Estimate(*row, "shape of the blur"))
    return pinned, loose


def _start(time: TimeMatch) -> Estimate:
    reason = "motion; whole frames leave up to half a frame open"
    return Estimate("start", "clean frame at recorded frame 0", time.start, *time.start_interval, reason)


def _drift(time: TimeMatch) -> Estimate:
    reason = (
        "moments at which the recording skips or repeats a frame"
        if _narrow(time)
        else "too few skipped or repeated frames in so short a recording; the match itself is not touched"
    )
    return Estimate(
        "drift", "clean frames a recorded frame over the nominal, minus 1", time.drift, *time.drift_interval, reason
    )


def _narrow(time: TimeMatch) -> bool:
    low, high = time.drift_interval
    return high - low <= 4e-4


def _never(
    solution: Solution, spread: Floats, camera: Camera, camera_assumed: bool, layers: int, film_parameters: int
) -> list[Estimate]:
    """What paired material says nothing about, whatever its quality."""
    free = "every frame has a gain of its own (automatic exposure), so absolute levels are not seen"
    most = lossless_gain(1.5, layers)
    c1 = (1 / lossless_gain(1.5, 1)) - 1
    state = solution.state
    at = HOMOGRAPHY + film_parameters
    reach = STRETCH * float(np.sqrt(spread[at, at]))
    veil = float(state.veil[0])
    rows = [
        Estimate("transmittance", "", most, _T_LIMITS, most, free + "; the value in the film is clear sheets'"),
        Estimate("c1", "per sheet", c1, c1, 0.25, free + "; assumed"),
        Estimate("c2", "per sheet^2", 0.0, 0.0, 0.02, "one layer count, and " + free),
        Estimate(
            "veil",
            "of the screen's white, before the transmittance",
            veil,
            max(0.0, veil - reach),
            veil + reach,
            "holds the screen's black glow and room light of this recording as well; its absolute level needs the "
            "transmittance",
        ),
    ]
    if camera_assumed:
        angle = camera.fov_deg
        reason = "no camera was given; sigma and s scale with 1 / f_px, cycles/rad with f_px"
        rows.append(Estimate("field of view", "deg across", angle, 50.0, 90.0, reason))
    return rows


def _film(
    family: Family,
    logs: Floats,
    known: Floats,
    solution: Solution,
    layers: int,
    camera: Camera,
    materials: tuple[Material, Material],
    name: str,
    created: str,
) -> FilmModel:
    c1 = (1 / lossless_gain(1.5, 1)) - 1
    film = family.film([logs], FilmGeometry(projection=PROJECTION), c1, 0.0)
    level = max(0.0, float(solution.state.veil[0])) * film.transmittance(layers)
    scale = family.log_scale(logs)
    full = known * np.outer(scale, scale)
    provenance: dict[str, Any] = {
        "kind": "fitted to paired material",
        "text": f"Fitted to clean and filmed material at {layers} layers without a calibration. c1, c2 (clear sheets) "
        "are assumed, not measured; one film for all three channels; the layer law carries other counts.",
        "references": ["Wells 1969", "Moffat 1969"],
        "created": created,
        "package_version": __version__,
        "materials": [{"file": m.path.name, "sha256": None if m.images else sha256_file(m.path)} for m in materials],
    }
    quality = [
        {"frame": t, "residual_rms_codes": rms, "gain": float(gain)}
        for t, (rms, gain) in enumerate(zip(solution.residual_rms, solution.state.gains))
    ]
    return replace(
        film,
        name=name,
        veil_table={layers: level},
        provenance=provenance,
        parameter_names=family.names,
        covariance=full,
        jackknife_spread=np.sqrt(np.diag(full)),
        calibration_camera=camera.to_dict(),
        fit_quality=tuple(quality),
    )
