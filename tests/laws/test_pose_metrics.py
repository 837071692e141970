"""How far a pose is off: every figure against geometry that can be worked out by hand, or by another way round."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isnan

import numpy as np
import pytest

from homolog.errors import BadInput, GridMismatch
from homolog.metrics import poses
from homolog.space import se3
from homolog.space.camera import Camera
from tests.geometry import oblique_grid

CAMERA = Camera(1020.0, (101, 121), (0.9, 0.7), (47.3, 61.8))
GRID = oblique_grid()
POINTS = GRID.corners()
MIDDLE = POINTS.mean(axis=0)


@dataclass(frozen=True, eq=False)
class Standing:
    camera_from_world: np.ndarray
    camera: Camera = CAMERA


def pose(seed=0, depth_mm=800.0):
    """The volume's middle on the optical axis, seen from anywhere."""
    rotation = se3.rotation_exp(np.random.default_rng(seed).normal(size=3))
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = (0, 0, depth_mm) - rotation @ MIDDLE
    return out


def off_by(twist, true=None):
    """The pose with the body turned about its middle and shifted, along the camera's axes."""
    true = pose() if true is None else true
    return se3.about((true @ (*MIDDLE, 1))[:3], np.asarray(twist, float)) @ true


def error(twist, points=POINTS, **changes):
    return poses.pose_error(points, [Standing(off_by(twist))], [Standing(pose(), **changes)])


def test_the_true_pose_has_no_error():
    found = poses.pose_error(POINTS, [Standing(pose())], [Standing(pose())])
    assert found.target_max_mm == 0
    view = found.views[0]
    assert view.projection_mm == view.projection_px == view.translation_mm == view.rotation_degrees == 0
    assert view.reprojection_mm == pytest.approx(0, abs=1e-9)


def test_a_shift_is_split_along_the_detector_and_in_depth():
    found = error((0, 0, 0, 3, -4, 12))
    assert found.target_mean_mm == found.target_median_mm == pytest.approx(13)
    view = found.views[0]
    assert view.in_plane_mm == pytest.approx(5)
    assert view.depth_mm == pytest.approx(12)
    assert view.translation_mm == pytest.approx(13)
    assert view.rotation_degrees == pytest.approx(0, abs=1e-6)
    assert view.double_geodesic_mm == pytest.approx(13)


def test_a_turn_about_the_middle_shifts_nothing_and_moves_points_by_their_chord():
    axis = np.array((0, 0, 1.0))
    found = error((*np.radians(7.0) * axis, 0, 0, 0))
    camera = POINTS @ pose()[:3, :3].T + pose()[:3, 3] - (0, 0, 800)
    chords = 2 * np.sin(np.radians(3.5)) * np.hypot(camera[:, 0], camera[:, 1])
    assert found.target_mean_mm == pytest.approx(chords.mean())
    assert found.target_max_mm == pytest.approx(chords.max())
    view = found.views[0]
    assert view.rotation_degrees == pytest.approx(7)
    assert view.translation_mm == pytest.approx(0, abs=1e-9)
    # half the focal length swept by the angle
    assert view.double_geodesic_mm == pytest.approx(510 * np.radians(7))


def test_a_shift_along_the_detector_is_magnified_there_and_not_in_the_patient():
    point = MIDDLE[None]
    found = error((0, 0, 0, 3, 4, 0), point)
    view = found.views[0]
    assert view.projection_mm == pytest.approx(5 * 1020 / 800)
    assert view.projection_px == pytest.approx(np.hypot(3 / 0.7, 4 / 0.9) * 1020 / 800)
    # the foot of the perpendicular from the point to a ray that leans by the shift
    assert view.reprojection_mm == pytest.approx(5 * 800 / np.hypot(5, 800))


def test_depth_is_hidden_from_the_x_ray_that_looks_along_it():
    found = error((0, 0, 0, 0, 0, 20), MIDDLE[None])
    view = found.views[0]
    assert found.target_mean_mm == pytest.approx(20)
    assert view.projection_mm == pytest.approx(0, abs=1e-9)
    assert view.reprojection_mm == pytest.approx(0, abs=1e-9)
    assert view.depth_mm == pytest.approx(20)


def test_what_the_x_ray_shows_is_never_more_than_what_is_there():
    rng = np.random.default_rng(4)
    for _ in range(20):
        found = error((*rng.normal(0, 0.1, 3), *rng.normal(0, 10, 3)))
        assert found.views[0].reprojection_mm <= found.target_mean_mm


def test_naming_the_world_otherwise_changes_nothing():
    world_from_other = se3.exp(np.array((0.4, -1.1, 0.7, 120.0, -60.0, 900.0)))
    other = np.linalg.inv(world_from_other)
    points = POINTS @ other[:3, :3].T + other[:3, 3]
    twist = (0.05, -0.02, 0.1, 4, 5, -9)
    here = error(twist)
    there = poses.pose_error(
        points, [Standing(off_by(twist) @ world_from_other)], [Standing(pose() @ world_from_other)]
    )
    assert there.target_mean_mm == pytest.approx(here.target_mean_mm)
    for name in ("projection_mm", "reprojection_mm", "translation_mm", "rotation_degrees", "double_geodesic_mm"):
        assert getattr(there.views[0], name) == pytest.approx(getattr(here.views[0], name))


def test_finer_pixels_change_pixels_and_no_millimetres():
    twist, fine = (0.05, -0.02, 0.1, 4, 5, -9), CAMERA.resized((202, 242))
    coarse_view = error(twist).views[0]
    found = poses.pose_error(POINTS, [Standing(off_by(twist), fine)], [Standing(pose(), fine)]).views[0]
    assert found.projection_px == pytest.approx(2 * coarse_view.projection_px)
    assert found.projection_mm == pytest.approx(coarse_view.projection_mm)
    assert found.reprojection_mm == pytest.approx(coarse_view.reprojection_mm)


def test_a_wrong_focal_length_is_an_error_of_projection_and_none_of_the_target():
    wrong = replace(CAMERA, focal_mm=1000.0)
    found = poses.pose_error(POINTS, [Standing(pose(), wrong)], [Standing(pose())])
    assert found.target_max_mm == 0
    assert found.views[0].projection_mm > 0.1


def test_a_pose_with_the_patient_behind_the_source_is_infinitely_wrong():
    behind = pose(depth_mm=-800.0)
    found = poses.pose_error(POINTS, [Standing(behind)], [Standing(pose())])
    assert found.views[0].projection_mm == found.views[0].reprojection_mm == inf
    assert found.target_mean_mm == pytest.approx(1600)


def test_two_views_are_measured_each_and_their_points_together():
    second = pose(seed=8)
    twist = (0, 0, 0, 3, 4, 0)
    found = poses.pose_error(POINTS, [Standing(off_by(twist)), Standing(second)], [Standing(pose()), Standing(second)])
    assert [view.translation_mm for view in found.views] == pytest.approx([5, 0])
    assert found.target_mean_mm == pytest.approx(2.5)
    assert found.points == len(POINTS)


def test_views_that_do_not_correspond_are_refused():
    with pytest.raises(BadInput, match=r"1 X-rays .* 2"):
        poses.pose_error(POINTS, [Standing(pose())], [Standing(pose())] * 2)
    with pytest.raises(GridMismatch, match="101, 121"):
        error((0, 0, 0, 0, 0, 0), camera=CAMERA.resized((50, 60)))
    with pytest.raises(BadInput, match="finite"):
        error((0, 0, 0, 0, 0, 0), POINTS * np.nan)
    with pytest.raises(BadInput, match=r"\(N, 3\)"):
        error((0, 0, 0, 0, 0, 0), POINTS[:0])


# ---------------------------------------------------------------------------------------------------------------------
# Many


def test_rates_count_what_is_within_each_limit():
    found = poses.rates([0.5, 1.0, 1.5, 4.0, 9.0, 30.0, inf, np.nan])
    assert dict(found.within) == {1: 2 / 8, 2: 3 / 8, 5: 4 / 8, 10: 5 / 8}
    assert found.gross == 3
    assert found.trusted is None


def test_percentiles_are_those_of_the_numbers_and_infinite_where_too_many_are():
    errors = np.random.default_rng(1).uniform(0, 10, 101)
    found = dict(poses.rates(errors).percentiles)
    ordered = np.sort(errors)
    assert [found[percent] for percent in (25, 50, 75, 95)] == pytest.approx(ordered[[25, 50, 75, 95]])
    mostly_lost = dict(poses.rates([1.0, 2.0, inf, inf]).percentiles)
    assert mostly_lost[25] < inf
    assert mostly_lost[75] == mostly_lost[95] == inf


def test_a_gross_error_that_was_called_good_is_counted_apart():
    found = poses.rates([0.5, 20.0, 30.0, np.nan], ["GOOD", "GOOD", "FAILED", "GOOD"])
    assert (found.gross, found.trusted) == (3, 2)
    with pytest.raises(BadInput, match="2 poses and 1 judgements"):
        poses.rates([1.0, 2.0], ["GOOD"])


def test_no_poses_have_no_rates():
    found = poses.rates([])
    assert found.count == found.gross == 0
    assert all(isnan(share) for _, share in found.within)
    assert all(isnan(percentile) for _, percentile in found.percentiles)
