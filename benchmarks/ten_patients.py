"""Ten virtual patients that nothing was trained on, and how near FROG brings their landmarks to each other."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from homolog import Keypoints, Volume
from homolog.groupwise import frog
from homolog.io import volumes
from homolog.matching.configs import EITHER
from homolog.matching.nearest import match
from homolog.metrics.landmarks import spread
from homolog.synth.patients import draw_patient

# Networks are trained on seeds below 10 000.
FIRST, PATIENTS, REGION, SPACING_MM = 21_000, 10, "chest-abdomen-pelvis", 2.0


def scans(folder: Path) -> list[Volume]:
    """Their CTs, drawn once into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for seed in range(FIRST, FIRST + PATIENTS):
        path = folder / f"patient_{seed}.nii.gz"
        if not path.exists():
            print(f"{path.name} is drawn", file=sys.stderr, flush=True)
            patient = draw_patient(seed)
            volumes.write(patient.scan(patient.grid(SPACING_MM, region=REGION)), path)
        found.append(volumes.read(path, space=f"patient_{seed}"))
    return found


def marks(found: Sequence[Volume]) -> list[Keypoints]:
    """Landmarks that their scans show."""
    out = []
    for number, scan in enumerate(found):
        known = draw_patient(FIRST + number).landmarks()
        out.append(known[scan.grid.contains(known.position)])
    return out


def as_stored_mm(known: Sequence[Keypoints]) -> float:
    """How far landmarks are from their centroid where nothing is aligned."""
    return spread([one.moved_to(one.position, "common") for one in known]).centroid_mm


def landmarks_mm(points: Sequence[Keypoints], known: Sequence[Keypoints]) -> float:
    """The same after FROG has aligned the patients by these points' descriptors."""
    pairs = combinations(range(len(points)), 2)
    group = frog.register(points, {(i, j): match(points[i], points[j], EITHER) for i, j in pairs})
    maps = group.common_from_image
    ended = [one.moved_to(way.apply(one.position), "common") for one, way in zip(known, maps, strict=True)]
    return spread(ended).centroid_mm
