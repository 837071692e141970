"""NRRD and MetaImage (`.nrrd`, `.nhdr`, `.mha`, `.mhd`), whose own frame is ours.

SimpleITK reads the headers, and NRRD's voxels. MetaImage's voxels are streamed here, because ITK returns rubbish without
a word for a compressed stream that is damaged or too short. Both are written here: each is a page of text and a
stream, and a full disk is then the system's error instead of a short file.
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
from homolog.io.files import require_file, stem_of, suffix_of, writing
from homolog.io.stored import COPY_AGAIN, Stored, decompressing, planes, slabs_of
from homolog.space.grid import Grid

log = logging.getLogger(__name__)

META_SUFFIXES = (".mha", ".mhd")
META_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
META_NAMES = {"i1": "CHAR", "u1": "UCHAR", "i2": "SHORT", "u2": "USHORT", "i4": "INT", "u4": "UINT", "f4": "FLOAT"}
NRRD_NAMES = {"i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32", "f4": "float"}
MM_OF_UNIT = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001}
# ITK turns a named anatomical space into this one; any other it takes as if it were.
LPS = "left-posterior-superior"
ZLIB_LEVEL = 1


def opened(path: Path) -> Stored:
    """What an NRRD or MetaImage file holds."""
    fields = _fields(path)
    information = _information(path, fields)
    shape = _volume_shape(information, path)
    grid = placed(shape, _world_from_voxel(information, fields, path), path)
    if suffix_of(path) not in META_SUFFIXES:
        _warn_of_unnamed_space(information, path)
    elif _can_stream(fields):
        dtype = _meta_dtype(fields)
        return Stored(path, grid, stem_of(path), dtype, lambda: _meta_slabs(path, fields, grid, dtype))
    dtype = _itk_dtype(information, path)
    return Stored(path, grid, stem_of(path), dtype, lambda: _itk_slabs(path, grid))


def write(data: np.ndarray, grid: Grid, dtype: np.dtype, path: Path) -> None:
    """`data` (I, J, K) as `dtype`, compressed; an `.mhd` gets its `.zraw` beside it. The grid must be perpendicular."""
    {".nrrd": _write_nrrd, ".mha": _write_mha, ".mhd": _write_mhd}[suffix_of(path)](data, grid, dtype, path)


def _write_nrrd(data: np.ndarray, grid: Grid, dtype: np.dtype, path: Path) -> None:
    with writing(path) as part, open(part, "wb") as file:
        file.write(_nrrd_header(grid, dtype).encode())
        with gzip.GzipFile("", "wb", ZLIB_LEVEL, file, mtime=0) as packed:
            for slab in slabs_of(data, dtype.newbyteorder("<")):
                packed.write(slab.data)


def _write_mha(data: np.ndarray, grid: Grid, dtype: np.dtype, path: Path) -> None:
    with writing(path) as part, open(part, "wb") as file:
        # the packed size is known at the end; the header keeps room for it
        file.write(_meta_header(grid, dtype, 0, "LOCAL"))
        size = _put_packed(file, data, dtype)
        file.seek(0)
        file.write(_meta_header(grid, dtype, size, "LOCAL"))


def _write_mhd(data: np.ndarray, grid: Grid, dtype: np.dtype, path: Path) -> None:
    voxels = path.with_name(stem_of(path) + ".zraw")
    # left in reverse order: the voxels get their name before the header that points to them
    with writing(path) as header_part, writing(voxels) as voxels_part:
        with open(voxels_part, "wb") as file:
            size = _put_packed(file, data, dtype)
        header_part.write_bytes(_meta_header(grid, dtype, size, voxels.name))


def _put_packed(file: BinaryIO, data: np.ndarray, dtype: np.dtype) -> int:
    packer, size = zlib.compressobj(ZLIB_LEVEL), 0
    for slab in slabs_of(data, dtype.newbyteorder("<")):
        size += file.write(packer.compress(slab.data))
    return size + file.write(packer.flush())


def _nrrd_header(grid: Grid, dtype: np.dtype) -> str:
    steps = " ".join(_nrrd_vector(step) for step in grid.world_from_voxel[:3, :3].T)
    return (
        f"NRRD0004\ntype: {NRRD_NAMES[_code(dtype)]}\ndimension: 3\nspace: {LPS}\nsizes: {_words(grid.shape)}\n"
        f"space directions: {steps}\nkinds: domain domain domain\nendian: little\nencoding: gzip\n"
        f"space origin: {_nrrd_vector(grid.origin_mm)}\n\n"
    )


def _meta_header(grid: Grid, dtype: np.dtype, packed_bytes: int, file: str) -> bytes:
    # TransformMatrix lists i's direction, then j's, then k's: our columns
    return (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = True\n"
        f"CompressedDataSize = {packed_bytes:<20}\nTransformMatrix = {_words(grid.axes.T.ravel())}\n"
        f"Offset = {_words(grid.origin_mm)}\nCenterOfRotation = 0 0 0\nElementSpacing = {_words(grid.spacing_mm)}\n"
        f"DimSize = {_words(grid.shape)}\nElementType = MET_{META_NAMES[_code(dtype)]}\nElementDataFile = {file}\n"
    ).encode()


def _code(dtype: np.dtype) -> str:
    return f"{dtype.kind}{dtype.itemsize}"


def _words(numbers: Any) -> str:
    """Numbers with all the digits that they have."""
    return " ".join(repr(n.item() if isinstance(n, np.generic) else n) for n in numbers)


def _nrrd_vector(vector: np.ndarray) -> str:
    return "(" + ",".join(repr(float(v)) for v in vector) + ")"


def _fields(path: Path) -> dict[str, str]:
    """The header's `key: value` (NRRD) or `key = value` (MetaImage) lines; `data starts` is the byte after them."""
    fields: dict[str, str] = {}
    meta = suffix_of(path) in META_SUFFIXES
    with open(path, "rb") as file:
        # a file of another kind may be one line of a gigabyte
        while (line := file.readline(1 << 16)) and (line.strip() or meta):
            key, _, value = line.decode("latin-1").partition("=" if meta else ":")
            fields[key.strip()] = value.lstrip("=").strip()
            if meta and key.strip() == "ElementDataFile":
                break
        fields["data starts"] = str(file.tell())
    return fields


def _information(path: Path, fields: dict[str, str]) -> sitk.ImageFileReader:
    # what is checked here would make ITK's readers speak to the terminal
    if suffix_of(path) in META_SUFFIXES:
        lacking = [k for k in ("NDims", "DimSize", "ElementType", "ElementDataFile") if k not in fields]
        if lacking:
            raise UnreadableFile(f"{path} is not a MetaImage file: it has no {' and no '.join(lacking)}", COPY_AGAIN)
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


def _itk_dtype(information: sitk.ImageFileReader, path: Path) -> np.dtype:
    types = {
        sitk.sitkUInt8: "u1", sitk.sitkInt8: "i1", sitk.sitkUInt16: "u2", sitk.sitkInt16: "i2", sitk.sitkUInt32: "u4",
        sitk.sitkInt32: "i4", sitk.sitkUInt64: "u8", sitk.sitkInt64: "i8", sitk.sitkFloat32: "f4", sitk.sitkFloat64: "f8",
    }  # fmt: skip
    pixel = information.GetPixelID()
    if pixel not in types:
        raise BadInput(f"{path} holds {sitk.GetPixelIDValueAsString(pixel)}; one real number a voxel is wanted")
    return np.dtype(types[pixel])


def _itk_slabs(path: Path, grid: Grid) -> Iterator[np.ndarray]:
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UnreadableFile(f"{path} cannot be read ({_reason(error)})", COPY_AGAIN) from error
    voxels = sitk.GetArrayViewFromImage(image).reshape(grid.shape[::-1])
    for k in range(0, len(voxels), 16):
        yield voxels[k : k + 16]


def _can_stream(fields: dict[str, str]) -> bool:
    """Whether the voxels are one binary stream; text, lists and patterns of files are left to ITK."""
    file = fields["ElementDataFile"]
    return _yes(fields, "BinaryData", "True") and not file.startswith("LIST") and "%" not in file


def _meta_dtype(fields: dict[str, str]) -> np.dtype:
    big = _yes(fields, "BinaryDataByteOrderMSB") or _yes(fields, "ElementByteOrderMSB")
    return np.dtype((">" if big else "<") + META_TYPES[fields["ElementType"]])


def _yes(fields: dict[str, str], key: str, default: str = "False") -> bool:
    return fields.get(key, default)[:1].upper() in ("T", "1")


def _meta_slabs(path: Path, fields: dict[str, str], grid: Grid, dtype: np.dtype) -> Iterator[np.ndarray]:
    with decompressing(path), _meta_stream(path, fields, grid.size * dtype.itemsize) as stream:
        yield from planes(stream, grid.shape, dtype, path)
        if isinstance(stream, _Unpacked):
            stream.require_end()


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
            if out or not packed:
                room[: len(out)] = out
                return len(out)
        return 0

    def require_end(self) -> None:
        """Damage after the last voxel (of the checksum) is damage too."""
        while self.readinto(bytearray(1 << 16)):
            pass
        if not self._unpacker.eof:
            raise EOFError("the compressed voxels end too early")
