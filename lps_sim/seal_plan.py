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
from .film import FilmModel
from .geometry import WarpGrid, cos_theta, input_weight, pixel_offsets, radial_scale
from .operator import AngleConvolver, SphereConvolver, Stage, angle_convolver, film_stages
from .plan import plan_sampling
from .resampling import area_matrix, splat_pole, splat_weights, spline_matrix
from .sphere import SphereCorrection

BEYOND = 4  # cells of blurred light kept beyond the frame's edges, so that splines there need no guess
_SPLINE_POLES = {  # of the filters from samples to B-spline coefficients, by order (Unser 1999)
    3: (math.sqrt(3) - 2,),
    5: (
        math.sqrt(135 / 2 - math.sqrt(17745 / 4)) + math.sqrt(105 / 4) - 13 / 2,
        math.sqrt(135 / 2 + math.sqrt(17745 / 4)) - math.sqrt(105 / 4) - 13 / 2,
    ),
}
_CORNER_SLACK = 1.6  # a grid this much coarser than the corners' sampling will do for cells, as in lps_sim.plan


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

    Attributes: cell_px, order of the splines (:func:`lps_sim.plan.plan_sampling`); shrink (y, x), from pixels to the
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
        self.cell_px, self.order = plan_sampling(film, layers, camera) if layers else (1, 3)
        self.small = (-(-height // self.cell_px), -(-width // self.cell_px))
        self.stages = [self._stage(stage) for stage in self._film_stages(film)]

        self.area = None
        if self.output != (width, height):
            self.area = (
                area_matrix(height, 0, height, self.output[1]),
                area_matrix(width, 0, width, self.output[0]),
            )
        if layers:
            prefilter = [_coefficients(cells, self.order) for cells in self.small]
            undo = [_inverse_filter(cells, splat_pole(self.cell_px)) if self.cell_px > 1 else 1 for cells in self.small]
            self.to_coefficients = (prefilter[0], prefilter[1])
            down = [
                coefficients @ (inverse @ _splat(count, cells) if self.cell_px > 1 else np.eye(count))
                for coefficients, inverse, count, cells in zip(prefilter, undo, (height, width), self.small)
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

    def _film_stages(self, film: FilmModel) -> list[Stage]:
        return film_stages(film, self.layers) if self.layers else []

    def _stage(self, stage: Stage) -> StagePlan:
        camera, (rows, columns) = self.camera, self.small
        focal = (camera.f_px * columns / camera.width, camera.f_px * rows / camera.height)
        corner = math.hypot(camera.width, camera.height) / 2 / camera.f_px
        finest = radial_scale(corner, stage.projection)
        pitch = self.cell_px / camera.f_px * (finest if self.cell_px == 1 else min(1.0, _CORNER_SLACK * finest))
        margin = 0 if self.reflected else 4 + 2 * BEYOND
        grid = WarpGrid(rows, columns, focal, stage.projection, pitch, margin, BEYOND)
        seen = np.isfinite(grid.from_frame).all(axis=0)
        at = np.where(seen, grid.from_frame, 0.0)
        tan_y, tan_x = (at[0] - (rows - 1) / 2) / focal[1], (at[1] - (columns - 1) / 2) / focal[0]
        share = seen if self.reflected else grid.coverage
        weight_in = share * input_weight(1 / np.sqrt(1 + tan_x**2 + tan_y**2), stage.projection)
        cosine = cos_theta(pixel_offsets(columns + 2 * BEYOND, focal[0]), pixel_offsets(rows + 2 * BEYOND, focal[1]))
        convolver = angle_convolver(stage, grid, self.reflected, np.float64)
        sphere = convolver.correction if isinstance(convolver, SphereConvolver) else None
        spline = [_spline_response(q * step, self.order) for q, step in zip(convolver.q_cpr, grid.pitch_rad)]
        sphere_spline = None
        if sphere is not None:
            along_y, along_x = (_spline_response(q * p, self.order) for q, p in zip(sphere.q_cpr, grid.pitch_rad))
            sphere_spline = along_y[:, None] * along_x
        return StagePlan(
            _lookups(at, (rows, columns), self.order, weight_in),
            _lookups(grid.to_frame, (grid.rows, grid.columns), self.order, 1 / input_weight(cosine, stage.projection)),
            (grid.rows, grid.columns),
            grid.pitch_rad,
            convolver.padded,
            sphere,
            (spline[0], spline[1]),
            sphere_spline,
            cosine,
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


def _splat(count: int, cells: int) -> np.ndarray:
    """(cells, count): triangle-weighted means."""
    cell, near, far = splat_weights(count, cells)
    dense = np.zeros((cells + 1, count))
    dense[cell, np.arange(count)] += near
    dense[cell + 1, np.arange(count)] += far
    return dense[:cells]


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
    filters = [_inverse_filter(count, pole) for pole in _SPLINE_POLES[order]]
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


def _spline_response(frequency_cps: np.ndarray, order: int) -> np.ndarray:
    """Frequency response (cycles a sample) of the sampled cubic or quintic B-spline."""
    cosine = np.cos(2 * np.pi * frequency_cps)
    return (2 + cosine) / 3 if order == 3 else (16 + 13 * cosine + cosine**2) / 30
