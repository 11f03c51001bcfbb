"""Which camera a text means, and the list of cameras."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import capture_rig.cameras
from capture_rig.cameras.files import FolderCamera, VideoCamera
from capture_rig.cameras.opening import list_cameras, open_camera
from capture_rig.cameras.protocol import CameraRefusedError, CameraSettings
from capture_rig.cameras.simulated import SimulatedCamera
from capture_rig.screens import VirtualScreen
from lps_sim.media import write_image


def test_a_folder_a_video_and_a_simulation_are_told_apart(tmp_path: Path, bikes_path: Path) -> None:
    write_image(tmp_path / "1.png", np.zeros((8, 8, 3), np.uint8))
    assert isinstance(open_camera(str(tmp_path)), FolderCamera)
    assert isinstance(open_camera(str(bikes_path)), VideoCamera)
    screen = VirtualScreen(64, 36)
    simulated = open_camera("simulated:p3ar-10layer", CameraSettings(width=64, height=36, fps=10), view=screen.at)
    assert isinstance(simulated, SimulatedCamera)
    assert simulated.read().codes.shape == (36, 64, 3)
    assert simulated.facts.details["film"]["name"] == "p3ar-10layer"


@pytest.mark.parametrize("text", ["no/such/place", "ftp://host/file", ""])
def test_other_texts_are_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(
        CameraRefusedError, match=r"a camera is a number or /dev/videoN .*rtsp://.*folder.*simulated:FILM"
    ):
        open_camera(text)


def test_a_simulated_camera_without_a_screen_is_refused() -> None:
    with pytest.raises(CameraRefusedError, match="needs a screen to look at"):
        open_camera("simulated:p3ar-10layer")


def test_a_device_that_is_not_there_is_refused() -> None:
    for text in ("97", "/dev/video97"):
        with pytest.raises(CameraRefusedError, match="/dev/video97: no such device"):
            open_camera(text)


def test_cameras_are_listed_by_number_with_their_names(tmp_path: Path) -> None:
    for number, name in ((10, "HD Webcam"), (2, "Capture card")):
        node = tmp_path / f"video{number}"
        node.mkdir()
        (node / "name").write_text(f"{name}\n")
        (node / "index").write_text("0\n")
    (tmp_path / "v4l-subdev0").mkdir()
    listed = list_cameras(tmp_path)
    assert [(camera.device, camera.name) for camera in listed] == [
        ("/dev/video2", "Capture card"),
        ("/dev/video10", "HD Webcam"),
    ]
    assert list_cameras(tmp_path / "none") == ()


def test_importing_the_cameras_loads_no_opencv_and_no_ffmpeg() -> None:
    names = [path.stem for path in Path(capture_rig.cameras.__file__).parent.glob("*.py")]
    code = "\n".join(f"import capture_rig.cameras.{name}" for name in names)
    probe = f"{code}\nimport sys\nprint(*sorted({{'cv2', 'av', 'torch', 'numba', 'fastapi'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
