"""The spline kernel against its twin, scipy's and torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline as ScipySpline

from homolog.kernels import bspline

SHAPES = [(6, 5, 7), (1, 5, 1), (1, 6, 5), (4, 4, 4)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_fast_kernels_agree_with_their_twin_inside_and_far_outside(shape):
    rng = np.random.default_rng(0)
    coefficients = rng.normal(size=(*shape, 3))
    controls = np.concatenate((rng.uniform(-9, 15, (300, 3)), [[1e7, -1e7, 0], [0, 0, 0]]))
    vectors, gradient = bspline.evaluate_reference(coefficients, controls)
    found, slopes = bspline.evaluate_gradient(coefficients, controls)
    np.testing.assert_allclose(bspline.evaluate(coefficients, controls), vectors, atol=1e-12)
    np.testing.assert_allclose(found, vectors, atol=1e-12)
    np.testing.assert_allclose(slopes, gradient, atol=1e-12)
    by_torch = bspline.evaluate_torch(torch.from_numpy(coefficients), torch.from_numpy(controls))
    np.testing.assert_allclose(by_torch.numpy(), vectors, atol=1e-12)


def test_along_one_axis_it_is_scipys_uniform_spline():
    coefficients = np.random.default_rng(1).normal(size=9)
    knots = np.arange(-2.0, 11.0)
    u = np.linspace(1.0, 6.99, 50)
    # scipy's coefficient c sits over the knots c..c+4, centred on knot c+2: index c of ours
    expected = ScipySpline(knots, coefficients, 3)(u)
    lattice = np.repeat(coefficients[:, None, None, None], 3, axis=3)
    found = bspline.evaluate(lattice, np.stack((u, 0 * u, 0 * u), axis=1))
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-12)


def test_padding_a_lattice_with_its_edge_changes_nothing():
    rng = np.random.default_rng(2)
    coefficients = rng.normal(size=(5, 6, 4, 3))
    padded = np.pad(coefficients, ((3, 3), (3, 3), (3, 3), (0, 0)), mode="edge")
    controls = rng.uniform(-8, 14, (300, 3))
    np.testing.assert_allclose(
        bspline.evaluate(padded, controls + 3), bspline.evaluate(coefficients, controls), atol=1e-12
    )


def test_the_torch_spline_has_gradients():
    rng = np.random.default_rng(3)
    coefficients = torch.from_numpy(rng.normal(size=(4, 4, 4, 3))).requires_grad_()
    controls = torch.from_numpy(rng.uniform(0.1, 2.9, (3, 3))).requires_grad_()
    assert torch.autograd.gradcheck(bspline.evaluate_torch, (coefficients, controls))
