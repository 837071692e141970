"""deeds' own files read and applied: the labels it warped, voxel by voxel, straight and by way of an ITK file.

python benchmarks/golden/deeds/run.py --golden DIR
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import arguments, user_seconds, write_ours, yardstick

import homolog
from homolog.io.volumes import read_grid


def main() -> None:
    folder = arguments(__doc__, "golden").golden / "deeds"
    like, moving_like = read_grid(folder / "ph0.nii.gz"), read_grid(folder / "ph1.nii.gz")

    def read() -> homolog.Transform:
        return homolog.read_transform(
            folder / "ph01_displacements.dat", like=like, moving_like=moving_like, matrix=folder / "ph01_matrix.txt"
        )

    labels = homolog.read_labels(folder / "ph1_seg.nii.gz", space="moving")
    theirs = homolog.read_labels(folder / "ph01_deformed_seg.nii.gz").numpy()

    def differing(transform: homolog.Transform) -> int:
        return int((homolog.warp(labels, transform, like, outside=0).numpy() != theirs).sum())

    straight = read()
    with tempfile.TemporaryDirectory() as temporary:
        itk, again = Path(temporary) / "t.h5", Path(temporary) / "t_displacements.dat"
        homolog.write_transform(straight, itk, like=like, moving_like=moving_like)
        homolog.write_transform(straight, again, like=like, moving_like=moving_like)
        by_itk = homolog.read_transform(itk)
        by_dat = homolog.read_transform(
            again, like=like, moving_like=moving_like, matrix=again.with_name("t_matrix.txt")
        )
        figures = {
            "voxels": theirs.size,
            "voxels_that_differ": differing(straight),
            "voxels_that_differ_through_h5": differing(by_itk),
            "voxels_that_differ_through_dat": differing(by_dat),
            "nearest_tie_vox": nearest_tie_vox(straight, like, moving_like),
            "endpoint_error_of_deeds_mm": endpoint_error_mm(folder),
            "read_user_s": user_seconds(read),
            "warp_user_s": user_seconds(lambda: differing(straight)),
            "yardstick_user_s": yardstick(),
        }
    write_ours(Path(__file__).parent, figures)


def nearest_tie_vox(transform: homolog.Transform, like: homolog.Grid, moving_like: homolog.Grid) -> float:
    """How near any voxel comes to the middle between two labels, where rounding would choose."""
    voxels = moving_like.voxel(transform.apply(like.points()))
    return float(np.abs(voxels - np.floor(voxels) - 0.5).min())


def endpoint_error_mm(folder: Path) -> float:
    """deeds' mean error over the body against the drawn truth of its other pair: a check of signs, axes and units."""
    like, moving_like = read_grid(folder / "real_fix.nii.gz"), read_grid(folder / "real_mov.nii.gz")
    transform = homolog.read_transform(
        folder / "real_displacements.dat", like=like, moving_like=moving_like, matrix=folder / "real_matrix.txt"
    )
    with np.load(folder / "real_truth_half.npz") as truth:
        u, counted = truth["displacement_voxels"].astype(np.float64), truth["counted"]
    voxels = 2 * np.argwhere(counted)
    arrived = moving_like.world(voxels + u[:, counted].T)
    return float(np.linalg.norm(transform.apply(like.world(voxels)) - arrived, axis=1).mean())


if __name__ == "__main__":
    main()
