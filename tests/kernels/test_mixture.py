"""Two Maxwell distributions told apart, against the twin, scipy's densities and mixtures that are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from homolog.kernels import mixture


def drawn(c1, c2, share, count=40_000, seed=0):
    rng = np.random.default_rng(seed)
    right = int(share * count)
    scales = np.repeat([c1, c2], [right, count - right])
    return np.linalg.norm(rng.normal(size=(count, 3)) * scales[:, None], axis=1)


def histogram(distance, bins=20_000):
    place = np.minimum((distance / mixture.BIN_MM).astype(int), bins - 1)
    return np.bincount(place, minlength=bins).astype(float)


def test_the_density_is_scipys():
    distance = np.linspace(0, 60, 200)
    np.testing.assert_allclose(mixture.maxwell(distance, 7.3), stats.maxwell.pdf(distance, scale=7.3), rtol=1e-12)
    assert pytest.approx(stats.maxwell.mean(), rel=1e-14) == mixture.MEAN


@pytest.mark.parametrize("start", [mixture.START, (4.0, 60.0, 0.2)])
def test_the_kernel_finds_what_its_twin_finds_in_the_middles_of_the_bins(start):
    counts = histogram(drawn(5, 70, 0.3))
    middles = (np.arange(len(counts)) + 0.5) * mixture.BIN_MM
    # both stop at the same round, after at most some hundred of them, each of which adds up 20 000 numbers
    np.testing.assert_allclose(
        mixture.fit(counts, start), mixture.fit_reference(middles, counts, start), rtol=1e-9, atol=0
    )


def test_a_histogram_tells_as_much_as_the_distances():
    distance = drawn(5, 70, 0.3)
    found = mixture.fit(histogram(distance))
    # a distance is off by half a bin at most, and the mean of what that does to it by a share of (bin / c1)^2 / 24
    # (2e-5); both stop where a round changes less than 1e-3, and a round leaves about half of the way
    np.testing.assert_allclose(found, mixture.fit_reference(distance, np.ones(len(distance))), rtol=2e-3)


@pytest.mark.parametrize("truth", [(5.0, 70.0, 0.3), (12.0, 90.0, 0.08), (2.0, 40.0, 0.8)])
def test_a_drawn_mixture_is_found(truth):
    found = mixture.fit(histogram(drawn(*truth)))
    # of 3200 and more right ones, c1 scatters by sqrt(1 / 6 n) < 0.8 %, and r by as much as the two overlap; the
    # rounds end up to 1e-3 / (1 - rate) short of where they lead
    np.testing.assert_allclose(found, truth, rtol=0.06)


def test_distances_in_other_units_give_the_same_mixture_in_those():
    distance = drawn(5, 40, 0.4)
    c1, c2, r = mixture.fit(histogram(distance), (10.0, 100.0, 0.5))
    d1, d2, s = mixture.fit(histogram(2 * distance), (20.0, 200.0, 0.5))
    # as between a histogram and its distances
    np.testing.assert_allclose((d1, d2, s), (2 * c1, 2 * c2, r), rtol=2e-3)


def test_nothing_to_learn_from_leaves_the_mixture_as_it_was():
    assert mixture.fit(np.zeros(100)) == mixture.START
    strided = np.zeros(200)[::2]
    assert mixture.fit(strided, (3.0, 50.0, 0.2)) == (3.0, 50.0, 0.2)


def test_any_layout_of_the_counts_gives_the_same():
    counts = histogram(drawn(5, 70, 0.3, count=2000))
    assert mixture.fit(np.repeat(counts, 2)[::2]) == mixture.fit(counts)


def test_matches_that_all_lie_on_each_other_are_all_right():
    counts = np.zeros(5000)
    counts[0] = 50
    c1, c2, r = mixture.fit(counts)
    assert 0 < c1 < mixture.BIN_MM and np.isfinite(c2) and r > 0.99


def test_the_probability_is_that_of_the_two_densities():
    c1, c2, r = figures = (6.0, 80.0, 0.25)
    distance = np.linspace(mixture.SURELY_MM, 150, 300)
    right, wrong = r * stats.maxwell.pdf(distance, scale=c1), (1 - r) * stats.maxwell.pdf(distance, scale=c2)
    # the exponent is off by some roundings of numbers up to 300
    np.testing.assert_allclose(mixture.probability(distance, figures), right / (right + wrong), rtol=1e-12)


def test_within_reach_a_match_is_rather_right_and_beyond_it_rather_wrong():
    figures = (6.0, 80.0, 0.25)
    reach = np.sqrt(mixture.curve(figures)[2])
    near, at, far = mixture.probability(np.array([0.99, 1.0, 1.01]) * reach, figures)
    assert near > 0.5 > far and at == pytest.approx(0.5, abs=1e-12)


def test_on_each_other_is_right_whatever_the_mixture_says():
    # a mixture in which nearly all is wrong, and the right ones scatter hardly less than the wrong ones
    assert mixture.probability(np.array([0.0, 1.0]), (50.0, 60.0, 1e-6)).tolist()[0] == 1.0
    assert mixture.probability(np.array([1.0]), (50.0, 60.0, 1e-6))[0] < 1e-5
