"""Every family by brute force: single events, sheet after sheet, in two dimensions, without any formula of the package.

An event of density (1 + theta^2/s^2)^-beta is drawn as a bivariate Student's t: a normal pair over the root of a
chi-square of 2 (beta - 1) degrees of freedom, times s / sqrt(2 (beta - 1)) root degrees of freedom. That shares neither
the transform nor the encircled energy that the package computes; the density itself is checked by counting.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lps_sim.film import FAMILIES, FilmModel
from lps_sim.scattering import Scattering, moffat

RAYS = 200_000
SAMPLING_SD = 4.5  # standard errors: one false alarm in 10^5 a comparison
HANKEL = 1e-6  # of the logarithmic Hankel transform

NARROW = Scattering("moffat", 1.2, np.radians(0.8), 3.0)
WIDE = Scattering("moffat", 0.15, np.radians(12.0), 1.6)
FILMS = {
    "ballistic+moffat": (0.0, (WIDE,)),
    "gaussian+moffat": (0.5, (WIDE,)),
    "2moffat": (0.0, (WIDE, NARROW)),
    "gaussian": (0.5, ()),
}
THETA = np.radians([0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 35.0, 80.0])


def film(family):
    sigma_deg, components = FILMS[family]
    return FilmModel(family, family, np.radians(sigma_deg), components, 0.1, 0.0)


def turned(rng, count, s, beta):
    """(count, 2) angles of single events, rad."""
    freedom = 2 * (beta - 1)
    return s * rng.normal(size=(count, 2)) / np.sqrt(rng.chisquare(freedom, (count, 1)))


def rays_behind(rng, model, layers):
    """(RAYS, 2) directions of rays that came in along the axis, and how many events each one had."""
    direction, events = np.zeros((RAYS, 2)), np.zeros(RAYS, dtype=int)
    for _ in range(layers):
        direction += rng.normal(0, 1, (RAYS, 2)) * model.sigma_rad[1]
        for component in model.components:
            met = rng.poisson(component.tau[1], RAYS)
            events += met
            while met.any():
                hit = np.flatnonzero(met)
                direction[hit] += turned(rng, hit.size, component.s_rad[1], component.beta[1])
                met[hit] -= 1
    return direction, events


def within(share, expected, count):
    """Whether a counted share is the expected one to its sampling error; one count is the least that can be seen."""
    spread = np.sqrt(np.maximum(expected * (1 - expected), 1 / count) / count)
    return np.abs(share - expected) < SAMPLING_SD * spread + HANKEL


@pytest.mark.parametrize(("s", "beta"), [(0.02, 1.2), (0.1, 1.5), (0.1, 2.2), (0.3, 4.0), (0.05, 8.0)])
def test_single_events_have_the_density_and_the_transform_they_are_said_to_have(s, beta):
    rng = np.random.default_rng(21)
    direction = turned(rng, RAYS, s, beta)
    radius = np.hypot(*direction.T)
    # The density integrated over rings by quadrature, not by its closed form.
    edges = s * np.geomspace(0.1, 30, 9)
    for low, high in itertools.pairwise(edges):
        theta = np.linspace(low, high, 2001)
        ring = (beta - 1) / (np.pi * s**2) * (1 + theta**2 / s**2) ** -beta * 2 * np.pi * theta
        expected = float(np.sum(0.5 * (ring[1:] + ring[:-1]) * np.diff(theta)))
        assert within(((radius >= low) & (radius < high)).mean(), expected, RAYS)
    for q in np.array([0.02, 0.1, 0.4]) / s:
        sample = np.cos(2 * np.pi * q * direction)  # both axes: two looks at one ray
        assert abs(sample.mean() - moffat(q, s, beta)) < SAMPLING_SD * sample.mean(axis=1).std() / np.sqrt(RAYS)


def test_every_family_has_a_film_here():
    assert set(FILMS) == set(FAMILIES)


@pytest.mark.parametrize("layers", [1, 4, 10])
@pytest.mark.parametrize("family", FILMS)
def test_sampled_rays_reproduce_otf_energy_haze_and_unscattered_share(family, layers):
    model, rng = film(family), np.random.default_rng([31, layers])
    direction, events = rays_behind(rng, model, layers)
    for q in (0.5, 2.0, 8.0, 20.0, 60.0):
        sample = np.cos(2 * np.pi * q * direction).mean(axis=1)
        assert abs(sample.mean() - model.otf(q, layers)[1]) < SAMPLING_SD * sample.std() / np.sqrt(RAYS)
    radius = np.hypot(*direction.T)
    counted = (radius[:, None] < THETA).mean(axis=0)
    assert within(counted, model.encircled_energy(THETA, layers)[:, 1], RAYS).all()
    assert within((radius > np.radians(2.5)).mean(), model.haze(layers)[1], RAYS)
    if not model.sigma_rad.any():
        assert ((radius == 0) == (events == 0)).all()
        assert within((radius == 0).mean(), model.ballistic_fraction(layers)[1], RAYS)
    else:
        assert (model.ballistic_fraction(layers) == 0).all()
        assert not (radius == 0).any()
