"""The lattice that 3D-SURF looks at: cubic voxels along the patient's axes, with whole numbers in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from homolog.errors import BadInput
from homolog.features.configs import Surf3dConfig
from homolog.kernels import along_axes, box_hessian
from homolog.space.grid import Grid
from homolog.space.prepared import require_picture, restored
from homolog.space.sampling import low_passed, warp
from homolog.space.transforms import Affine
from homolog.space.volume import Volume

# x and y are counted against LPS: the order of the published program, whose numbers ours can then be held against.
ORDER = np.array([-1.0, -1.0, 1.0])
# Headers round: axes and spacings that differ by less are taken for the same.
AXES_TOLERANCE, SPACING_TOLERANCE = 1e-3, 1e-2
# Voxels so much longer than wide show nothing that could be found by cubes.
MOST_STRETCHED = 16.0
# Of a lattice: 6 bytes each are needed.
MOST_VOXELS = 1_500_000_000
# Levels of grey: the sums of a descriptor's boxes stay below 2^31 up to the largest scale that is found, 26 voxels.
MOST_LEVELS = 30_000
# The widest filter's half width in scales: that far from a point its response depends on the picture.
SUPPORT = 3.75


@dataclass(frozen=True, eq=False)
class Source:
    """A picture on the lattice, made as it is asked for: the finest lattices are larger than memory is for.

    grid       cubic voxels
    planes     gives planes start..stop, (stop - start, J, K) float32
    low, high  between which all values lie
    scan       the box that was really scanned, if the lattice reaches beyond it
    """

    grid: Grid
    planes: Callable[[int, int], np.ndarray]
    low: float
    high: float
    scan: Grid | None = None


@dataclass(frozen=True, eq=False)
class Lattice:
    """A picture made ready.

    grid     cubic voxels
    table    (I + 1, J + 1, K + 1) uint32, sums of the counts modulo 2^32
    largest  the largest count
    levels   counts a unit of intensity
    scan     the box that was really scanned, if the lattice reaches beyond it
    """

    grid: Grid
    table: np.ndarray
    largest: int
    levels: float
    scan: Grid | None

    @property
    def spacing_mm(self) -> float:
        return float(self.grid.spacing_mm[0])

    def holds(self, position: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """(N,) bool: whether all that a point's response depends on was scanned; (N, 3) LPS mm, (N,) mm."""
        if self.scan is None:
            return np.ones(len(position), bool)
        corners = SUPPORT * (2 * np.array(list(np.ndindex(2, 2, 2))) - 1)
        reach = position[:, None] + corners * scale[:, None, None]
        return np.asarray(self.scan.contains(reach.reshape(-1, 3)).reshape(-1, 8).all(axis=1))


def lattice_of(volume: Volume, config: Surf3dConfig) -> Lattice:
    source = source_of(volume, config)
    exact = config.compat is not None
    levels = 1.0 if exact else _levels(source.high - source.low)
    largest = int(levels * (source.high - source.low) + 0.5)
    if largest > MOST_LEVELS:
        raise BadInput(
            f"'{volume.space}' has {largest} grey values, more than sums of 32 bits hold", "clip it, or no --compat"
        )
    table = box_hessian.sums(source.planes, source.grid.shape, source.low, levels, exact)
    return Lattice(source.grid, table, largest, levels, source.scan)


def source_of(volume: Volume, config: Surf3dConfig) -> Source:
    require_picture(volume, "given")
    stretched = float(volume.grid.spacing_mm.max() / volume.grid.spacing_mm.min())
    if stretched > MOST_STRETCHED:
        raise BadInput(
            f"the voxels of '{volume.space}' are {stretched:.0f} times as long as wide: blobs cannot be told in it",
            "a scan with thinner slices",
        )
    if config.sampling_mm is not None and not (np.isfinite(config.sampling_mm) and config.sampling_mm > 0):
        raise BadInput(f"the sampling is {config.sampling_mm} mm", "--sampling-mm 1.5")
    return _as_published(volume, config) if config.compat else _along_the_patient(volume, config)


def _along_the_patient(volume: Volume, config: Surf3dConfig) -> Source:
    """The picture on cubic voxels along x, y, z."""
    picture = restored(volume)
    spacing = picture.grid.spacing_mm
    # as many cubic voxels as the picture has voxels
    mm = config.sampling_mm or float(np.cbrt(spacing.prod()))
    axes, upright = np.eye(3), _is_upright(picture.grid)
    if upright and np.abs(spacing / mm - 1).max() < SPACING_TOLERANCE:
        return _stored(_reversed(picture, (0, 1)))
    if upright:
        # the header's own rounding: so the picture's voxels can be looked up axis by axis
        axes = picture.grid.axes
    wanted = _cubes(picture.grid, mm, axes)
    smooth = low_passed(picture, wanted)
    return _between_voxels(smooth, wanted) if upright else _across_voxels(smooth, wanted)


def _is_upright(grid: Grid) -> bool:
    return bool(np.abs(grid.axes - np.eye(3)).max() < AXES_TOLERANCE)


def _cubes(grid: Grid, mm: float, axes: np.ndarray) -> Grid:
    """Cubic voxels along unit axes over a grid's box, in `ORDER`."""
    corners = grid.corners() @ np.linalg.inv(axes).T
    low, high = corners.min(axis=0), corners.max(axis=0)
    shape = np.maximum(1, np.ceil((high - low) / mm - 1e-6))
    if shape.prod() > MOST_VOXELS:
        raise BadInput(
            f"voxels of {mm:.3g} mm would be {shape.prod():.2g} in number, more than {MOST_VOXELS:.2g}",
            f"--sampling-mm {np.ceil(100 * np.cbrt((high - low).prod() / MOST_VOXELS)) / 100:g}",
        )
    # the box's centre is the grid's, so that it does not matter from which end the voxels are counted
    origin = axes @ ((low + high) / 2 - ORDER * mm * (shape - 1) / 2)
    return Grid.regular(shape.astype(int).tolist(), mm, origin, axes * ORDER)


def _as_published(volume: Volume, config: Surf3dConfig) -> Source:
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
        return _stored(picture)
    if config.sampling_mm is None:
        raise BadInput(
            f"the voxels of '{volume.space}' are no cubes: {' x '.join(f'{s:.4g}' for s in spacing)} mm",
            "--sampling-mm 1.5, or leave --compat out",
        )
    shape = np.floor((np.array(straight.shape) - 1) * spacing / mm + 1e-6).astype(int) + 1
    # no low-pass: the published program has none
    return _between_voxels(picture, Grid.regular(shape.tolist(), mm, straight.origin_mm, np.diag(ORDER)))


def _reversed(volume: Volume, axes: Sequence[int]) -> Volume:
    """The same picture with some axes counted from the other end."""
    step = np.eye(4)
    for axis in axes:
        step[axis, axis], step[axis, 3] = -1, volume.grid.shape[axis] - 1
    data = np.ascontiguousarray(np.flip(volume.numpy(), tuple(axes)))
    return Volume(data, Grid(data.shape, volume.grid.world_from_voxel @ step), volume.space)


def _stored(picture: Volume) -> Source:
    data = picture.numpy()
    return Source(picture.grid, lambda start, stop: data[start:stop], float(data.min()), float(data.max()))


def _between_voxels(picture: Volume, grid: Grid) -> Source:
    """On a lattice along the picture's own axes."""
    data = picture.numpy()
    matrix = picture.grid.voxel_from_world @ grid.world_from_voxel
    places = [matrix[axis, axis] * np.arange(n) + matrix[axis, 3] for axis, n in enumerate(grid.shape)]

    def planes(start: int, stop: int) -> np.ndarray:
        return along_axes.sample(data, (places[0][start:stop], *places[1:]))

    return Source(grid, planes, float(data.min()), float(data.max()))


def _across_voxels(picture: Volume, grid: Grid) -> Source:
    """On a lattice that lies across the picture's axes; the darkest value stands where nothing was scanned."""
    dark, bright = float(picture.numpy().min()), float(picture.numpy().max())
    same = Affine.identity(picture.space, picture.space)

    def planes(start: int, stop: int) -> np.ndarray:
        part = grid.cropped((start, 0, 0), (stop, *grid.shape[1:]))
        return warp(picture, same, part, outside=dark).numpy()

    return Source(grid, planes, dark, bright, picture.grid)


def _levels(span: float) -> float:
    """Counts a unit of intensity: a whole number where there is room, so that whole intensities stay exact."""
    if span == 0:
        return 1.0
    return float(np.floor(MOST_LEVELS / span)) if span <= MOST_LEVELS else MOST_LEVELS / span
