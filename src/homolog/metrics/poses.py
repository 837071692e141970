"""How far the pose that was found for X-rays is from the true one, in the ways that are published; of many, how often.

Names follow van de Kraats et al., IEEE TMI 24(9), 2005: target error (mTRE), projection error (mPE), reprojection
distance (mRPE). Translations are those of a pivot in the body: the shift of the matrices' own origin, which may lie a
metre away from the patient, would mix the rotation's error into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import Protocol

import numpy as np

from homolog.errors import BadInput, GridMismatch
from homolog.space import se3
from homolog.space.camera import Camera

WITHIN_MM = (1.0, 2.0, 5.0, 10.0)
PERCENTILES = (25, 50, 75, 95)
# A pose that far off is no pose: what is measured after it would be of another place.
GROSS_MM = 10.0


class Placed(Protocol):
    """A camera, and where it stands: camera_from_world is (4, 4), the world here the patient's LPS mm."""

    @property
    def camera(self) -> Camera: ...

    @property
    def camera_from_world(self) -> np.ndarray: ...


@dataclass(frozen=True)
class ViewError:
    """One X-ray's.

    projection_mm        mean distance of projected points on the detector (mPE); infinite where the pose that was found
                         has a point behind the source
    projection_px        the same in pixels
    reprojection_mm      mean distance of true points from the rays of the projected ones (mRPE): the error in the
                         patient that this X-ray can show
    rotation_degrees     the angle between both poses
    in_plane_mm          the shift of the pivot along the detector
    depth_mm             along the optical axis; positive: found farther from the source than it is
    translation_mm       both together
    double_geodesic_mm   root of (focal / 2 * angle)^2 + translation^2
    """

    projection_mm: float
    projection_px: float
    reprojection_mm: float
    rotation_degrees: float
    in_plane_mm: float
    depth_mm: float
    translation_mm: float
    double_geodesic_mm: float


@dataclass(frozen=True)
class PoseError:
    """A pose held against the true one.

    target_mean_mm, target_median_mm, target_max_mm  over points and views: how far points of the patient are, in the
                                                     camera's frame, from where they truly are (mTRE)
    points                                           how many
    views                                            one an X-ray
    """

    target_mean_mm: float
    target_median_mm: float
    target_max_mm: float
    points: int
    views: tuple[ViewError, ...]


@dataclass(frozen=True)
class Rates:
    """Many poses.

    count        of them
    within       (mm, share) for each limit: those whose target error is at most that
    percentiles  (percent, mm) of the target errors; NaN where there is no pose
    gross        how many are farther off than gross_mm
    gross_mm     the limit
    trusted      of the gross ones, how many were called GOOD; None where nobody judged them
    """

    count: int
    within: tuple[tuple[float, float], ...]
    percentiles: tuple[tuple[int, float], ...]
    gross: int
    gross_mm: float
    trusted: int | None


def pose_error(
    points_mm: np.ndarray, found: Sequence[Placed], true: Sequence[Placed], *, pivot_mm: np.ndarray | None = None
) -> PoseError:
    """The error of a pose, over points (N, 3) of the patient, LPS mm.

    found, true  the same X-rays in the same order
    pivot_mm     (3,) the point whose shift is the translation; the points' mean where none is given
    """
    points = _points(points_mm)
    _require_same_views(found, true)
    pivot = points.mean(axis=0) if pivot_mm is None else np.asarray(pivot_mm, float)
    targets = [target_errors(points, f.camera_from_world, t.camera_from_world) for f, t in zip(found, true)]
    everything = np.concatenate(targets)
    return PoseError(
        target_mean_mm=float(everything.mean()),
        target_median_mm=float(np.median(everything)),
        target_max_mm=float(everything.max()),
        points=len(points),
        views=tuple(_view_error(points, f, t, pivot) for f, t in zip(found, true)),
    )


def target_errors(points_mm: np.ndarray, found_from_patient: np.ndarray, true_from_patient: np.ndarray) -> np.ndarray:
    """(N,) mm: how far two poses (4, 4) put points (N, 3) of the patient from each other."""
    return np.linalg.norm(_moved(found_from_patient - true_from_patient, points_mm), axis=1)


def projection_offsets(points_mm: np.ndarray, found: Placed, true: Placed) -> np.ndarray:
    """(N, 2) pixels (column, row) from where points (N, 3) are seen to where a found pose puts them.

    Infinite where it puts them behind the source; NaN where they truly lie there, and nothing is seen.
    """
    seen = true.camera.project(points_mm, true.camera_from_world)
    put = found.camera.project(points_mm, found.camera_from_world)
    put[np.isnan(put) & ~np.isnan(seen)] = inf
    return put - seen


def reprojection_distances(points_mm: np.ndarray, found: Placed, true: Placed) -> np.ndarray:
    """(N,) mm: from points (N, 3), where they truly are, to the rays of the pixels where a found pose puts them."""
    points = _moved(true.camera_from_world, points_mm)
    pixels = found.camera.project(points_mm, found.camera_from_world)
    rays = true.camera.rays(pixels)
    directions = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    apart = np.linalg.norm(np.cross(points, directions), axis=1)
    return np.where(np.isnan(apart), inf, apart)


def double_geodesic_mm(rotation_degrees: float, translation_mm: float, focal_mm: float) -> float:
    """mm: both parts of a pose's error in one; a turn counts as what it moves half a focal length away."""
    return float(np.hypot(focal_mm / 2 * np.radians(rotation_degrees), translation_mm))


def rates(
    target_mm: Sequence[float],
    judgements: Sequence[str] | None = None,
    *,
    within_mm: Sequence[float] = WITHIN_MM,
    gross_mm: float = GROSS_MM,
) -> Rates:
    """How often poses are how good; what is not a number counts as infinitely far off.

    target_mm   one a pose: its mean target error
    judgements  one a pose: GOOD, CHECK or FAILED
    """
    errors = np.array([error if isfinite(error) else inf for error in target_mm], float)
    if judgements is not None and len(judgements) != len(errors):
        raise BadInput(f"{len(errors)} poses and {len(judgements)} judgements of them")
    gross = errors > gross_mm
    good = None if judgements is None else np.array([each == "GOOD" for each in judgements], bool)
    return Rates(
        count=len(errors),
        within=tuple((limit, float((errors <= limit).mean()) if len(errors) else nan) for limit in within_mm),
        percentiles=tuple((percent, _percentile(errors, percent)) for percent in PERCENTILES),
        gross=int(gross.sum()),
        gross_mm=gross_mm,
        trusted=None if good is None else int((gross & good).sum()),
    )


def _view_error(points: np.ndarray, found: Placed, true: Placed, pivot: np.ndarray) -> ViewError:
    offsets = projection_offsets(points, found, true)
    row, column = true.camera.pitch_mm
    shift = _moved(found.camera_from_world - true.camera_from_world, pivot[None])[0]
    turn = float(np.degrees(se3.angle(found.camera_from_world, true.camera_from_world)))
    length = float(np.linalg.norm(shift))
    return ViewError(
        projection_mm=_mean(np.linalg.norm(offsets * (column, row), axis=1)),
        projection_px=_mean(np.linalg.norm(offsets, axis=1)),
        reprojection_mm=float(reprojection_distances(points, found, true).mean()),
        rotation_degrees=turn,
        in_plane_mm=float(np.hypot(*shift[:2])),
        depth_mm=float(shift[2]),
        translation_mm=length,
        double_geodesic_mm=double_geodesic_mm(turn, length, true.camera.focal_mm),
    )


def _moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Also by a difference of two poses, whose last column is a difference of shifts."""
    return np.asarray(points, float) @ matrix[:3, :3].T + matrix[:3, 3]


def _mean(distances: np.ndarray) -> float:
    """Of what the true camera sees."""
    known = distances[~np.isnan(distances)]
    return float(known.mean()) if len(known) else nan


def _percentile(errors: np.ndarray, percent: int) -> float:
    """Interpolated, but never between a number and infinity."""
    if not len(errors):
        return nan
    low, high = (float(np.percentile(errors, percent, method=way)) for way in ("lower", "higher"))
    return float(np.percentile(errors, percent)) if isfinite(high) else (low if low == high else inf)


def _points(points_mm: np.ndarray) -> np.ndarray:
    points = np.asarray(points_mm, float)
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise BadInput(f"a pose's error is measured at points (N, 3), got an array of {points.shape}")
    if not np.isfinite(points).all():
        raise BadInput("a pose's error is measured at finite points, some are not")
    return points


def _require_same_views(found: Sequence[Placed], true: Sequence[Placed]) -> None:
    if not found or len(found) != len(true):
        raise BadInput(f"poses of {len(found)} X-rays cannot be held against those of {len(true)}")
    for number, (one, other) in enumerate(zip(found, true), 1):
        if one.camera.size_px != other.camera.size_px:
            raise GridMismatch(
                f"X-ray {number} was aligned with {one.camera.size_px} pixels (rows, columns), its true camera has "
                f"{other.camera.size_px}",
                "compare poses of the very same picture",
            )
        if np.linalg.det(one.camera_from_world[:3, :3]) * np.linalg.det(other.camera_from_world[:3, :3]) < 0:
            raise BadInput(
                f"X-ray {number}: one of the two poses is of the mirrored picture, so no motion joins them",
                "compare poses of the very same picture",
            )
