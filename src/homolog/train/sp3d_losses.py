"""What SP3D is taught by.

logits  (N, 513, d, h, w), as the detector gives them; cells are 8x8x8 voxels, the last channel is the dustbin
cells   (N, d, h, w) int64, which channel is right
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from homolog.nets.sp3d import CELL, DUSTBIN


def cells_of(points: np.ndarray, side_vox: int, rng: np.random.Generator) -> np.ndarray:
    """(d, h, w) int64: of each cell the voxel that a point (N, 3) of a picture is in, or the dustbin.

    Of several points in a cell one is drawn.
    """
    count = side_vox // CELL
    cells = np.full((count, count, count), DUSTBIN, np.int64)
    voxels = np.rint(points).astype(int)
    voxels = voxels[((voxels >= 0) & (voxels < side_vox)).all(axis=1)]
    for voxel in voxels[rng.permutation(len(voxels))]:
        inner = voxel % CELL
        cells[tuple(voxel // CELL)] = (inner[0] * CELL + inner[1]) * CELL + inner[2]
    return cells


def detection(logits: torch.Tensor, cells: torch.Tensor, dustbin: float) -> torch.Tensor:
    """Cross entropy over the voxels of a cell and the dustbin.

    dustbin  how much cells without a point count beside those with one
    """
    terms = functional.cross_entropy(logits, cells, reduction="none")
    weights = torch.where(cells == DUSTBIN, dustbin, 1.0)
    return (terms * weights).sum() / weights.sum()


def description(
    fixed: torch.Tensor, moving: torch.Tensor, apart: torch.Tensor, attract: float, repel: float
) -> torch.Tensor:
    """SuperPoint's hinges on products of descriptors (M, D), sparsely: the same place, and different ones.

    apart  (M, M) bool: which rows and columns are different places; the means are taken apart
    """
    alike = fixed @ moving.T
    same = (attract - alike.diagonal()).clamp_min(0).mean()
    other = (alike - repel).clamp_min(0)[apart]
    return same + (other.mean() if len(other) else 0.0)


def drawn_points(logits: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Of one picture: a voxel drawn of each cell (M, 3), where it is not the dustbin, and its log-probability (M,)."""
    likely = logits[0].permute(1, 2, 3, 0).log_softmax(3)
    flat = likely.reshape(-1, DUSTBIN + 1)
    chosen = torch.multinomial(flat.detach().exp(), 1, generator=generator)[:, 0]
    rows = torch.arange(len(flat))
    kept = chosen < DUSTBIN
    cell = torch.stack(torch.unravel_index(rows[kept], likely.shape[:3]), 1)
    inner = torch.stack(torch.unravel_index(chosen[kept], (CELL, CELL, CELL)), 1)
    return CELL * cell + inner, flat[rows[kept], chosen[kept]]


def repeating(likely: torch.Tensor, again: np.ndarray, cost: float) -> torch.Tensor:
    """The policy gradient's loss of points that were drawn: their log-probabilities (M,) times their rewards.

    again  (M,) bool: whether a point was drawn of the other picture as well; it earns 1, and every point costs a little
    """
    if not len(likely):
        return likely.sum()
    earned = torch.from_numpy(again.astype(np.float32)) - cost
    return -(earned.to(likely) * likely).mean()
