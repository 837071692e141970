"""A pose from landmarks: exact ones give it back, mistaken ones are found out."""

from __future__ import annotations

import numpy as np
import pytest

from homolog.errors import BadInput
from homolog.projective.landmarks import pose_from_landmarks
from homolog.space import se3
from homolog.space.camera import Camera

CAMERA = Camera(1020.0, (501, 601), (0.7, 0.6), (280.0, 260.0))
MIDDLE = np.array((-31.0, 12.5, 240.0))


def marks(count=8, seed=0):
    return MIDDLE + np.random.default_rng(seed).normal(0, 60, (count, 3))


def drawn_pose(seed, depth_mm=780.0):
    """Any orientation, about in the middle of the picture."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation[:, 0] *= np.sign(np.linalg.det(rotation))
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = np.array((20.0, -15.0, depth_mm)) - rotation @ MIDDLE
    return out


def apart_mm(one, other, points):
    return float(np.linalg.norm(points @ (one - other)[:3, :3].T + (one - other)[:3, 3], axis=1).max())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [4, 6, 12])
def test_exact_landmarks_give_the_pose_back_whatever_the_orientation(seed, count):
    points, pose = marks(count, seed), drawn_pose(seed)
    found = pose_from_landmarks([(points, CAMERA.project(points, pose))], [CAMERA], [np.eye(4)])
    assert found.error_mm < 1e-3
    if count > 4:
        assert apart_mm(found.rig_from_patient, pose, points) < 0.01


def test_landmarks_in_a_plane_will_do():
    points, pose = marks(7), drawn_pose(3)
    points[:, 1] = MIDDLE[1]
    found = pose_from_landmarks([(points, CAMERA.project(points, pose))], [CAMERA], [np.eye(4)])
    assert apart_mm(found.rig_from_patient, pose, points) < 0.01


@pytest.mark.parametrize("seed", range(4))
def test_landmarks_that_were_mistaken_are_left_out(seed, caplog):
    points, pose = marks(10, seed), drawn_pose(seed + 20)
    pixels = CAMERA.project(points, pose)
    pixels[[2, 7]] = pixels[[7, 2]]
    pixels[4] += (130, -90)
    found = pose_from_landmarks([(points, pixels)], [CAMERA], [np.eye(4)])
    assert list(np.flatnonzero(~found.agreeing[0])) == [2, 4, 7]
    assert apart_mm(found.rig_from_patient, pose, points) < 0.01
    assert "3 of 10 landmarks" in caplog.text


def test_a_second_x_ray_settles_the_depth():
    points, pose = marks(8), drawn_pose(5)
    side = se3.about((pose @ (*MIDDLE, 1))[:3], np.array((0, np.pi / 2, 0, 0, 0, 0)))
    rng = np.random.default_rng(1)
    rigs = [np.eye(4), side]
    seen = [
        (points, CAMERA.project(points, camera_from_rig @ pose) + rng.normal(0, 1.5, (len(points), 2)))
        for camera_from_rig in rigs
    ]
    alone = pose_from_landmarks(seen[:1], [CAMERA], rigs[:1]).rig_from_patient
    both = pose_from_landmarks(seen, [CAMERA] * 2, rigs).rig_from_patient
    depth = [abs(((found - pose) @ (*MIDDLE, 1))[2]) for found in (alone, both)]
    assert depth[1] < 1
    assert depth[1] < depth[0]


def test_naming_the_rig_otherwise_changes_no_camera():
    points, pose = marks(9), drawn_pose(8)
    other_from_rig = se3.exp(np.array((0.3, 1.1, -0.4, 60, -700, 90)))
    seen = [(points, CAMERA.project(points, pose))]
    found = pose_from_landmarks(seen, [CAMERA], [se3.inverse(other_from_rig)])
    assert apart_mm(se3.inverse(other_from_rig) @ found.rig_from_patient, pose, points) < 0.01


def test_a_mirrored_picture_is_noticed(caplog):
    points, pose = marks(9), drawn_pose(2)
    pixels = CAMERA.project(points, pose)
    pixels[:, 0] = CAMERA.size_px[1] - 1 - pixels[:, 0]
    found = pose_from_landmarks([(points, pixels)], [CAMERA], [np.eye(4)], agreeing_mm=2.0)
    assert not found.agreeing[0].all()
    assert "do not agree" in caplog.text


def test_landmarks_of_another_patient_agree_on_no_pose():
    rng = np.random.default_rng(7)
    pixels = rng.uniform((0, 0), (600, 500), (10, 2))
    with pytest.raises(BadInput, match="agree on no pose"):
        pose_from_landmarks([(marks(10), pixels)], [CAMERA], [np.eye(4)], agreeing_mm=0.5)


def test_too_few_landmarks_and_landmarks_on_a_line_are_refused():
    points, pose = marks(3), drawn_pose(2)
    with pytest.raises(BadInput, match="at least 4"):
        pose_from_landmarks([(points, CAMERA.project(points, pose))], [CAMERA], [np.eye(4)])
    line = MIDDLE + np.linspace(-50, 50, 6)[:, None] * np.array((0.6, 0.0, 0.8))
    with pytest.raises(BadInput, match="on a line"):
        pose_from_landmarks([(line, CAMERA.project(line, pose))], [CAMERA], [np.eye(4)])
