"""How many keypoints are found again in another picture, and how many of their descriptors find their own.

Both pictures show what the map between them says, so each figure needs that map: of a drawn warp, or of virtual
patients. Only points count whose place both pictures show; distances are taken in the moving patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, pi

import numpy as np
from scipy.spatial import cKDTree

from homolog.errors import BadInput, SpaceMismatch
from homolog.kernels import neighbours
from homolog.space.grid import Grid
from homolog.space.inversion import TOLERANCE_MM, carry_back
from homolog.space.keypoints import Keypoints, Matches
from homolog.space.sampling import lie_in
from homolog.space.transforms import Transform
from homolog.space.volume import Volume

# What counts as the same place, mm: voxels of two pictures are 1 to 2 mm wide.
WITHIN_MM = (1.0, 2.0, 4.0)
# Places at which the shared region is measured: a share of one half is then good to 0.2 %.
PLACES = 60_000

# Where points may lie: a picture's whole grid, or the voxels of labels that are not 0.
Region = Grid | Volume


@dataclass(frozen=True, eq=False)
class Shared:
    """The points whose places both pictures show.

    fixed    those of the fixed picture
    moved    (N, 3) LPS mm, where they lie in the moving patient
    moving   those of the moving picture
    """

    fixed: Keypoints
    moved: np.ndarray
    moving: Keypoints


@dataclass(frozen=True)
class Repeatability:
    """Which share of the points of both pictures has a point of the other picture near its place.

    within_mm       how near
    rate            that share at each of these distances; NaN where there is no point
    chance          what points strewn evenly over the shared region, as many as these, reach
    fixed, moving   how many points were looked at in each picture
    shared_mm3      the shared region's volume, in the moving patient
    """

    within_mm: tuple[float, ...]
    rate: tuple[float, ...]
    chance: tuple[float, ...]
    fixed: int
    moving: int
    shared_mm3: float


@dataclass(frozen=True)
class MatchingScore:
    """How many points find their own place by the nearest descriptor, with no other test.

    within_mm      how near its place a point's match must lie to be right
    score          right ones of all shared points, the mean over both directions; never above the repeatability
    accuracy       right ones of the mutual matches ("mean matching accuracy")
    mutual         how many matches are mutual
    fixed, moving  how many points were looked at in each picture
    """

    within_mm: tuple[float, ...]
    score: tuple[float, ...]
    accuracy: tuple[float, ...]
    mutual: int
    fixed: int
    moving: int


def repeatability(
    fixed: Keypoints,
    moving: Keypoints,
    moving_from_fixed: Transform,
    *,
    fixed_region: Region,
    moving_region: Region,
    within_mm: Sequence[float] = WITHIN_MM,
    budget: int | None = None,
) -> Repeatability:
    """The share of points that are found again, beside what chance would find.

    budget  only so many of the shared points of each picture count, the strongest: more points are found again more
            often, so detectors are compared at equal numbers
    """
    both = shared(
        fixed, moving, moving_from_fixed, fixed_region=fixed_region, moving_region=moving_region, budget=budget
    )
    counts = len(both.fixed), len(both.moving)
    shared_mm3 = shared_volume_mm3(moving_from_fixed, fixed_region, moving_region)
    return Repeatability(
        tuple(within_mm),
        tuple(_share(_found_again(both, radius)) for radius in within_mm),
        tuple(chance_level(*counts, shared_mm3, radius) for radius in within_mm),
        *counts,
        shared_mm3,
    )


def matching_score(
    fixed: Keypoints,
    moving: Keypoints,
    moving_from_fixed: Transform,
    *,
    fixed_region: Region,
    moving_region: Region,
    within_mm: Sequence[float] = WITHIN_MM,
    budget: int | None = None,
) -> MatchingScore:
    """The share of points whose nearest descriptor among the other picture's shared points is that of their place."""
    _require_descriptors(fixed, moving)
    both = shared(
        fixed, moving, moving_from_fixed, fixed_region=fixed_region, moving_region=moving_region, budget=budget
    )
    there, back = _nearest(both)
    apart_there = _apart_mm(both.moved, both.moving.position, there)
    apart_back = _apart_mm(both.moving.position, both.moved, back)
    mutual = (there >= 0) & (back[there] == np.arange(len(there))) if len(back) else np.zeros(len(there), bool)
    return MatchingScore(
        tuple(within_mm),
        tuple(float(np.mean([_share(apart <= r) for apart in (apart_there, apart_back)])) for r in within_mm),
        tuple(_share(apart_there[mutual] <= r) for r in within_mm),
        int(mutual.sum()),
        len(both.fixed),
        len(both.moving),
    )


def inlier_ratio(
    fixed: Keypoints, moving: Keypoints, matches: Matches, moving_from_fixed: Transform, *, within_mm: float = 2.0
) -> float:
    """Which share of some matches is right; NaN where there is none."""
    _require_ends(fixed, moving, moving_from_fixed)
    rows, columns = matches.pairs.T
    moved = np.asarray(moving_from_fixed.apply(fixed.position[rows]))
    return _share(np.linalg.norm(moved - moving.position[columns], axis=1) <= within_mm)


def shared(
    fixed: Keypoints,
    moving: Keypoints,
    moving_from_fixed: Transform,
    *,
    fixed_region: Region,
    moving_region: Region,
    budget: int | None = None,
) -> Shared:
    """Points of either picture that lie in its own region, and whose places lie in the other's.

    budget  no more of each than this, the strongest
    """
    _require_ends(fixed, moving, moving_from_fixed)
    fixed = fixed[_inside(fixed_region, fixed.position, fixed.space)]
    moving = moving[_inside(moving_region, moving.position, moving.space)]
    moved = np.asarray(moving_from_fixed.apply(fixed.position)).reshape(-1, 3)
    seen = np.flatnonzero(_inside(moving_region, moved, moving.space))
    seen_back = np.flatnonzero(_inside_before(fixed_region, moving.position, moving_from_fixed))
    seen, seen_back = seen[_strongest(fixed[seen], budget)], seen_back[_strongest(moving[seen_back], budget)]
    return Shared(fixed[seen], moved[seen], moving[seen_back])


def fair_budget(
    found: Sequence[tuple[Keypoints, Keypoints]],
    moving_from_fixed: Transform,
    *,
    fixed_region: Region,
    moving_region: Region,
) -> int:
    """How many shared points every detector found in both pictures.

    found  what each detector found in the fixed and in the moving picture
    """
    each = [
        shared(fixed, moving, moving_from_fixed, fixed_region=fixed_region, moving_region=moving_region)
        for fixed, moving in found
    ]
    return min((len(side) for both in each for side in (both.fixed, both.moving)), default=0)


def chance_level(fixed: int, moving: int, shared_mm3: float, within_mm: float) -> float:
    """The repeatability of so many points strewn evenly over a region much larger than the distance.

    A ball of v mm3 holds none of n points in V mm3 with a chance of exp(-n v / V).
    """
    if not (fixed and moving and shared_mm3):
        return nan
    ball = 4 / 3 * pi * within_mm**3 / shared_mm3
    return float((-fixed * np.expm1(-moving * ball) - moving * np.expm1(-fixed * ball)) / (fixed + moving))


def shared_volume_mm3(moving_from_fixed: Transform, fixed_region: Region, moving_region: Region) -> float:
    """The volume of the moving region that the fixed one shows as well, looked at in 60 000 places."""
    volume_mm3, places = _strewn(moving_region)
    if not volume_mm3:
        return 0.0
    return volume_mm3 * _share(_inside_before(fixed_region, places, moving_from_fixed))


# ---------------------------------------------------------------------------------------------------------------------


def _found_again(both: Shared, within_mm: float) -> np.ndarray:
    """(N + M,) bool: of the fixed points, then of the moving ones, whether a point of the other picture is near."""
    if not (len(both.fixed) and len(both.moving)):
        return np.zeros(len(both.fixed) + len(both.moving), bool)
    there = cKDTree(both.moving.position).query(both.moved)[0]
    back = cKDTree(both.moved).query(both.moving.position)[0]
    return np.concatenate((there, back)) <= within_mm


def _nearest(both: Shared) -> tuple[np.ndarray, np.ndarray]:
    """(N,) and (M,) the row of the other picture with the nearest descriptor; -1 where there is none."""
    fixed, moving = both.fixed.descriptors, both.moving.descriptors
    assert fixed is not None and moving is not None
    rows, columns = np.arange(len(both.fixed)), np.arange(len(both.moving))
    found = neighbours.nearest_in_bands(fixed, moving, rows, columns, 0 * rows, 0 * rows + len(columns))
    return found[0].index[:, 0], found[1].index[:, 0]


def _apart_mm(here: np.ndarray, there: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    apart = np.full(len(here), np.inf)
    known = nearest >= 0
    apart[known] = np.linalg.norm(here[known] - there[nearest[known]], axis=1)
    return apart


def _strongest(points: Keypoints, budget: int | None) -> np.ndarray:
    """(n,) rows: all, or as many as the budget allows, by falling response."""
    if budget is None:
        return np.arange(len(points))
    if budget < 0:
        raise BadInput(f"the number of points to compare is {budget}", "budget=1000")
    if points.response is None:
        raise BadInput(f"which points of '{points.space}' are the strongest cannot be told: they have no response")
    return np.argsort(-np.asarray(points.response), kind="stable")[:budget]


def _inside(region: Region, points: np.ndarray, space: str) -> np.ndarray:
    """(N,) bool: which points lie in a voxel of the region."""
    if isinstance(region, Grid):
        return np.asarray(region.contains(points))
    _require_labels(region, space)
    return lie_in(region, points)


def _inside_before(fixed_region: Region, points: np.ndarray, moving_from_fixed: Transform) -> np.ndarray:
    """(N,) bool: which moving points come from the fixed region; none of those that come from nowhere."""
    if not len(points):
        return np.zeros(0, bool)
    before = carry_back(moving_from_fixed, points)
    return before.found(TOLERANCE_MM) & _inside(fixed_region, before.points, moving_from_fixed.fixed)


def _strewn(region: Region) -> tuple[float, np.ndarray]:
    """A region's volume in mm3, and (N, 3) LPS mm: places in it, the same ones each time."""
    rng = np.random.default_rng(0)
    off = rng.uniform(-0.5, 0.5, (PLACES, 3))
    if isinstance(region, Grid):
        return region.size * region.voxel_volume_mm3, region.world((off + 0.5) * region.shape - 0.5)
    inside = np.flatnonzero(region.numpy())
    if not len(inside):
        return 0.0, np.zeros((0, 3))
    voxels = np.stack(np.unravel_index(inside[rng.integers(len(inside), size=PLACES)], region.grid.shape), axis=1)
    return len(inside) * region.grid.voxel_volume_mm3, region.grid.world(voxels + off)


def _share(true: np.ndarray) -> float:
    return float(np.mean(true)) if len(true) else nan


def _require_ends(fixed: Keypoints, moving: Keypoints, moving_from_fixed: Transform) -> None:
    for points in (fixed, moving):
        if not np.isfinite(points.position).all():
            raise BadInput(f"positions of points of '{points.space}' hold NaN or infinite values")
    if (fixed.space, moving.space) != (moving_from_fixed.fixed, moving_from_fixed.moving):
        raise SpaceMismatch(
            f"the points are of '{fixed.space}' and '{moving.space}', but the map {moving_from_fixed.describe()}",
            "give the fixed points first, or invert the map",
        )


def _require_labels(region: Volume, space: str) -> None:
    if region.kind != "labels":
        raise BadInput("the region is a picture of intensities", "read it with read_labels(path)")
    if region.space != space:
        raise SpaceMismatch(f"the region is in '{region.space}', the points in '{space}'", "name the region's space")


def _require_descriptors(*sides: Keypoints) -> None:
    for points in sides:
        if points.descriptors is None:
            raise BadInput(f"the points of '{points.space}' have no descriptors", "detect them with descriptors")
