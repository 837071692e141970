"""NIfTI 1 and 2, `.nii` and `.nii.gz`: the one place that knows RAS.

nibabel reads and writes headers; the voxels are streamed slab by slab, so that a compressed file is unpacked once.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from homolog.errors import BadInput, UnreadableFile
from homolog.io.axes import is_sheared, placed
from homolog.io.files import stem_of, suffix_of, writing
from homolog.io.stored import COPY_AGAIN, Stored, decompressing, planes, slabs_of
from homolog.space.grid import Grid

log = logging.getLogger(__name__)

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
VECTOR_INTENT = 1007
MM_OF_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}
# Differences between sform and qform that no rounding makes.
FRAMES_APART_MM, FRAMES_APART_DEGREES = 1.0, 1.0
# A float32 CT shrinks to 35 % at level 1 and to 30 % at level 6, which takes six times as long.
GZIP_LEVEL = 1


def opened(path: Path) -> Stored:
    """What a NIfTI file holds."""
    header = _header(path)
    shape = _volume_shape(header, path)
    dtype, slope, inter = _numbers(header, path)
    grid = placed(shape, LPS_FROM_RAS @ _ras_from_voxel(header, path), path)
    scaled = (slope, inter) != (1.0, 0.0)

    def slabs() -> Iterator[np.ndarray]:
        with decompressing(path), _stream(path) as stream:
            stream.seek(_data_offset(header))
            for slab in planes(stream, grid.shape, dtype, path):
                # float64: an int32 times a slope passes the 24 bits of float32 before it is rounded once at the end
                yield slab.astype(np.float64) * slope + inter if scaled else slab
            _check_the_rest(stream)

    return Stored(path, grid, stem_of(path), np.dtype(np.float64) if scaled else dtype, slabs)


def write(data: np.ndarray, grid: Grid, dtype: np.dtype, path: Path, note: str = "") -> None:
    """`data` (I, J, K) as `dtype`; sform and qform both set, but a sheared grid only in the sform, which can say it."""
    header = _header_for(data.shape, grid, dtype)
    header["descrip"] = note.encode()
    with writing(path) as part, open(part, "wb") as file:
        if suffix_of(path) == ".nii.gz":
            # neither time nor name inside: the same volume makes the same bytes
            with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as packed:
                _put(packed, header, data, dtype)
        else:
            _put(file, header, data, dtype)


def _header(path: Path) -> Any:
    with decompressing(path), _stream(path) as stream:
        block = stream.read(540)
    for kind, size in ((nibabel.Nifti1Header, 348), (nibabel.Nifti2Header, 540)):
        for endianness in "<>":
            if len(block) >= size and np.frombuffer(block[:4], f"{endianness}i4")[0] == size and _is_nifti(block):
                return _mended(kind(block[:size], endianness, check=False), path)
    raise UnreadableFile(
        f"{path} is not a NIfTI file: it starts with {block[:24]!r}", "check that it was saved as NIfTI"
    )


def _is_nifti(first_bytes: bytes) -> bool:
    """Whether an uncompressed file that starts so is NIfTI."""
    return first_bytes[344:348] in (b"n+1\0", b"ni1\0") or first_bytes[4:8] in (b"n+2\0", b"ni2\0")


def _mended(header: Any, path: Path) -> Any:
    """The header with nibabel's repairs: a qfac of 0, negative spacing, unknown codes."""
    try:
        header.check_fix(logger=_HeaderLog(path), error_level=100)
    except KeyError as error:
        raise UnreadableFile(f"{path}: no NIfTI data type has the code {error}", COPY_AGAIN) from error
    if bytes(header["magic"]).startswith((b"ni1", b"ni2")):
        raise UnreadableFile(f"{path} is the header of a .hdr/.img pair", "save the pair as one .nii.gz with nibabel")
    return header


class _HeaderLog:
    """Where nibabel tells its repairs: most are small print, and all lack the file's name."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def log(self, level: int, message: str) -> None:
        log.debug("%s: %s", self._path, message)


@contextmanager
def _stream(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked where they are packed, whatever its name says."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        yield gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[misc]


def _check_the_rest(stream: BinaryIO) -> None:
    """Read on to the end, where gzip compares its checksum."""
    while isinstance(stream, gzip.GzipFile) and stream.read(1 << 20):
        pass


def _data_offset(header: Any) -> int:
    # a header may leave the offset 0: the voxels then follow the header and its four extension bytes
    return max(int(header["vox_offset"]), header.sizeof_hdr + 4)


def _volume_shape(header: Any, path: Path) -> tuple[int, ...]:
    shape = tuple(int(n) for n in header.get_data_shape())
    sizes = "x".join(map(str, shape))
    if int(header["intent_code"]) == VECTOR_INTENT or (len(shape) == 5 and shape[4] > 1):
        raise BadInput(f"{path} is a displacement field ({sizes}), not a volume", f"homolog transform info {path}")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 3:
        first = f"nib.save(nib.load({str(path)!r}).slicer[..., 0], 'first.nii.gz')"
        raise BadInput(
            f"{path} holds {sizes} numbers: {int(np.prod(shape[3:]))} volumes where one is wanted",
            f'take one out: python -c "import nibabel as nib; {first}"',
        )
    if len(shape) < 3:
        raise BadInput(f"{path} is a flat picture ({sizes}); a volume has three sizes")
    return shape


def _numbers(header: Any, path: Path) -> tuple[np.dtype, float, float]:
    """How a voxel is stored, and the slope and intercept that make it real."""
    try:
        dtype = header.get_data_dtype()
        slope, inter = header.get_slope_inter()
    except (HeaderDataError, KeyError) as error:
        raise BadInput(f"{path} stores its voxels in a way that cannot be read ({error})") from error
    if dtype.names or dtype.kind not in "iuf":
        what = "colours" if dtype.names else f"{dtype} numbers"
        raise BadInput(f"{path} ({_sizes(header)}) holds {what}; one real number a voxel is wanted", "save one channel")
    return dtype, 1.0 if slope is None else float(slope), float(inter or 0.0)


def _ras_from_voxel(header: Any, path: Path) -> np.ndarray:
    try:
        sform, qform = header.get_sform(coded=True), header.get_qform(coded=True)
    except (HeaderDataError, ValueError) as error:
        raise BadInput(f"{path}: its orientation cannot be read ({error})") from error
    if not sform[1] and not qform[1]:
        log.warning("%s does not say where it lies (sform and qform codes are 0): only its spacing is known", path)
    if sform[1] and qform[1]:
        _warn_if_apart(sform[0], qform[0], header.get_data_shape()[:3], path)
    return _mm_from_unit(header, path) @ header.get_best_affine()


def _warn_if_apart(sform: np.ndarray, qform: np.ndarray, shape: tuple[int, ...], path: Path) -> None:
    try:
        first, second = Grid(shape, sform), Grid(shape, qform)  # type: ignore[arg-type]
    except BadInput:
        # one of them is broken: if it is the sform, the next step says so
        return
    apart_mm = np.linalg.norm(first.corners(0.0) - second.corners(0.0), axis=1).max()
    cosines = np.clip(np.einsum("xa,xa->a", first.axes, second.axes), -1, 1)
    apart_degrees = np.degrees(np.arccos(cosines)).max()
    if apart_mm > FRAMES_APART_MM or apart_degrees > FRAMES_APART_DEGREES:
        log.warning(
            "%s gives two positions: sform and qform are %.3g mm and %.3g degrees apart; the sform is used",
            path, apart_mm, apart_degrees,
        )  # fmt: skip


def _mm_from_unit(header: Any, path: Path) -> np.ndarray:
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError:
        unit = "unknown"
    scale = MM_OF_UNIT.get(unit, 1.0)
    if scale != 1:
        log.warning("%s is in %ss; read in mm", path, unit)
    return np.diag([scale, scale, scale, 1.0])


def _sizes(header: Any) -> str:
    return "x".join(map(str, header.get_data_shape()))


def _header_for(shape: tuple[int, ...], grid: Grid, dtype: np.dtype) -> Any:
    # NIfTI 1 counts voxels in 16 bits
    header: Any = nibabel.Nifti1Header() if max(shape) < 2**15 else nibabel.Nifti2Header()
    ras_from_voxel = LPS_FROM_RAS @ grid.world_from_voxel
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header.set_qform(ras_from_voxel, code=0 if is_sheared(grid) else 1)
    header.set_sform(ras_from_voxel, code=1)
    header.set_xyzt_units("mm", "sec")
    header.set_slope_inter(1, 0)
    header["vox_offset"] = header.sizeof_hdr + 4
    return header


def _put(stream: Any, header: Any, data: np.ndarray, dtype: np.dtype) -> None:
    # little-endian, which nibabel's new headers are too on every machine we know
    stream.write(header.binaryblock + b"\0\0\0\0")
    for slab in slabs_of(data, dtype.newbyteorder("<")):
        stream.write(slab.data)
