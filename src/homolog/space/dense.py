"""Any map as a displacement at every voxel of a grid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from homolog.kernels import points as positions
from homolog.space.grid import Grid
from homolog.space.transforms import Displacement, Transform, as_numpy

if TYPE_CHECKING:
    import torch

# Voxels computed at once where coordinates must be kept: 6 MB of them, a cache's worth.
SLAB = 262_144
# On a GPU, where each slab costs launches: 100 MB of coordinates.
DEVICE_SLAB = 4_194_304


def slabs(grid: Grid, start: int = 0, stop: int | None = None, *, voxels: int = SLAB) -> Iterator[tuple[int, int]]:
    """Ranges of planes, about so many voxels each."""
    stop = grid.shape[0] if stop is None else stop
    step = max(1, voxels // (grid.shape[1] * grid.shape[2]))
    return ((low, min(low + step, stop)) for low in range(start, stop, step))


def sampled_displacement(transform: Transform, grid: Grid) -> np.ndarray:
    """(I, J, K, 3) float32 mm: how far the map carries the voxel centres of a grid in the fixed patient."""
    if isinstance(transform, Displacement) and transform.grid.same_as(grid):
        return as_numpy(transform.vectors)
    vectors = np.empty((*grid.shape, 3), np.float32)
    for start, stop in slabs(grid):
        points = grid.points(start, stop)
        vectors[start:stop] = (transform.apply(points) - points).reshape(vectors[start:stop].shape)
    return vectors


def sampled_on(transform: Transform, grid: Grid, device: torch.device) -> torch.Tensor:
    """`sampled_displacement` as a tensor (I, J, K, 3) float32 mm, computed on its device and left there."""
    import torch

    vectors = torch.empty((*grid.shape, 3), dtype=torch.float32, device=device)
    for start, stop in slabs(grid, voxels=DEVICE_SLAB):
        points = positions.lattice_torch(grid.world_from_voxel, grid.shape, start, stop, device)
        vectors[start:stop] = (transform.apply(points) - points).reshape(vectors[start:stop].shape)
    return vectors


def densified(transform: Transform, grid: Grid) -> Displacement:
    """The same map as one displacement on a grid of the fixed patient."""
    return Displacement(sampled_displacement(transform, grid), grid, transform.fixed, transform.moving)
