"""Where to begin: every shift of one patient over the other at once, whatever the two headers say of their places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from homolog.kernels import mind
from homolog.kernels.shift_search import Sides, shift_sums
from homolog.space.grid import Grid
from homolog.space.prepared import Level, Prepared, warped

# The search is made with this many voxels along the longest side: 10 mm for a body, which a block match can mend.
ACROSS = 40
# A start must show at least this share of one patient in the other's picture.
LEAST_OVERLAP = 0.3
# How many of the best shifts are tried, and how many search voxels they are apart at least.
TRIED = 3
APART = 3
# Below this share of the patient's mean contrast nothing is a pattern: see `mind.contrast_floor`.
QUIET = 0.01


@dataclass(frozen=True, eq=False)
class Start:
    """A place to begin from.

    matrix  (4, 4) float64 moving_from_fixed, LPS mm
    score   how good it looked from afar, at most 1
    name    "header", or where it comes from
    """

    matrix: np.ndarray
    score: float
    name: str


def starts(fixed: Prepared, moving: Prepared) -> list[Start]:
    """Places to begin from, the best first: shifts that look good from afar, and the headers' own if they overlap."""
    spacing = _search_spacing(fixed.picture.grid, moving.picture.grid)
    here, there = fixed.level(spacing), moving.level(spacing)
    found = [
        start
        for turn, name in _turns(here.grid, there.grid)
        for start in _best_shifts(here, there, turn, spacing, name)
    ]
    return sorted(found, key=lambda start: -start.score)[:TRIED]


def _search_spacing(fixed: Grid, moving: Grid) -> float:
    """mm: coarse enough for ACROSS voxels along the longer of the two, and no finer than either picture."""
    longest = max(float(np.ptp(grid.corners() @ grid.axes, axis=0).max()) for grid in (fixed, moving))
    return max(longest / ACROSS, float(fixed.spacing_mm.min()), float(moving.spacing_mm.min()))


def _turns(fixed: Grid, moving: Grid) -> Iterator[tuple[np.ndarray, str]]:
    """Rotations (3, 3) worth trying: none, and the one that lays the moving scanner's axes on the fixed one's."""
    yield np.eye(3), "shift"
    turn = moving.axes @ fixed.axes.T
    # a left-handed scan on a right-handed one would be a mirror image of the patient
    if np.linalg.det(turn) > 0 and np.trace(turn) < 3 - 1e-4:
        yield turn, "scan axes"


def _best_shifts(here: Level, there: Level, turn: np.ndarray, spacing_mm: float, name: str) -> list[Start]:
    """The best shifts after a turn about the moving picture's centre."""
    centre = there.grid.corners().mean(axis=0)
    turned_grid = _covering(here.grid, centre + (there.grid.corners() - centre) @ turn, spacing_mm)
    about = np.eye(4)
    about[:3, :3] = turn
    about[:3, 3] = centre - turn @ centre
    turned = warped(there, about, turned_grid)
    scores = _scores(here, turned)
    result = []
    for index in _peaks(scores):
        steps = [i if i < n else i - size for i, n, size in zip(index, turned_grid.shape, scores.shape)]
        shift = np.eye(4)
        # fixed voxel v lies at turned voxel v + steps
        shift[:3, 3] = turned_grid.world(np.array(steps, float)) - here.grid.origin_mm
        result.append(Start(about @ shift, float(scores[index]), name))
    return result


def _covering(like: Grid, points_mm: np.ndarray, spacing_mm: float) -> Grid:
    """Along the axes of a grid, the voxels round some points."""
    along = points_mm @ like.axes
    low, high = along.min(axis=0), along.max(axis=0)
    shape = np.maximum(1, np.ceil((high - low) / spacing_mm - 1e-6)).astype(int)
    return Grid.regular(
        shape.tolist(), spacing_mm, like.axes @ ((low + high - spacing_mm * (shape - 1)) / 2), like.axes
    )


def _scores(here: Level, there: Level) -> np.ndarray:
    """For every shift, how alike the two are (1 alike, 0 as unlike as chance), less where little is shown by both."""
    fixed, moving = _described(here), _described(there)
    sides = Sides(
        fixed * here.known,
        moving * there.known,
        *(mask.astype(np.float32) for mask in (here.known, there.known, here.body, there.body)),
    )
    sums = shift_sums(sides)
    chance = _chance(fixed[:, here.body], moving[:, there.body])
    alike = 1 - sums.distance / np.maximum(sums.either, 1) / chance
    overlap = np.maximum(sums.fixed_seen / here.body.sum(), sums.moving_seen / there.body.sum())
    return np.where(overlap >= LEAST_OVERLAP, alike * np.sqrt(np.clip(overlap, 0, 1)), -np.inf)


def _described(level: Level) -> np.ndarray:
    return mind.descriptors(level.data, 1, mind.contrast_floor(level.data, level.body, 1, QUIET))


def _chance(fixed: np.ndarray, moving: np.ndarray) -> float:
    """The mean squared distance of descriptors (C, N) and (C, M) that have nothing to do with each other."""
    variance = fixed.var(axis=1) + moving.var(axis=1)
    return float((variance + (fixed.mean(axis=1) - moving.mean(axis=1)) ** 2).sum())


def _peaks(scores: np.ndarray) -> Iterator[tuple[int, ...]]:
    """The best shift, the best at least APART voxels from it, and so on; shifts wrap round."""
    left = scores.copy()
    for _ in range(TRIED):
        index = np.unravel_index(int(left.argmax()), left.shape)
        if not np.isfinite(left[index]):
            return
        yield tuple(int(i) for i in index)
        near = [np.arange(i - APART + 1, i + APART) % n for i, n in zip(index, left.shape)]
        left[np.ix_(*near)] = -np.inf
