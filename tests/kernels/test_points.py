from __future__ import annotations

import numpy as np

from homolog.kernels import points


def test_positions_agree_with_their_twins():
    matrix = np.random.default_rng(0).normal(size=(4, 4))
    expected = points.lattice_reference(matrix, (5, 4, 3), 1, 4)
    np.testing.assert_allclose(points.lattice(matrix, (5, 4, 3), 1, 4), expected, atol=1e-12)
    np.testing.assert_allclose(points.moved(matrix, expected), points.moved_reference(matrix, expected), atol=1e-12)
    assert points.moved(matrix, np.empty((0, 3))).shape == (0, 3)
    assert points.lattice(matrix, (5, 4, 3), 2, 2).shape == (0, 3)
