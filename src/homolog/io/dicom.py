"""A DICOM series as a volume: from a folder (searched through), a zip, or one file of many frames."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from zipfile import is_zipfile

import numpy as np
from pydicom import Dataset

from homolog.errors import BadInput, UnreadableFile
from homolog.io.dicom_grid import stacked
from homolog.io.dicom_headers import Slice, headers_of, members_of, read_dataset, refusal, slices_of
from homolog.io.dicom_pixels import TAGS, real_numbers, require_rescale, stored_frames
from homolog.io.files import stem_of
from homolog.io.stored import COPY_AGAIN, SLAB_PLANES, Stored

log = logging.getLogger(__name__)

INSTEAD = {
    "segmentation": "convert it to a label volume first, in 3D Slicer or with highdicom, and read it as labels",
    "contours": "convert the contours to a label volume first, in 3D Slicer or with plastimatch",
    "X-ray": "X-rays are aligned to a volume with: homolog align",
}


@dataclass(frozen=True)
class DicomSeries:
    """What a folder holds under one SeriesInstanceUID.

    slices  the number of planes; 0 for what is no picture, such as contours
    shape   (I, J, K) voxels: columns, rows, slices
    """

    uid: str
    description: str
    modality: str
    slices: int
    shape: tuple[int, int, int]


def opened(path: Path, series: str | None = None) -> Stored:
    """What a folder, a zip or a file of many frames holds; of several series, the one asked for or the largest."""
    groups = _groups(path)
    slices = _chosen(groups, path, series)
    _require_one_file_is_enough(path, slices)
    slices, grid = stacked(slices, str(path))
    space = path.resolve().name if path.is_dir() else stem_of(path)
    return Stored(path, grid, space, np.dtype(np.float32), lambda: _slabs(path, slices))


def series_in(path: Path) -> list[DicomSeries]:
    """Every series in a folder or a zip, the largest first."""
    return [_listing(group) for group in _groups(path)]


def _require_one_file_is_enough(path: Path, slices: Sequence[Slice]) -> None:
    """One slice of a series is a mistake for the series."""
    if path.is_file() and len(slices) == 1 and slices[0].file == path.name:
        raise BadInput(f"{path} is a single slice; a volume needs its whole series", f"give its folder: {path.parent}")


def _groups(path: Path) -> list[list[Slice]]:
    """The slices of each series, largest first; localisers and other kinds of object stand apart."""
    groups: dict[tuple, list[Slice]] = defaultdict(list)
    seen: dict[tuple, str] = {}
    with members_of(path) as members:
        for file, header in headers_of(members):
            first = seen.setdefault(_identity(header), file)
            if first != file:
                log.warning("%s: %s is a copy of %s and is passed over", path, file, first)
                continue
            for slice_ in slices_of(file, header):
                groups[slice_.series, str(header.SOPClassUID), slice_.is_localiser].append(slice_)
    if not groups and path.is_file() and not is_zipfile(path):
        raise UnreadableFile(f"{path} is not DICOM", COPY_AGAIN)
    if not groups:
        raise BadInput(f"{path} holds no DICOM file", _hint_for_other_files(path))
    return sorted(groups.values(), key=lambda g: (bool(refusal(g[0])), g[0].is_localiser, -len(g), g[0].series))


def _identity(header: Dataset) -> tuple:
    # some anonymisers give every slice the same SOPInstanceUID: the place tells them apart then
    return tuple(str(header.get(key)) for key in ("SOPInstanceUID", "ImagePositionPatient", "InstanceNumber"))


def _chosen(groups: list[list[Slice]], path: Path, series: str | None) -> list[Slice]:
    asked = [g for g in groups if series is None or g[0].series.endswith(series)]
    table = "\n".join(f"  {_line(_listing(group))}" for group in groups)
    if not asked or (series and len({g[0].series for g in asked}) > 1):
        raise BadInput(f"{path}: {len(asked) or 'no'} series end in '{series}'; there are\n{table}")
    volumes = [g for g in asked if any(not refusal(s) for s in g)]
    if not volumes:
        raise _no_volume(asked[0][0], path)
    if series is None and sum(not refusal(g[0]) and not g[0].is_localiser for g in groups) > 1:
        log.warning("%s holds %d series; the first is read, --series chooses another:\n%s", path, len(groups), table)
    return _complete(volumes[0], path)


def _complete(slices: list[Slice], path: Path) -> list[Slice]:
    """A slice without a position would leave a hole, or shorten the stack unseen."""
    for slice_ in slices:
        if refusal(slice_):
            raise BadInput(f"{path}: {slice_.name} is {refusal(slice_)}, unlike the rest of its series")
    return slices


def _no_volume(first: Slice, path: Path) -> BadInput:
    what = refusal(first)
    hint = next((hint for kind, hint in INSTEAD.items() if kind in what), "give a CT, MR or PET series")
    return BadInput(f"{path} holds no volume: {first.file} is {what}", hint)


def _slabs(path: Path, slices: list[Slice]) -> Iterator[np.ndarray]:
    """(n, J, I) float32, a slab of slices at a time."""
    require_rescale(slices, str(path))
    planes = _planes(path, slices)
    while slab := list(islice(planes, SLAB_PLANES)):
        yield np.stack(slab)


def _planes(path: Path, slices: list[Slice]) -> Iterator[np.ndarray]:
    """(J, I) float32 a slice; a file of many frames is decoded once."""
    held, dataset, frames = "", Dataset(), np.empty(0)
    with members_of(path) as members:
        for slice_ in slices:
            if slice_.file != held:
                with members.open(slice_.file) as file:
                    dataset = read_dataset(file, members.place(slice_.file), TAGS, pixels=True)
                held, frames = slice_.file, stored_frames(dataset, members.place(slice_.file))
            if (slice_.frame or 0) >= len(frames):
                raise UnreadableFile(f"{path}: {slice_.name} is beyond the {len(frames)} there are", COPY_AGAIN)
            yield real_numbers(frames[slice_.frame or 0], dataset, slice_.frame, slice_.name)


def _listing(group: list[Slice]) -> DicomSeries:
    header, (rows, columns) = group[0].header, group[0].size
    count = len(group) if rows else 0
    description = str(header.get("SeriesDescription") or "") + (" (localiser)" if group[0].is_localiser else "")
    modality = str(header.get("Modality") or "")
    return DicomSeries(group[0].series, description.strip(), modality, count, (columns, rows, count))


def _line(series: DicomSeries) -> str:
    return f"{series.uid}  {series.modality}  {series.slices} slices  {series.description}"


def _hint_for_other_files(path: Path) -> str:
    here = sorted(path.iterdir()) if path.is_dir() else []
    volumes = [p for p in here if p.name.endswith((".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"))]
    return f"give the file: {volumes[0]}" if volumes else "give the folder that holds the slices"
