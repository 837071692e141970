"""Volumes from files and to files: NIfTI, NRRD, MetaImage, DICOM and (read only) TIFF stacks, each in its own frame.

A volume is intensity unless it was asked for as labels: CTs are stored as integers too, so a file's type says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from homolog.errors import BadInput, GridMismatch, UnreadableFile
from homolog.io import tiff
from homolog.io.axes import is_sheared, perpendicular_cover
from homolog.io.files import require_file, suffix_of
from homolog.io.stored import Stored, intensities, labels
from homolog.space.grid import Grid
from homolog.space.volume import Volume

if TYPE_CHECKING:
    from homolog.io.dicom import DicomSeries

NIFTI = (".nii", ".nii.gz")
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
MAGIC = {b"NRRD": ".nrrd", b"ObjectType": ".mha", b"NDims": ".mha", b"\x1f\x8b": ".nii.gz"}
READABLE = (
    "a volume is a .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd file, a folder or zip of DICOM slices, or a .tif stack"
)
# What every format and every reader of it can hold.
WRITTEN_TYPES = ("float32", "uint8", "int8", "uint16", "int16", "uint32", "int32")


def read(
    path: Path | str,
    *,
    space: str | None = None,
    series: str | None = None,
    spacing_mm: Sequence[float] | None = None,
) -> Volume:
    """An intensity volume, float32 with slope and intercept applied, LPS mm.

    space       the name of its patient space; the file's stem (a DICOM folder's name) where none is given
    series      of DICOM: a SeriesInstanceUID or the end of one, where several lie together
    spacing_mm  (3,) of a TIFF stack, which does not know it: between columns, rows and pages
    """
    stored = _opened(Path(path), series, spacing_mm)
    return Volume(intensities(stored), stored.grid, space or stored.space)


def read_labels(
    path: Path | str,
    *,
    space: str | None = None,
    series: str | None = None,
    spacing_mm: Sequence[float] | None = None,
) -> Volume:
    """A label volume, in the smallest of uint8, int16 and int32 that holds it; a fraction in the file is an error."""
    stored = _opened(Path(path), series, spacing_mm)
    return Volume(labels(stored), stored.grid, space or stored.space, "labels")


def read_grid(path: Path | str, *, series: str | None = None, spacing_mm: Sequence[float] | None = None) -> Grid:
    """Where a file's voxels lie; only its header is read."""
    return _opened(Path(path), series, spacing_mm).grid


def series_in(path: Path | str) -> list[DicomSeries]:
    """The DICOM series in a folder or a zip, the largest first."""
    from homolog.io import dicom

    return dicom.series_in(_existing(Path(path)))


def write(
    volume: Volume,
    path: Path | str,
    dtype: str | None = None,
    *,
    resample_shear: bool = False,
    outside: float | None = None,
    note: str = "",
) -> None:
    """A volume to a file whose ending names the format; the file is whole or not there.

    dtype           float32 for intensities and the labels' own type where none is given; "int16" rounds
    resample_shear  NRRD and MetaImage cannot hold slanted axes for every reader: resample onto perpendicular ones
    outside         the intensity of what such a resampling adds around the volume; labels get 0
    note            up to 79 letters for the file's header
    """
    path = Path(path)
    suffix = _writable(path)
    if suffix not in NIFTI and is_sheared(volume.grid):
        volume = _perpendicular(volume, path, resample_shear, outside)
    data = volume.numpy()
    kind = _written_type(data, dtype, path)
    if suffix in NIFTI:
        from homolog.io import nifti

        nifti.write(data, volume.grid, kind, path, note)
    else:
        from homolog.io import itk_writing

        itk_writing.write(data, volume.grid, kind, path, note)


def _opened(path: Path, series: str | None, spacing_mm: Sequence[float] | None) -> Stored:
    _existing(path)
    form = "dicom" if path.is_dir() else _format(path)
    if series is not None and form != "dicom":
        raise BadInput(f"{path} is not DICOM: it has no series '{series}' to choose", "leave --series out")
    if spacing_mm is not None and form != "tiff":
        raise BadInput(
            f"{path} says itself how large its voxels are; only a TIFF stack does not", "leave --spacing-mm out"
        )
    if form == "dicom":
        from homolog.io import dicom

        return dicom.opened(path, series)
    if form == "nifti":
        from homolog.io import nifti

        return nifti.opened(path)
    if form == "tiff":
        from homolog.io import tiff_stacks

        return tiff_stacks.opened(path, spacing_mm)
    from homolog.io import itk_volumes

    return itk_volumes.opened(path)


def _existing(path: Path) -> Path:
    return path if path.is_dir() else require_file(path)


def _format(path: Path) -> str:
    """By the name's ending; by the first bytes where it says nothing, as DICOM's names do."""
    suffix = suffix_of(path)
    if suffix in NIFTI:
        return "nifti"
    if suffix in ITK:
        return "itk"
    if suffix in tiff.SUFFIXES:
        return "tiff"
    with open(path, "rb") as file:
        first = file.read(348)
    if first[128:132] == b"DICM" or first[:4] == b"PK\3\4" or suffix in (".dcm", ".ima"):
        return "dicom"
    raise UnreadableFile(f"{path} is no volume that can be read: {READABLE}", _renaming(path, first))


def _renaming(path: Path, first: bytes) -> str:
    """What to do with a file whose bytes say what its name does not."""
    if first[344:347] == b"n+1" or first[4:7] == b"n+2":
        ending = ".nii"
    else:
        ending = next((ending for magic, ending in MAGIC.items() if first.startswith(magic)), "")
    return f"by its first bytes it may be {ending}: rename it to {path.stem}{ending}" if ending else ""


def _writable(path: Path) -> str:
    suffix = suffix_of(path)
    if suffix in WRITABLE:
        return suffix
    # `ct.nii.gx` ends in .gx, but was meant as .nii.gz
    given = "".join(path.suffixes[-2:]) if ".nii" in path.suffixes[-2:-1] else suffix
    near = get_close_matches(given, WRITABLE, n=1, cutoff=0.5)
    stem = path.name[: len(path.name) - len(given)]
    hint = f"did you mean {stem}{near[0]}?" if near else f"name it {stem}.nii.gz"
    ending = f"'{suffix}'" if suffix else "no ending"
    raise BadInput(f"{path}: a volume cannot be written as {ending}, only as {', '.join(WRITABLE)}", hint)


def _perpendicular(volume: Volume, path: Path, resample_shear: bool, outside: float | None) -> Volume:
    shear = volume.grid.shear_degrees
    if not resample_shear:
        raise GridMismatch(
            f"{path}: the axes of '{volume.space}' are {shear:.3g} degrees off perpendicular, which {suffix_of(path)} "
            "files cannot say so that every program understands; NIfTI can",
            f"homolog convert IN {path.with_name(path.name.removesuffix(path.suffix))}.nii.gz",
        )
    if volume.kind == "labels":
        outside = 0.0
    if outside is None:
        raise BadInput(
            f"{path}: straight axes need voxels around '{volume.space}'",
            "write(..., resample_shear=True, outside=-1000.0) for a CT",
        )
    from homolog.space.sampling import resample

    return resample(volume, perpendicular_cover(volume.grid), outside=outside)


def _written_type(data: np.ndarray, dtype: str | None, path: Path) -> np.dtype:
    """The type on disk, once it is sure that it holds every number."""
    if dtype is None:
        return data.dtype
    if str(dtype) not in WRITTEN_TYPES:
        raise BadInput(f"{path}: '{dtype}' cannot be written, only {', '.join(WRITTEN_TYPES)}")
    kind = np.dtype(dtype)
    if kind.kind != "f":
        _require_range(np.rint(data.min()), np.rint(data.max()), kind, path)
    return kind


def _require_range(low: float, high: float, kind: np.dtype, path: Path) -> None:
    limits = np.iinfo(kind)
    # NaN fails both comparisons
    if not (low >= limits.min and high <= limits.max):
        raise BadInput(
            f"{path}: values from {low:.6g} to {high:.6g} do not fit in {kind.name} ({limits.min} to {limits.max})",
            "write it as float32",
        )
