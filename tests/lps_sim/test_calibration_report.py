"""The fit's report: its pictures and numbers are those of the fit, and it says when a film is not to be trusted."""

from __future__ import annotations

import json
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from scipy.special import ndtr

from lps_sim.calibration.fit import fit_film
from lps_sim.calibration.observations import observe
from lps_sim.calibration.predicted import PredictedScene, edge_spread, predict_scenes
from lps_sim.calibration.report import write_report
from lps_sim.calibration.report_material import Material
from lps_sim.calibration.report_trust import jackknife_section
from lps_sim.calibration.shots import ShotSet
from lps_sim.calibration.simulate import simulate_shots
from lps_sim.calibration.uncertainty import LeftOut
from lps_sim.camera import Camera
from lps_sim.film import FilmModel
from lps_sim.report import Page

from .test_calibration_model_free import fringes, gaussian_film, perturbed, targets
from .test_report import Outline

LAYERS = (1, 4)
EDGE = 0.003  # of white: bins as wide as a pixel across an erf of 2.4 pixels; measured 0.0015
BAND = 2e-3  # relative, of a derivative by differences of 0.001 in the logarithm
RESIDUAL = (0.9, 1.15)  # rms in units of noise, which the 0.2 % floor widens a little


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """(truth, shots, fit) of a small colour set with one set of fringes."""
    film = FilmModel.load("rough")
    camera = Camera.from_field_of_view(160, 90, 70.0)
    scenes = [*targets(160, 90, 1), *fringes(160, 90, 90, 4)[8:12]]
    shots = ShotSet.load(simulate_shots(film, scenes, camera, tmp_path_factory.mktemp("set"), LAYERS, seed=1))
    return film, shots, fit_film(shots, family=film.family, created="2026-01-01")


@pytest.fixture(scope="module")
def written(fitted, tmp_path_factory):
    """(page as text, numbers, steps that were announced)."""
    _, shots, result = fitted
    folder, steps = tmp_path_factory.mktemp("report") / "new", []
    path = write_report(result, shots, folder, on_step=steps.append)
    assert path == folder / "report.html"
    assert sorted(entry.name for entry in folder.iterdir()) == ["report.html", "report.json"]
    return path.read_text(encoding="utf-8"), json.loads((folder / "report.json").read_text()), steps


def test_the_page_is_whole_and_every_picture_is_described(written):
    text, _, steps = written
    outline = Outline(text)
    assert outline.open == []
    images = outline.named("img")
    # Two layer counts of pictures, an edge, transfer functions, energy, jackknife.
    assert len(images) == 6
    assert all(len(image["alt"] or "") > 30 for image in images)
    assert "://" not in text  # base64 holds no colon
    assert "predicting the shots" in steps


def test_the_numbers_are_the_fits(fitted, written):
    _, _, result = fitted
    _, numbers, _ = written
    assert numbers["film"] == result.film.name
    assert numbers["summary"]["verdict"] == "usable"
    status = {check["name"]: check["status"] for check in numbers["summary"]["checks"]}
    assert status == {check.name: check.status for check in result.checks} | {
        "model-free MTF": "ok",
        "fringe MTF": "ok",
    }
    for curve in numbers["mtf"]["film"]:
        np.testing.assert_allclose(curve["value"], result.film.mtf(curve["at"], curve["layers"])[:, 1])
        assert all(low <= value <= high for low, value, high in zip(curve["low"], curve["value"], curve["high"]))
    for row in numbers["energy"]["rows"]:
        assert row["haze"] == pytest.approx(result.film.haze(row["layers"])[1])
        assert row["gain"] == pytest.approx(result.gains[row["layers"]][1])
    assert [score["bic"] for score in numbers["families"]] == [score.bic for score in result.scores]
    sigma = next(row for row in numbers["parameters"] if row["name"] == "sigma")
    assert sigma["value"] == pytest.approx(np.degrees(result.film.sigma_rad))
    assert 0 < sigma["relative_sd_noise"] < 0.01
    assert sigma["interval_95"] == {
        name: pytest.approx(pair) for name, pair in result.intervals.items() if name.startswith("sigma")
    }
    assert numbers["jackknife"]["dominant"] == result.dominant
    assert [row["left_out"] for row in numbers["jackknife"]["rows"]] == [row.left_out for row in result.jackknife]
    assert len(numbers["geometries"]) == len(result.geometries)
    assert {estimate["source"] for estimate in numbers["mtf"]["model_free"]} == {"cross spectrum", "fringes"}
    assert len(numbers["shots"]) == 8 * len(LAYERS)
    assert len(numbers["edges"]) == len(LAYERS)
    assert numbers["provenance"]["created"] == "2026-01-01"


def test_the_page_shows_what_the_json_holds(written):
    text, numbers, _ = written
    for shot in numbers["shots"]:
        assert f"{shot['rms_in_noise']:.3g}</td>" in text
    for check in numbers["summary"]["checks"]:
        assert check["text"] in unescape(text)
    assert numbers["provenance"]["checksum"] in text
    assert "Not measured: other layer counts." in text
    assert "noise and systematic" in text


def test_a_sound_fit_leaves_noise_and_a_wrong_film_does_not(fitted):
    film, shots, result = fitted
    seen, _ = observe(shots, "fit")
    for truth, low, high in ((result.film, *RESIDUAL), (perturbed(film, 1.2, 1), 1.3, 99)):
        for shot in predict_scenes(truth, result.gains, seen, shots.camera, 1):
            # A bare picture has its own noise, which shows where it is sharp; the flat one shows film alone.
            if shot.scene == "hole":
                assert low < shot.to_dict()["rms_in_noise"] < high


def test_a_film_that_disagrees_is_called_so(fitted, tmp_path):
    _, shots, result = fitted
    wrong = replace(result, film=perturbed(result.film, 1, 1.1))
    path = write_report(wrong, shots, tmp_path)
    numbers = json.loads(path.with_suffix(".json").read_text())
    assert numbers["summary"]["verdict"] == "do not trust this film"
    assert "do not trust this film" in path.read_text(encoding="utf-8")
    assert numbers["summary"]["checks"][0]["status"] == "fail"
    stuck = replace(result, converged=False)
    write_report(stuck, shots, tmp_path)
    assert "did not converge" in path.read_text(encoding="utf-8")


def test_bands_are_the_covariance_carried_through_the_law(fitted):
    """MTF = exp(-2 pi^2 sigma^2 q^2 N): d MTF / d ln sigma = 2 MTF ln MTF."""
    _, shots, result = fitted
    film = replace(
        gaussian_film(0.5, "equal_area"), parameter_names=("sigma_r", "sigma_g"), covariance=np.diag([1.0, 0.01**2])
    )
    material = Material(replace(result, film=film), shots)
    q = np.array([5.0, 10.0, 20.0])
    curve = material.curve(4, q, lambda known: known.mtf(q, 4)[:, 1])
    expected = 1.96 * 0.01 * np.abs(2 * curve.value * np.log(curve.value))
    np.testing.assert_allclose(curve.high - curve.value, expected, rtol=0.02, atol=BAND * expected.max())
    np.testing.assert_allclose(curve.value - curve.low, expected, rtol=0.02, atol=BAND * expected.max())
    bare = Material(replace(result, film=replace(film, covariance=None)), shots).curve(
        4, q, lambda known: known.mtf(q, 4)[:, 1]
    )
    assert bare.low is None


def test_the_jackknife_names_what_moves_and_what_dominates(fitted):
    _, shots, result = fitted
    rows = tuple(
        LeftOut(kind, name, {"sigma": move, "tau1": -move}, abs(move) > 0.01)
        for kind, name, move in (
            ("shot type", "edge", 0.03),
            ("shot type", "noise", -0.04),
            ("layer count", "1", 0.001),
            ("layer count", "4", 0.0),
        )
    )
    section = jackknife_section(Material(replace(result, jackknife=rows, dominant="shot type"), shots))
    # sqrt((G - 1)/G sum d^2) over two groups and two parameters.
    assert section.numbers["sd"] == {
        "shot type": pytest.approx(np.sqrt(0.03**2 + 0.04**2)),
        "layer count": pytest.approx(0.001),
    }
    text = Page("t").section(section.heading, *section.blocks).render()
    assert "the choice of shot types makes most of them" in text
    assert "without N = 4" in text
    assert "+3 %" in text
    noisy = jackknife_section(Material(replace(result, jackknife=rows, dominant="noise"), shots))
    assert "which shots were taken matters less" in Page("t").section("s", *noisy.blocks).render()
    nothing = jackknife_section(Material(replace(result, jackknife=()), shots))
    assert "Not estimated" in Page("t").section("s", *nothing.blocks).render()


@pytest.mark.parametrize("turn_deg", [5.0, 95.0, 185.0])
def test_an_edge_behind_a_gaussian_film_spreads_as_its_error_function(turn_deg):
    f_px, sigma_px = 200.0, 2.4
    y, x = np.mgrid[0:90, 0:160] - np.array([44.5, 79.5])[:, None, None]
    turn = np.radians(turn_deg)
    across = x * np.cos(turn) + y * np.sin(turn)
    light = 0.7 * ndtr(across / sigma_px)
    shot = PredictedScene(
        "edge", "edge", 1, (), np.clip(across + 0.5, 0, 1), light, light, np.full(light.shape, 1e-4), 1
    )
    found = edge_spread(shot, 0.7, f_px)
    assert found is not None
    assert (np.diff(found.angle_deg) > 0).all()
    expected = ndtr(np.radians(found.angle_deg) * f_px / sigma_px)
    np.testing.assert_allclose(found.measured, expected, atol=EDGE)
    np.testing.assert_allclose(found.predicted, found.measured)
    # A hundred pixels of variance 1e-4 leave a mean of sd 0.001.
    assert 0.0005 < np.median(found.sd) < 0.004


def test_a_picture_without_an_edge_has_no_edge_spread():
    y, x = np.mgrid[0:90, 0:160]
    disc = (np.hypot(x - 80, y - 45) < 15).astype(float)
    for picture in (disc, np.ones((90, 160))):
        shot = PredictedScene("hole", "hole", 1, (), picture, picture, picture, np.full((90, 160), 1e-4), 1)
        assert edge_spread(shot, 1.0, 200.0) is None


def test_saturated_pixels_are_in_no_residual():
    picture, variance = np.ones((4, 4)), np.full((4, 4), 1e-4)
    variance[0, 0] = np.inf
    shot = PredictedScene("flat", "flat", 1, (), picture, picture, picture - 0.02, variance, 1)
    assert np.isnan(shot.residual[0, 0])
    assert np.isnan(shot.residual).sum() == 1
    assert shot.to_dict()["saturated_share"] == 1 / 16
    assert shot.to_dict()["rms_in_noise"] == pytest.approx(0.02 / np.sqrt(1e-4 + 0.002**2))
    nothing = replace(shot, variance=np.full((4, 4), np.inf))
    assert nothing.to_dict()["rms_in_noise"] is None
