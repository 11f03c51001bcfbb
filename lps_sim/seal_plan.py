"""Where the torch twin computes what: the geometry of :mod:`lps_sim.plan` as matrices, positions and responses.

No torch here. The plan of a film, layer count, camera and output size has two parts: what depends on the optics alone
(axis matrices, warp positions, weights) and what depends on the film (:meth:`SealPlan.film_arrays`), which a fit may
ask for again and again. Everything is float64; :mod:`lps_sim.seal_optics` casts it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_banded

from .camera import Camera
from .convolution import AngleConvolver, SphereConvolver, Stage, angle_convolver
from .film import FilmModel
from .geometry import cos_theta
from .operator import film_stages
from .plan import Sampling, plan_sampling
from .resampling import SPLINE_POLES, area_matrix, splat_matrix, splat_poles, spline_matrix, spline_response
from .sphere import SphereCorrection
from .stage_grid import BEYOND, StageGrid


@dataclass(frozen=True)
class Lookups:
    """A B-spline at fixed positions as bilinear look-ups: neighbouring taps share one (Sigg & Hadwiger 2005).

    at_y, at_x : (P, R, C) places in a picture whose outer edges are -1 and 1, mirrored back into it
    weight_y, weight_x : (P, R, C); a value is the sum over pairs of weight_y[j] weight_x[i] picture(at_y[j], at_x[i])
    """

    at_y: np.ndarray
    at_x: np.ndarray
    weight_y: np.ndarray
    weight_x: np.ndarray


@dataclass(frozen=True)
class StagePlan:
    """One convolution: from cells to the angle grid and back.

    inwards : from the cells' spline coefficients to the angle grid, input weight and coverage included
    outwards : from the grid's spline coefficients to the cells and BEYOND more on every side, output weight included
    shape, pitch_rad : of the grid (y, x)
    padded : of the transforms (y, x), equal to ``shape`` for a mirrored field
    sphere : the correction of the ``sphere`` projection, or None
    spline : (y, x) frequency response of the spline on the way back, at the transform's frequencies
    cosine : of the field angle at the cells and BEYOND more
    """

    inwards: Lookups
    outwards: Lookups
    shape: tuple[int, int]
    pitch_rad: tuple[float, float]
    padded: tuple[int, int]
    sphere: SphereCorrection | None
    spline: tuple[np.ndarray, np.ndarray]
    sphere_spline: np.ndarray | None
    cosine: np.ndarray


class SealPlan:
    """The geometry of one film, layer count, camera, border and output size.

    Parameters: film, layers 0..64 (0 is no film), camera with the frames' size, border as in :mod:`lps_sim.operator`,
    output (width, height).

    Attributes: sampling (:func:`lps_sim.plan.plan_sampling`); shrink (y, x), from pixels to the
    cells' spline coefficients; to_coefficients (y, x), from cells to theirs; spread (y, x), from cells and BEYOND more
    to the output; area (y, x), area means of the frame at the output's size, None where it has the frame's size;
    stages; gain (h, w), vignetting times exposure; averaged, camera pixels an output pixel.
    """

    def __init__(
        self, film: FilmModel, layers: int, camera: Camera, border: str, output: tuple[int, int] | None = None
    ) -> None:
        self.layers, self.camera, self.border = layers, camera, border
        self.output = output or (camera.width, camera.height)
        height, width = camera.height, camera.width
        self.sampling = plan_sampling(film, layers, camera, border) if layers else Sampling(1.0, 2, 3, 1.0)
        cell_px, order = self.sampling.cell_px, self.sampling.spline
        self.small = (math.ceil(height / cell_px), math.ceil(width / cell_px))
        self.stages = [self._stage(stage) for stage in self._film_stages(film)]

        self.area = None
        if self.output != (width, height):
            self.area = (
                area_matrix(height, 0, height, self.output[1]),
                area_matrix(width, 0, width, self.output[0]),
            )
        if layers:
            prefilter = [_coefficients(cells, order) for cells in self.small]
            self.to_coefficients = (prefilter[0], prefilter[1])
            down = [
                coefficients @ self._means(count, cells)
                for coefficients, count, cells in zip(prefilter, (height, width), self.small)
            ]
            self.shrink = (down[0], down[1])
            up = []
            for axis, (count, cells) in enumerate(zip((height, width), self.small)):
                spline = spline_matrix(count, cells, BEYOND) @ _coefficients(cells + 2 * BEYOND, 3)
                up.append(spline if self.area is None else self.area[axis] @ spline)
            self.spread = (up[0], up[1])

        box = (width / self.output[0], height / self.output[1])
        centre_x = (np.arange(self.output[0]) + 0.5) * box[0] - width / 2
        centre_y = (np.arange(self.output[1]) + 0.5) * box[1] - height / 2
        self.output_cosine = cos_theta(centre_x / camera.f_px, centre_y / camera.f_px)
        self.gain = camera.exposure * camera.vignetting_at(self.output_cosine)
        self.averaged = max(1.0, box[0] * box[1])

    def film_arrays(self, film: FilmModel) -> dict[str, np.ndarray]:
        """What depends on the film's scattering, each (..., 3, y, x), by name.

        ``response.K`` of stage K's transform; ``sphere.K``, of its correction; ``unscattered.K``, share that passes
        stage K at the cells; ``direct``, share of the frame's own light at the output's pixels, T_N not included.
        The film must be of the planned family and geometry.
        """
        if not self.layers:
            return {"direct": np.ones((3, *self.output_cosine.shape))}
        arrays = {}
        for index, (stage, plan) in enumerate(zip(self._film_stages(film), self.stages)):
            convolver = AngleConvolver(
                stage.transfer, plan.shape, plan.pitch_rad, self.reflected, np.float64, far=stage.far
            )
            arrays[f"response.{index}"] = convolver.response / (plan.spline[0][:, None] * plan.spline[1])
            if plan.sphere is not None:
                arrays[f"sphere.{index}"] = plan.sphere.respond(stage.transfer) / plan.sphere_spline
            if stage.unscattered is not None:
                arrays[f"unscattered.{index}"] = np.moveaxis(stage.unscattered(plan.cosine), -1, 0)
                if index == 0:
                    # The first stage's unscattered light is added at the output's size.
                    arrays["direct"] = np.moveaxis(stage.unscattered(self.output_cosine), -1, 0)
        return arrays

    @property
    def reflected(self) -> bool:
        """Whether the scene goes on as its mirror image."""
        return self.border == "reflect"

    def _means(self, count: int, cells: int) -> np.ndarray:
        """(cells, count): one axis of a frame shrunk to cells, their droop undone."""
        if self.sampling.cell_px == 1:
            return np.eye(count)
        means = splat_matrix(count, cells, self.sampling.splat)
        for pole in splat_poles(self.sampling.cell_px, self.sampling.splat):
            means = _inverse_filter(cells, pole) @ means
        return means

    def _film_stages(self, film: FilmModel) -> list[Stage]:
        return film_stages(film, self.layers) if self.layers else []

    def _stage(self, stage: Stage) -> StagePlan:
        order, sampling = self.sampling.spline, self.sampling
        place = StageGrid(stage, self.camera, sampling.cell_px, sampling.corner, self.small, self.reflected)
        grid = place.grid
        convolver = angle_convolver(stage, grid, self.reflected, np.float64)
        sphere = convolver.correction if isinstance(convolver, SphereConvolver) else None
        spline = [spline_response(q * step, order) for q, step in zip(convolver.q_cpr, grid.pitch_rad)]
        sphere_spline = None
        if sphere is not None:
            along_y, along_x = (spline_response(q * p, order) for q, p in zip(sphere.q_cpr, grid.pitch_rad))
            sphere_spline = along_y[:, None] * along_x
        return StagePlan(
            _lookups(place.inwards, self.small, order, place.weight_in),
            _lookups(place.outwards, (grid.rows, grid.columns), order, place.weight_out),
            (grid.rows, grid.columns),
            grid.pitch_rad,
            convolver.padded,
            sphere,
            (spline[0], spline[1]),
            sphere_spline,
            place.cosine,
        )


def blocks(matrix: np.ndarray, fewest_rows: int = 16, most_blocks: int = 16) -> list[tuple[int, int, np.ndarray]]:
    """A banded matrix as (first column, end, rows) blocks, one below the other; a dense one is a single block."""
    used = np.abs(matrix) > 1e-9 * np.abs(matrix).max()
    start = used.argmax(axis=1)
    stop = matrix.shape[1] - used[:, ::-1].argmax(axis=1)
    size = max(fewest_rows, -(-len(matrix) // most_blocks))
    parts = []
    for first in range(0, len(matrix), size):
        low, high = int(start[first : first + size].min()), int(stop[first : first + size].max())
        parts.append((low, high, matrix[first : first + size, low:high]))
    if 2 * sum(part.size for *_, part in parts) > matrix.size:
        return [(0, matrix.shape[1], matrix)]
    return parts


def _inverse_filter(count: int, pole: float) -> np.ndarray:
    """(count, count): undoes the three-tap mean whose inverse has this pole, mirrored at the edges (edge repeated)."""
    side = -pole / (1 - pole) ** 2
    if count == 1:
        return np.ones((1, 1))
    bands = np.full((3, count), side)
    bands[1] = 1 - 2 * side
    bands[1, [0, -1]] = 1 - side
    return solve_banded((1, 1), bands, np.eye(count))


def _coefficients(count: int, order: int) -> np.ndarray:
    """(count, count): samples to the B-spline's coefficients, mirrored at the edges."""
    filters = [_inverse_filter(count, pole) for pole in SPLINE_POLES[order]]
    return filters[0] if len(filters) == 1 else filters[1] @ filters[0]


def _lookups(position: np.ndarray, shape: tuple[int, int], order: int, weight: np.ndarray) -> Lookups:
    """The B-spline at ``position`` (2, R, C) in pictures of ``shape``, times ``weight`` (R, C)."""
    at, weights = [], []
    for place, count in zip(position, shape):
        base = np.floor(place)
        taps = _spline_weights(place - base, order)
        pairs = taps[0::2] + taps[1::2]
        first = base[None] - order // 2 + np.arange(0, order + 1, 2)[:, None, None]
        # Mirrored about the outer edges of the first and last sample, where a bilinear look-up meets two equal ones.
        turned = np.mod(first + taps[1::2] / pairs + 0.5, 2 * count)
        turned = np.where(turned > count, 2 * count - turned, turned) - 0.5
        at.append((2 * np.clip(turned, 0, count - 1) + 1) / count - 1)
        weights.append(pairs)
    return Lookups(at[0], at[1], weights[0] * weight, weights[1])


def _spline_weights(t: np.ndarray, order: int) -> np.ndarray:
    """(order + 1, *t.shape): values of the cubic or quintic B-spline at a fraction t behind a knot."""
    s = 1 - t
    if order == 3:
        return np.stack([s**3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * s**2 + 3 * s**3, t**3]) / 6

    def second(t: np.ndarray) -> np.ndarray:
        return 26 - 50 * t + 20 * t**2 + 20 * t**3 - 20 * t**4 + 5 * t**5

    def third(t: np.ndarray) -> np.ndarray:
        return 66 - 60 * t**2 + 30 * t**4 - 10 * t**5

    return np.stack([s**5, second(t), third(t), third(s), second(s), t**5]) / 120
