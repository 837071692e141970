"""Values on small cubes round many places, each cube with a step of its own."""

from __future__ import annotations

import numpy as np
from numba import njit

from homolog.kernels import interpolate
from homolog.kernels.arrays import reading
from homolog.kernels.interpolate import linear_at
from homolog.kernels.threads import over_planes


def sample_reference(
    data: np.ndarray, centres: np.ndarray, steps: np.ndarray, axes: np.ndarray, side: int
) -> np.ndarray:
    """The twin of `sample`."""
    places = np.arange(side) - (side - 1) / 2
    offsets = np.stack(np.meshgrid(places, places, places, indexing="ij"), axis=-1).reshape(-1, 3) @ axes.T
    voxels = centres[:, None] + steps[:, None, None] * offsets
    clamped = np.clip(voxels, 0, np.array(data.shape) - 1).reshape(-1, 3)
    return interpolate.sample_reference(data, clamped, "linear", 0.0).reshape(-1, side, side, side)


@njit(nogil=True, cache=True)
def _cubes(flat, ni, nj, nk, centres, steps, axes, out):  # type: ignore[no-untyped-def]
    side = out.shape[1]
    middle = (side - 1) / 2
    for n in range(len(out)):
        step = steps[n]
        # the step along the cube's last axis, in voxels
        di, dj, dk = step * axes[0, 2], step * axes[1, 2], step * axes[2, 2]
        for p in range(side):
            for q in range(side):
                u, v = step * (p - middle), step * (q - middle)
                i = centres[n, 0] + axes[0, 0] * u + axes[0, 1] * v - di * middle
                j = centres[n, 1] + axes[1, 0] * u + axes[1, 1] * v - dj * middle
                k = centres[n, 2] + axes[2, 0] * u + axes[2, 1] * v - dk * middle
                for r in range(side):
                    out[n, p, q, r] = linear_at(flat, ni, nj, nk, i + di * r, j + dj * r, k + dk * r)


def sample(data: np.ndarray, centres: np.ndarray, steps: np.ndarray, axes: np.ndarray, side: int) -> np.ndarray:
    """(N, side, side, side) float32: values between voxels, round each centre; beyond the rim those of the rim.

    data     (I, J, K) float32
    centres  (N, 3) float64, voxels
    steps    (N,) float64, from one value of a cube to the next
    axes     (3, 3) float64, what a step of 1 along each of a cube's axes is in voxels, in the columns
    """
    data, centres, steps = reading(data, np.float32), reading(centres, np.float64), reading(steps, np.float64)
    axes, flat, (ni, nj, nk) = reading(axes, np.float64), data.ravel(), data.shape
    out = np.empty((len(centres), side, side, side), np.float32)

    def work(start: int, stop: int) -> None:
        _cubes(flat, ni, nj, nk, centres[start:stop], steps[start:stop], axes, out[start:stop])

    over_planes(work, len(out), at_least=16)
    return out
