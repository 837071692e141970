"""Line integrals of a volume along a camera's rays: what a warp is to a map, this is to a camera.

A pose is `camera_from_world`, rigid, mm; the volume lies in the world by its grid, LPS mm. Rays begin at the source and
go on without end: the detector's distance scales the picture, and cuts nothing off. Outside its grid a volume is 0, so
it must be attenuation (1/mm), whose air is 0, and not HU.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from homolog.errors import BadInput
from homolog.kernels import line_integrals
from homolog.kernels.arrays import reading
from homolog.space import se3
from homolog.space.camera import Camera
from homolog.space.grid import Grid
from homolog.space.volume import Volume

METHODS = ("siddon", "joseph", "trilinear")


def bundle(camera: Camera, camera_from_world: np.ndarray, grid: Grid) -> np.ndarray:
    """(4, 3) float64 voxels: the source, the ray of pixel (0, 0) for a mm of depth, its change a column and a row."""
    voxel_from_camera = grid.voxel_from_world @ np.linalg.inv(camera_from_world)
    return _bundle(voxel_from_camera, camera)


def tangents(
    camera: Camera, camera_from_world: np.ndarray, grid: Grid, pivot_in_camera: np.ndarray, axes: np.ndarray
) -> np.ndarray:
    """(6, 4, 3): how the bundle changes as the volume turns and shifts, per rad and per mm.

    The pivot (3,) and the columns of axes (3, 3) are in the camera's frame, as `se3.about` takes them.
    """
    voxel_from_camera = grid.voxel_from_world @ np.linalg.inv(camera_from_world)
    out = np.empty((6, 4, 3))
    for n in range(6):
        moved = np.zeros((4, 4))
        if n < 3:
            moved[:3, :3] = se3.hat(axes[:, n])
            moved[:3, 3] = -moved[:3, :3] @ pivot_in_camera
        else:
            moved[:3, 3] = axes[:, n - 3]
        # the volume moves, so the rays move the other way in its voxels
        out[n] = _bundle(-voxel_from_camera @ moved, camera)
    return out


@dataclass(frozen=True, eq=False)
class Projector:
    """A volume made ready to be projected many times.

    volume   attenuation in 1/mm
    method   "siddon", exact for voxels that are boxes; "joseph"; "trilinear", the smoothest in the pose
    step_mm  of trilinear: depth between samples; None: the smallest side of a voxel
    """

    volume: Volume
    method: str = "trilinear"
    step_mm: float | None = None
    _data: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise BadInput(f"'{self.method}' projects nothing; {', '.join(METHODS)} do", "--method trilinear")
        object.__setattr__(self, "step_mm", float(self.step_mm or self.volume.grid.spacing_mm.min()))
        object.__setattr__(self, "_data", reading(self.volume.numpy(), np.float32))

    def image(self, camera: Camera, camera_from_world: np.ndarray) -> np.ndarray:
        """(rows, columns) float32: line integrals, no unit."""
        rays = bundle(camera, camera_from_world, self.volume.grid)
        values = line_integrals.integrals(self._data, rays, camera.size_px, self.method, self._step)
        return np.asarray(values * camera.lengths().astype(np.float32))

    def image_and_jacobian(
        self, camera: Camera, camera_from_world: np.ndarray, pivot_in_camera: np.ndarray, axes: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(rows, columns) and (rows, columns, 6) float32: the image, and its change as the volume turns and shifts.

        The six are those of `se3.about(pivot_in_camera, twist, axes) @ camera_from_world`, per rad and per mm.
        """
        axes = np.eye(3) if axes is None else axes
        rays = bundle(camera, camera_from_world, self.volume.grid)
        values, slopes = line_integrals.with_slopes(self._data, rays, camera.size_px, self.method, self._step)
        moved = tangents(camera, camera_from_world, self.volume.grid, pivot_in_camera, axes)
        lengths = camera.lengths().astype(np.float32)
        return values * lengths, along(slopes, moved) * lengths[..., None]

    def intrinsic_jacobian(self, camera: Camera, camera_from_world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rows, columns) and (rows, columns, 3): the image, and its change by focal_mm and centre_px (column, row)."""
        rays = bundle(camera, camera_from_world, self.volume.grid)
        values, slopes = line_integrals.with_slopes(self._data, rays, camera.size_px, self.method, self._step)
        voxel_from_camera = self.volume.grid.voxel_from_world @ np.linalg.inv(camera_from_world)
        moved, lengthened = _by_intrinsics(voxel_from_camera, camera)
        lengths = camera.lengths()
        by_place = along(slopes, moved) * lengths[..., None]
        return values * lengths.astype(np.float32), np.asarray(by_place + values[..., None] * lengthened, np.float32)

    @property
    def _step(self) -> float:
        assert self.step_mm is not None
        return self.step_mm


def project(
    volume: Volume,
    camera: Camera,
    camera_from_world: np.ndarray,
    *,
    method: str = "trilinear",
    step_mm: float | None = None,
) -> np.ndarray:
    """(rows, columns) float32, or (N, rows, columns) for poses (N, 4, 4): line integrals of a volume in 1/mm."""
    projector = Projector(volume, method, step_mm)
    poses = np.asarray(camera_from_world, float)
    if poses.ndim == 2:
        return projector.image(camera, poses)
    return np.stack([projector.image(camera, pose) for pose in poses])


def along(slopes: np.ndarray, tangents: np.ndarray) -> np.ndarray:
    """(rows, columns, T) float32: how much each ray's integral changes as its bundle moves along each of T (T, 4, 3).

    slopes  (rows, columns, 6) by source and direction
    """
    moves = np.asarray(tangents, slopes.dtype)
    rows, columns = (np.arange(n, dtype=slopes.dtype) for n in slopes.shape[:2])
    by_source, by_direction = slopes[..., :3], slopes[..., 3:]
    out = by_source @ moves[:, 0].T + by_direction @ moves[:, 1].T
    out += (by_direction @ moves[:, 2].T) * columns[None, :, None]
    out += (by_direction @ moves[:, 3].T) * rows[:, None, None]
    return np.asarray(out)


def _bundle(voxel_from_camera: np.ndarray, camera: Camera) -> np.ndarray:
    directions = voxel_from_camera[:3, :3] @ camera.camera_from_pixels
    return np.stack((voxel_from_camera[:3, 3], directions[:, 2], directions[:, 0], directions[:, 1]))


def _by_intrinsics(voxel_from_camera: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """(3, 4, 3) and (rows, columns, 3): the change of the bundle and of the rays' lengths by focal_mm and centre_px."""
    (row, column), (right, down), focal = camera.pitch_mm, camera.centre_px, camera.focal_mm
    # columns: what (column, row, 1) are multiplied with; the derivatives of camera_from_pixels
    by_focal = np.array([[-column, 0, right * column], [0, -row, down * row], [0, 0, 0]]) / focal**2
    by_right = np.array([[0, 0, -column], [0, 0, 0], [0, 0, 0]]) / focal
    by_down = np.array([[0, 0, 0], [0, 0, -row], [0, 0, 0]]) / focal
    changed = [voxel_from_camera[:3, :3] @ each for each in (by_focal, by_right, by_down)]
    moved = np.array([[np.zeros(3), each[:, 2], each[:, 0], each[:, 1]] for each in changed])
    y = ((np.arange(camera.size_px[0]) - down) * row / focal)[:, None]
    x = ((np.arange(camera.size_px[1]) - right) * column / focal)[None]
    lengths = camera.lengths()
    by_length = np.stack((-(x**2 + y**2) / focal + 0 * x, -x * column / focal + 0 * y, -y * row / focal + 0 * x), -1)
    return moved, by_length / lengths[..., None]
