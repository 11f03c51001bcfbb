"""Where the camera sees the clean picture: a homography, its first guesses, and its precision.

A camera pixel has the coordinates u (right) and v (down) in half frame widths from the frame's centre; the clean
picture has s and t, -1 to 1 across its width and height. The homography M, scaled to M[2, 2] = 1, takes the one to the
other: ``(s, t, 1) ~ M (u, v, 1)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter

Floats = NDArray[np.float64]

BORDERS = ("dark", "mean", "reflect")
# Shares of the camera's frame that the search takes the picture to fill, across.
_SCALES = (1.0, 0.88, 1.13, 0.72)
_SLOPE_STEP = 0.05  # samples, of a picture's numerical slopes
_PAD = 4  # samples of dark around a picture, so that its edge is a ramp of one sample
# Of (M00 M01 M02 M10 M11 M12 M20 M21): scale, turn and two shifts, for a frame of aspect width / height.
_SIMILARITY = ((1, 0, 0, 0, 1, 0, 0, 0), (0, 1, 0, -1, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 1, 0, 0))


def frame_coordinates(rows: Floats, columns: Floats, size: tuple[int, int]) -> Floats:
    """(3, ...) homogeneous (u, v, 1) of pixel indices in a frame of ``size`` (rows, columns)."""
    half = size[1] / 2
    u, v = (columns - (size[1] - 1) / 2) / half, (rows - (size[0] - 1) / 2) / half
    return np.stack([u, v, np.ones_like(u)])


def filled(scale: float, clean_aspect: float) -> Floats:
    """(8,) homography of a picture that fills ``scale`` of the frame's width, upright and centred."""
    return np.array([1 / scale, 0, 0, 0, clean_aspect / scale, 0, 0, 0])


def first_guesses(clean_aspect: float, frame_aspect: float) -> list[Floats]:
    """Upright, centred pictures of several sizes, and the one stretched to the frame where the shapes differ."""
    guesses = [filled(scale, clean_aspect) for scale in _SCALES]
    if abs(frame_aspect / clean_aspect - 1) > 0.02:
        guesses.insert(1, filled(1.0, frame_aspect))
    return guesses


def similarity_steps(clean_aspect: float) -> Floats:
    """(8, 4) steps of M that scale, turn and shift the picture without bending it."""
    steps = np.array(_SIMILARITY, dtype=float).T
    steps[3:6] *= clean_aspect
    return steps


def matrix(entries: Floats) -> Floats:
    """(3, 3) from the eight free entries."""
    return np.append(entries, 1.0).reshape(3, 3)


@dataclass
class Sampler:
    """Clean light and its derivatives by the homography at given camera coordinates.

    Parameters
    ----------
    points : (3, P) homogeneous camera coordinates
    border : what lies around the picture: "dark", "mean" (both sampled as 0) or "reflect" (its mirror image)
    """

    points: Floats
    border: str

    def __call__(self, picture: Picture, entries: Floats, derivatives: bool) -> Floats:
        """(1, P) light, or (9, P) with its derivatives by the eight entries of M."""
        m = matrix(entries)
        depth = m[2] @ self.points
        behind = depth < 0.05
        depth = np.where(behind, 1.0, depth)
        s, t = (m[0] @ self.points) / depth, (m[1] @ self.points) / depth
        rows, columns = picture.rows, picture.columns
        at = np.stack([(t + 1) / 2 * rows - 0.5, (s + 1) / 2 * columns - 0.5])
        at = np.where(behind | ~np.isfinite(at), -1e3 if self.border != "reflect" else 0.0, at) + _PAD
        mode = "reflect" if self.border == "reflect" else "constant"
        light = map_coordinates(picture.coefficients, at, order=3, mode=mode, prefilter=False)
        if not derivatives:
            return light[None]
        slopes = []
        for axis, count in enumerate((rows, columns)):
            shift = np.zeros((2, 1))
            shift[axis] = _SLOPE_STEP
            ends = [
                map_coordinates(picture.coefficients, at + sign * shift, order=3, mode=mode, prefilter=False)
                for sign in (1, -1)
            ]
            slopes.append((ends[0] - ends[1]) / (2 * _SLOPE_STEP) * count / 2 / depth)
        by_t, by_s = slopes
        along = -(by_s * s + by_t * t)
        return np.stack(
            [light, *(by_s * p for p in self.points), *(by_t * p for p in self.points), *(along * self.points[:2])]
        )


@dataclass
class Picture:
    """A clean frame ready to be sampled: spline coefficients of light minus ``level``, padded."""

    rows: int
    columns: int
    level: float
    coefficients: Floats

    @classmethod
    def of(cls, light: NDArray[np.float32], border: str) -> Picture:
        """From (rows, columns) linear light; ``level`` is the light assumed outside: 0 or the frame's mean."""
        level = 0.0 if border == "dark" else float(light.mean())
        mode = "symmetric" if border == "reflect" else "constant"
        padded = np.pad(np.asarray(light, dtype=float) - level, _PAD, mode=mode)  # type: ignore[call-overload]
        return cls(light.shape[0], light.shape[1], level, spline_filter(padded, order=3))


def overhang(entries: Floats, size: tuple[int, int]) -> float:
    """How far the picture reaches beyond a frame of ``size`` (rows, columns), in frame widths; 0 when it lies inside.

    The largest of the four sides, from the picture's corners.
    """
    corners = np.array([[-1, 1, 1, -1], [-1, -1, 1, 1], [1, 1, 1, 1]], dtype=float)
    seen = np.linalg.solve(matrix(entries), corners)
    u, v = seen[0] / seen[2], seen[1] / seen[2]
    return float(max(np.abs(u).max() - 1, np.abs(v).max() - size[0] / size[1], 0.0)) / 2


def displacement_px(entries: Floats, other: Floats, size: tuple[int, int]) -> Floats:
    """How far two homographies put the same point of the picture apart in the camera's frame.

    Parameters
    ----------
    entries, other : (8,) of two homographies
    size : (rows, columns) of the camera's frame, px

    Returns
    -------
    (K,) distances in camera px over a grid of the picture's points that the first sees inside the frame
    """
    s, t = np.meshgrid(np.linspace(-1, 1, 17), np.linspace(-1, 1, 11))
    points = np.stack([s.ravel(), t.ravel(), np.ones(s.size)])
    seen = [np.linalg.solve(matrix(e), points) for e in (entries, other)]
    first, second = (p[:2] / p[2] for p in seen)
    inside = (np.abs(first[0]) <= 1) & (np.abs(first[1]) <= size[0] / size[1])
    if not inside.any():
        inside[:] = True
    return np.hypot(*(first - second))[inside] * size[1] / 2


def precision_px(entries: Floats, covariance: Floats, size: tuple[int, int]) -> float:
    """Root mean square over the frame of the picture's positional standard deviation, camera px, from (8, 8)."""
    values, vectors = np.linalg.eigh(covariance)
    moves = [
        displacement_px(entries, entries + np.sqrt(max(value, 0.0)) * vector, size)
        for value, vector in zip(values, vectors.T)
    ]
    return float(np.sqrt(sum((move**2).mean() for move in moves)))
