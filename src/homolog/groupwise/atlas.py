"""The mean picture of a group, how much its members differ from it, and how many show each place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from homolog.errors import BadInput, SpaceMismatch
from homolog.kernels import foreground
from homolog.space.dense import slabs
from homolog.space.grid import Grid
from homolog.space.sampling import warp
from homolog.space.transforms import Transform
from homolog.space.volume import Volume

# Places along each axis of an image's box whose way to the common space says how far the image reaches there.
ACROSS = 9


class Shown(NamedTuple):
    """A picture of a group.

    image_from_common  carries places of the common space to the picture's
    mask               labels in the picture's space, on any grid: where they are 0 the picture shows nothing
    """

    picture: Volume
    image_from_common: Transform
    mask: Volume | None = None


@dataclass(frozen=True, eq=False)
class Atlas:
    """Pictures of many, on one grid of the common space.

    mean       intensities; the value that the caller stated where no picture shows the place
    deviation  intensities: the standard deviation over the pictures that show the place (0 where it is one, or none)
    count      labels: how many pictures show the place
    """

    mean: Volume
    deviation: Volume
    count: Volume


def mean(
    pictures: Iterable[Shown | tuple[Volume, Transform]], grid: Grid, *, outside: float, normalise: bool = False
) -> Atlas:
    """The mean over pictures that come one by one, of which only one need be in memory.

    outside    what stands in the mean where no picture shows the place
    normalise  whether each picture is first shifted and scaled so that its patient has mean 0 and deviation 1: for MR,
               whose scales differ from scan to scan
    """
    running: _Running | None = None
    for given in pictures:
        one = Shown(*given)
        running = running or _Running.empty(grid, one.image_from_common.fixed)
        running.add(_on_common(one, grid, running.space, normalise))
    if running is None:
        raise BadInput("a mean needs at least one picture, got none")
    return running.atlas(outside)


def warped(one: Shown, grid: Grid) -> np.ndarray:
    """(I, J, K) float32: a picture on a grid of the common space, NaN where it does not show the place."""
    data = warp(one.picture, one.image_from_common, grid, outside=np.nan).numpy()
    if one.mask is not None:
        seen = one.mask.with_data((one.mask.numpy() != 0).astype(np.uint8))
        data[warp(seen, one.image_from_common, grid, outside=0).numpy() == 0] = np.nan
    return data


def common_grid(boxes: Sequence[tuple[Grid, Transform]], spacing_mm: float, *, share: float = 0.5) -> Grid:
    """A grid of the common space along x, y and z that holds where at least a share of the images show something.

    Along each axis it begins where that many images have begun and ends where that many have not yet ended: one image
    that reaches further than all others, or that lies astray, does not make it larger. At share 0 it holds them all.

    boxes  each image's grid, and its common_from_image
    """
    if not boxes:
        raise BadInput("a common grid needs at least one image, got none")
    if not spacing_mm > 0:
        raise BadInput(f"the spacing of a common grid must be positive, got {spacing_mm} mm")
    reached = np.array([_reach(grid, common_from_image) for grid, common_from_image in boxes])
    needed = int(np.clip(np.ceil(share * len(boxes)), 1, len(boxes)))
    low, high = np.sort(reached[:, 0], axis=0)[needed - 1], np.sort(reached[:, 1], axis=0)[-needed]
    # images that show nothing together, as a head and a foot: then all of them
    apart = high - low < spacing_mm
    low, high = np.where(apart, reached[:, 0].min(axis=0), low), np.where(apart, reached[:, 1].max(axis=0), high)
    shape = np.maximum(2, np.ceil((high - low) / spacing_mm - 1e-6)).astype(int)
    return Grid.regular(shape.tolist(), spacing_mm, (low + high) / 2 - spacing_mm * (shape - 1) / 2)


def _reach(grid: Grid, common_from_image: Transform) -> np.ndarray:
    """(2, 3) LPS mm of the common space: the box round what an image shows."""
    steps = [np.linspace(-0.5, length - 0.5, ACROSS) for length in grid.shape]
    carried = common_from_image.apply(grid.world(np.array(list(product(*steps)))))
    return np.array([carried.min(axis=0), carried.max(axis=0)])


def _on_common(one: Shown, grid: Grid, space: str, normalise: bool) -> np.ndarray:
    if one.image_from_common.fixed != space:
        raise SpaceMismatch(
            f"pictures of one mean come to one space, '{space}': the map {one.image_from_common.describe()}"
        )
    if one.picture.kind != "intensity":
        raise BadInput(f"labels of '{one.picture.space}' have no mean", "propagate them, with a vote")
    data = warped(one, grid)
    return _normalised(data) if normalise else data


def _normalised(data: np.ndarray) -> np.ndarray:
    """The same with mean 0 and deviation 1 over the patient; NaN stays."""
    known = np.isfinite(data)
    if not known.any():
        return data
    dark = np.float32(data[known].min())
    body = foreground.body_mask(np.where(known, data, dark), known)
    inside = data[body if body.any() else known].astype(np.float64)
    return np.asarray((data - inside.mean()) / max(float(inside.std()), 1e-6), np.float32)


@dataclass(eq=False)
class _Running:
    """Mean and sum of squares so far, brought up to date with each picture (Welford, Technometrics 4:419, 1962).

    float32: of a thousand CTs the mean is off by 0.01 HU, and three arrays of a large grid stay in memory.
    """

    grid: Grid
    space: str
    centre: np.ndarray
    squares: np.ndarray
    count: np.ndarray

    @classmethod
    def empty(cls, grid: Grid, space: str) -> _Running:
        zeros = np.zeros(grid.shape, np.float32)
        return cls(grid, space, zeros, zeros.copy(), np.zeros(grid.shape, np.int16))

    def add(self, data: np.ndarray) -> None:
        for start, stop in slabs(self.grid):
            here = np.s_[start:stop]
            seen = np.isfinite(data[here])
            self.count[here] += seen
            off = np.where(seen, data[here] - self.centre[here], np.float32(0))
            self.centre[here] += off / np.maximum(self.count[here], 1)
            # off is 0 where the picture shows nothing, and so is what it adds
            self.squares[here] += off * np.where(seen, data[here] - self.centre[here], np.float32(0))

    def atlas(self, outside: float) -> Atlas:
        shown = self.count > 0
        spread = np.sqrt(np.maximum(self.squares, 0) / np.maximum(self.count, 1))
        return Atlas(
            Volume(np.where(shown, self.centre, np.float32(outside)), self.grid, self.space),
            Volume(spread.astype(np.float32), self.grid, self.space),
            Volume(self.count, self.grid, self.space, "labels"),
        )
