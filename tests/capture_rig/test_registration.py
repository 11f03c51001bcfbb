"""Where the screen stands, against a simulated camera whose pose is known, bare and through film."""

from itertools import pairwise

import numpy as np
import pytest

from capture_rig.boards import charuco_board, photo
from capture_rig.cameras.pose import ScreenPose
from capture_rig.cameras.simulated import SimulatedCamera
from capture_rig.registration import moved_px, register_charuco, register_fringes, register_session
from capture_rig.screens import VirtualScreen
from capture_rig.targets import screen_codes, target
from lps_sim import Camera, FilmModel

DISPLAY = (640, 360)
CAMERA = Camera.from_field_of_view(480, 270, 60.0)
POSE = ScreenPose.placed(
    DISPLAY, CAMERA, fill=0.92, tilt_deg=6, pan_deg=-8, roll_deg=1.5, shift_px=(4, -3), k1=-0.08, k2=0.02
)
PERIODS = (8, 32, 128, 1024)
BARE_PX, FILM_PX = 0.1, 1.0  # asked for, rms over the screen; N = 8


def error_px(view):
    grid = np.stack(np.meshgrid(np.linspace(0, 639, 17), np.linspace(0, 359, 11)), axis=-1)
    return float(np.sqrt(((view.to_camera(grid) - POSE.to_camera(grid, CAMERA)) ** 2).sum(axis=-1).mean()))


@pytest.fixture(scope="module")
def desk():
    screen = VirtualScreen(*DISPLAY)
    film = FilmModel.load("p3ar-10layer")
    return screen, SimulatedCamera(screen.at, CAMERA, film, pose=POSE, lens_blur_px=0.6, engine="fast")


def fringes(desk, layers, periods=PERIODS):
    screen, camera = desk
    camera.layers = layers
    camera.set_exposure(0.85 / float(FilmModel.load("p3ar-10layer").transmittance(layers)[1]) if layers else 0.85)
    shots = {}
    for axis, turn in (("x", 0.0), ("y", 90.0)):
        for period in periods:
            phases = []
            for k in range(4):
                waves = {"period_px": float(period), "orientation_deg": turn, "phase_rad": k * np.pi / 2}
                screen.show(screen_codes(target("fringe", *DISPLAY, **waves)))
                phases.append(np.mean([CAMERA.decode(camera.read().codes).mean(axis=-1) for _ in range(2)], axis=0))
            shots[axis, float(period)] = np.stack(phases)
    return shots


@pytest.fixture(scope="module")
def bare(desk):
    return register_fringes(fringes(desk, 0), DISPLAY, CAMERA.f_px)


def test_bare_fringes_find_pose_and_distortion(bare):
    assert error_px(bare) < BARE_PX / 10
    assert (bare.k1, bare.k2) == pytest.approx((POSE.k1, POSE.k2), abs=2e-3)
    assert bare.residual_px < BARE_PX
    assert bare.provenance["finest_periods_px"] == [8.0, 8.0]


def test_a_bare_board_finds_them_to_a_tenth_of_a_pixel(desk, bare):
    screen, camera = desk
    camera.layers = 0
    camera.set_exposure(0.85)
    screen.show(screen_codes(target("charuco", *DISPLAY)))
    view = register_charuco(camera.read().codes, DISPLAY, CAMERA.f_px)
    assert error_px(view) < BARE_PX
    assert moved_px(view, bare) < BARE_PX
    assert view.provenance["corners"] >= 30


def test_through_eight_layers_fringes_still_find_it_within_a_pixel_and_fine_ones_are_left_out(desk, bare):
    shots = fringes(desk, 8)
    view = register_fringes(shots, DISPLAY, CAMERA.f_px)
    assert error_px(view) < FILM_PX
    known = register_fringes(shots, DISPLAY, CAMERA.f_px, lens=(bare.k1, bare.k2))
    assert (known.k1, known.k2, known.provenance["lens"]) == (bare.k1, bare.k2, "given")
    assert error_px(known) < min(FILM_PX / 10, error_px(view))
    assert moved_px(view, bare) < FILM_PX
    assert 8.0 in view.provenance["periods_left_out_px"][0]


def test_a_start_stands_in_for_the_long_period(desk, bare):
    shots = fringes(desk, 0, (8, 32))
    with pytest.raises(ValueError, match=r"longest period along x must span the display's 640 px, got 32; add it"):
        register_fringes(shots, DISPLAY, CAMERA.f_px)
    assert error_px(register_fringes(shots, DISPLAY, CAMERA.f_px, bare)) < BARE_PX / 10


def test_pictures_without_a_board_or_fringes_are_refused_with_the_cure(desk):
    screen, camera = desk
    screen.show(screen_codes(target("siemens", *DISPLAY)))
    with pytest.raises(ValueError, match=r"0 corners of the board found, 12 are needed; show it bare"):
        register_charuco(camera.read().codes, DISPLAY, CAMERA.f_px)
    flat = np.full((4, 270, 480), 0.5) + np.random.default_rng(0).normal(0, 0.01, (4, 270, 480))
    with pytest.raises(ValueError, match=r"no fringes left: not even those of 1024 px along x"):
        register_fringes({("x", 1024.0): flat, ("y", 1024.0): flat}, DISPLAY, CAMERA.f_px)
    with pytest.raises(ValueError, match="got none along y"):
        register_fringes({("x", 1024.0): flat}, DISPLAY, CAMERA.f_px)


def test_corners_of_the_drawn_board_stand_between_black_and_white():
    picture, (_, corners) = target("charuco", *DISPLAY), charuco_board(*DISPLAY)
    for x, y in corners:
        around = picture[int(y + 0.5) - 1 : int(y + 0.5) + 1, int(x + 0.5) - 1 : int(x + 0.5) + 1]
        assert around[0, 0] == around[1, 1] != around[0, 1] == around[1, 0]
    with pytest.raises(ValueError, match="charuco needs 3 squares of 16 px each way, got 120x40 px"):
        charuco_board(120, 40)


def test_the_built_in_picture_has_the_spectrum_of_natural_scenes(tmp_path):
    picture = photo(256, 256, seed=3)
    power = np.abs(np.fft.fft2((picture - picture.mean()) * np.outer(np.hanning(256), np.hanning(256)))) ** 2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    bands = np.geomspace(0.02, 0.3, 9)
    mean = [power[(radius >= a) & (radius < b)].mean() for a, b in pairwise(bands)]
    slope = np.polyfit(np.log(np.sqrt(bands[:-1] * bands[1:])), np.log(mean), 1)[0]
    assert -3.2 < slope < -1.6  # 1 / f^2 in power, in scenes between -1.6 and -2.8 (Ruderman 1997), one draw
    assert np.array_equal(picture, photo(256, 256, seed=3))

    from lps_sim.media import write_image

    grey = np.full((50, 100, 3), 128, np.uint8)
    write_image(tmp_path / "grey.png", grey)
    assert photo(64, 64, path=str(tmp_path / "grey.png")) == pytest.approx(np.full((64, 64), 0.2158605), abs=1e-5)


def test_other_files_than_sessions_are_refused(tmp_path):
    (tmp_path / "shots.yaml").write_text("shots: []")
    with pytest.raises(ValueError, match="registration reads session files"):
        register_session(tmp_path / "shots.yaml")
    with pytest.raises(ValueError, match="method: unknown 'edges'; did you mean 'fringes'"):
        register_session(tmp_path / "shots.yaml", method="edges")
