"""Cameras as other programs describe scanners: RTK's nine parameters, ASTRA's vectors, plastimatch's flags.

All three keep the world of the volume they are given, which for ITK's files is the patient's LPS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from homolog.errors import BadInput
from homolog.space.camera import Camera
from homolog.space.camera_matrices import Pitch, from_detector
from homolog.space.camera_poses import PlacedCamera, Vector, from_axes


@dataclass(frozen=True)
class RtkView:
    """A view of RTK's ThreeDCircularProjectionGeometry: mm, degrees, names as there."""

    SourceToIsocenterDistance: float
    SourceToDetectorDistance: float
    GantryAngle: float = 0.0
    ProjectionOffsetX: float = 0.0
    ProjectionOffsetY: float = 0.0
    OutOfPlaneAngle: float = 0.0
    InPlaneAngle: float = 0.0
    SourceOffsetX: float = 0.0
    SourceOffsetY: float = 0.0

    @property
    def rotated_from_world(self) -> np.ndarray:
        """(3, 3): into the frame in which the source is at z > 0 and the detector's plane is z = constant."""
        z, x, y = np.radians((-self.InPlaneAngle, -self.OutOfPlaneAngle, -self.GantryAngle))
        about_z = np.array(((np.cos(z), -np.sin(z), 0.0), (np.sin(z), np.cos(z), 0.0), (0.0, 0.0, 1.0)))
        about_x = np.array(((1.0, 0.0, 0.0), (0.0, np.cos(x), -np.sin(x)), (0.0, np.sin(x), np.cos(x))))
        about_y = np.array(((np.cos(y), 0.0, np.sin(y)), (0.0, 1.0, 0.0), (-np.sin(y), 0.0, np.cos(y))))
        return np.asarray(about_z @ about_x @ about_y)

    @property
    def mm_from_world(self) -> np.ndarray:
        """(3, 4): a point to (u, v, 1) times a number, u and v in mm of the projection image: RTK's own matrix."""
        source = np.array((self.SourceOffsetX, self.SourceOffsetY, self.SourceToIsocenterDistance))
        offsets = source[:2] - (self.ProjectionOffsetX, self.ProjectionOffsetY)
        shifted = np.column_stack((self.rotated_from_world, -source))
        focal = -self.SourceToDetectorDistance
        return np.array(((focal, 0.0, offsets[0]), (0.0, focal, offsets[1]), (0.0, 0.0, 1.0))) @ shifted


def from_rtk(
    view: RtkView,
    size_px: tuple[int, int],
    pitch_mm: Pitch,
    *,
    origin_mm: tuple[float, float] | None = None,
    **about: Any,
) -> PlacedCamera:
    """The camera of a view of RTK and its projection image, whose rows and columns run along v and u.

    RTK's pictures are seen from the detector's side, or stand upside down: the camera is mirrored.

    size_px    (rows, columns)
    pitch_mm   (row, column)
    origin_mm  (u, v) of the first pixel's centre; the picture's middle is at 0 unless said
    """
    if pitch_mm is None:
        raise BadInput("RTK counts in mm on the detector: the size of its pixels is needed", "--pitch-mm 0.4")
    row, column = np.broadcast_to(np.asarray(pitch_mm, float), 2).tolist()
    if origin_mm is None:
        origin_mm = (-(size_px[1] - 1) / 2 * column, -(size_px[0] - 1) / 2 * row)
    world_from_rotated = view.rotated_from_world.T
    source = np.array((view.SourceOffsetX, view.SourceOffsetY, view.SourceToIsocenterDistance))
    depth = view.SourceToIsocenterDistance - view.SourceToDetectorDistance
    first = np.array((origin_mm[0] + view.ProjectionOffsetX, origin_mm[1] + view.ProjectionOffsetY, depth))
    steps = world_from_rotated[:, :2] * (column, row)
    return from_detector(
        world_from_rotated @ source, world_from_rotated @ first, steps[:, 0], steps[:, 1], size_px, **about
    )


def to_rtk(placed: PlacedCamera) -> RtkView:
    """The view whose projection image is this camera's, its middle at (0, 0) mm.

    The image's columns run along u. Its rows run along v where the camera is mirrored, and against it (as an image
    whose direction is -1 along v, or with its rows reversed) where it is not.
    """
    x, y, z = placed.camera_from_world[:3, :3]
    rotation = np.stack((x, y if placed.mirrored else -y, -z))
    middle = np.array([[(n - 1) / 2 for n in placed.camera.size_px[::-1]]])
    source, detector = rotation @ placed.source_mm, rotation @ placed.detector_mm(middle)[0]
    about_x = np.arcsin(np.clip(rotation[2, 1], -1, 1))
    about_y = np.arctan2(-rotation[2, 0], rotation[2, 2])
    about_z = np.arctan2(-rotation[0, 1], rotation[1, 1])
    if np.hypot(rotation[2, 0], rotation[2, 2]) < 1e-9:
        # a beam along y: turns about z and y are the same, so all of it is the first
        about_y, about_z = 0.0, np.arctan2(rotation[1, 0], rotation[0, 0])
    gantry, out_of_plane, in_plane = (-float(np.degrees(angle)) for angle in (about_y, about_x, about_z))
    return RtkView(
        SourceToIsocenterDistance=float(source[2]),
        SourceToDetectorDistance=placed.camera.focal_mm,
        GantryAngle=gantry % 360,
        ProjectionOffsetX=float(detector[0]),
        ProjectionOffsetY=float(detector[1]),
        OutOfPlaneAngle=out_of_plane,
        InPlaneAngle=in_plane,
        SourceOffsetX=float(source[0]),
        SourceOffsetY=float(source[1]),
    )


def from_astra(row: np.ndarray, size_px: tuple[int, int], **about: Any) -> PlacedCamera:
    """The camera of a row (12,) of ASTRA's cone_vec geometry: source, detector's middle, a column, a row."""
    row = np.asarray(row, float)
    if row.shape != (12,) or not np.isfinite(row).all():
        raise BadInput(f"a view of ASTRA's cone_vec is 12 finite numbers, got {row.shape}")
    source, middle, column_step, row_step = row.reshape(4, 3)
    first = middle - (size_px[1] - 1) / 2 * column_step - (size_px[0] - 1) / 2 * row_step
    return from_detector(source, first, column_step, row_step, size_px, **about)


def to_astra(placed: PlacedCamera) -> np.ndarray:
    """(12,) float64: the view as a row of ASTRA's cone_vec geometry."""
    rows, columns = placed.camera.size_px
    middle = placed.detector_mm(np.array([[(columns - 1) / 2, (rows - 1) / 2]]))[0]
    x, y = placed.camera_from_world[:2, :3]
    down, across = placed.camera.pitch_mm
    return np.concatenate((placed.source_mm, middle, across * x, down * y))


@dataclass(frozen=True)
class PlastimatchView:
    """The flags of `plastimatch drr`.

    nrm        (3,) from the isocentre to the source
    vup        (3,) towards the picture's upper edge
    sad, sid   mm: source to isocentre, source to detector
    isocentre  (3,) mm (-o)
    size_px    (rows, columns) (-r)
    size_mm    (rows, columns) of the whole detector (-z)
    centre_px  (row, column) of the optical axis (-c); the middle unless said
    """

    nrm: Vector
    vup: Vector
    sad: float
    sid: float
    isocentre: Vector
    size_px: tuple[int, int]
    size_mm: tuple[float, float]
    centre_px: tuple[float, float] | None = None


def from_plastimatch(view: PlastimatchView, **about: Any) -> PlacedCamera:
    """The camera of a call of `plastimatch drr`, whose pictures are seen from the source."""
    rows, columns = view.size_px
    centre = view.centre_px or ((rows - 1) / 2, (columns - 1) / 2)
    pitch = (view.size_mm[0] / rows, view.size_mm[1] / columns)
    camera = Camera(view.sid, (rows, columns), pitch, (centre[1], centre[0]))
    normal = np.asarray(view.nrm, float) / np.linalg.norm(view.nrm)
    source = np.asarray(view.isocentre, float) + view.sad * normal
    return PlacedCamera(camera, from_axes(source, -normal, view.vup), **about)


def to_plastimatch(placed: PlacedCamera) -> PlastimatchView:
    """The flags that make this camera's picture; a mirrored one has no such flags.

    The isocentre is where the axis passes nearest to the world's origin, if that is in front of the source.
    """
    if placed.mirrored:
        raise BadInput(
            f"'{placed.name}' is mirrored, and plastimatch's pictures never are", "reverse its columns: flipped()"
        )
    camera = placed.camera
    depth = float(placed.camera_from_world[2, 3])
    sad = depth if depth > 0 else camera.focal_mm / 2
    size_mm = (camera.size_px[0] * camera.pitch_mm[0], camera.size_px[1] * camera.pitch_mm[1])
    isocentre = placed.source_mm + sad * placed.axis
    centre = (camera.centre_px[1], camera.centre_px[0])
    up = -placed.camera_from_world[1, :3]
    return PlastimatchView(-placed.axis, up, sad, camera.focal_mm, isocentre, camera.size_px, size_mm, centre)
