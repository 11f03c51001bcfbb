"""``lps film check`` and ``lps film response`` as they are called."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner

from cli.main import main
from lps_sim.calibration.shots import ShotSet, write_shots
from lps_sim.camera import Camera

from .calibration_set import sound_set


def run(*arguments):
    return CliRunner().invoke(main, ["film", *map(str, arguments)])


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    return sound_set(tmp_path_factory.mktemp("set"))


def test_a_sound_set_exits_0_with_a_table(shots):
    result = run("check", shots)
    assert result.exit_code == 0, result.output
    assert "tone response" in result.output
    assert "fail" not in result.output


def test_a_failed_check_exits_1_and_is_listed(shots):
    loaded = ShotSet.load(shots)
    swapped = [shot.model_copy(update={"layers": {1: 4, 4: 1}.get(shot.layers, shot.layers)}) for shot in loaded.shots]
    path = loaded.pictures.folder / "swapped.yaml"
    write_shots(path, loaded.camera, loaded.geometry, swapped)
    result = run("check", path, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert [check["name"] for check in found["checks"] if check["status"] == "fail"] == ["layer labels"]
    assert "checks failed: layer labels" in result.stderr


def test_layers_that_were_not_filmed_are_refused(shots):
    result = run("check", shots, "--layers", "3")
    assert result.exit_code == 1
    assert "layers must be among those filmed ([1, 4]), got [3]" in result.output


def test_response_writes_a_camera_that_the_other_commands_read(shots, tmp_path):
    result = run("response", shots, "-o", tmp_path / "camera.yaml", "--json")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["response"]) == 256
    camera = Camera.from_yaml(tmp_path / "camera.yaml")
    assert camera.eotf == "measured"
    assert set(yaml.safe_load((tmp_path / "camera.yaml").read_text())) == {"camera"}
    shown = run("show", "rough", "--camera", tmp_path / "camera.yaml", "--layers", "1", "--json")
    assert shown.exit_code == 0, shown.output


def test_a_method_that_the_bracket_cannot_serve_exits_1(shots, tmp_path):
    result = run("response", shots, "-o", tmp_path / "camera.yaml", "--method", "robertson")
    assert result.exit_code == 1
    assert "robertson needs 4 exposures or more" in result.output
    assert not (tmp_path / "camera.yaml").exists()
