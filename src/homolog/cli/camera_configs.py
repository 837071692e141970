"""The flags of `homolog camera`, each written once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class CameraFile:
    """What a file of cameras may leave unsaid, and how else it may be meant."""

    format: (
        Literal["json", "matrix", "calibration", "opencv", "rtk", "astra", "plastimatch", "deepfluoro", "dicom"] | None
    ) = None
    """The program or form that the file is of, where its ending and its first words do not tell."""
    size_px: tuple[int, int] | None = None
    """ROWS COLUMNS of the picture, where the file does not say: 3x4 matrices, RTK and ASTRA."""
    pitch_mm: tuple[float, ...] = ()
    """The size of a pixel on the detector in mm, or two of them (row, column), where the file counts in pixels."""
    first_pixel: float | None = None
    """The coordinate of the first pixel's centre in the file: 0, 0.5 or 1. Default 0, as in OpenCV."""
    unit_mm: float = 1.0
    """The length of the file's unit in mm: 1000 for metres."""
    frame: Literal["LPS", "RAS"] = "LPS"
    """The axes of the file's world; DICOM, ITK and 3D Slicer's files are LPS, NIfTI is RAS."""
    world: str | None = None
    """Whose world it is, where the file does not say: patient, or a name of your own."""
    invert: bool = False
    """The file's poses are world from camera."""
    flip: bool = False
    """The picture's columns were reversed after it was taken."""
    only: tuple[str, ...] = ()
    """Names of the cameras to take, of a file that holds many."""


@dataclass(frozen=True, kw_only=True)
class CameraInfo:
    volume: Path | None = None
    """A volume in the cameras' world, or a TIFF stack with --spacing-mm: what of it the cameras see."""
    spacing_mm: tuple[float, float, float] | None = None
    """X Y Z of a TIFF stack's voxels, which its file does not say reliably."""
    json: bool = False
    """All that is known, as one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class CameraConvert:
    to: Literal["json", "matrix", "calibration", "opencv", "rtk", "astra", "plastimatch"] | None = None
    """The output's format, where its ending does not tell: .json, .xml for RTK, .yml for OpenCV."""
    volume: Path | None = None
    """A volume that lies in front of the sources, which decides the sign of 3x4 matrices."""
