"""Sessions as calibration sets: means of frames with measured noise, and the film they give."""

import dataclasses

import numpy as np
import pytest

from capture_rig.cameras.protocol import CameraFacts, Frame
from capture_rig.plan import Plan, PlannedShot
from capture_rig.screens import ScreenFacts
from capture_rig.session import Session
from lps_sim import Camera
from lps_sim.calibration.merge import undithered, variance
from lps_sim.calibration.session_file import (
    FULL_SCALE,
    camera_of_frames,
    camera_of_means,
    mean_codes,
    measured_noise,
    photon_transfer,
    read_frames,
    read_session,
)
from lps_sim.calibration.shots import ShotSet
from lps_sim.seeding import named_rng

CAMERA = Camera(120, 80, 150.0, full_well_e=9000, read_noise_e=5.0, prnu=0.0)
SCREEN = ScreenFacts(120, 80, "test screen")
FACTS = CameraFacts("test camera", "simulated", 120, 80, simulated=True)
FRAMES = 6
# Full well from some 10^6 differences of two codes; the fixed pattern is off. Rounding to 8 bits adds 2 to 6 %.
NOISE_TOLERANCE = 0.08


def ramp(camera=CAMERA, low=0.03, high=0.85):
    row = np.linspace(low, high, camera.width)
    return np.repeat(np.repeat(row[None, :, None], camera.height, axis=0), 3, axis=2)


def frames_of(light, count=FRAMES, camera=CAMERA, name="frames"):
    codes = [camera.sense(light, named_rng(0, name, number)) for number in range(count)]
    return [Frame(one, number / 25, number) for number, one in enumerate(codes)]


def stack(frames):
    return np.stack([frame.codes for frame in frames])


def shot(name, **fields):
    fields = {"target": "flat", "scene": "flat", "kind": "flat", "layers": 0, **fields}
    return PlannedShot(name=name, **fields)


def test_the_mean_of_frames_is_the_light_and_saturated_pixels_stay_saturated():
    light = ramp(high=1.3)
    codes = mean_codes(stack(frames_of(light, 40)), CAMERA)
    clear = light < 0.8
    assert np.abs(dataclasses.replace(CAMERA, bits=16).decode(codes)[clear] - light[clear]).mean() < 0.003
    assert (codes[light > 1.1] == FULL_SCALE).all()
    assert codes[clear].max() < 250 / 255 * FULL_SCALE


def test_full_well_and_read_noise_are_measured_from_the_frames():
    camera = Camera(120, 80, 150.0, full_well_e=6000, read_noise_e=20.0, prnu=0.0, bits=8)
    dark, bright = (
        photon_transfer(stack(frames_of(ramp(camera, *ends), 24, camera)), camera)
        for ends in ((0.02, 0.1), (0.1, 0.85))
    )
    found = measured_noise([dark, bright], Camera(120, 80, 150.0))
    assert found.full_well_e == pytest.approx(6000, rel=NOISE_TOLERANCE)
    assert found.read_noise_e == pytest.approx(20, rel=0.25)


def test_a_light_that_flickers_as_a_whole_is_no_noise():
    steady, lamp = frames_of(ramp()), [1.0, 1.04, 0.97, 1.02, 0.99, 1.03]
    wandering = [Frame(CAMERA.sense(ramp() * level, named_rng(1, "lamp", k)), k, k) for k, level in enumerate(lamp)]
    wells = [measured_noise([photon_transfer(stack(one), CAMERA)], CAMERA).full_well_e for one in (steady, wandering)]
    assert wells[1] == pytest.approx(wells[0], rel=0.1)


def test_a_single_frame_tells_no_noise_and_the_camera_model_stands():
    table = photon_transfer(stack(frames_of(ramp(), 1)), CAMERA)
    assert not table.any()
    assert measured_noise([table], CAMERA) == CAMERA


def test_a_mean_of_k_frames_has_the_noise_of_k_times_the_full_well(tmp_path):
    light = np.full((80, 120, 3), 0.4)
    plan = Plan(shots=(shot("a", frames=16), shot("b", frames=16)))
    with Session.create(tmp_path / "s.h5", plan, SCREEN, FACTS, CAMERA) as session:
        for number, planned in enumerate(session.planned):
            session.add_shot(planned, frames_of(light, 16, name=f"shot {number}"), 1.0)
    content = read_session(tmp_path / "s.h5")
    single = camera_of_frames(tmp_path / "s.h5", content)
    camera = camera_of_means(single, content)
    found = ShotSet.load(tmp_path / "s.h5")
    means = [camera.decode(found.codes(one)).astype(float) for one in found.shots]
    measured = np.var(means[0] - means[1]) / 2
    expected = variance(camera, np.array(0.4), 1.0, single)
    assert measured == pytest.approx(float(expected), rel=0.08)
    assert found.camera == camera
    assert found.recorded == single
    assert found.simulated


def test_rounding_that_no_noise_dithers_stays_an_error_of_the_mean():
    quiet = Camera(40, 30, 50.0, full_well_e=1e10, read_noise_e=0.1, prnu=0.0)
    # whole steps, from the middle between two codes on
    ends = quiet.decode(np.array([131, 132, 145, 146], np.uint8)).astype(float)
    light = np.linspace(ends[:2].mean(), ends[2:].mean(), 1200).reshape(30, 40, 1).repeat(3, axis=2)
    codes = mean_codes(stack(frames_of(light, 12, quiet)), quiet)
    error = dataclasses.replace(quiet, bits=16).decode(codes) - light
    step = np.diff(quiet.decode(np.array([138, 139], np.uint8)))[0]  # the middle one
    assert np.sqrt((error**2).mean()) == pytest.approx(step / 12**0.5, rel=0.1)
    # the amplitude of its first harmonic
    assert float(undithered(quiet, np.array(quiet.decode(np.uint8(138))))) == pytest.approx(step / np.pi, rel=0.05)
    noisy = Camera(40, 30, 50.0, full_well_e=2000, read_noise_e=20.0)
    assert float(undithered(noisy, np.array(0.25))) < 1e-3 * step


def test_damaged_shots_are_named_and_not_used(tmp_path):
    path = tmp_path / "s.h5"
    with Session.create(path, Plan(shots=(shot("a"),)), SCREEN, FACTS, CAMERA) as session:
        session.add_shot(session.planned[0], frames_of(ramp()), 1.0)
    import h5py

    with h5py.File(path, "r+") as file:
        file["shots/a.1/mean"][3, 4] = 7
        file["shots/a.1/frames"][0, 0, 0] = 9
    with pytest.raises(ValueError, match=r"shot a is damaged: its checksum is another; repeat it"):
        ShotSet.load(path)
    with pytest.raises(ValueError, match=r"frames of shot a are damaged"):
        read_frames(path, read_session(path).shots[0])


def test_files_that_are_no_session_or_of_a_newer_program_are_refused(tmp_path):
    import h5py

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["something"] = 1
    with pytest.raises(ValueError, match="is no session file"):
        ShotSet.load(tmp_path / "other.h5")
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file.attrs["lps_session"] = 99
    with pytest.raises(ValueError, match=r"newer program \(schema 99, this one reads 1\)"):
        read_session(tmp_path / "new.h5")
    (tmp_path / "torn.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match="cannot be read as a session"):
        read_session(tmp_path / "torn.h5")


def test_a_session_without_the_bare_shot_of_a_scene_says_what_is_not_taken_yet(tmp_path):
    plan = Plan(shots=(shot("bare"), shot("filmed", layers=2)))
    with Session.create(tmp_path / "s.h5", plan, SCREEN, FACTS, CAMERA) as session:
        with pytest.raises(ValueError, match="no shot was taken yet; of the plan are left: bare, filmed"):
            ShotSet.load(tmp_path / "s.h5")
        session.add_shot(session.planned[1], frames_of(ramp()), 1.0)
    with pytest.raises(ValueError, match=r"no bare shot; .* 1 planned shots are not taken yet: bare"):
        ShotSet.load(tmp_path / "s.h5")
