"""Labels of three annotated patients brought to five others: through the group, and pair by pair by `linear`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cohort
import numpy as np
from common import spending

from homolog.groupwise import frog
from homolog.groupwise.carrying import inverse_on, merged_on
from homolog.groupwise.group import Group
from homolog.groupwise.propagation import likeness, propagated_labels
from homolog.io import volumes
from homolog.metrics.overlap import dice
from homolog.pipelines.register import register
from homolog.space.grid import Grid
from homolog.space.transforms import Transform, chain
from homolog.space.volume import Volume
from homolog.synth.anatomy.structures import BTCV, STRUCTURES

ANNOTATED = 3
# mm, the nodes on which maps are inverted and joined.
NODES_MM = 4.0


def propagated(patients: Sequence[Path], kept: Path) -> dict[str, Any]:
    """Mean Dice of all structures and of each of the thirteen abdominal ones, of both ways."""
    points, _ = cohort.keypoints(patients, kept)
    matches, _ = cohort.matched(points)
    group = frog.register(points, matches)
    scans = [volumes.read(patient / "ct.nii.gz", space=patient.name) for patient in patients]
    labels = [volumes.read_labels(patient / "labels.nii.gz", space=patient.name) for patient in patients]
    ways: dict[str, Callable[[int], list[Transform]]] = {
        "group": partial(_through, group, scans),
        "linear": partial(_by_pairs, scans),
    }
    figures: dict[str, Any] = {"annotated": ANNOTATED, "others": len(patients) - ANNOTATED}
    for name, way in ways.items():
        rows = []
        with spending() as spent:
            for target in range(ANNOTATED, len(patients)):
                rows.append(_scores(target, way(target), scans, labels))
        figures[name] = _means(rows) | {"user_s": spent.user_s}
    return figures


def _through(group: Group, scans: Sequence[Volume], target: int) -> list[Transform]:
    """Each annotated patient from a target, by the common space."""
    onward = merged_on(group.common_from_image[target], _nodes(scans[target].grid))
    maps = []
    for source in range(ANNOTATED):
        common = group.common_from_image[source]
        reach = _nodes(scans[source].grid).covering(common.apply(scans[source].grid.corners()))
        maps.append(chain([inverse_on(common, reach).transform, onward]))
    return maps


def _by_pairs(scans: Sequence[Volume], target: int) -> list[Transform]:
    return [register(scans[target], scans[source], method="linear").moving_from_fixed for source in range(ANNOTATED)]


def _nodes(grid: Grid) -> Grid:
    return grid.with_spacing(NODES_MM)


def _scores(
    target: int, maps: Sequence[Transform], scans: Sequence[Volume], labels: Sequence[Volume]
) -> dict[int, float]:
    """The Dice of each structure that the target has."""
    sources = [(labels[n], each, likeness(scans[target], scans[n], each)) for n, each in enumerate(maps)]
    found = propagated_labels(scans[target].grid, sources).labels
    return dice(labels[target], found)


def _means(rows: Sequence[dict[int, float]]) -> dict[str, Any]:
    everything = [value for row in rows for value in row.values()]
    organs = {number: [row[number] for row in rows if number in row] for number in BTCV}
    return {
        "mean_dice": float(np.mean(everything)),
        "organs": {STRUCTURES[number]: float(np.mean(found)) for number, found in organs.items() if found},
    }
