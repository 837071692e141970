"""3D-SIFT's candidates: extrema of the differences of neighbouring levels, found between voxels and between levels."""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import combinations

import numpy as np

from homolog.features.configs import Sift3dConfig
from homolog.features.sift3d_pyramid import LEVELS, Base, Level, climb, for_windows, sigma_of
from homolog.kernels import extrema
from homolog.space.keypoints import Keypoints

Levels = dict[tuple[int, int], Level]
# Offsets of more than this are another place's, in voxels and levels.
FARTHEST = 1.0


def candidates(base: Base, config: Sift3dConfig) -> tuple[Keypoints, Levels]:
    """All extrema, in the order of the published program's rows; and their levels, made ready for windows."""
    parts = [_keypoints(base, np.zeros((0, 3)), np.zeros(0), np.zeros(0))]
    kept: Levels = {}
    four: deque[Level] = deque(maxlen=4)
    for octave, level, picture in climb(base, config):
        if level < 0:
            four.clear()
        four.append(picture)
        if 0 <= level < LEVELS:
            kept[octave, level] = for_windows(picture, sigma_of(octave, level, config), base)
        if len(four) == 4:
            parts.append(_extrema_of(list(four), sigma_of(octave, level - 2, config), base, config))
    return _joined(parts), kept


def _extrema_of(levels: list[Level], sigma_mm: float, base: Base, config: Sift3dConfig) -> Keypoints:
    """The extrema of the middle one of three differences."""
    data = [level.data for level in levels]
    least = config.peak_threshold * extrema.largest(data[1], data[2])
    places = extrema.extrema(data, least)
    places = places[np.lexsort(places.T)]
    around = neighbours(data, places)
    offset = np.zeros((len(places), 4)) if base.published else offsets(around)
    slope, _ = _slopes_and_bends(around)
    value = around[:, 0, 0, 0, 0] + (slope * offset).sum(axis=1) / 2
    voxels = (places + offset[:, :3]) * levels[1].step
    return _keypoints(base, voxels, sigma_mm * 2 ** (offset[:, 3] / LEVELS), value)


def neighbours(levels: list[np.ndarray], places: np.ndarray) -> np.ndarray:
    """(N, 3, 3, 3, 3) float64: the middle difference of four levels round each place, along x, y, z, and in scale.

    Index 0 is the place itself, 1 one ahead, and -1 (2) one behind, so that steps are indices. Only steps along two
    of the four at most are filled in.
    """
    around = np.zeros((len(places), 3, 3, 3, 3))
    for step in np.ndindex(3, 3, 3, 3):
        if np.count_nonzero(step) <= 2:
            x, y, z, s = (-1 if n == 2 else n for n in step)
            at = tuple((places + np.array([x, y, z])).T)
            around[(slice(None), *step)] = levels[1 + s][at].astype(np.float64) - levels[2 + s][at]
    return around


def offsets(around: np.ndarray) -> np.ndarray:
    """(N, 4) voxels along x, y, z, and levels: where the quadratic through the neighbours has its extremum.

    Where that is a saddle, or more than a voxel away, each axis for itself: the parabola through a place and the two
    beside it, which are both less extreme, has its own within half a voxel.
    """
    slope, bend = _slopes_and_bends(around)
    hessian = np.zeros((len(around), 4, 4))
    hessian[:, range(4), range(4)] = bend
    for a, b in combinations(range(4), 2):
        both = partial(_stepped, around, a, b)
        mixed = (both(1, 1) - both(1, -1) - both(-1, 1) + both(-1, -1)) / 4
        hessian[:, a, b] = hessian[:, b, a] = mixed
    # the sign of its leading minors: all one for a minimum, and for a maximum from minus to plus by turns
    minors = np.stack([np.linalg.det(hessian[:, :n, :n]) for n in (2, 3, 4)], axis=-1)
    minors[:, 1] *= np.sign(bend[:, 0])
    whole = (minors > 0).all(axis=1)
    found = -slope / bend
    quadratic = -np.linalg.solve(hessian[whole], slope[whole, :, None])[..., 0]
    near = (np.abs(quadratic) <= FARTHEST).all(axis=1)
    found[np.flatnonzero(whole)[near]] = quadratic[near]
    return found


def _slopes_and_bends(around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and second central differences, (N, 4) each."""
    ahead = np.stack([_stepped(around, a, a, 1, 0) for a in range(4)], axis=-1)
    behind = np.stack([_stepped(around, a, a, -1, 0) for a in range(4)], axis=-1)
    return (ahead - behind) / 2, ahead - 2 * around[:, 0, 0, 0, 0, None] + behind


def _stepped(around: np.ndarray, a: int, b: int, step_a: int, step_b: int) -> np.ndarray:
    step = np.zeros(4, int)
    step[a] += step_a
    step[b] += step_b
    return np.asarray(around[(slice(None), *step)])


def _keypoints(base: Base, voxels: np.ndarray, scale: np.ndarray, value: np.ndarray) -> Keypoints:
    """Points of the patient; a difference above 0 is a place brighter than what lies round it."""
    return Keypoints(
        base.picture.grid.world(voxels),
        base.picture.space,
        scale=scale,
        response=np.abs(value) * base.strength,
        sign=np.where(value > 0, 1, -1).astype(np.int8),
    )


def _joined(parts: list[Keypoints]) -> Keypoints:
    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    position, scale, response, sign = map(column, ("position", "scale", "response", "sign"))
    return Keypoints(position, parts[0].space, scale=scale, response=response, sign=sign)
