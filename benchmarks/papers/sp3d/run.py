"""SP3D, 3D-SURF and 3D-SIFT as the poster measures them: found again, matched, and how far landmarks end.

python benchmarks/papers/sp3d/run.py --data DIR [--work DIR] [--weights NAME=DIR ...] [--only PART ...]

scans_under_warps: four CTs, each against itself under a drawn warp and with noise of 20 HU. virtual_patients: all ten
pairs of five, on voxels of 2 mm. All detectors give as many points a pair, those of the poorest one; points off the
patient do not count. Chance is what as many points strewn over the shared part of the patient would reach. 3D-SURF
looks at voxels of 0.75 mm, as FROG calls it, and also of 1 mm and at the scan's own; 3D-SIFT at the scan's own.
SP3D-pt, which has seen solids only, is described by 3D-SURF. other_pictures: a chest CT as of a soft and of a sharp
kernel, and an MR scan, under a warp. looks: what it brings to look at a picture several times. groups: ten
virtual patients through FROG. grid: every detector with every descriptor (`grid.py`). DIR of --work keeps the ten
patients. No network was trained on any of these scans or patients. One thread; user seconds. About an hour.
`ablations.py` has one table more.

--weights names trainings to look at, as in sp3d=DIR or sp3d_pt=DIR; ours.toml is then left as it is. With --only, its
other parts are.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))
import grid
import ten_patients
import torch
import ways
from common import SCANS, write_ours
from scipy.ndimage import gaussian_filter

import homolog
from homolog import Keypoints, Transform, Volume
from homolog.kernels.threads import using_threads
from homolog.matching.truth import correspondences
from homolog.metrics.descriptors import Case, discrimination, retrieval
from homolog.metrics.keypoints import fair_budget, matching_score, repeatability
from homolog.metrics.landmarks import target_error
from homolog.pairwise import keypoint
from homolog.space.prepared import BODY, prepare
from homolog.synth.deformations import draw_warp, warped_scan

HERE = Path(__file__).parent
PARTS = ("scans_under_warps", "other_pictures", "virtual_patients", "looks", "groups", "grid")
NOISE_HU = 20.0
SEEDS = range(20_010, 20_015)
REGION, SPACING_MM = "abdomen-pelvis", 2.0
# Those that look at pictures unlike the others.
OTHERWISE = ("surf3d", "surf3d_1mm", "sp3d")
# mm, the filter of other kernels; and an MR scan under --data
KERNEL_MM, MR = 1.5, "abdomen-pelvis/example_mr_sm.nii.gz"
# Those that are given as many points as the poorest of them found.
COMPARED = ("surf3d", "sift3d", "sp3d")
# mm, what corresponds where descriptors alone are judged, as for the published 0.077; and how many pairs are drawn
CORRESPONDING_MM, DRAWN = 8.0, 20_000
# mm between the places at which a map is held against a drawn warp
PLACES_MM = 10.0
# Scans that are looked at several times, points that are compared, and how many times.
LOOK_SCANS, LOOK_POINTS, LOOKS = ("chest-a", "chest-b"), 1500, (1, 2, 4, 8)
# Scans and pairs of patients that the grid is of; how near points of patients are to be, as each has its own grain; and
# the patients of its groups.
GRID_SCANS, GRID_PAIRS, GRID_PATIENTS_MM, GRID_PATIENTS = ("chest-a", "chest-b"), 3, 4.0, 6

Figures = dict[str, dict[str, Any]]
# A picture's values, mm between them, and a generator -> other values.
Changed = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def main() -> None:
    given = arguments()
    torch.set_num_threads(1)
    networks = ways.trained(dict(each.split("=", 1) for each in given.weights))
    kept = not given.weights
    with tempfile.TemporaryDirectory() as temporary, using_threads(1):
        for part, figures in looked_at(given, networks, (given.work or Path(temporary)) / "ten_patients"):
            if kept:
                written = tomllib.loads((HERE / "ours.toml").read_text()) | {part: figures}
                write_ours(HERE, {one: written[one] for one in (*PARTS, "ablations") if one in written}, shown=False)
            print(part, table(figures), sep="\n", end="\n\n", flush=True)
    theirs = tomllib.loads((HERE / "paper.toml").read_text())
    print("poster", *(f"{name}: {row}" for name, row in theirs.items()), sep="\n")
    if not kept:
        print("other weights than those that come along: ours.toml is as it was", file=sys.stderr)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of real scans (chest-a, chest-b, ...)")
    parser.add_argument("--golden", type=Path, help="not used here; all benchmarks are given it")
    parser.add_argument("--work", type=Path, help="keeps the patients from one run to the next")
    parser.add_argument("--weights", nargs="+", default=[], metavar="NAME=DIR", help="trainings to look at")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=PARTS, help="a part of it")
    given = parser.parse_args()
    if given.data is None:
        print("left out, its figures stay as committed: needs --data", file=sys.stderr)
        sys.exit(0)
    return given


def looked_at(given: argparse.Namespace, networks: Mapping[str, str], folder: Path) -> Iterator[tuple[str, Figures]]:
    """The parts that are asked for, each as soon as it is measured."""
    detectors = ways.detectors(networks)
    if "scans_under_warps" in given.only:
        yield "scans_under_warps", summary([scored(pair, detectors) for pair in warped_pairs(given.data)])
    if "other_pictures" in given.only:
        rows = [seen_otherwise(pair, detectors) for pair in other_pairs(given.data)]
        yield "other_pictures", {name: row for one in rows for name, row in one.items()}
    if "virtual_patients" in given.only:
        yield "virtual_patients", summary([scored(pair, detectors) for pair in patients()])
    if "looks" in given.only and "sp3d" in networks:
        yield "looks", looks(list(warped_pairs(given.data, LOOK_SCANS)), networks["sp3d"])
    if "groups" in given.only:
        yield "groups", groups(ten_patients.scans(folder), networks)
    if "grid" in given.only:
        chests = [compared(pair) for pair in warped_pairs(given.data, GRID_SCANS)]
        pairs = [compared(pair) for _, pair in zip(range(GRID_PAIRS), patients())]
        few = ten_patients.scans(folder)[:GRID_PATIENTS]
        tables = {
            "matching_score_2mm_scans_under_warps": grid.matched(chests, networks, 2.0),
            "matching_score_4mm_virtual_patients": grid.matched(pairs, networks, GRID_PATIENTS_MM),
            f"landmarks_mm_groups_of_{GRID_PATIENTS}": grid.grouped(few, networks),
        }
        yield "grid", {f"{name}_{of}": row for name, found in tables.items() for of, row in found.items()}


def looks(pairs: list[Pair], which: str) -> Figures:
    """Of SP3D with so many looks: how many points are found again."""
    rates = {}
    for count in LOOKS:
        detect = ways.detectors({"sp3d": which}, looks=count)["sp3d"]
        rates[f"looks_{count}"] = float(
            np.mean([found_again(one, one.points(detect), LOOK_POINTS)[0] for one in pairs])
        )
    return {"repeatability_2mm": rates}


def found_again(pair: Pair, points: list[Keypoints], budget: int) -> tuple[float, float]:
    """Repeatability and matching score within 2 mm, of so many points."""
    again = repeatability(*points, pair.truth, budget=budget, **pair.regions)
    matched = matching_score(*points, pair.truth, budget=budget, **pair.regions)
    at = list(again.within_mm).index(2.0)
    return float(again.rate[at]), float(matched.score[at])


def groups(scans: list[Volume], networks: Mapping[str, str]) -> Figures:
    """Ten patients through FROG, by each detector's own descriptors."""
    marks = ten_patients.marks(scans)
    rows: Figures = {row: {} for row in ("landmarks_mm", "points", "detection_user_s")}
    rows["landmarks_mm"]["as_stored"] = ten_patients.as_stored_mm(marks)
    for name, detect in ways.detectors(networks, grid.GROUP_POINTS).items():
        before = user()
        points = [detect(scan, None) for scan in scans]
        rows["detection_user_s"][name] = (user() - before) / len(scans)
        rows["points"][name] = float(np.mean([len(one) for one in points]))
        rows["landmarks_mm"][name] = ten_patients.landmarks_mm(points, marks)
        told = ", ".join(f"{row} {values[name]:.2f}" for row, values in rows.items())
        print(f"groups by {name}: {told}", file=sys.stderr, flush=True)
    return rows


# ---------------------------------------------------------------------------------------------------------------------
# Pairs


@dataclass(frozen=True, eq=False)
class Seen:
    """A scan, and where the patient is in it."""

    scan: Volume
    body: Volume

    @classmethod
    def of(cls, scan: Volume) -> Seen:
        state = prepare(scan, None, "fixed").state
        return cls(scan, state.with_data((state.numpy() == BODY).astype(np.uint8)))

    @lru_cache  # noqa: B019 - few, and all are needed to the end
    def points(self, name: str, detect: ways.Detect) -> tuple[Keypoints, float]:
        """A detector's points, and the user seconds they took."""
        before = user()
        return detect(self.scan, self.body), user() - before


@dataclass(frozen=True, eq=False)
class Pair:
    """Two scans, the true map between them, and landmarks of both by which a found map is judged."""

    name: str
    fixed: Seen
    moving: Seen
    truth: Transform
    here: Keypoints
    there: Keypoints

    @property
    def regions(self) -> dict[str, Volume]:
        """Where points count."""
        return {"fixed_region": self.fixed.body, "moving_region": self.moving.body}

    def points(self, detect: ways.Detect) -> list[Keypoints]:
        """A detector's points of both."""
        return [detect(side.scan, side.body) for side in (self.fixed, self.moving)]


def warped_pairs(data: Path, names: Collection[str] = SCANS.keys()) -> Iterator[Pair]:
    for seed, (name, path) in enumerate(SCANS.items()):
        if name in names:
            yield warped_pair(name, homolog.read(data / path, space="fixed"), seed, noisy)


def warped_pair(name: str, scan: Volume, seed: int, changed: Changed) -> Pair:
    """A scan, and the same under a drawn warp and as another scanner might show it."""
    rng = np.random.default_rng(seed)
    warp = draw_warp(scan.grid, rng)
    moved = warped_scan(scan, warp, outside=max(float(scan.numpy().min()), -1000.0))
    fixed, moving = Seen.of(scan), Seen.of(moved.with_data(changed(moved.numpy(), moved.grid.spacing_mm, rng)))
    places = scan.grid.with_spacing(PLACES_MM).points()
    voxels = np.rint(fixed.body.grid.voxel(places)).astype(int).clip(0, np.array(fixed.body.grid.shape) - 1)
    here = Keypoints(places[fixed.body.numpy()[tuple(voxels.T)] != 0], "fixed")
    there = here.moved_to(warp.moving_from_fixed.apply(here.position), "moving")
    return Pair(name, fixed, moving, warp.moving_from_fixed, here, there)


def noisy(data: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return data + rng.normal(0, NOISE_HU, data.shape).astype(np.float32)


def softer(data: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As of a soft kernel."""
    return gaussian_filter(data.astype(np.float32), KERNEL_MM / spacing_mm)


def sharper(data: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As of a sharp kernel, which brings out noise as well."""
    with_noise = noisy(data, spacing_mm, rng).astype(np.float32)
    return np.maximum(2 * with_noise - gaussian_filter(with_noise, KERNEL_MM / spacing_mm), -1024)


def grainy(data: np.ndarray, spacing_mm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As of another MR scan: brighter, its range bent, and noisy."""
    low, high = np.quantile(data, (0.005, 0.995))
    shown = ((data - low) / (high - low)).clip(0, None) ** 0.7
    return (5 + 3 * (shown + rng.normal(0, 0.03, data.shape))).astype(np.float32)


def other_pairs(data: Path) -> Iterator[Pair]:
    """Pictures unlike those that were trained on."""
    chest = homolog.read(data / SCANS["chest-a"], space="fixed")
    yield warped_pair("soft_kernel", chest, 0, softer)
    yield warped_pair("sharp_kernel", chest, 0, sharper)
    yield warped_pair("MR", homolog.read(data / MR, space="fixed"), 0, grainy)


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


def compared(pair: Pair) -> grid.Compared:
    return pair.fixed.scan, pair.moving.scan, pair.truth, pair.fixed.body, pair.moving.body


def scored(pair: Pair, detectors: Mapping[str, ways.Detect]) -> Figures:
    """Figure -> detector -> its value."""
    regions = pair.regions
    seen = {name: [side.points(name, way) for side in (pair.fixed, pair.moving)] for name, way in detectors.items()}
    found = {name: (fixed, moving) for name, ((fixed, _), (moving, _)) in seen.items()}
    budget = fair_budget([found[name] for name in COMPARED if name in found], pair.truth, **regions)
    each = {name: one_scored(pair, *both, budget, regions) for name, both in found.items()}
    for name, sides in seen.items():
        each[name]["detection_user_s"] = float(np.mean([spent for _, spent in sides]))
    figures = {row: {name: each[name][row] for name in found} for row in next(iter(each.values()))}
    for row in ("repeatability_2mm", "matching_score_2mm", "landmarks_mm"):
        told = ", ".join(f"{name} {value:.3f}" for name, value in figures[row].items())
        print(f"{pair.name}, {budget} points: {row} {told}", file=sys.stderr, flush=True)
    return figures


def seen_otherwise(pair: Pair, detectors: Mapping[str, ways.Detect]) -> Figures:
    """How many points are found again and matched, of equally many."""
    rows = scored(pair, {name: detectors[name] for name in OTHERWISE if name in detectors})
    return {f"{row}_{pair.name}": rows[row] for row in ("points_compared", "repeatability_2mm", "matching_score_2mm")}


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
    names = list(next(iter(found[0].values())))
    rows: Figures = {
        row: {name: float(np.mean([one[row][name] for one in found])) for name in names} for row in found[0]
    }
    rows["doubted"] = {name: int(sum(one["doubted"][name] for one in found)) for name in names}
    rows["pairs"] = {name: len(found) for name in names}
    for row in ("repeatability_2mm", "matching_score_2mm", "landmarks_mm"):
        rows[f"{row}_of_pairs"] = {name: [one[row][name] for one in found] for name in names}
    return rows


def table(rows: Figures) -> str:
    """A table; what is said of each pair is left to the file."""
    single = {row: values for row, values in rows.items() if not any(isinstance(one, list) for one in values.values())}
    names = list(dict.fromkeys(name for values in single.values() for name in values))
    lines = [f"{'':38}" + "".join(f"{name:>18}" for name in names)]
    for row, values in single.items():
        lines.append(f"{row:38}" + "".join(f"{values[n]:18.3f}" if n in values else f"{'':18}" for n in names))
    return "\n".join(lines)


def user() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


if __name__ == "__main__":
    main()
