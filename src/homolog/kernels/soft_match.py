"""Blocks that vote with their whole cost volume for where they went, as far as a prediction allows it."""

from __future__ import annotations

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.displacement_cost import labels


def likelihoods(costs: np.ndarray, unknown: float, sharpness: float) -> np.ndarray:
    """(N, L) float32, a distribution a row: exp(-sharpness (c - min c) / (mean c - min c)), 0 where c is `unknown`."""
    seen = costs < unknown
    lowest = costs.min(axis=1, keepdims=True)
    count = np.maximum(seen.sum(axis=1, keepdims=True), 1)
    mean = np.where(seen, costs, 0).sum(axis=1, keepdims=True) / count
    chances = np.exp(-np.float32(sharpness) * (costs - lowest) / np.maximum(mean - lowest, 1e-3))
    chances *= seen
    return np.asarray(chances / np.maximum(chances.sum(axis=1, keepdims=True), 1e-30), np.float32)


def votes_reference(chances: np.ndarray, predicted: np.ndarray, radius: int, sigma: float) -> np.ndarray:
    """The twin of `votes`."""
    result = np.zeros((len(chances), 5))
    places = labels(radius, 1)
    for n, row in enumerate(chances.astype(np.float64)):
        distance2 = ((places - predicted[n]) ** 2).sum(axis=1)
        weights = row * np.exp(-distance2 / (2 * sigma**2))
        total = max(weights.sum(), 1e-30)
        mean = predicted[n] + weights @ (places - predicted[n]) / total
        result[n] = [*mean, weights.sum(), weights @ distance2 / total]
    return result


@njit(nogil=True, cache=True)
def _votes(chances, predicted, radius, sigma, out):  # type: ignore[no-untyped-def]
    width = 2 * radius + 1
    near = np.empty((3, width), np.float32)
    scale = 1 / (2 * sigma * sigma)
    for n in range(len(chances)):
        for axis in range(3):
            for a in range(width):
                apart = a - radius - predicted[n, axis]
                near[axis, a] = np.exp(-apart * apart * scale)
        total, mi, mj, mk, square = 0.0, 0.0, 0.0, 0.0, 0.0
        for a in range(width):
            di = a - radius - predicted[n, 0]
            for b in range(width):
                dj = b - radius - predicted[n, 1]
                weight = near[0, a] * near[1, b]
                place = (a * width + b) * width
                row, along, along2 = 0.0, 0.0, 0.0
                for c in range(width):
                    dk = c - radius - predicted[n, 2]
                    w = near[2, c] * chances[n, place + c]
                    row += w
                    along += w * dk
                    along2 += w * dk * dk
                row, along, along2 = row * weight, along * weight, along2 * weight
                total += row
                mi += row * di
                mj += row * dj
                mk += along
                square += row * (di * di + dj * dj) + along2
        safe = max(total, 1e-30)
        out[n, 0] = mi / safe + predicted[n, 0]
        out[n, 1] = mj / safe + predicted[n, 1]
        out[n, 2] = mk / safe + predicted[n, 2]
        out[n, 3] = total
        out[n, 4] = square / safe


def votes(chances: np.ndarray, predicted: np.ndarray, radius: int, sigma: float) -> np.ndarray:
    """Where each block went, on average over its label space, near where it is predicted to.

    chances    (N, L) float32, a distribution over the labels a block
    predicted  (N, 3) float64 voxels: the displacement that is predicted
    sigma      voxels: how far from the prediction a vote still counts (standard deviation)
    returns    (N, 5) float64: the mean displacement (3), which is the prediction where no vote counts; the share
               of the votes that counted; their mean squared distance from the prediction
    """
    out = np.empty((len(chances), 5))
    _votes(reading(chances, np.float32), reading(predicted, np.float64), radius, float(sigma), out)
    return out
