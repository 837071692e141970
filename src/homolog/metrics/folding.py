"""Whether a map folds or tears, and how unevenly it swells: determinants of its Jacobian at a grid's voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homolog.errors import BadInput, GridMismatch, SpaceMismatch
from homolog.kernels import jacobian
from homolog.space.grid import Grid
from homolog.space.sampling import sampled_displacement
from homolog.space.transforms import Transform
from homolog.space.volume import Volume


@dataclass(frozen=True)
class Folding:
    """The Jacobian of a map in numbers, over the voxels of a grid or of a mask on it.

    voxels            how many were looked at
    fraction          of them, those where any of the eight one-sided determinants is zero or less: central
                      differences step over a fold one voxel wide, one-sided ones do not
    fraction_central  those where the determinant by central differences is zero or less
    least             the smallest one-sided determinant
    least_central     the smallest by central differences
    sdlogj            standard deviation of log det by central differences; the voxels that `fraction_central` counts
                      have no logarithm and are left out (NaN if none is left)
    sdlogj_l2r        Learn2Reg's figure, of log(det + 3) two voxels inside the border: about a quarter of the other
                      for small deformations, and blind to folds (NaN if no voxel lies inside)
    """

    voxels: int
    fraction: float
    fraction_central: float
    least: float
    least_central: float
    sdlogj: float
    sdlogj_l2r: float


def folding(transform: Transform, grid: Grid, *, mask: Volume | None = None) -> Folding:
    """Folds and uneven swelling of a map, seen at the voxels of a grid in its fixed patient.

    mask  labels on that grid, in the fixed patient: only its non-zero voxels count
    """
    inside = None if mask is None else _checked(mask, transform, grid)
    vectors = sampled_displacement(transform, grid)
    central, least = jacobian.determinants(vectors, grid.world_from_voxel[:3, :3])
    seen, seen_least = _within(central, inside), _within(least, inside)
    interior = None if inside is None else jacobian.inside_learn2reg_border(inside)
    return Folding(
        voxels=seen.size,
        fraction=float((seen_least <= 0).mean()),
        fraction_central=float((seen <= 0).mean()),
        least=float(seen_least.min()),
        least_central=float(seen.min()),
        sdlogj=jacobian.log_spread(seen),
        # in voxel units W^-1 u the Jacobian is W^-1 J W, whose determinant is the same
        sdlogj_l2r=jacobian.log_spread_learn2reg(_within(jacobian.inside_learn2reg_border(central), interior)),
    )


def _within(values: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
    return values if inside is None else values[inside]


def _checked(mask: Volume, transform: Transform, grid: Grid) -> np.ndarray:
    """The mask as bools, after making sure it belongs to the fixed patient and the grid and holds a voxel."""
    if mask.space != transform.fixed:
        raise SpaceMismatch(
            f"the mask is in '{mask.space}', the map's Jacobian in '{transform.fixed}'",
            f"if it is the same patient, name its space: read_labels(path, space={transform.fixed!r})",
        )
    if not mask.grid.same_as(grid):
        raise GridMismatch(
            f"the mask lies on {mask.grid!r}, the Jacobian was asked for on {grid!r}",
            "homolog apply identity mask.nii.gz --like ct.nii.gz -o mask_on_ct.nii.gz",
        )
    inside = mask.numpy() != 0
    if not inside.any():
        raise BadInput("the mask is empty: there is no voxel to look at", "leave it out to look at the whole grid")
    return inside
