from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from homolog.kernels import box_gradients, box_hessian
from homolog.kernels.threads import using_threads


def picture(shape=(40, 36, 44), largest=4000, seed=0):
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.0)
    smooth -= smooth.min()
    return np.round(smooth * largest / smooth.max()).astype(np.float32)


def table_of(data):
    return box_hessian.sums(lambda start, stop: data[start:stop], data.shape)


def described(data, points, scales):
    return box_gradients.describe(table_of(data), np.atleast_2d(points), np.atleast_1d(scales))


def some_points(shape, count=12, seed=1):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 1, (count, 3)) * (np.array(shape) - 1), rng.uniform(0.6, 5.0, count)


def test_descriptors_agree_with_their_twin_up_to_the_very_rim():
    data = picture()
    points, scales = some_points(data.shape)
    expected = box_gradients.describe_reference(box_hessian.sums_reference(data), points, scales)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-6)
    # both sum in float64; the result is rounded to float32
    np.testing.assert_allclose(described(data, points, scales), expected, atol=1e-6)


def test_halves_are_rounded_up():
    data = picture()
    points, scales = np.array([[20.5, 17.5, 21.5], [20.0, 17.0, 21.0]]), np.array([1.5, 2.5])
    expected = box_gradients.describe_reference(box_hessian.sums_reference(data), points, scales)
    np.testing.assert_allclose(described(data, points, scales), expected, atol=1e-6)


def test_sums_that_went_round_make_no_difference():
    data = picture((60, 60, 60)) + 25_000
    assert box_hessian.sums_reference(data).max() > 2**32
    points, scales = some_points(data.shape, 6)
    expected = box_gradients.describe_reference(box_hessian.sums_reference(data), points, scales)
    np.testing.assert_allclose(described(data, points, scales), expected, atol=1e-6)


@pytest.mark.parametrize("axis", range(3))
def test_a_slope_along_one_axis_is_seen_along_that_axis_alone(axis):
    slope = 40.0 * np.arange(60).reshape([-1 if n == axis else 1 for n in range(3)])
    numbers = described(np.broadcast_to(slope, (60, 60, 60)).astype(np.float32), (30, 30, 30), 2.0)[0].reshape(8, 6)
    others = [n for n in range(6) if n % 3 != axis]
    assert np.abs(numbers[:, others]).max() == 0
    # all go up, so a sum and a sum of absolute values are the same; cubes on one side weigh a little more
    np.testing.assert_allclose(numbers[:, axis], numbers[:, axis + 3])
    assert (numbers[:, axis] > 0.1).all()


def test_cubes_are_counted_with_the_third_axis_running_fastest():
    for cube in range(8):
        # a ball in the middle of the cube: 6 voxels before the point along an axis, or 5 after it
        centre = np.array([37 if cube & bit else 26 for bit in (4, 2, 1)])
        away = ((np.indices((64, 64, 64)) - centre.reshape(3, 1, 1, 1)) ** 2).sum(axis=0)
        numbers = described((1000 * np.exp(-away / 8)).astype(np.float32), (32, 32, 32), 2.0)[0].reshape(8, 6)
        assert np.abs(numbers).sum(axis=1).argmax() == cube


def test_brighter_and_more_contrast_changes_nothing():
    data = picture(largest=1000)
    points, scales = some_points(data.shape)
    # inside the picture: beyond its rim boxes end, and brightness itself is seen
    points = 20 + (points % 2)
    scales = np.minimum(scales, 2.5)
    np.testing.assert_allclose(described(3 * data + 500, points, scales), described(data, points, scales), atol=1e-6)


def test_where_nothing_changes_the_numbers_are_zero():
    assert not described(np.full((30, 30, 30), 7, np.float32), (15, 15, 15), 1.0).any()
    assert box_gradients.describe(table_of(picture()), np.zeros((0, 3)), np.zeros(0)).shape == (0, 48)


def test_the_widest_scale_that_is_allowed_does_not_overflow():
    largest = 200_000
    scale = box_gradients.widest(largest)
    half = int(np.floor(scale + 0.5))
    assert 4 * half**3 * largest < 2**31 <= 4 * (half + 1) ** 3 * largest
    data = np.zeros((14 * half, 12 * half, 12 * half), np.float32)
    data[7 * half :] = largest
    point = np.array([[7.0 * half, 6.0 * half, 6.0 * half]])
    expected = box_gradients.describe_reference(box_hessian.sums_reference(data), point, np.array([scale]))
    np.testing.assert_allclose(described(data, point, scale), expected, atol=1e-6)


def test_threads_do_not_matter():
    data = picture()
    points, scales = some_points(data.shape, 100)
    expected = described(data, points, scales)
    for threads in (1, 3):
        with using_threads(threads):
            np.testing.assert_array_equal(described(data, points, scales), expected)
