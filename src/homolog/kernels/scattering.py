"""Sums of scattered numbers that do not depend on the order in which they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# Bits of a sum in fixed point; one more is its sign, another is left free.
BITS = 62


def summed_reference(values: np.ndarray, index: np.ndarray, size: int) -> np.ndarray:
    """The twin of `summed_torch`."""
    out = np.zeros((size, values.shape[1]))
    np.add.at(out, index, values)
    return out


def summed_torch(values: torch.Tensor, index: torch.Tensor, size: int, most_terms: int) -> torch.Tensor:
    """(size, C): the rows of values (T, C) float64 summed by their index (T,).

    A GPU adds in whatever order its threads arrive, and float64 depends on that order. So each column is counted in
    units so small that the sum of `most_terms` of its largest value just fits into 62 bits: of a thousand terms, each
    is off by 2^-53 of the largest.

    most_terms  no place gets more
    """
    import torch

    out = torch.zeros((size, values.shape[1]), dtype=torch.int64, device=values.device)
    if not len(values):
        return out.to(torch.float64)
    largest = values.abs().amax(dim=0).clamp(min=1e-100) * max(1, most_terms)
    unit = torch.exp2(torch.ceil(torch.log2(largest)) - BITS)
    out.index_add_(0, index, torch.round(values / unit).to(torch.int64))
    return out.to(torch.float64) * unit
