"""Sessions while they are recorded: whole after every shot, resumed, refused where they must be."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from capture_rig.cameras.protocol import CameraFacts, Frame
from capture_rig.plan import Plan, PlannedShot
from capture_rig.screens import ScreenFacts
from capture_rig.session import Session, damaged_shots
from lps_sim import Camera
from lps_sim.calibration.session_file import read_frames, read_mean, read_session

CAMERA = Camera(48, 36, 60.0)
SCREEN = ScreenFacts(48, 36, "test screen")
FACTS = CameraFacts("test camera", "simulated", 48, 36, simulated=True)


def plan_of(count):
    shots = [PlannedShot(name=f"s{n:03d}", target="flat", scene="flat", layers=0, frames=2) for n in range(count)]
    return Plan(shots=tuple(shots))


def frames_of(number, count=2):
    rng = np.random.default_rng(number)
    return [Frame(rng.integers(10, 200, (36, 48, 3), dtype=np.uint8), k / 25, k) for k in range(count)]


def created(path, count=3):
    return Session.create(path, plan_of(count), SCREEN, FACTS, CAMERA, notes="first line")


def test_a_session_holds_what_was_stored_and_says_what_lacks(tmp_path):
    path = tmp_path / "s.h5"
    with created(path) as session:
        session.add_shot(session.planned[1], frames_of(1), 2.5, note="odd")
        session.add_note("second line")
    content = read_session(path)
    assert content.lacking == ["s000", "s002"]
    (stored,) = content.shots
    assert (stored.name, stored.exposure, stored.frames, stored.note) == ("s001", 2.5, 2, "odd")
    assert np.array_equal(read_frames(path, stored), np.stack([frame.codes for frame in frames_of(1)]))
    assert content.notes == "first line\nsecond line"
    assert content.camera == CAMERA
    assert content.screen == SCREEN.to_dict()
    assert damaged_shots(path) == []


def test_a_shot_taken_again_counts_and_its_first_try_stays(tmp_path):
    import h5py

    path = tmp_path / "s.h5"
    with created(path) as session:
        session.add_shot(session.planned[0], frames_of(1), 1.0)
        session.add_shot(session.planned[0], frames_of(2), 2.0, keep_frames=False)
    (stored,) = read_session(path).shots
    assert stored.exposure == 2.0
    assert not read_frames(path, stored).size
    assert read_mean(path, stored).shape == (36, 48, 3)
    with h5py.File(path, "r") as file:
        assert sorted(file["shots"]) == ["s000.1", "s000.2"]


def test_another_process_is_kept_out_while_one_records_and_may_read(tmp_path):
    path = tmp_path / "s.h5"
    with created(path) as session:
        session.add_shot(session.planned[0], frames_of(0), 1.0)
        with pytest.raises(ValueError, match=rf"another process \({os.getpid()}\) records it"), Session.open(path):
            pass
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(read_session, (path,)).lacking == ["s001", "s002"]
    with Session.open(path) as again:
        assert again.content.lacking == ["s001", "s002"]


def test_wrong_sessions_and_shots_are_refused_with_the_rule(tmp_path):
    path = tmp_path / "s.h5"
    with pytest.raises(FileNotFoundError), Session.open(path):
        pass
    wrong = Camera(40, 36, 60.0)
    with pytest.raises(ValueError, match=r"camera's 48x36 pixels and 8 bits, got 40x36"):
        Session.create(path, plan_of(1), SCREEN, FACTS, wrong).__enter__()
    with created(path) as session:
        planned = session.planned[0]
        with pytest.raises(ValueError, match="shot must be one of the plan, got 'other'"):
            session.add_shot(planned.model_copy(update={"name": "other"}), frames_of(0), 1.0)
        with pytest.raises(ValueError, match="must be one or more, got none"):
            session.add_shot(planned, [], 1.0)
        with pytest.raises(ValueError, match=r"must be unsigned \(36, 48, 3\), got uint8 \(20, 48, 3\)"):
            session.add_shot(planned, [Frame(np.zeros((20, 48, 3), np.uint8), 0, 0)], 1.0)
        assert session.content.lacking == ["s000", "s001", "s002"]
    with pytest.raises(ValueError, match="exists already"):
        created(path).__enter__()


RECORDS = """
import sys
from capture_rig.session import Session
from tests.capture_rig.test_session import frames_of
with Session.open(sys.argv[1]) as session:
    for shot in session.planned:
        if shot.name in session.content.lacking:
            session.add_shot(shot, frames_of(int(shot.name[1:])), 1.0)
            print(shot.name, flush=True)
"""


def test_nothing_stored_is_lost_when_the_recording_process_is_killed_at_random_moments(tmp_path):
    path, chance = tmp_path / "s.h5", np.random.default_rng(4)
    with created(path, 400):
        pass
    promised = 0
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", RECORDS, str(path)], stdout=subprocess.PIPE, text=True)
        first = process.stdout.readline()
        assert first
        time.sleep(chance.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        promised += 1 + len(process.communicate()[0].split())
        content = read_session(path)
        assert promised <= len(content.shots) <= promised + 1
        promised = len(content.shots)
        assert damaged_shots(path) == []
    for stored in read_session(path).shots:
        expected = np.stack([frame.codes for frame in frames_of(int(stored.name[1:]))])
        assert np.array_equal(read_frames(path, stored), expected)


FULL = """
import resource, sys
from capture_rig.session import Session
from tests.capture_rig.test_session import frames_of
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
stored = 0
with Session.open(sys.argv[1]) as session:
    try:
        for shot in session.planned:
            session.add_shot(shot, frames_of(int(shot.name[1:])), 1.0)
            stored += 1
    except OSError as error:
        print(stored, error)
"""


def test_a_file_that_may_not_grow_keeps_what_was_stored_and_goes_on_when_there_is_room(tmp_path):
    path = tmp_path / "s.h5"
    with created(path, 30):
        pass
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    stored, reason = done.stdout.split(maxsplit=1)
    assert 1 <= int(stored) < 30
    assert "too large" in reason
    assert len(read_session(path).shots) == int(stored)
    assert damaged_shots(path) == []
    with Session.open(path) as session:
        session.add_shot(session.planned[-1], frames_of(29), 1.0)
    assert len(read_session(path).shots) == int(stored) + 1
