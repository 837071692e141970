"""The flags of `homolog drr`; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Preset = Literal["ap", "pa", "lateral-left", "lateral-right", "oblique-left", "oblique-right", "axial"]
# mm from the source to the detector, and the part of it at which the isocentre is: a magnification of 1.25.
FOCAL_MM, ISOCENTRE_PART = 1500.0, 0.8


@dataclass(frozen=True, kw_only=True)
class View:
    """From where the volume is looked at."""

    preset: Preset = "ap"
    """The view: ap has the source in front, a lateral or an oblique is called by the side that is at the detector,
    axial has the source above the head; used where neither a camera nor angles are given."""
    primary: tuple[float, ...] = ()
    """degrees, a C-arm's first angle, one for each picture: the detector to the patient's left (LAO), or right (-)."""
    secondary: tuple[float, ...] = ()
    """degrees, its second angle, likewise: the detector to the head (cranial), or to the feet (-)."""
    camera: Path | None = None
    """A file of cameras, each of which takes a picture: what homolog camera reads."""
    seen_from: Literal["source", "detector"] = "source"
    """Of C-arm angles and pa: detector mirrors the picture, so that the patient's left is on its right."""
    focal_mm: float | None = None
    """mm from the source to the detector; default 1500."""
    source_isocentre_mm: float | None = None
    """mm from the source to the isocentre; default 0.8 of that."""
    isocentre: tuple[float, float, float] | None = None
    """LPS mm, the point that the beam's axis goes through; default the middle of what attenuates."""
    size: tuple[int, ...] = ()
    """Pixels: rows and columns, or one number for both; default what shows all of the patient, 512 to 1024."""
    pitch_mm: float | None = None
    """mm from pixel to pixel on the detector; default the voxels', magnified, or what makes the size show all."""


@dataclass(frozen=True, kw_only=True)
class Drr:
    """What is projected, and how it is shown."""

    method: Literal["siddon", "joseph", "trilinear"] = "trilinear"
    """How rays are summed: siddon is exact for voxels that are boxes; the others interpolate."""
    step_mm: float | None = None
    """mm, of trilinear: depth between samples; default the smallest side of a voxel."""
    mask: Path | None = None
    """A label map on the volume's grid: only where it is not 0 does anything attenuate."""
    labels: Path | None = None
    """A label map on the volume's grid: each label's part gets a picture of its own as well, NAME_LABEL."""
    values: Literal["auto", "hu", "relative"] = "auto"
    """What the volume's numbers are; relative: they grow with attenuation from 0, in no known unit. auto takes HU where
    there is air or fat."""
    floor: float | None = None
    """Voxels at or below this value attenuate nothing; 200 leaves the bones of a CT."""
    spacing_mm: tuple[float, float, float] | None = None
    """mm, the sides of the voxels, for a stack of TIFF pages, which does not say."""
    series: str | None = None
    """Of a DICOM folder with several series: the SeriesInstanceUID, or the end of one."""
    look: Literal["integral", "xray"] | None = None
    """xray: greys as a radiograph's, of .png and .tif; integral: line integrals, as numbers. Default xray for .png."""
    bits: Literal[8, 16] | None = None
    """Of .png and .tif, bits of a pixel; default 8 for xray, for line integrals 16 (.png) or 32 (.tif)."""
    seed: int = 0
    """What noise and the places of metal are drawn from."""
    json: bool = False
    """What was written, and how, as one JSON object on stdout."""
