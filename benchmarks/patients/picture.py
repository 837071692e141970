"""Six virtual patients, coronal, in a soft-tissue window: writes docs/patients.png."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from homolog import draw_patient
from homolog.report import png

ROWS = ((0, 3, 4), (10, 12, 17))
GAP = 4


def coronal(seed: int) -> np.ndarray:
    """The plane through the middle of the body, head up, the patient's right on the left."""
    patient = draw_patient(seed)
    values = patient.scan(patient.grid(2.5)).numpy()
    middle = int(np.median(np.nonzero(values > -300)[1]))
    return png.window(np.flipud(values[:, middle].T), -160, 240)


def side_by_side(pictures: list[np.ndarray], axis: int) -> np.ndarray:
    size = max(p.shape[1 - axis] for p in pictures)
    padded = [
        np.pad(p, ((0, size - p.shape[0]), (0, GAP)) if axis else ((0, GAP), (0, size - p.shape[1]))) for p in pictures
    ]
    return np.concatenate(padded, axis=axis)


if __name__ == "__main__":
    rows = [side_by_side([coronal(seed) for seed in row], axis=1) for row in ROWS]
    path = Path(__file__).parents[2] / "docs" / "patients.png"
    path.write_bytes(png.encode(side_by_side(rows, axis=0)))
    print(path)
