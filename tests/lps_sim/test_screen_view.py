"""Screens as a camera sees them: there and back, and pictures put straight, against closed forms."""

import json

import numpy as np
import pytest

from lps_sim.screen_view import ScreenView
from lps_sim.transfer import eotf_table

IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
TILTED = ScreenView(
    ((0.5, 0.02, 20.0), (-0.01, 0.48, 12.0), (1e-4, -5e-5, 1.0)), (320, 180), (200, 120), 180.0, -0.12, 0.03
)
# Interpolation of a pattern that varies over twenty camera pixels.
SMOOTH = 0.004


def scaled(factor, size=(40, 20)):
    # Pixel centres are whole numbers: display pixel x covers factor x - 1/2 + factor/2 ... in the camera.
    shift = factor / 2 - 0.5
    matrix = ((factor, 0.0, shift), (0.0, factor, shift), (0.0, 0.0, 1.0))
    return ScreenView(matrix, size, (size[0] * factor, size[1] * factor), 100.0)


def test_there_and_back_is_the_same_point_with_distortion():
    points = np.random.default_rng(0).uniform([0, 0], [319, 179], (500, 2))
    assert np.abs(TILTED.to_display(TILTED.to_camera(points)) - points).max() < 1e-6


def test_distortion_is_that_of_the_stated_polynomial():
    view = ScreenView(IDENTITY, (201, 101), (201, 101), 50.0, k1=0.1, k2=-0.02)
    # 50 px right of the middle: one focal length, so r' = r (1 + 0.1 - 0.02)
    assert view.to_camera(np.array([150.0, 50.0])) == pytest.approx([100 + 50 * 1.08, 50.0])


def test_points_behind_the_camera_are_not_seen():
    view = ScreenView(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (-0.02, 0.0, 1.0)), (100, 100), (100, 100), 50.0)
    assert np.isnan(view.to_camera(np.array([60.0, 0.0]))).all()


def test_the_identity_gives_the_picture_back():
    picture = np.random.default_rng(1).integers(0, 256, (20, 40, 3), dtype=np.uint8)
    view = ScreenView(IDENTITY, (40, 20), (40, 20), 50.0)
    assert np.array_equal(view.rectify(picture), picture)


def test_shrinking_takes_means_of_light_not_of_codes():
    view = scaled(4)
    blocks = np.zeros((80, 160), np.uint8)
    blocks[::2] = 255  # a mean light of one half
    found = view.rectify(blocks)
    half = np.argmin(np.abs(eotf_table("srgb", 8) - 0.5))
    assert np.abs(found.astype(int) - half).max() <= 1
    linear = view.rectify((blocks / 255).astype(np.float32))
    assert linear == pytest.approx(np.full((20, 40), 0.5), abs=1e-6)


def test_a_tilted_and_distorted_picture_is_put_straight():
    y, x = np.mgrid[:120, :200].astype(float)
    display = TILTED.to_display(np.stack([x, y], axis=-1))
    wave = lambda p: 0.5 + 0.3 * np.cos(p[..., 0] / 13) * np.sin(p[..., 1] / 11)  # noqa: E731
    inside = (display >= 0).all(axis=-1) & (display[..., 0] <= 319) & (display[..., 1] <= 179)
    seen = np.where(inside, wave(display), 0).astype(np.float32)
    y, x = np.mgrid[:180, :320].astype(float)
    middle = np.s_[20:160, 30:290]
    error = TILTED.rectify(seen)[middle] - wave(np.stack([x, y], axis=-1))[middle]
    assert np.sqrt((error**2).mean()) < SMOOTH


def test_a_region_of_the_screen_is_cut_out_at_any_size():
    picture = np.random.default_rng(1).integers(0, 256, (20, 40, 3), dtype=np.uint8)
    view = ScreenView(IDENTITY, (40, 20), (40, 20), 50.0)
    assert np.array_equal(view.rectify(picture, region=(8, 4, 10, 6)), picture[4:10, 8:18])
    assert view.rectify(picture, size=(5, 3), region=(8, 4, 10, 6)).shape == (3, 5, 3)
    for region in ((-1, 0, 5, 5), (0, 0, 41, 5), (0, 0, 0, 5)):
        with pytest.raises(ValueError, match=r"region must lie in the display of \(40, 20\) px"):
            view.rectify(picture, region=region)
    with pytest.raises(ValueError, match=r"picture must be \(20, 40\)"):
        view.rectify(picture[1:])


def test_a_view_is_read_back_as_it_was_written(tmp_path):
    view = ScreenView(TILTED.homography, (320, 180), (200, 120), 180.0, -0.1, 0.0, 0.02, 0.01, {"method": "fringe"})
    view.save(tmp_path / "screen.json")
    assert ScreenView.load(tmp_path / "screen.json") == view


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lps_screen_view": 9}, r"newer program \(schema 9, this one reads 1\)"),
        ({"lps_screen_view": None}, "is no registered screen"),
        ({"homography": [[1, 0, 0], [0, 1, 0], [0, 0, 0]]}, "homography must be 3 x 3, finite and invertible"),
        ({"f_px": 0}, "f_px must be above 0, got 0"),
        ({"display_size": [0, 3]}, "display_size must be"),
        ({"colour": 1}, "colour"),
    ],
)
def test_files_that_break_a_rule_are_refused_with_their_name(tmp_path, change, message):
    TILTED.save(tmp_path / "screen.json")
    content = json.loads((tmp_path / "screen.json").read_text())
    (tmp_path / "screen.json").write_text(json.dumps({**content, **change}))
    with pytest.raises(ValueError, match=rf"screen.json: .*{message}"):
        ScreenView.load(tmp_path / "screen.json")
    (tmp_path / "screen.json").write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        ScreenView.load(tmp_path / "screen.json")
