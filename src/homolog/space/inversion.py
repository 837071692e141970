"""Maps backwards: exactly at single points, or as a displacement on a grid, with the error measured."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import product

import numpy as np

from homolog.errors import BadInput
from homolog.kernels.interpolate import sample
from homolog.kernels.inversion import invert_points
from homolog.kernels.jacobian import determinants
from homolog.kernels.threads import over_planes
from homolog.space.dense import sampled_displacement
from homolog.space.grid import Grid
from homolog.space.transforms import Affine, BSpline, Chain, Displacement, ThinPlate, Transform, as_numpy, chain
from homolog.space.volume import Volume

log = logging.getLogger("homolog")

# Beyond this the answer is useless for anatomy, below it no voxel notices: a hundredth of a millimetre.
TOLERANCE_MM = 0.01
# A default lattice is fine enough when 95 % of what lies between its nodes comes back to this ...
FINE_ENOUGH_MM = 0.05
# ... or when halving it once more would take more than 50 MB.
MOST_NODES = 2**22
# Points solved in one go: fixed, so that a result does not depend on the number of threads.
RUN = 32768
# A field that throws its own corners far away would ask for a grid without bounds.
MOST_GROWTH = 3.0


@dataclass(frozen=True, eq=False, repr=False)
class Solution:
    """Where points come from.

    points    (N, 3) float64 LPS mm, in the fixed patient
    error_mm  (N,) distance between where the map carries them and where they should arrive
    """

    points: np.ndarray
    error_mm: np.ndarray

    def found(self, tolerance_mm: float = TOLERANCE_MM) -> np.ndarray:
        """(N,) bool: which points have an inverse within the tolerance."""
        return self.error_mm <= tolerance_mm


@dataclass(frozen=True, eq=False)
class Inversion:
    """The inverse of a map, and how good it is, measured at the nodes of its grid and half-way between them.

    transform           fixed_from_moving
    mean_mm, p95_mm, max_mm  distance from a moving point to itself, there and back, where an inverse exists
    missing             fraction of the nodes with no inverse, or with several: the map folds onto them
    missing_mask        those nodes as labels on the inverse's grid (None for a closed form)
    """

    transform: Transform
    mean_mm: float
    p95_mm: float
    max_mm: float
    missing: float = 0.0
    missing_mask: Volume | None = None


def carry_back(moving_from_fixed: Transform, points: np.ndarray, tolerance_mm: float = 1e-4) -> Solution:
    """The fixed points that the map carries to these moving points (N, 3) LPS mm: solved at each point, on no grid."""
    points = np.ascontiguousarray(points, np.float64)
    back = _way_back(moving_from_fixed, tolerance_mm)(points)
    return Solution(back, np.linalg.norm(moving_from_fixed.apply(back) - points, axis=1))


def invert(moving_from_fixed: Transform, grid: Grid | None = None, tolerance_mm: float = TOLERANCE_MM) -> Inversion:
    """The map `fixed_from_moving`, with its measured error.

    An affine map is inverted in closed form and a chain part by part; any other map is solved at the nodes of `grid`,
    a lattice in the moving patient (default: the map's own, enlarged to hold what it carries away and refined until the
    inverse is good between its nodes).
    """
    if isinstance(moving_from_fixed, Chain):
        moving_from_fixed = chain(moving_from_fixed.parts)
    if isinstance(moving_from_fixed, Affine):
        return Inversion(moving_from_fixed.inverse(), 0.0, 0.0, 0.0)
    if isinstance(moving_from_fixed, Chain) and grid is None:
        return _invert_chain(moving_from_fixed, tolerance_mm)
    found = _inverted_on(moving_from_fixed, grid, tolerance_mm) if grid else _refined(moving_from_fixed, tolerance_mm)
    if found.missing:
        log.warning("no single inverse at %.3g %% of the grid: the map folds onto it", 100 * found.missing)
    return found


def _refined(moving_from_fixed: Transform, tolerance_mm: float) -> Inversion:
    """On the map's own lattice, halved while the inverse is wrong between its nodes and the field stays small."""
    lattice = _default_lattice(moving_from_fixed)
    inversion = _inverted_on(moving_from_fixed, lattice, tolerance_mm)
    while inversion.p95_mm > FINE_ENOUGH_MM and 8 * lattice.size <= MOST_NODES:
        i, j, k = (2 * n - 1 for n in lattice.shape)
        lattice = Grid((i, j, k), lattice.world_from_voxel @ np.diag([0.5, 0.5, 0.5, 1]))
        inversion = _inverted_on(moving_from_fixed, lattice, tolerance_mm)
    return inversion


def _inverted_on(moving_from_fixed: Transform, lattice: Grid, tolerance_mm: float) -> Inversion:
    inverse, error_mm = _solve_on_grid(moving_from_fixed, lattice)
    lost = (error_mm > tolerance_mm) | folded_onto(moving_from_fixed, inverse)
    mask = Volume(lost.astype(np.uint8), lattice, moving_from_fixed.moving, "labels")
    there_and_back = round_trip_mm(moving_from_fixed, inverse, lattice, lost)
    return Inversion(inverse, *summary(there_and_back), float(lost.mean()), mask)


def _invert_chain(whole: Chain, tolerance_mm: float) -> Inversion:
    """Part by part, so that affine parts stay exact; then measured as one map, on the last field's own lattice."""
    steps = [invert(part, None, tolerance_mm) for part in whole.parts]
    inverse = chain([step.transform for step in reversed(steps)])
    mask = next(step.missing_mask for step in steps if step.missing_mask is not None)
    # an affine part beyond that field moves its lattice, and bends nothing
    before = whole.parts[0]
    after = before.matrix if isinstance(before, Affine) else np.eye(4)
    lattice = Grid(mask.grid.shape, after @ mask.grid.world_from_voxel)
    lost = _lost_on_the_way(steps, lattice.points()).reshape(lattice.shape)
    there_and_back = round_trip_mm(whole, inverse, lattice, lost)
    found = Volume(lost.astype(np.uint8), lattice, whole.moving, "labels")
    return Inversion(inverse, *summary(there_and_back), float(lost.mean()), found)


def _lost_on_the_way(steps: list[Inversion], points: np.ndarray) -> np.ndarray:
    """(N,) bool: the moving points that come, on the way back through the parts, to a place without an inverse."""
    lost = np.zeros(len(points), bool)
    for step in steps:
        if step.missing_mask is not None:
            mask, voxel_from_world = step.missing_mask.numpy(), step.missing_mask.grid.voxel_from_world
            lost |= sample(mask, points, "nearest", 0, voxel_from_world) > 0
        points = step.transform.apply(points)
    return lost


def _solve_on_grid(moving_from_fixed: Transform, lattice: Grid) -> tuple[Displacement, np.ndarray]:
    """The inverse displacement at every node, and the (I, J, K) error in mm that the solver was left with."""
    vectors = np.empty((*lattice.shape, 3), np.float32)
    error_mm = np.empty(lattice.shape, np.float32)
    back = _way_back(moving_from_fixed, TOLERANCE_MM / 10)
    in_run = max(1, RUN // (lattice.shape[1] * lattice.shape[2]))

    def runs(start: int, stop: int) -> None:
        for first in range(start * in_run, min(stop * in_run, lattice.shape[0]), in_run):
            here = slice(first, min(first + in_run, lattice.shape[0]))
            nodes = lattice.points(here.start, here.stop)
            found = back(nodes)
            vectors[here] = (found - nodes).reshape(vectors[here].shape)
            missed = moving_from_fixed._apply_numpy(found) - nodes
            error_mm[here] = np.sqrt(np.einsum("nc,nc->n", missed, missed)).reshape(error_mm[here].shape)

    over_planes(runs, -(-lattice.shape[0] // in_run))
    return Displacement(vectors, lattice, moving_from_fixed.moving, moving_from_fixed.fixed), error_mm


def folded_onto(moving_from_fixed: Transform, inverse: Displacement) -> np.ndarray:
    """(I, J, K) bool: nodes next to where a folded cell of the map is carried.

    A continuous map that moves nothing by more than some distance reaches every point, so a solver finds an answer in a
    fold too, but one of several: there is no inverse there, though its residual is zero.
    """
    lattice = inverse.grid
    if isinstance(moving_from_fixed, Displacement):
        source = moving_from_fixed.grid
    else:
        source = Grid(lattice.shape, lattice.world_from_voxel).covering(inverse.apply(lattice.corners(0.0)))
    smallest = determinants(sampled_displacement(moving_from_fixed, source), source.world_from_voxel[:3, :3])[1]
    folded = np.argwhere(smallest <= 0)
    reached = lattice.voxel(moving_from_fixed.apply(source.world(folded)))
    onto = np.zeros(lattice.shape, bool)
    limit = np.array(lattice.shape) - 1
    for corner in product((0, 1), repeat=3):
        node = np.floor(reached).astype(int) + corner
        node = node[((node >= 0) & (node <= limit)).all(axis=1)]
        onto[tuple(node.T)] = True
    return onto


def _way_back(moving_from_fixed: Transform, tolerance_mm: float) -> Callable[[np.ndarray], np.ndarray]:
    """The solver of one map, prepared once and used on many runs of points (N, 3) LPS mm."""
    if isinstance(moving_from_fixed, Affine):
        return moving_from_fixed.inverse().apply
    if isinstance(moving_from_fixed, Displacement):
        return _displacement_back(moving_from_fixed, tolerance_mm)
    if not isinstance(moving_from_fixed, Chain):
        return lambda points: _newton_back(moving_from_fixed, points, tolerance_mm)
    steps = [_way_back(part, tolerance_mm) for part in moving_from_fixed.parts]
    return lambda points: reduce(lambda moved, step: step(moved), steps, points)


def _displacement_back(displacement: Displacement, tolerance_mm: float) -> Callable[[np.ndarray], np.ndarray]:
    grid = displacement.grid
    in_voxels = as_numpy(displacement.vectors) @ grid.voxel_from_world[:3, :3].T.astype(np.float32)
    tolerance_vox = tolerance_mm / grid.spacing_mm.max()
    return lambda points: grid.world(invert_points(in_voxels, grid.voxel(points), tolerance_vox)[0])


def _newton_back(smooth: Transform, points: np.ndarray, tolerance_mm: float) -> np.ndarray:
    """Damped Newton steps on a spline or thin plate, whose derivative is known exactly."""
    back = 2 * points - smooth.apply(points) if isinstance(smooth, BSpline) else points.copy()
    residual = smooth.apply(back) - points
    error = np.linalg.norm(residual, axis=1)
    for _ in range(50):
        todo = np.flatnonzero(error > tolerance_mm)
        if not len(todo):
            break
        step = _newton_step(smooth.jacobian(back[todo]), residual[todo])
        improved = np.zeros(len(todo), bool)
        for length in (1.0, 0.5, 0.25, 0.1, 0.02):
            open_ = np.flatnonzero(~improved)
            trial = back[todo[open_]] - length * step[open_]
            r = smooth.apply(trial) - points[todo[open_]]
            e = np.linalg.norm(r, axis=1)
            better = e < error[todo[open_]]
            rows = todo[open_[better]]
            back[rows], residual[rows], error[rows] = trial[better], r[better], e[better]
            improved[open_[better]] = True
            if improved.all():
                break
        if not improved.any():
            break
    return back


def _newton_step(jacobian: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """J^-1 r; where J is singular the residual itself, which is the fixed point's step."""
    solvable = np.abs(np.linalg.det(jacobian)) > 1e-6
    step = residual.copy()
    step[solvable] = np.linalg.solve(jacobian[solvable], residual[solvable][..., None])[..., 0]
    return step


def _default_lattice(moving_from_fixed: Transform) -> Grid:
    if isinstance(moving_from_fixed, Displacement):
        own = moving_from_fixed.grid
    elif isinstance(moving_from_fixed, BSpline):
        # a cubic spline bends within a control spacing; four nodes to it follow it to about 1 % of its height
        own = moving_from_fixed.grid.with_spacing(moving_from_fixed.grid.spacing_mm / 4)
    elif isinstance(moving_from_fixed, ThinPlate):
        low, high = moving_from_fixed.centres.min(axis=0), moving_from_fixed.centres.max(axis=0)
        step = max(1.0, float((high - low).max()) / 64)
        shape = np.ceil((high - low) / step).astype(int) + 3
        own = Grid.regular(shape.tolist(), step, low - step)
    else:
        raise BadInput("the inverse of a chain on one grid needs that grid: invert(transform, grid)")
    moved = moving_from_fixed.apply(_surface(own))
    reach = (np.array(own.shape) - 1) * (MOST_GROWTH - 1) / 2
    voxels = np.clip(own.voxel(moved), -reach, np.array(own.shape) - 1 + reach)
    return own.covering(own.world(voxels))


def _surface(grid: Grid) -> np.ndarray:
    """The nodes on the six faces of a lattice, LPS mm."""
    faces = []
    for axis in range(3):
        for end in (0, grid.shape[axis] - 1):
            others = [np.arange(n) for n in grid.shape]
            others[axis] = np.array([end])
            faces.append(np.stack(np.meshgrid(*others, indexing="ij"), axis=-1).reshape(-1, 3))
    return grid.world(np.concatenate(faces))


def round_trip_mm(
    moving_from_fixed: Transform, inverse: Transform, lattice: Grid, lost: np.ndarray, most: int = 100_000
) -> np.ndarray:
    """Moving points there and back, in mm: so many nodes or more, and the middles between them, with an inverse."""
    nodes = np.argwhere(~lost)
    if not len(nodes):
        return np.array([np.inf])
    nodes = nodes[:: max(1, len(nodes) // most)].astype(np.float64)
    middles = np.minimum(nodes + 0.5, np.array(lost.shape) - 1)
    # a middle next to a node without inverse tells nothing of the interpolation
    sound = ~lost[tuple(np.ceil(middles).astype(int).T)]
    points = lattice.world(np.concatenate((nodes, middles[sound])))
    return np.linalg.norm(moving_from_fixed.apply(inverse.apply(points)) - points, axis=1)


def summary(distances_mm: np.ndarray) -> tuple[float, float, float]:
    """Their mean, 95th percentile and largest."""
    return float(distances_mm.mean()), float(np.percentile(distances_mm, 95)), float(distances_mm.max())
