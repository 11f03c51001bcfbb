"""Offset and clock drift from block means: recordings of whole frames, of known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from lps_sim.calibration.pair_timing import match_times

DRIFT = 1e-4  # 0.01 %, of the clock: what 6000 frames and their three skipped frames must give
LEAD = 168  # frames recorded before the clip


def moving_blobs(count, seed, rows=12, columns=20):
    """(count, rows, columns) light of three blobs that wander over a still scene."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns]
    film = np.full((count, rows, columns), 0.2) + 0.2 * rng.random((rows, columns))
    for _ in range(3):
        path = [np.cumsum(gaussian_filter1d(rng.standard_normal(count), 8)) * step for step in (0.8, 1.2)]
        at_y, at_x = (np.abs((p + size / 2) % (2 * size) - size) for p, size in zip(path, (rows, columns)))
        film += 0.4 * np.exp(-((x - at_x[:, None, None]) ** 2 + (y - at_y[:, None, None]) ** 2) / 4.5)
    return film


def recorded(clean, index, seed):
    """What a camera behind a strong film makes of these clean frames (-1: screen off): blur, veil, exposure, noise."""
    rng = np.random.default_rng(seed)
    blurred = gaussian_filter(clean, (0, 2.5, 2.5))
    light = np.where((index >= 0)[:, None, None], blurred[np.maximum(index, 0)], 0.0) + 0.03
    exposure = np.exp(0.05 * gaussian_filter1d(rng.standard_normal(index.size), 3) * 3)
    return light * exposure[:, None, None] + 1e-3 * rng.standard_normal(light.shape)


def shown(count, start, speed, clean_count):
    index = np.rint(start + speed * np.arange(count)).astype(int)
    return np.where((index >= 0) & (index < clean_count), index, -1)


@pytest.mark.parametrize("drift", [5e-4, -3e-4])
def test_a_late_start_and_a_drifting_clock_are_found(drift):
    clean = moving_blobs(6000, seed=4)
    truth = shown(6100, -LEAD + 0.3, 1 + drift, 6000)
    match = match_times(clean, recorded(clean, truth, seed=5))
    both = (truth >= 0) & (match.clean_index >= 0)
    assert np.abs(match.clean_index - truth)[both].max() <= 1
    assert both.sum() >= (truth >= 0).sum() - 2
    assert abs(match.drift - drift) < DRIFT
    low, high = match.drift_interval
    assert low <= drift <= high
    assert high - low < 4 * DRIFT
    assert match.start_interval[0] <= -LEAD + 0.3 <= match.start_interval[1]
    assert match.correlation > 3 * match.runner_up


def test_a_short_recording_finds_its_frames_and_says_that_the_drift_is_open():
    """0.05 % of 300 frames is a seventh of a frame: no frame is skipped, so no drift can be seen."""
    clean = moving_blobs(300, seed=1)
    truth = shown(460, -LEAD, 1.0005, 300)
    match = match_times(clean, recorded(clean, truth, seed=2))
    both = (truth >= 0) & (match.clean_index >= 0)
    assert np.abs(match.clean_index - truth)[both].max() <= 1
    low, high = match.drift_interval
    assert low <= 5e-4 <= high
    assert high - low > 1e-3


@pytest.mark.parametrize(("first", "count"), [(150, 200), (-40, 120), (300, 150)])
def test_either_may_be_the_longer_and_begin_first(first, count):
    clean = moving_blobs(400, seed=6)
    truth = shown(count, first, 1.0, 400)
    match = match_times(clean, recorded(clean, truth, seed=7))
    both = (truth >= 0) & (match.clean_index >= 0)
    assert np.abs(match.clean_index - truth)[both].max() <= 1
    assert both.sum() >= (truth >= 0).sum() - 2


def test_another_frame_rate_is_followed():
    clean = moving_blobs(500, seed=8)
    truth = shown(700, -60, 25 / 30, 500)
    match = match_times(clean, recorded(clean, truth, seed=9), speed=25 / 30)
    both = (truth >= 0) & (match.clean_index >= 0)
    assert np.abs(match.clean_index - truth)[both].max() <= 1
    assert match.speed == pytest.approx(25 / 30, rel=5e-3)


def test_other_material_does_not_match_as_well_as_its_own():
    clean, other = moving_blobs(400, seed=10), moving_blobs(400, seed=11)
    match = match_times(clean, recorded(other, np.arange(400), seed=12))
    assert match.correlation < 1.6 * match.runner_up or match.correlation < 0.15


def test_what_cannot_be_matched_is_refused():
    still = np.full((100, 12, 20), 0.5)
    with pytest.raises(ValueError, match="nothing moves in the material"):
        match_times(still, still)
    with pytest.raises(ValueError, match="filmed must have at least 24 frames to be matched in time, got 10"):
        match_times(moving_blobs(100, 1), moving_blobs(10, 1))
