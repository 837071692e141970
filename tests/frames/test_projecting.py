"""Line integrals under a camera: where they fall, how they change, and that torch's derivatives are theirs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from homolog.errors import BadInput
from homolog.space import se3
from homolog.space.camera import Camera
from homolog.space.grid import Grid
from homolog.space.projecting import METHODS, Projector, project
from homolog.space.projecting_torch import intrinsics_of, project_torch
from homolog.space.volume import Volume
from tests.geometry import oblique_grid

CAMERA = Camera(900.0, (11, 14), (7.0, 9.0), (5.5, 6.25))


def pose(depth_mm: float = 700.0) -> np.ndarray:
    """An oblique view of the world's origin."""
    out = se3.exp(np.array([0.4, -0.7, 1.1, 0, 0, 0]))
    out[:3, 3] = (6.0, -4.0, depth_mm)
    return out


def some_volume(shape=(9, 8, 7), smooth_vox=0.0) -> Volume:
    """Attenuation around the world's origin, finely grained or smooth."""
    grid = oblique_grid(shape, spacing_mm=(9.0, 12.0, 15.0))
    centre = grid.world(np.array([(n - 1) / 2 for n in shape]))
    shift = np.eye(4)
    shift[:3, 3] = -centre
    grid = Grid(shape, shift @ grid.world_from_voxel)
    data = gaussian_filter(np.random.default_rng(1).uniform(0, 1, shape), smooth_vox) if smooth_vox else None
    data = np.random.default_rng(1).uniform(0, 1, shape) if data is None else data - data.min()
    return Volume(data.astype(np.float32), grid, "patient")


@pytest.mark.parametrize("method", METHODS)
def test_a_ball_is_brightest_where_its_centre_is_projected(method):
    grid = oblique_grid((40, 36, 44), spacing_mm=(4.0, 5.0, 3.0))
    middle = grid.world(np.array([22.0, 15.0, 20.0]))
    distance = np.linalg.norm(grid.points() - middle, axis=1).reshape(grid.shape)
    ball = Volume(np.clip((24 - distance) / 4 + 0.5, 0, 1).astype(np.float32), grid, "patient")
    camera = Camera(900.0, (61, 72), (3.0, 2.0), (30.0, 41.0))
    camera_from_world = pose()
    camera_from_world[:3, 3] -= camera_from_world[:3, :3] @ middle
    image = project(ball, camera, camera_from_world, method=method)
    rows, columns = np.indices(image.shape)
    seen = np.array([(image * columns).sum(), (image * rows).sum()]) / image.sum()
    assert seen == pytest.approx(camera.project(middle[None], camera_from_world)[0], abs=0.1)
    # the longest way through it is its diameter
    assert image.max() == pytest.approx(48.0, abs=2.0)


# Siddon's derivative is exact too, but jumps wherever a ray passes an edge of a voxel: steps of this size span many
@pytest.mark.parametrize("method", ["joseph", "trilinear"])
def test_a_step_of_the_pose_changes_the_image_as_its_jacobian_says(method):
    volume, camera_from_world = some_volume((14, 13, 12), 2.0), pose()
    pivot, axes = np.array([10.0, -5.0, 690.0]), se3.rotation_exp(np.array([0.3, 0.2, -0.5]))
    projector = Projector(volume, method)
    _, jacobian = projector.image_and_jacobian(CAMERA, camera_from_world, pivot, axes)
    for n in range(6):
        step = np.zeros(6)
        step[n] = 2e-3 if n < 3 else 0.2
        there = projector.image(CAMERA, se3.about(pivot, step, axes) @ camera_from_world)
        back = projector.image(CAMERA, se3.about(pivot, -step, axes) @ camera_from_world)
        measured = (there - back) / (2 * step[n])
        assert np.corrcoef(measured.ravel(), jacobian[..., n].ravel())[0, 1] > 0.99
        assert (measured * jacobian[..., n]).sum() / (jacobian[..., n] ** 2).sum() == pytest.approx(1, abs=0.03)


def test_a_change_of_the_camera_changes_the_image_as_its_jacobian_says():
    volume, camera_from_world = some_volume((14, 13, 12), 2.0), pose()
    projector = Projector(volume)
    _, jacobian = projector.intrinsic_jacobian(CAMERA, camera_from_world)

    def image(change):
        focal, right, down = change
        centre = (CAMERA.centre_px[0] + right, CAMERA.centre_px[1] + down)
        return projector.image(
            Camera(CAMERA.focal_mm + focal, CAMERA.size_px, CAMERA.pitch_mm, centre), camera_from_world
        )

    for n, step in enumerate((1.0, 0.05, 0.05)):
        change = np.eye(3)[n] * step
        measured = (image(change) - image(-change)) / (2 * step)
        assert np.corrcoef(measured.ravel(), jacobian[..., n].ravel())[0, 1] > 0.99
        assert (measured * jacobian[..., n]).sum() / (jacobian[..., n] ** 2).sum() == pytest.approx(1, abs=0.03)


def test_turning_patient_and_camera_together_changes_nothing():
    volume, camera_from_world = some_volume(), pose()
    motion = se3.exp(np.array([0.5, 0.2, -0.9, 30.0, -200.0, 55.0]))
    moved = Volume(volume.data, Grid(volume.grid.shape, motion @ volume.grid.world_from_voxel), "patient")
    there = project(moved, CAMERA, camera_from_world @ se3.inverse(motion))
    assert there == pytest.approx(project(volume, CAMERA, camera_from_world), rel=1e-4)


def test_storage_order_does_not_matter():
    volume = some_volume()
    flip = np.array([[-1.0, 0, 0, volume.grid.shape[0] - 1], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    data = np.ascontiguousarray(volume.numpy()[::-1].transpose(0, 2, 1))
    other = Volume(data, Grid(data.shape, volume.grid.world_from_voxel @ flip), "patient")
    for method in METHODS:
        one = project(volume, CAMERA, pose(), method=method)
        assert project(other, CAMERA, pose(), method=method) == pytest.approx(one, rel=1e-4)


def test_a_resized_camera_sees_the_mean_of_its_pixels():
    volume = some_volume((20, 20, 20), 2.0)
    fine = Camera(900.0, (60, 80), (2.0, 1.5), (30.0, 44.0))
    image = project(volume, fine, pose())
    coarse = project(volume, fine.resized((15, 20)), pose())
    means = image.reshape(15, 4, 20, 4).mean(axis=(1, 3))
    assert np.corrcoef(coarse.ravel(), means.ravel())[0, 1] > 0.999


def test_a_cropped_camera_sees_part_of_the_image():
    volume = some_volume()
    whole = project(volume, CAMERA, pose())
    part = project(volume, CAMERA.cropped((3, 4), (5, 6)), pose())
    assert part == pytest.approx(whole[3:8, 4:10], rel=1e-5)


def test_what_is_behind_the_source_is_not_seen():
    volume = some_volume()
    assert project(volume, CAMERA, pose(-700.0)).max() == 0


def test_several_poses_are_several_images():
    poses = np.stack([pose(), pose(800.0)])
    images = project(some_volume(), CAMERA, poses)
    assert images[1] == pytest.approx(project(some_volume(), CAMERA, poses[1]))


def test_an_unknown_method_is_named():
    with pytest.raises(BadInput, match="'splat' projects nothing"):
        project(some_volume(), CAMERA, pose(), method="splat")


# ---------------------------------------------------------------------------------------------------------------------


def double(tensor) -> torch.Tensor:
    return torch.tensor(np.asarray(tensor), dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("method", METHODS)
def test_torch_gives_the_same_images(method):
    volume = some_volume()
    images = project_torch(
        torch.from_numpy(volume.numpy())[None],
        volume.grid.world_from_voxel,
        CAMERA,
        torch.tensor(pose())[None],
        method=method,
    )
    assert images[0, 0].numpy() == pytest.approx(project(volume, CAMERA, pose(), method=method), rel=1e-5)


def small_problem(method):
    rng = np.random.default_rng(3)
    grid = some_volume((4, 5, 3)).grid
    camera = Camera(300.0, (3, 4), (19.0, 17.0), (1.3, 1.1))
    data = double(rng.uniform(0, 1, (2, 4, 5, 3)))
    poses = double(np.stack([pose(200.0), pose(230.0)])[:, :3])
    inner = double(intrinsics_of(camera))

    def images(data, poses, inner):
        bottom = torch.tensor([[[0.0, 0, 0, 1]]], dtype=torch.float64).expand(2, 1, 4)
        return project_torch(
            data,
            grid.world_from_voxel,
            camera,
            torch.cat((poses, bottom), 1),
            method=method,
            step_mm=7.0,
            intrinsics=inner,
        )

    return images, (data, poses, inner)


@pytest.mark.parametrize("method", METHODS)
def test_the_derivatives_to_volume_pose_and_camera_are_exact(method):
    images, inputs = small_problem(method)
    assert torch.autograd.gradcheck(images, inputs, eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_the_derivatives_of_the_derivatives_are_exact(method):
    images, inputs = small_problem(method)
    assert torch.autograd.gradgradcheck(images, inputs, eps=1e-6, atol=1e-4, rtol=1e-3)


def test_a_gradient_to_the_pose_spreads_nothing_into_the_volume(monkeypatch):
    from homolog.kernels import line_integrals

    images, inputs = small_problem("trilinear")
    out = images(*inputs).square().sum()
    monkeypatch.setattr(line_integrals, "spread", lambda *_, **__: pytest.fail("the volume's gradient was made"))
    (gradient,) = torch.autograd.grad(out, inputs[1])
    assert gradient.abs().max() > 0


def test_a_camera_with_no_pixels_is_refused():
    with pytest.raises(BadInput, match="at least one row"):
        Camera(1000.0, (0, 5), (1.0, 1.0), (0.0, 0.0))
