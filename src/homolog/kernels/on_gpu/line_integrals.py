"""Trilinear line integrals for GPUs, their slopes, their curvature and their adjoint, in float32.

The twins are `line_integrals`' of the same names; the adjoint is in `line_spread`. A program takes a tile of 4 x 8
neighbouring pixels, a warp, four times: every fourth sample of a ray is a lane's own, so that a small picture still
fills the GPU, and the four walk through the same cells at the same time. Nothing is kept of a sample. Where a ray
begins is float64; its samples are counted from the middle of the volume, where a float32 tells places 3e-5 of a voxel
apart.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl

# Pixels of a tile, and the lanes that share a ray.
TILE = (4, 8)
LANES = 4
# Samples of a lane in flight at once.
AHEAD = 4
# Beyond what a 32-bit integer should be made of.
FAR = tl.constexpr(2.0**30)


# ---------------------------------------------------------------------------------------------------------------------
# Rays


@triton.jit
def double(high, low):
    """A float64 from two float32: as what Triton takes Python's floats for."""
    return tl.full([], high, tl.float64) + tl.full([], low, tl.float64)


@triton.jit
def _along(rows, axis, r, c):
    """One axis of the change that a bundle (or its tangent) gives to the direction of pixel (r, c)."""
    return tl.load(rows + 3 + axis) + c * tl.load(rows + 6 + axis) + r * tl.load(rows + 9 + axis)


@triton.jit
def _between(source, direction, size):
    """The depths at which a ray is between -1 and the size, along one axis."""
    still = direction == 0.0
    pace = tl.where(still, 1.0, direction)
    one, other = (-1.0 - source) / pace, (size - source) / pace
    never = (source <= -1.0) | (source >= size)
    first = tl.where(still, tl.where(never, FAR, -FAR), tl.minimum(one, other))
    last = tl.where(still, tl.where(never, -FAR, FAR), tl.maximum(one, other))
    return first, last


@triton.jit
def _cell(x, size):
    """A coordinate's lower neighbour and how far it is beyond it; whether that one, and the next, are of the volume."""
    low = tl.floor(x)
    i = low.to(tl.int32)
    return i, x - low, (i >= 0) & (i < size), (i >= -1) & (i < size - 1)


@triton.jit
def _pair(volume, at, here, lower, upper):
    """The value at a voxel, and the step to the next along k; zero for what is not of the volume."""
    low = tl.load(volume + at, mask=here & lower, other=0.0)
    return low, tl.load(volume + at + 1, mask=here & upper, other=0.0) - low


@triton.jit
def _field(volume, x, y, z, ni, nj, nk):
    """The value, its slopes along i, j, k, and its mixed second slopes ij, ik, jk; what is not used is not compiled."""
    i, fi, i0, i1 = _cell(x, ni)
    j, fj, j0, j1 = _cell(y, nj)
    k, fk, k0, k1 = _cell(z, nk)
    at = (i * nj + j) * nk + k
    v00, k00 = _pair(volume, at, i0 & j0, k0, k1)
    v01, k01 = _pair(volume, at + nk, i0 & j1, k0, k1)
    v10, k10 = _pair(volume, at + nj * nk, i1 & j0, k0, k1)
    v11, k11 = _pair(volume, at + nj * nk + nk, i1 & j1, k0, k1)
    v00, v01, v10, v11 = v00 + fk * k00, v01 + fk * k01, v10 + fk * k10, v11 + fk * k11
    low_j, high_j = v01 - v00, v11 - v10
    low, high = v00 + fj * low_j, v10 + fj * high_j
    low_k, high_k = k00 + fj * (k01 - k00), k10 + fj * (k11 - k10)
    slope_i, slope_ij, slope_ik = high - low, high_j - low_j, high_k - low_k
    slope_jk = (k01 - k00) + fi * ((k11 - k10) - (k01 - k00))
    slope_j, slope_k = low_j + fi * slope_ij, low_k + fi * slope_ik
    return low + fi * slope_i, slope_i, slope_j, slope_k, slope_ij, slope_ik, slope_jk


# ---------------------------------------------------------------------------------------------------------------------
# Integrals


@triton.jit(do_not_specialize=["channels", "rows", "columns", "ni", "nj", "nk"])
def _integrate(
    volumes, bundles, tangents, values, slopes, turned, channels, rows, columns, ni, nj, nk, step_high, step_low,
    ORDER: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr, LANES: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    across = tl.cdiv(columns, BC)
    tiles = across * tl.cdiv(rows, BR)
    tile, picture = tl.program_id(0) % tiles, tl.program_id(0) // tiles
    channel, bundle = picture % channels, bundles + (picture // channels).to(tl.int64) * 12
    volume = volumes + channel.to(tl.int64) * ni * nj * nk
    step = double(step_high, step_low)

    p = tl.arange(0, BR * BC)[None, :]
    row, column = tile // across * BR + p // BC, tile % across * BC + p % BC
    of_picture = (row < rows) & (column < columns)
    r, c = row.to(tl.float64), column.to(tl.float64)
    # depths are counted in steps from here on
    sx, sy, sz = tl.load(bundle), tl.load(bundle + 1), tl.load(bundle + 2)
    dx, dy, dz = _along(bundle, 0, r, c) * step, _along(bundle, 1, r, c) * step, _along(bundle, 2, r, c) * step
    x_first, x_last = _between(sx, dx, ni.to(tl.float64))
    y_first, y_last = _between(sy, dy, nj.to(tl.float64))
    z_first, z_last = _between(sz, dz, nk.to(tl.float64))
    # the limits keep what becomes an integer one
    begin = tl.minimum(tl.maximum(tl.maximum(tl.maximum(x_first, y_first), z_first), 0.0), FAR)
    end = tl.minimum(tl.maximum(tl.minimum(tl.minimum(x_last, y_last), z_last), 0.0), FAR)
    hits = of_picture & (end > begin)
    middle = tl.where(hits, tl.floor((begin + end) / 2.0), 0.0)
    first = tl.min(tl.where(hits, begin, FAR)).to(tl.int32)
    last = tl.max(tl.where(hits, end, 0.0)).to(tl.int32) + 1
    # from a whole number of rounds, so that a ray's sum does not depend on its neighbours
    first = first // (LANES * AHEAD) * (LANES * AHEAD)

    # the sample in the middle, and how its place moves along the tangent
    depth = middle + 0.5
    x, y, z = (sx + depth * dx).to(tl.float32), (sy + depth * dy).to(tl.float32), (sz + depth * dz).to(tl.float32)
    dx, dy, dz = dx.to(tl.float32), dy.to(tl.float32), dz.to(tl.float32)
    if ORDER == 2:
        tangent = tangents + (picture // channels).to(tl.int64) * 12
        tx, ty, tz = _along(tangent, 0, r, c) * step, _along(tangent, 1, r, c) * step, _along(tangent, 2, r, c) * step
        mx = (tl.load(tangent) + depth * tx).to(tl.float32)
        my = (tl.load(tangent + 1) + depth * ty).to(tl.float32)
        mz = (tl.load(tangent + 2) + depth * tz).to(tl.float32)
        tx, ty, tz = tx.to(tl.float32), ty.to(tl.float32), tz.to(tl.float32)

    number = tl.arange(0, LANES)[:, None] - middle.to(tl.int32)
    total = tl.zeros((LANES, BR * BC), tl.float32)
    gx, gy, gz, ax, ay, az = total, total, total, total, total, total
    hx, hy, hz, bx, by, bz = total, total, total, total, total, total
    for base in range(first, last, LANES * AHEAD):
        for ahead in tl.static_range(AHEAD):
            n = (number + (base + ahead * LANES)).to(tl.float32)
            v, vi, vj, vk, vij, vik, vjk = _field(volume, x + n * dx, y + n * dy, z + n * dz, ni, nj, nk)
            total += v
            if ORDER >= 1:
                gx, gy, gz = gx + vi, gy + vj, gz + vk
                ax, ay, az = ax + n * vi, ay + n * vj, az + n * vk
            if ORDER == 2:
                ux, uy, uz = mx + n * tx, my + n * ty, mz + n * tz
                wx, wy, wz = vij * uy + vik * uz, vij * ux + vjk * uz, vik * ux + vjk * uy
                hx, hy, hz = hx + wx, hy + wy, hz + wz
                bx, by, bz = bx + n * wx, by + n * wy, bz + n * wz

    pixel = (picture.to(tl.int64) * rows + row) * columns + column
    of_picture, depth, step = _flat(of_picture), _flat(depth), step.to(tl.float32)
    pixel = _flat(pixel)
    tl.store(values + pixel, step * tl.sum(total, 0), mask=of_picture)
    if ORDER >= 1:
        _put(slopes + 6 * pixel, gx, ax, depth, step, of_picture)
        _put(slopes + 6 * pixel + 1, gy, ay, depth, step, of_picture)
        _put(slopes + 6 * pixel + 2, gz, az, depth, step, of_picture)
    if ORDER == 2:
        _put(turned + 6 * pixel, hx, bx, depth, step, of_picture)
        _put(turned + 6 * pixel + 1, hy, by, depth, step, of_picture)
        _put(turned + 6 * pixel + 2, hz, bz, depth, step, of_picture)


@triton.jit
def _flat(of_pixels):
    """(1, P) as (P,)"""
    return tl.reshape(of_pixels, (of_pixels.shape[1],))


@triton.jit
def _put(at, sums, by_number, depth, step, mask):
    """One axis of the source's slope, and of the direction's; `by_number` is counted from the sample in the middle."""
    of_source = tl.sum(sums, 0)
    of_direction = tl.sum(by_number, 0) + depth.to(tl.float32) * of_source
    tl.store(at, step * of_source, mask=mask)
    tl.store(at + 3, step * step * of_direction, mask=mask)


def integrals(volumes: torch.Tensor, bundles: torch.Tensor, size_px: tuple[int, int], step_mm: float) -> torch.Tensor:
    """(N, C, rows, columns) float32: volumes (C, I, J, K) float32 along the rays of bundles (N, 4, 3)."""
    return _integrated(volumes, bundles, bundles, size_px, step_mm, 0)[0]


def with_slopes(
    volumes: torch.Tensor, bundles: torch.Tensor, size_px: tuple[int, int], step_mm: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`integrals`, and (N, C, rows, columns, 6): their slopes for moving the source and the direction."""
    values, slopes, _ = _integrated(volumes, bundles, bundles, size_px, step_mm, 1)
    return values, slopes


def with_curvature(
    volumes: torch.Tensor, bundles: torch.Tensor, tangents: torch.Tensor, size_px: tuple[int, int], step_mm: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`with_slopes`, and how the slopes change, shaped as they are, when bundles move along tangents (N, 4, 3)."""
    return _integrated(volumes, bundles, tangents, size_px, step_mm, 2)


def _integrated(
    volumes: torch.Tensor,
    bundles: torch.Tensor,
    tangents: torch.Tensor,
    size_px: tuple[int, int],
    step_mm: float,
    order: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    pictures = len(bundles), len(volumes), *size_px
    values = volumes.new_empty(pictures)
    slopes, turned = (volumes.new_empty((*pictures, 6) if order >= least else (0,)) for least in (1, 2))
    if values.numel():
        grid = (pictures[0] * pictures[1] * triton.cdiv(size_px[0], TILE[0]) * triton.cdiv(size_px[1], TILE[1]),)
        arrays = volumes.detach().contiguous(), doubles(bundles), doubles(tangents)
        with torch.cuda.device_of(volumes):
            _integrate[grid](
                *arrays, values, slopes, turned, len(volumes), *size_px, *volumes.shape[1:], *halves(step_mm),
                order, *TILE, LANES, AHEAD, num_warps=LANES,
            )  # fmt: skip
    return values, slopes, turned


def doubles(bundles: torch.Tensor) -> torch.Tensor:
    """Bundles as kernels read them: float64, in a row."""
    return bundles.detach().to(torch.float64).contiguous()


def halves(number: float) -> tuple[float, float]:
    """Two float32 whose sum is a float64."""
    high = float(np.float32(number))
    return high, number - high
