"""What a group's plan is made of: the images' headers, what is wanted, and what is there already."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from homolog.groupwise.configs import FrogConfig
from homolog.matching.configs import MatchConfig


@dataclass(frozen=True)
class Described:
    """An image as its header tells of it.

    keypoints  how many, where they are found already, or given
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    keypoints: int | None = None

    @property
    def voxels(self) -> float:
        return float(np.prod(self.shape, dtype=np.float64))

    def voxels_at(self, spacing_mm: float | None) -> float:
        """How many isotropic voxels of that size it has; of its own where none is said."""
        return self.voxels if spacing_mm is None else self.voxels * float(np.prod(self.spacing_mm)) / spacing_mm**3


@dataclass(frozen=True)
class Wanted:
    """What a group is to be made of and with; as the options of the command.

    sampling_mm  of the detector, and `most` keypoints
    numbers      of a descriptor, where a network makes it; None: the detector does
    partners     of each image; None: all others
    spacing_mm   of the mean; None: about the images' own
    annotated    how many images hand on their labels
    """

    method: str = "surf3d"
    sampling_mm: float | None = None
    most: int | None = None
    partners: int | None = None
    matching: MatchConfig = field(default_factory=MatchConfig)
    drawing: FrogConfig = field(default_factory=FrogConfig)
    spacing_mm: float | None = None
    annotated: int = 0
    numbers: int | None = None


@dataclass(frozen=True)
class Done:
    """What is there already; keypoints are known by their images.

    pairs   of images that are matched
    tasks   of matching that have nothing left to do
    backs   of maps that are turned round
    """

    pairs: int = 0
    tasks: int = 0
    maps: bool = False
    backs: int = 0
    pictures: bool = False
