"""What the gate reads off every single shot, once: light in blocks, saturation, noise, isolated pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from ..camera import Camera
from ..transfer import Transfer, eotf_table
from .merge import variance
from .shot_validation import SATURATED_SHARE
from .shots import Shot, ShotSet

Floats = NDArray[np.float64]

# Blocks across a picture: averages of many pixels, so that choosing them by level does not select noise.
_BLOCKS_ACROSS = 80
_FEWEST_PX = 4
# Noise is read where this share of the blocks is lit and unsaturated, between these shares of full scale.
_NOISE_LEVELS = (0.02, 0.9)
_FEWEST_NOISE_BLOCKS = 20
# A pixel beyond all eight neighbours by so many standard deviations is not noise: one such in 10^8 pixels.
_ISOLATED_SIGMAS = 6.0
_NEIGHBOURS = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
# Second differences in both directions (Immerkaer 1996): blind to planes, variance 36 times the pixel's.
_PLANE_FREE = 36.0
# A median over blocks is blind to the few that hold an edge; the blocks of least residual are the flat ones.
_FLAT_QUANTILE = 0.5


@dataclass(frozen=True)
class ShotFigures:
    """Figures of one shot; light as a share of full scale, mean over the channels.

    blocks : (h, w) mean light a block; known : (h, w) no pixel of the block is saturated;
    saturated : share of saturated pixels; noise : sd over the camera model's, NaN where nothing is flat;
    isolated : (H, W) +1 or -1 where a pixel stands out of all its neighbours; judged : (H, W) where that could be told
    """

    shot: Shot
    blocks: Floats
    known: NDArray[np.bool_]
    saturated: float
    noise: float
    isolated: NDArray[np.int8]
    judged: NDArray[np.bool_]


@dataclass
class GateShots:
    """The shots that the gate looks at, and their figures."""

    set: ShotSet
    channels: int
    shots: list[Shot]
    _figures: dict[str, ShotFigures] = field(default_factory=dict)

    @property
    def block_px(self) -> int:
        """Side of a block in px."""
        return max(_FEWEST_PX, self.set.camera.width // _BLOCKS_ACROSS)

    def figures(self, shot: Shot) -> ShotFigures:
        """The shot's figures, computed once."""
        if shot.file not in self._figures:
            codes = self.set.codes(shot)[..., : self.channels]
            self._figures[shot.file] = _figures(shot, codes, self.set, self.block_px)
        return self._figures[shot.file]

    def brackets(self) -> list[list[Shot]]:
        """Shots of one scene and layer count, by exposure, without those saturated everywhere; two or more each."""
        groups: dict[tuple[str, int, str], list[Shot]] = {}
        for shot in self.shots:
            if shot.file not in self.set.unusable:
                groups.setdefault((shot.scene, shot.layers, shot.role), []).append(shot)
        return [sorted(group, key=lambda s: s.exposure) for group in groups.values() if len(group) > 1]

    def block_light(self, shot: Shot, transfer: Transfer) -> Floats:
        """Mean light a block under another transfer function."""
        codes = self.set.codes(shot)[..., : self.channels]
        light = eotf_table(transfer, self.set.camera.bits)[codes]
        return block_mean(light.mean(axis=-1, dtype=np.float32), self.block_px)


def block_mean(values: NDArray[Any], side: int) -> Floats:
    """Mean over whole blocks of (H, W); what is left over at the right and bottom is dropped."""
    height, width = (size // side * side for size in values.shape)
    cut = np.asarray(values[:height, :width], dtype=np.float32)
    return cut.reshape(height // side, side, width // side, side).mean(axis=(1, 3)).astype(np.float64)


def floor_of(camera: Camera) -> float:
    """The least mean light (share of full scale) at which clipped noise and coarse codes bias it by under 2 %.

    Noise clipped at black adds 0.4 standard deviations of the read noise; rounding is harmless from four codes on.
    """
    table = eotf_table(camera.transfer, camera.bits).astype(float)
    read = camera.read_noise_e / camera.full_well_e
    coarse = table <= 4 * np.gradient(table)
    step = float(table[np.flatnonzero(coarse)[-1]]) if coarse.any() else 0.0
    return max(20 * read, step, float(table[min(4, table.size - 1)]))


def _figures(shot: Shot, codes: NDArray[Any], shot_set: ShotSet, side: int) -> ShotFigures:
    camera, recorded = shot_set.camera, shot_set.recorded
    light = camera.decode(codes)
    saturated = np.asarray((codes >= SATURATED_SHARE * camera.max_code).any(axis=-1))
    blocks = block_mean(light.mean(axis=-1, dtype=np.float32), side)
    known = block_mean(saturated, side) == 0
    green = light[..., light.shape[-1] // 2].astype(np.float64)
    noise = _noise(green, block_mean(green, side), known, camera, recorded, side)
    isolated, judged = _isolated(light, saturated, camera, recorded)
    return ShotFigures(shot, blocks, known, float(saturated.mean()), noise, isolated, judged)


def _noise(
    light: Floats, blocks: Floats, known: NDArray[np.bool_], camera: Camera, recorded: Camera | None, side: int
) -> float:
    """Pixel noise over the camera model's, standard deviations; the median over lit blocks."""
    second = light[:, 2:] - 2 * light[:, 1:-1] + light[:, :-2]
    second = second[2:] - 2 * second[1:-1] + second[:-2]
    squares = np.zeros_like(light)
    squares[1:-1, 1:-1] = second**2 / _PLANE_FREE
    measured = block_mean(squares, side)
    lit = known & (blocks > _NOISE_LEVELS[0]) & (blocks < _NOISE_LEVELS[1])
    lit[[0, -1]] = lit[:, [0, -1]] = False
    if lit.sum() < _FEWEST_NOISE_BLOCKS:
        return float("nan")
    expected = variance(camera, blocks[lit], 1.0, recorded)
    return float(np.sqrt(np.quantile(measured[lit] / expected, _FLAT_QUANTILE)))


def _isolated(
    light: NDArray[Any], saturated: NDArray[np.bool_], camera: Camera, recorded: Camera | None
) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """Pixels beyond all eight neighbours in any channel, and the pixels whose neighbours are not saturated."""
    isolated = np.zeros(light.shape[:2], np.int8)
    for channel in range(light.shape[-1]):
        one = light[..., channel]
        high = maximum_filter(one, footprint=_NEIGHBOURS)
        low = minimum_filter(one, footprint=_NEIGHBOURS)
        margin = _ISOLATED_SIGMAS * np.sqrt(variance(camera, high.astype(np.float64), 1.0, recorded))
        isolated[one > high + margin] = 1
        isolated[one < low - margin] = -1
    around = maximum_filter(saturated.astype(np.uint8), footprint=_NEIGHBOURS)
    return isolated, around == 0
