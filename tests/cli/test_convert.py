"""`homolog convert`: another format, and only what was asked for changed."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from homolog import read, read_labels, read_mesh, read_points, write
from homolog.io.meshes import Mesh, write_mesh
from tests.cli.conftest import MOVING


@pytest.mark.parametrize("name", ["out.nrrd", "out.mha", "out.nii"])
def test_voxels_stay_at_their_places(name, study, homolog):
    assert homolog("convert", "moving.nii.gz", name).code == 0
    theirs, ours = sitk.ReadImage(name), read("moving.nii.gz")
    voxel = (3, 4, 5)
    np.testing.assert_allclose(theirs.TransformIndexToPhysicalPoint(voxel), MOVING.world(np.array(voxel)), atol=1e-4)
    assert theirs.GetPixel(voxel) == ours.numpy()[voxel]


def test_stored_numbers_become_hounsfield_units(study, homolog):
    moving = read("moving.nii.gz")
    write(moving.with_data(np.rint(moving.numpy()) + 1024), "stored.nii.gz", dtype="uint16")
    assert homolog("convert", "stored.nii.gz", "hu.nii.gz", "--rescale", "1", "-1024", "--dtype", "int16").code == 0
    np.testing.assert_array_equal(read("hu.nii.gz").numpy(), np.rint(moving.numpy()))
    assert nibabel.load("hu.nii.gz").get_data_dtype() == np.int16


def test_nan_is_replaced_by_what_was_asked_for(study, homolog):
    moving = read("moving.nii.gz")
    data = moving.numpy().copy()
    data[2, 3, 4], data[5, 6, 7] = np.nan, np.inf
    write(moving.with_data(data), "nan.nii.gz")
    assert homolog("convert", "nan.nii.gz", "whole.nii.gz", "--replace-nan", "-1000").code == 0
    whole = read("whole.nii.gz").numpy()
    assert whole[2, 3, 4] == whole[5, 6, 7] == -1000
    assert whole[0, 0, 0] == data[0, 0, 0]


def test_labels_stay_labels(study, homolog):
    assert homolog("convert", "moving_labels.nii.gz", "out.nrrd", "--labels", "--spacing", "1").code == 0
    assert set(np.unique(read_labels("out.nrrd").numpy())) == set(
        np.unique(read_labels("moving_labels.nii.gz").numpy())
    )
    np.testing.assert_allclose(read("out.nrrd").grid.spacing_mm, 1)


def test_points_from_ras_lie_where_they_did(study, homolog):
    points = read_points("moving.mrk.json")
    np.savetxt("ras.csv", points.position * (-1, -1, 1), delimiter=",", header="x,y,z", comments="")
    assert homolog("convert", "ras.csv", "out.fcsv", "--points-space", "RAS").code == 0
    np.testing.assert_allclose(read_points("out.fcsv").position, points.position, atol=1e-3)


def test_meshes_keep_their_shape(study, homolog):
    corners = read_points("moving.mrk.json").position
    write_mesh(Mesh(corners, "moving", np.array([(0, 1, 2), (2, 3, 4)])), "organ.ply")
    assert homolog("convert", "organ.ply", "organ.vtk").code == 0
    mesh = read_mesh("organ.vtk")
    np.testing.assert_allclose(mesh.points[mesh.faces], corners[[(0, 1, 2), (2, 3, 4)]], atol=1e-3)
