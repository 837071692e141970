"""Synthetic X-ray files for tests: headers of C-arms, radiographs and RT Images around a picture without symmetry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, FileDataset
from pydicom.sequence import Sequence

from tests.io.dicom_files import save, slice_of

XA = "1.2.840.10008.5.1.4.1.1.12.1"
ENHANCED_XA = "1.2.840.10008.5.1.4.1.1.12.1.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
RT_IMAGE = "1.2.840.10008.5.1.4.1.1.481.1"
SIZE = (60, 80)
PITCH_MM = (0.7, 0.4)
# What slices have and X-rays do not.
NO_SLICE = dict.fromkeys(
    ("ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "PixelSpacing")
)


def body(size: tuple[int, int] = SIZE) -> np.ndarray:
    """(rows, columns) float64 line integrals: an oval body with a bone off its middle, and air around it."""
    row, column = np.mgrid[: size[0], : size[1]]
    down, across = (row / size[0] - 0.52) / 0.38, (column / size[1] - 0.47) / 0.33
    flesh = 3.0 * np.sqrt(np.clip(1 - down**2 - across**2, 0, None))
    bone = 1.2 * np.exp(-(((down - 0.3) / 0.15) ** 2) - ((across + 0.35) / 0.4) ** 2)
    return np.where(flesh > 0, flesh + bone, 0.0)


def counts(size: tuple[int, int] = SIZE, beam: float = 4000.0) -> np.ndarray:
    """(rows, columns) uint16: what a detector counts behind the body."""
    return np.rint(beam * np.exp(-body(size))).astype(np.uint16)


def xray_header(stored: np.ndarray, sop: str = XA, modality: str = "XA", **tags: Any) -> FileDataset:
    """An X-ray's file; `stored` (rows, columns), or (frames, rows, columns)."""
    first = stored if stored.ndim == 2 else stored[0]
    dataset = slice_of(first.T, (0, 0, 0), sop=sop, **(NO_SLICE | {"Modality": modality} | tags))
    dataset.BitsStored, dataset.HighBit = 16, 15
    if stored.ndim == 3:
        dataset.NumberOfFrames = len(stored)
        dataset.PixelData = stored.astype("<u2").tobytes()
    return dataset


def carm(stored: np.ndarray, **tags: Any) -> FileDataset:
    """A C-arm's picture, kept as seen from the detector: the patient's left on the picture's right."""
    usual = {
        "DistanceSourceToDetector": "1200", "DistanceSourceToPatient": "780", "PositionerPrimaryAngle": "-25",
        "PositionerSecondaryAngle": "10", "PatientOrientation": ["LA", "FA"],
        "ImagerPixelSpacing": [str(pitch) for pitch in PITCH_MM], "PixelIntensityRelationship": "LIN",
    }  # fmt: skip
    return xray_header(stored, **(usual | tags))


def enhanced_carm(stored: np.ndarray, primary_degrees: Any) -> FileDataset:
    """An Enhanced XA of many frames: angles in each frame's functional group, distances in the shared one."""
    bare = {"DistanceSourceToPatient": None, "PositionerPrimaryAngle": None, "PositionerSecondaryAngle": None}
    dataset = carm(
        stored, **bare, DistanceSourceToDetector=None, ImagerPixelSpacing=None, PixelIntensityRelationship=None
    )
    for keyword in ("DistanceSourceToPatient", "PositionerPrimaryAngle", "PositionerSecondaryAngle"):
        assert keyword not in dataset
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = ENHANCED_XA
    shared, geometry, pixels = Dataset(), Dataset(), Dataset()
    geometry.DistanceSourceToDetector, geometry.DistanceSourceToIsocenter = "1200", 780.0
    pixels.ImagerPixelSpacing = [str(pitch) for pitch in PITCH_MM]
    pixels.PixelIntensityRelationship, pixels.PixelIntensityRelationshipSign = "LIN", 1
    shared.XRayGeometrySequence, shared.FramePixelDataPropertiesSequence = Sequence([geometry]), Sequence([pixels])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([_positioned(float(angle)) for angle in primary_degrees])
    return dataset


def rt_image(stored: np.ndarray, **tags: Any) -> FileDataset:
    usual = {
        "RTImageSID": "1500", "RadiationMachineSAD": "1000", "GantryAngle": "30", "PatientSupportAngle": "12",
        "ImagePlanePixelSpacing": [str(pitch) for pitch in PITCH_MM], "PatientPosition": "HFS",
        "IsocenterPosition": ["11.5", "-20", "300"], "PixelIntensityRelationship": "LIN",
        "PixelIntensityRelationshipSign": 1,
    }  # fmt: skip
    return xray_header(stored, RT_IMAGE, "RTIMAGE", **(usual | tags))


def saved(dataset: Dataset, folder: Path, name: str = "xray.dcm") -> Path:
    return save(dataset, folder / name)


def _positioned(primary_degrees: float) -> Dataset:
    frame, position = Dataset(), Dataset()
    position.PositionerPrimaryAngle, position.PositionerSecondaryAngle = f"{primary_degrees:g}", "10"
    frame.PositionerPositionSequence = Sequence([position])
    return frame
