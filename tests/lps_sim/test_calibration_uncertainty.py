"""Error bars of a fit: as large as repeats say, and no larger where there is nothing but noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lps_sim.calibration.basis import OperatorBasis
from lps_sim.calibration.choice import best_of
from lps_sim.calibration.columns import filmed_pixels, square_roots
from lps_sim.calibration.families import Family
from lps_sim.calibration.solver import Search
from lps_sim.calibration.uncertainty import _exceeds_noise, noise_covariance, shot_scale_covariance, uncertainty
from lps_sim.film import FilmGeometry, FilmModel

from .test_calibration_columns import CAMERA, filmed

REPEATS = 30
# Of a standard deviation from 30 repeats: 1 / sqrt(2 x 29) = 13 %, and the sandwich of 144 tiles is not better.
SPREAD = 1.5


@pytest.fixture(scope="module")
def basis() -> OperatorBasis:
    return OperatorBasis(CAMERA, "equal_area")


def solved(basis, seed, model=None):
    """(search, solution, pixels) of one noisy set; the model is bulk haze unless given."""
    film = replace(model or FilmModel.load("bulk-haze"), veil_table={}, geometry=FilmGeometry("equal_area"))
    pixels = filmed_pixels(filmed(film, seed=seed), basis, 1.5, 1)
    rows = square_roots(pixels)
    family = Family.of("ballistic+moffat")
    best = best_of(family, film.geometry, basis, rows)
    return Search(family, film.geometry, basis, rows), best, pixels


def test_the_noise_covariance_is_the_spread_of_repeats(basis):
    repeats = [solved(basis, seed) for seed in range(REPEATS)]
    vectors = np.array([best.vector for _, best, _ in repeats])
    covariances = [noise_covariance(*repeat) for repeat in repeats[:6]]
    claimed = np.sqrt(np.mean([np.diag(c) for c in covariances], axis=0))
    ratio = claimed / vectors.std(axis=0, ddof=1)
    assert (ratio < SPREAD).all()
    assert (ratio > 1 / SPREAD).all()
    # Scale and exponent of a halo go together; a diagonal would say nothing of that.
    claimed_r = covariances[0][1, 2] / np.sqrt(covariances[0][1, 1] * covariances[0][2, 2])
    assert claimed_r == pytest.approx(np.corrcoef(vectors[:, 1], vectors[:, 2])[0, 1], abs=0.1)


def test_noise_alone_exceeds_itself_in_one_case_of_twenty():
    rng = np.random.default_rng(4)
    root = rng.standard_normal((3, 3))
    moves = rng.standard_normal((4000, 3)) @ root.T
    rate = np.mean([_exceeds_noise(move, root @ root.T) for move in moves])
    assert rate == pytest.approx(0.05, abs=0.014)  # four standard deviations of 4,000 draws


def test_a_direction_that_noise_can_not_move_is_left_out_of_the_comparison():
    flat = np.diag([1.0, 0.0])
    assert not _exceeds_noise(np.array([1.0, 0.0]), flat)
    assert _exceeds_noise(np.array([3.0, 0.0]), flat)
    assert _exceeds_noise(np.array([0.1, 0.0]), np.zeros((2, 2)))


def test_the_jackknife_names_every_shot_type_and_layer_count(basis):
    error = uncertainty(*solved(basis, 0))
    rows = {(row.kind, row.left_out) for row in error.jackknife}
    types = {("shot type", name) for name in ("edge", "hole", "noise")}
    assert rows == types | {("layer count", "1"), ("layer count", "4")}
    assert all(set(row.shifts) == {"tau1", "s1", "beta1"} for row in error.jackknife)
    assert (error.spread[:3] > 0).all()
    alone = uncertainty(*solved(basis, 0), jackknife=False)
    assert alone.jackknife == ()
    assert alone.dominant in ("noise", "shot scale")
    # Without leaving anything out, the scale of the shots is all that is systematic.
    search, solution, _ = solved(basis, 0)
    np.testing.assert_allclose(alone.systematic, shot_scale_covariance(search, solution))
    assert (np.diag(alone.systematic) > 0).all()
    np.testing.assert_allclose(alone.noise, error.noise)


def test_where_the_model_is_right_leaving_shots_out_is_seldom_significant(basis):
    """One case of twenty by noise alone; the estimate from correlated fits makes it two or three."""
    rows = [row for seed in range(6) for row in uncertainty(*solved(basis, 100 + seed)).jackknife]
    assert sum(row.significant for row in rows) <= 6  # of 30: below one case of five hundred by noise alone


def test_a_wrong_model_shows_as_systematic_error(basis):
    """Ballistic light and a halo fitted to a rough face: every shot type wants something else."""
    error = uncertainty(*solved(basis, 0, FilmModel.load("rough")))
    assert error.dominant in ("shot type", "layer count")
    assert any(row.significant for row in error.jackknife)
    assert np.trace(error.systematic) > 10 * np.trace(error.noise[:3, :3])
