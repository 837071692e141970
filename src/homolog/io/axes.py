"""What headers say about axes, made sound: rounding is taken out, true shear is kept."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from homolog.errors import BadInput
from homolog.space.grid import Grid

log = logging.getLogger(__name__)

# Shear below ROUNDING comes from headers of seven digits; below MEANT from a program that was careless with a rotation
# (a tenth of a degree moves the far end of a 500 mm scan by 0.9 mm); above it somebody meant it, as a gantry's tilt.
ROUNDING_DEGREES = 0.001
MEANT_DEGREES = 0.1


def placed(shape: tuple[int, ...], world_from_voxel: np.ndarray, path: Path | str) -> Grid:
    """The grid of a file's header, with its axes made perpendicular where they nearly are."""
    try:
        grid = Grid(shape, world_from_voxel)  # type: ignore[arg-type]
    except BadInput as error:
        raise BadInput(f"{path}: {error.message}", error.hint) from error
    return _straightened(grid, path)


def is_sheared(grid: Grid) -> bool:
    """Whether its axes are further from perpendicular than rounding explains."""
    return grid.shear_degrees > ROUNDING_DEGREES


def perpendicular_cover(grid: Grid) -> Grid:
    """The grid with the nearest perpendicular axes whose box of voxel centres holds all of `grid`'s."""
    axes = nearest_rotation(grid.axes)
    # the step that a voxel makes along the straightened axis: never coarser than the slanted one
    spacing_mm = np.einsum("xa,xa->a", axes, grid.world_from_voxel[:3, :3])
    return Grid.regular((1, 1, 1), spacing_mm, grid.origin_mm, axes).covering(grid.corners(0.0))


def nearest_rotation(axes: np.ndarray) -> np.ndarray:
    """The orthonormal matrix nearest to `axes` (3, 3), of the same handedness (its polar factor)."""
    left, _, right = np.linalg.svd(axes)
    return left @ right


def _straightened(grid: Grid, path: Path | str) -> Grid:
    shear = grid.shear_degrees
    if shear == 0 or shear >= MEANT_DEGREES:
        return grid
    if shear > ROUNDING_DEGREES:
        log.warning("%s: axes are %.3g degrees off perpendicular; read as the nearest rotation", path, shear)
    return Grid.regular(grid.shape, grid.spacing_mm, grid.origin_mm, nearest_rotation(grid.axes))
