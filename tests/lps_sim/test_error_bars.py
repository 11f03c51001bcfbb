"""Error bars: which covariance a film has, and what shifting its parameters does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lps_sim.error_bars import log_covariance, perturbed
from lps_sim.film import FilmModel


def rough(**changes):
    return replace(FilmModel.load("rough"), **changes)


def test_shifted_logarithms_multiply_the_parameters_they_name():
    names = ("sigma_g", "tau1", "s1", "beta1_b", "c1", "c2_r")
    film = rough(parameter_names=names)
    there = perturbed(film, np.log([2.0, 3.0, 0.5, 1.1, 1.2, 0.7]))
    np.testing.assert_allclose(there.sigma_rad, film.sigma_rad * [1, 2, 1])
    np.testing.assert_allclose(there.components[0].tau, film.components[0].tau * 3)
    np.testing.assert_allclose(there.components[0].s_rad, film.components[0].s_rad * 0.5)
    np.testing.assert_allclose(there.components[0].beta, film.components[0].beta * [1, 1, 1.1])
    np.testing.assert_allclose(there.c1, film.c1 * 1.2)
    np.testing.assert_allclose(there.c2, film.c2 * [0.7, 1, 1])
    assert perturbed(there, -np.log([2.0, 3.0, 0.5, 1.1, 1.2, 0.7])).otf(5.0, 4) == pytest.approx(film.otf(5.0, 4))


def test_shifts_of_another_number_or_name_are_refused():
    with pytest.raises(ValueError, match=r"log_shifts must be finite and of shape \(1,\)"):
        perturbed(rough(parameter_names=("sigma",)), [0.1, 0.2])
    with pytest.raises(ValueError, match=r"log_shifts must be finite"):
        perturbed(rough(parameter_names=("sigma",)), [np.nan])
    with pytest.raises(ValueError, match="parameter_names: unknown 'tau2'"):
        perturbed(rough(parameter_names=("tau2",)), [0.1])


def test_noise_and_systematic_covariances_add():
    film = rough(parameter_names=("sigma", "tau1"), covariance=np.diag([0.03**2, 0.05**2]))
    jackknifed = replace(film, systematic_covariance=np.diag([0.04**2, 0.12**2]))
    assert log_covariance(rough()) is None
    assert log_covariance(film)[1] == "noise only"
    total, source = log_covariance(jackknifed)
    np.testing.assert_allclose(total, np.diag([0.05**2, 0.13**2]))
    assert source == "noise and systematic"
    # The spread of the jackknife has the noise in it and adds nothing of its own.
    assert log_covariance(replace(film, jackknife_spread=[0.04, 0.12]))[1] == "noise only"
    assert log_covariance(replace(jackknifed, covariance=None)) is None
