"""The flags of the commands, each written once: name, type, default, and below it the help with its unit.

Nothing heavy is imported here, so that `--help` is instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from homolog.methods import DETECTORS, PAIRWISE


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every command takes."""

    threads: int | None = None
    """Threads to compute with; else what OMP_NUM_THREADS, SLURM_CPUS_PER_TASK and the machine's limits allow."""
    debug: bool = False
    """Show where an internal error happened (or set HOMOLOG_DEBUG)."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the file of a map may leave unsaid."""

    like: Path | None = None
    """An image whose grid to use: to fill or to measure on; for maps that count in voxels, the fixed one."""
    moving_like: Path | None = None
    """The same of the moving image: for the way from fixed to moving, and for maps that count in its voxels."""
    format: Literal["itk", "field", "learn2reg", "deeds", "frog", "greedy"] | None = None
    """The map's format, where its ending does not tell."""
    matrix: str | None = None
    """Of deeds: the text file of the affine matrix it started from, or the word none."""
    grid_spacing_vox: int | None = None
    """Of deeds: its last grid spacing in voxels, where the file's size leaves a choice."""
    frame: Literal["LPS", "RAS"] | None = None
    """Of FROG: the frame of the images it was run on."""
    index: int | None = None
    """Of a text file with several transforms: which one, from 0."""


@dataclass(frozen=True, kw_only=True)
class Apply:
    """How inputs are brought to the other patient."""

    from_: Literal["fixed", "moving"] | None = None
    """Whose inputs these are; needed where no record beside the map knows them."""
    labels: bool = False
    """The images are label maps: their values are kept, never blended."""
    interpolation: Literal["linear", "cubic", "nearest", "smooth"] | None = None
    """Default linear; for labels nearest, or smooth: the label whose blurred shape is strongest."""
    outside: float | None = None
    """The value where the input does not reach; default 0 for labels, -1000 for a CT, else the image's minimum."""
    points_space: Literal["LPS", "RAS", "voxel"] | None = None
    """The frame of point and mesh files that do not say theirs; it overrules those that do."""
    spacing: float | None = None
    """The size of the output's voxels in mm, over the same box; default those of the grid."""
    series: str | None = None
    """Of a DICOM folder with several series: the SeriesInstanceUID, or the end of one."""
    json: bool = False
    """Say what was written, and how, as one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Info:
    json: bool = False
    """All that is known, as one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Invert:
    mask: Path | None = None
    """Where to write a label map of the places that have no inverse (1) beside those that have (0)."""
    json: bool = False
    """The measured error, in mm, as one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Compose:
    spaces: tuple[str, ...] = ()
    """Names for the spaces that N maps join, N + 1 of them, target first: C B A for maps C from B and B from A."""


@dataclass(frozen=True, kw_only=True)
class ConvertMap:
    to: Literal["itk", "field", "learn2reg", "deeds", "frog"] | None = None
    """The output's format, where its ending does not tell: a Learn2Reg field may end in .nii.gz too."""


@dataclass(frozen=True, kw_only=True)
class Jacobian:
    mask: Path | None = None
    """A label map on the same grid; only where it is not 0 are voxels counted."""
    json: bool = False
    """The figures as one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """What to hold against what."""

    transform: Path | None = None
    """The map from fixed to moving points."""
    inverse: Path | None = None
    """The map back, whose consistency with the first is measured in mm."""
    fixed_labels: Path | None = None
    """Labels of the fixed image."""
    moving_labels: Path | None = None
    """Labels of the moving image, brought to the fixed grid with the map (nearest) before they are compared."""
    warped_labels: Path | None = None
    """Labels that are on the fixed grid already."""
    label_names: Path | None = None
    """Names of the labels: a .json or a .tsv; default the one beside the labels, as labels.json is by labels.nii.gz."""
    fixed_points: Path | None = None
    """Landmarks of the fixed image."""
    moving_points: Path | None = None
    """Their counterparts in the moving image; names pair them, or rows where there are no names."""
    points_space: Literal["LPS", "RAS", "voxel"] | None = None
    """The frame of point files that do not say theirs; it overrules those that do."""
    json: bool = False
    """The figures as one JSON object on stdout, instead of a table."""


@dataclass(frozen=True, kw_only=True)
class Convert:
    """What to change on the way."""

    labels: bool = False
    """The input is a label map."""
    dtype: Literal["float32", "int16", "uint16", "uint8", "int8", "int32", "uint32"] | None = None
    """The numbers' type in the output; integers round. Default float32, and what holds them for labels."""
    rescale: tuple[float, float] | None = None
    """SLOPE INTERCEPT: values become SLOPE * value + INTERCEPT, as 1 -1024 makes HU of a CT that was never rescaled."""
    replace_nan: float | None = None
    """The value to put where the input is NaN or infinite."""
    spacing: float | None = None
    """The size of the output's voxels in mm, over the same box."""
    series: str | None = None
    """Of a DICOM folder with several series: the SeriesInstanceUID, or the end of one."""
    points_space: Literal["LPS", "RAS", "voxel"] | None = None
    """The frame of a point or mesh file that does not say its own."""
    like: Path | None = None
    """The image whose voxels a point file counts in."""
    style: Literal["ants", "elastix", "frog"] | None = None
    """Write points in the form of that program: x,y,z,t for ANTs in a .csv, a point list for elastix, FROG's table."""
    format: Literal["frog", "sift3d"] | None = None
    """The program that wrote a table of keypoints, where its numbers leave a choice."""
    descriptors: Path | None = None
    """Of SIFT3D: the file of descriptors that belongs to a file of keys."""


@dataclass(frozen=True, kw_only=True)
class Doctor:
    json: bool = False
    """All of it as one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Register:
    """What is registered, and how."""

    # evaluated when the flags are made, from the one table of methods
    method: Literal[tuple(PAIRWISE)] = "linear"  # type: ignore[valid-type]
    """The engine; each has options of its own."""
    start: Literal["keypoint"] | Path | None = None
    """A map to begin from, moving from fixed, or the word keypoint: the map of the images' keypoints; else places are
    searched for, whatever the headers say."""
    mask_fixed: Path | None = None
    """A label map of the fixed image, 0 where it is not to be looked at."""
    mask_moving: Path | None = None
    """The same of the moving image."""
    labels: Path | None = None
    """A label map of the moving image, brought to the fixed grid as well."""
    points: Path | None = None
    """Points of the moving image, brought to the fixed image as well."""
    points_space: Literal["LPS", "RAS", "voxel"] | None = None
    """The frame of a point file that does not say its own; it overrules one that does."""
    outside: float | None = None
    """The value of the warped image where the moving one does not reach; default -1000 for a CT, else its minimum."""
    window: tuple[str, ...] = ()
    """Of the report's pictures: abdomen, lung, bone or brain, or two values LOW HIGH that are black and white."""
    seed: int = 0
    """Of methods that draw random numbers."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks work; auto: on a GPU where there is one. All else runs on the CPU."""
    config: Path | None = None
    """A TOML file with the method's options; flags that are given overrule it."""
    force: bool = False
    """Replace what another registration left in the output folder."""
    json: bool = False
    """The record of the run as one JSON object on stdout."""


@dataclass(frozen=True, kw_only=True)
class Report:
    window: tuple[str, ...] = ()
    """Of the pictures: abdomen, lung, bone or brain, or two values LOW HIGH that are black and white."""


@dataclass(frozen=True, kw_only=True)
class Patients:
    """Which ones, and on which voxels."""

    first: Annotated[int, Parameter(name=("--first", "--seed"))] = 0
    """The seed of the first; the others follow. Machines with different ones can share the folder."""
    jobs: int = 1
    """How many patients to draw at once, each in a process of its own; they share the threads."""
    spacing: float = 2.5
    """The size of the voxels in mm."""
    region: Literal["neck-thigh", "chest", "abdomen", "pelvis", "abdomen-pelvis", "chest-abdomen-pelvis"] = "neck-thigh"
    """What the scan shows."""
    crop: tuple[float, float, float, float, float, float] | None = None
    """X Y Z X Y Z in LPS mm, the lowest and the highest corner of a smaller box to show instead."""


@dataclass(frozen=True, kw_only=True)
class FindKeypoints:
    """Where points are looked for, and what is written of them."""

    # evaluated when the flags are made, from the one table of detectors
    method: Literal[tuple(DETECTORS)] = "surf3d"  # type: ignore[valid-type]
    """The detector; each has options of its own."""
    describe: str | None = None
    """A network that describes the points in place of the detector: patch, patch-paper, or what training wrote."""
    mask: Path | None = None
    """Of a single volume: a label map, 0 where no point is wanted."""
    masks: Path | None = None
    """A folder with a label map for each volume, called as the volume or as its output is."""
    points: Path | None = None
    """Of a single volume: points to describe, instead of looking for any."""
    points_space: Literal["LPS", "RAS", "voxel"] | None = None
    """The frame of a file of points that does not say its own."""
    scale_mm: float | None = None
    """mm, how large --points are taken to be where their file does not say."""
    formats: tuple[Literal["csv.gz", "csv", "bin"], ...] = ()
    """Further files for each volume, as FROG writes them; .npz and .mrk.json are always there."""
    jobs: int = 1
    """How many volumes at once, each in a process of its own; they share the threads."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where networks work; auto: on a GPU where there is one. The points are the same."""
    no_pictures: bool = False
    """Leave out the page of each volume that shows its points."""
    window: tuple[str, ...] = ()
    """Of the pages: abdomen, lung, bone or brain, or two values LOW HIGH that are black and white."""
    force: bool = False
    """Replace what was found before with other options."""
    json: bool = False
    """The record of the run as one JSON object on stdout, instead of a table."""


@dataclass(frozen=True, kw_only=True)
class MatchPoints:
    """What is matched, and what it is held against."""

    method: Literal[tuple(DETECTORS)] = "surf3d"  # type: ignore[valid-type]
    """Of volumes: the detector whose points are matched; each has options of its own."""
    describe: str | None = None
    """Of volumes: a network that describes the points in place of the detector: patch, patch-paper, or what training
    wrote."""
    transform: Path | None = None
    """A map, moving from fixed, by which matches are judged; and searched for, with --within-mm."""
    fixed_image: Path | None = None
    """The image that a file of fixed points was found in, to show them on."""
    moving_image: Path | None = None
    """The same of the moving points."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where networks work; auto: on a GPU where there is one. The points are the same."""
    no_pictures: bool = False
    """Leave out the page that shows the matches."""
    force: bool = False
    """Replace what another matching left in the output folder."""
    json: bool = False
    """The record of the run as one JSON object on stdout, instead of a table."""


@dataclass(frozen=True, kw_only=True)
class GroupVolumes:
    """Who is in the group, what is known of them, and what is made of it."""

    keypoints: str = "surf3d"
    """The detector, surf3d, sift3d or another, each with options of its own; or a folder with a file of keypoints for
    each volume."""
    describe: str | None = None
    """A network that describes the points in place of the detector: patch, patch-paper, or what training wrote."""
    landmarks: Path | None = None
    """A folder with landmarks, by which the maps are judged; each file is called as its volume, or as the volume's
    folder, or lies in a folder of that name. Volumes without any get those of the others."""
    labels: Path | None = None
    """A folder with label maps, called likewise; volumes without one get the labels of the others."""
    masks: Path | None = None
    """A folder with a label map for each volume, called likewise, 0 where no keypoint is wanted."""
    labels_from: tuple[str, ...] = ()
    """Names of the volumes whose labels are handed on; labels of the others are there to compare with."""
    points_space: Literal["LPS", "RAS", "voxel"] | None = None
    """The frame of files of points that do not say theirs; it overrules those that do."""
    engine: str = "local"
    """Who computes: local, dask (workers on this machine), or tcp://HOST:PORT of a Dask scheduler that is running."""
    jobs: int = 1
    """How many tasks at once on this machine, each in a process of its own; they share the threads."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where networks work and patients are drawn together; a GPU gives the same maps."""
    partners: int | None = None
    """With how many others each volume is matched; default all."""
    plan: bool = False
    """Say which tasks there are, and about how many bytes and minutes they take; compute nothing."""
    shard: str | None = None
    """I/N: with --only, the part I of N of the tasks, for one of N machines that share the folder."""
    only: Literal["keypoints", "matches"] | None = None
    """Stop after these; they are kept in the folder, and the command without --only goes on from there."""
    skip: bool = False
    """Leave out volumes that cannot be used, instead of stopping."""
    formats: tuple[Literal["frog"], ...] = ()
    """Further files of each volume's map: FROG's JSON, for its own tools."""
    jacobians: bool = False
    """A picture of each volume's Jacobian determinant as well: above 1 where it is smaller than the common space."""
    spacing: float | None = None
    """mm, the voxels of the mean image; default about those of the volumes."""
    refine: Literal[tuple(PAIRWISE)] | None = None  # type: ignore[valid-type]
    """Draw the mean sharper: this method registers each volume to it, in turns."""
    rounds: int = 3
    """Turns of --refine."""
    window: tuple[str, ...] = ()
    """Of the report's pictures: abdomen, lung, bone or brain, or two values LOW HIGH that are black and white."""
    add: tuple[Path, ...] = ()
    """Volumes to be placed in a finished group, none of whose maps change; options are the group's."""
    to: Path | None = None
    """The folder of that group."""
    force: bool = False
    """Replace the group that other options or other volumes have left in the folder."""
    json: bool = False
    """The record of the run as one JSON object on stdout, instead of a table."""
