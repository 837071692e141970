"""The options of this room, one frozen Config for each thing that is drawn."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WarpConfig:
    """How far a patient is warped: every draw meets each number, only directions and signs are left to chance."""

    strength_mm: float = 8.0  # mm, root mean square over the grid of how far the smooth part moves a point
    control_spacing_mm: float = 50.0  # mm between control points: motion a spacing apart is nearly independent
    swelling: float = 1.0  # 0 to 1, share of the motion that changes volumes; 0 keeps every volume as it is
    rotation_degrees: float = 5.0  # degrees, about a drawn axis through the grid's centre
    log_scale: float = 0.05  # natural logarithm of the size, its sign is drawn: 0.05 grows or shrinks by 5 %
    shear: float = 0.05  # norm of the logarithmic strain that changes the shape and no volume; 0.05 is 3 % an axis
    translation_mm: float = 5.0  # mm, how far the grid's centre moves in a drawn direction
