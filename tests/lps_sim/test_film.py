"""The film law: closed forms first, then properties over films and layer counts."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lps_sim.errors import UnknownNameError
from lps_sim.film import FilmGeometry, FilmModel
from lps_sim.scattering import Scattering

ROUNDING = 1e-12  # a few operations in float64
HANKEL = 1e-6  # of the logarithmic Hankel transform, measured 1e-8 against closed forms

Q = np.array([0.0, 0.3, 1.0, 5.0, 20.0, 100.0])
THETA = np.radians([0.05, 0.25, 1.0, 2.5, 10.0, 35.0, 80.0])


def make(family="gaussian+moffat", sigma_deg=0.5, components=None, **changes):
    if components is None:
        components = (Scattering("moffat", 0.13, np.radians(13.0), 1.5),)
    fields = {"c1": 0.12, "c2": 0.005, **changes}
    return FilmModel(name="made", family=family, sigma_rad=np.radians(sigma_deg), components=components, **fields)


def gaussian_film(sigma_deg):
    return make("gaussian", sigma_deg, ())


def ballistic_film(tau=0.2, s_deg=6.5, kind="henyey_greenstein", beta=1.5):
    return make("ballistic+moffat", 0.0, (Scattering(kind, tau, np.radians(s_deg), beta),))


def test_a_gaussian_film_has_the_gaussian_mtf():
    s = np.radians(0.5)
    for layers in (1, 4, 10):
        expected = np.exp(-2 * np.pi**2 * layers * s**2 * Q**2)
        np.testing.assert_allclose(gaussian_film(0.5).mtf(Q, layers)[:, 1], expected, rtol=ROUNDING)


@pytest.mark.parametrize("layers", [2, 4, 10, 64])
def test_n_layers_have_one_layers_otf_to_the_power_n(layers):
    film = make()
    np.testing.assert_allclose(film.otf(Q, layers), film.otf(Q, 1) ** layers, rtol=1e-10)


def test_shapes_follow_the_frequencies():
    assert make().otf(np.ones((4, 5)), 2).shape == (4, 5, 3)
    assert make().mtf(1.0, 2).shape == (3,)
    assert make().encircled_energy(THETA, 2).shape == (7, 3)
    assert make().psf(THETA, 2).shape == (7, 3)


def test_no_film_changes_nothing():
    film = make(veil_table={10: 0.1})
    assert (film.mtf(Q, 0) == 1).all()
    assert (film.transmittance(0) == 1).all()
    assert (film.veil(0) == 0).all()
    assert (film.ballistic_fraction(0) == 1).all()
    assert (ballistic_film().ballistic_fraction(0) == 1).all()
    assert (film.encircled_energy(THETA, 0) == 1).all()


def test_the_transmittance_law_is_exact():
    np.testing.assert_allclose(make().transmittance(10), 1 / (1 + 1.2 + 0.5), rtol=ROUNDING)


def test_the_unscattered_part_is_the_floor_of_the_otf():
    film = ballistic_film(tau=0.3)
    np.testing.assert_allclose(film.ballistic_fraction(4), np.exp(-1.2), rtol=ROUNDING)
    np.testing.assert_allclose(film.otf(1e6, 4), film.ballistic_fraction(4), rtol=ROUNDING)
    np.testing.assert_allclose(film.scattered_otf(1e6, 4), 0, atol=ROUNDING)


def test_a_rough_face_leaves_nothing_unscattered():
    assert (make().ballistic_fraction(1) == 0).all()


def test_surface_and_bulk_factors_multiply_to_the_otf():
    film = make()
    np.testing.assert_allclose(film.surface_otf(Q, 3) * film.bulk_otf(Q, 3), film.otf(Q, 3), rtol=1e-10)


@pytest.mark.parametrize("layers", [1, 4, 10])
@pytest.mark.parametrize("sigma_deg", [0.05, 0.5, 3.0])
def test_encircled_energy_of_a_gaussian_film(layers, sigma_deg):
    s2 = layers * np.radians(sigma_deg) ** 2
    expected = -np.expm1(-(THETA**2) / (2 * s2))
    np.testing.assert_allclose(gaussian_film(sigma_deg).encircled_energy(THETA, layers)[:, 0], expected, atol=HANKEL)


@pytest.mark.parametrize("s_deg", [0.3, 6.5, 30.0])
def test_encircled_energy_of_henyey_greenstein_sheets_is_the_poisson_sum(s_deg):
    """k events of scale s are one event of scale k s, so EE = sum_k Poisson(k; N tau) (1 - ks/sqrt((ks)^2+theta^2))."""
    s, tau, layers = np.radians(s_deg), 0.2, 10
    weight, expected = np.exp(-tau * layers), np.zeros_like(THETA)
    for k in range(60):
        expected += weight * (1 - k * s / np.hypot(k * s, THETA))
        weight *= tau * layers / (k + 1)
    film = ballistic_film(tau, s_deg)
    np.testing.assert_allclose(film.encircled_energy(THETA, layers)[:, 2], expected, atol=HANKEL)


def test_point_spread_of_henyey_greenstein_sheets_is_the_poisson_sum():
    s, tau, layers = np.radians(6.5), 0.2, 4
    weight, expected = np.exp(-tau * layers), np.zeros_like(THETA)
    for k in range(1, 60):
        weight *= tau * layers / k
        expected += weight * k * s / (2 * np.pi * ((k * s) ** 2 + THETA**2) ** 1.5)
    np.testing.assert_allclose(ballistic_film().psf(THETA, layers)[:, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("film", [make(), ballistic_film(), gaussian_film(1.0)], ids=["rough", "bulk", "gaussian"])
def test_point_spread_integrates_to_the_encircled_energy(film):
    theta = np.geomspace(1e-6, 1.0, 4000)
    density = 2 * np.pi * theta * film.psf(theta, 4)[:, 0]
    integral = np.sum(0.5 * (density[1:] + density[:-1]) * np.diff(theta))
    reached = film.encircled_energy(1.0, 4)[0] - film.ballistic_fraction(4)[0]
    assert integral == pytest.approx(reached, abs=1e-5)


def test_sampled_rays_have_the_encircled_energy_of_the_model():
    rng = np.random.default_rng(11)
    rays, layers, sigma, tau, s, beta = 100_000, 4, np.radians(0.5), 0.2, np.radians(6.0), 1.8
    film = make(components=(Scattering("moffat", tau, s, beta),))
    xy = rng.normal(0, sigma * np.sqrt(layers), (rays, 2))
    events = rng.poisson(tau * layers, rays)
    for k in range(events.max()):
        hit = events > k
        theta = s * np.sqrt(rng.random(hit.sum()) ** (1 / (1 - beta)) - 1)
        angle = rng.random(hit.sum()) * 2 * np.pi
        xy[hit] += theta[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    share = (np.hypot(*xy.T)[:, None] < THETA).mean(axis=0)
    np.testing.assert_allclose(film.encircled_energy(THETA, layers)[:, 0], share, atol=4.5 * 0.5 / np.sqrt(rays))


def test_haze_is_what_leaves_the_cone_of_two_and_a_half_degrees():
    film = gaussian_film(1.0)
    np.testing.assert_allclose(film.haze(4), np.exp(-(2.5**2) / (2 * 4)), atol=HANKEL)


def test_veil_is_linear_between_entries_and_constant_beyond():
    film = make(veil_table={2: [0.1, 0.2, 0.3], 6: 0.5})
    np.testing.assert_allclose(film.veil(1), [0.05, 0.1, 0.15])
    np.testing.assert_allclose(film.veil(4), [0.3, 0.35, 0.4])
    np.testing.assert_allclose(film.veil(64), 0.5)
    assert (make().veil(5) == 0).all()


@pytest.mark.parametrize("layers", [0, -1, 65, 1.5, True])
def test_layer_counts_out_of_range_are_refused(layers):
    with pytest.raises(ValueError, match=r"layers must be 1\.\.64, got"):
        make().psf(THETA, layers)
    if layers != 0:
        with pytest.raises(ValueError, match=r"layers must be 0\.\.64, got"):
            make().mtf(Q, layers)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "gaussian"}, "needs sigma > 0 and 0 components"),
        ({"family": "ballistic+moffat"}, "needs sigma = 0 and 1 components"),
        ({"sigma_deg": -1.0}, "sigma_rad must be finite and >= 0"),
        ({"c1": [0.1, 0.1, -0.1]}, "c1 must be finite and >= 0"),
        ({"veil_table": {0: 0.1}}, "layers must be 1..64, got 0"),
        ({"parameter_names": ("sigma",), "covariance": np.zeros((2, 2))}, r"covariance must have shape \(1, 1\)"),
    ],
)
def test_a_film_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_unknown_family_and_projection_suggest_the_nearest():
    with pytest.raises(UnknownNameError, match=r"did you mean 'gaussian\+moffat'"):
        make(family="gaussian+mofat")
    with pytest.raises(UnknownNameError, match="did you mean 'equal_area'"):
        FilmGeometry(projection="equal-area")


@pytest.mark.parametrize(
    "fields", [{"refractive_index": 0.5}, {"film_distance_m": -1.0}, {"film_distance_m": 2.0, "target_distance_m": 1.0}]
)
def test_impossible_geometry_is_refused(fields):
    with pytest.raises(ValueError, match="must be"):
        FilmGeometry(**fields)


def test_negative_angles_are_refused():
    with pytest.raises(ValueError, match="theta_rad must be finite and >= 0"):
        make().encircled_energy(-0.1, 1)


def test_the_checksum_is_of_the_physics_only():
    film = make()
    assert replace(film, name="other", provenance={"kind": "x"}).checksum() == film.checksum()
    assert replace(film, c2=film.c2 + 1e-16).checksum() != film.checksum()
    assert replace(film, veil_table={4: 0.1}).checksum() != film.checksum()
    assert replace(film, geometry=FilmGeometry(oblique_ballistic=True)).checksum() != film.checksum()
    assert pickle.loads(pickle.dumps(film)).checksum() == film.checksum()


def test_parameters_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="read-only"):
        make().sigma_rad[0] = 1.0


@settings(max_examples=40, deadline=None)
@given(
    sigma=st.floats(0.01, 3.0),
    tau=st.floats(0.02, 3.0),
    s=st.floats(1.0, 30.0),
    beta=st.floats(1.05, 3.0),
    layers=st.integers(1, 64),
)
def test_every_film_in_range_obeys_the_bounds(sigma, tau, s, beta, layers):
    component = Scattering("moffat", tau, np.radians(s), beta)
    for film in (make(sigma_deg=sigma, components=(component,)), make("ballistic+moffat", 0.0, (component,))):
        q = np.concatenate([[0.0], np.geomspace(1e-3, 1e4, 60)])
        mtf = film.mtf(q, layers)
        assert (mtf[0] == 1).all()
        assert ((mtf >= 0) & (mtf <= 1)).all()
        assert (np.diff(mtf, axis=0) <= ROUNDING).all()
        energy = film.encircled_energy(np.geomspace(1e-4, 3.0, 60), layers)
        assert ((energy >= 0) & (energy <= 1)).all()
        assert (np.diff(energy, axis=0) >= 0).all()
        assert (energy >= film.ballistic_fraction(layers) - ROUNDING).all()
        assert ((film.haze(layers) >= 0) & (film.haze(layers) <= 1)).all()
