"""Virtual patients, their keypoints and matches: drawn, found and matched once, and kept where a folder is named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from common import Spent, spending

import homolog
from homolog import Keypoints, Matches
from homolog.features.configs import Surf3dConfig
from homolog.io import keypoints as files
from homolog.io import volumes
from homolog.matching.configs import EITHER, MatchConfig
from homolog.matching.nearest import match
from homolog.pipelines.detect import detect

# Seeds of the patients that were not looked at when settings were chosen (those were 200 to 215).
FIRST, MOST = 300, 40
SAMPLING_MM, KEYPOINTS = 1.0, 10_000
Pairs = dict[tuple[int, int], Matches]


def drawn(folder: Path, count: int = MOST) -> list[Path]:
    """The folders of the patients; those that are there already are kept."""
    command = [sys.executable, "-m", "homolog", "patients", "-n", str(count), "--first", str(FIRST), "-o", str(folder)]
    subprocess.run(command, check=True)
    return sorted(path for path in folder.iterdir() if path.name.startswith("patient_"))[:count]


def keypoints(
    patients: Sequence[Path], kept: Path, sampling_mm: float = SAMPLING_MM, most: int = KEYPOINTS
) -> tuple[list[Keypoints], Spent]:
    """Those of each patient, and what finding them took, where they were not kept."""
    found = []
    with spending() as spent:
        for patient in patients:
            store = kept / f"{patient.name}_{sampling_mm:g}_{most}.npz"
            if not store.exists():
                volume = volumes.read(patient / "ct.nii.gz", space=patient.name)
                files.write_keypoints(detect(volume, config=Surf3dConfig(sampling_mm=sampling_mm, most=most)), store)
            found.append(files.read_keypoints(store))
    return found, spent


def landmarks(patients: Sequence[Path]) -> list[Keypoints]:
    return [homolog.read_points(patient / "landmarks.mrk.json", space=patient.name) for patient in patients]


def matched(points: Sequence[Keypoints], chosen: np.ndarray | None = None) -> tuple[Pairs, Spent]:
    """Matches of either side, of all pairs or of those chosen (P, 2)."""
    pairs = list(combinations(range(len(points)), 2)) if chosen is None else [(int(i), int(j)) for i, j in chosen]
    with spending() as spent:
        found = {(i, j): match(points[i], points[j], EITHER) for i, j in pairs}
    return found, spent


def as_published(points: Sequence[Keypoints], pairs: Sequence[tuple[int, int]]) -> tuple[Pairs, Spent]:
    """Every keypoint of the later image with its nearest of the earlier one."""
    with spending() as spent:
        found = {}
        for i, j in pairs:
            one = match(points[j], points[i], MatchConfig(mutual=False))
            found[i, j] = Matches(one.pairs[:, ::-1], one.distance)
    return found, spent
