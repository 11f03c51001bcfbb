"""The film file: bit-exact round trip, and clear refusals."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest

from lps_sim.errors import UnknownNameError
from lps_sim.film import FilmGeometry, FilmModel
from lps_sim.film_file import film_from_mapping
from lps_sim.scattering import Scattering


@pytest.fixture
def film():
    rng = np.random.default_rng(3)
    return FilmModel(
        name="ganz genau",
        family="2moffat",
        sigma_rad=0.0,
        components=tuple(Scattering("moffat", rng.random(3), rng.random(3), 1.05 + rng.random(3)) for _ in range(2)),
        c1=rng.random(3),
        c2=rng.random(3) / 100,
        veil_table={4: rng.random(3), 1: rng.random(3)},
        geometry=FilmGeometry("two_stage", True, 1.49, 0.01, 0.7),
        provenance={"kind": "fitted", "text": "Grüße", "shots": [{"file": "a.png", "sha256": "0" * 64}] * 1000},
        parameter_names=("tau", "s"),
        covariance=rng.random((2, 2)),
        jackknife_spread=rng.random(2),
        calibration_camera={"width": 640, "f_px": 457.0},
        fit_quality=({"file": "a.png", "rms": 0.1},),
    )


def test_a_film_comes_back_bit_for_bit(film, tmp_path):
    film.save(tmp_path / "film.h5")
    back = FilmModel.load(tmp_path / "film.h5")
    assert back.checksum() == film.checksum()
    for name in ("name", "family", "geometry", "provenance", "parameter_names", "calibration_camera", "fit_quality"):
        assert getattr(back, name) == getattr(film, name), name
    for name in ("covariance", "jackknife_spread", "c1", "c2", "sigma_rad"):
        np.testing.assert_array_equal(getattr(back, name), getattr(film, name))
    assert list(back.veil_table) == [1, 4]
    np.testing.assert_array_equal(back.mtf([0.0, 3.0], 7), film.mtf([0.0, 3.0], 7))


def test_layer_law_transmittance_table_and_systematic_errors_come_back(film, tmp_path):
    rng = np.random.default_rng(4)
    bulk = Scattering("moffat", rng.random(3), np.radians(5 + 10 * rng.random(3)), 1.05 + rng.random(3))
    radiative = replace(
        film,
        components=(bulk, film.components[1]),
        layer_law="radiative",
        transmittance_table={10: rng.random(3), 2: rng.random(3)},
        systematic_covariance=rng.random((2, 2)),
    )
    radiative.save(tmp_path / "film.h5")
    back = FilmModel.load(tmp_path / "film.h5")
    assert back.checksum() == radiative.checksum()
    assert back.layer_law == "radiative"
    assert list(back.transmittance_table) == [2, 10]
    for n in (2, 10):
        np.testing.assert_array_equal(back.transmittance(n), radiative.transmittance_table[n])
    np.testing.assert_array_equal(back.transmittance(3), radiative.transmittance(3))
    np.testing.assert_array_equal(back.systematic_covariance, radiative.systematic_covariance)
    np.testing.assert_array_equal(back.mtf([0.0, 3.0], 7), radiative.mtf([0.0, 3.0], 7))


def test_the_checksum_knows_the_table_and_the_law(film):
    bulk = Scattering("moffat", 0.2, 0.2, 1.5)
    poisson = replace(film, components=(bulk, film.components[1]))
    table, law = replace(poisson, transmittance_table={2: np.full(3, 0.5)}), replace(poisson, layer_law="radiative")
    assert len({one.checksum() for one in (poisson, table, law)}) == 3


@pytest.mark.parametrize("name", FilmModel.presets())
def test_every_preset_survives_its_file(name, tmp_path):
    film = FilmModel.load(name)
    film.save(tmp_path / "film.h5")
    back = FilmModel.load(tmp_path / "film.h5")
    assert back.checksum() == film.checksum()
    assert back.name == name
    assert back.covariance is None


def test_nothing_but_the_film_is_left_in_the_folder(film, tmp_path):
    film.save(tmp_path / "film.h5")
    film.save(tmp_path / "film.h5")
    assert [p.name for p in tmp_path.iterdir()] == ["film.h5"]


def test_a_failed_write_keeps_the_older_file(film, tmp_path):
    film.save(tmp_path / "film.h5")
    before = (tmp_path / "film.h5").read_bytes()
    bad = FilmModel("x", "gaussian", 0.01, (), 0.1, 0.0, provenance={"text": object()})
    with pytest.raises(TypeError):
        bad.save(tmp_path / "film.h5")
    assert (tmp_path / "film.h5").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_newer_schema_is_refused_with_the_versions(film, tmp_path):
    film.save(tmp_path / "film.h5")
    with h5py.File(tmp_path / "film.h5", "r+") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(ValueError, match=r"film file schema 99, but this version of the package reads 1\.\.2"):
        FilmModel.load(tmp_path / "film.h5")


def test_a_changed_parameter_is_noticed(film, tmp_path):
    film.save(tmp_path / "film.h5")
    with h5py.File(tmp_path / "film.h5", "r+") as file:
        file["transmittance/c1"][0] += 1e-9
    with pytest.raises(ValueError, match=r"damaged film file \(checksum differs\)"):
        FilmModel.load(tmp_path / "film.h5")


def test_a_missing_part_is_a_damaged_file(film, tmp_path):
    film.save(tmp_path / "film.h5")
    with h5py.File(tmp_path / "film.h5", "r+") as file:
        del file["veil"]
    with pytest.raises(ValueError, match="damaged film file"):
        FilmModel.load(tmp_path / "film.h5")


def test_what_is_not_a_film_file_is_refused(tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.h5: not a film file \(not HDF5\)"):
        FilmModel.load(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match="an HDF5 file, but not a film file"):
        FilmModel.load(tmp_path / "other.h5")
    with pytest.raises(ValueError, match=r"nowhere\.h5: no such film file"):
        FilmModel.load(tmp_path / "nowhere.h5")
    with pytest.raises(ValueError, match=r"no such film file"):
        FilmModel.load("nowhere.h5")
    with pytest.raises(ValueError, match="a directory, not a film file"):
        FilmModel.load(tmp_path)


def test_an_unknown_preset_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="film: unknown 'p3ar-10-layers'; did you mean 'p3ar-10layer'"):
        FilmModel.load("p3ar-10-layers")


def test_an_unknown_key_of_a_preset_is_named():
    with pytest.raises(UnknownNameError, match="did you mean 'sigma_deg'"):
        film_from_mapping("x", {"sigma_degrees": 1.0})
