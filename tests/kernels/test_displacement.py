"""Displacement kernels against their twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from homolog.kernels import displacement, interpolate

SHAPES = [(9, 8, 7), (1, 8, 7), (5, 1, 1), (1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_vectors_continue_by_their_edge_in_every_engine(shape):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(*shape, 3)).astype(np.float32)
    voxels = rng.uniform(-5, 12, (300, 3))
    expected = displacement.sample_vectors_reference(vectors, voxels)
    matrix = np.eye(4) + 0.1 * np.random.default_rng(9).normal(size=(4, 4)) * [[1], [1], [1], [0]]
    points = (voxels - matrix[:3, 3]) @ np.linalg.inv(matrix[:3, :3]).T
    np.testing.assert_allclose(displacement.displace(vectors, matrix, points), points + expected, atol=1e-5)
    np.testing.assert_allclose(displacement.sample_vectors_and_slopes(vectors, voxels)[0], expected, atol=1e-6)
    found = interpolate.sample_vectors_torch(torch.from_numpy(vectors), torch.from_numpy(voxels))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_slopes_are_the_derivative_within_a_cell():
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(6, 7, 8, 3)).astype(np.float32)
    voxels = rng.integers(0, 5, (200, 3)) + rng.uniform(0.1, 0.9, (200, 3))
    slopes = displacement.sample_vectors_and_slopes(vectors, voxels)[1]
    h = 0.05
    for axis in range(3):
        step = h * np.eye(3)[axis]
        ahead, behind = (displacement.sample_vectors_reference(vectors, voxels + s) for s in (step, -step))
        # linear in each coordinate alone, so a difference quotient is exact
        np.testing.assert_allclose(slopes[:, :, axis], (ahead - behind) / (2 * h), atol=1e-5)


@pytest.mark.parametrize("shape", [(7, 6, 5), (1, 6, 5), (7, 1, 1)])
def test_the_dense_warp_agrees_with_sampling_at_its_coordinates(shape):
    rng = np.random.default_rng(6)
    data = rng.normal(size=shape).astype(np.float32)
    vectors = rng.normal(size=(4, 5, 6, 3)).astype(np.float32)
    matrix, per_mm = np.eye(4), rng.normal(size=(3, 3))
    matrix[:3] += 0.3 * rng.normal(size=(3, 4))
    voxels = np.argwhere(np.ones((4, 5, 6))) @ matrix[:3, :3].T + matrix[:3, 3] + vectors.reshape(-1, 3) @ per_mm.T
    expected = interpolate.sample_reference(data, voxels, "linear", 5.0).reshape(4, 5, 6)
    np.testing.assert_allclose(displacement.warp_dense(data, vectors, matrix, per_mm, 5.0), expected, atol=2e-6)


def test_a_nan_displacement_is_outside_and_not_a_crash():
    vectors = np.full((3, 3, 3, 3), np.nan, np.float32)
    warped = displacement.warp_dense(np.ones((3, 3, 3), np.float32), vectors, np.eye(4), np.eye(3), -5.0)
    assert (warped == -5).all()
