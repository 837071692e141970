"""Cubic B-splines of many images on one lattice: their displacements at points, and points' pulls spread on controls.

The points of a lattice stay where they are while its coefficients are sought, so what they weigh is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.bspline import basis
from homolog.kernels.threads import over_planes

# Points a thread takes at once at least.
LEAST = 20_000


@dataclass(frozen=True, eq=False)
class Placed:
    """Points of several images on a lattice of controls.

    corner  (P,) int32: the number of the control (-1, -1, -1) from each, of `shape`
    weight  (P, 12) float64: of the four controls along x, y, z
    start   (N + 1,) int64: the rows of each image
    shape   (I, J, K) controls
    """

    corner: np.ndarray
    weight: np.ndarray
    start: np.ndarray
    shape: tuple[int, int, int]


def placed(controls: np.ndarray, start: np.ndarray, shape: tuple[int, int, int]) -> Placed:
    """Points (P, 3) in steps of the lattice, at least one and at most shape - 2 from its beginning."""
    base = np.clip(np.floor(controls), 1, np.array(shape) - 3).astype(np.int64)
    weight = np.moveaxis(basis(controls - base), 0, 2).reshape(len(controls), 12)
    corner = np.ravel_multi_index(tuple((base - 1).T), shape).astype(np.int32)
    return Placed(corner, np.ascontiguousarray(weight), np.asarray(start, np.int64), shape)


def displaced_reference(coefficients: np.ndarray, points: Placed, position: np.ndarray) -> np.ndarray:
    """The twin of `displaced`."""
    index, weight = _taps(points)
    image = np.repeat(np.arange(len(points.start) - 1), np.diff(points.start))
    return position + np.einsum("pt,ptc->pc", weight, coefficients[image[:, None], index, :3])


def displaced(coefficients: np.ndarray, points: Placed, position: np.ndarray) -> np.ndarray:
    """(P, 3) float64 mm: where the splines put points that lie at `position` (P, 3).

    coefficients  (N, controls, 4) float64 mm: x, y, z and one more, for alignment
    """
    out = np.empty_like(position)
    arrays = [reading(coefficients, np.float64), *_read(points), reading(position, np.float64)]
    image = np.repeat(np.arange(len(points.start) - 1, dtype=np.int32), np.diff(points.start))
    over_planes(
        lambda first, last: _displaced(*arrays, image, *points.shape[1:], first, last, out), len(out), at_least=LEAST
    )
    return out


def splatted_reference(pull: np.ndarray, points: Placed) -> np.ndarray:
    """The twin of `splatted`."""
    index, weight = _taps(points)
    image = np.repeat(np.arange(len(points.start) - 1), np.diff(points.start))
    out = np.zeros((len(points.start) - 1, int(np.prod(points.shape)), 4))
    np.add.at(out, (image[:, None], index), weight[..., None] * pull[:, None])
    return out


def splatted(pull: np.ndarray, points: Placed) -> np.ndarray:
    """(N, controls, 4) float64: the sum of what points (P, 4) carry, by their weights at each control."""
    images = len(points.start) - 1
    out = np.zeros((images, int(np.prod(points.shape)), 4))
    corner, weight = _read(points)
    rows, start = reading(pull, np.float64), reading(points.start, np.int64)
    at_least = max(1, images * LEAST // max(1, len(rows)))
    over_planes(
        lambda first, last: _splatted(rows, corner, weight, start, *points.shape[1:], first, last, out),
        images,
        at_least=at_least,
    )
    return out


def advanced_reference(
    coefficients: np.ndarray, sums: np.ndarray, rate: float, free: np.ndarray, centred: bool
) -> np.ndarray:
    """The twin of `advanced`."""
    weight = sums[..., 3:]
    step = np.divide(sums, weight, out=np.zeros_like(sums), where=weight > 0)
    step[..., 3] = 0.0
    further = coefficients + rate * step * free[:, None, None]
    if centred and free.any():
        further[free] -= further[free].mean(axis=0)
    return further


def advanced(coefficients: np.ndarray, sums: np.ndarray, rate: float, free: np.ndarray, centred: bool) -> np.ndarray:
    """(N, controls, 4): each control moved by a share of the mean of what is spread on it.

    coefficients  (N, controls, 4) float64 mm
    sums          (N, controls, 4): three sums and their weight, from `splatted`
    free          (N,) bool, which images move
    centred       whether the mean over those images is taken away
    """
    out = np.empty_like(coefficients)
    arrays = reading(coefficients, np.float64), reading(sums, np.float64), reading(free, np.bool_)
    over_planes(lambda first, last: _advanced(*arrays, rate, centred, first, last, out), sums.shape[1], at_least=LEAST)
    return out


def farthest(coefficients: np.ndarray) -> np.ndarray:
    """(3,): the largest coefficient along each axis, in mm, whatever its sign."""
    out = np.zeros(3)
    _farthest(reading(coefficients, np.float64), out)
    return out


def _taps(points: Placed) -> tuple[np.ndarray, np.ndarray]:
    """(P, 64) numbers of the controls, and their weights."""
    steps = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    index = points.corner[:, None] + steps @ np.array([points.shape[1] * points.shape[2], points.shape[2], 1])
    along = points.weight.reshape(-1, 3, 4)
    weight = along[:, 0, steps[:, 0]] * along[:, 1, steps[:, 1]] * along[:, 2, steps[:, 2]]
    return index, weight


def _read(points: Placed) -> tuple[np.ndarray, np.ndarray]:
    return reading(points.corner, np.int32), reading(points.weight, np.float64)


# Sixteen sums at once, four controls of four numbers, which lie in a row: processors add four of them together.
@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _displaced(coefficients, corner, weight, position, image, nj, nk, first, last, out):  # type: ignore[no-untyped-def]
    flat = coefficients.reshape(coefficients.shape[0], coefficients.shape[1] * 4)
    for n in range(first, last):
        values, w = flat[image[n]], weight[n]
        a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = 0.0
        for a in range(4):
            for b in range(4):
                begin = np.uintp(4 * (corner[n] + (a * nj + b) * nk))
                row, s = values[begin : begin + np.uintp(16)], w[a] * w[4 + b]
                a0, a1, a2, a3 = a0 + s * row[0], a1 + s * row[1], a2 + s * row[2], a3 + s * row[3]
                b0, b1, b2, b3 = b0 + s * row[4], b1 + s * row[5], b2 + s * row[6], b3 + s * row[7]
                c0, c1, c2, c3 = c0 + s * row[8], c1 + s * row[9], c2 + s * row[10], c3 + s * row[11]
                d0, d1, d2, d3 = d0 + s * row[12], d1 + s * row[13], d2 + s * row[14], d3 + s * row[15]
        e, f, g, h = w[8], w[9], w[10], w[11]
        out[n, 0] = position[n, 0] + e * a0 + f * b0 + g * c0 + h * d0
        out[n, 1] = position[n, 1] + e * a1 + f * b1 + g * c1 + h * d1
        out[n, 2] = position[n, 2] + e * a2 + f * b2 + g * c2 + h * d2


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _splatted(pull, corner, weight, start, nj, nk, first, last, out):  # type: ignore[no-untyped-def]
    flat = out.reshape(out.shape[0], out.shape[1] * 4)
    for image in range(first, last):
        values = flat[image]
        for n in range(start[image], start[image + 1]):
            if pull[n, 3] == 0.0:
                continue
            w = weight[n]
            x, y, z, v = pull[n, 0], pull[n, 1], pull[n, 2], pull[n, 3]
            e, f, g, h = w[8], w[9], w[10], w[11]
            a0, a1, a2, a3 = e * x, e * y, e * z, e * v
            b0, b1, b2, b3 = f * x, f * y, f * z, f * v
            c0, c1, c2, c3 = g * x, g * y, g * z, g * v
            d0, d1, d2, d3 = h * x, h * y, h * z, h * v
            for a in range(4):
                for b in range(4):
                    begin = np.uintp(4 * (corner[n] + (a * nj + b) * nk))
                    row, s = values[begin : begin + np.uintp(16)], w[a] * w[4 + b]
                    # all are read before any is written, so that they need not be done one after the other
                    r0, r1, r2, r3 = row[0] + s * a0, row[1] + s * a1, row[2] + s * a2, row[3] + s * a3
                    r4, r5, r6, r7 = row[4] + s * b0, row[5] + s * b1, row[6] + s * b2, row[7] + s * b3
                    r8, r9, ra, rb = row[8] + s * c0, row[9] + s * c1, row[10] + s * c2, row[11] + s * c3
                    rc, rd, re, rf = row[12] + s * d0, row[13] + s * d1, row[14] + s * d2, row[15] + s * d3
                    row[0], row[1], row[2], row[3] = r0, r1, r2, r3
                    row[4], row[5], row[6], row[7] = r4, r5, r6, r7
                    row[8], row[9], row[10], row[11] = r8, r9, ra, rb
                    row[12], row[13], row[14], row[15] = rc, rd, re, rf


@njit(nogil=True, cache=True, error_model="numpy")
def _advanced(coefficients, sums, free, rate, centred, first, last, out):  # type: ignore[no-untyped-def]
    moving = max(1, free.sum())
    for control in range(first, last):
        x = y = z = 0.0
        for image in range(len(coefficients)):
            weight = sums[image, control, 3]
            share = rate / weight if weight > 0 and free[image] else 0.0
            u = coefficients[image, control, 0] + share * sums[image, control, 0]
            v = coefficients[image, control, 1] + share * sums[image, control, 1]
            w = coefficients[image, control, 2] + share * sums[image, control, 2]
            out[image, control, 0], out[image, control, 1], out[image, control, 2] = u, v, w
            out[image, control, 3] = 0.0
            if free[image]:
                x, y, z = x + u, y + v, z + w
        if centred and (x != 0.0 or y != 0.0 or z != 0.0):
            x, y, z = x / moving, y / moving, z / moving
            for image in range(len(coefficients)):
                if free[image]:
                    out[image, control, 0] -= x
                    out[image, control, 1] -= y
                    out[image, control, 2] -= z


@njit(nogil=True, cache=True)
def _farthest(coefficients, out):  # type: ignore[no-untyped-def]
    for image in range(coefficients.shape[0]):
        for control in range(coefficients.shape[1]):
            for c in range(3):
                out[c] = max(out[c], abs(coefficients[image, control, c]))
