"""Cameras through OpenCV, without one: a driver in memory that obeys, ignores, stalls or goes away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture_rig.cameras.opencv import OpenCVCamera
from capture_rig.cameras.protocol import CameraLostError, CameraRefusedError, CameraSettings, SettingFact
from lps_sim.media import write_video

RED = (200, 30, 10)
ASKED = CameraSettings(width=64, height=48, fps=100, exposure_s=0.01, gain=7, white_balance_k=5000, focus=20)


class Driver:
    """What cv2.VideoCapture does for a V4L2 camera, with faults on request."""

    def __init__(self, ignored: tuple[int, ...] = (), refused: tuple[int, ...] = (), backend: str = "V4L2") -> None:
        self.values: dict[int, float] = {
            cv2.CAP_PROP_FRAME_WIDTH: 64,
            cv2.CAP_PROP_FRAME_HEIGHT: 48,
            cv2.CAP_PROP_FPS: 100,
            cv2.CAP_PROP_AUTO_EXPOSURE: 3,
            cv2.CAP_PROP_EXPOSURE: 333,
            cv2.CAP_PROP_AUTO_WB: 1,
            cv2.CAP_PROP_WB_TEMPERATURE: 4000,
            cv2.CAP_PROP_AUTOFOCUS: 1,
            cv2.CAP_PROP_FOCUS: 0,
            cv2.CAP_PROP_GAIN: 0,
        }
        self.ignored, self.refused, self.backend = ignored, refused, backend
        self.unplugged = self.released = False
        self.hold = threading.Event()
        self.hold.set()
        self.frames = 0
        self.threads: set[int] = set()

    def isOpened(self) -> bool:
        return True

    def getBackendName(self) -> str:
        return self.backend

    def set(self, prop: int, value: float) -> bool:
        self.threads.add(threading.get_ident())
        if prop in self.refused:
            return False
        if prop not in self.ignored:
            self.values[prop] = min(value, 5000.0) if prop == cv2.CAP_PROP_EXPOSURE else value
        return True

    def get(self, prop: int) -> float:
        return self.values.get(prop, -1.0)

    def grab(self) -> bool:
        self.threads.add(threading.get_ident())
        time.sleep(0.002)
        self.hold.wait()
        self.frames += 1
        return not self.unplugged

    def retrieve(self) -> tuple[bool, np.ndarray]:
        picture = np.empty((48, 64, 3), np.uint8)
        picture[...] = RED[::-1]
        picture[0, 0] = min(self.values[cv2.CAP_PROP_EXPOSURE] / 10, 255)
        return True, picture

    def release(self) -> None:
        self.released = True


@pytest.fixture
def opened() -> Iterator[Callable[..., OpenCVCamera]]:
    cameras = []

    def open_it(driver: Driver, settings: CameraSettings = ASKED, **more: bool) -> OpenCVCamera:
        cameras.append(OpenCVCamera("a camera", settings, capture=driver, **more))
        return cameras[-1]

    yield open_it
    for camera in cameras:
        camera.close()


def read_many(camera: OpenCVCamera, count: int, timeout_s: float = 2.0) -> None:
    for _ in range(count):
        camera.read(timeout_s)


def fact(camera: OpenCVCamera, name: str) -> SettingFact:
    return next(one for one in camera.facts.settings if one.name == name)


def test_everything_is_locked_and_read_back_in_seconds_and_kelvin(opened: Callable[..., OpenCVCamera]) -> None:
    driver = Driver()
    camera = opened(driver)
    assert not camera.ignored
    assert all(one.honoured for one in camera.facts.settings)
    assert driver.values[cv2.CAP_PROP_EXPOSURE] == 100  # of 0.1 ms
    assert driver.values[cv2.CAP_PROP_AUTO_EXPOSURE] == 1  # V4L2_EXPOSURE_MANUAL
    assert driver.values[cv2.CAP_PROP_AUTO_WB] == 0
    assert driver.values[cv2.CAP_PROP_AUTOFOCUS] == 0
    assert fact(camera, "exposure_s").got == pytest.approx(0.01)
    assert fact(camera, "white_balance_k").got == 5000
    assert (camera.facts.width, camera.facts.height, camera.facts.backend) == (64, 48, "opencv")


def test_what_is_not_asked_for_keeps_its_value_but_no_automatic(opened: Callable[..., OpenCVCamera]) -> None:
    driver = Driver()
    camera = opened(driver, CameraSettings())
    assert fact(camera, "exposure_s").got == pytest.approx(0.0333)
    assert fact(camera, "white_balance_k").got == 4000
    assert driver.values[cv2.CAP_PROP_AUTO_EXPOSURE] == 1
    assert not camera.ignored


def test_windows_counts_exposure_in_powers_of_two(opened: Callable[..., OpenCVCamera]) -> None:
    driver = Driver(backend="DSHOW")
    driver.values[cv2.CAP_PROP_EXPOSURE] = -5
    camera = opened(driver)
    assert driver.values[cv2.CAP_PROP_EXPOSURE] == -7
    assert fact(camera, "exposure_s").got == pytest.approx(2**-7)
    assert fact(camera, "exposure_s").honoured
    assert camera.set_exposure(4.0) == pytest.approx(4.0)


def test_frames_are_rgb_and_their_times_this_machines(opened: Callable[..., OpenCVCamera]) -> None:
    camera = opened(Driver())
    before = time.monotonic()
    frame = camera.read()
    frame = camera.read()
    assert tuple(frame.codes[20, 20]) == RED
    assert before <= frame.at_s <= time.monotonic()


def test_an_ignored_exposure_refuses_the_camera_unless_that_is_allowed(opened: Callable[..., OpenCVCamera]) -> None:
    driver = Driver(ignored=(cv2.CAP_PROP_EXPOSURE,))
    with pytest.raises(CameraRefusedError, match=r"exposure of 0.01 s is ignored \(the driver said yes and has 0.0333"):
        opened(driver)
    assert driver.released
    camera = opened(Driver(ignored=(cv2.CAP_PROP_EXPOSURE,)), allow_ignored=True)
    assert [one.name for one in camera.ignored] == ["exposure_s"]
    with pytest.raises(CameraRefusedError, match="is ignored"):
        camera.set_exposure(2.0)


def test_other_ignored_settings_are_listed_with_what_the_driver_said(opened: Callable[..., OpenCVCamera]) -> None:
    camera = opened(Driver(ignored=(cv2.CAP_PROP_GAIN,), refused=(cv2.CAP_PROP_WB_TEMPERATURE,)))
    assert {one.name: one.note for one in camera.ignored} == {
        "gain": "the driver said yes and has 0",
        "white_balance_k": "refused by the driver, which has 4000",
    }


def test_an_automatic_that_stays_on_is_told(opened: Callable[..., OpenCVCamera]) -> None:
    driver = Driver(ignored=(cv2.CAP_PROP_AUTO_EXPOSURE,), refused=(cv2.CAP_PROP_AUTOFOCUS,))
    camera = opened(driver)
    assert fact(camera, "auto_exposure").note == "still on by the driver's word"
    assert "no such switch" in fact(camera, "auto_focus").note
    assert not fact(camera, "auto_exposure").honoured


def test_exposure_steps_are_relative_to_the_locked_one_and_frames_follow(opened: Callable[..., OpenCVCamera]) -> None:
    driver = Driver()
    camera = opened(driver)
    driver.threads.clear()
    assert camera.set_exposure(8.0) == pytest.approx(8.0)
    assert camera.read().codes[0, 0, 0] == 80
    assert camera.set_exposure(1.0) == pytest.approx(1.0)
    assert camera.read().codes[0, 0, 0] == 10
    assert len(driver.threads) == 1  # one thread alone touches the driver


def test_the_end_of_the_exposures_range_is_returned_as_what_it_is(opened: Callable[..., OpenCVCamera]) -> None:
    camera = opened(Driver())
    assert camera.set_exposure(100.0) == pytest.approx(50.0)
    assert fact(camera, "exposure_s").note == "took 0.5 s instead"


def test_a_backend_of_unknown_units_cannot_be_exposed(opened: Callable[..., OpenCVCamera]) -> None:
    with pytest.raises(CameraRefusedError, match="unit of GSTREAMER is not known"):
        opened(Driver(backend="GSTREAMER"))


def test_only_the_newest_frame_waits_for_a_slow_reader(opened: Callable[..., OpenCVCamera]) -> None:
    driver = Driver()
    camera = opened(driver)
    first = camera.read()
    seen = driver.frames
    while driver.frames < seen + 20:
        time.sleep(0.005)
    late = camera.read()
    assert late.number >= first.number + 15
    assert time.monotonic() - late.at_s < 0.5


def test_a_gap_in_the_drivers_times_is_a_gap_in_the_numbers(opened: Callable[..., OpenCVCamera]) -> None:
    class Timed(Driver):
        times = iter([0.01, 0.02, 0.03, 0.06, 0.07])

        def retrieve(self) -> tuple[bool, np.ndarray]:
            moment = next(self.times, None)
            if moment is None:
                self.unplugged = True
                return False, np.empty(0)
            self.values[cv2.CAP_PROP_POS_MSEC] = 1000 * moment
            return super().retrieve()

    # No exposure is set, so that no frame is left to settle; the first one is spent on learning the size.
    camera = OpenCVCamera("a camera", CameraSettings(), capture=Timed(), kept=10)
    assert [camera.read().number for _ in range(4)] == [1, 2, 5, 6]
    camera.close()


def test_an_unplugged_camera_is_lost_with_a_reason(opened: Callable[..., OpenCVCamera]) -> None:
    driver = Driver()
    camera = opened(driver)
    driver.unplugged = True
    with pytest.raises(CameraLostError, match="delivers no frames any more; unplugged"):
        read_many(camera, 10)
    with pytest.raises(CameraLostError, match="unplugged"):
        camera.set_exposure(2.0)


def test_a_driver_that_hangs_is_given_up_after_the_timeout(opened: Callable[..., OpenCVCamera]) -> None:
    driver = Driver()
    camera = opened(driver)
    driver.hold.clear()
    started = time.monotonic()
    with pytest.raises(CameraLostError, match=r"no frame came within 0.2 s"):
        read_many(camera, 3, 0.2)
    assert time.monotonic() - started < 1.5
    driver.hold.set()


def test_what_a_driver_raises_reaches_the_reader(opened: Callable[..., OpenCVCamera]) -> None:
    driver = Driver()
    camera = opened(driver)
    driver.retrieve = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(CameraLostError, match="ZeroDivisionError"):
        read_many(camera, 5)


def test_closing_twice_releases_once_and_ends_reading(opened: Callable[..., OpenCVCamera]) -> None:
    driver = Driver()
    with opened(driver) as camera:
        camera.read()
    camera.close()
    assert driver.released
    with pytest.raises(CameraLostError, match="closed"):
        camera.read()


def test_the_real_capture_reads_a_file_in_rgb_and_ends_with_it(tmp_path: Path) -> None:
    frames = np.zeros((30, 64, 96, 3), np.uint8)
    frames[...] = RED
    path = tmp_path / "made.mp4"
    write_video(path, frames, 25)
    with OpenCVCamera(str(path), CameraSettings(), kept=64) as camera:
        assert (camera.facts.width, camera.facts.height, camera.facts.fps) == (96, 64, 25)
        assert np.abs(camera.read().codes[30, 40].astype(int) - RED).max() <= 6
        with pytest.raises(CameraLostError, match="delivers no frames"):
            read_many(camera, 40)


def test_a_device_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(CameraRefusedError, match="/dev/video99: no such device"):
        OpenCVCamera(99)


def test_a_file_that_opencv_cannot_open_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "no.mp4"
    path.write_text("no video")
    with pytest.raises(CameraRefusedError, match="OpenCV cannot open it"):
        OpenCVCamera(str(path))
