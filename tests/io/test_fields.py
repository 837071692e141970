"""Dense fields: NIfTI vector images against SimpleITK, Learn2Reg's files against the rule of its evaluation."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import map_coordinates, zoom

from homolog import Affine, Grid, read_transform, warp, write_transform
from homolog.errors import BadInput, GridMismatch, UnreadableFile
from homolog.space.transforms import chain
from tests.geometry import oblique_grid, sheared_grid, smooth_volume, some_affine, some_displacement, some_spline

LIKE = oblique_grid((18, 14, 12))
MOVING_LIKE = oblique_grid((18, 14, 12), (1.9, 1.4, 2.2), seed=8)
CENTRE = LIKE.points().mean(axis=0)
RAS_FROM_VOXEL = np.diag([-1.0, -1.0, 1.0, 1.0]) @ LIKE.world_from_voxel


def a_map():
    parts = [some_affine(about_mm=CENTRE), some_displacement(LIKE), some_spline(around=LIKE)]
    return chain(parts, fixed="fixed", moving="moving")


def by_itk(path, points):
    field = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(field)
    return np.array([transform.TransformPoint(point) for point in points.tolist()])


def inside(n=100, seed=1):
    return LIKE.world(np.random.default_rng(seed).uniform(0, np.array(LIKE.shape) - 1, (n, 3)))


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_simpleitk_reads_the_field_we_write(tmp_path, ending):
    write_transform(a_map(), tmp_path / f"field{ending}", like=LIKE)
    image = nib.load(tmp_path / f"field{ending}")
    assert image.shape == (*LIKE.shape, 1, 3)
    assert (image.header["intent_code"], image.get_data_dtype()) == (1007, np.float32)
    nodes = LIKE.points()[::29]
    # single precision: of the vectors, and of the header's lattice, 200 mm from the origin
    np.testing.assert_allclose(by_itk(tmp_path / f"field{ending}", nodes), a_map().apply(nodes), atol=1e-3)
    points = inside()
    read = read_transform(tmp_path / f"field{ending}")
    np.testing.assert_allclose(read.apply(points), by_itk(tmp_path / f"field{ending}", points), atol=1e-3)
    assert read.grid.same_as(LIKE)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_the_field_simpleitk_writes_is_read(tmp_path, ending):
    rng = np.random.default_rng(0)
    image = sitk.GetImageFromArray(rng.uniform(-3, 3, (*LIKE.shape[::-1], 3)).astype(np.float32), isVector=True)
    image.SetOrigin(LIKE.origin_mm.tolist())
    image.SetSpacing(LIKE.spacing_mm.tolist())
    image.SetDirection(LIKE.axes.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / f"field{ending}"))
    points = inside()
    read = read_transform(tmp_path / f"field{ending}")
    np.testing.assert_allclose(read.apply(points), by_itk(tmp_path / f"field{ending}", points), atol=1e-3)


def test_slope_and_intercept_of_a_field_count(tmp_path):
    vectors = some_displacement(LIKE).vectors
    image = nib.Nifti1Image(np.zeros((*LIKE.shape, 1, 3), np.int16), RAS_FROM_VOXEL)
    image.header.set_intent("vector")
    image.header.set_slope_inter(0.002, 0.5)
    image.header.set_data_dtype(np.int16)
    packed = nib.Nifti1Image(np.zeros((*LIKE.shape, 1, 3)), RAS_FROM_VOXEL, image.header)
    packed.dataobj[:] = vectors[:, :, :, None]
    nib.save(packed, tmp_path / "field.nii.gz")
    stored = nib.load(tmp_path / "field.nii.gz")
    assert stored.get_data_dtype() == np.int16 and stored.dataobj.slope != 1
    np.testing.assert_allclose(read_transform(tmp_path / "field.nii.gz").vectors, vectors, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "intent", "way_out"),
    [
        ((4, 5, 6, 1, 3), "none", "coefficients of FROG"),
        ((4, 5, 6, 3), "none", "--format learn2reg"),
        ((4, 5, 1, 1, 2), "vector", "2-D"),
        ((4, 5, 6), "none", "no displacement field"),
    ],
)
def test_vectors_of_unknown_meaning_are_refused_with_a_way_out(tmp_path, shape, intent, way_out):
    image = nib.Nifti1Image(np.zeros(shape, np.float32), np.eye(4))
    image.header.set_intent(intent)
    nib.save(image, tmp_path / "x.nii.gz")
    with pytest.raises(BadInput, match=way_out):
        read_transform(tmp_path / "x.nii.gz")


def test_a_field_needs_voxels_to_lie_on(tmp_path):
    with pytest.raises(BadInput, match="over the fixed image"):
        write_transform(some_affine(), tmp_path / "field.nii.gz")
    with pytest.raises(GridMismatch, match=r"axes, those of Grid\(11x12x13.* lean by .*\nhint: -o .*field\.h5"):
        write_transform(some_affine(), tmp_path / "field.nii.gz", like=sheared_grid())
    displacement = some_displacement(LIKE)
    write_transform(displacement, tmp_path / "own.nii.gz")
    np.testing.assert_array_equal(read_transform(tmp_path / "own.nii.gz").vectors, displacement.vectors)


def test_a_field_that_was_cut_off_is_told(tmp_path):
    write_transform(a_map(), tmp_path / "field.nii.gz", like=LIKE)
    (tmp_path / "cut.nii.gz").write_bytes((tmp_path / "field.nii.gz").read_bytes()[:5000])
    with pytest.raises(UnreadableFile, match=r"cut\.nii\.gz"):
        read_transform(tmp_path / "cut.nii.gz")


def learn2reg_field(seed=0):
    """(I, J, K, 3) float32: voxels, smooth enough to be halved."""
    rough = np.random.default_rng(seed).uniform(-1.5, 1.5, (6, 5, 4, 3))
    smooth = [zoom(rough[..., c], np.array(LIKE.shape) / rough.shape[:3], order=2) for c in range(3)]
    return np.stack(smooth, axis=-1).astype(np.float32)


def as_learn2reg_warps(moving, u):
    """moving[p + u(p)] in voxels, as its evaluation looks the moving image up."""
    at = np.moveaxis(u.astype(np.float64), -1, 0) + np.indices(LIKE.shape)
    return map_coordinates(moving, at, order=1, mode="nearest"), at


def saved(path, u, layout):
    if layout == "nii.gz":
        nib.save(nib.Nifti1Image(u, RAS_FROM_VOXEL), path)
    elif layout == "npz":
        np.savez_compressed(path, whatever=u)
    else:
        np.savez_compressed(path, np.moveaxis(u, -1, 0)[:, ::2, ::2, ::2].astype(np.float16))
    return path


@pytest.mark.parametrize("layout", ["nii.gz", "npz", "half"])
@pytest.mark.parametrize("moving_like", [None, MOVING_LIKE])
def test_learn2reg_fields_warp_as_its_evaluation_does(tmp_path, layout, moving_like):
    u = learn2reg_field()
    path = saved(tmp_path / f"disp_0001_0002.{layout.replace('half', 'npz')}", u, layout)
    if layout == "half":
        half = np.moveaxis(u, -1, 0)[:, ::2, ::2, ::2].astype(np.float16).astype(np.float32)
        u = np.stack([zoom(component, 2, order=2) for component in half], axis=-1)
    transform = read_transform(path, like=LIKE, moving_like=moving_like, format="learn2reg")
    moving = smooth_volume(moving_like or LIKE)
    expected, at = as_learn2reg_warps(moving.numpy(), u)
    within = ((at >= 0) & (at <= np.array(LIKE.shape)[:, None, None, None] - 1)).all(axis=0)
    warped = warp(moving, transform, LIKE, outside=-1000).numpy()
    assert within.mean() > 0.5
    np.testing.assert_allclose(warped[within], expected[within], atol=0.02)


@pytest.mark.parametrize("name", ["disp_0001_0002.nii.gz", "disp_0001_0002.npz"])
def test_learn2reg_fields_are_written_as_its_evaluation_reads_them(tmp_path, name):
    transform = a_map()
    write_transform(transform, tmp_path / name, like=LIKE, moving_like=MOVING_LIKE, format="learn2reg")
    u = np.load(tmp_path / name)["disp"] if name.endswith("npz") else nib.load(tmp_path / name).get_fdata()
    voxels = np.argwhere(np.ones(LIKE.shape))
    carried = MOVING_LIKE.voxel(transform.apply(LIKE.points()))
    assert u.shape == (*LIKE.shape, 3)
    np.testing.assert_allclose(voxels + u.reshape(-1, 3), carried, atol=1e-5)
    read = read_transform(tmp_path / name, like=LIKE, moving_like=MOVING_LIKE, format="learn2reg")
    np.testing.assert_allclose(read.apply(LIKE.points()), transform.apply(LIKE.points()), atol=1e-4)


def test_a_learn2reg_field_of_another_shape_names_both(tmp_path):
    path = saved(tmp_path / "disp.npz", learn2reg_field(), "npz")
    other = oblique_grid((16, 14, 12))
    with pytest.raises(GridMismatch, match=r"\(18, 14, 12, 3\); over Grid\(16x14x12.*\(3, 8, 7, 6\)"):
        read_transform(path, like=other)
    cube = Grid((3, 3, 3), LIKE.world_from_voxel)
    np.savez_compressed(path, np.zeros((3, 3, 3, 3)))
    with pytest.raises(GridMismatch, match="both fit"):
        read_transform(path, like=cube)
    with pytest.raises(BadInput, match="--like"):
        read_transform(path)


def test_learn2reg_files_of_several_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    with pytest.raises(BadInput, match="one array, this one 2: a, b"):
        read_transform(tmp_path / "two.npz", like=LIKE)
    np.savez(tmp_path / "pickled.npz", a=np.array([{}], dtype=object))
    with pytest.raises(UnreadableFile, match="pickled"):
        read_transform(tmp_path / "pickled.npz", like=LIKE)


def test_an_ants_warp_is_composed_with_its_affine_map(tmp_path):
    affine, bend = some_affine(about_mm=CENTRE), some_displacement(LIKE)
    write_transform(affine, tmp_path / "0GenericAffine.mat")
    write_transform(bend, tmp_path / "1Warp.nii.gz")
    middle = read_transform(tmp_path / "1Warp.nii.gz", moving="straightened")
    whole = read_transform(tmp_path / "0GenericAffine.mat", fixed="straightened") @ middle
    points = inside()
    np.testing.assert_allclose(whole.apply(points), affine.apply(bend.apply(points)), atol=1e-4)
    assert isinstance(read_transform(tmp_path / "0GenericAffine.mat"), Affine)
