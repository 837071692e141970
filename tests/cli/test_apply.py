"""`homolog apply`: images, labels, points and meshes end where the map says, whichever way it has to be used."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from homolog import (
    Affine,
    read,
    read_labels,
    read_mesh,
    read_points,
    read_transform,
    write,
    write_points,
    write_transform,
)
from homolog.cli import carrying
from homolog.io.meshes import Mesh, write_mesh
from tests.cli.conftest import FIXED, MOVING, the_map
from tests.geometry import blob, centroid_mm


def positions(path):
    return read_points(path).position


def test_an_image_arrives_where_simpleitk_puts_it(study, homolog):
    ended = homolog("apply", "t.h5", "moving.nii.gz", "-o", "moved.nii.gz")
    assert (ended.code, ended.out) == (0, "moved.nii.gz\n")
    least = float(read("moving.nii.gz").numpy().min())
    fixed, moving = (sitk.ReadImage(f"{name}.nii.gz", sitk.sitkFloat64) for name in ("fixed", "moving"))
    theirs = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, sitk.ReadTransform("t.h5"), sitk.sitkLinear, least)).T
    ours = read("moved.nii.gz")
    assert ours.grid.same_as(FIXED)
    # a voxel whose place lies on the very rim may fall to either side of it
    assert np.mean(np.abs(ours.numpy() - theirs) > 0.05) < 0.005


def test_a_landmark_goes_the_other_way_than_an_image(study, homolog):
    middle = positions("fixed.mrk.json")[0]
    there = the_map().apply(middle[None])[0]
    write(blob(MOVING, there, 2.5), "ball.nii.gz")
    assert homolog("apply", "t.h5", "ball.nii.gz", "--from", "moving", "-o", "ball_moved.nii.gz").code == 0
    # the image of the landmark in moving lands on the landmark in fixed
    assert np.linalg.norm(centroid_mm(read("ball_moved.nii.gz")) - middle) < 1.0
    assert np.linalg.norm(there - middle) > 3.0


def test_points_of_fixed_are_carried_and_points_of_moving_are_carried_back(study, homolog):
    assert homolog("apply", "t.h5", "fixed.mrk.json", "--from", "fixed", "-o", "a.mrk.json").code == 0
    assert homolog("apply", "t.h5", "moving.mrk.json", "--from", "moving", "-o", "b.mrk.json").code == 0
    np.testing.assert_allclose(positions("a.mrk.json"), positions("moving.mrk.json"), atol=1e-3)
    np.testing.assert_allclose(positions("b.mrk.json"), positions("fixed.mrk.json"), atol=1e-3)
    assert read_points("a.mrk.json").name == tuple("abcdef")


def test_an_image_of_fixed_goes_through_the_inverse(study, homolog):
    middle = positions("fixed.mrk.json")[0]
    write(blob(FIXED, middle, 2.5), "ball.nii.gz")
    ended = homolog("apply", "t.h5", "ball.nii.gz", "--from", "fixed", "-o", "ball_moved.nii.gz")
    assert ended.code == 0
    assert "through the inverse" in ended.err
    moved = read("ball_moved.nii.gz")
    assert moved.grid.same_as(MOVING)
    assert np.linalg.norm(centroid_mm(moved) - the_map().apply(middle[None])[0]) < 1.0


def test_a_map_written_for_the_other_direction_does_the_same(study, homolog):
    assert homolog("transform", "invert", "t.h5", "-o", "back.h5").code == 0
    assert homolog("apply", "t.h5", "moving.nii.gz", "-o", "one.nii.gz").code == 0
    ended = homolog("apply", "back.h5", "moving.nii.gz", "-o", "other.nii.gz")
    assert ended.code == 0
    one, other = read("one.nii.gz"), read("other.nii.gz")
    assert other.grid.same_as(FIXED)
    assert np.percentile(np.abs(one.numpy() - other.numpy()), 90) < 2.0


def test_a_renamed_copy_is_known_by_its_content(study, homolog):
    (study / "moving.nii.gz").rename("anything.nii.gz")
    ended = homolog("apply", "t.h5", "anything.nii.gz", "-o", "out.nii.gz")
    assert ended.code == 0
    assert "(moving) to 'fixed'" in ended.err


def test_saying_the_opposite_of_the_record_is_warned_of(study, homolog):
    ended = homolog("apply", "t.h5", "moving.nii.gz", "--from", "fixed", "-o", "out.nii.gz")
    assert ended.code == 0
    assert "is the moving image by the record" in ended.warnings[0]


def test_labels_are_never_blended(study, homolog):
    for interpolation in ("nearest", "smooth"):
        line = ("apply", "t.h5", "moving_labels.nii.gz", "--labels", "--from", "moving", "-o", "out.nii.gz")
        assert homolog(*line, "--interpolation", interpolation).code == 0
        assert set(np.unique(read_labels("out.nii.gz").numpy())) <= {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("shift", "flags", "outside", "why"),
    [(0, (), None, "its minimum"), (-900, (), -1000, "air of a CT"), (0, ("--outside", "-7"), -7, "as asked")],
)
def test_what_lies_outside_is_chosen_aloud(shift, flags, outside, why, study, homolog):
    moving = read("moving.nii.gz")
    write(moving.with_data(moving.numpy() + shift), "shifted.nii.gz")
    far = MOVING.cropped((-40, -40, -40), (-30, -30, -30))
    write(blob(far, far.origin_mm, 3.0), "far.nii.gz")
    line = ("apply", "t.h5", "shifted.nii.gz", "--from", "moving", "--like", "far.nii.gz", "-o", "out.nii.gz")
    ended = homolog(*line, *flags)
    assert ended.code == 0
    assert f"({why})" in ended.err
    expected = moving.numpy().min() if outside is None else outside
    assert (read("out.nii.gz").numpy() == np.float32(expected)).all()


def test_several_inputs_go_to_a_folder_and_keep_their_names(study, homolog):
    ended = homolog("apply", "t.h5", "moving.nii.gz", "moving.mrk.json", "--from", "moving", "-o", "out")
    assert ended.code == 0
    assert ended.out.split() == ["out/moving.nii.gz", "out/moving.mrk.json"]
    assert read("out/moving.nii.gz").grid.same_as(FIXED)


def test_without_an_output_the_result_lies_beside_the_input(study, homolog):
    ended = homolog("apply", "t.h5", study / "moving.nii.gz")
    assert ended.out.strip() == str(study / "moving_in_fixed.nii.gz")
    assert (study / "moving_in_fixed.nii.gz").exists()


def test_what_was_written_can_be_read_by_a_program(study, homolog):
    ended = homolog("apply", "t.h5", "moving.nii.gz", "-o", "out.nii.gz", "--json")
    (written,) = ended.json["written"]
    assert written["output"] == "out.nii.gz"
    assert written["shape"] == list(FIXED.shape)


def test_a_mesh_follows_the_map_as_points_do(study, homolog):
    write_mesh(Mesh(positions("fixed.mrk.json"), "fixed", np.array([(0, 1, 2), (3, 4, 5)])), "organ.ply")
    assert homolog("apply", "t.h5", "organ.ply", "--from", "fixed", "-o", "moved.ply").code == 0
    np.testing.assert_allclose(read_mesh("moved.ply").points, positions("moving.mrk.json"), atol=1e-3)


def test_points_in_voxels_count_in_the_image_they_were_placed_on(study, homolog):
    for side, grid in (("fixed", FIXED), ("moving", MOVING)):
        rows = grid.voxel(positions(f"{side}.mrk.json"))
        np.savetxt("voxels.csv", rows, delimiter=",", header="x,y,z", comments="")
        line = ("apply", "t.h5", "voxels.csv", "--from", side, "--points-space", "voxel", "-o", "out.mrk.json")
        assert homolog(*line).code == 0
        other = "moving" if side == "fixed" else "fixed"
        np.testing.assert_allclose(positions("out.mrk.json"), positions(f"{other}.mrk.json"), atol=1e-3)


def test_the_identity_puts_labels_on_another_grid_of_the_same_patient(study, homolog):
    line = ("apply", "identity", "moving_labels.nii.gz", "--labels", "--like", "fixed.nii.gz")
    ended = homolog(*line)
    assert ended.out == "moving_labels_on_fixed.nii.gz\n"
    ours, labels = read_labels("moving_labels_on_fixed.nii.gz"), read_labels("moving_labels.nii.gz")
    assert ours.grid.same_as(FIXED)
    voxels = np.rint(MOVING.voxel(FIXED.points())).astype(int)
    inside = ((voxels >= 0) & (voxels < MOVING.shape)).all(axis=1)
    there = np.abs(MOVING.voxel(FIXED.points()) - voxels).max(axis=1) < 0.45
    expected = labels.numpy()[tuple(voxels[inside & there].T)]
    np.testing.assert_array_equal(ours.numpy().ravel()[inside & there], expected)


def test_another_spacing_covers_the_same_box(study, homolog):
    assert homolog("apply", "t.h5", "moving.nii.gz", "--spacing", "3", "-o", "out.nii.gz").code == 0
    grid = read("out.nii.gz").grid
    np.testing.assert_allclose(grid.spacing_mm, 3)
    assert grid.contains(FIXED.corners(0.0)).all()


def test_an_affine_map_of_another_program_needs_no_record(study, homolog):
    affine = Affine(np.array([[1.1, 0.1, 0, 3], [0, 0.9, 0.2, -2], [0, 0, 1, 5], [0, 0, 0, 1.0]]))
    write_transform(affine, "bare.tfm")
    (study / "bare.tfm.json").unlink()
    points = read_points("fixed.mrk.json")
    write_points(points, "in.fcsv")
    assert homolog("apply", "bare.tfm", "in.fcsv", "--from", "fixed", "-o", "out.fcsv").code == 0
    np.testing.assert_allclose(positions("out.fcsv"), read_transform("bare.tfm").apply(points.position), atol=1e-3)


def test_an_image_that_is_known_by_its_content_is_read_once(study, homolog, monkeypatch):
    (study / "moving.nii.gz").rename("renamed.nii.gz")
    reads = []
    read_volume = carrying.volumes.read
    monkeypatch.setattr(carrying.volumes, "read", lambda *a, **k: reads.append(a) or read_volume(*a, **k))
    ended = homolog("apply", "t.h5", "renamed.nii.gz", "-o", "out.nii.gz")
    assert ended.code == 0, ended.err
    assert len(reads) == 1
