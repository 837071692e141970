"""The determinant of a Hessian made of boxes, at every so many voxels, from one table of sums.

The derivatives are 3D-SURF's (Bay et al., CVIU 110:346, 2008, in three dimensions as in Agier et al., Med. Image Anal.
59:101564, 2020): second differences of boxes, each divided by the cube of the filter's width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.threads import over_planes

# What makes up for mixed differences being taken over smaller boxes: 0.9127 squared and cubed.
ALPHA, BETA = np.float32(0.8330), np.float32(0.7603)
# Of a layer's voxel: no blob, a dark one, a bright one.
NO_BLOB, DARK, BRIGHT = 0, 1, 2
# Sums are kept modulo 2^32: a difference is exact while it fits a signed number of 32 bits.
LIMIT = 2**31
# Voxels asked for at once while sums are made: 16 MB.
AT_ONCE = 4_194_304


@dataclass(frozen=True)
class Layer:
    """One filter's answers on its lattice: every `step` voxels, from voxel 0.

    response  (A, B, C) float32 |determinant| / width^9; 0 near the rim
    blob      (A, B, C) uint8: NO_BLOB, DARK or BRIGHT
    """

    width: int
    step: int
    response: np.ndarray
    blob: np.ndarray


def lattice(shape: tuple[int, ...], step: int) -> tuple[int, ...]:
    """How many voxels of a picture a layer looks at along each axis."""
    return tuple((n // 2) // (step // 2) for n in shape)


def rim(width: int, step: int) -> int:
    """How many places at each end of an axis the filter does not fit."""
    return -(-(width + 1) // (2 * step)) + 1


# ---------------------------------------------------------------------------------------------------------------------
# The twins


def sums_reference(counts: np.ndarray) -> np.ndarray:
    """(I + 1, J + 1, K + 1) int64: entry (a, b, c) is the sum of all voxels before a, b and c."""
    return np.pad(counts.astype(np.int64), ((1, 0),) * 3).cumsum(0).cumsum(1).cumsum(2)


def layer_reference(counts: np.ndarray, width: int, step: int) -> Layer:
    """The twin of `layer`: each box looked up by its corners, one place after the other."""
    sums, shape = sums_reference(counts), lattice(counts.shape, step)
    response, blob = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    edge, third = rim(width, step), width // 3
    across = 2 * third - 1

    def box(corner: np.ndarray, size: tuple[int, ...]) -> float:
        total = 0
        for ends in np.ndindex(2, 2, 2):
            a, b, c = (int(corner[n] + ends[n] * size[n]) for n in range(3))
            total += (-1) ** (3 - sum(ends)) * int(sums[a, b, c])
        return float(total)

    def straight(place: np.ndarray, axis: int) -> float:
        size = [across] * 3
        corner = place - (across - 1) // 2
        long, short = list(size), list(size)
        long[axis], short[axis] = width, third
        outer, inner = corner.copy(), corner.copy()
        outer[axis], inner[axis] = place[axis] - (width - 1) // 2, place[axis] - third // 2
        return box(outer, tuple(long)) - 3 * box(inner, tuple(short))

    def mixed(place: np.ndarray, one: int, other: int) -> float:
        size = [third] * 3
        size[3 - one - other] = across
        total = 0.0
        for first in (-third, 1):
            for second in (-third, 1):
                corner = place - (across - 1) // 2
                corner[one], corner[other] = place[one] + first, place[other] + second
                total += (1 if first == second else -1) * box(corner, tuple(size))
        return total

    for index in np.ndindex(*shape):
        if any(not edge <= n < size - edge for n, size in zip(index, shape)):
            continue
        place = np.array(index) * step
        xx, yy, zz = (straight(place, axis) / width**3 for axis in range(3))
        xy, yz, xz = (mixed(place, *axes) / width**3 for axes in ((0, 1), (1, 2), (0, 2)))
        alpha, beta = float(ALPHA), float(BETA)
        pairs = xx * yy + yy * zz + xx * zz - alpha * (xy * xy + yz * yz + xz * xz)
        trace = xx + yy + zz
        determinant = xx * yy * zz + 2 * beta * xy * yz * xz - alpha * (xx * yz**2 + yy * xz**2 + zz * xy**2)
        response[index] = abs(determinant)
        if pairs > 0 and trace * determinant > 0:
            blob[index] = DARK if trace >= 0 else BRIGHT
    return Layer(width, step, response, blob)


# ---------------------------------------------------------------------------------------------------------------------
# The kernels


def sums(
    planes: Callable[[int, int], np.ndarray],
    shape: tuple[int, int, int],
    low: float = 0.0,
    levels: float = 1.0,
    truncated: bool = False,
) -> np.ndarray:
    """(I + 1, J + 1, K + 1) uint32: as the twin, modulo 2^32, of counts made on the way.

    planes     gives planes start..stop of a picture, (stop - start, J, K) float32, so that it is never held whole; the
               count of a voxel is (value - low) * levels, to the nearest whole number, and 0 for values below `low`
    truncated  values are cut to whole numbers, towards 0, before `low` is taken off
    """
    table = np.zeros(tuple(n + 1 for n in shape), np.uint32)
    base = float(np.trunc(low)) if truncated else low
    step = max(1, AT_ONCE // (shape[1] * shape[2]))
    for first in range(0, shape[0], step):
        last = min(first + step, shape[0])
        _count(reading(planes(first, last), np.float32), base, levels, truncated, table[first : last + 1])
    over_planes(lambda start, stop: _sum_over_planes(table, start, stop), table.shape[1])
    return table


def _count(part: np.ndarray, base: float, levels: float, truncated: bool, table: np.ndarray) -> None:
    over_planes(lambda start, stop: _sum_planes(part, base, levels, truncated, table, start, stop), len(part))


def layer(table: np.ndarray, width: int, step: int, largest: int) -> Layer:
    """A filter's answers.

    table    (I + 1, J + 1, K + 1) uint32, of `sums`
    largest  the largest count: it decides whether a filter's sums are exact in one go, or have to be cut in slices
    """
    shape = lattice(tuple(n - 1 for n in table.shape), step)
    response, blob = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    edge = rim(width, step)
    if min(shape) <= 2 * edge:
        return Layer(width, step, response, blob)
    offsets, weights = _slices(width, largest)
    table = reading(table)

    def planes(start: int, stop: int) -> None:
        _fill(table, width, step, edge, offsets, weights, response, blob, start + edge, stop + edge)

    over_planes(planes, shape[0] - 2 * edge)
    return Layer(width, step, response, blob)


def _slices(width: int, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """(T, P) int64 planes that each slice of the filter is taken from, and (T, 3, P) uint32 their weights in the three
    operators along the first axis: curvature, mean, slope. One slice where the sums are small enough."""
    third, half = width // 3, (width - 1) // 2
    across = 2 * third - 1
    ends = {
        "whole": (-half, half + 1),
        "inner": (-(third // 2), third // 2 + 1),
        "mean": (1 - third, third),
        "below": (-third, 0),
        "above": (1, third + 1),
    }
    shares = ({"whole": 1, "inner": -3}, {"mean": 1}, {"below": 1, "above": -1})

    def weight(share: dict[str, int], low: int, high: int) -> int:
        return sum(w for name, w in share.items() if ends[name][0] <= low and high <= ends[name][1])

    cuts = sorted({end for pair in ends.values() for end in pair})
    if 2 * third * across * across * largest < LIMIT:
        planes = np.zeros((1, len(cuts)), np.int64)
        planes[0] = cuts
        weights = np.zeros((1, 3, len(cuts)), np.int64)
        for low, high in pairwise(range(len(cuts))):
            for n, share in enumerate(shares):
                times = weight(share, cuts[low], cuts[high])
                weights[0, n, high] += times
                weights[0, n, low] -= times
        return planes, weights.astype(np.uint32)
    # every slice has one weight in each operator, and its sums over the two other axes are exact
    thickest = max(1, (LIMIT - 1) // (2 * across * across * max(largest, 1)))
    pieces = [
        (low, min(low + thickest, high)) for first, high in pairwise(cuts) for low in range(first, high, thickest)
    ]
    planes = np.array(pieces, np.int64)
    held = np.array([[weight(share, *piece) for share in shares] for piece in pieces], np.int64)
    return planes, np.stack((-held, held), axis=-1).astype(np.uint32)


@njit(nogil=True, cache=True)
def _sum_planes(data, low, levels, truncated, table, start, stop):  # type: ignore[no-untyped-def]
    """Counts, and their sums within planes start..stop, along the second and the third axis."""
    for i in range(start, stop):
        for j in range(data.shape[1]):
            total = np.uint32(0)
            here, above, row = table[i + 1, j + 1], table[i + 1, j], data[i, j]
            for k in range(data.shape[2]):
                value = np.trunc(row[k]) if truncated else row[k]
                total = np.uint32(total + np.uint32(max(0.0, value - low) * levels + 0.5))
                here[k + 1] = total + above[k + 1]


@njit(nogil=True, cache=True)
def _sum_over_planes(table, start, stop):  # type: ignore[no-untyped-def]
    for i in range(1, table.shape[0]):
        for j in range(start, stop):
            here, before = table[i, j], table[i - 1, j]
            for k in range(here.shape[0]):
                here[k] += before[k]


@njit(nogil=True, cache=True)
def _fill(table, width, step, edge, offsets, weights, response, blob, start, stop):  # type: ignore[no-untyped-def]
    """The layer's planes start..stop.

    Three fields are made of planes of the table: curvature, mean and slope along the first axis. Of each field's rows,
    six are made for a row of the layer, along the second axis; and six numbers of those for a voxel, along the third.
    """
    third, half = width // 3, (width - 1) // 2
    inner = third // 2
    rows_j, rows_k = table.shape[1], table.shape[2]
    field = np.empty((3, rows_j, rows_k), np.uint32)
    rows = np.empty((6, rows_k), np.uint32)
    total = np.empty((6, response.shape[1], response.shape[2]), np.int64)
    three = np.uint32(3)
    by = np.float32(1.0 / width**3)
    for a in range(start, stop):
        i = a * step
        total[:] = 0
        for t in range(offsets.shape[0]):
            for n in range(3):
                begun = False
                for p in range(offsets.shape[1]):
                    factor = weights[t, n, p]
                    if factor == 0:
                        continue
                    plane = table[i + offsets[t, p]]
                    if begun:
                        for j in range(rows_j):
                            out, of = field[n, j], plane[j]
                            for k in range(rows_k):
                                out[k] += factor * of[k]
                    else:
                        for j in range(rows_j):
                            out, of = field[n, j], plane[j]
                            for k in range(rows_k):
                                out[k] = factor * of[k]
                        begun = True
                if not begun:
                    field[n] = 0
            for b in range(edge, response.shape[1] - edge):
                j = b * step
                mean_high, mean_low = j + third, j + 1 - third
                whole_high, whole_low = j + half + 1, j - half
                inner_high, inner_low = j + inner + 1, j - inner
                for n, out in ((0, 0), (1, 1), (2, 2)):
                    high, low, row = field[n, mean_high], field[n, mean_low], rows[out]
                    for k in range(rows_k):
                        row[k] = high[k] - low[k]
                r0, r1, r2, r3, row = (
                    field[1, whole_high],
                    field[1, whole_low],
                    field[1, inner_high],
                    field[1, inner_low],
                    rows[3],
                )
                for k in range(rows_k):
                    row[k] = r0[k] - r1[k] - three * (r2[k] - r3[k])
                for n, out in ((1, 4), (2, 5)):
                    r0, r1, r2, r3, row = (
                        field[n, j],
                        field[n, j - third],
                        field[n, j + third + 1],
                        field[n, j + 1],
                        rows[out],
                    )
                    for k in range(rows_k):
                        row[k] = (r0[k] - r1[k]) - (r2[k] - r3[k])
                for c in range(edge, response.shape[2] - edge):
                    k = c * step
                    high, low = k + third, k + 1 - third
                    total[0, b, c] += np.int32(rows[0, high] - rows[0, low])
                    total[1, b, c] += np.int32(rows[3, high] - rows[3, low])
                    whole = rows[1, k + half + 1] - rows[1, k - half]
                    total[2, b, c] += np.int32(whole - three * (rows[1, k + inner + 1] - rows[1, k - inner]))
                    total[3, b, c] += np.int32(rows[5, high] - rows[5, low])
                    slope = (rows[4, k] - rows[4, k - third]) - (rows[4, k + third + 1] - rows[4, k + 1])
                    total[4, b, c] += np.int32(slope)
                    slope = (rows[2, k] - rows[2, k - third]) - (rows[2, k + third + 1] - rows[2, k + 1])
                    total[5, b, c] += np.int32(slope)
        for b in range(edge, response.shape[1] - edge):
            for c in range(edge, response.shape[2] - edge):
                xx, yy = by * np.float32(total[0, b, c]), by * np.float32(total[1, b, c])
                zz, xy = by * np.float32(total[2, b, c]), by * np.float32(total[3, b, c])
                yz, xz = by * np.float32(total[4, b, c]), by * np.float32(total[5, b, c])
                xy2, yz2, xz2 = xy * xy, yz * yz, xz * xz
                pairs = xx * yy + yy * zz + xx * zz - ALPHA * (xy2 + yz2 + xz2)
                trace = xx + yy + zz
                determinant = (
                    xx * yy * zz + np.float32(2) * BETA * xy * yz * xz - ALPHA * (xx * yz2 + yy * xz2 + zz * xy2)
                )
                response[a, b, c] = abs(determinant)
                if pairs > 0 and trace * determinant > 0:
                    blob[a, b, c] = DARK if trace >= 0 else BRIGHT
