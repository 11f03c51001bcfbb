"""How many layers a face needs, and how sure that is: closed forms, brute force, and films that never hide one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lps_sim.error_bars import perturbed
from lps_sim.film import MAX_LAYERS, FilmGeometry, FilmModel
from lps_sim.privacy import (
    INTERVAL_SD,
    Observer,
    ballistic_threshold,
    ballistic_visible,
    cutoff_cpr,
    cutoff_spread,
    face_pixels,
    layers_needed,
    report,
)
from lps_sim.scattering import Scattering

DERIVATIVE = 1e-4  # relative: central differences with a step of 1e-4 in a logarithm, and the crossing's interpolation
DRAWS = 1500
DRAWN_SD = 4.5 / np.sqrt(2 * DRAWS)  # relative error of a standard deviation of as many draws: 4.5 standard errors
CURVED = 0.01  # relative: what a linear propagation leaves out at 1 % parameter errors, second order


def gaussian_film(sigma_rad=0.01, **changes):
    return FilmModel("g", "gaussian", sigma_rad, (), 0.1, 0.0, **changes)


def uncertain(name="rough", spread=0.01):
    """A preset with 1 % errors, correlated between core and halo."""
    names = ("sigma", "tau1", "s1", "beta1", "c1")
    correlation = np.eye(5)
    correlation[1, 2] = correlation[2, 1] = 0.7
    return replace(FilmModel.load(name), parameter_names=names, covariance=spread**2 * correlation)


def test_the_spread_of_a_gaussian_films_cutoff_has_its_closed_form():
    """F = ln(c) - 2 u - 2 ln q with u = 2 pi^2 N sigma^2 q^2: d ln q / d ln sigma = -4 u / (4 u + 2)."""
    film = gaussian_film(parameter_names=("sigma",), covariance=[[0.05**2]])
    spread, source = cutoff_spread(film, 4)
    u = 2 * np.pi**2 * 4 * 0.01**2 * cutoff_cpr(film, 4) ** 2
    assert spread == pytest.approx(0.05 * 4 * u / (4 * u + 2), rel=DERIVATIVE)
    assert source == "noise only"


@pytest.mark.parametrize(("layers", "frames"), [(1, 1), (8, 60)])
def test_films_drawn_from_the_covariance_have_the_propagated_spread(layers, frames):
    film, rng = uncertain(), np.random.default_rng(8)
    draws = rng.multivariate_normal(np.zeros(5), film.covariance, DRAWS)
    logs = np.log([cutoff_cpr(perturbed(film, shift), layers, frames=frames) for shift in draws])
    spread, _ = cutoff_spread(film, layers, frames=frames)
    assert logs.std() == pytest.approx(spread, rel=DRAWN_SD + CURVED)
    assert logs.mean() == pytest.approx(np.log(cutoff_cpr(film, layers, frames=frames)), abs=0.2 * spread)


def test_colour_parameters_count_by_the_channel_that_passes_most():
    film = gaussian_film([0.02, 0.01, 0.02], parameter_names=("sigma_r", "sigma_g"), covariance=np.diag([1.0, 1e-4]))
    one = gaussian_film(0.01, parameter_names=("sigma",), covariance=[[1e-4]])
    assert cutoff_spread(film, 4)[0] == pytest.approx(cutoff_spread(one, 4)[0], rel=DERIVATIVE)


def test_noise_and_systematic_errors_widen_the_spread():
    film = gaussian_film(parameter_names=("sigma",), covariance=[[0.03**2]])
    both = replace(film, systematic_covariance=[[0.04**2]])
    assert cutoff_spread(both, 4)[0] == pytest.approx(cutoff_spread(film, 4)[0] * 5 / 3, rel=DERIVATIVE)
    assert cutoff_spread(both, 4)[1] == "noise and systematic"


def test_a_film_without_error_bars_has_no_interval():
    assert cutoff_spread(FilmModel.load("rough"), 4) is None
    numbers = report(FilmModel.load("rough"), 4)["frames"][0]
    assert (numbers["cutoff_interval_cpr"], numbers["face_pixels_interval"]) == (None, None)


def test_a_report_brackets_its_cutoff_and_face_pixels():
    film, observer = uncertain(spread=0.1), Observer(distance_m=2.0)
    for numbers in report(film, 4, observer)["frames"]:
        spread, _ = cutoff_spread(film, 4, observer, numbers["frames"])
        low, high = numbers["cutoff_interval_cpr"]
        assert np.log(high / numbers["cutoff_cpr"]) == pytest.approx(INTERVAL_SD * spread)
        assert np.log(numbers["cutoff_cpr"] / low) == pytest.approx(INTERVAL_SD * spread)
        assert numbers["face_pixels_interval"] == pytest.approx([face_pixels(end, 2.0) for end in (low, high)])


def test_pixels_cap_the_interval_and_not_its_width():
    """A cut-off beyond Nyquist is capped after its error: the lower end may still lie below Nyquist."""
    film = replace(FilmModel.load("bulk-haze"), parameter_names=("tau1",), covariance=[[0.25]])
    numbers = report(film, 8)["frames"][1]
    assert numbers["cutoff_cpr"] == Observer().nyquist_cpr
    low, high = numbers["cutoff_interval_cpr"]
    assert low < high == Observer().nyquist_cpr


@pytest.mark.parametrize(("name", "limit"), [("rough", 2.0), ("matte", 1.0), ("p3ar-10layer", 3.0), ("bulk-haze", 2.0)])
def test_the_layers_needed_are_the_fewest_that_hold(name, limit):
    film, observer = FilmModel.load(name), Observer(distance_m=2.0, dwell_s=4.0)
    needed = layers_needed(film, limit, observer)

    def holds(layers):
        cut = cutoff_cpr(film, layers, observer, observer.dwell_frames)
        return face_pixels(cut, 2.0) <= limit and not ballistic_visible(film, layers, observer)

    assert needed.layers == next(n for n in range(1, MAX_LAYERS + 1) if holds(n))
    assert needed.reason == ""
    assert needed.frames == 120
    assert [row["layers"] for row in needed.rows] == list(range(needed.layers - 2, needed.layers + 3))
    row = needed.rows[2]
    assert row["frames"][-1]["face_pixels"] <= limit
    assert row["stops"] == pytest.approx(-np.log2(film.transmittance(needed.layers)[1]))
    json.dumps(needed.to_dict())


def test_the_unscattered_image_alone_can_ask_for_layers():
    """So many face pixels are allowed that only b_N T_N <= noise / contrast decides."""
    film = FilmModel.load("bulk-haze")
    needed = layers_needed(film, 1e6)
    share = [(film.ballistic_fraction(n) * film.transmittance(n)).max() for n in (needed.layers - 1, needed.layers)]
    assert share[0] > ballistic_threshold() >= share[1]


def test_where_a_sharp_image_survives_all_layers_the_reason_says_so():
    clear = FilmModel("clear", "ballistic+moffat", 0.0, (Scattering("moffat", 0.02, 0.1, 1.5),), 0.1, 0.0)
    needed = layers_needed(clear, 2.0)
    assert needed.layers is None
    assert "a sharp image survives: 0.28 of the light is unscattered at 64 layers" in needed.reason
    assert [row["layers"] for row in needed.rows] == [1, 64]
    assert all(row["ballistic_visible"] for row in needed.rows)


def test_where_too_much_is_left_at_all_layers_the_reason_has_the_number():
    needed = layers_needed(FilmModel.load("rough"), 0.01)
    assert needed.layers is None
    left = needed.rows[-1]["frames"][-1]["face_pixels"]
    assert needed.reason == f"{left:.3g} effective face pixels are left at 64 layers"


def test_error_bars_ask_for_more_layers():
    """20 % wide: the upper end of the interval needs layers that the value itself does not."""
    film = uncertain(spread=0.2)
    needed = layers_needed(film, 2.0)
    assert layers_needed(FilmModel.load("rough"), 2.0).layers == needed.layers < needed.layers_sure
    before, there = (
        report(uncertain(spread=0.2), n)["frames"][-1] for n in (needed.layers_sure - 1, needed.layers_sure)
    )
    assert before["face_pixels_interval"][1] > 2.0 >= there["face_pixels_interval"][1]
    assert layers_needed(FilmModel.load("rough"), 2.0).layers_sure is None


def test_the_face_is_looked_at_where_it_stands():
    """Film at 0.5 m: its blur is seen at a half before a screen at 1 m, and at 5/6 before a face at 3 m."""
    film = gaussian_film(0.01, geometry=FilmGeometry(film_distance_m=0.5, target_distance_m=1.0))
    at_lens = gaussian_film(0.01 * (1 - 0.5 / 3))
    assert cutoff_cpr(film, 4) == pytest.approx(cutoff_cpr(at_lens, 4), rel=1e-9)
    assert layers_needed(film, 2.0).layers == layers_needed(at_lens, 2.0).layers
    with pytest.raises(ValueError, match="below target_distance_m"):
        cutoff_cpr(film, 4, Observer(distance_m=0.4))


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(ValueError, match="face_pixels must be finite and > 0, got"):
        layers_needed(FilmModel.load("rough"), limit)


def test_presets_come_near_the_rendered_films_they_imitate():
    """Prototype on rendered films: rough at 10 layers, 1.5 face pixels at 3 m; bulk haze at 10, cut-off at Nyquist."""
    rough = report(FilmModel.load("rough"), 10)["frames"]
    assert rough[0]["face_pixels"] == pytest.approx(1.5, abs=0.1)  # measured 1.57
    assert rough[1]["bits_a_face"] == pytest.approx(9, abs=1)  # measured 9.5 at 60 frames, 5.7 at one
    bulk = report(FilmModel.load("bulk-haze"), 10)["frames"]
    assert bulk[1]["cutoff_cpr"] == Observer().nyquist_cpr  # at 60 frames; 0.56 of Nyquist at one
    assert bulk[0]["cutoff_cpr"] > 0.5 * Observer().nyquist_cpr
