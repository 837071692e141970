"""Right and wrong matches told apart by how far off they lie: a mixture of two Maxwell distributions.

The distance between the same place of two images scatters by c1 along each axis, that of two places that have nothing
to do with each other by c2 (Agier et al., Med. Image Anal. 59:101564, 2020). A share r of the matches is right.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading

# A mixture is (c1 mm, c2 mm, r); the published start.
START = (10.0, 300.0, 0.5)
# The mean of a Maxwell distribution, in units of its scale.
MEAN = 2 * np.sqrt(2 / np.pi)
# Rounds end when all three change by a smaller share than this, or at the published limit.
SETTLED, MOST_ROUNDS = 1e-3, 10_000
# A match no further off than this is right, mm: also where a mixture has shrunk to nothing.
SURELY_MM = 0.1
# Bins of distances, mm: this fine, the mixture of a histogram is that of the distances to four digits.
BIN_MM = 0.1


def maxwell(distance: np.ndarray, scale: float) -> np.ndarray:
    """The density of a distance in mm, whose parts along the axes scatter by `scale`."""
    return np.sqrt(2 / np.pi) * distance**2 / scale**3 * np.exp(-(distance**2) / (2 * scale**2))


def fit_reference(
    distance: np.ndarray, weight: np.ndarray, start: tuple[float, float, float] = START
) -> tuple[float, float, float]:
    """The twin of `fit`: expectation maximisation over distances (N,) mm, each counting weight (N,)."""
    c1, c2, r = start
    for _ in range(MOST_ROUNDS):
        right, wrong = r * maxwell(distance, c1), (1 - r) * maxwell(distance, c2)
        t = right / (right + wrong + 1e-16)
        before = np.array([c1, c2, r])
        c1 = (weight * t * distance).sum() / (weight * t).sum() / MEAN
        c2 = (weight * (1 - t) * distance).sum() / (weight * (1 - t)).sum() / MEAN
        r = (weight * t).sum() / weight.sum()
        after = np.array([c1, c2, r])
        if (np.abs(after - before) < SETTLED * after).all():
            break
    return float(c1), float(c2), float(r)


def fit(counts: np.ndarray, start: tuple[float, float, float] = START) -> tuple[float, float, float]:
    """The mixture (c1, c2, r) of a histogram (B,) of distances, in bins of BIN_MM from 0.

    Where there is nothing to learn from (no matches, or all of one kind) a figure stays as it was.
    """
    c1, c2, r = _fit(reading(counts, np.float64), *start)
    return float(c1), float(c2), float(r)


def curve(mixture: tuple[float, float, float]) -> tuple[float, float, float]:
    """(bias, slope, reach): a match d mm off is right with 1 / (1 + exp(bias + slope d^2)), within reach rather so.

    reach  mm^2; a match nearer than SURELY_MM counts as right whatever the mixture
    """
    c1, c2, r = mixture
    bias = np.log((1 - r) / r) + 3 * np.log(c1 / c2)
    slope = 0.5 * (1 / c1**2 - 1 / c2**2)
    reach = -bias / slope if slope > 0 else 0.0
    return float(bias), float(slope), max(SURELY_MM**2, float(reach))


def probability(distance: np.ndarray, mixture: tuple[float, float, float]) -> np.ndarray:
    """(N,) that matches so many mm off are right."""
    bias, slope, _ = curve(mixture)
    with np.errstate(over="ignore"):
        right = 1 / (1 + np.exp(bias + slope * np.asarray(distance) ** 2))
    return np.where(np.asarray(distance) < SURELY_MM, 1.0, right)


# error_model: a scale of zero divides to infinity, whose density is zero, as it does in NumPy
@njit(nogil=True, cache=True, error_model="numpy")
def _fit(counts, c1, c2, r):  # type: ignore[no-untyped-def]
    used = np.flatnonzero(counts)
    for _ in range(MOST_ROUNDS):
        # of both densities only their ratio counts, in which the square of the distance cancels
        ratio, slope = (1 - r) * c1 * c1 * c1, 0.5 / (c1 * c1) - 0.5 / (c2 * c2)
        weigh = r * c2 * c2 * c2
        right = near = total = far = 0.0
        for b in used:
            d, n = (b + 0.5) * BIN_MM, counts[b]
            t = weigh / (weigh + ratio * np.exp(min(slope * d * d, 700.0)))
            right += n * t
            near += n * t * d
            total += n
            far += n * (1 - t) * d
        a1, a2, share = c1, c2, r
        if right > 1e-9 * total:
            c1 = max(near / right / MEAN, 1e-3)
        if total - right > 1e-9 * total:
            c2 = far / (total - right) / MEAN
        if total > 0:
            r = min(max(right / total, 1e-9), 1 - 1e-9)
        if abs(c1 - a1) < SETTLED * c1 and abs(c2 - a2) < SETTLED * c2 and abs(r - share) < SETTLED * r:
            break
    return c1, c2, r
