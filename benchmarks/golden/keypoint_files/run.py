"""Keypoints as FROG's 3D-SURF and SIFT3D print them, read, laid on their images, and written again.

python benchmarks/golden/keypoint_files/run.py --data DIR --golden DIR
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

IMAGES = {
    "chest-a": "chest-a/lidc-idri-0001_2mm.nii.gz",
    "chest-b": "chest-b/cmb-crc-msb-01068_2mm.nii.gz",
    "abdomen-pelvis": "abdomen-pelvis/example_ct.nii.gz",
    "heart-aorta": "heart-aorta/ct_cropped.nii.gz",
}
# What FROG's groupwise work asks of every image.
MANY = 20_000


def main() -> None:
    given = arguments(__doc__, "data", "golden")
    figures: dict[str, float] = {}
    frogs = {}
    for name, image in IMAGES.items():
        grid = read_grid(given.data / image)
        frogs[name] = homolog.read_keypoints(given.golden / "surf3d" / f"surf3d_{name}.csv.gz", space=name)
        figures[f"frog_{name}"] = len(frogs[name])
        figures[f"frog_{name}_inside"] = int(grid.contains(frogs[name].position).sum())
        keys = given.golden / "sift3d" / f"sift3d_{name}.keys.csv"
        described = keys.with_name(keys.name.replace(".keys.csv", ".desc.csv.gz"))
        if keys.exists():
            found = homolog.read_keypoints(keys, grid=grid, descriptors=described if described.exists() else None)
            figures[f"sift3d_{name}"] = len(found)
            figures[f"sift3d_{name}_described"] = 0 if found.descriptors is None else len(found.descriptors)
    figures |= written_again(frogs["chest-b"]) | times(frogs["chest-b"]) | {"yardstick_user_s": yardstick()}
    write_ours(Path(__file__).parent, figures)


def written_again(points: homolog.Keypoints) -> dict[str, float]:
    """The largest differences of places (mm) and of descriptors after a way through each format."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("npz", "csv.gz", "bin"):
            homolog.write_keypoints(points, Path(folder) / f"keys.{ending}")
            read = homolog.read_keypoints(Path(folder) / f"keys.{ending}")
            key = ending.replace(".", "_")
            figures[f"through_{key}_mm"] = float(np.abs(read.position - points.position).max())
            figures[f"through_{key}_descriptor"] = float(np.abs(read.descriptors - points.descriptors).max())
    return figures


def times(points: homolog.Keypoints) -> dict[str, float]:
    """User seconds for as many points as groupwise work has an image."""
    rows = np.arange(MANY) % len(points)
    many = points[rows]
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("npz", "csv.gz", "bin"):
            path, key = Path(folder) / f"keys.{ending}", ending.replace(".", "_")
            figures[f"write_{key}_user_s"] = user_seconds(lambda path=path: homolog.write_keypoints(many, path), 3)
            figures[f"read_{key}_user_s"] = user_seconds(lambda path=path: homolog.read_keypoints(path), 3)
    return figures


if __name__ == "__main__":
    main()
