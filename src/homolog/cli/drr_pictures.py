"""The pictures of `homolog drr`: a volume's line integrals, what a detector makes of them, and their files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from homolog.cli import inputs, terminal
from homolog.cli.drr_config import Drr
from homolog.cli.resources import require_memory
from homolog.errors import BadInput, GridMismatch
from homolog.io import volumes
from homolog.io.checks import looks_unrescaled
from homolog.io.files import stem_of, suffix_of
from homolog.space import attenuation, projecting
from homolog.space.camera_poses import PlacedCamera
from homolog.space.projecting import Projector
from homolog.space.volume import Volume
from homolog.synth import xray_film, xrays
from homolog.synth.xray_config import XrayConfig

if TYPE_CHECKING:
    from homolog.synth.xrays import Exposure

log = logging.getLogger(__name__)

WRITTEN = (".png", ".tif", ".tiff", ".nii", ".nii.gz", ".mha", ".nrrd", ".dcm")
# What may hold greys instead of line integrals.
GREYS = (".png", ".tif", ".tiff")
FILM_SAYS = "homolog drr: the greys of a radiograph, bone is white"
# A CT and its attenuation, each float32, and one more while it is read.
BYTES_A_VOXEL = 12
# Of a picture: what arrived, blurred and counted in float64, and its greys.
BYTES_A_PIXEL = 90


@dataclass(frozen=True, eq=False)
class Patient:
    """What is projected.

    whole   attenuation of everything, 1/mm
    bone    the bone's share of it, where a spectrum hardens otherwise by it
    labels  (I, J, K) integers 0..L, and the label that each stands for
    """

    whole: Volume
    bone: Volume | None
    labels: np.ndarray | None
    named: tuple[str, ...]


def read(source: Path, config: Drr, exposure: XrayConfig) -> Patient:
    """The volume as attenuation, with everything looked at before anything is computed."""
    xrays.require_sensible(exposure)
    if config.step_mm is not None and not config.step_mm > 0:
        raise BadInput(f"--step-mm is positive, got {config.step_mm:g}", "leave --step-mm out")
    grid = volumes.read_grid(source, series=config.series, spacing_mm=config.spacing_mm)
    parts = 1 + (exposure.kilovolts is not None) / 3 + (config.labels is not None) / 3
    require_memory(
        BYTES_A_VOXEL * grid.size * parts, f"{source} and its attenuation", "homolog convert IN OUT --spacing 2"
    )
    volume = volumes.read(source, series=config.series, spacing_mm=config.spacing_mm)
    mask = None if config.mask is None else _on_grid(config.mask, volume, source)
    labels, named = _labels(config, volume, source)
    if _relative(volume, config.values, source):
        whole = attenuation.relative_attenuation(
            volume, energy_kev=exposure.energy_kev, floor=config.floor or 0.0, mask=mask
        )
        return Patient(whole, None, labels, named)
    options: Any = {"energy_kev": exposure.energy_kev, "mask": mask}
    if config.floor is not None:
        options["floor_hu"] = config.floor
    whole = attenuation.attenuation(volume, **options)
    bone = None if exposure.kilovolts is None else attenuation.bone_attenuation(volume, **options)
    return Patient(whole, bone, labels, named)


def exposed(
    patient: Patient, placed: PlacedCamera, config: Drr, exposure: XrayConfig, generator: np.random.Generator
) -> Exposure:
    """The X-ray of one camera."""
    rows, columns = placed.camera.size_px
    needed = rows * columns * (BYTES_A_PIXEL + 8 * len(patient.named))
    require_memory(needed, f"a picture of {rows}x{columns} pixels", "--size 512")
    paths = Projector(patient.whole, config.method, config.step_mm).image(placed.camera, placed.camera_from_world)
    if not paths.any():
        raise BadInput(
            f"no ray of '{placed.name}' meets anything that attenuates: the picture is empty",
            "--isocentre X Y Z, through which the beam goes; homolog camera info CAMERA --volume CT draws where it is",
        )
    bone = None
    if patient.bone is not None:
        bone = Projector(patient.bone, config.method, config.step_mm).image(placed.camera, placed.camera_from_world)
    return xrays.expose(paths, placed.camera, exposure, generator, bone=bone)


def of_labels(patient: Patient, placed: PlacedCamera) -> Iterator[tuple[str, np.ndarray]]:
    """Each label's name and its part (rows, columns) of the line integrals, by boxes, without noise."""
    from homolog.kernels import line_integrals

    if patient.labels is None:
        return
    rays = projecting.bundle(placed.camera, placed.camera_from_world, patient.whole.grid)
    count, size = len(patient.named) + 1, placed.camera.size_px
    parts = line_integrals.by_label(patient.whole.numpy(), patient.labels, rays, size, count)
    for name, part in zip(patient.named, parts[1:]):
        yield name, (part * placed.camera.lengths()).astype(np.float32)


def write(path: Path, data: np.ndarray, placed: PlacedCamera, config: Drr, mask: np.ndarray | None) -> dict[str, Any]:
    """A picture and, beside it, its camera; what was written.

    mask  where a collimator lets the beam through; None: the part of a label, which is never shown as a radiograph
    """
    from homolog.io import cameras, tiff, xray_pictures
    from homolog.io.xrays import write_xray

    look = config.look or ("xray" if suffix_of(path) == ".png" and mask is not None else "integral")
    if look == "xray":
        most = 2 ** (config.bits or 8) - 1
        greys = np.rint(xray_film.film(data, mask) * most).astype(np.uint8 if most == 255 else np.uint16)
        if suffix_of(path) == ".png":
            xray_pictures.write_png(greys, path, FILM_SAYS, data)
        else:
            tiff.write(greys, path, FILM_SAYS)
    else:
        bits = config.bits if suffix_of(path) in GREYS else None
        write_xray(path, data, placed.camera, placed.camera_from_world, bits=bits)
    cameras.write_cameras(camera_path(path), [placed])
    shown = "shown as a radiograph" if look == "xray" else "as line integrals"
    terminal.note(f"{path}: {placed.name}, {placed.camera!r}, up to {data.max():.3g}, {shown}")
    if not config.json:
        terminal.result(path)
    return {
        "picture": str(path), "camera": str(camera_path(path)), "view": placed.name, "look": look,
        "largest": float(data.max()),
    }  # fmt: skip


def camera_path(path: Path) -> Path:
    """The camera of a picture, in a file that is called as the picture is."""
    return path.with_name(f"{stem_of(path)}.json")


def require_format(output: Path, config: Drr) -> None:
    """Refuses a file that cannot hold what is asked for, before anything is read."""
    suffix = suffix_of(output)
    if suffix not in WRITTEN:
        ending = f"'{suffix}'" if suffix else "no ending"
        raise BadInput(
            f"{output}: a picture cannot be written with {ending}, only as {', '.join(WRITTEN)}",
            f"-o {output.with_name(stem_of(output))}.png",
        )
    if suffix not in GREYS and config.look == "xray":
        raise BadInput(f"{output} holds line integrals, not a radiograph's greys", f"-o {stem_of(output)}.png")
    if suffix not in GREYS and config.bits is not None:
        raise BadInput(f"--bits is of {', '.join(GREYS)}, not of {output}", "leave --bits out")


def names_of(output: Path, count: int, labels: tuple[str, ...]) -> list[list[Path]]:
    """For each of `count` views: the picture's file, then those of its labels."""
    suffix = suffix_of(output)
    stem = stem_of(output)
    views = [stem] if count == 1 else [f"{stem}_{n + 1}" for n in range(count)]
    return [
        [output.with_name(f"{name}{ending}{suffix}") for ending in ("", *(f"_{label}" for label in labels))]
        for name in views
    ]


def _relative(volume: Volume, values: str, source: Path) -> bool:
    """Whether its numbers have no unit: asked for, or plain from there being nothing as thin as fat."""
    if values != "auto" or attenuation.looks_hounsfield(volume):
        return values == "relative"
    if looks_unrescaled(volume):
        raise BadInput(
            f"{source} seems to be a CT stored 1024 above Hounsfield units",
            f"homolog convert {source} ct.nii.gz --rescale 1 -1024   (or --values relative)",
        )
    log.warning(
        "%s has neither air nor fat, so it is no CT in Hounsfield units: its largest value is taken as cortical bone, "
        "0 as nothing; of an MR that makes no X-ray",
        source,
    )
    return True


def _on_grid(path: Path, volume: Volume, source: Path) -> Volume:
    labels = volumes.read_labels(path)
    if not labels.grid.same_as(volume.grid):
        theirs, ours = ("x".join(map(str, grid.shape)) for grid in (labels.grid, volume.grid))
        raise GridMismatch(
            f"{path} is on {theirs} voxels, {source} on {ours}, or elsewhere",
            f"homolog apply identity {path} --labels --like {source} -o labels_there.nii.gz",
        )
    return labels


def _labels(config: Drr, volume: Volume, source: Path) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels numbered 0..L without gaps, and the names of 1..L."""
    if config.labels is None:
        return None, ()
    from homolog.io.label_names import names_beside

    found = _on_grid(config.labels, volume, source).numpy()
    there, known = np.unique(found), names_beside(config.labels)
    numbers = [int(number) for number in there if number != 0]
    if not numbers:
        raise BadInput(f"{config.labels} is 0 everywhere: there is no label to show", "leave --labels out")
    table = np.zeros(max(numbers) + 1 - min(0, *numbers), np.int32)
    table[numbers] = np.arange(1, len(numbers) + 1)
    named = tuple(known.get(number, f"label{number}").replace(" ", "_").replace("/", "_") for number in numbers)
    return table[found], named


def require_targets(sources: tuple[Path, ...], names: list[list[Path]]) -> None:
    """Every picture and every camera can be written, over no input."""
    files = [path for view in names for path in view]
    targets = [*files, *map(camera_path, files)]
    inputs.require_apart((*sources, *[sources[0]] * len(targets)), targets)
