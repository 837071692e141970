"""Matches of many images on flat arrays: what each end is pulled by, and what each image's ends say of its map.

All points of all images lie in one array; a match is two rows of it. Matches come in blocks, each of one pair of
images, and every match is visited once for both of its ends. Blocks that follow each other in a round share no image,
so that threads can take them at once and every sum is still made in the same order.

A mixture of each image says how likely a match is right (`mixture.curve`); both images have a say, and the lower one
counts: w = min(P_a(d), P_b(d)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.mixture import BIN_MM, SURELY_MM
from homolog.kernels.threads import over_planes, thread_count

# Matches a thread takes at once at least: fewer are not worth waking it for.
LEAST = 200_000


@dataclass(frozen=True, eq=False)
class HalfEdges:
    """Matches in blocks.

    rows    (M, 2) int32, of the points' array
    start   (B + 1,) int64, of each block
    images  (B, 2) int32, of each block
    rounds  (R + 1,) int64, blocks of a round share no image
    """

    rows: np.ndarray
    start: np.ndarray
    images: np.ndarray
    rounds: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Pulled:
    """What matches do to points.

    pull    (P, 4) float64: the sum of w^2 (other end - this end) in mm, and of w^2
    energy  the root mean square distance of the matches that pull, weighted by w^2, in mm
    """

    pull: np.ndarray
    energy: float


@dataclass(frozen=True, eq=False)
class Moments:
    """What matches of each pair of images say of linear maps.

    own     (B, 2, 4, 4): the sum of w p p^T over either end, p = (x, y, z, 1) mm
    cross   (B, 4, 4): the sum of w p q^T
    energy  the root mean square distance of all matches, weighted by w^2, in mm
    """

    own: np.ndarray
    cross: np.ndarray
    energy: float


def weights_reference(position: np.ndarray, edges: HalfEdges, curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M,) probabilities and (M,) squared distances: the definition that all below share."""
    a, b = edges.rows.T
    square = ((position[b] - position[a]) ** 2).sum(axis=1)
    image = np.repeat(edges.images, np.diff(edges.start), axis=0)
    bias, slope, _ = np.moveaxis(curves[image], 2, 0)
    against = (bias + slope * square[:, None]).max(axis=1)
    right = 1 / (1 + np.exp(np.minimum(against, 700)))
    return np.where(square < SURELY_MM**2, 1.0, right), square


def pulled_reference(position: np.ndarray, edges: HalfEdges, curves: np.ndarray, least: float) -> Pulled:
    """The twin of `pulled`."""
    right, square = weights_reference(position, edges, curves)
    w2 = np.where(right >= least, right**2, 0.0)
    pull = np.zeros((len(position), 4))
    a, b = edges.rows.T
    away = np.c_[position[b] - position[a], np.ones(len(a))]
    np.add.at(pull, a, w2[:, None] * away)
    np.add.at(pull, b, w2[:, None] * (away * [-1, -1, -1, 1]))
    return Pulled(pull, float(np.sqrt((w2 * square).sum() / max(w2.sum(), 1e-300))))


def pulled(position: np.ndarray, edges: HalfEdges, curves: np.ndarray, least: float) -> Pulled:
    """What matches that are right with at least `least` pull their ends by.

    position  (P, 3) float64 mm, where the points are now
    curves    (N, 3) of each image, `mixture.curve`
    """
    pull = np.zeros((len(position), 4))
    sums = np.zeros((len(edges.images), 2))
    # what the logarithm of the odds against a match may be
    limit = np.log(1 / least - 1) if least > 0 else np.inf
    arrays = _read(position, edges, curves)
    _over_blocks(edges, lambda start, stop: _pulled(*arrays, limit, start, stop, pull, sums))
    return Pulled(pull, _energy(sums))


def moments_reference(position: np.ndarray, edges: HalfEdges, curves: np.ndarray) -> Moments:
    """The twin of `moments`."""
    right, square = weights_reference(position, edges, curves)
    w = right
    p = np.c_[position, np.ones(len(position))]
    own, cross = np.zeros((len(edges.images), 2, 4, 4)), np.zeros((len(edges.images), 4, 4))
    for block, (start, stop) in enumerate(zip(edges.start, edges.start[1:])):
        a, b = p[edges.rows[start:stop, 0]], p[edges.rows[start:stop, 1]]
        each = w[start:stop, None]
        own[block], cross[block] = [(each * a).T @ a, (each * b).T @ b], (each * a).T @ b
    w2 = right**2
    return Moments(own, cross, float(np.sqrt((w2 * square).sum() / max(w2.sum(), 1e-300))))


def moments(position: np.ndarray, edges: HalfEdges, curves: np.ndarray) -> Moments:
    """Sums over all matches, however unlikely."""
    count = len(edges.images)
    own, cross, sums = np.zeros((count, 2, 4, 4)), np.zeros((count, 4, 4)), np.zeros((count, 2))
    arrays = _read(position, edges, curves)
    over_planes(
        lambda start, stop: _moments(*arrays, start, stop, own, cross, sums), count, at_least=_blocks_at_once(edges)
    )
    return Moments(own, cross, _energy(sums))


def histogram_reference(position: np.ndarray, edges: HalfEdges, images: int, bins: int) -> np.ndarray:
    """The twin of `histogram`."""
    apart = np.linalg.norm(position[edges.rows[:, 1]] - position[edges.rows[:, 0]], axis=1)
    place = np.minimum((apart / BIN_MM).astype(np.int64), bins - 1)
    counts = np.zeros((images, bins))
    image = np.repeat(edges.images, np.diff(edges.start), axis=0)
    for end in range(2):
        np.add.at(counts, (image[:, end], place), 1.0)
    return counts


def histogram(position: np.ndarray, edges: HalfEdges, images: int, bins: int) -> np.ndarray:
    """(images, bins) float64: how much lies how far apart, in bins of BIN_MM; the last holds all beyond."""
    counts = np.zeros((images, bins))
    rows, start, ends = reading(edges.rows, np.int32), reading(edges.start, np.int64), reading(edges.images, np.int32)
    place = reading(position, np.float64)
    _over_blocks(edges, lambda first, last: _histogram(place, rows, start, ends, first, last, counts))
    return counts


def _read(position: np.ndarray, edges: HalfEdges, curves: np.ndarray) -> tuple[np.ndarray, ...]:
    return (
        reading(position, np.float64),
        reading(edges.rows, np.int32),
        reading(edges.start, np.int64),
        reading(edges.images, np.int32),
        reading(curves, np.float64),
    )


def _over_blocks(edges: HalfEdges, work: Callable[[int, int], None]) -> None:
    """Calls `work(first, last)` on all blocks; those that threads take at once share no image."""
    for start, stop in _together(edges):
        over_planes(partial(_from, work, start), stop - start, at_least=_blocks_at_once(edges))


def _from(work: Callable[[int, int], None], start: int, first: int, last: int) -> None:
    work(start + first, start + last)


def _together(edges: HalfEdges) -> list[tuple[int, int]]:
    """Ranges of blocks that may be taken at once: rounds, or all of them where one thread takes them in a row."""
    if thread_count() == 1 or len(edges) < 2 * LEAST:
        return [(0, len(edges.images))]
    return list(zip(edges.rounds[:-1].tolist(), edges.rounds[1:].tolist()))


def _blocks_at_once(edges: HalfEdges) -> int:
    if len(edges) < 2 * LEAST:
        return max(1, len(edges.images))
    return max(1, len(edges.images) * LEAST // len(edges))


def _energy(sums: np.ndarray) -> float:
    total, weight = sums.sum(axis=0)
    return float(np.sqrt(total / weight)) if weight > 0 else 0.0


@njit(nogil=True, cache=True, error_model="numpy")
def _pulled(position, rows, start, images, curves, limit, first, last, pull, sums):  # type: ignore[no-untyped-def]
    for block in range(first, last):
        one, two = images[block, 0], images[block, 1]
        ba, sa, bb, sb = curves[one, 0], curves[one, 1], curves[two, 0], curves[two, 1]
        total = sum_ = 0.0
        for m in range(start[block], start[block + 1]):
            a, b = np.uintp(rows[m, 0]), np.uintp(rows[m, 1])
            x = position[b, 0] - position[a, 0]
            y = position[b, 1] - position[a, 1]
            z = position[b, 2] - position[a, 2]
            square = x * x + y * y + z * z
            w = 1.0
            if square >= SURELY_MM * SURELY_MM:
                against = max(ba + sa * square, bb + sb * square)
                # most are wrong by now, and cost no exponential
                if against > limit:
                    continue
                w = 1 / (1 + np.exp(against))
            w2 = w * w
            total += w2 * square
            sum_ += w2
            pull[a, 0] += w2 * x
            pull[a, 1] += w2 * y
            pull[a, 2] += w2 * z
            pull[a, 3] += w2
            pull[b, 0] -= w2 * x
            pull[b, 1] -= w2 * y
            pull[b, 2] -= w2 * z
            pull[b, 3] += w2
        sums[block, 0], sums[block, 1] = total, sum_


@njit(nogil=True, cache=True, error_model="numpy")
def _moments(position, rows, start, images, curves, first, last, own, cross, sums):  # type: ignore[no-untyped-def]
    p, q = np.ones(4), np.ones(4)
    for block in range(first, last):
        one, two = images[block, 0], images[block, 1]
        ba, sa, bb, sb = curves[one, 0], curves[one, 1], curves[two, 0], curves[two, 1]
        for m in range(start[block], start[block + 1]):
            a, b = rows[m, 0], rows[m, 1]
            square = 0.0
            for c in range(3):
                p[c], q[c] = position[a, c], position[b, c]
                square += (q[c] - p[c]) ** 2
            w = 1.0
            if square >= SURELY_MM * SURELY_MM:
                against = max(ba + sa * square, bb + sb * square)
                w = 1 / (1 + np.exp(min(against, 700.0)))
            sums[block, 0] += w * w * square
            sums[block, 1] += w * w
            for c in range(4):
                for d in range(4):
                    own[block, 0, c, d] += w * p[c] * p[d]
                    own[block, 1, c, d] += w * q[c] * q[d]
                    cross[block, c, d] += w * p[c] * q[d]


@njit(nogil=True, cache=True)
def _histogram(position, rows, start, images, first, last, counts):  # type: ignore[no-untyped-def]
    most = counts.shape[1] - 1
    for block in range(first, last):
        one, two = images[block, 0], images[block, 1]
        for m in range(start[block], start[block + 1]):
            a, b = rows[m, 0], rows[m, 1]
            square = 0.0
            for c in range(3):
                square += (position[b, c] - position[a, c]) ** 2
            place = min(int(np.sqrt(square) / BIN_MM), most)
            counts[one, place] += 1.0
            counts[two, place] += 1.0
