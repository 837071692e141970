"""What every engine asks: where a given start would begin, and whether a map that was found should be believed."""

from __future__ import annotations

import numpy as np

from homolog.errors import BadInput, SpaceMismatch
from homolog.pairwise.scales import Agreement, Scale
from homolog.space import fit
from homolog.space.prepared import Prepared
from homolog.space.transforms import Affine, Transform

# Chosen on patients 0 to 9 and real pairs, checked on others: docs/methods/linear.md.
# A right map is a peak: with the patient this far away along an axis, the pictures are less alike by this much.
ELSEWHERE_MM, PEAK = 48.0, 0.06
# No adult is so many times longer or shorter than another along any axis.
MOST_STRETCH = 1.8


def elsewhere(scale: Scale, moving_from_fixed: Affine | Transform) -> float:
    """How alike the pictures are at most with one patient moved away along an axis; no overlap is no likeness."""
    fixed = moving_from_fixed.fixed
    ways = ELSEWHERE_MM * np.vstack((np.eye(3), -np.eye(3)))
    maps = [moving_from_fixed @ Affine(_shift(way), fixed, fixed) for way in ways]
    return float(np.nan_to_num(np.fmax.reduce([scale.agreement(one).similarity for one in maps])))


def no_peak(here: float, away: float) -> str | None:
    """What is to be said where the pictures are not more alike than with one patient elsewhere."""
    if here - away >= PEAK:
        return None
    return (
        f"the pictures are hardly more alike ({here:.2f}) than with one patient "
        f"{ELSEWHERE_MM / 10:.0f} cm away ({away:.2f}): wrong anatomy, or too little in common?"
    )


def too_stretched(matrix: np.ndarray) -> str | None:
    """What is to be said of a map (4, 4) that makes one patient much longer than the other."""
    stretch = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    times = max(float(stretch[0]), 1 / max(float(stretch[2]), 1e-9))
    return (
        f"one patient came out {times:.1f} times as long as the other along an axis" if times > MOST_STRETCH else None
    )


def linearised(start: Transform, fixed: Prepared, moving: Prepared) -> Affine:
    """The affine map nearest to a map over the fixed patient."""
    if (start.fixed, start.moving) != (fixed.space, moving.space):
        raise SpaceMismatch(
            f"the start {start.describe()}, but the images are '{fixed.space}' (fixed) and '{moving.space}' (moving)",
            "invert it, or name the images' spaces: read(path, space=...)",
        )
    if isinstance(start, Affine):
        return start
    points = fixed.body_points()
    return fit.affine(points, start.apply(points), fixed=fixed.space, moving=moving.space)


def require_overlap(agreement: Agreement) -> None:
    if not agreement.overlap > 0:
        raise BadInput(
            "under the start that was given the two images do not overlap", "leave the start out: one is searched for"
        )


def _shift(way_mm: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = way_mm
    return matrix
