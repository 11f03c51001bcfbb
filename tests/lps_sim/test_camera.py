"""The camera against photon statistics and its own rules."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lps_sim.camera import Camera
from lps_sim.errors import UnknownNameError
from lps_sim.transfer import eotf

# Relative standard error of a variance from n samples is sqrt(2/n): 0.35 % at 400 x 400; five of them.
VARIANCE_TOLERANCE = 0.018


def linear_camera(**fields) -> Camera:
    """A camera whose codes are electrons to within 1/7."""
    base = {"width": 400, "height": 400, "f_px": 400.0, "eotf": "linear", "bits": 16, "read_noise_e": 0.0, "prnu": 0.0}
    return Camera(**{**base, **fields})


@pytest.mark.parametrize("level", [0.002, 0.02, 0.2, 0.6])
def test_poisson_variance_equals_the_mean(level):
    camera = linear_camera()
    codes = camera.sense(np.full((400, 400), level), np.random.default_rng(1))
    electrons = codes.astype(float) / camera.max_code * camera.full_well_e
    assert electrons.mean() == pytest.approx(level * camera.full_well_e, rel=0.005)
    assert electrons.var() == pytest.approx(electrons.mean(), rel=VARIANCE_TOLERANCE)


def test_the_photon_transfer_curve_is_shot_plus_read_noise():
    camera = linear_camera(read_noise_e=20.0)
    codes = camera.sense(np.full((400, 400), 0.1), np.random.default_rng(2))
    assert (codes / camera.max_code).var() == pytest.approx(
        float(camera.temporal_variance(np.array(0.1))), rel=VARIANCE_TOLERANCE
    )


def test_prnu_is_fixed_for_a_camera_and_grows_with_the_signal():
    camera = linear_camera(prnu=0.05, full_well_e=1e9)
    rng = np.random.default_rng(3)
    first, second = (camera.sense(np.full((400, 400), 0.5), rng) / camera.max_code for _ in range(2))
    assert first.std() / first.mean() == pytest.approx(0.05, rel=VARIANCE_TOLERANCE)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.999
    other = dataclasses.replace(camera, prnu_seed=1).sense(np.full((400, 400), 0.5), rng)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.02  # five standard errors of 1/sqrt(160000)


def test_a_noiseless_camera_returns_the_exact_code():
    camera = Camera(3, 1, 10.0, full_well_e=1e15, read_noise_e=0, prnu=0)
    codes = camera.sense(eotf(np.array([[0, 128 / 255, 1.0]])), np.random.default_rng(0))
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes, [[0, 128, 255]])


def test_light_beyond_full_scale_is_clipped_and_nothing_wraps_around():
    camera = Camera(2, 1, 10.0)
    np.testing.assert_array_equal(camera.sense(np.array([[5.0, -1.0]]), np.random.default_rng(0))[:, :1], [[255]])
    np.testing.assert_array_equal(camera.encode(np.array([-0.5, 1.5])), [0, 255])


def test_exposure_multiplies_the_signal():
    camera = Camera(4, 3, 10.0, exposure=0.25)
    np.testing.assert_allclose(camera.signal(np.full((3, 4), 0.8)), 0.2)
    np.testing.assert_allclose(camera.with_exposure(0.5).signal(np.full((3, 4, 3), 0.8)), 0.4)


def test_the_cos4_law_halves_light_to_a_quarter_at_forty_five_degrees():
    camera = Camera(201, 1, 100.0, cos_power=4)
    vignetting = camera.vignetting_map()
    assert vignetting[0, 100] == 1
    assert vignetting[0, 0] == pytest.approx(0.25)


def test_the_vignetting_polynomial_is_in_the_tangent_squared():
    camera = Camera(201, 1, 100.0, vignetting=(-0.3, 0.1))
    assert camera.vignetting_map()[0, 50] == pytest.approx(1 - 0.3 * 0.25 + 0.1 * 0.0625)


def test_decode_is_the_inverse_of_encode_for_every_code():
    camera = Camera(2, 2, 10.0)
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(camera.encode(camera.decode(codes)), codes)


def test_twelve_bit_codes_need_sixteen_bit_integers():
    camera = Camera(2, 2, 10.0, bits=12)
    assert camera.encode(np.array([1.0])).dtype == np.uint16
    assert camera.encode(np.array([1.0]))[0] == 4095


def test_field_of_view_and_focal_length_agree():
    camera = Camera.from_field_of_view(640, 360, 70.0)
    assert camera.f_px == pytest.approx(457.0, abs=0.1)
    assert camera.fov_deg == pytest.approx(70.0)
    assert camera.resized(1920, 1080).fov_deg == pytest.approx(70.0)
    assert camera.nyquist_cpr == pytest.approx(camera.f_px / 2)


def test_a_camera_survives_the_way_through_its_fields_and_yaml(tmp_path):
    camera = Camera(640, 360, 457.0, bits=10, vignetting=(-0.1,), prnu_seed=7)
    assert Camera.from_dict(camera.to_dict()) == camera
    path = tmp_path / "camera.yaml"
    path.write_text("width: 640\nheight: 360\nfov_deg: 70\n")
    assert Camera.from_yaml(path) == Camera.from_field_of_view(640, 360, 70)
    path.write_text("camera: {width: 640, height: 360, f_px: 457}\nshots: []\n")
    assert Camera.from_yaml(path).f_px == 457


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"full_well_e": -1}, "full_well_e must be > 0, got -1"),
        ({"width": 0}, "width must be > 0, got 0"),
        ({"width": 1.5}, "width must be a whole number, got 1.5"),
        ({"bits": 17}, "bits must be 1..16, got 17"),
        ({"prnu": -0.1}, "prnu must be >= 0, got -0.1"),
        ({"exposure": float("nan")}, "exposure must be finite, got nan"),
        ({"read_noise_e": "3"}, "read_noise_e must be a number, got '3'"),
        ({"eotf": "rec709"}, "did you mean 'bt709'"),
        ({"vignetting": (-20.0,)}, "vignetting must leave light at the corners"),
    ],
)
def test_a_bad_field_is_named_with_its_rule(fields, message):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        Camera(**{"width": 640, "height": 360, "f_px": 457.0, **fields})


def test_an_unknown_yaml_key_names_the_file_and_the_nearest_key(tmp_path):
    path = tmp_path / "camera.yaml"
    path.write_text("width: 640\nheight: 360\nf_px: 457\nfull_wel_e: 9000\n")
    with pytest.raises(ValueError, match=r"camera\.yaml: camera key: unknown 'full_wel_e'; did you mean 'full_well_e'"):
        Camera.from_yaml(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width: [", "not YAML"),
        ("- 1", "must hold the camera's fields"),
        ("height: 3\nf_px: 2", "camera needs width"),
        ("width: 4\nheight: 3", "camera needs f_px or fov_deg"),
        ("width: 4\nheight: 3\nfov_deg: 200", "fov_deg must be between 0 and 180, got 200"),
    ],
)
def test_a_bad_camera_file_is_one_line(tmp_path, text, message):
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        Camera.from_yaml(path)
    assert "\n" not in str(caught.value)


def test_unknown_keys_are_their_own_error():
    with pytest.raises(UnknownNameError):
        Camera.from_dict({"width": 4, "height": 3, "f_px": 2, "fpx": 1})


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"irradiance must be linear light, float \(3, 4\)"):
        Camera(4, 3, 10.0).sense(np.zeros((4, 3)), np.random.default_rng(0))


def test_coded_values_are_refused_as_irradiance():
    with pytest.raises(ValueError, match="uint8"):
        Camera(4, 3, 10.0).sense(np.zeros((3, 4), np.uint8), np.random.default_rng(0))
    with pytest.raises(ValueError, match="codes must be integers"):
        Camera(4, 3, 10.0).decode(np.zeros(3))
