"""How much a displacement swells or folds space at each voxel: determinants of the Jacobian of p -> p + u(p).

With the lattice's linear part W (its columns are the steps along i, j, k in mm) the chain rule gives
J = I + (du/dvoxel) W^-1, so det J = det(W + du/dvoxel) / det W: no axis need be straight and no inverse is taken.
"""

from __future__ import annotations

from itertools import product
from math import nan

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.threads import over_planes

# Learn2Reg's own numbers: log(clip(det + 3, 1e-9, 1e9)), two voxels of the border left out. The 3 keeps folds inside
# the logarithm and makes the published figures about four times smaller than std(log det).
L2R_OFFSET = 3.0
L2R_LIMITS = (1e-9, 1e9)
L2R_BORDER = 2

# Voxels of a row differenced at once: six rows of differences stay in the first cache and fill whole vectors.
RUN = 64
VALUES = 3 * RUN


# ---------------------------------------------------------------------------------------------------------------------
# The definitions


def determinants_reference(vectors: np.ndarray, linear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The twin of `determinants`: every stencil spelled out."""
    sides = [_one_sided(vectors.astype(np.float64), axis) for axis in range(3)]
    middle = [(forward + backward) / 2 for forward, backward in sides]
    corners = [_determinant(columns, linear) for columns in product(*sides)]
    return _determinant(middle, linear), np.min(corners, axis=0)


def _one_sided(vectors: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Forward and backward differences along a voxel axis; at a border both are the one that exists, alone it is 0."""
    ahead = np.diff(vectors, axis=axis)
    if ahead.shape[axis] == 0:
        return np.zeros_like(vectors), np.zeros_like(vectors)
    first, last = np.take(ahead, [0], axis), np.take(ahead, [-1], axis)
    return np.concatenate((ahead, last), axis), np.concatenate((first, ahead), axis)


def _determinant(columns: list[np.ndarray] | tuple[np.ndarray, ...], linear: np.ndarray) -> np.ndarray:
    """det(W + du/dvoxel) / det W, the derivative given as its three columns (I, J, K, 3)."""
    return np.linalg.det(np.stack(columns, axis=-1) + linear) / np.linalg.det(linear)


def learn2reg_determinants(displacement_vox: np.ndarray) -> np.ndarray:
    """Learn2Reg's determinants: central differences, zeros beyond the border, then the border cut away.

    displacement_vox  (I, J, K, 3), in voxels, the components in the order of the axes
    returns           (I - 4, J - 4, K - 4) float64
    """
    field = np.pad(displacement_vox.astype(np.float64), ((1, 1), (1, 1), (1, 1), (0, 0)))
    inner = (slice(1, -1),) * 3
    slopes = [(np.roll(field, -1, axis)[inner] - np.roll(field, 1, axis)[inner]) / 2 for axis in range(3)]
    return inside_learn2reg_border(_determinant(slopes, np.eye(3)))


def inside_learn2reg_border(values: np.ndarray) -> np.ndarray:
    """The voxels that Learn2Reg looks at; none where an axis has four voxels or fewer."""
    return values[(slice(L2R_BORDER, -L2R_BORDER),) * 3]


# ---------------------------------------------------------------------------------------------------------------------
# The spread of the logarithm


def log_spread(determinants: np.ndarray) -> float:
    """SDlogJ: the standard deviation of log det over the determinants above zero; NaN where there are none."""
    positive = determinants[determinants > 0]
    return float(np.std(np.log(positive), dtype=np.float64)) if positive.size else nan


def log_spread_learn2reg(determinants: np.ndarray) -> float:
    """SDlogJ as Learn2Reg publishes it, of determinants inside its border; NaN where there are none."""
    if not determinants.size:
        return nan
    return float(np.std(np.log(np.clip(determinants + L2R_OFFSET, *L2R_LIMITS)), dtype=np.float64))


# ---------------------------------------------------------------------------------------------------------------------
# The fast one


@njit(inline="always", cache=True)
def _cross(a0, a1, a2, b0, b1, b2):  # type: ignore[no-untyped-def]
    return a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0


@njit(inline="always", cache=True)
def _with_both(x0, x1, x2, a0, a1, a2, b0, b1, b2):  # type: ignore[no-untyped-def]
    """The two determinants a.x and b.x: their sum and the smaller."""
    p, q = a0 * x0 + a1 * x1 + a2 * x2, b0 * x0 + b1 * x1 + b2 * x2
    return p + q, min(p, q)


@njit(inline="always", cache=True)
def _eight(a0, a1, a2, b0, b1, b2, c0, c1, c2, d0, d1, d2, e0, e1, e2, f0, f1, f2):  # type: ignore[no-untyped-def]
    """Mean and smallest of the eight determinants with first column a or b, second c or d, third e or f.

    A determinant is linear in each column, so that mean is the determinant of the mean columns: the central one.
    """
    x0, x1, x2 = _cross(c0, c1, c2, e0, e1, e2)
    total, least = _with_both(x0, x1, x2, a0, a1, a2, b0, b1, b2)
    x0, x1, x2 = _cross(c0, c1, c2, f0, f1, f2)
    pair, low = _with_both(x0, x1, x2, a0, a1, a2, b0, b1, b2)
    total, least = total + pair, min(least, low)
    x0, x1, x2 = _cross(d0, d1, d2, e0, e1, e2)
    pair, low = _with_both(x0, x1, x2, a0, a1, a2, b0, b1, b2)
    total, least = total + pair, min(least, low)
    x0, x1, x2 = _cross(d0, d1, d2, f0, f1, f2)
    pair, low = _with_both(x0, x1, x2, a0, a1, a2, b0, b1, b2)
    return 0.125 * (total + pair), min(least, low)


@njit(nogil=True, cache=True)
def _subtract(flat, high, low, count, out, at):  # type: ignore[no-untyped-def]
    for n in range(count):
        out[at + n] = flat[high + np.uintp(n)] - flat[low + np.uintp(n)]


@njit(nogil=True, cache=True)
def _run_of_determinants(d, w, scale, out):  # type: ignore[no-untyped-def]
    """One run of voxels from its five rows of differences; `w` is W and the scale 1 / det W."""
    w00, w01, w02 = w[0, 0], w[0, 1], w[0, 2]
    w10, w11, w12 = w[1, 0], w[1, 1], w[1, 2]
    w20, w21, w22 = w[2, 0], w[2, 1], w[2, 2]
    for k in range(RUN):
        # constant offsets into one buffer: LLVM then sees that nothing overlaps and uses whole vectors
        a = 3 * k
        b, c, e, f = a + VALUES, a + 2 * VALUES, a + 3 * VALUES, a + 4 * VALUES
        # the scale goes into the first column, not over the result: on a left-handed lattice it turns least into most
        mean, least = _eight(
            (w00 + d[a]) * scale, (w10 + d[a + 1]) * scale, (w20 + d[a + 2]) * scale,
            (w00 + d[b]) * scale, (w10 + d[b + 1]) * scale, (w20 + d[b + 2]) * scale,
            w01 + d[c], w11 + d[c + 1], w21 + d[c + 2],
            w01 + d[e], w11 + d[e + 1], w21 + d[e + 2],
            w02 + d[f + 3], w12 + d[f + 4], w22 + d[f + 5],
            w02 + d[f], w12 + d[f + 1], w22 + d[f + 2],
        )  # fmt: skip
        out[k] = mean
        out[RUN + k] = least


@njit(inline="always", cache=True)
def _neighbours(n, count):  # type: ignore[no-untyped-def]
    """The pairs (high, low) whose differences are forward and backward; the same pair twice at a border."""
    high = min(n + 1, count - 1)
    back = n if n > 0 else high
    return high, max(high - 1, 0), back, max(back - 1, 0)


@njit(nogil=True, cache=True)
def _subtract_along_row(flat, start, first, count, nk, d):  # type: ignore[no-untyped-def]
    """d[3 k + c] = u[first + k] - u[first + k - 1] for the run and one voxel past it; borders repeat the next."""
    at = 4 * VALUES
    low = 1 if first == 0 else 0
    high = count if first + count == nk else count + 1
    begin = start + np.uintp(3 * low)
    _subtract(flat, begin, begin - np.uintp(3), 3 * (high - low), d, at + 3 * low)
    for c in range(3):
        if low == 1:
            d[at + c] = d[at + 3 + c] if nk > 1 else np.float32(0)
        if high == count:
            d[at + 3 * count + c] = d[at + 3 * count - 3 + c]


@njit(nogil=True, cache=True)
def _planes_of_determinants(vectors, linear, scale, central, least, start, stop):  # type: ignore[no-untyped-def]
    ni, nj, nk = central.shape
    flat = vectors.reshape(-1)
    row, plane = np.uintp(3 * nk), np.uintp(3 * nk * nj)
    d, out = np.zeros(5 * VALUES + 3, np.float32), np.empty(2 * RUN, np.float32)
    for i in range(start, stop):
        i1, i0, h1, h0 = _neighbours(i, ni)
        for j in range(nj):
            j1, j0, g1, g0 = _neighbours(j, nj)
            in_plane, in_column = np.uintp(i) * plane, np.uintp(j) * row
            for first in range(0, nk, RUN):
                count, run = min(RUN, nk - first), np.uintp(3 * first)
                in_row, along = in_column + run, in_plane + run
                _subtract(flat, np.uintp(i1) * plane + in_row, np.uintp(i0) * plane + in_row, 3 * count, d, 0)
                _subtract(flat, np.uintp(h1) * plane + in_row, np.uintp(h0) * plane + in_row, 3 * count, d, VALUES)
                _subtract(flat, along + np.uintp(j1) * row, along + np.uintp(j0) * row, 3 * count, d, 2 * VALUES)
                _subtract(flat, along + np.uintp(g1) * row, along + np.uintp(g0) * row, 3 * count, d, 3 * VALUES)
                _subtract_along_row(flat, in_plane + in_row, first, count, nk, d)
                _run_of_determinants(d, linear, scale, out)
                for k in range(count):
                    central[i, j, first + k] = out[k]
                    least[i, j, first + k] = out[RUN + k]


def determinants(vectors: np.ndarray, linear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Determinants of the Jacobian of p -> p + u(p) at every voxel.

    vectors  (I, J, K, 3) float32 mm, u at the voxel centres
    linear   (3, 3) the lattice's linear part W, mm; oblique, sheared and left-handed are ordinary
    returns  central (I, J, K) float32, by central differences, one-sided at the border; and least (I, J, K) float32,
             the smallest by the eight combinations of forward and backward differences, at the border those that exist
    """
    vectors, linear = reading(vectors, np.float32), reading(linear, np.float64)
    scale = 1 / np.linalg.det(linear)
    central, least = np.empty(vectors.shape[:3], np.float32), np.empty(vectors.shape[:3], np.float32)

    def planes(start: int, stop: int) -> None:
        _planes_of_determinants(vectors, linear, scale, central, least, start, stop)

    if central.size:
        over_planes(planes, len(central))
    return central, least
