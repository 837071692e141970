from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BSpline

from homolog.kernels import joint_histogram

BINS = 9


def places(count, seed):
    """From end to end, both included."""
    drawn = np.random.default_rng(seed).uniform(1, BINS - 2, count)
    drawn[:2] = (1, BINS - 2)
    return drawn


def weights(count):
    drawn = np.random.default_rng(5).uniform(size=count)
    drawn[::4] = 0
    return drawn


@pytest.mark.parametrize("count", [2, 40])
def test_the_histogram_agrees_with_its_twin(count):
    pictures = places(count, 0), places(count, 1)
    expected = joint_histogram.histogram_reference(*pictures, weights(count), BINS)
    np.testing.assert_allclose(joint_histogram.histogram(*pictures, weights(count), BINS), expected, atol=1e-12)


@pytest.mark.parametrize("count", [2, 40])
def test_what_a_histogram_pulls_agrees_with_its_twin(count):
    pull = np.random.default_rng(2).normal(size=(BINS, BINS))
    pictures = places(count, 0), places(count, 1)
    expected = joint_histogram.pulled_reference(*pictures, weights(count), pull)
    np.testing.assert_allclose(joint_histogram.pulled(*pictures, weights(count), pull), expected, atol=1e-12)


def test_shares_are_scipys_cubic_b_spline_and_their_slopes_its_derivative():
    spline = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
    at = places(30, 3)
    away = at[:, None] - np.arange(BINS)
    np.testing.assert_allclose(joint_histogram.shares_reference(at, BINS), np.nan_to_num(spline(away)), atol=1e-12)
    expected = np.nan_to_num(spline.derivative()(away))
    np.testing.assert_allclose(joint_histogram.share_slopes_reference(at, BINS), expected, atol=1e-12)


def test_every_value_is_counted_once():
    assert joint_histogram.histogram(places(40, 0), places(40, 1), weights(40), BINS).sum() == pytest.approx(
        weights(40).sum(), rel=1e-12
    )


def test_no_pixels_give_an_empty_histogram():
    none = np.zeros(0)
    assert not joint_histogram.histogram(none, none, none, BINS).any()
    assert joint_histogram.pulled(none, none, none, np.ones((BINS, BINS))).shape == (0,)
