"""``lps film fit`` from shots to film and report: what is printed, what is written, and how it refuses."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from cli.main import main
from lps_sim.calibration.shots import ShotSet, write_shots
from lps_sim.film import FilmModel

from .calibration_set import sound_set

KNOWN = ("--family", "gaussian+moffat", "--law", "poisson", "--geometry", "equal_area")


def run(*arguments):
    """Runs ``lps film fit``; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(main, ["film", "fit", *map(str, arguments)])


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    """A sound set: edge, blocks and flat at 1 and 4 layers of a rough film."""
    return sound_set(tmp_path_factory.mktemp("set"), lens_blur_px=0.6)


@pytest.fixture(scope="module")
def swapped(shots):
    """The same with the labels of 1 and 4 layers exchanged."""
    loaded = ShotSet.load(shots)
    wrong = [shot.model_copy(update={"layers": {1: 4, 4: 1}.get(shot.layers, shot.layers)}) for shot in loaded.shots]
    write_shots(loaded.pictures.folder / "swapped.yaml", loaded.camera, loaded.geometry, wrong)
    return loaded.pictures.folder / "swapped.yaml"


@pytest.fixture(scope="module")
def fitted(shots, tmp_path_factory):
    """(result, folder) of one fit with a report, as JSON."""
    folder = tmp_path_factory.mktemp("fit")
    arguments = (shots, "-o", folder / "film.h5", "--report", folder / "report", "--name", "desk film", *KNOWN)
    return run(*arguments, "--json"), folder


def test_a_sound_set_gives_a_film_and_every_figure_as_json(fitted):
    result, folder = fitted
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {"film", "report", "checksum", "family", "law", "geometry", "converged", "checks"} <= set(found)
    film = FilmModel.load(folder / "film.h5")
    assert found["checksum"] == film.checksum()
    assert film.name == "desk film"
    assert (found["family"], found["law"]) == ("gaussian+moffat", "poisson")
    assert found["dominant_error"] in ("noise", "shot type", "layer count")
    assert not [check for check in found["checks"] if check["status"] == "fail"]
    assert {"tone response", "layer labels", "convergence", "residuals"} <= {check["name"] for check in found["checks"]}
    assert film.provenance["checks"] == found["checks"]


def test_parameters_have_intervals_that_hold_the_truth(fitted):
    parameters = json.loads(fitted[0].stdout)["parameters"]
    truth = {"sigma": 0.55, "tau1": 0.13, "s1": 13.0, "beta1": 1.5}
    for name, value in truth.items():
        for channel in "rgb":
            row = parameters[f"{name}_{channel}"]
            assert row["low"] < row["value"] < row["high"]
            # 95 %, and half as much again for the worst of twelve
            reach = 1.5 * max(row["high"] - row["value"], row["value"] - row["low"])
            assert abs(row["value"] - value) < reach, name


def test_the_report_is_a_page_and_its_figures(fitted):
    folder = fitted[1] / "report"
    page = (folder / "report.html").read_text()
    assert "desk film" in page
    assert "imulated" in page
    assert json.loads((folder / "report.json").read_text())
    assert json.loads(fitted[0].stdout)["report"] == str(folder / "report.html")


def test_tables_name_families_parameters_and_checks(shots, tmp_path):
    result = run(shots, "-o", tmp_path / "film.h5", "--layers", "1,4", "--no-jackknife", *KNOWN)
    assert result.exit_code == 0, result.output
    for word in ("gaussian+moffat", "poisson", "reduced chi2", "sigma", "95 % interval", "tone response", "misplaced"):
        assert word in result.stdout, word
    assert FilmModel.load(tmp_path / "film.h5").provenance["checks"]


def test_wrong_shots_are_refused_without_a_film(swapped, tmp_path):
    result = run(swapped, "-o", tmp_path / "film.h5", "--report", tmp_path / "report", *KNOWN)
    assert result.exit_code == 1
    assert "no film: the shots failed these checks: layer labels; --force fits all the same" in result.stderr
    assert "layer labels" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_as_json_lists_the_checks(swapped, tmp_path):
    result = run(swapped, "-o", tmp_path / "film.h5", "--json", *KNOWN)
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["film"] is None
    assert [check["name"] for check in found["checks"] if check["status"] == "fail"] == ["layer labels"]


def test_force_writes_a_film_that_says_what_failed(swapped, tmp_path):
    result = run(swapped, "-o", tmp_path / "film.h5", "--force", *KNOWN, "--json")
    assert result.exit_code == 1
    assert "do not trust this film" in result.stderr
    assert "it was written" in result.stderr
    film = FilmModel.load(tmp_path / "film.h5")
    failed = {check["name"] for check in film.provenance["checks"] if check["status"] == "fail"}
    assert "layer labels" in failed
    assert failed == {check["name"] for check in json.loads(result.stdout)["checks"] if check["status"] == "fail"}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--family", "gausian+moffat", "did you mean 'gaussian+moffat'"),
        ("--law", "poison", "did you mean 'poisson'"),
        ("--geometry", "spere", "did you mean 'sphere'"),
        ("--layers", "3", "layers must be among those filmed ([1, 4]), got [3]"),
    ],
)
def test_impossible_requests_are_refused_in_one_line(shots, tmp_path, option, value, message):
    result = run(shots, "-o", tmp_path / "film.h5", option, value)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "film.h5").exists()


def test_help_says_what_is_checked_and_what_the_exit_status_means():
    text = " ".join(run("--help").stdout.split())
    for option in ("--family", "--law", "--geometry", "--jackknife", "--force", "--report", "--layers", "--json"):
        assert option in text
    assert "The shots are checked first" in text
    assert "Exit status 1 if any check" in text
