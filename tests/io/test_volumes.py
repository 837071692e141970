"""Volumes through every format: SimpleITK reads the same file to the same place, and nothing half-written is left."""

from __future__ import annotations

import subprocess
import sys
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from homolog.errors import BadInput, GridMismatch, UnreadableFile, UnwritableFile
from homolog.io import checks, volumes
from homolog.space.volume import Volume
from tests.geometry import blob, centroid_mm, oblique_grid, sheared_grid

WRITABLE = [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"]
ITK = [".nrrd", ".mha", ".mhd"]


@pytest.fixture
def volume():
    grid = oblique_grid()
    data = np.random.default_rng(5).normal(0, 500, grid.shape).astype(np.float32)
    return Volume(data, grid, "patient")


def labels(dtype=np.uint8, high=117):
    grid = oblique_grid()
    return Volume(np.random.default_rng(6).integers(0, high, grid.shape).astype(dtype), grid, "patient", "labels")


@pytest.mark.parametrize("suffix", WRITABLE)
def test_what_is_written_is_read_back(tmp_path, volume, suffix):
    volumes.write(volume, tmp_path / f"ct{suffix}")
    back = volumes.read(tmp_path / f"ct{suffix}")
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_allclose(back.grid.corners(), volume.grid.corners(), atol=1e-4)
    assert volumes.read_grid(tmp_path / f"ct{suffix}").same_as(volume.grid)
    assert back.data.flags.c_contiguous
    assert back.space == "ct"
    assert volumes.read(tmp_path / f"ct{suffix}", space="patient").space == "patient"


@pytest.mark.parametrize("suffix", WRITABLE)
def test_simpleitk_reads_it_to_the_same_place(tmp_path, volume, suffix):
    volumes.write(volume, tmp_path / f"ct{suffix}")
    image = sitk.ReadImage(str(tmp_path / f"ct{suffix}"))
    assert image.GetSize() == volume.grid.shape
    np.testing.assert_allclose(image.GetSpacing(), volume.grid.spacing_mm, atol=1e-5)
    np.testing.assert_allclose(image.GetOrigin(), volume.grid.origin_mm, atol=1e-4)
    np.testing.assert_allclose(np.reshape(image.GetDirection(), (3, 3)), volume.grid.axes, atol=1e-6)
    for voxel in ((0, 0, 0), (16, 1, 2), (3, 13, 11)):
        there = image.TransformIndexToPhysicalPoint(voxel)
        np.testing.assert_allclose(there, volume.grid.world(np.array(voxel)), atol=1e-4)
        assert image[voxel] == volume.data[voxel]


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("pixel", [sitk.sitkInt16, sitk.sitkUInt8, sitk.sitkFloat32, sitk.sitkFloat64, sitk.sitkInt64])
def test_what_simpleitk_writes_is_read_to_the_same_place(tmp_path, suffix, packed, pixel):
    grid = oblique_grid()
    numbers = np.random.default_rng(7).integers(0, 200, grid.shape[::-1]).astype(np.float64)
    image = sitk.Cast(sitk.GetImageFromArray(numbers), pixel)
    image.SetSpacing(grid.spacing_mm.tolist())
    image.SetOrigin(grid.origin_mm.tolist())
    image.SetDirection(grid.axes.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / f"ct{suffix}"), useCompression=packed)
    volume = volumes.read(tmp_path / f"ct{suffix}")
    np.testing.assert_array_equal(volume.data, numbers.T)
    np.testing.assert_allclose(volume.grid.corners(), grid.corners(), atol=1e-4)


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize(("dtype", "high"), [(np.uint8, 256), (np.int16, 30000), (np.int32, 2**31 - 1)])
def test_labels_keep_their_numbers_and_their_type(tmp_path, suffix, dtype, high):
    written = labels(dtype, high)
    written.data[0, 0, 0] = high - 1
    volumes.write(written, tmp_path / f"organs{suffix}")
    back = volumes.read_labels(tmp_path / f"organs{suffix}")
    np.testing.assert_array_equal(back.data, written.data)
    assert (back.data.dtype, back.kind) == (dtype, "labels")
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"organs{suffix}"))).dtype == dtype


@pytest.mark.parametrize(("stored", "smallest"), [("float64", np.uint8), ("int64", np.uint8), ("uint16", np.int16)])
def test_labels_are_read_in_the_smallest_type_that_holds_them(tmp_path, stored, smallest):
    data = np.arange(60).reshape(3, 4, 5) % 7
    data[0, 0, 0] = 300 if smallest == np.int16 else 0
    sitk.WriteImage(sitk.GetImageFromArray(data.astype(stored)), str(tmp_path / "organs.mha"))
    back = volumes.read_labels(tmp_path / "organs.mha")
    np.testing.assert_array_equal(back.data, data.T)
    assert back.data.dtype == smallest


@pytest.mark.parametrize("fraction", [0.5, np.nan, 1e12])
def test_labels_with_fractions_are_refused_with_the_fraction(tmp_path, volume, fraction):
    data = np.ones(volume.grid.shape, np.float32)
    data[3, 2, 1] = fraction
    volumes.write(volume.with_data(data), tmp_path / "organs.nii.gz")
    with pytest.raises(BadInput, match=rf"organs\.nii\.gz holds {fraction:.6g}".replace("+", r"\+")):
        volumes.read_labels(tmp_path / "organs.nii.gz")


def test_labels_can_be_written_smaller_if_they_fit(tmp_path):
    volumes.write(labels(np.int32), tmp_path / "organs.nrrd", dtype="uint8")
    assert sitk.ReadImage(str(tmp_path / "organs.nrrd")).GetPixelID() == sitk.sitkUInt8
    with pytest.raises(BadInput, match="0 to 299 do not fit in uint8"):
        volumes.write(labels(np.int32, 300), tmp_path / "more.nrrd", dtype="uint8")
    with pytest.raises(BadInput, match="'float16' cannot be written"):
        volumes.write(labels(), tmp_path / "more.nrrd", dtype="float16")


@pytest.mark.parametrize("suffix", WRITABLE)
def test_int16_rounds_and_refuses_what_does_not_fit(tmp_path, volume, suffix):
    volumes.write(volume, tmp_path / f"ct{suffix}", dtype="int16")
    np.testing.assert_array_equal(volumes.read(tmp_path / f"ct{suffix}").data, np.rint(volume.data))
    assert sitk.ReadImage(str(tmp_path / f"ct{suffix}")).GetPixelID() == sitk.sitkInt16
    for worse in (40000, np.nan):
        with pytest.raises(BadInput, match="int16"):
            volumes.write(volume.with_data(volume.data + np.float32(worse)), tmp_path / f"no{suffix}", dtype="int16")
    assert not (tmp_path / f"no{suffix}").exists()


def test_a_tensor_is_written_as_its_array(tmp_path, volume):
    import torch

    volumes.write(volume.with_data(torch.from_numpy(volume.data)), tmp_path / "ct.mha")
    np.testing.assert_array_equal(volumes.read(tmp_path / "ct.mha").data, volume.data)


@pytest.mark.parametrize(("name", "meant"), [("ct.nii.gx", "ct.nii.gz"), ("ct.nrd", "ct.nrrd"), ("ct", "ct.nii.gz")])
def test_an_unknown_ending_is_corrected(tmp_path, volume, name, meant):
    with pytest.raises(BadInput, match=r"only as \.nii\.gz, \.nii, \.nrrd, \.mha, \.mhd") as caught:
        volumes.write(volume, tmp_path / name)
    assert meant in caught.value.hint


def test_an_unreadable_ending_lists_what_can_be_read(tmp_path):
    (tmp_path / "ct.txt").write_text("hello")
    with pytest.raises(UnreadableFile, match=r"\.nrrd.*DICOM"):
        volumes.read(tmp_path / "ct.txt")
    with pytest.raises(UnreadableFile) as caught:
        volumes.read(tmp_path / "ct.text")
    assert "ct.txt" in caught.value.hint


def test_a_volume_under_a_strange_name_is_recognised_by_its_bytes(tmp_path, volume):
    volumes.write(volume, tmp_path / "ct.nrrd")
    (tmp_path / "ct.nrrd").rename(tmp_path / "ct.dat")
    with pytest.raises(UnreadableFile) as caught:
        volumes.read(tmp_path / "ct.dat")
    assert "rename it to ct.nrrd" in caught.value.hint


@pytest.mark.parametrize("suffix", ITK)
def test_shear_is_not_lost_in_files_that_cannot_say_it(tmp_path, suffix):
    grid = sheared_grid()
    centre = grid.world(np.array(grid.shape) / 2)
    tilted = blob(grid, centre, 4.0)
    with pytest.raises(GridMismatch, match=r"21\.9 degrees") as caught:
        volumes.write(tilted, tmp_path / f"ct{suffix}")
    assert "ct.nii.gz" in caught.value.hint
    volumes.write(tilted, tmp_path / f"ct{suffix}", resample_shear=True, outside=0.0)
    back = volumes.read(tmp_path / f"ct{suffix}")
    assert back.grid.shear_degrees < 1e-6
    assert back.grid.contains(grid.corners(0.0)).all()
    np.testing.assert_allclose(centroid_mm(back), centroid_mm(tilted), atol=0.1)


def test_straightening_asks_what_lies_outside(tmp_path):
    grid = sheared_grid()
    with pytest.raises(BadInput, match="voxels around") as caught:
        volumes.write(Volume(np.zeros(grid.shape, np.float32), grid, "x"), tmp_path / "x.nrrd", resample_shear=True)
    assert "outside=-1000.0" in caught.value.hint


# 2 kB is room for every header and for no volume
FULL_DISK = """
import resource, sys
import numpy as np
from pathlib import Path
from homolog.errors import UnwritableFile
from homolog.io import volumes
from homolog.space.volume import Volume
from tests.geometry import oblique_grid
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
grid = oblique_grid()
volume = Volume(np.random.default_rng(0).normal(size=grid.shape).astype(np.float32), grid, "v")
for suffix in {suffixes}:
    try:
        volumes.write(volume, Path({folder!r}) / f"ct{{suffix}}")
    except UnwritableFile as error:
        assert "no room" in error.message, error
    else:
        sys.exit(f"{{suffix}} was written without room")
"""


def test_a_full_disk_is_told_and_leaves_nothing_behind(tmp_path, pytestconfig):
    script = FULL_DISK.format(suffixes=WRITABLE, folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=pytestconfig.rootpath)
    assert done.returncode == 0, done.stderr + done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", WRITABLE)
def test_an_older_file_stays_whole_until_the_new_one_is(tmp_path, volume, suffix):
    volumes.write(volume, tmp_path / f"ct{suffix}")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    class Broken(np.ndarray):
        def transpose(self, *axes):
            raise OSError(28, "No space left on device")

    with pytest.raises(UnwritableFile):
        volumes.write(volume.with_data(volume.data.view(Broken)), tmp_path / f"ct{suffix}")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("keep", [0.3, 0.8, 0.995])
def test_a_cut_off_file_is_refused_without_a_word_from_itk(tmp_path, capfd, suffix, packed, keep):
    image = sitk.GetImageFromArray(np.random.default_rng(8).integers(0, 4000, (9, 30, 40)).astype(np.int16))
    path = tmp_path / f"ct{suffix}"
    sitk.WriteImage(image, str(path), useCompression=packed)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(UnreadableFile, match=rf"ct{suffix} is .*cut off"):
        volumes.read(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_damage_inside_a_compressed_stream_is_found(tmp_path, volume, suffix):
    volumes.write(volume, tmp_path / f"ct{suffix}")
    raw = bytearray((tmp_path / f"ct{suffix}").read_bytes())
    for place in (len(raw) // 2, -3):
        hurt = raw.copy()
        hurt[place] ^= 0xFF
        (tmp_path / f"ct{suffix}").write_bytes(hurt)
        with pytest.raises(UnreadableFile, match="damaged"):
            volumes.read(tmp_path / f"ct{suffix}")


def test_a_compressed_metaimage_of_too_few_voxels_is_found(tmp_path, volume):
    volumes.write(volume, tmp_path / "ct.mhd")
    half = zlib.compress(volume.data.tobytes()[: volume.data.nbytes // 2])
    (tmp_path / "ct.zraw").write_bytes(half)
    with pytest.raises(UnreadableFile, match="cut off"):
        volumes.read(tmp_path / "ct.mhd")


def test_an_mhd_without_its_voxels_names_them(tmp_path, volume, capfd):
    volumes.write(volume, tmp_path / "ct.mhd")
    (tmp_path / "ct.zraw").unlink()
    with pytest.raises(UnreadableFile, match=r"ct\.zraw: no such file"):
        volumes.read(tmp_path / "ct.mhd")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
def test_what_only_calls_itself_so_is_refused_quietly(tmp_path, capfd, suffix):
    (tmp_path / f"ct{suffix}").write_bytes(b"<html>Not found</html>\n" * 99)
    with pytest.raises(UnreadableFile, match="is not a"):
        volumes.read(tmp_path / f"ct{suffix}")
    assert capfd.readouterr() == ("", "")


def nrrd(path, space, directions="(1,0.2,0) (-0.4,2,0) (0,0,3)", more=""):
    """A small file in the space named; its axes are perpendicular and oblique."""
    head = f"NRRD0005\ntype: short\ndimension: 3\n{space}\nsizes: 6 5 4\nspace directions: {directions}\n{more}"
    head += "kinds: domain domain domain\nendian: little\nencoding: raw\nspace origin: (10,20,30)\n\n"
    path.write_bytes(head.encode() + np.arange(120, dtype="<i2").tobytes())
    return path


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (1, 1, 1)),
        ("LPS", (1, 1, 1)),
        ("right-anterior-superior", (-1, -1, 1)),
        ("RAS", (-1, -1, 1)),
        ("left-anterior-superior", (1, -1, 1)),
    ],
)
def test_an_nrrd_in_another_anatomical_frame_is_turned(tmp_path, caplog, space, signs):
    volume = volumes.read(nrrd(tmp_path / "ct.nrrd", f"space: {space}"))
    wanted = np.array(signs) * (np.array([10, 20, 30]) + 2 * np.array([-0.4, 2, 0]) + 3 * np.array([0, 0, 3]))
    np.testing.assert_allclose(volume.grid.world(np.array([0, 2, 3])), wanted)
    assert volume.data[1, 2, 3] == 1 + 2 * 6 + 3 * 30
    assert not caplog.records


@pytest.mark.parametrize("space", ["space dimension: 3", "space: scanner-xyz", "space: 3D-left-handed"])
def test_an_nrrd_that_names_no_anatomical_frame_is_told(tmp_path, caplog, space):
    grid = volumes.read_grid(nrrd(tmp_path / "ct.nrrd", space))
    np.testing.assert_allclose(grid.origin_mm, (10, 20, 30))
    assert "does not say how it lies in the patient" in caplog.text


def test_shear_in_an_nrrd_is_kept(tmp_path):
    grid = volumes.read_grid(nrrd(tmp_path / "ct.nrrd", "space: LPS", "(1,0,0) (0.5,2,0) (0,0,3)"))
    np.testing.assert_allclose(grid.world(np.array([0, 2, 0])), (11, 24, 30))


def test_an_nrrd_in_centimetres_becomes_millimetres(tmp_path):
    grid = volumes.read_grid(nrrd(tmp_path / "ct.nrrd", "space: LPS", more='space units: "cm" "cm" "cm"\n'))
    np.testing.assert_allclose(grid.origin_mm, (100, 200, 300))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (sitk.Image((6, 5, 4), sitk.sitkVectorFloat32, 3), "3 numbers a voxel"),
        (sitk.Image((6, 5, 4), sitk.sitkVectorUInt8, 3), "3 numbers a voxel"),
        (sitk.Image((6, 5, 4, 2), sitk.sitkInt16), "6x5x4x2 numbers: 2 volumes"),
        (sitk.Image((6, 5), sitk.sitkInt16), r"flat picture \(6x5\)"),
    ],
)
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_what_is_no_volume_is_refused_by_its_shape(tmp_path, image, message, suffix):
    sitk.WriteImage(image, str(tmp_path / f"it{suffix}"))
    with pytest.raises(BadInput, match=message):
        volumes.read(tmp_path / f"it{suffix}")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_fourth_axis_of_one_is_dropped(tmp_path, suffix):
    data = np.arange(120, dtype=np.int16).reshape(1, 4, 5, 6)
    image = sitk.JoinSeries([sitk.GetImageFromArray(data[0])])
    sitk.WriteImage(image, str(tmp_path / f"ct{suffix}"))
    np.testing.assert_array_equal(volumes.read(tmp_path / f"ct{suffix}").data, data[0].T)


def test_voxels_written_as_text_or_in_another_file_are_read(tmp_path, caplog):
    image = sitk.GetImageFromArray(np.arange(120, dtype=np.int16).reshape(4, 5, 6))
    sitk.WriteImage(image, str(tmp_path / "ct.nhdr"))
    np.testing.assert_array_equal(volumes.read(tmp_path / "ct.nhdr").data, np.arange(120).reshape(4, 5, 6).T)
    text = "ObjectType = Image\nNDims = 3\nBinaryData = False\nDimSize = 3 2 2\nElementType = MET_SHORT\n"
    (tmp_path / "ct.mha").write_text(text + "ElementDataFile = LOCAL\n" + " ".join(map(str, range(12))) + "\n")
    np.testing.assert_array_equal(volumes.read(tmp_path / "ct.mha").data, np.arange(12).reshape(2, 2, 3).T)


def test_a_series_is_asked_of_dicom_only(tmp_path, volume):
    volumes.write(volume, tmp_path / "ct.mha")
    with pytest.raises(BadInput, match="not DICOM"):
        volumes.read(tmp_path / "ct.mha", series="1.2")


def test_reading_a_volume_holds_it_once_in_memory(tmp_path):
    import tracemalloc

    image = sitk.GetImageFromArray(np.zeros((128, 128, 128), np.int16))
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        sitk.WriteImage(image, str(tmp_path / f"ct{suffix}"), useCompression=True)
        tracemalloc.start()
        volume = volumes.read(tmp_path / f"ct{suffix}")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1.5 * volume.data.nbytes


def test_voxels_that_are_not_numbers_are_counted_and_placed(volume):
    checks.require_finite(volume, "ct.nii.gz")
    broken = volume.data.copy()
    broken[2, 3, 4], broken[5, 0, 0] = np.nan, np.inf
    with pytest.raises(BadInput, match=r"ct\.nii\.gz: 2 of 2856 voxels .* voxel \(2, 3, 4\), is nan") as caught:
        checks.require_finite(volume.with_data(broken), "ct.nii.gz")
    assert "--replace-nan" in caught.value.hint


def test_a_constant_volume_is_refused(volume):
    checks.require_contrast(volume, "ct")
    with pytest.raises(BadInput, match=r"ct is the same everywhere \(-1024\)"):
        checks.require_contrast(volume.with_data(np.full_like(volume.data, -1024)), "ct")


def body(air, fat, muscle, bone, noise=12.0):
    """A slab of air around fat around muscle around bone, noisy as a scan."""
    grid = oblique_grid((40, 36, 20))
    distance = np.linalg.norm(grid.points() - grid.world(np.array([20, 18, 10])), axis=1).reshape(grid.shape)
    tissue = np.select([distance < 6, distance < 16, distance < 22], [bone, muscle, fat], air).astype(np.float32)
    return Volume(np.rint(tissue + noise * np.random.default_rng(9).normal(size=grid.shape)), grid, "scan")


def test_a_ct_without_its_intercept_is_noticed():
    hounsfield = body(-1000, -100, 50, 600)
    assert not checks.looks_unrescaled(hounsfield)
    assert checks.looks_unrescaled(hounsfield.with_data(np.clip(hounsfield.data + 1024, 0, 4095)))


def test_mr_and_labels_are_not_taken_for_a_ct():
    assert not checks.looks_unrescaled(body(20, 900, 350, 60))
    assert not checks.looks_unrescaled(body(10, 1500, 1000, 1250, noise=90))
    assert not checks.looks_unrescaled(body(0, 1003, 1030, 2035, noise=0))
    assert not checks.looks_unrescaled(labels())
