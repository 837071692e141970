"""Solving a displacement field backwards."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from homolog.kernels.displacement import sample_vectors_reference
from homolog.kernels.inversion import invert_points, invert_points_reference


def field(height, seed=0, shape=(14, 13, 12), width=2.0):
    noise = np.random.default_rng(seed).normal(size=(*shape, 3))
    smooth = gaussian_filter(noise, (width, width, width, 0))
    return (height * smooth / np.abs(smooth).max()).astype(np.float32)


def test_the_fast_solver_agrees_with_its_twin_where_the_field_contracts():
    vectors = field(1.0)
    targets = np.random.default_rng(1).uniform(-4, 17, (300, 3))
    solution, residual = invert_points(vectors, targets, 1e-7)
    expected, left = invert_points_reference(vectors, targets)
    assert left.max() < 1e-7
    assert residual.max() <= 1e-7
    np.testing.assert_allclose(solution, expected, atol=1e-6)


def test_newton_finds_what_the_fixed_point_cannot():
    # the map stretches fourfold between planes 4 and 8: it rises everywhere, but u <- v - d(u) runs away
    vectors = np.zeros((14, 13, 12, 3), np.float32)
    vectors[..., 0] = 3.0 * np.clip(np.arange(14.0) - 4, 0, 4)[:, None, None]
    targets = np.random.default_rng(2).uniform(4, 20, (300, 3))
    assert invert_points_reference(vectors, targets)[1].max() > 1.0
    assert invert_points(vectors, targets, 1e-6)[1].max() <= 1e-6


def test_what_is_reported_is_the_distance_that_is_left():
    vectors = field(9.0, width=1.0)
    targets = np.random.default_rng(3).uniform(0, 12, (200, 3))
    solution, residual = invert_points(vectors, targets, 1e-6)
    carried = solution + sample_vectors_reference(vectors, solution)
    np.testing.assert_allclose(np.linalg.norm(carried - targets, axis=1), residual, atol=1e-5)


def test_a_target_far_outside_is_reached_by_the_edges_displacement():
    vectors = field(2.0)
    solution, residual = invert_points(vectors, np.array([[500.0, -400.0, 300.0]]), 1e-6)
    assert residual.max() <= 1e-6
    np.testing.assert_allclose(solution[0], np.array([500.0, -400.0, 300.0]) - vectors[-1, 0, -1], atol=1e-5)


def test_neighbours_do_not_decide_the_answer():
    vectors = field(1.5)
    targets = np.random.default_rng(4).uniform(0, 12, (400, 3))
    alone = np.concatenate([invert_points(vectors, t[None], 1e-8)[0] for t in targets])
    np.testing.assert_allclose(invert_points(vectors, targets, 1e-8)[0], alone, atol=1e-6)


def test_one_voxel_and_no_points():
    vectors = np.full((1, 1, 1, 3), 2.0, np.float32)
    solution, residual = invert_points(vectors, np.array([[0.0, 5.0, -3.0]]), 1e-9)
    np.testing.assert_allclose(solution, [[-2.0, 3.0, -5.0]])
    assert residual.max() <= 1e-9
    assert invert_points(vectors, np.empty((0, 3)), 1e-9)[0].shape == (0, 3)
