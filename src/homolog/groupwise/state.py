"""How well the group lies together now: a mixture for each image, and the trace of the way there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from homolog.groupwise.edges import Cloud
from homolog.groupwise.group import GroupStep
from homolog.kernels import half_edges, mixture
from homolog.space.keypoints import Keypoints

# mm: matches that lie further off than this are counted at this distance.
FARTHEST_MM = 2000.0
BINS = int(FARTHEST_MM / mixture.BIN_MM)
OnStep = Callable[[str, float, float], None]


@dataclass
class Mixtures:
    """The mixture of each image, improved from where it last was."""

    figures: list[tuple[float, float, float]]
    counts: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    @classmethod
    def of(cls, images: int) -> Mixtures:
        return cls([mixture.START] * images)

    def refresh(self, cloud: Cloud, position: np.ndarray) -> None:
        self.counts = counted(cloud, position)
        self.figures = [mixture.fit(row, figures) for row, figures in zip(self.counts, self.figures)]

    def curves(self) -> np.ndarray:
        """(N, 3) as the kernels take them."""
        return np.array([mixture.curve(figures) for figures in self.figures])


def counted(cloud: Cloud, position: np.ndarray) -> np.ndarray:
    """(N, BINS): how many of each image's matches lie how far apart."""
    return half_edges.histogram(position, cloud.edges, len(cloud), BINS)


@dataclass
class Trace:
    """The steps so far, with landmarks that are carried along to be looked at, and never looked at otherwise."""

    landmarks: Marks | None
    on_step: OnStep | None
    most: int
    steps: list[GroupStep] = field(default_factory=list)

    def add(self, stage: str, step: int, energy_mm: float, marks_mm: np.ndarray | None) -> None:
        spread = None if self.landmarks is None or marks_mm is None else self.landmarks.spread_mm(marks_mm)
        self.steps.append(GroupStep(stage, step, energy_mm, spread))
        if self.on_step is not None:
            self.on_step(stage, min(1.0, len(self.steps) / self.most), energy_mm)


@dataclass(frozen=True, eq=False)
class Marks:
    """Landmarks of all images in one array.

    position  (L, 3) mm, image after image
    start     (N + 1,) the rows of each image
    place     (L,) which landmark each is
    """

    position: np.ndarray
    start: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, landmarks: Sequence[Keypoints | None]) -> Marks:
        """By their names, or by row where they have none."""
        names = [_names(points) for points in landmarks]
        known = {name: n for n, name in enumerate(sorted({name for each in names for name in each}))}
        counts = [len(each) for each in names]
        places = [points.position for points in landmarks if points is not None]
        return cls(
            np.concatenate([*places, np.zeros((0, 3))]),
            np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            np.array([known[name] for each in names for name in each], np.int64),
        )

    def spread_mm(self, position: np.ndarray) -> float | None:
        """The mean distance to the centroid of the same landmark, of those that stand in two images or more."""
        counts = np.bincount(self.place)
        if not len(counts) or counts.max() < 2:
            return None
        sums = np.stack([np.bincount(self.place, position[:, c]) for c in range(3)], axis=1)
        middle = sums / np.maximum(counts, 1)[:, None]
        apart = np.linalg.norm(position - middle[self.place], axis=1)
        return float(apart[counts[self.place] > 1].mean())


def _names(points: Keypoints | None) -> list[str]:
    if points is None:
        return []
    return list(points.name) if points.name is not None else [str(row) for row in range(len(points))]
