"""The simulated camera: closed forms of its optics, its clock and its losses."""

from __future__ import annotations

import numpy as np
import pytest

from capture_rig.cameras.pose import ScreenPose
from capture_rig.cameras.protocol import CameraLostError, CameraRefusedError
from capture_rig.cameras.simulated import DOUBLED, DROPPED, SEEN, SimulatedCamera
from capture_rig.screens import VirtualScreen
from lps_sim import Camera, FilmModel
from lps_sim.transfer import eotf, inverse_eotf

WIDTH, HEIGHT = 64, 48
CAMERA = Camera.from_field_of_view(WIDTH, HEIGHT, 60)
ROUNDING = 0.501  # codes


@pytest.fixture(scope="module")
def film() -> FilmModel:
    return FilmModel.load("p3ar-10layer")


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def flat(level: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def test_without_film_and_noise_the_codes_are_the_screens_own(texture: np.ndarray) -> None:
    for engine in ("exact", "fast"):
        for pose in (None, ScreenPose()):
            camera = SimulatedCamera(lambda _: texture, CAMERA, pose=pose, noise=False, engine=engine)
            assert np.array_equal(camera.read().codes, texture)


@pytest.mark.parametrize("layers", [1, 4, 8])
def test_a_flat_field_behind_film_is_transmittance_times_level_plus_veil(film: FilmModel, layers: int) -> None:
    # Light from outside the frame is as bright as the frame: the scattering then changes nothing.
    camera = SimulatedCamera(lambda _: flat(200), CAMERA, film, layers, noise=False, border="mean")
    level = eotf(np.array(200 / 255))
    expected = 255 * inverse_eotf(film.transmittance(layers) * level + film.veil(layers))
    assert np.abs(camera.read().codes - expected).max() < ROUNDING


def test_both_engines_agree_within_half_a_code(film: FilmModel, texture: np.ndarray) -> None:
    pose = ScreenPose.placed((WIDTH, HEIGHT), CAMERA, 0.8, roll_deg=3, tilt_deg=8, pan_deg=-5)
    signals = []
    for engine in ("exact", "fast"):
        camera = SimulatedCamera(lambda _: texture, CAMERA, film, 8, pose, lens_blur_px=0.7, engine=engine)
        signals.append(255 * inverse_eotf(camera.irradiance(0.0).astype(float)))
    assert np.abs(signals[0] - signals[1]).max() < 0.5


def test_an_edge_shifted_by_half_a_pixel_leaves_half_the_light_there() -> None:
    picture = flat(0)
    picture[:, 32:] = 255
    pose = ScreenPose(((1, 0, 0.5), (0, 1, 0), (0, 0, 1)))
    light = SimulatedCamera(lambda _: picture, CAMERA, pose=pose).irradiance(0.0)
    assert np.allclose(light[:, 31], 0, atol=1e-6)
    assert np.allclose(light[:, 32], 0.5, atol=1e-6)
    assert np.allclose(light[:, 33:], 1, atol=1e-6)


def test_a_larger_screen_is_averaged_over_area_so_that_nothing_aliases() -> None:
    checks = np.indices((3 * HEIGHT, 3 * WIDTH)).sum(axis=0) % 2 * 255
    picture = np.repeat(checks.astype(np.uint8)[..., None], 3, axis=2)
    light = SimulatedCamera(lambda _: picture, CAMERA).irradiance(0.0)
    # Nine screen pixels a camera pixel, four or five of them white.
    assert set(np.unique(np.rint(9 * light))) == {4.0, 5.0}


def test_every_camera_pixel_looks_where_the_pose_says() -> None:
    pose = ScreenPose.placed((200, 150), CAMERA, 1.3, 5, 20, -15, (3.2, -1.6), k1=-0.05, k2=0.02)
    y, x = np.indices((150, 200))
    ramps = np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)
    light = SimulatedCamera(lambda _: ramps, CAMERA, pose=pose, eotf="linear").irradiance(0.0)
    points = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), axis=-1).astype(float)
    where = pose.to_screen(points, CAMERA)
    inside = ((where > 5) & (where < np.array([195, 145]))).all(axis=-1)
    assert inside.sum() > 2000
    # Screen px, of which some two to a camera pixel; a ramp's steps leave up to 1/8 px over the width of the mean.
    assert np.abs(255 * light[..., :2] - where)[inside].max() < 0.1
    assert np.abs((255 * light[..., :2] - where)[inside].mean(axis=0)).max() < 0.002


def test_a_screen_under_distortion_is_dark_beside_its_edges_and_white_within() -> None:
    pose = ScreenPose.placed((200, 150), CAMERA, 0.6, 5, 20, -15, k1=-0.05)
    light = SimulatedCamera(lambda _: flat(255, 200, 150), CAMERA, pose=pose).irradiance(0.0)[..., 0]
    points = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), axis=-1).astype(float)
    where = pose.to_screen(points, CAMERA)
    inside = ((where > 5) & (where < np.array([195, 145]))).all(axis=-1)
    outside = ((where < -6) | (where > np.array([206, 156]))).any(axis=-1)
    assert np.allclose(light[inside], 1, atol=1e-4)
    assert inside.sum() > 500
    assert (light[outside] == 0).all()
    assert outside.sum() > 500


def test_pose_maps_points_there_and_back() -> None:
    pose = ScreenPose.placed((1920, 1080), CAMERA, 0.9, 4, 12, -8, (2, 1), k1=-0.08, k2=0.03)
    points = np.random.default_rng(1).uniform(0, 1, (200, 2)) * [1920, 1080]
    assert np.abs(pose.to_screen(pose.to_camera(points, CAMERA), CAMERA) - points).max() < 1e-6


def test_black_glow_and_room_light_are_added_before_the_film(film: FilmModel) -> None:
    dark = SimulatedCamera(lambda _: flat(0), CAMERA, black_glow=8e-4, room_light=0.01)
    assert np.allclose(dark.irradiance(0.0), 0.0108)
    covered = SimulatedCamera(lambda _: flat(0), CAMERA, film, 4, black_glow=8e-4, room_light=0.01, border="mean")
    assert np.allclose(covered.irradiance(0.0), film.transmittance(4) * 0.0108 + film.veil(4), rtol=1e-5)


def test_lens_blur_is_a_gaussian_of_the_given_width() -> None:
    picture = flat(0)
    picture[24, 32] = 255
    light = SimulatedCamera(lambda _: picture, CAMERA, lens_blur_px=1.5).irradiance(0.0)[..., 1]
    y, x = np.indices(light.shape)
    assert light.sum() == pytest.approx(1, abs=1e-6)
    assert ((x - 32) ** 2 * light).sum() == pytest.approx(1.5**2, rel=0.01)
    assert ((y - 24) ** 2 * light).sum() == pytest.approx(1.5**2, rel=0.01)


@pytest.mark.parametrize("engine", ["exact", "fast"])
def test_noise_has_the_photon_transfer_curves_variance_and_is_fresh_in_every_frame(engine: str) -> None:
    linear = Camera(WIDTH, HEIGHT, 60, eotf="linear", full_well_e=500, read_noise_e=8, prnu=0.02)
    camera = SimulatedCamera(lambda _: flat(188), linear, engine=engine)
    frames = np.stack([camera.read().codes for _ in range(60)]) / 255
    level = float(eotf(np.array(188 / 255)))
    expected = linear.temporal_variance(np.array(level)) + 1 / 255**2 / 12
    assert frames.var(axis=0, ddof=1).mean() == pytest.approx(expected, rel=0.03)
    assert frames.mean() == pytest.approx(level, rel=0.005)
    pattern = frames.mean(axis=0) / level
    assert pattern.std() == pytest.approx(np.hypot(0.02, np.sqrt(expected / 60) / level), rel=0.1)


def test_noise_depends_on_seed_run_and_number_alone() -> None:
    def frames(seed: int, layers_between: bool = False) -> list[np.ndarray]:
        camera = SimulatedCamera(lambda _: flat(120), CAMERA, seed=seed)
        return [camera.read().codes for _ in range(2)]

    assert np.array_equal(frames(3), frames(3))
    assert not np.array_equal(frames(3), frames(4))
    assert not np.array_equal(*frames(3))


def test_exposure_scales_the_signal_and_is_refused_at_zero() -> None:
    linear = Camera(WIDTH, HEIGHT, 60, eotf="linear")
    camera = SimulatedCamera(lambda _: flat(100), linear, noise=False)
    before = camera.read().codes.astype(float)
    assert camera.set_exposure(4.0) == 4.0
    assert np.abs(camera.read().codes - 4 * before).max() <= 2.5
    with pytest.raises(CameraRefusedError, match="above 0, got 0"):
        camera.set_exposure(0.0)


def test_the_cap_takes_all_light_and_layers_may_change_between_shots(film: FilmModel) -> None:
    camera = SimulatedCamera(lambda _: flat(255), CAMERA, film, 0, noise=False)
    bare = camera.read().codes
    camera.layers = 8
    covered = camera.read().codes
    camera.capped = True
    assert bare.min() == 255
    assert covered.max() < 255
    assert camera.read().codes.max() == 0
    camera.layers = 65
    camera.capped = False
    with pytest.raises(ValueError, match="layers must be 0"):
        camera.read()


def test_the_optics_are_computed_once_while_the_picture_stays(film: FilmModel, monkeypatch: pytest.MonkeyPatch) -> None:
    import capture_rig.cameras.simulated_optics as optics

    calls = []
    real = optics.apply_film
    monkeypatch.setattr(optics, "apply_film", lambda *arguments: calls.append(1) or real(*arguments))
    screen = VirtualScreen(WIDTH, HEIGHT)
    camera = SimulatedCamera(screen.at, CAMERA, film, 4)
    screen.show(flat(90))
    for _ in range(5):
        camera.read()
    assert len(calls) == 1
    screen.show(flat(91))
    camera.read()
    assert len(calls) == 2


def test_frame_times_follow_phase_rate_and_drift() -> None:
    camera = SimulatedCamera(lambda _: flat(0), CAMERA, fps=30, phase=0.25, clock_drift=5e-4)
    times = [camera.read().at_s for _ in range(4)]
    assert np.allclose(times, (np.arange(4) + 0.25) / 30 * 1.0005)
    assert [seen.screen_s for seen in camera.truth] == times
    camera.restart()
    first = camera.read()
    assert (first.number, first.at_s) == (0, times[0])
    assert len(camera.truth) == 1


def test_an_open_shutter_gathers_the_time_weighted_mean_of_the_light() -> None:
    screen = VirtualScreen(WIDTH, HEIGHT)
    screen.play([flat(level) for level in (0, 255, 0, 128)], 25)
    # Half a period late, open for the whole period: half of each of two pictures.
    camera = SimulatedCamera(screen.at, CAMERA, fps=25, phase=0.5, shutter=1.0, screen_fps=25, noise=False)
    grey = float(eotf(np.array(128 / 255)))
    expected = [0.5, 0.5, grey / 2]
    for light in expected:
        assert np.abs(camera.read().codes - 255 * inverse_eotf(np.array(light))).max() < ROUNDING


def test_a_short_shutter_within_one_picture_mixes_nothing() -> None:
    screen = VirtualScreen(WIDTH, HEIGHT)
    screen.play([flat(level) for level in (10, 250, 90)], 25)
    camera = SimulatedCamera(screen.at, CAMERA, fps=25, phase=0.3, shutter=0.5, screen_fps=25, noise=False)
    assert [int(camera.read().codes[0, 0, 0]) for _ in range(3)] == [10, 250, 90]


def test_lost_frames_leave_the_gaps_that_truth_lists() -> None:
    camera = SimulatedCamera(lambda _: flat(0), CAMERA, drop_rate=0.2, seed=7, noise=False)
    numbers = [camera.read().number for _ in range(200)]
    dropped = [seen.number for seen in camera.truth if seen.fate == DROPPED]
    assert sorted(numbers + dropped) == list(range(numbers[-1] + 1))
    assert 25 < len(dropped) < 75
    assert all(seen.serial is None for seen in camera.truth if seen.fate == DROPPED)


def test_silent_losses_leave_no_gap_in_the_numbers_but_stand_in_truth() -> None:
    camera = SimulatedCamera(lambda _: flat(0), CAMERA, drop_rate=0.2, silent_drops=True, seed=7, noise=False)
    assert [camera.read().number for _ in range(50)] == list(range(50))
    assert sum(seen.fate == DROPPED for seen in camera.truth) > 3


def test_a_doubled_frame_is_the_one_before_once_more() -> None:
    camera = SimulatedCamera(lambda _: flat(100), CAMERA, double_rate=0.4, seed=2)
    frames = [camera.read().codes for _ in range(40)]
    fates = [seen.fate for seen in camera.truth]
    assert set(fates) == {SEEN, DOUBLED}
    for k, fate in list(enumerate(fates))[1:]:
        assert np.array_equal(frames[k], frames[k - 1]) == (fate == DOUBLED)


def test_exposure_wanders_by_the_given_share() -> None:
    linear = Camera(WIDTH, HEIGHT, 60, eotf="linear", bits=16)
    camera = SimulatedCamera(lambda _: flat(128), linear, exposure_wander=0.01, noise=False)
    means = np.array([camera.read().codes.mean() for _ in range(200)])
    assert means.std() / means.mean() == pytest.approx(0.01, rel=0.2)
    assert np.allclose(means / means[0], [seen.exposure / camera.truth[0].exposure for seen in camera.truth], atol=1e-3)


def test_facts_say_that_it_is_simulated_and_tell_the_whole_truth(film: FilmModel) -> None:
    import json

    pose = ScreenPose.placed((WIDTH, HEIGHT), CAMERA, 0.9, 2)
    facts = SimulatedCamera(lambda _: flat(0), CAMERA, film, 3, pose, clock_drift=5e-4, seed=11).facts
    assert facts.simulated
    assert facts.details["film"] == {"name": film.name, "checksum": film.checksum()}
    told = json.loads(json.dumps(facts.to_dict()))["details"]
    assert (told["layers"], told["clock_drift"], told["seed"]) == (3, 5e-4, 11)
    assert told["pose"]["homography"] == [list(row) for row in pose.homography]


def test_an_unplugged_or_closed_camera_is_lost() -> None:
    camera = SimulatedCamera(lambda _: flat(0), CAMERA)
    camera.unplugged = True
    with pytest.raises(CameraLostError, match="unplugged"):
        camera.read()
    camera.unplugged = False
    with camera:
        camera.read()
    with pytest.raises(CameraLostError, match="closed"):
        camera.read()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fps": 0}, "fps must be above 0"),
        ({"shutter": 1.5}, "shutter must be 0..1, got 1.5"),
        ({"drop_rate": 0.6, "double_rate": 0.5}, "must be below 1, got 1.1"),
        ({"layers": 2}, "film must be given where layers > 0"),
        ({"engine": "slow"}, "engine"),
        ({"lens_blur_px": -1}, "lens_blur_px must be >= 0"),
        ({"clock_drift": 2}, "clock_drift must be between"),
    ],
)
def test_wrong_arguments_are_named_with_value_and_rule(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimulatedCamera(lambda _: flat(0), CAMERA, **arguments)


def test_a_screen_out_of_view_is_an_error_not_a_dark_picture() -> None:
    pose = ScreenPose.placed((WIDTH, HEIGHT), CAMERA, 0.5, shift_px=(500, 0))
    with pytest.raises(ValueError, match="outside the camera's view"):
        SimulatedCamera(lambda _: flat(0), CAMERA, pose=pose).read()


def test_a_view_that_gives_no_screen_codes_is_refused() -> None:
    with pytest.raises(ValueError, match="view must give screen codes"):
        SimulatedCamera(lambda _: np.zeros((HEIGHT, WIDTH, 3)), CAMERA).read()
