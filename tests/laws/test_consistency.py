from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from homolog import Affine
from homolog.errors import SpaceMismatch
from homolog.metrics.consistency import inverse_consistency
from tests.geometry import oblique_grid, sheared_grid, some_affine, some_displacement

GRID = oblique_grid()


def shift(x, y, z, fixed="moving", moving="fixed"):
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return Affine(matrix, fixed, moving)


def test_a_map_and_its_inverse_bring_every_point_home():
    affine = some_affine()
    found = inverse_consistency(affine, affine.inverse(), GRID, sheared_grid())
    assert found.fixed.max_mm < 1e-5 and found.moving.max_mm < 1e-5
    assert found.fixed.points == GRID.size and found.fixed.stride == 1


def test_a_way_back_that_misses_by_five_millimetres_is_found_to():
    found = inverse_consistency(Affine.identity(), shift(0, 3, -4), GRID, GRID)
    for trip in (found.fixed, found.moving):
        assert (trip.mean_mm, trip.p95_mm, trip.max_mm) == pytest.approx((5, 5, 5), abs=1e-5)


def test_each_direction_is_measured_in_the_patient_it_starts_in():
    doubled = Affine(np.diag([2.0, 2.0, 2.0, 1.0]))
    halved = shift(0, 0, 1) @ doubled.inverse().renamed(moving="moving")
    found = inverse_consistency(doubled, halved, GRID, GRID)
    assert (found.fixed.mean_mm, found.moving.mean_mm) == pytest.approx((1, 2), abs=1e-5)


def test_the_numbers_are_those_of_all_voxel_centres():
    there, back = some_displacement(GRID), some_displacement(GRID, seed=7).renamed(fixed="moving", moving="fixed")
    apart = np.linalg.norm(back.apply(there.apply(GRID.points())) - GRID.points(), axis=1)
    found = inverse_consistency(there, back, GRID).fixed
    expected = apart.mean(), np.percentile(apart, 95), apart.max()
    assert (found.mean_mm, found.p95_mm, found.max_mm) == pytest.approx(expected, rel=1e-6)


def test_without_a_moving_grid_only_the_fixed_patient_is_asked():
    assert inverse_consistency(some_affine(), some_affine().inverse(), GRID).moving is None


def test_a_large_grid_is_thinned_evenly_and_says_so():
    grid = oblique_grid((42, 33, 24))
    there, back = some_displacement(grid), some_displacement(grid, seed=7).renamed(fixed="moving", moving="fixed")
    # every second voxel would be 21 x 17 x 12; of every third, the second one of each leaves as many at both ends
    points = grid.points().reshape(*grid.shape, 3)[1::3, 1::3, 1::3].reshape(-1, 3)
    apart = np.linalg.norm(back.apply(there.apply(points)) - points, axis=1)
    found = inverse_consistency(there, back, grid, most_points=2000).fixed
    assert (found.stride, found.points) == (3, len(points))
    assert (found.mean_mm, found.max_mm) == pytest.approx((apart.mean(), apart.max()), rel=1e-6)


def test_one_point_is_followed_at_the_least():
    assert inverse_consistency(some_affine(), some_affine().inverse(), GRID, most_points=0).fixed.points == 1


def test_maps_that_are_not_each_others_way_back_are_refused():
    with pytest.raises(SpaceMismatch, match="should carry points of 'moving' to 'fixed'"):
        inverse_consistency(some_affine(), some_affine(), GRID)


def test_the_numbers_can_be_written_as_json():
    found = inverse_consistency(some_affine(), some_affine().inverse(), GRID)
    assert json.loads(json.dumps(asdict(found)))["fixed"]["stride"] == 1
