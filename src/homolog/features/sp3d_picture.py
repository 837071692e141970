"""What SP3D is shown: cubic voxels along the patient's axes, intensities from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from homolog.errors import BadInput
from homolog.features.configs import Sp3dConfig, Surf3dConfig
from homolog.features.surf_lattice import source_of
from homolog.nets.sp3d import CELL
from homolog.space.grid import Grid
from homolog.space.volume import Volume

# HU: a CT has values below, of fat at the least; a picture without is shown by its own range.
FAT_HU = -50.0
# Shares of a picture's voxels that are shown as black and as white where its intensities are no HU.
RANGE = (0.005, 0.995)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture on the lattice, made as it is asked for.

    grid    cubic voxels, i, j, k along x, y, z of LPS
    planes  gives planes start..stop, (stop - start, J, K) float32 in [0, 1]
    scan    the grid of what was scanned
    """

    grid: Grid
    planes: Callable[[int, int], np.ndarray]
    scan: Grid

    @property
    def spacing_mm(self) -> float:
        return float(self.grid.spacing_mm[0])

    @property
    def cells(self) -> np.ndarray:
        """(3,) int64: cells along each axis that cover the picture."""
        return -(-np.array(self.grid.shape) // CELL)

    def part(self, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """(stop - start) float32 voxels; beyond the end of the picture, its last ones again."""
        i, j, k = np.minimum(stop, self.grid.shape)
        inner = self.planes(int(start[0]), int(i))[:, start[1] : j, start[2] : k]
        return np.pad(inner, [(0, int(n)) for n in stop - start - inner.shape], mode="edge")

    def beneath(self, position: np.ndarray) -> np.ndarray:
        """(N,) mm: how far points (N, 3) LPS mm lie beneath the nearest face of the scan; below 0 outside it."""
        voxels, far = self.scan.voxel(position), np.array(self.scan.shape) - 0.5
        # of a plane of voxels the normal is a row of the inverse, as long as voxels in a mm
        dense = np.linalg.norm(self.scan.voxel_from_world[:3, :3], axis=1)
        return np.asarray((np.minimum(voxels + 0.5, far - voxels) / dense).min(axis=1))


def picture_of(volume: Volume, config: Sp3dConfig, window_hu: tuple[float, float]) -> Picture:
    """A volume made ready to be looked at.

    window_hu  the network's own window
    """
    source = source_of(volume, Surf3dConfig(sampling_mm=config.sampling_mm))
    low, high = window_of(volume, config.greys, window_hu)
    last = source.grid.shape[0]

    def planes(start: int, stop: int) -> np.ndarray:
        # the lattice counts x and y the other way
        return windowed(source.planes(last - stop, last - start)[::-1, ::-1], low, high)

    return Picture(_reversed(source.grid), planes, volume.grid)


def window_of(volume: Volume, greys: str, window_hu: tuple[float, float]) -> tuple[float, float]:
    """The intensities that are shown as 0 and 1.

    greys      "auto", "ct" or "range", as in `Sp3dConfig`
    window_hu  for CT
    """
    data = volume.numpy()
    if greys == "ct" or (greys == "auto" and data.min() <= FAT_HU):
        return window_hu
    return float(np.quantile(data, RANGE[0])), float(np.quantile(data, RANGE[1]))


def windowed(data: np.ndarray, low: float, high: float) -> np.ndarray:
    """float32 in [0, 1], 0 up to `low` and 1 from `high` on; 0 where they are the same."""
    if not high > low:
        return np.zeros(data.shape, np.float32)
    return np.clip((data - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)


def require_room(picture: Picture, config: Sp3dConfig, space: str) -> None:
    """Raises where a border would leave nothing, or nothing but a single voxel."""
    extent = np.array(picture.grid.shape) * picture.spacing_mm
    least = 2 * (config.border_mm + picture.spacing_mm)
    if (extent < least).any():
        size = " x ".join(f"{mm:.3g}" for mm in extent)
        raise BadInput(
            f"'{space}' is {size} mm: with a border of {config.border_mm:g} mm at each face and voxels of "
            f"{picture.spacing_mm:.3g} mm, {least:.3g} mm are needed along each axis",
            "--border-mm 0, or --sampling-mm with smaller voxels",
        )


def _reversed(grid: Grid) -> Grid:
    """The same voxels, the first two axes counted from their other end."""
    step = np.diag([-1.0, -1.0, 1.0, 1.0])
    step[:2, 3] = np.array(grid.shape[:2]) - 1
    return Grid(grid.shape, grid.world_from_voxel @ step)
