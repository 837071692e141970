"""Extrema of differences of neighbouring levels of a scale space, in place and scale.

The differences are never stored: they are subtracted where they are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.threads import over_planes

# ---------------------------------------------------------------------------------------------------------------------
# The definitions


def largest_reference(finer: np.ndarray, coarser: np.ndarray) -> float:
    return float(np.abs(finer - coarser).max())


def extrema_reference(levels: Sequence[np.ndarray], least: float) -> np.ndarray:
    """The twin of `extrema`."""
    below, middle, above = (one - other for one, other in pairwise(levels))
    inner = (slice(1, -1),) * 3
    neighbours = [np.roll(middle, step, axis)[inner] for axis in range(3) for step in (-1, 1)]
    neighbours += [below[inner], above[inner]]
    value = middle[inner]
    extreme = (value > np.max(neighbours, axis=0)) | (value < np.min(neighbours, axis=0))
    return np.argwhere(extreme & (np.abs(value) > least)) + 1


# ---------------------------------------------------------------------------------------------------------------------
# The kernels


@njit(nogil=True, cache=True, fastmath={"reassoc", "nsz", "nnan"})
def _largest_planes(finer, coarser, begin, end, out):  # type: ignore[no-untyped-def]
    rows, columns = finer.shape[1], finer.shape[2]
    for i in range(begin, end):
        # eight running maxima: one would make each voxel wait for the last
        found = np.zeros(8, np.float32)
        one, other = finer[i].reshape(rows * columns), coarser[i].reshape(rows * columns)
        whole = len(one) // 8 * 8
        for n in range(0, whole, 8):
            for m in range(8):
                found[m] = max(found[m], abs(one[n + m] - other[n + m]))
        for n in range(whole, len(one)):
            found[0] = max(found[0], abs(one[n] - other[n]))
        out[i] = found.max()


@njit(nogil=True, cache=True)
def _mark_row(a, b, c, d, i, j, least, low, high, marks):  # type: ignore[no-untyped-def]
    """Whether each voxel of row (i, j) is an extremum, as 0 or 1; returns how many may be."""
    n = len(marks)
    for k in range(1, n - 1):
        below, above = a[i, j, k] - b[i, j, k], c[i, j, k] - d[i, j, k]
        low[k], high[k] = min(below, above), max(below, above)
    for k in range(1, n - 1):
        before, after = b[i, j, k - 1] - c[i, j, k - 1], b[i, j, k + 1] - c[i, j, k + 1]
        low[k], high[k] = min(low[k], min(before, after)), max(high[k], max(before, after))
    for k in range(1, n - 1):
        one, other = b[i - 1, j, k] - c[i - 1, j, k], b[i + 1, j, k] - c[i + 1, j, k]
        low[k], high[k] = min(low[k], min(one, other)), max(high[k], max(one, other))
    for k in range(1, n - 1):
        one, other = b[i, j - 1, k] - c[i, j - 1, k], b[i, j + 1, k] - c[i, j + 1, k]
        low[k], high[k] = min(low[k], min(one, other)), max(high[k], max(one, other))
    found = 0
    for k in range(1, n - 1):
        value = b[i, j, k] - c[i, j, k]
        mark = ((value > high[k]) | (value < low[k])) & (abs(value) > least)
        marks[k] = mark
        found += mark
    return found


@njit(nogil=True, cache=True)
def _extrema_planes(a, b, c, d, least, begin, end):  # type: ignore[no-untyped-def]
    """(N, 3) int64 voxels of the planes begin..end, in the order in which they are stored."""
    nj, nk = b.shape[1], b.shape[2]
    low, high, marks = np.empty(nk, np.float32), np.empty(nk, np.float32), np.zeros(nk, np.int32)
    out = np.empty((64, 3), np.int64)
    count = 0
    for i in range(begin, end):
        for j in range(1, nj - 1):
            found = _mark_row(a, b, c, d, i, j, least, low, high, marks)
            if found == 0:
                continue
            if count + found > len(out):
                larger = np.empty((2 * (count + found), 3), np.int64)
                larger[:count] = out[:count]
                out = larger
            for k in range(1, nk - 1):
                if marks[k]:
                    out[count, 0], out[count, 1], out[count, 2] = i, j, k
                    count += 1
    return out[:count]


def largest(finer: np.ndarray, coarser: np.ndarray) -> float:
    """The largest |difference| of two levels (I, J, K) float32, borders included."""
    finer, coarser = reading(finer, np.float32), reading(coarser, np.float32)
    found = np.empty(len(finer), np.float32)
    over_planes(lambda begin, end: _largest_planes(finer, coarser, begin, end, found), len(finer), at_least=8)
    return float(found.max())


def extrema(levels: Sequence[np.ndarray], least: float) -> np.ndarray:
    """(N, 3) int64: where the middle of three differences is above or below eight neighbours, and |it| above `least`.

    The eight are the six across a face and the same voxel of the differences before and after. The outermost voxels are
    left out. The order is that of storage, the last axis fastest.

    levels  four of (I, J, K) float32, finer first; a difference is a level less the next
    """
    a, b, c, d = (reading(level, np.float32) for level in levels)
    parts: dict[int, np.ndarray] = {}

    def planes(begin: int, end: int) -> None:
        parts[begin] = _extrema_planes(a, b, c, d, np.float32(least), begin + 1, end + 1)

    over_planes(planes, max(0, len(b) - 2), at_least=8)
    return np.concatenate([np.empty((0, 3), np.int64), *(parts[begin] for begin in sorted(parts))])
