"""One patient, two scans: what docs/frames.md tells, done.

A drawn body is scanned twice: once straight, once by a tilted scanner with other voxels and in another breath. The map
between the two scans is known, so that every step can be checked: the picture and the labels are brought over, a
landmark goes along, and everything is written in formats that other programs read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import homolog
from homolog.metrics.overlap import dice
from homolog.report import png

BODY_HU = np.array([-1000.0, 40.0, -800.0, 700.0, 160.0], np.float32)
CENTRE_MM = np.array([10.0, -20.0, 500.0])


def body(grid: homolog.Grid, space: str) -> homolog.Volume:
    """Labels of a torso: 1 soft tissue, 2 lungs, 3 spine and ribs, 4 aorta."""
    x, y, z = (grid.points() - CENTRE_MM).T
    labels = np.zeros(grid.size, np.uint8)
    torso = (x / 90) ** 2 + (y / 62) ** 2
    labels[torso < 1] = 1
    for side in (-1, 1):
        labels[((x - 42 * side) / 32) ** 2 + ((y + 4) / 44) ** 2 + (z / 75) ** 2 < 1] = 2
    ribs = (np.abs(torso - 0.86) < 0.05) & (np.abs((z - 0.3 * y) % 24 - 12) < 4)
    labels[ribs & (np.abs(z) < 70)] = 3
    vertebrae = (x / 15) ** 2 + ((y - 44) / 12) ** 2 < 1
    labels[vertebrae & (np.abs(z % 26 - 13) > 3)] = 3
    labels[(x - 16) ** 2 + (y - 24) ** 2 < 9**2] = 4
    return homolog.Volume(labels.reshape(grid.shape), grid, space, "labels")


def scan(labels: homolog.Volume, rng: np.random.Generator) -> homolog.Volume:
    """A CT of the labels, with noise."""
    noise = rng.normal(0, 20, labels.grid.shape).astype(np.float32)
    return homolog.Volume(BODY_HU[labels.numpy()] + noise, labels.grid, labels.space)


def tilted_grid() -> homolog.Grid:
    """The second scanner's: oblique, anisotropic, left-handed."""
    shape, spacing_mm = (120, 100, 80), np.array([1.9, 1.7, 2.6])
    c, s = np.cos(0.2), np.sin(0.2)
    axes = np.array([[-1, 0, 0], [0, c, -s], [0, s, c]])
    corner_mm = CENTRE_MM - axes @ (spacing_mm * (np.array(shape) - 1) / 2)
    return homolog.Grid.regular(shape, spacing_mm, corner_mm, axes)


def picture(scan_1: homolog.Volume, scan_2: homolog.Volume, warped: homolog.Volume) -> np.ndarray:
    """Coronal slices: scan 1, scan 2 laid over it by the headers alone, and by the map."""
    by_header = homolog.warp(scan_2, homolog.Affine.identity("scan_1", "scan_2"), scan_1.grid, outside=-1000.0)
    slices = [np.flipud(v.numpy()[:, scan_1.grid.shape[1] // 2].T) for v in (scan_1, by_header, warped)]
    greys = [np.kron(png.window(s, -900, 500), np.ones((3, 3), np.uint8)) for s in slices]
    panels = [png.overlay(greys[0], other) for other in greys]
    gap = np.full((panels[0].shape[0], 6, 3), 255, np.uint8)
    return np.hstack((panels[0], gap, panels[1], gap, panels[2]))


def main(out: Path) -> None:
    rng = np.random.default_rng(7)
    grid_1 = homolog.Grid.regular((92, 70, 84), 2.2, CENTRE_MM - 2.2 * np.array([45.5, 34.5, 41.5]))

    # the truth: where each point of the first scan lies in the second
    drawn = homolog.draw_warp(grid_1, rng, fixed="scan_1", moving="scan_2")
    scan_2_from_scan_1 = drawn.moving_from_fixed
    labels_2 = body(tilted_grid(), "scan_2")
    scan_2 = scan(labels_2, rng)
    labels_1 = homolog.apply(scan_2_from_scan_1, labels_2, grid_1, outside=0, interpolation="smooth")
    scan_1 = scan(labels_1, rng)

    # one map, three kinds of things; no call says a direction, the names of the spaces do
    scan_2_on_1 = homolog.apply(scan_2_from_scan_1, scan_2, grid_1, outside=-1000.0)
    labels_2_on_1 = homolog.apply(scan_2_from_scan_1, labels_2, grid_1, outside=0)
    carina_2 = homolog.Keypoints(np.array([[10.0, -15.0, 520.0]]), "scan_2", name=("carina",))
    carina_1 = homolog.apply(scan_2_from_scan_1, carina_2)

    # the way back: the inverse that was drawn with the map, and one solved on scan 2's own grid
    back_again = homolog.apply(scan_2_from_scan_1, carina_1)
    solved = homolog.invert(scan_2_from_scan_1, labels_2.grid)

    out.mkdir(parents=True, exist_ok=True)
    homolog.write(scan_1, out / "scan_1.nii.gz")
    homolog.write(scan_2, out / "scan_2.nrrd")
    homolog.write(scan_2_on_1, out / "scan_2_on_1.nii.gz")
    homolog.write(labels_2_on_1, out / "labels_2_on_1.nii.gz")
    homolog.write_points(carina_1, out / "carina_on_1.mrk.json")
    homolog.write_transform(scan_2_from_scan_1, out / "scan_2_from_scan_1.h5", like=grid_1)
    (out / "before_after.png").write_bytes(png.encode(picture(scan_1, scan_2, scan_2_on_1)))

    print(f"the map {scan_2_from_scan_1.describe()}")
    print(f"its drawn inverse is off by at most   {drawn.error_mm:.4f} mm")
    print(f"one solved on scan 2's grid           {solved.mean_mm:.4f} mm on average, {solved.max_mm:.3f} mm at most")
    print(f"the carina of scan 2 lies in scan 1   at {np.round(carina_1.position[0], 2).tolist()} LPS mm")
    print(f"carried back to scan 2 it is          {np.abs(back_again.position - carina_2.position).max():.5f} mm off")
    scores = ", ".join(f"{name}: {score:.3f}" for name, score in dice(labels_1, labels_2_on_1).items())
    print(f"Dice of the labels brought over       {scores}")
    print(f"written to {out}/, look at before_after.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    main(parser.parse_args().out)
