"""Targets against their closed forms: areas, levels, fringes, and what one seed gives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from capture_rig import targets
from capture_rig.boards import charuco_board
from capture_rig.targets import screen_codes, target
from lps_sim.transfer import MeasuredCurve, eotf

# Targets are float32: one rounding step at 1.
FLOAT32 = 1e-6
# A circle is taken for its tangent within a boundary pixel: relative area error below 1/(12 r^2) at r = 5 px.
TANGENT = 1 / (12 * 5**2)


@pytest.mark.parametrize("kind", sorted(targets.KINDS))
@pytest.mark.parametrize("size", [(64, 36), (51, 77)])
def test_every_target_is_linear_light_of_the_asked_size(kind: str, size: tuple[int, int]) -> None:
    array = target(kind, *size)
    assert (array.shape, array.dtype) == (size[::-1], np.float32)
    assert array.min() >= 0.0
    assert array.max() <= 1.0


@pytest.mark.parametrize("orientation", ["vertical", "horizontal"])
@pytest.mark.parametrize("angle_deg", [-17.0, 0.0, 5.0, 45.0])
def test_edge_through_the_centre_covers_half_of_the_area(orientation: str, angle_deg: float) -> None:
    array = target("edge", 640, 361, orientation=orientation, angle_deg=angle_deg)
    assert array.mean(dtype=np.float64) == pytest.approx(0.5, abs=FLOAT32)


def test_edge_pixels_hold_the_exact_area_share() -> None:
    angle_deg, fine = 5.0, 64
    array = target("edge", 20, 16, angle_deg=angle_deg)
    x = (np.arange(20 * fine) + 0.5) / fine - 10
    y = (np.arange(16 * fine) + 0.5) / fine - 8
    slant = math.radians(angle_deg)
    inside = x[None, :] * math.cos(slant) + y[:, None] * math.sin(slant) > 0
    counted = inside.reshape(16, fine, 20, fine).mean((1, 3))
    # Counting on a 64-fold grid is itself good to about half a fine row a pixel.
    assert np.abs(array - counted).max() < 1 / fine


def test_horizontal_edge_is_bright_below_and_vertical_to_the_right() -> None:
    assert target("edge", 40, 40)[20, -1] == 1.0
    assert target("edge", 40, 40)[20, 0] == 0.0
    below = target("edge", 40, 40, orientation="horizontal", low=0.25)
    assert (below[-1, 20], below[0, 20]) == (1.0, 0.25)


@pytest.mark.parametrize("radius_px", [5.0, 12.3, 40.0])
def test_disc_has_the_area_of_a_circle_and_hole_is_its_complement(radius_px: float) -> None:
    white = target("disc", 120, 100, radius_px=radius_px)
    black = target("hole", 120, 100, radius_px=radius_px)
    assert white.sum(dtype=np.float64) == pytest.approx(math.pi * radius_px**2, rel=TANGENT)
    assert np.abs(white + black - 1).max() <= FLOAT32


def test_wedge_steps_halve_the_light_every_second_step() -> None:
    array = target("wedge", 160, 40, steps=16)
    levels = np.unique(array)[::-1]
    assert levels == pytest.approx(0.5 ** (np.arange(16) / 2), rel=FLOAT32)
    assert array[0, 0] == 1.0


def test_noise_is_binary_half_white_and_fixed_by_its_seed() -> None:
    first = target("noise", 640, 360, seed=3)
    assert set(np.unique(first)) == {0.0, 1.0}
    assert np.array_equal(first, target("noise", 640, 360, seed=3))
    other = target("noise", 640, 360, seed=4)
    # The largest blocks leave about 640 x 360 / 50^2 = 92 independent patches: 5 standard deviations of their mean.
    assert abs(first.mean() - 0.5) < 5 * 0.5 / math.sqrt(92)
    assert 0.3 < np.mean(first != other) < 0.7


def test_noise_has_structure_from_its_smallest_to_its_largest_blocks() -> None:
    array = target("noise", 512, 512, seed=1) - 0.5
    spectrum = np.abs(np.fft.fft2(array)) ** 2
    radius = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.fftfreq(512)[None, :])
    bands = [(0.005, 0.02), (0.05, 0.1), (0.2, 0.3), (0.4, 0.5)]
    power = [spectrum[(radius >= low) & (radius < high)].mean() for low, high in bands]
    white = 0.25 * 512**2
    assert power == sorted(power, reverse=True)
    assert power[0] > 10 * white
    assert power[-1] > 0.02 * white


def test_noise_with_a_smallest_block_has_no_shorter_run_inside_one_pattern() -> None:
    array = target("noise", 300, 300, seed=1, smallest_px=7, largest_px=7)
    changes = np.flatnonzero(np.diff(array[0]))
    assert np.diff(changes).min() >= 7
    assert set(np.diff(changes) % 7) == {0}


def test_fringe_mean_and_modulation_are_as_asked() -> None:
    array = target("fringe", 128, 64, period_px=16, mean=0.4, modulation=0.75, phase_rad=0.3).astype(np.float64)
    assert array.mean() == pytest.approx(0.4, abs=FLOAT32)
    wave = np.fft.rfft(array[10]) / 128
    assert 2 * abs(wave[8]) / wave[0].real == pytest.approx(0.75, abs=FLOAT32)
    assert np.ptp(array, axis=0).max() <= FLOAT32


@pytest.mark.parametrize("orientation_deg", [0.0, 30.0, 90.0])
def test_four_phases_give_back_phase_modulation_and_mean(orientation_deg: float) -> None:
    period_px, mean, modulation = 13.7, 0.45, 0.6
    shots = np.stack(
        [
            target(
                "fringe",
                90,
                70,
                period_px=period_px,
                orientation_deg=orientation_deg,
                phase_rad=k * math.pi / 2,
                mean=mean,
                modulation=modulation,
            )
            for k in range(4)
        ]
    )
    level, depth, phase = targets.demodulate(shots)
    x, y = np.arange(90) - 44.5, np.arange(70) - 34.5
    turn = math.radians(orientation_deg)
    expected = 2 * math.pi * (x[None, :] * math.cos(turn) + y[:, None] * math.sin(turn)) / period_px
    assert np.abs(level - mean).max() < FLOAT32
    assert np.abs(depth - modulation).max() < 4 * FLOAT32
    assert np.abs(np.angle(np.exp(1j * (phase - expected)))).max() < 4 * FLOAT32


def test_siemens_star_has_its_spokes_and_a_grey_middle() -> None:
    array = target("siemens", 400, 400, spokes=12)
    turns = np.linspace(0, 2 * math.pi, 3600, endpoint=False)
    ring = array[np.rint(199.5 + 150 * np.sin(turns)).astype(int), np.rint(199.5 + 150 * np.cos(turns)).astype(int)]
    assert np.count_nonzero(np.diff(ring > 0.5)) in (23, 24)
    assert np.abs(array[199:201, 199:201] - 0.5).max() < 0.2
    assert array.mean() == pytest.approx(0.5, abs=1e-3)
    assert array[0, 0] == 0.5


def test_screen_codes_show_the_light_within_half_a_code() -> None:
    light = np.linspace(0, 1, 1001).astype(np.float32)
    for bits, peak in ((8, 255), (16, 65535)):
        codes = targets.screen_codes(light, "srgb", bits)
        assert (codes[0], codes[-1]) == (0, peak)
        below = eotf(np.maximum(codes.astype(float) - 0.5, 0) / peak, "srgb")
        above = eotf((codes.astype(float) + 0.5) / peak, "srgb")
        assert np.all((below <= light + FLOAT32) & (light <= above + FLOAT32))


def test_standard_set_draws_and_keeps_a_noise_seed_and_the_star_out_of_the_fit() -> None:
    specs = targets.standard_set(seed=5)
    assert len({spec.name for spec in specs}) == len(specs)
    assert {spec.kind for spec in specs} == set(targets.KINDS) - {"charuco", "photo"}
    held = {spec.name for spec in specs if spec.role == "held"}
    assert held == {"noise2", "siemens"}
    assert all(spec.draw(64, 48).shape == (48, 64) for spec in specs)


@pytest.mark.parametrize(
    ("arguments", "parameters", "message"),
    [
        (("edges", 64, 64), {}, "did you mean 'edge'"),
        (("edge", 64, 64), {"angel_deg": 3}, "did you mean 'angle_deg'"),
        (("flat", 7, 64), {}, "width must be 8..16384 px, got 7"),
        (("flat", 64, 20000), {}, "height must be 8..16384 px, got 20000"),
        (("flat", 64, 64), {"level": 1.5}, "level must be 0..1 in linear light, got 1.5"),
        (("edge", 64, 64), {"angle_deg": 60}, "angle_deg must be -45..45, got 60"),
        (("edge", 64, 64), {"orientation": "diagonal"}, "vertical or horizontal, got 'diagonal'"),
        (("fringe", 64, 64), {"period_px": 1}, "period_px must be >= 2"),
        (("fringe", 64, 64), {"mean": 0.8}, "at most 1"),
        (("noise", 64, 64), {"smallest_px": 9, "largest_px": 3}, "smallest_px must be 1..largest_px"),
        (("disc", 64, 64), {"radius_px": 0.1}, "radius_px must be at least 0.5"),
        (("siemens", 64, 64), {"spokes": 1}, "spokes must be 2..360, got 1"),
        (("wedge", 64, 64), {"steps": 1}, "steps must be 2..64, got 1"),
    ],
)
def test_bad_arguments_are_refused_with_the_rule(arguments: tuple, parameters: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        target(*arguments, **parameters)


@pytest.mark.parametrize("size", [(640, 360), (351, 533)])
def test_every_corner_of_the_board_is_where_two_black_and_two_white_squares_meet(size: tuple[int, int]) -> None:
    board, picture = charuco_board(*size), target("charuco", *size)
    assert len(board.corners()) == (board.columns - 1) * (board.rows - 1)
    for x, y in board.corners():
        left, top = math.floor(x), math.floor(y)
        assert (x - left, y - top) == (0.5, 0.5)
        around = picture[top : top + 2, left : left + 2]
        assert around[0, 0] == around[1, 1] != around[0, 1] == around[1, 0]


def test_board_of_a_tiny_screen_is_refused_with_the_least_size() -> None:
    with pytest.raises(ValueError, match=r"charuco needs a screen of at least 26 px each way, got 64x20"):
        target("charuco", 64, 20)


def test_photo_is_one_of_its_seed_and_its_amplitude_falls_as_one_over_frequency() -> None:
    picture = target("photo", 512, 512, seed=3)
    np.testing.assert_array_equal(picture, target("photo", 512, 512, seed=3))
    assert np.abs(picture - target("photo", 512, 512, seed=4)).mean() > 0.05
    spectrum = np.abs(np.fft.fft2(picture - picture.mean()))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(512), np.fft.fftfreq(512)))
    bins = np.geomspace(0.01, 0.2, 8)
    rms = [np.sqrt((spectrum[(radius >= a) & (radius < b)] ** 2).mean()) for a, b in zip(bins, bins[1:])]
    slope = np.polyfit(np.log(np.sqrt(bins[1:] * bins[:-1])), np.log(rms), 1)[0]
    # Discs with sharp edges alone would give -1.5, white noise 0.
    assert slope == pytest.approx(-1.1, abs=0.2)


def test_codes_of_a_measured_screen_curve_show_the_linear_light() -> None:
    curve = MeasuredCurve(tuple((np.arange(256) / 255) ** 2.0))
    levels = np.linspace(0, 1, 33)
    shown = curve.eotf(screen_codes(levels, curve, bits=16) / 65535)
    assert np.abs(shown - levels).max() < 2 / 65535
