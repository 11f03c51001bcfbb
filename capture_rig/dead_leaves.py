"""A picture with the statistics of photographs, drawn from a seed: discs of all sizes that hide each other.

Radii follow r^-3, which makes the picture look alike at every scale and its amplitude spectrum fall about as 1 / f, as
those of natural scenes do (Lee, Mumford & Huang 2001).
"""

from __future__ import annotations

import math

import numpy as np

from lps_sim.seeding import named_rng

_SMALLEST_PX = 2.0
_COVERED = 6.0  # times over; e^-6 of the area is left to the background
_DARKEST = 0.03
_SUBPIXEL_BITS = 4
_FINER = 3  # parts of a pixel each way that edges are averaged over


def photo(width: int, height: int, *, seed: int = 1) -> np.ndarray:
    """Dead leaves: discs of 2 px to a third of the longer side, of linear levels 0.03..1, even in the logarithm."""
    import cv2

    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
    rng = named_rng(seed, "photo target", width, height)
    largest = max(max(width, height) / 3, 2 * _SMALLEST_PX)
    mean_area = 2 * math.pi * _SMALLEST_PX**2 * math.log(largest / _SMALLEST_PX)
    beyond = largest  # discs whose centres are outside reach in
    count = math.ceil(_COVERED * (width + 2 * beyond) * (height + 2 * beyond) / mean_area)
    # Inverse of the cumulative distribution of r^-3 between the two limits.
    low, high = _SMALLEST_PX**-2, largest**-2
    radius = (low - rng.random(count) * (low - high)) ** -0.5
    centre = rng.random((count, 2)) * [width + 2 * beyond, height + 2 * beyond] - beyond
    level = _DARKEST ** rng.random(count)
    near = (np.abs(centre - [width / 2, height / 2]) < np.array([width, height]) / 2 + radius[:, None]).all(axis=1)
    scale = _FINER << _SUBPIXEL_BITS
    picture = np.full((height * _FINER, width * _FINER), math.sqrt(_DARKEST), dtype=np.float32)
    for (x, y), r, value in zip(np.rint(centre[near] * scale).astype(int), radius[near], level[near]):
        cv2.circle(picture, (int(x), int(y)), round(r * scale), float(value), cv2.FILLED, cv2.LINE_8, _SUBPIXEL_BITS)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
