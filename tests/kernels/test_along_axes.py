from __future__ import annotations

import numpy as np
import pytest

from homolog.kernels import along_axes, interpolate
from homolog.kernels.threads import using_threads


def picture(shape=(7, 5, 9)):
    return np.random.default_rng(0).normal(0, 1000, shape).astype(np.float32)


def places(shape, count=23, beyond=0.0):
    rng = np.random.default_rng(1)
    return [np.sort(rng.uniform(-beyond, n - 1 + beyond, count + axis)) for axis, n in enumerate(shape)]


@pytest.mark.parametrize("shape", [(7, 5, 9), (2, 2, 2)])
@pytest.mark.parametrize("beyond", [0.0, 3.0])
def test_the_kernel_agrees_with_its_twin(shape, beyond):
    data, at = picture(shape), places(shape, beyond=beyond)
    # seven steps of float32 between values below 4000, each rounded to 1 part in 1.7e7
    np.testing.assert_allclose(
        along_axes.sample(data, at), along_axes.sample_reference(data, at), atol=7 * 4000 / 1.7e7
    )


def test_it_is_linear_interpolation():
    data, at = picture(), places((7, 5, 9))
    voxels = np.stack(np.meshgrid(*at, indexing="ij"), axis=-1).reshape(-1, 3)
    expected = interpolate.sample_reference(data, voxels, "linear", 0.0).reshape([len(a) for a in at])
    np.testing.assert_allclose(along_axes.sample_reference(data, at), expected, rtol=1e-5, atol=1e-2)


def test_at_the_voxels_themselves_whole_numbers_are_not_changed():
    data = np.round(picture())
    np.testing.assert_array_equal(along_axes.sample(data, [np.arange(n) * 1.0 for n in data.shape]), data)


def test_a_constant_stays_one_to_the_last_bit():
    data = np.full((4, 5, 6), -1000.1, np.float32)
    assert (along_axes.sample(data, places(data.shape, beyond=2.0)) == data[0, 0, 0]).all()


def test_nothing_is_asked_for():
    assert along_axes.sample(picture(), [np.zeros(0), np.zeros(2), np.zeros(3)]).shape == (0, 2, 3)


def test_storage_and_threads_do_not_matter():
    data, at = picture((40, 6, 5)), places((40, 6, 5), count=50)
    expected = along_axes.sample(data, at)
    with using_threads(1):
        np.testing.assert_array_equal(along_axes.sample(np.asfortranarray(data), at), expected)
    with using_threads(3):
        np.testing.assert_array_equal(along_axes.sample(data[::-1][::-1], at), expected)
