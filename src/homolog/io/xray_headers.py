"""What an X-ray's DICOM header says, wherever it says it: at the top, or in the functional groups of a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from homolog.errors import BadInput, UnreadableFile
from homolog.io.dicom_headers import NOT_PICTURES, XRAY_MODALITIES, read_dataset
from homolog.io.dicom_pixels import PIXEL_MODULE
from homolog.io.files import require_file
from homolog.io.stored import COPY_AGAIN

RT_IMAGE = "1.2.840.10008.5.1.4.1.1.481.1"
RADIOGRAPHS = ("DX", "CR", "MG", "IO", "PX", "RG")
FLUOROSCOPY = ("XA", "RF")
# Where letters of PatientOrientation point, LPS.
DIRECTIONS = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}
# All that is looked at; a sequence comes whole.
TAGS = [
    *PIXEL_MODULE, "SOPClassUID", "Modality", "ImageType", "PresentationIntentType", "Manufacturer",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign", "PresentationLUTShape", "ImageOrientationPatient", "PixelSpacing",
    "PixelSpacingCalibrationType", "ImagerPixelSpacing", "EstimatedRadiographicMagnificationFactor",
    "DistanceSourceToDetector", "DistanceSourceToPatient", "DistanceSourceToIsocenter", "PositionerPrimaryAngle",
    "PositionerSecondaryAngle", "PositionerPrimaryAngleIncrement", "PositionerSecondaryAngleIncrement",
    "PositionOfIsocenterProjection", "PhysicalDetectorSize", "DetectorElementSpacing", "FieldOfViewOrigin",
    "FieldOfViewRotation", "FieldOfViewHorizontalFlip", "PatientOrientation", "PatientPosition", "ViewPosition",
    "ShutterShape", "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge", "ShutterUpperHorizontalEdge",
    "ShutterLowerHorizontalEdge", "CenterOfCircularShutter", "RadiusOfCircularShutter", "VerticesOfThePolygonalShutter",
    "CollimatorShape", "CollimatorLeftVerticalEdge", "CollimatorRightVerticalEdge", "CollimatorUpperHorizontalEdge",
    "CollimatorLowerHorizontalEdge", "CenterOfCircularCollimator", "RadiusOfCircularCollimator",
    "VerticesOfThePolygonalCollimator", "RTImageSID", "RadiationMachineSAD", "ImagePlanePixelSpacing",
    "RTImagePosition", "RTImageOrientation", "XRayImageReceptorTranslation", "XRayImageReceptorAngle", "GantryAngle",
    "PatientSupportAngle", "IsocenterPosition", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip


def opened(path: Path, *, pixels: bool = True) -> Dataset:
    """An X-ray's header, with its pixels if asked; anything else that is DICOM is refused for what it is."""
    with open(require_file(path), "rb") as file:
        header = read_dataset(file, str(path), TAGS, pixels=pixels)
    if not header.get("SOPClassUID") and not header.get("Rows"):
        raise UnreadableFile(f"{path} is not DICOM", COPY_AGAIN)
    require_xray(header, path)
    return header


def require_xray(header: Dataset, path: Path | str) -> None:
    """A picture that was projected, in grey."""
    uid, modality = str(header.get("SOPClassUID", "")), str(header.get("Modality") or "no modality")
    if uid in NOT_PICTURES or not header.get("Rows") or not header.get("Columns"):
        size = f"{header.get('Columns') or 0}x{header.get('Rows') or 0} pixels"
        raise BadInput(f"{path} is {NOT_PICTURES.get(uid, f'no picture ({modality}, {size})')}, an X-ray is wanted")
    projected = modality in (*XRAY_MODALITIES, "RTIMAGE") or uid == RT_IMAGE
    if not projected and (modality in ("CT", "MR", "PT", "NM") or header.get("ImageOrientationPatient") is not None):
        raise BadInput(
            f"{path} is a slice of a volume ({modality}), an X-ray is wanted",
            f"the volume comes first: homolog align {Path(path).parent} XRAY -o DIR",
        )
    if header.get("SamplesPerPixel", 1) != 1:
        raise BadInput(
            f"{path} is a colour picture ({header.get('PhotometricInterpretation')}); an X-ray is grey",
            "export the X-ray itself, without drawings on it",
        )


def value(header: Dataset, frame: int | None, keyword: str) -> Any:
    """A value of one frame (from 0): from its own functional groups, the shared ones or the top; None if nowhere."""
    for groups in _groups(header, frame):
        found = _within(groups, keyword, depth=3)
        if found is not None:
            return found
    return _filled(header.get(keyword))


def numbers(header: Dataset, frame: int | None, keyword: str, count: int) -> np.ndarray | None:
    """(count,) float64, or None where that many finite numbers are not there."""
    try:
        found = np.array(value(header, frame, keyword), np.float64).reshape(count)
    except (TypeError, ValueError):
        return None
    return found if np.isfinite(found).all() else None


def number(header: Dataset, frame: int | None, keyword: str) -> float | None:
    found = numbers(header, frame, keyword, 1)
    return None if found is None else float(found[0])


def length(header: Dataset, frame: int | None, keyword: str) -> float | None:
    """A length in mm; 0, which many systems write for `unknown`, is none."""
    found = number(header, frame, keyword)
    return found if found is not None and found > 0 else None


def word(header: Dataset, frame: int | None, keyword: str) -> str:
    """A code in capitals, empty where there is none."""
    return str(value(header, frame, keyword) or "").strip().upper()


def letters(header: Dataset, frame: int | None) -> tuple[str, str] | None:
    """PatientOrientation: where the picture's right and lower edge lie in the patient, such as ("L", "F")."""
    given = value(header, frame, "PatientOrientation")
    words = [str(one).strip().upper() for one in given] if given is not None and not isinstance(given, str) else []
    if len(words) != 2 or not all(one and set(one) <= set(DIRECTIONS) for one in words):
        return None
    return words[0], words[1]


def direction(word: str) -> np.ndarray:
    """(3,) unit, LPS: of PatientOrientation's letters, each of which weighs less than the one before it."""
    vector = np.sum([np.multiply(DIRECTIONS[letter], 0.5**n) for n, letter in enumerate(word)], axis=0)
    size = np.linalg.norm(vector)
    return np.asarray(vector / size if size else vector)


def letters_of(vector: np.ndarray) -> str:
    """The letters of a direction (3,) LPS: the axes within 72 degrees of it, the nearest first."""
    names = ("LR", "PA", "HF")
    order = [axis for axis in np.argsort(-np.abs(vector)) if abs(vector[axis]) > 0.3 * np.linalg.norm(vector)]
    return "".join(names[axis][0 if vector[axis] > 0 else 1] for axis in order)


def _groups(header: Dataset, frame: int | None) -> list[Dataset]:
    own = list(header.get("PerFrameFunctionalGroupsSequence") or [])
    return [*own[frame or 0 : (frame or 0) + 1], *list(header.get("SharedFunctionalGroupsSequence") or [])[:1]]


def _within(item: Dataset, keyword: str, depth: int) -> Any:
    """The first value of that name in an item or in the first items of its sequences."""
    if (found := _filled(item.get(keyword))) is not None:
        return found
    for element in item if depth else ():
        if (
            element.VR == "SQ"
            and element.value
            and (found := _within(element.value[0], keyword, depth - 1)) is not None
        ):
            return found
    return None


def _filled(value: Any) -> Any:
    return None if value is None or value == "" or (hasattr(value, "__len__") and len(value) == 0) else value
