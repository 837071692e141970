"""What all projectors are given: a chest of 256^3 voxels, and a C-arm that turns about its middle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from homolog import Grid, Volume, read
from homolog.space.attenuation import attenuation
from homolog.space.camera import Camera
from homolog.space.camera_poses import from_carm
from homolog.space.sampling import resample
from homolog.synth.patients import draw_patient

NATIVE = "chest-a/lidc-idri-0001_native.nii.gz"
VOXELS = 256
FOCAL_MM, SOURCE_MM, DETECTOR_MM = 1020.0, 850.0, 400.0
# Degrees of the arm: from behind, obliquely, from the side, and tilted to the head.
ARMS = ((0.0, 0.0), (35.0, 10.0), (88.0, -4.0), (-30.0, 25.0))


@dataclass(frozen=True, eq=False)
class Chest:
    """A volume in 1/mm, and where the arm's views stand.

    poses  (N, 4, 4) camera_from_world, LPS mm
    """

    volume: Volume
    poses: np.ndarray

    @property
    def middle_mm(self) -> np.ndarray:
        """(3,) LPS mm."""
        return self.volume.grid.corners().mean(axis=0)


def chest(data: Path | None) -> Chest:
    """Of the real CT under `data`, or of a virtual patient where there is none."""
    ct = read(data / NATIVE) if data else _virtual()
    volume = attenuation(resample(ct, cut(ct.grid, VOXELS), outside=-1000.0))
    middle = volume.grid.corners().mean(axis=0)
    poses = [from_carm(*arm, source_isocentre_mm=SOURCE_MM, isocentre_mm=middle) for arm in ARMS]
    return Chest(volume, np.array(poses))


def camera(pixels: int) -> Camera:
    return Camera.centred(FOCAL_MM, (pixels, pixels), DETECTOR_MM / pixels)


def cut(grid: Grid, voxels: int) -> Grid:
    """The same box, cut into so many voxels along each axis."""
    factors = np.array(grid.shape) / voxels
    old_from_new = np.diag([*factors, 1.0])
    old_from_new[:3, 3] = (factors - 1) / 2
    return Grid((voxels,) * 3, grid.world_from_voxel @ old_from_new)


def halved(volume: Volume) -> Volume:
    """Means of eight voxels each."""
    n = volume.grid.shape[0] // 2
    data = volume.numpy().reshape(n, 2, n, 2, n, 2).mean(axis=(1, 3, 5))
    return replace(volume, data=np.ascontiguousarray(data, np.float32), grid=cut(volume.grid, n))


def _virtual() -> Volume:
    patient = draw_patient(1)
    return patient.scan(patient.grid(2.0, region="chest"))


def saved(one: Chest, folder: Path) -> Path:
    """As plain arrays, which rivals read as well; gives the folder back."""
    np.save(folder / "volume.npy", one.volume.numpy())
    np.save(folder / "world_from_voxel.npy", one.volume.grid.world_from_voxel)
    np.save(folder / "poses.npy", one.poses)
    return folder


def loaded(folder: Path) -> Chest:
    grid = Grid((VOXELS,) * 3, np.load(folder / "world_from_voxel.npy"))
    return Chest(Volume(np.load(folder / "volume.npy"), grid, "chest"), np.load(folder / "poses.npy"))
