"""The cameras of DeepFluoro's full-resolution HDF5 file (Grupp et al., IJCARS 15, 2020).

`proj-params` holds one camera for all: intrinsic (3x3, negative focal entries: z points to the source), extrinsic (4x4,
from the frame in which poses are given to the source's), the detector's size and pitch. Each projection of a specimen,
`<specimen>/projections/<n>`, has a pose `gt-poses/cam-to-pelvis-vol` (4x4), from that frame to the volume's LPS.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from homolog.errors import UnreadableFile
from homolog.io.cameras_told import Unsaid
from homolog.io.files import require_file
from homolog.io.hdf5 import Unfamiliar, opened
from homolog.io.hdf5_arrays import ArrayFile
from homolog.space.camera_matrices import from_krt
from homolog.space.camera_poses import PlacedCamera

logger = logging.getLogger(__name__)

PARAMETERS, POSE = "proj-params", "gt-poses/cam-to-pelvis-vol"


def read_deepfluoro(path: Path, unsaid: Unsaid) -> list[PlacedCamera]:
    """A camera for each projection with a pose, called specimen/number, in the world of the specimen's volume."""
    require_file(path)
    try:
        with opened(path, ArrayFile) as file:
            assert isinstance(file, ArrayFile)
            shared = _shared(file, path)
            found = [_placed(shared, pose, name, unsaid) for name, pose in _poses(file)]
    except Unfamiliar as unfamiliar:
        raise UnreadableFile(
            f"{path} is HDF5 of a kind that is not read here ({unfamiliar})", "h5repack OLD.h5 NEW.h5"
        ) from unfamiliar
    if not found:
        raise UnreadableFile(f"{path} holds no projection with a pose ({POSE})")
    return found


def _shared(file: ArrayFile, path: Path) -> dict[str, Any]:
    """What all projections have in common, by its names."""
    try:
        group = file.members(file.at(PARAMETERS))
    except KeyError:
        raise UnreadableFile(f"{path} is no file of DeepFluoro: it has no group {PARAMETERS}") from None
    names = ("intrinsic", "extrinsic", "num-rows", "num-cols", "pixel-row-spacing", "pixel-col-spacing")
    if missing := [name for name in names if name not in group]:
        raise UnreadableFile(f"{path}: {PARAMETERS} lacks {' and '.join(missing)}")
    return {name: file.array(group[name]).astype(float) for name in names}


def _poses(file: ArrayFile) -> Iterator[tuple[str, np.ndarray]]:
    """Names, and pelvis from camera (4, 4)."""
    for specimen, at in file.members(file.root).items():
        projections = file.members(at).get("projections")
        for number, projection in sorted(file.members(projections).items()) if projections is not None else ():
            try:
                yield f"{specimen}/{number}", file.array(file.at(POSE, projection)).astype(float)
            except KeyError:
                logger.warning("projection %s of %s has no pose: passed over", number, specimen)


def _placed(shared: dict[str, Any], pelvis_from_camera: np.ndarray, name: str, unsaid: Unsaid) -> PlacedCamera:
    source_from_pelvis = shared["extrinsic"].reshape(4, 4) @ np.linalg.inv(pelvis_from_camera.reshape(4, 4))
    sizes, pitches = (
        [shared[key].ravel()[0] for key in keys]
        for keys in (("num-rows", "num-cols"), ("pixel-row-spacing", "pixel-col-spacing"))
    )
    return from_krt(
        shared["intrinsic"].reshape(3, 3),
        source_from_pelvis[:3, :3],
        source_from_pelvis[:3, 3],
        (int(sizes[0]), int(sizes[1])),
        pitch_mm=(float(pitches[0]), float(pitches[1])),
        first_pixel=unsaid.first_pixel or 0.0,
        **unsaid.about(name, "patient"),
    )
