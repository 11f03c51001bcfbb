"""Flicker found in runs of frames whose lamps and shutters are known: frequency, depth, bands, and what cures it."""

import numpy as np
import pytest

from capture_rig.flicker import Flicker, find_flicker, row_levels, steady_times
from lps_sim import Camera

CAMERA = Camera(80, 64, 70.0)


def pulsed(t, frequency, duty, low):
    """Integral to t of a light that is 1 for the first ``duty`` of each period and ``low`` after."""
    whole = np.floor(t * frequency)
    rest = t * frequency - whole
    return (whole * (duty + low * (1 - duty)) + np.minimum(rest, duty) + low * np.maximum(rest - duty, 0)) / frequency


def filmed(frequency, fps, exposure_s, readout_s, count=60, duty=0.5, low=0.9, seed=0, level=0.6):
    """Frames of an even screen under pulsed light through a rolling shutter, and their times."""
    rng = np.random.default_rng(seed)
    times = np.arange(count) / fps
    frames = []
    for t in times:
        opened = t + np.arange(CAMERA.height) / CAMERA.height * readout_s
        light = (pulsed(opened + exposure_s, frequency, duty, low) - pulsed(opened, frequency, duty, low)) / exposure_s
        picture = np.repeat(level * light[:, None], CAMERA.width, axis=1)
        frames.append(CAMERA.sense(picture, rng))
    return frames, times


def search(frames, times, refresh_hz=None) -> Flicker:
    return find_flicker(row_levels(frames, CAMERA.transfer), times, refresh_hz)


@pytest.mark.parametrize(
    ("frequency", "fps", "refresh"), [(100.0, 30.0, None), (120.0, 25.0, None), (60.0, 25.0, 60.0), (144.0, 30.0, 72.0)]
)
def test_pulsed_light_is_found_with_its_alias_its_bands_and_its_source(frequency, fps, refresh):
    exposure_s, readout_s = 0.003, 0.02
    frames, times = filmed(frequency, fps, exposure_s, readout_s)
    found = search(frames, times, refresh)
    alias = (frequency + fps / 2) % fps - fps / 2
    assert found.alias_hz == pytest.approx(alias, abs=0.02)
    assert found.bands == pytest.approx(frequency * readout_s, abs=0.03)
    assert frequency in found.sources
    # First harmonic, 4/pi of the half height, of a square wave between 0.9 and 1, through an open shutter (sinc).
    depth = 2 * (4 / np.pi) * (0.1 / 2) / 0.95 * abs(np.sinc(frequency * exposure_s))
    assert found.peak_to_peak == pytest.approx(depth, rel=0.03)


def test_a_global_shutter_sees_whole_frames_vary():
    frames, times = filmed(100.0, 30.0, 0.004, 0.0)
    found = search(frames, times)
    assert found.bands == pytest.approx(0.0, abs=0.05)
    assert abs(found.alias_hz) == pytest.approx(10.0, abs=0.02)
    assert 100.0 in found.sources
    assert found.frame_peak_to_peak > 0.05


def test_a_wave_at_half_the_frame_rate_has_its_own_depth():
    times = np.arange(20) / 20
    wave = 0.02 * (-1.0) ** np.arange(20)
    noise = 1e-4 * np.random.default_rng(4).standard_normal((20, 16))
    found = find_flicker(1 + wave[:, None] + noise, times)
    assert found.peak_to_peak == pytest.approx(0.04, rel=0.01)
    assert abs(found.alias_hz) == pytest.approx(10.0, abs=0.1)


def test_the_cure_takes_the_wave_away():
    frames, times = filmed(100.0, 30.0, 0.012, 0.02)
    check = search(frames, times).check(exposure_s=0.012)
    assert check.status == "warn"
    assert "a multiple of its period, 1/100 s (10 ms)" in check.cure
    frames, times = filmed(100.0, 30.0, 0.010, 0.02)
    again = search(frames, times)
    assert again.peak_to_peak == 0.0
    assert again.check().status == "ok"
    assert 0 < again.floor < 0.005


def test_a_refresh_at_a_multiple_of_the_frame_rate_is_said_to_be_out_of_sight():
    frames, times = filmed(60.0, 30.0, 0.004, 0.025)
    found = search(frames, times, 60.0)
    assert found.peak_to_peak == 0.0
    assert found.hidden == (60.0, 120.0)
    assert "60 or 120 Hz would stand still at this frame rate" in found.check().text
    assert search(*filmed(60.0, 25.0, 0.004, 0.025), 60.0).hidden == (50.0, 100.0)


def test_lost_frames_do_not_matter():
    frames, times = filmed(100.0, 30.0, 0.003, 0.02, count=80)
    kept = np.flatnonzero(np.random.default_rng(1).random(80) > 0.2)
    found = search([frames[k] for k in kept], times[kept])
    assert found.alias_hz == pytest.approx(10.0, abs=0.02)
    assert found.fps == pytest.approx(30.0)


def test_arrival_times_that_waver_are_put_on_the_cameras_clock_and_free_rates_are_left():
    rng = np.random.default_rng(5)
    numbers = np.flatnonzero(rng.random(60) > 0.1)
    true = 7 + numbers / 30
    assert np.abs(steady_times(true + rng.normal(0, 0.001, len(true)), numbers) - true).max() < 0.001
    free = np.cumsum(rng.uniform(0.02, 0.06, 60))
    assert np.array_equal(steady_times(free, np.arange(60)), free)


def test_steady_light_is_not_called_flicker_in_a_hundred_runs_of_noise():
    rng = np.random.default_rng(2)
    times = np.arange(40) / 25
    called = [find_flicker(1 + 0.01 * rng.standard_normal((40, 32)), times).peak_to_peak > 0 for _ in range(100)]
    assert sum(called) <= 1


def test_slow_drift_is_told_apart():
    times = np.arange(50) / 25
    noise = 1e-4 * np.random.default_rng(3).standard_normal((50, 16))
    found = find_flicker((1 + 0.02 * times / times[-1])[:, None] + noise, times)
    assert found.drift == pytest.approx(0.02, rel=0.02)
    assert found.peak_to_peak == 0.0


def test_what_cannot_be_judged_is_refused_by_name():
    frames, times = filmed(100.0, 30.0, 0.003, 0.02, count=6, level=1.3)
    with pytest.raises(ValueError, match=r"frames must not be saturated, got .* expose less"):
        row_levels(frames, CAMERA.transfer)
    with pytest.raises(ValueError, match="is lit, got black"):
        row_levels([np.zeros((8, 8), np.uint8)], "srgb")
    with pytest.raises(ValueError, match="frames must be at least 6, got 0"):
        row_levels([], "srgb")
    with pytest.raises(ValueError, match="frames must be at least 6, got 5"):
        find_flicker(np.ones((5, 4)), times[:5])
    with pytest.raises(ValueError, match="times_s must rise"):
        find_flicker(np.ones((6, 4)), np.zeros(6))
    with pytest.raises(ValueError, match="levels must be"):
        find_flicker(np.ones((6, 4)), times[:5])
