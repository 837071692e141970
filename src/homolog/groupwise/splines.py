"""The deformable stage: splines of all images on one lattice, drawn by matches that are likely right.

Each step moves every control by a share of the weighted mean of what the points around it are pulled by, and takes the
mean over images away, so that the common space stays where it is. A lattice whose controls have moved far is laid
down and a new one begun over it: each of them cannot fold, so their composition cannot. Lattices get finer from level
to level.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from homolog.errors import BadInput
from homolog.groupwise.configs import FrogConfig
from homolog.groupwise.edges import Cloud
from homolog.groupwise.linear import REFRESH
from homolog.groupwise.state import Mixtures, Trace
from homolog.kernels import half_edges, splatting
from homolog.kernels.arrays import beside
from homolog.kernels.splatting import Placed
from homolog.space.grid import Grid
from homolog.space.transforms import as_numpy

# The box of all points is enlarged by this before a lattice is laid over it.
ENLARGED = 1.2
# A level is not ended before this many steps.
FEWEST_STEPS = 20
# mm: nor does ten steps' gain count that is less than this; identical images begin with no energy at all.
LEAST_GAIN_MM = 1e-3
# The share of a step that is so small that nothing moves: a lattice that fails at it ends its level.
LEAST_RATE = 1e-6
# Controls of all images, of some 100 bytes each.
MOST_CONTROLS = 200_000_000


@dataclass(frozen=True, eq=False)
class Layer:
    """Splines of all images on one lattice, in the order in which they are applied.

    coefficients  (N, I, J, K, 3) float64 mm
    """

    coefficients: np.ndarray
    grid: Grid


@dataclass(frozen=True, eq=False)
class Drawn:
    """Where points have come to lie, and by which splines."""

    position: np.ndarray
    layers: tuple[Layer, ...]
    converged: bool


@dataclass(frozen=True, eq=False)
class _Lattice:
    """A lattice over the points as they lie when it is begun; arrays are NumPy's or torch's, as the matches are."""

    grid: Grid
    base: Any
    points: Placed
    marks: Placed | None
    marks_base: Any

    def at(self, coefficients: Any) -> Any:
        return splatting.displaced(coefficients, self.points, self.base)

    def marks_at(self, coefficients: Any) -> np.ndarray | None:
        if self.marks is None or self.marks_base is None:
            return None
        return as_numpy(splatting.displaced(coefficients, self.marks, self.marks_base))


def drawn(
    cloud: Cloud,
    position: np.ndarray,
    marks: np.ndarray | None,
    mixtures: Mixtures,
    config: FrogConfig,
    trace: Trace,
    free: np.ndarray,
    centred: bool,
) -> Drawn:
    """Splines that bring matches together, from points (P, 3) mm that lie about right.

    marks    (L, 3) mm: landmarks of the trace, as they lie now
    free     (N,) bool: images that move
    centred  whether the mean of their splines is held to be nothing (the gauge)
    """
    work = _Work(cloud, mixtures, config, trace, free, centred)
    layers: list[Layer] = []
    converged = True
    for number in range(config.levels):
        level = _Level(config.spacing_mm / 2**number, config.rate, config)
        while not level.is_over:
            lattice = _laid(cloud, position, marks, trace, level.spacing_mm)
            coefficients = _pushed(lattice, level, work)
            if coefficients is not None:
                position, marks = as_numpy(lattice.at(coefficients)), lattice.marks_at(coefficients)
                layers.append(_layer(coefficients, lattice.grid))
        converged = converged and level.step < config.steps
    return Drawn(position, tuple(layers), converged)


@dataclass(frozen=True, eq=False)
class _Work:
    """What all levels share."""

    cloud: Cloud
    mixtures: Mixtures
    config: FrogConfig
    trace: Trace
    free: np.ndarray
    centred: bool


@dataclass
class _Level:
    """How far a level is, on whichever of its lattices."""

    spacing_mm: float
    rate: float
    config: FrogConfig
    energies: list[float] = field(default_factory=list)

    @property
    def step(self) -> int:
        return len(self.energies)

    @property
    def is_over(self) -> bool:
        settled = _has_settled(self.energies, self.config.tolerance)
        return self.step >= self.config.steps or settled or self.rate < LEAST_RATE


def _pushed(lattice: _Lattice, level: _Level, work: _Work) -> Any:
    """Coefficients on a lattice, as far as the level or the bound lets them go; None if not even a step.

    A step beyond the bound leaves no row in the trace: it is still to be made, on the next lattice. If it is the first
    of its lattice, the next one is half as long.
    """
    coefficients, begun = splatting.unmoved(lattice.points), level.step
    while not level.is_over:
        here = lattice.at(coefficients)
        if level.step % REFRESH == 0:
            work.mixtures.refresh(work.cloud, here)
        pulled = half_edges.pulled(here, work.cloud.edges, work.mixtures.curves(), work.config.least_weight)
        sums = splatting.splatted(pulled.pull, lattice.points)
        further = splatting.advanced(coefficients, sums, level.rate, work.free, work.centred, work.config.hold)
        if _is_far(further, lattice.grid, work.config.most_coefficient):
            if level.step == begun:
                level.rate /= 2
            break
        work.trace.add(f"{level.spacing_mm:g} mm", level.step, pulled.energy, lattice.marks_at(coefficients))
        level.energies.append(pulled.energy)
        coefficients = further
    return coefficients if level.step > begun else None


def _laid(cloud: Cloud, position: np.ndarray, marks: np.ndarray | None, trace: Trace, spacing_mm: float) -> _Lattice:
    grid = lattice_over(position, spacing_mm)
    if len(cloud) * grid.size > MOST_CONTROLS:
        raise BadInput(
            f"splines of {spacing_mm:g} mm want {grid.size} controls for each of {len(cloud)} images",
            "spacing_mm=120, or fewer levels",
        )
    # the matches say where the work is done
    where = cloud.edges.rows
    points = splatting.placed(grid.voxel(position), cloud.start, grid.shape).beside(where)
    base = beside(position, where)
    if marks is None or trace.landmarks is None:
        return _Lattice(grid, base, points, None, None)
    held = splatting.placed(_within(grid, marks), trace.landmarks.start, grid.shape).beside(where)
    return _Lattice(grid, base, points, held, beside(marks, where))


def lattice_over(position: np.ndarray, spacing_mm: float) -> Grid:
    """Controls over the box of all points, enlarged; along each axis the spacing that fits a whole number of times."""
    low, high = position.min(axis=0), position.max(axis=0)
    middle, size = (low + high) / 2, np.maximum(ENLARGED * (high - low), 1.0)
    steps = np.maximum(1, np.round(size / spacing_mm)).astype(int)
    spacing = size / steps
    return Grid.regular((steps + 3).tolist(), spacing.tolist(), middle - size / 2 - spacing)


def _within(grid: Grid, marks: np.ndarray) -> np.ndarray:
    """Landmarks in steps of the lattice; those beyond it move as its rim does."""
    return np.clip(grid.voxel(marks), 1.0, np.array(grid.shape) - 2.0)


def _is_far(coefficients: Any, grid: Grid, most: float) -> bool:
    return bool((splatting.farthest(coefficients) > most * grid.spacing_mm).any())


def _has_settled(energies: list[float], tolerance: float) -> bool:
    """Whether ten steps made the energy less by no more than that share."""
    count = len(energies)
    if tolerance <= 0 or count < FEWEST_STEPS or count % REFRESH:
        return False
    before, now = energies[-REFRESH - 1], energies[-1]
    return before - now <= max(tolerance * before, LEAST_GAIN_MM)


def _layer(coefficients: Any, grid: Grid) -> Layer:
    return Layer(np.ascontiguousarray(as_numpy(coefficients)[..., :3]).reshape(len(coefficients), *grid.shape, 3), grid)
