"""From a folder, a zip or a file to DICOM headers, and from headers to slices that know where they lie."""

from __future__ import annotations

import io
import logging
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError

from homolog.errors import BadInput, UnreadableFile
from homolog.io.stored import COPY_AGAIN

log = logging.getLogger(__name__)

# All that is looked at before the pixels: a header of 200 private tags is read ten times faster so.
TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "Modality", "ImageType",
    "InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier", "EchoTime", "TriggerTime",
    "NominalPercentageOfCardiacPhase", "ContentTime", "Rows", "Columns", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
# What pydicom raises for bytes that are not what they should be.
PYDICOM_ERRORS = (
    BytesLengthException, InvalidDicomError, EOFError, ValueError, KeyError, AttributeError, TypeError,
    NotImplementedError, OSError, struct.error,
)  # fmt: skip
DIRECTORY = "1.2.840.10008.1.3.10"
# Objects that have places in the patient but are not pictures of it.
NOT_PICTURES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.481.2": "a radiotherapy dose",
    "1.2.840.10008.5.1.4.1.1.481.3": "a set of radiotherapy contours",
    "1.2.840.10008.5.1.4.1.1.30": "a parametric map",
}
XRAY_MODALITIES = ("DX", "CR", "MG", "XA", "RF", "IO", "PX", "RG")
# Which functional group holds what, in a file of many frames.
GROUP_OF = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}


@dataclass(frozen=True)
class Members:
    """The files in a folder or a zip: their names, sorted, and how to open one."""

    path: Path
    names: list[str]
    open: Callable[[str], BinaryIO]

    def place(self, name: str) -> str:
        """How messages call a file when nothing else tells where it is."""
        if self.path.is_dir():
            return str(self.path / name)
        return f"{self.path}: {name}" if name != self.path.name else str(self.path)


@dataclass(frozen=True, eq=False)
class Slice:
    """One plane of a series.

    file, frame  the member that holds it, and which of its frames (None: it has one)
    header       without pixels
    """

    file: str
    frame: int | None
    header: Dataset

    @property
    def name(self) -> str:
        """How messages call it: `IM12 (instance 12)`."""
        if self.frame is not None:
            return f"{self.file} frame {self.frame + 1}"
        number = self.header.get("InstanceNumber")
        return self.file if number is None else f"{self.file} (instance {number})"

    @property
    def series(self) -> str:
        return str(self.header.get("SeriesInstanceUID", ""))

    @property
    def is_localiser(self) -> bool:
        return "LOCALIZER" in str(self.header.get("ImageType")).upper()

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = (frame_number(self.header, None, keyword) or 0 for keyword in ("Rows", "Columns"))
        return int(rows), int(columns)

    def value(self, keyword: str) -> Any:
        """A header's value, looked up for this frame first; None where it is absent or empty."""
        return frame_value(self.header, self.frame, keyword)

    def numbers(self, keyword: str, count: int) -> np.ndarray:
        """(count,) float64: a header's numbers."""
        value = self.value(keyword)
        try:
            return np.array(value, dtype=np.float64).reshape(count)
        except (TypeError, ValueError) as error:
            raise BadInput(f"{self.name}: {keyword} is {value}, {count} numbers are wanted") from error


def frame_value(header: Dataset, frame: int | None, keyword: str) -> Any:
    """A value of one frame: its own functional group, then the shared one, then the header's top level."""
    for item in _groups(header, frame):
        sequence = item.get(GROUP_OF.get(keyword, "")) or [Dataset()]
        if sequence[0].get(keyword) is not None:
            return sequence[0].get(keyword)
    return header.get(keyword)


def frame_number(header: Dataset, frame: int | None, keyword: str) -> float | None:
    """A single number of one frame; None where it is absent, empty or no number."""
    try:
        return float(frame_value(header, frame, keyword))
    except (TypeError, ValueError):
        return None


def slices_of(file: str, header: Dataset) -> list[Slice]:
    """One slice a frame."""
    frames = header.get("PerFrameFunctionalGroupsSequence")
    if not frames:
        return [Slice(file, None, header)]
    return [Slice(file, frame, header) for frame in range(len(frames))]


def refusal(slice_: Slice) -> str:
    """What a header is, where it is not a plane of a volume; empty where it is one."""
    header, uid = slice_.header, str(slice_.header.get("SOPClassUID", ""))
    kind, modality = header.get("SOPClassUID"), header.get("Modality", "no modality")
    called = f"({getattr(kind, 'name', kind)}, {modality})"
    if uid in NOT_PICTURES:
        return f"{NOT_PICTURES[uid]} {called}"
    if modality in XRAY_MODALITIES:
        return f"an X-ray picture {called}"
    if not all(slice_.size):
        return f"no picture {called}"
    lacking = [k for k in GROUP_OF if not k.startswith("Rescale") and slice_.value(k) is None]
    return f"a picture without {' and '.join(lacking)} {called}" if lacking else ""


@contextmanager
def members_of(path: Path) -> Iterator[Members]:
    """The files of a folder and its subfolders, of a zip, or the one file itself."""
    if path.is_dir():
        files = (Path(at) / name for at, _, names in os.walk(path) for name in names)
        # a pipe would be waited on for ever, a broken link is nothing
        names = [str(file.relative_to(path)) for file in files if file.is_file()]
        yield Members(path, sorted(names), lambda name: _file(path / name))
    elif zipfile.is_zipfile(path):
        with _archive(path) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
            yield Members(path, sorted(names), lambda name: _member(archive, name, path))
    else:
        yield Members(path, [path.name], lambda name: _file(path))


def headers_of(members: Members) -> Iterator[tuple[str, Dataset]]:
    """The name and the header of every DICOM file; other files and DICOMDIRs are passed over."""
    for name in members.names:
        with members.open(name) as file:
            header = _header(file, members.place(name))
        if header.get("SOPClassUID") and str(header.SOPClassUID) != DIRECTORY:
            yield name, header


def _header(file: BinaryIO, name: str) -> Dataset:
    """The tags looked at; none of them for a file that is not DICOM."""
    first = file.read(132)
    file.seek(0)
    if first[128:] == b"DICM":
        return read_dataset(file, name, TAGS, pixels=False)
    # old files lack the preamble and begin with a tag of group 2 or 8, little-endian
    if first[:2] not in (b"\x08\0", b"\x02\0") or first[3:4] != b"\0":
        return Dataset()
    try:
        return read_dataset(file, name, TAGS, pixels=False)
    except UnreadableFile:
        return Dataset()


def read_dataset(file: BinaryIO, name: str, tags: Sequence[str], *, pixels: bool) -> Dataset:
    """These tags of a DICOM file, those that can be read; a file that cannot be followed is an error."""
    try:
        # pydicom warns of every value that breaks the standard's small print, to the terminal
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(file, force=True, stop_before_pixels=not pixels, specific_tags=list(tags))
            _drop_illegible(dataset.file_meta)
            return _drop_illegible(dataset)
    except PYDICOM_ERRORS as error:
        raise UnreadableFile(f"{name} is damaged DICOM ({error})", COPY_AGAIN) from error


def _drop_illegible(dataset: Dataset) -> Dataset:
    """Without the values that are not what their type allows, which pydicom finds when it is asked for them."""
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
        except PYDICOM_ERRORS as error:
            log.warning("%s cannot be read and is passed over: %s", tag, error)
            del dataset[tag]
            continue
        for item in element.value or () if element.VR == "SQ" else ():
            _drop_illegible(item)
    return dataset


def _groups(header: Dataset, frame: int | None) -> list[Dataset]:
    if frame is None:
        return []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    return [header.PerFrameFunctionalGroupsSequence[frame], *shared[:1]]


def _file(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read ({error.strerror})") from error


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except zipfile.BadZipFile as error:
        raise UnreadableFile(f"{path} is a damaged zip ({error})", COPY_AGAIN) from error


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> BinaryIO:
    """One unpacked member: pydicom jumps back and forth, which a packed stream answers by starting again."""
    try:
        return io.BytesIO(archive.read(name))
    except RuntimeError as error:
        raise UnreadableFile(f"{path} cannot be unpacked ({error})", "unpack it and give the folder") from error
    except (EOFError, zlib.error) as error:
        raise UnreadableFile(f"{path}: {name} is damaged ({error})", COPY_AGAIN) from error
