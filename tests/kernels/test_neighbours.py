from __future__ import annotations

import numpy as np
import pytest

from homolog.kernels import neighbours
from homolog.kernels.threads import using_threads


def vectors(count, numbers=13, seed=0):
    return np.random.default_rng(seed).normal(size=(count, numbers)).astype(np.float32)


def bands(count, others, seed=0):
    """Starts and stops that never fall; some bands are empty."""
    rng = np.random.default_rng(seed)
    start = np.sort(rng.integers(0, others // 2 + 1, count))
    stop = np.sort(rng.integers(0, others + others // 2 + 1, count)).clip(max=others)
    return start, np.maximum(start, stop)


def allowed_by(start, stop, others):
    return (np.arange(others) >= start[:, None]) & (np.arange(others) < stop[:, None])


def assert_same(found, expected):
    np.testing.assert_array_equal(found.index, expected.index)
    # float64 sums of a few dozen squares in another order
    np.testing.assert_allclose(found.distance, expected.distance, rtol=1e-12)


def assert_as_twin(here, there, start, stop):
    allowed = allowed_by(start, stop, len(there))
    rows, columns = np.arange(len(here)), np.arange(len(there))
    found = neighbours.nearest_in_bands(here, there, rows, columns, start, stop)
    assert_same(found[0], neighbours.nearest_reference(here, there, allowed))
    assert_same(found[1], neighbours.nearest_reference(there, here, allowed.T))


# panels have 256 columns, rows go two at a time, numbers four
@pytest.mark.parametrize("sizes", [(300, 700), (257, 256), (1, 1), (1, 300), (300, 1), (2, 2), (0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("numbers", [1, 4, 13])
def test_the_kernel_agrees_with_its_twin(sizes, numbers):
    here, there = vectors(sizes[0], numbers, 1), vectors(sizes[1], numbers, 2)
    assert_as_twin(here, there, np.zeros(sizes[0], int), np.full(sizes[0], sizes[1]))
    assert_as_twin(here, there, *bands(*sizes))


def test_of_equally_near_ones_the_lower_row_is_taken():
    there = np.repeat(vectors(4), 100, axis=0)
    here = np.repeat(vectors(4, seed=1), 90, axis=0)
    assert_as_twin(here, there, np.zeros(360, int), np.full(360, 400))
    assert_as_twin(here, there, *bands(360, 400))
    nothing = np.zeros((500, 13), np.float32)
    assert_as_twin(nothing, nothing, np.zeros(500, int), np.full(500, 500))


@pytest.mark.parametrize("offset, size", [(1e4, 1.0), (1e-3, 1e-25), (0, 1e25), (-1e6, 1e3)])
def test_vectors_that_float32_products_cannot_tell_apart_are(offset, size):
    here, there = (np.float32(offset + size * vectors(n, seed=n)) for n in (120, 350))
    assert_as_twin(here, there, np.zeros(120, int), np.full(120, 350))


def test_two_tight_heaps_far_from_each_other_are_searched_by_subtraction():
    heaps = np.float32([[-100.0], [100.0]])[:, :, None] * np.ones((1, 150, 13), np.float32)
    here, there = ((heaps + 1e-2 * vectors(300, seed=n).reshape(2, 150, 13)).reshape(300, 13) for n in (1, 2))
    assert_as_twin(here, there, np.zeros(300, int), np.full(300, 300))


def test_distances_of_the_nearest_keep_their_digits():
    here = vectors(400)
    there = here + np.float32(1e-6) * vectors(400, seed=1)
    rows = np.arange(400)
    found, back = neighbours.nearest_in_bands(here, there, rows, rows, np.zeros(400, int), np.full(400, 400))
    apart = np.linalg.norm(here.astype(np.float64) - there, axis=1)
    np.testing.assert_array_equal(found.index[:, 0], rows)
    np.testing.assert_allclose(found.distance[:, 0], apart, rtol=1e-12)
    np.testing.assert_allclose(back.distance[:, 0], apart, rtol=1e-12)


def test_some_rows_in_another_order_are_told_by_their_own_numbers():
    here, there = vectors(500, seed=1), np.repeat(vectors(300, seed=2), 2, axis=0)
    rng = np.random.default_rng(3)
    own, other = rng.permutation(500)[:300], rng.permutation(600)[:400]
    start, stop = bands(300, 400)
    allowed = np.zeros((500, 600), bool)
    allowed[np.ix_(own, other)] = allowed_by(start, stop, 400)
    found, back = neighbours.nearest_in_bands(here, there, own, other, start, stop)
    expected, expected_back = (
        neighbours.nearest_reference(here, there, allowed),
        neighbours.nearest_reference(there, here, allowed.T),
    )
    np.testing.assert_array_equal(found.index, expected.index[own])
    np.testing.assert_array_equal(back.index, expected_back.index[other])


@pytest.mark.parametrize("within, ratio", [(0.6, np.inf), (1.5, 1.2), (100.0, 1.3), (1e-9, 2.0)])
def test_what_lies_near_is_found_as_the_twin_finds_it(within, ratio):
    here, there = vectors(150, seed=1), np.repeat(vectors(100, seed=2), 2, axis=0)
    rng = np.random.default_rng(4)
    expected, seen = (np.column_stack((rng.normal(size=(n, 3)), rng.uniform(1, 2, n))) for n in (150, 200))
    apart = np.linalg.norm(expected[:, None, :3] - seen[None, :, :3], axis=2)
    scales = expected[:, None, 3] / seen[None, :, 3]
    allowed = (apart <= within) & (np.maximum(scales, 1 / scales) <= ratio)
    assert within < 1e-3 or allowed.any()
    gates = np.arange(150), np.arange(200), expected, seen, within, ratio
    found, back = neighbours.nearest_around(here, there, *gates)
    assert_same(found, neighbours.nearest_reference(here, there, allowed))
    assert_same(back, neighbours.nearest_reference(there, here, allowed.T))


def test_storage_and_threads_do_not_matter():
    here, there = vectors(5000, 9, 1), vectors(3000, 9, 2)
    rows, columns = np.arange(5000), np.arange(3000)
    start, stop = bands(5000, 3000)

    def found(here, there, threads):
        with using_threads(threads):
            return neighbours.nearest_in_bands(here, there, rows, columns, start, stop)

    expected = found(here, there, 1)
    for threads in (2, 5):
        for one, other in zip(expected, found(np.asfortranarray(here), there[::-1][::-1], threads)):
            np.testing.assert_array_equal(one.index, other.index)
            np.testing.assert_array_equal(one.distance, other.distance)
