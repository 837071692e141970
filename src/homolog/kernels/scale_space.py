"""Gaussian blurs along the axes of a picture, by tables of what each voxel takes from which others.

A table is two arrays for an axis of n voxels: `start` (n,) int64, the first voxel read, and `weights` (n, W) float64.
So borders, and taps that lie between voxels, cost nothing where a picture is blurred.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.threads import over_planes

Table = tuple[np.ndarray, np.ndarray]
# Standard deviations: 6e-5 of a Gaussian's weight lies beyond.
REACH = 4.0
# Of the published program: taps reach so many standard deviations and lie 1 mm apart, whatever the voxels.
PUBLISHED_REACH = 3.0
# And the slip, in voxels, by which it misses the mirror image beyond the last voxel.
SLIP = 0.1


# ---------------------------------------------------------------------------------------------------------------------
# The definitions


def line_reference(line: np.ndarray, spacing_mm: float, sigma_mm: float) -> np.ndarray:
    """The twin of `table`: (n,) a line of voxels blurred by Lindeberg's discrete Gaussian, mirrored about its ends.

    Its weight at n voxels is exp(-t) I_n(t), t the variance in voxels squared (Lindeberg, IEEE PAMI 12:234, 1990).
    However coarse the voxels are, its variance is t, and two blurs are one by the sum of their variances; a sampled
    Gaussian's is not, nor that of taps which read between voxels.
    """
    from scipy.special import ive

    reach = _reach(sigma_mm / spacing_mm)
    shifts = np.arange(-reach, reach + 1)
    weights = ive(np.abs(shifts), (sigma_mm / spacing_mm) ** 2)
    padded = np.pad(line, reach, mode="reflect")
    return np.correlate(padded, weights / weights.sum(), mode="valid")


def published_line_reference(line: np.ndarray, spacing_mm: float, sigma_mm: float) -> np.ndarray:
    """The twin of `published_table`: (n,) a line blurred as the published program does, with its way beyond the ends.

    Taps 1 mm apart read by linear interpolation. From one voxel before the first on they are mirrored, up to there the
    line is continued straight; from the last voxel on the mirror is a tenth of a voxel off.
    """
    last = len(line) - 1
    blurred = np.zeros(len(line))
    for n in range(len(line)):
        for place_mm, weight in zip(*published_taps(sigma_mm)):
            read = n - place_mm / spacing_mm
            if int(read) < 0:
                read = -read
            elif int(read) >= last:
                read = 2 * last - read - SLIP
            # once mirrored, beyond the other end still: undefined there, the end voxel here
            read = min(max(read, -1.0), float(last))
            low = min(int(read), last - 1)
            blurred[n] += weight * ((1 - (read - low)) * line[low] + (read - low) * line[low + 1])
    return blurred


def published_taps(sigma_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """(T,) places in mm, and (T,) weights whose sum is 1."""
    reach = max(int(np.ceil(PUBLISHED_REACH * sigma_mm)), 1)
    places = np.arange(-reach, reach + 1)
    weights = np.exp(-(places**2) / (2 * sigma_mm**2))
    return places, weights / weights.sum()


def blur_reference(data: np.ndarray, tables: tuple[Table, Table, Table]) -> np.ndarray:
    """The twin of `blur`, float64: for each axis the matrix whose rows are the table's."""
    result = data.astype(np.float64)
    for axis, (start, weights) in enumerate(tables):
        matrix = np.zeros((len(start), len(start)))
        for n in range(len(start)):
            matrix[n, start[n] : start[n] + weights.shape[1]] = weights[n]
        result = np.moveaxis(np.tensordot(matrix, result, (1, axis)), 0, axis)
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Tables


def table(voxels: int, spacing_mm: float, sigma_mm: float) -> Table:
    """What `line_reference` reads for each of so many voxels; an axis of one voxel is left alone."""
    from scipy.special import ive

    reach = _reach(sigma_mm / spacing_mm)
    shifts = np.arange(-reach, reach + 1)
    weights = ive(np.abs(shifts), (sigma_mm / spacing_mm) ** 2)
    read = np.abs(np.arange(voxels)[:, None] + shifts) % max(1, 2 * (voxels - 1))
    return _gathered(np.minimum(read, 2 * (voxels - 1) - read), weights / weights.sum(), reach)


def published_table(voxels: int, spacing_mm: float, sigma_mm: float) -> Table:
    """What `published_line_reference` reads for each of two voxels or more."""
    places_mm, weights = published_taps(sigma_mm)
    last = voxels - 1
    read = np.arange(voxels)[:, None] - places_mm / spacing_mm
    whole = np.trunc(read)
    read = np.clip(np.where(whole < 0, -read, np.where(whole >= last, 2 * last - read - SLIP, read)), -1, last)
    low = np.minimum(read.astype(np.int64), last - 1)
    share = read - low
    both = np.concatenate((low, low + 1), axis=1), np.concatenate(((1 - share) * weights, share * weights), axis=1)
    return _gathered(*both, int(np.ceil(places_mm[-1] / spacing_mm)) + 1)


def _gathered(read: np.ndarray, weights: np.ndarray, reach: int) -> Table:
    """A table from the voxels that each voxel reads (n, T), `reach` away at most, and their weights, (n, T) or (T,)."""
    voxels = len(read)
    width = min(voxels, 2 * reach + 1)
    start = np.clip(np.arange(voxels) - reach, 0, voxels - width)
    rows = np.zeros((voxels, width))
    row = np.broadcast_to(np.arange(voxels)[:, None], read.shape)
    np.add.at(rows, (row, read - start[:, None]), np.broadcast_to(weights, read.shape))
    start.flags.writeable = rows.flags.writeable = False
    return start, rows


def _reach(sigma_vox: float) -> int:
    # a voxel more: of small blurs the discrete Gaussian has longer tails than the continuous one
    return int(np.ceil(REACH * sigma_vox)) + 1


# ---------------------------------------------------------------------------------------------------------------------
# The kernel


@njit(inline="always", cache=True)
def _gather(source, first, weights, out):  # type: ignore[no-untyped-def]
    """out (n) = the weighted sum of the rows source[first], source[first + 1], ... (n each), four at a time."""
    taps = len(weights)
    n = len(out)
    for k in range(n):
        out[k] = weights[0] * source[first, k]
    t = 1
    while t + 4 <= taps:
        w0, w1, w2, w3 = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        r0, r1, r2, r3 = source[first + t], source[first + t + 1], source[first + t + 2], source[first + t + 3]
        for k in range(n):
            out[k] += (w0 * r0[k] + w1 * r1[k]) + (w2 * r2[k] + w3 * r3[k])
        t += 4
    while t < taps:
        w0, r0 = weights[t], source[first + t]
        for k in range(n):
            out[k] += w0 * r0[k]
        t += 1


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _blur_planes(data, si, wi, sj, wj, sk, wk, begin, end, out):  # type: ignore[no-untyped-def]
    """The planes begin..end, along i, j, k in turn; a plane's two intermediate results stay in the cache."""
    nj, nk = data.shape[1], data.shape[2]
    flat = data.reshape(data.shape[0], nj * nk)
    along_i = np.empty((nj, nk), np.float32)
    along_j = np.empty(nk, np.float32)
    flat_i = along_i.reshape(nj * nk)
    taps = wk.shape[1]
    # between these, each voxel along k reads the same places relative to itself, with the same weights
    middle = nk // 2
    reach = middle - sk[middle]
    low, high = min(reach, nk), max(min(reach, nk), nk - 1 - reach)
    inner = wk[middle]
    for i in range(begin, end):
        _gather(flat, si[i], wi[i], flat_i)
        for j in range(nj):
            _gather(along_i, sj[j], wj[j], along_j)
            row = out[i, j]
            for k in range(nk):
                row[k] = 0
            if taps < nk:
                shifted = row[low:high]
                t = 0
                while t + 4 <= taps:
                    w0, w1, w2, w3 = inner[t], inner[t + 1], inner[t + 2], inner[t + 3]
                    r = along_j[low - reach + t :]
                    for k in range(high - low):
                        shifted[k] += (w0 * r[k] + w1 * r[k + 1]) + (w2 * r[k + 2] + w3 * r[k + 3])
                    t += 4
                while t < taps:
                    r = along_j[low - reach + t :]
                    w0 = inner[t]
                    for k in range(high - low):
                        shifted[k] += w0 * r[k]
                    t += 1
            else:
                low, high = 0, 0
            for k in range(nk):
                if k < low or k >= high:
                    total = np.float32(0)
                    for t in range(taps):
                        total += wk[k, t] * along_j[sk[k] + t]
                    row[k] = total


def blur(data: np.ndarray, tables: tuple[Table, Table, Table], factor: float = 1.0) -> np.ndarray:
    """(I, J, K) float32: a picture (I, J, K) blurred along its axes, times a factor."""
    data = reading(data, np.float32)
    out = np.empty(data.shape, np.float32)
    rows = [(reading(start), reading(weights, np.float32)) for start, weights in tables]
    # the factor is the first axis's: no pass over the picture for it
    rows[0] = (rows[0][0], reading(tables[0][1] * factor, np.float32))
    (si, wi), (sj, wj), (sk, wk) = rows

    def planes(begin: int, end: int) -> None:
        _blur_planes(data, si, wi, sj, wj, sk, wk, begin, end, out)

    over_planes(planes, data.shape[0], at_least=8)
    return out
