"""Bilinear samples on the planes of voxel centres that a ray crosses most steeply: see line_integrals.py.

In a plane p of the steepest axis m, at depth a = (p - s_m) / d_m, a ray is at s_u + a d_u along each other axis u. So
it moves there by ds_u + a dd_u - (d_u / d_m) (ds_m + a dd_m) with source and direction, and the depth between two
planes is 1 / |d_m|.
"""

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
    crossed,
    directions,
    others,
    sides,
    slope,
    steepest,
)
from homolog.kernels.line_trilinear import hat

# Value, slopes along two axes, these by plane, the mixed derivative, by plane, by plane squared.
MOMENTS = 8
# Far outside any volume.
AWAY = -1e6


@njit(nogil=True, cache=True)
def project(volume, bundle, tangent, step, size, strides, first, last, order, values, slopes, turned):  # type: ignore[no-untyped-def]
    """Fills in lines first..last of LINES each: see line_integrals._project."""
    flat, exact = volume.reshape(-1), volume.dtype.type
    scratch, offsets = np.zeros(6 * BLOCK, volume.dtype), np.zeros(BLOCK, np.int32)
    sums, rays = np.zeros(LINES * MOMENTS * LANES, volume.dtype), np.zeros(LINES * 4 * LANES, volume.dtype)
    direction = np.zeros((LINES, LANES, 3))
    shape, jumps = volume.shape, (volume.shape[1] * volume.shape[2], volume.shape[2], 1)
    for line in range(first * LINES, min(last * LINES, size[0]), LINES):
        for lane in range(0, size[1], LANES):
            directions(bundle, line, lane, size, direction)
            for kind in range(6):
                axis = kind // 2
                u, v = others(axis)
                begin, end = crossed(shape, 1.0, bundle[0], direction, kind, 0.0)
                middle = (begin + end) // 2
                if begin < end:
                    _start(bundle[0], direction, kind, middle, rays)
                    ends = (exact(max(0, shape[u] - 2)), exact(max(0, shape[v] - 2)))
                    far = (exact(1.0 if shape[u] > 1 else 1e9), exact(1.0 if shape[v] > 1 else 1e9))
                    upper = (jumps[u] if shape[u] > 1 else 0, jumps[v] if shape[v] > 1 else 0)
                    across = (jumps[axis], jumps[u], jumps[v])
                sums[:] = 0
                for plane in range(begin, end, STEPS):
                    _place(rays, plane, middle, end, ends, across, scratch, offsets)
                    _look_up(flat, offsets, upper, scratch)
                    _add(scratch, far, exact(plane - middle), order, sums)
                for n in range(min(LINES, size[0] - line)):
                    for m in range(min(LANES, size[1] - lane)):
                        if steepest(direction[n, m]) == kind:
                            pixel = (line + n) * strides[0] + (lane + m) * strides[1]
                            turning = tangent[1] + (lane + m) * tangent[2] + (line + n) * tangent[3]
                            ray = (bundle[0], direction[n, m], tangent[0], turning)
                            _finish(sums, n, m, middle, ray, axis, order, pixel, values, slopes, turned)


@njit(nogil=True, cache=True)
def _start(source, direction, kind, middle, rays):  # type: ignore[no-untyped-def]
    """Where the rays of a kind are in the middle plane, and how far they go until the next; the others stay at 0."""
    axis = kind // 2
    u, v = others(axis)
    for n in range(LINES):
        for m in range(LANES):
            at, d = 4 * LANES * n + m, direction[n, m]
            rays[at] = rays[at + LANES] = rays[at + 2 * LANES] = rays[at + 3 * LANES] = 0.0
            if steepest(d) == kind and d[axis] != 0.0:
                a = (middle - source[axis]) / d[axis]
                rays[at], rays[at + LANES] = source[u] + a * d[u], source[v] + a * d[v]
                rays[at + 2 * LANES], rays[at + 3 * LANES] = d[u] / d[axis], d[v] / d[axis]


@njit(nogil=True, cache=True, fastmath=FAST)
def _place(rays, plane, middle, end, ends, across, scratch, offsets):  # type: ignore[no-untyped-def]
    """The cells in the planes, as offsets of their lowest voxels, and where in them the samples are."""
    jump_u, jump_v = np.int32(across[1]), np.int32(across[2])
    end_u, end_v = ends
    zero = end_u * 0
    for n in range(LINES):
        for k in range(STEPS):
            at, ray = (n * STEPS + k) * LANES, 4 * LANES * n
            a = scratch.dtype.type(plane + k - middle)
            aside = scratch.dtype.type(0.0 if plane + k < end else AWAY)
            base = np.int32(min(plane + k, end - 1) * across[0])
            for m in range(LANES):
                x = rays[ray + m] + a * rays[ray + 2 * LANES + m] + aside
                y = rays[ray + LANES + m] + a * rays[ray + 3 * LANES + m]
                i = min(max(np.floor(x), zero), end_u)
                j = min(max(np.floor(y), zero), end_v)
                scratch[4 * BLOCK + at + m] = x - i
                scratch[5 * BLOCK + at + m] = y - j
                place = np.int32(np.int32(np.int32(i) * jump_u) + np.int32(np.int32(j) * jump_v))
                offsets[at + m] = np.int32(place + base)


@njit(nogil=True, cache=True)
def _look_up(flat, offsets, upper, scratch):  # type: ignore[no-untyped-def]
    up_u, up_v = np.uintp(upper[0]), np.uintp(upper[1])
    for n in range(BLOCK):
        at = np.uintp(offsets[np.uintp(n)])
        announce(flat, at)
        announce(flat, at + up_v)
        announce(flat, at + up_u)
        announce(flat, at + up_u + up_v)
    for n in range(BLOCK):
        at = np.uintp(offsets[np.uintp(n)])
        scratch[np.uintp(n)] = flat[at]
        scratch[np.uintp(n + BLOCK)] = flat[at + up_v]
        scratch[np.uintp(n + 2 * BLOCK)] = flat[at + up_u]
        scratch[np.uintp(n + 3 * BLOCK)] = flat[at + up_u + up_v]


@njit(nogil=True, cache=True, fastmath=FAST)
def _add(scratch, far, start, order, sums):  # type: ignore[no-untyped-def]
    far_u, far_v = far
    for n in range(LINES):
        for k in range(STEPS):
            at, to, q = (n * STEPS + k) * LANES, MOMENTS * LANES * n, start + scratch.dtype.type(k)
            if order == 0:
                for m in range(LANES):
                    i0, i1 = sides(scratch[4 * BLOCK + at + m], far_u)
                    j0, j1 = sides(scratch[5 * BLOCK + at + m], far_v)
                    low = j0 * scratch[at + m] + j1 * scratch[BLOCK + at + m]
                    high = j0 * scratch[2 * BLOCK + at + m] + j1 * scratch[3 * BLOCK + at + m]
                    sums[to + m] += i0 * low + i1 * high
                continue
            for m in range(LANES):
                x, y = scratch[4 * BLOCK + at + m], scratch[5 * BLOCK + at + m]
                i0, i1 = sides(x, far_u)
                j0, j1 = sides(y, far_v)
                e, h, f, g = slope(x), slope(x - far_u), slope(y), slope(y - far_v)
                a, b = scratch[at + m], scratch[BLOCK + at + m]
                c, d = scratch[2 * BLOCK + at + m], scratch[3 * BLOCK + at + m]
                low, high, left, right = j0 * a + j1 * b, j0 * c + j1 * d, f * a + g * b, f * c + g * d
                by_u, by_v, mixed = e * low + h * high, i0 * left + i1 * right, e * left + h * right
                sums[to + m] += i0 * low + i1 * high
                sums[to + LANES + m] += by_u
                sums[to + 2 * LANES + m] += by_v
                sums[to + 3 * LANES + m] += q * by_u
                sums[to + 4 * LANES + m] += q * by_v
                sums[to + 5 * LANES + m] += mixed
                sums[to + 6 * LANES + m] += q * mixed
                sums[to + 7 * LANES + m] += q * q * mixed


@njit(nogil=True, cache=True)
def _finish(sums, n, m, middle, ray, axis, order, pixel, values, slopes, turned):  # type: ignore[no-untyped-def]
    """One ray's sums as its integral and its derivatives; the sums' planes are counted from the middle one."""
    source, direction, shift, turn = ray
    u, v = others(axis)
    values[pixel] = 0.0
    if order > 0:
        slopes[pixel] = 0.0
    if order > 1:
        turned[pixel] = 0.0
    at = MOMENTS * LANES * n + m
    if direction[axis] == 0.0:
        return
    back, gap = 1.0 / direction[axis], 1.0 / abs(direction[axis])
    a = (middle - source[axis]) * back
    b = gap * np.float64(sums[at])
    values[pixel] = b
    if order == 0:
        return
    ru, rv = direction[u] * back, direction[v] * back
    g0, g1 = gap * np.float64(sums[at + LANES]), gap * np.float64(sums[at + 2 * LANES])
    g2 = a * g0 + back * gap * np.float64(sums[at + 3 * LANES])
    g3 = a * g1 + back * gap * np.float64(sums[at + 4 * LANES])
    slopes[pixel, u], slopes[pixel, v], slopes[pixel, axis] = g0, g1, -ru * g0 - rv * g1
    slopes[pixel, 3 + u], slopes[pixel, 3 + v] = g2, g3
    slopes[pixel, 3 + axis] = -ru * g2 - rv * g3 - b * back
    if order == 1:
        return
    h0 = gap * np.float64(sums[at + 5 * LANES])
    h1 = a * h0 + back * gap * np.float64(sums[at + 6 * LANES])
    h2 = a * (2 * h1 - a * h0) + back * back * gap * np.float64(sums[at + 7 * LANES])
    # how the place in a plane moves: at depth 0, and more for a mm of depth
    xu, yu = shift[u] - ru * shift[axis], turn[u] - ru * turn[axis]
    xv, yv = shift[v] - rv * shift[axis], turn[v] - rv * turn[axis]
    grow, s, w = -turn[axis] * back, shift[axis] * back, turn[axis] * back
    ku, kv = h0 * xv + h1 * yv + grow * g0, h0 * xu + h1 * yu + grow * g1
    lu = h1 * xv + h2 * yv - s * g0 - w * g2 + grow * g2
    lv = h1 * xu + h2 * yu - s * g1 - w * g3 + grow * g3
    moved = g0 * xu + g2 * yu + g1 * xv + g3 * yv + grow * b
    turned[pixel, u], turned[pixel, v] = ku, kv
    turned[pixel, axis] = -ru * ku - rv * kv - (yu * g0 + yv * g1) * back
    turned[pixel, 3 + u], turned[pixel, 3 + v] = lu, lv
    turned[pixel, 3 + axis] = -ru * lu - rv * lv - (yu * g2 + yv * g3) * back - moved * back + b * w * back


@njit(nogil=True, cache=True)
def spread(weights, turning, bundle, tangent, step, first, last, out):  # type: ignore[no-untyped-def]
    """Adds to planes first..last of the first axis what the pixels weigh there."""
    s, t, flat = bundle[0], tangent[0], out.reshape(-1)
    strides = (out.shape[1] * out.shape[2], out.shape[2], 1)
    index = np.zeros(3, np.int64)
    for r in range(weights.shape[0]):
        for c in range(weights.shape[1]):
            d = bundle[1] + c * bundle[2] + r * bundle[3]
            w = tangent[1] + c * tangent[2] + r * tangent[3]
            m = steepest(d) // 2
            u, v = others(m)
            if d[m] == 0.0:
                continue
            nu, nv = out.shape[u], out.shape[v]
            gap, back = 1.0 / abs(d[m]), 1.0 / d[m]
            begin, end = (first, last) if m == 0 else (0, out.shape[m])
            for p in range(begin, end):
                a = (p - s[m]) * back
                x, y = s[u] + a * d[u], s[v] + a * d[v]
                if not (a > 0.0 and -1.0 < x < nu and -1.0 < y < nv):
                    continue
                xt = t[u] + a * w[u] - d[u] * back * (t[m] + a * w[m])
                yt = t[v] + a * w[v] - d[v] * back * (t[m] + a * w[m])
                i, i0, i1, fi0, fi1 = hat(x, nu)
                j, j0, j1, fj0, fj1 = hat(y, nv)
                plain, moving = weights[r, c] - turning[r, c] * w[m] * back, turning[r, c]
                for di in range(2):
                    wi, fi = (i1, fi1) if di else (i0, fi0)
                    for dj in range(2):
                        wj, fj = (j1, fj1) if dj else (j0, fj0)
                        index[m], index[u], index[v] = p, i + di, j + dj
                        if i + di < nu and j + dj < nv and first <= index[0] < last:
                            share = plain * wi * wj + moving * (fi * xt * wj + wi * fj * yt)
                            flat[p * strides[m] + (i + di) * strides[u] + (j + dj) * strides[v]] += gap * share
