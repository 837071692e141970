"""Central differences of values at a voxel and its neighbours."""

from __future__ import annotations

import numpy as np


def derivatives(around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients (N, D) and Hessians (N, D, D) float64 in the middle of values (N, 3, ..., 3) along D axes."""
    axes = around.ndim - 1
    unit = np.eye(axes, dtype=int)

    def at(steps: np.ndarray) -> np.ndarray:
        return np.asarray(around[(slice(None), *(1 + steps))])

    gradient = np.stack([(at(e) - at(-e)) / 2 for e in unit], axis=-1)
    hessian = np.empty((len(around), axes, axes))
    for a, e in enumerate(unit):
        hessian[:, a, a] = at(e) - 2 * at(0 * e) + at(-e)
        for b, f in enumerate(unit[:a]):
            hessian[:, a, b] = hessian[:, b, a] = (at(e + f) - at(e - f) - at(f - e) + at(-e - f)) / 4
    return gradient, hessian
