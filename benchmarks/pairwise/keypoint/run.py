"""Registration from keypoints beside the linear method: virtual patients, one patient under drawn warps, real scans.

Landmark errors in mm over ten pairs of patients of seeds 10 to 19, on which nothing was chosen, with scattered headers;
how exact the map of one patient is, and whether pairs that must be doubted are. With --data the real scans as well.

python benchmarks/pairwise/keypoint/run.py --data DIR
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from common import arguments, write_ours, yardstick

import homolog
from homolog import Grid, Volume, draw_warp
from homolog.methods import PAIRWISE, PAIRWISE_OPTIONS, resolve
from homolog.space.prepared import prepare
from homolog.space.registration import Registration
from homolog.synth.configs import PatientConfig, WarpConfig
from homolog.synth.deformations import DrawnWarp, warped_scan
from homolog.synth.patients import draw_patient

SEEDS = range(10, 20)
SPACING_MM = 2.5
SCATTERED = PatientConfig(headers="scattered")
# Beyond this a map is of little use even as a start.
FAR_MM = 20.0
WARPED = WarpConfig(rotation_degrees=30, translation_mm=150)
NAMES = ("linear", "keypoint affine", "keypoint bspline")


def main() -> None:
    data = arguments(__doc__).data
    patients = [draw_patient(seed, SCATTERED) for seed in SEEDS]
    scans = [one.scan(one.grid(SPACING_MM)) for one in patients]
    marks = [one.landmarks() for one in patients]
    ring = [(n, (n + 1) % len(SEEDS)) for n in range(len(SEEDS))]
    figures = {"yardstick_s": yardstick()}
    for name in NAMES:
        figures[f"patients {name}"] = landmarks([(scans[a], scans[b], marks[a], marks[b]) for a, b in ring], name)
    figures |= doubted([(scans[a], scans[b]) for a, b in ring])
    if data is not None:
        figures |= real(data)
    write_ours(Path(__file__).parent, figures)


def method(name: str, fixed: Volume, moving: Volume) -> Registration:
    engine, _, kind = name.partition(" ")
    config = resolve(PAIRWISE_OPTIONS[engine])(**({"kind": kind} if kind else {}))
    result: Registration = resolve(PAIRWISE[engine])(fixed, moving, config)
    return result


def user_now() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def landmarks(pairs: list[tuple], name: str) -> dict[str, object]:
    errors, seconds, doubts = [], [], 0
    for fixed, moving, here, there in pairs:
        began = user_now()
        result = method(name, fixed, moving)
        seconds.append(user_now() - began)
        shown = here[fixed.grid.contains(here.position)]
        names = [one for one in shown.name if moving.grid.contains(there.by_name([one]).position)[0]]
        carried = result.moving_from_fixed.apply(shown.by_name(names).position)
        errors.append(np.linalg.norm(carried - there.by_name(names).position, axis=1))
        doubts += result.is_poor
    means = [float(one.mean()) for one in errors]
    together = np.concatenate(errors)
    return {
        "mean_mm": float(np.mean(means)), "median_mm": float(np.median(together)),
        "p95_mm": float(np.percentile(together, 95)), "worst_pair_mm": max(means),
        "pairs_below_20_mm": sum(one < FAR_MM for one in means), "doubted": doubts,
        "pairs": [round(one, 2) for one in means], "user_s": float(np.mean(seconds)),
    }  # fmt: skip


def doubted(pairs: list[tuple[Volume, Volume]]) -> dict[str, dict[str, int]]:
    """How many maps are doubted that must be, and how many of the mirrored are said to be mirrored."""
    cases = {
        "upside_down": [(fixed, turned(moving)) for fixed, moving in pairs],
        "mirrored": [(fixed, flipped(moving)) for fixed, moving in pairs],
        "chest_and_pelvis": [(cropped(fixed, 0.65, 1.0), cropped(moving, 0.0, 0.35)) for fixed, moving in pairs],
    }
    told = {}
    for case, members in cases.items():
        results = [method("keypoint affine", *pair) for pair in members]
        told[case] = {
            "pairs": len(members),
            "called_poor": sum(result.is_poor for result in results),
            "called_mirrored": sum(any("mirrored" in doubt for doubt in result.doubts) for result in results),
        }
    return told


def turned(volume: Volume) -> Volume:
    """A patient who lies upside down and on his face, in a file that says so."""
    turn = np.diag([1.0, -1.0, -1.0, 1.0])
    return Volume(volume.data, Grid(volume.grid.shape, turn @ volume.grid.world_from_voxel), volume.space)


def flipped(volume: Volume) -> Volume:
    """Left and right exchanged, in a file that does not say so."""
    return volume.with_data(np.ascontiguousarray(volume.numpy()[::-1]))


def cropped(volume: Volume, low: float, high: float) -> Volume:
    """The slices from one share of the height to another."""
    count = volume.grid.shape[2]
    start, stop = [0, 0, int(low * count)], [*volume.grid.shape[:2], int(high * count)]
    part = np.ascontiguousarray(volume.numpy()[:, :, start[2] : stop[2]])
    return Volume(part, volume.grid.cropped(start, stop), volume.space)


def real(data: Path) -> dict[str, dict[str, float]]:
    chest = homolog.read(data / "chest-a/lidc-idri-0001_2mm.nii.gz", space="fixed")
    before = homolog.read(data / "lung-pair/3DCT_lung_baseline_small.mha", space="before")
    after = homolog.read(data / "lung-pair/derived_followup_unregistered_approx.nii.gz", space="after")
    places = np.loadtxt(data / "lung-pair/derived_landmarks_51_in_crop.csv", delimiter=",")
    body = prepare(chest, None, "fixed").body_points()
    figures = {}
    for name in NAMES:
        errors = []
        for seed in (0, 1):
            warp = draw_warp(chest.grid, np.random.default_rng(seed), WARPED)
            result = method(name, chest, scanned(chest, warp))
            errors.append(apart(result, body, warp.moving_from_fixed.apply(body)))
        figures[f"warped_chest {name}"] = summary(np.concatenate(errors))
        figures[f"lung_months_apart {name}"] = summary(apart(method(name, before, after), places[:, :3], places[:, 3:]))
    return figures


def scanned(chest: Volume, warp: DrawnWarp) -> Volume:
    """The warped patient on a grid that holds all of him, with noise of his own."""
    corners = warp.moving_from_fixed.apply(chest.grid.points()[::101])
    low, high = corners.min(axis=0) - 5, corners.max(axis=0) + 5
    grid = Grid.regular(np.ceil((high - low) / 2).astype(int).tolist(), 2.0, low)
    moving = warped_scan(chest, warp, outside=float(chest.numpy().min()), grid=grid)
    return moving.with_data(moving.numpy() + np.random.default_rng(1).normal(0, 10, grid.shape).astype(np.float32))


def apart(result: Registration, here: np.ndarray, there: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(result.moving_from_fixed.apply(here) - there, axis=1))


def summary(errors: np.ndarray) -> dict[str, float]:
    return {
        "mean_mm": float(errors.mean()), "median_mm": float(np.median(errors)),
        "p95_mm": float(np.percentile(errors, 95)),
    }  # fmt: skip


if __name__ == "__main__":
    main()
