"""Noise against its twin, and against what makes it noise."""

from __future__ import annotations

import numpy as np
import pytest

from homolog.kernels import noise
from homolog.kernels.threads import using_threads


@pytest.mark.parametrize("count", [0, 1, 4, 1003])
def test_the_fast_noise_is_its_twins(count):
    key = 0x9ABCDEF012345678
    # up to 6.8, by a logarithm and a cosine of float32 where the twin takes float64
    np.testing.assert_allclose(noise.normal(key, count), noise.normal_reference(key, count), atol=4e-6)


def test_the_words_are_those_that_philoxs_authors_publish():
    # Random123's known answers for philox4x32-10: counter and key of zeros
    words = noise.philox_reference(0, np.array([0]))[0]
    assert [f"{int(word):08x}" for word in words] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]


def test_it_is_normal_and_neighbours_and_keys_are_strangers():
    count = 400_000
    drawn, other = noise.normal(5, count), noise.normal(6, count)
    # four standard errors of each moment
    assert abs(drawn.mean()) < 4 / count**0.5
    assert abs(drawn.var() - 1) < 4 * (2 / count) ** 0.5
    assert abs((drawn**3).mean()) < 4 * (15 / count) ** 0.5
    assert abs((drawn**4).mean() - 3) < 4 * (96 / count) ** 0.5
    for shift in (1, 2, 3, 4, 64, 4096):
        assert abs((drawn[shift:] * drawn[:-shift]).mean()) < 4 / count**0.5
    assert abs((drawn * other).mean()) < 4 / count**0.5


def test_a_longer_draw_begins_as_the_shorter_one_whatever_the_threads():
    whole = noise.normal(7, 200_001)
    with using_threads(1):
        np.testing.assert_array_equal(noise.normal(7, 5003), whole[:5003])
    with using_threads(3):
        np.testing.assert_array_equal(noise.normal(7, 200_001), whole)
