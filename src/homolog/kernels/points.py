"""Positions: a lattice's voxel centres, and points under an affine map, without NumPy's temporaries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading

if TYPE_CHECKING:
    import torch


def lattice_reference(matrix: np.ndarray, shape: tuple[int, int, int], start: int, stop: int) -> np.ndarray:
    """The twin of `lattice`."""
    i, j, k = np.meshgrid(np.arange(start, stop), np.arange(shape[1]), np.arange(shape[2]), indexing="ij")
    return moved_reference(matrix, np.stack((i, j, k), axis=-1).reshape(-1, 3))


def moved_reference(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The twin of `moved`."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


@njit(nogil=True, cache=True)
def _lattice(matrix, start, stop, rows, columns, out):  # type: ignore[no-untyped-def]
    n = 0
    for i in range(start, stop):
        for j in range(rows):
            x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 3]
            y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 3]
            z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 3]
            for k in range(columns):
                out[n, 0], out[n, 1], out[n, 2] = x + matrix[0, 2] * k, y + matrix[1, 2] * k, z + matrix[2, 2] * k
                n += 1


@njit(nogil=True, cache=True)
def _moved(matrix, points, out):  # type: ignore[no-untyped-def]
    for n in range(len(out)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        for m in range(3):
            out[n, m] = matrix[m, 0] * x + matrix[m, 1] * y + matrix[m, 2] * z + matrix[m, 3]


def lattice(matrix: np.ndarray, shape: tuple[int, int, int], start: int, stop: int) -> np.ndarray:
    """(n, 3) float64: where a (4, 4) matrix puts the voxels of the planes start <= i < stop, k running fastest."""
    out = np.empty(((stop - start) * shape[1] * shape[2], 3))
    _lattice(reading(matrix, np.float64), start, stop, shape[1], shape[2], out)
    return out


def moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, 3) float64: points (N, 3) under a (4, 4) matrix."""
    out = np.empty((len(points), 3))
    _moved(reading(matrix, np.float64), reading(points, np.float64), out)
    return out


def lattice_torch(
    matrix: np.ndarray, shape: tuple[int, int, int], start: int, stop: int, device: torch.device
) -> torch.Tensor:
    """`lattice` as a float64 tensor, made on its device."""
    import torch

    columns = torch.from_numpy(np.array(matrix[:3].T, np.float64)).to(device)
    i, j, k = (
        torch.arange(low, high, dtype=torch.float64, device=device)[:, None]
        for low, high in ((start, stop), (0, shape[1]), (0, shape[2]))
    )
    rows = (i * columns[0])[:, None] + (j * columns[1] + columns[3])
    return (rows[:, :, None] + k * columns[2]).reshape(-1, 3)
