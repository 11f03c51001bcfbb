"""shots.yaml, exposure brackets, and the cleaning of a set before the fit."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from lps_sim.calibration.merge import merge_bracket, variance
from lps_sim.calibration.observations import decimate, observe
from lps_sim.calibration.pictures import FolderPictures
from lps_sim.calibration.shots import Shot, ShotGeometry, ShotSet, write_shots
from lps_sim.calibration.simulate import Scene, simulate_shots
from lps_sim.camera import Camera
from lps_sim.film import FilmModel
from lps_sim.media import write_image

CAMERA = Camera.from_field_of_view(64, 36, 70.0)


@pytest.fixture
def folder(tmp_path):
    """A valid set of two shots."""
    shots = []
    for layers in (0, 2):
        file = f"N{layers}.png"
        write_image(tmp_path / file, np.full((36, 64, 3), 100, np.uint8))
        shots.append(Shot(file=file, target="flat", scene="flat", layers=layers, exposure=1.0))
    write_shots(tmp_path / "shots.yaml", CAMERA, ShotGeometry(), shots)
    return tmp_path


def change(folder, edit):
    """Rewrite shots.yaml after an edit of its mapping."""
    path = folder / "shots.yaml"
    data = yaml.safe_load(path.read_text())
    edit(data)
    path.write_text(yaml.safe_dump(data))
    return path


def test_a_written_set_reads_back_equal(folder):
    back = ShotSet.load(folder / "shots.yaml")
    assert back.camera == CAMERA
    assert [shot.layers for shot in back.shots] == [0, 2]
    assert back.shots[0].role == "fit"
    assert back.layer_counts() == [2]
    assert back.codes(back.shots[0]).shape == (36, 64, 3)
    assert len(back.provenance(back.shots)[0]["sha256"]) == 64


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d["shots"][0].update(layer=1), "did you mean 'layers'"),
        (lambda d: d["shots"][0].update(exposure=0), r"shots\.0\.exposure: .*greater than 0"),
        (lambda d: d["shots"][0].update(layers=65), r"shots\.0\.layers: .*less than or equal to 64"),
        (lambda d: d["shots"][0].update(target="edges"), r"shots\.0\.target"),
        (lambda d: d["shots"][0].pop("scene"), r"shots\.0\.scene: Field required"),
        (lambda d: d["shots"][0].update(file="nowhere.png"), r"1 of 2 files missing: nowhere\.png"),
        (lambda d: d["shots"][0].update(file="N2.png"), r"named twice: N2\.png"),
        (lambda d: d["camera"].update(focal=3), "camera key: unknown 'focal'"),
        (lambda d: d["geometry"].update(film_distance_m=2.0), "film_distance_m must be below target_distance_m"),
        (lambda d: d.pop("shots"), "shots: Field required"),
    ],
)
def test_a_wrong_entry_is_named_with_its_place(folder, edit, message):
    with pytest.raises(ValueError, match=message):
        ShotSet.load(change(folder, edit))


@pytest.mark.parametrize("text", ["{", "just text", "- 1\n- 2\n"])
def test_what_is_not_a_set_is_refused(tmp_path, text):
    (tmp_path / "shots.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"shots\.yaml: (not YAML|must hold camera)"):
        ShotSet.load(tmp_path / "shots.yaml")


def test_a_picture_of_another_size_is_refused(folder):
    write_image(folder / "N2.png", np.full((10, 10, 3), 100, np.uint8))
    with pytest.raises(ValueError, match=r"N2\.png: 10x10 pixels, but the camera has 64x36; every shot must be"):
        ShotSet.load(folder / "shots.yaml")


def test_codes_beyond_the_cameras_bits_are_refused(folder):
    write_image(folder / "N2.png", np.full((36, 64, 3), 60000, np.uint16))
    with pytest.raises(ValueError, match=r"N2\.png: code 60000, but a camera of 8 bits ends at 255; set"):
        ShotSet.load(folder / "shots.yaml")


def test_a_bracket_merges_to_the_light_with_the_variance_it_claims():
    rng = np.random.default_rng(2)
    light = np.tile(np.geomspace(0.002, 0.9, 64), (36, 1))[..., None].repeat(3, axis=2)
    exposures = [0.9, 7.2]
    camera = Camera.from_field_of_view(64, 36, 70.0, prnu=0.0)
    merged = [
        merge_bracket([camera.with_exposure(e).sense(light, rng) for e in exposures], exposures, camera)
        for _ in range(12)
    ]
    error = np.stack([m.mean - light for m in merged])
    claimed = np.sqrt(merged[0].variance)
    score = error / claimed
    # Codes near black are clipped at 0, which trims the noise a little.
    assert score.std() == pytest.approx(1.0, abs=0.05)
    assert abs(error.mean(axis=(0, 1, 3)) / light[0, :, 0]).max() < 0.02


def test_saturated_pixels_are_left_to_the_shorter_exposure():
    codes = [np.full((2, 2), 120, np.uint8), np.full((2, 2), 255, np.uint8)]
    merged = merge_bracket(codes, [1.0, 8.0], CAMERA)
    np.testing.assert_allclose(merged.mean, CAMERA.decode(np.uint8(120)), rtol=1e-6)
    assert merged.saturated_share == 0


def test_where_all_is_saturated_the_variance_says_so():
    merged = merge_bracket([np.full((2, 2), 255, np.uint8)], [2.0], CAMERA)
    assert merged.saturated_share == 1
    np.testing.assert_allclose(merged.mean, 0.5)


def test_the_variance_is_shot_read_pattern_and_quantisation():
    camera = Camera(4, 4, 10.0, eotf="linear", full_well_e=10_000, read_noise_e=10, prnu=0.01)
    expected = (0.5 / 10_000 + 1e-6 + (0.01 * 0.5) ** 2 + (1 / 255) ** 2 / 12) / 2.0**2
    assert variance(camera, np.array(0.25), 2.0) == pytest.approx(expected, rel=1e-3)


def test_merging_needs_one_exposure_a_shot():
    with pytest.raises(ValueError, match="at least one shot"):
        merge_bracket([], [], CAMERA)
    with pytest.raises(ValueError, match="one shape"):
        merge_bracket([np.zeros((2, 2), np.uint8), np.zeros((3, 2), np.uint8)], [1.0, 2.0], CAMERA)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A small set through a film with a veil, by a camera with vignetting."""
    folder = tmp_path_factory.mktemp("shots")
    half = np.where(np.arange(128) < 64, 1.0, 0.001)[None].repeat(72, axis=0)
    camera = Camera.from_field_of_view(128, 72, 70.0, cos_power=4.0)
    scenes = [Scene("flat", "flat", np.ones((72, 128)), bracket=(1.0,)), Scene("edge", "edge", half)]
    path = simulate_shots(FilmModel.load("matte"), scenes, camera, folder, layers=(1, 4), seed=3)
    return ShotSet.load(path)


def test_a_simulated_set_holds_every_scene_bare_and_filmed(simulated):
    assert simulated.layer_counts() == [1, 4]
    assert [s.target for s in simulated.select(layers=4)] == ["screen_off", "flat", "edge", "edge"]
    assert len(simulated.select(target="dark")) == 1


def test_more_scenes_do_not_change_the_noise_of_the_others(simulated, tmp_path):
    scenes = [Scene("flat", "flat", np.ones((72, 128)), bracket=(1.0,))]
    path = simulate_shots(FilmModel.load("matte"), scenes, simulated.camera, tmp_path, layers=(4,), seed=3)
    again = ShotSet.load(path)
    for shot in again.shots:
        assert (again.pictures.folder / shot.file).read_bytes() == (simulated.pictures.folder / shot.file).read_bytes()


def test_vignetting_comes_from_the_bare_flat(simulated):
    seen, _ = observe(simulated)
    # 1 % noise a pixel under a fit of four coefficients over the frame
    np.testing.assert_allclose(seen.vignetting, simulated.camera.vignetting_map(), atol=0.01)
    np.testing.assert_allclose(seen.white, 1.0, atol=0.01)


def test_the_screen_off_shots_veil_is_taken_off(simulated):
    seen, _ = observe(simulated)
    film = FilmModel.load("matte")
    off = seen.off[4] / seen.vignetting[..., None]
    np.testing.assert_allclose(off.mean(axis=(0, 1)), film.veil(4), rtol=0.02)


def test_held_and_other_layers_stay_out(simulated):
    seen, _ = observe(simulated, "held")
    assert seen.scenes == []
    seen, _ = observe(simulated, "fit", (4,))
    assert {scene.layers for scene in seen.scenes} == {4}


def test_a_scene_without_a_bare_shot_is_left_out_with_its_reason(simulated):
    kept = tuple(s for s in simulated.shots if not (s.scene == "edge" and s.layers == 0))
    seen, _ = observe(ShotSet(simulated.pictures, simulated.camera, simulated.geometry, kept))
    assert {scene.scene for scene in seen.scenes} == {"flat"}
    assert [(e.what, e.reason) for e in seen.exclusions] == [("scene edge", "no bare (layers 0) shot")]


def test_a_saturated_bare_scene_is_left_out(simulated, tmp_path):
    for shot in simulated.shots:
        codes = simulated.codes(shot)
        write_image(tmp_path / shot.file, np.full_like(codes, 255) if shot.file.startswith("N00_edge") else codes)
    seen, _ = observe(ShotSet(FolderPictures(tmp_path), simulated.camera, simulated.geometry, simulated.shots))
    assert any("saturated at every exposure" in e.reason for e in seen.exclusions)


def test_missing_screen_off_shots_are_reported(simulated):
    kept = tuple(s for s in simulated.shots if s.target != "screen_off")
    seen, _ = observe(ShotSet(simulated.pictures, simulated.camera, simulated.geometry, kept))
    assert sorted(e.what for e in seen.exclusions) == ["veil at 1 layers", "veil at 4 layers"]


def test_area_means_keep_the_mean():
    values = np.random.default_rng(0).random((8, 12, 3))
    assert decimate(values, 4).shape == (2, 3, 3)
    np.testing.assert_allclose(decimate(values, 4).mean(), values.mean())


def test_scenes_need_different_names(tmp_path):
    flat = Scene("a", "flat", np.ones((36, 64)))
    with pytest.raises(ValueError, match="scenes must have different names"):
        simulate_shots(FilmModel.load("rough"), [flat, flat], CAMERA, tmp_path)
    assert not list(tmp_path.iterdir())
