"""NRRD and MetaImage files written: a page of text and a compressed stream.

Written here and not by ITK: a full disk is then the system's error instead of a short file, and no copy is made.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from homolog.io.files import stem_of, suffix_of, writing
from homolog.io.stored import slabs_of
from homolog.space.grid import Grid

META_NAMES = {"i1": "CHAR", "u1": "UCHAR", "i2": "SHORT", "u2": "USHORT", "i4": "INT", "u4": "UINT", "f4": "FLOAT"}
NRRD_NAMES = {"i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32", "f4": "float"}
LEVEL = 1


def write(data: np.ndarray, grid: Grid, dtype: np.dtype, path: Path, note: str = "") -> None:
    """`data` (I, J, K) as `dtype`, compressed; an `.mhd` gets its `.zraw` beside it. The grid must be perpendicular."""
    {".nrrd": _write_nrrd, ".mha": _write_mha, ".mhd": _write_mhd}[suffix_of(path)](data, grid, dtype, path, note)


def _write_nrrd(data: np.ndarray, grid: Grid, dtype: np.dtype, path: Path, note: str) -> None:
    with writing(path) as part, open(part, "wb") as file:
        file.write(_nrrd_header(grid, dtype, note))
        # neither time nor name inside: the same volume makes the same bytes
        with gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as packed:
            for slab in slabs_of(data, dtype.newbyteorder("<")):
                packed.write(slab.data)


def _write_mha(data: np.ndarray, grid: Grid, dtype: np.dtype, path: Path, note: str) -> None:
    with writing(path) as part, open(part, "wb") as file:
        # the packed size is known at the end; the header keeps room for it
        file.write(_meta_header(grid, dtype, 0, "LOCAL", note))
        size = _put_packed(file, data, dtype)
        file.seek(0)
        file.write(_meta_header(grid, dtype, size, "LOCAL", note))


def _write_mhd(data: np.ndarray, grid: Grid, dtype: np.dtype, path: Path, note: str) -> None:
    voxels = path.with_name(stem_of(path) + ".zraw")
    # left in reverse order: the voxels get their name before the header that points to them
    with writing(path) as header_part, writing(voxels) as voxels_part:
        with open(voxels_part, "wb") as file:
            size = _put_packed(file, data, dtype)
        header_part.write_bytes(_meta_header(grid, dtype, size, voxels.name, note))


def _put_packed(file: BinaryIO, data: np.ndarray, dtype: np.dtype) -> int:
    packer, size = zlib.compressobj(LEVEL), 0
    for slab in slabs_of(data, dtype.newbyteorder("<")):
        size += file.write(packer.compress(slab.data))
    return size + file.write(packer.flush())


def _nrrd_header(grid: Grid, dtype: np.dtype, note: str) -> bytes:
    kept = f"note:={note}\n" if note else ""
    steps = " ".join(f"({_words(step, ',')})" for step in grid.world_from_voxel[:3, :3].T)
    return (
        f"NRRD0004\ntype: {NRRD_NAMES[_code(dtype)]}\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {_words(grid.shape)}\nspace directions: {steps}\nkinds: domain domain domain\nendian: little\n"
        f"encoding: gzip\nspace origin: ({_words(grid.origin_mm, ',')})\n{kept}\n"
    ).encode()


def _meta_header(grid: Grid, dtype: np.dtype, packed_bytes: int, file: str, note: str) -> bytes:
    kept = f"Note = {note}\n" if note else ""
    # TransformMatrix lists i's direction, then j's, then k's: our columns
    return (
        f"ObjectType = Image\n{kept}NDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"CompressedData = True\nCompressedDataSize = {packed_bytes:<20}\n"
        f"TransformMatrix = {_words(grid.axes.T.ravel())}\n"
        f"Offset = {_words(grid.origin_mm)}\nCenterOfRotation = 0 0 0\nElementSpacing = {_words(grid.spacing_mm)}\n"
        f"DimSize = {_words(grid.shape)}\nElementType = MET_{META_NAMES[_code(dtype)]}\nElementDataFile = {file}\n"
    ).encode()


def _code(dtype: np.dtype) -> str:
    return f"{dtype.kind}{dtype.itemsize}"


def _words(numbers: Iterable[float], between: str = " ") -> str:
    """Numbers with all the digits that they have."""
    return between.join(repr(float(n)).removesuffix(".0") for n in numbers)
