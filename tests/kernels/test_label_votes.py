"""Votes of several label maps, against a dictionary of votes for each place."""

from __future__ import annotations

import numpy as np
import pytest

from homolog.kernels import label_votes
from tests.geometry import oblique_grid


def case(sources=3, places=200, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(5, 4, 6), (1, 7, 3), (4, 4, 4)][:sources]
    labels = [rng.integers(0, 4, shape).astype(dtype) for shape in shapes]
    grids = [oblique_grid(shape, seed=n) for n, shape in enumerate(shapes)]
    points = [grid.world(rng.uniform(-1.2, np.array(grid.shape) + 0.2, (places, 3))) for grid in grids]
    weights = rng.uniform(-0.2, 1, (sources, places)).astype(np.float32)
    return labels, np.stack([grid.voxel_from_world for grid in grids]), np.stack(points), weights


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
@pytest.mark.parametrize("sources", [1, 3])
def test_the_kernel_elects_whom_its_twin_elects(dtype, sources):
    labels, matrices, points, weights = case(sources, dtype=dtype)
    winners, shares = label_votes.elect(label_votes.gathered(labels), matrices, points, weights)
    expected, expected_shares = label_votes.elect_reference(labels, matrices, points, weights)
    assert winners.dtype == dtype
    np.testing.assert_array_equal(winners, expected)
    # float32 shares, and fractions of a voxel in float32: a few of its last digits
    np.testing.assert_allclose(shares, expected_shares, atol=1e-6)


def test_maps_stored_otherwise_vote_alike():
    labels, matrices, points, weights = case()
    turned = [np.asfortranarray(data) for data in labels]
    one = label_votes.elect(label_votes.gathered(labels), matrices, points, weights)
    other = label_votes.elect(label_votes.gathered(turned), matrices, points, weights)
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


def test_of_equally_many_votes_the_smallest_label_wins_whoever_comes_first():
    labels = [np.full((2, 2, 2), label, np.uint8) for label in (7, 3, 5)]
    places, ones = np.full((3, 4, 3), 0.3), np.ones((3, 4), np.float32)
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        row = label_votes.gathered([labels[n] for n in order])
        winners, shares = label_votes.elect(row, np.stack([np.eye(4)] * 3), places, ones)
        assert (winners == 3).all()
        np.testing.assert_allclose(shares, 1 / 3, rtol=1e-6)


def test_no_place_is_no_work():
    labels, matrices, *_ = case()
    winners, shares = label_votes.elect(label_votes.gathered(labels), matrices, np.zeros((3, 0, 3)), np.zeros((3, 0)))
    assert winners.shape == shares.shape == (0,)
