"""The forward model of a pair: its film is apply_film, its derivatives are its slopes, its search comes home."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lps_sim.calibration.families import Family
from lps_sim.calibration.pair_geometry import displacement_px, filled, overhang, precision_px
from lps_sim.calibration.pair_model import View
from lps_sim.calibration.pair_solver import State, covariance, first_gains, model, prior, solve
from lps_sim.calibration.simulate_pairs import screen_homography
from lps_sim.camera import Camera
from lps_sim.film import FilmModel
from lps_sim.operator import apply_film

OPERATOR = 4e-4  # of white: cubic splines on a grid of 0.75 px, measured 1.8e-4
SLOPE = 0.01  # of the largest slope: both sides are finite differences, measured below 0.003
LAYERS = 8


@pytest.fixture(scope="module")
def camera():
    return Camera.from_field_of_view(96, 54, 70.0)


def picture(seed, rows=54, columns=96, smooth=1.2):
    rng = np.random.default_rng(seed)
    light = gaussian_filter(rng.random((rows, columns)), smooth)
    return ((light - light.min()) / np.ptp(light)).astype(np.float32)


def truth_logs(family, film):
    values = {"sigma": np.degrees(film.sigma_rad[1])} if film.sigma_rad.any() else {}
    halo = film.components[0]
    return family.encode({**values, "tau1": halo.tau[1], "s1": np.degrees(halo.s_rad[1]), "beta1": halo.beta[1]})


def shot_of(view, clean, filmed, pixels=10**6):
    nothing = np.zeros(view.size, np.float32)
    return view.shot(clean, filmed.astype(np.float32), nothing, pixels, np.random.default_rng(0))


@pytest.mark.parametrize("name", ["rough", "bulk-haze"])
def test_a_picture_that_fills_the_frame_is_seen_as_apply_film_sees_it(camera, name):
    film = FilmModel.load(name)
    film = replace(film, veil_table={}, geometry=replace(film.geometry, oblique_ballistic=False))
    family = Family.of(film.family)
    view, clean = View(camera, "dark", LAYERS), picture(1)
    # A dark rim: the two operators fade differently within the last pixel of the frame.
    clean[:3] = clean[-3:] = 0
    clean[:, :3] = clean[:, -3:] = 0
    logs = truth_logs(family, film)
    shot = shot_of(view, clean, clean)
    seen = view.predict(shot, filled(1.0, 96 / 54), [view.response(family, logs)], False)[0]
    exact = apply_film(clean.astype(float), film, LAYERS, camera, border="dark") / film.transmittance(LAYERS)[1]
    np.testing.assert_allclose(seen.reshape(view.size), exact, atol=OPERATOR)


@pytest.mark.parametrize("border", ["mean", "reflect"])
def test_a_flat_scene_stays_flat_where_the_surround_is_as_bright(camera, border):
    view, flat = View(camera, border, LAYERS), np.full((54, 96), 0.4, np.float32)
    family = Family.of("gaussian+moffat")
    shot = shot_of(view, flat, flat)
    seen = view.predict(shot, filled(0.8, 96 / 54), [view.response(family, family.starts[0])], False)[0]
    np.testing.assert_allclose(seen, 0.4, atol=1e-6)


@pytest.mark.parametrize("name", ["gaussian+moffat", "ballistic+moffat"])
def test_derivatives_are_the_slopes_of_the_prediction(camera, name):
    family = Family.of(name)
    logs = family.starts[0]
    view, clean = View(camera, "dark", LAYERS), picture(2, smooth=2.5)
    shot = shot_of(view, clean, clean)
    entries = screen_homography(camera, 96 / 54, (3.0, -1.0, 2.0), 0.9)
    _, slopes = view.predict(shot, entries, view.responses(family, logs), True)
    step = 1e-3
    for k in range(8 + logs.size):
        ends = []
        for sign in (1, -1):
            e, g = entries.copy(), logs.copy()
            target, place = (e, k) if k < 8 else (g, k - 8)
            target[place] += sign * step
            ends.append(view.predict(shot, e, [view.response(family, g)], False)[0])
        numeric = (ends[0] - ends[1]) / (2 * step)
        scale = np.abs(numeric).max()
        assert np.sqrt(((slopes[:, k] - numeric) ** 2).mean()) < SLOPE * scale, f"derivative {k}"


@pytest.fixture(scope="module")
def filmed(camera):
    """(view, shots, true state) of five noisy frames behind `rough`, dark around the picture."""
    film = FilmModel.load("rough")
    family = Family.of(film.family)
    view = View(camera, "dark", LAYERS)
    rng = np.random.default_rng(3)
    entries = screen_homography(camera, 96 / 54, (3.0, -1.0, 2.0), 0.9)
    gains = np.array([0.5, 0.52, 0.47, 0.5, 0.55])
    state = State(entries, family, truth_logs(family, film), np.array([0.03, 0.002, -0.001]), gains)
    clean = [picture(10 + k, smooth=(3, 5, 8, 3, 12)[k]) for k in range(5)]
    bare = [shot_of(view, c, np.zeros(view.size)) for c in clean]
    lights = model(view, bare, state)
    shots = [
        shot_of(view, c, np.maximum(light.reshape(view.size) + 4e-4 * rng.standard_normal(view.size), 0))
        for c, light in zip(clean, lights)
    ]
    return view, shots, state


def test_the_search_comes_back_to_the_truth_within_its_own_intervals(filmed):
    view, shots, truth = filmed
    start = truth.entries + 0.01 * np.array([1, -1, 1, 1, -1, 1, 0.5, -0.5])
    guess = first_gains(view, shots, start, truth.family, truth.family.starts[0])
    found = solve(view, shots, guess, iterations=30)
    assert found.converged
    size = view.size
    assert displacement_px(truth.entries, found.state.entries, size).max() < 0.1
    spread = covariance(view, shots, found)
    error = (found.state.logs - truth.logs) / np.sqrt(np.diag(spread)[8 : 8 + truth.logs.size])
    # Five frames and few blocks: an interval of 95 % may be missed by a little, not by a multiple.
    assert np.abs(error).max() < 4
    assert precision_px(found.state.entries, spread[:8, :8], size) < 0.1


def test_a_step_along_the_gains_takes_the_veil_along(filmed):
    """More gain and less veil leave a_t u where it was, to first order in everything else."""
    _, _, truth = filmed
    step = np.zeros(truth.vector.size)
    step[8 + truth.logs.size : 8 + truth.logs.size + 3] = -0.2 * truth.veil
    step[-5:] = 0.2 * truth.gains
    moved = truth.moved(step)
    np.testing.assert_allclose(moved.veil[0] * moved.gains, truth.veil[0] * truth.gains, rtol=1e-12)
    low, high = truth.family.bounds
    far = truth.moved(np.full(truth.vector.size, 100.0))
    assert ((far.logs > low) & (far.logs < high)).all()


def test_a_shift_of_the_picture_moves_it_by_its_size():
    entries = filled(0.9, 16 / 9)
    moved = entries.copy()
    moved[2] += 0.01 * entries[0]  # of half the width, in the camera
    np.testing.assert_allclose(displacement_px(entries, moved, (360, 640)), 3.2, rtol=1e-6)
    spread = np.zeros((8, 8))
    spread[2, 2] = (0.01 * entries[0]) ** 2
    assert precision_px(entries, spread, (360, 640)) == pytest.approx(3.2)


def test_a_picture_larger_than_the_view_hangs_over_by_its_share():
    assert overhang(filled(1.2, 16 / 9), (360, 640)) == pytest.approx(0.1)
    assert overhang(filled(1.0, 16 / 9), (360, 640)) == pytest.approx(0.0)
    assert overhang(filled(0.8, 16 / 9), (360, 640)) == 0.0


@pytest.mark.parametrize("name", ["gaussian+moffat", "ballistic+moffat", "gaussian"])
def test_the_assumed_ranges_lie_within_two_deviations(name):
    family = Family.of(name)
    centre, deviation = prior(family)
    values = family.decode(centre + 2 * deviation)
    assert values.get("tau1", 3.0) == pytest.approx(3.0)
    assert values.get("sigma", 3.0) == pytest.approx(3.0)


def test_a_screen_turned_away_is_refused(camera):
    with pytest.raises(ValueError, match=r"tilt_deg must leave the screen before the camera"):
        screen_homography(camera, 16 / 9, (180.0, 0.0, 0.0), 0.9)
