"""``lps film`` with a film that hangs elsewhere, the layers that a face needs, and simulated sets that say so."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from cli.main import main
from lps_sim.film import FilmModel
from lps_sim.media import read_image, write_image
from lps_sim.privacy import Observer, layers_needed

CAMERA = "{width: 96, height: 54, fov_deg: 70}"


@pytest.fixture
def run(tmp_path):
    """Runs ``lps film``; a small camera lies in camera.yaml."""
    (tmp_path / "camera.yaml").write_text(CAMERA)
    return lambda *arguments: CliRunner().invoke(main, ["film", *map(str, arguments)])


def words(text):
    """The text without the console's line breaks."""
    return " ".join(text.split())


def test_show_answers_how_many_layers_a_face_needs(run):
    result = run("show", "rough", "--face-pixels", 2, "--distance", 3, "--layers", "10")
    assert result.exit_code == 0, result.output
    text = words(result.stdout)
    assert "at most 2 effective face pixels at 3 m, 60 frames: 9 layers" in text
    assert f"{-np.log2(FilmModel.load('rough').transmittance(9)[1]):.2f} stops of light" in text
    brief = run("show", "rough", "--face-pixels", 2, "--dwell", 0.03, "--json")
    needed = json.loads(brief.stdout)["layers_needed"]
    assert needed["layers"] == layers_needed(FilmModel.load("rough"), 2, Observer(dwell_s=0.03)).layers < 9
    assert (needed["frames"], needed["reason"]) == (1, "")
    assert [row["layers"] - needed["layers"] for row in needed["rows"]] == [-2, -1, 0, 1, 2]


def test_show_says_that_no_number_of_layers_does_and_why(run):
    text = words(run("show", "rough", "--face-pixels", 0.01).stdout)
    assert "no number of layers up to 64 does: 0.123 effective face pixels are left at 64 layers" in text
    assert "layers_needed" not in json.loads(run("show", "rough", "--json").stdout)
    wrong = run("show", "rough", "--face-pixels", 0)
    assert wrong.exit_code == 2
    assert "--face-pixels" in wrong.stderr


def test_show_moves_the_film_and_says_where_it_was_calibrated(run):
    result = json.loads(run("show", "rough", "--film-distance", 0.5, "--json").stdout)
    preset = FilmModel.load("rough")
    assert result["geometry"]["film_distance_m"] == 0.5
    assert result["checksum"] == preset.at(0.5).checksum()
    assert result["by_layers"][0]["mtf"]["10"] == pytest.approx(preset.mtf(5.0, 1).tolist())
    text = words(run("show", "rough", "--film-distance", 0.5).stdout)
    assert "film 0.5 m, scene 1 m from the camera (calibrated at 0 m and 1 m)" in text
    behind = run("show", "rough", "--film-distance", 1.5)
    assert behind.exit_code == 1
    assert "film_distance_m must be >= 0 and below target_distance_m, got 1.5 and 1.0" in behind.stderr


def test_show_prints_error_bars_of_the_face_pixels_where_the_film_has_them(run, tmp_path):
    from dataclasses import replace

    film = replace(FilmModel.load("rough"), parameter_names=("sigma",), covariance=[[0.04]])
    film.save(tmp_path / "film.h5")
    text = words(run("show", tmp_path / "film.h5", "--face-pixels", 2).stdout)
    assert "95 % by linear propagation, noise only" in text
    assert "with the upper end of the interval:" in text


def test_apply_takes_the_distances(run, tmp_path):
    edge = np.zeros((54, 96, 3), np.uint8)
    edge[:, 48:] = 220
    write_image(tmp_path / "in.png", edge)
    results = {}
    for name, place in (("lens", ()), ("near", ("--film-distance", 0.9, "--distance", 1.0))):
        out = tmp_path / f"{name}.png"
        done = run("apply", "rough", tmp_path / "in.png", out, "--layers", 10, "--json", *place)
        assert done.exit_code == 0, done.output
        results[name] = json.loads(done.stdout), read_image(out).astype(float)
    assert results["near"][0]["geometry"]["film_distance_m"] == 0.9
    assert results["near"][0]["checksum"] == FilmModel.load("rough").at(0.9, 1.0).checksum()
    # A film on the scene hardly blurs it: the step across the edge is steeper.
    steps = {name: np.diff(picture[20:34, 40:56, 1].mean(axis=0)).max() for name, (_, picture) in results.items()}
    assert steps["near"] > 2 * steps["lens"]


def test_a_simulated_set_says_so_and_so_does_the_film_fitted_from_it(run, tmp_path):
    made = run(
        *("simulate-shots", "rough", "-o", tmp_path / "set", "--layers", "1,4", "--camera", tmp_path / "camera.yaml"),
        *("--film-distance", 0.2, "--distance", 0.8, "--seed", 3, "--json"),
    )
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["kind"] == "simulated"
    data = yaml.safe_load((tmp_path / "set" / "shots.yaml").read_text())
    assert data["provenance"]["kind"] == "simulated"
    assert data["provenance"]["checksum"] == FilmModel.load("rough").at(0.2, 0.8).checksum()
    assert (data["provenance"]["film"], data["provenance"]["seed"]) == ("rough", 3)
    assert "Simulated" in data["provenance"]["text"]
    assert data["geometry"]["film_distance_m"] == 0.2
    assert data["geometry"]["target_distance_m"] == 0.8
    shots = tmp_path / "set" / "shots.yaml"
    fitted = run("fit", shots, "-o", tmp_path / "film.h5", "--family", "gaussian+moffat")
    assert fitted.exit_code == 0, fitted.output
    provenance = FilmModel.load(tmp_path / "film.h5").provenance
    assert provenance["kind"] == "fitted"
    assert "simulated shots" in provenance["text"]
    assert provenance["shots_origin"] == data["provenance"]
    text = words(run("predict", "rough", shots).stdout)
    assert "film moved from 0 m before a scene at 1 m to 0.2 m before 0.8 m: blur angles x 0.75" in text
    assert json.loads(run("predict", tmp_path / "film.h5", shots, "--json").stdout)["moved"] is None


def test_targets_brackets_and_screen_share_shape_a_simulated_set(run, tmp_path):
    arguments = ("simulate-shots", "rough", "--layers", "4", "--camera", tmp_path / "camera.yaml")
    chosen = ("--targets", "hole,noise", "--brackets", "1,4,16", "--screen-share", 0.5, "--lens-blur", 1.5)
    assert run(*arguments, "-o", tmp_path / "set", *chosen).exit_code == 0
    shots = yaml.safe_load((tmp_path / "set" / "shots.yaml").read_text())["shots"]
    assert {shot["scene"] for shot in shots} == {"dark", "off", "hole", "noise1", "noise2"}
    assert {shot["scene"] for shot in shots if shot["role"] == "held"} == {"noise2"}
    assert len([shot for shot in shots if shot["scene"] == "hole" and shot["layers"] == 4]) == 3
    # Half of the brightest level, coded: where the blurred rim of the screen lies; its blocks are 3 px and more.
    lit = read_image(tmp_path / "set" / "N00_noise1_x1.png")[..., 1] > 160
    assert np.ptp(np.flatnonzero(lit.any(axis=0))) + 1 == pytest.approx(48, abs=3)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--targets", "egde"), "did you mean 'edge'"),
        (("--targets", "dark"), "unknown 'dark'"),
        (("--brackets", "1,none"), "is not a list of exposures above 0"),
        (("--brackets", "0,4"), "is not a list of exposures above 0"),
        (("--screen-share", "1.5"), "--screen-share"),
        (("--lens-blur", "-1"), "--lens-blur"),
    ],
)
def test_impossible_simulated_sets_are_refused(run, tmp_path, option, message):
    result = run("simulate-shots", "rough", "-o", tmp_path / "set", *option)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "set").exists()
