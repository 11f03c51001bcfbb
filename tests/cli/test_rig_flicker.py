"""``lps rig flicker`` on recordings of light that is known."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from lps_sim import Camera
from lps_sim.media import VideoWriter, write_image

CAMERA = Camera(96, 64, 80.0)


def frames(depth, count=60, fps=25.0, frequency=120.0, exposure_s=1 / 200, readout_s=0.02):
    """Frames of a screen under light that varies as a sine, through a rolling shutter."""
    rng = np.random.default_rng(0)
    for number in range(count):
        t = number / fps + np.arange(CAMERA.height) / CAMERA.height * readout_s + exposure_s / 2
        light = 0.5 * (1 + depth * np.sinc(frequency * exposure_s) * np.cos(2 * np.pi * frequency * t))
        yield CAMERA.sense(np.repeat(light[:, None, None], CAMERA.width, axis=1).repeat(3, axis=2), rng)


def record(path, depth):
    with VideoWriter(path, CAMERA.width, CAMERA.height, 25) as video:
        for frame in frames(depth):
            video.write(frame)


def test_a_filmed_lamp_of_120_hz_fails_and_its_cure_is_named(tmp_path):
    record(tmp_path / "flat.mp4", 0.1)
    result = CliRunner().invoke(main, ["rig", "flicker", str(tmp_path / "flat.mp4"), "--frames", "50", "--json"])
    assert result.exit_code == 1, result.output
    content = json.loads(result.stdout)
    assert content["flicker"]["alias_hz"] == pytest.approx(-5.0, abs=0.1)
    assert content["flicker"]["bands"] == pytest.approx(2.4, abs=0.1)
    assert content["flicker"]["peak_to_peak"] == pytest.approx(0.2 * np.sinc(0.6), rel=0.1)
    assert content["flicker"]["sources"] == [120.0]
    assert "1/120 s (8.333 ms)" in content["check"]["cure"]
    result = CliRunner().invoke(main, ["rig", "flicker", str(tmp_path / "flat.mp4")])
    assert result.exit_code == 1
    assert "60 of 120 frames came" in result.stderr


def test_steady_light_passes(tmp_path):
    record(tmp_path / "flat.mp4", 0.0)
    result = CliRunner().invoke(main, ["rig", "flicker", str(tmp_path / "flat.mp4"), "--frames", "60", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["check"]["status"] == "ok"


def test_pictures_need_a_rate_and_at_least_six(tmp_path):
    for number, frame in enumerate(frames(0.0, count=5)):
        write_image(tmp_path / f"{number}.png", frame)
    result = CliRunner().invoke(main, ["rig", "flicker", str(tmp_path), "--fps", "25"])
    assert result.exit_code == 1
    assert "5 frames came, 6 are needed" in result.stderr


@pytest.mark.parametrize(
    ("camera", "status", "message"),
    [("nowhere", 1, "no camera 'nowhere'"), ("simulated:", 2, "simulated screen is steady")],
)
def test_what_is_no_camera_is_refused(camera, status, message):
    result = CliRunner().invoke(main, ["rig", "flicker", camera])
    assert result.exit_code == status
    assert message in " ".join(result.stderr.split())


def test_the_help_loads_nothing_heavy():
    code = "import sys; from cli.main import main; main(['rig', 'flicker', '--help'], standalone_mode=False); "
    code += "print([name for name in ('cv2', 'av', 'scipy', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
