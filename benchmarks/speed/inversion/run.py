"""Inverting a 128^3 displacement field, its error measured; against SimpleITK's two filters."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import arguments, user_seconds, write_ours, yardstick

from homolog import Displacement, Grid, invert
from homolog.kernels.threads import using_threads

N = 128
# slopes of 0.3 and of 0.9 a voxel: the fixed point contracts quickly, and hardly
HEIGHTS_MM = {"gentle": 6.0, "strong": 17.0}


def field(height_mm: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(N, N, N, 3)).astype(np.float32)
    smooth = gaussian_filter(noise, (8, 8, 8, 0))
    return height_mm * smooth / np.abs(smooth).max()


def error_mm(vectors: np.ndarray, inverse: Displacement, grid: Grid) -> float:
    """Mean there-and-back error over the inner half of the grid."""
    points = grid.cropped((N // 4,) * 3, (3 * N // 4,) * 3).points()
    back = inverse.apply(points)
    return float(np.linalg.norm(Displacement(vectors, grid).apply(back) - points, axis=1).mean())


def main() -> None:
    arguments(__doc__)
    grid = Grid.regular((N, N, N), (1.5, 1.5, 1.5))
    unit = yardstick()
    figures: dict[str, object] = {"yardstick_user_s": unit, "bar_user_s": 2.0, "bar_yardsticks": 2.0 / 0.55}
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    for name, height_mm in HEIGHTS_MM.items():
        vectors = field(height_mm)
        forward = Displacement(vectors, grid)
        row: dict[str, float] = {}
        for threads in (1, 2):
            with using_threads(threads):
                row[f"user_s_{threads}_threads"] = user_seconds(lambda f=forward: invert(f, grid), runs=3)
        row["yardsticks"] = row["user_s_1_threads"] / unit
        row["two_threads_over_one"] = row["user_s_2_threads"] / row["user_s_1_threads"]
        inversion = invert(forward, grid)
        row["mean_error_mm"] = error_mm(vectors, inversion.transform, grid)
        row["missing"] = inversion.missing
        image = sitk.GetImageFromArray(vectors.transpose(2, 1, 0, 3).astype(np.float64), isVector=True)
        image.SetSpacing(grid.spacing_mm.tolist())
        for filter_name in ("InvertDisplacementField", "IterativeInverseDisplacementField"):
            solve = getattr(sitk, filter_name)
            row[f"simpleitk_{filter_name}_user_s"] = user_seconds(lambda s=solve, i=image: s(i), runs=1)
            theirs = sitk.GetArrayFromImage(solve(image)).transpose(2, 1, 0, 3)
            row[f"simpleitk_{filter_name}_mean_error_mm"] = error_mm(vectors, Displacement(theirs, grid), grid)
        figures[name] = row
    write_ours(Path(__file__).parent, figures)


if __name__ == "__main__":
    main()
