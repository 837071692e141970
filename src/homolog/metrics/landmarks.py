"""How far landmarks are from where they should be: the error of one map, and the spread of a group in common space."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial.distance import pdist

from homolog.errors import BadInput, SpaceMismatch
from homolog.space.keypoints import Keypoints
from homolog.space.pairing import pair_by_name
from homolog.space.sampling import sampled_displacement
from homolog.space.transforms import Displacement, Transform

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TargetError:
    """Distances in the moving patient between carried fixed landmarks and their counterparts.

    names                             of the landmarks, or None where they were paired by row
    error_mm                          one a landmark
    mean_mm, median_mm, p95_mm, max_mm  NaN where there is no landmark
    """

    names: tuple[str, ...] | None
    error_mm: tuple[float, ...]
    mean_mm: float
    median_mm: float
    p95_mm: float
    max_mm: float


@dataclass(frozen=True)
class Spread:
    """How far the same landmarks of several patients lie from each other in their common space.

    centroid_mm   mean over landmarks and images of the distance to the landmark's mean position (FROG's figure)
    median_mm     the median of those distances
    max_mm        the largest of them
    pairwise_mm   mean over landmarks and pairs of images of the distance between the two; about sqrt(2 N / (N - 1))
                  times the first for N images. All four are NaN where no landmark stands in two images
    landmarks     how many stand in at least two images
    images        how many were given
    left_out      names of the landmarks that stand in one image only
    """

    centroid_mm: float
    median_mm: float
    max_mm: float
    pairwise_mm: float
    landmarks: int
    images: int
    left_out: tuple[str, ...]


def target_error(fixed: Keypoints, moving: Keypoints, moving_from_fixed: Transform | None) -> TargetError:
    """The target registration error: how far a map carries fixed landmarks from the moving ones.

    Landmarks with names meet by name (those in one list only are left out, with a warning), others by row.

    moving_from_fixed  the map, or None to measure how far the two already are in the frames they were stored in
    """
    if moving_from_fixed is not None:
        _require_ends(fixed, moving, moving_from_fixed)
    fixed, moving = pair_by_name(fixed, moving)
    arrived = fixed.position if moving_from_fixed is None else moving_from_fixed.apply(fixed.position)
    return _summary(fixed.name, np.linalg.norm(arrived - moving.position, axis=1))


def target_error_learn2reg(fixed: Keypoints, moving: Keypoints, moving_from_fixed: Displacement) -> TargetError:
    """The error as Learn2Reg counts it: the field read off by a cubic spline, zero beyond its grid.

    There both pictures lie on the field's grid and the error in voxels is multiplied by its spacing, which on
    straight axes is the distance in mm.
    """
    _require_ends(fixed, moving, moving_from_fixed)
    fixed, moving = pair_by_name(fixed, moving)
    voxels = moving_from_fixed.grid.voxel(fixed.position).T
    vectors = sampled_displacement(moving_from_fixed, moving_from_fixed.grid).astype(np.float64)
    shifts = np.stack([map_coordinates(vectors[..., axis], voxels, order=3) for axis in range(3)], axis=1)
    return _summary(fixed.name, np.linalg.norm(fixed.position + shifts - moving.position, axis=1))


def spread(groups: Sequence[Keypoints]) -> Spread:
    """How well a groupwise registration brings landmarks together.

    groups  one landmark set an image, all carried to the common space already; paired by name, or by row where no
            set has names. A landmark need not stand in every image.
    """
    _require_one_space(groups)
    positions, left_out = _by_landmark(groups)
    if not positions:
        return Spread(nan, nan, nan, nan, 0, len(groups), left_out)
    centroid = np.concatenate([np.linalg.norm(points - points.mean(axis=0), axis=1) for points in positions])
    return Spread(
        centroid_mm=float(centroid.mean()),
        median_mm=float(np.median(centroid)),
        max_mm=float(centroid.max()),
        pairwise_mm=float(np.concatenate([pdist(points) for points in positions]).mean()),
        landmarks=len(positions),
        images=len(groups),
        left_out=left_out,
    )


def _summary(names: tuple[str, ...] | None, error_mm: np.ndarray) -> TargetError:
    if not error_mm.size:
        return TargetError(names, (), nan, nan, nan, nan)
    return TargetError(
        names=names,
        error_mm=tuple(error_mm.tolist()),
        mean_mm=float(error_mm.mean()),
        median_mm=float(np.median(error_mm)),
        p95_mm=float(np.percentile(error_mm, 95)),
        max_mm=float(error_mm.max()),
    )


def _by_landmark(groups: Sequence[Keypoints]) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """For each landmark its positions (n, 3) in the n >= 2 images that have it, and the names of the lonely ones."""
    places: dict[str, list[np.ndarray]] = {}
    for group, names in zip(groups, _names(groups)):
        for name, position in zip(names, group.position):
            places.setdefault(name, []).append(position)
    lonely = tuple(name for name, positions in places.items() if len(positions) < 2)
    if lonely:
        logger.warning("left out, being in one image only: %s", ", ".join(lonely[:10]))
    return [np.array(positions) for positions in places.values() if len(positions) > 1], lonely


def _names(groups: Sequence[Keypoints]) -> list[tuple[str, ...]]:
    """The names of every set, or its row numbers where none has names."""
    if any(group.name is None for group in groups):
        if any(group.name is not None for group in groups):
            raise BadInput("some landmark sets have names and some have none", "give all of them names, or none")
        if len({len(group) for group in groups}) > 1:
            sizes = ", ".join(str(len(group)) for group in groups)
            raise BadInput(f"landmark sets without names pair by row, but hold {sizes} points", "give them names")
    names = [group.name if group.name is not None else tuple(map(str, range(len(group)))) for group in groups]
    for image, each in enumerate(names):
        double = [name for name, times in Counter(each).items() if times > 1]
        if double:
            raise BadInput(f"landmark {double[0]!r} stands more than once in set {image}", "rename one of them")
    return names


def _require_ends(fixed: Keypoints, moving: Keypoints, transform: Transform) -> None:
    if (fixed.space, moving.space) != (transform.fixed, transform.moving):
        raise SpaceMismatch(
            f"the landmarks are of '{fixed.space}' and '{moving.space}', but the map {transform.describe()}",
            "give the fixed landmarks first, or invert the map",
        )


def _require_one_space(groups: Sequence[Keypoints]) -> None:
    spaces = dict.fromkeys(group.space for group in groups)
    if len(spaces) > 1:
        raise SpaceMismatch(
            f"the spread of landmarks needs one common space, these are in {', '.join(map(repr, spaces))}",
            "carry each set to the common space first: carry(points, common_from_image)",
        )
