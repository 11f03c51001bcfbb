"""One image or video through the film, file to file; and what is said about a film."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lps_sim.apply import apply_to_file, film_camera
from lps_sim.camera import Camera
from lps_sim.film import FilmModel
from lps_sim.film_report import parameters, relative_spread, save_curves, summary
from lps_sim.media import MediaError, iter_frames, probe, read_image, write_image, write_video
from lps_sim.transfer import eotf

FILM = FilmModel.load("p3ar-10layer")


@pytest.fixture
def street(tmp_path, bikes_path):
    """Twenty real frames of a street."""
    path = tmp_path / "street.mp4"
    write_video(path, list(itertools.islice(iter_frames(bikes_path), 20)), 25)
    return path


def test_a_flat_picture_becomes_transmittance_times_level_plus_veil(tmp_path):
    write_image(tmp_path / "in.png", np.full((90, 160, 3), 180, np.uint8))
    done = apply_to_file(FILM, 10, tmp_path / "in.png", tmp_path / "out.png")
    level = eotf(np.array(180 / 255))
    seen = eotf(read_image(tmp_path / "out.png") / 255).mean(axis=(0, 1))
    np.testing.assert_allclose(seen, level * FILM.transmittance(10) + FILM.veil(10), atol=0.002)
    assert (done.width, done.height, done.frames) == (160, 90, 1)
    assert done.checksum == FILM.checksum()


def test_a_real_video_keeps_its_frames_rate_and_its_light(street, tmp_path):
    seen = []
    # A narrow view: at 70 degrees across, pixels are no equal shares of the solid angle that a wide halo averages over.
    camera = Camera.from_field_of_view(640, 272, 15.0, full_well_e=38000)
    done = apply_to_file(
        FILM, 10, street, tmp_path / "out.mp4", camera, (224, 224), on_frames=lambda *count: seen.append(count)
    )
    info = probe(tmp_path / "out.mp4", count=True)
    assert (info.frames, info.width, info.height, info.fps) == (20, 224, 224, 25)
    assert done.frames == 20
    assert seen[-1] == (20, 20)
    light = np.array([eotf(frame / 255).mean() for frame in iter_frames(street)])
    filmed = np.array([eotf(frame / 255).mean() for frame in iter_frames(tmp_path / "out.mp4")])
    expected = light * FILM.transmittance(10).mean() + FILM.veil(10).mean()
    # The halo reaches beyond the frame and H.264 rounds: 2 % of the level; what flickers is 10 times less.
    np.testing.assert_allclose(filmed, expected, rtol=0.02)
    assert (filmed / expected).std() < 0.002


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_noise(tmp_path):
    write_image(tmp_path / "in.png", np.full((36, 64, 3), 120, np.uint8))
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        apply_to_file(FILM, 4, tmp_path / "in.png", tmp_path / f"{name}.png", seed=seed)
    a, b, c = (read_image(tmp_path / f"{name}.png") for name in "abc")
    assert (a == b).all()
    assert (a != c).any()


def test_an_odd_size_is_written_in_full_colour_resolution(street, tmp_path):
    apply_to_file(FILM, 2, street, tmp_path / "odd.mp4", size=(113, 75))
    assert probe(tmp_path / "odd.mp4").pixel_format == "yuv444p"


def test_sixteen_bit_pictures_are_taken(tmp_path):
    write_image(tmp_path / "in.png", np.full((36, 64, 3), 180 * 257, np.uint16))
    apply_to_file(FILM, 10, tmp_path / "in.png", tmp_path / "out.png")
    assert read_image(tmp_path / "out.png").dtype == np.uint8


def test_a_failure_leaves_nothing_behind(street, tmp_path):
    folder = tmp_path / "out"
    text = tmp_path / "text.avi"
    text.write_text("not a video")
    with pytest.raises(MediaError, match="not a video"):
        apply_to_file(FILM, 10, text, folder / "a.mp4")
    with pytest.raises(ValueError, match=r"layers must be 1\.\.64, got 0"):
        apply_to_file(FILM, 0, street, folder / "a.mp4")
    with pytest.raises(ValueError, match=r"street\.mp4 is a video, but a\.png names an image"):
        apply_to_file(FILM, 10, street, folder / "a.png")

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply_to_file(FILM, 10, street, folder / "a.mp4", on_frames=stop)
    assert not folder.exists() or not list(folder.iterdir())


def test_the_films_own_camera_is_used_and_its_field_of_view_stays():
    assert film_camera(FILM, 640, 360).fov_deg == pytest.approx(Camera.from_dict(FILM.calibration_camera).fov_deg)
    assert film_camera(FilmModel.load("rough"), 640, 360).fov_deg == pytest.approx(70.0)


def test_a_summary_has_every_layer_and_plain_values():
    result = summary(FilmModel.load("bulk-haze"), (1, 10))
    assert [row["layers"] for row in result["by_layers"]] == [1, 10]
    assert result["by_layers"][1]["haze"][0] == pytest.approx(0.86, abs=0.005)
    assert result["by_layers"][1]["privacy"]["ballistic_visible"] is True
    assert [row["name"] for row in result["parameters"]] == ["tau1", "s1", "beta1", "c1", "c2"]
    assert result["parameters"][1]["value"][0] == pytest.approx(6.5)


def test_uncertainty_is_given_where_known_and_the_jackknife_is_preferred():
    film = FilmModel("f", "gaussian", 0.01, (), 0.1, 0.0, parameter_names=("sigma",), covariance=[[0.04]])
    assert relative_spread(film, "sigma") == (pytest.approx(0.2), "noise only")
    assert relative_spread(film, "c1") is None
    both = FilmModel(
        "f", "gaussian", 0.01, (), 0.1, 0.0, parameter_names=("sigma",), covariance=[[0.04]], jackknife_spread=[0.5]
    )
    assert relative_spread(both, "sigma") == (0.5, "jackknife")
    assert parameters(both)[0]["relative_sd"] == 0.5


def test_colour_fits_give_the_largest_spread_of_the_channels():
    film = FilmModel(
        "f",
        "gaussian",
        0.01,
        (),
        0.1,
        0.0,
        parameter_names=("sigma_r", "sigma_g", "sigma_b"),
        covariance=np.diag([0.01, 0.04, 0.0]),
    )
    assert relative_spread(film, "sigma") == (pytest.approx(0.2), "noise only")


def test_curves_are_drawn_into_a_file(tmp_path):
    save_curves(FILM, (1, 10), tmp_path / "film.png")
    assert read_image(tmp_path / "film.png").shape[2] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["film.png"]
