"""Gaussian smoothing along the three axes, the low-pass before a picture is sampled more coarsely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# Taps reach four standard deviations: what is left out weighs 6e-5, below a tenth of a HU at a bone's edge.
REACH = 4.0


def taps(sigma_vox: float) -> np.ndarray:
    """(2 r + 1,) float64: a sampled Gaussian, normalised."""
    radius = max(1, int(REACH * sigma_vox + 0.5))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_vox) ** 2)
    return weights / weights.sum()


def smooth_reference(data: np.ndarray, sigma_vox: Sequence[float]) -> np.ndarray:
    """The twin of `smooth`: along each axis, the sum of taps times shifted copies; the edge value goes on outside."""
    result = data.astype(np.float64)
    for axis, sigma in enumerate(sigma_vox):
        if sigma > 0:
            weights = taps(sigma)
            radius = len(weights) // 2
            shifts = np.arange(-radius, radius + 1)[:, None] + np.arange(data.shape[axis])
            index = np.clip(shifts, 0, data.shape[axis] - 1)
            result = sum(w * np.take(result, rows, axis=axis) for w, rows in zip(weights, index))
    return result


def smooth(data: np.ndarray, sigma_vox: Sequence[float]) -> np.ndarray:
    """A smoothed float32 copy.

    data       (I, J, K) float32
    sigma_vox  standard deviation along i, j, k in voxels; 0 leaves an axis alone
    """
    from scipy.ndimage import correlate1d

    result = np.asarray(data, np.float32)
    for axis, sigma in enumerate(sigma_vox):
        if sigma > 0:
            result = correlate1d(result, taps(sigma), axis=axis, output=np.float32, mode="nearest")
    return result


def smooth_torch(data: torch.Tensor, sigma_vox: Sequence[float]) -> torch.Tensor:
    """`smooth` on a tensor (I, J, K), on its device; differentiable."""
    import torch

    for axis, sigma in enumerate(sigma_vox):
        if sigma > 0:
            weights = torch.from_numpy(taps(sigma)).to(data)
            radius = len(weights) // 2
            lines = data.movedim(axis, -1)
            padded = torch.nn.functional.pad(lines[:, None], (radius, radius, 0, 0), mode="replicate")[:, 0]
            data = torch.nn.functional.conv1d(padded.reshape(-1, 1, padded.shape[-1]), weights[None, None])
            data = data.reshape(lines.shape).movedim(-1, axis)
    return data
