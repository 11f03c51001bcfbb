"""The exact operator against closed forms and a brute-force sum over directions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lps_sim.camera import Camera
from lps_sim.errors import UnknownNameError
from lps_sim.film import FilmGeometry, FilmModel
from lps_sim.operator import BORDERS, apply_film
from lps_sim.scattering import Scattering

ROUNDING = 1e-9  # float64 transforms and spline solves
NARROW = 0.002  # a lens of 4 degrees: cos(theta) is 1 to 6e-4, angle space is the image plane to that order
TAIL = 2e-3  # brute force samples the halo at pixel centres
PRESETS = ("bulk-haze", "rough", "matte", "p3ar-10layer")


def gaussian_film(sigma_rad: float, **fields) -> FilmModel:
    """A film that is nothing but a rough face: no loss, no veil."""
    return FilmModel("test", "gaussian", np.full(3, sigma_rad), (), np.zeros(3), np.zeros(3), **fields)


def haze_film(tau: float = 0.3, s_deg: float = 8.0, oblique: bool = False) -> FilmModel:
    """Henyey-Greenstein events alone: an unscattered part and a wide halo."""
    event = Scattering("moffat", tau, np.radians(s_deg), 1.5)
    geometry = FilmGeometry(oblique_ballistic=oblique)
    return FilmModel("test", "ballistic+moffat", np.zeros(3), (event,), np.zeros(3), np.zeros(3), geometry=geometry)


def lossless(film: FilmModel) -> FilmModel:
    return dataclasses.replace(film, c1=np.zeros(3), c2=np.zeros(3), veil_table={})


@pytest.fixture
def camera() -> Camera:
    return Camera.from_field_of_view(96, 54, 70.0)


@pytest.fixture
def scene() -> np.ndarray:
    return np.random.default_rng(0).random((54, 96, 3))


def test_no_film_returns_the_light_unchanged(camera, scene):
    np.testing.assert_array_equal(apply_film(scene, FilmModel.load("rough"), 0, camera), scene)


@pytest.mark.parametrize("border", BORDERS)
def test_a_film_whose_point_spread_is_a_delta_is_the_identity(camera, scene, border):
    film = haze_film(tau=0.0)
    np.testing.assert_allclose(apply_film(scene, film, 3, camera, border=border), scene, atol=ROUNDING)


@pytest.mark.parametrize("layers", range(1, 13))
@pytest.mark.parametrize("preset", PRESETS)
def test_a_flat_field_becomes_transmittance_times_level_plus_veil(camera, preset, layers):
    film = FilmModel.load(preset)
    level = np.array([0.2, 0.5, 0.9])
    y = apply_film(np.broadcast_to(level, (54, 96, 3)).copy(), film, layers, camera)
    want = film.transmittance(layers) * level + film.veil(layers)
    np.testing.assert_allclose(y, np.broadcast_to(want, y.shape), rtol=ROUNDING)


def test_a_flat_field_stays_flat_with_the_mean_border_and_dims_towards_a_dark_one(camera):
    film = lossless(FilmModel.load("p3ar-10layer"))
    flat = np.full((54, 96, 3), 0.5)
    np.testing.assert_allclose(apply_film(flat, film, 8, camera, border="mean"), flat, rtol=ROUNDING)
    dark = apply_film(flat, film, 8, camera, border="dark")
    assert dark[0, 0, 1] < dark[27, 48, 1] < 0.5


@pytest.mark.parametrize("cycles", [2, 6, 12])
def test_a_sinusoid_near_the_axis_is_dimmed_by_the_gaussian_mtf(cycles):
    """The modulation falls by exp(-2 pi^2 s^2 q^2)."""
    camera = Camera.from_field_of_view(240, 8, 4.0)
    sigma = 2.0 / camera.f_px
    # Whole periods with extrema at both edges: the mirrored scene is the same sinusoid.
    phase = 2 * np.pi * cycles * (np.arange(240) + 0.5) / 240
    x = np.broadcast_to((0.5 + 0.4 * np.cos(phase))[None, :, None], (8, 240, 3)).copy()
    y = apply_film(x, gaussian_film(sigma), 1, camera)
    q = cycles / 240 * camera.f_px
    modulation = 2 * (y[4, :, 1] * np.cos(phase)).mean() / 0.4
    assert modulation == pytest.approx(np.exp(-2 * np.pi**2 * sigma**2 * q**2), abs=NARROW)


def test_ten_layers_are_ten_times_one_layer(scene):
    """Transmittance aside; the narrow lens keeps each pass inside the mirrored frame."""
    camera = Camera.from_field_of_view(96, 54, 6.0)
    film = lossless(FilmModel.load("rough"))
    y = scene
    for _ in range(10):
        y = apply_film(y, film, 1, camera)
    np.testing.assert_allclose(apply_film(scene, film, 10, camera), y, atol=NARROW)


@pytest.mark.parametrize("border", BORDERS)
def test_superposition_holds(camera, scene, border):
    film = lossless(FilmModel.load("p3ar-10layer"))
    other = np.random.default_rng(1).random(scene.shape)
    both = apply_film(2 * scene + 0.5 * other, film, 4, camera, border=border)
    apart = 2 * apply_film(scene, film, 4, camera, border=border)
    apart += 0.5 * apply_film(other, film, 4, camera, border=border)
    np.testing.assert_allclose(both, apart, atol=ROUNDING)


def test_energy_is_conserved_through_a_narrow_lens(scene):
    camera = Camera.from_field_of_view(96, 54, 4.0)
    y = apply_film(scene, lossless(FilmModel.load("rough")), 10, camera)
    np.testing.assert_allclose(y.mean(axis=(0, 1)), scene.mean(axis=(0, 1)), rtol=NARROW)


@pytest.mark.parametrize("layers", [1, 10])
def test_a_dark_border_is_the_plain_sum_over_the_directions_in_the_frame(camera, scene, layers):
    """y = b x + sum psf(angle-space distance) sqrt(cos_in / cos_out) x dOmega, no transform anywhere."""
    film = haze_film()
    y = apply_film(scene, film, layers, camera, border="dark")
    tan_x = (np.arange(96) - 47.5) / camera.f_px
    tan_y = (np.arange(54) - 26.5) / camera.f_px
    cosine = 1 / np.sqrt(1 + tan_x[None, :] ** 2 + tan_y[:, None] ** 2)
    # The equal-area plane through the half-angle: 2 sin(theta/2) = sin(theta) / cos(theta/2).
    scale = cosine / np.sqrt((1 + cosine) / 2)
    u, v = tan_x[None, :] * scale, tan_y[:, None] * scale
    solid_angle = cosine**3 / camera.f_px**2
    for row, column in [(27, 48), (5, 10), (27, 93)]:
        distance = np.hypot(u - u[row, column], v - v[row, column])
        kernel = film.psf(distance, layers)[..., 0]
        # The own pixel's disc of the same solid angle, from the encircled energy, in place of the cusp's centre.
        own = np.sqrt(solid_angle[row, column] / np.pi)
        inner = film.encircled_energy(own, layers)[0] - film.ballistic_fraction(layers)[0]
        kernel[row, column] = inner / solid_angle[row, column]
        weight = kernel * np.sqrt(cosine / cosine[row, column]) * solid_angle
        want = film.ballistic_fraction(layers)[0] * scene[row, column, 0] + (weight * scene[..., 0]).sum()
        assert y[row, column, 0] == pytest.approx(want, abs=TAIL)


def test_a_point_at_thirty_degrees_spreads_over_the_same_angles_as_one_on_the_axis():
    """Shift-variance follows equal area: the image-plane spot grows radially, the angular one does not."""
    camera = Camera.from_field_of_view(301, 301, 80.0)
    film = gaussian_film(np.radians(1.5))
    widths = []
    for column in (150, 150 + round(np.tan(np.radians(30)) * camera.f_px)):
        x = np.zeros((301, 301, 3))
        x[150, column] = 1.0
        spot = apply_film(x, film, 1, camera, border="dark")[150, :, 1]
        theta = np.arctan((np.arange(301) - 150) / camera.f_px)
        radius = 2 * np.sin(theta / 2)
        # Line through the spot in equal-area coordinates, w_out taken off.
        weight = spot * np.sqrt(np.cos(theta)) * np.gradient(radius)
        centre = (weight * radius).sum() / weight.sum()
        widths.append(np.sqrt((weight * (radius - centre) ** 2).sum() / weight.sum()))
    assert widths[0] == pytest.approx(np.radians(1.5), rel=5e-3)  # the point itself is a pixel of 0.29 degrees wide
    assert widths[1] == pytest.approx(widths[0], rel=5e-3)


def test_the_unscattered_part_falls_with_obliquity_by_snells_law_and_the_faces(camera):
    """A checkerboard of single pixels is wiped out by the halo, so its contrast is the unscattered part."""
    board = (np.indices((54, 96)).sum(axis=0) % 2).astype(float)
    x = np.repeat(board[..., None], 3, axis=2)
    y = apply_film(x, haze_film(oblique=True), 4, camera)[..., 1]
    contrast = np.abs(np.diff(y, axis=1))
    edge = np.radians(35) - 0.5 / camera.f_px
    inside = np.sqrt(1 - (np.sin(edge) / 1.5) ** 2)
    assert contrast[27, 47] == pytest.approx(np.exp(-1.2), rel=0.01)
    # Eight faces of index 1.5: each passes 0.27 % less at 35 degrees than along the normal (Fresnel).
    faces = np.exp(-8 * 0.0027)
    assert contrast[27, 94] == pytest.approx(np.exp(-1.2 / inside) * faces, rel=0.01)


def test_two_stages_of_a_film_without_bulk_are_its_face_in_direction_cosines(camera, scene):
    sigma = np.radians(2.0)
    two = gaussian_film(sigma, geometry=FilmGeometry("two_stage"))
    one = gaussian_film(sigma, geometry=FilmGeometry("direction_cosines"))
    np.testing.assert_allclose(apply_film(scene, two, 2, camera), apply_film(scene, one, 2, camera), atol=ROUNDING)


def test_two_stages_near_the_axis_are_one():
    camera = Camera.from_field_of_view(96, 54, 5.0)
    x = np.random.default_rng(0).random((54, 96, 3))
    film = lossless(FilmModel.load("rough"))
    two = dataclasses.replace(film, geometry=FilmGeometry("two_stage"))
    np.testing.assert_allclose(apply_film(x, two, 4, camera), apply_film(x, film, 4, camera), atol=NARROW)


def test_colour_channels_do_not_mix_and_each_has_its_own_film(camera):
    event = Scattering("moffat", [0.1, 0.3, 0.6], np.radians([5.0, 8.0, 12.0]), 1.5)
    film = FilmModel("test", "ballistic+moffat", np.zeros(3), (event,), [0.1, 0.2, 0.3], np.zeros(3))
    x = np.random.default_rng(0).random((54, 96, 3))
    y = apply_film(x, film, 4, camera)
    only_green = x * np.array([0, 1, 0])
    np.testing.assert_allclose(apply_film(only_green, film, 4, camera)[..., 1], y[..., 1], atol=ROUNDING)
    np.testing.assert_allclose(apply_film(only_green, film, 4, camera)[..., [0, 2]], 0, atol=ROUNDING)
    assert y[..., 0].std() > y[..., 1].std() > y[..., 2].std()


def test_a_grey_picture_goes_through_the_green_channel(camera, scene):
    film = FilmModel.load("p3ar-10layer")
    grey = apply_film(scene[..., 1], film, 2, camera)
    np.testing.assert_allclose(grey, apply_film(scene, film, 2, camera)[..., 1], atol=ROUNDING)


def test_beyond_a_right_angle_there_is_no_light(camera):
    wide = Camera.from_field_of_view(64, 48, 150.0)
    y = apply_film(np.full((48, 64, 3), 0.5), lossless(FilmModel.load("matte")), 2, wide)
    np.testing.assert_allclose(y, 0.5, rtol=ROUNDING)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": -1}, "layers must be 0..64, got -1"),
        ({"layers": 65}, "layers must be 0..64, got 65"),
        ({"border": "mirror"}, "border: unknown 'mirror'"),
        ({"engine": "fats"}, "engine: unknown 'fats'; did you mean 'fast'"),
        ({"x": np.zeros((54, 96, 3), np.uint8)}, "x must be linear light, float"),
        ({"x": np.zeros((54, 96, 4))}, "x must be linear light, float"),
        ({"x": np.zeros((96, 54, 3))}, r"camera's size 96x54, got 54x96; camera.resized\(54, 96\)"),
    ],
)
def test_bad_input_is_named_with_its_rule(camera, change, message):
    arguments = {"x": np.zeros((54, 96, 3)), "film": haze_film(), "layers": 1, "camera": camera, **change}
    with pytest.raises(ValueError, match=message) as caught:
        apply_film(**arguments)
    assert isinstance(caught.value, UnknownNameError) == ("unknown" in message)
