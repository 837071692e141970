"""The noise of an acquisition: a new one for each grid and seed, the same on every machine.

White noise is counted out by `kernels/noise`, which has no state, and blurred as a reconstruction kernel blurs it. It
has the standard deviation one by its weights, not by what a grid happened to draw; so a single voxel has noise as well.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter

from homolog.kernels import noise
from homolog.space.grid import Grid

if TYPE_CHECKING:
    import torch

# a Gaussian's weights end at this many standard deviations, as scipy's do
TRUNCATE = 4.0


def unit_noise(grid: Grid, seed: int, blur_vox: np.ndarray, device: torch.device | None = None) -> Any:
    """(I, J, K) float32 of standard deviation one: an array, or a tensor made on its device.

    blur_vox   (3,) standard deviation of the blur along i, j, k; it wraps round
    """
    key, spread = _key(grid, seed), _spread(grid, blur_vox)
    if device is None:
        white = noise.normal(key, grid.size).reshape(grid.shape)
        return gaussian_filter(white, blur_vox, mode="wrap", truncate=TRUNCATE) / spread
    from homolog.kernels.on_gpu import noise as on_gpu

    return _blurred(on_gpu.normal(key, grid.size, device).reshape(grid.shape), blur_vox) / spread


def _blurred(data: torch.Tensor, blur_vox: np.ndarray) -> torch.Tensor:
    import torch

    for axis, (count, sigma) in enumerate(zip(data.shape, blur_vox)):
        blur = torch.from_numpy(_circulant(count, float(sigma)).astype(np.float32)).to(data.device)
        data = torch.tensordot(blur, data, dims=([1], [axis])).movedim(0, axis)
    return data


def _key(grid: Grid, seed: int) -> int:
    # zero added, as -0 has other bytes than 0
    place = zlib.crc32((np.round(grid.world_from_voxel, 3) + 0.0).tobytes() + np.array(grid.shape, np.int64).tobytes())
    return int(np.random.SeedSequence([seed, place]).generate_state(1, np.uint64)[0])


def _spread(grid: Grid, blur_vox: np.ndarray) -> float:
    """The standard deviation that blurred white noise has: the root of the sum of its squared weights."""
    # the first row of each axis' matrix holds them all, wrapped round if the axis is shorter than the blur
    return float(np.prod([np.linalg.norm(_circulant(n, float(s))[0]) for n, s in zip(grid.shape, blur_vox)]))


def _circulant(count: int, sigma_vox: float) -> np.ndarray:
    """(count, count) float64: a Gaussian blur along an axis that wraps round."""
    reach = int(TRUNCATE * sigma_vox + 0.5)
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (steps / max(sigma_vox, 1e-9)) ** 2)
    matrix = np.zeros((count, count))
    for step, weight in zip(steps, weights / weights.sum()):
        matrix[np.arange(count), (np.arange(count) + step) % count] += weight
    return matrix
