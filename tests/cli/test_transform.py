"""`homolog transform`: what is said of maps is true of them, and what is written does what they do."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from homolog import Affine, Displacement, Volume, read, read_labels, read_transform, write, write_transform
from homolog.io.records import read_record
from tests.cli.conftest import FIXED, MOVING, the_map
from tests.geometry import some_affine

INSIDE = FIXED.world(np.random.default_rng(4).uniform(2, np.array(FIXED.shape) - 3, (40, 3)))


def turned(degrees, axis, scale):
    """About an axis, by Rodrigues' formula."""
    unit = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.cross(np.eye(3), unit)
    angle = np.radians(degrees)
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) - np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix[:3, :3] *= scale
    matrix[:3, 3] = (3, -4, 5)
    return matrix


def test_info_says_what_maps_to_what(study, homolog):
    ended = homolog("transform", "info", "t.h5")
    assert ended.code == 0
    (line,) = ended.out.splitlines()
    assert "carries points of 'fixed' (fixed.nii.gz) to 'moving' (moving.nii.gz)" in line
    assert "resamples images of 'moving' (moving.nii.gz) onto 'fixed'" in line


def test_info_measures_an_affine_map(study, homolog):
    write_transform(Affine(turned(31, (1, 2, -2), 1.25)), "a.tfm")
    (found,) = homolog("transform", "info", "a.tfm", "--json").json["maps"]
    (part,) = found["parts"]
    assert part["degrees"] == pytest.approx(31)
    assert part["scales"] == pytest.approx([1.25] * 3)


def test_info_tells_a_mirror_from_a_turn(study, homolog):
    write_transform(Affine(np.diag([-1.0, 1.0, 1.0, 1.0])), "mirror.tfm")
    assert "mirrors" in homolog("transform", "info", "mirror.tfm").out


def test_info_says_that_a_bare_file_does_not_know_its_patients(study, homolog):
    (study / "t.h5.json").unlink()
    assert "no record" in homolog("transform", "info", "t.h5").out


def test_the_inverse_brings_points_back_and_its_error_is_said(study, homolog):
    ended = homolog("transform", "invert", "t.h5", "-o", "back.h5", "--json")
    assert ended.code == 0
    back = read_transform("back.h5")
    assert (back.fixed, back.moving) == ("moving", "fixed")
    apart = np.linalg.norm(back.apply(the_map().apply(INSIDE)) - INSIDE, axis=1)
    assert apart.max() < 0.2
    assert ended.json["mean_mm"] < 0.2
    assert read_record("back.h5").inverse_mean_mm == pytest.approx(ended.json["mean_mm"])


def test_where_a_map_folds_is_written_as_a_mask(study, homolog):
    vectors = np.zeros((*FIXED.shape, 3), np.float32)
    # two neighbouring planes change places along the first axis
    step = FIXED.world_from_voxel[:3, 0]
    vectors[8], vectors[9] = 2 * step, -2 * step
    write_transform(Displacement(vectors, FIXED), "fold.h5")
    ended = homolog("transform", "invert", "fold.h5", "-o", "back.h5", "--mask", "mask.nii.gz", "--json")
    assert ended.code == 0
    missing = read_labels("mask.nii.gz")
    assert ended.json["missing"] == pytest.approx((missing.numpy() == 1).mean())
    assert 0 < ended.json["missing"] < 0.7
    places = missing.grid.points()[missing.numpy().ravel() == 1]
    assert np.abs(FIXED.voxel(places)[:, 0] - 8.5).max() < 5


def test_a_composition_applies_its_last_map_first(study, homolog):
    b_from_a, c_from_b = some_affine(1).renamed(fixed="a", moving="b"), some_affine(2).renamed(fixed="b", moving="c")
    write_transform(b_from_a, "b_from_a.h5")
    write_transform(c_from_b, "c_from_b.h5")
    assert homolog("transform", "compose", "c_from_b.h5", "b_from_a.h5", "-o", "c_from_a.h5").code == 0
    joined = read_transform("c_from_a.h5")
    assert (joined.fixed, joined.moving) == ("a", "c")
    np.testing.assert_allclose(joined.apply(INSIDE), c_from_b.apply(b_from_a.apply(INSIDE)), atol=1e-4)


def test_maps_without_records_are_composed_under_given_names(study, homolog):
    for name, seed in (("one", 1), ("two", 2)):
        write_transform(some_affine(seed), f"{name}.tfm")
        (study / f"{name}.tfm.json").unlink()
    line = ("transform", "compose", "two.tfm", "one.tfm", "-o", "both.tfm", "--spaces", "c", "b", "a")
    assert homolog(*line).code == 0
    joined = read_transform("both.tfm")
    assert (joined.fixed, joined.moving) == ("a", "c")
    np.testing.assert_allclose(joined.apply(INSIDE), some_affine(2).apply(some_affine(1).apply(INSIDE)), atol=1e-4)


def test_a_map_and_its_inverse_compose_to_nothing(study, homolog):
    homolog("transform", "invert", "t.h5", "-o", "back.h5")
    assert homolog("transform", "compose", "back.h5", "t.h5", "-o", "nothing.h5").code == 0
    np.testing.assert_allclose(read_transform("nothing.h5").apply(INSIDE), INSIDE, atol=0.2)


def test_a_converted_field_is_what_simpleitk_reads(study, homolog):
    assert homolog("transform", "convert", "t.h5", "-o", "field.nii.gz").code == 0
    field = sitk.DisplacementFieldTransform(sitk.ReadImage("field.nii.gz", sitk.sitkVectorFloat64))
    theirs = np.array([field.TransformPoint(point) for point in FIXED.points()[::37].tolist()])
    np.testing.assert_allclose(theirs, the_map().apply(FIXED.points()[::37]), atol=1e-3)


def test_a_converted_map_knows_the_images_it_was_converted_with(study, homolog):
    write_transform(some_affine(), "bare.tfm")
    (study / "bare.tfm.json").unlink()
    line = ("transform", "convert", "bare.tfm", "--like", "fixed.nii.gz", "--moving-like", "moving.nii.gz")
    assert homolog(*line, "-o", "known.h5").code == 0
    ended = homolog("apply", "known.h5", "moving.nii.gz", "-o", "out.nii.gz", "--outside", "0")
    assert ended.code == 0
    assert read("out.nii.gz").grid.same_as(FIXED)


def test_the_jacobian_of_an_affine_map_is_its_determinant_everywhere(study, homolog):
    affine = some_affine(3)
    write_transform(affine, "a.tfm")
    ended = homolog("transform", "jacobian", "a.tfm", "--like", "fixed.nii.gz", "-o", "jac.nii.gz", "--json")
    assert ended.code == 0
    expected = np.linalg.det(affine.matrix[:3, :3])
    jacobian = read("jac.nii.gz")
    assert jacobian.grid.same_as(FIXED)
    np.testing.assert_allclose(jacobian.numpy(), expected, rtol=1e-4)
    assert ended.json["fraction"] == 0
    assert ended.json["least"] == pytest.approx(expected, rel=1e-4)


def test_folds_are_counted_where_the_mask_says(study, homolog):
    vectors = np.zeros((*FIXED.shape, 3), np.float32)
    vectors[8] = 3 * FIXED.world_from_voxel[:3, 0]
    write_transform(Displacement(vectors, FIXED), "fold.h5")
    line = ("transform", "jacobian", "fold.h5", "-o", "jac.nii.gz", "--like", "fixed.nii.gz", "--json")
    everywhere = homolog(*line).json
    mask = np.zeros(FIXED.shape, np.uint8)
    mask[:4] = 1
    write(Volume(mask, FIXED, "fixed", "labels"), "mask.nii.gz")
    assert everywhere["fraction"] > everywhere["fraction_central"] > 0
    assert homolog(*line, "--mask", "mask.nii.gz").json["fraction"] == 0


def test_an_inverse_is_solved_on_the_grid_that_is_named(study, homolog):
    line = ("transform", "invert", "t.h5", "--like", "moving.nii.gz", "-o", "back.nii.gz")
    assert homolog(*line).code == 0
    assert isinstance(read_transform("back.nii.gz"), Displacement)
    assert read_transform("back.nii.gz").grid.same_as(MOVING)
