"""What is made of a group: its maps turned round, joined and differentiated, and labels handed on by several votes.

python benchmarks/groups/run.py [--cohort DIR]

Eight virtual patients, 10 000 keypoints each at 1 mm; one thread, user seconds. DIR of --cohort keeps the patients.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# one thread is asked of the kernels below; the libraries under NumPy have to be asked before they are loaded
os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "papers" / "frog"))
import cohort
from common import arguments, spending, write_ours, yardstick

from homolog.groupwise import atlas, frog
from homolog.groupwise.carrying import inverse_on, jacobian_map, merged_on
from homolog.groupwise.group import Group
from homolog.groupwise.propagation import likeness, propagated_labels
from homolog.io import volumes
from homolog.kernels.threads import using_threads
from homolog.metrics.overlap import dice
from homolog.space.transforms import Chain, Transform, chain
from homolog.space.volume import Volume

PATIENTS, NODES_MM, MEAN_MM = 8, 5.0, 3.0
# Who is annotated, and who is given labels.
SPLITS = {"first": ((0, 1, 2), (3, 4, 5)), "second": ((5, 6, 7), (0, 1, 2))}
# Places at which maps are compared.
PLACES = 20_000


def main() -> None:
    given = arguments(__doc__, cohort="keeps the virtual patients between runs")
    with tempfile.TemporaryDirectory() as temporary, using_threads(1):
        folder = given.cohort or Path(temporary)
        patients = cohort.drawn(folder, PATIENTS)[:PATIENTS]
        points, _ = cohort.keypoints(patients, Path(temporary))
        group = frog.register(points, cohort.matched(points)[0])
        scans = [volumes.read(patient / "ct.nii.gz", space=patient.name) for patient in patients]
        labels = [volumes.read_labels(patient / "labels.nii.gz", space=patient.name) for patient in patients]
        figures: dict[str, Any] = {"yardstick_user_s": yardstick(), "layers": layers(group)}
        figures |= {"maps": maps(group, scans), "mean": mean(group, scans)}
        figures["labels"] = {name: handed_on(group, scans, labels, *split) for name, split in SPLITS.items()}
    write_ours(Path(__file__).parent, figures)


def layers(group: Group) -> int:
    return max(len(each.parts) - 1 for each in group.common_from_image if isinstance(each, Chain))


def maps(group: Group, scans: Sequence[Volume]) -> dict[str, Any]:
    """The first image's: its inverse, its merged map and its determinants, against the layers themselves."""
    common, scan = group.common_from_image[0], scans[0]
    nodes = scan.grid.with_spacing(NODES_MM)
    reach = nodes.covering(common.apply(scan.grid.corners()))
    places = np.random.default_rng(0).uniform(*scan.grid.bounds(), (PLACES, 3))
    with spending() as inverting:
        inverse = inverse_on(common, reach)
    with spending() as merging:
        merged = merged_on(common, nodes)
    with spending() as differentiating:
        determinants = jacobian_map(common, nodes)
    true = np.linalg.det(common.jacobian(nodes.points()))
    return {
        "inverse": {"mean_mm": inverse.mean_mm, "p95_mm": inverse.p95_mm, "max_mm": inverse.max_mm,
                    "user_s": inverting.user_s},
        "merged": _summary(np.linalg.norm(merged.apply(places) - common.apply(places), axis=1), merging.user_s),
        "determinant": {**_summary(np.abs(determinants.numpy().ravel() - true), differentiating.user_s),
                        "least": float(true.min()), "most": float(true.max())},
    }  # fmt: skip


def _summary(error: np.ndarray, user_s: float) -> dict[str, float]:
    return {"mean": float(error.mean()), "p95": float(np.percentile(error, 95)), "user_s": user_s}


def mean(group: Group, scans: Sequence[Volume]) -> dict[str, float]:
    grid = atlas.common_grid([(scan.grid, each) for scan, each in zip(scans, group.common_from_image)], MEAN_MM)
    with spending() as spent:
        atlas.mean(
            ((scan, inverse_on(each, grid.with_spacing(NODES_MM)).transform)
             for scan, each in zip(scans, group.common_from_image)),
            grid, outside=-1000.0,
        )  # fmt: skip
    return {"voxels": grid.size, "user_s": spent.user_s, "peak_mb": spent.peak_mb}


def handed_on(
    group: Group, scans: Sequence[Volume], labels: Sequence[Volume], annotated: Sequence[int], others: Sequence[int]
) -> dict[str, Any]:
    """Mean Dice of all structures, by each way to count votes; how sure votes are that turn out right."""
    rows: dict[str, list[float]] = {}
    sure: list[tuple[float, float]] = []
    for target in others:
        onward = merged_on(group.common_from_image[target], scans[target].grid.with_spacing(NODES_MM))
        sources = [(labels[n], chain([_back(group, scans, n), onward]), n) for n in annotated]
        for n, (own, back, _) in enumerate(sources):
            rows.setdefault(f"one source, {n + 1}", []).append(_dice(scans, labels, target, [(own, back)])[0])
        rows.setdefault("all alike", []).append(_dice(scans, labels, target, [each[:2] for each in sources])[0])
        for by in ("patterns", "grey"):
            weighted = [(own, back, likeness(scans[target], scans[n], back, by=by)) for own, back, n in sources]
            score, found = _dice(scans, labels, target, weighted)
            rows.setdefault(f"by {by}", []).append(score)
        sure.append(found)
    told = {name: float(np.mean(values)) for name, values in rows.items()}
    return {
        **told,
        "right_above_0.9": float(np.mean(sure, axis=0)[0]),
        "right_below_0.6": float(np.mean(sure, axis=0)[1]),
    }


def _back(group: Group, scans: Sequence[Volume], image: int) -> Transform:
    common = group.common_from_image[image]
    nodes = scans[image].grid.with_spacing(NODES_MM)
    return inverse_on(common, nodes.covering(common.apply(scans[image].grid.corners()))).transform


def _dice(
    scans: Sequence[Volume], labels: Sequence[Volume], target: int, sources: Sequence[Any]
) -> tuple[float, tuple[float, float]]:
    """The mean over structures; and how many of the surest and of the least sure voxels of structures are right."""
    found = propagated_labels(scans[target].grid, sources)
    scores = dice(labels[target], found.labels)
    right, here = found.labels.numpy() == labels[target].numpy(), found.labels.numpy() > 0
    confidence = found.confidence.numpy()
    sure = float(right[here & (confidence > 0.9)].mean()), float(right[here & (confidence < 0.6)].mean())
    return float(np.mean(list(scores.values()))), sure


if __name__ == "__main__":
    main()
