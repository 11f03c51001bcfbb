"""``lps film`` as a user calls it: what is printed, what is written, and how it says no."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from cli.main import main
from lps_sim.film import FilmModel
from lps_sim.media import read_image, write_image


@pytest.fixture
def run():
    """Runs ``lps film``; the result has exit_code, stdout and stderr."""
    return lambda *arguments: CliRunner().invoke(main, ["film", *map(str, arguments)])


def refused(result, status, message):
    """A one-line error with this exit status, no traceback."""
    assert result.exit_code == status, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert sum(line.startswith("Error:") for line in result.stderr.splitlines()) == 1


def test_presets_say_where_their_numbers_come_from(run):
    result = run("presets")
    assert result.exit_code == 0
    for name in FilmModel.presets():
        assert name in result.stdout
    assert "not measured" in result.stdout
    listed = json.loads(run("presets", "--json").stdout)
    assert [row["name"] for row in listed] == FilmModel.presets()
    assert all(row["kind"] and row["text"] for row in listed)


def test_show_prints_tables_and_draws_curves(run, tmp_path):
    result = run("show", "p3ar-10layer", "--layers", "1,10", "--out", tmp_path / "film.png")
    assert result.exit_code == 0, result.output
    for word in ("sigma", "tau1", "haze", "MTF 10", "face pixels", "read off a figure".capitalize()):
        assert word in result.stdout
    assert "FAIL" not in result.stdout
    assert read_image(tmp_path / "film.png").size


def test_show_calls_a_sharp_unscattered_image_a_fail(run):
    assert "FAIL at 4, 10 layers" in run("show", "bulk-haze", "--layers", "4,10").stdout


def test_show_as_json_has_every_number(run):
    result = json.loads(run("show", "matte", "--layers", "4", "--json").stdout)
    assert result["checksum"] == FilmModel.load("matte").checksum()
    assert result["by_layers"][0]["haze"][1] == pytest.approx(0.83, abs=0.01)
    assert [row["frames"] for row in result["by_layers"][0]["privacy"]["frames"]] == [1, 60]


def test_apply_writes_one_picture(run, tmp_path):
    write_image(tmp_path / "in.png", np.full((36, 64, 3), 180, np.uint8))
    result = run("apply", "p3ar-10layer", tmp_path / "in.png", tmp_path / "out.png", "--layers", 10, "--size", "32x18")
    assert result.exit_code == 0, result.output
    assert "1 frame, 32x18, 10 layers of p3ar-10layer" in result.stdout
    assert read_image(tmp_path / "out.png").shape == (18, 32, 3)


def test_simulate_fit_show_and_predict_make_one_chain(run, tmp_path):
    (tmp_path / "camera.yaml").write_text("{width: 160, height: 90, fov_deg: 70}")
    made = run(
        "simulate-shots", "rough", "-o", tmp_path / "set", "--layers", "1,4,8", "--camera", tmp_path / "camera.yaml"
    )
    assert made.exit_code == 0, made.output
    shots = tmp_path / "set" / "shots.yaml"
    known = ("--family", "gaussian+moffat", "--law", "poisson", "--geometry", "equal_area")
    arguments = ("fit", shots, "-o", tmp_path / "film.h5", "--layers", "1,4", *known)
    fitted = run(*arguments, "--json")
    assert fitted.exit_code == 0, fitted.output
    result = json.loads(fitted.stdout)
    assert result["converged"]
    assert {row["layers"] for row in result["residuals"]} == {1, 4}
    film = FilmModel.load(tmp_path / "film.h5")
    assert film.name == "film"
    assert np.degrees(film.sigma_rad[1]) == pytest.approx(0.55, rel=0.02)
    assert "noise and systematic" in run("show", tmp_path / "film.h5").stdout

    predicted = run("predict", tmp_path / "film.h5", shots, "--layers", "8", "--out", tmp_path / "predicted", "--json")
    assert predicted.exit_code == 0, predicted.output
    rows = json.loads(predicted.stdout)["shots"]
    assert {row["layers"] for row in rows} == {8}
    assert {"fit", "held"} == {row["role"] for row in rows}
    assert min(row["psnr_fitted_db"] for row in rows if row["role"] == "held") > 40
    assert len(list((tmp_path / "predicted").glob("*.npy"))) == len(rows)


def test_tables_name_the_families_and_the_shots(run, tmp_path):
    (tmp_path / "camera.yaml").write_text("{width: 96, height: 54, fov_deg: 70}")
    run("simulate-shots", "matte", "-o", tmp_path / "set", "--layers", "2", "--camera", tmp_path / "camera.yaml")
    shots = tmp_path / "set" / "shots.yaml"
    fitted = run("fit", shots, "-o", tmp_path / "film.h5", "--family", "gaussian")
    assert "reduced chi2" in fitted.stdout
    assert "noise1" in fitted.stdout
    predicted = run("predict", tmp_path / "film.h5", shots)
    assert predicted.exit_code == 0, predicted.output
    assert "N02_siemens_x1.png" in predicted.stdout


@pytest.mark.parametrize("command", ["show", "predict", "apply", "simulate-shots"])
def test_an_unknown_film_is_refused_with_the_nearest(run, tmp_path, command):
    (tmp_path / "shots.yaml").write_text("")
    arguments = {
        "show": (),
        "predict": (tmp_path / "shots.yaml",),
        "apply": (tmp_path / "shots.yaml", tmp_path / "out.png", "--layers", "1"),
        "simulate-shots": ("-o", tmp_path / "set"),
    }[command]
    refused(run(command, "bulk-hase", *arguments), 2, "did you mean 'bulk-haze'")
    refused(run(command, tmp_path / "no.h5", *arguments), 2, "no.h5: no such film file")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("layers", ["0", "-1", "65", "two"])
def test_layers_out_of_range_are_refused(run, tmp_path, layers):
    write_image(tmp_path / "in.png", np.zeros((8, 8, 3), np.uint8))
    result = run("apply", "rough", tmp_path / "in.png", tmp_path / "out.png", f"--layers={layers}")
    refused(result, 2, "--layers")
    assert not (tmp_path / "out.png").exists()


def test_a_video_that_is_a_text_file_is_refused(run, tmp_path):
    (tmp_path / "text.avi").write_text("hello")
    result = run("apply", "rough", tmp_path / "text.avi", tmp_path / "out.mp4", "--layers", "4")
    refused(result, 1, "not a video")
    assert not (tmp_path / "out.mp4").exists()


def test_a_broken_shots_file_is_refused_in_one_line(run, tmp_path):
    (tmp_path / "shots.yaml").write_text("camera: {width: 8, height: 8, f_px: 8}\nshots: [{fil: a.png}]\n")
    result = run("fit", tmp_path / "shots.yaml", "-o", tmp_path / "film.h5")
    refused(result, 1, "did you mean 'file'")
    assert not (tmp_path / "film.h5").exists()


def test_a_wrong_camera_file_is_refused(run, tmp_path):
    (tmp_path / "camera.yaml").write_text("{width: 8, height: 8, focal_px: 8}")
    refused(run("show", "rough", "--camera", tmp_path / "camera.yaml"), 2, "did you mean 'f_px'")
