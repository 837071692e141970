from __future__ import annotations

import numpy as np
import pytest

from homolog.kernels import extrema
from homolog.kernels.threads import using_threads


def levels(shape=(13, 9, 21), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for _ in range(4)]


@pytest.mark.parametrize("shape", [(13, 9, 21), (40, 8, 8), (3, 3, 3), (3, 3, 2), (1, 1, 1)])
def test_the_kernels_agree_with_their_twins(shape):
    four = levels(shape)
    assert extrema.largest(*four[:2]) == extrema.largest_reference(*four[:2])
    for least in (0.0, 0.5):
        np.testing.assert_array_equal(extrema.extrema(four, least), extrema.extrema_reference(four, least))


def test_a_peak_is_found_and_a_plateau_is_not():
    zero = np.zeros((9, 9, 9), np.float32)
    peak, plateau = zero.copy(), zero.copy()
    peak[4, 5, 3] = 1
    plateau[4, 5, 3:5] = 1
    # the difference of the middle pair, and none before and after
    assert extrema.extrema([peak, peak, zero, zero], 0.1).tolist() == [[4, 5, 3]]
    assert extrema.extrema([zero, zero, peak, peak], 0.1).tolist() == [[4, 5, 3]]
    assert len(extrema.extrema([peak, peak, zero, zero], 1.0)) == 0
    assert len(extrema.extrema([plateau, plateau, zero, zero], 0.1)) == 0
    # as strong in the difference before
    assert len(extrema.extrema([peak + peak, peak, zero, zero], 0.1)) == 0


def test_neighbours_across_an_edge_are_not_compared():
    zero = np.zeros((9, 9, 9), np.float32)
    peak = zero.copy()
    peak[4, 4, 4], peak[4, 5, 5] = 1, 2
    assert extrema.extrema([peak, peak, zero, zero], 0.1).tolist() == [[4, 4, 4], [4, 5, 5]]


def test_storage_and_threads_do_not_matter():
    four = levels((40, 9, 11))
    with using_threads(1):
        expected = extrema.extrema(four, 0.2)
    with using_threads(3):
        np.testing.assert_array_equal(extrema.extrema([np.asfortranarray(one) for one in four], 0.2), expected)
