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


@dataclass(frozen=True)
class PatientConfig:
    """How a virtual patient is drawn and scanned. None leaves a choice to the seed."""

    variability: float = 1.0
    """No unit, 0 to 1.5: how far anatomy differs; 1 is as people do, 0 is the canonical body itself."""
    placement_mm: float = 18.0
    """mm, the standard deviation of where the patient lies in the scanner; along the body twice as much."""
    headers: str = "shared"
    """"shared": origins near each other; "scattered": origins metres apart."""
    modality: str = "ct"
    """"ct" in HU or "mr" in arbitrary units."""
    phase: str | None = None
    """"native", "arterial" or "portal"; None draws one."""
    own_texture: bool = True
    """Whether tissues have a grain of the patient's own, besides the one all patients share."""
    gas: bool = True
    """Whether gas stands in the bowels."""
    tumours: int | None = None
    """How many; None draws 0, 1 or 2."""
    implant: str | None = None
    """"none", "hip" or "screws", with streaks; None draws one in ten."""
    table: bool = True
    """Whether the patient lies on a table."""
    noise_hu: float | None = None
    """HU, the standard deviation of acquisition noise at 2 mm voxels; None draws 6 to 16, 0 leaves it out."""
    sharpness: float | None = None
    """-1 (smooth kernel) to 1 (sharp kernel); None draws."""
    slice_mm: float | None = None
    """mm along the body over which a slice averages; None draws 1, 2, 3 or 5."""
