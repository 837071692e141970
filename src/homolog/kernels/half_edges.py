"""Matches of many images on flat arrays: what each end is pulled by, and what each image's ends say of its map.

All points of all images lie in one array; a match is two rows of it. Matches come in blocks, each of one pair of
images, and every match is visited once for both of its ends. Blocks that follow each other in a round share no image,
so that threads can take them at once and every sum is still made in the same order.

A mixture of each image says how likely a match is right (`mixture.curve`); both images have a say, and the lower one
counts: w = min(P_a(d), P_b(d)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from homolog.kernels.arrays import beside, reading
from homolog.kernels.lanes import added, four, nothing, products, put, row
from homolog.kernels.mixture import BIN_MM, SURELY_MM
from homolog.kernels.scattering import summed_torch
from homolog.kernels.threads import over_planes, thread_count

if TYPE_CHECKING:
    import torch

# Matches a thread takes at once at least: fewer are not worth waking it for.
LEAST = 200_000
# Matches that are looked at, all of them, before those that pull do.
TOGETHER = 512


_Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class HalfEdges:
    """Matches in blocks. Where the rows are torch's, so is what is made of them, on their device.

    rows    (M, 2) int32, of the points' array
    start   (B + 1,) int64, of each block
    images  (B, 2) int32, of each block
    rounds  (R + 1,) int64, blocks of a round share no image
    """

    rows: Any
    start: np.ndarray
    images: np.ndarray
    rounds: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def on(self, device: str) -> HalfEdges:
        """For Numba's kernels ("cpu"), or for a device by torch's name for it."""
        if device == "cpu":
            return self
        import torch

        return replace(self, rows=torch.tensor(self.rows, device=device))


@dataclass(frozen=True, eq=False)
class Pulled:
    """What matches do to points.

    pull    (P, 4) float64: the sum of w^2 (other end - this end) in mm, and of w^2
    energy  the root mean square distance of the matches that pull, weighted by w^2, in mm
    """

    pull: Any
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


def pulled(position: Any, edges: HalfEdges, curves: np.ndarray, least: float) -> Pulled:
    """What matches that are right with at least `least` pull their ends by.

    position  (P, 3) float64 mm, where the points are now
    curves    (N, 3) of each image, `mixture.curve`
    """
    if not isinstance(edges.rows, np.ndarray):
        return pulled_torch(position, edges, curves, least)
    pull = np.zeros((len(position), 4))
    sums = np.zeros((len(edges.images), 2))
    arrays = _read(position, edges, curves)
    _over_blocks(edges, lambda start, stop: _pulled(*arrays, _limit(least), start, stop, pull, sums))
    return Pulled(pull, _energy(sums))


def pulled_torch(position: torch.Tensor, edges: HalfEdges, curves: np.ndarray, least: float) -> Pulled:
    """`pulled` on float64 positions of the rows' device; the pull is there too."""
    import torch

    square, against, _ = _apart_torch(position, edges, curves)
    kept = torch.nonzero(against <= _limit(least))[:, 0]
    square, w2 = square[kept], torch.sigmoid(-against[kept]) ** 2
    a, b = edges.rows[kept].unbind(dim=1)
    away = position.index_select(0, b) - position.index_select(0, a)
    one = torch.ones_like(w2)[:, None]
    pulls = w2[:, None] * torch.cat((torch.cat((away, one), dim=1), torch.cat((-away, one), dim=1)), dim=1)
    pull = summed_torch(torch.cat(pulls.split(4, dim=1)), torch.cat((a, b)), len(position))
    return Pulled(pull, _energy_torch(w2, square))


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
    if not isinstance(edges.rows, np.ndarray):
        return moments_torch(position, edges, curves)
    count = len(edges.images)
    own, cross, sums = np.zeros((count, 2, 4, 4)), np.zeros((count, 4, 4)), np.zeros((count, 2))
    arrays = _read(position, edges, curves)
    over_planes(
        lambda start, stop: _moments(*arrays, start, stop, own, cross, sums), count, at_least=_blocks_at_once(edges)
    )
    return Moments(own, cross, _energy(sums))


def moments_torch(position: Any, edges: HalfEdges, curves: np.ndarray) -> Moments:
    """`moments` made on the rows' device; what comes back is NumPy's."""
    import torch

    place = _placed(position, edges)
    square, against, block = _apart_torch(place, edges, curves)
    w = torch.sigmoid(-against)
    p = torch.cat((place, torch.ones_like(place[:, :1])), dim=1)
    a, b = (p.index_select(0, end) for end in edges.rows.unbind(dim=1))
    own, other, cross = (
        summed_torch(((w[:, None] * one)[:, :, None] * two[:, None]).reshape(-1, 16), block, len(edges.images))
        .reshape(-1, 4, 4)
        .cpu()
        .numpy()
        for one, two in ((a, a), (b, b), (a, b))
    )
    return Moments(np.stack((own, other), axis=1), cross, _energy_torch(w**2, square))


def histogram_reference(position: np.ndarray, edges: HalfEdges, images: int, bins: int) -> np.ndarray:
    """The twin of `histogram`."""
    apart = np.linalg.norm(position[edges.rows[:, 1]] - position[edges.rows[:, 0]], axis=1)
    place = np.minimum((apart / BIN_MM).astype(np.int64), bins - 1)
    counts = np.zeros((images, bins))
    image = np.repeat(edges.images, np.diff(edges.start), axis=0)
    for end in range(2):
        np.add.at(counts, (image[:, end], place), 1.0)
    return counts


def histogram(position: Any, edges: HalfEdges, images: int, bins: int) -> np.ndarray:
    """(images, bins) float64: how much lies how far apart, in bins of BIN_MM; the last holds all beyond."""
    if not isinstance(edges.rows, np.ndarray):
        return histogram_torch(position, edges, images, bins)
    counts = np.zeros((images, bins))
    rows, start, ends = reading(edges.rows, np.int32), reading(edges.start, np.int64), reading(edges.images, np.int32)
    place = reading(position, np.float64)
    _over_blocks(edges, lambda first, last: _histogram(place, rows, start, ends, first, last, counts))
    return counts


def histogram_torch(position: Any, edges: HalfEdges, images: int, bins: int) -> np.ndarray:
    """`histogram` made on the rows' device; what comes back is NumPy's."""
    import torch

    place = _placed(position, edges)
    a, b = (place.index_select(0, end) for end in edges.rows.unbind(dim=1))
    bin_ = (((b - a) ** 2).sum(dim=1).sqrt() / BIN_MM).clamp(max=bins - 1).long()
    image = beside(edges.images, place).long().index_select(0, _block(edges))
    counts = torch.bincount((image * bins + bin_[:, None]).ravel(), minlength=images * bins)
    return counts.reshape(images, bins).to(torch.float64).cpu().numpy()


def _placed(position: Any, edges: HalfEdges) -> torch.Tensor:
    """Positions where the rows are."""
    return beside(position, edges.rows) if isinstance(position, np.ndarray) else position


def _block(edges: HalfEdges) -> torch.Tensor:
    """(M,) the block of each match."""
    import torch

    sizes = beside(np.diff(edges.start), edges.rows)
    return torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)


def _apart_torch(
    position: torch.Tensor, edges: HalfEdges, curves: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(M,) squared distances; (M,) logarithms of the odds against matches; (M,) their blocks."""
    a, b = (position.index_select(0, end) for end in edges.rows.unbind(dim=1))
    square, block = ((b - a) ** 2).sum(dim=1), _block(edges)
    ends = beside(curves[edges.images][..., :2], position)
    against = [ends[:, end, 0][block] + ends[:, end, 1][block] * square for end in range(2)]
    odds = against[0].maximum(against[1])
    # a match that is surely right: its probability is one in float64 too
    return square, odds.masked_fill(square < SURELY_MM**2, -700.0), block


def _energy_torch(w2: torch.Tensor, square: torch.Tensor) -> float:
    total, weight = float((w2 * square).sum()), float(w2.sum())
    return float(np.sqrt(total / weight)) if weight > 0 else 0.0


def _limit(least: float) -> float:
    """What the logarithm of the odds against a match may be."""
    return float(np.log(max(1 / least - 1, 1e-300))) if least > 0 else np.inf


def _read(position: np.ndarray, edges: HalfEdges, curves: np.ndarray) -> _Arrays:
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


# Most matches are wrong by now: a first loop, without a branch, finds those that are not.
@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _pulled(position, rows, start, images, curves, limit, first, last, pull, sums):  # type: ignore[no-untyped-def]
    flat = pull.reshape(pull.size)
    kept = np.empty(TOGETHER, np.int64)
    for block in range(first, last):
        one, two = images[block, 0], images[block, 1]
        ba, sa, bb, sb = curves[one, 0], curves[one, 1], curves[two, 0], curves[two, 1]
        total = sum_ = 0.0
        for begin in range(start[block], start[block + 1], TOGETHER):
            count = np.uintp(0)
            for m in range(begin, min(begin + TOGETHER, start[block + 1])):
                x, y, z = _apart(position, rows, m)
                square = x * x + y * y + z * z
                kept[count] = m
                is_near = max(ba + sa * square, bb + sb * square) <= limit or square < SURELY_MM * SURELY_MM
                count += np.uintp(is_near)
            for n in range(count):
                m = kept[n]
                x, y, z = _apart(position, rows, m)
                square = x * x + y * y + z * z
                w = 1.0
                if square >= SURELY_MM * SURELY_MM:
                    w = 1 / (1 + np.exp(max(ba + sa * square, bb + sb * square)))
                w2 = w * w
                total += w2 * square
                sum_ += w2
                a, b = np.uintp(4 * rows[m, 0]), np.uintp(4 * rows[m, 1])
                put(flat, a, added(row(flat, a, 4), w2, four(x, y, z, 1.0)))
                put(flat, b, added(row(flat, b, 4), w2, four(-x, -y, -z, 1.0)))
        sums[block, 0], sums[block, 1] = total, sum_


@njit(inline="always", cache=True)
def _apart(position, rows, m):  # type: ignore[no-untyped-def]
    """From the first end of a match to the second."""
    a, b = np.uintp(rows[m, 0]), np.uintp(rows[m, 1])
    return position[b, 0] - position[a, 0], position[b, 1] - position[a, 1], position[b, 2] - position[a, 2]


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _moments(position, rows, start, images, curves, first, last, own, cross, sums):  # type: ignore[no-untyped-def]
    zero = np.uintp(0)
    for block in range(first, last):
        one, two = images[block, 0], images[block, 1]
        ba, sa, bb, sb = curves[one, 0], curves[one, 1], curves[two, 0], curves[two, 1]
        owns, others, crosses = nothing(), nothing(), nothing()
        total = sum_ = 0.0
        for m in range(start[block], start[block + 1]):
            a, b = np.uintp(rows[m, 0]), np.uintp(rows[m, 1])
            x, y, z = _apart(position, rows, m)
            square = x * x + y * y + z * z
            w = 1.0
            if square >= SURELY_MM * SURELY_MM:
                w = 1 / (1 + np.exp(min(max(ba + sa * square, bb + sb * square), 700.0)))
            total += w * w * square
            sum_ += w * w
            p = four(position[a, 0], position[a, 1], position[a, 2], 1.0)
            q = four(position[b, 0], position[b, 1], position[b, 2], 1.0)
            owns = added(owns, w, products(p, p))
            others = added(others, w, products(q, q))
            crosses = added(crosses, w, products(p, q))
        put(own[block, 0].reshape(16), zero, owns)
        put(own[block, 1].reshape(16), zero, others)
        put(cross[block].reshape(16), zero, crosses)
        sums[block, 0], sums[block, 1] = total, sum_


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
