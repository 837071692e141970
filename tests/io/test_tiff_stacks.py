"""Stacks of slices in a TIFF: read where they are said to lie, refused where they do not say it."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from homolog.errors import BadInput, UnreadableFile
from homolog.io import tiff, volumes

SPACING_MM = (0.4, 0.7, 1.3)
SHAPE = (9, 6, 5)


def voxels(dtype=np.uint16):
    """(I, J, K), no two slices alike."""
    return np.random.default_rng(4).integers(0, 4000 if dtype != np.uint8 else 250, SHAPE).astype(dtype)


def by_itk(path, data, compressor="LZW"):
    image = sitk.GetImageFromArray(data.T)
    sitk.WriteImage(image, str(path), useCompression=True, imageIO="TIFFImageIO", compressor=compressor)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("compressor", ["LZW", "PackBits", "Deflate", "NoCompression"])
def test_pages_are_slices_and_rows_run_down(tmp_path, dtype, compressor):
    path = by_itk(tmp_path / "stack.tif", voxels(dtype), compressor)
    volume = volumes.read(path, spacing_mm=SPACING_MM)
    np.testing.assert_array_equal(volume.data, voxels(dtype))
    np.testing.assert_allclose(volume.grid.world_from_voxel, np.diag([*SPACING_MM, 1.0]))
    assert volume.space == "stack"


def test_labels_keep_their_numbers(tmp_path):
    path = by_itk(tmp_path / "labels.tiff", voxels(np.uint8))
    labels = volumes.read_labels(path, spacing_mm=SPACING_MM)
    assert labels.kind == "labels"
    np.testing.assert_array_equal(labels.data, voxels(np.uint8))


def test_what_is_assumed_of_its_place_is_said(tmp_path, caplog):
    volumes.read_grid(by_itk(tmp_path / "stack.tif", voxels()), spacing_mm=SPACING_MM)
    assert "does not say where it lies" in caplog.text
    assert "LPS" in caplog.text


def test_resolution_tags_are_never_taken_for_voxel_sizes(tmp_path):
    image = sitk.GetImageFromArray(voxels().T)
    image.SetSpacing((0.4, 0.4, 1.0))
    sitk.WriteImage(image, str(tmp_path / "stack.tif"))
    with pytest.raises(BadInput, match="does not say how large") as refused:
        volumes.read(tmp_path / "stack.tif")
    assert "--spacing-mm" in refused.value.hint


@pytest.mark.parametrize("spacing_mm", [(0.4, 0.4), (0.4, 0.4, 0.0), (0.4, -0.4, 1.0), (0.4, 0.4, np.nan)])
def test_a_spacing_that_cannot_be_is_refused(tmp_path, spacing_mm):
    path = by_itk(tmp_path / "stack.tif", voxels())
    with pytest.raises(BadInput, match="three positive numbers"):
        volumes.read(path, spacing_mm=spacing_mm)


def test_a_file_that_knows_its_voxels_takes_no_other_size(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(voxels().T), str(tmp_path / "ct.mha"))
    with pytest.raises(BadInput, match="says itself"):
        volumes.read(tmp_path / "ct.mha", spacing_mm=SPACING_MM)


def test_a_flat_picture_is_no_volume(tmp_path):
    tiff.write(voxels()[:, :, 0].T, tmp_path / "flat.tif")
    with pytest.raises(BadInput, match="flat picture"):
        volumes.read(tmp_path / "flat.tif", spacing_mm=SPACING_MM)


@pytest.mark.parametrize("part", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_a_stack_that_was_cut_off_is_not_read_as_a_shorter_one(tmp_path, part):
    path = by_itk(tmp_path / "stack.tif", voxels())
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(UnreadableFile):
        volumes.read(path, spacing_mm=SPACING_MM)


def test_what_is_no_tiff_is_told(tmp_path):
    (tmp_path / "stack.tif").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    with pytest.raises(UnreadableFile, match="not a TIFF"):
        volumes.read(tmp_path / "stack.tif", spacing_mm=SPACING_MM)


def test_colours_are_refused(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (4, 6, 9, 3)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "stack.tif"))
    with pytest.raises(BadInput, match="colours"):
        volumes.read(tmp_path / "stack.tif", spacing_mm=SPACING_MM)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_simpleitk_reads_what_is_written_here(tmp_path, dtype):
    data = voxels(dtype)
    tiff.write(data.T, tmp_path / "ours.tif", "a line of odd length")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "ours.tif"))), data.T)
    assert [page.description for page in tiff.pages_of(tmp_path / "ours.tif")] == ["a line of odd length"] * SHAPE[2]
