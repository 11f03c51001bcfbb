"""Screen curves and flicker: what is put in is found again."""

import numpy as np
import pytest

from capture_rig.photometry import flicker, screen_curve, wedge_light
from capture_rig.targets import screen_codes, target
from lps_sim.screen_view import ScreenView
from lps_sim.transfer import eotf, inverse_eotf

FPS = 30.0
STRAIGHT = ScreenView(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), (160, 90), (160, 90), 100.0)


def shown_by(curve, glow=0.001):
    """Light of the wedge, coded for sRGB, on a screen of another curve."""
    codes = screen_codes(target("wedge", 160, 90)) / 255
    return glow + (1 - glow) * eotf(codes, curve)


@pytest.mark.parametrize("gamma", [1.8, 2.2, 2.6])
def test_the_exponent_of_a_screen_is_found_from_its_wedge(gamma):
    light = wedge_light(shown_by(f"gamma:{gamma}"), STRAIGHT)
    found = screen_curve(light, 0.001)
    assert found.gamma == pytest.approx(gamma, abs=0.01)
    assert found.glow == pytest.approx(0.001, rel=0.01)
    assert found.gamma_error < 1e-3
    assert found.error_of(f"gamma:{gamma}") < 1e-3 < found.error_of("linear")


def test_codes_made_with_the_measured_curve_give_the_light_that_was_meant():
    curve = screen_curve(wedge_light(shown_by("gamma:2.4"), STRAIGHT), 0.001).curve()
    wanted = np.linspace(0.02, 1, 40)
    got = eotf(screen_codes(wanted, curve) / 255, "gamma:2.4")
    assert np.abs(got - wanted).max() < 0.01
    assert np.abs(inverse_eotf(wanted, curve) - inverse_eotf(wanted, "gamma:2.4")).max() < 0.01


def test_light_that_does_not_rise_is_no_wedge():
    with pytest.raises(ValueError, match="must rise with the wedge's codes"):
        screen_curve(np.linspace(0.1, 1, 16) * 0 + [1, *[0.9] * 7, *[1.2] * 8], 0.0)
    away = ScreenView(((1.0, 0.0, 100.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), (160, 90), (160, 90), 100.0)
    with pytest.raises(ValueError, match="of the wedge lies outside of it; show the screen whole"):
        wedge_light(shown_by("srgb"), away)


def frames_of(level, rows=None, count=48, noise=0.01, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.ones((count, 60)) if rows is None else rows
    return [0.5 * level[k] * rows[k][:, None] * (1 + rng.normal(0, noise, (60, 80))) for k in range(count)]


def test_a_steady_screen_is_ok_whatever_its_pixel_noise():
    found = flicker(frames_of(np.ones(48), noise=0.03), FPS)
    assert (found.status, found.frequency_hz, found.band_rows, found.cure) == ("ok", None, None, "")


def test_a_lamp_that_beats_with_the_frames_is_found_with_its_frequency():
    level = 1 + 0.02 * np.sin(2 * np.pi * 4.0 * np.arange(48) / FPS)
    found = flicker(frames_of(level), FPS)
    assert found.status == "fail"
    assert found.level_range == pytest.approx(0.04, rel=0.1)
    assert found.frequency_hz == pytest.approx(4.0, abs=0.3)
    assert "multiple of 1/60 s" in found.cure


def test_rolling_bands_are_found_with_their_period():
    phase = np.arange(48)[:, None] * 1.3 + 2 * np.pi * np.arange(60)[None, :] / 20
    found = flicker(frames_of(np.ones(48), rows=1 + 0.01 * np.sin(phase)), FPS)
    assert found.status in ("warn", "fail")
    assert found.row_range == pytest.approx(0.02, rel=0.15)
    assert found.band_rows == pytest.approx(20, rel=0.1)
    assert found.level_range < 0.002


def test_too_few_and_dark_frames_are_refused():
    with pytest.raises(ValueError, match="frames must be at least 8, got 3"):
        flicker(frames_of(np.ones(3), count=3), FPS)
    with pytest.raises(ValueError, match="dark: show the flat target"):
        flicker([np.zeros((60, 80))] * 9, FPS)
