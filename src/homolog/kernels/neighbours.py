"""The nearest and the second nearest of many vectors in another set, from both sides at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading

# Rows and columns of a block of products: 16 MB.
ROWS, COLUMNS = 1024, 4096
# Columns whose largest product is looked at before each of them is.
CHUNK = 16


@dataclass(frozen=True)
class Nearest:
    """For each vector of one set, the two nearest that it may have in the other.

    index     (N, 2) int64, nearest first; -1 where there is none
    distance  (N, 2) float64; infinite where there is none
    """

    index: np.ndarray
    distance: np.ndarray


def nearest_reference(here: np.ndarray, there: np.ndarray, allowed: np.ndarray) -> Nearest:
    """The twin: all distances at once; allowed (N, M) bool. Of equally near ones the first counts as nearer."""
    apart = np.linalg.norm(here[:, None].astype(np.float64) - there[None].astype(np.float64), axis=2)
    apart = np.pad(np.where(allowed, apart, np.inf), ((0, 0), (0, 2)), constant_values=np.inf)
    index = np.argsort(apart, axis=1, kind="stable")[:, :2]
    distance = np.take_along_axis(apart, index, axis=1)
    return Nearest(np.where(np.isfinite(distance), index, -1), distance)


def nearest_in_bands(
    here: np.ndarray, there: np.ndarray, start: np.ndarray, stop: np.ndarray
) -> tuple[Nearest, Nearest]:
    """The two nearest of each row among the columns start..stop, and of each column among the rows that may have it.

    here, there  (N, D) and (M, D) float32
    start, stop  (N,) int64; neither ever falls
    One product of matrices serves both ways, block by block; only blocks that a band touches are multiplied. What it
    chooses is measured again, exactly.
    """
    here, there = _with_norms(here, there)
    rows, columns = _Best.of(len(here)), _Best.of(len(there))
    half = 0.5 * (here[:, :-1].astype(np.float64) ** 2).sum(axis=1)
    products = np.empty(ROWS * COLUMNS, np.float32)
    for first in range(0, len(here), ROWS):
        last = min(first + ROWS, len(here))
        for left in range(int(start[first]), int(stop[last - 1]), COLUMNS):
            right = min(left + COLUMNS, int(stop[last - 1]))
            block = products[: (last - first) * (right - left)].reshape(last - first, right - left)
            np.dot(here[first:last], there[left:right].T, out=block)
            _take(
                block,
                first,
                left,
                reading(start[first:last], np.int64),
                reading(stop[first:last], np.int64),
                reading(half[first:last], np.float32),
                *rows.arrays,
                *columns.arrays,
            )
    return rows.measured(here[:, :-1], there[:, :-1]), columns.measured(there[:, :-1], here[:, :-1])


def nearest_listed(
    here: np.ndarray, there: np.ndarray, offsets: np.ndarray, candidates: np.ndarray
) -> tuple[Nearest, Nearest]:
    """The same where each row has a list: candidates[offsets[n]:offsets[n + 1]] are the columns that row n may have."""
    rows, columns = _Best.of(len(here)), _Best.of(len(there))
    here, there = (np.ascontiguousarray(side, np.float32) for side in (here, there))
    _take_listed(
        reading(here),
        reading(there),
        reading(offsets, np.int64),
        reading(candidates, np.int64),
        *rows.arrays,
        *columns.arrays,
    )
    return rows.measured(here, there), columns.measured(there, here)


@dataclass(frozen=True)
class _Best:
    """The best two so far: index (2, N) and score (2, N), the larger the nearer."""

    index: np.ndarray
    score: np.ndarray

    @classmethod
    def of(cls, count: int) -> _Best:
        return cls(np.full((2, count), -1, np.int64), np.full((2, count), -np.inf, np.float32))

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return self.index, self.score

    def measured(self, here: np.ndarray, there: np.ndarray) -> Nearest:
        """Distances by subtraction: a product loses the digits of small ones."""
        index = self.index.T
        distance = np.full(index.shape, np.inf)
        for n in range(2):
            known = np.flatnonzero(index[:, n] >= 0)
            for part in np.array_split(known, 1 + len(known) // 4096):
                apart = here[part].astype(np.float64) - there[index[part, n]]
                distance[part, n] = np.linalg.norm(apart, axis=1)
        turned = distance[:, 1] < distance[:, 0]
        index = np.where(turned[:, None], index[:, ::-1], index)
        return Nearest(index, np.where(turned[:, None], distance[:, ::-1], distance))


def _with_norms(here: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with one number more, by which their product is a.b - |b|^2 / 2: the larger, the nearer b."""
    one = np.ones((len(here), 1), np.float32)
    norm = -0.5 * (there.astype(np.float64) ** 2).sum(axis=1, keepdims=True)
    return np.hstack((here, one)).astype(np.float32), np.hstack((there, norm)).astype(np.float32)


# without NaN, maxima are taken of eight at once
@njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "reassoc"})
def _take(block, first, left, start, stop, half, r_index, r_score, c_index, c_score):  # type: ignore[no-untyped-def]
    """Takes a block of products into the best of its rows and of its columns.

    Most columns of most rows change nothing. So a chunk of them is compared first, without a branch, with what would.
    """
    width = block.shape[1]
    beaten = c_score[1, left : left + width]
    for r in range(block.shape[0]):
        row = first + r
        products = block[r]
        least = half[r]
        low, high = max(start[r] - left, 0), min(stop[r] - left, width)
        for begin in range(low, high, CHUNK):
            end = min(begin + CHUNK, high)
            some, others = products[begin:end], beaten[begin:end]
            best, lead = some[0], some[0] - others[0]
            for n in range(1, end - begin):
                best = max(best, some[n])
                lead = max(lead, some[n] - others[n])
            if best > r_score[1, row]:
                for c in range(begin, end):
                    _put(r_index, r_score, row, left + c, products[c])
            if lead > least:
                for c in range(begin, end):
                    _put(c_index, c_score, left + c, row, products[c] - least)


@njit(nogil=True, cache=True)
def _take_listed(here, there, offsets, candidates, r_index, r_score, c_index, c_score):  # type: ignore[no-untyped-def]
    for row in range(here.shape[0]):
        for n in range(offsets[row], offsets[row + 1]):
            column = candidates[n]
            total = np.float32(0)
            for d in range(here.shape[1]):
                apart = here[row, d] - there[column, d]
                total += apart * apart
            _put(r_index, r_score, row, column, -total)
            _put(c_index, c_score, column, row, -total)


@njit(nogil=True, cache=True)
def _put(index, score, n, other, value):  # type: ignore[no-untyped-def]
    if value > score[0, n]:
        score[1, n], index[1, n] = score[0, n], index[0, n]
        score[0, n], index[0, n] = value, other
    elif value > score[1, n]:
        score[1, n], index[1, n] = value, other
