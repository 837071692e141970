"""What a scanner adds to a body: slices, blur, metal with its streaks, a table, the field of a coil, noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from homolog.kernels.arrays import elementwise
from homolog.space.grid import Grid
from homolog.synth.anatomy import own
from homolog.synth.noise import unit_noise

# a slice thicker than this is averaged from several
THIN_SLICE_MM = 2.5
# edges are as wide as the body's cells allow for
MOST_WIDTH_MM = 6.0


def slice_shifts_mm(slice_mm: float) -> list[float]:
    """Where a slice is sampled along z, its middle first."""
    pairs = max(0, int(np.ceil((slice_mm - THIN_SLICE_MM) / 5)))
    steps = np.arange(1, pairs + 1) / (1 + 2 * pairs) * slice_mm
    return [0.0, *np.stack((-steps, steps), axis=1).ravel().tolist()]


def edge_width_mm(grid: Grid, sharpness: float) -> float:
    """Over how much an edge is smeared: a voxel, and the reconstruction kernel."""
    voxel_mm = float(np.cbrt(grid.voxel_volume_mm3))
    return float(np.clip(np.hypot(0.9 * voxel_mm, 1.4) * (1 - 0.25 * sharpness), 0.8, MOST_WIDTH_MM))


def with_extras(
    shown: np.ndarray, place: np.ndarray, extras: list[own.Extra], width_mm: float, *, mr: bool
) -> np.ndarray:
    """(N,) with tumours and metal painted over what is shown at places (N, 3)."""
    painted = shown.copy()
    for extra in extras:
        near = np.flatnonzero(extra.near(place))
        cover = np.clip(0.5 - extra.distance(place[near]) / width_mm, 0, 1)
        painted[near] += cover * ((extra.mr if mr else extra.hu) - painted[near])
    return painted


def with_streaks(shown: np.ndarray, place: np.ndarray, streaks: list[own.Streaks]) -> np.ndarray:
    """(N,) HU with the rays of metal; most places are level with none."""
    painted = shown.copy()
    for one in streaks:
        level = np.flatnonzero(one.level(place))
        painted[level] += one.at(place[level]).astype(np.float32)
    return painted


def with_table(shown: np.ndarray, place: np.ndarray, labels: np.ndarray, table: tuple[float, float]) -> np.ndarray:
    """(N,) HU with the table, which is seen only through air."""
    painted, air = shown.copy(), labels == 0
    cover, hu = own.table_hu(place[air], *table)
    painted[air] += (cover * (hu - painted[air])).astype(np.float32)
    return painted


def coil_field(rng: np.random.Generator, place: Any) -> Any:
    """(...) by how much a place (..., 3), array or tensor, is brightened on MR."""
    waves, phases = rng.normal(size=(4, 3)) / 160.0, rng.uniform(0, 6.28, 4)
    xp, x, y, z = elementwise(place), place[..., 0], place[..., 1], place[..., 2]
    waves = np.c_[waves, phases].tolist()
    return xp.exp(0.12 * sum(xp.cos(a * x + b * y + c * z + phase) for a, b, c, phase in waves))


def noisy(values: Any, grid: Grid, seed: int, *, level_hu: float, sharpness: float, mr: bool) -> Any:
    """With the noise of an acquisition, which belongs to its grid; on MR it is that of a magnitude.

    values    (I, J, K) float32, an array or a tensor
    level_hu  standard deviation at 2 mm voxels
    """
    if level_hu == 0:
        return values
    voxel_mm = float(np.cbrt(grid.voxel_volume_mm3))
    # kernels correlate neighbours: over about a millimetre, less for sharp ones
    blur_vox = np.minimum((1.1 - 0.5 * sharpness) / np.maximum(grid.spacing_mm, 0.5), 1.5)
    xp = elementwise(values)
    like_values = {} if xp is np else {"device": values.device}
    noise = unit_noise(grid, seed, blur_vox, **like_values)
    level = level_hu * float(np.clip(2.0 / voxel_mm, 0.5, 1.6)) * (1 + 0.35 * sharpness)
    if mr:
        return xp.hypot(values + 0.8 * level * noise, 0.8 * level * xp.flip(noise, (0,)))
    return xp.clip(values + level * noise, -1024.0, None)
