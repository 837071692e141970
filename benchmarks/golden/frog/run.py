"""FROG's own half-transforms read and applied: how far its landmarks lie from their centroids in the common space.

python benchmarks/golden/frog/run.py --golden DIR
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import arguments, user_seconds, write_ours, yardstick

import homolog
from homolog.space.transforms import chain

# The group was run on the numbers in these files as they stand; which frame they are called changes no distance,
# as long as points and transforms are called the same.
FRAME = "RAS"


def main() -> None:
    folder = arguments(__doc__, "golden").golden / "frog"
    paths = sorted((folder / "transforms").glob("?.json"), key=lambda path: int(path.stem))
    maps = [homolog.read_transform(path, frame=FRAME, fixed=path.stem) for path in paths]
    points = [
        homolog.read_points(folder / "landmarks" / f"lm{int(path.stem):02d}.fcsv", frame=FRAME, space=path.stem)
        for path in paths
    ]
    with tempfile.TemporaryDirectory() as temporary:
        through = [through_itk(each, Path(temporary)) for each in maps]
        figures = {
            "landmarks": sum(map(len, points)),
            "at_the_start_mm": spread_mm([each.position for each in points])[0],
            "after_the_linear_part_mm": spread_mm([only_linear(m).apply(p.position) for m, p in zip(maps, points)])[0],
            "at_the_end_mm": spread_mm([m.apply(p.position) for m, p in zip(maps, points)])[0],
            "at_the_end_median_mm": spread_mm([m.apply(p.position) for m, p in zip(maps, points)])[1],
            "at_the_end_through_h5_mm": spread_mm([m.apply(p.position) for m, p in zip(through, points)])[0],
            "read_one_user_s": user_seconds(lambda: homolog.read_transform(paths[0], frame=FRAME)),
            "yardstick_user_s": yardstick(),
        }
    write_ours(Path(__file__).parent, figures)


def spread_mm(carried: list[np.ndarray]) -> tuple[float, float]:
    """Mean and median distance of each point to the centroid of its name over all images."""
    positions = np.array(carried)
    distance = np.linalg.norm(positions - positions.mean(axis=0), axis=-1)
    return float(distance.mean()), float(np.median(distance))


def only_linear(whole: homolog.Transform) -> homolog.Transform:
    """The step that FROG applies first, before its splines."""
    assert isinstance(whole, homolog.Chain)
    return chain([whole.parts[-1]])


def through_itk(transform: homolog.Transform, folder: Path) -> homolog.Transform:
    """The same map, written as an ITK file and read again."""
    path = folder / f"{transform.fixed}.h5"
    homolog.write_transform(transform, path)
    return homolog.read_transform(path)


if __name__ == "__main__":
    main()
