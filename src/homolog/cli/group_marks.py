"""How near landmarks of a group come to each other: of all, of each image, of each landmark."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from homolog.groupwise.group import COMMON
from homolog.metrics.landmarks import spread
from homolog.space.keypoints import Keypoints
from homolog.space.transforms import Transform

log = logging.getLogger("homolog")


def shared_marks(marks: Sequence[Keypoints | None]) -> list[Keypoints | None]:
    """The same without what stands in one image only, which is said once."""
    times = Counter(name for each in marks if each is not None for name in each.name or ())
    lonely = [name for name, count in times.items() if count < 2]
    if lonely:
        log.warning("landmarks in one image only, left out: %s", ", ".join(lonely[:10]))
    return [
        each if each is None or each.name is None else each.by_name([name for name in each.name if times[name] > 1])
        for each in marks
    ]


def carried_marks(marks: Sequence[Keypoints | None], maps: Sequence[Transform] | None) -> list[Keypoints | None]:
    """Landmarks in the common space; without maps, where the scanners' headers put them."""
    out: list[Keypoints | None] = []
    for n, each in enumerate(marks):
        if each is None:
            out.append(None)
        else:
            position = each.position if maps is None else np.asarray(maps[n].apply(each.position))
            out.append(each.moved_to(position, COMMON))
    return out


def spread_of(common: Sequence[Keypoints | None], fitting: Sequence[bool]) -> dict[str, Any]:
    """The spread of the landmarks of the images that fit."""
    return asdict(spread([each for each, fits in zip(common, fitting) if each is not None and fits]))


def distances(common: Sequence[Keypoints | None], fitting: Sequence[bool]) -> list[dict[str, float]]:
    """Of each image: landmark -> mm to that landmark's mean place among the images that fit."""
    centres = centroids([each for each, fits in zip(common, fitting) if each is not None and fits])
    out: list[dict[str, float]] = []
    for each in common:
        named = {} if each is None else dict(zip(_names(each), each.position))
        out.append({name: float(np.linalg.norm(at - centres[name])) for name, at in named.items() if name in centres})
    return out


def centroids(common: Sequence[Keypoints]) -> dict[str, np.ndarray]:
    """Landmark -> its mean place (3,) LPS mm, of those that stand in two images at least."""
    places: dict[str, list[np.ndarray]] = {}
    for each in common:
        for name, at in zip(_names(each), each.position):
            places.setdefault(name, []).append(at)
    return {name: np.mean(several, axis=0) for name, several in places.items() if len(several) > 1}


def by_landmark(of_images: Sequence[dict[str, float]], fitting: Sequence[bool]) -> dict[str, float]:
    """Landmark -> mean distance over the images that fit, the largest first."""
    listed: dict[str, list[float]] = {}
    for each, fits in zip(of_images, fitting):
        for name, mm in each.items() if fits else ():
            listed.setdefault(name, []).append(mm)
    means = {name: float(np.mean(several)) for name, several in listed.items()}
    return dict(sorted(means.items(), key=lambda entry: -entry[1]))


def _names(points: Keypoints) -> tuple[str, ...]:
    return points.name if points.name is not None else tuple(map(str, range(len(points))))
