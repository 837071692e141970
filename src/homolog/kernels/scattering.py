"""Sums of scattered numbers on a GPU, the same each time.

Threads of a GPU add to one place in whatever order they arrive, and a sum of float64 depends on that order. So what
belongs to one place is put in a row first, and each row is added up by itself, from its beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def summed_reference(values: np.ndarray, index: np.ndarray, size: int) -> np.ndarray:
    """The twin of `summed_torch`."""
    out = np.zeros((size, values.shape[1]))
    np.add.at(out, index, values)
    return out


@dataclass(frozen=True, eq=False)
class Rows:
    """What belongs together.

    order   (T,) int64, which brings terms of one place in a row, as they came
    places  (R,) int64, each once
    counts  (R,) int64, the terms of each place
    """

    order: torch.Tensor
    places: torch.Tensor
    counts: torch.Tensor

    @classmethod
    def of(cls, index: torch.Tensor) -> Rows:
        """By the place (T,) int64 of each term."""
        import torch

        places, order = torch.sort(index, stable=True)
        return cls(order, *torch.unique_consecutive(places, return_counts=True))

    def summed(self, values: torch.Tensor) -> torch.Tensor:
        """(R, C): the sums of terms (T, C) that are already in order."""
        import torch

        if not len(values):
            return values
        return torch.segment_reduce(values, "sum", lengths=self.counts, axis=0, unsafe=True)


def summed_torch(values: torch.Tensor, index: torch.Tensor, size: int) -> torch.Tensor:
    """(size, C): the rows of values (T, C) float64 summed by their index (T,)."""
    rows = Rows.of(index)
    out = values.new_zeros((size, values.shape[1]))
    out[rows.places] = rows.summed(values[rows.order])
    return out
