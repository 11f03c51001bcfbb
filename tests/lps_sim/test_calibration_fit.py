"""Simulate, fit, recover: the fit's operator is the degradation's, and the truth comes back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lps_sim import hankel
from lps_sim.calibration.basis import OperatorBasis
from lps_sim.calibration.columns import decimation
from lps_sim.calibration.families import Family
from lps_sim.calibration.fit import fit_film
from lps_sim.calibration.predict import predict_shots
from lps_sim.calibration.shots import ShotSet
from lps_sim.calibration.simulate import simulate_shots
from lps_sim.calibration.transmittance import lossless_gain
from lps_sim.camera import Camera
from lps_sim.error_bars import parameter_values
from lps_sim.errors import UnknownNameError
from lps_sim.film import FAMILIES, FilmModel
from lps_sim.operator import apply_film

from .screens import screen

BENT = 2e-4  # of white: the sphere's correction asks for the spline's slope, measured 1.1e-4
OPERATOR = 5e-5  # of white: spline through 44 frequencies and single precision, measured 2e-5
MTF = 0.006  # of the fit against the truth, one noisy 8-bit set of 160x90; measured 0.0035
ENERGY = 0.008  # likewise for encircled energy; measured 0.0042
GAIN = 0.01  # relative, of the transmittance; measured 0.0065

KNOWN = {"law": "poisson", "geometry": "equal_area"}  # of the presets

THETA = np.radians(np.geomspace(0.25, 35, 40))


@pytest.fixture(scope="module", params=["rough", "bulk-haze"])
def calibrated(request, tmp_path_factory):
    """(truth, its shots, the fit): everything chosen by the fit for one film, everything given for the other."""
    film = FilmModel.load(request.param)
    film = replace(film, geometry=replace(film.geometry, oblique_ballistic=False))
    camera = Camera.from_field_of_view(160, 90, 70.0, cos_power=4.0)
    shots = ShotSet.load(simulate_shots(film, screen(), camera, tmp_path_factory.mktemp("set"), (1, 4, 8), seed=1))
    given = {} if request.param == "rough" else {"family": film.family, **KNOWN}
    return film, shots, fit_film(shots, created="2026-01-01", **given)


def test_the_fit_converges_to_the_noise(calibrated):
    _, _, result = calibrated
    assert result.converged
    # Soft l1 keeps 0.87 of pure noise; the model's floor of 0.2 % and the bare picture's noise weigh some of it down.
    assert 0.7 < result.reduced_chi2 < 1.2


def test_law_family_and_geometry_of_the_truth_win(calibrated):
    film, _, result = calibrated
    assert result.film.family == film.family
    assert result.film.layer_law == film.layer_law
    assert result.film.geometry == film.geometry
    assert [score.bic for score in result.scores] == sorted(score.bic for score in result.scores)
    if film.name != "rough":
        return
    # A Gaussian alone knows no law but Poisson's, and has no halo.
    assert len(result.scores) == 2 * len(FAMILIES) - 1
    assert {score.family for score in result.scores} == set(FAMILIES)
    assert {score.law for score in result.scores} == {"poisson", "radiative"}
    assert result.scores[-1].family == "gaussian"
    assert {"sphere", "equal_area", "direction_cosines", "two_stage"} == {g.projection for g in result.geometries}
    assert min(result.geometries, key=lambda g: g.score).projection == "equal_area"


def test_a_sound_fit_passes_its_own_checks(calibrated):
    _, _, result = calibrated
    assert {check.status for check in result.checks} == {"ok"}
    assert result.outliers < 1e-4


def test_the_truth_lies_inside_the_error_bars(calibrated):
    """95 % of one parameter; of the worst of fifteen or eighteen, 1.5 times that (3 standard deviations)."""
    film, _, result = calibrated
    twin = replace(film, parameter_names=result.film.parameter_names)
    for name, value in parameter_values(twin).items():
        low, high = np.log(result.intervals[name])
        assert abs(np.log(value) - (low + high) / 2) < 1.5 * (high - low) / 2, name


@pytest.mark.parametrize("layers", [1, 4, 8, 10])
def test_the_truth_comes_back_at_fitted_and_at_other_layer_counts(calibrated, layers):
    film, _, result = calibrated
    q = np.geomspace(0.5, 80, 60)
    np.testing.assert_allclose(result.film.mtf(q, layers), film.mtf(q, layers), atol=MTF)
    energy = film.encircled_energy(THETA, layers)
    np.testing.assert_allclose(result.film.encircled_energy(THETA, layers), energy, atol=ENERGY)
    np.testing.assert_allclose(result.film.transmittance(layers), film.transmittance(layers), rtol=GAIN)
    np.testing.assert_allclose(result.film.veil(min(layers, 8)), film.veil(min(layers, 8)), rtol=0.02)


def test_held_shots_are_predicted_to_their_noise(calibrated):
    _, shots, result = calibrated
    needed = tuple(
        s for s in shots.shots if s.role == "held" or s.target in ("dark", "screen_off", "flat") or not s.layers
    )
    rows, exclusions = predict_shots(result.film, ShotSet(shots.pictures, shots.camera, shots.geometry, needed))
    held = [row for row in rows if row.role == "held"]
    assert exclusions == []
    assert {row.layers for row in held} == {1, 4, 8}
    # 9000 electrons and 8 bits leave 42 to 46 dB between a shot and its noise-free twin.
    assert min(row.psnr_db for row in held) > 40


def test_the_film_records_what_made_it(calibrated, tmp_path):
    _, shots, result = calibrated
    result.film.save(tmp_path / "film.h5")
    back = FilmModel.load(tmp_path / "film.h5")
    assert back.provenance["kind"] == "fitted"
    assert back.provenance["created"] == "2026-01-01"
    files = {row["file"] for row in back.provenance["shots"]}
    assert "N00_edge_x1.png" in files
    assert "N04_edge_x8.png" in files
    assert not any("other" in file for file in files), "a held shot took part in the fit"
    assert Camera.from_dict(back.calibration_camera) == shots.camera
    assert back.covariance.shape == (len(back.parameter_names),) * 2
    assert len(back.fit_quality) == len(result.residuals) == 4 * 3 * 3


def test_layers_choose_the_shots(calibrated):
    film, shots, _ = calibrated
    result = fit_film(shots, layers=(4,), family=film.family, jackknife=False, **KNOWN)
    assert list(result.gains) == [4]
    assert {row.layers for row in result.residuals} == {4}
    np.testing.assert_allclose(result.film.transmittance(4), film.transmittance(4), rtol=3 * GAIN)


def test_predictions_are_written_as_linear_light_times_exposure(calibrated, tmp_path):
    film, shots, _ = calibrated
    predict_shots(film, shots, layers=(8,), out_dir=tmp_path)
    written = sorted(path.stem for path in tmp_path.iterdir())
    assert written == sorted(shot.file[:-4] for shot in shots.shots if shot.layers == 8 and shot.target != "screen_off")
    shot = next(shot for shot in shots.shots if shot.file == "N08_other_x1.png")
    predicted = np.load(tmp_path / "N08_other_x1.npy")
    assert predicted.dtype == np.float32
    assert predicted.shape == (90, 160, 3)
    measured = shots.camera.decode(shots.codes(shot))
    assert abs(predicted - measured).mean() < 0.02
    assert predicted.mean() == pytest.approx(measured.mean(), rel=0.01)


@pytest.mark.parametrize("projection", ["sphere", "equal_area", "direction_cosines", "pixel"])
@pytest.mark.parametrize("name", FilmModel.presets())
def test_the_fits_operator_is_the_degradations(projection, name):
    camera = Camera.from_field_of_view(128, 72, 70.0)
    x = np.asarray(screen(128, 72)[2].light, dtype=float)
    film = FilmModel.load(name)
    film = replace(film, veil_table={}, geometry=replace(film.geometry, projection=projection))
    basis = OperatorBasis(camera, projection)
    pixels = np.arange(0, x.size, 7)
    matrix = basis.matrix(x, pixels)
    way, loss = (part.ravel()[pixels] for part in basis.unscattered(film.geometry.refractive_index))
    for layers in (1, 4, 10):
        ballistic = film.ballistic_fraction(layers)[1]
        factor = ballistic ** (1 + way) * np.exp(-2 * layers * loss) if film.geometry.oblique_ballistic else ballistic
        fast = matrix @ basis.coefficients(film, layers, 1) + factor * x.ravel()[pixels]
        exact = apply_film(x, film, layers, camera, border="dark").ravel()[pixels] / film.transmittance(layers)[1]
        np.testing.assert_allclose(fast, exact, atol=BENT if projection == "sphere" else OPERATOR)


def test_node_maps_are_the_transforms_they_stand_for():
    film = FilmModel.load("rough")
    angles, radius = np.array([0.5, 2.0, 10.0]), np.array([0.3, 5.0])
    psf, energy = hankel.node_maps(angles, radius)
    nodes = film.scattered_otf(hankel.NODES_CPR, 4)[:, 0]
    full = film.scattered_otf(hankel.FREQUENCIES_CPR, 4)[:, 0]
    np.testing.assert_allclose(psf @ nodes, hankel.point_spread(full)(angles), rtol=1e-3)
    np.testing.assert_allclose(energy @ nodes, hankel.encircled(full)(radius), atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_decodes_what_it_encodes(name):
    family = Family.of(name)
    low, high = family.bounds
    for start in family.starts:
        assert ((start > low) & (start < high)).all()
        np.testing.assert_allclose(family.encode(family.decode(start)), start)
        assert family.film([start], FilmModel.load("rough").geometry).family == name


def test_no_gain_passes_what_the_faces_let_through(calibrated):
    """Fresnel at n = 1.5: 4 % a face; one sheet 0.923, by reflections to and fro."""
    assert lossless_gain(1.5, 1) == pytest.approx(0.96 / 1.04)
    assert lossless_gain(1.0, 5) == 1.0
    _, shots, result = calibrated
    for layers, gains in result.gains.items():
        assert max(gains) <= 1.01 * lossless_gain(shots.geometry.refractive_index, layers)


def test_shots_are_averaged_only_by_common_divisors():
    assert decimation(320, 180) == 1
    assert decimation(640, 360) == 2
    assert decimation(1920, 1080) == 5
    assert decimation(641, 359) == 1


@pytest.fixture
def shot_set(calibrated):
    _, shots, _ = calibrated
    return shots


def test_impossible_requests_are_refused(shot_set):
    with pytest.raises(UnknownNameError, match=r"did you mean 'gaussian\+moffat'"):
        fit_film(shot_set, family="gausian+moffat")
    with pytest.raises(UnknownNameError, match="did you mean 'equal_area'"):
        fit_film(shot_set, geometry="equalarea")
    with pytest.raises(ValueError, match=r"layers must be among those filmed \(\[1, 4, 8\]\), got \[3\]"):
        fit_film(shot_set, layers=(1, 3))
    with pytest.raises(ValueError, match=r"layers must be among those filmed \(\[1, 4, 8\]\), got \[3\]"):
        predict_shots(FilmModel.load("rough"), shot_set, layers=(3,))


def test_a_set_without_usable_film_shots_says_why(shot_set):
    bare_only = tuple(shot for shot in shot_set.shots if shot.layers == 0)
    with pytest.raises(ValueError, match="no usable film shots: none has role fit and layers > 0"):
        fit_film(ShotSet(shot_set.pictures, shot_set.camera, shot_set.geometry, bare_only))
    film_only = tuple(shot for shot in shot_set.shots if shot.layers > 0)
    with pytest.raises(ValueError, match=r"no usable film shots: .*no bare \(layers 0\) shot"):
        fit_film(ShotSet(shot_set.pictures, shot_set.camera, shot_set.geometry, film_only))
