"""A screen's curve from its wedge, through cameras of known truth: power laws, named curves, a bent one, black."""

import json

import numpy as np
import pytest

from capture_rig.cameras.pose import ScreenPose, screen_to_camera
from capture_rig.outline import register_outline
from capture_rig.screen_curve import measure_screen
from capture_rig.targets import screen_codes, target
from lps_sim import Camera
from lps_sim.calibration.merge import Merged, merge_bracket
from lps_sim.calibration.response import measure_response
from lps_sim.transfer import MeasuredCurve, eotf

SCREEN = (320, 180)
CAMERA = Camera.from_field_of_view(240, 160, 50.0, vignetting=(-0.4,), cos_power=2.0)
POSE = ScreenPose.placed(SCREEN, CAMERA, fill=0.8, tilt_deg=6, pan_deg=-8, roll_deg=2)
MEANS = screen_to_camera(POSE, SCREEN, CAMERA)
# A television's curve with crushed blacks and a shoulder: no power law.
BENT = MeasuredCurve(tuple(0.7 * v**2.6 + 0.3 * np.sin(np.pi / 2 * v) ** 4 for v in np.linspace(0, 1, 256).tolist()))
# 8 frames of a camera of 9000 e-, fields of some hundred pixels, codes of 8 bits.
CURVE = 0.0025


def filmed(codes, curve, exposure, black=0.0, camera=CAMERA, frames=8, seed=0):
    """Frames of a screen that shows codes, with a backlight that is brighter on the right."""
    rng = np.random.default_rng([seed, int(1000 * exposure), int(codes.sum()) % 9973])
    emitted = black + (1 - black) * eotf(codes / 255, curve)
    light = (MEANS @ emitted.ravel()).reshape(camera.height, camera.width)
    light = light * np.linspace(0.8, 1.0, camera.width)
    return [camera.with_exposure(exposure).sense(light, rng) for _ in range(frames)]


def merged(codes, curve, exposures, **options) -> Merged:
    shots = [(frame, exposure) for exposure in exposures for frame in filmed(codes, curve, exposure, **options)]
    return merge_bracket([frame for frame, _ in shots], [exposure for _, exposure in shots], CAMERA)


def measured(curve, shown="srgb", **options):
    wedge = screen_codes(target("wedge", *SCREEN), shown)
    white, black = np.full(SCREEN[::-1], 255), np.zeros(SCREEN[::-1])
    flat = merged(white, curve, (0.8,), **options)
    view = register_outline(flat.mean, SCREEN, CAMERA.f_px)
    dim = merged(black, curve, (0.8, 12.0), **options)
    return measure_screen(merged(wedge, curve, (0.8, 6.0), **options), flat, view, shown, black_seen=dim)


@pytest.mark.parametrize("gamma", [1.8, 2.2, 2.4])
def test_the_exponent_of_a_power_law_is_recovered_with_its_black(gamma):
    found = measured(f"gamma:{gamma}", black=0.002)
    assert found.gamma == pytest.approx(gamma, abs=0.01)
    assert found.black == pytest.approx(0.002, rel=0.1)
    assert found.gamma_sd < 0.01


def test_a_named_curve_is_named():
    found = measured("srgb")
    assert found.nearest == "srgb"
    assert found.nearest_misfit < 0.01 < found.misfit


@pytest.mark.parametrize("curve", ["srgb", "bt709", BENT])
def test_any_curve_is_measured_at_every_code_and_shows_what_was_meant(curve):
    found = measured(curve, black=0.001).curve()
    codes = np.linspace(0, 1, 256)
    assert np.abs(found.eotf(codes) - eotf(codes, curve)).max() < CURVE
    meant = target("siemens", 64, 36)
    emitted = eotf(screen_codes(meant, found, 16) / 65535, curve)
    assert np.abs(emitted - meant).max() < CURVE


def test_camera_and_screen_are_told_apart_by_exposures():
    camera = Camera.from_field_of_view(240, 160, 50.0, eotf="gamma:1.8", full_well_e=40000.0)
    codes = screen_codes(target("wedge", *SCREEN))
    exposures = (0.25, 1.0, 4.0)
    bracket = [filmed(codes, "gamma:2.4", exposure, camera=camera, frames=1)[0] for exposure in exposures]
    response = measure_response(bracket, exposures)
    known = response.camera(camera)
    assert np.abs(known.decode(np.arange(256)) - camera.decode(np.arange(256))).max() < 0.02
    flat = merge_bracket(filmed(np.full(SCREEN[::-1], 255), "gamma:2.4", 0.8, camera=camera), [0.8] * 8, known)
    view = register_outline(flat.mean, SCREEN, camera.f_px)
    found = measure_screen(merge_bracket(bracket, exposures, known), flat, view)
    assert found.gamma == pytest.approx(2.4, abs=0.08)


def test_results_are_json_ready():
    fields = json.loads(json.dumps(measured("gamma2.2").to_dict()))
    assert len(fields["response"]) == 256
    assert fields["codes"][0] == 0.0
    assert fields["codes"][-1] == 1.0


def test_a_wedge_that_is_not_seen_is_refused():
    white = np.full(SCREEN[::-1], 255)
    flat = merged(white, "srgb", (0.8,))
    view = register_outline(flat.mean, SCREEN, CAMERA.f_px)
    burnt = merged(screen_codes(target("wedge", *SCREEN)), "srgb", (40.0,))
    with pytest.raises(ValueError, match="fields are seen, lit and unsaturated, 5 with the white one are needed"):
        measure_screen(burnt, flat, view)
    small = Merged(flat.mean[1:], flat.variance[1:])
    with pytest.raises(ValueError, match=r"wedge_seen must be \(160, 240\)"):
        measure_screen(small, flat, view)
