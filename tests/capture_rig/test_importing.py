"""Pictures that a phone took by itself, stored in a session by their names and EXIF exposures."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from capture_rig.cameras.files import FolderCamera
from capture_rig.importing import import_pictures
from capture_rig.plan import Plan, PlannedShot
from capture_rig.screens import VirtualScreen
from capture_rig.session import Session
from cli.main import main
from lps_sim import Camera
from lps_sim.calibration.session_file import read_frames, read_session

EXPOSURE_TIME = 0x829A
SIZE = (32, 24)


def shot(name, layers=0):
    return PlannedShot(name=name, target="flat", scene="flat", kind="flat", layers=layers)


PLAN = Plan(shots=(shot("N00_flat_x1"), shot("N04_flat_x1", 4), shot("N04_flat_x8", 4)))


def photograph(folder, name, level, time_s):
    folder.mkdir(exist_ok=True)
    exif = Image.Exif()
    exif[EXPOSURE_TIME] = time_s
    Image.fromarray(np.full((*SIZE[::-1], 3), level, np.uint8)).save(folder / name, exif=exif)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "phone"
    for number in (1, 2, 10):
        photograph(folder, f"N00_flat_x1_{number}.png", 100 + number, 0.01)
    photograph(folder, "N04_flat_x1.png", 120, 0.04)
    photograph(folder, "holiday.png", 10, 0.01)
    return folder


def test_pictures_become_shots_with_exposures_relative_to_the_shortest_bare_one(folder, tmp_path):
    PLAN.save(tmp_path / "plan.yaml")
    command = ["rig", "import", str(folder), str(tmp_path / "s.h5"), "--plan", str(tmp_path / "plan.yaml")]
    command += ["--screen", "1920x1080", "--fov", "65", "--json"]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 1  # one shot is lacking
    told = json.loads(result.stdout)
    assert told["taken"] == ["N00_flat_x1", "N04_flat_x1"]
    assert told["lacking"] == ["N04_flat_x8"]
    assert told["unknown"] == ["holiday.png"]
    content = read_session(tmp_path / "s.h5")
    bare, filmed = content.shots
    assert (bare.exposure, bare.frames) == (1.0, 3)
    assert filmed.exposure == pytest.approx(4.0, rel=1e-4)
    assert read_frames(tmp_path / "s.h5", bare)[:, 0, 0, 0].tolist() == [101, 102, 110]
    assert not content.simulated

    photograph(folder, "N04_flat_x8.png", 200, 0.32)
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["taken"] == ["N04_flat_x8"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: Image.new("RGB", SIZE).save(f / "N04_flat_x8.png"), "N04_flat_x8.png: no ExposureTime in its EXIF"),
        (
            lambda f: photograph(f, "N00_flat_x1_3.png", 9, 0.02),
            "pictures of shot N00_flat_x1 have different exposures",
        ),
        (
            lambda f: [p.unlink() for p in f.glob("N0*")],
            "no picture is named as a shot of the plan, such as N00_flat_x1",
        ),
    ],
)
def test_pictures_that_tell_no_light_are_named(folder, tmp_path, change, message):
    change(folder)
    camera, screen = FolderCamera(folder), VirtualScreen(1920, 1080)
    model = Camera.from_field_of_view(*SIZE, 65.0)
    with Session.create(tmp_path / "s.h5", PLAN, screen.facts, camera.facts, model) as session:
        with pytest.raises(ValueError, match=message):
            import_pictures(session, camera)
        assert not session.content.shots
