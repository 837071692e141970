from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from homolog.kernels import gradient_histogram
from homolog.kernels.threads import using_threads

SPACING = np.array([0.7, 1.1, 1.6])


def points(number=7, seed=0):
    rng = np.random.default_rng(seed)
    turns = Rotation.random(number, random_state=seed).as_matrix()
    # a mirror, and axes along which a row of voxels stays in one cell
    turns[1] *= -1
    turns[2] = np.eye(3)
    return rng.uniform(0, 18, (number, 3)), rng.uniform(0.1, 1.5, number), turns


def level(shape=(23, 19, 21)):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(23, 19, 21), (3, 3, 3), (1, 1, 1)])
@pytest.mark.parametrize("rules", [(0.5, 0.0, False), (0.0, 0.05, True)])
def test_the_kernel_agrees_with_its_twin(shape, rules):
    options = dict(zip(("middle", "least", "exchanged"), rules))
    found = gradient_histogram.histograms(level(shape), *points(), SPACING, **options)
    expected = gradient_histogram.histograms_reference(level(shape), *points(), SPACING, **options)
    # float32: places in cells to 1e-6, sums of up to 10^4 numbers of about 1
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_slope_counts_for_the_directions_it_points_in_and_for_the_cells_it_lies_in():
    places = np.indices((41, 41, 41)) - 20.0
    # rising along -y, and only where x is above 0
    data = np.where(places[0] > 1, -places[1], 0).astype(np.float32)
    found = gradient_histogram.histograms(data, np.full((1, 3), 20.0), np.array([1.0]), np.eye(3)[None], np.ones(3))
    cells = found.reshape(4, 4, 4, 12)[1:3, 1:3]
    downwards = {1, 3, 6, 7}
    rest = [n for n in range(12) if n not in downwards]
    # cells 0 to 3 along x are centred 7.5 and 2.5 mm to either side
    assert cells[:, :, 0].sum() == 0
    assert cells[:, :, 3][..., sorted(downwards)].sum() > 0.99 * cells[:, :, 3].sum()
    assert cells[:, :, 3][..., rest].sum() < 0.01 * cells[:, :, 3].sum()


def test_mirrored_neighbourhoods_have_mirrored_cells_only_if_cells_are_centred():
    """Cells centred on whole numbers lie off the point by half a cell, as published."""
    data = level((41, 41, 41))
    data = data + data[::-1]
    where = np.full((1, 3), 20.0), np.array([1.0]), np.eye(3)[None], np.ones(3)

    def magnitudes(**options):
        return gradient_histogram.histograms(data, *where, **options).reshape(4, 4, 4, 12).sum(axis=-1)

    centred, published = magnitudes(middle=0.5), magnitudes(middle=0.0)
    np.testing.assert_allclose(centred, centred[:, :, ::-1], rtol=0.01)
    assert np.abs(published / published[:, :, ::-1] - 1).max() > 0.3


def test_threads_do_not_matter():
    data, many = level(), points(60)
    with using_threads(1):
        expected = gradient_histogram.histograms(data, *many, SPACING)
    with using_threads(3):
        np.testing.assert_array_equal(gradient_histogram.histograms(data, *many, SPACING), expected)
