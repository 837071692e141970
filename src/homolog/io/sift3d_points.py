"""SIFT3D's keypoints (`kpSift3D --keys --desc`): they count in voxels, so they mean nothing without their image.

Places of keys are those of the octave's own lattice, every second voxel of the one below; descriptors' are whole.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from homolog.errors import BadInput, UnreadableFile
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints

# x, y, z, octave, scale and a rotation; x, y, z and a descriptor.
KEY, DESCRIBED = 14, 3 + 768
# How far printed rotations are from being such: six decimals, with room for an older printer's four.
ROUNDED = 1e-3


def is_keys(table: np.ndarray) -> bool:
    """Whether rows can be keys: whole voxels and octaves, scales above 0, rotations."""
    if table.shape[1] != KEY:
        return False
    turns = table[:, 5:].reshape(-1, 3, 3)
    square = np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max() <= ROUNDED
    whole = (table[:, :4] == np.floor(table[:, :4])).all() and (table[:, :4] >= 0).all()
    return bool(whole and (table[:, 4] > 0).all() and square)


def is_described(table: np.ndarray) -> bool:
    """Whether rows can be descriptors: whole voxels, and numbers of unit length, or none at all."""
    if table.shape[1] != DESCRIBED:
        return False
    length = np.linalg.norm(table[:, 3:], axis=1)
    whole = (table[:, :3] == np.floor(table[:, :3])).all() and (table >= 0).all()
    return bool(whole and ((np.abs(length - 1) <= ROUNDED) | (length == 0)).all())


def keypoints(table: np.ndarray, path: Path, space: str, grid: Grid | None) -> Keypoints:
    """Of a table of keys or of descriptors.

    grid  of the image that was looked at
    """
    if grid is None:
        raise BadInput(
            f"{path}: SIFT3D's points count in voxels of the image they were found in, and none was given",
            "--like IMAGE, the one that kpSift3D was given",
        )
    if is_described(table):
        return Keypoints(_inside(table[:, :3], grid, path), space, descriptors=table[:, 3:].astype(np.float32))
    if not is_keys(table):
        raise UnreadableFile(
            f"{path} holds no points of SIFT3D: rows are x,y,z,octave,scale and a rotation, or x,y,z and 768 numbers"
        )
    voxels = table[:, :3] * 2.0 ** table[:, 3:4]
    # its axes are the image's own, in mm; a rotation's columns are turned into the patient as directions are
    frame = grid.axes @ table[:, 5:].reshape(-1, 3, 3)
    return Keypoints(_inside(voxels, grid, path), space, scale=table[:, 4].copy(), frame=frame)


def joined(keys: Keypoints, described: Keypoints, path: Path) -> Keypoints:
    """The keys with the descriptors of another file, which lists the same places in the same order."""
    from dataclasses import replace

    if len(keys) != len(described) or np.abs(keys.position - described.position).max(initial=0.0) > 1e-3:
        raise BadInput(
            f"{path} describes {len(described)} places that are not those of the {len(keys)} keys",
            "both files are of one run of kpSift3D: --keys a.csv --desc b.csv",
        )
    return replace(keys, descriptors=described.descriptors)


def _inside(voxels: np.ndarray, grid: Grid, path: Path) -> np.ndarray:
    """(N, 3) LPS mm of voxels, all of which the image has."""
    outside = int((voxels > np.array(grid.shape) - 1).any(axis=1).sum())
    if outside:
        raise BadInput(
            f"{path}: {outside} of {len(voxels)} points lie beyond the {'x'.join(map(str, grid.shape))} voxels of the "
            "image",
            "--like the very image that kpSift3D was given",
        )
    return grid.world(voxels)
