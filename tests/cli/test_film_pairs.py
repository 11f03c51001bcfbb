"""``lps film simulate-pairs`` and ``fit-pairs`` as a user calls them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from cli.main import main
from lps_sim.film import FilmModel


@pytest.fixture
def run():
    """Runs ``lps film``; the result has exit_code, stdout and stderr."""
    return lambda *arguments: CliRunner().invoke(main, ["film", *map(str, arguments)])


@pytest.fixture(scope="module")
def pair(bikes_path, tmp_path_factory):
    """(clean, filmed): a simulated recapture of the street, small."""
    filmed = tmp_path_factory.mktemp("pair") / "filmed.mp4"
    arguments = ["film", "simulate-pairs", "rough", str(bikes_path), str(filmed), "--layers", "8", "--size", "128x72"]
    result = CliRunner().invoke(main, [*arguments, "--lead", "12", "--frames", "60", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["kind"] == "simulated"
    truth = json.loads(filmed.with_suffix(".truth.json").read_text())
    assert truth["clean_index"][:13] == [-1] * 12 + [0]
    return bikes_path, filmed


def test_a_film_is_fitted_from_a_pair(run, pair, tmp_path):
    out, report = tmp_path / "film.h5", tmp_path / "report"
    options = ("--layers", 8, "--family", "gaussian+moffat", "--frames", 8, "--report", report)
    result = run("fit-pairs", *pair, "-o", out, *options)
    assert result.exit_code == 0, result.output
    printed = " ".join(result.stdout.split())
    for words in ("pinned by this material", "not pinned by this material", "sigma", "transmittance"):
        assert words in printed
    assert "70 degrees across assumed" in printed
    assert FilmModel.load(out).name == "film"
    fields = json.loads((report / "report.json").read_text())
    assert {row["name"] for row in fields["not_pinned"]} >= {"c1", "c2", "transmittance", "field of view"}
    assert (report / "report.html").read_text().count("<table") >= 2


def test_material_that_does_not_belong_together_fails(run, pair, carphone_path, tmp_path):
    out = tmp_path / "film.h5"
    options = ("--layers", 8, "--family", "gaussian+moffat", "--frames", 4, "--json")
    result = run("fit-pairs", carphone_path, pair[1], "-o", out, *options)
    assert result.exit_code == 1
    assert "changes in time correlate with those of carphone_pristine.mp4 by no more than" in result.stderr
    assert "Traceback" not in result.stderr
    assert not out.exists()


def test_wrong_usage_is_refused(run, pair, tmp_path):
    result = run("fit-pairs", *pair, "-o", tmp_path / "film.h5")
    assert result.exit_code == 2
    assert "Missing option '--layers'" in result.stderr
    result = run("fit-pairs", *pair, "-o", tmp_path / "film.h5", "--layers", 8, "--border", "reflekt")
    assert result.exit_code == 1
    assert "did you mean 'reflect'" in result.stderr
    assert not (tmp_path / "film.h5").exists()
