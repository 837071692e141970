"""Which label most sources give a place, each dividing its vote among the labels of the eight voxels around."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.interpolate import cell_of, moved_to

# Votes this near to each other, of all that are cast, are equal: sums of shares differ in their last digits.
ALIKE = 1e-6


def elect_reference(
    labels: Sequence[np.ndarray], matrices: np.ndarray, points: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The twin of `elect`: a dictionary of votes for each place."""
    winners, shares = [0] * points.shape[1], np.zeros(points.shape[1], np.float32)
    for n in range(points.shape[1]):
        votes: dict[int, float] = {}
        for source, data in enumerate(labels):
            voxel = points[source, n] @ matrices[source, :3, :3].T + matrices[source, :3, 3]
            last = np.array(data.shape) - 1
            if weights[source, n] <= 0 or not ((voxel >= -0.5) & (voxel < last + 0.5)).all():
                continue
            voxel = np.clip(voxel, 0, last)
            low = np.floor(voxel).astype(int)
            for corner in product((0, 1), repeat=3):
                share = np.prod(np.where(corner, voxel - low, 1 - (voxel - low)))
                label = int(data[tuple(np.minimum(low + corner, last))])
                votes[label] = votes.get(label, 0.0) + share * weights[source, n]
        if votes:
            total, most = sum(votes.values()), max(votes.values())
            winners[n] = min(label for label, cast in votes.items() if cast >= most - ALIKE * total)
            shares[n] = votes[winners[n]] / total
    return np.array(winners), shares


@njit(nogil=True, cache=True)
def _elect(flat, starts, shapes, matrices, points, weights, winners, shares):  # type: ignore[no-untyped-def]
    known, cast = np.empty(8 * len(starts), np.int64), np.empty(8 * len(starts))
    for n in range(len(winners)):
        count, total = 0, 0.0
        for source in range(len(starts)):
            weight = weights[source, n]
            if not weight > 0:
                continue
            ni, nj, nk = shapes[source, 0], shapes[source, 1], shapes[source, 2]
            x, y, z = moved_to(matrices[source], points[source], n)
            if not (-0.5 <= x < ni - 0.5 and -0.5 <= y < nj - 0.5 and -0.5 <= z < nk - 0.5):
                continue
            i0, i1, fx = cell_of(x, ni)
            j0, j1, fy = cell_of(y, nj)
            k0, k1, fz = cell_of(z, nk)
            total += weight
            for corner in range(8):
                i, u = (i1, fx) if corner & 4 else (i0, 1 - fx)
                j, v = (j1, fy) if corner & 2 else (j0, 1 - fy)
                k, w = (k1, fz) if corner & 1 else (k0, 1 - fz)
                share = weight * u * v * w
                if share <= 0:
                    continue
                label = np.int64(flat[starts[source] + (np.int64(i) * nj + np.int64(j)) * nk + np.int64(k)])
                m = 0
                while m < count and known[m] != label:
                    m += 1
                if m == count:
                    known[m], cast[m] = label, 0.0
                    count += 1
                cast[m] += share
        winners[n], shares[n] = 0, 0.0
        if count == 0:
            continue
        most = cast[:count].max()
        best = -1
        for m in range(count):
            if cast[m] >= most - ALIKE * total and (best < 0 or known[m] < known[best]):
                best = m
        winners[n], shares[n] = known[best], cast[best] / total


def gathered(labels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label maps in a row, for `elect`: flat, of one type; where each begins (S,); and their shapes (S, 3)."""
    kind = np.result_type(*labels)
    flat = np.concatenate([np.ascontiguousarray(data, kind).ravel() for data in labels])
    starts = np.concatenate(([0], np.cumsum([data.size for data in labels])[:-1])).astype(np.int64)
    return reading(flat), reading(starts), reading([data.shape for data in labels], np.int64)


def elect(
    row: tuple[np.ndarray, np.ndarray, np.ndarray], matrices: np.ndarray, points: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The label that most votes are for, and its share of them.

    A source that does not show a place casts no vote there. Of labels with equally many votes the smallest wins; where
    nobody votes it is 0, with a share of 0.

    row       S label maps, as `gathered` gives them
    matrices  (S, 4, 4) voxels of each map from its points
    points    (S, N, 3) float64, where each source shows the N places
    weights   (S, N) float32, how much each source's vote counts there
    returns   labels (N,) of the maps' type, shares (N,) float32 in 0..1
    """
    flat, starts, shapes = row
    winners, shares = np.empty(points.shape[1], flat.dtype), np.empty(points.shape[1], np.float32)
    around = reading(matrices, np.float64), reading(points, np.float64), reading(weights, np.float32)
    _elect(flat, starts, shapes, *around, winners, shares)
    return winners, shares
