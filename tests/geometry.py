"""What tests share: grids that no simplification survives, and smooth things to put on them."""

from __future__ import annotations

import numpy as np

from homolog import Affine, BSpline, Displacement, Grid, Volume


def oblique_grid(
    shape: tuple[int, int, int] = (17, 14, 12),
    spacing_mm: tuple[float, float, float] = (1.3, 2.1, 1.7),
    seed: int = 3,
    origin_mm: tuple[float, float, float] = (-31.0, 12.5, 240.0),
) -> Grid:
    """Oblique, anisotropic and left-handed."""
    axes = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    axes[:, 0] *= -np.sign(np.linalg.det(axes))
    return Grid.regular(shape, spacing_mm, origin_mm, axes)


def sheared_grid(shape: tuple[int, int, int] = (11, 12, 13), degrees: float = 18.0) -> Grid:
    """An oblique grid whose third axis leans, as a tilted gantry's does."""
    grid = oblique_grid(shape)
    lean = np.eye(4)
    lean[1, 2] = np.tan(np.radians(degrees))
    return Grid(shape, grid.world_from_voxel @ lean)


def smooth_volume(grid: Grid, space: str = "moving", seed: int = 0, height: float = 400.0) -> Volume:
    """A band-limited random picture."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).normal(size=grid.shape)
    smooth = gaussian_filter(noise, 1.5)
    return Volume((height * smooth / np.abs(smooth).max()).astype(np.float32), grid, space)


def blob(grid: Grid, centre_mm: np.ndarray, width_mm: float, space: str = "moving") -> Volume:
    """A Gaussian ball."""
    distance2 = ((grid.points() - centre_mm) ** 2).sum(axis=1).reshape(grid.shape)
    return Volume(np.exp(-distance2 / (2 * width_mm**2)).astype(np.float32), grid, space)


def centroid_mm(volume: Volume) -> np.ndarray:
    """The intensity-weighted mean position."""
    weights = volume.numpy().astype(np.float64).ravel()
    return weights @ volume.grid.points() / weights.sum()


def some_affine(seed: int = 1, size: float = 0.12, shift_mm: float = 4.0, about_mm: np.ndarray | None = None) -> Affine:
    """A general linear map, near the identity, about a point."""
    rng = np.random.default_rng(seed)
    about = np.zeros(3) if about_mm is None else about_mm
    matrix = np.eye(4)
    matrix[:3, :3] += size * rng.uniform(-1, 1, (3, 3))
    matrix[:3, 3] = about - matrix[:3, :3] @ about + shift_mm * rng.uniform(-1, 1, 3)
    return Affine(matrix)


def some_displacement(grid: Grid, seed: int = 2, height_mm: float = 3.0) -> Displacement:
    """A smooth displacement whose slope stays well below one."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).normal(size=(*grid.shape, 3))
    smooth = gaussian_filter(noise, (2.5, 2.5, 2.5, 0))
    return Displacement((height_mm * smooth / np.abs(smooth).max()).astype(np.float32), grid)


def some_spline(seed: int = 4, height_mm: float = 2.5, spacing_mm: float = 14.0, around: Grid | None = None) -> BSpline:
    """A spline whose coefficients stay below 0.4 of the control spacing, so that it does not fold."""
    around = around or oblique_grid()
    low, high = around.bounds()
    shape = np.ceil((high - low) / spacing_mm).astype(int) + 3
    grid = Grid.regular(shape.tolist(), spacing_mm, low - spacing_mm)
    rng = np.random.default_rng(seed)
    return BSpline(rng.uniform(-height_mm, height_mm, (*grid.shape, 3)), grid)
