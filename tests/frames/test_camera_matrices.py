"""Cameras as other programs describe them: what they project is what their own formulae say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from homolog.errors import BadInput
from homolog.space import camera_matrices, camera_scanners
from homolog.space.camera_scanners import PlastimatchView, RtkView
from tests.frames.test_camera_poses import some_placed, some_points

SIZE = (300, 400)
BOTH = pytest.mark.parametrize("mirrored", [False, True])


def through(matrix, points):
    """(N, 2) of points (N, 3), by a 3x4 matrix."""
    homogeneous = points @ matrix[:, :3].T + matrix[:, 3]
    return homogeneous[:, :2] / homogeneous[:, 2:]


def same(first, second):
    """Whether two cameras project the same and stand at the same place, whatever their pitch."""
    points = some_points(first)
    assert second.project(points) == pytest.approx(first.project(points), abs=1e-5)
    assert second.source_mm == pytest.approx(first.source_mm, abs=1e-5)
    assert second.mirrored == first.mirrored
    return True


@pytest.mark.parametrize("scale", [1.0, -1.0, 0.003, -250.0])
def test_scale_and_sign_of_a_projection_matrix_do_not_matter(scale):
    placed = some_placed(1)
    assert same(placed, camera_matrices.from_projection_matrix(scale * placed.pixels_from_world, SIZE))


@BOTH
@pytest.mark.parametrize("scale", [1.0, -3.0])
def test_a_point_in_front_decides_what_a_projection_matrix_leaves_open(mirrored, scale):
    placed = some_placed(2, mirrored)
    front = some_points(placed, 1)[0]
    found = camera_matrices.from_projection_matrix(scale * placed.pixels_from_world, SIZE, front_mm=front)
    assert same(placed, found)


def test_the_other_reading_of_a_matrix_looks_the_other_way():
    placed = some_placed(2, mirrored=True)
    other = camera_matrices.from_projection_matrix(placed.pixels_from_world, SIZE)
    assert other.source_mm == pytest.approx(placed.source_mm)
    assert other.axis == pytest.approx(-placed.axis)


def test_a_matrix_without_a_source_is_refused():
    parallel = np.array(((1.0, 0, 0, 3), (0, 1.0, 0, 4), (0, 0, 0, 1)))
    with pytest.raises(BadInput, match="no source"):
        camera_matrices.from_projection_matrix(parallel, SIZE)


@pytest.mark.parametrize("signs", [(1, 1), (-1, -1), (-1, 1), (1, -1)])
def test_negative_focal_entries_project_as_their_matrix_does(signs):
    k = np.array(((2000.0 * signs[0], 0, 170), (0, 2100.0 * signs[1], 160), (0, 0, 1)))
    rotation = Rotation.from_euler("xyz", (20, -50, 110), degrees=True).as_matrix()
    shift = np.array((10.0, -20, 700)) * (1, 1, -1 if signs == (-1, -1) else 1)
    placed = camera_matrices.from_krt(k, rotation, shift, SIZE)
    points = some_points(placed)
    assert placed.project(points) == pytest.approx(through(k @ np.column_stack((rotation, shift)), points))


def test_with_two_negative_entries_z_points_to_the_source():
    k = np.array(((-5257.0, 0, 767.5), (0, -5257.0, 767.5), (0, 0, 1)))
    placed = camera_matrices.from_krt(k, np.eye(3), np.zeros(3), (1536, 1536), pitch_mm=0.194)
    assert placed.axis == pytest.approx((0, 0, -1))
    assert placed.camera.focal_mm == pytest.approx(5257 * 0.194)
    assert placed.mirrored


def test_the_pitch_does_not_change_what_is_projected():
    k = np.array(((2000.0, 0, 170), (0, 2010.0, 160), (0, 0, 1)))
    cameras = [
        camera_matrices.from_krt(k, np.eye(3), (0, 0, 500), SIZE, pitch_mm=pitch) for pitch in (None, 0.3, (0.4, 0.402))
    ]
    assert [camera.pitch_known for camera in cameras] == [False, True, True]
    points = some_points(cameras[0])
    for camera in cameras:
        assert camera.camera.pixels_from_camera == pytest.approx(k)
        assert camera.project(points) == pytest.approx(cameras[0].project(points))


def test_a_pitch_that_belies_the_matrix_is_refused():
    k = np.array(((2000.0, 0, 170), (0, 2000.0, 160), (0, 0, 1)))
    with pytest.raises(BadInput, match="do not fit"):
        camera_matrices.from_krt(k, np.eye(3), np.zeros(3), SIZE, pitch_mm=(0.3, 0.6))


def test_slanted_pixels_are_refused_and_a_rounding_is_not():
    k = np.array(((2000.0, 0.01, 170), (0, 2000.0, 160), (0, 0, 1)))
    camera_matrices.from_krt(k, np.eye(3), np.zeros(3), SIZE)
    k[0, 1] = 40
    with pytest.raises(BadInput, match="skew"):
        camera_matrices.from_krt(k, np.eye(3), np.zeros(3), SIZE)


@pytest.mark.parametrize("first", [0.5, 1.0])
def test_centres_that_begin_elsewhere_are_shifted(first):
    placed = some_placed(3)
    theirs = np.array(((1, 0, first), (0, 1, first), (0, 0, 1.0))) @ placed.camera.pixels_from_camera
    pose = placed.camera_from_world
    by_krt = camera_matrices.from_krt(theirs, pose[:3, :3], pose[:3, 3], SIZE, first_pixel=first)
    by_matrix = camera_matrices.from_projection_matrix(theirs @ pose[:3], SIZE, first_pixel=first)
    assert same(placed, by_krt)
    assert same(placed, by_matrix)


def test_opencv_turns_by_its_rotation_vector():
    rvec, tvec = np.array((0.4, -1.1, 2.0)), np.array((5.0, -9.0, 800.0))
    k = np.array(((2000.0, 0, 170), (0, 2000.0, 160), (0, 0, 1)))
    placed = camera_matrices.from_opencv(k, rvec, tvec, SIZE)
    pose = np.column_stack((Rotation.from_rotvec(rvec).as_matrix(), tvec))
    points = some_points(placed)
    assert placed.project(points) == pytest.approx(through(k @ pose, points))


@BOTH
def test_opencv_there_and_back(mirrored):
    placed = some_placed(6, mirrored)
    assert same(placed, camera_matrices.from_opencv(*camera_matrices.to_opencv(placed), SIZE))


# --- RTK


RTK = RtkView(710.0, 1130.0, 33.0, 4.0, -7.0, 12.0, -9.0, 3.0, 2.0)


def test_rtk_turns_as_its_documentation_says():
    euler = Rotation.from_euler("ZXY", (9.0, -12.0, -33.0), degrees=True)
    assert pytest.approx(euler.as_matrix()) == RTK.rotated_from_world


def test_rtk_projects_by_its_matrix():
    placed = camera_scanners.from_rtk(RTK, SIZE, (0.5, 0.8), origin_mm=(-150.0, -80.0))
    points = some_points(placed)
    mm = placed.project(points) * (0.8, 0.5) + (-150.0, -80.0)
    assert mm == pytest.approx(through(RTK.mm_from_world, points))


@BOTH
def test_rtk_there_and_back(mirrored):
    placed = some_placed(7, mirrored)
    back = camera_scanners.from_rtk(camera_scanners.to_rtk(placed), SIZE, placed.camera.pitch_mm)
    points = some_points(placed)
    wanted = placed.project(points)
    if not mirrored:
        # RTK's rows run the other way: those of its picture are reversed
        wanted = wanted * (1, -1) + (0, SIZE[0] - 1)
    assert back.project(points) == pytest.approx(wanted, abs=1e-6)
    assert back.camera.focal_mm == pytest.approx(placed.camera.focal_mm)


def test_rtk_counts_from_zero_to_360_along_any_axis():
    for view in (RtkView(700, 1000, 300), RtkView(700, 1000, 10, OutOfPlaneAngle=90), RtkView(700, 1000, 0)):
        placed = camera_scanners.from_rtk(view, SIZE, 0.8)
        again = camera_scanners.from_rtk(camera_scanners.to_rtk(placed), SIZE, 0.8)
        assert again.camera_from_world == pytest.approx(placed.camera_from_world, abs=1e-6)


# --- ASTRA


@BOTH
def test_astra_there_and_back(mirrored):
    placed = some_placed(8, mirrored)
    assert same(placed, camera_scanners.from_astra(camera_scanners.to_astra(placed), SIZE))


def test_astras_vectors_say_where_pixels_are():
    row = np.array((100, -600, 30, 5, 420, -8, 0.8, 0, 0, 0, 0.08, -0.4))
    placed = camera_scanners.from_astra(row, SIZE)
    middle = np.array((5.0, 420, -8))
    # a pixel right of the middle and two below it
    assert placed.detector_mm(np.array([[200.5, 151.5]]))[0] == pytest.approx(middle + row[6:9] + 2 * row[9:12])
    assert placed.source_mm == pytest.approx((100, -600, 30))


def test_astras_slanted_detector_is_refused():
    with pytest.raises(BadInput, match="right angles"):
        camera_scanners.from_astra(np.array((0, -600, 0, 0, 400, 0, 1, 0, 0, 0.2, 0, -1)), SIZE)


# --- plastimatch


def test_plastimatch_stands_along_its_normal_and_looks_with_its_up():
    view = PlastimatchView((0, -2, 0), (0, 0, 1), 1000, 1500, (10, 20, 30), (300, 400), (150, 320))
    placed = camera_scanners.from_plastimatch(view)
    assert placed.source_mm == pytest.approx((10, -980, 30))
    # pixels of 0.5 x 0.8 mm, magnified by 1.5; its first column is at nrm x vup, the right of the patient
    points = np.array(((10, 20, 30), (18, 20, 30), (10, 20, 35.0)))
    assert placed.project(points) == pytest.approx(np.array(((199.5, 149.5), (199.5 + 15, 149.5), (199.5, 134.5))))


def test_plastimatch_there_and_back():
    placed = some_placed(9)
    assert same(placed, camera_scanners.from_plastimatch(camera_scanners.to_plastimatch(placed)))


def test_plastimatch_has_no_mirrored_pictures():
    with pytest.raises(BadInput, match="mirrored"):
        camera_scanners.to_plastimatch(some_placed(9, mirrored=True))
