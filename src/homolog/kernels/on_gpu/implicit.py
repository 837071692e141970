"""`implicit.render` for GPUs: the same shapes, melting, bumps and looks, in float32.

A program paints a brick of neighbouring points. It goes through the shapes that any of its points' cells lists, in
ascending order, so that shape, layer and look are the same for all its lanes: they are read once, and their kind is a
branch of the program, not of a lane. A lane whose cell does not list the shape sits the turn out.

float32 is enough: within half a metre of the body's middle it counts in 0.06 micrometres, and noise is looked up modulo
its tile. So surfaces lie where the float64 twin puts them to 3e-5 mm, those of stacks to 2e-4 mm.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

from homolog.kernels import implicit

_ROW = tl.constexpr(implicit.ROW)
_LOOK = tl.constexpr(12)
_TILE = tl.constexpr(implicit.TILE)
_PER_WAVE = tl.constexpr(implicit.PER_WAVE)
_DEEP_MM = tl.constexpr(implicit.DEEP_MM)
_SHIFT = tl.constexpr(7.31)
_CONE, _ELLIPSOID, _COLUMN = (tl.constexpr(kind) for kind in (implicit.CONE, implicit.ELLIPSOID, implicit.COLUMN))
_STACK = tl.constexpr(implicit.STACK)
_GUT, _MUSCLE, _LUNG = (tl.constexpr(mode) for mode in (implicit.GUT, implicit.MUSCLE, implicit.LUNG))
# higher than any shape's number: a lane whose list has ended
_NONE = tl.constexpr(2**30)
# 6 mm cubes at 1.5 mm, half a cell: few cells meet in one. One warp each, so that a least entry is found by shuffles.
BRICK = (4, 4, 4)
FLAT_BRICK = (1, 1, 64)


# ---------------------------------------------------------------------------------------------------------------------
# Shapes


@triton.jit
def _clipped(x):
    return tl.minimum(tl.maximum(x, 0.0), 1.0)


@triton.jit
def _power(a, power):
    # a logarithm of zero is kept finite; 1e-30 to the power of 2 or more is zero again
    return tl.exp2(power * tl.log2(tl.maximum(a, 1e-30)))


@triton.jit
def _across(dx, dy, rx, ry, power):
    """The first-order distance to a superellipse."""
    a, b = tl.abs(dx) / rx, tl.abs(dy) / ry
    total = _power(a, power) + _power(b, power)
    g = tl.where(power == 2.0, tl.sqrt(a * a + b * b), _power(total, 1.0 / power))
    share = g / tl.maximum(total, 1e-30)
    round_ = tl.maximum(g, 1e-30)
    gx = tl.where(power == 2.0, a / round_, share * _power(a, power - 1.0)) / rx
    gy = tl.where(power == 2.0, b / round_, share * _power(b, power - 1.0)) / ry
    slope = tl.sqrt(gx * gx + gy * gy)
    least = -tl.minimum(rx, ry)
    at_middle = tl.where(power == 2.0, g < 1e-6, total < 1e-12)
    return tl.where(at_middle, least, tl.maximum((g - 1.0) / tl.maximum(slope, 1e-9), least))


@triton.jit
def _cone(s, x, y, z):
    ax, ay, az = tl.load(s + 1), tl.load(s + 2), tl.load(s + 3)
    ux, uy, uz = tl.load(s + 4) - ax, tl.load(s + 5) - ay, tl.load(s + 6) - az
    px, py, pz = x - ax, y - ay, z - az
    t = _clipped((px * ux + py * uy + pz * uz) / tl.maximum(ux * ux + uy * uy + uz * uz, 1e-9))
    start, end, flatness = tl.load(s + 7), tl.load(s + 8), tl.load(s + 12)
    radius = start + t * (end - start)
    dx, dy, dz = px - t * ux, py - t * uy, pz - t * uz
    height = -dy / radius
    nx, ny, nz = tl.load(s + 9), tl.load(s + 10), tl.load(s + 11)
    along = dx * nx + dy * ny + dz * nz
    flat = (flatness - 1.0) * along
    dx, dy, dz = dx + flat * nx, dy + flat * ny, dz + flat * nz
    far = tl.sqrt(dx * dx + dy * dy + dz * dz)
    # where it is not flatter, flatness is 1: nothing is added and nothing divided
    steep = 1.0 + (flatness - 1.0) * tl.abs(dx * nx + dy * ny + dz * nz) / tl.maximum(far, 1e-9)
    return (far - radius) / steep, height


@triton.jit
def _stack(s, stacks, x, y, z):
    count, step = tl.load(s + 2), tl.load(s + 4)
    place = (z - tl.load(s + 3)) / step
    inside = tl.minimum(tl.maximum(place, 0.0), count - 1.0)
    n = tl.minimum(inside.to(tl.int32), count.to(tl.int32) - 2)
    f = inside - n.to(tl.float32)
    p = stacks + 5 * (tl.load(s + 1).to(tl.int32) + n)
    cx, front, back = _between(p, f), _between(p + 1, f), _between(p + 2, f)
    half, power = _between(p + 3, f), _between(p + 4, f)
    cy, ry = (front + back) / 2.0, (back - front) / 2.0
    across = _across(x - cx, y - cy, half, ry, power)
    beyond = (tl.abs(place - (count - 1.0) / 2.0) - (count - 1.0) / 2.0) * step
    return tl.maximum(across, beyond), (cy - y) / ry


@triton.jit
def _between(p, f):
    """A column of cross-sections between two rows."""
    low = tl.load(p)
    return low + f * (tl.load(p + 5) - low)


@triton.jit
def _along(row, px, py, pz):
    return tl.load(row) * px + tl.load(row + 1) * py + tl.load(row + 2) * pz


@triton.jit
def _solid(s, kind, x, y, z):
    """Ellipsoids, columns and boxes, by their own axes."""
    px, py, pz = x - tl.load(s + 1), y - tl.load(s + 2), z - tl.load(s + 3)
    a, b, c = _along(s + 4, px, py, pz), _along(s + 7, px, py, pz), _along(s + 10, px, py, pz)
    ra, rb, rc, rounding = tl.load(s + 13), tl.load(s + 14), tl.load(s + 15), tl.load(s + 16)
    height = -py / rb
    if kind == _ELLIPSOID:
        a, b, c = a / ra, b / rb, c / rc
        k = tl.sqrt(a * a + b * b + c * c)
        least = tl.minimum(tl.minimum(ra, rb), rc)
        a, b, c = a / ra, b / rb, c / rc
        slope = tl.sqrt(a * a + b * b + c * c)
        distance = tl.maximum(k * (k - 1.0) / tl.maximum(slope, 1e-9), -least)
        height = tl.where(slope < 1e-9, 0.0, height)
        distance = tl.where(slope < 1e-9, -least, distance)
    elif kind == _COLUMN:
        # a tensor of 2.3, as a stack's power is one
        d = _across(a, b, ra, rb, tl.zeros_like(a) + 2.3) + rounding
        e = tl.abs(c) - rc + rounding
        p, q = tl.maximum(d, 0.0), tl.maximum(e, 0.0)
        distance = tl.sqrt(p * p + q * q) + tl.minimum(tl.maximum(d, e), 0.0) - rounding
    else:
        a, b, c = tl.abs(a) - ra + rounding, tl.abs(b) - rb + rounding, tl.abs(c) - rc + rounding
        p, q, r = tl.maximum(a, 0.0), tl.maximum(b, 0.0), tl.maximum(c, 0.0)
        distance = tl.sqrt(p * p + q * q + r * r) + tl.minimum(tl.maximum(tl.maximum(a, b), c), 0.0) - rounding
    return distance, height


@triton.jit
def _shape(s, stacks, x, y, z):
    """The distance to one shape, and the height over its axis in radii; `s` points to its row."""
    kind = tl.load(s)
    if kind == _CONE:
        distance, height = _cone(s, x, y, z)
    elif kind == _STACK:
        distance, height = _stack(s, stacks, x, y, z)
    else:
        distance, height = _solid(s, kind, x, y, z)
    return distance, height


# ---------------------------------------------------------------------------------------------------------------------
# Looks


@triton.jit
def _noise(tile, x, y, z, scale, shift):
    """The tile of noise; `shift` in nodes, already modulo the tile."""
    x, y, z = x * scale + shift, y * scale + shift, z * scale + shift
    fx, fy, fz = tl.floor(x), tl.floor(y), tl.floor(z)
    i, j, k = fx.to(tl.int32) & (_TILE - 1), fy.to(tl.int32) & (_TILE - 1), fz.to(tl.int32) & (_TILE - 1)
    p, q, r = (i + 1) & (_TILE - 1), (j + 1) & (_TILE - 1), (k + 1) & (_TILE - 1)
    u, v, w = x - fx, y - fy, z - fz
    a = _row(tile, i, j, k, r, w)
    b = _row(tile, i, q, k, r, w)
    c = _row(tile, p, j, k, r, w)
    d = _row(tile, p, q, k, r, w)
    low, high = a + v * (b - a), c + v * (d - c)
    return low + u * (high - low)


@triton.jit
def _row(tile, i, j, k, r, w):
    row = tile + (i * _TILE + j) * _TILE
    low = tl.load(row + k)
    return low + w * (tl.load(row + r) - low)


@triton.jit
def _look(tile, k, x, y, z, ox, oy, oz, depth, height, width):
    """One layer's brightness; `k` points to its look."""
    shell_value, shell_mm, texture, mode = tl.load(k + 1), tl.load(k + 2), tl.load(k + 3), tl.load(k + 7)
    texture_scale, own = _PER_WAVE / tl.load(k + 4), tl.load(k + 5)
    a, b, c = tl.load(k + 8), tl.load(k + 9), tl.load(k + 10)
    core = tl.zeros_like(x) + tl.load(k)
    grain, fine = tl.zeros_like(x), tl.zeros_like(x)
    if (texture != 0.0) | (mode == _MUSCLE):
        stretched = z * tl.load(k + 11)
        grain = _noise(tile, x, y, stretched, texture_scale, 0.0)
        fine = _noise(tile, 2.7 * x, 2.7 * y, 2.7 * stretched, texture_scale, _SHIFT)
        core += texture * (grain + 0.5 * fine)
    if own != 0.0:
        core += own * _noise(tile, ox, oy, oz, _PER_WAVE / tl.load(k + 6), 2.0 * _SHIFT)
    if mode == _GUT:
        level = a - b * _noise(tile, ox, oy, oz, _PER_WAVE / 70.0, 3.0 * _SHIFT)
        core += _clipped((height - level) * 4.0 + 0.5) * (c - core)
    elif mode == _MUSCLE:
        fat = _clipped((grain + 0.4 * fine - a) * 1.6)
        if c > 0.0:
            wave = depth + 1.5 * grain
            fat = tl.maximum(fat, 0.8 * _clipped(1.4 - tl.abs(wave - c)))
            fat = tl.maximum(fat, 0.8 * _clipped(1.4 - tl.abs(wave - 2.0 * c)))
        core += fat * (b - core)
    elif mode == _LUNG:
        core += a * oy
    shell = _clipped((shell_mm - depth) / tl.maximum(0.8 * width, 0.5) + 0.5)
    return core + tl.where(shell_mm > 0.0, shell, 0.0) * (shell_value - core)


# ---------------------------------------------------------------------------------------------------------------------
# The painter


@triton.jit(do_not_specialize=["ni", "nj", "nk", "ci", "cj", "ck"])
def _render(
    points, own, values, labels,
    shapes, layer, stops, layers, stacks, starts, entries, filled, tile, looks,
    x0, y0, z0, cell, ci, cj, ck, ni, nj, nk, width, outside,
    WANTS_VALUES: tl.constexpr, BI: tl.constexpr, BJ: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    program, lane = tl.program_id(0), tl.arange(0, BI * BJ * BK)
    across, deep = tl.cdiv(nj, BJ), tl.cdiv(nk, BK)
    i = program // (across * deep) * BI + lane // (BJ * BK)
    j = program // deep % across * BJ + lane // BK % BJ
    k = program % deep * BK + lane % BK
    valid = (i < ni) & (j < nj) & (k < nk)
    n = (i.to(tl.int64) * nj + j) * nk + k
    x, y, z = _point(points, n, valid)
    ox, oy, oz = _point(own, n, valid)

    p, q, r = tl.floor((x - x0) / cell), tl.floor((y - y0) / cell), tl.floor((z - z0) / cell)
    # compared before it is an integer: a point kilometres away would not fit one
    listed = valid & (p >= 0) & (q >= 0) & (r >= 0) & (p < ci) & (q < cj) & (r < ck)
    here = tl.where(listed, (p.to(tl.int32) * cj + q.to(tl.int32)) * ck + r.to(tl.int32), 0)
    at, end = tl.load(starts + here, mask=listed, other=0), tl.load(starts + here + 1, mask=listed, other=0)

    value, label = tl.zeros_like(x) + outside, tl.zeros_like(here)
    full = tl.load(filled + here, mask=listed, other=-1)
    waiting = tl.where(full >= 0, full, _NONE)
    number = tl.min(waiting, axis=0)
    while number < _NONE:
        mine = waiting == number
        label = tl.where(mine, tl.maximum(tl.load(layers + 4 * number + 3), 0.0).to(tl.int32), label)
        if WANTS_VALUES:
            deep_mm = tl.zeros_like(x) + _DEEP_MM
            shown = _look(tile, looks + _LOOK * number, x, y, z, ox, oy, oz, deep_mm, tl.zeros_like(x), width)
            value = tl.where(mine, shown, value)
        waiting = tl.where(mine, _NONE, waiting)
        number = tl.min(waiting, axis=0)

    entry = tl.load(entries + at, mask=at < end, other=_NONE)
    first = tl.min(entry, axis=0)
    while first < _NONE:
        number = tl.load(layer + first)
        style = layers + 4 * number
        blend, bump, wave_mm, name = tl.load(style), tl.load(style + 1), tl.load(style + 2), tl.load(style + 3)
        stop = tl.load(stops + number)
        total, nearest, height = tl.zeros_like(x) + 1e9, tl.zeros_like(x) + 1e9, tl.zeros_like(x)
        while first < stop:
            distance, above = _shape(shapes + _ROW * first, stacks, x, y, z)
            mine = entry == first
            nearer = mine & (distance < nearest)
            nearest, height = tl.where(nearer, distance, nearest), tl.where(nearer, above, height)
            melt = tl.maximum(blend - tl.abs(total - distance), 0.0)
            # without blending melt is zero, and so is what is divided
            melted = tl.minimum(total, distance) - melt * melt / tl.maximum(4.0 * blend, 1e-6)
            total = tl.where(mine, melted, total)
            at = tl.where(mine, at + 1, at)
            entry = tl.load(entries + at, mask=at < end, other=_NONE)
            first = tl.min(entry, axis=0)
        reach = 4.0 * bump + width
        if (bump != 0.0) & (tl.min(total, axis=0) < reach):
            shift = number.to(tl.float32) * _SHIFT
            # modulo the tile, exactly enough: 225 layers reach 1650 nodes
            shift = shift - _TILE * tl.floor(shift / _TILE)
            moved = total + bump * _noise(tile, x, y, z, _PER_WAVE / wave_mm, shift)
            total = tl.where(total < reach, moved, total)
        if WANTS_VALUES:
            cover = _clipped(0.5 - total / width)
            if tl.max(cover, axis=0) > 0.0:
                shown = _look(tile, looks + _LOOK * number, x, y, z, ox, oy, oz, -total, height, width)
                value += cover * (shown - value)
        named = tl.where(total < 0.0, name, -1.0)
        label = tl.where(named >= 0.0, named.to(tl.int32), label)

    if WANTS_VALUES:
        tl.store(values + n, value, mask=valid)
    tl.store(labels + n, label.to(tl.uint8), mask=valid)


@triton.jit
def _point(points, n, valid):
    x = tl.load(points + 3 * n, mask=valid, other=0.0)
    y = tl.load(points + 3 * n + 1, mask=valid, other=0.0)
    return x, y, tl.load(points + 3 * n + 2, mask=valid, other=0.0)


@triton.jit(do_not_specialize=["count", "first", "last"])
def _least(points, out, shapes, stacks, first, last, count, BLOCK: tl.constexpr):
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    valid = n < count
    x, y, z = _point(points, n, valid)
    least = tl.zeros_like(x) + 1e9
    for s in range(first, last):
        least = tl.minimum(least, _shape(shapes + _ROW * s, stacks, x, y, z)[0])
    tl.store(out + n, least, mask=valid)


# ---------------------------------------------------------------------------------------------------------------------
# What the rest of the house calls


@dataclass(frozen=True, eq=False)
class DeviceTables:
    """`Tables` on a device: float32 and int32, and for each layer the number of the first shape after its own."""

    shapes: torch.Tensor
    layer: torch.Tensor
    stops: torch.Tensor
    layers: torch.Tensor
    stacks: torch.Tensor
    starts: torch.Tensor
    entries: torch.Tensor
    filled: torch.Tensor
    tile: torch.Tensor
    lattice: tuple[float, ...]


@lru_cache(maxsize=4)
def on_device(tables: implicit.Tables, device: torch.device) -> DeviceTables:
    """The tables moved once, 7 MB for a body; the same tensors at each call."""

    def moved(array: np.ndarray, dtype: Any) -> torch.Tensor:
        return torch.from_numpy(np.array(array, dtype)).to(device)

    stops = np.searchsorted(tables.layer, np.arange(len(tables.layers)), side="right")
    floats = {name: moved(getattr(tables, name), np.float32) for name in ("shapes", "layers", "stacks", "tile")}
    numbers = {name: moved(getattr(tables, name), np.int32) for name in ("layer", "starts", "entries", "filled")}
    lattice = (*map(float, tables.origin_mm), float(tables.cell_mm), *map(int, tables.cells))
    return DeviceTables(**floats, **numbers, stops=moved(stops, np.int32), lattice=lattice)


def render(
    tables: DeviceTables,
    looks: torch.Tensor,
    points: torch.Tensor,
    own: torch.Tensor,
    width_mm: float,
    outside: float,
    *,
    values: bool = True,
    brick: tuple[int, int, int] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a body shows at points, as `implicit.render` does.

    looks    (L, 12) float32
    points   (N, 3) or (I, J, K, 3) float32 mm; of a lattice neighbours are painted together
    own      the same shape, float32 mm
    brick    how many points a program paints, powers of two; results do not depend on it
    returns  values float32, empty if not wanted, and labels uint8, of the points' shape
    """
    shape = tuple(points.shape[:-1])
    brick = brick or (BRICK if len(shape) == 3 else FLAT_BRICK)
    sizes = shape if len(shape) == 3 else (1, 1, shape[0])
    found = torch.empty(shape if values else (0,) * len(shape), dtype=torch.float32, device=points.device)
    labels = torch.empty(shape, dtype=torch.uint8, device=points.device)
    programs = int(np.prod([-(-size // step) for size, step in zip(sizes, brick)]))
    if programs:
        with torch.cuda.device_of(points):
            _render[(programs,)](
                points.contiguous(), own.contiguous(), found, labels,
                tables.shapes, tables.layer, tables.stops, tables.layers, tables.stacks,
                tables.starts, tables.entries, tables.filled, tables.tile, looks.contiguous(),
                *tables.lattice, *sizes, float(width_mm), float(outside), values, *brick, num_warps=1,
            )  # fmt: skip
    return found, labels


def least_distance(shapes: torch.Tensor, points: torch.Tensor, block: int = 128) -> torch.Tensor:
    """Float32 mm of the points' shape (..., 3): the signed distance to the nearest of the shapes (P, 18), no stacks."""
    out = torch.empty(points.shape[:-1], dtype=torch.float32, device=points.device)
    count = out.numel()
    if count:
        grid = (triton.cdiv(count, block),)
        with torch.cuda.device_of(points):
            # no stacks among them: any pointer stands in for theirs
            _least[grid](points.contiguous(), out, shapes, shapes, 0, len(shapes), count, block, num_warps=4)
    return out
