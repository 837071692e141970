"""Measures that are no cosine: gradient difference, ProST's gradient correlation, mutual information."""

from __future__ import annotations

import numpy as np

from homolog.kernels import joint_histogram
from homolog.projective.similarity_filters import inverse, smallest

# Of the products' size: within it ProST's denominator is round where a product changes its sign.
PROST_EPSILON = 1e-3
# Standard deviations from the mean at which the bins' coordinate has gone 1/sqrt(2) of the way to its end.
BIN_REACH = 2.0


class GradientDifference:
    """How much of the fixed gradients is gone when the best multiple of the moving ones is taken off.

    Penney et al., IEEE TMI 17(4), 1998: D(s) = sum of A / (A + (dI - s dJ)^2) over pixels and directions, A the
    variance of dI in its direction. Departures: s is the least squares multiple, at least 0; and the value is
    (D(s) - D(0)) / (D_max - D(0)), which is 0 for a picture without content and 1 for the same picture.
    """

    def __init__(self, fixed: np.ndarray, weights: np.ndarray) -> None:
        """fixed (C, rows, columns), weights (rows, columns)."""
        self.fixed, self.weights = fixed, weights
        total = max(float(weights.sum()), 1e-300)
        mean = (weights * fixed).sum(axis=(1, 2), keepdims=True) / total
        deviations = (weights * (fixed - mean) ** 2).sum(axis=(1, 2), keepdims=True)
        self.variance = np.where(deviations > smallest(fixed, weights) ** 2, deviations, 0.0) / total
        nothing = self._sum(fixed)
        self.span = float(inverse(np.array(total * (self.variance > 0).sum() - nothing)))
        self.nothing = nothing

    def value(self, moving: np.ndarray) -> float:
        """moving (C, rows, columns)."""
        multiple = self._multiple(moving)
        return (self._sum(self.fixed - multiple * moving) - self.nothing) * self.span if multiple > 0 else 0.0

    def value_and_gradient(self, moving: np.ndarray) -> tuple[float, np.ndarray]:
        """The value, and its derivative to each number of moving (C, rows, columns)."""
        multiple = self._multiple(moving)
        if multiple <= 0:
            return 0.0, np.zeros(moving.shape)
        left = self.fixed - multiple * moving
        pull = -2 * self.span * self.weights * self.variance * left / self._bounded(left) ** 2
        by_multiple = -float((pull * moving).sum()) / float((self.weights * moving**2).sum())
        gradient = -multiple * pull + by_multiple * self.weights * (self.fixed - 2 * multiple * moving)
        return (self._sum(left) - self.nothing) * self.span, gradient

    def _multiple(self, moving: np.ndarray) -> float:
        size = float((self.weights * moving**2).sum())
        return float((self.weights * self.fixed * moving).sum()) / size if size > 0 else 0.0

    def _bounded(self, left: np.ndarray) -> np.ndarray:
        return np.where(self.variance > 0, self.variance + left**2, 1.0)

    def _sum(self, left: np.ndarray) -> float:
        return float((self.weights * self.variance / self._bounded(left)).sum())


class ProstCorrelation:
    """ProST's gradient correlation: the mean over channels of sum(dI dJ) / sum(sqrt(dI^2 dJ^2 + eps)).

    Gao et al., MICCAI 2020. The denominator is a sum of products, so it tells how far signs agree, weighed by size; it
    is no correlation coefficient. Departure: eps is a share of the products' mean size, so that units do not matter.
    """

    def __init__(self, fixed: np.ndarray, weights: np.ndarray) -> None:
        """fixed (C, rows, columns), weights (rows, columns)."""
        self.weights = weights
        self.total = max(float(weights.sum()), 1e-300)
        sizes = self._sizes(fixed)
        self.fixed = [channel * inverse(np.array(size)) for channel, size in zip(fixed, sizes)]
        self.share = 1 / max(1, sum(size > 0 for size in sizes))

    def value(self, moving: np.ndarray) -> float:
        """moving (C, rows, columns)."""
        return self.value_and_gradient(moving)[0]

    def value_and_gradient(self, moving: np.ndarray) -> tuple[float, np.ndarray]:
        """The value, and its derivative to each number of moving (C, rows, columns)."""
        value, gradient = 0.0, np.zeros(moving.shape)
        for n, (fixed, channel, size) in enumerate(zip(self.fixed, moving, self._sizes(moving))):
            if size > 0 and fixed.any():
                scaled = channel / size
                sizes = np.sqrt((fixed * scaled) ** 2 + PROST_EPSILON**2)
                below = float((self.weights * sizes).sum())
                ratio = float((self.weights * fixed * scaled).sum()) / below
                pull = self.weights * (fixed - ratio * fixed**2 * scaled / sizes) / below
                # the size itself depends on every pixel
                pull -= self.weights * scaled * float((pull * scaled).sum()) / self.total
                value += self.share * ratio
                gradient[n] = self.share * pull / size
        return value, gradient

    def _sizes(self, channels: np.ndarray) -> list[float]:
        """Root mean squares, 0 for what is but rounding."""
        sizes = np.sqrt((self.weights * channels**2).sum(axis=(1, 2)))
        return [float(size) for size in np.where(sizes > smallest(channels, self.weights), sizes, 0) / self.total**0.5]


class MutualInformation:
    """Mutual information in nats, from a joint histogram with cubic B-spline windows (Thevenaz and Unser, 2000).

    Departure: bins are no equal steps from the least value to the largest, which one pixel decides, but equal steps of
    z / sqrt(z^2 + 4) with z in standard deviations from the mean: all values have a bin, and the derivative is smooth.
    """

    def __init__(self, fixed: np.ndarray, weights: np.ndarray, bins: int) -> None:
        """fixed (1, rows, columns), weights (rows, columns)."""
        self.bins = bins
        self.weights = (weights / max(float(weights.sum()), 1e-300)).ravel()
        self.fixed, _, size = self._places(fixed)
        self.some = size > 0

    def value(self, moving: np.ndarray) -> float:
        """moving (1, rows, columns)."""
        places, _, size = self._places(moving)
        return information(self._histogram(places))[0] if self.some and size > 0 else 0.0

    def value_and_gradient(self, moving: np.ndarray) -> tuple[float, np.ndarray]:
        """The value, and its derivative to each number of moving (1, rows, columns)."""
        places, scores, size = self._places(moving)
        if not self.some or size <= 0:
            return 0.0, np.zeros(moving.shape)
        value, pull = information(self._histogram(places))
        by_place = joint_histogram.pulled(self.fixed, places, self.weights, pull)
        steepness = (self.bins - 3) / 2 * BIN_REACH**2 / (scores**2 + BIN_REACH**2) ** 1.5
        by_score = by_place * steepness
        # mean and deviation depend on every pixel
        by_score -= self.weights * (by_score.sum() + scores * (by_score * scores).sum())
        return value, (by_score / size).reshape(moving.shape)

    def _places(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """(P,) in bins, (P,) in standard deviations from the mean, and the standard deviation."""
        flat = picture.ravel()
        flat = flat - self.weights @ flat
        size = float(np.sqrt(self.weights @ flat**2))
        scores = flat / size if size > 0 else np.zeros_like(flat)
        return 1 + (self.bins - 3) / 2 * (1 + scores / np.sqrt(scores**2 + BIN_REACH**2)), scores, size

    def _histogram(self, places: np.ndarray) -> np.ndarray:
        return joint_histogram.histogram(self.fixed, places, self.weights, self.bins)


def information(joint: np.ndarray) -> tuple[float, np.ndarray]:
    """The mutual information of a joint histogram (bins, bins) that sums to 1, and its derivative to each number.

    The derivative leaves out what is the same for all bins of the first picture, whose histogram does not change.
    """
    first, second = joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True)
    some = joint > 0
    logarithm = np.log(np.where(some, joint, 1.0) / np.where(some, first * second, 1.0))
    return float((joint * logarithm).sum()), logarithm
