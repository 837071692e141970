"""The nearest and the second nearest of many vectors in another set, from both sides at once, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.threads import over_planes, thread_count

# Columns that are multiplied at a time: their products stay in the processor's fastest memory.
PANEL = 256
# Numbers of a vector that are multiplied at a time.
STEP = 4
# float32 rounds to this share.
ROUNDING = 2.0**-24


@dataclass(frozen=True)
class Nearest:
    """For each vector of one set, the two nearest that it may have in the other.

    index     (N, 2) int64, rows of the other set, nearest first; -1 where there is none
    distance  (N, 2) float64; infinite where there is none
    """

    index: np.ndarray
    distance: np.ndarray

    @classmethod
    def nothing(cls, count: int) -> Nearest:
        return cls(np.full((count, 2), -1, np.int64), np.full((count, 2), np.inf))


def nearest_reference(here: np.ndarray, there: np.ndarray, allowed: np.ndarray) -> Nearest:
    """The twin: all distances at once; allowed (N, M) bool. Of equally near ones the first counts as nearer."""
    apart = np.linalg.norm(here[:, None].astype(np.float64) - there[None].astype(np.float64), axis=2)
    apart = np.pad(np.where(allowed, apart, np.inf), ((0, 0), (0, 2)), constant_values=np.inf)
    index = np.argsort(apart, axis=1, kind="stable")[:, :2]
    distance = np.take_along_axis(apart, index, axis=1)
    return Nearest(np.where(np.isfinite(distance), index, -1), distance)


def nearest_in_bands(
    here: np.ndarray, there: np.ndarray, own: np.ndarray, other: np.ndarray, start: np.ndarray, stop: np.ndarray
) -> tuple[Nearest, Nearest]:
    """The nearest of here[own] among there[other], and of there[other] among here[own], in these orders.

    here, there  (N, D) and (M, D) float32
    own, other   (n,) and (m,) int64, the rows that take part
    start, stop  (n,) int64; own[r] may have other[start[r]:stop[r]]. Neither ever falls

    a.b - |b|^2 / 2 is largest for the b nearest to a, and less |a|^2 / 2 for the a nearest to b: each product serves
    both ways. Three are kept of each. Where rounding could have exchanged the second and the third, that vector's band
    is searched by subtraction instead; all that is returned was measured so.
    """
    here, there = reading(here, np.float32), reading(there, np.float32)
    start, stop = reading(start, np.int64), reading(stop, np.int64)
    one, two = _centred(here[own], there[other])
    rows, columns = _Best.of(len(own)), _Best.of(len(other))
    product = _Product.of(one, two)
    merging = Lock()

    def work(first: int, last: int) -> None:
        seen = _Best.of(len(other))
        product.take(first, last, start, stop, rows, seen)
        # in any order: what could depend on it is searched again
        with merging:
            _merge(*columns.arrays, *seen.arrays)

    # the fewer parts, the sooner few columns are worth a look
    over_planes(work, len(own), at_least=max(4 * PANEL, -(-len(own) // thread_count())))
    places = np.arange(len(other))
    back = np.searchsorted(stop, places, "right"), np.searchsorted(start, places, "right")
    return (
        _settled(rows, product.doubt, here, there, own, other, start, stop),
        _settled(columns, product.doubt_back, there, here, other, own, *back),
    )


def nearest_around(
    here: np.ndarray,
    there: np.ndarray,
    own: np.ndarray,
    other: np.ndarray,
    expected: np.ndarray,
    seen: np.ndarray,
    within: float,
    ratio: float,
) -> tuple[Nearest, Nearest]:
    """The same, among those only that lie near where they are expected; here and there may be float64.

    expected, seen  (n, 4) and (m, 4) float64, of own and of other: x, y, z and a scale
    within          how far the one may lie from the other
    ratio           the larger of two scales over the smaller, at most
    """
    # vectors of float64 keep their digits: there are no products here to be quick about
    dtype = np.float64 if np.float64 in (here.dtype, there.dtype) else np.float32
    here, there = reading(here, dtype), reading(there, dtype)
    rising = np.argsort(seen[:, 0], kind="stable")
    # a little wide: what lies within is tested anew
    reach = within * (1 + 1e-9) + 1e-9 * np.abs(expected[:, 0])
    rows, columns = Nearest.nothing(len(own)), Nearest.nothing(len(other))
    _around(
        *(here, there, reading(own, np.int64), reading(other[rising], np.int64)),
        *(reading(expected, np.float64), reading(seen[rising], np.float64)),
        reading(np.searchsorted(seen[rising, 0], expected[:, 0] - reach), np.int64),
        reading(np.searchsorted(seen[rising, 0], expected[:, 0] + reach, "right"), np.int64),
        *(float(within), float(ratio), rows.index, rows.distance, columns.index, columns.distance),
    )
    unsorted = np.argsort(rising)
    return (
        _measured(here, there, own, rows.index),
        _measured(there, here, other, columns.index[unsorted]),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Products


@dataclass(frozen=True)
class _Best:
    """The best so far: index (2, N), where they stand, and score (3, N), the larger the nearer."""

    index: np.ndarray
    score: np.ndarray

    @classmethod
    def of(cls, count: int) -> _Best:
        return cls(np.full((2, count), -1, np.int64), np.full((3, count), -np.inf, np.float32))

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return self.index, self.score


@dataclass(frozen=True)
class _Product:
    """Two sets made ready to be multiplied.

    rows               (n + 1, D) float32, a row of zeros last: rows are multiplied two at a time
    panels             (P, D, PANEL) float32, the columns
    halves             (n,) float32, |a|^2 / 2; less_halves (P, PANEL) float32, -|b|^2 / 2
    doubt, doubt_back  (n,) and (m,) float64: scores that differ by no more may be in the wrong order
    """

    rows: np.ndarray
    panels: np.ndarray
    halves: np.ndarray
    less_halves: np.ndarray
    doubt: np.ndarray
    doubt_back: np.ndarray

    @classmethod
    def of(cls, one: np.ndarray, two: np.ndarray) -> _Product:
        numbers = -(-one.shape[1] // STEP) * STEP
        count = -(-len(two) // PANEL)
        rows = np.zeros((len(one) + 1, numbers), np.float32)
        rows[: len(one), : one.shape[1]] = one
        columns = np.zeros((count * PANEL, numbers), np.float32)
        columns[: len(two), : two.shape[1]] = two
        norm, norm_back = (np.sqrt((side.astype(np.float64) ** 2).sum(axis=1)) for side in (one, two))
        # D products and a few sums, each rounded once, of terms that add up to (|a| + |b|)^2 / 2 at most; two scores
        share = (numbers + 8) * ROUNDING
        return cls(
            reading(rows),
            reading(columns.reshape(count, PANEL, numbers).transpose(0, 2, 1)),
            reading(0.5 * norm**2, np.float32),
            reading(np.pad(-0.5 * norm_back**2, (0, count * PANEL - len(two))).reshape(count, PANEL), np.float32),
            share * (norm + norm_back.max(initial=0)) ** 2,
            share * (norm_back + norm.max(initial=0)) ** 2,
        )

    def take(self, first: int, last: int, start: np.ndarray, stop: np.ndarray, rows: _Best, columns: _Best) -> None:
        ready = self.rows, self.panels, self.halves, self.less_halves
        _take(*ready, first, last, start, stop, *rows.arrays, *columns.arrays)


def _centred(one: np.ndarray, two: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both about their common mean and of size one: fewer digits lost, and none too large for float32."""
    together = len(one) + len(two)
    mean = (one.sum(axis=0, dtype=np.float64) + two.sum(axis=0, dtype=np.float64)) / max(together, 1)
    one, two = one - mean, two - mean
    largest = max(np.abs(one).max(initial=0), np.abs(two).max(initial=0)) or 1.0
    return (one / largest).astype(np.float32), (two / largest).astype(np.float32)


def _settled(
    best: _Best,
    doubt: np.ndarray,
    here: np.ndarray,
    there: np.ndarray,
    own: np.ndarray,
    other: np.ndarray,
    start: np.ndarray,
    stop: np.ndarray,
) -> Nearest:
    """Measured by subtraction; searched so where the products leave doubt."""
    index = np.where(best.index.T >= 0, other[best.index.T], -1) if len(other) else best.index.T.copy()
    third = best.score[2]
    doubtful = np.flatnonzero(np.isfinite(third) & (third >= best.score[1] - doubt))
    if len(doubtful):
        found = np.full((len(doubtful), 2), -1, np.int64)
        rows, columns = reading(own[doubtful], np.int64), reading(other, np.int64)
        bands = reading(start[doubtful], np.int64), reading(stop[doubtful], np.int64)
        over_planes(lambda a, b: _search(here, there, rows, columns, *bands, found, a, b), len(doubtful), at_least=64)
        index[doubtful] = found
    return _measured(here, there, own, index)


def _measured(here: np.ndarray, there: np.ndarray, own: np.ndarray, index: np.ndarray) -> Nearest:
    """Of those two, the distances by subtraction, the nearer one first; of equally near ones the lower row."""
    distance = np.full(index.shape, np.inf)
    for n in range(2):
        known = np.flatnonzero(index[:, n] >= 0)
        for part in np.array_split(known, 1 + len(known) // 4096):
            apart = here[own[part]].astype(np.float64) - there[index[part, n]]
            distance[part, n] = np.linalg.norm(apart, axis=1)
    (near, far), (first, second) = distance.T, index.T
    turned = (far < near) | ((far == near) & (second < first) & (second >= 0))
    index = np.where(turned[:, None], index[:, ::-1], index)
    return Nearest(index, np.where(turned[:, None], distance[:, ::-1], distance))


# Without NaN, maxima are taken of many at once; products and sums are rounded together. Scores are the same for every
# place in a panel and every division among threads.
@njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "reassoc", "contract"})
def _take(  # type: ignore[no-untyped-def]
    rows, panels, halves, less_halves, first, last, start, stop, r_index, r_score, c_index, c_score
):
    """Multiplies rows first..last with the panels that their bands touch, and takes the products in.

    Most products change nothing; so a row of a panel is compared first, without a branch, with what would.
    """
    one, two = np.empty(PANEL, np.float32), np.empty(PANEL, np.float32)
    for p in range(panels.shape[0]):
        left, panel, less = p * PANEL, panels[p], less_halves[p]
        for row in range(first, last, 2):
            after = min(row + 1, last - 1)
            if stop[after] <= left or start[row] >= left + PANEL:
                continue
            for c in range(PANEL):
                one[c] = less[c]
                two[c] = less[c]
            for k in range(0, rows.shape[1], 4):
                a0, a1, a2, a3 = rows[row, k], rows[row, k + 1], rows[row, k + 2], rows[row, k + 3]
                b0, b1, b2, b3 = rows[row + 1, k], rows[row + 1, k + 1], rows[row + 1, k + 2], rows[row + 1, k + 3]
                c0, c1, c2, c3 = panel[k], panel[k + 1], panel[k + 2], panel[k + 3]
                for c in range(PANEL):
                    one[c] += a0 * c0[c] + a1 * c1[c] + a2 * c2[c] + a3 * c3[c]
                    two[c] += b0 * c0[c] + b1 * c1[c] + b2 * c2[c] + b3 * c3[c]
            _take_row(one, row, left, start, stop, halves, r_index, r_score, c_index, c_score)
            if row + 1 < last:
                _take_row(two, row + 1, left, start, stop, halves, r_index, r_score, c_index, c_score)


@njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "reassoc"})
def _take_row(  # type: ignore[no-untyped-def]
    products, row, left, start, stop, halves, r_index, r_score, c_index, c_score
):
    low, high = max(start[row] - left, 0), min(stop[row] - left, len(products))
    if low >= high:
        return
    half, least = halves[row], r_score[2, row]
    beaten = c_score[2, left : left + high]
    best, lead = products[low], products[low] - beaten[low]
    for c in range(low, high):
        best = max(best, products[c])
        lead = max(lead, products[c] - beaten[c])
    if best > least:
        for c in range(low, high):
            if products[c] > least:
                _put(r_index, r_score, row, left + c, products[c])
                least = r_score[2, row]
    if lead > half:
        for c in range(low, high):
            if products[c] - beaten[c] > half:
                _put(c_index, c_score, left + c, row, products[c] - half)


@njit(nogil=True, cache=True)
def _put(index, score, n, place, value):  # type: ignore[no-untyped-def]
    if value > score[0, n]:
        score[2, n] = score[1, n]
        score[1, n], index[1, n] = score[0, n], index[0, n]
        score[0, n], index[0, n] = value, place
    elif value > score[1, n]:
        score[2, n] = score[1, n]
        score[1, n], index[1, n] = value, place
    elif value > score[2, n]:
        score[2, n] = value


@njit(nogil=True, cache=True)
def _merge(index, score, index_too, score_too):  # type: ignore[no-untyped-def]
    """Takes the best of one part of the rows into the best of all."""
    for n in range(index.shape[1]):
        _put(index, score, n, index_too[0, n], score_too[0, n])
        _put(index, score, n, index_too[1, n], score_too[1, n])
        score[2, n] = max(score[2, n], score_too[2, n])


# ---------------------------------------------------------------------------------------------------------------------
# Subtractions


@njit(nogil=True, cache=True)
def _search(here, there, rows, columns, start, stop, index, first, last):  # type: ignore[no-untyped-def]
    """For each of rows first..last, the two nearest of columns start..stop."""
    square = np.empty((1, 2))
    for n in range(first, last):
        square[:] = np.inf
        for column in columns[start[n] : stop[n]]:
            _put_nearer(index, square, n, 0, column, _apart(here[rows[n]], there[column]))


@njit(nogil=True, cache=True)
def _around(  # type: ignore[no-untyped-def]
    here, there, own, other, expected, seen, start, stop, within, ratio, r_index, r_square, c_index, c_square
):
    """Of each row, among columns start..stop, those near where they are expected and of a fitting scale."""
    for r in range(len(own)):
        e = expected[r]
        for c in range(start[r], stop[r]):
            s = seen[c]
            if (s[0] - e[0]) ** 2 + (s[1] - e[1]) ** 2 + (s[2] - e[2]) ** 2 > within * within:
                continue
            if max(s[3], e[3]) <= ratio * min(s[3], e[3]):
                square = _apart(here[own[r]], there[other[c]])
                _put_nearer(r_index, r_square, r, r, other[c], square)
                _put_nearer(c_index, c_square, c, c, own[r], square)


# summed in several parts at once, in the same ones for every pair: equal vectors stay equally far
@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _apart(one, other):  # type: ignore[no-untyped-def]
    """The square of how far two vectors are apart."""
    square = 0.0
    for d in range(len(one)):
        square += (np.float64(one[d]) - np.float64(other[d])) ** 2
    return square


@njit(nogil=True, cache=True)
def _put_nearer(index, square, n, m, place, value):  # type: ignore[no-untyped-def]
    """Takes one in, of which index[n] and square[m] are the two nearest; of equally near ones the lower place."""
    if value < square[m, 0] or (value == square[m, 0] and place < index[n, 0]):
        square[m, 1], index[n, 1] = square[m, 0], index[n, 0]
        square[m, 0], index[n, 0] = value, place
    elif value < square[m, 1] or (value == square[m, 1] and place < index[n, 1]):
        square[m, 1], index[n, 1] = value, place
