from __future__ import annotations

import numpy as np
import pytest

from homolog.kernels import mind
from homolog.kernels.threads import using_threads


def picture(shape=(13, 9, 11), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) * 100


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("shape", [(30, 9, 11), (3, 4, 5), (1, 1, 1)])
def test_the_kernels_agree_with_their_twins(step, shape):
    data, floor = picture(shape), 50.0
    expected = mind.descriptors_reference(data, step, floor)
    # float32 sums of up to 343 squares: a relative error of 1e-6 at worst, and exp(-m) is no steeper than m
    np.testing.assert_allclose(mind.descriptors(data, step, floor), expected, atol=2e-5)
    # a bit may differ only where a channel lies on a threshold to float32's precision: 1 in 10^5
    differing = mind.hamming_reference(mind.codes(data, step, floor), mind.codes_reference(data, step, floor))
    assert differing.sum() <= 1e-5 * mind.BITS * data.size


def test_the_hamming_distance_of_codes_is_how_many_levels_the_channels_are_apart():
    one, other = mind.codes(picture(seed=1), 1), mind.codes(picture(seed=2), 1)

    def levels(codes):
        shifts = np.arange(0, 60, 5, dtype=np.uint64)
        return np.bitwise_count((codes[..., None] >> shifts) & np.uint64(31)).astype(int)

    apart = np.abs(levels(one) - levels(other)).sum(axis=-1)
    np.testing.assert_array_equal(mind.hamming(one, other), apart)
    np.testing.assert_array_equal(mind.hamming_reference(one, other), apart)


def test_every_pair_of_neighbours_that_do_not_face_each_other_is_compared_once():
    pairs = {frozenset((one, other)) for one, other, _ in mind.EDGES}
    assert len(pairs) == mind.CHANNELS
    assert all(np.dot(one, other) == 0 for one, other in map(tuple, pairs))


def test_another_scanners_scale_does_not_matter():
    data = picture()
    np.testing.assert_allclose(mind.descriptors(data, 1), mind.descriptors(3 - 0.02 * data, 1), atol=1e-3)


def test_noise_below_the_floor_has_no_pattern():
    noise = picture() / 1000
    assert (mind.codes(noise, 1, floor=100.0) == 2**60 - 1).all()
    assert (mind.codes(noise, 1) != 2**60 - 1).mean() > 0.9


def test_a_constant_is_the_same_everywhere():
    assert (mind.descriptors(np.full((5, 6, 7), -1000, np.float32), 2) == 1).all()


def test_storage_and_threads_do_not_matter():
    data = picture((40, 9, 11))
    expected = mind.codes(data, 2)
    with using_threads(1):
        np.testing.assert_array_equal(mind.codes(np.asfortranarray(data), 2), expected)
    with using_threads(3):
        np.testing.assert_array_equal(mind.codes(data[::-1][::-1], 2), expected)


def test_the_floor_is_a_share_of_the_contrast_in_the_patient():
    data = np.zeros((8, 8, 8), np.float32)
    data[::2] = 10
    body = np.ones(data.shape, bool)
    # along one axis of three each step is 10: a mean square of 100 / 3, in 27 voxels of a patch
    assert mind.contrast_floor(data, body, 1, 0.5) == pytest.approx(0.5 * 27 * 100 / 3)
    assert mind.contrast_floor(data, ~body, 1, 0.5) == mind.NO_CONTRAST
