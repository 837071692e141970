"""The lattice that 3D-SURF looks at: cubic voxels along the patient's axes, with whole numbers in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from homolog.errors import BadInput
from homolog.features.configs import Surf3dConfig
from homolog.kernels import box_hessian
from homolog.space.grid import Grid
from homolog.space.prepared import require_picture, restored
from homolog.space.sampling import resample, warp
from homolog.space.transforms import Affine
from homolog.space.volume import Volume

# x and y are counted against LPS: the order of the published program, whose numbers ours can then be held against.
ORDER = np.array([-1.0, -1.0, 1.0])
# Headers round: axes and spacings that differ by less are taken for the same.
AXES_TOLERANCE, SPACING_TOLERANCE = 1e-3, 1e-2
# Voxels so much longer than wide show nothing that could be found by cubes.
MOST_STRETCHED = 16.0
# Levels of grey: sums of the widest boxes stay below 2^31, and a picture of few grey values is told apart finely.
MOST_LEVELS, FEWEST_LEVELS, LEVELS = 30_000, 256, 4_000
# The widest filter's half width in scales: that far from a point its response depends on the picture.
SUPPORT = 3.75


@dataclass(frozen=True, eq=False)
class Lattice:
    """A picture made ready.

    picture  intensities on cubic voxels
    table    (I + 1, J + 1, K + 1) uint32, sums of the counts modulo 2^32
    largest  the largest count
    levels   counts a unit of intensity
    scan     the box that was really scanned, if the lattice reaches beyond it
    """

    picture: Volume
    table: np.ndarray
    largest: int
    levels: float
    scan: Grid | None

    @property
    def grid(self) -> Grid:
        return self.picture.grid

    @property
    def spacing_mm(self) -> float:
        return float(self.grid.spacing_mm[0])

    def holds(self, position: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """(N,) bool: whether all that a point's response depends on was scanned; (N, 3) LPS mm, (N,) mm."""
        if self.scan is None:
            return np.ones(len(position), bool)
        corners = SUPPORT * np.array(list(np.ndindex(2, 2, 2))) * 2 - SUPPORT
        reach = position[:, None] + corners * scale[:, None, None]
        return np.asarray(self.scan.contains(reach.reshape(-1, 3)).reshape(-1, 8).all(axis=1))


def lattice_of(volume: Volume, config: Surf3dConfig) -> Lattice:
    require_picture(volume, "given")
    stretched = float(volume.grid.spacing_mm.max() / volume.grid.spacing_mm.min())
    if stretched > MOST_STRETCHED:
        raise BadInput(
            f"the voxels of '{volume.space}' are {stretched:.0f} times as long as wide: blobs cannot be told in it",
            "a scan with thinner slices",
        )
    if config.sampling_mm is not None and not config.sampling_mm > 0:
        raise BadInput(f"the sampling is {config.sampling_mm} mm", "--sampling-mm 1.5")
    picture, scan = _as_published(volume, config) if config.compat else _along_the_patient(volume, config)
    return _counted(picture, scan, exact=config.compat is not None)


def _along_the_patient(volume: Volume, config: Surf3dConfig) -> tuple[Volume, Grid | None]:
    """The picture on cubic voxels along x, y, z, and its own grid if that one lies otherwise."""
    picture = restored(volume)
    spacing = picture.grid.spacing_mm
    # as many cubic voxels as the picture has voxels
    mm = config.sampling_mm or float(np.cbrt(spacing.prod()))
    upright = np.abs(picture.grid.axes - np.eye(3)).max() < AXES_TOLERANCE
    if upright and np.abs(spacing / mm - 1).max() < SPACING_TOLERANCE:
        return _reversed(picture, (0, 1)), None
    low, high = picture.grid.bounds()
    shape = np.maximum(1, np.ceil((high - low) / mm - 1e-6)).astype(int)
    origin = (low + high) / 2 - ORDER * mm * (shape - 1) / 2
    grid = Grid.regular(shape.tolist(), mm, origin, np.diag(ORDER))
    resampled = resample(picture, grid, outside=float(picture.numpy().min()))
    return resampled, None if upright else picture.grid


def _as_published(volume: Volume, config: Surf3dConfig) -> tuple[Volume, None]:
    """The array that the published program works on, and where it takes it to lie: without its obliqueness."""
    grid = volume.grid
    linear = grid.world_from_voxel[:3, :3]
    picture = volume
    if not (linear - np.diag(np.diag(linear))).any():
        picture = _reversed(volume, np.flatnonzero(np.diag(linear) * ORDER < 0).tolist())
    spacing = grid.spacing_mm
    straight = Grid.regular(picture.grid.shape, spacing.tolist(), picture.grid.origin_mm, np.diag(ORDER))
    picture = Volume(picture.data, straight, volume.space)
    mm = config.sampling_mm or float(spacing[0])
    if np.abs(spacing / mm - 1).max() < 1e-4:
        return picture, None
    if config.sampling_mm is None:
        raise BadInput(
            f"the voxels of '{volume.space}' are no cubes: {' x '.join(f'{s:.4g}' for s in spacing)} mm",
            "--sampling-mm 1.5, or leave --compat out",
        )
    shape = np.floor((np.array(straight.shape) - 1) * spacing / mm + 1e-6).astype(int) + 1
    wanted = Grid.regular(shape.tolist(), mm, straight.origin_mm, np.diag(ORDER))
    # no low-pass: the published program has none
    same = Affine.identity(volume.space, volume.space)
    return warp(picture, same, wanted, outside=float(picture.numpy().min())), None


def _reversed(volume: Volume, axes: Sequence[int]) -> Volume:
    """The same picture with some axes counted from the other end."""
    step = np.eye(4)
    for axis in axes:
        step[axis, axis], step[axis, 3] = -1, volume.grid.shape[axis] - 1
    data = np.ascontiguousarray(np.flip(volume.numpy(), tuple(axes)))
    return Volume(data, Grid(data.shape, volume.grid.world_from_voxel @ step), volume.space)


def _counted(picture: Volume, scan: Grid | None, *, exact: bool) -> Lattice:
    data = picture.numpy()
    low, high = float(data.min()), float(data.max())
    levels = 1.0 if exact else _levels(high - low)
    largest = int(levels * (high - low) + 0.5)
    if largest > MOST_LEVELS:
        raise BadInput(
            f"'{picture.space}' has {largest} grey values, more than sums of 32 bits hold", "clip it, or no --compat"
        )
    return Lattice(picture, box_hessian.sums(data, low, levels, exact), largest, levels, scan)


def _levels(span: float) -> float:
    if span > MOST_LEVELS:
        return MOST_LEVELS / span
    return LEVELS / span if 0 < span < FEWEST_LEVELS else 1.0
