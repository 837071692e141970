"""A group's maps made ready for use: turned round, laid on a lattice, and how much they swell, from few evaluations.

The map of an image is an affine one and, after it, many layers of splines, and a point looks at 64 controls of each.
But together they bend hardly faster than the finest of them. So they are evaluated on a lattice that is coarse beside a
picture's voxels, and one spline through its nodes stands for them all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from homolog.kernels.threads import over_planes
from homolog.space.dense import slabs
from homolog.space.grid import Grid
from homolog.space.inversion import TOLERANCE_MM, Inversion, carry_back, folded_onto, round_trip_mm, summary
from homolog.space.transforms import Affine, BSpline, Chain, Displacement, Transform, as_numpy, chain
from homolog.space.volume import Volume

# Nodes to a control's spacing by which one spline follows many layers.
NODES_A_CONTROL = 3.2
# mm: controls of a merged map are no closer.
LATTICE_MM = 4.0
# Controls beyond a lattice's ends, so that where coefficients are repeated lies outside of it.
BEYOND = 2
# What lies between solved controls is right to this, in mm, for 95 % of it, or they are laid closer.
FINE_ENOUGH_MM = 0.05
# A start that is corrected afterwards need be no better than this, in each layer.
START_MM = 0.05
# Corrections at most: each leaves a tenth of the error, or it is no use.
MOST_CORRECTIONS = 6
# Nodes, and middles between them, that an inverse is measured at: enough for the 95th percentile.
MEASURED = 20_000

# A spline whose coefficients are all shorter than this, in steps of its lattice along each axis, cannot fold.
INJECTIVE = 0.403

Factor = tuple[float, float, float]


def inverse_on(common_from_image: Transform, grid: Grid, tolerance_mm: float = TOLERANCE_MM) -> Inversion:
    """The map `image_from_common`: one spline that undoes all that bends, and affine maps apart from it, exact.

    grid          a lattice over what is wanted of the common space; controls lie no closer than its nodes, and no
                  closer than the map's own layers ask for
    tolerance_mm  to which controls are solved; the error that is given back is measured, at the nodes and between them
    """
    steps = _steps(common_from_image)
    if steps.bend is None:
        return Inversion(common_from_image.inverse(), 0.0, 0.0, 0.0)
    # an affine map after what bends moves the lattice, and its nodes stay the same places
    lattice = Grid(grid.shape, steps.last.inverse().matrix @ grid.world_from_voxel)
    spline, lost = _undone(steps.bend, lattice, tolerance_mm)
    inverse = _joined(steps.first.inverse(), spline, steps.last.inverse())
    there_and_back = round_trip_mm(common_from_image, inverse, grid, lost, most=MEASURED)
    mask = Volume(lost.astype(np.uint8), grid, common_from_image.moving, "labels")
    return Inversion(inverse, *summary(there_and_back), float(lost.mean()), mask)


def merged_on(common_from_image: Transform, grid: Grid) -> Transform:
    """The same map with one spline in place of all that bends, for the many voxels of a picture.

    grid  a lattice over what is wanted of the image, as for `inverse_on`
    """
    steps = _steps(common_from_image)
    if steps.bend is None:
        return common_from_image
    lattice = Grid(grid.shape, steps.first.matrix @ grid.world_from_voxel)
    controls = coarsened(lattice, _factor(steps.bend, lattice)).padded(BEYOND)
    spline = through(_displacements(steps.bend, controls), controls, steps.bend.fixed, steps.bend.moving)
    return _joined(steps.last, spline, steps.first)


def jacobian_map(common_from_image: Transform, grid: Grid) -> Volume:
    """How many times its own volume each voxel of an image takes in the common space: the Jacobian's determinant.

    Of the merged map: docs/methods/atlas.md tells how far it is from the product of all layers' own derivatives, which
    takes as many times as long as there are layers.
    """
    merged = merged_on(common_from_image, grid.with_spacing(np.maximum(grid.spacing_mm, LATTICE_MM)))
    out = np.empty(grid.shape, np.float32)

    def planes(start: int, stop: int) -> None:
        for low, high in slabs(grid, start, stop):
            out[low:high] = _determinant(merged.jacobian(grid.points(low, high))).reshape(out[low:high].shape)

    over_planes(planes, grid.shape[0])
    return Volume(out, grid, common_from_image.fixed)


def _determinant(matrices: np.ndarray) -> np.ndarray:
    """(N,) of (N, 3, 3): spelled out, as LAPACK takes longer to be called than three rows to be multiplied."""
    a, b, c = matrices[:, 0], matrices[:, 1], matrices[:, 2]
    return np.asarray(
        a[:, 0] * (b[:, 1] * c[:, 2] - b[:, 2] * c[:, 1])
        + a[:, 1] * (b[:, 2] * c[:, 0] - b[:, 0] * c[:, 2])
        + a[:, 2] * (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    )


# ---------------------------------------------------------------------------------------------------------------------
# A map's parts


@dataclass(frozen=True, eq=False)
class _Steps:
    """A map as it is applied: an affine map, all that bends, and an affine map."""

    first: Affine
    bend: Transform | None
    last: Affine


def _steps(whole: Transform) -> _Steps:
    flat = chain([whole])
    parts = list(flat.parts) if isinstance(flat, Chain) else [flat]
    first = parts.pop() if isinstance(parts[-1], Affine) else Affine.identity(whole.fixed, whole.fixed)
    assert isinstance(first, Affine)
    if not parts:
        return _Steps(first, None, Affine.identity(whole.moving, whole.moving))
    last = parts.pop(0) if isinstance(parts[0], Affine) else Affine.identity(whole.moving, whole.moving)
    assert isinstance(last, Affine)
    return _Steps(first, chain(parts), last)


def _joined(*parts: Transform) -> Transform:
    """A chain without the affine maps that do nothing, not even to names."""
    return chain([part for part in parts if not (part.fixed == part.moving and _is_identity(part))])


def _is_identity(part: Transform) -> bool:
    return isinstance(part, Affine) and bool((part.matrix == np.eye(4)).all())


def _factor(bend: Transform, lattice: Grid) -> Factor:
    """How many steps of a lattice along each axis, 1 or more, may lie between the nodes that a map is evaluated at."""
    parts = bend.parts if isinstance(bend, Chain) else (bend,)
    step_mm = min(_step_mm(part) for part in parts)
    i, j, k = np.clip(step_mm / lattice.spacing_mm, 1, np.maximum(np.array(lattice.shape) - 1, 1)).tolist()
    return i, j, k


def _step_mm(part: Transform) -> float:
    """mm; none for a map that may bend anywhere, as a thin plate does."""
    if isinstance(part, BSpline):
        return float(part.grid.spacing_mm.min()) / NODES_A_CONTROL
    if isinstance(part, Displacement):
        return float(part.grid.spacing_mm.min())
    return np.inf if isinstance(part, Affine) else 0.0


# ---------------------------------------------------------------------------------------------------------------------
# Between the nodes


def coarsened(grid: Grid, factor: Factor) -> Grid:
    """The box of a lattice in steps that are so many times as long, from its first node until all of it is held."""
    i, j, k = (int(np.ceil((length - 1) / step - 1e-9)) + 1 for length, step in zip(grid.shape, factor))
    return Grid((i, j, k), grid.world_from_voxel @ np.diag([*factor, 1.0]))


def through(vectors: np.ndarray, lattice: Grid, fixed: str, moving: str) -> BSpline:
    """The spline that moves the nodes of a lattice by vectors (I, J, K, 3) mm."""
    from scipy.linalg import solve_banded

    for axis, count in enumerate(lattice.shape):
        bands = np.repeat([[1 / 6], [4 / 6], [1 / 6]], count, axis=1)
        # beyond the lattice coefficients are repeated by their edge
        bands[1, 0] += 1 / 6
        bands[1, -1] += 1 / 6
        along = np.moveaxis(vectors, axis, 0)
        solved = solve_banded((1, 1), bands, along.reshape(count, -1)) if count > 1 else along
        vectors = np.moveaxis(solved.reshape(along.shape), 0, axis)
    return BSpline(vectors, lattice, fixed, moving)


def _displacements(bend: Transform, lattice: Grid) -> np.ndarray:
    """(I, J, K, 3) float64 mm at the nodes."""
    nodes = lattice.points()
    return (bend.apply(nodes) - nodes).reshape(*lattice.shape, 3)


# ---------------------------------------------------------------------------------------------------------------------
# Turned round


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Where the nodes of a lattice come from, as far as is known.

    back     (N, 3) LPS mm
    arrived  (N, 3) LPS mm: where the map carries that, which should be the nodes
    """

    lattice: Grid
    back: np.ndarray
    arrived: np.ndarray

    @property
    def vectors(self) -> np.ndarray:
        return (self.back - self.lattice.points()).reshape(*self.lattice.shape, 3)

    @property
    def spline(self) -> BSpline:
        return through(self.vectors, self.lattice, "fixed", "moving")

    @property
    def error_mm(self) -> np.ndarray:
        return np.asarray(np.linalg.norm(self.arrived - self.lattice.points(), axis=1))


def _undone(bend: Transform, lattice: Grid, tolerance_mm: float) -> tuple[BSpline, np.ndarray]:
    """The spline that undoes a map, and (I, J, K) bool: nodes of the lattice without an inverse, or with several."""
    factor = _factor(bend, lattice)
    solved = _solved(bend, coarsened(lattice, factor).padded(BEYOND), tolerance_mm)
    while max(factor) > 1 and not _is_fine_enough(bend, lattice, solved.spline):
        i, j, k = (max(1.0, step / 2) for step in factor)
        factor, before = (i, j, k), solved.spline
        controls = coarsened(lattice, factor).padded(BEYOND)
        solved = _corrected(bend, controls, before.apply(controls.points()), tolerance_mm)
    wrong = (solved.error_mm > tolerance_mm).reshape(solved.lattice.shape)
    if not _cannot_fold(bend):
        wrong |= folded_onto(bend, Displacement(solved.vectors, solved.lattice, bend.moving, bend.fixed))
    nearest = np.ix_(*(np.rint(np.arange(n) / step).astype(int) + BEYOND for n, step in zip(lattice.shape, factor)))
    return replace(solved.spline, fixed=bend.moving, moving=bend.fixed), wrong[nearest]


def _solved(bend: Transform, lattice: Grid, tolerance_mm: float) -> _Nodes:
    """Some nodes layer by layer; more of them, and all, from the spline through those before."""
    start = coarsened(lattice, (4, 4, 4))
    nodes = _Nodes(start, carry_back(bend, start.points(), START_MM).points, start.points())
    for step in (2, 1):
        finer = coarsened(lattice, (step, step, step))
        nodes = _corrected(bend, finer, nodes.spline.apply(finer.points()), tolerance_mm)
    return nodes


def _corrected(bend: Transform, lattice: Grid, back: np.ndarray, tolerance_mm: float) -> _Nodes:
    """Nodes that come from about `back` (N, 3), made right.

    With G about the inverse of M, G(2 y - M(G(y))) is nearer to it: Newton's step, with the slope of G itself in place
    of the inverse of M's. Where it does not help, each layer is solved for itself.
    """
    targets = lattice.points()
    nodes = _Nodes(lattice, back, bend.apply(back))
    for _ in range(MOST_CORRECTIONS):
        wrong = np.flatnonzero(nodes.error_mm > tolerance_mm)
        if not len(wrong):
            return nodes
        nodes = _bettered(bend, nodes, wrong, nodes.spline.apply(2 * targets[wrong] - nodes.arrived[wrong]))
    wrong = np.flatnonzero(nodes.error_mm > tolerance_mm)
    return _bettered(bend, nodes, wrong, carry_back(bend, targets[wrong]).points)


def _bettered(bend: Transform, nodes: _Nodes, rows: np.ndarray, back: np.ndarray) -> _Nodes:
    """With other answers for some of the nodes, where they are better."""
    targets, arrived = nodes.lattice.points()[rows], bend.apply(back)
    better = np.linalg.norm(arrived - targets, axis=1) < np.linalg.norm(nodes.arrived[rows] - targets, axis=1)
    all_back, all_arrived = nodes.back.copy(), nodes.arrived.copy()
    all_back[rows[better]], all_arrived[rows[better]] = back[better], arrived[better]
    return _Nodes(nodes.lattice, all_back, all_arrived)


def _cannot_fold(bend: Transform) -> bool:
    """Whether a map is made of splines none of which can fold (Choi and Lee, Graphical Models 62:411, 2000)."""
    parts = bend.parts if isinstance(bend, Chain) else (bend,)
    return all(isinstance(part, Affine) or (isinstance(part, BSpline) and _is_gentle(part)) for part in parts)


def _is_gentle(spline: BSpline) -> bool:
    in_steps = as_numpy(spline.coefficients) @ spline.grid.voxel_from_world[:3, :3].T
    return bool(np.abs(in_steps).max() < INJECTIVE)


def _is_fine_enough(bend: Transform, lattice: Grid, spline: BSpline) -> bool:
    """Whether a spline undoes a map, by some of the lattice's nodes."""
    nodes = lattice.points()[:: max(1, lattice.size // MEASURED)]
    missed = bend.apply(spline.apply(nodes)) - nodes
    return bool(np.percentile(np.linalg.norm(missed, axis=1), 95) <= FINE_ENOUGH_MM)
