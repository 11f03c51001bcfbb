"""``lps rig targets`` writes what it lists."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from capture_rig.targets import screen_codes, target
from cli.main import main
from lps_sim.files import sha256_file
from lps_sim.media import read_image


def test_targets_writes_pictures_and_a_listing_that_agree(tmp_path) -> None:
    out = tmp_path / "targets"
    result = CliRunner().invoke(main, ["rig", "targets", "--out", str(out), "--size", "96x64", "--seed", "7", "--json"])
    assert result.exit_code == 0, result.output
    listing = yaml.safe_load((out / "targets.yaml").read_text())
    assert json.loads(result.stdout)["targets"] == listing["targets"]
    assert listing["screen"] == {"width": 96, "height": 64, "eotf": "srgb", "bits": 8}
    assert {entry["file"] for entry in listing["targets"]} == {path.name for path in out.glob("*.png")}
    for entry in listing["targets"]:
        assert sha256_file(out / entry["file"]) == entry["sha256"]
        expected = screen_codes(target(entry["target"], 96, 64, **entry["parameters"]))
        assert np.array_equal(read_image(out / entry["file"])[:, :, 1], expected)


def test_sixteen_bit_targets_keep_sixteen_bits(tmp_path) -> None:
    command = ["rig", "targets", "--out", str(tmp_path), "--size", "64x48", "--bits", "16"]
    assert CliRunner().invoke(main, command).exit_code == 0
    assert read_image(tmp_path / "siemens.png").dtype == np.uint16


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--size", "96"], 2, "is not WIDTHxHEIGHT"),
        (["--size", "4x4"], 1, "width must be 8..16384 px, got 4"),
        (["--size", "96x64", "--eotf", "srbg"], 1, "did you mean 'srgb'"),
    ],
)
def test_wrong_options_write_nothing(tmp_path, options: list[str], status: int, message: str) -> None:
    out = tmp_path / "targets"
    result = CliRunner().invoke(main, ["rig", "targets", "--out", str(out), *options])
    assert result.exit_code == status
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not out.exists()


def test_targets_follow_a_measured_curve(tmp_path) -> None:
    codes = np.linspace(0, 1, 256)
    (tmp_path / "measured.json").write_text(json.dumps({"screen": {"response": (codes**2.6).tolist()}}))
    command = ["rig", "targets", "-o", str(tmp_path / "out"), "--size", "64x48", "--curve"]
    assert CliRunner().invoke(main, [*command, str(tmp_path / "measured.json")]).exit_code == 0
    shown = read_image(tmp_path / "out" / "siemens.png")[:, :, 1] / 255
    assert np.abs(shown**2.6 - target("siemens", 64, 48)).max() < 0.01
    assert "measured.json" in yaml.safe_load((tmp_path / "out" / "targets.yaml").read_text())["screen"]["eotf"]
    (tmp_path / "other.json").write_text("{}")
    result = CliRunner().invoke(main, [*command, str(tmp_path / "other.json")])
    assert result.exit_code == 1
    assert "no measured curve of lps rig photometry -o in it" in result.stderr
