"""The rays of many pictures in torch: where they run, where they are near a volume, and sums of what they leave there.

A bundle (4, 3) float64, in voxel coordinates: the source, the direction of pixel (0, 0), its change for a column and
for a row. A point of a ray is source + depth * direction; depths are mm along the optical axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Rays worked on at once, and samples of them: temporaries of 4 or 8 MB, a few hundred MB, whatever the picture's size.
RAYS = 1 << 14
SAMPLES = 1 << 20
# Whole numbers up to 2^63 are held; half of that is left for what rounding adds.
WHOLE = 2.0**62


@dataclass(frozen=True, eq=False)
class Rays:
    """Some rays, float64, in voxel coordinates; depths in mm.

    source           (M, 3)
    direction        (M, 3), a voxel for a mm of depth
    source_move      (M, 3): how the source moves along a tangent; zeros where none was given
    direction_move   (M, 3)
    """

    source: torch.Tensor
    direction: torch.Tensor
    source_move: torch.Tensor
    direction_move: torch.Tensor


def rays_of(bundles: torch.Tensor, tangents: torch.Tensor | None, size_px: tuple[int, int], numbers: slice) -> Rays:
    """The rays with these numbers, counted by picture, row and column.

    bundles   (N, 4, 3) float64
    tangents  (N, 4, 3) float64, how the bundles move
    """
    import torch

    rows, columns = size_px
    ray = torch.arange(numbers.start, numbers.stop, device=bundles.device)
    picture, row, column = ray // (rows * columns), ray // columns % rows, (ray % columns)[:, None]

    def placed(all_: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        own = all_.double()[picture]
        return own[:, 0], own[:, 1] + column * own[:, 2] + row[:, None] * own[:, 3]

    return Rays(*placed(bundles), *placed(torch.zeros_like(bundles) if tangents is None else tangents))


def pieces(bundles: torch.Tensor, size_px: tuple[int, int]) -> Iterator[slice]:
    """The numbers of all rays, some at a time."""
    count = len(bundles) * size_px[0] * size_px[1]
    for start in range(0, count, RAYS):
        yield slice(start, min(count, start + RAYS))


def depths_within(rays: Rays, shape: tuple[int, ...], beyond: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The depths (M,) between which rays are in the box from -beyond to n - 1 + beyond; the first larger: nowhere."""
    import torch

    sizes = torch.tensor(shape, dtype=torch.float64, device=rays.source.device)
    still = rays.direction == 0
    pace = torch.where(still, 1.0, rays.direction)
    near, far = (-beyond - rays.source) / pace, (sizes - 1 + beyond - rays.source) / pace
    within = (rays.source > -beyond) & (rays.source < sizes - 1 + beyond)
    # a ray across an axis is always between its two planes, or never
    always = torch.where(within, torch.inf, -torch.inf)
    first = torch.where(still, -always, torch.minimum(near, far)).amax(dim=1)
    last = torch.where(still, always, torch.maximum(near, far)).amin(dim=1)
    return first.clamp(min=0.0), last


class ScatteredSums:
    """Sums of numbers that arrive at voxels in any order, and are the same whatever it was.

    They are added as whole multiples of the 2^-62nd part of what all of them together could reach: whole numbers add up
    to the same in any order, floats do not. `reach` is that bound, a float64 scalar tensor.
    """

    def __init__(self, channels: int, shape: tuple[int, int, int], reach: torch.Tensor) -> None:
        import torch

        self.shape = shape
        self.total = torch.zeros((channels, shape[0] * shape[1] * shape[2]), dtype=torch.int64, device=reach.device)
        # a weight that is no number makes the scale none, and then all that is read from it
        self.scale = torch.where(reach == 0, 1.0, WHOLE / reach)

    def add(self, at: list[torch.Tensor], values: torch.Tensor) -> None:
        """Adds values (channels, T) float64 to voxels [i, j, k], each (T,) int64; those outside are dropped."""
        index, inside = flat_index(at, self.shape)
        whole = (values * self.scale).round().long().masked_fill(~inside, 0)
        self.total.index_add_(1, index, whole)

    def read(self, dtype: torch.dtype) -> torch.Tensor:
        """(channels, I, J, K)"""
        return (self.total / self.scale).to(dtype).reshape(-1, *self.shape)


def flat_index(at: list[torch.Tensor], shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Where voxels [i, j, k] lie in a row of all, clamped, and whether they are of the volume: int64 and bool."""
    (i, j, k), (ni, nj, nk) = at, shape
    inside = (i >= 0) & (i < ni) & (j >= 0) & (j < nj) & (k >= 0) & (k < nk)
    return ((i * nj + j) * nk + k).masked_fill(~inside, 0), inside


def looked_up(flat: torch.Tensor, at: list[torch.Tensor], shape: tuple[int, ...]) -> torch.Tensor:
    """(channels, *) of volumes (channels, I * J * K) at voxels [i, j, k], each (*) int64; outside zero."""
    index, inside = flat_index(at, shape)
    values = flat.index_select(1, index.reshape(-1)).reshape(-1, *index.shape)
    return values.masked_fill(~inside, 0.0)
