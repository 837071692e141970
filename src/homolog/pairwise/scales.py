"""Two pictures at one spacing, and how alike they are under a map."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from homolog.kernels import mind
from homolog.pairwise.start import QUIET
from homolog.space.grid import Grid
from homolog.space.prepared import Level, Prepared, warped
from homolog.space.transforms import Affine, Transform

# The fine levels have about this many voxels in the fixed picture's box, between these spacings in mm: more of them
# doubled the time and changed the map by less than the patients differ.
FINE_VOXELS = 600_000
FINE_MM = (2.0, 4.0)
# MIND's patches have 3 voxels across: 10 mm at the fine levels, the size of what can be found again.
MIND_STEP = 1
# How far a step moves the patient is looked at in this many places.
PLACES = 500


@dataclass(frozen=True)
class Agreement:
    """How alike the pictures are under a map.

    similarity  1 - d / d0: d the mean Hamming distance over the patients where both are known, d0 what it is when the
                same codes meet in a random order; NaN without overlap
    overlap     the share of the patient, of the one shown more of, that the other picture shows
    """

    similarity: float
    overlap: float

    @property
    def score(self) -> float:
        """Similarity, less where little overlaps: any two edges can be laid on each other."""
        return self.similarity * self.overlap**0.5 if self.overlap > 0 else -1.0


@dataclass(frozen=True, eq=False)
class Scale:
    """Both pictures at one spacing, each on its own grid, and the fixed one's codes."""

    fixed: Level
    moving: Level
    fixed_codes: np.ndarray
    moving_floor: float
    coarse: bool

    @classmethod
    def of(cls, fixed: Prepared, moving: Prepared, spacing_mm: float, *, coarse: bool) -> Scale:
        here, there = fixed.level(spacing_mm), moving.level(spacing_mm)
        return cls(here, there, mind.codes(here.data, MIND_STEP, _floor(here)), _floor(there), coarse)

    @cached_property
    def patient_mm(self) -> np.ndarray:
        """(N, 3) LPS mm: some hundred places all over the fixed patient."""
        voxels = np.argwhere(self.fixed.body)
        return self.fixed.grid.world(voxels[:: max(1, len(voxels) // PLACES)])

    @property
    def name(self) -> str:
        return f"{self.fixed.grid.spacing_mm[0]:.3g} mm"

    def moved(self, moving_from_fixed: np.ndarray | Transform) -> tuple[Level, np.ndarray]:
        """The moving picture on the fixed grid under a matrix (4, 4) or any map, and its codes."""
        level = warped(self.moving, moving_from_fixed, self.fixed.grid)
        return level, mind.codes(level.data, MIND_STEP, self.moving_floor)

    def agreement(self, moving_from_fixed: np.ndarray | Transform) -> Agreement:
        level, codes = self.moved(moving_from_fixed)
        both = self.fixed.known & level.known
        counted = both & (self.fixed.body | level.body)
        if not counted.any():
            return Agreement(float("nan"), 0.0)
        one, other = self.fixed_codes[counted], codes[counted]
        mixed = other[np.random.default_rng(0).permutation(len(other))]
        chance = float(mind.hamming(one, mixed).mean())
        similarity = 1 - float(mind.hamming(one, other).mean()) / max(chance, 1e-6)
        # the moving patient's voxels are counted on the fixed grid, where each stands for det of its own
        moving_size = self.moving.body.sum() / self._growth(moving_from_fixed)
        fixed_seen = (self.fixed.body & level.known).sum() / max(self.fixed.body.sum(), 1)
        moving_seen = (level.body & self.fixed.known).sum() / max(moving_size, 1)
        return Agreement(similarity, float(min(1.0, max(fixed_seen, moving_seen))))

    def _growth(self, moving_from_fixed: np.ndarray | Transform) -> float:
        """How many times larger the moving patient is, by volume."""
        if isinstance(moving_from_fixed, np.ndarray):
            return float(abs(np.linalg.det(moving_from_fixed[:3, :3])))
        return float(np.median(np.abs(np.linalg.det(moving_from_fixed.jacobian(self.patient_mm)))))


def _floor(level: Level) -> float:
    return mind.contrast_floor(level.data, level.body, MIND_STEP, QUIET)


def fine_spacing(grid: Grid) -> float:
    return float(np.clip((grid.size * grid.voxel_volume_mm3 / FINE_VOXELS) ** (1 / 3), *FINE_MM))


def farthest_mm(one: np.ndarray, other: np.ndarray, points: np.ndarray) -> float:
    """How far apart two maps (4, 4) carry one of points (N, 3) at most."""
    apart = Affine(one).apply(points) - Affine(other).apply(points)
    return float(np.linalg.norm(apart, axis=1).max())
