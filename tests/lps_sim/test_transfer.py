"""Transfer functions against the standards' own numbers."""

from __future__ import annotations

import numpy as np
import pytest

from lps_sim.errors import UnknownNameError
from lps_sim.transfer import (
    EOTF_NAMES,
    SRGB_CODE_KNEE,
    eotf,
    eotf_bt709,
    eotf_srgb,
    eotf_table,
    inverse_eotf,
    inverse_eotf_bt709,
    inverse_eotf_srgb,
)

ROUNDING = 1e-12  # float64 powers
KNEE_GAP = 3e-8  # IEC 61966-2-1 rounds its constants: the two pieces miss each other by 2.4e-9 in light, 3e-8 in code


@pytest.mark.parametrize("name", EOTF_NAMES)
def test_every_code_survives_the_way_to_light_and_back(name):
    codes = np.linspace(0, 1, 65536)
    np.testing.assert_allclose(inverse_eotf(eotf(codes, name), name), codes, atol=ROUNDING)


@pytest.mark.parametrize("name", EOTF_NAMES)
def test_light_survives_the_way_to_code_and_back(name):
    light = np.linspace(0, 1, 4097)
    np.testing.assert_allclose(eotf(inverse_eotf(light, name), name), light, atol=KNEE_GAP)


@pytest.mark.parametrize("name", EOTF_NAMES)
def test_curves_rise_from_zero_to_one(name):
    light = eotf(np.linspace(0, 1, 1001), name)
    assert light[0] == 0
    assert light[-1] == pytest.approx(1, abs=ROUNDING)
    assert (np.diff(light) > 0).all()


def test_srgb_mid_grey_is_the_published_value():
    assert float(eotf_srgb(188 / 255)) == pytest.approx(0.502886, abs=1e-6)
    assert float(inverse_eotf_srgb(0.18)) == pytest.approx(0.461356, abs=1e-6)


def test_srgb_is_linear_below_the_knee():
    assert float(eotf_srgb(0.04)) == pytest.approx(0.04 / 12.92, rel=ROUNDING)
    above = np.nextafter(SRGB_CODE_KNEE, 1)
    assert float(eotf_srgb(above) - eotf_srgb(SRGB_CODE_KNEE)) == pytest.approx(0, abs=3e-9)


def test_bt709_is_the_inverse_of_the_camera_curve():
    assert float(inverse_eotf_bt709(0.18)) == pytest.approx(0.409, abs=5e-4)  # BT.709-6 with 1.099 and 0.45
    assert float(inverse_eotf_bt709(0.01)) == pytest.approx(0.045, rel=ROUNDING)
    assert float(eotf_bt709(0.5)) == pytest.approx(((0.5 + 0.09929682680944) / 1.09929682680944) ** (1 / 0.45))


def test_noise_below_black_is_mirrored_and_not_clipped():
    assert float(inverse_eotf_srgb(-0.001)) == pytest.approx(-0.01292, rel=ROUNDING)


def test_float32_stays_float32():
    assert eotf_srgb(np.zeros(3, np.float32)).dtype == np.float32
    assert inverse_eotf_srgb(np.zeros(3, np.float32)).dtype == np.float32


def test_integer_codes_are_refused_since_they_are_not_in_zero_to_one():
    with pytest.raises(ValueError, match="codes must be floating point"):
        eotf(np.arange(3, dtype=np.uint8))


def test_an_unknown_curve_names_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown 'srgbb'; did you mean 'srgb'"):
        eotf(0.5, "srgbb")


@pytest.mark.parametrize("name", EOTF_NAMES)
def test_the_table_holds_the_curve_at_every_code(name):
    table = eotf_table(name, 8)
    assert table.shape == (256,)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, eotf(np.arange(256) / 255, name), rtol=1e-7)
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 1


def test_a_table_of_zero_bits_is_refused():
    with pytest.raises(ValueError, match=r"bits must be 1..16, got 0"):
        eotf_table("srgb", 0)
