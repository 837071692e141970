"""Maps of other programs: deeds, FROG, greedy; which file is which; and what a failed write leaves."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from homolog import Affine, BSpline, Displacement, Grid, Volume, read_transform, warp, write_transform
from homolog.errors import BadInput, GridMismatch, UnknownFrame, UnreadableFile, UnwritableFile
from homolog.space.transforms import chain
from tests.geometry import oblique_grid, sheared_grid, some_affine, some_displacement, some_spline

LIKE = oblique_grid((19, 14, 16))
MOVING_LIKE = oblique_grid((15, 18, 13), (1.9, 1.4, 2.2), seed=8)
CENTRE = LIKE.points().mean(axis=0)
RAS = np.array((-1.0, -1.0, 1.0))
NODES = (4, 3, 4)


def deeds_files(folder, seed=0):
    """A `.dat` and its matrix, laid out as deeds does: blocks of j, i, k; the matrix transposed."""
    rng = np.random.default_rng(seed)
    u = rng.uniform(-2, 2, (3, *NODES)).astype(np.float32)
    stored = np.zeros((4, 4))
    stored[:3, :3] = np.eye(3) * 0.8 + rng.uniform(-0.1, 0.1, (3, 3))
    stored[3, :3], stored[3, 3] = rng.uniform(-2, 2, 3), 0.9999
    np.savetxt(folder / "pair_matrix.txt", stored, fmt="%.9g")
    (folder / "pair_displacements.dat").write_bytes(b"".join(u[axis].tobytes(order="F") for axis in (1, 0, 2)))
    return folder / "pair_displacements.dat", u, np.loadtxt(folder / "pair_matrix.txt")


def deeds_says(voxels, u, stored):
    """The moving voxel of a fixed voxel, by deeds' own rule."""
    at = voxels.T * (np.array(NODES) / LIKE.shape)[:, None]
    bend = [map_coordinates(component, at, order=1, mode="nearest") for component in u.astype(np.float64)]
    return voxels @ stored[:3, :3] + stored[3, :3] + np.stack(bend, axis=1)


def voxels_of(grid, n=200, seed=4):
    return np.random.default_rng(seed).uniform(-0.5, np.array(grid.shape) - 0.5, (n, 3))


def test_deeds_carries_a_voxel_where_deeds_says(tmp_path):
    path, u, stored = deeds_files(tmp_path)
    transform = read_transform(path, like=LIKE, moving_like=MOVING_LIKE, matrix=tmp_path / "pair_matrix.txt")
    voxels = voxels_of(LIKE)
    carried = MOVING_LIKE.voxel(transform.apply(LIKE.world(voxels)))
    np.testing.assert_allclose(carried, deeds_says(voxels, u, stored), atol=1e-5)


def test_labels_warped_by_deeds_files_are_the_labels_it_warps_through_any_file(tmp_path):
    path, u, stored = deeds_files(tmp_path)
    transform = read_transform(path, like=LIKE, moving_like=MOVING_LIKE, matrix=tmp_path / "pair_matrix.txt")
    labels = np.random.default_rng(1).integers(1, 9, MOVING_LIKE.shape).astype(np.uint8)
    voxels = np.argwhere(np.ones(LIKE.shape))
    at = np.rint(deeds_says(voxels, u, stored)).astype(int)
    inside = ((at >= 0) & (at < MOVING_LIKE.shape)).all(axis=1)
    expected = np.where(inside, labels[tuple(np.clip(at, 0, np.array(labels.shape) - 1).T)], 0).reshape(LIKE.shape)
    write_transform(transform, tmp_path / "t.h5", like=LIKE)
    for each in (transform, read_transform(tmp_path / "t.h5")):
        warped = warp(Volume(labels, MOVING_LIKE, "moving", "labels"), each, LIKE, outside=0)
        np.testing.assert_array_equal(warped.numpy(), expected)


def test_deeds_files_are_written_as_they_were_read(tmp_path):
    path, _, stored = deeds_files(tmp_path)
    transform = read_transform(path, like=LIKE, moving_like=MOVING_LIKE, matrix=tmp_path / "pair_matrix.txt")
    (tmp_path / "again").mkdir()
    write_transform(transform, tmp_path / "again/x_displacements.dat", like=LIKE, moving_like=MOVING_LIKE)
    numbers = np.fromfile(tmp_path / "again/x_displacements.dat", "<f4")
    np.testing.assert_allclose(numbers, np.fromfile(path, "<f4"), atol=1e-6)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "again/x_matrix.txt")[:, :3], stored[:, :3], atol=1e-12)


def test_a_deeds_matrix_alone_is_a_map(tmp_path):
    _, u, stored = deeds_files(tmp_path)
    transform = read_transform(tmp_path / "pair_matrix.txt", like=LIKE, moving_like=MOVING_LIKE, format="deeds")
    voxels = voxels_of(LIKE)
    np.testing.assert_allclose(
        MOVING_LIKE.voxel(transform.apply(LIKE.world(voxels))), deeds_says(voxels, 0 * u, stored), atol=1e-9
    )
    write_transform(transform, tmp_path / "o.txt", like=LIKE, moving_like=MOVING_LIKE, format="deeds")
    np.testing.assert_allclose(np.loadtxt(tmp_path / "o.txt")[:, :3], stored[:, :3], atol=1e-12)


def test_whether_deeds_started_from_the_matrix_beside_is_asked(tmp_path):
    path, u, _ = deeds_files(tmp_path)
    with pytest.raises(BadInput, match=r"started from pair_matrix\.txt.*\nhint: --matrix .* none"):
        read_transform(path, like=LIKE)
    unstarted = read_transform(path, like=LIKE, matrix="none")
    voxels = voxels_of(LIKE)
    expected = deeds_says(voxels, u, np.eye(4))
    np.testing.assert_allclose(LIKE.voxel(unstarted.apply(LIKE.world(voxels))), expected, atol=1e-5)


def test_a_deeds_file_of_another_image_is_refused(tmp_path):
    path, *_ = deeds_files(tmp_path)
    with pytest.raises(GridMismatch, match=r"576 bytes, which is no deeds grid of Grid\(30x30x30"):
        read_transform(path, like=oblique_grid((30, 30, 30)), matrix="none")
    with pytest.raises(BadInput, match=r"counts in voxels.*\nhint: --like"):
        read_transform(path, matrix="none")


def test_a_map_that_is_not_on_deeds_nodes_is_not_written_as_deeds(tmp_path):
    with pytest.raises(BadInput, match="something else"):
        write_transform(some_displacement(oblique_grid((5, 6, 7))), tmp_path / "t.dat", like=LIKE)
    assert list(tmp_path.iterdir()) == []


def frog_files(folder, inline=False, seed=0):
    """Two steps as FROG writes them: a matrix, then a spline on its lattice along the axes."""
    rng = np.random.default_rng(seed)
    matrix = np.diag([*rng.uniform(0.8, 1.2, 3), 1])
    matrix[:3, 3] = rng.uniform(-9, 9, 3)
    coefficients = rng.uniform(-3, 3, (6, 5, 7, 3)).astype(np.float32)
    origin, spacing = CENTRE - 30, np.array((13.0, 15.5, 9.25))
    step = {"type": "vtkBSplineTransform", "file": "0.json.0.nii.gz"}
    if inline:
        numbers = coefficients.transpose(2, 1, 0, 3).ravel().tolist()
        step = {"type": step["type"], "dimensions": [6, 5, 7], "origin": origin.tolist(), "coeffs": numbers}
        step["spacing"] = spacing.tolist()
    else:
        image = nib.Nifti1Image(coefficients[:, :, :, None], None)
        image.set_qform(np.block([[np.diag(spacing), origin[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]]), 1)
        nib.save(image, folder / "0.json.0.nii.gz")
    linear = {"type": "vtkMatrixToLinearTransform", "matrix": matrix.ravel().tolist()}
    (folder / "0.json").write_text(json.dumps({"transforms": [linear, step]}))
    return folder / "0.json", matrix, coefficients.astype(np.float64), origin, spacing


def frog_says(points, matrix, coefficients, origin, spacing):
    """The first step of the list first; scipy evaluates the spline, its coefficients repeated beyond the lattice."""
    moved = points @ matrix[:3, :3].T + matrix[:3, 3]
    # scipy repeats the edge only so far as it is asked for: repeat it here
    wide = np.pad(coefficients, [(30, 30)] * 3 + [(0, 0)], mode="edge")
    at = ((moved - origin) / spacing + 30).T
    return moved + np.stack([map_coordinates(wide[..., c], at, order=3, prefilter=False) for c in range(3)], axis=1)


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("frame", ["LPS", "RAS"])
def test_frog_carries_a_point_where_frog_says(tmp_path, inline, frame):
    path, *numbers = frog_files(tmp_path, inline)
    transform = read_transform(path, frame=frame)
    assert (transform.fixed, transform.moving) == ("fixed", "common")
    turn = RAS if frame == "RAS" else np.ones(3)
    points = CENTRE + np.random.default_rng(2).uniform(-60, 60, (200, 3))
    # the header keeps its lattice in single precision
    np.testing.assert_allclose(transform.apply(points * turn), frog_says(points, *numbers) * turn, atol=1e-4)


def test_the_frame_of_frog_is_not_guessed(tmp_path):
    path, *_ = frog_files(tmp_path)
    with pytest.raises(UnknownFrame, match="--frame RAS"):
        read_transform(path)
    with pytest.raises(UnknownFrame):
        write_transform(some_affine(), tmp_path / "out.json")


@pytest.mark.parametrize("frame", ["LPS", "RAS"])
def test_any_spline_can_be_written_for_frog(tmp_path, frame):
    leaning = BSpline(np.random.default_rng(0).uniform(-2, 2, (11, 12, 13, 3)), sheared_grid())
    transform = chain([some_spline(), some_affine(about_mm=CENTRE), leaning], fixed="patient", moving="common")
    write_transform(transform, tmp_path / "7.json", frame=frame)
    kinds = [step["type"] for step in json.loads((tmp_path / "7.json").read_text())["transforms"]]
    assert kinds.count("vtkBSplineTransform") == 2
    read = read_transform(tmp_path / "7.json")
    points = CENTRE + np.random.default_rng(2).uniform(-40, 40, (100, 3))
    np.testing.assert_allclose(read.apply(points), transform.apply(points), atol=1e-4)
    assert (read.fixed, read.moving) == ("patient", "common")


def test_a_dense_field_is_not_written_for_frog(tmp_path):
    with pytest.raises(BadInput, match="Displacement"):
        write_transform(some_displacement(LIKE), tmp_path / "0.json", frame="LPS")
    assert list(tmp_path.iterdir()) == []


def test_a_frog_file_that_lacks_a_spline_names_it(tmp_path):
    path, *_ = frog_files(tmp_path)
    (tmp_path / "0.json.0.nii.gz").unlink()
    with pytest.raises(UnreadableFile, match=r"0\.json\.0\.nii\.gz: no such file"):
        read_transform(path, frame="LPS")


@pytest.mark.parametrize("text", ["[1, 2]", '{"transforms": [{"type": "vtkBSplineTransform"}]}', "{", '{"a": 1}'])
def test_json_that_is_no_list_of_frog_is_refused_in_words(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UnreadableFile, match=r"x\.json"):
        read_transform(tmp_path / "x.json", frame="LPS")


def test_greedy_carries_a_point_in_ras(tmp_path):
    matrix = some_affine(about_mm=CENTRE).matrix
    np.savetxt(tmp_path / "affine.txt", matrix)
    points = LIKE.points()[::50]
    expected = ((points * RAS) @ matrix[:3, :3].T + matrix[:3, 3]) * RAS
    np.testing.assert_allclose(read_transform(tmp_path / "affine.txt", format="greedy").apply(points), expected)


def test_a_bare_matrix_is_refused_until_its_program_is_named(tmp_path):
    np.savetxt(tmp_path / "affine.txt", np.eye(4))
    with pytest.raises(UnknownFrame, match=r"--format greedy .* --format deeds"):
        read_transform(tmp_path / "affine.txt")


@pytest.mark.parametrize("name", ["t.xfm", "t.h5.json", "t", "ct.dcm"])
def test_a_file_that_is_no_transform_is_refused_by_its_name(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(BadInput, match=r"no transform by its name|the record of a transform"):
        read_transform(tmp_path / name)


def test_an_unknown_format_is_told_the_known_ones(tmp_path):
    with pytest.raises(BadInput, match="itk, field, learn2reg"):
        write_transform(some_affine(), tmp_path / "t.h5", format="fsl")


def test_a_missing_file_is_told():
    with pytest.raises(UnreadableFile, match="no such file"):
        read_transform("nowhere.h5")


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(["t.h5", "t.tfm", "t.txt", "t.mat", "t.nii", "t.nii.gz", "t.npz", "t.json"]),
    st.binary(min_size=1, max_size=600),
)
def test_rubbish_is_refused_in_words(tmp_path_factory, name, rubbish):
    path = tmp_path_factory.mktemp("rubbish") / name
    path.write_bytes(rubbish)
    with pytest.raises(BadInput, match=name.replace(".", r"\.")):
        read_transform(path, like=LIKE, matrix="none", frame="LPS")


def test_names_are_given_or_recorded_or_these_two_words(tmp_path):
    transform = Affine(some_affine().matrix, "inspiration", "expiration")
    write_transform(transform, tmp_path / "t.h5")
    read = read_transform(tmp_path / "t.h5")
    assert (read.fixed, read.moving) == ("inspiration", "expiration")
    read = read_transform(tmp_path / "t.h5", fixed="a")
    assert (read.fixed, read.moving) == ("a", "expiration")
    (tmp_path / "t.h5.json").unlink()
    read = read_transform(tmp_path / "t.h5")
    assert (read.fixed, read.moving) == ("fixed", "moving")


def test_of_several_files_all_are_written_or_none(tmp_path):
    (tmp_path / "x_matrix.txt").mkdir()
    nodes = Grid(NODES, LIKE.world_from_voxel @ np.diag([*np.array(LIKE.shape) / NODES, 1]))
    bend = Displacement(np.zeros((*NODES, 3), np.float32), nodes)
    with pytest.raises(UnwritableFile, match=r"x_matrix\.txt"):
        write_transform(bend, tmp_path / "x_displacements.dat", like=LIKE)
    assert [path.name for path in tmp_path.iterdir()] == ["x_matrix.txt"]
