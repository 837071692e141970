"""From a DICOM dataset to real numbers: decoding, sign, slope and intercept, padding.

Padding     CT scanners fill the corners outside their circle with PixelPaddingValue, often -2000 (-3024 HU). A CT's
            padding below air becomes AIR_HU; padding at or above it is left, because it cannot be told from tissue.
MONOCHROME1 says that low numbers are shown white. It says nothing about Hounsfield units or uptake, so CT and PET keep
            their numbers; in other modalities, where brightness is all there is, the numbers are turned round.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset, FileDataset, FileMetaDataset
from pydicom.pixels import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from homolog.errors import BadInput, UnreadableFile
from homolog.io.dicom_headers import Slice, frame_value
from homolog.io.stored import COPY_AGAIN

AIR_HU = -1024.0
# Modalities whose numbers are a measured quantity, whatever way round they are shown.
MEASURED = ("CT", "PT")
PIXEL_MODULE = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "NumberOfFrames", "PixelData",
)  # fmt: skip
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MULTIFRAME_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"


def require_rescale(slices: list[Slice], name: str) -> None:
    """A CT has Hounsfield units only through its slope and intercept."""
    for slice_ in slices:
        slope, intercept = slice_.value("RescaleSlope"), slice_.value("RescaleIntercept")
        # an empty intercept is None; a slope of 0 would make one number of all
        lacking = ["RescaleSlope"] * (not slope) + ["RescaleIntercept"] * (intercept is None)
        if slice_.header.get("Modality") == "CT" and lacking:
            raise BadInput(
                f"{name} is an un-rescaled CT: {slice_.name} has no {' and no '.join(lacking)}, so its numbers are "
                "not Hounsfield units",
                "export it again from the scanner or the PACS; the program that made these files dropped the tags",
            )


def stored_frames(dataset: Dataset, name: str) -> np.ndarray:
    """(F, rows, columns) integers as the scanner stored them."""
    samples, photometric = dataset.get("SamplesPerPixel", 1), dataset.get("PhotometricInterpretation", "MONOCHROME2")
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise BadInput(f"{name} is a colour picture ({photometric}, {samples} samples a pixel), not a volume's plane")
    if "PixelData" not in dataset:
        raise UnreadableFile(f"{name} has no pixels", COPY_AGAIN)
    syntax = UID(dataset.file_meta.get("TransferSyntaxUID", ExplicitVRLittleEndian))
    compressed = syntax.is_encapsulated and syntax != RLELossless
    frames = _decoded(dataset, syntax, name) if compressed else _native(dataset, name)
    frames = frames.reshape(-1, dataset.Rows, dataset.Columns)
    if len(frames) != int(dataset.get("NumberOfFrames") or 1):
        raise UnreadableFile(f"{name} holds {len(frames)} of its {dataset.NumberOfFrames} frames", COPY_AGAIN)
    return _signed(frames, dataset, aligned=compressed)


def real_numbers(stored: np.ndarray, dataset: Dataset, frame: int | None) -> np.ndarray:
    """(rows, columns) float64 of one frame's stored integers: HU for a CT."""
    slope, intercept = (frame_value(dataset, frame, key) for key in ("RescaleSlope", "RescaleIntercept"))
    slope, intercept = 1.0 if slope is None else float(slope), float(intercept or 0)
    modality = dataset.get("Modality")
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1" and modality not in MEASURED:
        low, high = _stored_range(dataset)
        stored = np.int64(low + high) - stored
    numbers = stored.astype(np.float64) * slope + intercept
    if modality == "CT":
        numbers[_is_padding(stored, dataset) & (numbers < AIR_HU)] = AIR_HU
    return numbers


def _native(dataset: Dataset, name: str) -> np.ndarray:
    try:
        return pixel_array(dataset, raw=True)
    except (ValueError, AttributeError, NotImplementedError, RuntimeError, KeyError) as error:
        raise UnreadableFile(f"{name}: its pixels cannot be read ({error})", COPY_AGAIN) from error


def _decoded(dataset: Dataset, syntax: UID, name: str) -> np.ndarray:
    """SimpleITK's GDCM, always there; then whatever decoder pydicom finds installed."""
    try:
        return _decoded_by_gdcm(dataset, syntax)
    except RuntimeError:
        try:
            return pixel_array(dataset, raw=True)
        except (ValueError, AttributeError, NotImplementedError, RuntimeError, KeyError) as error:
            raise UnreadableFile(
                f"{name}: its pixels are compressed as {syntax.name} ({syntax}) and cannot be decoded",
                "decompress it first, with gdcmconv --raw or dcmdjpeg, or install pylibjpeg",
            ) from error


def _decoded_by_gdcm(dataset: Dataset, syntax: UID) -> np.ndarray:
    # GDCM applies slope and intercept by rules of its own that depend on the class: it gets a bare picture
    bare = Dataset()
    for keyword in PIXEL_MODULE:
        if keyword in dataset:
            bare[keyword] = dataset[keyword]
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    many = int(dataset.get("NumberOfFrames") or 1) > 1
    kind = UID(MULTIFRAME_CAPTURE if many else SECONDARY_CAPTURE)
    bare.SOPClassUID = meta.MediaStorageSOPClassUID = kind
    bare.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    with tempfile.TemporaryDirectory(prefix="homolog-") as folder:
        path = Path(folder) / "frame.dcm"
        FileDataset(str(path), bare, file_meta=meta, preamble=b"\0" * 128).save_as(path, enforce_file_format=True)
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))


def _signed(frames: np.ndarray, dataset: Dataset, *, aligned: bool) -> np.ndarray:
    """The BitsStored bits below HighBit (a decoder puts them lowest), with their sign; the rest may hold overlays."""
    allocated, stored = frames.dtype.itemsize * 8, int(dataset.BitsStored)
    below = 0 if aligned else int(dataset.get("HighBit", stored - 1)) + 1 - stored
    signed = bool(dataset.get("PixelRepresentation", 0))
    kind = np.dtype(f"{'i' if signed else 'u'}{frames.dtype.itemsize}")
    # up to the top bit and down again: C's shift of a signed number repeats the sign
    up = allocated - stored - below
    return (frames.view(kind) << up) >> (up + below) if up or below else frames.view(kind)


def _stored_range(dataset: Dataset) -> tuple[int, int]:
    bits = int(dataset.BitsStored)
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if dataset.get("PixelRepresentation") else (0, (1 << bits) - 1)


def _is_padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return np.zeros(stored.shape, bool)
    limit = dataset.get("PixelPaddingRangeLimit", value)
    # some programs write a negative padding as if it were unsigned
    ends = sorted(_as_stored(int(v), dataset) for v in (value, limit))
    return (stored >= ends[0]) & (stored <= ends[1])


def _as_stored(value: int, dataset: Dataset) -> int:
    """A padding value, which some programs write with the other signedness, as the pixels hold it."""
    low, high = _stored_range(dataset)
    return value if low <= value <= high else (value - low) % (high - low + 1) + low
