"""The gate before the fit: sound sets pass, and every kind of damage is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import shift as shifted

from lps_sim.calibration.checks import failed
from lps_sim.calibration.gate import inspect_shots
from lps_sim.calibration.gate_registration import Registration
from lps_sim.calibration.shots import ShotSet, write_shots
from lps_sim.calibration.simulate import Scene, simulate_shots
from lps_sim.camera import Camera
from lps_sim.film import FilmModel
from lps_sim.media import write_image
from lps_sim.transfer import eotf_table

SIZE = 320, 180
CAMERA = Camera.from_field_of_view(*SIZE, 70.0, cos_power=4.0)
SHIFT_PX = 0.1  # of the estimate through a blur of 2 px with camera noise; claimed to 0.05


def scenes(seed=1, size=SIZE):
    """Edge, hole, blocks and flat on a screen with a dark rim; sides a multiple of 12 px, or nearly."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    lit = (abs(x - width / 2) < 0.47 * width) & (abs(y - height / 2) < 0.47 * height)
    rng = np.random.default_rng(seed)
    fine = np.kron(rng.random((height // 3, width // 3 + 1)) > 0.5, np.ones((3, 3)))[:, :width]
    coarse = np.kron(rng.random((height // 12, width // 12 + 1)) > 0.5, np.ones((12, 12)))[:, :width]

    def on_screen(picture):
        return np.where(lit, np.maximum(picture, 8e-4), 0.0)

    return [
        Scene("edge", "edge", on_screen(np.clip(x - width / 2 + 0.1 * y, 0, 1))),
        Scene("hole", "hole", on_screen(np.hypot(x - width / 2, y - height / 2) > 12)),
        Scene("noise", "noise", on_screen(0.5 * (fine + coarse)), bracket=(1.0, 4.0)),
        Scene("flat", "flat", on_screen(np.ones((height, width))), bracket=(1.0,)),
    ]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    return ShotSet.load(simulate_shots(FilmModel.load("rough"), scenes(), CAMERA, folder, (1, 2, 4), seed=2))


def damaged_set(sound, folder, change, relabel=lambda shot: shot):
    """A copy of the set with every picture's codes changed, and its labels."""
    for shot in sound.shots:
        write_image(folder / shot.file, change(shot, sound.codes(shot)))
    write_shots(folder / "shots.yaml", sound.camera, sound.geometry, [relabel(shot) for shot in sound.shots])
    return ShotSet.load(folder / "shots.yaml")


def damaged(sound, folder, change, relabel=lambda shot: shot):
    """The checks of :func:`damaged_set`."""
    return inspect_shots(damaged_set(sound, folder, change, relabel))


def same(_shot, codes):
    return codes


def names(checks):
    return {check.name for check in failed(checks)}


@pytest.mark.parametrize(
    ("film", "seed", "camera"),
    [
        ("rough", 0, CAMERA),
        ("matte", 1, CAMERA),
        ("bulk-haze", 2, CAMERA),
        ("p3ar-10layer", 3, CAMERA),
        ("rough", 4, replace(CAMERA, eotf="linear", bits=12)),
        ("p3ar-10layer", 6, replace(CAMERA, full_well_e=1e6, read_noise_e=0.5, prnu=0.0)),
        ("matte", 5, replace(CAMERA, full_well_e=2500, read_noise_e=8, prnu=0.01)),
    ],
)
def test_a_sound_set_passes(film, seed, camera, tmp_path):
    shots = simulate_shots(FilmModel.load(film), scenes(seed), camera, tmp_path, (1, 4, 10), seed)
    checks = inspect_shots(ShotSet.load(shots))
    assert not failed(checks)
    assert all(check.status != "ok" or not check.cure for check in checks)
    assert all(check.cure for check in checks if check.status == "warn")


def test_only_what_is_expected_of_a_sound_set_is_warned_about(sound):
    assert {check.name for check in inspect_shots(sound) if check.status != "ok"} == {"halo at the border"}


def test_layers_and_roles_choose_the_shots(sound):
    checks = inspect_shots(sound, layers=(1,))
    assert "10 layers" not in " ".join(check.text for check in checks)
    with pytest.raises(ValueError, match=r"layers must be among those filmed \(\[1, 2, 4\]\), got \[3\]"):
        inspect_shots(sound, layers=(3,))
    with pytest.raises(ValueError, match="roles must be among"):
        inspect_shots(sound, roles=("held",))


def bent(amplitude, form):
    def change(_shot, codes):
        c = codes / 255
        return np.clip(np.rint(255 * (c + amplitude * form(c))), 0, 255).astype(np.uint8)

    return change


@pytest.mark.parametrize(
    "form",
    [lambda c: np.sin(2 * np.pi * c), lambda c: -np.sin(2 * np.pi * c), lambda c: 3 * c**2 - 2 * c**3 - c],
    ids=["down", "up", "blend with a smooth step"],
)
def test_an_s_curve_in_the_tone_response_fails(sound, tmp_path, form):
    checks = damaged(sound, tmp_path, bent(0.06, form))
    assert "tone response" in names(checks)
    assert "lps film response" in next(check.cure for check in checks if check.name == "tone response")


def test_a_wrong_transfer_function_fails_and_the_right_one_is_named(sound):
    wrong = replace(sound, camera=replace(sound.camera, eotf="gamma:1.8"))
    check = next(one for one in inspect_shots(wrong) if one.name == "tone response")
    assert check.status == "fail"
    assert "set eotf: srgb" in check.cure


@pytest.mark.parametrize("offset", [1.5, 3.0])
def test_a_camera_that_moved_fails(sound, tmp_path, offset):
    def move(shot, codes):
        if not shot.layers:
            return codes
        light = eotf_table()[codes]
        return CAMERA.encode(shifted(light, (0, offset, 0), order=1, mode="nearest"))

    assert "registration drift" in names(damaged(sound, tmp_path, move))


@pytest.mark.parametrize("pair", [(2, 4), (1, 2)])
def test_swapped_layer_labels_fail(sound, tmp_path, pair):
    def swap(shot):
        return shot.model_copy(update={"layers": dict([pair, pair[::-1]]).get(shot.layers, shot.layers)})

    checks = damaged(sound, tmp_path, same, swap)
    assert names(checks) == {"layer labels"}
    assert f"from {pair[0]} to {pair[1]} layers" in failed(checks)[0].text


def test_swapped_files_under_unchanged_exposures_fail(sound, tmp_path):
    codes = {shot.file: sound.codes(shot) for shot in sound.shots}
    other = {"N02": "N04", "N04": "N02"}

    def exchange(shot, _codes):
        return codes[other.get(shot.file[:3], shot.file[:3]) + shot.file[3:]]

    assert "layer labels" in names(damaged(sound, tmp_path, exchange))


def test_one_percent_of_hot_pixels_fails(sound, tmp_path):
    hot = np.random.default_rng(5).random(SIZE[::-1]) < 0.01

    def heat(_shot, codes):
        return np.where(hot[..., None], np.uint8(255), codes)

    assert "hot or dead pixels" in names(damaged(sound, tmp_path, heat))


def test_a_clipped_bare_shot_fails(sound, tmp_path):
    def overexpose(shot, codes):
        if shot.scene == "noise" and shot.layers == 0:
            return CAMERA.encode(eotf_table()[codes].astype(float) * 2)
        return codes

    assert "clipping bare" in names(damaged(sound, tmp_path, overexpose))


@pytest.mark.parametrize("file", ["N02_edge_x1.png", "N04_noise_x4.png"])
def test_a_wrong_exposure_fails_by_its_name(sound, tmp_path, file):
    def mislabel(shot):
        return shot.model_copy(update={"exposure": shot.exposure * 1.1}) if shot.file == file else shot

    checks = damaged(sound, tmp_path, same, mislabel)
    assert "exposure ratio" in names(checks)
    assert file in next(check.text for check in checks if check.name == "exposure ratio")


@pytest.mark.parametrize(("file", "which"), [("N02_flat_x1.png", "filmed"), ("N00_flat_x1.png", "bare")])
@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_wrong_exposure_of_a_scene_without_a_bracket_fails(sound, tmp_path, file, which, factor):
    def mislabel(shot):
        return shot.model_copy(update={"exposure": shot.exposure * factor}) if shot.file == file else shot

    failures = failed(damaged(sound, tmp_path, same, mislabel))
    assert [check.name for check in failures] == ["scene level"]
    assert "_flat_x1.png" in failures[0].text
    assert f"the {which} shot" in failures[0].text


def test_automatic_exposure_fails(sound, tmp_path):
    def adapt(shot, codes):
        if shot.target in ("dark", "screen_off"):
            return codes
        light = eotf_table()[codes].astype(float)
        return CAMERA.encode(light * 0.3 / light.mean())

    assert "exposure ratio" in names(damaged(sound, tmp_path, adapt))


def test_a_raised_black_level_fails(sound, tmp_path):
    def lift(_shot, codes):
        return CAMERA.encode(eotf_table()[codes].astype(float) * 0.97 + 0.03)

    assert "black level" in names(damaged(sound, tmp_path, lift))


def test_a_small_screen_fails_and_noise_beyond_the_model_is_warned_about(tmp_path):
    width, height = SIZE
    y, x = np.mgrid[0:height, 0:width]
    lit = (abs(x - width / 2) < 0.3 * width) & (abs(y - height / 2) < 0.3 * height)
    small = [Scene("flat", "flat", lit.astype(float), bracket=(1.0,))]
    path = simulate_shots(FilmModel.load("rough"), small, replace(CAMERA, full_well_e=2000), tmp_path, (1,))
    shots = ShotSet.load(path)
    checks = inspect_shots(ShotSet(shots.pictures, CAMERA, shots.geometry, shots.shots, unusable=shots.unusable))
    assert "screen coverage" in names(checks)
    noise = next(check for check in checks if check.name == "noise level")
    assert noise.status == "warn"
    assert noise.value == pytest.approx(np.sqrt(9000 / 2000), rel=0.1)


def test_a_jpeg_set_is_warned_about_once(sound, tmp_path):
    shots = []
    for shot in sound.shots:
        file = shot.file.replace(".png", ".jpg")
        write_image(tmp_path / file, sound.codes(shot))
        shots.append(shot.model_copy(update={"file": file}))
    write_shots(tmp_path / "shots.yaml", sound.camera, sound.geometry, shots)
    checks = inspect_shots(ShotSet.load(tmp_path / "shots.yaml"))
    assert [(c.name, c.status) for c in checks if "JPEG" in c.text] == [("file format", "warn")]
    assert not failed(checks)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.4, -1.3), (-2.0, 5.0)])
def test_the_shift_is_measured_through_blur_and_noise(offset):
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(3)
    bare = np.kron(rng.random((45, 80)) > 0.5, np.ones((4, 4))).astype(float)
    filmed = gaussian_filter(shifted(bare, offset, order=3, mode="grid-wrap"), 2.0) * 0.8
    filmed += 0.01 * rng.standard_normal(filmed.shape)
    found = Registration(bare, 228.0).shift_of(filmed)
    np.testing.assert_allclose(found.shift_px, offset, atol=SHIFT_PX)
    assert found.precision_px() < SHIFT_PX
