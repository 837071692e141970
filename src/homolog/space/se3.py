"""Rigid motions: exponential and logarithm, and how far two poses are from each other.

A twist is (6,): a rotation vector in rad, then a translation in mm, both of the motion exp(twist) =
[R, V t; 0, 1]: V joins the two as in Selig, Geometric Fundamentals of Robotics, chapter 4.

Distances on SE(3) here are those of the left-invariant metric that weighs rotation and translation apart (the metric
of SO(3) x R^3): its geodesics turn and shift at constant rates, independently of each other.
"""

from __future__ import annotations

import numpy as np

# Below this angle in rad a power series is more precise than the closed form: its next term is 1e-16 of the first.
SMALL = 1e-4


def hat(vector: np.ndarray) -> np.ndarray:
    """(3, 3): the matrix of the cross product with a vector (3,)."""
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def rotation_exp(vector: np.ndarray) -> np.ndarray:
    """(3, 3): the rotation about a vector (3,) by its length in rad (Rodrigues)."""
    vector = np.asarray(vector, float)
    angle = float(np.linalg.norm(vector))
    cross = hat(vector)
    if angle < SMALL:
        return np.eye(3) + cross + cross @ cross / 2
    return np.asarray(np.eye(3) + np.sin(angle) / angle * cross + (1 - np.cos(angle)) / angle**2 * cross @ cross)


def rotation_log(rotation: np.ndarray) -> np.ndarray:
    """(3,) rad: the rotation vector of a rotation (3, 3), at most pi long; by its quaternion, precise at all angles."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_matrix(rotation).as_rotvec())


def rotation_of(quaternion: np.ndarray) -> np.ndarray:
    """(3, 3): the rotation of a unit quaternion (4,), its real part last."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_quat(quaternion).as_matrix())


def exp(twist: np.ndarray) -> np.ndarray:
    """(4, 4): the rigid motion of a twist (6,)."""
    twist = np.asarray(twist, float)
    out = np.eye(4)
    out[:3, :3] = rotation_exp(twist[:3])
    out[:3, 3] = _joining(twist[:3]) @ twist[3:]
    return out


def log(motion: np.ndarray) -> np.ndarray:
    """(6,): the twist of a rigid motion (4, 4)."""
    vector = rotation_log(motion[:3, :3])
    return np.concatenate((vector, np.linalg.solve(_joining(vector), motion[:3, 3])))


def inverse(motion: np.ndarray) -> np.ndarray:
    """(4, 4): the motion back, exactly rigid."""
    out = np.eye(4)
    out[:3, :3] = motion[:3, :3].T
    out[:3, 3] = -motion[:3, :3].T @ motion[:3, 3]
    return out


def carried(motion: np.ndarray, point: np.ndarray) -> np.ndarray:
    """(3,): a point (3,) after a motion (4, 4)."""
    return np.asarray(motion[:3, :3] @ point + motion[:3, 3])


def about(pivot: np.ndarray, twist: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
    """(4, 4): turns about a pivot (3,) mm, then shifts; the twist is given along the columns of axes (3, 3)."""
    axes = np.eye(3) if axes is None else axes
    out = np.eye(4)
    out[:3, :3] = rotation_exp(axes @ np.asarray(twist, float)[:3])
    out[:3, 3] = pivot - out[:3, :3] @ pivot + axes @ np.asarray(twist, float)[3:]
    return out


def nearest_rigid(matrix: np.ndarray) -> np.ndarray:
    """(4, 4): the rigid motion whose rotation is nearest to that of a matrix that is nearly one."""
    left, _, right = np.linalg.svd(matrix[:3, :3])
    out = np.eye(4)
    out[:3, :3] = left @ np.diag((1.0, 1.0, np.linalg.det(left @ right))) @ right
    out[:3, 3] = matrix[:3, 3]
    return out


def angle(first: np.ndarray, second: np.ndarray) -> float:
    """rad: the angle of the rotation from one pose (4, 4) or rotation (3, 3) to another."""
    return float(np.linalg.norm(rotation_log(first[:3, :3].T @ second[:3, :3])))


def _joining(vector: np.ndarray) -> np.ndarray:
    """(3, 3): V of the exponential, the mean of the rotations on the way."""
    size = float(np.linalg.norm(vector))
    cross = hat(vector)
    if size < SMALL:
        return np.eye(3) + cross / 2 + cross @ cross / 6
    first, second = (1 - np.cos(size)) / size**2, (size - np.sin(size)) / size**3
    return np.asarray(np.eye(3) + first * cross + second * cross @ cross)
