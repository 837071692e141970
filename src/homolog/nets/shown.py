"""X-rays as networks are shown them: their gain and offset do not matter."""

from __future__ import annotations

import torch
from torch.nn import functional


def shown(pictures: torch.Tensor, known: torch.Tensor, details_px: int = 0) -> torch.Tensor:
    """(N, 1 or 2, rows, columns): pictures (N, 1, rows, columns), and their details beside them.

    known       (rows, columns): 1 where the pictures are known, else 0
    details_px  see `detailed`; 0: without
    """
    plain = standardised(pictures, known)
    return torch.cat((plain, detailed(plain, known, details_px)), 1) if details_px else plain


def standardised(pictures: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Pictures (N, 1, rows, columns) with mean 0 and deviation 1 over known pixels (rows, columns), 0 elsewhere."""
    count = known.sum().clamp_min(1)
    mean = (pictures * known).sum((-2, -1), keepdim=True) / count
    centred = (pictures - mean) * known
    deviation = ((centred**2).sum((-2, -1), keepdim=True) / count).sqrt()
    return centred / deviation.clamp_min(1e-6)


def detailed(pictures: torch.Tensor, known: torch.Tensor, size_px: int) -> torch.Tensor:
    """Pictures (N, 1, rows, columns) less their local mean, over their local deviation; 0 where nothing is known."""

    def mean(of: torch.Tensor) -> torch.Tensor:
        return box_mean(of * known, size_px) / share

    share = box_mean(known[None, None], size_px).clamp_min(1e-3)
    centred = pictures - mean(pictures)
    # what is flat is not to become noise: a twentieth of the whole picture's deviation, which is 1
    deviation = mean(centred**2).sqrt().clamp_min(0.05)
    return centred / deviation * known


def box_mean(pictures: torch.Tensor, size_px: int) -> torch.Tensor:
    """Means of pictures (N, C, rows, columns) over squares, with 0 outside; columns and rows one after the other."""
    half = size_px // 2
    across = functional.avg_pool2d(pictures, (1, size_px), 1, (0, half))
    return functional.avg_pool2d(across, (size_px, 1), 1, (half, 0))
