"""Synthetic DICOM for tests: small slices, oblique, with rows and columns of different spacing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset, FileDataset, FileMetaDataset, dcmread
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
# A patient lying askew: the direction along a row of the picture and the one down a column.
ROW = np.array([0.96, 0.28, 0.0])
COLUMN = np.array([-0.168, 0.576, 0.8])
NORMAL = np.cross(ROW, COLUMN)
PITCH_MM = (0.7, 1.3)  # between rows, between columns
STEP_MM = 2.5
CORNER_MM = np.array([-120.0, 35.5, -410.25])


def stored_numbers(shape: tuple[int, int, int] = (7, 5, 6), seed: int = 0) -> np.ndarray:
    """(I, J, K) uint16 within 12 bits, no two slices alike."""
    return np.random.default_rng(seed).integers(0, 4096, shape).astype(np.uint16)


def slice_of(
    pixels: np.ndarray, position_mm: Any, number: int = 1, series: str = "1.2.3.77", sop: str = CT, **tags: Any
) -> FileDataset:
    """One slice; `pixels` (I, J) as stored, `tags` over the usual ones, None to leave one out."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(sop)
    meta.MediaStorageSOPInstanceUID = UID(f"{series}.{number}")
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    usual = {
        "SOPClassUID": sop, "SOPInstanceUID": f"{series}.{number}", "SeriesInstanceUID": series,
        "StudyInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.4", "PatientID": "nobody", "InstanceNumber": number,
        "Modality": "MR" if sop == MR else "CT", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImagePositionPatient": [f"{x:.9g}" for x in position_mm],
        "ImageOrientationPatient": [f"{x:.9g}" for x in (*ROW, *COLUMN)],
        "PixelSpacing": [str(p) for p in PITCH_MM], "RescaleSlope": "1", "RescaleIntercept": "-1024",
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": pixels.shape[1],
        "Columns": pixels.shape[0], "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0,
    }  # fmt: skip
    for keyword, value in (usual | tags).items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.PixelData = np.ascontiguousarray(pixels.T).astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def positions(count: int, step_mm: Any = None) -> np.ndarray:
    """(count, 3) LPS mm: the first pixel's centre of each slice; straight up the normal unless a step is given."""
    step = STEP_MM * NORMAL if step_mm is None else np.asarray(step_mm)
    return CORNER_MM + np.arange(count)[:, None] * step


def save(dataset: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def save_series(folder: Path, stored: np.ndarray, at_mm: np.ndarray | None = None, **tags: Any) -> list[FileDataset]:
    """A slice a file, named so that the names' order is not the slices' order."""
    at_mm = positions(stored.shape[2]) if at_mm is None else at_mm
    slices = [slice_of(stored[:, :, k], at_mm[k], k + 1, **tags) for k in range(stored.shape[2])]
    for k, dataset in enumerate(slices):
        save(dataset, folder / f"IM{(7 * k + 3) % 97:02d}")
    return slices


def many_frames(stored: np.ndarray, **tags: Any) -> FileDataset:
    """An Enhanced CT: all slices in one file, each frame's place in its functional group; frames in reverse order."""
    count = stored.shape[2]
    order = list(reversed(range(count)))
    bare = dict.fromkeys(("ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"))
    dataset = slice_of(stored[:, :, 0], CORNER_MM, sop=ENHANCED_CT, **(bare | tags))
    del dataset.ImagePositionPatient
    dataset.NumberOfFrames = count
    dataset.SharedFunctionalGroupsSequence = Sequence([_shared_groups()])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([_frame_groups(positions(count)[k]) for k in order])
    dataset.PixelData = np.ascontiguousarray(stored[:, :, order].T).astype("<u2").tobytes()
    return dataset


def compressed(dataset: FileDataset, how: str) -> FileDataset:
    """The same slice with its pixels packed by GDCM: "JPEG2000" (32 pixels at least) or "JPEG", both lossless."""
    pixels = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/packed.dcm"
        image = sitk.GetImageFromArray(pixels.astype(np.uint16))
        sitk.WriteImage(image, path, useCompression=True, imageIO="GDCMImageIO", compressor=how)
        packed = dcmread(path)
        packed.PixelData  # noqa: B018 the file goes with its folder
    for keyword in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"):
        dataset[keyword] = packed[keyword]
    dataset.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
    return dataset


def _shared_groups() -> Dataset:
    shared, plane, pixel, value = Dataset(), Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient = [f"{x:.9g}" for x in (*ROW, *COLUMN)]
    pixel.PixelSpacing = [str(p) for p in PITCH_MM]
    value.RescaleSlope, value.RescaleIntercept, value.RescaleType = "1", "-1024", "HU"
    shared.PlaneOrientationSequence = Sequence([plane])
    shared.PixelMeasuresSequence = Sequence([pixel])
    shared.PixelValueTransformationSequence = Sequence([value])
    return shared


def _frame_groups(position_mm: np.ndarray) -> Dataset:
    frame, place = Dataset(), Dataset()
    place.ImagePositionPatient = [f"{x:.9g}" for x in position_mm]
    frame.PlanePositionSequence = Sequence([place])
    return frame
