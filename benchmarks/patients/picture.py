"""Six virtual patients in a soft-tissue window, coronal, axial and sagittal: writes docs/patients.png."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from homolog import draw_patient
from homolog.report import png
from homolog.synth.patients import Patient

SEEDS = (0, 3, 4, 10, 12, 17)
SPACING_MM = 2.5
GAP = 4


def views(seed: int) -> list[np.ndarray]:
    """Planes through the kidneys, the pancreas and the spine; the patient's right and front on the left, head up."""
    patient = draw_patient(seed)
    grid = patient.grid(SPACING_MM)
    values = patient.scan(grid).numpy()
    _, j, _ = index(patient, "left renal hilum")
    _, _, k = index(patient, "pancreas head")
    i, _, _ = index(patient, "L3 body")
    planes = (np.flipud(values[:, j].T), values[:, :, k].T, np.flipud(values[i].T))
    return [png.window(plane, -160, 240) for plane in planes]


def index(patient: Patient, landmark: str) -> np.ndarray:
    """(3,) the voxel in which a landmark lies."""
    return np.round(patient.grid(SPACING_MM).voxel(patient.landmarks().by_name([landmark]).position)[0]).astype(int)


def side_by_side(pictures: list[np.ndarray]) -> np.ndarray:
    """In columns of one width, each in the middle of its own."""
    height, width = (max(p.shape[axis] for p in pictures) for axis in (0, 1))
    return np.concatenate([centred(p, height, width + GAP) for p in pictures], axis=1)


def centred(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    over = width - picture.shape[1]
    return np.pad(picture, ((0, height - picture.shape[0] + GAP), (over // 2, over - over // 2)))


def stacked(rows: list[np.ndarray]) -> np.ndarray:
    width = max(row.shape[1] for row in rows)
    columns = [np.split(row, len(SEEDS), axis=1) for row in rows]
    return np.concatenate(
        [np.concatenate([centred(p, p.shape[0], width // len(SEEDS)) for p in row], axis=1) for row in columns]
    )


if __name__ == "__main__":
    drawn = [views(seed) for seed in SEEDS]
    path = Path(__file__).parents[2] / "docs" / "patients.png"
    path.write_bytes(png.encode(stacked([side_by_side([one[n] for one in drawn]) for n in range(3)])))
    print(path)
