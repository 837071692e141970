"""Linear interpolation at the places of a lattice that lies along a picture's own axes.

Such places are all combinations of three lists of coordinates, so what depends on one axis is worked out once for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.threads import over_planes


def sample_reference(data: np.ndarray, coordinates: Sequence[np.ndarray]) -> np.ndarray:
    """The twin of `sample`: one axis after the other."""
    result = data.astype(np.float64)
    for axis, places in enumerate(coordinates):
        lower, share = _between(places, data.shape[axis])
        share = share.reshape([-1 if n == axis else 1 for n in range(3)])
        result = (1 - share) * result.take(lower, axis) + share * result.take(lower + 1, axis)
    return result


def sample(data: np.ndarray, coordinates: Sequence[np.ndarray]) -> np.ndarray:
    """(A, B, C) float32: the picture between its voxels; beyond the outermost centres, their values.

    data         (I, J, K) float32, two voxels at least along each axis
    coordinates  (A,), (B,), (C,) float64, voxels
    """
    data = reading(data, np.float32)
    lower, share = zip(*(_between(at, n) for at, n in zip(coordinates, data.shape, strict=True)), strict=True)
    out = np.empty(tuple(len(at) for at in coordinates), np.float32)
    i, j, k = map(reading, lower)
    along_i, along_j, along_k = (reading(weights, np.float32) for weights in share)
    over_planes(lambda a, b: _sample(data, i, j, k, along_i, along_j, along_k, out, a, b), len(out))
    return out


def _between(places: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """(A,) int64 voxels before the places, never the last, and (A,) float64 how far the places are from there."""
    places = np.clip(places, 0, length - 1)
    lower = np.minimum(places.astype(np.int64), length - 2)
    return lower, places - lower


@njit(nogil=True, cache=True)
def _sample(data, i, j, k, along_i, along_j, along_k, out, start, stop):  # type: ignore[no-untyped-def]
    line = np.empty(data.shape[2], np.float32)
    for a in range(start, stop):
        u = along_i[a]
        for b in range(j.shape[0]):
            v = along_j[b]
            r00, r01, r10, r11 = data[i[a], j[b]], data[i[a], j[b] + 1], data[i[a] + 1, j[b]], data[i[a] + 1, j[b] + 1]
            # steps from one value to the next: where both are equal nothing is rounded, and a constant stays one
            for c in range(line.shape[0]):
                near = r00[c] + v * (r01[c] - r00[c])
                line[c] = near + u * (r10[c] + v * (r11[c] - r10[c]) - near)
            row = out[a, b]
            for c in range(row.shape[0]):
                before = line[k[c]]
                row[c] = before + along_k[c] * (line[k[c] + 1] - before)
