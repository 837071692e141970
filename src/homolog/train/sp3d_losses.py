"""What SP3D is taught by.

logits  (N, 513, d, h, w), as the detector gives them; cells are 8x8x8 voxels, the last channel is the dustbin
wanted  (N, 513, d, h, w) float32, what they are to say: probabilities over the channels
"""

from __future__ import annotations

import numpy as np
import torch

from homolog.nets.sp3d import CELL, DUSTBIN


def wanted_of(points: np.ndarray, side_vox: int, blur_vox: float) -> np.ndarray:
    """(513, d, h, w) float32: of each cell how likely a point (N, 3) of a picture is to be said in each voxel.

    A point is a Gaussian of that deviation round its place, a whole one of all cells together; 0: its voxel.
    """
    reach = int(np.ceil(2.5 * blur_vox))
    padded = np.zeros([side_vox + 2 * reach] * 3, np.float32)
    nearest = np.rint(points).astype(int)
    inside = ((nearest >= 0) & (nearest < side_vox)).all(axis=1)
    around = np.arange(-reach, reach + 1)
    for point, voxel in zip(points[inside], nearest[inside], strict=True):
        # without a reach there is one voxel, whose share is all
        along = np.exp(-0.5 * ((voxel + around[:, None] - point) / (blur_vox or np.inf)) ** 2)
        i, j, k = (along / along.sum(axis=0)).T
        padded[tuple(slice(at, at + len(around)) for at in voxel)] += i[:, None, None] * j[:, None] * k
    kept = slice(reach, reach + side_vox)
    count = side_vox // CELL
    cells = padded[kept, kept, kept].reshape(count, CELL, count, CELL, count, CELL).transpose(1, 3, 5, 0, 2, 4)
    likely = cells.reshape(DUSTBIN, count, count, count)
    likely = likely / np.maximum(likely.sum(axis=0), 1)
    nothing = np.maximum(0, 1 - likely.sum(axis=0, keepdims=True))
    return np.concatenate((likely, nothing)).astype(np.float32)


def detection(logits: torch.Tensor, wanted: torch.Tensor, dustbin: float) -> torch.Tensor:
    """Cross entropy over the voxels of a cell and the dustbin.

    dustbin  how much cells without a point count beside those with one
    """
    counted = torch.cat((wanted[:, :DUSTBIN], dustbin * wanted[:, DUSTBIN:]), 1)
    return -(counted * logits.log_softmax(1)).sum() / counted.sum()


def placed(logits: torch.Tensor, wanted: torch.Tensor) -> float:
    """Of cells with a point, the share whose likeliest voxel lies within one of it along each axis."""
    there = wanted[:, DUSTBIN] < 0.5
    if not there.any():
        return 0.0
    best = [each[:, :DUSTBIN].detach().argmax(1)[there] for each in (logits, wanted)]
    found, right = (torch.stack(torch.unravel_index(one, (CELL, CELL, CELL)), 1) for one in best)
    return float(((found - right).abs() <= 1).all(1).float().mean())


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
