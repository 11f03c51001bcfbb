"""What the search sees: every pixel in a few rows, and no outlier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lps_sim.calibration.basis import OperatorBasis
from lps_sim.calibration.choice import best_of, robust_weights
from lps_sim.calibration.columns import FilmedPixels, film_coefficients, filmed_pixels, square_roots
from lps_sim.calibration.families import Family
from lps_sim.calibration.observations import FilmedScene, Observations
from lps_sim.calibration.solver import Solution
from lps_sim.camera import Camera
from lps_sim.film import FilmGeometry, FilmModel
from lps_sim.operator import apply_film

from .screens import screen

ROWS = 1e-6  # relative: single-precision columns
CAMERA = Camera.from_field_of_view(96, 54, 70.0)
NOISE = 0.004  # of white, standard deviation of every pixel


def filmed(film: FilmModel, layers: tuple[int, ...] = (1, 4), seed: int = 0) -> Observations:
    """Grey scenes behind a film, with white noise; no camera, no files."""
    rng = np.random.default_rng(seed)
    scenes = []
    for scene in screen(96, 54)[:3]:
        x = np.asarray(scene.light, dtype=float)
        for n in layers:
            y = apply_film(x, film, n, CAMERA, border="dark") + NOISE * rng.standard_normal(x.shape)
            fields = x[..., None], np.zeros((54, 96, 1)), y[..., None], np.full((54, 96, 1), NOISE**2)
            scenes.append(FilmedScene(scene.name, scene.target, n, *fields, (f"{scene.name}{n}",)))
    return Observations(True, np.ones((54, 96)), np.ones(1), {}, scenes)


@pytest.fixture(scope="module")
def film() -> FilmModel:
    rough = FilmModel.load("rough")
    return replace(rough, veil_table={}, geometry=FilmGeometry("equal_area"))


@pytest.fixture(scope="module")
def basis() -> OperatorBasis:
    return OperatorBasis(CAMERA, "equal_area")


@pytest.fixture
def pixels(film, basis) -> list[FilmedPixels]:
    return filmed_pixels(filmed(film), basis, 1.5, 1)


@pytest.fixture
def solution(film, basis, pixels) -> Solution:
    return best_of(Family.of(film.family), film.geometry, basis, square_roots(pixels))


@pytest.mark.parametrize("corrected", [False, True])
def test_a_few_rows_hold_the_weighted_sum_of_squares_over_all_pixels(film, basis, pixels, corrected):
    rng = np.random.default_rng(1)
    for part in pixels:
        part.root_weight = part.root_weight * (rng.random(part.y.size) > 0.1)
        if corrected:
            part.correction = 0.01 * rng.standard_normal(part.y.size)
    for part, few in zip(pixels, square_roots(pixels)):
        assert few.rows.shape[0] < 120 < part.y.size
        assert few.pixels == np.count_nonzero(part.root_weight)
        for gain, other in ((1.0, film), (0.7, FilmModel.load("matte"))):
            known = film_coefficients(basis, other, few.layers)
            want = (part.root_weight**2 * (gain * part.light(known) - part.y) ** 2).sum()
            got = ((few.rows @ np.concatenate([gain * known, [gain], [-1.0]])) ** 2).sum()
            assert got == pytest.approx(want, rel=ROWS)


def test_without_outliers_nearly_all_of_the_weight_stays(basis, pixels, solution):
    before = [part.root_weight.copy() for part in pixels]
    assert robust_weights(solution, basis, pixels) == 0.0
    for part, weight in zip(pixels, before):
        assert np.median(part.root_weight / weight) > 0.95
        assert (part.root_weight > 0).all()


def test_outliers_lose_their_weight_and_the_parameters_do_not_notice_them(film, basis, pixels, solution):
    """Half a percent of the pixels hot: the first fit is bent, the second is the fit without them."""
    rng = np.random.default_rng(2)
    hot = [rng.random(part.y.size) < 0.005 for part in pixels]
    for part, where in zip(pixels, hot):
        part.y = np.where(where, 1.0, part.y)
    family = Family.of(film.family)
    bent = best_of(family, film.geometry, basis, square_roots(pixels))
    share = robust_weights(bent, basis, pixels)
    again = best_of(family, film.geometry, basis, square_roots(pixels))
    robust_weights(again, basis, pixels)
    # Hot pixels on white are not seen to be hot.
    seen = [
        where & (part.y - light > 20 * NOISE) for where, part, light in zip(hot, pixels, _lights(again, basis, pixels))
    ]
    assert share == pytest.approx(0.005, rel=0.6)
    assert all((part.root_weight[where] == 0).all() for part, where in zip(pixels, seen))
    assert all((part.root_weight[~where] > 0).mean() > 0.999 for part, where in zip(pixels, hot))
    off = np.abs(bent.logs - solution.logs)
    assert (np.abs(again.logs - solution.logs) < 0.3 * off + 0.02).all()


def _lights(solution: Solution, basis: OperatorBasis, pixels: list[FilmedPixels]) -> list[np.ndarray]:
    film = solution.film()
    return [
        np.exp(solution.log_gains[part.source.layers]) * part.light(film_coefficients(basis, film, part.source.layers))
        for part in pixels
    ]


def test_noise_of_the_bare_picture_weighs_in_where_light_passes_unscattered(basis):
    """b = exp(-0.1): variance of y from x is (g b)^2 that of x."""
    haze = FilmModel.load("bulk-haze")
    haze = replace(haze, veil_table={}, geometry=FilmGeometry("equal_area"))
    seen = filmed(haze, (1,))
    noisy = replace_variance(seen, 4 * NOISE**2)
    plain, aware = (filmed_pixels(s, basis, 1.5, 1) for s in (seen, noisy))
    fitted = best_of(Family.of(haze.family), haze.geometry, basis, square_roots(plain))
    for pixels in (plain, aware):
        robust_weights(fitted, basis, pixels)
    passed = float(np.exp(fitted.log_gains[1]) * fitted.film().ballistic_fraction(1)[0])
    part, other = plain[0], aware[0]
    dark = (part.y < 0.05) & (part.root_weight > 0) & (other.root_weight > 0)
    ratio = np.median((part.root_weight / other.root_weight)[dark])
    # The soft loss gives a little back to pixels whose residual counts fewer standard deviations.
    assert ratio == pytest.approx(np.sqrt(1 + 4 * passed**2), rel=0.05)


def replace_variance(seen: Observations, variance: float) -> Observations:
    """The same with this variance of the bare pictures."""
    scenes = [replace(entry, x_variance=np.full_like(entry.x, variance)) for entry in seen.scenes]
    return replace(seen, scenes=scenes)
