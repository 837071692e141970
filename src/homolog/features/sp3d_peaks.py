"""Peaks of a map of probabilities: where they are, between voxels, and which are kept where they crowd."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch

from homolog.features.differences import derivatives

# A voxel and its neighbours, in the order of `_around`.
STEPS = np.array(list(product((-1, 0, 1), repeat=3)))
# Peaks whose neighbours are looked at together: each takes 800 bytes.
AT_ONCE = 1 << 16
# Voxels: a quadratic's peak farther away than this is not the one that was found.
FARTHEST = 0.75


def peaks(log_likely: torch.Tensor, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a map of probabilities has peaks.

    Voxels (N, 3) int64 that none of their 26 neighbours exceeds, offsets (N, 3) float64 to the peaks between, and how
    likely these are: all 27 together, and 1 at most. A voxel's own probability depends on how far from its middle the
    point is: by a factor of two and a half where it is spread by 0.8 voxels.

    log_likely  (D, H, W) logarithms; the outermost voxels have no peaks
    least       the least probability of a peak
    """
    if min(log_likely.shape) < 3:
        return np.zeros((0, 3), np.int64), np.zeros((0, 3)), np.zeros(0)
    largest = log_likely
    for axis in range(3):
        n = largest.shape[axis] - 2
        rows = [largest.narrow(axis, start, n) for start in range(3)]
        largest = torch.maximum(torch.maximum(rows[0], rows[1]), rows[2])
    inner = log_likely[1:-1, 1:-1, 1:-1]
    # no voxel has less than a 27th of what all together have
    voxels = ((inner >= largest) & (inner >= np.log(least / len(STEPS)))).nonzero() + 1
    parts = [_around(log_likely, some) for some in voxels.split(AT_ONCE)]
    shift = np.concatenate([offsets(part.cpu().numpy()) for part in parts])
    likely = torch.cat([part.double().exp().sum((1, 2, 3)).clamp_max(1) for part in parts]).cpu().numpy()
    kept = likely >= least
    return voxels.cpu().numpy()[kept], shift[kept], likely[kept]


def offsets(around: np.ndarray) -> np.ndarray:
    """(N, 3) voxels from the middle to the peak of the quadratic through values (N, 3, 3, 3), by central differences.

    Exact for logarithms of Gaussians. Where the quadratic has no peak nearby, each axis has a parabola of its own.
    """
    around = around.astype(np.float64)
    gradient, hessian = derivatives(around)
    curved = -np.einsum("naa->na", hessian)
    alone = np.divide(gradient, curved, out=np.zeros_like(gradient), where=curved > 0).clip(-0.5, 0.5)
    peaked = (np.linalg.eigvalsh(hessian) < 0).all(axis=1)
    found = alone.copy()
    found[peaked] = -np.linalg.solve(hessian[peaked], gradient[peaked][..., None])[..., 0]
    near = (np.abs(found) <= FARTHEST).all(axis=1, keepdims=True)
    return np.where(near, found, alone)


def apart(voxels: np.ndarray, strength: np.ndarray, reach_vox: float) -> np.ndarray:
    """(N,) bool: the strongest is kept, all within its reach are not, and so on with the rest; equals by place.

    voxels     (N, 3) int64
    strength   (N,)
    reach_vox  voxels; what is as far away is within reach
    """
    from scipy.spatial import cKDTree

    order = np.lexsort((voxels[:, 2], voxels[:, 1], voxels[:, 0], -strength))
    # a millionth more, since squares of whole numbers are compared with a number that was rounded
    pairs = cKDTree(voxels[order]).query_pairs(reach_vox * (1 + 1e-6), output_type="ndarray")
    kept = np.empty(len(voxels), bool)
    kept[order] = _undominated(pairs, len(order))
    return kept


def _undominated(pairs: np.ndarray, count: int) -> np.ndarray:
    """(count,) bool, of rows in order of strength: which a loop from the first would keep, pairs (P, 2) excluding.

    Whoever has nobody stronger left is kept, and shuts out all its weaker ones; a few rounds decide everybody.
    """
    kept, open_ = np.zeros(count, bool), np.ones(count, bool)
    strong, weak = pairs.min(axis=1), pairs.max(axis=1)
    while open_.any():
        first = open_.copy()
        first[weak] = False
        kept |= first
        open_ &= ~first
        open_[weak[first[strong]]] = False
        alive = open_[strong] & open_[weak]
        strong, weak = strong[alive], weak[alive]
    return kept


def _around(values: torch.Tensor, voxels: torch.Tensor) -> torch.Tensor:
    """(N, 3, 3, 3): the values at voxels (N, 3), none of them outermost, and at their neighbours."""
    strides = torch.tensor(values.stride(), device=values.device)
    steps = (torch.from_numpy(STEPS).to(values.device) * strides).sum(1)
    places = (voxels * strides).sum(1)[:, None] + steps
    return values.flatten()[places].reshape(-1, 3, 3, 3)
