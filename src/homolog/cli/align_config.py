"""The flags of `homolog align`, and of `homolog evaluate` for what it finds; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from homolog.methods import PROJECTIVE


@dataclass(frozen=True, kw_only=True)
class Align:
    """What is aligned, and how."""

    # evaluated when the flags are made, from the one table of methods
    method: Literal[tuple(PROJECTIVE)] = "auto"  # type: ignore[valid-type]
    """The engine; each has options of its own."""
    camera: tuple[Path, ...] = ()
    """Files of cameras: one for each X-ray, in their order, or one that holds all of them. Else IMAGE.json beside the
    X-ray, else its DICOM header."""
    focal_mm: float | None = None
    """mm from the source to the detector, where nothing else says it; the axis then meets the detector's middle."""
    pitch_mm: float | None = None
    """mm, the size of the detector's pixels, where nothing else says it."""
    start: Literal["header", "landmarks", "centre", "grid"] | Path | None = None
    """The pose to start from: a file of poses or cameras in the patient's frame; a folder of homolog train pose, whose
    network finds it; header: what the X-rays' headers or
    cameras say; landmarks: from --landmarks and --landmarks-px; centre: the body's middle where the cameras look;
    grid: there too, turned in many ways. Default: landmarks where they are given, else header where that says
    something, else grid."""
    near_mm: tuple[float, float, float] | None = None
    """mm, x y z in the cameras' frame: about where the body's middle is, for a start in all orientations. Default:
    where the cameras look."""
    landmarks: Path | None = None
    """Landmarks of the volume, four at least, to start from."""
    landmarks_px: tuple[Path, ...] = ()
    """The same landmarks in each X-ray: tables with the columns name, column, row (pixels, the first is 0)."""
    points_space: Literal["LPS", "RAS", "voxel"] | None = None
    """The frame of --landmarks, where the file does not say its own."""
    mask: tuple[Path, ...] = ()
    """A picture for each X-ray, 0 where it is not to be compared."""
    volume_mask: Path | None = None
    """A label map of the volume: only where it is not 0 the body is looked for. Mask one bone, and that bone's pose is
    found."""
    labels: tuple[int, ...] = ()
    """The labels of --volume-mask that are the body; default all but 0."""
    values: Literal["auto", "hu", "relative"] = "auto"
    """What the volume's numbers are: Hounsfield units, or numbers that grow from 0 with attenuation. Default: told by
    what they are, and said."""
    floor: float | None = None
    """Voxels at or below this value attenuate nothing: of a CT, 200 leaves bone. Default -1000 HU, or 0."""
    energy_kev: float = 70.0
    """keV, the mean energy of the X-rays' photons."""
    spacing_mm: tuple[float, float, float] | None = None
    """mm, x y z, the voxels of a TIFF stack, which does not say them."""
    intensity: Literal["auto", "linear", "log", "inverted", "linear-inverted"] = "auto"
    """What the X-rays' numbers are: linear in the photons, their logarithm, or either the other way round. Default:
    told by the header or by the picture, and said."""
    frame: int | None = None
    """Of X-rays with several frames: which one, from 1."""
    config: Path | None = None
    """A TOML file with the method's options; flags that are given overrule it."""
    force: bool = False
    """Replace what another alignment left in the output folder."""
    json: bool = False
    """The record of the run as one JSON object on stdout."""

    @property
    def start_file(self) -> Path | None:
        """The file of poses or cameras to start from."""
        return self.start if isinstance(self.start, Path) and self.start_network is None else None

    @property
    def start_network(self) -> Path | None:
        """The weights of the network that finds the start."""
        if not isinstance(self.start, Path):
            return None
        if self.start.is_dir():
            return self.start / "weights.safetensors"
        return self.start if self.start.suffix == ".safetensors" else None


@dataclass(frozen=True, kw_only=True)
class EvaluatePoses:
    """What poses are held against."""

    truth: tuple[Path, ...] = ()
    """True poses or cameras in the patient's frame: one file, or one for each run."""
    landmarks: Path | None = None
    """Points of the volume at which errors are measured; default the corners of the body's box."""
