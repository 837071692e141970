"""The volume of `homolog align`: what of it attenuates, and how much."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog.cli.align_config import Align
from homolog.errors import BadInput, GridMismatch
from homolog.io import volumes
from homolog.io.checks import require_contrast, require_finite
from homolog.space.attenuation import AIR_HU, SOFT_HU, attenuation, excess_attenuation, relative_attenuation
from homolog.space.volume import Volume

# A CT's air is near -1000; no picture whose numbers grow from 0 goes that low.
LEAST_HU = -200.0
# A volume of whose voxels fewer than this share are above 0 is something that was cut out.
CUT_OUT = 0.5
# Of the largest attenuation: what is less is air, or foam, and no part of the body.
AIR = 0.05


@dataclass(frozen=True, eq=False)
class Body:
    """What is looked for.

    picture   the volume as it was read
    volume    its attenuation, 1/mm
    assumed   sentences on what was taken for granted
    guessed   whether its numbers may be no attenuation at all, as those of an MR
    """

    picture: Volume
    volume: Volume
    assumed: tuple[str, ...]
    guessed: bool


def read_body(path: Path, config: Align) -> Body:
    """The volume of a file as attenuation, with everything looked at before anything is computed."""
    picture = _read(path, config)
    volume, assumed = _attenuation(picture, path, config)
    guessed = config.values == "auto" and not _looks_hounsfield(picture)
    return Body(picture, volume, assumed, guessed)


def _read(path: Path, config: Align) -> Volume:
    spacing: dict[str, Any] = {} if config.spacing_mm is None else {"spacing_mm": config.spacing_mm}
    picture = volumes.read(path, **spacing)
    require_finite(picture, str(path))
    require_contrast(picture, str(path))
    return picture


def _attenuation(picture: Volume, path: Path, config: Align) -> tuple[Volume, tuple[str, ...]]:
    """In 1/mm, and what was assumed to get there."""
    mask = body_mask(picture, path, config)
    if config.values == "hu" or (config.values == "auto" and _looks_hounsfield(picture)):
        floor = AIR_HU if config.floor is None else config.floor
        if mask is not None and config.floor is None:
            found = excess_attenuation(picture, energy_kev=config.energy_kev, mask=mask)
            return found, (f"the body is what attenuates more than the soft tissue around it ({SOFT_HU:g} HU)",)
        found = attenuation(picture, energy_kev=config.energy_kev, floor_hu=floor, mask=mask)
        return found, (f"the volume's values are Hounsfield units; at or below {floor:g} nothing attenuates",)
    least = float(picture.numpy().min())
    if config.values == "auto" and least < 0:
        raise BadInput(
            f"{path} holds values from {least:g} on: neither Hounsfield units, whose air is -1000, nor numbers from 0",
            "--values hu, or --values relative",
        )
    floor = _cut_floor(picture) if config.floor is None else config.floor
    found = relative_attenuation(picture, energy_kev=config.energy_kev, floor=floor, mask=mask)
    said = f"the volume's values are no Hounsfield units (they begin at {least:g}): taken as growing with attenuation"
    if floor <= 0:
        return found, (said,)
    return found, (said, f"values up to {floor:g} attenuate nothing: they are the soft tissue within and around a bone")


def _looks_hounsfield(picture: Volume) -> bool:
    return float(picture.numpy().min()) < LEAST_HU


def _cut_floor(picture: Volume) -> float:
    """Of a bone that was cut out, 0 around it: the value of its marrow, whose edge no X-ray shows; else 0.

    The median of what was cut out: cortical bone is the lesser part of any bone's end.
    """
    values = picture.numpy()
    within = values[values > 0]
    return float(np.median(within)) if len(within) < CUT_OUT * values.size else 0.0


def body_mask(picture: Volume, path: Path, config: Align) -> np.ndarray | None:
    """(I, J, K) bool: what --volume-mask leaves, or None."""
    if config.volume_mask is None:
        if config.labels:
            raise BadInput("--labels are of --volume-mask, and none was given", "--volume-mask LABELS.nii.gz")
        return None
    labels = volumes.read_labels(config.volume_mask, space=picture.space)
    if not labels.grid.same_as(picture.grid):
        theirs, ours = ("x".join(map(str, grid.shape)) for grid in (labels.grid, picture.grid))
        raise GridMismatch(
            f"--volume-mask {config.volume_mask} is on {theirs} voxels, {path} on {ours}: is it of that volume?",
            f"if so: homolog apply identity {config.volume_mask} --labels --like {path} -o mask_there.nii.gz",
        )
    if labels.numpy().min() < 0:
        raise BadInput(
            f"--volume-mask {config.volume_mask} holds negative numbers, so it is no label map",
            f"leave it out; --floor 200 leaves the bones of {path}",
        )
    kept = np.isin(labels.numpy(), config.labels) if config.labels else labels.numpy() != 0
    if not kept.any():
        there = ", ".join(map(str, np.unique(labels.numpy())[:20]))
        raise BadInput(f"{config.volume_mask} has nothing of labels {config.labels or 'above 0'}; it has {there}")
    return np.asarray(kept)


def body_corners(volume: Volume, path: Path, config: Align) -> np.ndarray:
    """(8, 3) LPS mm: the corners of the box around what attenuates."""
    data = volume.numpy()
    inside = data > AIR * data.max()
    if not inside.any() or data.max() <= 0:
        raise BadInput(
            f"nothing of {path} attenuates" + (f" above {config.floor:g}" if config.floor is not None else ""),
            "a lower --floor, or another --volume-mask",
        )
    spans = []
    for axis in range(3):
        along = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
        spans.append((int(along[0]), int(along[-1]) + 1))
    return volume.grid.cropped([span[0] for span in spans], [span[1] for span in spans]).corners()
