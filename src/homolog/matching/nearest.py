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

    With `either`, their weight is 1 where each is the other's nearest, else a half.

    moving_from_fixed  with `within_mm`: only moving points that near to where the map puts a fixed one are looked at
    """
    _require_comparable(fixed, moving)
    _require_config(config)
    forwards, backwards = _nearest(fixed, moving, config, _prior(fixed, moving, config, moving_from_fixed))
    if config.either and not config.mutual:
        return _either(forwards, backwards, config)
    rows = np.flatnonzero(_passing(forwards, config))
    columns = forwards.index[rows, 0]
    if config.mutual:
        kept = (backwards.index[columns, 0] == rows) & _passing(backwards, config)[columns]
        rows, columns = rows[kept], columns[kept]
    return Matches(np.stack((rows, columns), axis=1), forwards.distance[rows, 0])


def _either(forwards: Nearest, backwards: Nearest, config: MatchConfig) -> Matches:
    """What either side found, each pair once."""
    found = []
    for side, order in ((forwards, (0, 1)), (backwards, (1, 0))):
        rows = np.flatnonzero(_passing(side, config))
        ends = rows, side.index[rows, 0]
        found.append(np.stack((*(ends[n] for n in order), side.distance[rows, 0]), axis=1))
    both = np.concatenate(found)
    pairs, first, count = np.unique(both[:, :2].astype(np.int64), axis=0, return_index=True, return_counts=True)
    return Matches(pairs, both[first, 2], count / 2)


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
    forwards, backwards = Nearest.nothing(len(fixed)), Nearest.nothing(len(moving))
    fixed_scale, moving_scale, ratio = _scales(fixed, moving, config)
    for here, there in comparable(fixed, moving, config):
        if not (len(here) and len(there)):
            continue
        if moved is None:
            here, there, start, stop = _bands(fixed_scale, moving_scale, here, there, ratio)
            found = neighbours.nearest_in_bands(fixed.descriptors, moving.descriptors, here, there, start, stop)
        else:
            expected = np.column_stack((moved[here], fixed_scale[here]))
            seen = np.column_stack((moving.position[there], moving_scale[there]))
            gates = (config.within_mm or np.inf, ratio)
            found = neighbours.nearest_around(
                fixed.descriptors, moving.descriptors, here, there, expected, seen, *gates
            )
        for whole, part, rows in ((forwards, found[0], here), (backwards, found[1], there)):
            whole.index[rows], whole.distance[rows] = part.index, part.distance
    return forwards, backwards


def _scales(fixed: Keypoints, moving: Keypoints, config: MatchConfig) -> tuple[np.ndarray, np.ndarray, float]:
    """(N,) and (M,) mm, and how many times the smaller the larger of two may be; all alike where nothing limits it."""
    if config.scale_ratio is None or fixed.scale is None or moving.scale is None:
        return np.ones(len(fixed)), np.ones(len(moving)), 1.0
    return np.asarray(fixed.scale, np.float64), np.asarray(moving.scale, np.float64), config.scale_ratio


def _bands(
    fixed_scale: np.ndarray, moving_scale: np.ndarray, here: np.ndarray, there: np.ndarray, ratio: float
) -> tuple[np.ndarray, ...]:
    """Both sides' rows in the order of their scales, and for each of the first side the range it may have."""
    here = here[np.argsort(fixed_scale[here], kind="stable")]
    there = there[np.argsort(moving_scale[there], kind="stable")]
    own, other = fixed_scale[here], moving_scale[there]
    # as products on both sides, so that a pair at the very limit passes whichever of the two is the fixed one
    start = np.searchsorted(ratio * other, own, "left")
    return here, there, start, np.searchsorted(other, ratio * own, "right")


def _passing(found: Nearest, config: MatchConfig) -> np.ndarray:
    """(N,) bool: whether the nearest is near enough, and enough nearer than the next."""
    first, second = found.distance.T
    passing = found.index[:, 0] >= 0
    if config.most_distance is not None:
        passing &= first <= config.most_distance
    if config.ratio is not None:
        passing &= first <= config.ratio * second
    return np.asarray(passing)


def _prior(
    fixed: Keypoints, moving: Keypoints, config: MatchConfig, moving_from_fixed: Transform | None
) -> np.ndarray | None:
    """(N, 3) LPS mm: where the prior map puts the fixed points, if there is one to go by."""
    if config.within_mm is None:
        return None
    if moving_from_fixed is None:
        raise BadInput("how near points lie to where a map puts them needs that map", "match(..., moving_from_fixed=T)")
    require_ends(fixed, moving, moving_from_fixed)
    return np.asarray(moving_from_fixed.apply(fixed.position))


def require_ends(fixed: Keypoints, moving: Keypoints, moving_from_fixed: Transform) -> None:
    if (moving_from_fixed.fixed, moving_from_fixed.moving) != (fixed.space, moving.space):
        raise SpaceMismatch(
            f"the map {moving_from_fixed.describe()}, but the points are in '{fixed.space}' and '{moving.space}'",
            "invert it, or name the points' spaces",
        )


def require_finite(points: Keypoints, *columns: str) -> None:
    for column in columns:
        values = getattr(points, column)
        if values is not None and not np.isfinite(values).all():
            raise BadInput(f"the column '{column}' of the points of '{points.space}' holds NaN or infinite values")


def require_scale_ratio(scale_ratio: float | None) -> None:
    if scale_ratio is not None and not scale_ratio >= 1:
        raise BadInput(f"the larger of two scales is to be {scale_ratio} times the smaller", "scale_ratio=1.3")


def _require_comparable(fixed: Keypoints, moving: Keypoints) -> None:
    widths = []
    for points, what in ((fixed, "fixed"), (moving, "moving")):
        if points.descriptors is None:
            raise BadInput(f"the {what} points ('{points.space}') have no descriptors", "detect them with descriptors")
        require_finite(points, "descriptors", "position", "scale")
        widths.append(points.descriptors.shape[1])
    if widths[0] != widths[1] and len(fixed) and len(moving):
        raise BadInput(
            f"descriptors of '{fixed.space}' have {widths[0]} numbers, those of '{moving.space}' {widths[1]}",
            "detect both with the same method",
        )


def _require_config(config: MatchConfig) -> None:
    require_scale_ratio(config.scale_ratio)
    if config.ratio is not None and not 0 < config.ratio <= 1:
        raise BadInput(f"the nearest is to be {config.ratio} times as far as the next one", "ratio=0.9")
    if config.most_distance is not None and not config.most_distance >= 0:
        raise BadInput(f"descriptors are to be at most {config.most_distance} apart", "most_distance=0.5")
    if config.within_mm is not None and not config.within_mm > 0:
        raise BadInput(f"points are looked for within {config.within_mm} mm", "within_mm=20")
