"""3D-SURF and 3D-SIFT as the poster of SP3D measures them: found again, matched, and how far landmarks end.

Scans: four CTs, each against itself under a drawn warp and with noise of 20 HU; and all ten pairs of five virtual
patients, seeds 10 to 14, on voxels of 2 mm. Both detectors give as many points a pair, those of the poorer one; points
off the patient do not count. Chance is what as many points strewn over the shared part of the patient would reach.
3D-SURF looks at voxels of 0.75 mm, as FROG calls it, and also at the scan's own; 3D-SIFT at the scan's own.
About six minutes.

python benchmarks/papers/sp3d/run.py --data DIR
"""

from __future__ import annotations

import resource
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import SCANS, arguments, write_ours

import homolog
from homolog import Keypoints, Transform, Volume
from homolog.features import sift3d, surf3d
from homolog.features.configs import Sift3dConfig, Surf3dConfig
from homolog.matching.truth import correspondences
from homolog.metrics.descriptors import Case, discrimination, retrieval
from homolog.metrics.keypoints import fair_budget, matching_score, repeatability
from homolog.metrics.landmarks import target_error
from homolog.pairwise import keypoint
from homolog.space.prepared import BODY, prepare
from homolog.synth.deformations import draw_warp, warped_scan

HERE = Path(__file__).parent
NOISE_HU = 20.0
SEEDS = range(10, 15)
REGION, SPACING_MM = "abdomen-pelvis", 2.0
# FROG's own: voxels in mm, and points at most
SAMPLING_MM, MOST = 0.75, 20_000
DETECTORS = {
    "surf3d": lambda scan, mask: surf3d.detect(scan, Surf3dConfig(sampling_mm=SAMPLING_MM, most=MOST), mask=mask),
    "sift3d": lambda scan, mask: sift3d.detect(scan, Sift3dConfig(most=MOST), mask=mask),
    "surf3d_own_voxels": lambda scan, mask: surf3d.detect(scan, Surf3dConfig(most=MOST), mask=mask),
}
# those that are given as many points as the poorer of them found
COMPARED = ("surf3d", "sift3d")
# mm, what corresponds where descriptors alone are judged, as for the published 0.077; and how many pairs are drawn
CORRESPONDING_MM, DRAWN = 8.0, 20_000
# mm between the places at which a map is held against a drawn warp
PLACES_MM = 10.0

Figures = dict[str, dict[str, Any]]


def main() -> None:
    given = arguments(__doc__, "data")
    figures = {
        "scans_under_warps": summary([scored(pair) for pair in warped_pairs(given.data)]),
        "virtual_patients": summary([scored(pair) for pair in patients()]),
    }
    theirs = tomllib.loads((HERE / "paper.toml").read_text())
    for name, rows in figures.items():
        print(name, table(rows), sep="\n", end="\n\n")
    print("poster", *(f"{name}: {row}" for name, row in theirs.items()), sep="\n")
    write_ours(HERE, figures)


# ---------------------------------------------------------------------------------------------------------------------
# Pairs


@dataclass(frozen=True, eq=False)
class Seen:
    """A scan, where the patient is in it, and each detector's points there."""

    scan: Volume
    body: Volume
    points: dict[str, Keypoints]
    user_s: dict[str, float]

    @classmethod
    def of(cls, scan: Volume) -> Seen:
        state = prepare(scan, None, "fixed").state
        body = state.with_data((state.numpy() == BODY).astype(np.uint8))
        points, user_s = {}, {}
        for name, detect in DETECTORS.items():
            before = user()
            points[name] = detect(scan, body)
            user_s[name] = user() - before
        return cls(scan, body, points, user_s)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two scans, the true map between them, and landmarks of both by which a found map is judged."""

    name: str
    fixed: Seen
    moving: Seen
    truth: Transform
    here: Keypoints
    there: Keypoints


def warped_pairs(data: Path) -> Iterator[Pair]:
    for seed, (name, path) in enumerate(SCANS.items()):
        rng = np.random.default_rng(seed)
        scan = homolog.read(data / path, space="fixed")
        warp = draw_warp(scan.grid, rng)
        moved = warped_scan(scan, warp, outside=-1000.0)
        noise = rng.normal(0, NOISE_HU, moved.grid.shape).astype(np.float32)
        fixed, moving = Seen.of(scan), Seen.of(moved.with_data(moved.numpy() + noise))
        places = scan.grid.with_spacing(PLACES_MM).points()
        voxels = np.rint(fixed.body.grid.voxel(places)).astype(int).clip(0, np.array(fixed.body.grid.shape) - 1)
        here = Keypoints(places[fixed.body.numpy()[tuple(voxels.T)] != 0], "fixed")
        there = here.moved_to(warp.moving_from_fixed.apply(here.position), "moving")
        yield Pair(name, fixed, moving, warp.moving_from_fixed, here, there)


def patients() -> Iterator[Pair]:
    for a, b in combinations(SEEDS, 2):
        (one, fixed), (other, moving) = drawn(a), drawn(b)
        here, there = one.landmarks(), other.landmarks()
        seen = fixed.scan.grid.contains(here.position) & moving.scan.grid.contains(there.position)
        yield Pair(f"{one.name} {other.name}", fixed, moving, homolog.between(one, other), here[seen], there[seen])


@lru_cache
def drawn(seed: int) -> tuple[Any, Seen]:
    patient = homolog.draw_patient(seed)
    return patient, Seen.of(patient.scan(patient.grid(SPACING_MM, region=REGION)))


# ---------------------------------------------------------------------------------------------------------------------
# Figures


def scored(pair: Pair) -> Figures:
    """Figure -> detector -> its value."""
    regions = {"fixed_region": pair.fixed.body, "moving_region": pair.moving.body}
    found = {name: (pair.fixed.points[name], pair.moving.points[name]) for name in DETECTORS}
    budget = fair_budget([found[name] for name in COMPARED], pair.truth, **regions)
    each = {name: one_scored(pair, *both, budget, regions) for name, both in found.items()}
    for name in DETECTORS:
        each[name]["detection_user_s"] = (pair.fixed.user_s[name] + pair.moving.user_s[name]) / 2
    figures = {row: {name: each[name][row] for name in DETECTORS} for row in next(iter(each.values()))}
    told = ", ".join(f"{name} {value:.3f}" for name, value in figures["repeatability_2mm"].items())
    print(f"{pair.name}, {budget} points: repeatability {told}", file=sys.stderr, flush=True)
    return figures


def one_scored(pair: Pair, fixed: Keypoints, moving: Keypoints, budget: int, regions: dict) -> dict[str, float]:
    again = repeatability(fixed, moving, pair.truth, budget=budget, **regions)
    matched = matching_score(fixed, moving, pair.truth, budget=budget, **regions)
    before = user()
    map_found = keypoint.register(fixed, moving, box_mm=pair.fixed.scan.grid.bounds())
    user_s = user() - before
    error = target_error(pair.here, pair.there, map_found.moving_from_fixed)
    return {
        "points_found": (len(fixed) + len(moving)) / 2,
        "points_compared": (again.fixed + again.moving) / 2,
        **{f"repeatability_{mm:g}mm": rate for mm, rate in zip(again.within_mm, again.rate)},
        **{f"chance_{mm:g}mm": rate for mm, rate in zip(again.within_mm, again.chance)},
        **{f"matching_score_{mm:g}mm": score for mm, score in zip(matched.within_mm, matched.score)},
        **{f"right_of_mutual_{mm:g}mm": share for mm, share in zip(matched.within_mm, matched.accuracy)},
        **told_apart(pair, fixed, moving),
        "landmarks_as_stored_mm": target_error(pair.here, pair.there, None).mean_mm,
        "landmarks_mm": error.mean_mm,
        "landmarks_median_mm": error.median_mm,
        "doubted": float(bool(map_found.doubts)),
        "registration_user_s": user_s,
    }


def told_apart(pair: Pair, fixed: Keypoints, moving: Keypoints) -> dict[str, float]:
    """What descriptors alone can tell, of all points that were found."""
    right = correspondences(fixed, moving, pair.truth, within_mm=CORRESPONDING_MM)
    case = Case(fixed, moving, right, pair.truth)
    return {
        "fpr95": discrimination([case], pairs=DRAWN).false_positives,
        "fpr95_hard": discrimination([case], pairs=DRAWN, hard=True).false_positives,
        "recall_at_1": retrieval([case]).first,
    }


def summary(found: list[Figures]) -> Figures:
    """Means over pairs, how many maps were doubted, and one line of each pair's own figures."""
    rows: Figures = {
        row: {name: float(np.mean([one[row][name] for one in found])) for name in DETECTORS} for row in found[0]
    }
    rows["doubted"] = {name: int(sum(one["doubted"][name] for one in found)) for name in DETECTORS}
    rows["pairs"] = {name: len(found) for name in DETECTORS}
    for row in ("repeatability_2mm", "matching_score_2mm", "landmarks_mm"):
        rows[f"{row}_of_pairs"] = {name: [one[row][name] for one in found] for name in DETECTORS}
    return rows


def table(rows: Figures) -> str:
    single = {row: values for row, values in rows.items() if not isinstance(values["surf3d"], list)}
    head = f"{'':24}" + "".join(f"{name:>20}" for name in DETECTORS)
    return "\n".join(
        [head, *(f"{row:24}" + "".join(f"{v:20.3f}" for v in one.values()) for row, one in single.items())]
    )


def user() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


if __name__ == "__main__":
    main()
