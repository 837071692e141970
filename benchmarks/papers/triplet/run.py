"""The patch descriptor's paper: how well descriptors tell places apart, and what is gained by it in groups.

python benchmarks/papers/triplet/run.py --data DIR [--work DIR] [--weights DIR ...]

The same keypoints, 3D-SURF's on voxels of 1 mm, described by 3D-SURF and by each network. "warped": virtual patients
that nothing was trained on, each against itself under a warp drawn as in training. "between": pairs of them. "real":
chest-a and chest-b under such warps. Wrong pairs are drawn at random, or, as "hard" ones, of the same sign and a scale
within 1.3. Then FROG: the same keypoints of ten patients, matched by each descriptor, and how far landmarks end from
their centroid. DIR of --work keeps the patients. One thread; user seconds. About a quarter of an hour.

--weights names folders of trainings to look at instead of what comes along; ours.toml is then left as it is.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

sys.path.insert(0, str(Path(__file__).parents[2]))
import numpy as np
import ten_patients
import torch
from common import SCANS, write_ours

from homolog import Keypoints, Matches, Volume, weights
from homolog.features import surf3d
from homolog.features.configs import Surf3dConfig
from homolog.io import volumes
from homolog.kernels.threads import using_threads
from homolog.matching.truth import correspondences
from homolog.metrics.descriptors import Case, discrimination, retrieval
from homolog.pipelines.describe import patch
from homolog.space.transforms import Transform
from homolog.synth.pairs import semi_synthetic
from homolog.synth.patients import between, draw_patient
from homolog.train.volume_pairs import cohort_density

HERE = Path(__file__).parent
REAL, WARPS = ("chest-a", "chest-b"), 2
KEYPOINTS, GROUP_KEYPOINTS = 4000, 5000
DETECTOR = Surf3dConfig(sampling_mm=1.0, most=GROUP_KEYPOINTS)
WITHIN_MM, STRICT_MM = 8.0, 2.0
SHIPPED = {"paper": "patch-paper", "best": "patch"}

Describe = Callable[[Volume, Keypoints], Keypoints]
Compared = tuple[Volume, Volume, Transform]


def main() -> None:
    given = arguments()
    torch.set_num_threads(1)
    ways = descriptors(given.weights)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary, using_threads(1):
        scans = ten_patients.scans((given.work or Path(temporary)) / "ten_patients")
        for setting, pairs in settings(scans, given.data).items():
            figures[setting] = told(list(pairs), ways)
            print(setting, *(f"  {name:8} {row}" for name, row in figures[setting].items()), sep="\n", flush=True)
        figures["groups"] = grouped(scans, ways)
        print("groups", *(f"  {name:8} {row}" for name, row in figures["groups"].items()), sep="\n", flush=True)
    theirs = tomllib.loads((HERE / "paper.toml").read_text())
    print("published", *(f"  {name}: {row}" for name, row in theirs.items()), sep="\n")
    if given.data is None or given.weights:
        print("not all was asked for: ours.toml is as it was", file=sys.stderr)
    else:
        write_ours(HERE, figures)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of real scans (chest-a, chest-b, ...)")
    parser.add_argument("--golden", type=Path, help="not used here; all benchmarks are given it")
    parser.add_argument("--work", type=Path, help="keeps the patients from one run to the next")
    parser.add_argument("--weights", nargs="+", default=[], help="folders of trainings, instead of what comes along")
    return parser.parse_args()


def descriptors(folders: Sequence[str]) -> dict[str, Describe]:
    """3D-SURF, and the networks by their names."""
    named = {Path(folder).name: folder for folder in folders} or SHIPPED
    known = {name: which for name, which in named.items() if folders or which in weights.names()}
    return {
        "surf3d": lambda volume, points: surf3d.describe(volume, points, DETECTOR),
        **{name: partial(patch, weights=which) for name, which in known.items()},
    }


# ---------------------------------------------------------------------------------------------------------------------
# Who tells places apart


def settings(scans: Sequence[Volume], data: Path | None) -> dict[str, Iterator[Compared]]:
    out = {"warped": warped(scans, 1), "between": between_patients(scans)}
    if data is not None:
        out["real"] = warped([volumes.read(data / SCANS[name], space=name) for name in REAL], WARPS)
    return out


def warped(scans: Sequence[Volume], times: int) -> Iterator[Compared]:
    density = cohort_density()
    for number, scan in enumerate(scans):
        for again in range(times):
            drawn = semi_synthetic(scan, np.random.default_rng([number, again]), density=density)
            yield drawn.fixed, drawn.moving, drawn.moving_from_fixed


def between_patients(scans: Sequence[Volume]) -> Iterator[Compared]:
    for n in range(len(scans)):
        other = (n + 1) % len(scans)
        yield (
            scans[n],
            scans[other],
            between(draw_patient(ten_patients.FIRST + n), draw_patient(ten_patients.FIRST + other)),
        )


def told(pairs: Sequence[Compared], ways: dict[str, Describe]) -> dict[str, dict[str, float]]:
    """FPR95 and recall of each descriptor, of the same keypoints."""
    cases: dict[str, list[Case]] = {name: [] for name in ways}
    spent = dict.fromkeys(ways, 0.0)
    for fixed, moving, to_moving in pairs:
        points = [found(volume) for volume in (fixed, moving)]
        matches = correspondences(points[0], points[1], to_moving, within_mm=WITHIN_MM)
        for name, way in ways.items():
            began = seconds()
            described = [way(volume, each) for volume, each in zip((fixed, moving), points, strict=True)]
            spent[name] += seconds() - began
            cases[name].append(Case(*described, matches, to_moving))
    return {name: {**judged(cases[name]), "user_s": round(spent[name] / len(pairs) / 2, 2)} for name in ways}


def found(volume: Volume) -> Keypoints:
    return surf3d.detect(volume, replace(DETECTOR, most=KEYPOINTS, descriptors=False))


def judged(cases: Sequence[Case]) -> dict[str, float]:
    strict = [replace(case, correspondences=near(case.correspondences)) for case in cases]
    easy, hard = discrimination(cases), discrimination(cases, hard=True)
    figures = {
        "fpr95": easy.false_positives,
        "fpr95_sd": easy.false_positives_sd,
        "fpr95_hard": hard.false_positives,
        "fpr95_strict": discrimination(strict).false_positives,
        "fpr95_strict_hard": discrimination(strict, hard=True).false_positives,
        "average_precision": easy.average_precision,
        "recall_at_1": retrieval(cases).first,
        "recall_at_1_strict": retrieval(strict).first,
    }
    return {name: round(value, 4) for name, value in figures.items()}


def near(matches: Matches) -> Matches:
    assert matches.distance is not None
    kept = matches.distance <= STRICT_MM
    return Matches(matches.pairs[kept], matches.distance[kept])


# ---------------------------------------------------------------------------------------------------------------------
# What is gained in groups


def grouped(scans: Sequence[Volume], ways: dict[str, Describe]) -> dict[str, dict[str, float]]:
    known = ten_patients.marks(scans)
    points = [surf3d.detect(scan, replace(DETECTOR, descriptors=False)) for scan in scans]
    figures: dict[str, dict[str, float]] = {"before": {"landmarks_mm": round(ten_patients.as_stored_mm(known), 3)}}
    for name, way in ways.items():
        began = seconds()
        described = [way(scan, each) for scan, each in zip(scans, points, strict=True)]
        ended = ten_patients.landmarks_mm(described, known)
        figures[name] = {"landmarks_mm": round(ended, 3), "user_s": round(seconds() - began, 1)}
    return figures


def seconds() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


if __name__ == "__main__":
    main()
