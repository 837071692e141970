"""Trilinear samples on one lattice of depths: see line_integrals.py, whose functions call these."""

from __future__ import annotations

import numpy as np
from numba import njit

from homolog.kernels.line_blocks import (
    BLOCK,
    FAST,
    LANES,
    LINES,
    STEPS,
    announce,
    directions,
    inside,
    sides,
    slope,
    span,
)

# Value, three slopes, three by depth, three mixed second derivatives, three by depth, three by depth squared.
MOMENTS = (1, 7, 16)


@njit(nogil=True, cache=True)
def project(volume, bundle, tangent, step, size, strides, first, last, order, values, slopes, turned):  # type: ignore[no-untyped-def]
    """Fills in lines first..last of LINES each: see line_integrals._project."""
    flat, exact = volume.reshape(-1), volume.dtype.type
    scratch, offsets = np.zeros(11 * BLOCK, volume.dtype), np.zeros(BLOCK, np.int32)
    sums, rays = np.zeros(LINES * 16 * LANES, volume.dtype), np.zeros(LINES * 6 * LANES, volume.dtype)
    direction = np.zeros((LINES, LANES, 3))
    ends = np.array([max(0, n - 2) for n in volume.shape]).astype(volume.dtype)
    # where an axis has one voxel, the upper one of a cell is too far to weigh anything
    far = np.array([1.0 if n > 1 else 1e9 for n in volume.shape]).astype(volume.dtype)
    jumps = (volume.shape[1] * volume.shape[2], volume.shape[2])
    upper = (
        jumps[0] if volume.shape[0] > 1 else 0,
        jumps[1] if volume.shape[1] > 1 else 0,
        min(1, volume.shape[2] - 1),
    )
    for line in range(first * LINES, min(last * LINES, size[0]), LINES):
        for lane in range(0, size[1], LANES):
            directions(bundle, line, lane, size, direction)
            begin, end = _samples(volume.shape, bundle[0], direction, step)
            middle = ((begin + end) // 2 + 0.5) * step
            for n in range(LINES):
                for axis in range(3):
                    for m in range(LANES):
                        rays[(6 * n + axis) * LANES + m] = bundle[0, axis] + middle * direction[n, m, axis]
                        rays[(6 * n + 3 + axis) * LANES + m] = direction[n, m, axis]
            sums[:] = 0
            for k in range(begin, end, STEPS):
                start = (k + 0.5) * step - middle
                _place(rays, exact(start), exact(step), ends, jumps, scratch, offsets)
                _look_up(flat, offsets, upper, scratch)
                if order == 0:
                    _add_values(scratch, far, sums)
                elif order == 1:
                    _add_slopes(scratch, far, exact(start), exact(step), sums)
                else:
                    _add_curvature(scratch, far, exact(start), exact(step), sums)
            for n in range(min(LINES, size[0] - line)):
                for m in range(min(LANES, size[1] - lane)):
                    pixel = (line + n) * strides[0] + (lane + m) * strides[1]
                    _finish(sums, n, m, middle, step, order, tangent, line + n, lane + m, pixel, values, slopes, turned)


@njit(nogil=True, cache=True)
def _samples(shape, source, direction, step):  # type: ignore[no-untyped-def]
    """The samples that some ray of a block has inside the volume, or less than one voxel beyond."""
    begin, end = np.inf, 0.0
    for n in range(LINES):
        for m in range(LANES):
            low, high = inside(shape, 1.0, source, direction[n, m])
            if low < high:
                begin, end = min(begin, low), max(end, high)
    if not begin < end:
        return 0, 0
    return max(0, np.int64(np.floor(begin / step - 0.5))), np.int64(np.ceil(end / step + 0.5))


@njit(nogil=True, cache=True, fastmath=FAST)
def _place(rays, start, step, ends, jumps, scratch, offsets):  # type: ignore[no-untyped-def]
    """The block's cells, as offsets of their lowest voxels, and where in them its samples are."""
    jump_i, jump_j = np.int32(jumps[0]), np.int32(jumps[1])
    end_i, end_j, end_k = ends[0], ends[1], ends[2]
    zero = start * 0
    for n in range(LINES):
        for k in range(STEPS):
            a, at, ray = start + step * scratch.dtype.type(k), (n * STEPS + k) * LANES, 6 * LANES * n
            for m in range(LANES):
                x = rays[ray + m] + a * rays[ray + 3 * LANES + m]
                y = rays[ray + LANES + m] + a * rays[ray + 4 * LANES + m]
                z = rays[ray + 2 * LANES + m] + a * rays[ray + 5 * LANES + m]
                i = min(max(np.floor(x), zero), end_i)
                j = min(max(np.floor(y), zero), end_j)
                l = min(max(np.floor(z), zero), end_k)
                scratch[8 * BLOCK + at + m] = x - i
                scratch[9 * BLOCK + at + m] = y - j
                scratch[10 * BLOCK + at + m] = z - l
                row = np.int32(np.int32(np.int32(i) * jump_i) + np.int32(np.int32(j) * jump_j))
                offsets[at + m] = np.int32(row + np.int32(l))


@njit(nogil=True, cache=True)
def _look_up(flat, offsets, upper, scratch):  # type: ignore[no-untyped-def]
    up_i, up_j, up_k = np.uintp(upper[0]), np.uintp(upper[1]), np.uintp(upper[2])
    for n in range(BLOCK):
        at = np.uintp(offsets[np.uintp(n)])
        announce(flat, at)
        announce(flat, at + up_j)
        announce(flat, at + up_i)
        announce(flat, at + up_i + up_j)
    for n in range(BLOCK):
        at = np.uintp(offsets[np.uintp(n)])
        scratch[np.uintp(n)] = flat[at]
        scratch[np.uintp(n + BLOCK)] = flat[at + up_k]
        scratch[np.uintp(n + 2 * BLOCK)] = flat[at + up_j]
        scratch[np.uintp(n + 3 * BLOCK)] = flat[at + up_j + up_k]
        scratch[np.uintp(n + 4 * BLOCK)] = flat[at + up_i]
        scratch[np.uintp(n + 5 * BLOCK)] = flat[at + up_i + up_k]
        scratch[np.uintp(n + 6 * BLOCK)] = flat[at + up_i + up_j]
        scratch[np.uintp(n + 7 * BLOCK)] = flat[at + up_i + up_j + up_k]


@njit(inline="always", cache=True)
def _along_k(v, at, low, high):  # type: ignore[no-untyped-def]
    """The cell's eight voxels weighed along k: four numbers, j fastest."""
    return (
        low * v[at] + high * v[at + BLOCK],
        low * v[at + 2 * BLOCK] + high * v[at + 3 * BLOCK],
        low * v[at + 4 * BLOCK] + high * v[at + 5 * BLOCK],
        low * v[at + 6 * BLOCK] + high * v[at + 7 * BLOCK],
    )


@njit(nogil=True, cache=True, fastmath=FAST)
def _add_values(scratch, far, sums):  # type: ignore[no-untyped-def]
    far_i, far_j, far_k = far[0], far[1], far[2]
    for n in range(LINES):
        for k in range(STEPS):
            at, to = (n * STEPS + k) * LANES, 16 * LANES * n
            for m in range(LANES):
                i0, i1 = sides(scratch[8 * BLOCK + at + m], far_i)
                j0, j1 = sides(scratch[9 * BLOCK + at + m], far_j)
                k0, k1 = sides(scratch[10 * BLOCK + at + m], far_k)
                a, b, c, d = _along_k(scratch, at + m, k0, k1)
                sums[to + m] += i0 * (j0 * a + j1 * b) + i1 * (j0 * c + j1 * d)


@njit(nogil=True, cache=True, fastmath=FAST)
def _add_slopes(scratch, far, start, step, sums):  # type: ignore[no-untyped-def]
    far_i, far_j, far_k = far[0], far[1], far[2]
    for n in range(LINES):
        for k in range(STEPS):
            depth, at, to = start + step * scratch.dtype.type(k), (n * STEPS + k) * LANES, 16 * LANES * n
            for m in range(LANES):
                x, y, z = scratch[8 * BLOCK + at + m], scratch[9 * BLOCK + at + m], scratch[10 * BLOCK + at + m]
                i0, i1 = sides(x, far_i)
                j0, j1 = sides(y, far_j)
                k0, k1 = sides(z, far_k)
                a, b, c, d = _along_k(scratch, at + m, k0, k1)
                p, q, r, s = _along_k(scratch, at + m, slope(z), slope(z - far_k))
                low, high = j0 * a + j1 * b, j0 * c + j1 * d
                f, g = slope(y), slope(y - far_j)
                by_i = slope(x) * low + slope(x - far_i) * high
                by_j = i0 * (f * a + g * b) + i1 * (f * c + g * d)
                by_k = i0 * (j0 * p + j1 * q) + i1 * (j0 * r + j1 * s)
                sums[to + m] += i0 * low + i1 * high
                sums[to + LANES + m] += by_i
                sums[to + 2 * LANES + m] += by_j
                sums[to + 3 * LANES + m] += by_k
                sums[to + 4 * LANES + m] += depth * by_i
                sums[to + 5 * LANES + m] += depth * by_j
                sums[to + 6 * LANES + m] += depth * by_k


@njit(nogil=True, cache=True, fastmath=FAST)
def _add_curvature(scratch, far, start, step, sums):  # type: ignore[no-untyped-def]
    far_i, far_j, far_k = far[0], far[1], far[2]
    _add_slopes(scratch, far, start, step, sums)
    for n in range(LINES):
        for k in range(STEPS):
            depth, at, to = start + step * scratch.dtype.type(k), (n * STEPS + k) * LANES, 16 * LANES * n
            for m in range(LANES):
                x, y, z = scratch[8 * BLOCK + at + m], scratch[9 * BLOCK + at + m], scratch[10 * BLOCK + at + m]
                i0, i1 = sides(x, far_i)
                j0, j1 = sides(y, far_j)
                k0, k1 = sides(z, far_k)
                a, b, c, d = _along_k(scratch, at + m, k0, k1)
                p, q, r, s = _along_k(scratch, at + m, slope(z), slope(z - far_k))
                e, h, f, g = slope(x), slope(x - far_i), slope(y), slope(y - far_j)
                by_jk = i0 * (f * p + g * q) + i1 * (f * r + g * s)
                by_ik = e * (j0 * p + j1 * q) + h * (j0 * r + j1 * s)
                by_ij = e * (f * a + g * b) + h * (f * c + g * d)
                sums[to + 7 * LANES + m] += by_jk
                sums[to + 8 * LANES + m] += by_ik
                sums[to + 9 * LANES + m] += by_ij
                sums[to + 10 * LANES + m] += depth * by_jk
                sums[to + 11 * LANES + m] += depth * by_ik
                sums[to + 12 * LANES + m] += depth * by_ij
                sums[to + 13 * LANES + m] += depth * depth * by_jk
                sums[to + 14 * LANES + m] += depth * depth * by_ik
                sums[to + 15 * LANES + m] += depth * depth * by_ij


@njit(nogil=True, cache=True)
def _finish(sums, n, m, middle, step, order, tangent, line, lane, pixel, values, slopes, turned):  # type: ignore[no-untyped-def]
    """One ray's sums as its integral and its derivatives; the sums' depths are from the middle of the samples."""
    at = 16 * LANES * n + m
    values[pixel] = step * np.float64(sums[at])
    if order == 0:
        return
    for axis in range(3):
        plain, moment = np.float64(sums[at + (1 + axis) * LANES]), np.float64(sums[at + (4 + axis) * LANES])
        slopes[pixel, axis] = step * plain
        slopes[pixel, 3 + axis] = step * (middle * plain + moment)
    if order == 1:
        return
    turned[pixel] = 0.0
    for one in range(3):
        for two in range(3):
            if one == two:
                # linear along each axis
                continue
            mixed = at + (10 - one - two) * LANES
            h0 = step * np.float64(sums[mixed])
            h1 = step * np.float64(sums[mixed + 3 * LANES]) + middle * h0
            h2 = step * np.float64(sums[mixed + 6 * LANES]) + middle * (2 * h1 - middle * h0)
            shift = tangent[0, two]
            turn = tangent[1, two] + lane * tangent[2, two] + line * tangent[3, two]
            turned[pixel, one] += h0 * shift + h1 * turn
            turned[pixel, 3 + one] += h1 * shift + h2 * turn


@njit(inline="always", cache=True)
def hat(x, n):  # type: ignore[no-untyped-def]
    """The lower voxel of a cell, clamped into the volume, and what it and the next weigh at x, and by x."""
    low = min(max(np.int64(np.floor(x)), 0), max(n - 2, 0))
    far = 1.0 if n > 1 else 1e9
    lower, upper = sides(x - low, far)
    return low, lower, upper, slope(x - low), slope(x - low - far)


@njit(nogil=True, cache=True)
def spread(weights, turning, bundle, tangent, step, first, last, out):  # type: ignore[no-untyped-def]
    """Adds to planes first..last of the first axis what the pixels weigh there."""
    ni, nj, nk = out.shape
    s0, s1, s2 = bundle[0]
    for r in range(weights.shape[0]):
        for c in range(weights.shape[1]):
            direction = bundle[1] + c * bundle[2] + r * bundle[3]
            d0, d1, d2 = direction
            u0, u1, u2 = tangent[1] + c * tangent[2] + r * tangent[3]
            low, high = inside(out.shape, 1.0, bundle[0], direction)
            low, high = span(s0, d0, first - 1.0, np.float64(last), low, high)
            if not low < high:
                continue
            begin, end = np.int64(low / step - 0.5), np.int64(high / step + 1.5)
            for k in range(max(begin, np.int64(0)), end):
                a = (k + 0.5) * step
                t0, t1, t2 = tangent[0, 0] + a * u0, tangent[0, 1] + a * u1, tangent[0, 2] + a * u2
                i, i0, i1, fi0, fi1 = hat(s0 + a * d0, ni)
                j, j0, j1, fj0, fj1 = hat(s1 + a * d1, nj)
                l, l0, l1, fl0, fl1 = hat(s2 + a * d2, nk)
                for di in range(2):
                    if not first <= i + di < last:
                        continue
                    wi, fi = (i1, fi1) if di else (i0, fi0)
                    for dj in range(2):
                        wj, fj = (j1, fj1) if dj else (j0, fj0)
                        for dl in range(2):
                            wl, fl = (l1, fl1) if dl else (l0, fl0)
                            share = weights[r, c] * wi * wj * wl
                            share += turning[r, c] * (fi * t0 * wj * wl + wi * fj * t1 * wl + wi * wj * fl * t2)
                            if j + dj < nj and l + dl < nk:
                                out[i + di, j + dj, l + dl] += step * share
