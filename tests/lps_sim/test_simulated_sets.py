"""Simulated calibration sets: what they say of themselves, and the lens before the sensor."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from cli.film_calibration import calibration_scenes
from lps_sim import __version__
from lps_sim.calibration.shots import Shot, ShotGeometry, ShotSet, write_shots
from lps_sim.calibration.simulate import Scene, simulate_shots
from lps_sim.camera import Camera
from lps_sim.film import FilmModel
from lps_sim.media import write_image
from lps_sim.scattering import Scattering

PROFILE = 3e-3  # of white: a Gaussian of 2 px sampled at pixels instead of integrated over them; measured 2.4e-3


def test_a_simulated_set_states_film_seed_and_version(tmp_path):
    camera = Camera.from_field_of_view(32, 24, 70.0)
    film = FilmModel.load("rough")
    path = simulate_shots(film, [Scene("flat", "flat", np.ones((24, 32)))], camera, tmp_path, (2,), seed=5)
    shots = ShotSet.load(path)
    assert shots.simulated
    expected = {"kind": "simulated", "film": "rough", "checksum": film.checksum(), "seed": 5}
    assert {key: shots.origin[key] for key in expected} == expected
    assert shots.origin["package_version"] == __version__


def test_a_set_that_says_nothing_is_not_taken_for_simulated(tmp_path):
    camera = Camera.from_field_of_view(32, 24, 70.0)
    write_image(tmp_path / "a.png", np.full((24, 32, 3), 100, np.uint8))
    shot = Shot(file="a.png", target="flat", scene="flat", layers=0, exposure=1.0)
    write_shots(tmp_path / "shots.yaml", camera, ShotGeometry(), [shot])
    shots = ShotSet.load(tmp_path / "shots.yaml")
    assert (dict(shots.origin), shots.simulated) == ({}, False)


@pytest.mark.parametrize("layers", [0, 4])
def test_lens_blur_turns_a_step_into_the_error_function(tmp_path, layers):
    """Behind a film that does nothing, the lens alone is left, in bare and in filmed shots alike."""
    camera = Camera(64, 32, 60.0, eotf="linear", bits=16, full_well_e=1e9, read_noise_e=0.0, prnu=0.0)
    clear = FilmModel("clear", "ballistic+moffat", 0.0, (Scattering("moffat", 0.0, 0.1, 1.5),), 0.0, 0.0)
    step = np.tile(np.arange(64) >= 32, (32, 1)).astype(float)
    scene = Scene("edge", "edge", step, bracket=(1.0,))
    shots = ShotSet.load(simulate_shots(clear, [scene], camera, tmp_path, (4,), lens_blur_px=2.0))
    shot = shots.select(scene="edge", layers=layers)[0]
    profile = shots.camera.decode(shots.codes(shot))[16, 8:56, 1] / shot.exposure
    np.testing.assert_allclose(profile, ndtr((np.arange(8, 56) - 31.5) / 2.0), atol=PROFILE)


@pytest.mark.parametrize("blur", [-0.1, 32.0, float("nan")])
def test_an_impossible_lens_blur_is_refused(tmp_path, blur):
    camera = Camera.from_field_of_view(64, 32, 70.0)
    with pytest.raises(ValueError, match="lens_blur_px must be >= 0"):
        simulate_shots(
            FilmModel.load("rough"),
            [Scene("a", "flat", np.ones((32, 64)))],
            camera,
            tmp_path / "set",
            lens_blur_px=blur,
        )
    assert not (tmp_path / "set").exists()


def test_by_default_two_brackets_are_fitted_and_noise_and_star_are_held():
    scenes = calibration_scenes(64, 36)
    assert [(s.name, s.target, s.role, s.bracket) for s in scenes] == [
        ("edge", "edge", "fit", (1.0, 8.0)),
        ("hole", "hole", "fit", (1.0, 8.0)),
        ("noise1", "noise", "fit", (1.0, 4.0)),
        ("flat", "flat", "fit", (1.0,)),
        ("noise2", "noise", "held", (1.0,)),
        ("siemens", "siemens", "held", (1.0,)),
    ]
    assert np.asarray(scenes[3].light).sum() == pytest.approx(60 * 34)


def test_fringes_come_with_all_their_phases():
    scenes = calibration_scenes(64, 36, targets=["fringe"], bracket=(1.0, 4.0))
    assert len(scenes) == 5 * 2 * 4
    assert {(s.target, s.bracket) for s in scenes} == {("fringe", (1.0, 4.0))}
