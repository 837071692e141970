"""Which keypoints of two patients correspond, where the map between the patients is known."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from homolog.errors import BadInput, SpaceMismatch
from homolog.matching.configs import MatchConfig
from homolog.matching.nearest import comparable
from homolog.space.keypoints import Keypoints, Matches
from homolog.space.transforms import Transform


def correspondences(
    fixed: Keypoints,
    moving: Keypoints,
    moving_from_fixed: Transform,
    *,
    within_mm: float,
    mutual: bool = True,
    same_sign: bool = True,
    scale_ratio: float | None = 1.3,
) -> Matches:
    """Pairs that lie within so many mm of each other in the moving patient; `distance` is how far, in mm.

    mutual       each of the two is the other's nearest among those that may correspond; else each fixed point's nearest
    same_sign    only dark with dark and bright with bright, where both sides have signs
    scale_ratio  the larger of two scales over the smaller, at most, where both sides have scales
    """
    if (moving_from_fixed.fixed, moving_from_fixed.moving) != (fixed.space, moving.space):
        raise SpaceMismatch(
            f"the map {moving_from_fixed.describe()}, but the points are in '{fixed.space}' and '{moving.space}'",
            "invert it, or name the points' spaces",
        )
    if not within_mm > 0:
        raise BadInput(f"points correspond within {within_mm} mm", "within_mm=2")
    moved = np.asarray(moving_from_fixed.apply(fixed.position))
    parts = [np.zeros((0, 3))]
    for here, there in comparable(fixed, moving, MatchConfig(same_sign=same_sign)):
        if len(here) and len(there):
            near = cKDTree(moved[here]).sparse_distance_matrix(
                cKDTree(moving.position[there]), within_mm, output_type="ndarray"
            )
            parts.append(np.stack((here[near["i"]], there[near["j"]], near["v"]), axis=1))
    pairs = np.concatenate(parts)
    rows, columns, apart = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64), pairs[:, 2]
    if scale_ratio is not None and fixed.scale is not None and moving.scale is not None:
        own, other = fixed.scale[rows], moving.scale[columns]
        kept = np.maximum(own, other) <= scale_ratio * np.minimum(own, other)
        rows, columns, apart = rows[kept], columns[kept], apart[kept]
    chosen = _nearest_of_each(rows, columns, apart)
    if mutual:
        chosen = np.intersect1d(chosen, _nearest_of_each(columns, rows, apart))
    chosen = chosen[np.argsort(rows[chosen])]
    return Matches(np.stack((rows[chosen], columns[chosen]), axis=1), apart[chosen])


def _nearest_of_each(own: np.ndarray, other: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Which pairs are the nearest of their own point; of equally near ones the first."""
    order = np.lexsort((other, apart, own))
    first = np.r_[True, np.diff(own[order]) != 0] if len(order) else np.zeros(0, bool)
    return order[first]
