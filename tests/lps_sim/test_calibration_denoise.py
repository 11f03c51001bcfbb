"""Bare pictures without their noise: nearer to the truth, saturation kept, and nothing made of nothing."""

from __future__ import annotations

import numpy as np
import pytest

from capture_rig.targets import target
from lps_sim.calibration.denoise import denoised
from lps_sim.calibration.merge import variance
from lps_sim.camera import Camera

SIZE = 160, 96
CAMERA = Camera.from_field_of_view(*SIZE, 60.0, full_well_e=5000.0, prnu=0.0)


def recorded(kind, seed=3):
    """(truth, one noisy 8-bit exposure, its variance), (H, W, 1) each."""
    light = 0.02 + 0.7 * np.asarray(target(kind, *SIZE), dtype=float)
    light = light.reshape(*SIZE[::-1], -1)[..., :1]
    seen = CAMERA.decode(CAMERA.sense(light, np.random.default_rng(seed))).astype(float)
    return light, seen, variance(CAMERA, light, 1.0)


@pytest.mark.parametrize(("kind", "least"), [("edge", 3.0), ("siemens", 1.5), ("disc", 3.0)])
def test_noise_falls_where_a_picture_has_structure(kind, least):
    truth, noisy, spread = recorded(kind)
    before, after = (np.square(picture - truth).mean() for picture in (noisy, denoised(noisy, spread)))
    assert before > least * after


def test_white_noise_alone_becomes_its_mean_and_a_picture_without_noise_stays():
    rng = np.random.default_rng(1)
    flat = 0.5 + 0.01 * rng.standard_normal((96, 160, 1))
    clean = denoised(flat, np.full_like(flat, 1e-4))
    assert clean.std() < 0.2 * flat.std()
    assert clean.mean() == pytest.approx(flat.mean(), abs=2e-4)
    truth = recorded("siemens")[0]
    np.testing.assert_allclose(denoised(truth, np.full_like(truth, 1e-12)), truth, atol=2e-5)


def test_saturated_pixels_and_other_channels_stay():
    _, noisy, spread = recorded("edge")
    two = np.concatenate([noisy, np.full_like(noisy, 0.25)], axis=2)
    known = np.concatenate([spread, spread], axis=2)
    known[10:20, 30:40, 0] = np.inf
    clean = denoised(two, known)
    np.testing.assert_array_equal(clean[10:20, 30:40, 0], two[10:20, 30:40, 0])
    np.testing.assert_array_equal(clean[..., 1], two[..., 1])


def test_a_picture_smaller_than_a_block_stays():
    tiny = np.random.default_rng(0).random((6, 40, 3))
    np.testing.assert_array_equal(denoised(tiny, np.ones_like(tiny)), tiny)
