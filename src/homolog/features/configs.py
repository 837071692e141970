"""The options of this room: one frozen Config a method, below each option its unit.

Only the standard library is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Surf3dConfig:
    """Blobs where the Hessian's determinant, by box filters, is largest in place and scale; upright descriptors."""

    sampling_mm: float | None = None
    """mm, the isotropic voxels the picture is brought to first (FROG's -s; 0.75 for groupwise work); its own by
    default."""
    threshold: float = 0.0
    """The least response, in HU cubed."""
    octaves: int = 4
    """Doublings of the filters' widths at most; small pictures have fewer."""
    most: int | None = None
    """Keep this many, the strongest; default all."""
    spread_mm: float | None = None
    """mm, with `most`: the strongest of each cube of this size in turn, for even coverage; default the strongest."""
    descriptors: bool = True
    """Whether points are described as well."""
    rank: bool = False
    """Descriptors as the ranks of their numbers."""
    compat: Literal["frog"] | None = None
    """The published program's behaviour, with its defects."""


@dataclass(frozen=True)
class Sift3dConfig:
    """Extrema of differences of Gaussians that have an orientation of their own; descriptors turn with the patient."""

    peak_threshold: float = 0.1
    """The least |difference|, as a share of its level's largest."""
    corner_threshold: float = 0.4
    """The least corner score, 0 to 1: how well gradients fix the orientation."""
    sigma_mm: float = 1.6
    """mm, the blur of the first level."""
    input_sigma_mm: float = 1.15
    """mm, the blur the picture is taken to have already."""
    most: int | None = None
    """Keep this many, the strongest; default all."""
    spread_mm: float | None = None
    """mm, with `most`: the strongest of each cube of this size in turn, for even coverage; default the strongest."""
    descriptors: bool = True
    """Whether points are described as well."""
    rank: bool = False
    """Descriptors as the ranks of their numbers."""
    compat: Literal["sift3d"] | None = None
    """The published program's behaviour, with its defects."""
