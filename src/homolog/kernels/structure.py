"""What gradients round a point have in common: their weighted sum, and the sum of their outer products."""

from __future__ import annotations

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.threads import over_planes


def moments_reference(
    level: np.ndarray, centres: np.ndarray, sigma_mm: np.ndarray, spacing_mm: np.ndarray, reach: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """The twin of `moments`."""
    voxels = np.stack(np.meshgrid(*(np.arange(1, n - 1) for n in level.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    slopes = gradient_reference(level, spacing_mm)[tuple(voxels.T)]
    sums, products = np.zeros((len(centres), 3)), np.zeros((len(centres), 3, 3))
    for n, (centre, sigma) in enumerate(zip(centres, sigma_mm)):
        distance2 = (((voxels - centre) * spacing_mm) ** 2).sum(axis=1)
        near = distance2 <= (reach * sigma) ** 2
        weighted = np.exp(-distance2[near] / (2 * sigma**2))[:, None] * slopes[near]
        sums[n], products[n] = weighted.sum(axis=0), weighted.T @ slopes[near]
    return sums, products


def gradient_reference(level: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """(I, J, K, 3) float64: central differences a mm; 0 in the outermost voxels."""
    slopes = np.zeros((*level.shape, 3))
    inner = (slice(1, -1),) * 3
    for axis in range(3):
        ahead, behind = (np.roll(level.astype(np.float64), step, axis)[inner] for step in (-1, 1))
        slopes[(*inner, axis)] = (ahead - behind) / (2 * spacing_mm[axis])
    return slopes


@njit(inline="always", cache=True)
def window(centre, radius, spacing, voxels):  # type: ignore[no-untyped-def]
    """The voxels of 1..n-2 within a radius along one axis, half open."""
    first = max(1, int(np.ceil(centre - radius / spacing)))
    last = min(voxels - 2, int(np.floor(centre + radius / spacing)))
    return first, last + 1


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz", "arcp"})
def _moments(level, centres, sigma, reach, spacing, begin, end, out):  # type: ignore[no-untyped-def]
    """Row by row, the sums of a row in float32 without its constant share of the weights, those of rows in float64."""
    ni, nj, nk = level.shape
    flat = level.reshape(ni * nj * nk)
    row_step, plane_step, one = np.uintp(nk), np.uintp(nj * nk), np.uintp(1)
    along, across = np.empty(nk, np.float32), np.empty(nj, np.float64)
    half_i, half_j, half_k = (np.float32(0.5 / spacing[0]), np.float32(0.5 / spacing[1]), np.float32(0.5 / spacing[2]))
    for n in range(begin, end):
        x, y, z, radius = centres[n, 0], centres[n, 1], centres[n, 2], reach * sigma[n]
        decay = -0.5 / (sigma[n] * sigma[n])
        i0, i1 = window(x, radius, spacing[0], ni)
        j0, j1 = window(y, radius, spacing[1], nj)
        k0, k1 = window(z, radius, spacing[2], nk)
        for k in range(k0, k1):
            along[k] = np.exp(decay * ((k - z) * spacing[2]) ** 2)
        for j in range(j0, j1):
            across[j] = np.exp(decay * ((j - y) * spacing[1]) ** 2)
        total = np.zeros(9)
        for i in range(i0, i1):
            plane2 = ((i - x) * spacing[0]) ** 2
            plane_share = np.exp(decay * plane2)
            for j in range(j0, j1):
                left = radius * radius - plane2 - ((j - y) * spacing[1]) ** 2
                if left < 0:
                    continue
                first, last = window(z, np.sqrt(left), spacing[2], nk)
                if first >= last:
                    continue
                at, tap = np.uintp((i * nj + j) * nk + first), np.uintp(first)
                gx, gy, gz = np.float32(0), np.float32(0), np.float32(0)
                xx, xy, xz = np.float32(0), np.float32(0), np.float32(0)
                yy, yz, zz = np.float32(0), np.float32(0), np.float32(0)
                for m in range(np.uintp(last - first)):
                    here = at + m
                    w = along[tap + m]
                    sx = (flat[here + plane_step] - flat[here - plane_step]) * half_i
                    sy = (flat[here + row_step] - flat[here - row_step]) * half_j
                    sz = (flat[here + one] - flat[here - one]) * half_k
                    wx, wy, wz = w * sx, w * sy, w * sz
                    gx += wx
                    gy += wy
                    gz += wz
                    xx += wx * sx
                    xy += wx * sy
                    xz += wx * sz
                    yy += wy * sy
                    yz += wy * sz
                    zz += wz * sz
                share = plane_share * across[j]
                total[0] += share * gx
                total[1] += share * gy
                total[2] += share * gz
                total[3] += share * xx
                total[4] += share * xy
                total[5] += share * xz
                total[6] += share * yy
                total[7] += share * yz
                total[8] += share * zz
        out[n] = total


def moments(
    level: np.ndarray, centres: np.ndarray, sigma_mm: np.ndarray, spacing_mm: np.ndarray, reach: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """Sums over a ball round each point of w g (N, 3) and of w g g' (N, 3, 3), g the slope along the axes of storage.

    Weights are Gaussian and not normalised; the ball ends at `reach` standard deviations, and before the outermost
    voxels.

    level     (I, J, K) float32
    centres   (N, 3) float64 voxels
    sigma_mm  (N,) of the weights
    """
    level, spacing = reading(level, np.float32), reading(spacing_mm, np.float64)
    centres, sigma = reading(centres, np.float64), reading(sigma_mm, np.float64)
    found = np.empty((len(centres), 9))
    over_planes(
        lambda begin, end: _moments(level, centres, sigma, float(reach), spacing, begin, end, found),
        len(centres),
        at_least=32,
    )
    places = np.array([[3, 4, 5], [4, 6, 7], [5, 7, 8]])
    return found[:, :3], found[:, places]
