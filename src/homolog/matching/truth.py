"""Which keypoints of two patients correspond, where the map between the patients is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from homolog.matching.configs import MatchConfig
from homolog.matching.nearest import match, require_ends
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
    require_ends(fixed, moving, moving_from_fixed)
    config = MatchConfig(mutual=mutual, same_sign=same_sign, scale_ratio=scale_ratio, within_mm=within_mm)
    # points are matched by where they lie
    fixed = replace(fixed, descriptors=np.asarray(moving_from_fixed.apply(fixed.position)).reshape(-1, 3))
    return match(fixed, replace(moving, descriptors=moving.position), config, moving_from_fixed=moving_from_fixed)
