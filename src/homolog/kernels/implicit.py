"""Bodies made of shapes: which layer a point lies in, and how bright it is there.

A shape is a row of a table whose sign says inside or outside; a layer is several shapes melted together; layers are
painted one over the other, each as far as it covers the point, so that edges are as soft as a voxel is wide.
A coarse lattice of cells knows which shapes can matter in a cell, and which layer fills it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.threads import over_planes

# kinds, in column 0 of a row; the other columns are said where the kind is evaluated
ELLIPSOID, CONE, BOX, COLUMN, STACK = 0, 1, 2, 3, 4
ROW = 18
# columns of a layer: millimetres of blending, of bumps and of their wavelength, the label (-1: that of what is below)
BLEND, BUMP, BUMP_MM, LABEL = 0, 1, 2, 3
# columns of a look
(CORE, SHELL, SHELL_MM, TEXTURE, TEXTURE_MM, OWN, OWN_MM, MODE, A, B, C, STRETCH) = range(12)
PLAIN, GUT, MUSCLE, LUNG = 0.0, 1.0, 2.0, 3.0
# the periodic tile of noise: 64 nodes a side, four to a wavelength
TILE = 64
PER_WAVE = 4.0
# a layer that fills its cell is painted as from this deep
DEEP_MM = 100.0
POINTS_A_THREAD = 32768
# divisors are kept from zero by hand, so that no division has to look; a product and a sum may be rounded once
FAST: Any = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}}


@dataclass(frozen=True, eq=False)
class Tables:
    """A body as flat arrays.

    shapes   (P, 18) float64, sorted by layer
    layer    (P,) int32, the layer of each shape
    layers   (L, 4) float64
    stacks   (S, 5) float64: rows of cross-sections that STACKs point to: middle x, y front and back, half width, power
    origin_mm, cell_mm, cells  the lattice of cells: (3,) corner, edge length, (3,) counts
    starts   (cells + 1,) int32 into entries
    entries  (E,) int32, the shapes that matter in a cell, ascending
    filled   (cells,) int32, the layer that fills the cell, or -1
    tile     (64, 64, 64) float32, periodic noise of variance one
    """

    shapes: np.ndarray
    layer: np.ndarray
    layers: np.ndarray
    stacks: np.ndarray
    origin_mm: np.ndarray
    cell_mm: float
    cells: np.ndarray
    starts: np.ndarray
    entries: np.ndarray
    filled: np.ndarray
    tile: np.ndarray

    def arguments(self) -> tuple:
        """The columns in order, arrays read-only, as the kernels take them."""
        values = [getattr(self, field.name) for field in fields(self)]
        return tuple(reading(value) if isinstance(value, np.ndarray) else value for value in values)


def nothing() -> Tables:
    """A body without shapes in one empty cell."""
    none, cell = np.zeros((0, ROW)), np.zeros(1, np.int32)
    return Tables(
        none, cell[:0], np.zeros((0, 4)), np.zeros((0, 5)), np.zeros(3), 1.0, np.ones(3, np.int64),
        np.zeros(2, np.int32), cell[:0], cell - 1, np.zeros((TILE,) * 3, np.float32),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# The twin


def render_reference(
    tables: Tables, looks: np.ndarray, points: np.ndarray, own: np.ndarray, width_mm: float, outside: float
) -> tuple[np.ndarray, np.ndarray]:
    """The twin of `render`: every layer at every point, without cells."""
    value, label = np.full(len(points), outside), np.zeros(len(points), np.uint8)
    for number, layer in enumerate(tables.layers):
        distance, height = _layer_reference(tables, number, points)
        distance = distance + layer[BUMP] * noise_reference(tables.tile, points, layer[BUMP_MM], number)
        cover = np.clip(0.5 - distance / width_mm, 0, 1)
        look = _look_reference(tables.tile, looks[number], points, own, -distance, height, width_mm)
        value += cover * (look - value)
        if layer[LABEL] >= 0:
            label[distance < 0] = layer[LABEL]
    return value.astype(np.float32), label


def noise_reference(tile: np.ndarray, points: np.ndarray, wave_mm: float, shift: float = 0.0) -> np.ndarray:
    """The tile at points, linear between nodes, periodic; layers take it from places of their own."""
    from scipy.ndimage import map_coordinates

    nodes = points * (PER_WAVE / wave_mm) + shift * 7.31
    return map_coordinates(tile.astype(float), nodes.T % TILE, order=1, mode="grid-wrap")


def _layer_reference(tables: Tables, number: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The melted distance, and the height above the nearest shape's axis in its radii."""
    blend = tables.layers[number, BLEND]
    total, nearest, height = (np.full(len(points), np.inf), np.full(len(points), np.inf), np.zeros(len(points)))
    for shape in np.flatnonzero(tables.layer == number):
        distance, above = distances_reference(tables.shapes[shape], tables.stacks, points)
        height = np.where(distance < nearest, above, height)
        nearest = np.minimum(nearest, distance)
        if blend > 0:
            apart = np.abs(np.where(np.isinf(total), 1e9, total) - distance)
            total = np.minimum(total, distance) - np.maximum(blend - apart, 0) ** 2 / (4 * blend)
        else:
            total = np.minimum(total, distance)
    return total, height


def distances_reference(shape: np.ndarray, stacks: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed distances (N,) to one shape, negative inside and exact to first order at its surface, and heights."""
    results = np.array([shape_distance.py_func(shape, stacks, *point) for point in points]).reshape(-1, 2)
    return results[:, 0], results[:, 1]


def _look_reference(tile, look, points, own, depth, height, width_mm):  # type: ignore[no-untyped-def]
    shell = 0.0
    if look[SHELL_MM] > 0:
        shell = np.clip((look[SHELL_MM] - depth) / max(0.8 * width_mm, 0.5) + 0.5, 0, 1)
    stretched = points * np.array([1, 1, look[STRETCH]])
    grain = noise_reference(tile, stretched, look[TEXTURE_MM], 0)
    fine = noise_reference(tile, stretched * 2.7, look[TEXTURE_MM], 1)
    core = look[CORE] + look[TEXTURE] * (grain + 0.5 * fine) + look[OWN] * noise_reference(tile, own, look[OWN_MM], 2)
    if look[MODE] == GUT:
        level = look[A] - look[B] * noise_reference(tile, own, 70.0, 3)
        core = core + np.clip((height - level) * 4 + 0.5, 0, 1) * (look[C] - core)
    elif look[MODE] == MUSCLE:
        fat = np.clip((grain + 0.4 * fine - look[A]) * 1.6, 0, 1)
        if look[C] > 0:
            wave = depth + 1.5 * grain
            for plane in (1, 2):
                fat = np.maximum(fat, 0.8 * np.clip(1.4 - np.abs(wave - plane * look[C]), 0, 1))
        core = core + fat * (look[B] - core)
    elif look[MODE] == LUNG:
        core = core + look[A] * own[:, 1]
    return core + shell * (look[SHELL] - core)


# ---------------------------------------------------------------------------------------------------------------------
# The fast one: only the shapes that the point's cell lists


@njit(**FAST)
def _across(dx, dy, rx, ry, power):  # type: ignore[no-untyped-def]
    """The first-order distance to a superellipse: (g - 1) / |grad g|, kept finite at its middle."""
    a, b = abs(dx) / rx, abs(dy) / ry
    if power == 2.0:
        g = np.sqrt(a * a + b * b)
        if g < 1e-6:
            return -min(rx, ry)
        gx, gy = a / (g * rx), b / (g * ry)
    else:
        total = a**power + b**power
        if total < 1e-12:
            return -min(rx, ry)
        g = total ** (1 / power)
        share = g / total
        gx = share * a ** (power - 1) / rx
        gy = share * b ** (power - 1) / ry
    slope = np.sqrt(gx * gx + gy * gy)
    return max((g - 1) / max(slope, 1e-9), -min(rx, ry))


@njit(**FAST)
def shape_distance(s, stacks, x, y, z):  # type: ignore[no-untyped-def]
    """The distance to one shape, and the height (towards -y) over its axis in radii."""
    kind = int(s[0])
    if kind == CONE:
        # 1:4 and 4:7 the ends, 7 and 8 their radii, 9:12 a direction in which it is 12 times flatter
        ux, uy, uz = s[4] - s[1], s[5] - s[2], s[6] - s[3]
        px, py, pz = x - s[1], y - s[2], z - s[3]
        t = (px * ux + py * uy + pz * uz) / max(ux * ux + uy * uy + uz * uz, 1e-9)
        t = min(max(t, 0.0), 1.0)
        radius = s[7] + t * (s[8] - s[7])
        dx, dy, dz = px - t * ux, py - t * uy, pz - t * uz
        height = -dy / radius
        if s[12] != 1.0:
            flat = (s[12] - 1) * (dx * s[9] + dy * s[10] + dz * s[11])
            dx, dy, dz = dx + flat * s[9], dy + flat * s[10], dz + flat * s[11]
            far = np.sqrt(dx * dx + dy * dy + dz * dz)
            # stretched space: near the flat face a millimetre counts for more
            steep = 1.0 + (s[12] - 1) * abs(dx * s[9] + dy * s[10] + dz * s[11]) / max(far, 1e-9)
            return (far - radius) / steep, height
        return np.sqrt(dx * dx + dy * dy + dz * dz) - radius, height
    if kind == STACK:
        # 1 the first row, 2 how many, 3 z of the first, 4 the step between rows
        count = int(s[2])
        place = (z - s[3]) / s[4]
        inside = min(max(place, 0.0), count - 1.0)
        n = min(int(inside), count - 2)
        f = inside - n
        p, q = stacks[int(s[1]) + n], stacks[int(s[1]) + n + 1]
        cx, front, back = p[0] + f * (q[0] - p[0]), p[1] + f * (q[1] - p[1]), p[2] + f * (q[2] - p[2])
        half, power = p[3] + f * (q[3] - p[3]), p[4] + f * (q[4] - p[4])
        cy, ry = (front + back) / 2, (back - front) / 2
        across = _across(x - cx, y - cy, half, ry, power)
        beyond = (abs(place - (count - 1) / 2) - (count - 1) / 2) * s[4]
        return max(across, beyond), (cy - y) / ry
    # the others: 1:4 the centre, 4:13 their axes in rows, 13:16 sizes along these
    px, py, pz = x - s[1], y - s[2], z - s[3]
    a = s[4] * px + s[5] * py + s[6] * pz
    b = s[7] * px + s[8] * py + s[9] * pz
    c = s[10] * px + s[11] * py + s[12] * pz
    if kind == ELLIPSOID:
        a, b, c = a / s[13], b / s[14], c / s[15]
        k = np.sqrt(a * a + b * b + c * c)
        least = min(s[13], s[14], s[15])
        a, b, c = a / s[13], b / s[14], c / s[15]
        slope = np.sqrt(a * a + b * b + c * c)
        if slope < 1e-9:
            return -least, 0.0
        return max(k * (k - 1) / slope, -least), -py / s[14]
    if kind == COLUMN:
        # 13 and 14 the radii of an elliptic cylinder, 15 its half height, 16 the rounding of its rims
        d = _across(a, b, s[13], s[14], 2.3) + s[16]
        e = abs(c) - s[15] + s[16]
        return np.sqrt(max(d, 0.0) ** 2 + max(e, 0.0) ** 2) + min(max(d, e), 0.0) - s[16], -py / s[14]
    a, b, c = abs(a) - s[13] + s[16], abs(b) - s[14] + s[16], abs(c) - s[15] + s[16]
    outer = np.sqrt(max(a, 0.0) ** 2 + max(b, 0.0) ** 2 + max(c, 0.0) ** 2)
    return outer + min(max(a, b, c), 0.0) - s[16], -py / s[14]


@njit(**FAST)
def _noise(tile, x, y, z, wave, shift):  # type: ignore[no-untyped-def]
    scale = PER_WAVE / wave
    x, y, z = x * scale + shift * 7.31, y * scale + shift * 7.31, z * scale + shift * 7.31
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    i, j, k = int(fx) & (TILE - 1), int(fy) & (TILE - 1), int(fz) & (TILE - 1)
    p, q, r = (i + 1) & (TILE - 1), (j + 1) & (TILE - 1), (k + 1) & (TILE - 1)
    u, v, w = x - fx, y - fy, z - fz
    a = tile[i, j, k] + w * (tile[i, j, r] - tile[i, j, k])
    b = tile[i, q, k] + w * (tile[i, q, r] - tile[i, q, k])
    c = tile[p, j, k] + w * (tile[p, j, r] - tile[p, j, k])
    d = tile[p, q, k] + w * (tile[p, q, r] - tile[p, q, k])
    low, high = a + v * (b - a), c + v * (d - c)
    return low + u * (high - low)


@njit(**FAST)
def _look(tile, k, x, y, z, ox, oy, oz, depth, height, width):  # type: ignore[no-untyped-def]
    shell = 0.0
    if k[SHELL_MM] > 0:
        shell = min(max((k[SHELL_MM] - depth) / max(0.8 * width, 0.5) + 0.5, 0.0), 1.0)
        if shell >= 1.0:
            return k[SHELL]
    core, grain, fine = k[CORE], 0.0, 0.0
    if k[TEXTURE] != 0 or k[MODE] == MUSCLE:
        grain = _noise(tile, x, y, z * k[STRETCH], k[TEXTURE_MM], 0.0)
        fine = _noise(tile, 2.7 * x, 2.7 * y, 2.7 * z * k[STRETCH], k[TEXTURE_MM], 1.0)
        core += k[TEXTURE] * (grain + 0.5 * fine)
    if k[OWN] != 0:
        core += k[OWN] * _noise(tile, ox, oy, oz, k[OWN_MM], 2.0)
    if k[MODE] == GUT:
        level = k[A] - k[B] * _noise(tile, ox, oy, oz, 70.0, 3.0)
        core += min(max((height - level) * 4 + 0.5, 0.0), 1.0) * (k[C] - core)
    elif k[MODE] == MUSCLE:
        fat = min(max((grain + 0.4 * fine - k[A]) * 1.6, 0.0), 1.0)
        if k[C] > 0:
            wave = depth + 1.5 * grain
            for plane in range(1, 3):
                fat = max(fat, 0.8 * min(max(1.4 - abs(wave - plane * k[C]), 0.0), 1.0))
        core += fat * (k[B] - core)
    elif k[MODE] == LUNG:
        core += k[A] * oy
    return core + shell * (k[SHELL] - core)


@njit(nogil=True, **FAST)
def _render(  # type: ignore[no-untyped-def]
    shapes, layer, layers, stacks, origin, cell, cells, starts, entries, filled, tile,
    balls, looks, points, own, width, outside, start, stop, values, labels,
):  # fmt: skip
    wants_values = len(values) > 0
    for n in range(start, stop):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        ox, oy, oz = own[n, 0], own[n, 1], own[n, 2]
        value, label = outside, 0
        i = int(np.floor((x - origin[0]) / cell))
        j = int(np.floor((y - origin[1]) / cell))
        k = int(np.floor((z - origin[2]) / cell))
        if 0 <= i < cells[0] and 0 <= j < cells[1] and 0 <= k < cells[2]:
            here = (i * cells[1] + j) * cells[2] + k
            at, end = starts[here], starts[here + 1]
            full = filled[here]
            if full >= 0:
                label = max(int(layers[full, LABEL]), 0)
                if wants_values:
                    value = _look(tile, looks[full], x, y, z, ox, oy, oz, DEEP_MM, 0.0, width)
            while at < end:
                number = layer[entries[at]]
                blend = layers[number, BLEND]
                total, nearest, height = 1e9, 1e9, 0.0
                while at < end and layer[entries[at]] == number:
                    shape = entries[at]
                    at += 1
                    u, v, w = x - balls[shape, 0], y - balls[shape, 1], z - balls[shape, 2]
                    if u * u + v * v + w * w > balls[shape, 3]:
                        continue
                    distance, above = shape_distance(shapes[shape], stacks, x, y, z)
                    if distance < nearest:
                        nearest, height = distance, above
                    lower = min(total, distance)
                    if blend > 0:
                        melt = max(blend - abs(total - distance), 0.0)
                        lower -= melt * melt / (4 * blend)
                    total = lower
                if layers[number, BUMP] != 0 and total < 4 * layers[number, BUMP] + width:
                    total += layers[number, BUMP] * _noise(tile, x, y, z, layers[number, BUMP_MM], number)
                if wants_values:
                    cover = min(max(0.5 - total / width, 0.0), 1.0)
                    if cover > 0:
                        here_value = _look(tile, looks[number], x, y, z, ox, oy, oz, -total, height, width)
                        value += cover * (here_value - value)
                if total < 0 and layers[number, LABEL] >= 0:
                    label = int(layers[number, LABEL])
        if wants_values:
            values[n] = value
        labels[n] = label


def render(
    tables: Tables,
    looks: np.ndarray,
    points: np.ndarray,
    own: np.ndarray,
    width_mm: float,
    outside: float,
    *,
    values: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """What a body shows at points.

    looks     (L, 12) float64: the look of each layer
    points    (N, 3) float64 mm, where the body was compiled
    own       (N, 3) float64 mm, where the patient lies: the place of what has no counterpart in others
    width_mm  over how much an edge is smeared
    outside   the value beyond all layers
    returns   values (N,) float32, empty if not wanted, and labels (N,) uint8
    """
    found, labels = np.empty(len(points) if values else 0, np.float32), np.zeros(len(points), np.uint8)
    arguments: Any = tables.arguments()
    looks, points, own = (reading(array, np.float64) for array in (looks, points, own))

    balls = _balls(tables, width_mm)

    def part(start: int, stop: int) -> None:
        _render(*arguments, balls, looks, points, own, float(width_mm), float(outside), start, stop, found, labels)

    over_planes(part, len(points), at_least=POINTS_A_THREAD)
    return found, labels


def _balls(tables: Tables, width_mm: float) -> np.ndarray:
    """(P, 4) mm, mm^2: around each cone and ellipsoid a middle, and the squared radius beyond which it shows nothing.

    A shape changes what is seen only where its layer's surface, moved by bumps of up to four, may come within half a
    width, and where it melts with another that does. Further out it need not be looked at: most of a cell's are not.
    """
    shapes, style = tables.shapes, tables.layers[tables.layer]
    reach = 4 * style[:, BUMP] + width_mm / 2 + 3 * style[:, BLEND]
    found = np.column_stack((shapes[:, 1:4], np.full(len(shapes), np.inf)))
    cones, balls = shapes[:, 0] == CONE, shapes[:, 0] == ELLIPSOID
    a, b = shapes[cones, 1:4], shapes[cones, 4:7]
    found[cones, :3] = (a + b) / 2
    # where it is flattened, a millimetre counts for up to so much more
    flat = np.maximum(shapes[cones, 12], 1)
    found[cones, 3] = (np.linalg.norm(b - a, axis=1) / 2 + shapes[cones, 7:9].max(axis=1) + reach[cones] * flat) ** 2
    # its first-order distance at k radii is at least k - 1 times the least of them
    sizes = shapes[balls, 13:16]
    found[balls, 3] = (sizes.max(axis=1) * (1 + reach[balls] / sizes.min(axis=1))) ** 2
    return found


@njit(nogil=True, cache=True)
def _distances(shape, stacks, points, out):  # type: ignore[no-untyped-def]
    for n in range(len(points)):
        out[n] = shape_distance(shape, stacks, points[n, 0], points[n, 1], points[n, 2])[0]


def distances(shape: np.ndarray, stacks: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N,) float64 mm: the signed distance of points (N, 3) to one shape (18,)."""
    out = np.empty(len(points))
    _distances(reading(shape, np.float64), reading(stacks, np.float64), reading(points, np.float64), out)
    return out
