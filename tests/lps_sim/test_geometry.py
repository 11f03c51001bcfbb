"""Image plane and angle space."""

from __future__ import annotations

import numpy as np
import pytest

from lps_sim.errors import UnknownNameError
from lps_sim.geometry import (
    PROJECTIONS,
    WarpGrid,
    angle_to_plane,
    cos_theta,
    input_weight,
    pixel_offsets,
    plane_to_angle,
    radial_scale,
    refracted_cosine,
)

ROUNDING = 1e-12


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_the_way_to_angle_space_and_back_is_the_identity(projection):
    radius = np.linspace(0, 5, 101)
    np.testing.assert_allclose(angle_to_plane(plane_to_angle(radius, projection), projection), radius, atol=1e-10)


def test_radii_at_thirty_degrees_are_the_textbook_ones():
    plane = np.tan(np.radians(30))
    assert float(plane_to_angle(plane, "equal_area")) == pytest.approx(2 * np.sin(np.radians(15)), abs=ROUNDING)
    assert float(plane_to_angle(plane, "direction_cosines")) == pytest.approx(0.5, abs=ROUNDING)


def test_equal_area_keeps_solid_angle():
    """rho d(rho) = sin(theta) d(theta), by differences."""
    theta = np.linspace(0.1, 1.2, 2001)
    rho = plane_to_angle(np.tan(theta), "equal_area")
    np.testing.assert_allclose((rho * np.gradient(rho, theta))[1:-1], np.sin(theta)[1:-1], rtol=1e-5)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_radial_scale_is_the_slope_of_the_projection(projection):
    for radius in (0.0, 0.3, 0.8, 2.0):
        step = 1e-6
        low = max(radius - step, 0.0)
        slope = (plane_to_angle(radius + step, projection) - plane_to_angle(low, projection)) / (radius + step - low)
        assert radial_scale(radius, projection) == pytest.approx(float(slope), rel=1e-5)


def test_directions_beyond_ninety_degrees_have_no_place_on_the_image_plane():
    assert np.isinf(angle_to_plane(np.array([1.5]), "equal_area")).all()
    assert np.isinf(angle_to_plane(np.array([1.0]), "direction_cosines")).all()


def test_weights_are_the_square_root_of_the_cosine_in_equal_area_only():
    cosine = cos_theta(np.array([0.0, 1.0]), np.array([0.0]))
    np.testing.assert_allclose(cosine, [[1, np.sqrt(0.5)]], atol=ROUNDING)
    np.testing.assert_allclose(input_weight(cosine, "equal_area"), np.sqrt(cosine), atol=ROUNDING)
    np.testing.assert_array_equal(input_weight(cosine, "direction_cosines"), np.ones((1, 2)))


def test_refraction_follows_snell():
    cosine = refracted_cosine(np.cos(np.radians([0.0, 35.0])), 1.5)
    np.testing.assert_allclose(np.sin(np.arccos(cosine)), np.sin(np.radians([0.0, 35.0])) / 1.5, atol=1e-8)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_the_grid_covers_the_frame_and_its_maps_are_inverse(projection):
    grid = WarpGrid(36, 64, (45.7, 45.7), projection, pitch_rad=1 / 60)
    y, x = grid.to_frame
    assert y.min() >= -0.5
    assert y.max() <= grid.rows - 0.5
    assert x.min() >= -0.5
    assert x.max() <= grid.columns - 0.5
    # A pixel's place in the grid, taken back by the analytic map, is the pixel.
    assert max(grid.pitch_rad) <= 1 / 60
    u = (x - (grid.columns - 1) / 2) * grid.pitch_rad[1]
    v = (y - (grid.rows - 1) / 2) * grid.pitch_rad[0]
    radius = np.hypot(u, v)
    plane = angle_to_plane(radius, projection)
    columns = u / radius * plane * 45.7 + 31.5
    np.testing.assert_allclose(columns, np.broadcast_to(np.arange(64), (36, 64)), atol=1e-9)


def test_the_grids_edges_touch_the_middle_of_the_frames_sides():
    grid = WarpGrid(36, 64, (45.7, 45.7), "equal_area", pitch_rad=0.04)
    assert grid.columns * grid.pitch_rad[1] / 2 == pytest.approx(float(plane_to_angle(32 / 45.7, "equal_area")))
    assert grid.rows * grid.pitch_rad[0] / 2 == pytest.approx(float(plane_to_angle(18 / 45.7, "equal_area")))


def test_the_grid_keeps_the_frames_centre_and_symmetry():
    grid = WarpGrid(36, 64, (45.7, 45.7), "equal_area", pitch_rad=1 / 45.7)
    y, x = grid.from_frame
    np.testing.assert_allclose(y + y[::-1], 35, atol=1e-9)
    np.testing.assert_allclose(x + x[:, ::-1], 63, atol=1e-9)


def test_pixel_offsets_are_centred():
    np.testing.assert_allclose(pixel_offsets(4, 2.0), [-0.75, -0.25, 0.25, 0.75])


def test_an_unknown_projection_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'equal_area'"):
        plane_to_angle(1.0, "equalarea")


def test_a_pitch_of_zero_is_refused():
    with pytest.raises(ValueError, match="pitch_rad must be > 0, got 0"):
        WarpGrid(4, 4, (1.0, 1.0), "pixel", 0.0)
