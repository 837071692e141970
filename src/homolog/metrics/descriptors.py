"""How well descriptors tell the same place from others.

Each figure needs pairs of which it is known that they correspond (`matching.truth.correspondences`), and the map that
says so: a point beside the right one is no wrong one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from homolog.errors import BadInput, SpaceMismatch
from homolog.space.keypoints import Keypoints, Matches
from homolog.space.transforms import Transform

# Of pairs that correspond, the share that the threshold of FPR95 lets through.
TRUE_POSITIVES = 0.95
# mm in the moving patient: pairs nearer than this are no wrong ones, whether they correspond or not.
APART_MM = 16.0
# Hard pairs have scales no more than this many times each other, as those that correspond.
SCALE_RATIO = 1.3
# Draws in a row of which hardly any may be used before drawing is given up.
MOST_DRAWS = 200
# Distances held at once: 64 MB.
BLOCK = 2**23


@dataclass(frozen=True, eq=False)
class Case:
    """Two pictures' points with descriptors, the pairs that correspond, and the map between the pictures."""

    fixed: Keypoints
    moving: Keypoints
    correspondences: Matches
    moving_from_fixed: Transform

    def __post_init__(self) -> None:
        for points in (self.fixed, self.moving):
            if points.descriptors is None:
                raise BadInput(f"the points of '{points.space}' have no descriptors", "detect them with descriptors")
        ends = self.moving_from_fixed.fixed, self.moving_from_fixed.moving
        if (self.fixed.space, self.moving.space) != ends:
            raise SpaceMismatch(
                f"the points are of '{self.fixed.space}' and '{self.moving.space}', "
                f"but the map {self.moving_from_fixed.describe()}",
                "give the fixed points first, or invert the map",
            )


@dataclass(frozen=True)
class Discrimination:
    """How well the distance of descriptors tells pairs that correspond from pairs drawn at random.

    false_positives     the share of wrong pairs as near as 95 % of the right ones ("FPR95"), the mean over seeds
    false_positives_sd  the standard deviation over seeds
    average_precision   the area under precision over recall, right and wrong pairs being as many; its mean over seeds
    average_precision_sd
    pairs               how many each seed drew, half of them right
    seeds               how many times they were drawn
    """

    false_positives: float
    false_positives_sd: float
    average_precision: float
    average_precision_sd: float
    pairs: int
    seeds: int


@dataclass(frozen=True)
class Retrieval:
    """Where the right point stands among all points of the moving picture, the nearest descriptor first.

    first              how often it comes first ("recall@1")
    average_precision  the mean of one over its place
    queries            how many points were looked for
    """

    first: float
    average_precision: float
    queries: int


def discrimination(
    cases: Sequence[Case], *, hard: bool = False, pairs: int = 100_000, seeds: int = 5, apart_mm: float = APART_MM
) -> Discrimination:
    """FPR95 and average precision of pairs drawn at random, half of them right; all cases count by their right pairs.

    hard      wrong pairs have equal signs and similar scales, as right ones do
    apart_mm  how far wrong pairs lie apart, at least
    """
    if pairs < 2 or seeds < 1:
        raise BadInput(f"{pairs} pairs of {seeds} seeds cannot be drawn", "pairs=100000, seeds=5")
    if not sum(len(case.correspondences) for case in cases):
        return Discrimination(nan, nan, nan, nan, 0, seeds)
    drawn = [_pairs(cases, pairs // 2, np.random.default_rng(seed), hard, apart_mm) for seed in range(seeds)]
    found = np.array([(false_positive_rate(*both), average_precision(*both)) for both in drawn])
    (rate, precision), (rate_sd, precision_sd) = found.mean(axis=0), found.std(axis=0, ddof=seeds > 1)
    return Discrimination(float(rate), float(rate_sd), float(precision), float(precision_sd), pairs // 2 * 2, seeds)


def retrieval(cases: Sequence[Case]) -> Retrieval:
    """How well each corresponding fixed point finds its own among all of the moving picture's."""
    places = np.concatenate([np.zeros(0), *(_places(case) for case in cases)])
    if not len(places):
        return Retrieval(nan, nan, 0)
    return Retrieval(float(np.mean(places == 1)), float(np.mean(1 / places)), len(places))


def false_positive_rate(right: np.ndarray, wrong: np.ndarray, true_positives: float = TRUE_POSITIVES) -> float:
    """The share of wrong distances that are no larger than 95 % of the right ones are."""
    if not (len(right) and len(wrong)):
        return nan
    rank = int(np.ceil(true_positives * len(right))) - 1
    threshold = np.partition(right, rank)[rank]
    return float(np.mean(wrong <= threshold))


def average_precision(right: np.ndarray, wrong: np.ndarray) -> float:
    """The mean, over right ones, of the share of right ones among all that are as near."""
    if not len(right):
        return nan
    right, wrong = np.sort(right), np.sort(wrong)
    as_near = np.searchsorted(right, right, "right")
    return float(np.mean(as_near / (as_near + np.searchsorted(wrong, right, "right"))))


# ---------------------------------------------------------------------------------------------------------------------


def _pairs(
    cases: Sequence[Case], count: int, rng: np.random.Generator, hard: bool, apart_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (count,) of right pairs, and (count,) of wrong ones."""
    sizes = np.array([len(case.correspondences) for case in cases])
    shares = rng.multinomial(count, sizes / sizes.sum())
    right, wrong = [], []
    for case, share in zip(cases, shares):
        if share:
            rows, columns = case.correspondences.pairs[rng.integers(len(case.correspondences), size=share)].T
            right.append(_distances(case, rows, columns))
            wrong.append(_distances(case, *_wrong_pairs(case, share, rng, hard, apart_mm)))
    return np.concatenate(right), np.concatenate(wrong)


def _wrong_pairs(
    case: Case, count: int, rng: np.random.Generator, hard: bool, apart_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of points that have a counterpart in the other picture, each with another one's counterpart."""
    moved = np.asarray(case.moving_from_fixed.apply(case.fixed.position)).reshape(-1, 3)
    rows, columns = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for _ in range(MOST_DRAWS):
        some, others = (rng.choice(side, size=2 * count) for side in case.correspondences.pairs.T)
        kept = np.linalg.norm(moved[some] - case.moving.position[others], axis=1) > apart_mm
        if hard:
            kept &= _alike(case, some, others)
        rows, columns = np.concatenate((rows, some[kept])), np.concatenate((columns, others[kept]))
        if len(rows) >= count:
            return rows[:count], columns[:count]
    raise BadInput(
        f"hardly any two points of '{case.fixed.space}' and '{case.moving.space}' make a wrong pair: there are "
        f"{len(case.correspondences)} that correspond, and wrong ones are to lie {apart_mm:g} mm apart",
        "more points, or a smaller apart_mm",
    )


def _alike(case: Case, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(n,) bool: pairs with equal signs and similar scales, where they have either."""
    alike = np.ones(len(rows), bool)
    if case.fixed.sign is not None and case.moving.sign is not None:
        alike &= case.fixed.sign[rows] == case.moving.sign[columns]
    if case.fixed.scale is not None and case.moving.scale is not None:
        own, other = case.fixed.scale[rows], case.moving.scale[columns]
        alike &= np.maximum(own, other) <= SCALE_RATIO * np.minimum(own, other)
    return alike


def _distances(case: Case, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    assert case.fixed.descriptors is not None and case.moving.descriptors is not None
    fixed, moving = case.fixed.descriptors, case.moving.descriptors

    def some(part: np.ndarray) -> np.ndarray:
        return np.linalg.norm(fixed[rows[part]].astype(np.float64) - moving[columns[part]], axis=1)

    return _in_blocks(some, len(rows), fixed.shape[1])


def _places(case: Case) -> np.ndarray:
    """(M,) for each correspondence, which place its moving point takes; equally near ones before it do not count."""
    assert case.fixed.descriptors is not None and case.moving.descriptors is not None
    rows, columns = case.correspondences.pairs.T
    moving = case.moving.descriptors.astype(np.float64)
    middle = moving.mean(axis=0) if len(moving) else 0.0
    fixed, moving = case.fixed.descriptors[rows] - middle, moving - middle
    squares = (moving**2).sum(axis=1)
    # what float64 may have lost; the same vector twice is as near as once
    rounding = 1e-13 * (squares.max(initial=0) + (fixed**2).sum(axis=1).max(initial=0))

    def some(part: np.ndarray) -> np.ndarray:
        # less |a|^2, which is the same for all
        apart = squares - 2 * (fixed[part] @ moving.T)
        own = apart[np.arange(len(part)), columns[part]] - rounding
        return 1 + (apart < own[:, None]).sum(axis=1)

    return _in_blocks(some, len(rows), len(moving))


def _in_blocks(work: Callable[[np.ndarray], np.ndarray], count: int, width: int) -> np.ndarray:
    """(count,) of what `work` makes of the numbers 0 .. count - 1, given it in parts that each need `width` as much."""
    parts = np.array_split(np.arange(count), 1 + count * max(width, 1) // BLOCK)
    return np.concatenate([work(part) for part in parts])
