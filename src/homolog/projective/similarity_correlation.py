"""Normalised correlation of filtered pictures, over all pixels or over patches, with all that second-order steps need.

Both are the cosine between two vectors, a of the fixed and b of the moving picture. So 1 - cos = |a/|a| - b/|b||^2 / 2
is half a sum of squares, and Gauss and Newton's curvature is that of the moved b/|b|.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homolog.kernels import picture_filters
from homolog.projective.similarity_filters import ROUNDING, inverse, smallest


@dataclass(frozen=True, eq=False)
class Quadratic:
    """A measure near a picture: value + gradient . d - d . curvature . d / 2 for a step d of n parameters.

    gradient   (n,) float64, exact
    curvature  (n, n) float64, positive semidefinite (Gauss and Newton's)
    """

    value: float
    gradient: np.ndarray
    curvature: np.ndarray


class GlobalCorrelation:
    """The mean over channels of the correlation coefficient, over all pixels by their weight."""

    def __init__(self, fixed: np.ndarray, weights: np.ndarray) -> None:
        """fixed (C, rows, columns), weights (rows, columns)."""
        self.roots = np.sqrt(weights).ravel()
        self.total = float(weights.sum())
        units = self._units(fixed)
        self.fixed = [unit for unit, _ in units]
        self.share = 1 / max(1, sum(size > 0 for _, size in units))

    def value(self, moving: np.ndarray) -> float:
        """moving (C, rows, columns)."""
        pairs = zip(self.fixed, self._units(moving))
        return self.share * float(sum(fixed @ unit for fixed, (unit, _) in pairs))

    def value_and_gradient(self, moving: np.ndarray) -> tuple[float, np.ndarray]:
        """The value, and its derivative to each number of moving (C, rows, columns)."""
        value, gradient = 0.0, np.zeros(moving.shape)
        for n, (fixed, (unit, size)) in enumerate(zip(self.fixed, self._units(moving))):
            if size > 0:
                cosine = float(fixed @ unit)
                value += self.share * cosine
                gradient[n] = (self.roots * (fixed - cosine * unit) * (self.share / size)).reshape(moving.shape[1:])
        return value, gradient

    def gauss_newton(self, moving: np.ndarray, jacobian: np.ndarray) -> Quadratic:
        """moving (C, rows, columns), jacobian (n, C, rows, columns)."""
        count = len(jacobian)
        value, gradient, curvature = 0.0, np.zeros(count), np.zeros((count, count))
        for n, (fixed, (unit, size)) in enumerate(zip(self.fixed, self._units(moving))):
            if size > 0:
                turned = self._centred(jacobian[:, n].reshape(count, -1)) / size
                along, cosine = turned @ unit, float(fixed @ unit)
                value += self.share * cosine
                gradient += self.share * (turned @ fixed - cosine * along)
                curvature += self.share * (turned @ turned.T - np.outer(along, along))
        return Quadratic(value, gradient, curvature)

    def _centred(self, flat: np.ndarray) -> np.ndarray:
        """(..., P): deviations from the mean, times the weights' roots."""
        means = flat @ (self.roots**2) / max(self.total, 1e-300)
        return self.roots * (flat - means[..., None])

    def _units(self, channels: np.ndarray) -> list[tuple[np.ndarray, float]]:
        """Of each channel: centred (P,) at length one, and its length; zeros where it is constant."""
        least = smallest(channels, self.roots.reshape(channels.shape[1:]) ** 2)
        units = []
        for centred in self._centred(channels.reshape(len(channels), -1)):
            size = float(np.sqrt(centred @ centred))
            units.append((centred / size, size) if size > least else (np.zeros_like(centred), 0.0))
        return units


@dataclass(frozen=True, eq=False)
class Patches:
    """Of the patches around all pixels, what `LocalCorrelation` needs of one picture.

    mean      (C, rows, columns), zero if not centred
    variance  (rows, columns), over all channels
    floor     e, what is added to the variance
    scale     (rows, columns): 1 / sqrt(v + e)
    content   sum n v / (v + e); 0 where the picture is flat
    """

    mean: np.ndarray
    variance: np.ndarray
    floor: float
    scale: np.ndarray
    content: float


class LocalCorrelation:
    """The correlation over patches around all pixels, of all channels at once.

    A patch has the weight n of its pixels, its variances v and v' and its covariance c, summed over channels:

        S = sum n c / sqrt((v + e)(v' + e'))  /  sqrt(sum n v / (v + e)  sum n v' / (v' + e')),    e = share * mean v

    which tends to the mean of the patches' correlation coefficients as the share falls. The share tells a pattern from
    none: what is flatter counts less, in both pictures alike. Patches that reach outside have less weight.
    Without means and with a radius of 0 the patches are the gradients' directions.
    """

    def __init__(
        self, fixed: np.ndarray, weights: np.ndarray, radius_px: int, share: float, *, centred: bool = True
    ) -> None:
        """fixed (C, rows, columns), weights (rows, columns)."""
        self.weights, self.radius, self.share, self.centred = weights, radius_px, share, centred
        self.amount = self._box(weights[None])[0]
        self.per_amount = inverse(self.amount)
        self.total = max(float(self.amount.sum()), 1e-300)
        self.fixed = fixed
        seen = self._patches(fixed)
        self.fixed_mean = seen.mean
        self.fixed_scale = seen.scale / (np.sqrt(seen.content) if seen.content > 0 else 1.0)

    def value(self, moving: np.ndarray) -> float:
        """moving (C, rows, columns)."""
        seen = self._patches(moving)
        if seen.content <= 0:
            return 0.0
        covariance = self._covariance(moving, seen.mean)
        return float((self.amount * covariance * self.fixed_scale * seen.scale).sum()) / np.sqrt(seen.content)

    def value_and_gradient(self, moving: np.ndarray) -> tuple[float, np.ndarray]:
        """The value, and its derivative to each number of moving (C, rows, columns)."""
        return self._value_and_gradient(moving, self._patches(moving))

    def gauss_newton(self, moving: np.ndarray, jacobian: np.ndarray) -> Quadratic:
        """moving (C, rows, columns), jacobian (n, C, rows, columns)."""
        count = len(jacobian)
        seen = self._patches(moving)
        if seen.content <= 0:
            return Quadratic(0.0, np.zeros(count), np.zeros((count, count)))
        value, picture = self._value_and_gradient(moving, seen)
        gradient = jacobian.reshape(count, -1) @ picture.ravel()
        scale, content = seen.scale, seen.content
        means, changes = self._changes(moving, seen.mean, jacobian)
        floors = self.share * (changes @ self.amount.ravel()) / self.total
        # of 1/sqrt(v + e), relative to itself
        rates = -(changes + floors[:, None]) * (scale.ravel() ** 2) / 2
        amount, held = (self.amount * scale**2).ravel(), (self.amount * seen.variance * scale**2).ravel()
        gram = self._products(jacobian, means, scale) + (rates * held) @ rates.T
        cross = (rates * amount) @ (changes / 2).T
        along = (changes / 2) @ amount + rates @ held
        gram += cross + cross.T
        return Quadratic(value, gradient, (gram - np.outer(along, along) / content) / content)

    def _value_and_gradient(self, moving: np.ndarray, seen: Patches) -> tuple[float, np.ndarray]:
        if seen.content <= 0:
            return 0.0, np.zeros(moving.shape)
        square = seen.scale**2
        by_covariance = self.amount * self.fixed_scale * seen.scale / np.sqrt(seen.content)
        terms = by_covariance * self._covariance(moving, seen.mean)
        value = float(terms.sum())
        # the derivatives to v' and to e', of the sum and of the content that it is divided by
        falling, part = -terms * square / 2, self.amount * square * (value / seen.content / 2)
        by_floor = float((falling + part * seen.variance * square).sum())
        by_variance = falling - part * seen.floor * square + by_floor * self.share * self.amount / self.total
        return value, self._back(moving, seen.mean, by_covariance, by_variance)

    def _patches(self, channels: np.ndarray) -> Patches:
        mean, variance = self._moments(channels)
        floor = self.share * float((self.amount * variance).sum()) / self.total
        scale = inverse_root(variance + floor)
        return Patches(mean, variance, floor, scale, float((self.amount * variance * scale**2).sum()))

    def _box(self, stack: np.ndarray) -> np.ndarray:
        return stack if self.radius == 0 else picture_filters.box_sums(stack, self.radius)

    def _moments(self, channels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The patches' means (C, rows, columns), zero if not centred, and variances (rows, columns)."""
        weighted = self.weights * channels
        squares = self._box((weighted * channels).sum(axis=0, keepdims=True))[0] * self.per_amount
        if not self.centred:
            return np.zeros(channels.shape), squares
        mean = self._box(weighted) * self.per_amount
        # below the rounding of the two sums a variance is none
        variance = squares - (mean**2).sum(axis=0)
        return mean, np.where(variance > ROUNDING * squares, variance, 0.0)

    def _covariance(self, moving: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """(rows, columns): of the fixed and the moving patches."""
        products = self._box((self.weights * self.fixed * moving).sum(axis=0, keepdims=True))[0] * self.per_amount
        return products - (self.fixed_mean * mean).sum(axis=0)

    def _back(
        self, moving: np.ndarray, mean: np.ndarray, by_covariance: np.ndarray, by_variance: np.ndarray
    ) -> np.ndarray:
        """(C, rows, columns): derivatives to the patches' covariances and variances, given back to the pixels."""
        by_covariance, by_variance = by_covariance * self.per_amount, 2 * by_variance * self.per_amount
        shared = self._box(np.stack((by_covariance, by_variance)))
        gradient = shared[0] * self.fixed + shared[1] * moving
        if self.centred:
            gradient -= self._box(by_covariance * self.fixed_mean + by_variance * mean)
        return self.weights * gradient

    def _changes(self, moving: np.ndarray, mean: np.ndarray, jacobian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The patches' means of the jacobian (n, C, P), and the derivatives of their variances (n, P)."""
        count, channels = jacobian.shape[:2]
        weighted = self.weights * jacobian
        products = self._box(np.einsum("crk,ncrk->nrk", moving, weighted)) * self.per_amount
        means = np.zeros_like(jacobian)
        if self.centred:
            means = self._box(weighted.reshape(-1, *jacobian.shape[2:])).reshape(jacobian.shape) * self.per_amount
        changes = 2 * (products - np.einsum("crk,ncrk->nrk", mean, means))
        return means.reshape(count, channels, -1), changes.reshape(count, -1)

    def _products(self, jacobian: np.ndarray, means: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """(n, n): sum over patches of n times the covariance of two of the jacobian's pictures, times scale^2."""
        count = len(jacobian)
        spread = (self.weights * self._box((self.per_amount * self.amount * scale**2)[None])[0]).ravel()
        flat = jacobian.reshape(count, -1, spread.size)
        patches = (self.amount * scale**2).ravel()
        return sum(
            (flat[:, c] * spread) @ flat[:, c].T - (means[:, c] * patches) @ means[:, c].T for c in range(flat.shape[1])
        )


def inverse_root(amounts: np.ndarray) -> np.ndarray:
    """1 / sqrt(amounts), 0 where there is none."""
    some = amounts > 0
    return np.where(some, 1 / np.sqrt(np.where(some, amounts, 1.0)), 0.0)
