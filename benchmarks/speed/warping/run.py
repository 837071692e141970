"""Warping a 256^3 picture: by a dense displacement on its own grid, by a coarse one, by a spline; against SimpleITK."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter, zoom

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import arguments, user_seconds, write_ours, yardstick

from homolog import Affine, BSpline, Displacement, Grid, Volume, warp
from homolog.kernels.threads import using_threads
from homolog.space.transforms import chain

N = 256


def smooth_field(n: int, height_mm: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=(n // 8, n // 8, n // 8, 3))
    smooth = zoom(gaussian_filter(noise, (1.5, 1.5, 1.5, 0)), (8, 8, 8, 1), order=1)
    return (height_mm * smooth / np.abs(smooth).max()).astype(np.float32)


def sitk_image(array: np.ndarray, grid: Grid, vector: bool = False) -> sitk.Image:
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0, 3) if vector else array.T, isVector=vector)
    image.SetSpacing(grid.spacing_mm.tolist())
    image.SetOrigin(grid.origin_mm.tolist())
    image.SetDirection(grid.axes.ravel().tolist())
    return image


def main() -> None:
    arguments(__doc__)
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    grid = Grid.regular((N, N, N), (1.0, 1.1, 1.3), (-100.0, 20.0, 300.0), axes)
    picture = np.random.default_rng(2).normal(size=grid.shape).astype(np.float32)
    moving = Volume(picture, grid, "moving")
    vectors = smooth_field(N, 12.0)
    dense = Displacement(vectors, grid)
    coarse_grid = Grid(tuple(n // 4 for n in grid.shape), grid.world_from_voxel @ np.diag([4.0, 4, 4, 1]))
    coarse = Displacement(vectors[::4, ::4, ::4], coarse_grid)
    controls = Grid(tuple(n // 16 + 3 for n in grid.shape), grid.world_from_voxel @ np.diag([16.0, 16, 16, 1]))
    spline = BSpline(np.random.default_rng(3).normal(size=(*controls.shape, 3)) * 4, controls)
    composite = chain([Affine.identity(), coarse], fixed="fixed", moving="moving")

    reference = sitk_image(picture, grid)
    field = sitk.DisplacementFieldTransform(sitk_image(vectors.astype(np.float64), grid, vector=True))
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    itk = user_seconds(lambda: sitk.Resample(reference, reference, field, sitk.sitkLinear, -1000.0), runs=3)

    unit = yardstick()
    figures: dict[str, dict[str, float]] = {"simpleitk_dense": {"user_s": itk, "yardsticks": itk / unit}}
    cases = {"dense": dense, "coarse_with_affine": composite, "spline": spline}
    for name, transform in cases.items():
        for threads in (1, 2):
            with using_threads(threads):
                runs = 5 if name == "dense" else 2
                seconds = user_seconds(lambda t=transform: warp(moving, t, grid, outside=-1000.0), runs)
            figures[f"{name}_{threads}_threads"] = {"user_s": seconds, "yardsticks": seconds / unit}
    ours = warp(moving, dense, grid, outside=-1000.0).numpy()
    theirs = sitk.GetArrayFromImage(sitk.Resample(reference, reference, field, sitk.sitkLinear, -1000.0)).T
    write_ours(
        Path(__file__).parent,
        {
            "yardstick_user_s": unit,
            "bar_user_s": 0.25,
            "bar_yardsticks": 0.25 / 0.55,
            "two_threads_over_one": figures["dense_2_threads"]["user_s"] / figures["dense_1_threads"]["user_s"],
            "largest_difference_to_simpleitk": float(np.abs(ours - theirs).max()),
            **figures,
        },
    )


if __name__ == "__main__":
    main()
