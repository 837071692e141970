"""Rigid motions: the exponential and its inverse, turning about a point, and the rigid motion nearest to a matrix."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm, polar
from scipy.spatial.transform import Rotation

from homolog.space import se3

# about where series and closed form meet, ordinary, nearly and exactly half a turn
ANGLES = (0.0, 1e-9, 0.9e-4, 1.1e-4, 0.3, 2.0, np.pi - 1e-6)
PIVOT = np.array((-31.0, 12.5, 240.0))


def twist_of(angle, seed=0):
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    return np.concatenate((angle * axis / np.linalg.norm(axis), rng.normal(0, 50, 3)))


def some_motion(seed=0):
    return se3.exp(twist_of(1.2, seed))


@pytest.mark.parametrize("angle", ANGLES)
def test_the_exponential_is_that_of_matrices(angle):
    twist = twist_of(angle)
    generator = np.zeros((4, 4))
    generator[:3, :3], generator[:3, 3] = se3.hat(twist[:3]), twist[3:]
    np.testing.assert_allclose(se3.exp(twist), expm(generator), atol=1e-9)


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("seed", range(3))
def test_the_logarithm_undoes_the_exponential(angle, seed):
    twist = twist_of(angle, seed)
    np.testing.assert_allclose(se3.log(se3.exp(twist)), twist, atol=1e-7)


def test_half_a_turn_has_a_logarithm_that_turns_so():
    rotation = Rotation.from_rotvec(np.pi * np.array((0.6, 0.0, -0.8))).as_matrix()
    vector = se3.rotation_log(rotation)
    assert np.linalg.norm(vector) == pytest.approx(np.pi)
    np.testing.assert_allclose(se3.rotation_exp(vector), rotation, atol=1e-9)


def test_twists_along_one_line_add_up():
    twist = twist_of(0.4)
    np.testing.assert_allclose(se3.exp(twist) @ se3.exp(2 * twist), se3.exp(3 * twist), atol=1e-10)


def test_a_motion_and_its_inverse_leave_all_where_it_was():
    motion = some_motion()
    np.testing.assert_allclose(se3.inverse(motion) @ motion, np.eye(4), atol=1e-12)


def test_a_turn_about_a_point_leaves_the_point():
    turned = se3.about(PIVOT, np.array((0.3, -0.2, 0.5, 0, 0, 0)))
    np.testing.assert_allclose((turned @ (*PIVOT, 1))[:3], PIVOT, atol=1e-10)
    shifted = se3.about(PIVOT, np.array((0.3, -0.2, 0.5, 4.0, 5.0, -6.0)))
    np.testing.assert_allclose((shifted @ (*PIVOT, 1))[:3], PIVOT + (4.0, 5.0, -6.0), atol=1e-10)


def test_a_twist_along_other_axes_is_the_same_motion_seen_from_there():
    axes = some_motion(3)[:3, :3]
    frame = np.eye(4)
    frame[:3, :3] = axes
    twist = np.array((0.3, -0.2, 0.5, 4.0, 5.0, -6.0))
    seen_there = se3.about(axes.T @ PIVOT, twist)
    np.testing.assert_allclose(se3.about(PIVOT, twist, axes), frame @ seen_there @ frame.T, atol=1e-10)


def test_the_nearest_rigid_motion_is_that_of_the_polar_decomposition():
    rng = np.random.default_rng(1)
    matrix = some_motion() + 0.05 * rng.normal(size=(4, 4))
    found = se3.nearest_rigid(matrix)
    np.testing.assert_allclose(found[:3, :3], polar(matrix[:3, :3])[0], atol=1e-10)
    np.testing.assert_allclose(found[:3, 3], matrix[:3, 3])
    np.testing.assert_allclose(found[3], (0, 0, 0, 1))


def test_the_nearest_rigid_motion_is_never_a_mirror():
    mirrored = np.diag((1.0, 1.0, -0.01, 1.0)) @ some_motion()
    found = se3.nearest_rigid(mirrored)
    assert np.linalg.det(found[:3, :3]) == pytest.approx(1)
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-12)


def test_the_angle_between_poses_does_not_see_the_world():
    one, other, world = some_motion(1), some_motion(2), some_motion(3)
    expected = Rotation.from_matrix(one[:3, :3].T @ other[:3, :3]).magnitude()
    assert se3.angle(one, other) == pytest.approx(expected)
    assert se3.angle(world @ one, world @ other) == pytest.approx(expected)
    assert se3.angle(one @ world, other @ world) == pytest.approx(expected)
