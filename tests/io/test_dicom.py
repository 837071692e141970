"""A DICOM series as a volume: where it lies, what its numbers mean, and what is wrong with it."""

from __future__ import annotations

import logging
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, RLELossless

from homolog.errors import BadInput, UnreadableFile
from homolog.io import volumes

from . import dicom_files as make

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
CONTOURS = "1.2.840.10008.5.1.4.1.1.481.3"
XRAY = "1.2.840.10008.5.1.4.1.1.1.1"


@pytest.fixture
def stored() -> np.ndarray:
    return make.stored_numbers()


def header_places(slices: list) -> np.ndarray:
    """(I, J, K, 3) LPS mm by the standard's equation for a pixel's place, slice by slice (PS3.3 C.7.6.2.1.1)."""
    i, j = np.meshgrid(np.arange(slices[0].Columns), np.arange(slices[0].Rows), indexing="ij")
    places = []
    for header in slices:
        row, column = np.reshape(header.ImageOrientationPatient, (2, 3)).astype(float)
        between_rows, between_columns = header.PixelSpacing
        corner = np.array(header.ImagePositionPatient, float)
        places.append(corner + i[..., None] * row * between_columns + j[..., None] * column * between_rows)
    return np.stack(places, axis=2)


def grid_places(volume: volumes.Volume) -> np.ndarray:
    return volume.grid.world(np.stack(np.indices(volume.grid.shape), axis=-1))


def test_every_pixel_lies_where_its_own_slice_says(tmp_path: Path, stored: np.ndarray) -> None:
    slices = make.save_series(tmp_path / "scan", stored)
    volume = volumes.read(tmp_path / "scan")
    np.testing.assert_allclose(grid_places(volume), header_places(slices), atol=1e-6)
    np.testing.assert_array_equal(volume.data, stored.astype(np.float32) - 1024)
    assert volume.space == "scan"
    assert volume.numpy().flags.c_contiguous


def test_simpleitk_reads_the_same_series_to_the_same_place(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path, stored)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image, volume = reader.Execute(), volumes.read(tmp_path)
    for voxel in ((0, 0, 0), (6, 0, 1), (2, 4, 5)):
        there = image.TransformIndexToPhysicalPoint(voxel)
        np.testing.assert_allclose(volume.grid.world(np.array(voxel)), there, atol=1e-4)
        assert volume.data[voxel] == image[voxel]


def test_a_tilted_gantry_is_kept_as_shear(tmp_path: Path, stored: np.ndarray) -> None:
    table = make.STEP_MM * make.NORMAL + 0.9 * make.COLUMN
    slices = make.save_series(tmp_path, stored, make.positions(6, table))
    volume = volumes.read(tmp_path)
    np.testing.assert_allclose(grid_places(volume), header_places(slices), atol=1e-6)
    assert volume.grid.shear_degrees == pytest.approx(np.degrees(np.arctan2(0.9, make.STEP_MM)), abs=1e-4)


def test_slices_stored_feet_first_or_head_first_make_the_same_volume(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path / "up", stored)
    make.save_series(tmp_path / "down", stored[:, :, ::-1], make.positions(6)[::-1])
    up, down = volumes.read(tmp_path / "up"), volumes.read(tmp_path / "down")
    np.testing.assert_array_equal(up.data, down.data)
    assert up.grid.same_as(down.grid)


def test_slice_thickness_does_not_set_the_spacing(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path, stored, SliceThickness="5", SpacingBetweenSlices="1")
    assert volumes.read_grid(tmp_path).spacing_mm[2] == pytest.approx(make.STEP_MM, abs=1e-6)


def test_a_missing_slice_is_named_by_its_neighbours(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path, np.delete(stored, 2, axis=2), np.delete(make.positions(6), 2, axis=0))
    with pytest.raises(
        BadInput, match=r"\(instance 2\) at .* and .* \(instance 3\) at .* 5 mm apart.* 2.5 mm"
    ) as caught:
        volumes.read(tmp_path)
    assert "missing" in caught.value.hint


def test_uneven_slices_are_not_evened_out(tmp_path: Path, stored: np.ndarray) -> None:
    at = make.positions(6)
    at[3] += 0.06 * make.NORMAL
    make.save_series(tmp_path, stored, at)
    with pytest.raises(BadInput, match=r"instance 3.*instance 4.*2\.56 mm apart"):
        volumes.read_grid(tmp_path)


def test_positions_written_to_a_hundredth_of_a_millimetre_are_even(tmp_path: Path, stored: np.ndarray) -> None:
    slices = make.save_series(tmp_path, stored, np.round(make.positions(6), 2))
    np.testing.assert_allclose(grid_places(volumes.read(tmp_path)), header_places(slices), atol=0.02)


def test_slices_that_wander_sideways_are_refused(tmp_path: Path, stored: np.ndarray) -> None:
    at = make.positions(6)
    at[2:4] += 2.0 * make.ROW
    make.save_series(tmp_path, stored, at)
    with pytest.raises(BadInput, match="straight line"):
        volumes.read_grid(tmp_path)


def test_two_acquisitions_at_one_place_are_named(tmp_path: Path, stored: np.ndarray) -> None:
    for phase in (1, 2):
        slices = make.save_series(tmp_path / str(phase), stored, AcquisitionNumber=phase)
        for n, one in enumerate(slices):
            one.SOPInstanceUID = f"1.2.{phase}.{n}"
            make.save(one, tmp_path / str(phase) / f"IM{(7 * n + 3) % 97:02d}")
    with pytest.raises(BadInput, match=r"6 positions .*1/IM03 \(instance 1\) and 2/IM03.*AcquisitionNumber \(1, 2\)"):
        volumes.read_grid(tmp_path)


def test_two_slices_at_one_place_that_differ_in_nothing_are_named_too(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path, stored)
    make.save(make.slice_of(stored[:, :, 0], make.positions(6)[2], 3, SOPInstanceUID="1.2.99"), tmp_path / "AGAIN")
    with pytest.raises(BadInput, match=r"1 positions .*AGAIN \(instance 3\) and IM17 \(instance 3\) at [-\d.]+ mm\n"):
        volumes.read_grid(tmp_path)


def test_a_copied_file_is_passed_over(tmp_path: Path, stored: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    make.save_series(tmp_path, stored)
    (tmp_path / "backup").mkdir()
    shutil.copy(tmp_path / "IM03", tmp_path / "backup" / "IM03")
    assert volumes.read(tmp_path).grid.shape == stored.shape
    assert "backup/IM03 is a copy of IM03" in caplog.text


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ({"ImageOrientationPatient": [*make.COLUMN, *make.ROW]}, "orientation"),
        ({"PixelSpacing": ["0.7", "0.7"]}, "pixel spacing"),
        ({"Rows": 7, "Columns": 5}, "size"),
    ],
)
def test_an_odd_slice_is_named(tmp_path: Path, stored: np.ndarray, tags: dict, named: str) -> None:
    make.save_series(tmp_path, stored)
    make.save(make.slice_of(stored[:, :, 2], make.positions(6)[2], 3, **tags), tmp_path / "IM17")
    with pytest.raises(BadInput, match=rf"1 of 6 slices have another {named}.*IM17 \(instance 3\)"):
        volumes.read_grid(tmp_path)


def test_a_slice_without_a_position_is_not_left_out_in_silence(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path, stored)
    make.save(make.slice_of(stored[:, :, 5], make.CORNER_MM, 6, ImagePositionPatient=None), tmp_path / "IM38")
    with pytest.raises(BadInput, match=r"IM38 \(instance 6\) is a picture without ImagePositionPatient"):
        volumes.read_grid(tmp_path)


def test_of_two_series_the_larger_is_read_and_both_are_told(
    tmp_path: Path, stored: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    make.save_series(tmp_path / "thin", stored, SeriesDescription="thin")
    make.save_series(tmp_path / "thick", stored[:, :, :2] // 2, series="1.2.3.88", SeriesDescription="thick")
    with caplog.at_level(logging.WARNING):
        assert volumes.read(tmp_path).grid.shape == stored.shape
    assert "1.2.3.77  CT  6 slices  thin" in caplog.text
    assert "1.2.3.88  CT  2 slices  thick" in caplog.text
    np.testing.assert_array_equal(volumes.read(tmp_path, series="88").data, stored[:, :, :2] // 2 - 1024.0)
    with pytest.raises(BadInput, match=r"no series end in '99'; there are\n.*1\.2\.3\.77"):
        volumes.read(tmp_path, series="99")
    with pytest.raises(BadInput, match="no series"):
        volumes.read(tmp_path, series="1.2.3")


def test_the_listing_tells_what_lies_in_a_folder(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path / "a", stored[:, :, :2], series="1.2.3.88")
    make.save_series(tmp_path / "b", stored, SeriesDescription="portal venous")
    make.save(
        make.slice_of(stored[:, :, 0], make.CORNER_MM, series="1.9", sop=CONTOURS, Rows=None), tmp_path / "rt.dcm"
    )
    first, second, third = volumes.series_in(tmp_path)
    assert (first.uid, first.description, first.modality) == ("1.2.3.77", "portal venous", "CT")
    assert (first.slices, first.shape, second.slices, third.slices) == (6, (7, 5, 6), 2, 0)


def test_a_localiser_does_not_join_the_volume(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path, stored)
    scout = make.slice_of(stored[:, :, 0], make.CORNER_MM + 300, 99, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    make.save(scout, tmp_path / "SCOUT")
    assert volumes.read(tmp_path).grid.shape == stored.shape


def test_a_zip_gives_what_its_folder_gives(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path / "scan", stored)
    with zipfile.ZipFile(tmp_path / "patient 7.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("read me.txt", "exported by a viewer")
        for file in (tmp_path / "scan").iterdir():
            archive.write(file, f"study/series/{file.name}")
    folder, packed = volumes.read(tmp_path / "scan"), volumes.read(tmp_path / "patient 7.zip")
    np.testing.assert_array_equal(folder.data, packed.data)
    assert folder.grid.same_as(packed.grid)
    assert packed.space == "patient 7"


def test_a_damaged_zip_is_told(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path / "scan", stored)
    with zipfile.ZipFile(tmp_path / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((tmp_path / "scan").iterdir()):
            archive.write(file, file.name)
    whole = bytearray((tmp_path / "scan.zip").read_bytes())
    whole[400:420] = bytes(20)
    (tmp_path / "hurt.zip").write_bytes(whole)
    with pytest.raises(UnreadableFile, match="hurt"):
        volumes.read(tmp_path / "hurt.zip")
    (tmp_path / "cut.zip").write_bytes(whole[:3000])
    with pytest.raises(BadInput, match="cut"):
        volumes.read(tmp_path / "cut.zip")


def test_other_files_beside_the_slices_do_not_matter(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path / "CT" / "deep", stored)
    (tmp_path / "notes.txt").write_text("a patient")
    (tmp_path / "empty").touch()
    directory = make.slice_of(stored[:, :, 0], make.CORNER_MM, sop="1.2.840.10008.1.3.10")
    make.save(directory, tmp_path / "DICOMDIR")
    assert volumes.read(tmp_path).grid.shape == stored.shape


def test_slices_without_the_preamble_are_found(tmp_path: Path, stored: np.ndarray) -> None:
    for file, one in enumerate(make.save_series(tmp_path / "scan", stored)):
        path = tmp_path / "scan" / f"IM{(7 * file + 3) % 97:02d}"
        path.write_bytes(path.read_bytes()[132:])
        assert one.Rows == 5
    np.testing.assert_array_equal(volumes.read(tmp_path / "scan").data, stored - 1024.0)


def test_a_folder_without_dicom_points_to_the_volume_in_it(tmp_path: Path) -> None:
    (tmp_path / "ct.nii.gz").write_bytes(b"x")
    with pytest.raises(BadInput, match="no DICOM") as caught:
        volumes.read(tmp_path)
    assert "ct.nii.gz" in caught.value.hint


def test_a_file_that_only_calls_itself_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ct.dcm").write_bytes(b"<html>Not found</html>" * 40)
    with pytest.raises(UnreadableFile, match=r"ct\.dcm is not DICOM"):
        volumes.read(tmp_path / "ct.dcm")


def test_one_slice_asks_for_its_folder(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path, stored)
    with pytest.raises(BadInput, match="single slice") as caught:
        volumes.read(tmp_path / "IM03")
    assert str(tmp_path) in caught.value.hint


def test_slope_and_intercept_are_each_slices_own(tmp_path: Path, stored: np.ndarray) -> None:
    for k in range(6):
        one = make.slice_of(
            stored[:, :, k], make.positions(6)[k], k + 1, RescaleSlope=str(1 + k / 4), RescaleIntercept=str(-k)
        )
        make.save(one, tmp_path / f"{k}.dcm")
    wanted = stored * (1 + np.arange(6) / 4) - np.arange(6)
    np.testing.assert_array_equal(volumes.read(tmp_path).data, wanted.astype(np.float32))


@pytest.mark.parametrize("tag", ["RescaleIntercept", "RescaleSlope"])
def test_a_ct_without_hounsfield_units_is_refused(tmp_path: Path, stored: np.ndarray, tag: str) -> None:
    make.save_series(tmp_path, stored, **{tag: None})
    with pytest.raises(BadInput, match=f"un-rescaled CT.*{tag}"):
        volumes.read(tmp_path)
    assert volumes.read_grid(tmp_path).shape == stored.shape


def test_an_mr_needs_no_slope(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path, stored, sop=make.MR, RescaleSlope=None, RescaleIntercept=None)
    np.testing.assert_array_equal(volumes.read(tmp_path).data, stored)


def test_padding_below_air_becomes_air(tmp_path: Path, stored: np.ndarray) -> None:
    signed = stored.astype(np.int16)
    signed[0, :, :] = -2000
    make.save_series(tmp_path, signed, PixelRepresentation=1, BitsStored=16, HighBit=15, PixelPaddingValue=-2000)
    data = volumes.read(tmp_path).data
    assert (data[0] == -1024).all()
    np.testing.assert_array_equal(data[1:], signed[1:] - 1024.0)


def test_a_padding_value_that_tissue_has_too_changes_nothing(tmp_path: Path, stored: np.ndarray) -> None:
    stored[1] = 1024
    make.save_series(tmp_path, stored, PixelPaddingValue=1024)
    np.testing.assert_array_equal(volumes.read(tmp_path).data, stored - 1024.0)


@pytest.mark.parametrize("high_bit", [11, 13])
def test_only_the_stored_bits_count_and_their_sign(tmp_path: Path, high_bit: int) -> None:
    numbers = np.random.default_rng(2).integers(-2048, 2048, (7, 5, 6))
    shift = high_bit - 11
    rubbish = 0xFFFF & ~(0xFFF << shift) & 0xA003
    stored = (((numbers & 0xFFF) << shift) | rubbish).astype(np.uint16)
    make.save_series(tmp_path, stored, PixelRepresentation=1, HighBit=high_bit, RescaleIntercept="0")
    np.testing.assert_array_equal(volumes.read(tmp_path).data, numbers)


def test_showing_a_ct_white_on_black_does_not_change_its_hounsfield_units(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path, stored, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(volumes.read(tmp_path).data, stored - 1024.0)


def test_an_mr_that_shows_low_numbers_bright_is_turned_round(tmp_path: Path, stored: np.ndarray) -> None:
    tags = {"RescaleIntercept": None, "RescaleSlope": None, "PhotometricInterpretation": "MONOCHROME1"}
    make.save_series(tmp_path, stored, sop=make.MR, **tags)
    np.testing.assert_array_equal(volumes.read(tmp_path).data, 4095.0 - stored)


@pytest.mark.parametrize("how", ["JPEG2000", "JPEG", "RLE"])
def test_compressed_slices_hold_the_same_numbers(tmp_path: Path, how: str, capfd: pytest.CaptureFixture) -> None:
    stored = make.stored_numbers((40, 33, 3))
    for k, one in enumerate(make.save_series(tmp_path, stored)):
        if how == "RLE":
            one.compress(RLELossless)
        else:
            make.compressed(one, how)
        assert one.file_meta.TransferSyntaxUID.is_encapsulated
        make.save(one, tmp_path / f"IM{(7 * k + 3) % 97:02d}")
    np.testing.assert_array_equal(volumes.read(tmp_path).data, stored - 1024.0)
    assert capfd.readouterr() == ("", "")


def test_pixels_nobody_can_decode_name_their_packing(tmp_path: Path) -> None:
    for k, one in enumerate(make.save_series(tmp_path, make.stored_numbers((40, 33, 2)))):
        make.compressed(one, "JPEG2000").file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.102")
        make.save(one, tmp_path / f"IM{(7 * k + 3) % 97:02d}")
    with pytest.raises(UnreadableFile, match=r"compressed as MPEG-4 .*1\.2\.840\.10008\.1\.2\.4\.102"):
        volumes.read(tmp_path)


def test_a_slice_cut_off_is_named_and_not_filled_with_zeros(tmp_path: Path) -> None:
    make.save_series(tmp_path, make.stored_numbers((40, 33, 3)))
    whole = (tmp_path / "IM10").read_bytes()
    (tmp_path / "IM10").write_bytes(whole[:-500])
    with pytest.raises(UnreadableFile, match="IM10"):
        volumes.read(tmp_path)


@pytest.mark.parametrize("how", ["JPEG2000", "JPEG"])
def test_a_compressed_slice_cut_off_is_named(tmp_path: Path, how: str) -> None:
    for k, one in enumerate(make.save_series(tmp_path, make.stored_numbers((40, 33, 3)))):
        make.compressed(one, how)
        if k == 1:
            one.PixelData = encapsulate([next(generate_frames(one.PixelData, number_of_frames=1))[:900]])
        make.save(one, tmp_path / f"IM{(7 * k + 3) % 97:02d}")
    with pytest.raises(UnreadableFile, match="IM10"):
        volumes.read(tmp_path)


@pytest.mark.parametrize(
    ("sop", "tags", "called"),
    [
        (CONTOURS, {"Rows": None, "Modality": "RTSTRUCT"}, "radiotherapy contours"),
        (SEGMENTATION, {"Modality": "SEG"}, "a segmentation"),
        (XRAY, {"Modality": "DX", "ImagePositionPatient": None}, "an X-ray picture"),
        ("1.2.840.10008.5.1.4.1.1.7", {"Modality": "OT", "PixelSpacing": None}, "a picture without PixelSpacing"),
    ],
)
def test_what_is_no_volume_is_called_by_its_name(
    tmp_path: Path, stored: np.ndarray, sop: str, tags: dict, called: str
) -> None:
    make.save(make.slice_of(stored[:, :, 0], make.CORNER_MM, sop=sop, **tags), tmp_path / "it.dcm")
    for given in (tmp_path / "it.dcm", tmp_path):
        with pytest.raises(BadInput, match=called):
            volumes.read(given)


def test_contours_beside_a_ct_are_passed_over_without_a_word(
    tmp_path: Path, stored: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    make.save_series(tmp_path, stored)
    make.save(
        make.slice_of(stored[:, :, 0], make.CORNER_MM, series="1.9", sop=CONTOURS, Rows=None), tmp_path / "rt.dcm"
    )
    assert volumes.read(tmp_path).grid.shape == stored.shape
    assert not caplog.records


def test_a_file_of_many_frames_is_a_volume(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path / "slices", stored)
    make.save(make.many_frames(stored), tmp_path / "enhanced.dcm")
    slices, frames = volumes.read(tmp_path / "slices"), volumes.read(tmp_path / "enhanced.dcm")
    np.testing.assert_array_equal(frames.data, slices.data)
    assert frames.grid.same_as(slices.grid)


def test_colour_slices_are_refused(tmp_path: Path, stored: np.ndarray) -> None:
    make.save_series(tmp_path, stored, SamplesPerPixel=3, PhotometricInterpretation="RGB")
    with pytest.raises(BadInput, match="colour"):
        volumes.read(tmp_path)


def test_the_grid_is_read_without_the_pixels(tmp_path: Path, stored: np.ndarray) -> None:
    for k, one in enumerate(make.save_series(tmp_path, stored)):
        del one.PixelData
        make.save(one, tmp_path / f"IM{(7 * k + 3) % 97:02d}")
    assert volumes.read_grid(tmp_path).shape == stored.shape
    with pytest.raises(UnreadableFile, match="no PixelData"):
        volumes.read(tmp_path)
