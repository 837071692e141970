"""What a groupwise registration gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from homolog.space.transforms import Affine, Transform

COMMON = "common"


@dataclass(frozen=True)
class GroupStep:
    """A line of the trace: the state before a step.

    stage       "linear", or the spacing of the splines' controls, as "50 mm"
    energy_mm   the root mean square distance of matches in the common space, weighted by the squares of their weights
    spread_mm   the mean distance of landmarks to their centroids, where landmarks were given
    """

    stage: str
    step: int
    energy_mm: float
    spread_mm: float | None = None


@dataclass(frozen=True)
class Fit:
    """How an image fits into its group.

    matches      with all other images
    inliers      those taken for right at the end
    residual_mm  how far apart the ends of those lie in the common space, root mean square; NaN where there are none
    scatter_mm   the scale c1 of right matches' distances (Maxwell), astray_mm that of wrong ones, c2
    share        of right matches, by the mixture
    doubts       why the image should not be believed to fit
    """

    space: str
    matches: int
    inliers: int
    residual_mm: float
    scatter_mm: float
    astray_mm: float
    share: float
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Group:
    """Maps of all images to their common space.

    common_from_image  one an image, from its space to "common"
    linear             the same after the linear stage
    fits               one an image
    trace              the steps, in order
    histograms         {"linear", "end"} -> (images, bins) counts of matches by their distance, of 1 mm each
    weights            (pair of images) -> (M,) 0 to 1, how sure each match is right
    stopped            "converged", or "max_steps"
    """

    common_from_image: tuple[Transform, ...]
    linear: tuple[Affine, ...]
    fits: tuple[Fit, ...]
    trace: tuple[GroupStep, ...]
    histograms: dict[str, np.ndarray]
    weights: dict[tuple[int, int], np.ndarray]
    seconds: float
    stopped: Literal["converged", "max_steps"]
