from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog import BSpline, Grid, Volume, write_transform
from homolog.errors import BadInput, SpaceMismatch
from homolog.synth.configs import WarpConfig
from homolog.synth.deformations import DrawnWarp, draw_warp, warped_scan
from tests.geometry import blob, centroid_mm, oblique_grid

# what is promised for any size and strength
PROMISED_MM = 0.05
STILL = WarpConfig(strength_mm=0, rotation_degrees=0, log_scale=0, shear=0, translation_mm=0)
SMOOTH = replace(STILL, strength_mm=8.0)
STRONG = WarpConfig(strength_mm=40.0, control_spacing_mm=40.0)
# oblique, anisotropic and left-handed: 160 mm a side, and 300 mm
PATIENT = oblique_grid((80, 54, 64), (2.0, 3.0, 2.5))
LARGE = oblique_grid((150, 100, 120), (2.0, 3.0, 2.5))


def drawn(grid: Grid = PATIENT, config: WarpConfig = SMOOTH, seed: int = 0) -> DrawnWarp:
    return draw_warp(grid, np.random.default_rng(seed), config)


def points_in(grid: Grid, count: int = 4000, margin_vox: float = 0.5) -> np.ndarray:
    low, high = -margin_vox, np.array(grid.shape) - 1 + margin_vox
    return grid.world(np.random.default_rng(99).uniform(low, high, (count, 3)))


def there_and_back_mm(warp: DrawnWarp, points: np.ndarray) -> float:
    """The largest error of both round trips."""
    there = warp.fixed_from_moving.apply(warp.moving_from_fixed.apply(points)) - points
    back = warp.moving_from_fixed.apply(warp.fixed_from_moving.apply(points)) - points
    return float(np.linalg.norm((there, back), axis=2).max())


def volume_changes(warp: DrawnWarp, points: np.ndarray) -> np.ndarray:
    return np.linalg.det(warp.moving_from_fixed.jacobian(points))


def rms_mm(warp: DrawnWarp, points: np.ndarray) -> float:
    moved = warp.moving_from_fixed.apply(points) - points
    return float(np.sqrt((moved**2).sum(axis=1).mean()))


def linear_part(config: WarpConfig, seed: int = 0) -> np.ndarray:
    return drawn(config=replace(config, strength_mm=0.0), seed=seed).moving_from_fixed.jacobian(np.zeros((1, 3)))[0]


@pytest.fixture(scope="module")
def ordinary() -> DrawnWarp:
    return drawn(config=WarpConfig())


@pytest.fixture(scope="module")
def strong() -> DrawnWarp:
    return drawn(LARGE, STRONG)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    strength_mm=st.floats(0.01, 40.0),
    control_spacing_mm=st.floats(30.0, 120.0),
    swelling=st.sampled_from([0.0, 0.5, 1.0]),
    shape=st.tuples(st.integers(1, 80), st.integers(1, 60), st.integers(1, 70)),
    seed=st.integers(0, 2**32 - 1),
)
def test_both_directions_undo_each_other_at_any_size_and_strength(
    strength_mm, control_spacing_mm, swelling, shape, seed
):
    grid = oblique_grid(shape, (2.0, 3.0, 2.5))
    config = WarpConfig(strength_mm=strength_mm, control_spacing_mm=control_spacing_mm, swelling=swelling)
    warp = drawn(grid, config, seed)
    points = points_in(grid)
    assert there_and_back_mm(warp, points) < PROMISED_MM
    assert volume_changes(warp, points).min() > 0


@pytest.mark.parametrize(
    ("shape", "spacing_mm"),
    [
        ((10, 7, 8), (2.0, 3.0, 2.5)),
        ((100, 1, 90), (2.0, 3.0, 2.5)),
        ((1, 1, 1), (2.0, 3.0, 2.5)),
        ((60, 55, 50), 11.0),
    ],
    ids=["20 mm crop", "one thick slice", "one voxel", "600 mm"],
)
def test_small_and_large_boxes_are_as_exact(shape, spacing_mm):
    grid = oblique_grid(shape, np.broadcast_to(spacing_mm, 3))
    warp = drawn(grid, WarpConfig())
    assert there_and_back_mm(warp, points_in(grid)) < PROMISED_MM
    assert volume_changes(warp, points_in(grid)).min() > 0


def test_the_error_that_is_reported_is_the_one_that_is_found(ordinary):
    found = there_and_back_mm(ordinary, points_in(PATIENT, 20_000))
    # largest of two samples of the same field
    assert ordinary.error_mm / 2 < found < 2 * ordinary.error_mm


def test_a_strong_warp_does_not_fold_and_comes_back(strong):
    points = points_in(LARGE, 20_000)
    assert there_and_back_mm(strong, points) < PROMISED_MM
    assert volume_changes(strong, points).min() > 0.01


def test_one_spline_of_that_strength_would_fold():
    lattice = Grid.regular((14, 14, 14), STRONG.control_spacing_mm, LARGE.bounds()[0] - 40.0)
    spline = BSpline(np.random.default_rng(0).normal(size=(14, 14, 14, 3)), lattice)
    points = points_in(LARGE)
    moved = np.sqrt(((spline.apply(points) - points) ** 2).sum(axis=1).mean())
    spline = replace(spline, coefficients=spline.coefficients * STRONG.strength_mm / moved)
    assert np.linalg.det(spline.jacobian(points)).min() < 0


def test_far_outside_the_box_it_is_a_warp_still(strong):
    far = points_in(LARGE, margin_vox=500.0)
    assert there_and_back_mm(strong, far) < PROMISED_MM
    assert volume_changes(strong, far).min() > 0


def test_the_derivatives_of_both_directions_are_inverse_matrices(ordinary):
    points = points_in(PATIENT)
    there = ordinary.moving_from_fixed.jacobian(points)
    back = ordinary.fixed_from_moving.jacobian(ordinary.moving_from_fixed.apply(points))
    # the inverse's slope is off by its error over a node's spacing, 0.003 mm over 6 mm, and some more at the knots
    np.testing.assert_allclose(back @ there, np.broadcast_to(np.eye(3), back.shape), atol=0.01)


@pytest.mark.parametrize("strength_mm", [0.5, 8.0, 40.0])
def test_points_move_as_far_as_was_asked(strength_mm):
    warp = drawn(config=replace(SMOOTH, strength_mm=strength_mm, control_spacing_mm=60.0))
    # 2 %: the voxels' mean against that of the draw's own sample
    assert rms_mm(warp, PATIENT.points()[::7]) == pytest.approx(strength_mm, rel=0.02)


def test_without_strength_nothing_moves():
    warp, points = drawn(config=STILL), points_in(PATIENT)
    np.testing.assert_allclose(warp.moving_from_fixed.apply(points), points, atol=1e-12)
    np.testing.assert_allclose(warp.fixed_from_moving.apply(points), points, atol=1e-12)
    assert warp.error_mm < 1e-12


def test_without_swelling_every_volume_stays():
    warp = drawn(config=replace(SMOOTH, swelling=0.0))
    np.testing.assert_allclose(volume_changes(warp, points_in(PATIENT)), 1.0, atol=1e-9)
    assert warp.error_mm < 1e-9


def test_with_swelling_some_grow_and_some_shrink():
    logarithms = np.log(volume_changes(drawn(), points_in(PATIENT)))
    assert 0.05 < logarithms.std() < 0.3
    assert abs(logarithms.mean()) < logarithms.std()


def test_no_direction_is_favoured():
    points = points_in(PATIENT, 500)
    moved = [drawn(seed=seed).moving_from_fixed.apply(points) - points for seed in range(8)]
    spread = np.cov(np.concatenate(moved), rowvar=False)
    # eight draws of a few dozen independent places each: the variances are known to about a tenth
    np.testing.assert_allclose(np.linalg.eigvalsh(spread), SMOOTH.strength_mm**2 / 3, rtol=0.35)


def test_the_affine_part_turns_grows_and_shears_as_asked():
    turn = linear_part(replace(STILL, rotation_degrees=12.0))
    assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) == pytest.approx(12.0)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    growth = [linear_part(replace(STILL, log_scale=0.1), seed) for seed in range(12)]
    assert {round(np.log(matrix[0, 0]), 9) for matrix in growth} == {-0.1, 0.1}
    np.testing.assert_allclose(growth[0], growth[0][0, 0] * np.eye(3), atol=1e-12)
    stretches = np.linalg.svd(linear_part(replace(STILL, shear=0.2)), compute_uv=False)
    assert np.linalg.norm(np.log(stretches)) == pytest.approx(0.2)
    assert stretches.prod() == pytest.approx(1.0)


def test_the_affine_part_is_about_the_middle_of_the_box():
    middle = PATIENT.corners().mean(axis=0)[None]
    warp = drawn(config=replace(WarpConfig(), strength_mm=0.0, translation_mm=7.0))
    assert np.linalg.norm(warp.moving_from_fixed.apply(middle) - middle) == pytest.approx(7.0)


def test_the_smooth_part_comes_first_and_is_the_same_with_an_affine_part_or_without():
    points = points_in(PATIENT, 200)
    both = drawn(config=WarpConfig()).moving_from_fixed.apply(points)
    affine = drawn(config=replace(WarpConfig(), strength_mm=0.0)).moving_from_fixed
    np.testing.assert_allclose(affine.apply(drawn().moving_from_fixed.apply(points)), both, atol=1e-9)


def test_the_same_seed_draws_the_same_warp_and_another_seed_another():
    points = points_in(PATIENT, 200)
    first, again, other = (drawn(seed=seed).moving_from_fixed.apply(points) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1.0


def test_the_warp_belongs_to_the_box_and_not_to_its_voxels():
    points = points_in(PATIENT, 200)
    expected = drawn().moving_from_fixed.apply(points)
    coarse = PATIENT.with_spacing(np.array([4.0, 6.0, 5.0]))
    assert coarse.shape == (40, 27, 32)
    turned = PATIENT.world_from_voxel @ np.array([[0, 0, -1, 79], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    reordered = Grid((54, 64, 80), turned)
    for grid in (coarse, reordered):
        np.testing.assert_allclose(drawn(grid).moving_from_fixed.apply(points), expected, atol=1e-6)


@pytest.mark.parametrize("space", ["fixed", "moving"])
def test_a_blob_of_the_scan_goes_where_its_centre_goes(ordinary, space):
    grid = oblique_grid((50, 40, 45), (2.0, 3.0, 2.5), origin_mm=PATIENT.world((15, 8, 10)))
    centre = grid.world(np.array([[22.3, 19.1, 24.6]]))
    ahead = ordinary.moving_from_fixed if space == "fixed" else ordinary.fixed_from_moving
    seen = warped_scan(blob(grid, centre, 3.0, space), ordinary, outside=0.0)
    assert seen.space == {"fixed": "moving", "moving": "fixed"}[space]
    assert seen.grid is grid
    # a tenth of the smallest voxel side; a wider ball's centroid is drawn to where the warp swells
    assert np.linalg.norm(centroid_mm(seen) - ahead.apply(centre)) < 0.2


def test_what_the_scan_does_not_reach_is_the_value_that_was_stated(ordinary):
    scan = Volume(np.full((20, 16, 18), 30.0), oblique_grid((20, 16, 18)), "fixed")
    seen = warped_scan(scan, ordinary, outside=-1000.0, grid=scan.grid.padded(40))
    assert seen.data[0, 0, 0] == -1000.0
    assert set(np.unique(seen.data)) == {-1000.0, 30.0}


def test_labels_stay_labels(ordinary):
    grid = oblique_grid((30, 24, 26), (2.0, 3.0, 2.5))
    labels = Volume(np.random.default_rng(0).integers(0, 5, grid.shape).astype(np.uint8), grid, "fixed", "labels")
    seen = warped_scan(labels, ordinary, outside=0)
    assert seen.kind == "labels" and seen.data.dtype == np.uint8


def test_a_scan_of_a_third_patient_is_refused(ordinary):
    with pytest.raises(SpaceMismatch, match="atlas"):
        warped_scan(blob(PATIENT.cropped((0, 0, 0), (4, 4, 4)), PATIENT.origin_mm, 5.0, "atlas"), ordinary, outside=0.0)


def test_the_two_ends_have_the_names_that_were_given():
    warp = draw_warp(PATIENT, np.random.default_rng(0), STILL, fixed="before", moving="after")
    assert (warp.moving_from_fixed.fixed, warp.moving_from_fixed.moving) == ("before", "after")
    assert (warp.fixed_from_moving.fixed, warp.fixed_from_moving.moving) == ("after", "before")
    with pytest.raises(SpaceMismatch, match="both ends"):
        draw_warp(PATIENT, np.random.default_rng(0), fixed="ct", moving="ct")


def test_simpleitk_reads_the_same_warp_from_a_file(tmp_path):
    grid = oblique_grid((20, 14, 16), (4.0, 5.0, 4.5))
    warp, points = drawn(grid, WarpConfig()), points_in(grid, 50)
    for name, transform in (("there.h5", warp.moving_from_fixed), ("back.h5", warp.fixed_from_moving)):
        write_transform(transform, tmp_path / name, like=grid)
        read = sitk.ReadTransform(str(tmp_path / name))
        seen = [read.TransformPoint(point) for point in points.tolist()]
        np.testing.assert_allclose(seen, transform.apply(points), atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"strength_mm": -1.0}, "strength_mm"),
        ({"shear": np.nan}, "shear"),
        ({"control_spacing_mm": 0.0}, "control_spacing_mm"),
        ({"swelling": 1.5}, "swelling"),
        ({"control_spacing_mm": 1.0}, "too fine"),
        ({"strength_mm": 1e9}, "stretches the patient"),
    ],
)
def test_a_warp_that_cannot_be_drawn_is_refused_by_name(wrong, named):
    with pytest.raises(BadInput, match=named):
        drawn(config=replace(WarpConfig(), **wrong))


def test_swelling_gives_way_where_a_warp_would_not_be_exact(caplog):
    config = replace(SMOOTH, strength_mm=300.0, control_spacing_mm=40.0)
    warp = drawn(config=config)
    assert there_and_back_mm(warp, points_in(PATIENT)) < PROMISED_MM
    assert "swells less" in caplog.text
