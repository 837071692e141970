from __future__ import annotations

import numpy as np
import pytest
import torch

from homolog.kernels import smooth


@pytest.mark.parametrize("sigma", [(1.2, 0.0, 0.6), (3.0, 2.0, 1.0)])
def test_all_engines_agree_with_the_twin(sigma):
    data = np.random.default_rng(0).normal(size=(9, 7, 1 if sigma[2] < 1 else 5)).astype(np.float32)
    expected = smooth.smooth_reference(data, sigma)
    np.testing.assert_allclose(smooth.smooth(data, sigma), expected, atol=1e-6)
    np.testing.assert_allclose(smooth.smooth_torch(torch.from_numpy(data), sigma).numpy(), expected, atol=1e-6)


def test_a_constant_stays_what_it_is():
    assert np.allclose(smooth.smooth(np.full((5, 6, 7), -1000, np.float32), (2, 2, 2)), -1000)
