"""The planned film operator: where and how coarsely a frame's scattered light is computed.

Scattered light is blurred, so it is computed where blurred light lives: the frame is shrunk by B-spline-weighted means,
warped to a small grid in angle space, convolved by a short cosine transform, warped back and spread to the output's
size. Only an unscattered part needs the frame's own pixels. How far the frame may shrink follows from an error bound on
the output codes (:func:`plan_sampling`). The exact engine (:mod:`lps_sim.operator`) is the reference.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from . import kernels
from .camera import Camera
from .convolution import Stage, angle_convolver
from .film import FilmModel
from .geometry import cos_theta
from .incoming import Incoming
from .operator import FilmKey, film_stages
from .resampling import (
    SPLINE_POLES,
    Cells,
    area_matrix,
    banded,
    splat_matrix,
    splat_poles,
    splat_response,
    spline_matrix,
    spline_response,
)
from .stage_grid import BEYOND, StageGrid
from .transfer import inverse_eotf

PAD = 5  # samples around a warped field: a quintic spline reaches three
ERROR_LIMIT = 0.30  # codes; 0.5 is promised, and dark frames have steeper codes than the bound takes
LARGEST_CELL_PX = 24
NEGLIGIBLE = 1e-10  # of a transfer function
FEWEST_CELLS = 12  # of a frame's shorter side
TRIANGLE_FROM_PX = 16.0  # larger cells gain nothing from cubic means, which cost more a pixel
LEAST_CELL_PX = 1.25  # below, single pixels cost no more
CELL_STEP = 1.04  # between the cells that are tried
Window = tuple[float, float, float, float]


@dataclass(frozen=True)
class Sampling:
    """How coarsely scattered light is computed.

    cell_px : side of a cell of the shrunk frame, px; 1 leaves the frame as it is
    splat : order of the B-spline that averages pixels in cells, 2 or 4
    spline : order of the B-splines between frame and angle grid, 3 or 5
    corner : step of the angle grid, in units of what a cell spans at the frame's corners; at most a cell on the axis
    """

    cell_px: float
    splat: int
    spline: int
    corner: float


class FilmPlan:
    """apply_film for one film, layer count, camera, border, window of the frame and output size.

    Parameters: window (x0, y0, x1, y1) in px of the frame, resampled to output (width, height) by area means (linear
    interpolation where it grows); sampling, None = :func:`plan_sampling`. film None or layers 0 is no film.
    """

    def __init__(
        self,
        film: FilmModel | None,
        layers: int,
        camera: Camera,
        border: str,
        window: Window,
        output: tuple[int, int],
        sampling: Sampling | None = None,
    ) -> None:
        self.camera, self.window, self.output, self.border = camera, window, output, border
        height, width = camera.height, camera.width
        stages: list[Stage] = []
        transmittance, veil = np.ones(3), np.zeros(3)
        self.sampling = Sampling(1.0, 2, 3, 1.0)
        if film is not None and layers:
            self.sampling = sampling or plan_sampling(film, layers, camera, border)
            stages = film_stages(film, layers)
            transmittance, veil = film.transmittance(layers), film.veil(layers)
        self.transmittance, self.veil = transmittance.astype(np.float32), veil.astype(np.float32)

        cell = self.sampling.cell_px
        self.small = math.ceil(height / cell), math.ceil(width / cell)
        if cell > 1:
            down, across = (splat_matrix(n, k, self.sampling.splat) for n, k in zip((height, width), self.small))
            self.cells = Cells.of(down), Cells.of(across)
        else:
            self.cells = Cells.each(height), Cells.each(width)
        self.stages = [_FastStage(stage, self) for stage in stages]

        x0, y0, x1, y1 = window
        box = ((x1 - x0) / output[0], (y1 - y0) / output[1])
        shrink_x, shrink_y = area_matrix(width, x0, x1, output[0]), area_matrix(height, y0, y1, output[1])
        self.start_x, self.taps_x = banded(shrink_x @ spline_matrix(width, self.small[1], BEYOND))
        self.start_y, self.taps_y = banded(shrink_y @ spline_matrix(height, self.small[0], BEYOND))

        # Unscattered light takes its own way, at the output's size: as it is, by area means, or interpolated.
        self.direct_weight = np.zeros((0, 0), np.float32)
        self.direct_cells: tuple[Cells, Cells] | None = None
        self.direct_axes: tuple[np.ndarray, np.ndarray] | None = None
        first = stages[0].unscattered if stages else (lambda cosine: np.ones((*cosine.shape, 3)))
        if first is not None:
            share = first(output_cosine(camera, window, output))
            weight: np.ndarray = np.multiply(transmittance, share, dtype=np.float32)
            self.direct_weight = weight.reshape(output[1], 3 * output[0])
            if window == (0, 0, *output) == (0, 0, width, height):
                pass
            elif min(box) >= 1:
                self.direct_cells = Cells.of(shrink_y), Cells.of(shrink_x)
            else:
                self.direct_axes = shrink_y.astype(np.float32), shrink_x.astype(np.float32)

    def scattered_and_direct(self, frame: Incoming) -> tuple[np.ndarray, np.ndarray]:
        """The scattered light at the output's columns and the small grid's rows, (rows, 3 w) float32, and the frame's
        own light at the output's size, (h, 3 w), empty where none passes unscattered. One reading of the frame."""
        grids = ([self.cells] if self.stages else []) + ([self.direct_cells] if self.direct_cells is not None else [])
        means = frame.shrink(grids) if grids else []
        out = np.zeros((self.small[0] + 2 * BEYOND, 3 * self.output[0]), np.float32)
        if self.stages:
            self._scatter(means[0], out)
        if self.direct_cells is not None:
            return out, np.ascontiguousarray(np.moveaxis(means[-1], 0, -1)).reshape(self.direct_weight.shape)
        return out, self._resampled(frame)

    def _scatter(self, small: np.ndarray, out: np.ndarray) -> None:
        """The stages, from the frame's means in cells."""
        if self.sampling.cell_px > 1:
            for pole in splat_poles(self.sampling.cell_px, self.sampling.splat):
                kernels.inverse_filter(small, pole)
        # The first stage's unscattered light is added at the output's size.
        wide = self.stages[0](small, None)
        for stage in self.stages[1:]:
            wide = stage(_inside(wide), wide)
        wide *= self.transmittance[:, None, None]
        kernels.inverse_filter(wide, SPLINE_POLES[3][0])
        kernels.spread_columns(wide, self.start_x, self.taps_x, out)

    def _resampled(self, frame: Incoming) -> np.ndarray:
        """The frame's own light where the output is no smaller than what it shows of the frame."""
        if not self.direct_weight.size:
            return np.zeros((0, 0), np.float32)
        light = frame.light()
        if self.direct_axes is None:
            return light
        down, across = self.direct_axes
        columns = np.einsum(
            "wx,yxc->ywc", across, light.reshape(self.camera.height, self.camera.width, 3), optimize=True
        )
        rows = np.einsum("hy,ywc->hwc", down, columns, optimize=True)
        return np.ascontiguousarray(rows.reshape(self.direct_weight.shape), np.float32)

    def light(self, frame: Incoming, gain: np.ndarray) -> np.ndarray:
        """Linear light behind the film times ``gain`` (h, w): (h, w, 3) float32."""
        width, height = self.output
        out = np.empty((height, 3 * width), np.float32)
        scattered, direct = self.scattered_and_direct(frame)
        kernels.finish_light(scattered, self.start_y, self.taps_y, direct, self.direct_weight, self.veil, gain, out)
        return out.reshape(height, width, 3)


class _FastStage:
    """One stage on the small image grid in float32."""

    def __init__(self, stage: Stage, plan: FilmPlan) -> None:
        rows, columns = plan.small
        self.order = plan.sampling.spline
        self.reflected = plan.border == "reflect"
        place = StageGrid(stage, plan.camera, plan.sampling.cell_px, plan.sampling.corner, plan.small, self.reflected)
        grid = place.grid
        inwards = [_folded(part, count) + PAD for part, count in zip(place.inwards, plan.small)]
        outwards = [_folded(part, count) + PAD for part, count in zip(place.outwards, (grid.rows, grid.columns))]
        self.inwards = tuple(np.ascontiguousarray(part, np.float32) for part in (*inwards, place.weight_in))
        self.outwards = tuple(np.ascontiguousarray(part, np.float32) for part in (*outwards, place.weight_out))
        self.grid_shape, self.wide = (3, grid.rows, grid.columns), (3, rows + 2 * BEYOND, columns + 2 * BEYOND)
        self.convolve = angle_convolver(stage, grid, self.reflected, np.float32)
        for part in self.convolve.parts:
            spline = [spline_response(q * step, self.order) for q, step in zip(part.q_cpr, grid.pitch_rad)]
            part.response /= (spline[0][:, None] * spline[1][None, :]).astype(np.float32)
            # Denormal numbers would slow every frame down, for light far below one electron.
            part.response[np.abs(part.response) < NEGLIGIBLE] = 0
        self.unscattered: np.ndarray | None = None
        if stage.unscattered is not None:
            self.unscattered = np.moveaxis(stage.unscattered(place.cosine), -1, 0).astype(np.float32)
        self.missing: np.ndarray | None = None
        if plan.border != "dark":
            self.missing = 1 - self(np.ones((3, rows, columns), np.float32), np.ones(self.wide, np.float32))

    def __call__(self, small: np.ndarray, wide: np.ndarray | None) -> np.ndarray:
        """(3, rows, columns) -> the same with BEYOND more cells on every side; ``wide``, the input with these cells,
        adds the unscattered light."""
        samples = _padded(small)
        for pole in SPLINE_POLES[self.order]:
            kernels.inverse_filter(samples, pole)
        warp = kernels.warp if self.order == 3 else kernels.warp_quintic
        fields = np.empty(self.grid_shape, np.float32)
        warp(samples, *self.inwards, fields)
        # The spline's inverse filter for the way back is part of the response.
        halo = _padded(self.convolve(fields))
        out = np.empty(self.wide, np.float32)
        warp(halo, *self.outwards, out)
        if self.missing is not None:
            out += self.missing * small.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)[:, None, None]
        if wide is not None and self.unscattered is not None:
            out += self.unscattered * wide
        return out


def _inside(wide: np.ndarray) -> np.ndarray:
    """The frame's own cells of a field that reaches beyond it."""
    return np.ascontiguousarray(wide[:, BEYOND:-BEYOND, BEYOND:-BEYOND])


def plan_sampling(film: FilmModel, layers: int, camera: Camera, border: str = "reflect") -> Sampling:
    """How coarsely the scattered light may be computed: the largest cell whose error stays below :data:`ERROR_LIMIT`
    codes of the camera.

    Bounds on a full-contrast checkerboard or edge, with nu the frequency in cycles a cell, H the transfer function of
    the scattered light, T the transmittance and M the share of light that is hardly scattered:

    * triangle means let ``T max_nu H (nu / (1 - nu))^2`` alias;
    * cubic means ``0.6 T max_nu H (nu / (1 - nu))^4``, and change ``0.6 T max_nu H |1 - eta|``, eta what is left of a
      frequency (:func:`lps_sim.resampling.splat_response`); their samples at pixels and the cubic splines between the
      grids take ``(1.5e-4 + 9e-4 / cell^2) T M``;
    * cubic splines on single pixels: ``T max(5 max_nu H nu^4, 1.3e-3 M)``; quintic ones, as in the exact engine, where
      this fails (constants read off scans over the presets, checkerboards, single pixels, noise and zone plates)

    times the slope of the codes at the dark side of an edge, ``v + T (1 - M) / 2``. Triangles are cheaper and taken for
    large cells. tests/lps_sim/test_fast.py and benchmarks/fast_error.py hold the whole engine against the exact one.
    """
    transmittance = film.transmittance(layers)
    sharp = film.bulk_direct(layers)
    dark = camera.exposure * (film.veil(layers) + transmittance * (1 - sharp) / 2)
    step = 1e-4
    slope = (inverse_eotf(dark + step, camera.transfer) - inverse_eotf(dark, camera.transfer)) / step
    gain = camera.max_code * camera.exposure * slope * transmittance
    nu = np.linspace(0, 0.5, 257)[1:, None]
    alias = nu / (1 - nu)
    droop = np.abs(1 - splat_response(nu))

    def passed(cell_px: float) -> np.ndarray:
        return np.abs(film.scattered_otf(nu[:, 0] / cell_px * camera.f_px, layers))

    def triangle_error(cell_px: float) -> float:
        return float((gain * (passed(cell_px) * alias**2).max(axis=0)).max())

    def cubic_error(cell_px: float) -> float:
        lost = (passed(cell_px) * np.maximum(alias**4, droop)).max(axis=0)
        return float((gain * (0.6 * lost + (1.5e-4 + 9e-4 / cell_px**2) * sharp)).max())

    largest = max(1.0, min(LARGEST_CELL_PX, min(camera.width, camera.height) / FEWEST_CELLS))
    steps = int(math.log(max(largest, LEAST_CELL_PX) / LEAST_CELL_PX, CELL_STEP))
    tried = [largest, *(LEAST_CELL_PX * CELL_STEP**k for k in range(steps, -1, -1))] if largest > LEAST_CELL_PX else []
    # A dark surround begins within a cell, which takes its share of the error.
    limit = ERROR_LIMIT if border == "reflect" else 0.7 * ERROR_LIMIT
    triangle = next((cell for cell in tried if triangle_error(cell) <= limit), 1.0)
    if triangle >= TRIANGLE_FROM_PX or (border != "reflect" and triangle > 1):
        return Sampling(triangle, 2, 3, 1.6)
    cubic = next((cell for cell in tried if cubic_error(cell) <= ERROR_LIMIT), 1.0)
    if cubic > 1 and border == "reflect":
        return Sampling(cubic, 4, 3, 1.3)
    pixel = passed(1.0)
    rough = float((gain * np.maximum(5 * (pixel * nu**4).max(axis=0), 1.3e-3 * sharp)).max())
    return Sampling(1.0, 2, 3 if rough <= ERROR_LIMIT else 5, 1.0)


@functools.lru_cache(maxsize=8)
def film_plan(
    key: FilmKey | None, layers: int, camera: Camera, border: str, window: Window, output: tuple[int, int]
) -> FilmPlan:
    """The plan for these arguments; the last eight are kept."""
    return FilmPlan(key.film if key else None, layers, camera, border, window, output)


def output_cosine(camera: Camera, window: Window, output: tuple[int, int]) -> np.ndarray:
    """Cosine of the field angle at the centres of the output's pixels: (h, w)."""
    x0, y0, x1, y1 = window
    centre_x = (np.arange(output[0]) + 0.5) * (x1 - x0) / output[0] + x0 - camera.width / 2
    centre_y = (np.arange(output[1]) + 0.5) * (y1 - y0) / output[1] + y0 - camera.height / 2
    return cos_theta(centre_x / camera.f_px, centre_y / camera.f_px)


def _padded(fields: np.ndarray) -> np.ndarray:
    """The fields with PAD mirrored samples around them."""
    out = np.empty((3, fields.shape[1] + 2 * PAD, fields.shape[2] + 2 * PAD), np.float32)
    kernels.mirror_pad(fields, PAD, out)
    return out


def _folded(positions: np.ndarray, count: int) -> np.ndarray:
    """Positions beyond ``count`` samples brought back by mirroring about the outer edges of the first and last."""
    turned = np.mod(positions + 0.5, 2 * count)
    return np.where(turned > count, 2 * count - turned, turned) - 0.5
