"""Exact lengths in voxels that are boxes: see line_integrals.py, whose functions call these.

The depth a = (p - s) / d at which a plane p of an axis is crossed moves by -1 / d with the source and by -a / d with
the direction. So the sums, for each axis, of the jumps at its crossings and of the jumps times their depths give the
integral, its slopes and their slopes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from homolog.kernels.line_blocks import (
    BLOCK,
    FAST,
    LANES,
    LINES,
    NEVER,
    STEPS,
    announce,
    crossed,
    directions,
    others,
    steepest,
)

# Integral; jumps at planes of two axes, and these times their depths.
MOMENTS = 5
# Far outside any volume.
AWAY = -1e9


@njit(inline="always", cache=True)
def enter(shape, s, d, first, last, at, ahead, index):  # type: ignore[no-untyped-def]
    """Where a ray comes in: its depth, the axis of that plane (-1: it begins inside), its voxel, the next depths."""
    begin, axis, end = 0.0, -1, np.inf
    for n in range(3):
        low, high = (first - 0.5, last - 0.5) if n == 0 else (-0.5, shape[n] - 0.5)
        if d[n] == 0.0:
            if not low <= s[n] < high:
                end = -1.0
            continue
        one, two = (low - s[n]) / d[n], (high - s[n]) / d[n]
        near, far = min(one, two), max(one, two)
        if near > begin:
            begin, axis = near, n
        end = min(end, far)
    for n in range(3):
        low, high = (first, last) if n == 0 else (0, shape[n])
        here = np.int64(np.floor(s[n] + begin * d[n] + 0.5)) if begin < end else 0
        if n == axis:
            here = low if d[n] > 0.0 else high - 1
        index[n] = min(max(here, low), high - 1)
        at[n] = index[n] + (0.5 if d[n] > 0.0 else -0.5)
        ahead[n] = (at[n] - s[n]) / d[n] if d[n] != 0.0 else np.inf
    return begin, axis, begin < end


@njit(nogil=True, cache=True)
def project(volume, bundle, tangent, step, size, strides, first, last, order, values, slopes, turned):  # type: ignore[no-untyped-def]
    """Fills in lines first..last of LINES each: see line_integrals._project."""
    flat, shape = volume.reshape(-1), volume.shape
    # float64 whatever the volume: in float32 a crossing is now and then taken for one of the next voxel
    scratch, offsets = np.zeros(5 * BLOCK), np.zeros(3 * BLOCK, np.int32)
    sums, rays = np.zeros(LINES * MOMENTS * LANES), np.zeros(LINES * 8 * LANES)
    direction = np.zeros((LINES, LANES, 3))
    jumps = (volume.shape[1] * volume.shape[2], volume.shape[2], 1)
    first_value = _value_at(volume, bundle[0])
    for line in range(first * LINES, min(last * LINES, size[0]), LINES):
        for lane in range(0, size[1], LANES):
            directions(bundle, line, lane, size, direction)
            for kind in range(6):
                axis, upwards = kind // 2, kind % 2
                u, v = others(axis)
                begin, end = crossed(shape, 0.5, bundle[0], direction, kind, 0.5)
                sums[:] = 0
                if begin < end:
                    # counted along the rays: the middle slab, and how many are before it
                    before = (end - begin) // 2
                    middle = begin + before if upwards else end - 1 - before
                    _start(bundle[0], direction, kind, middle, rays)
                    across, sizes = (jumps[axis], jumps[u], jumps[v]), (shape[u], shape[v])
                    cut = (bundle[0, axis] - middle) * (1 if upwards else -1) + 0.5
                    for slab in range(-before, end - begin - before, STEPS):
                        _place(rays, slab, end - begin - before, middle, upwards, cut, across, sizes, scratch, offsets)
                        _look_up(flat, offsets, scratch)
                        _add(scratch, slab, cut, order, sums)
                else:
                    middle = 0
                for n in range(min(LINES, size[0] - line)):
                    for m in range(min(LANES, size[1] - lane)):
                        if steepest(direction[n, m]) == kind:
                            pixel = (line + n) * strides[0] + (lane + m) * strides[1]
                            turning = tangent[1] + (lane + m) * tangent[2] + (line + n) * tangent[3]
                            ray = (bundle[0], direction[n, m], tangent[0], turning)
                            _finish(sums, n, m, middle, first_value, ray, kind, order, pixel, values, slopes, turned)


@njit(nogil=True, cache=True)
def _value_at(volume, source):  # type: ignore[no-untyped-def]
    """The voxel that the source is in; 0 where that is outside."""
    i, j, k = np.floor(source[0] + 0.5), np.floor(source[1] + 0.5), np.floor(source[2] + 0.5)
    if 0 <= i < volume.shape[0] and 0 <= j < volume.shape[1] and 0 <= k < volume.shape[2]:
        return np.float64(volume[np.int64(i), np.int64(j), np.int64(k)])
    return 0.0


@njit(nogil=True, cache=True)
def _start(source, direction, kind, middle, rays):  # type: ignore[no-untyped-def]
    """Per ray of a kind and other axis: place where it enters the middle slab, way in a slab, its inverse, its sign.

    Places are such that voxel n is from n to n + 1. Rays of another kind stay far outside.
    """
    axis, half = kind // 2, (0.5 if kind % 2 else -0.5)
    for n in range(LINES):
        for m in range(LANES):
            d = direction[n, m]
            for other, place in enumerate(others(axis)):
                at = (8 * n + 4 * other) * LANES + m
                rays[at], rays[at + LANES], rays[at + 2 * LANES], rays[at + 3 * LANES] = AWAY, 0.0, NEVER, 1.0
                if steepest(d) == kind and d[axis] != 0.0:
                    rays[at] = source[place] + (middle - half - source[axis]) / d[axis] * d[place] + 0.5
                    way = d[place] / abs(d[axis])
                    rays[at + LANES] = way
                    rays[at + 2 * LANES] = 1.0 / way if way != 0.0 else NEVER
                    rays[at + 3 * LANES] = 1.0 if way >= 0.0 else -1.0


@njit(nogil=True, cache=True, fastmath=FAST)
def _place(rays, slab, stop, middle, upwards, cut, across, sizes, scratch, offsets):  # type: ignore[no-untyped-def]
    """Where in its slabs each ray crosses planes of the other axes, and the three voxels it is in (-1: outside)."""
    jump_u, jump_v = np.int32(across[1]), np.int32(across[2])
    size_u, size_v = np.float64(sizes[0]), np.float64(sizes[1])
    for n in range(LINES):
        for k in range(STEPS):
            at, ray, q = (n * STEPS + k) * LANES, 8 * LANES * n, np.float64(slab + k)
            plane = middle + (slab + k if upwards else -slab - k)
            base = np.int32(plane * across[0])
            # the source's own slab begins at the source; all is outside after the last slab
            begin = min(1.0, max(0.0, cut - q))
            limit_u, limit_v = (size_u, size_v) if slab + k < stop else (0.0, 0.0)
            for m in range(LANES):
                x = rays[ray + m] + (q + begin) * rays[ray + LANES + m]
                y = rays[ray + 4 * LANES + m] + (q + begin) * rays[ray + 5 * LANES + m]
                i, j = np.floor(x), np.floor(y)
                sign_u, sign_v = rays[ray + 3 * LANES + m], rays[ray + 7 * LANES + m]
                cross_u = begin + (i + max(0.0, sign_u) - x) * rays[ray + 2 * LANES + m]
                cross_v = begin + (j + max(0.0, sign_v) - y) * rays[ray + 6 * LANES + m]
                next_i = i + (sign_u if cross_u < 1.0 else 0.0)
                next_j = j + (sign_v if cross_v < 1.0 else 0.0)
                one, two = min(cross_u, 1.0), min(cross_v, 1.0)
                between_i, between_j = (next_i if one < two else i), (j if one < two else next_j)
                scratch[3 * BLOCK + at + m] = one
                scratch[4 * BLOCK + at + m] = two
                offsets[at + m] = _offset(i, j, limit_u, limit_v, base, jump_u, jump_v)
                offsets[BLOCK + at + m] = _offset(between_i, between_j, limit_u, limit_v, base, jump_u, jump_v)
                offsets[2 * BLOCK + at + m] = _offset(next_i, next_j, limit_u, limit_v, base, jump_u, jump_v)


@njit(inline="always", cache=True)
def _offset(i, j, size_u, size_v, base, jump_u, jump_v):  # type: ignore[no-untyped-def]
    place = np.int32(np.int32(np.int32(np.int32(i) * jump_u) + np.int32(np.int32(j) * jump_v)) + base)
    return place if (i >= 0.0) & (i < size_u) & (j >= 0.0) & (j < size_v) else np.int32(-1)


@njit(nogil=True, cache=True)
def _look_up(flat, offsets, scratch):  # type: ignore[no-untyped-def]
    for n in range(BLOCK):
        # the voxel between is beside one of these
        announce(flat, np.uintp(max(offsets[np.uintp(n)], 0)))
        announce(flat, np.uintp(max(offsets[np.uintp(n + 2 * BLOCK)], 0)))
    for n in range(3 * BLOCK):
        at = offsets[np.uintp(n)]
        scratch[np.uintp(n)] = np.float64(flat[np.uintp(at)]) if at >= 0 else 0.0


@njit(nogil=True, cache=True, fastmath=FAST)
def _add(scratch, slab, cut, order, sums):  # type: ignore[no-untyped-def]
    for n in range(LINES):
        for k in range(STEPS):
            at, to, q = (n * STEPS + k) * LANES, MOMENTS * LANES * n, np.float64(slab + k)
            begin = min(1.0, max(0.0, cut - q))
            for m in range(LANES):
                one, two = scratch[3 * BLOCK + at + m], scratch[4 * BLOCK + at + m]
                low, high = min(one, two), max(one, two)
                a, b, c = scratch[at + m], scratch[BLOCK + at + m], scratch[2 * BLOCK + at + m]
                sums[to + m] += a * (low - begin) + b * (high - low) + c * (1.0 - high)
            if order == 0:
                continue
            for m in range(LANES):
                one, two = scratch[3 * BLOCK + at + m], scratch[4 * BLOCK + at + m]
                a, b, c = scratch[at + m], scratch[BLOCK + at + m], scratch[2 * BLOCK + at + m]
                jump_u = a - b if one < two else b - c
                jump_v = a - c - jump_u
                sums[to + LANES + m] += jump_u
                sums[to + 2 * LANES + m] += jump_v
                sums[to + 3 * LANES + m] += (q + one) * jump_u
                sums[to + 4 * LANES + m] += (q + two) * jump_v


@njit(nogil=True, cache=True)
def _finish(sums, n, m, middle, first_value, ray, kind, order, pixel, values, slopes, turned):  # type: ignore[no-untyped-def]
    """One ray's sums as its integral and its derivatives; the sums' depths are in slabs from the middle one's face."""
    source, direction, shift, turn = ray
    axis, half = kind // 2, (0.5 if kind % 2 else -0.5)
    u, v = others(axis)
    at = MOMENTS * LANES * n + m
    gap = 1.0 / abs(direction[axis]) if direction[axis] != 0.0 else 0.0
    start = (middle - half - source[axis]) / direction[axis] if gap > 0.0 else 0.0
    value = gap * sums[at]
    values[pixel] = value
    if order == 0:
        return
    jump_u, jump_v = sums[at + LANES], sums[at + 2 * LANES]
    depth_u, depth_v = start * jump_u + gap * sums[at + 3 * LANES], start * jump_v + gap * sums[at + 4 * LANES]
    # all jumps of a ray add up to what it starts in, and all jumps times their depths to its integral
    jumps = (
        (u, jump_u, depth_u),
        (v, jump_v, depth_v),
        (axis, first_value - jump_u - jump_v, value - depth_u - depth_v),
    )
    for place, jump, depth in jumps:
        back = 1.0 / direction[place] if direction[place] != 0.0 else 0.0
        slopes[pixel, place] = -jump * back
        slopes[pixel, 3 + place] = -depth * back
        if order > 1:
            turned[pixel, place] = jump * turn[place] * back * back
            turned[pixel, 3 + place] = (jump * shift[place] + 2.0 * depth * turn[place]) * back * back


@njit(nogil=True, cache=True)
def spread(weights, turning, bundle, tangent, step, first, last, out):  # type: ignore[no-untyped-def]
    s = bundle[0]
    t = tangent[0]
    at, ahead, index = np.zeros(3), np.zeros(3), np.zeros(3, np.int64)
    for r in range(weights.shape[0]):
        for c in range(weights.shape[1]):
            d = bundle[1] + c * bundle[2] + r * bundle[3]
            w = tangent[1] + c * tangent[2] + r * tangent[3]
            depth, axis, inside = enter(out.shape, s, d, first, last, at, ahead, index)
            moved = -(t[axis] + depth * w[axis]) / d[axis] if axis >= 0 else 0.0
            while inside:
                i, j, k = index[0], index[1], index[2]
                axis = 0
                if ahead[1] < ahead[axis]:
                    axis = 1
                if ahead[2] < ahead[axis]:
                    axis = 2
                further = -(t[axis] + ahead[axis] * w[axis]) / d[axis]
                out[i, j, k] += weights[r, c] * (ahead[axis] - depth) + turning[r, c] * (further - moved)
                depth, moved = ahead[axis], further
                forward = 1 if d[axis] > 0.0 else -1
                at[axis] += forward
                index[axis] += forward
                ahead[axis] = (at[axis] - s[axis]) / d[axis]
                low, high = (first, last) if axis == 0 else (0, out.shape[axis])
                inside = low <= index[axis] < high


@njit(nogil=True, cache=True)
def by_label(volume, labels, bundle, first, last, out):  # type: ignore[no-untyped-def]
    s = bundle[0]
    at, ahead, index = np.zeros(3), np.zeros(3), np.zeros(3, np.int64)
    for r in range(first, last):
        for c in range(out.shape[2]):
            d = bundle[1] + c * bundle[2] + r * bundle[3]
            depth, axis, inside = enter(volume.shape, s, d, 0, volume.shape[0], at, ahead, index)
            while inside:
                value = np.float64(volume[index[0], index[1], index[2]])
                label = labels[index[0], index[1], index[2]]
                axis = 0
                if ahead[1] < ahead[axis]:
                    axis = 1
                if ahead[2] < ahead[axis]:
                    axis = 2
                if 0 <= label < out.shape[0]:
                    out[label, r, c] += value * (ahead[axis] - depth)
                depth = ahead[axis]
                forward = 1 if d[axis] > 0.0 else -1
                at[axis] += forward
                index[axis] += forward
                ahead[axis] = (at[axis] - s[axis]) / d[axis]
                inside = 0 <= index[axis] < volume.shape[axis]
