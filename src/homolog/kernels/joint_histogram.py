"""The joint histogram of two pictures, each value spread over four bins by cubic B-splines, and its derivative.

A value's place u is in bins, a bin's middle at an integer; bin n gets B(u - n), with B the cubic B-spline.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading

# ---------------------------------------------------------------------------------------------------------------------
# The twins


def shares_reference(places: np.ndarray, bins: int) -> np.ndarray:
    """(P, bins): how much of each value falls into each bin."""
    away = np.abs(places[:, None] - np.arange(bins))
    return (np.maximum(2 - away, 0) ** 3 - 4 * np.maximum(1 - away, 0) ** 3) / 6


def share_slopes_reference(places: np.ndarray, bins: int) -> np.ndarray:
    """(P, bins): the derivative of the shares to the place."""
    from_bin = places[:, None] - np.arange(bins)
    away = np.abs(from_bin)
    return np.sign(from_bin) * (4 * np.maximum(1 - away, 0) ** 2 - np.maximum(2 - away, 0) ** 2) / 2


def histogram_reference(one: np.ndarray, other: np.ndarray, weights: np.ndarray, bins: int) -> np.ndarray:
    """The twin of `histogram`."""
    return (weights[:, None] * shares_reference(one, bins)).T @ shares_reference(other, bins)


def pulled_reference(one: np.ndarray, other: np.ndarray, weights: np.ndarray, pull: np.ndarray) -> np.ndarray:
    """The twin of `pulled`."""
    bins = len(pull)
    return weights * np.einsum("pa,ab,pb->p", shares_reference(one, bins), pull, share_slopes_reference(other, bins))


# ---------------------------------------------------------------------------------------------------------------------
# The kernels


def histogram(one: np.ndarray, other: np.ndarray, weights: np.ndarray, bins: int) -> np.ndarray:
    """(bins, bins) float64: the weight of each pair of bins.

    one, other  (P,) places in bins, 1 to bins - 2
    weights     (P,)
    """
    out = np.zeros((bins, bins))
    one, other, weights = (reading(each, np.float64) for each in (one, other, weights))
    _histogram(one, other, weights, out)
    return out


def pulled(one: np.ndarray, other: np.ndarray, weights: np.ndarray, pull: np.ndarray) -> np.ndarray:
    """(P,) float64: the derivative of sum(pull * histogram) to each place of the other picture.

    pull  (bins, bins); the rest as for `histogram`
    """
    out = np.empty(len(other))
    one, other, weights, pull = (reading(each, np.float64) for each in (one, other, weights, pull))
    _pulled(one, other, weights, pull, out)
    return out


@njit(nogil=True, cache=True, inline="always")
def _four(place, last, taps):  # type: ignore[no-untyped-def]
    """The first of the four bins that a value falls into, whose shares go into taps (4,)."""
    base = min(int(place), last)
    t = place - base
    taps[0] = (1 - t) ** 3 / 6
    taps[1] = (3 * t**3 - 6 * t**2 + 4) / 6
    taps[3] = t**3 / 6
    taps[2] = 1 - taps[0] - taps[1] - taps[3]
    return base - 1


@njit(nogil=True, cache=True)
def _histogram(one, other, weights, out):  # type: ignore[no-untyped-def]
    last = len(out) - 3
    rows, columns = np.empty(4), np.empty(4)
    for p in range(len(one)):
        if weights[p] > 0:
            first, second = _four(one[p], last, rows), _four(other[p], last, columns)
            for a in range(4):
                share = weights[p] * rows[a]
                for b in range(4):
                    out[first + a, second + b] += share * columns[b]


@njit(nogil=True, cache=True)
def _pulled(one, other, weights, pull, out):  # type: ignore[no-untyped-def]
    last = len(pull) - 3
    rows, slopes = np.empty(4), np.empty(4)
    for p in range(len(one)):
        out[p] = 0
        if weights[p] > 0:
            first, second = _four(one[p], last, rows), min(int(other[p]), last) - 1
            t = other[p] - second - 1
            slopes[0] = -((1 - t) ** 2) / 2
            slopes[1] = (3 * t**2 - 4 * t) / 2
            slopes[3] = t**2 / 2
            slopes[2] = -slopes[0] - slopes[1] - slopes[3]
            for a in range(4):
                total = 0.0
                for b in range(4):
                    total += slopes[b] * pull[first + a, second + b]
                out[p] += weights[p] * rows[a] * total
