"""The films that ship: what each promises, at every layer count, and the figures that p3ar-10layer was read from."""

from __future__ import annotations

import numpy as np
import pytest

from lps_sim.camera import Camera
from lps_sim.film import FilmModel
from lps_sim.operator import apply_film
from lps_sim.transfer import inverse_eotf

ROUNDING = 1e-9
PRESETS = FilmModel.presets()


def room(width=480, height=270):
    """(light, figure mask): a bright wall lit from a window on the left, floor, sofa, and a dark figure; linear."""
    y, x = np.mgrid[0:height, 0:width]
    u, v = (x + 0.5) / width, (y + 0.5) / height
    light = np.empty((height, width, 3))
    light[:] = np.array([0.62, 0.60, 0.56]) * (1.08 - 0.22 * u)[..., None]
    light[v > 0.78] = [0.22, 0.18, 0.14]
    light[(u < 0.14) & (v > 0.12) & (v < 0.6)] = 1.0
    light[(u > 0.78) & (v > 0.62) & (v < 0.9)] = [0.16, 0.13, 0.12]
    body = (abs(u - 0.5) < 0.075) & (v > 0.36)
    head = ((u - 0.5) * width / height) ** 2 + (v - 0.27) ** 2 < 0.07**2
    light[body | head] = [0.05, 0.045, 0.04]
    return light, body | head


@pytest.fixture(scope="module")
def filmed_room():
    """The room, its signal behind ten layers of p3ar-10layer, and the preset's camera."""
    film = FilmModel.load("p3ar-10layer")
    light, _ = room()
    camera = Camera.from_dict(film.calibration_camera).resized(light.shape[1], light.shape[0])
    return light, camera.exposure * apply_film(light, film, 10, camera), camera


def profile(frame):
    """Mean level along a row through the figure's body, from the frame's middle to the wall beside it."""
    height, width, _ = frame.shape
    return frame[int(0.60 * height) : int(0.68 * height)].mean(axis=(0, 2))[width // 2 : int(0.66 * width)]


def test_ten_layers_have_the_published_level_and_are_nearly_uniform(filmed_room):
    _, filmed, _ = filmed_room
    assert filmed.mean() == pytest.approx(0.25, abs=0.01)
    assert filmed.mean(axis=-1).std() / filmed.mean() < 0.15


def test_the_silhouette_keeps_ten_to_thirteen_percent_of_its_contrast(filmed_room):
    light, filmed, _ = filmed_room

    def contrast(frame):
        row = profile(frame)
        return (row[-10:].mean() - row[:10].mean()) / row[-10:].mean()

    assert 0.10 <= contrast(filmed) / contrast(light) <= 0.13


def test_its_edges_spread_over_one_and_a_half_to_two_percent_of_the_width(filmed_room):
    _, filmed, _ = filmed_room
    row = profile(filmed)
    rise = (row - row.min()) / np.ptp(row)
    # The halo bends the plateaus; the 10-90 % width is that of the edge between them.
    middle = slice(int(0.02 * 480), int(0.13 * 480))
    edge = (rise[middle] - rise[middle].min()) / np.ptp(rise[middle])
    width = np.interp(0.9, edge, np.arange(edge.size)) - np.interp(0.1, edge, np.arange(edge.size))
    assert 0.015 <= width / 480 <= 0.02


def test_its_noise_is_six_to_eight_tenths_of_a_code_value(filmed_room):
    _, filmed, camera = filmed_room
    rng = np.random.default_rng(4)
    codes = camera.sense(filmed / camera.exposure, rng).astype(float)
    clean = inverse_eotf(np.clip(filmed, 0, 1), "srgb") * 255
    assert 0.6 <= (codes - clean).std() <= 0.8


def test_its_cast_is_slightly_warm(filmed_room):
    light, filmed, _ = filmed_room
    gain = filmed.mean(axis=(0, 1)) / light.mean(axis=(0, 1))
    assert 1.02 < gain[0] / gain[2] < 1.2


def test_it_is_brighter_towards_the_light(filmed_room):
    _, filmed, _ = filmed_room
    wall = filmed[:60].mean(axis=(0, 2))
    assert 1.05 < wall[:60].mean() / wall[-60:].mean() < 1.5


def test_bulk_haze_has_its_haze_and_unscattered_share():
    film = FilmModel.load("bulk-haze")
    np.testing.assert_allclose(film.haze(10), 0.86, atol=0.005)
    np.testing.assert_allclose(film.ballistic_fraction(10), 0.116, atol=0.0005)


def test_matte_has_its_haze_at_four_layers():
    np.testing.assert_allclose(FilmModel.load("matte").haze(4), 0.83, atol=0.01)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_says_that_it_is_not_a_measurement(name):
    film = FilmModel.load(name)
    assert film.provenance["kind"] in ("simulated", "read off a figure")
    text = film.provenance["text"]
    assert "not a measurement" in text or "not measured" in text
    assert film.provenance["references"]
    assert film.provenance["created"]
    assert film.name == name


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_obeys_the_law_at_one_to_twelve_layers(name):
    film = FilmModel.load(name)
    q = np.concatenate([[0.0], np.geomspace(1e-2, 1e3, 80)])
    theta = np.geomspace(1e-4, 3.0, 80)
    before = 1.0
    for layers in range(1, 13):
        mtf = film.mtf(q, layers)
        assert (mtf[0] == 1).all()
        assert ((mtf >= 0) & (mtf <= 1)).all()
        assert (np.diff(mtf, axis=0) <= ROUNDING).all()
        np.testing.assert_allclose(mtf, film.mtf(q, 1) ** layers, atol=ROUNDING)
        energy = film.encircled_energy(theta, layers)
        assert (np.diff(energy, axis=0) >= 0).all()
        assert ((energy >= 0) & (energy <= 1)).all()
        assert ((film.haze(layers) > 0) & (film.haze(layers) < 1)).all()
        transmittance = film.transmittance(layers)
        assert (transmittance < before).all()
        before = transmittance
        assert (film.veil(layers) > 0).all()
        assert (film.ballistic_fraction(layers) <= mtf.min(axis=0) + ROUNDING).all()


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("layers", [1, 4, 10, 12])
def test_a_flat_field_becomes_transmittance_times_level_plus_veil(name, layers):
    film = FilmModel.load(name)
    camera = Camera.from_field_of_view(64, 36, 70.0)
    filmed = apply_film(np.full((36, 64, 3), 0.6), film, layers, camera)
    np.testing.assert_allclose(
        filmed, np.broadcast_to(0.6 * film.transmittance(layers) + film.veil(layers), filmed.shape)
    )
