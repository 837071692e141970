"""One patient, two scans: what docs/frames.md tells, done.

A drawn body is scanned twice: once straight, once by a tilted scanner with other voxels after the patient breathed in.
The map between the two scans is known, so that every step can be checked: the picture and the labels are brought over,
a landmark goes along, and everything is written in formats that other programs read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import homolog
from homolog.metrics.overlap import dice

BODY_HU = {0: -1000.0, 1: 40.0, 2: -800.0, 3: 700.0}


def body(grid: homolog.Grid, space: str) -> homolog.Volume:
    """Labels of a torso: 1 soft tissue, 2 two lungs, 3 a spine."""
    x, y, z = (grid.points() - (10.0, -20.0, 500.0)).T
    labels = np.zeros(grid.size, np.uint8)
    labels[(x / 90) ** 2 + (y / 65) ** 2 < 1] = 1
    for side in (-1, 1):
        labels[((x - 42 * side) / 30) ** 2 + (y / 42) ** 2 + (z / 70) ** 2 < 1] = 2
    labels[x**2 + (y - 48) ** 2 < 12**2] = 3
    return homolog.Volume(labels.reshape(grid.shape), grid, space, "labels")


def scan(labels: homolog.Volume, rng: np.random.Generator) -> homolog.Volume:
    """A CT of the labels, with noise."""
    hounsfield = np.array([BODY_HU[n] for n in range(4)], np.float32)[labels.numpy()]
    noisy = hounsfield + rng.normal(0, 15, labels.grid.shape).astype(np.float32)
    return homolog.Volume(noisy, labels.grid, labels.space)


def tilted_grid() -> homolog.Grid:
    """The second scanner's: oblique, anisotropic, left-handed."""
    c, s = np.cos(0.2), np.sin(0.2)
    axes = np.array([[-1, 0, 0], [0, c, -s], [0, s, c]])
    corner = (10.0, -20.0, 500.0) - axes @ (np.array([60, 50, 40]) * (1.9, 1.7, 3.0) / 1.0)
    return homolog.Grid.regular((120, 100, 80), (1.9, 1.7, 3.0), corner, axes)


def main(out: Path) -> None:
    rng = np.random.default_rng(0)
    fixed_grid = homolog.Grid.regular((96, 76, 84), 2.2, (-95.0, -103.0, 408.0))

    # the truth: where each point of the first scan lies in the second
    drawn = homolog.draw_warp(fixed_grid, rng, fixed="scan_1", moving="scan_2")
    labels_2 = body(tilted_grid(), "scan_2")
    scan_2 = scan(labels_2, rng)

    # one map, three kinds of things; each call says nothing of direction, the spaces' names do
    scan_2_on_1 = homolog.apply(drawn.moving_from_fixed, scan_2, fixed_grid, outside=-1000.0)
    labels_2_on_1 = homolog.apply(drawn.moving_from_fixed, labels_2, fixed_grid, outside=0)
    carina_2 = homolog.Keypoints(np.array([[10.0, -15.0, 520.0]]), "scan_2", name=("carina",))
    carina_1 = homolog.apply(drawn.moving_from_fixed, carina_2)

    # the way back: the inverse that was drawn with it, and one solved here, agree
    back_again = homolog.apply(drawn.moving_from_fixed, carina_1)
    solved = homolog.invert(drawn.moving_from_fixed, labels_2.grid)
    labels_1_on_2 = homolog.apply(solved.transform, labels_2_on_1, labels_2.grid, outside=0)

    out.mkdir(parents=True, exist_ok=True)
    homolog.write(scan_2_on_1, out / "scan_2_on_1.nii.gz")
    homolog.write(labels_2_on_1, out / "labels_2_on_1.nrrd")
    homolog.write_points(carina_1, out / "carina_on_1.mrk.json")
    homolog.write_transform(drawn.moving_from_fixed, out / "scan_2_from_scan_1.h5", like=fixed_grid)

    print(drawn.moving_from_fixed.describe())
    print(f"drawn inverse is off by at most      {drawn.error_mm:.4f} mm")
    print(f"solved inverse is off by (mean, max) {solved.mean_mm:.4f}, {solved.max_mm:.4f} mm")
    print(f"the carina of scan 2 lies in scan 1 at {np.round(carina_1.position[0], 2)} LPS mm")
    print(f"and comes back to within             {np.abs(back_again.position - carina_2.position).max():.5f} mm")
    scores = ", ".join(f"{name}: {score:.3f}" for name, score in dice(labels_2, labels_1_on_2).items())
    print(f"Dice of the labels, there and back   {scores}")
    print(f"written to {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    main(parser.parse_args().out)
