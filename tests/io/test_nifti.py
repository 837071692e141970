"""NIfTI against nibabel: where voxels lie, what they are worth, and what is refused."""

from __future__ import annotations

import gzip
import logging

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from homolog.errors import BadInput, UnreadableFile
from homolog.io import volumes
from homolog.space.grid import Grid
from homolog.space.volume import Volume
from tests.geometry import oblique_grid, sheared_grid

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
RAS_FROM_VOXEL = LPS_FROM_RAS @ oblique_grid((6, 5, 4)).world_from_voxel


def numbers(shape=(6, 5, 4), dtype=np.int16):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def saved(path, data, affine=RAS_FROM_VOXEL, kind=nib.Nifti1Image, sform=1, qform=1, **header):
    """A file as nibabel writes it; shear goes to the sform only."""
    image = kind(data, affine)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "i8", "f4", "f8"])
def test_every_way_to_store_it_gives_what_nibabel_gives(tmp_path, kind, ending, order, dtype):
    header = kind.header_class(endianness=order)
    data = numbers(dtype=dtype) * np.asarray(7, dtype) // np.asarray(3, dtype)
    image = kind(data.astype(order + dtype), RAS_FROM_VOXEL, header)
    image.set_data_dtype(order + dtype)
    nib.save(image, tmp_path / f"ct{ending}")
    volume, oracle = volumes.read(tmp_path / f"ct{ending}"), nib.load(tmp_path / f"ct{ending}")
    np.testing.assert_array_equal(volume.data, oracle.get_fdata(dtype=np.float32))
    np.testing.assert_allclose(volume.grid.world_from_voxel, LPS_FROM_RAS @ oracle.affine, atol=1e-5)
    assert (volume.data.dtype, volume.space, volume.kind) == (np.float32, "ct", "intensity")
    assert volume.data.flags.c_contiguous


def test_slope_and_intercept_make_the_numbers_real(tmp_path):
    path = saved(tmp_path / "ct.nii.gz", numbers())
    raw = bytearray(gzip.decompress(path.read_bytes()))
    # scl_slope and scl_inter, which nibabel sets as it likes when it saves
    raw[112:120] = np.array([0.37, -1024], "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))
    oracle = nib.load(path).get_fdata(dtype=np.float32)
    np.testing.assert_allclose(volumes.read(path).data, oracle, rtol=1e-6)
    assert oracle.min() < -900


def test_the_sform_is_preferred_and_a_disagreement_told(tmp_path, caplog):
    image = nib.Nifti1Image(numbers(), RAS_FROM_VOXEL)
    image.set_sform(RAS_FROM_VOXEL, 1)
    moved = RAS_FROM_VOXEL.copy()
    moved[0, 3] += 4
    image.set_qform(moved, 1)
    nib.save(image, tmp_path / "ct.nii")
    grid = volumes.read_grid(tmp_path / "ct.nii")
    np.testing.assert_allclose(grid.world_from_voxel, LPS_FROM_RAS @ RAS_FROM_VOXEL, atol=1e-5)
    assert "sform and qform are 4 mm" in caplog.text


@pytest.mark.parametrize(("sform", "qform"), [(1, 0), (0, 1), (2, 1), (4, 0)])
def test_one_form_is_enough(tmp_path, caplog, sform, qform):
    path = saved(tmp_path / "ct.nii", numbers(), sform=sform, qform=qform)
    grid = volumes.read_grid(path)
    np.testing.assert_allclose(grid.world_from_voxel, LPS_FROM_RAS @ RAS_FROM_VOXEL, atol=1e-4)
    assert not caplog.records


def test_a_file_without_a_position_is_told(tmp_path, caplog):
    path = saved(tmp_path / "ct.nii", numbers(), sform=0, qform=0)
    grid = volumes.read_grid(path)
    np.testing.assert_allclose(grid.world_from_voxel, LPS_FROM_RAS @ nib.load(path).affine)
    assert "does not say where it lies" in caplog.text


@pytest.mark.parametrize(("unit", "mm"), [("meter", 1000.0), ("micron", 0.001), ("mm", 1.0), ("unknown", 1.0)])
def test_other_units_become_millimetres(tmp_path, unit, mm):
    image = nib.Nifti1Image(numbers(), RAS_FROM_VOXEL)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "ct.nii")
    assert volumes.read_grid(tmp_path / "ct.nii").spacing_mm == pytest.approx(mm * np.array([1.3, 2.1, 1.7]), rel=1e-5)


def lean(degrees):
    matrix = np.eye(4)
    matrix[1, 2] = np.tan(np.radians(degrees)) * 1.7 / 2.1
    return RAS_FROM_VOXEL @ matrix


def test_a_careless_rotation_is_straightened_and_told(tmp_path, caplog):
    path = saved(tmp_path / "ct.nii", numbers(), lean(0.05), qform=0)
    grid = volumes.read_grid(path)
    assert grid.shear_degrees < 1e-9
    assert grid.spacing_mm == pytest.approx(np.linalg.norm(lean(0.05)[:3, :3], axis=0))
    assert "0.05 degrees" in caplog.text


def test_the_rounding_of_float32_headers_is_not_worth_a_word(tmp_path, caplog):
    path = saved(tmp_path / "ct.nii", numbers())
    assert volumes.read_grid(path).shear_degrees < 1e-9
    assert not caplog.records


def test_true_shear_is_kept(tmp_path, caplog):
    path = saved(tmp_path / "ct.nii", numbers(), lean(18.5), qform=0)
    grid = volumes.read_grid(path)
    np.testing.assert_allclose(grid.world_from_voxel, LPS_FROM_RAS @ lean(18.5), atol=1e-5)
    assert grid.shear_degrees == pytest.approx(18.5, abs=1e-3)
    assert not caplog.records


def test_trailing_axes_of_one_are_dropped(tmp_path):
    path = saved(tmp_path / "ct.nii", numbers((6, 5, 4, 1, 1)))
    np.testing.assert_array_equal(volumes.read(path).data, numbers((6, 5, 4, 1, 1))[..., 0, 0])


def rgb():
    return np.zeros((6, 5, 4), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))


@pytest.mark.parametrize(
    ("data", "header", "message"),
    [
        (numbers((6, 5, 4, 3)), {}, "6x5x4x3 numbers: 3 volumes"),
        (numbers((6, 5)), {}, r"flat picture \(6x5\)"),
        (numbers((6, 5, 4, 1, 3), np.float32), {"intent_code": 1007}, "displacement field"),
        (rgb(), {}, "colours"),
        (numbers().astype(np.complex64), {}, "complex64 numbers"),
    ],
)
def test_what_is_no_volume_is_refused_by_its_shape(tmp_path, data, header, message):
    path = saved(tmp_path / "it.nii.gz", data, **header)
    for look in (volumes.read, volumes.read_grid, volumes.read_labels):
        with pytest.raises(BadInput, match=message):
            look(path)


def test_a_displacement_field_hints_at_its_own_command(tmp_path):
    path = saved(tmp_path / "warp.nii.gz", numbers((6, 5, 4, 1, 3), np.float32), intent_code=1007)
    with pytest.raises(BadInput) as caught:
        volumes.read(path)
    assert caught.value.hint == f"homolog transform info {path}"


@pytest.mark.parametrize("broken", [np.diag([1.0, 0, 1, 1]), np.full((4, 4), np.nan)])
def test_a_broken_affine_names_the_file(tmp_path, broken):
    path = saved(tmp_path / "ct.nii", numbers())
    raw = bytearray(path.read_bytes())
    raw[280:328] = broken[:3].astype("<f4").tobytes()
    path.write_bytes(raw)
    with pytest.raises(BadInput, match=r"ct\.nii: .*(singular|finite)"):
        volumes.read_grid(path)


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_cut_off_file_is_refused_and_never_filled_with_zeros(tmp_path, keep):
    for ending in (".nii", ".nii.gz"):
        path = saved(tmp_path / f"ct{ending}", numbers((30, 20, 10)))
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
        with pytest.raises(UnreadableFile, match="cut off"):
            volumes.read(path)


def test_a_whole_gzip_of_half_a_volume_is_refused(tmp_path):
    path = saved(tmp_path / "ct.nii.gz", numbers())
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-100]))
    with pytest.raises(UnreadableFile, match="140 of the 240 bytes of its 6x5x4 voxels"):
        volumes.read(path)


def test_a_damaged_gzip_is_refused(tmp_path):
    path = saved(tmp_path / "ct.nii.gz", numbers((30, 20, 10)))
    raw = bytearray(path.read_bytes())
    for place in (-6, len(raw) // 2):
        hurt = raw.copy()
        hurt[place] ^= 0xFF
        path.write_bytes(hurt)
        with pytest.raises(UnreadableFile, match="damaged"):
            volumes.read(path)


@pytest.mark.parametrize(
    "content", [b"<html>Not found</html>" * 40, gzip.compress(b"subject,age\n" * 99, mtime=0), b"\x1f\x8bx"]
)
def test_what_only_calls_itself_nifti_is_refused(tmp_path, content):
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=r"ct\.nii\.gz"):
        volumes.read(path)


@pytest.mark.parametrize("offset", [1e30, np.nan])
def test_an_impossible_offset_is_damage(tmp_path, offset):
    path = saved(tmp_path / "ct.nii", numbers())
    raw = bytearray(path.read_bytes())
    raw[108:112] = np.array([offset], "<f4").tobytes()
    path.write_bytes(raw)
    with pytest.raises(UnreadableFile, match="damaged"):
        volumes.read(path)


def test_a_packed_file_without_gz_in_its_name_is_read(tmp_path):
    path = saved(tmp_path / "ct.nii.gz", numbers())
    path.rename(tmp_path / "ct.nii")
    np.testing.assert_array_equal(volumes.read(tmp_path / "ct.nii").data, numbers())


def test_the_grid_needs_no_voxels(tmp_path):
    path = saved(tmp_path / "ct.nii", numbers())
    path.write_bytes(path.read_bytes()[:352])
    assert volumes.read_grid(path).shape == (6, 5, 4)


@st.composite
def grids(draw):
    """Any orthonormal axes, either handedness, spacings from 0.05 to 8 mm, far origins."""
    axes = Rotation.random(rng=draw(st.integers(0, 2**32 - 1))).as_matrix()
    axes[:, draw(st.integers(0, 2))] *= draw(st.sampled_from([-1, 1]))
    spacing = draw(st.tuples(*[st.floats(0.05, 8)] * 3))
    origin = draw(st.tuples(*[st.floats(-2000, 2000)] * 3))
    shape = draw(st.tuples(*[st.integers(1, 7)] * 3))
    return Grid.regular(shape, spacing, origin, axes)


@given(grids())
def test_any_grid_survives_and_nibabel_agrees(tmp_path_factory, grid):
    path = tmp_path_factory.mktemp("grid") / "v.nii"
    data = np.random.default_rng(1).normal(size=grid.shape).astype(np.float32)
    volumes.write(Volume(data, grid, "v"), path)
    back, oracle = volumes.read(path), nib.load(path)
    np.testing.assert_array_equal(back.data, data)
    # float32 headers hold 2000 mm to 1e-4
    np.testing.assert_allclose(back.grid.corners(), grid.corners(), atol=5e-4)
    np.testing.assert_allclose(LPS_FROM_RAS @ oracle.get_sform(), grid.world_from_voxel, atol=3e-4)
    np.testing.assert_allclose(LPS_FROM_RAS @ oracle.get_qform(), grid.world_from_voxel, atol=3e-4)
    assert (oracle.header["sform_code"], oracle.header["qform_code"]) == (1, 1)
    assert oracle.header.get_xyzt_units()[0] == "mm"


def test_a_sheared_grid_goes_through_the_sform_alone(tmp_path, caplog):
    grid = sheared_grid()
    volumes.write(Volume(np.zeros(grid.shape, np.float32), grid, "tilted"), tmp_path / "tilted.nii.gz")
    oracle = nib.load(tmp_path / "tilted.nii.gz")
    assert (oracle.header["sform_code"], oracle.header["qform_code"]) == (1, 0)
    np.testing.assert_allclose(LPS_FROM_RAS @ oracle.affine, grid.world_from_voxel, atol=1e-4)
    with caplog.at_level(logging.WARNING):
        assert volumes.read_grid(tmp_path / "tilted.nii.gz").same_as(grid)
    assert not caplog.records


def test_the_same_volume_makes_the_same_bytes(tmp_path):
    volume = Volume(numbers().astype(np.float32), oblique_grid((6, 5, 4)), "v")
    volumes.write(volume, tmp_path / "one.nii.gz")
    volumes.write(volume, tmp_path / "two.nii.gz")
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()
