"""Virtual patients: speed and memory, organ volumes and brightness, and how far apart two patients are to begin with.

Seeds 0 to 9 are those the body was shaped on; the figures are of seeds 10 to 19.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import arguments, in_child, user_seconds, write_ours, yardstick

from homolog.metrics.overlap import dice
from homolog.space import fit, sampling
from homolog.space.dense import densified
from homolog.space.grid import Grid
from homolog.space.transforms import Affine
from homolog.synth.configs import PatientConfig
from homolog.synth.patients import BTCV, STRUCTURES, between, draw_patient

SEEDS = range(10, 20)
OTHERS = (14, 15, 16, 20)
BONES = (*range(60, 78), 31, 32, 33, 34, 35)
# places all over trunk and pelvis that the affine map is fitted to, canonical mm
BODY = np.random.default_rng(1).uniform((-130, -90, -120), (130, 110, 430), (4000, 3))
QUIET = PatientConfig(noise_hu=0.0, phase="portal", tumours=0, implant="none", slice_mm=2.0)
WHOLE = """
import numpy as np
from homolog.space.grid import Grid
from homolog.synth.patients import draw_patient
one = draw_patient(10)
middle = one.landmarks().by_name(["L1 body"]).position[0]
one.both(Grid.regular((160, 160, 160), 2.5, middle - 200))
"""


def main() -> None:
    arguments(__doc__)
    patients = [draw_patient(seed, QUIET) for seed in SEEDS]
    grids = [one.grid(3.0) for one in patients]
    shown = [one.both(grid) for one, grid in zip(patients, grids)]
    labels = [numbers for _, numbers in shown]
    write_ours(
        Path(__file__).parent,
        {
            "yardstick_s": yardstick(),
            "speed": speed(),
            "inverse": inverse(patients),
            "overlap": overlap(patients, grids, labels),
            "volumes_ml": volumes(labels),
            "portal_hu": brightness(shown),
        },
    )


def speed() -> dict[str, float]:
    one, other = draw_patient(10, PatientConfig(slice_mm=2.0)), draw_patient(11)
    other.patient_from_canonical  # noqa: B018 - solved once for each patient, timed by itself below
    middle = one.landmarks().by_name(["liver centre"]).position[0]
    whole = Grid.regular((160, 160, 160), 2.5, middle - 200)
    crop = one.grid(1.5, crop=np.stack((middle - 48, middle + 48)))
    nodes = crop.with_spacing(3.0).padded(1)
    fresh = iter(range(1000, 2000))
    return {
        "draw_a_patient_s": user_seconds(lambda: draw_patient(next(fresh)).landmarks()),
        "solve_the_inverse_s": user_seconds(lambda: draw_patient(10).patient_from_canonical, 2),
        "whole_160_at_2_5_mm_s": user_seconds(lambda: one.both(whole), 2),
        "whole_160_peak_mb": in_child(WHOLE)[2],
        "crop_64_at_1_5_mm_s": user_seconds(lambda: one.both(crop)),
        "map_at_each_voxel_of_the_crop_s": user_seconds(lambda: between(one, other).apply(crop.points())),
        "map_at_3_mm_nodes_of_the_crop_s": user_seconds(lambda: densified(between(one, other), nodes)),
    }


def inverse(patients: list) -> dict[str, float]:
    points = np.random.default_rng(0).uniform((-190, -120, -320), (190, 125, 480), (20_000, 3))
    errors, least = [], []
    for one in patients:
        there = one.patient_from_canonical.apply(points)
        errors.append(np.linalg.norm(one.canonical_from_patient.apply(there) - points, axis=1).max())
        least.append(np.linalg.det(one.canonical_from_patient.jacobian(there)).min())
    return {"worst_error_mm": max(errors), "least_determinant": min(least)}


def overlap(patients: list, grids: list, labels: list) -> dict[str, dict[str, float]]:
    """Each patient with the next: Dice as stored, and after the best affine map of corresponding places."""
    stored, fitted, bones, apart = [], [], [], []
    for a in range(len(patients)):
        b = (a + 1) % len(patients)
        one, other = patients[a], patients[b]
        places = [patient.patient_from_canonical.apply(BODY) for patient in (one, other)]
        best = fit.affine(*places, fixed=one.name, moving=other.name)
        apart.append(np.linalg.norm(best.apply(places[0]) - places[1], axis=1).mean())
        for transform, found in ((Affine.identity(one.name, other.name), stored), (best, fitted)):
            warped = sampling.warp(labels[b], transform, grids[a], outside=0, interpolation="nearest")
            found.append(dice(labels[a], warped, BTCV))
        bones.append(np.mean(list(dice(labels[a], warped, BONES).values())))
    each = {STRUCTURES[n]: [np.mean([d.get(n, 0.0) for d in found]) for found in (stored, fitted)] for n in BTCV}
    return {
        "mean_of_13": {
            "as_stored": np.mean([one for one, _ in each.values()]),
            "after_affine": np.mean([other for _, other in each.values()]),
            "bones_after_affine": np.mean(bones),
            "left_after_affine_mm": np.mean(apart),
        },
        "as_stored": {name: one for name, (one, _) in each.items()},
        "after_affine": {name: other for name, (_, other) in each.items()},
    }


def volumes(labels: list) -> dict[str, dict[str, float]]:
    found = {}
    for number in (*BTCV, *OTHERS):
        sizes = [(one.numpy() == number).sum() * one.grid.voxel_volume_mm3 / 1000 for one in labels]
        found[STRUCTURES[number]] = {"least": min(sizes), "mean": np.mean(sizes), "most": max(sizes)}
    return found


def brightness(shown: list) -> dict[str, float]:
    """The median over patients of the median HU in each structure."""
    return {
        STRUCTURES[number]: np.median([np.median(scan.numpy()[labels.numpy() == number]) for scan, labels in shown])
        for number in (*BTCV, *OTHERS, 42, 43)
    }


if __name__ == "__main__":
    main()
