"""Where to begin: every shift of one patient over the other at once, whatever the two headers say of their places."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from homolog.kernels import mind
from homolog.kernels.shift_search import Sides, correlations, shift_sums
from homolog.space.grid import Grid
from homolog.space.prepared import Level, Prepared, warped

# The search is made with this many voxels along the longest side: 10 mm for a body, which a block match can mend.
ACROSS = 40
# A start must show at least this share of one patient in the other's picture.
LEAST_OVERLAP = 0.3
LOOKS = ("pattern", "brightness")
# How many of the best shifts of each look are tried, and how many search voxels they are apart at least.
TRIED = 2
APART = 3
# Organs lie centimetres apart in two patients: looks are smoothed by this standard deviation, in search voxels.
SMOOTH_PATTERN, SMOOTH_BRIGHTNESS = 0.8, 1.0
# Brightness counts up to this many standard deviations of the patient's own: metal is no more than bone.
BRIGHTEST = 3.0
# Below this share of the patient's mean contrast nothing is a pattern: see `mind.contrast_floor`.
QUIET = 0.01


@dataclass(frozen=True, eq=False)
class Start:
    """A place to begin from.

    matrix  (4, 4) float64 moving_from_fixed, LPS mm
    score   how good it looked from afar, at most 1; starts of one look compare
    look    what was looked at, "pattern" or "brightness"
    """

    matrix: np.ndarray
    score: float
    look: str


def starts(fixed: Prepared, moving: Prepared) -> list[Start]:
    """Places to begin from: the shifts that look best from afar, by their patterns and by their brightness.

    Patterns are found again in another modality, but one lumbar spine's look like the next patient's one vertebra
    lower; brightness tells lungs from bowel.
    """
    spacing = _search_spacing(fixed.picture.grid, moving.picture.grid)
    here, there = fixed.level(spacing), moving.level(spacing)
    found = [start for turn in _turns(here.grid, there.grid) for start in _best_shifts(here, there, turn, spacing)]
    found.sort(key=lambda start: -start.score)
    best = [start for look in LOOKS for start in [one for one in found if one.look == look][:TRIED]]
    return _unlike(best, APART * spacing)


def _unlike(found: list[Start], apart_mm: float) -> list[Start]:
    """Each start that is not as good as the same as one before it."""
    kept: list[Start] = []
    for start in found:
        if all(np.abs((start.matrix - other.matrix)[:3]).max() >= apart_mm / 3**0.5 for other in kept):
            kept.append(start)
    return kept


def _search_spacing(fixed: Grid, moving: Grid) -> float:
    """mm: coarse enough for ACROSS voxels along the longer of the two, and no finer than either picture."""
    longest = max(float(np.ptp(grid.corners() @ grid.axes, axis=0).max()) for grid in (fixed, moving))
    return max(longest / ACROSS, float(fixed.spacing_mm.min()), float(moving.spacing_mm.min()))


def _turns(fixed: Grid, moving: Grid) -> Iterator[np.ndarray]:
    """Rotations (3, 3) worth trying: none, and the one that lays the moving scanner's axes on the fixed one's."""
    yield np.eye(3)
    turn = moving.axes @ fixed.axes.T
    # a left-handed scan on a right-handed one would be a mirror image of the patient
    if np.linalg.det(turn) > 0 and np.trace(turn) < 3 - 1e-4:
        yield turn


def _best_shifts(here: Level, there: Level, turn: np.ndarray, spacing_mm: float) -> list[Start]:
    """The best shifts after a turn about the moving picture's centre."""
    centre = there.grid.corners().mean(axis=0)
    turned_grid = _covering(here.grid, centre + (there.grid.corners() - centre) @ turn, spacing_mm)
    about = np.eye(4)
    about[:3, :3] = turn
    about[:3, 3] = centre - turn @ centre
    turned = warped(there, about, turned_grid)
    result = []
    for look, scores in _scores(here, turned).items():
        for index in _peaks(scores):
            steps = [i if i < n else i - size for i, n, size in zip(index, turned_grid.shape, scores.shape)]
            shift = np.eye(4)
            # fixed voxel v lies at turned voxel v + steps
            shift[:3, 3] = turned_grid.world(np.array(steps, float)) - here.grid.origin_mm
            result.append(Start(about @ shift, float(scores[index]), look))
    return result


def _covering(like: Grid, points_mm: np.ndarray, spacing_mm: float) -> Grid:
    """Along the axes of a grid, the voxels round some points."""
    along = points_mm @ like.axes
    low, high = along.min(axis=0), along.max(axis=0)
    shape = np.maximum(1, np.ceil((high - low) / spacing_mm - 1e-6)).astype(int)
    return Grid.regular(
        shape.tolist(), spacing_mm, like.axes @ ((low + high - spacing_mm * (shape - 1)) / 2), like.axes
    )


def _scores(here: Level, there: Level) -> dict[str, np.ndarray]:
    """For each look and every shift, how alike the two are (1 alike, 0 as unlike as chance), less where little is
    shown by both."""
    patterns, brightness = _sides(here, there, _patterns), _sides(here, there, _brightness)
    sums = shift_sums(patterns)
    chance = _chance(patterns.fixed[:, here.body], patterns.moving[:, there.body])
    alike = 1 - sums.distance / np.maximum(sums.either, 1) / chance
    overlap = np.maximum(sums.fixed_seen / here.body.sum(), sums.moving_seen / there.body.sum())
    seen = np.sqrt(np.clip(overlap, 0, 1))
    enough = overlap >= LEAST_OVERLAP
    return {
        "pattern": np.where(enough, alike * seen, -np.inf),
        "brightness": np.where(enough, correlations(brightness) * seen, -np.inf),
    }


def _sides(here: Level, there: Level, look: Callable[[Level], np.ndarray]) -> Sides:
    masks = (mask.astype(np.float32) for mask in (here.known, there.known, here.body, there.body))
    return Sides(look(here) * here.known, look(there) * there.known, *masks)


def _patterns(level: Level) -> np.ndarray:
    """(12, I, J, K) MIND descriptors."""
    found = mind.descriptors(level.data, 1, mind.contrast_floor(level.data, level.body, 1, QUIET))
    return gaussian_filter(found, (0, *3 * (SMOOTH_PATTERN,)))


def _brightness(level: Level) -> np.ndarray:
    """(1, I, J, K) in the patient's own standard deviations."""
    inside = level.data[level.body]
    shown = (level.data - np.median(inside)) / max(float(inside.std()), 1e-6)
    return gaussian_filter(np.clip(shown, -BRIGHTEST, BRIGHTEST), SMOOTH_BRIGHTNESS)[None]


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
