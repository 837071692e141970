"""Histograms of gradients round a point: 4x4x4 cells along the point's own axes, twelve directions in each."""

from __future__ import annotations

from itertools import product

import numpy as np
from numba import njit

from homolog.kernels import icosahedron
from homolog.kernels.arrays import reading
from homolog.kernels.icosahedron import folded
from homolog.kernels.structure import gradient_reference, window
from homolog.kernels.threads import over_planes

CELLS = 4
DIRECTIONS = 12
LENGTH = CELLS**3 * DIRECTIONS
# In scales of the point: a cell's side; the standard deviation of the weights. The window ends at two of those.
CELL, SIGMA = 5.0, 5.0 * 2**0.5
REACH = 2.0


def histograms_reference(
    level: np.ndarray,
    centres: np.ndarray,
    scale_mm: np.ndarray,
    local_from_axes: np.ndarray,
    spacing_mm: np.ndarray,
    *,
    middle: float,
    least: float,
    exchanged: bool,
) -> np.ndarray:
    """The twin of `histograms`."""
    voxels = np.stack(np.meshgrid(*(np.arange(1, n - 1) for n in level.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    slopes = gradient_reference(level, spacing_mm)[tuple(voxels.T)]
    result = np.zeros((len(centres), LENGTH))
    for n, (centre, scale, turn) in enumerate(zip(centres, scale_mm, local_from_axes)):
        offset = (voxels - centre) * spacing_mm
        distance2 = (offset**2).sum(axis=1)
        sigma = SIGMA * scale
        cell = offset @ turn.T / (CELL * scale) + CELLS / 2
        vector = np.exp(-distance2 / (2 * sigma**2))[:, None] * (slopes @ turn.T)
        kept = (distance2 <= (REACH * sigma) ** 2) & (cell >= 0).all(axis=1) & (cell < CELLS).all(axis=1)
        kept &= (vector**2).sum(axis=1) >= least
        result[n] = _spread_reference(
            cell[kept] - middle, icosahedron.shares_reference(vector[kept], exchanged=exchanged)
        )
    return result


def _spread_reference(place: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(768,): shares (V, 12) divided among the eight cells round each place (V, 3), whose centres are whole numbers."""
    cells = np.zeros((CELLS, CELLS, CELLS, DIRECTIONS))
    low = np.floor(place).astype(int)
    for step in product((0, 1), repeat=3):
        weight = np.abs(1 - np.array(step) - (place - low)).prod(axis=1)
        x, y, z = (low + step).T
        inside = ((low + step >= 0) & (low + step < CELLS)).all(axis=1)
        np.add.at(cells, (z[inside], y[inside], x[inside]), (weight[:, None] * shares)[inside])
    return cells.ravel()


@njit(inline="always", cache=True)
def _bounds(offset, slope, low, high, first, last):  # type: ignore[no-untyped-def]
    """The part of first..last where low <= offset + slope k < high."""
    if slope < 0:
        offset, slope, low, high = -offset, -slope, -high, -low
    if slope * (last - first) < 1e-9:
        return (first, last) if low <= offset + slope * first < high else (first, first)
    return max(first, int(np.ceil((low - offset) / slope))), min(last, int(np.ceil((high - offset) / slope)))


@njit(nogil=True, cache=True, fastmath={"contract", "nsz", "arcp"})
def _histograms(level, centres, scale, turns, spacing, middle, least, receivers, begin, end, out):  # type: ignore[no-untyped-def]
    """Each row of voxels is done twice: first all that needs no looking up, which is vectorised, then the adding."""
    ni, nj, nk = level.shape
    # a cell more at each end takes what falls outside
    side = 6
    steps = np.array([0, 1, side, side + 1, side * side, side * side + 1, side * side + side, side * side + side + 1])
    cells = np.empty(side * side * side * 12, np.float32)
    along = np.empty(nk, np.float32)
    base, code = np.empty(nk, np.int32), np.empty(nk, np.int32)
    fx, fy, fz = np.empty(nk, np.float32), np.empty(nk, np.float32), np.empty(nk, np.float32)
    s0, s1, s2 = np.empty(nk, np.float32), np.empty(nk, np.float32), np.empty(nk, np.float32)
    weight = np.empty(8, np.float32)
    limit = np.float32(5 - 1e-6 * 5)
    floor = np.float32(least)
    tiny = np.float32(1e-37)
    half_i, half_j, half_k = (np.float32(0.5 / spacing[0]), np.float32(0.5 / spacing[1]), np.float32(0.5 / spacing[2]))
    for n in range(begin, end):
        x, y, z = centres[n, 0], centres[n, 1], centres[n, 2]
        radius, width = 2.0 * 5.0 * np.sqrt(2.0) * scale[n], 5.0 * scale[n]
        decay = -1.0 / (100.0 * scale[n] * scale[n])
        turn = turns[n]
        t00, t01, t02 = np.float32(turn[0, 0]), np.float32(turn[0, 1]), np.float32(turn[0, 2])
        t10, t11, t12 = np.float32(turn[1, 0]), np.float32(turn[1, 1]), np.float32(turn[1, 2])
        t20, t21, t22 = np.float32(turn[2, 0]), np.float32(turn[2, 1]), np.float32(turn[2, 2])
        i0, i1 = window(x, radius, spacing[0], ni)
        j0, j1 = window(y, radius, spacing[1], nj)
        k0, k1 = window(z, radius, spacing[2], nk)
        for k in range(k0, k1):
            along[k] = np.exp(decay * ((k - z) * spacing[2]) ** 2)
        cells[:] = 0
        # cells passed in a step along k
        dx, dy, dz = turn[0, 2] * spacing[2] / width, turn[1, 2] * spacing[2] / width, turn[2, 2] * spacing[2] / width
        for i in range(i0, i1):
            vi = (i - x) * spacing[0]
            for j in range(j0, j1):
                vj = (j - y) * spacing[1]
                left = radius * radius - vi * vi - vj * vj
                if left < 0:
                    continue
                first, last = window(z, np.sqrt(left), spacing[2], nk)
                bx = (turn[0, 0] * vi + turn[0, 1] * vj) / width + 2.0 - dx * z
                by = (turn[1, 0] * vi + turn[1, 1] * vj) / width + 2.0 - dy * z
                bz = (turn[2, 0] * vi + turn[2, 1] * vj) / width + 2.0 - dz * z
                first, last = _bounds(bx, dx, 0.0, 4.0, first, last)
                first, last = _bounds(by, dy, 0.0, 4.0, first, last)
                first, last = _bounds(bz, dz, 0.0, 4.0, first, last)
                if first >= last:
                    continue
                # float32 from here on; places are counted from the first voxel of the row, and from the outer cell
                bx, by, bz = bx + dx * first + 1 - middle, by + dy * first + 1 - middle, bz + dz * first + 1 - middle
                px, py, pz = np.float32(bx), np.float32(by), np.float32(bz)
                qx, qy, qz = np.float32(dx), np.float32(dy), np.float32(dz)
                share = np.float32(np.exp(decay * (vi * vi + vj * vj)))
                here, up, down = (
                    level[i, j, first - 1 : last + 1],
                    level[i, j + 1, first:last],
                    level[i, j - 1, first:last],
                )
                right, back = level[i + 1, j, first:last], level[i - 1, j, first:last]
                taper = along[first:last]
                for m in range(last - first):
                    step = np.float32(m)
                    cx = min(max(px + step * qx, np.float32(0)), limit)
                    cy = min(max(py + step * qy, np.float32(0)), limit)
                    cz = min(max(pz + step * qz, np.float32(0)), limit)
                    ix, iy, iz = np.int32(cx), np.int32(cy), np.int32(cz)
                    fx[m], fy[m], fz[m] = cx - np.float32(ix), cy - np.float32(iy), cz - np.float32(iz)
                    base[m] = (ix + np.int32(6) * iy + np.int32(36) * iz) * np.int32(12)
                    w = share * taper[m]
                    gx = w * ((right[m] - back[m]) * half_i)
                    gy = w * ((up[m] - down[m]) * half_j)
                    gz = w * ((here[m + 2] - here[m]) * half_k)
                    vx = t00 * gx + t01 * gy + t02 * gz
                    vy = t10 * gx + t11 * gy + t12 * gz
                    vz = t20 * gx + t21 * gy + t22 * gz
                    wall, a, b, c = folded(abs(vx), abs(vy), abs(vz))
                    square = vx * vx + vy * vy + vz * vz
                    factor = np.sqrt(square) / max(a + b + c, tiny) if square >= floor else np.float32(0)
                    s0[m], s1[m], s2[m] = factor * a, factor * b, factor * c
                    sign = (np.int32(1) if vx < 0 else np.int32(0)) + (np.int32(2) if vy < 0 else np.int32(0))
                    code[m] = np.int32(8 * wall) + sign + (np.int32(4) if vz < 0 else np.int32(0))
                for m in range(last - first):
                    a, b, c = s0[m], s1[m], s2[m]
                    if a + b + c == 0:
                        continue
                    r0, r1, r2 = receivers[code[m], 0], receivers[code[m], 1], receivers[code[m], 2]
                    ux, uy, uz = fx[m], fy[m], fz[m]
                    nx, ny, nz = 1 - ux, 1 - uy, 1 - uz
                    weight[0], weight[1], weight[2], weight[3] = nx * ny * nz, ux * ny * nz, nx * uy * nz, ux * uy * nz
                    weight[4], weight[5], weight[6], weight[7] = nx * ny * uz, ux * ny * uz, nx * uy * uz, ux * uy * uz
                    for corner in range(8):
                        at = np.uintp(base[m] + 12 * steps[corner])
                        w = weight[corner]
                        cells[at + r0] += w * a
                        cells[at + r1] += w * b
                        cells[at + r2] += w * c
        inner = cells.reshape(6, 6, 6, 12)[1:5, 1:5, 1:5]
        filled = 0
        for p in range(4):
            for q in range(4):
                for r in range(4):
                    for s in range(12):
                        out[n, filled] = inner[p, q, r, s]
                        filled += 1


def histograms(
    level: np.ndarray,
    centres: np.ndarray,
    scale_mm: np.ndarray,
    local_from_axes: np.ndarray,
    spacing_mm: np.ndarray,
    *,
    middle: float = 0.5,
    least: float = 0.0,
    exchanged: bool = False,
) -> np.ndarray:
    """(N, 768) float32, of no particular length; entry 12 (x + 4 y + 16 z) + direction, x y z the cell.

    level            (I, J, K) float32
    centres          (N, 3) float64 voxels
    scale_mm         (N,) cells are five of it wide
    local_from_axes  (N, 3, 3) turns mm along the axes of storage to the point's own axes; a mirror, if storage is one
    middle           where in a cell its centre is: 0.5, or 0 as published
    least            vectors whose square is less are left out
    exchanged        two directions of each face get each other's share, as published
    """
    level, spacing = reading(level, np.float32), reading(spacing_mm, np.float64)
    centres, scale = reading(centres, np.float64), reading(scale_mm, np.float64)
    turns = reading(local_from_axes, np.float64)
    receivers = reading(icosahedron.receivers(exchanged=exchanged).astype(np.uintp))
    found = np.empty((len(centres), LENGTH), np.float32)

    def rows(begin: int, end: int) -> None:
        _histograms(level, centres, scale, turns, spacing, float(middle), float(least), receivers, begin, end, found)

    over_planes(rows, len(centres), at_least=4)
    return found
