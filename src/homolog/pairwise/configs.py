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
