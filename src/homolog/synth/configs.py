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


@dataclass(frozen=True)
class LocalAffineConfig:
    """Which affine maps around landmarks count, and how others like them are drawn."""

    neighbours: int = 3
    """How many of the nearest landmarks a map is fitted to, besides the landmark itself."""
    both_ways: bool = False
    """Whether of two patients both directions are fitted; published: one."""
    pull_mm: float = 5.0
    """mm, how strongly a fit is drawn to the identity: what landmarks are wrong by (1 mm) over how much the elements of
    such maps spread (0.2)."""
    most_condition: float = 20.0
    """The longest over the shortest extent (singular value) of the landmarks of one fit, at most."""
    least_stretch: float = 0.6
    """The smallest singular value of a map, at least."""
    most_stretch: float = 1.6
    """The largest singular value of a map, at most."""
    most_shift_mm: float = 20.0
    """mm, beyond which the shift of a drawn map is left out."""
    together: bool = False
    """Whether the elements of a drawn map stem from one fitted map; else, as published, each from one of its own."""


@dataclass(frozen=True)
class PairConfig:
    """How far a scan is warped to make a pair of it. Sizes with two ends are drawn between these each time."""

    strength_mm: tuple[float, float] = (3.0, 6.0)
    """mm, the root mean square of how far the smooth part moves a point; 0 to 0 leaves it out, as published."""
    control_spacing_mm: tuple[float, float] = (40.0, 80.0)
    """mm between the smooth part's controls."""
    swelling: float = 1.0
    """0 to 1, how much of the smooth motion may change volumes."""
    rotation_degrees: float = 5.0
    """degrees, the affine part's turn where no density is given to draw that part from."""
    log_scale: float = 0.05
    """No unit, likewise the natural logarithm of its growth or shrinking."""
    shear: float = 0.05
    """No unit, likewise the norm of its logarithmic strain."""
    translation_mm: float = 5.0
    """mm, likewise how far it moves the grid's centre."""
    node_mm: float = 4.0
    """mm between the nodes where the picture's voxels look the map up; points are carried by the map itself."""
    outside: float = -1000.0
    """The value where the scan does not reach: HU of air for CT; for MR take 0."""


@dataclass(frozen=True)
class ShapeConfig:
    """How pictures of simple solids are drawn. A pair is a range; each picture, or solid, draws its own value."""

    side: int = 64
    """voxels along each edge of the cube."""
    families: tuple[str, ...] = (
        "box", "plate", "wedge", "polyhedron", "stack", "board", "polyline", "vessel", "star", "balls",
    )  # fmt: skip
    """What is drawn, each as often; see `homolog.synth.shapes.FAMILIES` and `NEGATIVES` for the names."""
    negatives: float = 0.15
    """0 to 1, the share of pictures without any point: large ellipsoids, noise, gradients, textures."""
    several: float = 0.25
    """0 to 1, the share of pictures with two to four solids, a later one over the earlier ones."""
    psf_vox: tuple[float, float] = (0.5, 1.5)
    """voxels, the standard deviation of the Gaussian that blurs the picture, apart from the voxel's own width."""
    contrast: tuple[float, float] = (0.2, 0.7)
    """No unit, of the picture's range of 1: a solid's brightness less the background's mean, of either sign."""
    background: float = 1.0
    """No unit, 0 to 2: how strong gradients and textures are; 0 leaves the background flat."""
    noise: tuple[float, float] = (0.0, 0.05)
    """No unit, of the picture's range of 1: the noise's standard deviation."""
    margin_vox: float = 3.0
    """voxels: a point nearer than this to the picture's outermost voxel centres is not listed."""
    clearance_vox: float = 1.0
    """voxels: a point is hidden by a later solid that comes nearer than this."""
    least_contrast: float = 0.03
    """No unit, of the picture's range of 1: what a point's surroundings differ by, inside and outside, at least."""
