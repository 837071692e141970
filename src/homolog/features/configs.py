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


@dataclass(frozen=True)
class Sp3dConfig:
    """Points where a trained network says that they are, which it describes as well."""

    weights: str = "sp3d"
    """The network: a name, a file or the folder of its training."""
    sampling_mm: float = 1.5
    """mm, the isotropic voxels the picture is brought to first; the network was trained on such."""
    greys: Literal["auto", "ct", "range"] = "auto"
    """Which intensities are shown from black to white: the network's own in HU, or nearly all that the picture has;
    auto: the first if the picture has values as low as air's or fat's in HU."""
    threshold: float = 0.05
    """The least probability that a point is within a voxel, 0 to 1."""
    looks: int = 4
    """How many times the picture is looked at, 1, 2, 4 or 8, its cells beginning elsewhere: what is found depends the
    less on where they begin."""
    apart_mm: float = 4.5
    """mm, no two points are nearer to one another than this: the likelier one is kept."""
    border_mm: float = 6.0
    """mm from the faces of the scan where there are no points."""
    most: int | None = None
    """Keep this many, the likeliest; default all."""
    spread_mm: float | None = None
    """mm, with `most`: the likeliest of each cube of this size in turn, for even coverage; default the likeliest."""
    point_scale_mm: float | None = None
    """mm, the scale that all points are given, for descriptors that need one; default none."""
    descriptors: bool = True
    """Whether points are described as well."""
    tile_vox: int = 64
    """Voxels along the side of the cubes that layers are worked out in; no result depends on it."""
    memory_gb: float = 2.0
    """GB for the features of a picture; larger pictures are looked at in blocks, which overlap. No result depends on
    it."""
