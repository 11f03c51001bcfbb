"""Fit a film to a calibration set: all film shots at once, one gain a layer count, the operator used to degrade.

    residual = sqrt(w) (y - g_N K_N x),   w = 1 / (variance + (0.002 y)^2)

One gain a layer count is shared by its shots, none passes what the sheets' faces let through, and there is no free
offset: a free gain and offset a shot would be degenerate with the halo. Families compete by BIC on identical pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls

from .. import __version__
from ..errors import UnknownNameError
from ..film import FAMILIES, FilmGeometry, FilmModel
from .basis import OperatorBasis
from .families import Family
from .inputs import FitShot, SceneInputs, decimation, fit_shots
from .observations import Exclusion, Observations, observe
from .shots import ShotSet

Floats = NDArray[np.float64]

_STEP = 1e-5  # of the logarithms, for the Jacobian
_MAX_STEPS = 100
_GAIN_SLACK = 1.01  # of the faces' limit: exposures are known to about 1 %
_PROJECTIONS = ("equal_area", "direction_cosines", "pixel")


@dataclass(frozen=True)
class ShotResidual:
    """How well one scene at one layer count is described: rms of the weighted residuals (1 = noise alone)."""

    scene: str
    target: str
    layers: int
    channel: int
    files: tuple[str, ...]
    pixels: int
    rms: float
    relative_rms: float


@dataclass(frozen=True)
class FamilyScore:
    """One family's best fit: Bayesian information criterion (lower is better), chi^2 per degree of freedom."""

    family: str
    bic: float
    reduced_chi2: float
    parameters: dict[str, float]
    converged: bool
    iterations: int


@dataclass(frozen=True)
class FitResult:
    """A fitted film and how it came about.

    film : the film, with covariance, provenance and per-shot quality
    converged, iterations : of the chosen family's search, worst channel
    reduced_chi2 : of the chosen family over all channels; 1.4-2.9 is sound with the 0.2 % model floor
    gains : layers -> (C,) fitted gain g_N, before the two-parameter transmittance law
    scores : every family that competed, best first (green or grey channel)
    residuals, exclusions : one entry a shot used, one a shot left out
    """

    film: FilmModel
    converged: bool
    iterations: int
    reduced_chi2: float
    gains: dict[int, list[float]]
    scores: tuple[FamilyScore, ...]
    residuals: tuple[ShotResidual, ...]
    exclusions: tuple[Exclusion, ...]


@dataclass
class _Solution:
    family: Family
    logs: Floats
    gains: Floats
    cost: float
    chi2: float
    points: int
    jacobian: Floats
    converged: bool
    iterations: int

    @property
    def bic(self) -> float:
        return 2 * self.cost + (self.logs.size + self.gains.size) * float(np.log(self.points))

    @property
    def reduced_chi2(self) -> float:
        return self.chi2 / max(1, self.points - self.logs.size - self.gains.size)


def fit_film(
    shot_set: ShotSet,
    layers: Sequence[int] | None = None,
    family: str = "auto",
    geometry: str = "equal_area",
    name: str = "fitted film",
    seed: int = 0,
    created: str = "",
    on_step: Callable[[str], None] | None = None,
) -> FitResult:
    """Fit a film to the shots of role ``fit``.

    Parameters
    ----------
    shot_set : the calibration set
    layers : use only the film shots of these layer counts
    family : one of lps_sim.film.FAMILIES, or "auto": the best of all by BIC
    geometry : "equal_area", "direction_cosines" or "pixel"; "auto": the better of the first two by BIC, and an
        unscattered part with or without obliquity
    name, created : of the film, for its file
    seed : of the choice of pixels
    on_step : called with one line at the start of every step

    Raises
    ------
    ValueError
        no usable film shots (with the reasons), layers that the set does not have, unknown family or geometry
    """
    say = on_step or (lambda message: None)
    if geometry not in (*_PROJECTIONS, "auto"):
        raise UnknownNameError("geometry", geometry, [*_PROJECTIONS, "auto"])
    families = [Family.of(entry) for entry in (FAMILIES if family == "auto" else [family])]
    have = shot_set.layer_counts(shot_set.select(role="fit"))
    if layers is not None and not set(layers) <= set(have):
        raise ValueError(f"layers must be among those filmed ({have}), got {sorted(set(layers) - set(have))}")
    say("reading and merging shots")
    seen, _ = observe(shot_set, "fit", None if layers is None else tuple(layers))
    if not seen.scenes:
        reasons = "; ".join(f"{e.what}: {e.reason}" for e in seen.exclusions) or "none has role fit and layers > 0"
        raise ValueError(f"no usable film shots: {reasons}")

    plain = FilmGeometry(
        projection="equal_area" if geometry == "auto" else geometry,
        refractive_index=shot_set.geometry.refractive_index,
        film_distance_m=shot_set.geometry.film_distance_m,
        target_distance_m=shot_set.geometry.target_distance_m,
    )
    shapes = [plain]
    if geometry == "auto":
        shapes += [replace(plain, oblique_ballistic=True), replace(plain, projection="direction_cosines")]
    fits = [_fit_shape(seen, shot_set, shape, families, name, seed, created, say) for shape in shapes]
    return min(fits, key=lambda result: result.scores[0].bic)


def _fit_shape(
    seen: Observations,
    shot_set: ShotSet,
    shape: FilmGeometry,
    families: Sequence[Family],
    name: str,
    seed: int,
    created: str,
    say: Callable[[str], None],
) -> FitResult:
    """The best family in one geometry, then every channel with that family."""
    factor = decimation(shot_set.camera.width, shot_set.camera.height)
    camera = shot_set.camera.resized(shot_set.camera.width // factor, shot_set.camera.height // factor)
    basis = OperatorBasis(camera, shape.projection)
    channels = 1 if seen.grey else 3
    main = 0 if seen.grey else 1

    say(f"planning the operator, {shape.projection}")
    inputs = SceneInputs(seen, basis, factor, seed)
    shots = fit_shots(seen, basis.path(shape), inputs, main, factor)
    solutions = []
    for entry in families:
        say(f"fitting {entry.name}")
        solutions.append(
            min((_solve(entry, basis, shape, shots, start) for start in entry.starts), key=lambda s: s.cost)
        )
    solutions.sort(key=lambda solution: solution.bic)
    best = {main: solutions[0]}
    shots_of = {main: shots}
    for channel in sorted(set(range(channels)) - {main}):
        say(f"fitting {best[main].family.name}, channel {'RGB'[channel]}")
        shots_of[channel] = fit_shots(seen, basis.path(shape), inputs, channel, factor)
        best[channel] = _solve(best[main].family, basis, shape, shots_of[channel], best[main].logs)
    residuals = [
        row
        for channel in range(channels)
        for row in _residuals(best[channel], basis, shape, shots_of[channel], channel)
    ]
    chosen = [best[channel] for channel in range(channels)]
    counts = _counts(shots)
    gains = {count: [float(np.exp(s.gains[i])) for s in chosen] for i, count in enumerate(counts)}
    film = _film(chosen, shape, gains, seen, shot_set, residuals, name, created)
    return FitResult(
        film=film,
        converged=all(solution.converged for solution in chosen),
        iterations=max(solution.iterations for solution in chosen),
        reduced_chi2=float(np.mean([solution.reduced_chi2 for solution in chosen])),
        gains=gains,
        scores=tuple(
            FamilyScore(s.family.name, s.bic, s.reduced_chi2, s.family.decode(s.logs), s.converged, s.iterations)
            for s in solutions
        ),
        residuals=tuple(residuals),
        exclusions=tuple(seen.exclusions),
    )


def _counts(shots: Sequence[FitShot]) -> list[int]:
    return sorted({shot.source.layers for shot in shots})


def _solve(
    family: Family, basis: OperatorBasis, geometry: FilmGeometry, shots: Sequence[FitShot], start: Floats
) -> _Solution:
    counts = _counts(shots)
    size = len(family.names)

    def behind(logs: Floats) -> dict[int, tuple[Floats, float]]:
        film = family.film([logs], geometry)
        return {n: (basis.coefficients(film, n, 0), float(film.ballistic_fraction(n)[0])) for n in counts}

    def residual(vector: Floats) -> Floats:
        known, gains = behind(vector[:size]), dict(zip(counts, np.exp(vector[size:])))
        return np.concatenate(
            [s.root_weight * (gains[s.source.layers] * s.light(*known[s.source.layers]) - s.y) for s in shots]
        )

    def jacobian(vector: Floats) -> Floats:
        known, gains = behind(vector[:size]), dict(zip(counts, np.exp(vector[size:])))
        moved = [behind(vector[:size] + _STEP * unit) for unit in np.eye(size)]
        blocks = []
        for s in shots:
            n = s.source.layers
            scale, here = gains[n] * s.root_weight, s.light(*known[n])
            block = np.zeros((s.y.size, vector.size))
            for k in range(size):
                block[:, k] = scale * (s.light(*moved[k][n]) - here) / _STEP
            block[:, size + counts.index(n)] = scale * here
            blocks.append(block)
        return np.concatenate(blocks)

    known = behind(start)
    ratio = [np.median([s.y.sum() / s.light(*known[n]).sum() for s in shots if s.source.layers == n]) for n in counts]
    low, high = family.bounds
    gain_low = np.full(len(counts), np.log(1e-5))
    gain_high = np.log([_GAIN_SLACK * lossless_gain(geometry.refractive_index, n) for n in counts])
    found = least_squares(
        residual,
        np.concatenate(
            [np.clip(start, low + 1e-6, high - 1e-6), np.clip(np.log(ratio), gain_low + 1e-6, gain_high - 1e-6)]
        ),
        jac=jacobian,
        bounds=(np.concatenate([low, gain_low]), np.concatenate([high, gain_high])),
        loss="soft_l1",
        x_scale="jac",
        ftol=1e-7,
        xtol=1e-7,
        max_nfev=_MAX_STEPS,
    )
    return _Solution(
        family=family,
        logs=found.x[:size],
        gains=found.x[size:],
        cost=float(found.cost),
        chi2=float((residual(found.x) ** 2).sum()),
        points=sum(s.y.size for s in shots),
        jacobian=found.jac,
        converged=bool(found.status > 0),
        iterations=int(found.nfev),
    )


def _residuals(
    solution: _Solution, basis: OperatorBasis, geometry: FilmGeometry, shots: Sequence[FitShot], channel: int
) -> list[ShotResidual]:
    film = solution.family.film([solution.logs], geometry)
    counts = _counts(shots)
    rows = []
    for s in shots:
        n = s.source.layers
        model = s.light(basis.coefficients(film, n, 0), float(film.ballistic_fraction(n)[0]))
        difference = np.exp(solution.gains[counts.index(n)]) * model - s.y
        scale = float(np.sqrt((s.y**2).mean())) or 1.0
        rms = float(np.sqrt(((s.root_weight * difference) ** 2).mean()))
        relative = float(np.sqrt((difference**2).mean())) / scale
        source = s.source
        rows.append(ShotResidual(source.scene, source.target, n, channel, source.files, s.y.size, rms, relative))
    return rows


def lossless_gain(refractive_index: float, layers: int) -> float:
    """Transmittance of N clear sheets, 1 / (1 + 2 N R / (1 - R)): only their faces reflect, R = ((n-1)/(n+1))^2.

    No film passes more. The bound matters: light thrown far out of the view is not seen, so without it a gain above 1
    and a halo without end describe the same shots.
    """
    reflected = ((refractive_index - 1) / (refractive_index + 1)) ** 2
    return 1 / (1 + 2 * layers * reflected / (1 - reflected))


def transmittance_law(layers: Sequence[int], gains: Sequence[float]) -> tuple[float, float]:
    """(c1, c2) >= 0 of 1/g = 1 + c1 N + c2 N^2, least squares of the relative error; c2 = 0 for one layer count."""
    n, g = np.asarray(layers, dtype=float), np.asarray(gains, dtype=float)
    columns = np.stack([n, n * n], axis=1)[:, : min(2, n.size)]
    solution, _ = nnls(columns * g[:, None], (1 / g - 1) * g)
    return float(solution[0]), float(solution[1]) if n.size > 1 else 0.0


def _film(
    chosen: Sequence[_Solution],
    geometry: FilmGeometry,
    gains: dict[int, list[float]],
    seen: Observations,
    shot_set: ShotSet,
    residuals: Sequence[ShotResidual],
    name: str,
    created: str,
) -> FilmModel:
    """The FilmModel with everything that its file records."""
    laws = np.array([transmittance_law(list(gains), [g[c] for g in gains.values()]) for c in range(len(chosen))])
    laws = np.broadcast_to(laws, (3, 2))
    family = chosen[0].family
    film = family.film([solution.logs for solution in chosen], geometry, laws[:, 0], laws[:, 1])
    veil = {}
    for count, level in gains.items():
        added = (seen.off[count] - np.asarray(level) * seen.off[0]) / seen.vignetting[..., None] / seen.white
        veil[count] = np.broadcast_to(np.maximum(np.median(added, axis=(0, 1)), 0.0), (3,))
    names, blocks = [], []
    for channel, solution in enumerate(chosen):
        suffix = "" if len(chosen) == 1 else "_" + "rgb"[channel]
        names += [f"{parameter}{suffix}" for parameter in family.names]
        information = np.linalg.pinv(solution.jacobian.T @ solution.jacobian)[: len(family.names), : len(family.names)]
        scale = family.log_scale(solution.logs)
        blocks.append(information * np.outer(scale, scale) * max(1.0, solution.reduced_chi2))
    size = len(family.names)
    covariance = np.zeros((len(names), len(names)))
    for index, block in enumerate(blocks):
        covariance[index * size : (index + 1) * size, index * size : (index + 1) * size] = block
    used = {file for row in residuals for file in row.files}
    bare = [shot for shot in shot_set.select(layers=0) if shot.scene in {row.scene for row in residuals}]
    shots = [shot for shot in shot_set.shots if shot.file in used or shot in bare]
    used_shots = f"{len(shots)} {'simulated ' if shot_set.simulated else ''}shots"
    provenance: dict[str, Any] = {
        "kind": "fitted",
        "text": f"Fitted to {used_shots} at layers {', '.join(map(str, gains))}; the law carries other counts.",
        "references": ["Wells 1969", "Moffat 1969"],
        "created": created,
        "package_version": __version__,
        "shots": shot_set.provenance(shots),
        "shots_origin": dict(shot_set.origin),
    }
    quality = tuple({**vars(row), "files": list(row.files)} for row in residuals)
    return replace(
        film,
        name=name,
        veil_table=veil,
        provenance=provenance,
        parameter_names=tuple(names),
        covariance=covariance,
        calibration_camera=shot_set.camera.to_dict(),
        fit_quality=quality,
    )
