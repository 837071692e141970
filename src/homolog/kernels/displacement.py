"""Displacement fields: points moved by one, its slopes, and pictures warped by one in a single pass."""

from __future__ import annotations

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.interpolate import cell_of, moved_to, sample_reference
from homolog.kernels.threads import over_planes


def sample_vectors_reference(vectors: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """Vectors at (N, 3) voxels, linear, and the nearest edge value beyond the lattice: what `displace` adds."""
    clamped = np.clip(voxels, 0, np.array(vectors.shape[:3]) - 1)
    channels = vectors.astype(np.float64)
    return np.stack([sample_reference(channels[..., c], clamped, "linear", 0.0) for c in range(3)], axis=1)


@njit(nogil=True, cache=True)
def _displace_points(vectors, matrix, points, out):  # type: ignore[no-untyped-def]
    ni, nj, nk = vectors.shape[0], vectors.shape[1], vectors.shape[2]
    flat = vectors.reshape(ni * nj * nk, 3)
    row, plane = np.uintp(nk), np.uintp(nj) * np.uintp(nk)
    for n in range(len(out)):
        x, y, z = moved_to(matrix, points, n)
        i0, i1, fx = cell_of(x, ni)
        j0, j1, fy = cell_of(y, nj)
        k0, k1, fz = cell_of(z, nk)
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
def vector_and_slope(vectors, x, y, z, d, slope):  # type: ignore[no-untyped-def]
    """The field d (3) and its derivative (3, 3) on the trilinear piece at x, y, z; no slope across a clamped face."""
    ni, nj, nk = vectors.shape[0], vectors.shape[1], vectors.shape[2]
    i0, i1, fx = cell_of(x, ni)
    j0, j1, fy = cell_of(y, nj)
    k0, k1, fz = cell_of(z, nk)
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
        vector_and_slope(vectors, voxels[n, 0], voxels[n, 1], voxels[n, 2], out[n], slopes[n])


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
