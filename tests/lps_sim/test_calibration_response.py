"""A camera's response curve: measured from brackets, written, and used like a named one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import yaml

from lps_sim import Degrader, FilmModel
from lps_sim.calibration.response import measure_response, measure_set_response
from lps_sim.calibration.shots import Shot, ShotGeometry, ShotSet, write_shots
from lps_sim.camera import Camera
from lps_sim.media import write_image
from lps_sim.transfer import MeasuredCurve, eotf, eotf_table, inverse_eotf

# Of full scale: 900 pixels with the noise of 9000 electrons under OpenCV's smoothness; measured 0.006 and 0.012.
CURVE = {"debevec": 0.012, "robertson": 0.03}
EXPOSURES = (0.9, 1.8, 3.6, 7.2, 14.4)
ROUNDING = 1e-12


def bracket(camera, exposures=EXPOSURES, seed=0):
    """A ramp in the logarithm of light, 300 to 1."""
    light = np.tile(np.geomspace(1 / 300, 1.0, camera.width), (camera.height, 1))
    rng = np.random.default_rng(seed)
    return [camera.with_exposure(exposure).sense(light, rng) for exposure in exposures]


@pytest.mark.parametrize("method", ["debevec", "robertson"])
@pytest.mark.parametrize("curve", ["srgb", "gamma:1.8", "linear"])
def test_a_known_response_comes_back(method, curve):
    camera = Camera(320, 120, 300.0, eotf=curve, prnu=0.0)
    found = measure_response(bracket(camera), EXPOSURES, method)
    truth = eotf(np.arange(256) / 255, curve)
    assert np.abs(found.response - truth).max() < CURVE[method]
    assert found.response[0] == 0
    assert found.response[-1] == 1
    assert (np.diff(found.response) > 0).all()


def test_the_scatter_is_that_of_the_cameras_noise():
    camera = Camera(320, 120, 300.0, prnu=0.0)
    found = measure_response(bracket(camera), EXPOSURES)
    light = eotf_table()[160]
    noise = np.sqrt(camera.temporal_variance(np.array(light))) / light
    # The other exposures' noise comes on top: about as much again in variance.
    assert noise < found.relative_sd[160] < 2.5 * noise
    assert np.isnan(found.relative_sd[255])


def test_sixteen_bits_are_measured_in_256_steps():
    camera = Camera(320, 120, 300.0, eotf="gamma2.2", bits=16, prnu=0.0)
    found = measure_response(bracket(camera), EXPOSURES)
    assert np.abs(found.response - eotf(np.arange(256) / 255, "gamma2.2")).max() < CURVE["debevec"]


@pytest.mark.parametrize(
    ("codes", "exposures", "method", "message"),
    [
        ([np.zeros((4, 4), np.uint8)], [1.0], "debevec", "at least two different"),
        ([np.zeros((4, 4), np.uint8)] * 2, [1.0, 0.0], "debevec", "must be > 0"),
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], [1.0, 2.0], "debevec", "one shape"),
        ([np.full((4, 4), 90, np.uint8)] * 2, [1.0, 2.0], "debevec", "must cover 32 of 256 steps"),
        ([np.full((4, 4), 90, np.uint8)] * 2, [1.0, 8.0], "robertson", "robertson needs 4 exposures"),
        ([np.full((4, 4), 90, np.uint8)] * 2, [1.0, 8.0], "debevek", "did you mean 'debevec'"),
    ],
)
def test_what_cannot_tell_a_response_is_refused(codes, exposures, method, message):
    with pytest.raises(ValueError, match=message):
        measure_response(codes, exposures, method)


def write_bracket(folder, camera, exposures=(0.9, 7.2)):
    shots = []
    for i, (exposure, codes) in enumerate(zip(exposures, bracket(camera, exposures))):
        write_image(folder / f"{i}.png", codes)
        shots.append(Shot(file=f"{i}.png", target="wedge", scene="wedge", layers=0, exposure=exposure))
    write_shots(folder / "shots.yaml", camera, ShotGeometry(), shots)
    return ShotSet.load(folder / "shots.yaml")


def test_a_sets_brackets_give_a_camera_that_reads_back_equal(tmp_path):
    camera = Camera(320, 120, 300.0, eotf="gamma:1.8", prnu=0.0)
    shots = write_bracket(tmp_path, camera)
    measured = measure_set_response(shots).camera(shots.camera)
    assert measured.eotf == "measured"
    (tmp_path / "camera.yaml").write_text(yaml.safe_dump(measured.to_dict()))
    assert Camera.from_yaml(tmp_path / "camera.yaml") == measured
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(measured.encode(measured.decode(codes)), codes)
    assert np.abs(measured.decode(codes) - camera.decode(codes)).max() < CURVE["debevec"]


def test_a_set_without_brackets_has_no_response(tmp_path):
    with pytest.raises(ValueError, match="no bracket"):
        measure_set_response(write_bracket(tmp_path, Camera(320, 120, 300.0), (0.9,)))


def test_a_measured_curve_is_straight_between_its_codes_and_goes_on_above():
    curve = MeasuredCurve((0.0, 0.2, 1.0))
    np.testing.assert_allclose(eotf(np.array([-0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5]), curve)[1:4], [0, 0.1, 0.2])
    np.testing.assert_allclose(eotf(np.array([-0.25, 1.5]), curve), [-0.1, 1.8])
    values = np.linspace(-1.2, 1.4, 53)
    np.testing.assert_allclose(inverse_eotf(eotf(values, curve), curve), values, atol=ROUNDING)
    assert eotf(np.zeros(2, np.float32), curve).dtype == np.float32
    np.testing.assert_allclose(eotf_table(curve, 4)[[0, 15]], [0, 1])


@pytest.mark.parametrize("gamma", ["gamma:1", "gamma:2.4", "gamma:4.0"])
def test_any_power_law_and_its_inverse_undo_each_other(gamma):
    values = np.linspace(-1, 1.2, 45)
    np.testing.assert_allclose(inverse_eotf(eotf(values, gamma), gamma), values, atol=ROUNDING)
    assert float(eotf(0.5, gamma)) == pytest.approx(0.5 ** float(gamma[6:]))
    assert Camera(4, 4, 5.0, eotf=gamma).to_dict()["eotf"] == gamma


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"eotf": "gamma:0.5"}, r"number G of 1\.\.4 such as gamma:2\.4, got 'gamma:0\.5'"),
        ({"eotf": "gamma:x"}, "got 'gamma:x'"),
        ({"eotf": "measured"}, "eotf measured needs response"),
        ({"response": [0.0, 1.0]}, "response goes with eotf measured only"),
        ({"eotf": "measured", "response": [0.0, 0.5, 0.5, 1.0]}, r"must rise from code to code, got 0\.5, 0\.5 at 1"),
        ({"eotf": "measured", "response": [0.1, 1.0]}, "must start at 0 and end at 1"),
        ({"eotf": "measured", "response": [1.0]}, "at least 2 numbers"),
        ({"eotf": "measured", "response": "curve"}, "response must be a list"),
    ],
)
def test_a_wrong_curve_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Camera(4, 4, 5.0, **fields)


def test_every_engine_takes_a_measured_curve_as_the_named_one_that_it_samples():
    camera = Camera(64, 48, 60.0)
    response = tuple(np.float64(eotf(np.arange(256) / 255, "srgb")).tolist())
    measured = dataclasses.replace(camera, eotf="measured", response=response)
    frames = np.random.default_rng(0).integers(0, 256, (1, 48, 64, 3), dtype=np.uint8)
    one, two = (Degrader(FilmModel.load("rough"), 4, c, seed=1)(frames).astype(int) for c in (camera, measured))
    # Straight lines between 256 codes move a value by less than half a code, so that rounding may differ by one.
    assert np.abs(one - two).max() <= 1
    assert (one != two).mean() < 0.02
