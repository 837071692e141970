"""What a pose search looks at: X-rays with fewer pixels, the body without its air, and the point it turns about."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from homolog import Grid, Volume
from homolog.errors import BadInput
from homolog.projective.configs import Stage
from homolog.projective.resizing import resized
from homolog.projective.scene import Scene, at_spacing
from homolog.space.attenuation import attenuation
from homolog.space.projecting import project
from homolog.space.projection import Projection
from tests.geometry import blob, centroid_mm, oblique_grid
from tests.xray_scenes import CAMERA, SIDE, body, placed, taken

STAGE = Stage(40, 4.0, 1.0, 6)


VIEWS = {"front": placed(), "side": SIDE}


@cache
def whole_body():
    return attenuation(body())


@cache
def picture(name):
    return taken(VIEWS[name])


def x_ray(name="front", **changes):
    return replace(Projection(picture(name), CAMERA, VIEWS[name].camera_from_world), **changes)


def scene(volume=None, similarity="gradient_ncc"):
    return Scene.of(volume or whole_body(), (x_ray(), x_ray("side")), similarity)


def some_mask():
    mask = np.ones(CAMERA.size_px, bool)
    mask[:20, 30:] = False
    return mask


# ---------------------------------------------------------------------------------------------------------------------
# X-rays with fewer pixels


@pytest.mark.parametrize("longest_px", [40, 37, 11, 1])
def test_fewer_pixels_have_the_same_mean(longest_px):
    whole = x_ray()
    small = resized(whole, longest_px)
    assert max(small.data.shape) == longest_px
    assert small.data.shape == small.camera.size_px
    assert small.data.mean() == pytest.approx(whole.data.mean(), rel=1e-5)


def test_a_picture_with_fewer_pixels_shows_the_same_places():
    small = resized(x_ray(), 33)
    # the detector's outer edges stay
    for camera in (small.camera, CAMERA):
        corner = camera.rays(np.array([[-0.5, -0.5], np.array(camera.size_px)[::-1] - 0.5]))
        np.testing.assert_allclose(corner, CAMERA.rays(np.array([[-0.5, -0.5], [79.5, 71.5]])), atol=1e-12)
    seen = project(whole_body(), small.camera, placed().camera_from_world)
    # nearly the mean over each larger pixel, and not half a pixel beside it
    clean = project(whole_body(), CAMERA, placed().camera_from_world)
    apart = [np.abs(resized(x_ray(data=np.roll(clean, n, (0, 1))), 33).data - seen).mean() for n in (0, 1, -1)]
    assert apart[0] < min(apart[1:]) / 4


def test_what_a_mask_covers_does_not_reach_the_smaller_picture():
    mask = some_mask()
    spoilt = x_ray().data.copy()
    spoilt[~mask] = np.nan
    small, plain = resized(x_ray(data=spoilt, mask=mask), 40), resized(x_ray(mask=mask), 40)
    np.testing.assert_array_equal(small.mask, plain.mask)
    np.testing.assert_allclose(small.data[small.mask], plain.data[small.mask], rtol=1e-6)
    assert small.mask.mean() == pytest.approx(mask.mean(), abs=0.03)


def test_a_picture_never_gets_more_pixels():
    whole = x_ray()
    assert resized(whole, 400) is whole


# ---------------------------------------------------------------------------------------------------------------------
# The body and its middle


def test_air_around_the_body_changes_neither_pivot_nor_picture():
    volume = whole_body()
    grid = volume.grid
    wide = Grid([n + 30 for n in grid.shape], grid.world_from_voxel @ _shift((-9, -20, -3)))
    data = np.zeros(wide.shape, np.float32)
    data[9 : 9 + grid.shape[0], 20 : 20 + grid.shape[1], 3 : 3 + grid.shape[2]] = volume.numpy()
    one, other = scene(volume), scene(Volume(data, wide, volume.space))
    np.testing.assert_allclose(other.pivot_mm, one.pivot_mm, atol=1e-6)
    assert other.body.grid.shape == one.body.grid.shape
    assert other.level(STAGE).score(np.eye(4)) == pytest.approx(one.level(STAGE).score(np.eye(4)), abs=1e-6)


def _shift(voxels):
    out = np.eye(4)
    out[:3, 3] = voxels
    return out


def test_the_pivot_is_the_centre_of_what_attenuates():
    grid = oblique_grid((40, 30, 34), (2.0, 3.1, 2.6))
    centre = grid.world(np.array((22.0, 13.0, 15.0)))
    ball = blob(grid, centre, 9.0)
    np.testing.assert_allclose(scene(ball).pivot_mm, centre, atol=0.1)
    # a far grain of almost nothing does not move it
    speck = ball.numpy().copy()
    speck[0, 0, 0] = 0.04
    np.testing.assert_allclose(scene(ball.with_data(speck)).pivot_mm, centre, atol=0.1)


def test_coarser_voxels_keep_mass_and_place():
    volume = whole_body()
    coarse = at_spacing(volume, 6.0)
    assert (coarse.grid.spacing_mm > 4.5).all()
    np.testing.assert_allclose(centroid_mm(coarse), centroid_mm(volume), atol=0.2)
    view = placed()
    sums = [project(one, CAMERA, view.camera_from_world).sum() for one in (coarse, volume)]
    assert sums[0] == pytest.approx(sums[1], rel=0.02)
    assert at_spacing(volume, 2.0) is volume


# ---------------------------------------------------------------------------------------------------------------------
# Twists


def test_the_sixth_number_of_a_twist_is_the_first_cameras_depth():
    whole = scene()
    level, pose = whole.level(STAGE), np.eye(4)
    deeper = level.moved(pose, np.array((0, 0, 0, 0, 0, 7.0)))
    first = whole.projections[0].camera_from_rig
    depths = [(first @ pose @ (*whole.pivot_mm, 1))[2] for pose in (pose, deeper)]
    assert depths[1] - depths[0] == pytest.approx(7)
    turned = level.moved(pose, np.array((0.1, 0.2, -0.3, 0, 0, 0)))
    np.testing.assert_allclose((turned @ (*whole.pivot_mm, 1))[:3], whole.pivot_mm, atol=1e-9)


@pytest.mark.parametrize("similarity", ["gradient_ncc", "patch_gradient_ncc", "mi"])
def test_the_gradient_is_the_slope_of_the_score_over_all_x_rays(similarity):
    level = scene(similarity=similarity).level(STAGE)
    pose = level.moved(np.eye(4), np.array((0.05, -0.04, 0.06, 4.0, -3.0, 8.0)))
    score, gradient = level.score_and_gradient(pose)
    assert score == pytest.approx(level.score(pose), abs=1e-6)
    steps = np.diag([1e-3] * 3 + [0.1] * 3)
    ends = [[level.score(level.moved(pose, sign * step)) for sign in (1, -1)] for step in steps]
    slopes = [(there - back) / (2 * step.sum()) for (there, back), step in zip(ends, steps, strict=True)]
    # pictures are float32
    scale = np.array([40.0] * 3 + [1.0] * 3)
    np.testing.assert_allclose(gradient / scale, slopes / scale, atol=0.03 * np.abs(gradient / scale).max())


def test_the_quadratic_has_the_value_and_gradient_of_the_score():
    level = scene().level(STAGE)
    pose = level.moved(np.eye(4), np.array((0.05, -0.04, 0.06, 4.0, -3.0, 8.0)))
    near, (score, gradient) = level.quadratic(pose), level.score_and_gradient(pose)
    assert near.value == pytest.approx(score)
    np.testing.assert_allclose(near.gradient, gradient, rtol=1e-6, atol=1e-9)
    assert np.linalg.eigvalsh(near.curvature).min() > 0


@pytest.mark.parametrize("wrong", ["no X-ray", "air", "nan"])
def test_scenes_without_anything_to_see_are_refused(wrong):
    volume, views = whole_body(), (x_ray(),)
    if wrong == "no X-ray":
        views = ()
    elif wrong == "air":
        volume = volume.with_data(np.zeros(volume.grid.shape, np.float32))
    else:
        volume = volume.with_data(np.where(volume.numpy() > 0.02, np.nan, volume.numpy()))
    with pytest.raises(BadInput):
        Scene.of(volume, views, "ncc")
