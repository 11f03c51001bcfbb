"""The whole desk: Chromium shows, a simulated camera photographs its screenshots through film, a film is fitted."""

import time

import numpy as np
import pytest

from capture_rig.cameras.pose import ScreenPose
from capture_rig.cameras.simulated import SimulatedCamera
from capture_rig.capture import CaptureRun
from capture_rig.display.server import RigServer
from capture_rig.plan import Plan, plan_shots
from capture_rig.registration import register_session
from capture_rig.session import Session
from lps_sim import Camera, FilmModel
from lps_sim.calibration.calibrate import calibrate
from lps_sim.calibration.session_file import read_session
from lps_sim.calibration.shots import ShotGeometry, ShotSet

from .browser import ScreenshotScreen

pytestmark = pytest.mark.browser

DISPLAY = (480, 270)
CAMERA = Camera.from_field_of_view(240, 136, 50.0)
POSE = ScreenPose.placed(DISPLAY, CAMERA, fill=0.94, tilt_deg=3, pan_deg=-4, k1=-0.05)
FILM = FilmModel.load("p3ar-10layer")
LAYERS = (1, 4, 8)
# What is asked for: the largest error of the MTF at N = 8 from 1 cycle/rad on, and registration in camera px.
MTF, BARE_PX, FILM_PX = 0.02, 0.1, 1.0


def plan() -> Plan:
    measured = plan_shots(LAYERS, kinds=("flat", "edge", "hole", "noise"), frames=3)
    placed = plan_shots((8,), kinds=("fringe",), periods_px=(8, 32, 128, 1024), frames=2, dark="none")
    known = {shot.name for shot in measured.shots}
    shots = (*measured.shots, *(shot for shot in placed.shots if shot.name not in known))
    return Plan(shots=tuple(sorted(shots, key=lambda shot: shot.layers)))


@pytest.fixture(scope="module")
def session(chromium, tmp_path_factory):
    """A session taken from the operator's page, whose Start key is pressed."""
    path = tmp_path_factory.mktemp("desk") / "desk.h5"
    with RigServer(size=DISPLAY) as server:
        screen = ScreenshotScreen(server, chromium, *DISPLAY)
        camera = SimulatedCamera(screen.at, CAMERA, FILM, pose=POSE, lens_blur_px=0.6)
        geometry = ShotGeometry(
            film_distance_m=FILM.geometry.film_distance_m, target_distance_m=FILM.geometry.target_distance_m
        )
        with Session.create(path, plan(), screen.facts, camera.facts, CAMERA, geometry) as recording:
            server.run = run = CaptureRun(recording, screen, camera, keep_frames=False)
            operator = chromium.open(server.operator_url, 1200, 800)
            end = time.monotonic() + 300
            # Asked again and again: the browser's thread must stay free, since the camera takes its screenshots there.
            while not operator.do(lambda page: page.locator("#shots [role=option]").count()):
                assert time.monotonic() < end
                time.sleep(0.1)
            operator.do(lambda page: page.keyboard.press("s"))
            while run.state()["phase"] != "done" and time.monotonic() < end:
                assert run.state()["phase"] != "paused", run.state()["message"]
                time.sleep(0.1)
            told = operator.do(lambda page: page.inner_text("#count"))
            errors = [*operator.errors, *screen.page.errors]
            operator.close()
        screen.close()
    return path, told, errors


def test_every_shot_is_taken_from_the_operators_page_without_an_error_in_a_console(session):
    path, told, errors = session
    content = read_session(path)
    assert not content.lacking
    assert told == f"{len(content.plan)} of {len(content.plan)} done"
    assert errors == []
    assert content.screen["width_px"] == DISPLAY[0]
    assert content.simulated


def test_the_film_fitted_to_the_session_has_the_mtf_of_the_true_one_at_a_layer_count_it_never_saw(session):
    path, *_ = session
    result = calibrate(
        ShotSet.load(path), layers=(1, 4), family=FILM.family, geometry="equal_area", law="poisson", jackknife=False
    )
    q = np.geomspace(1, CAMERA.nyquist_cpr, 40)
    for count in LAYERS:
        assert np.abs(result.film.mtf(q, count) - FILM.mtf(q, count)).max() < MTF


def test_fringes_tell_where_the_screen_is_bare_and_through_eight_layers(session):
    path, *_ = session
    grid = np.stack(np.meshgrid(np.linspace(0, 479, 13), np.linspace(0, 269, 9)), axis=-1)
    for count, limit in ((0, BARE_PX), (8, FILM_PX)):
        view = register_session(path, count, "fringes")
        away = view.to_camera(grid) - POSE.to_camera(grid, CAMERA)
        assert np.sqrt((away**2).sum(axis=-1).mean()) < limit
