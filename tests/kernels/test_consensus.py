from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from homolog.kernels import consensus

WIDE = {"most_cosine": -1.0, "most_scale": 3.0}


def similarity(seed=0, scale=1.2):
    rng = np.random.default_rng(seed)
    linear = scale * Rotation.random(random_state=seed).as_matrix()
    return np.c_[linear, rng.normal(0, 500, 3)]


def carried(matrix, points):
    return points @ matrix[:, :3].T + matrix[:, 3]


def places(count=40, seed=1):
    return np.random.default_rng(seed).uniform(-150, 150, (count, 3)) + (900.0, -400.0, 2000.0)


def even(count):
    return np.arange(1, count + 1) / count


def draw(fixed, moving, weight=None, **options):
    weight = np.ones(len(fixed)) if weight is None else weight
    chosen = {**WIDE, "seed": 3, "count": 500, "keep": 4, **options}
    return consensus.draw(fixed, moving, weight, even(len(fixed)), **chosen)


def test_a_triangle_and_its_image_give_the_similarity_between_them():
    fixed = places(3)
    truth = similarity()
    np.testing.assert_allclose(consensus.of_triple(fixed, carried(truth, fixed)), truth, rtol=0, atol=1e-9)


def test_the_kernel_draws_what_its_twin_makes_of_triples():
    # three points: every triple that is drawn is they, in some order
    fixed = places(3, seed=5)
    moving = places(3, seed=6)
    maps, _ = draw(fixed, moving)
    orders = ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])
    expected = [consensus.of_triple(fixed[order], moving[order]) for order in orders]
    assert len(maps) > 0
    for found in maps:
        # a sum of a few dozen products of numbers up to 2000
        assert min(np.abs(found - one).max() for one in expected) < 1e-8


def test_scores_are_sums_of_weighted_agreement():
    fixed, weight = places(), np.random.default_rng(2).uniform(0.1, 1, 40)
    moving = carried(similarity(), fixed) + np.random.default_rng(3).normal(0, 12, fixed.shape)
    maps, scores = draw(fixed, moving, weight)
    for found, score in zip(maps, scores):
        apart = np.linalg.norm(carried(found, fixed) - moving, axis=1)
        assert score == pytest.approx(weight @ consensus.agreement(apart), rel=1e-9)
    assert list(scores) == sorted(scores, reverse=True)


def test_agreement_falls_from_one_to_nothing():
    apart = np.linspace(0, 80, 200)
    found = consensus.agreement(apart)
    assert found[0] == 1 and (np.diff(found) <= 0).all() and (found[apart > consensus.REACHES.max()] == 0).all()


def test_pull_is_how_agreement_falls():
    # d/dx of the mean of 1 - (x / t)^2 is -2 x times the mean of 1 / t^2 over what is reached
    apart = np.array([2.0, 7.0, 15.0, 33.0, 51.0, 70.0])
    slope = (consensus.agreement(apart + 1e-6) - consensus.agreement(apart - 1e-6)) / 2e-6
    np.testing.assert_allclose(-2 * apart * consensus.pull(apart), slope, atol=1e-8)


@pytest.mark.parametrize("what", ["line", "one place", "two matches", "none"])
def test_triples_that_tell_no_map_give_none(what):
    along = np.linspace(0, 200, 20)[:, None]
    fixed = {"line": along * (0.6, 0, 0.8), "one place": np.zeros((20, 3)), "two matches": places(2), "none": places(0)}
    maps, scores = draw(fixed[what], fixed[what])
    assert len(maps) == len(scores) == 0


def test_sides_turned_or_stretched_too_far_are_no_maps():
    fixed = places()
    turned = fixed @ Rotation.from_rotvec((0, 0, np.radians(90))).as_matrix()
    level = fixed * (1, 1, 0)
    assert len(draw(level, level @ Rotation.from_rotvec((0, 0, np.radians(90))).as_matrix(), most_cosine=0.7)[0]) == 0
    assert len(draw(fixed, 2 * fixed, most_scale=1.6)[0]) == 0
    assert len(draw(fixed, turned)[0]) > 0


def test_the_same_seed_draws_the_same():
    fixed, moving = places(), places(seed=9)
    one, again, other = (draw(fixed, moving, seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(one[0], again[0])
    assert not np.array_equal(one[1], other[1])


def test_inputs_in_any_layout_give_the_same():
    fixed, moving = places(), places(seed=9)
    strided = np.repeat(fixed, 2, axis=0)[::2]
    np.testing.assert_array_equal(draw(np.asfortranarray(strided), moving)[0], draw(fixed, moving)[0])
