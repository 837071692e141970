"""NRRD and MetaImage (`.nrrd`, `.nhdr`, `.mha`, `.mhd`) read; their frame is ours.

SimpleITK reads the headers. The voxels are streamed here wherever they are one stream, because ITK returns rubbish
without a word for a compressed MetaImage that is damaged or too short, and holds a whole copy in the file's type; only
text, lists of files and rarer packings are left to it.
"""

from __future__ import annotations

import gzip
import io
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import SimpleITK as sitk

from homolog.errors import BadInput, UnreadableFile
from homolog.io.axes import placed
from homolog.io.files import require_file, stem_of, suffix_of
from homolog.io.stored import COPY_AGAIN, SLAB_PLANES, Stored, decompressing, planes
from homolog.space.grid import Grid

log = logging.getLogger(__name__)

META_SUFFIXES = (".mha", ".mhd")
MM_OF_UNIT = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001}
# ITK turns a named anatomical space into this one; any other it takes as if it were.
LPS = "left-posterior-superior"
# What moves an NRRD's voxels away from the end of its header.
NRRD_DETOURS = ("data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip")


def opened(path: Path) -> Stored:
    """What an NRRD or MetaImage file holds."""
    meta = suffix_of(path) in META_SUFFIXES
    fields = _fields(path, meta)
    information = _information(path, fields, meta)
    shape = _volume_shape(information, path)
    dtype = _dtype(information, fields, path)
    grid = placed(shape, _world_from_voxel(information, fields, path), path)
    if not meta:
        _warn_of_unnamed_space(information, path)
    streams = _meta_can_stream(fields) if meta else _nrrd_can_stream(fields)
    stream = _meta_stream if meta else _nrrd_stream

    def slabs() -> Iterator[np.ndarray]:
        if not streams:
            yield from _slabs_by_itk(path, grid)
            return
        with decompressing(path), stream(path, fields, grid.size * dtype.itemsize) as voxels:
            yield from planes(voxels, grid.shape, dtype, path)
            _read_to_the_end(voxels)

    return Stored(path, grid, stem_of(path), dtype, slabs)


def _fields(path: Path, meta: bool) -> dict[str, str]:
    """The header's `key: value` (NRRD) or `key = value` (MetaImage) lines; `data starts` is the byte after them."""
    fields: dict[str, str] = {}
    with open(path, "rb") as file:
        # a file of another kind may be one line of a gigabyte
        while (line := file.readline(1 << 16)) and (line.strip() or meta):
            key, _, value = line.decode("latin-1").partition("=" if meta else ":")
            fields[key.strip()] = value.lstrip("=").strip()
            if meta and key.strip() == "ElementDataFile":
                break
        fields["data starts"] = str(file.tell())
    return fields


def _information(path: Path, fields: dict[str, str], meta: bool) -> sitk.ImageFileReader:
    # what is checked here would make ITK's reader speak to the terminal
    wanted = ("NDims", "DimSize", "ElementType", "ElementDataFile") if meta else ("dimension", "sizes", "type")
    lacking = [key for key in wanted if key not in fields]
    if lacking:
        kind = "MetaImage" if meta else "NRRD"
        raise UnreadableFile(f"{path} is not a {kind} file: it has no {' and no '.join(lacking)}", COPY_AGAIN)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise UnreadableFile(f"{path} cannot be read as {suffix_of(path)} ({_reason(error)})", COPY_AGAIN) from error
    return reader


def _reason(error: RuntimeError) -> str:
    """The last line of ITK's complaint, which is the innermost."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].split("] ")[-1].strip() if lines else "no reason given"


def _volume_shape(information: sitk.ImageFileReader, path: Path) -> tuple[int, int, int]:
    size = tuple(information.GetSize())
    sizes = "x".join(map(str, size))
    channels = information.GetNumberOfComponents()
    if channels != 1:
        raise BadInput(
            f"{path} ({sizes}) holds {channels} numbers a voxel; one is wanted",
            f"a displacement field is a transform: homolog transform info {path}",
        )
    if len(size) < 3:
        raise BadInput(f"{path} is a flat picture ({sizes}); a volume has three sizes")
    if any(n != 1 for n in size[3:]):
        raise BadInput(f"{path} holds {sizes} numbers: {np.prod(size[3:])} volumes where one is wanted", "take one out")
    return size[:3]


def _dtype(information: sitk.ImageFileReader, fields: dict[str, str], path: Path) -> np.dtype:
    types = {
        sitk.sitkUInt8: "u1", sitk.sitkInt8: "i1", sitk.sitkUInt16: "u2", sitk.sitkInt16: "i2",
        sitk.sitkUInt32: "u4", sitk.sitkInt32: "i4", sitk.sitkUInt64: "u8", sitk.sitkInt64: "i8",
        sitk.sitkFloat32: "f4", sitk.sitkFloat64: "f8",
    }  # fmt: skip
    pixel = information.GetPixelID()
    if pixel not in types:
        raise BadInput(f"{path} holds {sitk.GetPixelIDValueAsString(pixel)}; one real number a voxel is wanted")
    big = fields.get("endian") == "big" or _yes(fields, "BinaryDataByteOrderMSB") or _yes(fields, "ElementByteOrderMSB")
    return np.dtype((">" if big else "<") + types[pixel])


def _world_from_voxel(information: sitk.ImageFileReader, fields: dict[str, str], path: Path) -> np.ndarray:
    dimension = information.GetDimension()
    axes = np.reshape(information.GetDirection(), (dimension, dimension))[:3, :3]
    matrix = np.eye(4)
    matrix[:3, :3] = axes * np.array(information.GetSpacing()[:3])
    matrix[:3, 3] = information.GetOrigin()[:3]
    scale = _mm_of_unit(fields, path)
    return np.diag([scale, scale, scale, 1.0]) @ matrix


def _mm_of_unit(fields: dict[str, str], path: Path) -> float:
    """NRRD's `space units` and MetaImage's `DistanceUnits`, which ITK passes over."""
    units = set(fields.get("space units", fields.get("DistanceUnits", "mm")).replace('"', " ").split())
    scale = MM_OF_UNIT.get(units.pop(), 1.0) if len(units) == 1 else 1.0
    if scale != 1:
        log.warning("%s is not in mm; read in mm, times %g", path, scale)
    return scale


def _warn_of_unnamed_space(information: sitk.ImageFileReader, path: Path) -> None:
    space = information.GetMetaData("NRRD_space") if information.HasMetaDataKey("NRRD_space") else ""
    if space != LPS:
        said = f"its space is '{space}'" if space else "it names no space"
        log.warning("%s does not say how it lies in the patient (%s): %s is assumed", path, said, LPS)


def _slabs_by_itk(path: Path, grid: Grid) -> Iterator[np.ndarray]:
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UnreadableFile(f"{path} cannot be read ({_reason(error)})", COPY_AGAIN) from error
    voxels = sitk.GetArrayViewFromImage(image).reshape(grid.shape[::-1])
    for k in range(0, len(voxels), SLAB_PLANES):
        yield voxels[k : k + SLAB_PLANES]


def _nrrd_can_stream(fields: dict[str, str]) -> bool:
    return fields.get("encoding") in ("raw", "gzip", "gz") and not any(key in fields for key in NRRD_DETOURS)


@contextmanager
def _nrrd_stream(path: Path, fields: dict[str, str], voxel_bytes: int) -> Iterator[BinaryIO]:
    with open(path, "rb") as file:
        file.seek(int(fields["data starts"]))
        yield file if fields["encoding"] == "raw" else gzip.GzipFile(fileobj=file)  # type: ignore[misc]


def _meta_can_stream(fields: dict[str, str]) -> bool:
    """Text, lists and patterns of files are left to ITK."""
    file = fields["ElementDataFile"]
    return _yes(fields, "BinaryData", "True") and not file.startswith("LIST") and "%" not in file


@contextmanager
def _meta_stream(path: Path, fields: dict[str, str], voxel_bytes: int) -> Iterator[BinaryIO]:
    name, start = fields["ElementDataFile"], int(fields.get("HeaderSize", "0"))
    local = name.upper() == "LOCAL"
    source = path if local else require_file(path.parent / name)
    if start == -1:
        # MetaImage's way to say that the voxels are the last bytes
        start = source.stat().st_size - voxel_bytes
    with open(source, "rb") as file:
        file.seek(int(fields["data starts"]) if local and start == 0 else max(0, start))
        yield _Unpacked(file) if _yes(fields, "CompressedData") else file  # type: ignore[misc]


def _yes(fields: dict[str, str], key: str, default: str = "False") -> bool:
    return fields.get(key, default)[:1].upper() in ("T", "1")


def _read_to_the_end(stream: BinaryIO) -> None:
    """Damage after the last voxel (of the checksum) is damage too; a stream that is not packed has nothing to say."""
    while isinstance(stream, gzip.GzipFile | _Unpacked) and stream.read(1 << 20):
        pass


class _Unpacked(io.RawIOBase):
    """A zlib stream, unpacked while it is read and checked against its checksum at the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._unpacker = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        while not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail or self._file.read(1 << 20)
            out = self._unpacker.decompress(packed, len(room))
            if not out and not packed:
                raise EOFError("the compressed voxels end too early")
            if out:
                room[: len(out)] = out
                return len(out)
        return 0
