"""4x4 matrices as bare text, which say neither their frame nor their unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from homolog.errors import BadInput, UnknownFrame, UnreadableFile
from homolog.io.listings import read_lines
from homolog.io.nifti import LPS_FROM_RAS
from homolog.space.transforms import Affine


def read_matrix(path: Path) -> np.ndarray:
    """(4, 4) float64: the numbers as they stand."""
    matrix = _matrix(read_lines(path))
    if matrix is None:
        raise UnreadableFile(f"{path} does not hold four lines of four numbers")
    return matrix


def read_greedy(path: Path) -> Affine:
    """greedy's affine: moving_from_fixed in RAS mm."""
    return Affine(LPS_FROM_RAS @ read_matrix(path) @ LPS_FROM_RAS)


def refuse_bare_matrix(path: Path) -> None:
    """Raises if the text is a matrix alone: several programs write such files, each in a frame of its own."""
    try:
        bare = _matrix(read_lines(path)) is not None
    except UnreadableFile:
        return
    if bare:
        raise UnknownFrame(
            f"{path} is a 4x4 matrix that does not say in which frame it is",
            "--format greedy (RAS mm), or --format deeds --like FIXED.nii.gz (voxels)",
        )


def _matrix(lines: list[str]) -> np.ndarray | None:
    rows = [line.split() for line in lines if line.strip()]
    if [len(row) for row in rows] != [4, 4, 4, 4]:
        return None
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise BadInput(f"a matrix of text holds something that is no number ({error})") from error
