"""Similarity of pictures against closed forms and the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from capture_rig.similarity import (
    band_contrast,
    mean_square,
    psnr,
    radial_edges,
    radial_sums,
    spectrum,
    ssim,
)

RNG = np.random.default_rng(5)
PICTURE = RNG.integers(0, 256, (20, 24)).astype(np.uint8)
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def test_psnr_of_a_difference_of_one_code_is_48_decibels() -> None:
    assert psnr(mean_square(PICTURE, PICTURE.astype(int) + 1)) == pytest.approx(20 * math.log10(255))
    assert psnr(mean_square(PICTURE, PICTURE)) == math.inf


def test_ssim_of_a_picture_with_itself_is_one() -> None:
    assert ssim(PICTURE, PICTURE) == pytest.approx(1, abs=1e-12)


def test_ssim_of_two_flat_pictures_is_its_luminance_term() -> None:
    dark, bright = np.full((16, 16), 60.0), np.full((16, 16), 180.0)
    assert ssim(dark, bright) == pytest.approx((2 * 60 * 180 + C1) / (60**2 + 180**2 + C1), abs=1e-9)


def test_ssim_agrees_with_its_definition_window_by_window() -> None:
    """Equations 13 to 17 of Wang et al. 2004, written as sums."""
    other = np.clip(PICTURE + RNG.normal(0, 40, PICTURE.shape), 0, 255)
    at = np.arange(11) - 5
    weights = np.exp(-(at[:, None] ** 2 + at[None, :] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for y in range(PICTURE.shape[0] - 10):
        for x in range(PICTURE.shape[1] - 10):
            a, b = (picture[y : y + 11, x : x + 11].astype(float) for picture in (PICTURE, other))
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
            both = (weights * (a - mean_a) * (b - mean_b)).sum()
            values.append(
                (2 * mean_a * mean_b + C1) * (2 * both + C2) / ((mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2))
            )
    assert ssim(PICTURE, other) == pytest.approx(np.mean(values), abs=1e-9)


def test_pictures_too_small_or_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 px a side"):
        ssim(PICTURE[:10], PICTURE[:10])
    with pytest.raises(ValueError, match="one shape"):
        ssim(PICTURE, PICTURE[:, :-1])


def test_the_band_passes_stripes_of_its_own_size_and_stops_others() -> None:
    """Stripes as wide as a tenth of the height; a difference of Gaussians of 1 and 1.6 passes 0.334 at its peak."""
    y = (np.arange(200) + 0.5) / 200
    contrast = {
        width: band_contrast(np.tile(0.5 + 0.1 * np.cos(np.pi * y / width)[:, None], (1, 200)))
        for width in (0.01, 0.1, 0.5)
    }
    assert contrast[0.1] == pytest.approx(0.334 * 0.2 / math.sqrt(2), rel=0.01)
    assert contrast[0.01] < 0.1 * contrast[0.1]
    assert contrast[0.5] < 0.3 * contrast[0.1]


def test_a_wave_falls_into_the_band_of_its_own_frequency() -> None:
    x = np.arange(128)
    wave = 0.5 + 0.2 * np.sin(2 * np.pi * 11 * x / 96)[None, :] * np.ones((96, 1))
    power = radial_sums(np.abs(spectrum(wave)) ** 2, 128)
    edges = radial_edges(96, 128)
    place = int(power.argmax())
    assert edges[place] <= 11 < edges[place + 1]
    assert power[place] > 0.8 * power.sum()
