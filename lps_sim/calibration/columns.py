"""What the search for a film sees: each filmed scene as linear columns at every pixel, and their sums of squares.

Behind any film a scene is ``columns @ coefficients`` (:mod:`.basis`), so a weighted sum of squares over all pixels is
one over the rows of a small square root of the columns' Gram matrix. The search runs on these rows and still uses every
pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..film import FilmModel
from .basis import OperatorBasis
from .observations import FilmedScene, Observations, decimate

Floats = NDArray[np.float64]

MODEL_FLOOR = 0.002  # of y: the law itself is not better than this
_FIT_WIDTH = 400  # wider shots are area-averaged: a film blurs more than the pixels that are lost
# Channels of a scene that differ by less than this, smoothed and apart from their gains, show one grey picture.
_NEUTRAL = 0.02
_SATURATED_VARIANCE = 1.0  # of a bare pixel that no exposure holds: it is only known to be bright
_TILES = (6, 8)  # rows, columns of the picture within which residuals may depend on each other


def decimation(width: int, height: int) -> int:
    """The smallest common divisor of the sides that brings the width to the fit's, 1 where none does."""
    return next((d for d in range(-(-width // _FIT_WIDTH), 17) if width % d == 0 and height % d == 0), 1)


@dataclass(frozen=True)
class SquareRoot:
    """One filmed scene for the search: ``|rows @ (g c, g, -1)|^2`` is its weighted sum of squares.

    rows : (K, J + 2) square root of the Gram matrix of operator columns, geometry correction and filmed light
    pixels : that it stands for
    """

    scene: str
    target: str
    layers: int
    rows: Floats
    pixels: int


@dataclass
class FilmedPixels:
    """One filmed scene in one channel at every pixel of the fit.

    columns : (P, J) float32, shared by the layer counts of a scene; gain: of the channel's x against the columns'
    y : (P,) filmed light; root_weight : (P,) sqrt(w), 0 where nothing is known; x_variance : (P,) of the bare picture;
    correction : (P,) what the chosen geometry adds to the columns' own; tiles : (P,) part of the picture
    """

    source: FilmedScene
    channel: int
    columns: NDArray[np.float32]
    gain: float
    y: Floats
    root_weight: Floats
    x_variance: Floats
    tiles: NDArray[np.intp]
    correction: Floats = field(default_factory=lambda: np.zeros(0))

    def light(self, coefficients: Floats) -> Floats:
        """K_N x at the pixels."""
        light = self.gain * (self.columns @ coefficients.astype(np.float32)).astype(float)
        return light + self.correction if self.correction.size else light

    def square_root(self) -> SquareRoot:
        """The sum of squares over all pixels as a few rows."""
        size = self.columns.shape[1]
        stack = np.empty((self.y.size, size + 2))
        np.multiply(self.columns, (self.gain * self.root_weight)[:, None], out=stack[:, :size])
        stack[:, size] = self.correction * self.root_weight if self.correction.size else 0.0
        stack[:, size + 1] = self.y * self.root_weight
        # Rounding leaves 1e-16 of the light's own sum of squares, far below one unit of chi^2.
        values, vectors = np.linalg.eigh(stack.T @ stack)
        rows = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
        return SquareRoot(
            self.source.scene, self.source.target, self.source.layers, rows, int(np.count_nonzero(self.root_weight))
        )


def film_coefficients(basis: OperatorBasis, film: FilmModel, layers: int) -> Floats:
    """What a film puts behind the columns of a scene: its scattered light, then its unscattered one (first channel).

    Oblique unscattered light is b exp(ln(b) way - 2 N loss) to second order in the way and first in the faces' loss.
    """
    ballistic = float(film.ballistic_fraction(layers)[0])
    slanted = film.geometry.oblique_ballistic and ballistic > 1e-300
    log, faces = (np.log(ballistic), -2.0 * layers) if slanted else (0.0, 0.0)
    unscattered = ballistic * np.array([1.0, log, log * log / 2, faces])
    return np.concatenate([basis.coefficients(film, layers, 0), unscattered])


def filmed_pixels(seen: Observations, basis: OperatorBasis, refractive_index: float, factor: int) -> list[FilmedPixels]:
    """Every filmed scene in every channel; channels of a neutral scene share their columns.

    A screen that shows grey is one picture in three channels but for their gains; their mean also has less noise.

    Parameters
    ----------
    seen : the observations at full size
    basis : of the decimated camera
    refractive_index : of the sheets
    factor : of the decimation
    """
    pictures: dict[tuple[str, int | None], tuple[Floats, list[float]]] = {}
    for scene in dict.fromkeys(entry.scene for entry in seen.scenes):
        x = decimate(next(e.x for e in seen.scenes if e.scene == scene), factor)
        common = x.mean(axis=-1)
        gains = (x * common[..., None]).sum(axis=(0, 1)) / (common**2).sum()
        rest = gaussian_filter(x - gains * common[..., None], (2, 2, 0))
        if np.abs(rest).max() < _NEUTRAL * common.max():
            pictures[scene, None] = common, gains.tolist()
        else:
            pictures.update({(scene, c): (x[..., c], [1.0]) for c in range(x.shape[-1])})
    way, loss = (part.ravel() for part in basis.unscattered(refractive_index))

    def columns(light: Floats) -> NDArray[np.float32]:
        everywhere = basis.matrix(light, np.arange(light.size))
        flat = light.ravel()
        return np.column_stack([everywhere, flat, flat * way, flat * way**2, flat * loss]).astype(np.float32)

    with ThreadPoolExecutor() as pool:
        made = dict(zip(pictures, pool.map(columns, [light for light, _ in pictures.values()])))
    first = next(iter(pictures.values()))[0]
    shape = first.shape[0], first.shape[1]
    tiles = _tiles(*shape)
    result = []
    for entry in seen.scenes:
        for channel in range(entry.y.shape[-1]):
            key = (entry.scene, None if (entry.scene, None) in pictures else channel)
            gains_here = pictures[key][1]
            # An average over pixels of which one is saturated is not known: its variance stays infinite.
            variance = decimate(entry.y_variance[..., channel], factor).ravel() / factor**2
            y = decimate(entry.y[..., channel], factor).ravel()
            # A weight that followed a pixel's own noise would pull the fit towards dark pixels.
            level = gaussian_filter(y.reshape(shape), 1.0).ravel()
            weight = 1.0 / (variance + (MODEL_FLOOR * level) ** 2)
            bare = decimate(np.minimum(entry.x_variance[..., channel], _SATURATED_VARIANCE), factor).ravel() / factor**2
            gain = gains_here[channel] if len(gains_here) > 1 else gains_here[0]
            result.append(FilmedPixels(entry, channel, made[key], float(gain), y, np.sqrt(weight), bare, tiles))
    return result


def _tiles(height: int, width: int) -> NDArray[np.intp]:
    """(H W,) index of the tile that every pixel lies in."""
    row = np.arange(height) * _TILES[0] // height
    column = np.arange(width) * _TILES[1] // width
    return (row[:, None] * _TILES[1] + column).ravel()


def square_roots(pixels: Sequence[FilmedPixels]) -> list[SquareRoot]:
    """The rows of several filmed scenes."""
    return [part.square_root() for part in pixels]
