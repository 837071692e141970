"""A map in the pieces that ITK's files hold, each wide enough for the fixed image.

ITK knows no continuation beyond a lattice: outside it a point stays where it is, which tears the map. So lattices are
padded here with their own edge values, which is what our maps mean by "beyond the grid": the padded map is the same.
A lattice with slanted axes, which some readers straighten, is written upright between an affine map and its inverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from homolog.errors import BadInput, GridMismatch
from homolog.io.axes import is_sheared, nearest_rotation
from homolog.kernels.threads import over_planes
from homolog.space.grid import Grid
from homolog.space.transforms import Affine, BSpline, Chain, Displacement, ThinPlate, Transform, as_numpy, chain

# Control points that ITK needs around every place at which it evaluates a cubic spline (one), and some rounding.
SPLINE_MARGIN = 1.01
# A lattice that would have to grow both this many times and to this many nodes (24 bytes each) is in the wrong place.
MOST_GROWTH, MOST_NODES = 64, 2**27


@dataclass(frozen=True, eq=False)
class Padded:
    """A displacement to be written on a larger grid, its nearest edge value repeated; not copied before it is written.

    start, stop  of the larger grid, in nodes of the displacement's own
    """

    displacement: Displacement
    start: np.ndarray
    stop: np.ndarray

    @property
    def grid(self) -> Grid:
        return self.displacement.grid.cropped(self.start.tolist(), self.stop.tolist())

    def planes(self, low: int, high: int) -> np.ndarray:
        """(high - low, J, I, 3) float32: the vectors of these k, in the order of files."""
        i, j, k = (
            np.clip(np.arange(a, b), 0, n - 1) for a, b, n in zip(self.start, self.stop, self.displacement.grid.shape)
        )
        vectors = as_numpy(self.displacement.vectors)[:, :, k[low:high]].transpose(2, 1, 0, 3)
        return vectors[:, j[:, None], i[None, :]]


Lattice = Displacement | BSpline
Step = Affine | BSpline | Padded


def steps_over(transform: Transform, like: Grid | None) -> list[Step]:
    """The same map as steps in the order of a matrix product, each defined wherever the points of `like` arrive.

    Without `like`, lattices are wide enough for their own extent.
    """
    whole = chain([transform])
    todo = list(whole.parts if isinstance(whole, Chain) else (whole,))
    # the hull of these points holds every voxel of `like` and half a voxel around, as far as it has been carried
    reach = None if like is None else like.corners()
    done: list[Step] = []
    while todo:
        step = todo.pop()
        if isinstance(step, ThinPlate):
            todo += _dense(step, like, reach)
            continue
        if reach is None and not isinstance(step, Affine):
            reach = step.grid.corners()  # type: ignore[attr-defined]
        done = _upright(step, reach) + done
        reach = _carried(step, reach) if todo and reach is not None else reach
    return done


def _upright(step: Transform, reach: np.ndarray | None) -> list[Step]:
    if isinstance(step, Affine):
        return [step]
    assert isinstance(step, Lattice) and reach is not None
    if not is_sheared(step.grid):
        return [_widened(step, reach)]
    upright_from_world, upright = straightened(step)
    return [
        Affine(np.linalg.inv(upright_from_world)),
        _widened(upright, reach @ upright_from_world[:3, :3].T + upright_from_world[:3, 3]),
        Affine(upright_from_world),
    ]


def straightened(step: Lattice, axes: np.ndarray | None = None) -> tuple[np.ndarray, Lattice]:
    """An affine world, (4, 4) `upright_from_world`, in which the lattice has these axes, and the step as it is there.

    axes  (3, 3) orthonormal; the nearest to the lattice's own where none are given
    """
    axes = nearest_rotation(step.grid.axes) if axes is None else axes
    grid = Grid.regular(step.grid.shape, step.grid.spacing_mm, step.grid.origin_mm, axes)
    upright_from_world = grid.world_from_voxel @ step.grid.voxel_from_world
    return upright_from_world, _with_numbers(step, _turned(_stored(step), upright_from_world[:3, :3]), grid)


def _turned(vectors: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Plane by plane: the whole field at once would be held in float64 too."""
    out = np.empty_like(vectors)
    for i in range(len(out)):
        out[i] = vectors[i] @ linear.T
    return out


def _stored(step: Lattice) -> np.ndarray:
    return as_numpy(step.coefficients if isinstance(step, BSpline) else step.vectors)


def _with_numbers(step: Lattice, numbers: np.ndarray, grid: Grid) -> Lattice:
    if isinstance(step, BSpline):
        return BSpline(numbers, grid, step.fixed, step.moving)
    return Displacement(numbers, grid, step.fixed, step.moving)


def _widened(step: Lattice, reach: np.ndarray) -> Step:
    margin = SPLINE_MARGIN if isinstance(step, BSpline) else 0.0
    voxels, shape = step.grid.voxel(reach), np.array(step.grid.shape)
    start = np.minimum(0, np.floor(voxels.min(axis=0) - margin + 1e-6)).astype(int)
    stop = np.maximum(shape, np.ceil(voxels.max(axis=0) + margin - 1e-6).astype(int) + 1)
    _require_near(step.grid, float(np.prod(stop - start, dtype=float)))
    if isinstance(step, Displacement):
        return Padded(step, start, stop)
    pad = [*zip(-start, stop - shape), (0, 0)]
    wide = step.grid.cropped(start.tolist(), stop.tolist())
    return BSpline(np.pad(_stored(step), pad, mode="edge"), wide)


def _require_near(grid: Grid, nodes: float) -> None:
    if nodes > MOST_NODES and nodes > MOST_GROWTH * grid.size:
        raise GridMismatch(
            f"the map lies on {grid!r}, far from the fixed image: to hold that too it would need {nodes:.3g} nodes",
            "give the image it was made for as `like`, or write a dense field: field.nii.gz",
        )


def _carried(step: Transform, reach: np.ndarray) -> np.ndarray:
    """Points whose hull holds wherever the step carries the hull of `reach`."""
    if isinstance(step, Affine):
        return step.apply(reach)
    numbers = _stored(step)  # type: ignore[arg-type]
    # interpolation and splines are averages with positive weights: they stay between the smallest and the largest
    axes = (0, 1, 2)
    return _box(reach.min(axis=0) + numbers.min(axis=axes), reach.max(axis=0) + numbers.max(axis=axes))


def _box(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.array(list(product(*zip(low, high))))


def _dense(step: ThinPlate, like: Grid | None, reach: np.ndarray | None) -> Sequence[Transform]:
    """The thin plate as its affine part after a displacement that bends, on the lattice of `like`."""
    if like is None or reach is None:
        raise BadInput(
            "a thin plate is written as a displacement, and over which voxels was not said",
            "write_transform(..., like=fixed.grid)",
        )
    grid = like.covering(reach)
    inverse = np.linalg.inv(step.affine[:3, :3])
    vectors = np.empty((*grid.shape, 3), np.float32)

    def bend(start: int, stop: int) -> None:
        for i in range(start, stop):
            points = grid.points(i, i + 1)
            straight = points @ step.affine[:3, :3].T + step.affine[:3, 3]
            vectors[i] = ((step._apply_numpy(points) - straight) @ inverse.T).reshape(vectors[i].shape)

    over_planes(bend, grid.shape[0])
    return [Affine(step.affine), Displacement(vectors, grid)]
