"""Drawn warps: what was asked and what came, the error of both round trips, folding, and seconds.

Boxes are drawn ones; with --data also the real scans found there, at their own voxels.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import arguments, user_seconds, write_ours

from homolog import Grid, Volume, draw_warp, read
from homolog.errors import HomologError
from homolog.synth.configs import WarpConfig
from homolog.synth.deformations import DrawnWarp, warped_scan

POINTS = 200_000
SMOOTH = WarpConfig(rotation_degrees=0.0, log_scale=0.0, shear=0.0, translation_mm=0.0)
# name: side of the box in mm, rms of the smooth part in mm, control spacing in mm
BOXES = {
    "ordinary": (300.0, 8.0, 50.0),
    "weak": (300.0, 1.0, 50.0),
    "far": (300.0, 20.0, 50.0),
    "strong": (300.0, 40.0, 40.0),
    "crop": (20.0, 8.0, 50.0),
    "whole_body": (600.0, 8.0, 50.0),
    "strong_whole_body": (600.0, 40.0, 40.0),
    "absurd": (300.0, 300.0, 40.0),
}


def oblique(side_mm: float, voxels: int) -> Grid:
    """A cube, oblique, anisotropic and left-handed."""
    axes = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    axes[:, 0] *= -np.sign(np.linalg.det(axes))
    shape = (voxels, voxels // 2, voxels)
    return Grid.regular(shape, (side_mm / voxels, 2 * side_mm / voxels, side_mm / voxels), (-31.0, 12.5, 240.0), axes)


def anywhere(grid: Grid) -> np.ndarray:
    """Points in the box of voxel edges, at no lattice's nodes."""
    return grid.world(np.random.default_rng(7).uniform(-0.5, np.array(grid.shape) - 0.5, (POINTS, 3)))


def told(warp: DrawnWarp, grid: Grid) -> dict[str, Any]:
    """How exact a warp is and how it changes volumes, at points that the draw did not look at."""
    points = anywhere(grid)
    there = warp.fixed_from_moving.apply(warp.moving_from_fixed.apply(points)) - points
    back = warp.moving_from_fixed.apply(warp.fixed_from_moving.apply(points)) - points
    volumes = np.linalg.det(warp.moving_from_fixed.jacobian(points[::10]))
    stretches = np.linalg.svd(warp.moving_from_fixed.jacobian(points[::10]), compute_uv=False)
    return {
        "claimed_error_mm": warp.error_mm,
        "fixed_moving_fixed_max_mm": float(np.linalg.norm(there, axis=1).max()),
        "moving_fixed_moving_max_mm": float(np.linalg.norm(back, axis=1).max()),
        "fixed_moving_fixed_mean_mm": float(np.linalg.norm(there, axis=1).mean()),
        "smallest_volume_change": float(volumes.min()),
        "largest_volume_change": float(volumes.max()),
        "sd_log_volume_change": float(np.log(volumes).std()),
        "largest_stretch": float(stretches.max()),
    }


def smooth_alone(grid: Grid, config: WarpConfig) -> float:
    """The rms in mm of the same draw without its affine part."""
    only = replace(SMOOTH, strength_mm=config.strength_mm, control_spacing_mm=config.control_spacing_mm)
    points = anywhere(grid)
    moved = draw_warp(grid, np.random.default_rng(0), only).moving_from_fixed.apply(points) - points
    return float(np.sqrt((moved**2).sum(axis=1).mean()))


def on_box(side_mm: float, strength_mm: float, spacing_mm: float) -> dict[str, Any]:
    grid, config = oblique(side_mm, 64), WarpConfig(strength_mm=strength_mm, control_spacing_mm=spacing_mm)
    seconds = user_seconds(lambda: draw_warp(grid, np.random.default_rng(0), config), runs=1)
    asked = {"box_mm": side_mm, "strength_mm": strength_mm, "control_spacing_mm": spacing_mm}
    came = {"rms_mm": smooth_alone(grid, config), "draw_user_s": seconds}
    return asked | came | told(draw_warp(grid, np.random.default_rng(0), config), grid)


def likeness(draws: int = 12) -> dict[str, float]:
    """The correlation of the smooth motion of two places this many control spacings apart, over all directions."""
    grid, rng = oblique(300.0, 64), np.random.default_rng(1)
    lags = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
    together = np.zeros(len(lags))
    for seed in range(draws):
        warp = draw_warp(grid, np.random.default_rng(seed), SMOOTH).moving_from_fixed
        one, towards = anywhere(grid)[:3000], rng.normal(size=(3000, 3))
        towards *= SMOOTH.control_spacing_mm / np.linalg.norm(towards, axis=1, keepdims=True)
        moved = warp.apply(one) - one
        for n, lag in enumerate(lags):
            other = one + lag * towards
            inside = grid.contains(other)
            together[n] += ((warp.apply(other) - other) * moved).sum(axis=1)[inside].mean()
    return {f"{lag:g}_spacings": float(value) for lag, value in zip(lags, together / together[0])}


def on_scan(scan: Volume) -> dict[str, Any]:
    scan = scan.in_space("fixed")
    warp = draw_warp(scan.grid, np.random.default_rng(0))
    return {
        "voxels": "x".join(map(str, scan.grid.shape)),
        "warp_user_s": user_seconds(lambda: warped_scan(scan, warp, outside=-1000.0), runs=1),
        "smooth_rms_mm": smooth_alone(scan.grid, WarpConfig()),
        **told(warp, scan.grid),
    }


def scans_in(folder: Path) -> dict[str, Volume]:
    """The readable three-dimensional scans of the folder and of those in it, large ones left out: they take minutes."""
    found = {}
    for path in sorted(folder.glob("**/*.nii.gz")):
        try:
            scan = read(path)
        except HomologError as error:
            print(f"left out {path.name}: {error.message}", file=sys.stderr)
            continue
        if min(scan.grid.shape) > 32 and scan.grid.size < 8e6 and np.unique(scan.numpy()[::4, ::4, ::4]).size > 100:
            found[path.name.removesuffix(".nii.gz")] = scan
    return found


def main() -> None:
    given = arguments(__doc__)
    figures: dict[str, Any] = {name: on_box(*box) for name, box in BOXES.items()}
    figures["likeness_of_motion"] = likeness()
    grid = oblique(300.0, 256)
    # a box of 256 x 128 x 256 voxels, counted twice
    warp, scan = draw_warp(grid, np.random.default_rng(0)), Volume(np.zeros(grid.shape), grid, "fixed")
    figures["warping_256_cubed"] = {
        "to_moving_user_s": 2 * user_seconds(lambda: warped_scan(scan, warp, outside=0.0), runs=1),
        "to_fixed_user_s": 2 * user_seconds(lambda: warped_scan(scan.in_space("moving"), warp, outside=0.0), runs=1),
    }
    if given.data:
        figures["scans"] = {name: on_scan(scan) for name, scan in scans_in(given.data).items()}
    write_ours(Path(__file__).parent, figures)


if __name__ == "__main__":
    main()
