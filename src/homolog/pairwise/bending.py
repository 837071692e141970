"""A smooth map through matches of which some are wrong: a cubic B-spline of least bending, by expectation maximisation.

Each match is right with a probability that follows from how far off it lies: right ones scatter as a Maxwell
distribution, wrong ones lie anywhere in the ball that was searched (after the mixture of Agier et al., Med. Image Anal.
59:101564, 2020). The spline minimises sum p |u(x) - d|^2 / s^2 + stiffness * (bending energy) + ..., as in Rueckert et
al., IEEE TMI 18:712, 1999, which for matches is one sparse linear system.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg

from homolog.kernels import jacobian
from homolog.kernels.bspline import basis as spline_basis
from homolog.matching.consensus import mixture, probability
from homolog.space.dense import sampled_displacement
from homolog.space.grid import Grid
from homolog.space.transforms import BSpline

# Rounds of the mixture; it has settled when the scatter changes by less than this share. Each solution begins at the
# one before it, so that a rough one is enough.
ROUNDS, SETTLED = 8, 0.02
# mm: what right matches scatter by at the first, when little is known, and at the least: keypoints are told to a voxel.
SCATTER_MM, LEAST_SCATTER_MM = 25.0, 1.2
# Of the stiffness against bending, what stands against stretching: far from all matches the map goes back to affine.
STRETCHING = 1e-5
# The least determinant that counts as no fold, and how often the stiffness is doubled until there is none.
LEAST_DETERMINANT, DOUBLINGS = 0.1, 12


@dataclass(frozen=True, eq=False)
class Bent:
    """A spline, p -> p + u(p), and what it makes of the matches.

    right       (N,) the probability of each match
    scatter_mm  the standard deviation of right matches along an axis
    stiffness   what was needed for the map not to fold
    """

    spline: BSpline
    right: np.ndarray
    scatter_mm: float
    stiffness: float


def bent(
    places_mm: np.ndarray,
    wanted_mm: np.ndarray,
    weight: np.ndarray,
    controls: Grid,
    *,
    within_mm: float,
    stiffness: float,
) -> Bent:
    """The spline for displacements wanted_mm (N, 3) at places_mm (N, 3), each match counting weight (N,).

    within_mm  how far off a wrong match can lie at most
    stiffness  mm, how much bending costs
    """
    basis = _matrix(places_mm, controls)
    penalty = _bending(controls)
    for _ in range(DOUBLINGS):
        found, right, scatter = _settled(basis, penalty, wanted_mm, weight, within_mm, stiffness)
        spline = BSpline(found.reshape(*controls.shape, 3), controls)
        if _least_determinant(spline) > LEAST_DETERMINANT:
            return Bent(spline, right, scatter, stiffness)
        stiffness *= 2
    return Bent(BSpline(np.zeros((*controls.shape, 3)), controls), right, scatter, np.inf)


def controls_over(low_mm: np.ndarray, high_mm: np.ndarray, spacing_mm: float) -> Grid:
    """Where control points lie so that none is missing anywhere in a box (3,), (3,) LPS mm."""
    steps = np.maximum(1, np.ceil((high_mm - low_mm) / spacing_mm)).astype(int)
    middle = (low_mm + high_mm) / 2
    return Grid.regular((steps + 3).tolist(), spacing_mm, middle - spacing_mm * (steps + 2) / 2)


def _settled(
    basis: sparse.csr_array,
    penalty: sparse.csr_array,
    wanted: np.ndarray,
    weight: np.ndarray,
    within_mm: float,
    stiffness: float,
) -> tuple[np.ndarray, np.ndarray, float]:
    right, scatter = np.ones(len(wanted)), SCATTER_MM
    share = 0.5
    found = np.zeros((basis.shape[1], 3))
    apart = np.linalg.norm(wanted, axis=1)
    for _ in range(ROUNDS):
        right = probability(apart, share, scatter, within_mm)
        counted = weight * right / scatter**2
        found = _solved(basis, stiffness * penalty, counted, wanted, found)
        apart = np.linalg.norm(basis @ found - wanted, axis=1)
        before, (share, scatter) = scatter, mixture(apart, right, weight, LEAST_SCATTER_MM)
        if abs(scatter - before) < SETTLED * before:
            break
    return found, right, scatter


def _solved(
    basis: sparse.csr_array, penalty: sparse.csr_array, counted: np.ndarray, wanted: np.ndarray, near: np.ndarray
) -> np.ndarray:
    normal = (basis.T @ (basis.multiply(counted[:, None])) + penalty).tocsr()
    right = basis.T @ (counted[:, None] * wanted)
    scale = sparse.diags_array(1.0 / normal.diagonal())
    columns = [cg(normal, right[:, n], near[:, n], rtol=1e-3, maxiter=400, M=scale)[0] for n in range(3)]
    return np.stack(columns, axis=1)


def _matrix(places_mm: np.ndarray, controls: Grid) -> sparse.csr_array:
    """(N, controls): the weights by which each place takes the control points round it."""
    at = controls.voxel(places_mm)
    base = np.clip(np.floor(at), 1, np.array(controls.shape) - 3).astype(int)
    pieces = spline_basis(at - base)
    shape = (len(places_mm), 4, 4, 4)
    weights = np.einsum("an,bn,cn->nabc", *(pieces[:, :, axis] for axis in range(3)))
    steps = np.arange(-1, 3)
    index = [base[:, n, None] + steps for n in range(3)]
    flat = np.ravel_multi_index(
        tuple(np.broadcast_arrays(index[0][:, :, None, None], index[1][:, None, :, None], index[2][:, None, None, :])),
        controls.shape,
    )
    rows = np.broadcast_to(np.arange(len(places_mm))[:, None, None, None], shape)
    entries = (weights.ravel(), (rows.ravel(), flat.ravel()))
    return sparse.csr_array(entries, shape=(len(places_mm), controls.size))


def _bending(controls: Grid) -> sparse.csr_array:
    """Second differences of the control points for second derivatives, times the volume; and a little of the first."""
    spacing = float(controls.spacing_mm[0])
    one = [sparse.eye_array(n, format="csr") for n in controls.shape]

    def along(axes: dict[int, int]) -> sparse.csr_array:
        parts = [_difference(controls.shape[n], axes.get(n, 0)) if n in axes else one[n] for n in range(3)]
        operator = sparse.kron(sparse.kron(parts[0], parts[1]), parts[2], format="csr")
        return (operator.T @ operator).tocsr()

    total = sum(along({n: 2}) for n in range(3)) + 2 * sum(along({a: 1, b: 1}) for a, b in combinations(range(3), 2))
    # h^3 voxel volume over h^4 for squared second derivatives, over h^2 for squared first ones
    return (total / spacing + STRETCHING * spacing * sum(along({n: 1}) for n in range(3))).tocsr()


def _difference(count: int, order: int) -> sparse.csr_array:
    rows = max(0, count - order)
    values = {1: (-1.0, 1.0), 2: (1.0, -2.0, 1.0)}[order]
    return sparse.diags_array(
        [np.full(rows, v) for v in values], offsets=list(range(order + 1)), shape=(rows, count)
    ).tocsr()


def _least_determinant(spline: BSpline) -> float:
    """On four places between any two control points, over all that they reach."""
    fine = spline.grid.with_spacing((spline.grid.spacing_mm / 4).tolist())
    least = jacobian.determinants(sampled_displacement(spline, fine), fine.world_from_voxel[:3, :3])[1]
    return float(least.min())
