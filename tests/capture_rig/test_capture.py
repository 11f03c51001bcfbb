"""The capture loop in front of a simulated desk: order, exposures, and what happens when things go wrong."""

import dataclasses
import shutil
import time

import h5py
import numpy as np
import pytest

from capture_rig.cameras.pose import ScreenPose
from capture_rig.cameras.protocol import CameraLostError
from capture_rig.cameras.simulated import SimulatedCamera
from capture_rig.capture import CaptureRun
from capture_rig.check import check_session, finished_layers
from capture_rig.plan import plan_shots
from capture_rig.screens import ScreenLostError, VirtualScreen
from capture_rig.session import Session
from lps_sim import Camera, FilmModel
from lps_sim.calibration.session_file import read_mean, read_session
from lps_sim.calibration.shots import ShotGeometry, ShotSet
from lps_sim.operator import apply_film

CAMERA = Camera.from_field_of_view(96, 54, 50.0)
FILM = FilmModel.load("rough")
KINDS = ("edge", "hole", "flat")


class Desk:
    """A screen, a simulated camera before it, and a session that is being recorded."""

    def __init__(self, path, plan, **camera):
        self.screen = VirtualScreen(192, 108)
        pose = ScreenPose.placed((192, 108), CAMERA, fill=0.9)
        self.camera = SimulatedCamera(self.screen.at, CAMERA, FILM, pose=pose, lens_blur_px=0.5, **camera)
        geometry = ShotGeometry(film_distance_m=0.0, target_distance_m=1.0)
        self.recording = Session.create(path, plan, self.screen.facts, self.camera.facts, CAMERA, geometry)

    def __enter__(self):
        self.session = self.recording.__enter__()
        return self, CaptureRun(self.session, self.screen, self.camera)

    def __exit__(self, *error):
        self.recording.__exit__(*error)


def small_plan():
    return plan_shots((1, 4), kinds=KINDS, frames=3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("desk") / "s.h5"
    with Desk(path, small_plan()) as (_, run):
        assert run.run_all()
        state = run.state()
    return path, state


def test_every_planned_shot_is_taken_and_the_gate_has_looked(finished):
    path, state = finished
    assert {shot["status"] for shot in state["shots"]} == {"done"}
    assert state["done"] == len(small_plan().shots)
    assert not state["running"]
    assert state["simulated"]
    assert [check["status"] for check in state["checks"]].count("fail") == 0
    assert finished_layers(read_session(path)) == [0, 1, 4]


def test_exposures_bring_the_brightest_pixels_near_full_scale_and_brackets_are_exact_multiples(finished):
    path, _ = finished
    shots = {shot.name: shot for shot in read_session(path).shots}
    for count in ("N00", "N01", "N04"):
        short, long = shots[f"{count}_hole_x1"], shots[f"{count}_hole_x8"]
        assert long.exposure / short.exposure == pytest.approx(8, rel=1e-5)
        light = dataclasses.replace(CAMERA, bits=16).decode(read_mean(path, short))
        assert 0.7 < np.quantile(light, 0.999) < 0.9
        assert shots[f"{count}_flat_x1"].exposure == shots[f"{count}_flat_x1_again"].exposure


def test_light_times_exposure_is_what_the_film_lets_through(finished):
    path, _ = finished
    found = ShotSet.load(path)
    levels = {}
    for shot in found.select(scene="flat"):
        light = found.camera.decode(found.codes(shot)) / shot.exposure
        levels.setdefault(shot.layers, []).append(float(light[20:34, 40:56, 1].mean()))
    # The middle of a lit rectangle, by the operator that simulated it.
    lit = np.zeros((54, 96, 3))
    lit[3:51, 5:91] = 1.0
    for count in (1, 4):
        expected = apply_film(lit, FILM, count, CAMERA, border="dark")[20:34, 40:56, 1].mean()
        assert np.mean(levels[count]) / np.mean(levels[0]) == pytest.approx(expected, rel=0.02)


def test_a_simulated_hand_adds_film_and_takes_the_cap_off(tmp_path):
    seen = []
    with Desk(tmp_path / "s.h5", small_plan()) as (desk, run):
        read = desk.camera.read

        def noted(timeout_s=2.0):
            seen.append((desk.camera.layers, desk.camera.capped))
            return read(timeout_s)

        desk.camera.read = noted
        run.run_all()
    assert list(dict.fromkeys(seen)) == [(0, True), (0, False), (1, False), (4, False)]


def test_a_camera_unplugged_in_mid_shot_pauses_the_run_and_nothing_stored_is_lost(tmp_path):
    path = tmp_path / "s.h5"
    with Desk(path, small_plan()) as (desk, run):
        read, left = desk.camera.read, iter(range(30))

        def failing(timeout_s=2.0):
            if next(left, None) is None:
                raise CameraLostError("unplugged")
            return read(timeout_s)

        desk.camera.read = failing
        assert not run.run_all()
        stored = [shot.name for shot in read_session(path).shots]
        state = run.state()
        assert state["phase"] == "paused"
        assert "camera: unplugged; plug it in or free it, then start again. Nothing stored is lost" in state["message"]
        assert [shot["status"] for shot in state["shots"]].count("failed") == 1
        assert stored
        desk.camera.read = read
        assert run.run_all()
        assert [shot.name for shot in read_session(path).shots][: len(stored)] == stored
        assert {shot["status"] for shot in run.state()["shots"]} == {"done"}


def test_a_lost_screen_and_a_full_disk_are_told_with_their_cure(tmp_path, monkeypatch):
    with Desk(tmp_path / "s.h5", small_plan()) as (desk, run):
        show = desk.screen.show
        monkeypatch.setattr(desk.screen, "show", lambda *a: (_ for _ in ()).throw(ScreenLostError("page closed")))
        assert not run.run_all()
        assert "screen: page closed; open the display page again" in run.state()["message"]
        monkeypatch.setattr(desk.screen, "show", show)
        full = OSError(28, "No space left on device")
        monkeypatch.setattr(desk.session, "add_shot", lambda *a: (_ for _ in ()).throw(full))
        assert not run.run_all()
        assert "cannot be written: No space left on device; make room" in run.state()["message"]


def wait_until(condition, timeout_s=20.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


class RealDesk:
    """A simulated camera that claims to be real: film is asked for, and frames have the machine's times."""

    def __init__(self, camera):
        self._camera = camera

    @property
    def facts(self):
        return dataclasses.replace(self._camera.facts, simulated=False)

    def set_exposure(self, exposure):
        return self._camera.set_exposure(exposure)

    def read(self, timeout_s=2.0):
        time.sleep(0.002)
        return dataclasses.replace(self._camera.read(timeout_s), at_s=time.monotonic())


def test_an_operator_confirms_film_stops_starts_and_repeats(tmp_path):
    path = tmp_path / "s.h5"
    plan = plan_shots((2,), kinds=("flat",), frames=2, dark="none")
    with Desk(path, plan) as (desk, _):
        run = CaptureRun(desk.session, desk.screen, RealDesk(desk.camera), settle_s=0.01)
        with pytest.raises(ValueError, match="nothing is waited for"):
            run.confirm(0)
        run.start()
        with pytest.raises(ValueError, match="running already"):
            run.start()
        wait_until(lambda: run.state()["waiting_for"])
        assert run.state()["waiting_for"] == {
            "layers": 0,
            "capped": False,
            "text": "lens cap off, no film before the camera, then continue",
        }
        with pytest.raises(ValueError, match="layers must be 0, which are waited for, got 2"):
            run.confirm(2)
        run.confirm(0)
        wait_until(lambda: (run.state()["waiting_for"] or {}).get("layers") == 2)
        run.stop()
        run.join(10)
        assert not run.running
        assert run.state()["message"].startswith("stopped")
        bare = [shot["name"] for shot in run.state()["shots"] if shot["status"] == "done"]
        assert bare == ["N00_off", "N00_flat_x1", "N00_flat_x1_again"]

        with pytest.raises(ValueError, match="must be one of the plan, got 'nothing'"):
            run.repeat("nothing")
        run.repeat("N00_flat_x1")
        run.start()
        wait_until(lambda: (run.state()["waiting_for"] or {}).get("layers") == 2)  # the bare shot is taken by then
        desk.camera.layers = 2
        run.confirm(2)
        run.join(20)
        assert run.state()["phase"] == "done"
        assert not read_session(path).lacking
    with h5py.File(path, "r") as file:
        assert {"N00_flat_x1.1", "N00_flat_x1.2", "N02_flat_x1.1"} <= set(file["shots"])


def test_no_frame_counts_that_began_before_the_screen_had_confirmed(tmp_path):
    plan = plan_shots((2,), kinds=("flat",), frames=2, dark="none")
    with Desk(tmp_path / "s.h5", plan) as (desk, _):
        late = RealDesk(desk.camera)
        shown, used = [], []
        show, add = desk.screen.show, desk.session.add_shot

        def slow(codes, label=""):
            time.sleep(0.03)
            shown.append(show(codes, label))
            return shown[-1]

        def noted(shot, frames, *rest):
            used.append((shown[-1].at_s, frames[0].at_s))
            add(shot, frames, *rest)

        desk.screen.show, desk.session.add_shot = slow, noted
        CaptureRun(desk.session, desk.screen, late, settle_s=0.05).run_all(on_wait=lambda wanted: None)
    assert len(used) == len(plan.shots)
    assert all(first >= confirmed + 0.05 for confirmed, first in used)


def test_the_preview_tells_clipping_and_sharpness(tmp_path):
    with Desk(tmp_path / "s.h5", small_plan()) as (desk, run):
        desk.screen.show(np.full((108, 192), 255, np.uint8))
        desk.camera.set_exposure(3.0)
        bright = run.preview()
        assert bright.clipped_share > 0.5
        assert bright.histogram.sum(axis=1) == pytest.approx([1, 1, 1])
        desk.camera.set_exposure(0.5)
        stripes = np.zeros((108, 192), np.uint8)
        stripes[:, ::8] = stripes[:, 1::8] = stripes[:, 2::8] = stripes[:, 3::8] = 200
        desk.screen.show(stripes)
        sharp = run.preview().focus
        desk.camera.layers = 8
        assert run.preview().focus < 0.5 * sharp


def test_a_check_that_fails_names_the_shots_to_take_again(finished, tmp_path):
    path, _ = finished
    shutil.copy(path, tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:  # as if the driver had taken another exposure than it said
        file["shots/N00_flat_x1_again.1"].attrs["exposure"] *= 1.3
    wrong = [found for found in check_session(tmp_path / "s.h5") if found.check.status == "fail"]
    assert any("N00_flat_x1_again" in found.shots for found in wrong)
    assert all(not found.shots for found in check_session(path) if found.check.status == "ok")
