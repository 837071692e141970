"""Warping against SimpleITK and against the points' own motion."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog import Affine, Displacement, Grid, Keypoints, Volume, apply, carry, pyramid, resample, warp
from homolog.errors import BadInput, GridMismatch, SpaceMismatch
from homolog.space.dense import densified
from homolog.space.sampling import require_same_grid
from homolog.space.transforms import chain
from tests.geometry import (
    blob,
    centroid_mm,
    oblique_grid,
    sheared_grid,
    smooth_volume,
    some_affine,
    some_displacement,
    some_spline,
)

MOVING_GRID = oblique_grid((30, 26, 24), (1.1, 1.6, 1.4), seed=5)
FIXED_GRID = oblique_grid((25, 28, 22), (1.3, 1.2, 1.7), seed=9)


def sitk_image(volume: Volume) -> sitk.Image:
    image = sitk.GetImageFromArray(volume.numpy().T.copy())
    image.SetOrigin(volume.grid.origin_mm.tolist())
    image.SetSpacing(volume.grid.spacing_mm.tolist())
    image.SetDirection(volume.grid.axes.ravel().tolist())
    return image


def resampled_by_sitk(volume, transform, grid, interpolator, outside):
    reference = sitk_image(Volume(np.zeros(grid.shape, np.float32), grid, "fixed"))
    return sitk.GetArrayFromImage(sitk.Resample(sitk_image(volume), reference, transform, interpolator, outside)).T


def sitk_affine(affine: Affine) -> sitk.Transform:
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(affine.matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(affine.matrix[:3, 3].tolist())
    return transform


@pytest.mark.parametrize(
    ("interpolation", "itk"),
    [("linear", sitk.sitkLinear), ("cubic", sitk.sitkBSpline3), ("nearest", sitk.sitkNearestNeighbor)],
)
def test_intensities_agree_with_simpleitk_on_oblique_left_handed_grids(interpolation, itk):
    moving = smooth_volume(MOVING_GRID)
    affine = some_affine(about_mm=MOVING_GRID.points().mean(axis=0))
    ours = warp(moving, affine, FIXED_GRID, outside=-1000, interpolation=interpolation)
    theirs = resampled_by_sitk(moving, sitk_affine(affine), FIXED_GRID, itk, -1000)
    assert (ours.numpy() > -1000).mean() > 0.1
    # float32 values up to 400: cubic sums 64 products of them
    np.testing.assert_allclose(ours.numpy(), theirs, atol=0.01)


def test_labels_agree_with_simpleitk():
    values = np.random.default_rng(0).integers(0, 300, MOVING_GRID.shape).astype(np.int16)
    labels = Volume(values, MOVING_GRID, "moving", "labels")
    affine = some_affine(about_mm=MOVING_GRID.points().mean(axis=0))
    theirs = resampled_by_sitk(labels, sitk_affine(affine), FIXED_GRID, sitk.sitkNearestNeighbor, 0)
    np.testing.assert_array_equal(warp(labels, affine, FIXED_GRID, outside=0).numpy(), theirs)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_a_blobs_centroid_moves_as_its_point_does(seed):
    grid = oblique_grid((34, 33, 32), (1.2, 1.5, 1.35), seed=seed)
    centre = grid.points().mean(axis=0)
    parts = [
        some_affine(seed, 0.08, 2.0, centre),
        some_displacement(grid, seed, 2.0),
        some_spline(seed, 1.5, around=grid),
    ]
    order = np.random.default_rng(seed).permutation(3)
    moving_from_fixed = chain([parts[n] for n in order], fixed="fixed", moving="moving")
    point = Keypoints(centre[None] + np.random.default_rng(seed).uniform(-3, 3, 3), "fixed")
    moved = carry(point, moving_from_fixed)
    warped = warp(blob(grid, moved.position[0], 2.2), moving_from_fixed, grid, outside=0)
    # a map that bends across the blob shifts its centroid: weigh by the change of volume to take that out
    density = np.linalg.det(moving_from_fixed.jacobian(grid.points())).reshape(grid.shape)
    mass = warped.with_data(warped.numpy() * density.astype(np.float32))
    target = moving_from_fixed.apply(grid.points())
    weights = mass.numpy().ravel().astype(np.float64)
    carried_centroid = weights @ target / weights.sum()
    assert np.linalg.norm(carried_centroid - moved.position[0]) < 0.1 * grid.spacing_mm.min()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_under_maps_that_hardly_bend_across_it_a_blobs_centroid_is_its_point(seed):
    grid = oblique_grid((34, 33, 32), (1.2, 1.5, 1.35), seed=seed)
    centre = grid.points().mean(axis=0)
    # over 60 mm, 2 mm bend by 2 (2 pi / 120)^2 = 0.005 a mm: half of that times the blob's variance is 0.01 mm
    bends = [some_spline(seed + n, 2.0, 60.0, around=grid) for n in range(2)]
    maps = [some_affine(seed, 0.08, 2.0, centre), bends[0], densified(bends[1], grid)]
    moving_from_fixed = chain([maps[n] for n in np.random.default_rng(seed).permutation(3)], fixed="a", moving="b")
    point = Keypoints(centre[None] + np.random.default_rng(seed).uniform(-3, 3, 3), "a")
    target = blob(grid, carry(point, moving_from_fixed).position[0], 2.0, "b")
    warped = warp(target, moving_from_fixed, grid, outside=0)
    assert np.linalg.norm(centroid_mm(warped) - point.position[0]) < 0.1 * grid.spacing_mm.min()


def test_a_rigid_map_carries_the_centroid_within_a_tenth_of_a_voxel():
    grid = oblique_grid((34, 33, 32))
    centre = grid.points().mean(axis=0)
    turn = np.linalg.qr(np.eye(3) + 0.2 * np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.sign(np.diag(turn))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, centre - turn @ centre + (1.3, -2.1, 0.7)
    moving_from_fixed = Affine(matrix)
    point = centre + (1.0, 2.0, -1.5)
    warped = warp(blob(grid, moving_from_fixed.apply(point[None])[0], 2.5), moving_from_fixed, grid, outside=0)
    assert np.linalg.norm(centroid_mm(warped) - point) < 0.1 * grid.spacing_mm.min()


def test_the_dense_shortcut_and_the_general_way_agree():
    moving = smooth_volume(MOVING_GRID)
    displacement = some_displacement(FIXED_GRID)
    after = some_affine(about_mm=MOVING_GRID.points().mean(axis=0))
    finer = Displacement(np.pad(displacement.vectors, ((1, 1),) * 3 + ((0, 0),), mode="edge"), FIXED_GRID.padded(1))
    shortcut = warp(moving, chain([after, displacement], fixed="fixed", moving="moving"), FIXED_GRID, outside=-5)
    general = warp(moving, chain([after, finer], fixed="fixed", moving="moving"), FIXED_GRID, outside=-5)
    np.testing.assert_allclose(shortcut.numpy(), general.numpy(), atol=0.01)


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
def test_torch_warps_to_the_same_picture(interpolation):
    moving = smooth_volume(MOVING_GRID)
    moving_from_fixed = chain([some_affine(), some_displacement(FIXED_GRID)], fixed="fixed", moving="moving")
    ours = warp(moving, moving_from_fixed, FIXED_GRID, outside=-5, interpolation=interpolation)
    tracked = moving.with_data(torch.from_numpy(moving.numpy()).requires_grad_())
    by_torch = warp(tracked, moving_from_fixed, FIXED_GRID, outside=-5, interpolation=interpolation)
    assert by_torch.data.requires_grad
    # float32 coordinates, times slopes of up to 200 a voxel
    np.testing.assert_allclose(by_torch.numpy(), ours.numpy(), atol=0.02)


def test_storage_order_does_not_matter():
    moving = smooth_volume(MOVING_GRID)
    other = moving.with_data(np.asfortranarray(moving.numpy()))
    warped = [warp(v, some_affine(), FIXED_GRID, outside=0).numpy() for v in (moving, other)]
    np.testing.assert_array_equal(*warped)


def test_the_number_of_threads_does_not_matter():
    from homolog.kernels.threads import using_threads

    moving = smooth_volume(MOVING_GRID)
    pictures = []
    for threads in (1, 3):
        with using_threads(threads):
            pictures.append(warp(moving, some_spline(around=FIXED_GRID), FIXED_GRID, outside=0).numpy())
    np.testing.assert_array_equal(*pictures)


def test_outside_is_the_callers_value_and_no_silent_zero():
    moving = smooth_volume(MOVING_GRID)
    away = Affine(np.array([[1.0, 0, 0, 5000], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    assert (warp(moving, away, FIXED_GRID, outside=-1000).numpy() == -1000).all()


def test_one_apply_finds_the_direction_from_the_spaces():
    moving_from_fixed = some_displacement(FIXED_GRID, height_mm=2.0)
    picture = smooth_volume(FIXED_GRID, "moving")
    there = apply(moving_from_fixed, picture, FIXED_GRID, outside=0)
    assert there.space == "fixed"
    back = apply(moving_from_fixed, there, FIXED_GRID, outside=0)
    assert back.space == "moving"
    inner = (slice(6, -6),) * 3
    # twice interpolated linearly: a smooth picture of height 400 loses a few of them
    assert np.abs(back.numpy() - picture.numpy())[inner].mean() < 12
    points = Keypoints(FIXED_GRID.points()[::97], "fixed")
    moved = apply(moving_from_fixed, points)
    assert moved.space == "moving"
    np.testing.assert_allclose(apply(moving_from_fixed, moved).position, points.position, atol=1e-3)


def test_a_picture_of_a_third_patient_is_refused():
    with pytest.raises(SpaceMismatch, match="somebody"):
        warp(smooth_volume(MOVING_GRID, "somebody"), some_affine(), FIXED_GRID, outside=0)
    with pytest.raises(SpaceMismatch, match="somebody"):
        carry(Keypoints(np.zeros((1, 3)), "somebody"), some_affine())


def test_a_name_that_both_ends_share_tells_no_direction():
    with pytest.raises(SpaceMismatch, match="both ends"):
        apply(some_affine().renamed(fixed="a", moving="a"), Keypoints(np.zeros((1, 3)), "a"))


def test_labels_are_never_blended():
    labels = Volume(np.ones(MOVING_GRID.shape, np.uint8), MOVING_GRID, "moving", "labels")
    with pytest.raises(BadInput, match="nearest or smooth"):
        warp(labels, some_affine(), FIXED_GRID, outside=0, interpolation="linear")
    with pytest.raises(BadInput, match="outside"):
        warp(labels, some_affine(), FIXED_GRID, outside=-1000)


def test_smooth_labels_stay_nearer_to_the_true_shape_than_nearest_ones():
    coarse, fine = oblique_grid((16, 16, 16), (3, 3, 3)), oblique_grid((16, 16, 16), (3, 3, 3)).with_spacing(0.75)
    centre = coarse.points().mean(axis=0) + 0.4

    def ball(grid):
        inside = np.linalg.norm(grid.points() - centre, axis=1) < 14
        return Volume(inside.reshape(grid.shape).astype(np.uint8), grid, "moving", "labels")

    identity = Affine.identity()
    wrong = {
        how: (warp(ball(coarse), identity, fine, outside=0, interpolation=how).numpy() != ball(fine).numpy()).mean()
        for how in ("nearest", "smooth")
    }
    assert wrong["smooth"] < 0.8 * wrong["nearest"]


def test_resampling_to_coarser_voxels_does_not_alias():
    grid = oblique_grid((48, 48, 48), (1.0, 1.0, 1.0))
    stripes = np.broadcast_to((100.0 * (-1.0) ** np.arange(48))[:, None, None], grid.shape).astype(np.float32)
    coarse = resample(Volume(stripes, grid, "ct"), grid.with_spacing(3.0), outside=0)
    # every third voxel of the stripes would give +-100; their mean is 0
    assert np.abs(coarse.numpy()[1:-1, 1:-1, 1:-1]).max() < 10


def test_resampling_to_finer_voxels_is_plain_interpolation():
    volume = smooth_volume(MOVING_GRID)
    finer = MOVING_GRID.with_spacing(0.8)
    plain = warp(volume, Affine.identity("moving", "moving"), finer, outside=0)
    np.testing.assert_array_equal(resample(volume, finer, outside=0).numpy(), plain.numpy())


def test_a_pyramid_keeps_blobs_in_place_and_constants_constant():
    grid = sheared_grid((40, 42, 44), 10)
    centre = grid.points().mean(axis=0)
    for level in pyramid(blob(grid, centre, 6.0, "ct"), [2.0, 4.0]):
        assert np.linalg.norm(centroid_mm(level) - centre) < 0.1
    flat = Volume(np.full(grid.shape, -1000, np.float32), grid, "ct")
    for level in pyramid(flat, [0.1, 3.0, 8.0]):
        np.testing.assert_allclose(level.numpy(), -1000, rtol=1e-6)
        assert (level.grid.spacing_mm >= grid.spacing_mm - 1e-9).all()


def test_pictures_on_different_grids_are_not_compared():
    one = smooth_volume(MOVING_GRID, "ct")
    with pytest.raises(GridMismatch, match="different grids"):
        require_same_grid(one, smooth_volume(FIXED_GRID, "ct"))
    with pytest.raises(SpaceMismatch, match="two spaces"):
        require_same_grid(one, one.in_space("other"))


def test_a_volume_is_intensity_unless_it_is_said_to_be_labels():
    grid = oblique_grid((2, 2, 2))
    assert Volume(np.zeros((2, 2, 2), np.int16), grid, "ct").numpy().dtype == np.float32
    assert Volume(np.zeros((2, 2, 2), np.int64), grid, "ct", "labels").numpy().dtype == np.int32
    with pytest.raises(BadInput, match="integers"):
        Volume(np.zeros((2, 2, 2)), grid, "ct", "labels")
    with pytest.raises(GridMismatch):
        Volume(np.zeros((2, 2, 3)), grid, "ct")


def test_a_single_plane_can_be_warped():
    slab = Grid((20, 20, 1), oblique_grid().world_from_voxel)
    picture = Volume(np.random.default_rng(0).normal(size=(20, 20, 1)).astype(np.float32), slab, "moving")
    for how in ("linear", "cubic", "nearest"):
        same = warp(picture, Affine.identity(), slab, outside=-9, interpolation=how)
        np.testing.assert_allclose(same.numpy(), picture.numpy(), atol=1e-5)
