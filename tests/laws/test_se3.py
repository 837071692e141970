"""Rigid motions in torch: the twins of `space.se3`, their derivatives, and geodesics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from homolog.space import se3, se3_torch

ANGLES = (0.0, 1e-9, 1e-5, 0.0099, 0.0101, 0.7, 2.0, 3.0, 3.14159)


def vector(angle: float, seed: int = 0) -> np.ndarray:
    axis = np.random.default_rng(seed).normal(size=3)
    return angle * axis / np.linalg.norm(axis)


def some_twists(count: int = 5, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 6)) * np.repeat((0.8, 40.0), 3))


def some_poses(count: int = 5, seed: int = 1) -> torch.Tensor:
    return se3_torch.exp(some_twists(count, seed))


@pytest.mark.parametrize("angle", ANGLES)
def test_exponentials_are_those_of_numpy(angle):
    twist = np.concatenate((vector(angle), (30.0, -4.0, 12.0)))
    ours = se3_torch.exp(torch.from_numpy(twist)[None])[0].numpy()
    assert ours == pytest.approx(se3.exp(twist), abs=1e-10)


@pytest.mark.parametrize("angle", [*ANGLES, np.pi])
@pytest.mark.parametrize("seed", range(4))
def test_the_logarithm_undoes_the_exponential(angle, seed):
    rotation = torch.from_numpy(se3.rotation_exp(vector(angle, seed)))
    again = se3_torch.rotation_exp(se3_torch.rotation_log(rotation[None]))[0]
    assert again.numpy() == pytest.approx(rotation.numpy(), abs=1e-9)
    assert float(se3_torch.rotation_log(rotation).norm()) == pytest.approx(angle, abs=1e-7)


@pytest.mark.parametrize("angle", (0.0, 1e-5, 0.0099, 0.0101, 0.7, 2.0, 3.0))
def test_the_exponential_has_two_derivatives(angle):
    twist = torch.from_numpy(np.concatenate((vector(angle), (3.0, -4.0, 1.0))))[None].requires_grad_()
    assert torch.autograd.gradcheck(se3_torch.exp, (twist,))
    assert torch.autograd.gradgradcheck(se3_torch.exp, (twist,))


@pytest.mark.parametrize("angle", (0.0, 1e-5, 0.05, 0.7, 2.0, 3.0))
def test_the_logarithm_has_two_derivatives(angle):
    # along rotations alone: what is no rotation has no logarithm
    def turned(more: torch.Tensor) -> torch.Tensor:
        return se3_torch.rotation_log(se3_torch.rotation_exp(more) @ rotation)

    rotation = torch.from_numpy(se3.rotation_exp(vector(angle)))
    more = torch.zeros((1, 3), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(turned, (more,))
    assert torch.autograd.gradgradcheck(turned, (more,), atol=1e-4)


def test_moving_a_pose_is_turning_the_body_about_its_origin():
    pose, twist = some_poses(1)[0].numpy(), some_twists(1, seed=2)[0].numpy()
    ours = se3_torch.moved(torch.from_numpy(pose)[None], torch.from_numpy(twist)[None])[0].numpy()
    assert ours == pytest.approx(se3.about(pose[:3, 3], twist) @ pose, abs=1e-10)


@pytest.mark.parametrize("mm_per_rad", (1.0, 135.0))
def test_the_descent_is_against_the_slope_of_the_squared_distance(mm_per_rad):
    poses, targets = some_poses(6), some_poses(6, seed=7)
    towards = se3_torch.descent_direction(poses, targets).numpy()
    step = 1e-5
    slopes = np.empty((6, 6))
    for n in range(6):
        twist = torch.zeros(6, 6, dtype=torch.float64)
        twist[:, n] = step
        ends = [se3_torch.squared_distance(se3_torch.moved(poses, s * twist), targets, mm_per_rad) for s in (1, -1)]
        slopes[:, n] = ((ends[0] - ends[1]) / (2 * step)).numpy()
    weights = np.repeat((mm_per_rad**2, 1.0), 3)
    assert slopes == pytest.approx(-2 * weights * towards, rel=1e-6, abs=1e-4)


def test_the_distance_does_not_see_where_the_world_lies():
    poses, targets, world = some_poses(4), some_poses(4, seed=3), some_poses(1, seed=9)
    before = se3_torch.squared_distance(poses, targets, 100.0)
    assert torch.allclose(se3_torch.squared_distance(world @ poses, world @ targets, 100.0), before)
    assert torch.allclose(se3_torch.squared_distance(targets, poses, 100.0), before)


def test_a_whole_step_along_the_descent_arrives():
    poses, targets = some_poses(6), some_poses(6, seed=7)
    arrived = se3_torch.moved(poses, se3_torch.descent_direction(poses, targets))
    assert torch.allclose(arrived, targets, atol=1e-9)
    halfway = se3_torch.moved(poses, se3_torch.descent_direction(poses, targets) / 2)
    whole, half = (se3_torch.squared_distance(one, targets, 100.0) for one in (poses, halfway))
    # a geodesic is run through at a constant pace
    assert torch.allclose(half, whole / 4)
