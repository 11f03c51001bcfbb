"""Privacy numbers against closed forms, and against what haze alone would say."""

from __future__ import annotations

import numpy as np
import pytest

from lps_sim.film import FilmModel
from lps_sim.privacy import Observer, bits_a_face, cutoff_cpr, face_pixels, report

GRID = 0.005  # the frequency grid's relative step: 4000 steps over four decades


def gaussian_film(sigma_rad):
    return FilmModel("g", "gaussian", sigma_rad, (), 0.1, 0.0)


def test_the_cutoff_solves_its_equation_for_a_gaussian_film():
    film, observer = gaussian_film(0.01), Observer()
    q = cutoff_cpr(film, 4, observer, frames=3)
    amplitude = film.transmittance(4)[0] * np.exp(-2 * np.pi**2 * 4 * 0.01**2 * q**2)
    left = amplitude**2 * observer.scene_spectrum(q)
    assert left == pytest.approx(observer.noise_spectrum(3), rel=0.1)
    above = q * (1 + GRID)
    assert (amplitude * np.exp(-2 * np.pi**2 * 4 * 0.01**2 * (above**2 - q**2))) ** 2 * observer.scene_spectrum(
        above
    ) < observer.noise_spectrum(3)


def test_the_scene_spectrum_holds_the_scene_variance_between_its_ends():
    observer = Observer(contrast=0.3)
    low = 1 / (2 * np.arctan(0.5 * observer.width_px / observer.f_px))
    q = np.geomspace(low, observer.nyquist_cpr, 20_001)
    density = 2 * np.pi * q * observer.scene_spectrum(q)
    variance = np.sum(0.5 * (density[1:] + density[:-1]) * np.diff(q))
    assert variance == pytest.approx(0.3**2 * 1.0, rel=1e-6)


def test_shot_noise_is_poisson_and_falls_with_frames():
    observer = Observer(level=1.0, full_well_e=10_000, read_noise_e=0.0, prnu=0.0, bits=16)
    temporal, fixed = observer.noise()
    assert temporal == pytest.approx(0.01, rel=1e-3)
    assert fixed == 0.0
    assert observer.noise_spectrum(64) == pytest.approx(observer.noise_spectrum(1) / 64)


def test_no_film_is_cut_off_at_nyquist():
    assert cutoff_cpr(FilmModel.load("rough"), 0) == pytest.approx(Observer().nyquist_cpr)


def test_more_layers_and_fewer_frames_hide_more():
    film = FilmModel.load("rough")
    cuts = [cutoff_cpr(film, n) for n in (1, 4, 8, 10)]
    assert cuts == sorted(cuts, reverse=True)
    assert cutoff_cpr(film, 10, frames=64) > cutoff_cpr(film, 10)
    bits = [bits_a_face(film, n) for n in (1, 4, 8, 10)]
    assert bits == sorted(bits, reverse=True)


def test_rough_film_of_ten_layers_leaves_about_one_and_a_half_face_pixels():
    """The simulation that the preset imitates: 1.5 effective pixels across a face at 3 m."""
    assert face_pixels(cutoff_cpr(FilmModel.load("rough"), 10), 3.0) == pytest.approx(1.5, abs=0.3)


def test_haze_is_not_privacy():
    """Bulk haze of 86 % passes a sharp image; matte film of 83 % does not."""
    bulk, matte = FilmModel.load("bulk-haze"), FilmModel.load("matte")
    assert bulk.haze(10)[0] > matte.haze(4)[0]
    assert report(bulk, 10)["ballistic_visible"] is True
    assert report(matte, 4)["ballistic_visible"] is False
    assert cutoff_cpr(bulk, 10) > 20 * cutoff_cpr(matte, 4)


def test_a_report_gives_one_frame_and_the_dwell():
    numbers = report(FilmModel.load("p3ar-10layer"), 10, Observer(frame_rate_hz=25, dwell_s=4))
    assert [row["frames"] for row in numbers["frames"]] == [1, 100]
    for row in numbers["frames"]:
        assert row["face_pixels"] == pytest.approx(2 * row["cutoff_cpr"] * 0.16 / 3.0)


def test_an_observer_takes_a_cameras_fields():
    observer = Observer.of_camera({"width": 640, "height": 360, "f_px": 457.0, "eotf": "srgb", "prnu": 0.01}, level=0.5)
    assert (observer.width_px, observer.f_px, observer.prnu, observer.level) == (640, 457.0, 0.01, 0.5)


@pytest.mark.parametrize("fields", [{"f_px": 0}, {"read_noise_e": -1}, {"level": 0}, {"contrast": 1.5}])
def test_impossible_observers_are_refused(fields):
    with pytest.raises(ValueError, match="must be"):
        Observer(**fields)


def test_averaging_less_than_one_frame_is_refused():
    with pytest.raises(ValueError, match="frames must be >= 1, got 0"):
        cutoff_cpr(FilmModel.load("rough"), 4, frames=0)
