from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homolog import Grid
from homolog.errors import BadInput
from tests.geometry import oblique_grid, sheared_grid


def test_voxels_and_world_are_each_others_way_back():
    grid = sheared_grid()
    voxels = np.random.default_rng(0).uniform(-5, 20, (50, 3))
    np.testing.assert_allclose(grid.voxel(grid.world(voxels)), voxels, atol=1e-10)


def test_points_run_with_k_fastest_and_planes_can_be_asked_for():
    grid = oblique_grid()
    points = grid.points().reshape(*grid.shape, 3)
    np.testing.assert_allclose(points[2, 3, 4], grid.world(np.array([2, 3, 4])))
    np.testing.assert_array_equal(grid.points(4, 6), points[4:6].reshape(-1, 3))


def test_cropping_and_padding_leave_every_voxel_where_it_was():
    grid = sheared_grid()
    cropped = grid.cropped((2, 3, 4), (9, 10, 11))
    np.testing.assert_allclose(cropped.world(np.zeros(3)), grid.world(np.array([2, 3, 4])), atol=1e-10)
    assert cropped.padded((2, 3, 4)).cropped((0, 0, 0), grid.shape).same_as(grid)


@given(st.floats(0.4, 9), st.integers(0, 50))
def test_another_spacing_covers_the_same_box(spacing_mm, seed):
    grid = oblique_grid(seed=seed)
    other = grid.with_spacing(spacing_mm)
    np.testing.assert_allclose(other.spacing_mm, spacing_mm)
    # the near corner of the box of voxels is the same; the far one grows by less than a voxel
    np.testing.assert_allclose(other.corners()[0], grid.corners()[0], atol=1e-9)
    beyond = other.voxel(grid.corners()).max(axis=0) - (np.array(other.shape) - 0.5)
    assert (beyond <= 1e-6).all()
    assert (beyond > -1).all()


def test_a_grid_grows_to_hold_points_and_never_shrinks():
    grid = oblique_grid()
    far = grid.world(np.array([[-3.2, 4, 30.5], [5, 5, 5]]))
    grown = grid.covering(far)
    assert grown.contains(far, margin_vox=0.0).all()
    assert grown.contains(grid.points(), margin_vox=1e-6).all()
    assert grid.covering(grid.points()).same_as(grid)


def test_left_handed_and_sheared_grids_are_ordinary():
    grid = sheared_grid(degrees=20)
    assert np.linalg.det(oblique_grid().world_from_voxel[:3, :3]) < 0
    assert grid.shear_degrees > 5
    assert oblique_grid().shear_degrees == pytest.approx(0, abs=1e-6)
    assert grid.voxel_volume_mm3 == pytest.approx(abs(np.linalg.det(grid.world_from_voxel[:3, :3])))


def test_the_same_place_is_the_same_grid_whatever_its_digits():
    grid = oblique_grid()
    rounded = Grid(grid.shape, np.round(grid.world_from_voxel, 5))
    assert grid.same_as(rounded)
    assert not grid.same_as(grid.cropped((1, 0, 0), (18, 14, 12)))


@pytest.mark.parametrize(
    "matrix",
    [np.zeros((4, 4)), np.diag([1.0, 1, 0, 1]), np.full((4, 4), np.nan), np.eye(3), np.eye(4)[[0, 1, 3, 2]]],
)
def test_a_matrix_that_gives_voxels_no_volume_is_refused(matrix):
    with pytest.raises(BadInput):
        Grid((2, 2, 2), matrix)


def test_a_grid_cannot_be_changed_behind_its_back():
    with pytest.raises(ValueError, match="read-only"):
        oblique_grid().world_from_voxel[0, 0] = 5
