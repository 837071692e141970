from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from homolog import Affine, Grid, Keypoints, Matches, Volume
from homolog.errors import BadInput, SpaceMismatch
from homolog.matching.truth import correspondences
from homolog.space import fit
from homolog.synth.configs import PairConfig
from homolog.synth.deformations import DrawnWarp, warped_scan
from homolog.synth.local_affines import AffineDensity
from homolog.synth.pairs import Pair, draw_pair_warp, groups, semi_synthetic
from tests.geometry import blob, centroid_mm, oblique_grid, smooth_volume, some_affine

# what is promised of points, and of the places where the picture's voxels look
PROMISED_MM, PICTURE_MM = 0.05, 0.1
# oblique, anisotropic and left-handed: 160 mm a side
GRID = oblique_grid((80, 54, 64), (2.0, 3.0, 2.5))
STIFF = PairConfig(strength_mm=(0.0, 0.0))
NO_AFFINE = PairConfig(rotation_degrees=0.0, log_scale=0.0, shear=0.0, translation_mm=0.0)


@pytest.fixture(scope="module")
def density() -> AffineDensity:
    """Of patients as different as people are: elements spread by about 0.1."""
    rng = np.random.default_rng(0)
    places = rng.uniform((-180, -110, 20), (170, 120, 420), (25, 3))
    names = tuple(map(str, range(25)))
    return AffineDensity.of([
        Keypoints(some_affine(n, size=0.12).apply(places) + 4.0 * rng.normal(size=(25, 3)), f"patient {n}", names)
        for n in range(8)
    ])  # fmt: skip


def drawn(seed: int = 0, density: AffineDensity | None = None, config: PairConfig = PairConfig()) -> DrawnWarp:
    return draw_pair_warp(GRID, np.random.default_rng(seed), config, density)


def made(scan: Volume, seed: int = 0, density: AffineDensity | None = None, **options: object) -> Pair:
    return semi_synthetic(scan, np.random.default_rng(seed), replace(PairConfig(), **options), density)


def points_in(grid: Grid, count: int = 4000, margin_vox: float = 0.5) -> np.ndarray:
    low, high = -margin_vox, np.array(grid.shape) - 1 + margin_vox
    return grid.world(np.random.default_rng(99).uniform(low, high, (count, 3)))


def there_and_back_mm(warp: DrawnWarp | Pair, points: np.ndarray) -> float:
    """The largest error of both round trips."""
    there = warp.fixed_from_moving.apply(warp.moving_from_fixed.apply(points)) - points
    back = warp.moving_from_fixed.apply(warp.fixed_from_moving.apply(points)) - points
    return float(np.linalg.norm((there, back), axis=2).max())


# ---------------------------------------------------------------------------------------------------------------------
# The map


@pytest.mark.parametrize("seed", range(4))
def test_both_directions_undo_each_other(density, seed):
    warp = drawn(seed, density)
    found = there_and_back_mm(warp, points_in(GRID))
    assert found < PROMISED_MM
    # largest of two samples of the same field
    assert found < 2 * warp.error_mm
    assert np.linalg.det(warp.moving_from_fixed.jacobian(points_in(GRID))).min() > 0


def test_without_a_smooth_part_the_map_is_one_of_the_density(density):
    warp = drawn(0, density, STIFF)
    assert isinstance(warp.moving_from_fixed, Affine) and isinstance(warp.fixed_from_moving, Affine)
    stretches = np.linalg.svd(warp.moving_from_fixed.matrix[:3, :3], compute_uv=False)
    assert density.config.least_stretch <= stretches.min() and stretches.max() <= density.config.most_stretch
    middle = GRID.corners().mean(axis=0)[None]
    moved_mm = np.linalg.norm(warp.moving_from_fixed.apply(middle) - middle)
    assert moved_mm <= density.config.most_shift_mm
    assert warp.error_mm < 1e-9
    # a kernel's step away from a fitted number, element by element
    apart = np.abs(density.fitted.elements[:, :9] - warp.moving_from_fixed.matrix[:3, :3].ravel()).min(axis=0)
    assert (apart <= 5 * density.bandwidth[:9]).all()


def test_the_affine_part_of_the_density_follows_the_smooth_part(density):
    points = points_in(GRID, 300)
    smooth = drawn(3, None, NO_AFFINE).moving_from_fixed.apply(points)
    whole = drawn(3, density, NO_AFFINE).moving_from_fixed.apply(points)
    rest = fit.affine(smooth, whole)
    np.testing.assert_allclose(rest.apply(smooth), whole, atol=1e-8)
    assert np.abs(rest.matrix[:3, :3] - np.eye(3)).max() > 0.01


def test_without_a_density_the_affine_part_is_of_the_sizes_that_are_asked_for():
    config = replace(NO_AFFINE, strength_mm=(0.0, 0.0), rotation_degrees=12.0)
    turn = drawn(1, None, config).moving_from_fixed.jacobian(np.zeros((1, 3)))[0]
    assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) == pytest.approx(12.0)


def test_strengths_are_drawn_between_the_two_that_are_asked_for():
    config, points = replace(NO_AFFINE, strength_mm=(2.0, 7.0)), GRID.points()[::97]
    moved = [drawn(seed, None, config).moving_from_fixed.apply(points) - points for seed in range(6)]
    rms_mm = np.sqrt((np.array(moved) ** 2).sum(axis=2).mean(axis=1))
    # 3 %: the voxels' mean against that of the draw's own sample
    assert rms_mm.min() > 0.97 * 2.0 and rms_mm.max() < 1.03 * 7.0
    assert np.ptp(rms_mm) > 0.5


def test_moving_the_patient_moves_the_warp(density):
    shift_mm, points = np.array([110.0, -35.0, 900.0]), points_in(GRID, 200)
    moved = Grid.regular(GRID.shape, GRID.spacing_mm, GRID.origin_mm + shift_mm, GRID.axes)
    before = drawn(2, density).moving_from_fixed.apply(points)
    after = draw_pair_warp(moved, np.random.default_rng(2), PairConfig(), density).moving_from_fixed
    np.testing.assert_allclose(after.apply(points + shift_mm) - shift_mm, before, atol=1e-6)


def test_the_same_seed_draws_the_same_warp_and_another_seed_another(density):
    points = points_in(GRID, 200)
    first, again, other = (drawn(seed, density).moving_from_fixed.apply(points) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1.0


# ---------------------------------------------------------------------------------------------------------------------
# The picture


def test_a_pair_is_the_scan_and_its_warp_on_the_same_grid_under_another_name(density):
    scan = smooth_volume(oblique_grid(), "ct")
    pair = made(scan, 0, density)
    assert pair.fixed is scan
    assert pair.moving.space == "ct warped" and pair.moving.grid is scan.grid
    assert (pair.moving_from_fixed.fixed, pair.moving_from_fixed.moving) == ("ct", "ct warped")
    assert (pair.fixed_from_moving.fixed, pair.fixed_from_moving.moving) == ("ct warped", "ct")
    named = semi_synthetic(scan, np.random.default_rng(0), density=density, moving="warp 3")
    assert named.moving.space == named.moving_from_fixed.moving == "warp 3"
    with pytest.raises(SpaceMismatch, match="both ends"):
        semi_synthetic(scan, np.random.default_rng(0), moving="ct")


@pytest.mark.parametrize("seed", range(3))
def test_a_blob_of_the_scan_goes_where_its_centre_goes(density, seed):
    centre = GRID.world(np.array([[41.3, 26.1, 33.6]]))
    pair = made(blob(GRID, centre, 3.0, "ct"), seed, density, outside=0.0)
    # a tenth of the smallest voxel side; a wider ball's centroid is drawn to where the warp swells
    assert np.linalg.norm(centroid_mm(pair.moving) - pair.moving_from_fixed.apply(centre)) < 0.2


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.6, 1.2), (2.0, 3.0, 6.0), (5.0, 4.5, 6.0)])
def test_the_picture_is_that_of_the_exact_map(density, spacing_mm):
    grid = oblique_grid(tuple(np.round(100 / np.array(spacing_mm)).astype(int)), spacing_mm)
    # a ramp: what a voxel shows is where it looked
    slope_per_mm = np.array([3.0, -2.0, 1.5])
    scan = Volume((grid.points() @ slope_per_mm).reshape(grid.shape).astype(np.float32), grid, "ct")
    pair = made(scan, 1, density)
    seen = pair.fixed_from_moving.apply(grid.points())
    inside = grid.contains(seen, margin_vox=-1e-3)
    assert inside.mean() > 0.3
    wrong = np.abs(pair.moving.numpy().ravel() - seen @ slope_per_mm)[inside]
    assert wrong.max() < PICTURE_MM * np.linalg.norm(slope_per_mm)


def test_a_picture_without_a_smooth_part_is_exact(density):
    scan = smooth_volume(oblique_grid((30, 25, 28)), "ct")
    pair = semi_synthetic(scan, np.random.default_rng(1), STIFF, density)
    warp = DrawnWarp(pair.moving_from_fixed, pair.fixed_from_moving, 0.0)
    np.testing.assert_array_equal(pair.moving.data, warped_scan(scan, warp, outside=STIFF.outside).data)


def test_what_the_scan_does_not_reach_is_air():
    scan = Volume(np.full(GRID.shape, 30.0), GRID, "ct")
    pair = made(scan, translation_mm=60.0)
    assert set(np.unique(pair.moving.data)) == {-1000.0, 30.0}
    assert set(np.unique(made(scan, translation_mm=60.0, outside=0.0).moving.data)) == {0.0, 30.0}


def test_a_tensor_gives_a_tensor_with_the_same_picture(density):
    scan = smooth_volume(oblique_grid((30, 25, 28)), "ct")
    seen = made(scan.with_data(torch.from_numpy(scan.data)), 1, density).moving.data
    assert isinstance(seen, torch.Tensor)
    np.testing.assert_array_equal(seen.numpy(), made(scan, 1, density).moving.data)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_scan_on_a_gpu_is_warped_there(density):
    scan = smooth_volume(oblique_grid((30, 25, 28)), "ct")
    seen = made(scan.with_data(torch.from_numpy(scan.data).cuda()), 1, density, outside=0.0).moving.data
    expected = made(scan, 1, density, outside=0.0).moving.data
    assert seen.is_cuda
    # float32 displacements of some ten mm, twice rounded: a picture of 400 with a slope of some 100 a voxel. At the
    # rim a rounding decides whether a voxel sees the scan
    assert (np.abs(seen.cpu().numpy() - expected) > 0.05).mean() < 1e-3


# ---------------------------------------------------------------------------------------------------------------------
# Who corresponds


def seen_again(pair: Pair, scattered: Keypoints, off_mm: np.ndarray) -> Keypoints:
    """The keypoints where the warp carries them, each off by so much in a direction of its own."""
    direction = np.random.default_rng(7).normal(size=(len(scattered), 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return scattered.moved_to(
        pair.moving_from_fixed.apply(scattered.position) + off_mm[:, None] * direction, pair.moving.space
    )


def scattered_points(space: str = "ct") -> Keypoints:
    """80 points that no warp brings nearer than 20 mm to each other: maps shrink to 0.6 at most, and twist little."""
    corners = np.stack(np.meshgrid(range(5), range(4), range(4), indexing="ij"), axis=-1).reshape(-1, 3)
    sign = np.where(np.arange(len(corners)) % 2 == 0, 1, -1).astype(np.int8)
    return Keypoints(corners * 45.0 + GRID.origin_mm, space, scale=np.full(len(corners), 4.0), sign=sign)


def test_keypoints_within_8_mm_correspond_and_within_2_mm_in_the_strict_set(density):
    points = scattered_points()
    pair = made(smooth_volume(oblique_grid(), "ct"), 2, density)
    off_mm = np.resize([0.0, 1.9, 2.1, 7.9, 8.1], len(points))
    moving = seen_again(pair, points, off_mm)
    for within_mm in (8.0, 2.0):
        found = correspondences(points, moving, pair.moving_from_fixed, within_mm=within_mm)
        rows = np.flatnonzero(off_mm < within_mm)
        np.testing.assert_array_equal(found.pairs, np.stack((rows, rows), axis=1))
        np.testing.assert_allclose(found.distance, off_mm[rows], atol=1e-3)


def test_keypoints_of_the_other_sign_or_of_another_size_do_not_correspond(density):
    points = scattered_points()
    pair = made(smooth_volume(oblique_grid(), "ct"), 2, density)
    assert points.sign is not None and points.scale is not None
    size = np.where(np.arange(len(points)) < 20, 1.4, 1.2)
    sign = np.where(np.arange(len(points)) < 40, points.sign, -points.sign)
    moving = replace(seen_again(pair, points, np.zeros(len(points))), scale=points.scale * size, sign=sign)
    found = correspondences(points, moving, pair.moving_from_fixed, within_mm=8.0)
    np.testing.assert_array_equal(found.pairs[:, 0], np.arange(20, 40))


def test_one_place_seen_in_several_warps_is_one_group(density):
    scan, points = smooth_volume(oblique_grid(), "ct"), scattered_points()
    rng = np.random.default_rng(1)
    kept = [np.arange(len(points)), *(rng.permutation(len(points))[:50] for _ in range(3))]
    links = {}
    for n in (1, 2, 3):
        pair = made(scan, n, density)
        moving = seen_again(pair, points, rng.uniform(0, 6, len(points)))[kept[n]]
        links[0, n] = correspondences(points, moving, pair.moving_from_fixed, within_mm=8.0)
    numbers = groups([len(rows) for rows in kept], links)
    for rows, found in zip(kept, numbers):
        np.testing.assert_array_equal(found, numbers[0][rows])
    assert len(np.unique(numbers[0])) == len(points)


def test_groups_are_joined_through_any_number_of_matches():
    numbers = groups([3, 2, 4], {(0, 1): Matches(np.array([[0, 1]])), (1, 2): Matches(np.array([[1, 3], [0, 2]]))})
    assert [len(one) for one in numbers] == [3, 2, 4]
    assert numbers[0][0] == numbers[1][1] == numbers[2][3]
    assert numbers[1][0] == numbers[2][2]
    assert len(np.unique(np.concatenate(numbers))) == 9 - 3
    assert np.concatenate(numbers).max() == 5


def test_without_matches_every_keypoint_is_alone():
    numbers = groups([2, 0, 3], {(0, 2): Matches(np.empty((0, 2)))})
    assert [len(one) for one in numbers] == [2, 0, 3]
    assert len(np.unique(np.concatenate(numbers))) == 5
    assert groups([], {}) == [] and len(groups([0], {})[0]) == 0


# ---------------------------------------------------------------------------------------------------------------------
# What cannot be done


@pytest.mark.parametrize(("ends", "row"), [((0, 2), 0), ((0, 1), 7), ((0, 1), -1)])
def test_matches_of_keypoints_that_are_not_there_are_refused(ends, row):
    with pytest.raises(BadInput, match="sets"):
        groups([3, 3], {ends: Matches(np.array([[0, row]]))})


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"strength_mm": (6.0, 3.0)}, "strength_mm"),
        ({"strength_mm": (-1.0, 3.0)}, "strength_mm"),
        ({"control_spacing_mm": (0.0, 0.0)}, "control_spacing_mm"),
        ({"control_spacing_mm": (40.0, np.inf)}, "control_spacing_mm"),
        ({"node_mm": 0.0}, "node_mm"),
        ({"shear": np.nan}, "shear"),
    ],
)
def test_a_pair_that_cannot_be_drawn_is_refused_by_name(wrong, named):
    with pytest.raises(BadInput, match=named):
        drawn(config=replace(PairConfig(), **wrong))
