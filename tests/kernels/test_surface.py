from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from scipy.spatial.distance import cdist
from surface_distance import lookup_tables

from homolog.kernels import surface
from tests.geometry import oblique_grid, sheared_grid

SHEARED = sheared_grid().world_from_voxel[:3, :3]


def random_mask(shape=(6, 7, 5), seed=0):
    return np.random.default_rng(seed).random(shape) < 0.4


def total_area(mask, linear):
    return surface.surfel_areas(linear)[surface.surfels(mask)[1]].sum()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 2.9), (2.0, 0.3, 1.1)])
def test_all_256_neighbourhoods_have_the_areas_of_surface_distance(spacing):
    theirs = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    bits = [int(lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL[corner]) for corner in surface.CORNERS]
    theirs_by_our_code = [theirs[sum(bit for n, bit in enumerate(bits) if code >> n & 1)] for code in range(256)]
    np.testing.assert_allclose(surface.surfel_areas(np.diag(spacing)), theirs_by_our_code, atol=1e-12)


def test_a_box_has_the_area_of_its_faces_edges_and_corners():
    mask = np.zeros((9, 8, 7), bool)
    mask[2:7, 2:7, 1:6] = True
    expected = 6 * 4**2 + 12 * 4 * np.sqrt(2) / 2 + 8 * np.sqrt(3) / 8
    assert total_area(mask, np.eye(3)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("axis", range(3))
def test_between_two_half_spaces_a_surfel_is_the_parallelogram_of_the_lattice(axis):
    code = sum(1 << n for n, corner in enumerate(surface.CORNERS) if corner[axis])
    a, b = np.delete(SHEARED, axis, axis=1).T
    assert surface.surfel_areas(SHEARED)[code] == pytest.approx(np.linalg.norm(np.cross(a, b)), rel=1e-12)


def test_turning_the_lattice_changes_no_area():
    rotation = oblique_grid(seed=8).axes
    np.testing.assert_allclose(surface.surfel_areas(rotation @ SHEARED), surface.surfel_areas(SHEARED), atol=1e-12)


def test_storage_order_does_not_matter_on_slanted_axes_either():
    mask = random_mask()
    expected = total_area(mask, SHEARED)
    for order in permutations(range(3)):
        assert total_area(mask.transpose(order), SHEARED[:, order]) == pytest.approx(expected, rel=1e-12)
    assert total_area(mask[:, ::-1], SHEARED * [1, -1, 1]) == pytest.approx(expected, rel=1e-12)


def test_inside_and_outside_have_the_same_surface():
    areas = surface.surfel_areas(SHEARED)
    np.testing.assert_allclose(areas, areas[::-1], atol=1e-12)
    assert areas[0] == areas[255] == 0 and (areas[1:255] > 0).all()


def test_a_single_voxel_has_the_eight_surfels_round_it():
    mask = np.zeros((3, 1, 4), bool)
    mask[2, 0, 3] = True
    corners, codes = surface.surfels(mask)
    assert sorted(map(tuple, corners.tolist())) == [(i, j, k) for i in (2, 3) for j in (0, 1) for k in (3, 4)]
    assert sorted(codes.tolist()) == [1 << n for n in range(8)]


@pytest.mark.parametrize("shape", [(0, 3, 2), (4, 3, 2)])
def test_an_empty_mask_has_no_surface(shape):
    corners, codes = surface.surfels(np.zeros(shape, bool))
    assert corners.shape == (0, 3) and codes.shape == (0,)


def test_a_mask_stored_in_another_order_has_the_same_surface():
    mask = random_mask((12, 7, 10))
    strided = np.asfortranarray(mask)[::2]
    np.testing.assert_array_equal(surface.neighbourhood_codes(strided), surface.neighbourhood_codes(mask[::2].copy()))


@pytest.mark.parametrize("linear", [np.diag([0.7, 1.3, 2.9]), SHEARED], ids=["straight", "sheared"])
def test_distances_are_to_the_nearest_of_all_points(linear):
    points, others = (surface.surfels(random_mask(seed=seed))[0] @ linear.T for seed in (1, 2))
    np.testing.assert_allclose(surface.nearest_distances(points, others), cdist(points, others).min(axis=1), atol=1e-12)


def test_on_straight_axes_distances_are_the_distance_transforms():
    spacing = np.array([0.7, 1.3, 2.9])
    points, others = (surface.surfels(random_mask((9, 8, 7), seed=seed))[0] for seed in (1, 2))
    empty = np.ones((10, 9, 8), bool)
    empty[tuple(others.T)] = False
    expected = distance_transform_edt(empty, sampling=spacing)[tuple(points.T)]
    np.testing.assert_allclose(surface.nearest_distances(points * spacing, others * spacing), expected, atol=1e-12)


def test_a_percentile_goes_by_weight_and_not_by_number():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 8.0, 1.0])
    assert surface.weighted_percentile(values, weights, 80) == 1.0
    assert surface.weighted_percentile(values, weights, 85) == 2.0
    assert surface.weighted_percentile(values, weights, 100) == 3.0
