"""A volume as it lies in a file: its grid is known at once, its numbers come in slabs when they are asked for.

Files run i fastest, our arrays k fastest. Turning a slab at a time keeps one whole copy of the numbers in memory, and
16 planes at once fill the 64-byte cache lines that the turned float32 lands in (a plane at a time is half as fast).
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from homolog.errors import BadInput, NotEnoughMemory, UnreadableFile
from homolog.space.grid import Grid
from homolog.space.volume import LABEL_TYPES

SLAB_PLANES = 16


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds, before its voxels are read.

    path    for messages
    grid    where the voxels lie, LPS mm
    space   the name that the file suggests
    dtype   of the numbers that `slabs` yields: an integer or a floating type
    slabs   yields (n, J, I) arrays, the first k first, with slope and intercept applied
    """

    path: Path
    grid: Grid
    space: str
    dtype: np.dtype
    slabs: Callable[[], Iterator[np.ndarray]]


def intensities(stored: Stored) -> np.ndarray:
    """(I, J, K) float32, k fastest."""
    return _gathered(stored, np.dtype(np.float32), lambda slab: slab)


def labels(stored: Stored) -> np.ndarray:
    """(I, J, K) in the smallest of uint8, int16 and int32 that holds every value; fractions are refused."""
    first = next((t for t in LABEL_TYPES if np.can_cast(stored.dtype, t)), "int32")
    values = _gathered(stored, np.dtype(first), lambda slab: _whole_numbers(slab, stored.path))
    low, high = values.min(), values.max()
    smallest = next(t for t in LABEL_TYPES if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return values.astype(smallest, copy=False)


def planes(stream: BinaryIO, shape: tuple[int, int, int], dtype: np.dtype, path: Path) -> Iterator[np.ndarray]:
    """(n, J, I) slabs of a stream that runs i fastest; a stream that ends too early is an error, never zeros."""
    for k in range(0, shape[2], SLAB_PLANES):
        slab = np.empty((min(SLAB_PLANES, shape[2] - k), shape[1], shape[0]), dtype)
        got = _filled(stream, slab.reshape(-1).view(np.uint8).data)
        if got < slab.nbytes:
            whole, have = np.prod(shape) * dtype.itemsize, k * shape[0] * shape[1] * dtype.itemsize + got
            raise UnreadableFile(
                f"{path} is cut off: {have} of the {whole} bytes of its {_sizes(shape)} voxels are there", COPY_AGAIN
            )
        yield slab


COPY_AGAIN = "it was probably cut off or damaged on its way; copy or download it again"


@contextmanager
def decompressing(path: Path) -> Iterator[None]:
    """Damage that a decompressor meets, or a number in the header that cannot be, told as damage to the file."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as error:
        raise UnreadableFile(f"{path} is damaged or cut off ({error})", COPY_AGAIN) from error
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read ({error.strerror or error})") from error


def slabs_of(data: np.ndarray, dtype: np.dtype) -> Iterator[np.ndarray]:
    """(n, J, I) contiguous arrays of `data` (I, J, K) in the order of files; fractions are rounded for integers."""
    for k in range(0, data.shape[2], SLAB_PLANES):
        slab = data[:, :, k : k + SLAB_PLANES].transpose(2, 1, 0)
        if dtype.kind in "iu" and data.dtype.kind == "f":
            slab = np.rint(slab)
        yield np.ascontiguousarray(slab, dtype)


def _gathered(stored: Stored, dtype: np.dtype, turned: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    data, k = _room(stored, dtype), 0
    # float64 beyond float32 becomes inf, which `require_finite` reports by voxel
    with np.errstate(over="ignore"):
        for slab in stored.slabs():
            data[:, :, k : k + len(slab)] = turned(slab).transpose(2, 1, 0)
            k += len(slab)
    return data


def _room(stored: Stored, dtype: np.dtype) -> np.ndarray:
    try:
        return np.empty(stored.grid.shape, dtype)
    except MemoryError as error:
        needed = stored.grid.size * dtype.itemsize / 1e9
        raise NotEnoughMemory(
            f"{stored.path} needs {needed:.1f} GB for its {_sizes(stored.grid.shape)} voxels"
        ) from error


def _whole_numbers(slab: np.ndarray, path: Path) -> np.ndarray:
    if slab.dtype.kind == "f":
        # NaN differs from itself, so it is caught here too
        broken = slab != np.rint(slab)
        if broken.any():
            value = slab[broken].flat[0]
            raise BadInput(
                f"{path} holds {value:.6g}: labels are whole numbers", "read it as an image, without --labels"
            )
    limits = np.iinfo(np.int32)
    if slab.min() < limits.min or slab.max() > limits.max:
        raise BadInput(f"{path} holds {slab.max():.6g}: labels must fit in 32 bits (up to {limits.max})")
    return slab


def _filled(stream: BinaryIO, room: memoryview) -> int:
    """How many bytes could be read; streams may hand out less than they are asked for."""
    filled = 0
    while filled < len(room):
        got = stream.readinto(room[filled:])  # type: ignore[attr-defined]
        if not got:
            break
        filled += got
    return filled


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
