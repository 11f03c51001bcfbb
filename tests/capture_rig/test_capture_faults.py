"""What goes wrong while shots are taken: refused exposures, lost cameras, exposures too near the top."""

import pytest

from capture_rig.cameras.protocol import CameraRefusedError
from capture_rig.cameras.simulated import SimulatedCamera
from capture_rig.capture import CaptureRun
from capture_rig.check import check_session
from capture_rig.plan import plan_shots
from capture_rig.screens import VirtualScreen
from capture_rig.session import Session
from lps_sim import Camera, FilmModel

SIZE = (96, 54)
FILM = FilmModel.load("rough")
PLAN = plan_shots((1,), ("edge", "flat"), frames=2)


class ShortRange(SimulatedCamera):
    """A camera that takes no exposure beyond four times its base."""

    def set_exposure(self, exposure):
        if exposure > 4:
            raise CameraRefusedError(f"exposure must be at most 4, got {exposure:g}")
        return super().set_exposure(exposure)


def bench(tmp_path, kind=SimulatedCamera, plan=PLAN, **fields):
    """A screen, a camera before it, and a new session."""
    screen = VirtualScreen(*SIZE)
    model = Camera.from_field_of_view(*SIZE, 70.0, **fields)
    camera = kind(screen.at, model, FILM, lens_blur_px=0.6)
    return screen, camera, Session.create(tmp_path / "s.h5", plan, screen.facts, camera.facts, model)


def test_an_exposure_out_of_reach_leaves_out_its_shot_and_no_other(tmp_path):
    screen, camera, made = bench(tmp_path, ShortRange)
    with made as session:
        run = CaptureRun(session, screen, camera)
        assert not run.run_all()
        state = run.state()
        left_out = [shot["name"] for shot in state["shots"] if shot["status"] == "failed"]
        assert left_out == session.content.lacking
        assert left_out == [shot.name for shot in PLAN.shots if shot.factor == 8]
        assert "range: N00_edge_h_x8" in state["message"]
        assert "at most 4" in next(shot["note"] for shot in state["shots"] if shot["status"] == "failed")


def test_a_camera_that_was_lost_is_opened_again_by_start_and_nothing_is_taken_twice(tmp_path):
    screen, camera, made = bench(tmp_path)
    spare = SimulatedCamera(screen.at, camera.camera, FILM)

    def pull_the_plug(done):
        camera.unplugged = done == 5

    with made as session:
        run = CaptureRun(session, screen, camera, reopen=lambda: spare)
        assert not run.run_all(on_shot=pull_the_plug)
        message = run.state()["message"]
        assert "unplugged" in message
        assert "Nothing stored is lost" in message
        run.preview()
        assert run.state()["message"] == message  # the cure stays readable
        kept = [shot.sha256 for shot in session.content.shots]
        assert len(kept) == 5
        run.start()
        run.join(60)
        assert run.state()["phase"] == "done"
        assert [shot.sha256 for shot in session.content.shots][:5] == kept


@pytest.mark.parametrize("white", [0.90, 0.915, 0.93])
def test_metering_leaves_room_for_the_noise_of_every_frame(tmp_path, white):
    """The screen's white stands near the top at the camera's base exposure, which must not be near enough."""
    plan = plan_shots((1,), ("edge", "flat"), frames=8)
    screen, camera, made = bench(tmp_path, plan=plan, exposure=white)
    with made as session:
        assert CaptureRun(session, screen, camera).run_all()
    clipping = [one.check for one in check_session(tmp_path / "s.h5") if one.check.name.startswith("clipping")]
    assert clipping
    assert {check.status for check in clipping} == {"ok"}
