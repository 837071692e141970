"""What a point's surroundings look like, in 48 numbers: differences of boxes, summed over eight cubes round it.

3D-SURF's upright descriptor (Agier et al., Med. Image Anal. 59:101564, 2020), after Bay et al., CVIU 110:346, 2008.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.threads import over_planes

# A point is looked at from -5 to 4 scales away along each axis, in two cubes of five places; in each cube six sums.
PLACES, CUBE, SUMS = 10, 5, 6
LENGTH = 8 * SUMS
# The width, in scales, of the Gaussian that makes a cube's middle count more.
SIGMA = 2.5
# Box sums are told from numbers modulo 2^32 while they fit a signed number of 32 bits.
LIMIT = 2**31


def describe_reference(sums: np.ndarray, points: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The twin of `describe`; sums as `box_hessian.sums_reference`."""

    def rounded(value: float) -> int:
        return int(np.floor(value + 0.5))

    def box(corner: tuple[int, ...], size: tuple[int, ...]) -> int:
        total = 0
        for ends in product((0, 1), repeat=3):
            place = tuple(min(max(c + e * s, 0), n - 1) for c, e, s, n in zip(corner, ends, size, sums.shape))
            total += (-1) ** (3 - sum(ends)) * int(sums[place])
        return total

    found = np.zeros((len(points), LENGTH))
    for row, (x, s) in enumerate(zip(points, scales)):
        h = rounded(s)
        for number, block in enumerate(product((-5, 0), repeat=3)):
            centre = [rounded(x[a] + (block[a] + 2) * s) for a in range(3)]
            for offset in product(range(CUBE), repeat=3):
                place = [rounded(rounded(x[a]) + (block[a] + offset[a]) * s) for a in range(3)]
                away = sum((p - c) ** 2 for p, c in zip(place, centre))
                weight = np.exp(-away / (2 * (SIGMA * s) ** 2))
                for axis in range(3):
                    size = [2 * h] * 3
                    size[axis] = h
                    low = [p - h for p in place]
                    high = list(low)
                    high[axis] = place[axis]
                    slope = weight * (box(tuple(high), tuple(size)) - box(tuple(low), tuple(size)))
                    found[row, SUMS * number + axis] += slope
                    found[row, SUMS * number + 3 + axis] += abs(slope)
        length = np.linalg.norm(found[row])
        found[row] /= length if length > 0 else 1
    return found.astype(np.float32)


def describe(table: np.ndarray, points: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """(N, 48) float32 of unit length, or 0 where nothing changes.

    table   (I + 1, J + 1, K + 1) uint32, of `box_hessian.sums`; boxes end where it does
    points  (N, 3) voxels; scales (N,) voxels. A box's sum must be below 2^31.
    """
    found = np.zeros((len(points), LENGTH), np.float32)
    table, points, scales = reading(table), reading(points, np.float64), reading(scales, np.float64)
    over_planes(lambda start, stop: _describe(table, points, scales, found, start, stop), len(points), at_least=16)
    return found


def widest(largest: int) -> float:
    """The largest scale, in voxels, whose boxes' sums stay below 2^31, of counts up to `largest`."""
    half = int(np.cbrt((LIMIT - 1) / (4 * max(1, largest))) + 1e-9)
    return half + 0.49


@njit(nogil=True, cache=True)
def _describe(table, points, scales, found, start, stop):  # type: ignore[no-untyped-def]
    # for each axis and place: the box's lower end, middle and upper end, and the place's weight in its cube
    ends = np.empty((3, PLACES, 3), np.int64)
    weight = np.empty((3, PLACES))
    total = np.empty(LENGTH)
    for n in range(start, stop):
        s = scales[n]
        h = np.int64(np.floor(s + 0.5))
        for a in range(3):
            middle = np.floor(points[n, a] + 0.5)
            last = table.shape[a] - 1
            for u in range(PLACES):
                place = np.int64(np.floor(middle + (u - CUBE) * s + 0.5))
                # of the cube's five places, the one before the middle one is its centre
                centre = np.int64(np.floor(points[n, a] + ((u // CUBE) * CUBE - CUBE + 2) * s + 0.5))
                away = np.float64(place - centre)
                weight[a, u] = np.exp(-away * away / (2 * (SIGMA * s) ** 2))
                ends[a, u, 0] = min(max(place - h, 0), last)
                ends[a, u, 1] = min(max(place, 0), last)
                ends[a, u, 2] = min(max(place + h, 0), last)
        total[:] = 0.0
        for u in range(PLACES):
            x0, x1, x2 = table[ends[0, u, 0]], table[ends[0, u, 1]], table[ends[0, u, 2]]
            for v in range(PLACES):
                y0, y1, y2 = ends[1, v, 0], ends[1, v, 1], ends[1, v, 2]
                r00, r01, r02, r10 = x0[y0], x0[y1], x0[y2], x1[y0]
                r12, r20, r21, r22 = x1[y2], x2[y0], x2[y1], x2[y2]
                g01 = weight[0, u] * weight[1, v]
                for w in range(PLACES):
                    z0, z1, z2 = ends[2, w, 0], ends[2, w, 1], ends[2, w, 2]
                    # corner columns of the whole box: their sums between the lower and the upper end
                    c00, c02, c20, c22 = r00[z2] - r00[z0], r02[z2] - r02[z0], r20[z2] - r20[z0], r22[z2] - r22[z0]
                    m10, m12 = r10[z2] - r10[z0], r12[z2] - r12[z0]
                    m01, m21 = r01[z2] - r01[z0], r21[z2] - r21[z0]
                    two = np.uint32(2)
                    dx = np.int32((c22 - c20) + (c02 - c00) - two * (m12 - m10))
                    dy = np.int32((c22 - c02) + (c20 - c00) - two * (m21 - m01))
                    upper = (r22[z2] - r22[z1]) - (r20[z2] - r20[z1]) - (r02[z2] - r02[z1]) + (r00[z2] - r00[z1])
                    lower = (r22[z1] - r22[z0]) - (r20[z1] - r20[z0]) - (r02[z1] - r02[z0]) + (r00[z1] - r00[z0])
                    dz = np.int32(upper - lower)
                    at = SUMS * (4 * (u // CUBE) + 2 * (v // CUBE) + w // CUBE)
                    g = g01 * weight[2, w]
                    total[at] += g * dx
                    total[at + 1] += g * dy
                    total[at + 2] += g * dz
                    total[at + 3] += abs(g * dx)
                    total[at + 4] += abs(g * dy)
                    total[at + 5] += abs(g * dz)
        length = 0.0
        for m in range(LENGTH):
            length += total[m] * total[m]
        length = np.sqrt(length)
        if length > 0:
            for m in range(LENGTH):
                found[n, m] = total[m] / length
