"""Every detector with every descriptor: how well they match, and what comes of groups."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import ten_patients
import ways

from homolog import Keypoints, Transform, Volume
from homolog.metrics.keypoints import matching_score

DETECTORS = ("surf3d", "sift3d", "sp3d_pt", "sp3d")
# Points of each scan at most, and of each patient of a group.
POINTS, GROUP_POINTS = 1500, 5000

# Fixed and moving scans, the true map, and their bodies.
Compared = tuple[Volume, Volume, Transform, Volume, Volume]
Table = dict[str, dict[str, float]]


def matched(pairs: Sequence[Compared], networks: Mapping[str, str], within_mm: float) -> Table:
    """Detector -> descriptor -> the matching score's mean over pairs."""
    known, named = ways.detectors(networks, POINTS), ways.describers(networks)
    table: Table = {}
    for detector in (name for name in DETECTORS if name in known):
        sums = dict.fromkeys(named, 0.0)
        for fixed, moving, truth, *bodies in pairs:
            found = [known[detector](scan, body) for scan, body in zip((fixed, moving), bodies, strict=True)]
            regions = dict(zip(("fixed_region", "moving_region"), bodies, strict=True))
            budget = min(POINTS, *map(len, found))
            for name, way in named.items():
                here, there = way(fixed, found[0]), way(moving, found[1])
                sums[name] += _score(here, there, truth, budget, regions, within_mm) / len(pairs)
        table[detector] = sums
        _tell(f"matching score within {within_mm:g} mm", detector, sums)
    return table


def grouped(scans: Sequence[Volume], networks: Mapping[str, str]) -> Table:
    """Detector -> descriptor -> mm between landmarks and their centroid after FROG."""
    known, named = ways.detectors(networks, GROUP_POINTS), ways.describers(networks)
    marks = ten_patients.marks(scans)
    table: Table = {}
    for detector in (name for name in DETECTORS if name in known):
        found = [known[detector](scan, None) for scan in scans]
        table[detector] = {}
        for name, way in named.items():
            described = [way(scan, points) for scan, points in zip(scans, found, strict=True)]
            table[detector][name] = ten_patients.landmarks_mm(described, marks)
        _tell("landmarks, mm", detector, table[detector])
    return table


def _score(
    fixed: Keypoints, moving: Keypoints, truth: Transform, budget: int, regions: dict[str, Any], within_mm: float
) -> float:
    found = matching_score(fixed, moving, truth, budget=budget, **regions)
    return float(found.score[list(found.within_mm).index(within_mm)])


def _tell(what: str, detector: str, row: dict[str, float]) -> None:
    told = ", ".join(f"{name} {value:.3f}" for name, value in row.items())
    print(f"{what}, {detector} described by {told}", file=sys.stderr, flush=True)
