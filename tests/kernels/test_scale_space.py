from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import correlate1d

from homolog.kernels import scale_space
from homolog.kernels.threads import using_threads

# voxels, mm between them, mm of blur: fine, coarse, short, and shorter than the kernel
LINES = [(20, 2.0, 1.5), (31, 0.7, 0.9), (9, 3.0, 0.6), (8, 1.0, 2.4), (2, 1.0, 1.0)]


def picture(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def through(table, line):
    start, weights = table
    return np.array([row @ line[a : a + len(row)] for a, row in zip(start, weights)])


@pytest.mark.parametrize("voxels, spacing, sigma", LINES)
def test_tables_blur_a_line_as_their_twins_do(voxels, spacing, sigma):
    line = np.random.default_rng(0).normal(size=voxels)
    table, published = (make(voxels, spacing, sigma) for make in (scale_space.table, scale_space.published_table))
    np.testing.assert_allclose(through(table, line), scale_space.line_reference(line, spacing, sigma), atol=1e-12)
    expected = scale_space.published_line_reference(line, spacing, sigma)
    np.testing.assert_allclose(through(published, line), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(9, 8, 7), (20, 13, 31), (8, 8, 40), (1, 5, 1), (1, 1, 1)])
def test_the_kernel_agrees_with_its_twin(shape):
    data, tables = picture(shape), tuple(scale_space.table(n, 1.3, 1.7) for n in shape)
    # float32: three sums of at most 15 products, numbers of about 1
    np.testing.assert_allclose(
        scale_space.blur(data, tables, 3.0), 3 * scale_space.blur_reference(data, tables), atol=3e-6
    )


def test_two_blurs_are_one_by_the_sum_of_their_variances_however_coarse_the_voxels():
    data = picture((12, 30, 17))
    spacing = (5.0, 0.7, 2.0)

    def blurred(data, sigma):
        return scale_space.blur(data, tuple(scale_space.table(n, s, sigma) for n, s in zip(data.shape, spacing)))

    # what lies beyond the tables' ends is missing: 6e-5 of the weight
    np.testing.assert_allclose(blurred(blurred(data, 0.9), 1.2), blurred(data, 1.5), atol=5e-4)


def test_the_variance_is_what_is_asked_for_where_taps_between_voxels_add_to_it():
    places = np.arange(41) - 20
    impulse = (places == 0).astype(float)
    wanted = 1.0**2

    def variance(make):
        return (through(make(41, 2.0, 1.0), impulse) * (2.0 * places) ** 2).sum()

    assert variance(scale_space.table) == pytest.approx(wanted, rel=0.01)
    assert variance(scale_space.published_table) > 1.3 * wanted


def test_lines_are_mirrored_about_their_end_voxels_as_scipy_does_it():
    line = np.random.default_rng(1).normal(size=25)
    middle = scale_space.table(25, 1.0, 1.5)[1][12]
    np.testing.assert_allclose(through(scale_space.table(25, 1.0, 1.5), line), correlate1d(line, middle, mode="mirror"))


def test_the_published_borders_are_no_mirror():
    """The second defect: a constant stays one, but a ramp's ends are seen a tenth of a voxel away."""
    table = scale_space.published_table(25, 1.0, 1.5)
    np.testing.assert_allclose(through(table, np.ones(25)), 1)
    ramp = np.arange(25.0)
    low, high = through(table, ramp)[0], 24 - through(table, ramp)[-1]
    exact = correlate1d(ramp, scale_space.published_taps(1.5)[1], mode="mirror")
    assert low == pytest.approx(exact[0])
    # all of the kernel's weight from its middle on is read a tenth of a voxel lower
    share = scale_space.published_taps(1.5)[1][5:].sum()
    assert high == pytest.approx(24 - exact[-1] + 0.1 * share)


def test_a_factor_needs_no_second_pass():
    data, tables = picture((9, 9, 9)), tuple(scale_space.table(9, 1.0, 1.0) for _ in range(3))
    np.testing.assert_allclose(scale_space.blur(data * 1e30, tables, 1e-30), scale_space.blur(data, tables), atol=1e-6)


def test_storage_and_threads_do_not_matter():
    data = picture((40, 9, 11))
    tables = tuple(scale_space.table(n, 1.0, 1.3) for n in data.shape)
    with using_threads(1):
        expected = scale_space.blur(data, tables)
    with using_threads(3):
        np.testing.assert_array_equal(scale_space.blur(np.asfortranarray(data), tables), expected)
