"""What it costs to move a block: the mean Hamming distance of its codes over a cube of displacement labels."""

from __future__ import annotations

from itertools import product

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.mind import hamming_reference, popcount
from homolog.kernels.threads import over_planes

# What a label costs that moves too much of the block to where nothing is known: more than 60 differing bits.
UNKNOWN = 61.0


def labels(radius: int, step: int) -> np.ndarray:
    """(L, 3) int64 voxels: the displacements of a label space, the last axis running fastest; L = (2 radius + 1)^3."""
    along = step * np.arange(-radius, radius + 1)
    return np.array(list(product(along, along, along)))


def block_costs_reference(
    fixed: np.ndarray,
    moving: np.ndarray,
    known: np.ndarray,
    corners: np.ndarray,
    *,
    edge: int,
    radius: int,
    step: int,
    stride: int,
    least: float,
) -> np.ndarray:
    """The twin of `block_costs`: block by block, label by label."""
    costs = np.full((len(corners), (2 * radius + 1) ** 3), UNKNOWN, np.float32)
    block = np.array(list(product(range(0, edge, stride), range(0, edge, stride), range(edge))))
    last = np.array(fixed.shape) - 1
    for n, l in np.ndindex(costs.shape):
        here = corners[n] + block
        there = here + labels(radius, step)[l]
        inside = ((there >= 0) & (there <= last)).all(axis=1)
        inside &= known[tuple(np.clip(there, 0, last).T)]
        if inside.sum() >= least * len(block):
            bits = hamming_reference(fixed[tuple(here[inside].T)], moving[tuple(there[inside].T)])
            costs[n, l] = bits.mean()
    return costs


@njit(nogil=True, cache=True)
def _block_costs(fixed, moving, known, corners, start, stop, edge, radius, step, stride, least, costs):  # type: ignore[no-untyped-def]
    """Fills costs[start:stop]. `moving` and `known` are padded by radius * step.

    The innermost loop runs along a row of labels, whose codes lie side by side: it becomes vector instructions.
    """
    width = 2 * radius + 1
    reach = 2 * radius * step
    size = ((edge + stride - 1) // stride) ** 2 * edge
    sums, counts = np.empty(width, np.uint64), np.empty(width, np.uint64)
    for n in range(start, stop):
        ci, cj, ck = corners[n, 0], corners[n, 1], corners[n, 2]
        whole = True
        for i in range(ci, ci + edge + reach):
            for j in range(cj, cj + edge + reach):
                row = known[i, j, ck : ck + edge + reach]
                low = np.uint8(1)
                for k in range(len(row)):
                    low &= row[k]
                whole &= low == 1
        out = costs[n]
        for a in range(width):
            for b in range(width):
                sums[:] = 0
                counts[:] = size
                if whole:
                    for x in range(0, edge, stride):
                        for y in range(0, edge, stride):
                            row = moving[ci + x + a * step, cj + y + b * step]
                            for z in range(edge):
                                word = fixed[ci + x, cj + y, ck + z]
                                first = ck + z
                                for c in range(width):
                                    sums[c] += popcount(word ^ row[first + c * step])
                else:
                    counts[:] = 0
                    for x in range(0, edge, stride):
                        for y in range(0, edge, stride):
                            row = moving[ci + x + a * step, cj + y + b * step]
                            seen = known[ci + x + a * step, cj + y + b * step]
                            for z in range(edge):
                                word = fixed[ci + x, cj + y, ck + z]
                                first = ck + z
                                for c in range(width):
                                    is_known = np.uint64(seen[first + c * step])
                                    sums[c] += is_known * popcount(word ^ row[first + c * step])
                                    counts[c] += is_known
                place = (a * width + b) * width
                for c in range(width):
                    if counts[c] >= least * size and counts[c] > 0:
                        out[place + c] = np.float32(sums[c]) / np.float32(counts[c])
                    else:
                        out[place + c] = UNKNOWN


def block_costs(
    fixed: np.ndarray,
    moving: np.ndarray,
    known: np.ndarray,
    corners: np.ndarray,
    *,
    edge: int,
    radius: int,
    step: int = 1,
    stride: int = 1,
    least: float = 0.5,
) -> np.ndarray:
    """(N, L) float32: the mean number of bits, 0 to 60, by which a block differs from where each label moves it.

    fixed, moving  (I, J, K) uint64, codes of `mind.codes` on one grid
    known          (I, J, K) bool: where the moving codes mean something; outside the grid they do not
    corners        (N, 3) integers, the first voxel of each block, which lies inside the grid
    edge           voxels along a block's side
    radius, step   the label space: `labels(radius, step)`
    least          the share of a block that must be moved to known voxels; else a label costs `UNKNOWN`
    """
    costs = np.empty((len(corners), (2 * radius + 1) ** 3), np.float32)
    reach = radius * step
    padded = reading(np.pad(moving, reach), np.uint64)
    seen = reading(np.pad(known, reach), np.uint8)
    places = reading(corners, np.int64)
    words = reading(fixed, np.uint64)

    def part(start: int, stop: int) -> None:
        _block_costs(words, padded, seen, places, start, stop, edge, radius, step, stride, float(least), costs)

    over_planes(part, len(corners), at_least=16)
    return costs
