"""Keypoints whose descriptors are each other's nearest, exactly, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from homolog.errors import BadInput, SpaceMismatch
from homolog.kernels import neighbours
from homolog.kernels.neighbours import Nearest
from homolog.matching.configs import MatchConfig
from homolog.space.keypoints import Keypoints, Matches
from homolog.space.transforms import Transform


def match(
    fixed: Keypoints,
    moving: Keypoints,
    config: MatchConfig = MatchConfig(),
    *,
    moving_from_fixed: Transform | None = None,
) -> Matches:
    """The pairs that pass all of the config's tests, in the order of the fixed rows.

    moving_from_fixed  with `within_mm`: only moving points that near to where the map puts a fixed one are looked at
    """
    _require_comparable(fixed, moving)
    _require_config(config)
    forwards, backwards = _nearest(fixed, moving, config, _prior(fixed, moving, config, moving_from_fixed))
    rows = np.flatnonzero(_passing(forwards, config))
    columns = forwards.index[rows, 0]
    if config.mutual:
        kept = (backwards.index[columns, 0] == rows) & _passing(backwards, config)[columns]
        rows, columns = rows[kept], columns[kept]
    return Matches(np.stack((rows, columns), axis=1), forwards.distance[rows, 0])


def comparable(fixed: Keypoints, moving: Keypoints, config: MatchConfig) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of either side, of equal sign where that is asked for and known."""
    if not config.same_sign or fixed.sign is None or moving.sign is None:
        yield np.arange(len(fixed)), np.arange(len(moving))
        return
    for sign in np.union1d(fixed.sign, moving.sign):
        yield np.flatnonzero(fixed.sign == sign), np.flatnonzero(moving.sign == sign)


def _nearest(
    fixed: Keypoints, moving: Keypoints, config: MatchConfig, moved: np.ndarray | None
) -> tuple[Nearest, Nearest]:
    """The two nearest of every fixed point, and of every moving one, among those that pass the gates."""
    assert fixed.descriptors is not None and moving.descriptors is not None
    forwards, backwards = _nothing(len(fixed)), _nothing(len(moving))
    for here, there in comparable(fixed, moving, config):
        if not (len(here) and len(there)):
            continue
        if moved is None:
            here, there, start, stop = _bands(fixed, moving, here, there, config)
            found = neighbours.nearest_in_bands(fixed.descriptors[here], moving.descriptors[there], start, stop)
        else:
            offsets, candidates = _lists(fixed, moving, here, there, config, moved)
            found = neighbours.nearest_listed(fixed.descriptors[here], moving.descriptors[there], offsets, candidates)
        for whole, part, own, other in ((forwards, found[0], here, there), (backwards, found[1], there, here)):
            whole.distance[own] = part.distance
            whole.index[own] = np.where(part.index >= 0, other[part.index], -1)
    return forwards, backwards


def _bands(
    fixed: Keypoints, moving: Keypoints, here: np.ndarray, there: np.ndarray, config: MatchConfig
) -> tuple[np.ndarray, ...]:
    """Both sides' rows in the order of their scales, and for each of the first side the range it may have."""
    if config.scale_ratio is None or fixed.scale is None or moving.scale is None:
        return here, there, np.zeros(len(here), np.int64), np.full(len(here), len(there), np.int64)
    here = here[np.argsort(fixed.scale[here], kind="stable")]
    there = there[np.argsort(moving.scale[there], kind="stable")]
    own, other = fixed.scale[here], moving.scale[there]
    start = np.searchsorted(other, own / config.scale_ratio, "left")
    return here, there, start, np.searchsorted(other, own * config.scale_ratio, "right")


def _lists(
    fixed: Keypoints, moving: Keypoints, here: np.ndarray, there: np.ndarray, config: MatchConfig, moved: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each row `here`, which of `there` lie near enough to where the prior map puts it, of a fitting scale."""
    from scipy.spatial import cKDTree

    tree = cKDTree(moving.position[there])
    found = tree.query_ball_point(moved[here], config.within_mm, return_sorted=True)
    counts = np.array([len(row) for row in found], np.int64)
    candidates = np.fromiter((n for row in found for n in row), np.int64, int(counts.sum()))
    owner = np.repeat(np.arange(len(here)), counts)
    if config.scale_ratio is not None and fixed.scale is not None and moving.scale is not None:
        own, other = fixed.scale[here][owner], moving.scale[there][candidates]
        kept = np.maximum(own, other) <= config.scale_ratio * np.minimum(own, other)
        owner, candidates = owner[kept], candidates[kept]
    return np.r_[0, np.cumsum(np.bincount(owner, minlength=len(here)))], candidates


def _passing(found: Nearest, config: MatchConfig) -> np.ndarray:
    """(N,) bool: whether the nearest is near enough, and enough nearer than the next."""
    first, second = found.distance.T
    passing = found.index[:, 0] >= 0
    if config.most_distance is not None:
        passing &= first <= config.most_distance
    if config.ratio is not None:
        passing &= first <= config.ratio * second
    return np.asarray(passing)


def _nothing(count: int) -> Nearest:
    return Nearest(np.full((count, 2), -1, np.int64), np.full((count, 2), np.inf))


def _prior(
    fixed: Keypoints, moving: Keypoints, config: MatchConfig, moving_from_fixed: Transform | None
) -> np.ndarray | None:
    """(N, 3) LPS mm: where the prior map puts the fixed points, if there is one to go by."""
    if config.within_mm is None:
        return None
    if moving_from_fixed is None:
        raise BadInput("how near points lie to where a map puts them needs that map", "match(..., moving_from_fixed=T)")
    if (moving_from_fixed.fixed, moving_from_fixed.moving) != (fixed.space, moving.space):
        raise SpaceMismatch(
            f"the map {moving_from_fixed.describe()}, but the points are in '{fixed.space}' and '{moving.space}'",
            "invert it, or name the points' spaces",
        )
    return np.asarray(moving_from_fixed.apply(fixed.position))


def _require_comparable(fixed: Keypoints, moving: Keypoints) -> None:
    for points, what in ((fixed, "fixed"), (moving, "moving")):
        if points.descriptors is None:
            raise BadInput(f"the {what} points ('{points.space}') have no descriptors", "detect them with descriptors")
        if not np.isfinite(points.descriptors).all():
            raise BadInput(f"descriptors of the {what} points ('{points.space}') hold NaN or infinite values")
    assert fixed.descriptors is not None and moving.descriptors is not None
    lengths = [points.descriptors.shape[1] for points in (fixed, moving) if points.descriptors is not None]
    if lengths[0] != lengths[1] and len(fixed) and len(moving):
        raise BadInput(
            f"descriptors of '{fixed.space}' have {lengths[0]} numbers, those of '{moving.space}' {lengths[1]}",
            "detect both with the same method",
        )


def _require_config(config: MatchConfig) -> None:
    if config.ratio is not None and not 0 < config.ratio <= 1:
        raise BadInput(f"the ratio of the nearest's distance to the next one's is {config.ratio}", "ratio=0.9")
    if config.scale_ratio is not None and config.scale_ratio < 1:
        raise BadInput(f"the larger of two scales is {config.scale_ratio} times the smaller", "scale_ratio=1.3")
    if config.within_mm is not None and not config.within_mm > 0:
        raise BadInput(f"points are looked for within {config.within_mm} mm", "within_mm=20")
