from __future__ import annotations

import numpy as np
import pytest

from homolog.kernels import displacement_cost, soft_match

RNG_WORDS = {"low": 0, "high": 2**60, "dtype": np.uint64}


def words(shape=(14, 13, 15), seed=0):
    return np.random.default_rng(seed).integers(size=shape, **RNG_WORDS)


@pytest.mark.parametrize("options", [(4, 2, 1, 1), (3, 2, 2, 2), (5, 1, 3, 2), (1, 1, 1, 1)])
def test_the_costs_agree_with_their_twin(options):
    edge, radius, step, stride = options
    fixed, moving = words(seed=1), words(seed=2)
    known = np.random.default_rng(3).random(fixed.shape) > 0.4
    known[8:] = True
    corners = np.random.default_rng(4).integers(0, np.array(fixed.shape) - edge + 1, (30, 3))
    given = {"edge": edge, "radius": radius, "step": step, "stride": stride, "least": 0.7}
    expected = displacement_cost.block_costs_reference(fixed, moving, known, corners, **given)
    assert (expected == displacement_cost.UNKNOWN).any() and (expected < 40).any()
    # sums of integers, one division: the rounding of float32
    np.testing.assert_allclose(
        displacement_cost.block_costs(fixed, moving, known, corners, **given), expected, rtol=1e-6
    )


def test_a_block_that_was_moved_costs_nothing_where_it_went():
    fixed = words()
    moving = np.roll(fixed, (2, -1, 1), axis=(0, 1, 2))
    corner = np.array([[5, 5, 5]])
    costs = displacement_cost.block_costs(fixed, moving, np.ones(fixed.shape, bool), corner, edge=4, radius=2)
    assert costs.min() == 0
    np.testing.assert_array_equal(displacement_cost.labels(2, 1)[costs.argmin()], (2, -1, 1))


def test_no_block_has_no_cost():
    none = displacement_cost.block_costs(
        words(), words(), np.ones((14, 13, 15), bool), np.empty((0, 3), int), edge=4, radius=1
    )
    assert none.shape == (0, 27)
    assert soft_match.likelihoods(none, displacement_cost.UNKNOWN, 8.0).shape == (0, 27)
    assert soft_match.votes(none, np.empty((0, 3)), 1, 1.0).shape == (0, 5)


def test_the_votes_agree_with_their_twin():
    rng = np.random.default_rng(0)
    costs = rng.uniform(5, 30, (20, 125)).astype(np.float32)
    costs[0] = displacement_cost.UNKNOWN
    costs[1:9:2, 40:] = displacement_cost.UNKNOWN
    chances = soft_match.likelihoods(costs, displacement_cost.UNKNOWN, 8.0)
    np.testing.assert_allclose(chances[1:].sum(axis=1), 1, rtol=1e-5)
    assert (chances[1, 40:] == 0).all() and (chances[0] == 0).all()
    predicted = rng.uniform(-2, 2, (20, 3))
    expected = soft_match.votes_reference(chances, predicted, 2, 1.3)
    # weights of float32
    np.testing.assert_allclose(soft_match.votes(chances, predicted, 2, 1.3), expected, rtol=1e-5, atol=1e-5)


def test_votes_far_from_the_prediction_do_not_count():
    costs = np.full((1, 125), 20, np.float32)
    costs[0, np.flatnonzero((displacement_cost.labels(2, 1) == (2, 2, 2)).all(axis=1))] = 0
    chances = soft_match.likelihoods(costs, displacement_cost.UNKNOWN, 8.0)
    near = soft_match.votes(chances, np.array([[2.0, 2, 2]]), 2, 0.5)[0]
    far = soft_match.votes(chances, np.array([[-2.0, -2, -2]]), 2, 0.5)[0]
    np.testing.assert_allclose(near[:3], 2, atol=0.01)
    assert near[3] > 0.9 and far[3] < 0.01
