"""Whether two maps are each other's inverse: how far from itself a point comes back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homolog.errors import SpaceMismatch
from homolog.space.grid import Grid
from homolog.space.transforms import Transform

# Points followed at most: with more than two million, the 95th percentile moves in its fourth digit only.
MOST_POINTS = 2_000_000
# Points in flight at once: 24 bytes each, twice.
SLAB = 262_144


@dataclass(frozen=True)
class RoundTrip:
    """Distances from voxel centres to where they come back to.

    mean_mm, p95_mm, max_mm  over the points followed
    points                   how many were followed
    stride                   every voxel (1), or every second, third, ... along each axis
    """

    mean_mm: float
    p95_mm: float
    max_mm: float
    points: int
    stride: int


@dataclass(frozen=True)
class Consistency:
    """Round trips that start in the fixed patient and, where a grid there was given, in the moving one (else None)."""

    fixed: RoundTrip
    moving: RoundTrip | None


def inverse_consistency(
    moving_from_fixed: Transform,
    fixed_from_moving: Transform,
    fixed_grid: Grid,
    moving_grid: Grid | None = None,
    *,
    most_points: int = MOST_POINTS,
) -> Consistency:
    """How far voxel centres end from themselves, there and back again.

    A point that leaves the other patient's picture counts like any other: maps continue beyond their grids.

    fixed_grid   where round trips through the moving patient start
    moving_grid  where round trips through the fixed patient start, if those are wanted too
    most_points  larger grids are thinned evenly, by the smallest stride that fits (the result says which)
    """
    _require_each_others_inverse(moving_from_fixed, fixed_from_moving)
    there = round_trip(moving_from_fixed, fixed_from_moving, fixed_grid, most_points)
    if moving_grid is None:
        return Consistency(there, None)
    return Consistency(there, round_trip(fixed_from_moving, moving_from_fixed, moving_grid, most_points))


def round_trip(there: Transform, back: Transform, grid: Grid, most_points: int = MOST_POINTS) -> RoundTrip:
    """Voxel centres of a grid in `there`'s fixed patient, carried there and back."""
    stride, lattice = _thinned(grid, most_points)
    apart_mm = np.empty(lattice.shape, np.float32)
    step = max(1, SLAB // apart_mm[0].size)
    for start in range(0, len(apart_mm), step):
        stop = min(start + step, len(apart_mm))
        points = lattice.points(start, stop)
        returned = back.apply(there.apply(points))
        apart_mm[start:stop] = np.linalg.norm(returned - points, axis=1).reshape(apart_mm[start:stop].shape)
    return RoundTrip(
        mean_mm=float(apart_mm.mean(dtype=np.float64)),
        p95_mm=float(np.percentile(apart_mm, 95)),
        max_mm=float(apart_mm.max()),
        points=apart_mm.size,
        stride=stride,
    )


def _thinned(grid: Grid, most_points: int) -> tuple[int, Grid]:
    """The smallest stride that leaves at most `most_points` (one at the least), and the lattice of every such voxel."""
    shape, stride = np.array(grid.shape), 1
    while np.prod(-(-shape // stride)) > max(1, most_points):
        stride += 1
    # as many voxels are skipped before the first as after the last, or one fewer
    first = (shape - 1) % stride // 2
    coarse = np.diag([stride, stride, stride, 1.0])
    coarse[:3, 3] = first
    kept = -(-(shape - first) // stride)
    return stride, Grid(tuple(kept.tolist()), grid.world_from_voxel @ coarse)


def _require_each_others_inverse(moving_from_fixed: Transform, fixed_from_moving: Transform) -> None:
    start, end = moving_from_fixed.moving, moving_from_fixed.fixed
    if (fixed_from_moving.fixed, fixed_from_moving.moving) != (start, end):
        raise SpaceMismatch(
            f"the way back {fixed_from_moving.describe()}; it should carry points of '{start}' to '{end}'",
            "give the inverse of the first map second, or name its ends with renamed()",
        )
