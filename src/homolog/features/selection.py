"""Which of the points that were found are kept, and in which order; and descriptors as ranks."""

from __future__ import annotations

import numpy as np

from homolog.errors import BadInput, SpaceMismatch
from homolog.space.sampling import lie_in
from homolog.space.volume import Volume


def strongest(
    position: np.ndarray, response: np.ndarray, most: int | None = None, spread_mm: float | None = None
) -> np.ndarray:
    """(M,) rows, strongest first, equals by place.

    position   (N, 3) LPS mm
    response   (N,)
    most       how many rows at most; all where None
    spread_mm  the strongest of each cube of this size come first, then the second of each, and so on; the rows that are
               kept are then in the order of their response
    """
    if most is not None and most < 0:
        raise BadInput(f"the number of points to keep is {most}", "a number from 0")
    if spread_mm is not None and not spread_mm > 0:
        raise BadInput(f"the size of the cubes to spread points over is {spread_mm} mm", "spread_mm=20")
    order = np.lexsort((position[:, 2], position[:, 1], position[:, 0], -response))
    if most is None or most >= len(order):
        return order
    if spread_mm is None:
        return order[:most]
    turn = _turns(position[order], spread_mm)
    return order[np.sort(np.argsort(turn, kind="stable")[:most])]


def inside_mask(position: np.ndarray, mask: Volume | None, space: str) -> np.ndarray:
    """(N,) bool: which points (N, 3) LPS mm lie in a voxel of a label map that is not 0; all where there is none."""
    if mask is None:
        return np.ones(len(position), bool)
    if mask.kind != "labels":
        raise BadInput("the mask is a picture of intensities", "read it with read_labels(path)")
    if mask.space != space:
        raise SpaceMismatch(
            f"the mask is in '{mask.space}', the image in '{space}'", f"read it with read_labels(path, space={space!r})"
        )
    return lie_in(mask, position)


def ranked(descriptors: np.ndarray) -> np.ndarray:
    """(N, D) float32 of unit length: each number's rank in its row, from the mean rank; equals share theirs.

    After Toews and Wells (Medical Image Analysis 17:271, 2013): what only stretches the numbers changes nothing.
    """
    from scipy.stats import rankdata

    if not descriptors.size:
        return descriptors.astype(np.float32)
    ranks = rankdata(descriptors, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    length = np.linalg.norm(ranks, axis=1, keepdims=True)
    return np.asarray(ranks / np.where(length > 0, length, 1), np.float32)


def _turns(position: np.ndarray, spread_mm: float) -> np.ndarray:
    """(N,) for rows in order of strength: how many of the same cube came before."""
    # cubes are counted from the points' own box, so that they move with the patient
    cubes = np.floor((position - position.min(axis=0)) / spread_mm).astype(np.int64)
    cube = np.unique(cubes, axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(cube, kind="stable")
    first = np.r_[0, np.flatnonzero(np.diff(cube[order])) + 1]
    turn = np.empty(len(cube), np.int64)
    turn[order] = np.arange(len(cube)) - np.repeat(first, np.diff(np.r_[first, len(cube)]))
    return turn
