"""Values between voxels: linear, cubic, nearest, and a vote for labels.

The NumPy twins at the top are the definitions. All of them share one rim, ITK's: a coordinate within half a voxel of
the outermost centres is clamped onto them (for cubic it is mirrored, as the spline is), one farther out gets `outside`.
This is the only file that knows torch's reversed axes and its coordinates from -1 to 1.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading

if TYPE_CHECKING:
    import torch

MODES = ("nearest", "linear", "cubic", "vote")


# ---------------------------------------------------------------------------------------------------------------------
# The definitions


def inside_reference(shape: tuple[int, ...], voxels: np.ndarray) -> np.ndarray:
    """(N,) bool: -0.5 <= c < n - 0.5 on every axis, half open as ITK's IsInsideBuffer is."""
    return np.asarray(((voxels >= -0.5) & (voxels < np.array(shape) - 0.5)).all(axis=1))


def sample_reference(data: np.ndarray, voxels: np.ndarray, mode: str, outside: float) -> np.ndarray:
    """The twin of `sample`.

    data     (I, J, K) values; for "cubic" the coefficients that `spline_coefficients` makes of them
    voxels   (N, 3) float64, voxel coordinates
    returns  (N,) of data's dtype
    """
    limits = np.array(data.shape) - 1
    clamped = np.clip(voxels, 0, limits)
    if mode == "nearest":
        # half up, as ITK rounds: numpy's own rounding takes halves to the even neighbour
        i, j, k = np.floor(clamped + 0.5).astype(int).T
        values = data[i, j, k]
    elif mode == "vote":
        values = _vote_reference(data, clamped)
    elif mode == "linear":
        values = _weighted_reference(data, clamped, 0, _hat)
    else:
        values = _weighted_reference(data, np.clip(voxels, -0.5, limits + 0.5), 1, _cubic_basis)
    return np.where(inside_reference(data.shape, voxels), values, outside).astype(data.dtype)


def _weighted_reference(data: np.ndarray, voxels: np.ndarray, reach: int, basis: Any) -> np.ndarray:
    """The sum of basis(distance) * value over the 2 + 2 reach neighbours on each axis; indices mirror at the ends."""
    base = np.floor(voxels).astype(int)
    total = np.zeros(len(voxels))
    for steps in product(range(-reach, reach + 2), repeat=3):
        index = base + np.array(steps)
        weight = basis(np.abs(voxels - index)).prod(axis=1)
        i, j, k = _mirror(index, np.array(data.shape)).T
        total += weight * data[i, j, k]
    return total


def _vote_reference(labels: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """The label whose indicator function, interpolated linearly, is largest; the smaller label where two are equal."""
    names = np.unique(labels)
    scores = [_weighted_reference((labels == name).astype(float), voxels, 0, _hat) for name in names]
    # float32, and a tie within its last digits is a tie: the fast kernel adds the same weights in another order
    return names[np.argmax(np.round(np.array(scores), 5), axis=0)]


def _hat(distance: np.ndarray) -> np.ndarray:
    return np.maximum(0, 1 - distance)


def _cubic_basis(distance: np.ndarray) -> np.ndarray:
    """The uniform cubic B-spline."""
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(0, 2 - distance) ** 3 / 6
    return np.where(distance < 1, near, far)


def _mirror(index: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Whole-sample symmetric continuation, ... 2 1 0 1 2 ..., the one under which `spline_coefficients` is exact."""
    period = np.maximum(1, 2 * (shape - 1))
    folded = np.abs(index) % period
    return np.where(folded < shape, folded, period - folded)


# ---------------------------------------------------------------------------------------------------------------------
# The fast ones: unsigned flat offsets (Numba tests signed ones for negative indices, 10-30 % of the loop)


@njit(inline="always", cache=True)
def cell_of(x, n):  # type: ignore[no-untyped-def]
    """A coordinate clamped onto 0..n-1, as lower index, upper index and fraction."""
    x = min(max(x, 0.0), n - 1.0)
    # through a signed integer: processors have no instruction for the unsigned one
    low = np.uintp(np.int64(x))
    high = low + np.uintp(1) if low + 1 < n else low
    return low, high, np.float32(x - np.float64(np.int64(x)))


@njit(inline="always", cache=True)
def _is_inside(x, y, z, ni, nj, nk):  # type: ignore[no-untyped-def]
    return x >= -0.5 and y >= -0.5 and z >= -0.5 and x < ni - 0.5 and y < nj - 0.5 and z < nk - 0.5


@njit(inline="always", cache=True)
def moved_to(matrix, points, n):  # type: ignore[no-untyped-def]
    p, q, r = points[n, 0], points[n, 1], points[n, 2]
    x = matrix[0, 0] * p + matrix[0, 1] * q + matrix[0, 2] * r + matrix[0, 3]
    y = matrix[1, 0] * p + matrix[1, 1] * q + matrix[1, 2] * r + matrix[1, 3]
    z = matrix[2, 0] * p + matrix[2, 1] * q + matrix[2, 2] * r + matrix[2, 3]
    return x, y, z


@njit(inline="always", cache=True)
def linear_at(flat, ni, nj, nk, x, y, z):  # type: ignore[no-untyped-def]
    i0, i1, fx = cell_of(x, ni)
    j0, j1, fy = cell_of(y, nj)
    k0, k1, fz = cell_of(z, nk)
    row, plane = np.uintp(nk), np.uintp(nj) * np.uintp(nk)
    a, b = i0 * plane + j0 * row, i0 * plane + j1 * row
    c, d = i1 * plane + j0 * row, i1 * plane + j1 * row
    va = flat[a + k0] + fz * (flat[a + k1] - flat[a + k0])
    vb = flat[b + k0] + fz * (flat[b + k1] - flat[b + k0])
    vc = flat[c + k0] + fz * (flat[c + k1] - flat[c + k0])
    vd = flat[d + k0] + fz * (flat[d + k1] - flat[d + k0])
    low = va + fy * (vb - va)
    high = vc + fy * (vd - vc)
    return low + fx * (high - low)


@njit(nogil=True, cache=True)
def _linear_points(flat, ni, nj, nk, matrix, points, outside, out):  # type: ignore[no-untyped-def]
    for n in range(len(out)):
        x, y, z = moved_to(matrix, points, n)
        out[n] = linear_at(flat, ni, nj, nk, x, y, z) if _is_inside(x, y, z, ni, nj, nk) else outside


@njit(nogil=True, cache=True)
def _nearest_points(flat, ni, nj, nk, matrix, points, outside, out):  # type: ignore[no-untyped-def]
    for n in range(len(out)):
        x, y, z = moved_to(matrix, points, n)
        if _is_inside(x, y, z, ni, nj, nk):
            # x + 0.5 >= 0 here, so truncation is the floor
            i, j, k = np.uintp(x + 0.5), np.uintp(y + 0.5), np.uintp(z + 0.5)
            out[n] = flat[(i * np.uintp(nj) + j) * np.uintp(nk) + k]
        else:
            out[n] = outside


@njit(nogil=True, cache=True)
def _vote_points(flat, ni, nj, nk, matrix, points, outside, out):  # type: ignore[no-untyped-def]
    names = np.empty(8, dtype=flat.dtype)
    weights = np.empty(8, dtype=np.float32)
    for n in range(len(out)):
        x, y, z = moved_to(matrix, points, n)
        if not _is_inside(x, y, z, ni, nj, nk):
            out[n] = outside
            continue
        i0, i1, fx = cell_of(x, ni)
        j0, j1, fy = cell_of(y, nj)
        k0, k1, fz = cell_of(z, nk)
        found = 0
        for corner in range(8):
            i, j, k = (i1 if corner & 4 else i0), (j1 if corner & 2 else j0), (k1 if corner & 1 else k0)
            weight = (fx if corner & 4 else 1 - fx) * (fy if corner & 2 else 1 - fy) * (fz if corner & 1 else 1 - fz)
            name = flat[(i * np.uintp(nj) + j) * np.uintp(nk) + k]
            slot = 0
            while slot < found and names[slot] != name:
                slot += 1
            if slot == found:
                names[found], weights[found] = name, np.float32(0)
                found += 1
            weights[slot] += np.float32(weight)
        best = 0
        for slot in range(1, found):
            lead = weights[slot] - weights[best]
            # the same 1e-5 as the twin's rounding: below it two labels tie, and the smaller one wins
            if lead > 1e-5 or (abs(lead) <= 1e-5 and names[slot] < names[best]):
                best = slot
        out[n] = names[best]


@njit(inline="always", cache=True)
def _cubic_weights(f, w):  # type: ignore[no-untyped-def]
    g = 1 - f
    w[0] = g * g * g / 6
    w[1] = 2 / 3 - f * f + f * f * f / 2
    w[2] = 2 / 3 - g * g + g * g * g / 2
    w[3] = f * f * f / 6


@njit(inline="always", cache=True)
def _mirrored(index, n):  # type: ignore[no-untyped-def]
    if n == 1:
        return 0
    period = 2 * (n - 1)
    index = abs(index) % period
    return index if index < n else period - index


@njit(nogil=True, cache=True)
def _cubic_points(flat, ni, nj, nk, matrix, points, outside, out):  # type: ignore[no-untyped-def]
    wi, wj, wk = np.empty(4), np.empty(4), np.empty(4)
    ks = np.empty(4, dtype=np.uintp)
    for n in range(len(out)):
        x, y, z = moved_to(matrix, points, n)
        if not _is_inside(x, y, z, ni, nj, nk):
            out[n] = outside
            continue
        i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        _cubic_weights(x - i, wi)
        _cubic_weights(y - j, wj)
        _cubic_weights(z - k, wk)
        for c in range(4):
            ks[c] = np.uintp(_mirrored(k + c - 1, nk))
        total = 0.0
        for a in range(4):
            plane = np.uintp(_mirrored(i + a - 1, ni)) * np.uintp(nj)
            for b in range(4):
                row = (plane + np.uintp(_mirrored(j + b - 1, nj))) * np.uintp(nk)
                line = wk[0] * flat[row + ks[0]] + wk[1] * flat[row + ks[1]]
                line += wk[2] * flat[row + ks[2]] + wk[3] * flat[row + ks[3]]
                total += wi[a] * wj[b] * line
        out[n] = total


_POINT_KERNELS = {
    "linear": _linear_points,
    "nearest": _nearest_points,
    "vote": _vote_points,
    "cubic": _cubic_points,
}


# ---------------------------------------------------------------------------------------------------------------------
# What the rest of the house calls


def sample(
    data: np.ndarray,
    points: np.ndarray,
    mode: str,
    outside: float,
    voxel_from_point: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Values at points.

    data              (I, J, K) float32, or integers for "nearest" and "vote"; for "cubic" the spline coefficients
    points            (N, 3) float64
    outside           the value beyond half a voxel from the outermost centres
    voxel_from_point  (4, 4), if the points are not voxel coordinates already
    returns           (N,) of data's dtype, written to `out` if given
    """
    data = reading(data)
    result = np.empty(len(points), dtype=data.dtype) if out is None else out
    matrix = reading(np.eye(4) if voxel_from_point is None else voxel_from_point, np.float64)
    kernel = _POINT_KERNELS[mode]
    ni, nj, nk = data.shape
    kernel(data.ravel(), ni, nj, nk, matrix, reading(points, np.float64), data.dtype.type(outside), result)
    return result


def spline_coefficients(data: np.ndarray) -> np.ndarray:
    """The float32 coefficients whose cubic B-spline passes through every voxel (mirrored ends)."""
    from scipy.ndimage import spline_filter1d

    coefficients = np.asarray(data, np.float32)
    for axis in range(3):
        if coefficients.shape[axis] > 1:
            coefficients = spline_filter1d(coefficients, 3, axis=axis, output=np.float32, mode="mirror")
    return coefficients


# ---------------------------------------------------------------------------------------------------------------------
# torch: any device, and gradients to the data and to the coordinates


def sample_torch(data: torch.Tensor, voxels: torch.Tensor, mode: str, outside: float) -> torch.Tensor:
    """`sample` on torch tensors: (I, J, K) data and (N, 3) voxel coordinates on one device give (N,) values."""
    import torch

    size = torch.tensor(data.shape, device=data.device, dtype=voxels.dtype)
    inside = ((voxels >= -0.5) & (voxels < size - 0.5)).all(dim=1)
    clamped = torch.minimum(voxels.clamp(min=0), size - 1)
    if mode == "linear":
        values = _grid_sample(data[None], clamped)[0]
    elif mode == "nearest":
        i, j, k = torch.floor(clamped + 0.5).long().unbind(dim=1)
        values = data[i, j, k]
    elif mode == "cubic":
        values = _cubic_torch(data, torch.minimum(voxels.clamp(min=-0.5), size - 0.5))
    else:
        values = _vote_torch(data, clamped)
    return torch.where(inside, values, torch.as_tensor(outside, dtype=values.dtype, device=values.device))


def sample_vectors_torch(vectors: torch.Tensor, voxels: torch.Tensor) -> torch.Tensor:
    """A field at voxels, on torch tensors: (I, J, K, 3) and (N, 3) give (N, 3) of the coordinates' dtype."""
    return _grid_sample(vectors.movedim(3, 0), voxels).T.to(voxels.dtype)


def spline_coefficients_torch(data: torch.Tensor) -> torch.Tensor:
    """`spline_coefficients` as three products with the inverse of the (tridiagonal) collocation matrix."""
    import torch

    for axis, n in enumerate(data.shape):
        if n > 1:
            inverse = torch.from_numpy(np.linalg.inv(_collocation(n))).to(data)
            data = torch.tensordot(inverse, data, dims=([1], [axis])).movedim(0, axis)
    return data


def _collocation(n: int) -> np.ndarray:
    """(n, n): values at the voxels from cubic B-spline coefficients, with mirrored ends."""
    matrix = np.zeros((n, n))
    for row in range(n):
        for step, weight in ((-1, 1 / 6), (0, 2 / 3), (1, 1 / 6)):
            matrix[row, int(_mirror(np.array([row + step]), np.array([n]))[0])] += weight
    return matrix


def _grid_sample(channels: torch.Tensor, voxels: torch.Tensor) -> torch.Tensor:
    """(C, I, J, K) channels at (N, 3) voxels, clamped at the ends, as (C, N)."""
    import torch

    size = torch.tensor(channels.shape[1:], device=voxels.device, dtype=voxels.dtype)
    # a single plane has no extent: any coordinate is its only voxel
    unit = torch.where(size > 1, 2 * voxels / (size - 1).clamp(min=1) - 1, torch.zeros_like(voxels))
    # torch counts axes from the last one; computed in the coordinates' own precision, rounded to the data's at the end
    lattice = unit.flip(dims=(1,)).to(channels.dtype)[None, :, None, None]
    sampled = torch.nn.functional.grid_sample(
        channels[None], lattice, mode="bilinear", padding_mode="border", align_corners=True
    )
    return sampled[0, :, :, 0, 0]


def _cubic_torch(coefficients: torch.Tensor, voxels: torch.Tensor) -> torch.Tensor:
    import torch

    size = torch.tensor(coefficients.shape, device=voxels.device)
    base = torch.floor(voxels).long()
    period = (2 * (size - 1)).clamp(min=1)
    total = torch.zeros(len(voxels), device=voxels.device, dtype=coefficients.dtype)
    for steps in product(range(-1, 3), repeat=3):
        index = base + torch.tensor(steps, device=voxels.device)
        distance = (voxels - index).abs()
        near = 2 / 3 - distance**2 + distance**3 / 2
        far = (2 - distance).clamp(min=0) ** 3 / 6
        weight = torch.where(distance < 1, near, far).prod(dim=1).to(coefficients.dtype)
        folded = index.abs() % period
        i, j, k = torch.where(folded < size, folded, period - folded).unbind(dim=1)
        total = total + weight * coefficients[i, j, k]
    return total


def _vote_torch(labels: torch.Tensor, voxels: torch.Tensor) -> torch.Tensor:
    import torch

    best_score = torch.full((len(voxels),), -1.0, device=voxels.device)
    best = torch.zeros(len(voxels), dtype=labels.dtype, device=voxels.device)
    # names come sorted, so a later one must lead by more than a rounding to win: the smaller label keeps a tie
    for name in torch.unique(labels):
        score = _grid_sample((labels == name).float()[None], voxels)[0]
        wins = score > best_score + 1e-5
        best = torch.where(wins, name, best)
        best_score = torch.where(wins, score, best_score)
    return best
