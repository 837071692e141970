"""Drawn smooth and affine warps of a patient, with both directions known: the truth that registration is held to.

The smooth part is six steps. A step moves straight parallel lines as wholes: along themselves by any amount, sideways
by little. So it depends on two coordinates only, cannot fold however strong it is, and what undoes it depends on two
coordinates as well, which a fine spline holds to a micrometre. See docs/methods/deformations.md.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from math import isfinite

import numpy as np
from scipy.linalg import expm
from scipy.ndimage import spline_filter1d
from scipy.optimize import brentq
from scipy.spatial.transform import Rotation

from homolog.errors import BadInput, SpaceMismatch
from homolog.space import sampling
from homolog.space.grid import Grid
from homolog.space.transforms import Affine, BSpline, Transform, chain
from homolog.space.volume import Volume
from homolog.synth.configs import WarpConfig

log = logging.getLogger("homolog")

# What a draw may be wrong by, there and back: a tenth of the 0.05 mm that is promised, as it is measured by samples.
TOLERANCE_MM = 0.005
# Sideways coefficients, in control spacings. The slopes of a cubic B-spline's four pieces add up to 1.5 at most, so a
# row of the sideways derivative is at most 2 * 1.5 * 0.2 = 0.6 < 1: a contraction, and adding it to the identity
# gives a diffeomorphism of the plane whose determinant is at least 0.16. The smaller ones are for extreme strengths.
SIDEWAYS = (0.2, 0.1, 0.05, 0.02, 0.0)
# Nodes of an inverse's lattice to a control spacing, at first; its error falls with the cube of their number.
PER_CONTROL = 8
# 25 MB of coefficients a step, and the most controls that leave four nodes to a control spacing.
MOST_NODES_ACROSS = 1024
MOST_CONTROLS = 251
# Nodes are solved ten thousand times more exactly than the spline between them has to be.
NODE_TOLERANCE_MM = 5e-7
# Where a warp is measured: this many middles along each axis of the box.
MEASURED = 24
# The root mean square, over a cell, of a one-dimensional cubic B-spline with independent coefficients of variance one.
SPLINE_RMS = np.sqrt(151 / 315)
# The six axes of the icosahedron: the fewest directions whose fourth moments are those of the whole sphere, so that the
# steps together favour no direction of stretch.
_GOLDEN = (1 + 5**0.5) / 2
_LINES = np.array(
    [(0, 1, _GOLDEN), (0, 1, -_GOLDEN), (1, _GOLDEN, 0), (1, -_GOLDEN, 0), (_GOLDEN, 0, 1), (-_GOLDEN, 0, 1)]
) / np.hypot(1, _GOLDEN)
# (6, 3, 3): in the columns a line and two axes across it; each line lies in a plane of the frame, whose normal is one
_NORMALS = (_LINES == 0).astype(float)
FRAMES = np.stack((_LINES, _NORMALS, np.cross(_LINES, _NORMALS)), axis=2)


@dataclass(frozen=True, eq=False)
class DrawnWarp:
    """A warp and its inverse, both smooth and defined everywhere.

    moving_from_fixed, fixed_from_moving  the two directions
    error_mm  the largest distance from a point to itself, there and back, in both directions: at the nodes and middles
              of a lattice of 24 cells along each side of the grid's box
    """

    moving_from_fixed: Transform
    fixed_from_moving: Transform
    error_mm: float


def draw_warp(
    grid: Grid,
    rng: np.random.Generator,
    config: WarpConfig = WarpConfig(),
    *,
    fixed: str = "fixed",
    moving: str = "moving",
) -> DrawnWarp:
    """A warp of the patient on whose box of voxel edges `grid` lies; outside the box it goes on smoothly.

    It depends on that box alone, not on its voxels or their order. For a crop of the same patient, draw on the whole
    grid and use that warp: it is a map of the patient, not of the voxels.
    """
    _require_sensible(config, fixed, moving)
    box = _Box.around(grid)
    affine = _drawn_affine(box.centre_mm, rng, config)
    ends = {"fixed": fixed, "moving": moving}
    if config.strength_mm == 0:
        return _assembled(affine, [], [], box, **ends)
    noise = _drawn_noise(box, rng, config)
    for sideways in SIDEWAYS:
        steps = _steps_of_strength(noise, box, config.strength_mm, sideways)
        warp = _refined(affine, steps, box, exact=sideways == 0 or config.swelling == 0, **ends)
        if warp.error_mm <= TOLERANCE_MM:
            if sideways < SIDEWAYS[0]:
                log.warning("a warp of %g mm swells less than it was asked to: it stays exact", config.strength_mm)
            return warp
    raise BadInput(
        f"a warp of {config.strength_mm:g} mm on controls {config.control_spacing_mm:g} mm apart stretches the patient "
        f"so far that it comes back only to {warp.error_mm:.2g} mm",
        "ask for a smaller strength_mm or a larger control_spacing_mm",
    )


def warped_scan(
    scan: Volume,
    warp: DrawnWarp,
    *,
    outside: float,
    grid: Grid | None = None,
    interpolation: sampling.Interpolation | None = None,
) -> Volume:
    """The scan as the other patient's: what lies at a point of the scan is seen where the warp carries that point.

    A scan in the warp's fixed space comes out in its moving space, at `moving_from_fixed` of where it was (the voxels
    look it up through `fixed_from_moving`); one in the moving space comes out in the fixed space.

    grid     the voxels to fill in the other patient; default those of the scan, which may cut off what moved out
    outside  the value where the scan does not reach
    """
    back = warp.moving_from_fixed if scan.space == warp.moving_from_fixed.moving else warp.fixed_from_moving
    return sampling.warp(scan, back, grid or scan.grid, outside=outside, interpolation=interpolation)


# ---------------------------------------------------------------------------------------------------------------------
# The box


@dataclass(frozen=True, eq=False)
class _Box:
    """What a draw knows of a grid: nothing that depends on its voxels.

    centre_mm  (3,) LPS mm
    radius_mm  from the centre to the corners
    middles    (N, 3) LPS mm, the middles of 24 cells along each side
    nodes      (M, 3) LPS mm, their corners
    """

    centre_mm: np.ndarray
    radius_mm: float
    middles: np.ndarray
    nodes: np.ndarray

    @classmethod
    def around(cls, grid: Grid) -> _Box:
        cells = grid.with_spacing(grid.spacing_mm * np.array(grid.shape) / MEASURED)
        corners = grid.corners()
        radius_mm = float(np.linalg.norm(corners - corners.mean(axis=0), axis=1).max())
        return cls(corners.mean(axis=0), radius_mm, cells.points(), _cell_corners(cells))


def _cell_corners(cells: Grid) -> np.ndarray:
    ends = [np.arange(n + 1) - 0.5 for n in cells.shape]
    return cells.world(np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3))


# ---------------------------------------------------------------------------------------------------------------------
# What is drawn


@dataclass(frozen=True, eq=False)
class _Noise:
    """The controls of the six steps, before they are given a strength.

    lattices  six grids of (1, n, n) controls, the first axis along the lines that the step moves
    local     (6, 1, n, n, 3): along the lines and in their two cross directions; of such variance that, if nothing were
              limited, the steps together would move a point by 1 mm root mean square
    """

    lattices: tuple[Grid, ...]
    local: np.ndarray

    @property
    def spacing_mm(self) -> float:
        return float(self.lattices[0].spacing_mm[0])


def _drawn_affine(centre_mm: np.ndarray, rng: np.random.Generator, config: WarpConfig) -> Affine:
    """Turn, stretch and shift about the centre: A = exp(+-log_scale) R exp(E), E symmetric without trace."""
    axis, direction = _unit(rng.normal(size=3)), _unit(rng.normal(size=3))
    growth = config.log_scale * rng.choice((-1.0, 1.0))
    strain = rng.normal(size=(3, 3))
    strain = strain + strain.T - np.eye(3) * np.trace(strain) * 2 / 3
    rotation = Rotation.from_rotvec(np.radians(config.rotation_degrees) * axis).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3] = np.exp(growth) * rotation @ expm(config.shear * _unit(strain))
    matrix[:3, 3] = centre_mm + config.translation_mm * direction - matrix[:3, :3] @ centre_mm
    return Affine(matrix)


def _drawn_noise(box: _Box, rng: np.random.Generator, config: WarpConfig) -> _Noise:
    """Normal coefficients on six lattices that cover the box from every side."""
    n = _controls_across(box, config.control_spacing_mm)
    frames = Rotation.from_quat(rng.normal(size=4)).as_matrix() @ FRAMES
    lattices = tuple(_lattice(box.centre_mm, axes, n, config.control_spacing_mm) for axes in frames)
    shares = np.array([1.0, config.swelling, config.swelling])
    unit = shares / (SPLINE_RMS**2 * np.sqrt(len(frames) * (shares**2).sum()))
    while True:
        noise = _Noise(lattices, unit * rng.normal(size=(len(frames), 1, n, n, 3)))
        # a small box can lie where the field happens to vanish; blown up to its strength it would be torn: draw again
        if _rms_mm(_steps(noise, config.strength_mm, SIDEWAYS[0]), box.middles) > config.strength_mm / 3:
            return noise


def _controls_across(box: _Box, spacing_mm: float) -> int:
    """The size of the lattices: the sphere around the box, and two controls beyond it."""
    # rounded, as the corners of one and the same box differ in their last digits with the order of its voxels
    controls = 2 * int(np.ceil(round(box.radius_mm / spacing_mm, 6)) + 2) + 1
    if controls > MOST_CONTROLS:
        raise BadInput(
            f"control_spacing_mm {spacing_mm:g} is too fine for a box of {2 * box.radius_mm:.0f} mm across",
            f"use control_spacing_mm={2 * box.radius_mm / (MOST_CONTROLS - 7):.3g} or more",
        )
    return controls


def _lattice(centre_mm: np.ndarray, axes: np.ndarray, controls: int, spacing_mm: float) -> Grid:
    """(1, n, n) controls around the centre, in the plane across the line axes[:, 0]; along it one, which goes on."""
    origin_mm = centre_mm - axes[:, 1:].sum(axis=1) * spacing_mm * (controls - 1) / 2
    return Grid.regular((1, controls, controls), spacing_mm, origin_mm, axes)


# ---------------------------------------------------------------------------------------------------------------------
# The steps, and what undoes them


def _refined(affine: Affine, steps: Sequence[BSpline], box: _Box, *, exact: bool, **ends: str) -> DrawnWarp:
    """The steps and what undoes them, on lattices made finer until the measured error is small or they are too large.

    exact  whether the steps only move lines along themselves: then the same shift backwards undoes them
    """
    if exact:
        return _assembled(
            affine, steps, [replace(step, coefficients=-step.coefficients) for step in steps], box, **ends
        )
    finest = (MOST_NODES_ACROSS - 1) // (steps[0].grid.shape[1] + 3)
    per_control = min(PER_CONTROL, finest)
    while True:
        warp = _assembled(affine, steps, [_undoing(step, per_control) for step in steps], box, **ends)
        # a fifth finer than the cube says, so that the second lattice is the last one
        finer = int(np.ceil(1.2 * per_control * np.cbrt(warp.error_mm / TOLERANCE_MM)))
        if warp.error_mm <= TOLERANCE_MM or finer > finest:
            return warp
        per_control = finer


def _steps_of_strength(noise: _Noise, box: _Box, strength_mm: float, sideways: float) -> list[BSpline]:
    """The steps at the amplitude where they move the box's points by `strength_mm` root mean square."""

    def excess_mm(amplitude_mm: float) -> float:
        return _rms_mm(_steps(noise, amplitude_mm, sideways), box.middles) - strength_mm

    high = strength_mm
    while excess_mm(high) < 0:
        high *= 1.5
    return _steps(noise, brentq(excess_mm, 0.0, high, xtol=1e-12 * high, rtol=1e-12), sideways)


def _steps(noise: _Noise, amplitude_mm: float, sideways: float) -> list[BSpline]:
    """The six steps, first to last: free along the lines, within `sideways` control spacings across them."""
    local = amplitude_mm * noise.local
    most_mm = sideways * noise.spacing_mm
    # a soft limit: a hard one would leave flat patches of many equal controls
    local[..., 1:] = most_mm * np.tanh(local[..., 1:] / most_mm) if most_mm else 0.0
    return [BSpline(here @ lattice.axes.T, lattice) for here, lattice in zip(local, noise.lattices)]


def _undoing(step: BSpline, per_control: int) -> BSpline:
    """The step backwards, as the spline through its inverse displacement at the nodes of a finer lattice.

    A point comes from where its line was, so the sideways part is solved in the plane; the shift along the line is
    then read off there. The nodes contain the controls: what the inverse has in common with the step is held exactly.
    """
    axes, n = step.grid.axes, step.grid.shape[1]
    # the field is constant from one control beyond the lattice on, and lines move by less than half a spacing: what is
    # left is constant too, so that it does not matter that the prefilter mirrors the ends where the spline repeats them
    margin = 2 * per_control
    nodes = (n - 1) * per_control + 1 + 2 * margin
    fine_mm = step.grid.spacing_mm[1] / per_control
    origin_mm = step.grid.origin_mm - axes[:, 1:].sum(axis=1) * margin * fine_mm
    lattice = Grid.regular((1, nodes, nodes), (step.grid.spacing_mm[0], fine_mm, fine_mm), origin_mm, axes)
    arrived = lattice.points()
    start = _sideways_back(step, arrived)
    vectors = (start - step.apply(start)).reshape(1, nodes, nodes, 3)
    for axis in (1, 2):
        vectors = spline_filter1d(vectors, 3, axis=axis, output=np.float64, mode="mirror")
    return BSpline(vectors, lattice)


def _sideways_back(step: BSpline, arrived: np.ndarray) -> np.ndarray:
    """(N, 3) LPS mm: the points whose lines are carried to these: q <- q' - u(q), which contracts by 0.6 or better."""
    across = np.eye(3) - np.outer(step.grid.axes[:, 0], step.grid.axes[:, 0])
    sideways = replace(step, coefficients=step.coefficients @ across)
    start, open_ = arrived.copy(), np.arange(len(arrived))
    # 0.6^60 < 1e-13: nothing is left of any start
    for _ in range(60):
        missed = sideways.apply(start[open_]) - arrived[open_]
        start[open_] -= missed
        open_ = open_[np.abs(missed).max(axis=1) > NODE_TOLERANCE_MM]
        if not len(open_):
            break
    return start


# ---------------------------------------------------------------------------------------------------------------------
# Put together and measured


def _assembled(
    affine: Affine, steps: Sequence[BSpline], undone: Sequence[BSpline], box: _Box, *, fixed: str, moving: str
) -> DrawnWarp:
    """First the steps, then the affine part; and the same backwards."""
    moving_from_fixed = chain([affine, *reversed(steps)], fixed=fixed, moving=moving)
    fixed_from_moving = chain([*undone, affine.inverse()], fixed=moving, moving=fixed)
    points = np.concatenate((box.nodes, box.middles))
    there = _apart_mm(fixed_from_moving.apply(moving_from_fixed.apply(points)), points)
    back = _apart_mm(moving_from_fixed.apply(fixed_from_moving.apply(points)), points)
    return DrawnWarp(moving_from_fixed, fixed_from_moving, float(max(there.max(), back.max())))


def _rms_mm(steps: Sequence[BSpline], points: np.ndarray) -> float:
    moved = points
    for step in steps:
        moved = step.apply(moved)
    return float(np.sqrt((_apart_mm(moved, points) ** 2).mean()))


def _apart_mm(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.linalg.norm(ones - others, axis=1)


def _unit(array: np.ndarray) -> np.ndarray:
    return array / np.linalg.norm(array)


def _require_sensible(config: WarpConfig, fixed: str, moving: str) -> None:
    if fixed == moving:
        raise SpaceMismatch(f"both ends of the warp are called '{fixed}'", 'give it two names: moving="warped"')
    for field, value in zip(fields(config), astuple(config)):
        if not (isfinite(value) and value >= 0):
            raise BadInput(f"WarpConfig.{field.name} must be finite and not negative, got {value}")
    if config.control_spacing_mm == 0 or config.swelling > 1:
        raise BadInput(
            f"WarpConfig needs control_spacing_mm above 0 and swelling up to 1, got {config.control_spacing_mm} mm "
            f"and {config.swelling}"
        )
