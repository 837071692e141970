"""Many patients at once: FROG as published and as it is here by default, on its own pairs and on virtual cohorts.

python benchmarks/papers/frog/run.py --golden DIR [--cohort DIR]

DIR of --cohort keeps the 40 virtual patients (6 minutes to draw) and their keypoints from one run to the next. One
thread; user seconds. Landmark distances are to the centroid of the same landmark in the common space, in mm.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

# one thread is asked of the kernels below; the libraries under NumPy have to be asked before they are loaded
os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))
import cohort
from common import Spent, arguments, in_child, spending, write_ours, yardstick
from growth import plotted
from propagating import propagated

import homolog
from homolog import Keypoints
from homolog.groupwise import frog
from homolog.groupwise.configs import FrogConfig
from homolog.groupwise.group import Group
from homolog.io.frog_pairs import read_frog_pairs
from homolog.kernels.threads import using_threads
from homolog.matching.partners import chosen
from homolog.matching.signature import likeness, of, words
from homolog.metrics.landmarks import spread
from homolog.space.transforms import Transform

PUBLISHED, BETTER = FrogConfig(compat="frog"), FrogConfig()
SIZES, PARTNERS = (8, 20, 40), (4, 8, 12, 20)
# What is asked of a hundred patients is worked out from these: patients, keypoints each.
LARGE, EACH = 100, 20_000
# Points between which the determinant of a map is looked at, mm.
FOLD_STEP_MM = 5.0


def main() -> None:
    given = arguments(__doc__, "golden", cohort="keeps the virtual patients between runs")
    with tempfile.TemporaryDirectory() as temporary, using_threads(1):
        folder = given.cohort or Path(temporary)
        kept = folder / "keypoints"
        patients = cohort.drawn(folder)
        kept.mkdir(exist_ok=True)
        figures: dict[str, Any] = {"yardstick_user_s": yardstick(), "golden": golden(_with_pairs(given.golden))}
        figures["command"] = whole_command(patients[:20], Path(temporary))
        cohorts, by_partners = growth(patients, kept)
        figures |= {"cohorts": cohorts, "partners": by_partners, "large": large(patients, kept, cohorts)}
        figures["propagation"] = propagated(patients[:8], kept)
    write_ours(Path(__file__).parent, figures)
    plotted(cohorts, by_partners, Path(__file__).parent / "growth.svg")


# ---------------------------------------------------------------------------------------------------------------------
# On the published program's own pairs


def _with_pairs(folder: Path) -> Path:
    """The program's folder, where it is named itself or the one above it."""
    return folder if (folder / "pairs5k.bin").exists() else folder / "frog"


def golden(folder: Path) -> dict[str, Any]:
    """Its pairs, and its landmarks, which are carried along and looked at."""
    images, matches = read_frog_pairs(folder / "pairs5k.bin", frame="LPS")
    marks = [
        homolog.read_points(folder / "landmarks" / f"lm{n:02d}.fcsv", frame="LPS", space=image.space)
        for n, image in enumerate(images)
    ]
    # the program was given the landmarks with x and y negated, and counts them in its boxes
    with_marks = [
        Keypoints(np.vstack((image.position, mark.position * [-1, -1, 1])), image.space)
        for image, mark in zip(images, marks)
    ]
    figures = {"landmarks_start_mm": spread([m.moved_to(m.position, "common") for m in marks]).centroid_mm}
    for name, points, config in (("compat", with_marks, PUBLISHED), ("better", images, BETTER)):
        registered(points, matches, config, None)  # so that no kernel is read from its cache on the clock
        group, spent = registered(points, matches, config, marks)
        figures[name] = {**told(group, marks, spent), **energies(group)}
    return figures


def energies(group: Group) -> dict[str, float]:
    linear = [step.energy_mm for step in group.trace if step.stage == "linear"]
    return {
        "energy_start_mm": linear[0],
        "energy_linear_mm": linear[-1],
        "energy_end_mm": group.trace[-1].energy_mm,
        "rows": len(group.trace),
    }


def registered(
    points: Sequence[Keypoints], matches: cohort.Pairs, config: FrogConfig, marks: Sequence[Keypoints] | None
) -> tuple[Group, Spent]:
    with spending() as spent:
        group = frog.register(points, matches, config, landmarks=marks)
    return group, spent


def told(group: Group, marks: Sequence[Keypoints], spent: Spent) -> dict[str, Any]:
    return {
        "landmarks_linear_mm": spread(carried(marks, group.linear)).centroid_mm,
        "landmarks_end_mm": spread(carried(marks, group.common_from_image)).centroid_mm,
        "landmarks_end_median_mm": spread(carried(marks, group.common_from_image)).median_mm,
        "landmarks_end_pairwise_mm": spread(carried(marks, group.common_from_image)).pairwise_mm,
        "user_s": spent.user_s,
        "peak_mb": spent.peak_mb,
        "doubted": sum(bool(fit.doubts) for fit in group.fits),
    }


def carried(marks: Sequence[Keypoints], maps: Sequence[Transform]) -> list[Keypoints]:
    return [mark.moved_to(common.apply(mark.position), "common") for mark, common in zip(marks, maps)]


# ---------------------------------------------------------------------------------------------------------------------
# On virtual patients


def whole_command(patients: Sequence[Path], folder: Path) -> dict[str, Any]:
    """`homolog group` on twenty patients with the cohort's settings, from files to maps, mean and report, in a process
    of its own."""
    code = (
        "import sys; from homolog.cli.main import main; sys.exit(main(['group', *sys.argv[2:], '-o', sys.argv[1], "
        f"'--sampling-mm', '{cohort.SAMPLING_MM}', '--most', '{cohort.KEYPOINTS}', '--threads', '1']))"
    )
    scans = [str(patient / "ct.nii.gz") for patient in patients]
    _, user_s, peak_mb = in_child(code, str(folder / "group"), *scans)
    return {"patients": len(scans), "user_s": user_s, "peak_mb": peak_mb}


def growth(patients: Sequence[Path], kept: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Cohorts of each size with all pairs; and the largest with a few partners for each patient."""
    points, _ = cohort.keypoints(patients, kept)
    marks = cohort.landmarks(patients)
    cohorts = {}
    for size in SIZES:
        some, their = points[:size], marks[:size]
        matches, matching = cohort.matched(some)
        group, spent = registered(some, matches, BETTER, their)
        one_way, _ = cohort.as_published(some, list(combinations(range(size), 2)))
        published, spent_too = registered(some, one_way, PUBLISHED, their)
        cohorts[str(size)] = {
            "before_mm": spread([mark.moved_to(mark.position, "common") for mark in their]).centroid_mm,
            "matching_user_s": matching.user_s,
            "matches": sum(map(len, matches.values())),
            "better": {**told(group, their, spent), "folds": folds(group, some)},
            "compat": {**told(published, their, spent_too), "folds": folds(published, some)},
        }
    return cohorts, few_partners(points, marks)


def few_partners(points: Sequence[Keypoints], marks: Sequence[Keypoints]) -> dict[str, Any]:
    vocabulary = words(points)
    alike = likeness(np.array([of(each, vocabulary) for each in points]))
    figures = {}
    for count in PARTNERS:
        pairs = chosen(len(points), count, alike)
        matches, matching = cohort.matched(points, pairs)
        group, spent = registered(points, matches, BETTER, marks)
        told_ = told(group, marks, spent)
        figures[str(count)] = {"pairs": len(pairs), "matching_user_s": matching.user_s, **told_}
    return figures


def folds(group: Group, points: Sequence[Keypoints]) -> float:
    """The share of a lattice over each image's keypoints where its map has no positive determinant."""
    shares = []
    for common, each in zip(group.common_from_image, points):
        low, high = each.position.min(axis=0), each.position.max(axis=0)
        axes = [np.arange(a, b, FOLD_STEP_MM) for a, b in zip(low, high)]
        lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)[::7]
        shares.append(float((np.linalg.det(common.jacobian(lattice)) <= 0).mean()))
    return max(shares)


def large(patients: Sequence[Path], kept: Path, cohorts: dict[str, Any]) -> dict[str, float]:
    """Hours of a hundred patients with 20 000 keypoints each, from what eight such take and how cost grew with N.

    Finding grows with the patients, matching with the pairs; drawing together with the matches, for which what the
    cohorts took is fitted by a share a patient and a share a pair.
    """
    # finding is on the clock here, whatever was kept
    with tempfile.TemporaryDirectory() as anew:
        points, found = cohort.keypoints(patients[:8], Path(anew), 0.75, EACH)
    marks = cohort.landmarks(patients[:8])
    matches, matching = cohort.matched(points)
    group, spent = registered(points, matches, BETTER, marks)
    sizes = np.array(SIZES)
    cost = np.array([cohorts[str(size)]["better"]["user_s"] for size in SIZES])
    a_patient, a_pair = np.linalg.lstsq(np.stack((sizes, sizes * (sizes - 1) / 2), axis=1), cost, rcond=None)[0]
    times = spent.user_s / cohorts["8"]["better"]["user_s"]
    finding = LARGE * (found.user_s / 8)
    hours = {}
    for name, pairs in (("all_pairs", LARGE * (LARGE - 1) // 2), ("partners_20", LARGE * 20 // 2)):
        together = times * (max(a_patient, 0) * LARGE + max(a_pair, 0) * pairs)
        hours[f"{name}_hours"] = (finding + pairs * matching.user_s / len(matches) + together) / 3600
    return {
        "finding_user_s_a_patient": found.user_s / 8,
        "matching_user_s_a_pair": matching.user_s / len(matches),
        "together_user_s_8": spent.user_s,
        "landmarks_end_8_mm": spread(carried(marks, group.common_from_image)).centroid_mm,
        **hours,
    }


if __name__ == "__main__":
    main()
