"""A picture in the patient: numbers on a grid, in a named space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from homolog.errors import BadInput, GridMismatch
from homolog.space.grid import Grid

if TYPE_CHECKING:
    import torch

Kind = Literal["intensity", "labels"]
# The integers that kernels are compiled for; others become int32.
LABEL_TYPES = ("uint8", "int16", "int32")


@dataclass(frozen=True, eq=False)
class Volume:
    """Intensities or labels on a grid.

    data   (I, J, K) NumPy array, or torch tensor on any device; intensities float32 (CT: HU),
           labels uint8, int16 or int32
    grid   where the voxels lie, LPS mm
    space  the name of the patient space it is in: two scans are two spaces, a scan and its labels are one
    kind   "intensity" (interpolated) or "labels" (never blended)
    """

    data: np.ndarray | torch.Tensor
    grid: Grid
    space: str
    kind: Kind = "intensity"

    def __post_init__(self) -> None:
        if tuple(self.data.shape) != self.grid.shape:
            raise GridMismatch(f"data of shape {tuple(self.data.shape)} cannot lie on {self.grid!r}")
        if self.kind not in ("intensity", "labels"):
            raise BadInput(f'kind is "intensity" or "labels", not {self.kind!r}')
        dtype = str(self.data.dtype).removeprefix("torch.")
        if self.kind == "labels" and not dtype.startswith(("int", "uint")):
            raise BadInput(
                f"labels in '{self.space}' must be integers, got {dtype}", "read them with read_labels(path)"
            )
        if self.kind == "labels" and dtype not in LABEL_TYPES:
            object.__setattr__(self, "data", _int32(self.data, self.space))
        if self.kind == "intensity" and dtype != "float32":
            object.__setattr__(self, "data", _float32(self.data))

    def with_data(self, data: np.ndarray | torch.Tensor, kind: Kind | None = None) -> Volume:
        """Other numbers on the same grid, in the same space."""
        return replace(self, data=data, kind=kind or self.kind)

    def in_space(self, space: str) -> Volume:
        """The same picture under another space's name."""
        return replace(self, space=space)

    def numpy(self) -> np.ndarray:
        """The data as a NumPy array, without a copy where it lies on the CPU already."""
        if isinstance(self.data, np.ndarray):
            return self.data
        return self.data.detach().cpu().numpy()

    def __repr__(self) -> str:
        return f"Volume('{self.space}', {self.kind}, {self.grid!r})"


def _float32(data: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
    return data.astype(np.float32) if isinstance(data, np.ndarray) else data.float()


def _int32(labels: np.ndarray | torch.Tensor, space: str) -> np.ndarray | torch.Tensor:
    largest = int(labels.max())
    if largest > np.iinfo(np.int32).max:
        raise BadInput(f"labels of '{space}' reach {largest}, more than 32 bits hold", "renumber them")
    return labels.astype(np.int32) if isinstance(labels, np.ndarray) else labels.int()
