"""Runs a rival program; peers.py calls it in the rivals' own environment, so it imports nothing of ours.

The folder holds fixed.nii.gz, moving.nii.gz and moving_labels.nii.gz. Put beside them are the maps as the rival writes
them (affine.mat, warp.nii.gz), what it makes of the labels with the affine alone and with both (affine_labels.nii.gz,
labels.nii.gz), and the user seconds of registering (user_s.json).

python benchmarks/peers_inside.py greedy FOLDER
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

# one thread: ITK's threads spin while they wait for each other, and user seconds would count that
os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"


def greedy(_: Path) -> None:
    """An affine from the centres of the pictures, then the warp, both by correlation in small windows."""
    from picsl_greedy import Greedy3D

    how = "-i fixed.nii.gz moving.nii.gz -m WNCC 2x2x2 -n 100x50x10 -threads 1"
    carry = "-rf fixed.nii.gz -ri NN -threads 1 -rm moving_labels.nii.gz"
    program, began = Greedy3D(), user_s()
    program.execute(f"-a -dof 12 -ia-image-centers {how} -o affine.mat")
    program.execute(f"{how} -it affine.mat -o warp.nii.gz")
    tell(user_s() - began)
    program.execute(f"{carry} affine_labels.nii.gz -r affine.mat")
    program.execute(f"{carry} labels.nii.gz -r warp.nii.gz affine.mat")


def syn(folder: Path) -> None:
    """ANTs' antsRegistrationSyNQuick: rigid, affine and SyN, all three by mutual information."""
    import ants

    fixed, moving, labels = (ants.image_read(f"{name}.nii.gz") for name in ("fixed", "moving", "moving_labels"))
    began = user_s()
    found = ants.registration(
        fixed, moving, "antsRegistrationSyNQuick[s]", outprefix=str(folder / "ants_"), random_seed=1
    )
    tell(user_s() - began)
    warp, affine = found["fwdtransforms"]
    for maps, name in (([affine], "affine_labels"), ([warp, affine], "labels")):
        moved = ants.apply_transforms(fixed, labels, maps, interpolator="nearestNeighbor")
        moved.astype("uint8").to_file(f"{name}.nii.gz")
    os.rename(affine, "affine.mat")
    os.rename(warp, "warp.nii.gz")


PEERS: dict[str, Callable[[Path], None]] = {"greedy": greedy, "syn": syn}


def user_s() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def tell(spent_s: float) -> None:
    Path("user_s.json").write_text(json.dumps(spent_s))


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    PEERS[sys.argv[1]](Path.cwd())
