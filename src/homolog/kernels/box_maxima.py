"""Places where a layer of `box_hessian` answers more strongly than all around it, in place and in scale."""

from __future__ import annotations

from itertools import product

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.box_hessian import Layer
from homolog.kernels.threads import over_planes


def maxima_reference(
    layers: list[Layer], margin: int, threshold: float, use: tuple[bool, ...], skip: bool
) -> np.ndarray:
    """The twin of `maxima`."""
    _, middle, above = layers
    shape, steps = above.response.shape, [above.step // layer.step for layer in layers]
    found = []
    for place in np.ndindex(*shape):
        if any(not margin <= n < size - margin for n, size in zip(place, shape)):
            continue
        here = tuple(n * steps[1] for n in place)
        value = middle.response[here]
        if not (value >= threshold and middle.blob[here]):
            continue
        beaten = False
        for layer, step, used in zip(layers, steps, use):
            for offset in product((-1, 0, 1), repeat=3):
                if not used or (layer is middle and (offset == (0, 0, 0) or (skip and offset[:2] == (0, 0)))):
                    continue
                there = tuple((n + o) * step for n, o in zip(place, offset))
                beaten |= bool(layer.blob[there] and layer.response[there] >= value)
        if not beaten:
            found.append(place)
    return np.array(found, np.int64).reshape(-1, 3)


def maxima(layers: list[Layer], margin: int, threshold: float, use: tuple[bool, ...], skip: bool = False) -> np.ndarray:
    """(N, 3) int64, in order: places on the coarsest lattice where the middle layer's blobs are strongest.

    layers     three, finer to coarser; neighbours are one place of the coarsest lattice apart in all of them
    margin     places at each end of an axis that are left out
    threshold  the least response
    use        for each layer, whether its blobs are compared with
    skip       whether the middle layer's two neighbours along the third axis are left out of the comparison
    """
    above = layers[2]
    shape = above.response.shape
    rows = max(0, shape[0] - 2 * margin)
    if rows == 0 or min(shape) <= 2 * margin:
        return np.zeros((0, 3), np.int64)
    steps = np.array([above.step // layer.step for layer in layers])
    finer, middle, coarser = ((reading(layer.response), reading(layer.blob)) for layer in layers)
    which = np.array(use)
    plane = (shape[1] - 2 * margin) * (shape[2] - 2 * margin)
    marks = np.zeros((rows, -(-plane // 8)), np.uint8)

    def planes(start: int, stop: int) -> None:
        _mark(*finer, *middle, *coarser, steps, margin, threshold, which, skip, marks, start, stop)

    over_planes(planes, rows)
    bits = np.unpackbits(marks, axis=1, count=plane, bitorder="little").reshape(rows, shape[1] - 2 * margin, -1)
    return np.argwhere(bits) + margin


def neighbourhoods(layers: list[Layer], places: np.ndarray) -> np.ndarray:
    """(N, 3, 3, 3, 3) float64 responses round places: three layers, then one place either way along each axis."""
    top = layers[2].step
    around = np.array([-1, 0, 1])
    axes = [places[:, n, None] + around for n in range(3)]
    found = np.empty((len(places), 3, 3, 3, 3))
    for n, layer in enumerate(layers):
        a, b, c = (axis * (top // layer.step) for axis in axes)
        found[:, n] = layer.response[a[:, :, None, None], b[:, None, :, None], c[:, None, None, :]]
    return found


@njit(nogil=True, cache=True)
def _mark(r0, b0, r1, b1, r2, b2, steps, margin, threshold, use, skip, marks, start, stop):  # type: ignore[no-untyped-def]
    """Sets a bit of `marks` for each maximum in planes start..stop, counted from the margin."""
    shape = r2.shape
    s1 = steps[1]
    for row in range(start, stop):
        a = row + margin
        n = 0
        for b in range(margin, shape[1] - margin):
            for c in range(margin, shape[2] - margin):
                place = n
                n += 1
                if b1[a * s1, b * s1, c * s1] == 0:
                    continue
                value = r1[a * s1, b * s1, c * s1]
                if value < threshold:
                    continue
                if _beaten(r1, b1, s1, a, b, c, value, True, skip):
                    continue
                if use[2] and _beaten(r2, b2, steps[2], a, b, c, value, False, False):
                    continue
                if use[0] and _beaten(r0, b0, steps[0], a, b, c, value, False, False):
                    continue
                marks[row, place // 8] |= np.uint8(1 << (place % 8))


@njit(nogil=True, cache=True)
def _beaten(response, blob, step, a, b, c, value, own, skip):  # type: ignore[no-untyped-def]
    for i in range(a - 1, a + 2):
        for j in range(b - 1, b + 2):
            for k in range(c - 1, c + 2):
                if own and i == a and j == b and (k == c or skip):
                    continue
                if response[i * step, j * step, k * step] >= value and blob[i * step, j * step, k * step] != 0:
                    return True
    return False
