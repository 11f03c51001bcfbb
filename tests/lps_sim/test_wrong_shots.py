"""Wrong shots make no film: refused before the fit, and noticed again by the fit where it is forced."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import shift as shifted

from lps_sim.calibration.calibrate import RefusedShotsError, calibrate
from lps_sim.calibration.checks import failed
from lps_sim.calibration.shots import ShotSet
from lps_sim.calibration.simulate import simulate_shots
from lps_sim.camera import Camera
from lps_sim.film import FilmModel
from lps_sim.transfer import eotf_table

from .test_calibration_gate import bent, damaged_set, names, same, scenes

SIZE = 192, 108
CAMERA = Camera.from_field_of_view(*SIZE, 70.0, cos_power=4.0)
SHIFT_PX = 1.5
KNOWN = {"family": "gaussian+moffat", "law": "poisson", "geometry": "equal_area"}


def unchanged(shot):
    return shot


def moved(shot, codes):
    """The camera stands elsewhere for the film shots."""
    if not shot.layers:
        return codes
    return CAMERA.encode(shifted(eotf_table()[codes], (0, SHIFT_PX, 0), order=1, mode="nearest"))


def heated(code):
    """One percent of the pixels is hot, the same in every shot."""
    hot = np.random.default_rng(5).random(SIZE[::-1]) < 0.01
    return lambda _shot, codes: np.where(hot[..., None], np.uint8(code), codes)


def exchanged(shot):
    """1 and 2 layers have each other's label."""
    return shot.model_copy(update={"layers": {1: 2, 2: 1}.get(shot.layers, shot.layers)})


# damage -> (change of the codes, change of the labels, the gate's check, the fit's own checks that fail too)
DAMAGES = {
    "S-curve of 6 % down": (
        bent(0.06, lambda c: np.sin(2 * np.pi * c)),
        unchanged,
        "tone response",
        {"misplaced light", "model-free MTF"},
    ),
    "S-curve of 6 % up": (bent(0.06, lambda c: -np.sin(2 * np.pi * c)), unchanged, "tone response", {"model-free MTF"}),
    "moved camera": (moved, unchanged, "registration drift", {"residuals", "misplaced light", "model-free MTF"}),
    "swapped labels": (same, exchanged, "layer labels", {"residuals", "misplaced light", "model-free MTF"}),
    "hot pixels": (heated(230), unchanged, "hot or dead pixels", set()),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    return ShotSet.load(simulate_shots(FilmModel.load("rough"), scenes(size=SIZE), CAMERA, folder, (1, 2, 4), seed=2))


def test_the_undamaged_twin_passes_every_check(sound):
    result = calibrate(sound, jackknife=False, **KNOWN)
    assert failed(result.checks) == []
    assert {check.name for check in result.checks if check.status == "warn"} == {"halo at the border"}
    assert result.film.provenance["checks"] == [check.to_dict() for check in result.checks]


@pytest.mark.parametrize("damage", DAMAGES)
def test_wrong_shots_are_refused_by_their_cause_and_noticed_where_the_fit_is_forced(sound, tmp_path, damage):
    change, relabel, cause, noticed = DAMAGES[damage]
    wrong = damaged_set(sound, tmp_path, change, relabel)
    with pytest.raises(RefusedShotsError, match=cause) as refused:
        calibrate(wrong, **KNOWN)
    assert cause in names(refused.value.checks)
    assert all(check.cure for check in failed(refused.value.checks))
    result = calibrate(wrong, jackknife=False, force=True, **KNOWN)
    assert {cause, *noticed} <= names(result.checks)
    recorded = {check["name"] for check in result.film.provenance["checks"] if check["status"] == "fail"}
    assert recorded == names(result.checks)


def test_hot_pixels_that_saturate_every_exposure_make_no_film_even_by_force(sound, tmp_path):
    """A bare picture that is not known at 1 % of its pixels is no input of a fit."""
    wrong = damaged_set(sound, tmp_path, heated(255))
    with pytest.raises(RefusedShotsError, match="hot or dead pixels"):
        calibrate(wrong, **KNOWN)
    with pytest.raises(ValueError, match="of the bare picture saturated at every exposure"):
        calibrate(wrong, force=True, **KNOWN)
