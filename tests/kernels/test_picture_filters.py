from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import correlate

from homolog.kernels import picture_filters

SHAPES = [(1, 1, 1), (1, 2, 5), (3, 3, 3), (2, 14, 19), (1, 30, 7)]


def stack_of(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def close(value, expected):
    # a few thousand additions of numbers of size 1
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [0, 1, 3, 20])
def test_box_sums_agree_with_their_twin(shape, radius):
    close(
        picture_filters.box_sums(stack_of(shape), radius), picture_filters.box_sums_reference(stack_of(shape), radius)
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [0, 1, 3, 20])
def test_smoothing_agrees_with_its_twin(shape, radius):
    taps = np.random.default_rng(1).uniform(size=radius + 1)
    taps = np.concatenate((taps[:0:-1], taps))
    close(picture_filters.smooth(stack_of(shape), taps), picture_filters.smooth_reference(stack_of(shape), taps))


@pytest.mark.parametrize("shape", SHAPES[2:])
@pytest.mark.parametrize("middle", [picture_filters.SCHARR, picture_filters.SOBEL])
def test_slopes_and_their_adjoint_agree_with_their_twins(shape, middle):
    slopes = picture_filters.slopes(stack_of(shape), middle)
    close(slopes, picture_filters.slopes_reference(stack_of(shape), middle))
    other = stack_of(slopes.shape, 1)
    close(picture_filters.slopes_adjoint(other, middle), picture_filters.slopes_adjoint_reference(other, middle))


@pytest.mark.parametrize("shape", [(2, 1, 5), (1, 2, 2), (1, 5, 2)])
def test_pictures_too_small_for_a_neighbour_have_no_slope(shape):
    assert not picture_filters.slopes(stack_of(shape)).any()
    assert not picture_filters.slopes_adjoint(np.ones((shape[0], 2, *shape[1:]))).any()


def test_scharrs_slopes_are_what_scipys_correlation_gives():
    stencil = np.outer([3, 10, 3], [-1, 0, 1]) / 32
    picture = stack_of((1, 12, 17))
    expected = [correlate(picture[0], each)[1:-1, 1:-1] for each in (stencil, stencil.T)]
    close(picture_filters.slopes(picture)[0, :, 1:-1, 1:-1], expected)


def test_a_plane_has_its_own_slopes():
    rows, columns = np.mgrid[:9, :11]
    slopes = picture_filters.slopes((2.5 * columns - 0.75 * rows + 4.0)[None])[0, :, 1:-1, 1:-1]
    close(slopes[0], 2.5)
    close(slopes[1], -0.75)


@pytest.mark.parametrize(
    "forth, back",
    [
        (picture_filters.slopes, picture_filters.slopes_adjoint),
        (lambda stack: picture_filters.box_sums(stack, 2), lambda stack: picture_filters.box_sums(stack, 2)),
        (lambda stack: picture_filters.smooth(stack, np.array([1, 2, 1.0])),) * 2,
    ],
    ids=["slopes", "box_sums", "smooth"],
)
def test_adjoints_give_the_same_inner_product(forth, back):
    picture = stack_of((2, 8, 13))
    other = stack_of(forth(picture).shape, 1)
    assert (forth(picture) * other).sum() == pytest.approx((picture * back(other)).sum(), rel=1e-10)


def test_storage_order_and_precision_do_not_matter():
    stack = stack_of((2, 8, 13)).astype(np.float32)
    turned = np.asfortranarray(stack)
    np.testing.assert_array_equal(picture_filters.box_sums(turned, 2), picture_filters.box_sums(stack, 2))
    np.testing.assert_array_equal(picture_filters.slopes(turned), picture_filters.slopes(stack.astype(float)))
