"""One scattering event and one sheet, against closed forms and sampled events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lps_sim.errors import UnknownNameError
from lps_sim.scattering import KINDS, Scattering, characteristic, gaussian, henyey_greenstein, moffat, sheet_exponent

ROUNDING = 1e-12  # a few operations in float64
SAMPLING_SD = 4.5  # standard errors: one false alarm in 10^5

Q = np.array([0.0, 1e-6, 0.01, 1.0, 7.0, 40.0, 300.0])


def test_moffat_with_beta_one_and_a_half_is_henyey_greenstein():
    np.testing.assert_allclose(moffat(Q, 0.2, 1.5), henyey_greenstein(Q, 0.2), rtol=ROUNDING * 100, atol=1e-300)


def test_moffat_with_beta_two_and_a_half_is_its_elementary_form():
    z = 2 * np.pi * 0.1 * Q
    np.testing.assert_allclose(moffat(Q, 0.1, 2.5), (1 + z) * np.exp(-z), rtol=ROUNDING * 100)


def test_gaussian_event_is_the_fourier_transform_of_a_gaussian():
    s = 0.05
    x = np.linspace(-1, 1, 4001)
    density = np.exp(-(x**2) / (2 * s**2)) / np.sqrt(2 * np.pi) / s
    for q in (0.0, 2.0, 6.0):
        assert gaussian(q, s) == pytest.approx(np.sum(density * np.cos(2 * np.pi * q * x)) * (x[1] - x[0]), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_is_one_at_zero_and_vanishes_far_out(kind):
    q = np.array([0.0, 1e-300, 1e-30, 1e30])
    values = characteristic(kind, q, 0.3, 1.05)
    assert values[0] == 1.0
    assert np.isfinite(values).all()
    assert values[-1] == 0.0


@pytest.mark.parametrize("beta", [1.05, 1.5, 2.0, 5.0, 8.0])
def test_moffat_is_stable_from_vanishing_to_huge_arguments(beta):
    z = np.geomspace(1e-200, 1e4, 5000)
    values = moffat(z, 1 / (2 * np.pi), beta)
    assert np.isfinite(values).all()
    assert (np.diff(values) <= ROUNDING).all()
    assert values[-1] < 1e-300


def test_moffat_starts_as_its_series_for_a_steep_tail():
    z, beta = 1e-3, 4.0
    assert moffat(z, 1 / (2 * np.pi), beta) == pytest.approx(1 - z**2 / (4 * (beta - 2)), abs=1e-12)


@pytest.mark.parametrize(("s", "beta"), [(0.02, 1.5), (0.1, 2.2), (0.3, 4.0)])
def test_sampled_scattering_angles_reproduce_the_moffat_transform(s, beta):
    rng = np.random.default_rng(5)
    count = 200_000
    # Inverse of the encircled energy 1 - (1 + theta^2/s^2)^(1-beta)
    theta = s * np.sqrt(rng.random(count) ** (1 / (1 - beta)) - 1)
    x = theta * np.cos(rng.random(count) * 2 * np.pi)
    for q in (0.3, 1.0, 4.0):
        sample = np.cos(2 * np.pi * q * x)
        assert abs(sample.mean() - moffat(q, s, beta)) < SAMPLING_SD * sample.std() / np.sqrt(count) + ROUNDING


def test_sampled_sheets_reproduce_the_layer_law():
    """Brute force: Poisson events and rough faces, sheet by sheet, against exp(-N mu)."""
    rng = np.random.default_rng(6)
    rays, layers, sigma, tau, s, beta = 200_000, 4, np.radians(0.4), 0.3, np.radians(6.0), 1.8
    x = np.zeros(rays)
    for _ in range(layers):
        x += rng.normal(0, sigma, rays)
        events = rng.poisson(tau, rays)
        for k in range(events.max()):
            hit = events > k
            theta = s * np.sqrt(rng.random(hit.sum()) ** (1 / (1 - beta)) - 1)
            x[hit] += theta * np.cos(rng.random(hit.sum()) * 2 * np.pi)
    mu = sheet_exponent(np.array([0.5, 2.0, 8.0, 20.0]), np.full(3, sigma), (Scattering("moffat", tau, s, beta),))
    for q, law in zip([0.5, 2.0, 8.0, 20.0], np.exp(-layers * mu[:, 0])):
        sample = np.cos(2 * np.pi * q * x)
        assert abs(sample.mean() - law) < SAMPLING_SD * sample.std() / np.sqrt(rays)


def test_channels_with_equal_shape_share_one_evaluation_and_stay_right():
    component = Scattering("moffat", [0.1, 0.3, 0.2], [0.1, 0.1, 0.2], 1.7)
    single = [Scattering("moffat", t, s, 1.7).exponent(Q)[:, 0] for t, s in zip([0.1, 0.3, 0.2], [0.1, 0.1, 0.2])]
    np.testing.assert_allclose(component.exponent(Q), np.stack(single, -1), rtol=ROUNDING)


def test_exponents_of_components_and_faces_add():
    a, b = Scattering("gaussian", 0.2, 0.05), Scattering("henyey_greenstein", 0.4, 0.1)
    both = sheet_exponent(Q, np.full(3, 0.01), (a, b))
    np.testing.assert_allclose(
        both,
        sheet_exponent(Q, np.full(3, 0.01), ())
        + sheet_exponent(Q, np.zeros(3), (a,))
        + sheet_exponent(Q, np.zeros(3), (b,)),
    )


@given(
    kind=st.sampled_from(KINDS),
    s=st.floats(1e-4, 1.0),
    beta=st.floats(1.05, 8.0),
    q=st.lists(st.floats(0, 1e5), min_size=2, max_size=20),
)
def test_characteristic_functions_stay_in_zero_to_one_and_fall(kind, s, beta, q):
    values = characteristic(kind, np.sort(q), s, beta)
    assert ((values >= 0) & (values <= 1)).all()
    assert (np.diff(values) <= ROUNDING * 100).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("moffat", -0.1, 0.1), r"tau must be finite and >= 0, got"),
        (("moffat", 0.1, 0.0), r"s_rad must be finite and > 0, got"),
        (("moffat", 0.1, 0.1, 1.0), r"beta must be finite and > 1, got"),
        (("moffat", [0.1, 0.2], 0.1), r"tau must be one number or three"),
        (("moffat", float("nan"), 0.1), r"tau must be finite"),
    ],
)
def test_bad_parameters_name_the_argument_and_the_rule(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scattering(*arguments)


def test_an_unknown_kind_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'moffat'"):
        Scattering("mofat", 0.1, 0.1)
    with pytest.raises(UnknownNameError, match="did you mean 'gaussian'"):
        characteristic("gauss", 1.0, 0.1)
