"""The linear registration on deeds' own two pairs: how well organs overlap, and how far points end from a drawn truth.

With --data also one patient's lung, months apart, with 51 landmarks, and two patients' chests.

python benchmarks/pairwise/linear/run.py --golden DIR --data DIR
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import arguments, user_seconds, write_ours, yardstick

import homolog
from homolog.metrics.overlap import dice
from homolog.pairwise.linear import register
from homolog.space.registration import Registration


def main() -> None:
    given = arguments(__doc__, "golden")
    folder = given.golden / "deeds"
    phantom = pair(folder, "ph0", "ph1")
    real = pair(folder, "real_fix", "real_mov")
    on_phantom, on_real = register(*phantom), register(*real)
    nowhere = homolog.Affine.identity("fixed", "moving")
    figures = {
        "phantom_dice13_before": dice13(folder, nowhere),
        "phantom_dice13": dice13(folder, on_phantom.moving_from_fixed),
        "real_error_before_mm": error_mm(folder, nowhere),
        "real_error_mm": error_mm(folder, on_real.moving_from_fixed),
        "real_error_of_best_affine_mm": error_mm(folder, best_affine(folder)),
        "phantom_user_s": user_seconds(lambda: register(*phantom), runs=3),
        "real_user_s": user_seconds(lambda: register(*real), runs=3),
        **similarities("phantom", on_phantom),
        **similarities("real", on_real),
        **({**lung(given.data / "lung-pair"), **chests(given.data)} if given.data else {}),
        "yardstick_user_s": yardstick(),
    }
    write_ours(Path(__file__).parent, figures)


def pair(folder: Path, fixed: str, moving: str) -> tuple[homolog.Volume, homolog.Volume]:
    spaces = {fixed: "fixed", moving: "moving"}
    one, other = (homolog.read(folder / f"{name}.nii.gz", space=space) for name, space in spaces.items())
    return one, other


def dice13(folder: Path, transform: homolog.Transform) -> float:
    """Per cent, the mean over the labels, the moving ones brought to the fixed grid by nearest neighbour."""
    fixed = homolog.read_labels(folder / "ph0_seg.nii.gz", space="fixed")
    moving = homolog.read_labels(folder / "ph1_seg.nii.gz", space="moving")
    warped = homolog.warp(moving, transform, fixed.grid, outside=0)
    return 100 * float(np.nanmean(list(dice(fixed, warped).values())))


def truth(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Fixed points (N, 3) and where they lie in the moving patient, LPS mm, over the body."""
    fixed, moving = (homolog.read(folder / f"real_{name}.nii.gz").grid for name in ("fix", "mov"))
    with np.load(folder / "real_truth_half.npz") as drawn:
        u, counted = drawn["displacement_voxels"].astype(np.float64), drawn["counted"]
    voxels = 2 * np.argwhere(counted)
    return fixed.world(voxels), moving.world(voxels + u[:, counted].T)


def error_mm(folder: Path, transform: homolog.Transform) -> float:
    here, there = truth(folder)
    return float(np.linalg.norm(transform.apply(here) - there, axis=1).mean())


def best_affine(folder: Path) -> homolog.Affine:
    """What no affine map can be much better than: the least squares fit to the truth itself."""
    return homolog.fit.affine(*truth(folder))


def lung(folder: Path) -> dict[str, float]:
    """Mean distance of the landmarks in mm: as stored, after the registration, and the best affine map's."""
    fixed = homolog.read(folder / "3DCT_lung_baseline_small.mha", space="fixed")
    moving = homolog.read(folder / "derived_followup_unregistered_approx.nii.gz", space="moving")
    here, there = np.split(np.loadtxt(folder / "derived_landmarks_51_in_crop.csv", delimiter=","), 2, axis=1)
    maps = {
        "before": homolog.Affine.identity("fixed", "moving"),
        "after": register(fixed, moving).moving_from_fixed,
        "of_best_affine": homolog.fit.affine(here, there),
    }
    return {f"lung_error_{name}_mm": np.linalg.norm(t.apply(here) - there, axis=1).mean() for name, t in maps.items()}


def chests(folder: Path) -> dict[str, float]:
    """How far two patients' maps in both orders miss each other where both are seen, mean in mm."""
    one = homolog.read(folder / "chest-a" / "lidc-idri-0001_2mm.nii.gz", space="one")
    other = homolog.read(folder / "chest-b" / "cmb-crc-msb-01068_2mm.nii.gz", space="other")
    there, back = register(one, other).moving_from_fixed, register(other, one).moving_from_fixed
    points = one.grid.points()[::997]
    points = points[other.grid.contains(there.apply(points))]
    return {"chests_there_and_back_mm": np.linalg.norm(back.apply(there.apply(points)) - points, axis=1).mean()}


def similarities(name: str, result: Registration) -> dict[str, float]:
    return {f"{name}_similarity_before": result.similarity_before, f"{name}_similarity": result.similarity_after}


if __name__ == "__main__":
    main()
