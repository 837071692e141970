"""The options of this room: one frozen Config a method, below each option its unit.

Only the standard library is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LinearConfig:
    """Blocks of MIND-SSC codes searched in the other picture, and the map that most of their votes agree on."""

    kind: Literal["rigid", "similarity", "affine"] = "affine"
    """What the map may do: turn and shift; grow or shrink as well; or shear and stretch too."""
    spacing_mm: float | None = None
    """mm, the voxels of the fine levels; default 2 to 4, by the fixed picture's box. Coarse levels have twice that."""
    coarse_radii_vox: tuple[int, ...] = (6,)
    """Voxels a block is searched in each direction, a number for each coarse level."""
    fine_radii_vox: tuple[int, ...] = (3,)
    """Voxels a block is searched in each direction, a number for each fine level."""
    block_vox: int = 5
    """Voxels along a block's side."""
    lattice_vox: int = 3
    """Voxels from a block to the next."""
    most_blocks: int = 2000
    """About this many blocks a direction, evenly left out of the lattice; half of them at coarse levels."""
    max_steps: int = 10
    """Steps a level at most."""
    tolerance_mm: float = 0.2
    """mm, a level ends where a step moves no place of the patient by more; coarse levels at five times as much."""


@dataclass(frozen=True)
class KeypointConfig:
    """Keypoints matched by their descriptors, and the map that most of the matches agree on."""

    kind: Literal["rigid", "similarity", "affine", "bspline"] = "bspline"
    """What the map may do: turn and shift; grow or shrink as well; shear and stretch too; or bend."""
    detector: str = "surf3d"
    """Which keypoints: a method of homolog keypoints."""
    describe: str | None = None
    """A network that describes them in place of the detector: patch, patch-paper, or what training wrote."""
    sampling_mm: float | None = None
    """mm, the voxels that keypoints are first looked for on; default the coarser picture's own, from 2 to 4."""
    again_mm: float | None = None
    """mm, the voxels of the second look, under the first map; default two thirds of the first's where the map bends."""
    most: int | None = 20_000
    """Keypoints a picture at most, the strongest."""
    orientations: bool = True
    """Whether the 24 ways to lie along the axes are tried where the patients do not lie alike; with 3D-SURF's own
    descriptors."""
    control_spacing_mm: float = 40.0
    """mm between the controls of a map that bends."""
    stiffness: float = 0.015
    """mm, how much bending costs against matches that miss; it is doubled until nothing folds."""
    gates_mm: tuple[float, ...] = (60.0, 50.0, 40.0, 30.0)
    """mm, how far from where the map puts a point its match may lie, each time a bending map is fitted anew."""

    @property
    def bends(self) -> bool:
        """Whether the map is more than linear."""
        return self.kind == "bspline"

    @property
    def turns(self) -> bool:
        """Whether descriptors are known as they are of a patient who lies otherwise: 3D-SURF's own are."""
        return self.detector == "surf3d" and self.describe is None

    @property
    def linear_kind(self) -> Literal["rigid", "similarity", "affine"]:
        """What a map may do before it bends."""
        return "affine" if self.kind == "bspline" else self.kind
