"""From a DICOM dataset to real numbers: decoding, sign, slope and intercept, padding.

Padding     CT scanners fill the corners outside their circle with PixelPaddingValue, often -2000 (-3024 HU). A CT's
            padding below air becomes AIR_HU; padding at or above it is left, because it cannot be told from tissue.
MONOCHROME1 says that low numbers are shown white. It says nothing about Hounsfield units or uptake, so CT and PET keep
            their numbers; in other modalities, where brightness is all there is, the numbers are turned round.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian

from homolog.errors import BadInput, UnreadableFile
from homolog.io.dicom_headers import PYDICOM_ERRORS, Slice, frame_number
from homolog.io.stored import COPY_AGAIN

AIR_HU = -1024.0
# Modalities whose numbers are a measured quantity, whatever way round they are shown.
MEASURED = ("CT", "PT")
RESCALE = ("RescaleSlope", "RescaleIntercept")
PIXEL_MODULE = (
    "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "NumberOfFrames", "PixelData",
)  # fmt: skip
# All that is looked at once the pixels are wanted.
TAGS = (
    *PIXEL_MODULE, *RESCALE, "Modality", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
# The transfer syntaxes of the JPEG family, but not MPEG's (.4.100 and on).
JPEGS = tuple(f"1.2.840.10008.1.2.4.{n}" for n in (*range(50, 94), 201, 202, 203))
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
MULTIFRAME_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"


@dataclass(frozen=True)
class Layout:
    """How the pixels lie in their bits."""

    frames: int
    rows: int
    columns: int
    allocated: int
    bits: int
    high_bit: int
    signed: bool

    @property
    def range(self) -> tuple[int, int]:
        """The smallest and the largest number that can be stored."""
        half = 1 << (self.bits - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)


def require_rescale(slices: list[Slice], name: str) -> None:
    """A CT has Hounsfield units only through its slope and intercept."""
    for slice_ in slices:
        slope, intercept = (frame_number(slice_.header, slice_.frame, key) for key in RESCALE)
        # an empty intercept is None; a slope of 0 would make one number of all
        lacking = ["RescaleSlope"] * (not slope) + ["RescaleIntercept"] * (intercept is None)
        if slice_.header.get("Modality") == "CT" and lacking:
            raise BadInput(
                f"{name} is an un-rescaled CT: {slice_.name} has no {' and no '.join(lacking)}, so its numbers are "
                "not Hounsfield units",
                "export it again from the scanner or the PACS; the program that made these files dropped the tags",
            )


def layout_of(dataset: Dataset, name: str) -> Layout:
    """The layout that a header gives, if it can be."""
    needed = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelData")
    lacking = [keyword for keyword in needed if dataset.get(keyword) is None]
    if lacking:
        raise UnreadableFile(f"{name} has no {' and no '.join(lacking)}", COPY_AGAIN)
    rows, columns, allocated, bits = (int(frame_number(dataset, None, keyword) or 0) for keyword in needed[:4])
    frames, high_bit = frame_number(dataset, None, "NumberOfFrames"), frame_number(dataset, None, "HighBit")
    high_bit = bits - 1 if high_bit is None else high_bit
    signed = frame_number(dataset, None, "PixelRepresentation") == 1
    if allocated not in (8, 16, 32) or not 0 < bits <= high_bit + 1 <= allocated or min(rows, columns) < 1:
        raise UnreadableFile(f"{name}: {bits} bits of {allocated} up to bit {high_bit:g} cannot be read", COPY_AGAIN)
    return Layout(int(frames or 1), rows, columns, allocated, bits, int(high_bit), signed)


def stored_frames(dataset: Dataset, name: str) -> np.ndarray:
    """(F, rows, columns) integers as the scanner stored them."""
    samples, photometric = dataset.get("SamplesPerPixel", 1), dataset.get("PhotometricInterpretation", "MONOCHROME2")
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise BadInput(f"{name} is a colour picture ({photometric}, {samples} samples a pixel), not a volume's plane")
    layout = layout_of(dataset, name)
    syntax = dataset.file_meta.get("TransferSyntaxUID") or ExplicitVRLittleEndian
    if not isinstance(syntax, UID) or not syntax.is_transfer_syntax:
        raise UnreadableFile(f"{name}: its transfer syntax {syntax} is not a standard one", "export it again")
    if syntax.is_encapsulated:
        return _signed(_decoded(dataset, syntax, layout, name), layout, below=0)
    return _signed(_native(dataset, syntax, layout, name), layout, below=layout.high_bit + 1 - layout.bits)


def real_numbers(stored: np.ndarray, dataset: Dataset, frame: int | None, name: str) -> np.ndarray:
    """(rows, columns) float32 of one frame's stored integers: HU for a CT."""
    layout, modality = layout_of(dataset, name), dataset.get("Modality")
    slope, intercept = (frame_number(dataset, frame, key) for key in RESCALE)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1" and modality not in MEASURED:
        stored = np.int64(sum(layout.range)) - stored
    numbers = stored.astype(np.float64) * (1.0 if slope is None else slope) + (intercept or 0.0)
    if modality == "CT":
        numbers[_is_padding(stored, dataset, layout) & (numbers < AIR_HU)] = AIR_HU
    return numbers.astype(np.float32)


def _native(dataset: Dataset, syntax: UID, layout: Layout, name: str) -> np.ndarray:
    # not pydicom's decoder: it takes BitsStored from the lowest bit up, wherever HighBit is
    kind = np.dtype(f"{'<' if syntax.is_little_endian else '>'}u{layout.allocated // 8}")
    shape = (layout.frames, layout.rows, layout.columns)
    wanted, have = int(np.prod(shape)) * kind.itemsize, len(dataset.PixelData)
    if have < wanted:
        raise UnreadableFile(f"{name} is cut off: {have} of its {wanted} bytes of pixels are there", COPY_AGAIN)
    return (
        np.frombuffer(dataset.PixelData, kind, int(np.prod(shape)))
        .astype(kind.newbyteorder("="), copy=False)
        .reshape(shape)
    )


def _decoded(dataset: Dataset, syntax: UID, layout: Layout, name: str) -> np.ndarray:
    """SimpleITK's GDCM, always there; then pydicom's own for run lengths and whatever decoders it finds installed."""
    if syntax in JPEGS:
        _require_whole_streams(dataset, layout, name)
    try:
        frames = _decoded_by_gdcm(dataset, syntax, layout)
    except RuntimeError:
        frames = _decoded_by_pydicom(dataset, syntax, name)
    shape = (layout.frames, layout.rows, layout.columns)
    if frames.size != np.prod(shape):
        raise UnreadableFile(f"{name} decodes to {frames.size} pixels, not to {np.prod(shape)}", COPY_AGAIN)
    return frames.reshape(shape)


def _require_whole_streams(dataset: Dataset, layout: Layout, name: str) -> None:
    """A JPEG that was cut off is decoded without a word, its lower part flat; it lacks the marker of its end."""
    try:
        streams = list(generate_frames(dataset.PixelData, number_of_frames=layout.frames))
    except PYDICOM_ERRORS as error:
        raise UnreadableFile(f"{name}: its compressed pixels cannot be followed ({error})", COPY_AGAIN) from error
    if not all(stream.rstrip(b"\0").endswith(b"\xff\xd9") for stream in streams):
        raise UnreadableFile(f"{name}: its compressed pixels are cut off", COPY_AGAIN)


def _decoded_by_gdcm(dataset: Dataset, syntax: UID, layout: Layout) -> np.ndarray:
    # GDCM applies slope and intercept by rules of its own that depend on the class: it gets a bare picture
    bare = Dataset()
    for keyword in PIXEL_MODULE:
        if keyword in dataset:
            bare[keyword] = dataset[keyword]
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    kind = UID(MULTIFRAME_CAPTURE if layout.frames > 1 else SECONDARY_CAPTURE)
    bare.SOPClassUID = meta.MediaStorageSOPClassUID = kind
    bare.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    with tempfile.TemporaryDirectory(prefix="homolog-") as folder:
        path = Path(folder) / "frame.dcm"
        FileDataset(str(path), bare, file_meta=meta, preamble=b"\0" * 128).save_as(path, enforce_file_format=True)
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))


def _decoded_by_pydicom(dataset: Dataset, syntax: UID, name: str) -> np.ndarray:
    try:
        return pixel_array(dataset, raw=True)
    except (RuntimeError, *PYDICOM_ERRORS) as error:
        raise UnreadableFile(
            f"{name}: its pixels are compressed as {syntax.name} ({syntax}) and cannot be decoded",
            "decompress it first, with gdcmconv --raw or dcmdjpeg, or install pylibjpeg",
        ) from error


def _signed(frames: np.ndarray, layout: Layout, below: int) -> np.ndarray:
    """The stored bits, which lie `below` the lowest one, with their sign; the rest may hold overlays or rubbish."""
    width = frames.dtype.itemsize
    frames = frames.view(f"{'i' if layout.signed else 'u'}{width}")
    # up to the top bit and down again: a shift of a signed number repeats the sign
    up = 8 * width - layout.bits - below
    return (frames << up) >> (up + below) if up or below else frames


def _is_padding(stored: np.ndarray, dataset: Dataset, layout: Layout) -> np.ndarray:
    value = frame_number(dataset, None, "PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    limit = frame_number(dataset, None, "PixelPaddingRangeLimit")
    ends = sorted(_as_stored(int(v), layout) for v in (value, value if limit is None else limit))
    return (stored >= ends[0]) & (stored <= ends[1])


def _as_stored(value: int, layout: Layout) -> int:
    """A padding value, which some programs write with the other signedness, as the pixels hold it."""
    low, high = layout.range
    return value if low <= value <= high else (value - low) % (high - low + 1) + low
