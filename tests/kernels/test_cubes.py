from __future__ import annotations

import numpy as np
import pytest

from homolog.kernels import cubes
from homolog.kernels.threads import using_threads


def picture(shape=(11, 8, 9)):
    return np.random.default_rng(0).normal(0, 1000, shape).astype(np.float32)


def around(shape, count=40):
    """Centres, some of them beyond the rim, and steps."""
    rng = np.random.default_rng(1)
    return rng.uniform(-3, np.array(shape) + 2, (count, 3)), rng.uniform(0.05, 2.0, count)


AXES = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0] * (1.0, -0.7, 0.4)


@pytest.mark.parametrize("shape", [(11, 8, 9), (1, 1, 1), (2, 1, 7)])
@pytest.mark.parametrize("axes", [np.eye(3), AXES], ids=["upright", "oblique"])
@pytest.mark.parametrize("side", [1, 4, 5])
def test_the_kernel_agrees_with_its_twin(shape, axes, side):
    data, (centres, steps) = picture(shape), around(shape)
    # a share of the way between two voxels is rounded to float32: 6e-8 of steps below 8000, along three axes
    np.testing.assert_allclose(
        cubes.sample(data, centres, steps, axes, side),
        cubes.sample_reference(data, centres, steps, axes, side),
        atol=10 * 8000 * 6e-8,
    )


def test_a_cube_of_whole_steps_is_that_part_of_the_picture():
    data = picture((7, 7, 7))
    cut = cubes.sample(data, np.array([[2.0, 3.0, 4.0], [2.5, 3.5, 3.5]]), np.ones(2), np.eye(3), 3)
    np.testing.assert_array_equal(cut[0], data[1:4, 2:5, 3:6])
    wide = cubes.sample(data, np.array([[2.5, 3.5, 3.5]]), np.ones(1), np.eye(3), 4)
    np.testing.assert_array_equal(wide[0], data[1:5, 2:6, 2:6])


def test_nothing_is_asked_for():
    assert cubes.sample(picture(), np.zeros((0, 3)), np.zeros(0), np.eye(3), 4).shape == (0, 4, 4, 4)


def test_storage_and_threads_do_not_matter():
    data, (centres, steps) = picture(), around((11, 8, 9), count=200)
    expected = cubes.sample(data, centres, steps, AXES, 6)
    with using_threads(1):
        np.testing.assert_array_equal(cubes.sample(np.asfortranarray(data), centres, steps, AXES, 6), expected)
    with using_threads(3):
        doubled = np.repeat(centres, 2, axis=0)[::2]
        np.testing.assert_array_equal(cubes.sample(data[::-1][::-1], doubled, steps, AXES, 6), expected)
