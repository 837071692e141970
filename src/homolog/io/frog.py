"""FROG's half-transforms (Agier et al., Med. Image Anal. 59:101564, 2020): a JSON list and a NIfTI for each spline.

The steps of the list are applied first to last, and carry a point of the image to the common space of the group: the
image is our `fixed`, and warping it onto the common space needs the inverse. The numbers are mm in the frame in which
FROG was given its points: its own keypoints of a NIfTI image are RAS, those of others may be LPS, and the file does
not say. (Files written here do, by a key "frame" that FROG passes over.) A coefficient NIfTI is no picture: its offset
and its spacing are that frame's very numbers, although its header reads as RAS.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from homolog.errors import BadInput, UnknownFrame, UnreadableFile
from homolog.io.fields import opened
from homolog.io.files import require_file
from homolog.io.itk_steps import straightened
from homolog.io.nifti import LPS_FROM_RAS
from homolog.space.grid import Grid
from homolog.space.transforms import Affine, BSpline, Chain, Transform, chain

LINEAR, SPLINE = "vtkMatrixToLinearTransform", "vtkBSplineTransform"
FRAMES = ("LPS", "RAS")
COMMON = "common"


def read(path: Path, frame: str | None = None) -> Transform:
    """The map from an image ("fixed") to the group's common space ("common"), LPS mm."""
    steps, said = _listed(path)
    turn = _turn(path, frame or said)
    parts = [_turned(_step(stored, path), turn) for stored in steps]
    return chain(parts[::-1], fixed="fixed", moving=COMMON)


def writers(transform: Transform, path: Path, frame: str | None) -> dict[Path, Callable[[Path], None]]:
    """What writes the list, and beside it each spline's coefficients."""
    turn = _turn(path, frame)
    parts = transform.parts if isinstance(transform, Chain) else (transform,)
    steps = [step for part in reversed(parts) for step in _upright(_turned(part, turn))]
    names = {
        n: f"{path.name}.{k}.nii.gz" for k, n in enumerate(n for n, s in enumerate(steps) if isinstance(s, BSpline))
    }
    listed = {"frame": frame, "transforms": [_entry(step, names.get(n)) for n, step in enumerate(steps)]}
    splines = {path.with_name(name): _coefficient_writer(steps[n]) for n, name in names.items()}
    return {path: lambda part: _write_text(json.dumps(listed), part), **splines}


def _entry(step: Affine | BSpline, name: str | None) -> dict[str, Any]:
    if isinstance(step, Affine):
        return {"type": LINEAR, "matrix": step.matrix.ravel().tolist()}
    return {"type": SPLINE, "file": name}


def _write_text(text: str, part: Path) -> None:
    part.write_text(text)


def _turn(path: Path, frame: str | None) -> np.ndarray:
    """(4, 4): LPS from the file's frame, which is also the way back."""
    if frame is None:
        raise UnknownFrame(
            f"{path} does not say in which frame FROG was run",
            "--frame RAS if its points came from NIfTI images, --frame LPS if they came from LPS points",
        )
    if frame not in FRAMES:
        raise BadInput(f"FROG's frame is LPS or RAS, not {frame!r}")
    return LPS_FROM_RAS if frame == "RAS" else np.eye(4)


def _turned(step: Transform, turn: np.ndarray) -> Affine | BSpline:
    if isinstance(step, Affine):
        return Affine(turn @ step.matrix @ turn)
    if isinstance(step, BSpline):
        grid = Grid(step.grid.shape, turn @ step.grid.world_from_voxel)
        return BSpline(np.asarray(step.coefficients) @ turn[:3, :3], grid)
    raise BadInput(
        f"FROG holds affine maps and B-splines; this map has a {type(step).__name__}",
        "fit splines to it, or write another format: -o map.h5",
    )


def _upright(step: Affine | BSpline) -> list[Affine | BSpline]:
    """VTK's lattices have no direction: any other is put upright between two matrices."""
    if isinstance(step, Affine):
        return [step]
    upright_from_world, upright = straightened(step, np.eye(3))
    if np.allclose(upright_from_world, np.eye(4), atol=1e-9):
        return [step]
    return [Affine(upright_from_world), upright, Affine(np.linalg.inv(upright_from_world))]  # type: ignore[list-item]


def _listed(path: Path) -> tuple[list[dict[str, Any]], str | None]:
    try:
        stored = json.loads(path.read_text())
        if "transform_hash" in stored:
            of = path.with_name(path.name.removesuffix(".json"))
            raise BadInput(f"{path} is the record of a transform, not the transform", f"{of}")
        return list(stored["transforms"]), stored.get("frame")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnreadableFile(f"{path} is no list of FROG's transforms", "it holds a key 'transforms'") from error


def _step(stored: dict[str, Any], path: Path) -> Affine | BSpline:
    try:
        kind = stored["type"]
        if kind == LINEAR:
            return Affine(np.reshape(np.array(stored["matrix"], float), (4, 4)))
        if kind == SPLINE:
            return _stored_apart(path.parent / stored["file"]) if "file" in stored else _stored_inline(stored)
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableFile(f"{path} holds a transform that is not whole ({error!r})") from error
    raise BadInput(f"{path} holds a {kind}; FROG writes {LINEAR} and {SPLINE}")


def _stored_inline(stored: dict[str, Any]) -> BSpline:
    shape = [int(n) for n in stored["dimensions"]]
    coefficients = np.reshape(np.array(stored["coeffs"], float), (*shape[::-1], 3)).transpose(2, 1, 0, 3)
    return BSpline(coefficients, Grid.regular(shape, stored["spacing"], stored["origin"]))


def _stored_apart(path: Path) -> BSpline:
    with opened(require_file(path)) as image:
        coefficients, header = np.asarray(image.dataobj, np.float64), image.header
    if coefficients.ndim != 5 or coefficients.shape[3:] != (1, 3):
        raise BadInput(f"{path}: coefficients are (I, J, K, 1, 3) numbers, got {coefficients.shape}")
    if any(header[f"quatern_{axis}"] for axis in "bcd") or header["pixdim"][0] < 0:
        raise BadInput(f"{path}: FROG's lattices lie along the axes, this header turns it")
    origin_mm = [float(header[f"qoffset_{axis}"]) for axis in "xyz"]
    return BSpline(
        coefficients[:, :, :, 0], Grid.regular(coefficients.shape[:3], header["pixdim"][1:4].astype(float), origin_mm)
    )


def _coefficient_writer(step: Any) -> Callable[[Path], None]:
    coefficients = np.asarray(step.coefficients)[:, :, :, None, :].astype(np.float32)
    image: Any = nibabel.Nifti1Image(coefficients, None)
    image.set_qform(step.grid.world_from_voxel, code=1)
    image.header.set_zooms((*step.grid.spacing_mm.tolist(), 1.0, 1.0))
    return image.to_filename
