"""One film elsewhere: other distances before other cameras."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lps_sim.calibration.fit import fit_film
from lps_sim.calibration.predict import film_in_place, predict_shots
from lps_sim.calibration.shots import ShotGeometry, ShotSet
from lps_sim.calibration.simulate import Scene, simulate_shots
from lps_sim.camera import Camera
from lps_sim.film import LAYER_LAWS, FilmGeometry, FilmModel
from lps_sim.scattering import Scattering

ROUNDING = 1e-12  # a few operations in float64
HANKEL = 1e-6  # of the logarithmic Hankel transform
SAMPLING_SD = 4.5  # standard errors: one false alarm in 10^5
SMALL_ANGLE = 5e-5  # of an OTF, by tangents and arcs; measured 3e-5 with paired rays of the traced and the linear law
PREDICTED_DB = 40.0  # 9000 electrons and 8 bits leave 42 to 46 dB between a shot and its noise-free twin
NOT_MOVED_DB = 8.0  # what ignoring the distances costs at the least; measured 11.3 dB (45.6 to 34.3)
SIGMA = 0.002  # relative, of the fitted core in its own place; measured 0.0002

Q = np.array([0.3, 1.0, 5.0, 20.0, 60.0])


def hung(d=0.2, z=1.0, **changes):
    """A rough film with a halo that was calibrated at d before a scene at z."""
    return FilmModel(
        "hung",
        "gaussian+moffat",
        np.radians([0.5, 0.55, 0.6]),
        (Scattering("moffat", 0.13, np.radians(13.0), 1.6),),
        0.12,
        0.005,
        veil_table={4: 0.01},
        geometry=FilmGeometry(film_distance_m=d, target_distance_m=z),
        provenance={"kind": "fitted", "text": "made up"},
        **changes,
    )


def angles_of(film, layers, factor=1.0):
    """Everything that depends on angles, with the camera's angles ``factor`` times as large."""
    q = Q * factor
    return film.otf(q, layers), film.surface_otf(q, layers), film.bulk_otf(q, layers), film.exponent(q)


@pytest.mark.parametrize(
    ("before", "after", "factor"),
    [
        ((0.0, 1.0), (0.25, 1.0), 0.75),
        ((0.2, 1.0), (0.0, 1.0), 1 / 0.8),
        ((0.2, 1.0), (0.05, 2.0), 0.975 / 0.8),
        ((0.1, 1.0), (0.1, 0.2), 0.5 / 0.9),
        ((0.5, 1.0), (1.0, 2.0), 1.0),
    ],
)
def test_blur_angles_scale_by_one_minus_film_over_scene_distance(before, after, factor):
    film = hung(*before)
    there = film.at(*after)
    for moved, still in zip(angles_of(there, 4), angles_of(film, 4, factor)):
        np.testing.assert_allclose(moved, still, rtol=1e-9)
    assert (there.geometry.film_distance_m, there.geometry.target_distance_m) == after
    assert there.geometry.blur_factor / film.geometry.blur_factor == pytest.approx(factor)
    assert (there.transmittance(7) == film.transmittance(7)).all()
    assert (there.veil(4) == film.veil(4)).all()
    np.testing.assert_allclose(there.haze(4), film.haze(4), atol=HANKEL)


@pytest.mark.parametrize("law", LAYER_LAWS)
def test_every_layer_law_is_seen_smaller_by_the_factor(law):
    """The radiative law solves the stack in the film's own angles, so the camera's frequencies must be turned back."""
    film = replace(hung(0.0, 1.0), layer_law=law)
    for moved, still in zip(angles_of(film.at(0.25), 4), angles_of(film, 4, 0.75)):
        np.testing.assert_allclose(moved, still, rtol=1e-9)
    assert (film.at(0.25).bulk_direct(4) == film.bulk_direct(4)).all()


def test_a_film_at_the_lens_blurs_every_distance_alike():
    film = hung(0.0, 1.0)
    assert (film.at(scene_distance_m=50.0).otf(Q, 4) == film.otf(Q, 4)).all()
    assert film.geometry.blur_factor == 1.0


def test_a_film_that_stays_is_the_same_object():
    film = hung()
    assert film.at() is film
    assert film.at(0.2, 1.0) is film


def test_there_and_back_again_is_the_same_film_and_remembers_its_calibration():
    film = hung()
    back = film.at(0.05, 3.0).at(0.2, 1.0)
    np.testing.assert_allclose(back.otf(Q, 4), film.otf(Q, 4), rtol=ROUNDING)
    elsewhere = film.at(0.05, 3.0).at(0.1, 2.0)
    assert elsewhere.provenance["calibrated_at"] == {"film_distance_m": 0.2, "target_distance_m": 1.0}
    assert elsewhere.provenance["text"] == "made up"
    assert "calibrated_at" not in film.provenance


def test_parameters_and_their_covariance_are_the_films_own_and_stay():
    names, spread = ("sigma", "tau1"), np.array([0.1, 0.2])
    film = hung(parameter_names=names, covariance=np.diag(spread**2), jackknife_spread=spread)
    there = film.at(0.0, 1.0)
    assert (there.sigma_rad == film.sigma_rad).all()
    assert there.components == film.components
    assert (there.covariance == film.covariance).all()
    assert (there.jackknife_spread == spread).all()


@pytest.mark.parametrize("place", [(1.0, 1.0), (-0.1, 1.0), (0.2, 0.0), (None, 0.2), (1.5, None)])
def test_a_film_behind_its_scene_is_refused(place):
    with pytest.raises(ValueError, match="film_distance_m must be >= 0 and below target_distance_m, got"):
        hung().at(*place)


@pytest.mark.parametrize(("d", "z", "field_deg"), [(0.3, 1.0, 0.0), (0.8, 1.0, 0.0), (0.3, 1.0, 25.0)])
def test_traced_rays_through_a_thin_scatterer_reproduce_the_factor(d, z, field_deg):
    """From the pinhole to the film at d, turned there by a sampled angle, on to the scene at z: the angle that is seen.

    Light runs the same way backwards, so these are the directions from which a pixel at the field angle gets its light.
    """
    rng = np.random.default_rng(17)
    rays, layers, sigma, tau, s, beta = 300_000, 3, np.radians(0.25), 0.2, np.radians(0.8), 2.5
    turn = rng.normal(0, sigma * np.sqrt(layers), (rays, 2))
    events = rng.poisson(tau * layers, rays)
    for k in range(events.max()):
        hit = events > k
        theta = s * np.sqrt(rng.random(hit.sum()) ** (1 / (1 - beta)) - 1)
        angle = rng.random(hit.sum()) * 2 * np.pi
        turn[hit] += theta[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    # Turned within the meridional plane and across it: a rotation of the ray's direction by small angles.
    along, across = turn.T
    field = np.radians(field_deg)
    direction = np.stack(
        [np.sin(field + along) * np.cos(across), np.sin(across), np.cos(field + along) * np.cos(across)]
    )
    ahead = direction[2] > 0.1
    hit_x = d * np.tan(field) + (z - d) * direction[0, ahead] / direction[2, ahead]
    seen = np.arctan2(hit_x, z) - field  # angle at the pinhole, along the field's direction

    at_lens = FilmModel("thin", "gaussian+moffat", sigma, (Scattering("moffat", tau, s, beta),), 0.1, 0.0)
    law = at_lens.at(d, z)
    for q in (5.0, 15.0, 40.0):
        sample = np.cos(2 * np.pi * q * seen)
        noise = SAMPLING_SD * sample.std() / np.sqrt(seen.size)
        assert abs(sample.mean() - law.otf(q, layers)[1]) < noise + SMALL_ANGLE
        assert abs(sample.mean() - at_lens.otf(q, layers)[1]) > 2 * noise, "the factor must be measurable here"


def screen(width, height, seed):
    """A slanted edge, a dark disc and blocks to fit, and other blocks kept out, on a screen with a dark rim."""
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.default_rng(seed)
    lit = (abs(x - width / 2) < 0.47 * width) & (abs(y - height / 2) < 0.47 * height)

    def blocks():
        return np.kron(rng.random((height // 3 + 1, width // 3 + 1)) > 0.5, np.ones((3, 3)))[:height, :width]

    pictures = {
        "edge": np.clip(x - width / 2 + 0.1 * y, 0, 1),
        "hole": np.hypot(x - width / 2, y - height / 2) > 8,
        "noise": blocks(),
    }
    scenes = [Scene(name, name, np.where(lit, np.maximum(p, 8e-4), 0.0)) for name, p in pictures.items()]
    return [*scenes, Scene("other", "noise", np.where(lit, blocks(), 0.0), role="held", bracket=(1.0,))]


@pytest.fixture(scope="module")
def transferred(tmp_path_factory):
    """(fit at d = 0.2 m before 1 m, a set by another camera at 0.05 m before 2 m); both simulated, one truth."""
    truth = FilmModel.load("rough")
    camera = Camera.from_field_of_view(160, 90, 70.0)
    folder = tmp_path_factory.mktemp("fitted")
    desk = simulate_shots(truth.at(0.2, 1.0), screen(160, 90, 1), camera, folder, (1, 4), seed=1)
    film = fit_film(ShotSet.load(desk), family="gaussian+moffat").film
    other = Camera.from_field_of_view(192, 128, 40.0)
    folder = tmp_path_factory.mktemp("used")
    use = simulate_shots(truth.at(0.05, 2.0), screen(192, 128, 2), other, folder, (4,), seed=2)
    return truth, film, ShotSet.load(use)


def test_a_film_fitted_at_one_place_predicts_another_camera_at_another_place(transferred):
    _, film, used = transferred
    rows, _ = predict_shots(film, used)
    single = [row for row in rows if row.role == "held"]
    assert min(row.psnr_db for row in single) > PREDICTED_DB
    ignored, _ = predict_shots(film, replace(used, geometry=ShotGeometry()))  # no distances stated: the film stays
    worst = min(row.psnr_db for row in ignored if row.role == "held")
    assert worst < min(row.psnr_db for row in single) - NOT_MOVED_DB


def test_a_fit_at_a_distance_finds_the_films_own_angles(transferred):
    truth, film, _ = transferred
    np.testing.assert_allclose(film.sigma_rad, truth.sigma_rad, rtol=SIGMA)


def test_a_set_that_states_no_distance_leaves_the_film_where_it_is():
    film = hung()
    assert film_in_place(film, ShotGeometry()) is film
    moved = film_in_place(film, ShotGeometry(target_distance_m=4.0))
    assert (moved.geometry.film_distance_m, moved.geometry.target_distance_m) == (0.2, 4.0)
    assert film_in_place(film, ShotGeometry(refractive_index=1.4)).geometry.refractive_index == 1.5
