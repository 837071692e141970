"""The adjoint of trilinear line integrals for GPUs: what each voxel counts for in weighted pictures, in float32.

It is gathered, not scattered: a lane is a voxel, looks for the pixels whose rays come within a voxel of it, and adds up
their samples row by row. Atomic additions would come in another order each time; this sum is the same in every run and
for every shape of brick, and needs no memory but the volume it writes. A sample is looked at by the eight voxels that
it was made of, and by some more.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl

from homolog.kernels.on_gpu.line_integrals import FAR, double, doubles, halves

# Voxels of a program; 32 in a row are written at once.
BRICK = (2, 2, 32)


@triton.jit
def _crossed(b, first, second, axis):
    """One axis of the cross product of two rows of a bundle."""
    u, v = (axis + 1) % 3, (axis + 2) % 3
    ahead = tl.load(b + 3 * first + u) * tl.load(b + 3 * second + v)
    return ahead - tl.load(b + 3 * first + v) * tl.load(b + 3 * second + u)


@triton.jit
def _hat(x):
    """A sample's share of a voxel, by their distance along one axis, and its slope."""
    share = tl.maximum(1.0 - tl.abs(x), 0.0)
    return share, tl.where(share > 0.0, tl.where(x >= 0.0, -1.0, 1.0), 0.0)


@triton.jit
def _pixels(place, half, size):
    """The pixels from place - half to place + half: the first, and how many."""
    # a bit more than asked for costs time, less would cost samples
    half = half * 1.0001 + 0.001
    first = tl.minimum(tl.maximum(tl.floor(place - half), 0.0), size)
    last = tl.minimum(tl.maximum(tl.ceil(place + half) + 1.0, first), size)
    return first, (last - first).to(tl.int32)


@triton.jit
def _entered(off, direction):
    """When a point that is `off` a voxel along one axis comes within a voxel of it."""
    pace = tl.where(tl.abs(direction) < 1e-20, 1e-20, direction)
    return tl.minimum((-1.0 - off) / pace, (1.0 - off) / pace)


@triton.jit(do_not_specialize=["count", "channels", "rows", "columns", "ni", "nj", "nk"])
def _gather(
    weights, tangent_weights, bundles, tangents, out, count, channels, rows, columns, ni, nj, nk, step_high, step_low,
    MOVES: tl.constexpr, BI: tl.constexpr, BJ: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    over_k, over_j = tl.cdiv(nk, BK), tl.cdiv(nj, BJ)
    bricks = over_k * over_j * tl.cdiv(ni, BI)
    brick, channel = tl.program_id(0) % bricks, tl.program_id(0) // bricks
    lane = tl.arange(0, BI * BJ * BK)
    i = brick // (over_k * over_j) * BI + lane // (BJ * BK)
    j = brick // over_k % over_j * BJ + lane // BK % BJ
    k = brick % over_k * BK + lane % BK
    of_volume = (i < ni) & (j < nj) & (k < nk)
    step = double(step_high, step_low)
    total = tl.zeros((BI * BJ * BK,), tl.float32)
    picture = channel.to(tl.int64) * rows * columns
    for n in range(count):
        b, t = bundles + n * 12, tangents + n * 12
        # by the inverse of the directions: a place's depth in steps, and its column and row times that
        nx, ny, nz = _crossed(b, 2, 3, 0), _crossed(b, 2, 3, 1), _crossed(b, 2, 3, 2)
        cx, cy, cz = _crossed(b, 3, 1, 0), _crossed(b, 3, 1, 1), _crossed(b, 3, 1, 2)
        rx, ry, rz = _crossed(b, 1, 2, 0), _crossed(b, 1, 2, 1), _crossed(b, 1, 2, 2)
        scale = step * (tl.load(b + 3) * nx + tl.load(b + 4) * ny + tl.load(b + 5) * nz)
        nx, ny, nz = nx / scale, ny / scale, nz / scale
        x, y, z = i.to(tl.float64) - tl.load(b), j.to(tl.float64) - tl.load(b + 1), k.to(tl.float64) - tl.load(b + 2)
        depth = x * nx + y * ny + z * nz
        by_column, by_row = (x * cx + y * cy + z * cz) / scale, (x * rx + y * ry + z * rz) / scale

        # the pixels that see the cube of two voxels around it; all of them, where it reaches the source's plane
        half = tl.abs(nx) + tl.abs(ny) + tl.abs(nz)
        near = depth - half
        clear = near > 1e-3 * half
        safe, near = tl.where(clear, depth, 1.0), tl.where(clear, near, 1.0)
        c0, r0 = by_column / safe, by_row / safe
        half_c = tl.abs(cx / scale - c0 * nx) + tl.abs(cy / scale - c0 * ny) + tl.abs(cz / scale - c0 * nz)
        half_r = tl.abs(rx / scale - r0 * nx) + tl.abs(ry / scale - r0 * ny) + tl.abs(rz / scale - r0 * nz)
        first_c, count_c = _pixels(c0, tl.where(clear, half_c / near, FAR), columns)
        first_r, count_r = _pixels(r0, tl.where(clear, half_r / near, FAR), rows)
        seen = of_volume & (depth + half > 0.0)
        count_c, count_r = tl.where(seen, count_c, 0), tl.where(seen, count_r, 0)
        samples = tl.floor(2.0 * half).to(tl.int32) + 1

        # from here on all is counted from the voxel, and small: how far the ray of a pixel is off it at its depth, and
        # how many steps a sample is before or behind it
        off_c, off_r = (depth * first_c - by_column).to(tl.float32), (depth * first_r - by_row).to(tl.float32)
        steps = tl.floor(depth)
        after = (steps + 0.5 - depth).to(tl.float32)
        first_c, first_r = first_c.to(tl.int32), first_r.to(tl.int32)
        steps, depth, half = steps.to(tl.float32), depth.to(tl.float32), half.to(tl.float32) + 1.0
        bx, by, bz = _direction(b, 1, step)
        px, py, pz = _direction(b, 2, step)
        qx, qy, qz = _direction(b, 3, step)
        if MOVES:
            shift_x, shift_y, shift_z = _direction(t, 0, 1.0)
            tx, ty, tz = _direction(t, 1, step)
            tpx, tpy, tpz = _direction(t, 2, step)
            tqx, tqy, tqz = _direction(t, 3, step)
        for m in range(tl.max(count_r)):
            r, by_r = (first_r + m).to(tl.float32), off_r + m * depth
            for l in range(tl.max(count_c)):
                c, by_c = (first_c + l).to(tl.float32), off_c + l * depth
                mask = (m < count_r) & (l < count_c)
                pixel = picture + (first_r + m) * columns + first_c + l
                weight = tl.load(weights + pixel, mask=mask, other=0.0)
                dx, dy, dz = bx + c * px + r * qx, by + c * py + r * qy, bz + c * pz + r * qz
                ox, oy, oz = by_c * px + by_r * qx, by_c * py + by_r * qy, by_c * pz + by_r * qz
                enters = tl.maximum(tl.maximum(_entered(ox, dx), _entered(oy, dy)), _entered(oz, dz))
                enters = tl.minimum(tl.maximum(enters, -half), half)
                # none before the source
                number = tl.maximum(tl.ceil(enters - after), -steps) + after
                if MOVES:
                    moved = tl.load(tangent_weights + pixel, mask=mask, other=0.0)
                    tdx, tdy, tdz = tx + c * tpx + r * tqx, ty + c * tpy + r * tqy, tz + c * tpz + r * tqz
                    mx, my, mz = shift_x + depth * tdx, shift_y + depth * tdy, shift_z + depth * tdz
                for s in range(samples):
                    now = number + s
                    hx, gx = _hat(ox + now * dx)
                    hy, gy = _hat(oy + now * dy)
                    hz, gz = _hat(oz + now * dz)
                    total += weight * (hx * hy * hz)
                    if MOVES:
                        change = gx * hy * hz * (mx + now * tdx)
                        change += hx * gy * hz * (my + now * tdy) + hx * hy * gz * (mz + now * tdz)
                        total += moved * change
        picture += channels.to(tl.int64) * rows * columns
    voxel = ((channel.to(tl.int64) * ni + i) * nj + j) * nk + k
    tl.store(out + voxel, step.to(tl.float32) * total, mask=of_volume)


@triton.jit
def _direction(rows, row, scale):
    """A row of a bundle in float32, times a scale."""
    x, y, z = tl.load(rows + 3 * row), tl.load(rows + 3 * row + 1), tl.load(rows + 3 * row + 2)
    return (x * scale).to(tl.float32), (y * scale).to(tl.float32), (z * scale).to(tl.float32)


def spread(
    weights: torch.Tensor,
    bundles: torch.Tensor,
    shape: tuple[int, int, int],
    step_mm: float,
    *,
    tangents: torch.Tensor | None = None,
    tangent_weights: torch.Tensor | None = None,
    brick: tuple[int, int, int] = BRICK,
) -> torch.Tensor:
    """(C, I, J, K) float32: the adjoint of `integrals`, of weights (N, C, rows, columns) float32.

    tangents         (N, 4, 3): with them, plus the adjoint of the integrals' derivative along them
    tangent_weights  (N, C, rows, columns) float32, of that derivative
    """
    count, channels, rows, columns = weights.shape
    out = weights.new_empty((channels, *shape))
    moving = weights if tangent_weights is None else tangent_weights
    moves = tangents is not None and tangent_weights is not None
    if out.numel():
        grid = (channels * int(np.prod([triton.cdiv(size, side) for size, side in zip(shape, brick)])),)
        pictures = [whole.detach().contiguous() for whole in (weights, moving)]
        rows_of = [doubles(whole) for whole in (bundles, bundles if tangents is None else tangents)]
        with torch.cuda.device_of(weights):
            _gather[grid](
                *pictures, *rows_of, out, count, channels, rows, columns, *shape, *halves(step_mm), moves, *brick
            )
    return out
