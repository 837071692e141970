"""The options of this room: one frozen Config for each thing that is drawn, below each option its unit.

Only the standard library is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WarpConfig:
    """How far a patient is warped. A draw meets each of these sizes; only directions and signs are left to chance."""

    strength_mm: float = 8.0
    """mm, the root mean square over the grid of how far the smooth part moves a point."""
    control_spacing_mm: float = 50.0
    """mm between the smooth part's controls: the likeness of two places' motion falls to 0.6 this far apart."""
    swelling: float = 1.0
    """0 to 1, how much of the smooth motion may change volumes: 1 favours no direction, 0 keeps every volume."""
    rotation_degrees: float = 5.0
    """degrees, the turn about a drawn axis through the grid's centre."""
    log_scale: float = 0.05
    """No unit, the natural logarithm of the growth (or, as often, of the shrinking) in all directions: 0.05 is 5 %."""
    shear: float = 0.05
    """No unit, the norm of the affine logarithmic strain that keeps volumes: 0.05 is about 3 % along each axis."""
    translation_mm: float = 5.0
    """mm, how far the grid's centre is moved by the affine part, in a drawn direction."""
