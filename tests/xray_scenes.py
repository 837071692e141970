"""A body, and X-rays of it whose poses are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from homolog import Grid, Volume, write
from homolog.io.cameras import write_cameras
from homolog.io.xrays import write_xray
from homolog.space import se3
from homolog.space.attenuation import attenuation
from homolog.space.camera import Camera
from homolog.space.camera_poses import PlacedCamera, from_look_at
from homolog.space.projecting import project
from tests.geometry import oblique_grid

CAMERA = Camera(900.0, (72, 80), (2.6, 2.4), (41.5, 33.0))
GRID = oblique_grid((40, 36, 44), (3.2, 3.6, 2.9), seed=11)
MIDDLE = GRID.corners().mean(axis=0)


def body(grid: Grid = GRID) -> Volume:
    """HU: soft tissue in air, and bones in it that no turn and no mirror brings onto themselves."""
    points = grid.points() - MIDDLE
    hu = -1000 + 1040 * _ellipsoid(points, np.zeros(3), np.array((50.0, 42.0, 52.0)))
    rng = np.random.default_rng(5)
    for _ in range(9):
        hu = np.maximum(hu, -1000 + 1900 * _ellipsoid(points, rng.uniform(-26, 26, 3), rng.uniform(5, 13, 3)))
    return Volume(hu.reshape(grid.shape).astype(np.float32), grid, "ct")


def _ellipsoid(points: np.ndarray, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """(N,) 1 inside, 0 outside, with an edge so soft that any voxels of some mm show the same body."""
    inside_mm = (1 - np.linalg.norm((points - centre) / radii, axis=1)) * radii.mean()
    return 1 / (1 + np.exp(-inside_mm / 1.5))


def placed(name: str = "front", towards: tuple[float, float, float] = (0.1, 1.0, -0.15)) -> PlacedCamera:
    """A camera that looks at the body's middle, which is 0.75 of its focal length away."""
    axis = np.array(towards) / np.linalg.norm(towards)
    source = MIDDLE - 0.75 * CAMERA.focal_mm * axis
    return PlacedCamera(CAMERA, from_look_at(source, MIDDLE + (4.0, 2.0, -3.0)), name)


def moved(camera: PlacedCamera, twist: tuple[float, ...] = (0.06, -0.05, 0.07, 5.0, -4.0, 9.0)) -> PlacedCamera:
    """The same with the body turned about its middle and shifted."""
    pivot = (camera.camera_from_world @ (*MIDDLE, 1))[:3]
    return camera.replaced(camera_from_world=se3.about(pivot, np.array(twist)) @ camera.camera_from_world)


def taken(camera: PlacedCamera, seed: int = 0) -> np.ndarray:
    """(rows, columns) line integrals with noise, as from finer voxels than the volume has."""
    fine = attenuation(body(GRID.with_spacing(2.3)))
    picture = project(fine, camera.camera, camera.camera_from_world, method="siddon")
    return picture + np.random.default_rng(seed).normal(0, 0.02, picture.shape).astype(np.float32)


SIDE = placed("side", (-1.0, 0.2, 0.1))


def write_study(folder: Path) -> None:
    """A body and two X-rays of it: ct.nii.gz, mask.nii.gz (its bones), front.nii.gz, side.nii.gz, and their cameras.

    truth.json, front_truth.json  of both and of one alone, in the patient
    start.json                    of front, off by some degrees and mm
    rig.json                      of both, in a world of their own
    """
    volume = body()
    write(volume, folder / "ct.nii.gz")
    write(Volume((volume.numpy() > 200).astype(np.uint8), GRID, "ct", "labels"), folder / "mask.nii.gz")
    views = [placed(), SIDE]
    for view in views:
        write_xray(folder / f"{view.name}.nii.gz", taken(view))
    write_cameras(folder / "truth.json", views)
    write_cameras(folder / "front_truth.json", views[:1])
    write_cameras(folder / "start.json", [moved(views[0])])
    world_from_patient = se3.exp(np.array((0.4, -1.2, 0.8, 150.0, 20.0, -300.0)))
    calibrated = [
        view.replaced(camera_from_world=view.camera_from_world @ se3.inverse(world_from_patient), world="calibration")
        for view in views
    ]
    write_cameras(folder / "rig.json", calibrated)
