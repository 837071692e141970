"""Which points are kept, and in which order."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from homolog import Volume
from homolog.features.selection import inside_mask, ranked, strongest
from tests.geometry import oblique_grid


def points(count=200, seed=0):
    rng = np.random.default_rng(seed)
    # few different responses, so that there are equals
    return rng.uniform(-50, 50, (count, 3)), rng.integers(0, 20, count).astype(float)


def test_the_strongest_come_first_and_equals_by_place_whatever_order_they_came_in():
    position, response = points()
    rows = strongest(position, response)
    assert sorted(rows) == list(range(200)) and (np.diff(response[rows]) <= 0).all()
    shuffled = np.random.default_rng(1).permutation(200)
    again = shuffled[strongest(position[shuffled], response[shuffled])]
    np.testing.assert_array_equal(again, rows)


@pytest.mark.parametrize("most", [0, 1, 17, 200, 10**6])
def test_no_more_are_kept_than_asked_for(most):
    position, response = points()
    np.testing.assert_array_equal(strongest(position, response, most), strongest(position, response)[:most])


@pytest.mark.parametrize("most", [1, 20, 60, 150])
def test_spread_points_fill_cubes_evenly_the_strongest_of_each_first(most):
    position, response = points()
    rows = strongest(position, response, most, spread_mm=25.0)
    assert len(rows) == most and (np.diff(response[rows]) <= 0).all()
    cube = np.unique(np.floor((position - position.min(axis=0)) / 25.0), axis=0, return_inverse=True)[1].ravel()
    kept, all_of = np.bincount(cube[rows], minlength=cube.max() + 1), np.bincount(cube)
    # no cube gets one more while another has some left
    assert all(
        kept[one] + 1 >= kept[other]
        for one in range(len(kept))
        for other in range(len(kept))
        if kept[one] < all_of[one]
    )
    for n in range(len(kept)):
        inside = np.flatnonzero(cube == n)
        chosen = np.isin(inside, rows)
        assert response[inside[chosen]].min(initial=np.inf) >= response[inside[~chosen]].max(initial=-np.inf)


def test_cubes_move_with_the_patient():
    position, response = points()
    np.testing.assert_array_equal(
        strongest(position + 4096.0, response, 30, 25.0), strongest(position, response, 30, 25.0)
    )


@pytest.mark.parametrize("most, spread", [(5, None), (5, 10.0), (None, None)])
def test_of_nothing_nothing_is_kept(most, spread):
    assert len(strongest(np.zeros((0, 3)), np.zeros(0), most, spread)) == 0


def test_a_point_is_inside_a_mask_when_the_nearest_voxel_is_not_zero():
    grid = oblique_grid()
    data = np.random.default_rng(0).integers(0, 3, grid.shape).astype(np.uint8)
    mask = Volume(data, grid, "patient", "labels")
    away = np.random.default_rng(1).uniform(-0.49, 0.49, (grid.size, 3))
    at = grid.world(grid.voxel(grid.points()) + away)
    np.testing.assert_array_equal(inside_mask(at, mask, "patient"), data.ravel() != 0)
    beyond = grid.world(np.array([[-0.6, 3, 3], [3, 3, grid.shape[2] - 0.4]]))
    assert not inside_mask(beyond, mask.with_data(np.ones_like(data)), "patient").any()
    assert inside_mask(beyond, None, "patient").all()


def test_ranks_keep_the_order_and_forget_the_rest():
    numbers = np.random.default_rng(0).normal(size=(6, 48))
    ranks = ranked(numbers)
    assert ranks.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(ranks, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(ranks.argsort(axis=1), numbers.argsort(axis=1))
    np.testing.assert_allclose(ranked(np.exp(3 * numbers)), ranks, atol=1e-7)
    # of two such rows the product is Spearman's correlation
    assert ranks[0] @ ranks[1] == pytest.approx(spearmanr(numbers[0], numbers[1]).statistic, abs=1e-5)


def test_equal_numbers_share_a_rank_and_a_row_of_equals_is_zero():
    ranks = ranked(np.array([[1.0, 1.0, 5.0, 0.0], [2.0, 2.0, 2.0, 2.0]]))
    assert ranks[0, 0] == ranks[0, 1]
    assert not ranks[1].any()
    assert ranked(np.zeros((0, 48), np.float32)).shape == (0, 48)
