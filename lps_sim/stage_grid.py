"""Where a planned convolution lives: the shrunk frame's cells, its angle grid, and the positions from one to the other.

Shared by the compiled engine (:mod:`lps_sim.plan`) and its torch twin (:mod:`lps_sim.seal_plan`), so that both compute
the same numbers at the same places. The exact engine's own grid is in :mod:`lps_sim.operator`.
"""

from __future__ import annotations

import math

import numpy as np

from .camera import Camera
from .convolution import Stage
from .geometry import WarpGrid, cos_theta, input_weight, pixel_offsets, radial_scale
from .operator import reflected_weight, surround_rad

BEYOND = 4  # cells of blurred light kept beyond the frame's edges, so that splines there need no guess
_DARK_MARGIN = 4 + 2 * BEYOND


class StageGrid:
    """One stage's grid for a frame that is shrunk to (rows, columns) cells.

    Parameters: stage; camera of the full frame; cell_px, the side of a cell, and corner, the grid's step
    (:class:`lps_sim.plan.Sampling`); small (rows, columns); reflected: the border policy is "reflect".

    Attributes: grid; inwards (2, R, C), index of the cells (y, x) at every node; weight_in (R, C); outwards (2, rows +
    2 BEYOND, columns + 2 BEYOND), index of the grid at every cell and BEYOND more; weight_out and cosine (of the field
    angle) at the same cells. Positions may lie outside; what is there is the mirror image.
    """

    def __init__(
        self, stage: Stage, camera: Camera, cell_px: float, corner: float, small: tuple[int, int], reflected: bool
    ) -> None:
        rows, columns = small
        focal = (camera.f_px * columns / camera.width, camera.f_px * rows / camera.height)
        # Towards its corners the picture is sampled ever more finely in angle. Single pixels are followed all the way;
        # for cells a coarser grid will do: what aliases there lands where blurred light is gone.
        finest = radial_scale(math.hypot(camera.width, camera.height) / 2 / camera.f_px, stage.projection)
        pitch = cell_px / camera.f_px * min(1.0, corner * finest)
        surround = surround_rad(stage, camera) if reflected else 0.0
        margin = 0 if reflected else _DARK_MARGIN
        self.grid = grid = WarpGrid(rows, columns, focal, stage.projection, pitch, margin, BEYOND, surround)
        seen = np.isfinite(grid.from_frame).all(axis=0)
        self.inwards = np.where(seen, grid.from_frame, 0.0)
        tan_y = (self.inwards[0] - (rows - 1) / 2) / focal[1]
        tan_x = (self.inwards[1] - (columns - 1) / 2) / focal[0]
        share = reflected_weight(grid, surround) if reflected else grid.coverage
        self.weight_in = share * input_weight(1 / np.sqrt(1 + tan_x**2 + tan_y**2), stage.projection)
        self.outwards = grid.to_frame
        across, down = (pixel_offsets(n + 2 * BEYOND, f) for n, f in zip((columns, rows), focal))
        self.cosine = cos_theta(across, down)
        self.weight_out = 1 / input_weight(self.cosine, stage.projection)
