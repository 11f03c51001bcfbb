"""RGB to an encoder's planes: the standard's formula, and swscale's filter for colour."""

from __future__ import annotations

import numpy as np
import pytest

from lps_sim.media.colour import FromRgb, plane_array
from lps_sim.yuv import LUMA_WEIGHTS

HALF_A_CODE = 0.53  # rounding, and weights that are whole numbers


def coded(rgb: np.ndarray, matrix: str, pixel_format: str) -> list[np.ndarray]:
    kind = np.uint16 if "10" in pixel_format else np.uint8
    return [plane_array(plane, kind).astype(float) for plane in FromRgb(pixel_format, matrix)(rgb).planes]


def by_formula(rgb: np.ndarray, matrix: str, one: int) -> list[np.ndarray]:
    """H.273 on the frame, and on means of two columns and, weighted 1, 3, 3, 1, of four rows."""
    red, blue = LUMA_WEIGHTS[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    pairs = rgb.astype(float).reshape(rgb.shape[0], -1, 2, 3).mean(axis=2)
    place = np.arange(rgb.shape[0] // 2) * 2
    rows = [pairs[np.clip(place + k, 0, rgb.shape[0] - 1)] for k in (-1, 0, 1, 2)]
    means = (rows[0] + 3 * rows[1] + 3 * rows[2] + rows[3]) / 8
    grey = means @ luma
    u = 128 + 224 * (means[..., 2] - grey) / (2 * (1 - blue) * 255)
    v = 128 + 224 * (means[..., 0] - grey) / (2 * (1 - red) * 255)
    return [one * plane for plane in (16 + 219 * (rgb @ luma) / 255, u, v)]


@pytest.mark.parametrize(("pixel_format", "one"), [("yuv420p", 1), ("yuv420p10le", 4)])
@pytest.mark.parametrize("matrix", LUMA_WEIGHTS)
@pytest.mark.parametrize(("height", "width"), [(2, 2), (4, 2), (38, 70)])
def test_planes_meet_the_formula(pixel_format, one, matrix, height, width):
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    rgb[0, 0], rgb[-1, -1] = 255, 0
    for found, wanted in zip(coded(rgb, matrix, pixel_format), by_formula(rgb, matrix, one)):
        assert np.abs(found - wanted).max() <= HALF_A_CODE


def test_grey_has_no_colour_and_white_and_black_are_at_the_ends():
    for level, luma in ((0, 64), (255, 940)):
        planes = coded(np.full((4, 4, 3), level, np.uint8), "bt709", "yuv420p10le")
        assert [float(plane.min()) for plane in planes] == [luma, 512, 512]
    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(4, 64, 1), 3, axis=2)
    _, u, v = coded(ramp, "smpte240m", "yuv420p10le")
    assert (u == 512).all()
    assert (v == 512).all()


def test_the_filter_for_colour_is_swscales():
    rgb = np.random.default_rng(1).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    ours = FromRgb("yuv420p10le")
    theirs = FromRgb("yuv420p10le")
    theirs._rgb_to_420 = None
    for one, two in zip(ours(rgb).planes, theirs(rgb).planes):
        difference = plane_array(one, np.uint16).astype(int) - plane_array(two, np.uint16)
        assert np.abs(difference).max() <= 1
