"""Where cameras stand: angles mean what their standards say, and a pose says where it is seen from."""

from __future__ import annotations

import numpy as np
import pytest

from homolog.errors import BadInput
from homolog.space import camera_poses, camera_sight
from homolog.space.camera import Camera
from homolog.space.camera_poses import PlacedCamera
from tests.geometry import oblique_grid

ISOCENTRE = np.array((12.0, -31.0, 244.0))
LEFT, BACK, HEAD = np.eye(3)
CAMERA = Camera(1020.0, (300, 400), (0.5, 0.8), (170.0, 160.0))


def carm(primary, secondary, **options):
    pose = camera_poses.from_carm(primary, secondary, source_isocentre_mm=700, isocentre_mm=ISOCENTRE, **options)
    return PlacedCamera(CAMERA, pose)


def moves(placed, direction):
    """Which way a point that goes from the isocentre in a direction moves in the picture (columns, rows)."""
    points = ISOCENTRE + np.outer((0.0, 10.0), direction)
    return np.subtract(*placed.project(points)[::-1])


def some_placed(seed=0, mirrored=False):
    rng = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    pose[0, :3] *= np.linalg.det(pose[:3, :3]) * (-1 if mirrored else 1)
    pose[:3, 3] = rng.normal(size=3) * 200
    return PlacedCamera(CAMERA, pose, "oblique")


def some_points(placed, count=30, seed=1):
    """Points of the world that lie in front of a camera."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform((0, 0), placed.camera.size_px[::-1], (count, 2))
    near = rng.uniform(0.3, 1.0, (count, 1))
    return placed.source_mm + near * (placed.detector_mm(pixels) - placed.source_mm)


def test_at_zero_the_detector_is_in_front_of_the_chest():
    placed = carm(0, 0)
    assert placed.axis == pytest.approx(-BACK)
    assert placed.source_mm == pytest.approx(ISOCENTRE + 700 * BACK)


@pytest.mark.parametrize(
    ("angles", "direction"), [((40, 0), LEFT), ((-40, 0), -LEFT), ((0, 25), HEAD), ((0, -25), -HEAD)]
)
def test_positive_angles_move_the_detector_to_the_left_and_to_the_head(angles, direction):
    assert carm(*angles).axis @ direction == pytest.approx(np.sin(np.radians(np.abs(angles).max())))


def test_the_head_is_up_and_the_left_is_left_as_seen_from_behind():
    placed = carm(20, 10)
    assert moves(placed, HEAD)[1] < 0
    assert moves(placed, LEFT)[0] < 0
    assert not placed.mirrored


def test_seen_from_the_detector_the_patient_faces_the_viewer():
    placed = carm(20, 10, seen_from="detector")
    assert moves(placed, HEAD)[1] < 0
    assert moves(placed, LEFT)[0] > 0
    assert placed.mirrored


def test_a_pose_says_its_angles():
    rng = np.random.default_rng(2)
    for primary, secondary in zip(rng.uniform(-179, 179, 20), rng.uniform(-85, 85, 20)):
        found = camera_poses.carm_angles(carm(primary, secondary).camera_from_world)
        assert found == pytest.approx((primary, secondary))


def test_a_beam_along_the_body_is_no_special_case():
    placed = carm(30, 90)
    assert placed.axis == pytest.approx(HEAD)
    assert camera_poses.carm_angles(placed.camera_from_world)[1] == pytest.approx(90)


@pytest.mark.parametrize(
    ("position", "detector"),
    [("HFS", -BACK), ("HFP", BACK), ("FFS", -BACK), ("FFP", BACK), ("HFDL", -LEFT), ("FFDR", LEFT)],
)
def test_a_detector_above_the_table_is_above_whatever_the_patient_turns_up(position, detector):
    assert carm(0, 0, patient_position=position).axis == pytest.approx(detector)


def test_a_gantry_at_zero_is_above_and_turns_to_the_left():
    sources = [
        camera_poses.source_mm(camera_poses.from_gantry(angle, source_axis_mm=1000)) for angle in (0, 90, 180, 270)
    ]
    assert np.array(sources) == pytest.approx(1000 * np.array((-BACK, LEFT, BACK, -LEFT)))


def test_a_gantry_turns_to_the_right_of_a_patient_with_the_feet_first():
    pose = camera_poses.from_gantry(90, source_axis_mm=1000, patient_position="FFS")
    assert camera_poses.source_mm(pose) == pytest.approx(-1000 * LEFT)


def test_the_beams_eye_has_the_head_up_until_the_couch_turns():
    def head(couch, collimator=0.0):
        pose = camera_poses.from_gantry(0, source_axis_mm=1000, couch_degrees=couch, collimator_degrees=collimator)
        return np.subtract(*PlacedCamera(CAMERA, pose).project(np.outer((0, 10), HEAD))[::-1])

    assert head(0) == pytest.approx((0, -10 * 1020 / 1000 / 0.5))
    # counter-clockwise seen from above: the head goes to where the left was
    assert head(90)[0] < 0
    assert head(90)[1] == pytest.approx(0)
    # the collimator turns the picture's upper edge with it, so the head goes the other way
    assert head(0, 90)[0] > 0


def test_the_gantry_angle_is_said():
    for angle in (0, 33, 181, 340):
        pose = camera_poses.from_gantry(angle, source_axis_mm=1000)
        assert camera_poses.gantry_degrees(pose) == pytest.approx(angle)


def test_a_look_at_puts_its_target_on_the_axis():
    pose = camera_poses.from_look_at((300, -500, 80), ISOCENTRE)
    placed = PlacedCamera(CAMERA, pose)
    assert placed.project(ISOCENTRE[None])[0] == pytest.approx(CAMERA.centre_px)
    assert moves(placed, HEAD)[1] < 0


def test_up_along_the_beam_is_refused():
    with pytest.raises(BadInput, match="upper edge"):
        camera_poses.from_look_at((0, 0, 500), (0, 0, 0))


@pytest.mark.parametrize("mirrored", [False, True])
def test_flipping_the_picture_and_the_camera_shows_the_same(mirrored):
    placed = some_placed(3, mirrored)
    points = some_points(placed)
    before, after = placed.project(points), placed.flipped().project(points)
    assert after[:, 0] == pytest.approx(399 - before[:, 0])
    assert after[:, 1] == pytest.approx(before[:, 1])
    assert placed.flipped().mirrored != mirrored


def test_what_is_on_the_detector_projects_to_itself():
    placed = some_placed(4, mirrored=True)
    pixels = np.array(((0.0, 0.0), (399.0, 17.5), (12.0, 299.0)))
    assert placed.project(placed.detector_mm(pixels)) == pytest.approx(pixels)


def test_axes_meet_where_two_cameras_look():
    first = PlacedCamera(CAMERA, camera_poses.from_look_at((300, -500, 80), ISOCENTRE))
    second = PlacedCamera(CAMERA, camera_poses.from_look_at((-800, 100, 10), ISOCENTRE + 3 * HEAD))
    point, miss = camera_poses.meeting(first, second)
    assert np.linalg.norm(point - ISOCENTRE) < 3
    assert miss <= 3
    # lines that miss each other do so at right angles to both
    ends = [each.source_mm + (point - each.source_mm) @ each.axis * each.axis for each in (first, second)]
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(miss, abs=0.05)


def test_a_pose_with_a_scale_is_refused():
    pose = np.eye(4)
    pose[:3, :3] *= 1.1
    with pytest.raises(BadInput, match="no rotation"):
        PlacedCamera(CAMERA, pose)


def test_sides_are_named():
    assert camera_sight.view_in_words(carm(0, 0)).startswith("detector front, source back")
    assert camera_sight.view_in_words(carm(-90, 0)).startswith("detector right, source left")
    assert "LAO 30, CAU 15" in camera_sight.view_in_words(carm(30, -15))
    assert camera_sight.picture_in_words(carm(0, 0)) == "R\\F"
    assert camera_sight.picture_in_words(carm(0, 0, seen_from="detector")) == "L\\F"


def test_a_small_box_covers_what_its_shadow_measures():
    placed = carm(25, 10)
    grid = oblique_grid((9, 8, 7), (3.0, 2.0, 2.5))
    corners = grid.corners() - grid.corners().mean(axis=0) + ISOCENTRE
    seen = camera_sight.sight(placed, corners)
    assert seen.in_front
    assert seen.caught == pytest.approx(1)
    assert seen.magnification == pytest.approx(1020 / 700)
    # counted: which pixels' rays pass through the box, by its shadow's outline
    rows, columns = np.mgrid[:300, :400]
    pixels = np.stack((columns.ravel(), rows.ravel()), axis=1)
    inside = np.ones(len(pixels), bool)
    for start, end in zip(seen.outline_px, np.roll(seen.outline_px, -1, axis=0)):
        edge, to = end - start, pixels - start
        inside &= edge[0] * to[:, 1] - edge[1] * to[:, 0] >= 0
    assert seen.covered == pytest.approx(inside.mean(), rel=0.02)


def test_a_box_half_off_the_detector_is_half_caught():
    placed = PlacedCamera(Camera(1000, (100, 100), (1, 1), (-0.5, 49.5)), np.eye(4))
    corners = np.array([(x, y, z) for x in (-10, 10) for y in (-10, 10) for z in (500, 500.001)], float)
    seen = camera_sight.sight(placed, corners)
    assert seen.caught == pytest.approx(0.5, abs=1e-4)
    assert seen.covered == pytest.approx(20 * 40 / 100**2, abs=1e-4)


def test_a_box_behind_the_source_is_not_in_front():
    placed = some_placed(5)
    box = np.array([(x, y, z) for x in (-9, 9) for y in (-9, 9) for z in (-400, -300)], float)
    behind = (box - placed.camera_from_world[:3, 3]) @ placed.camera_from_world[:3, :3]
    seen = camera_sight.sight(placed, behind)
    assert seen.depth_mm == pytest.approx((-400, -300))
    assert (seen.in_front, seen.caught) == (False, 0.0)
