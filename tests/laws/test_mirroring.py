"""An X-ray that is shown the other way round, of a body that is nearly its own mirror image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from homolog import Volume
from homolog.pipelines.align import align
from homolog.projective.configs import GradientConfig
from homolog.projective.mirroring import flipped, twin
from homolog.space.attenuation import attenuation
from homolog.space.projecting import project
from homolog.space.projection import Projection
from tests.geometry import oblique_grid
from tests.xray_scenes import CAMERA, placed

GRID = oblique_grid((40, 36, 44), (3.2, 3.6, 2.9), seed=11)
MIDDLE = GRID.corners().mean(axis=0)
QUICK = GradientConfig(sizes_px=(40, 72), spacings_mm=(5.0, 3.6), sigmas_px=(1.0, 1.0), radii_px=(8, 7))


def trunk(heart: float) -> Volume:
    """HU: pairs of bones in soft tissue, and `heart` times something that only the left side has."""
    points = GRID.points() - MIDDLE
    rng, hu = np.random.default_rng(7), 1040 * within(points, np.zeros(3), np.array((50.0, 40.0, 52.0)))
    for _ in range(6):
        place, radii = rng.uniform(-30, 30, 3), rng.uniform(5, 12, 3)
        for side in (1, -1):
            hu = np.maximum(hu, 1900 * within(points, place * (side, 1, 1), radii))
    hu += heart * 500 * within(points, np.array((20.0, -6.0, -12.0)), np.array((14.0, 14.0, 18.0)))
    return Volume((hu - 1000).reshape(GRID.shape).astype(np.float32), GRID, "ct")


def within(points, centre, radii):
    inside_mm = (1 - np.linalg.norm((points - centre) / radii, axis=1)) * radii.mean()
    return 1 / (1 + np.exp(-inside_mm / 1.5))


def x_ray(volume):
    pose = placed().camera_from_world
    picture = project(volume, CAMERA, pose)
    noise = np.random.default_rng(1).normal(0, 0.02, picture.shape)
    return Projection((picture + noise).astype(np.float32), CAMERA, np.eye(4), "front"), pose


@pytest.fixture(scope="module")
def volume():
    return attenuation(trunk(heart=1.0))


def test_the_mirrored_x_ray_of_a_body_that_is_nearly_symmetric_is_noticed(volume):
    picture, pose = x_ray(volume)
    over = picture.replaced(data=picture.data[:, ::-1].copy())
    assert not any("mirrored" in doubt for doubt in align(volume, [picture], pose, QUICK).doubts)
    found = align(volume, [over], pose, QUICK)
    assert found.judgement != "GOOD"
    assert any("is it mirrored?" in doubt for doubt in found.doubts)


def test_a_symmetric_bodys_x_ray_turned_over_is_seen_from_the_twin_pose():
    symmetric = attenuation(trunk(heart=0.0))
    picture, pose = x_ray(symmetric)
    over = flipped(picture)
    seen = project(symmetric, over.camera, twin(pose, MIDDLE))
    # voxels that lie obliquely are not symmetric, only what they were made of is
    assert np.corrcoef(seen.ravel(), over.data.ravel())[0, 1] > 0.995


def test_turning_over_twice_changes_nothing(volume):
    picture, pose = x_ray(volume)
    picture = picture.replaced(camera=replace(CAMERA, centre_px=(12.0, 40.0)))
    again = flipped(flipped(picture))
    np.testing.assert_array_equal(again.data, picture.data)
    np.testing.assert_allclose(again.camera.pixels_from_camera, picture.camera.pixels_from_camera)
    np.testing.assert_allclose(twin(twin(pose, MIDDLE), MIDDLE), pose, atol=1e-9)
