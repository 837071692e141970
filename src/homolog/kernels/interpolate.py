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
from homolog.kernels.threads import over_planes

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


def sample_vectors_reference(vectors: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Vectors at (N, 3) voxels, linear, and the nearest edge value beyond the lattice: what `displace` adds."""
    clamped = np.clip(voxels, 0, np.array(vectors.shape[:3]) - 1)
    channels = [_weighted_reference(vectors[..., c], clamped, 0, _hat) for c in range(3)]
    return np.stack(channels, axis=1)


# ---------------------------------------------------------------------------------------------------------------------
# The fast ones: unsigned flat offsets (Numba tests signed ones for negative indices, 10-30 % of the loop)


@njit(inline="always", cache=True)
def _split(x, n):  # type: ignore[no-untyped-def]
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
def _moved_to(matrix, points, n):  # type: ignore[no-untyped-def]
    p, q, r = points[n, 0], points[n, 1], points[n, 2]
    x = matrix[0, 0] * p + matrix[0, 1] * q + matrix[0, 2] * r + matrix[0, 3]
    y = matrix[1, 0] * p + matrix[1, 1] * q + matrix[1, 2] * r + matrix[1, 3]
    z = matrix[2, 0] * p + matrix[2, 1] * q + matrix[2, 2] * r + matrix[2, 3]
    return x, y, z


@njit(inline="always", cache=True)
def _linear_at(flat, ni, nj, nk, x, y, z):  # type: ignore[no-untyped-def]
    i0, i1, fx = _split(x, ni)
    j0, j1, fy = _split(y, nj)
    k0, k1, fz = _split(z, nk)
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
        x, y, z = _moved_to(matrix, points, n)
        out[n] = _linear_at(flat, ni, nj, nk, x, y, z) if _is_inside(x, y, z, ni, nj, nk) else outside


@njit(nogil=True, cache=True)
def _nearest_points(flat, ni, nj, nk, matrix, points, outside, out):  # type: ignore[no-untyped-def]
    for n in range(len(out)):
        x, y, z = _moved_to(matrix, points, n)
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
        x, y, z = _moved_to(matrix, points, n)
        if not _is_inside(x, y, z, ni, nj, nk):
            out[n] = outside
            continue
        i0, i1, fx = _split(x, ni)
        j0, j1, fy = _split(y, nj)
        k0, k1, fz = _split(z, nk)
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
        x, y, z = _moved_to(matrix, points, n)
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


@njit(nogil=True, cache=True)
def _displace_points(vectors, matrix, points, out):  # type: ignore[no-untyped-def]
    ni, nj, nk = vectors.shape[0], vectors.shape[1], vectors.shape[2]
    flat = vectors.reshape(ni * nj * nk, 3)
    row, plane = np.uintp(nk), np.uintp(nj) * np.uintp(nk)
    for n in range(len(out)):
        x, y, z = _moved_to(matrix, points, n)
        i0, i1, fx = _split(x, ni)
        j0, j1, fy = _split(y, nj)
        k0, k1, fz = _split(z, nk)
        a, b = i0 * plane + j0 * row, i0 * plane + j1 * row
        c, d = i1 * plane + j0 * row, i1 * plane + j1 * row
        for m in range(3):
            va = flat[a + k0, m] + fz * (flat[a + k1, m] - flat[a + k0, m])
            vb = flat[b + k0, m] + fz * (flat[b + k1, m] - flat[b + k0, m])
            vc = flat[c + k0, m] + fz * (flat[c + k1, m] - flat[c + k0, m])
            vd = flat[d + k0, m] + fz * (flat[d + k1, m] - flat[d + k0, m])
            low = va + fy * (vb - va)
            high = vc + fy * (vd - vc)
            out[n, m] = points[n, m] + (low + fx * (high - low))


@njit(inline="always", cache=True)
def _vector_and_slope(vectors, x, y, z, d, slope):  # type: ignore[no-untyped-def]
    """The field d (3) and its derivative (3, 3) on the trilinear piece at x, y, z; no slope across a clamped face."""
    ni, nj, nk = vectors.shape[0], vectors.shape[1], vectors.shape[2]
    i0, i1, fx = _split(x, ni)
    j0, j1, fy = _split(y, nj)
    k0, k1, fz = _split(z, nk)
    free_x = 1.0 if 0.0 <= x <= ni - 1 else 0.0
    free_y = 1.0 if 0.0 <= y <= nj - 1 else 0.0
    free_z = 1.0 if 0.0 <= z <= nk - 1 else 0.0
    for m in range(3):
        v000, v001 = vectors[i0, j0, k0, m], vectors[i0, j0, k1, m]
        v010, v011 = vectors[i0, j1, k0, m], vectors[i0, j1, k1, m]
        v100, v101 = vectors[i1, j0, k0, m], vectors[i1, j0, k1, m]
        v110, v111 = vectors[i1, j1, k0, m], vectors[i1, j1, k1, m]
        a, b = v000 + fz * (v001 - v000), v010 + fz * (v011 - v010)
        c, e = v100 + fz * (v101 - v100), v110 + fz * (v111 - v110)
        low, high = a + fy * (b - a), c + fy * (e - c)
        d[m] = low + fx * (high - low)
        slope[m, 0] = free_x * (high - low)
        slope[m, 1] = free_y * ((b - a) + fx * ((e - c) - (b - a)))
        zl = (v001 - v000) + fy * ((v011 - v010) - (v001 - v000))
        zh = (v101 - v100) + fy * ((v111 - v110) - (v101 - v100))
        slope[m, 2] = free_z * (zl + fx * (zh - zl))


@njit(nogil=True, cache=True)
def _slopes_points(vectors, voxels, out, slopes):  # type: ignore[no-untyped-def]
    for n in range(len(out)):
        _vector_and_slope(vectors, voxels[n, 0], voxels[n, 1], voxels[n, 2], out[n], slopes[n])


# no `nnan`: a NaN displacement must fail the rim's test, not become an index
@njit(nogil=True, cache=True, fastmath={"contract", "nsz", "arcp"})
def _warp_dense_linear(flat, ni, nj, nk, vectors, start, stop, matrix, linear, outside, out):  # type: ignore[no-untyped-def]
    """The planes start..stop of a linear warp whose displacement lies on the output's own lattice.

    Each row is done twice: first its coordinates, then its look-ups. The first loop is vectorised, four voxels at once,
    because it holds no 64-bit integer: offsets are kept as float64, which counts exactly to 2^53.

    matrix  (3, 4) float64: source voxel of an output voxel without displacement
    linear  (3, 3) float64: source voxels per mm of displacement
    """
    rows, columns = vectors.shape[1], vectors.shape[2]
    l00, l01, l02 = linear[0, 0], linear[0, 1], linear[0, 2]
    l10, l11, l12 = linear[1, 0], linear[1, 1], linear[1, 2]
    l20, l21, l22 = linear[2, 0], linear[2, 1], linear[2, 2]
    mx, my, mz = matrix[0, 2], matrix[1, 2], matrix[2, 2]
    last_i, last_j, last_k = ni - 1.0, nj - 1.0, nk - 1.0
    low_i, low_j, low_k = np.int32(max(ni - 2, 0)), np.int32(max(nj - 2, 0)), np.int32(max(nk - 2, 0))
    # an axis of one voxel has no upper neighbour: its step is zero
    up_i = np.uintp(nj * nk if ni > 1 else 0)
    up_j = np.uintp(nk if nj > 1 else 0)
    up_k = np.uintp(1 if nk > 1 else 0)
    base = np.empty(columns, np.float64)
    wide_j, wide_k = np.float64(nj), np.float64(nk)
    flat_vectors = vectors.reshape(vectors.size)
    fx, fy, fz = np.empty(columns, np.float32), np.empty(columns, np.float32), np.empty(columns, np.float32)
    for i in range(start, stop):
        for j in range(rows):
            x0 = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 3]
            y0 = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 3]
            z0 = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 3]
            row = (i * rows + j) * columns * 3
            shifts, line = flat_vectors[row : row + 3 * columns], out[i, j]
            for k in range(np.uintp(columns)):
                step = np.float64(np.int32(k))
                u, v, w = shifts[3 * k], shifts[3 * k + np.uintp(1)], shifts[3 * k + np.uintp(2)]
                x = x0 + mx * step + l00 * u + l01 * v + l02 * w
                y = y0 + my * step + l10 * u + l11 * v + l12 * w
                z = z0 + mz * step + l20 * u + l21 * v + l22 * w
                xc, yc, zc = min(max(x, 0.0), last_i), min(max(y, 0.0), last_j), min(max(z, 0.0), last_k)
                dx, dy, dz = x - xc, y - yc, z - zc
                inside = (dx >= -0.5) & (dy >= -0.5) & (dz >= -0.5) & (dx < 0.5) & (dy < 0.5) & (dz < 0.5)
                a, b, c = min(np.int32(xc), low_i), min(np.int32(yc), low_j), min(np.int32(zc), low_k)
                fa, fb, fc = np.float64(a), np.float64(b), np.float64(c)
                fx[k], fy[k], fz[k] = np.float32(xc - fa), np.float32(yc - fb), np.float32(zc - fc)
                base[k] = (fa * wide_j + fb) * wide_k + fc if inside else -1.0
            for k in range(np.uintp(columns)):
                if base[k] < 0:
                    line[k] = outside
                    continue
                p = np.uintp(np.int64(base[k]))
                q, r = p + up_j, p + up_i
                s = r + up_j
                va = flat[p] + fz[k] * (flat[p + up_k] - flat[p])
                vb = flat[q] + fz[k] * (flat[q + up_k] - flat[q])
                vc = flat[r] + fz[k] * (flat[r + up_k] - flat[r])
                vd = flat[s] + fz[k] * (flat[s + up_k] - flat[s])
                low = va + fy[k] * (vb - va)
                high = vc + fy[k] * (vd - vc)
                line[k] = low + fx[k] * (high - low)


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


def displace(vectors: np.ndarray, voxel_from_world: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points moved by a displacement field.

    Beyond the lattice by its nearest edge value: a displacement that dropped to zero there would tear the patient.

    vectors           (I, J, K, 3) float32 mm
    voxel_from_world  (4, 4) of the field's lattice
    points            (N, 3) float64 mm
    returns           (N, 3) float64 mm
    """
    out = np.empty((len(points), 3))
    matrix = reading(voxel_from_world, np.float64)
    _displace_points(reading(vectors, np.float32), matrix, reading(points, np.float64), out)
    return out


def sample_vectors_and_slopes(vectors: np.ndarray, voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A field at (N, 3) voxels, and the (N, 3, 3) derivative of the trilinear piece that each point is on.

    Row the component, column the lattice axis, per voxel; zero across a face beyond which the field is constant.
    """
    out, slopes = np.empty((len(voxels), 3)), np.empty((len(voxels), 3, 3))
    _slopes_points(reading(vectors, np.float32), reading(voxels, np.float64), out, slopes)
    return out, slopes


def warp_dense(
    data: np.ndarray, vectors: np.ndarray, source_from_output: np.ndarray, source_from_mm: np.ndarray, outside: float
) -> np.ndarray:
    """A linear warp by a displacement given at every output voxel, in one pass and without coordinates in memory.

    data                (I, J, K) float32
    vectors             (I', J', K', 3) float32 mm, on the output's lattice
    source_from_output  (4, 4) source voxel of an output voxel without displacement
    source_from_mm      (3, 3) source voxels per mm of displacement
    returns             (I', J', K') float32
    """
    data, vectors = reading(data, np.float32), reading(vectors, np.float32)
    out = np.empty(vectors.shape[:3], np.float32)
    matrix, linear = reading(source_from_output[:3], np.float64), reading(source_from_mm, np.float64)
    flat, fill = data.ravel(), np.float32(outside)
    ni, nj, nk = data.shape

    def planes(start: int, stop: int) -> None:
        _warp_dense_linear(flat, ni, nj, nk, vectors, start, stop, matrix, linear, fill, out)

    over_planes(planes, len(out))
    return out


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
