from __future__ import annotations

import numpy as np
import pytest

from homolog.kernels import structure
from homolog.kernels.threads import using_threads

SPACING = np.array([0.7, 1.1, 1.6])


def points(number=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 9, (number, 3)), rng.uniform(0.1, 3, number)


@pytest.mark.parametrize("shape, reach", [((9, 10, 21), 3.0), ((9, 10, 21), 2.0), ((3, 3, 3), 3.0), ((1, 1, 1), 3.0)])
def test_the_kernel_agrees_with_its_twin(shape, reach):
    level = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    found = structure.moments(level, *points(), SPACING, reach)
    expected = structure.moments_reference(level, *points(), SPACING, reach)
    for ours, theirs in zip(found, expected):
        # sums of up to 2000 numbers of about 1, each row's in float32
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_on_a_ramp_all_gradients_are_the_ramps():
    ramp = np.array([0.3, -0.2, 0.5])
    places = np.indices((15, 15, 15)).reshape(3, -1).T * SPACING
    level = (places @ ramp).reshape(15, 15, 15).astype(np.float32)
    sums, products = structure.moments(level, np.array([[7.2, 6.9, 7.4]]), np.array([1.5]), SPACING)
    direction = sums[0] / np.linalg.norm(sums[0])
    np.testing.assert_allclose(direction, ramp / np.linalg.norm(ramp), atol=1e-5)
    np.testing.assert_allclose(products[0], np.outer(sums[0], ramp), rtol=1e-4)


def test_threads_do_not_matter():
    level, (centres, sigma) = np.random.default_rng(1).normal(size=(9, 10, 21)), points(200)
    with using_threads(1):
        expected = structure.moments(level, centres, sigma, SPACING)
    with using_threads(3):
        found = structure.moments(level, centres, sigma, SPACING)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
