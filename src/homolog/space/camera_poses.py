"""Where cameras stand: poses from a C-arm's angles, from two points, from a gantry; and what a pose means in words.

A pose is `camera_from_world` (4, 4) float64, mm: the world to the camera's frame (see `camera`). The world of a patient
is LPS: x to the left, y to the back, z to the head.

In a picture as seen from the source, x along columns, y down the rows and z towards the detector are a right-handed
frame, and the pose is a rotation. Many systems keep pictures as seen from the detector's side, where a viewer faces the
patient. Such a picture is mirrored: its pose has the determinant -1. Projecting takes both, and rigid motions of the
patient keep a pose what it is; `PlacedCamera.flipped` goes from one to the other, together with the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from homolog.errors import BadInput
from homolog.space import se3
from homolog.space.camera import Camera

Vector = Sequence[float] | np.ndarray
SeenFrom = Literal["source", "detector"]

# The patient's LPS axes in the rows, seen in those of a patient lying head first and supine on the same table.
LYING: dict[str, tuple[Vector, Vector, Vector]] = {
    "HFS": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "HFP": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "HFDR": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "HFDL": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    "FFS": ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
    "FFP": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "FFDR": ((0, -1, 0), (-1, 0, 0), (0, 0, -1)),
    "FFDL": ((0, 1, 0), (1, 0, 0), (0, 0, -1)),
}
# IEC 61217's fixed axes in LPS of a patient lying head first and supine: X to the left, Y to the head, Z up.
LPS_FROM_IEC = np.array(((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)))
# A rotation with a larger error than this is none: files keep six digits and more.
RIGID = 1e-3
# Below this sine the picture's upper edge is not determined by `up`: 0.06 degrees.
PARALLEL = 1e-3


@dataclass(frozen=True, eq=False)
class PlacedCamera:
    """A camera and where it stands.

    camera             what it is
    camera_from_world  (4, 4) float64, mm; a rotation and a shift, or a mirrored one (determinant -1)
    name               for messages and files
    world              whose mm the world's are: "patient" is LPS, "isocentre" has its axes but the origin at a C-arm's
                       isocentre, anything else is a frame of its own ("calibration")
    pitch_known        False where a calibration counts in pixels only: focal length and pitch are then right in
                       proportion, which is all that rays depend on
    """

    camera: Camera
    camera_from_world: np.ndarray
    name: str = "camera"
    world: str = "patient"
    pitch_known: bool = True

    def __post_init__(self) -> None:
        matrix = np.array(self.camera_from_world, np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.allclose(matrix[3], (0, 0, 0, 1)):
            raise BadInput(f"the pose of '{self.name}' must be a finite 4x4 matrix whose last row is 0 0 0 1")
        error = np.abs(matrix[:3, :3] @ matrix[:3, :3].T - np.eye(3)).max()
        if error > RIGID:
            raise BadInput(
                f"the pose of '{self.name}' is no rotation: its axes are off by {error:.2g} in length or angle",
                "a pose has unit axes at right angles; scale belongs in the camera",
            )
        matrix[:3, :3] = _nearest_orthogonal(matrix[:3, :3])
        matrix.setflags(write=False)
        object.__setattr__(self, "camera_from_world", matrix)

    @property
    def source_mm(self) -> np.ndarray:
        """(3,) world: where the source is."""
        return source_mm(self.camera_from_world)

    @property
    def axis(self) -> np.ndarray:
        """(3,) world: the unit direction from the source to the detector."""
        return np.array(self.camera_from_world[2, :3])

    @property
    def anatomical(self) -> bool:
        """Whether the world's axes are the patient's, so that sides can be named."""
        return self.world in ("patient", "isocentre")

    @property
    def mirrored(self) -> bool:
        """Whether the picture is seen from the detector's side."""
        return bool(np.linalg.det(self.camera_from_world[:3, :3]) < 0)

    @property
    def pixels_from_world(self) -> np.ndarray:
        """(3, 4) float64, often called P: a world point to (column, row, 1) times its depth in mm."""
        return self.camera.pixels_from_camera @ self.camera_from_world[:3]

    def project(self, points_mm: np.ndarray) -> np.ndarray:
        """(N, 2) float64 (column, row) of world points (N, 3) mm; NaN for what is not in front of the source."""
        return self.camera.project(points_mm, self.camera_from_world)

    def depth_mm(self, points_mm: np.ndarray) -> np.ndarray:
        """(N,) how far world points (N, 3) are in front of the source, along the optical axis."""
        return np.asarray(points_mm, float) @ self.camera_from_world[2, :3] + self.camera_from_world[2, 3]

    def detector_mm(self, pixels: np.ndarray) -> np.ndarray:
        """(N, 3) world: where the pixels (column, row) (N, 2) of the detector are."""
        return self.camera.focal_mm * self.camera.rays(pixels) @ self.camera_from_world[:3, :3] + self.source_mm

    def flipped(self) -> PlacedCamera:
        """The camera of the same picture with its columns in the opposite order (`data[:, ::-1]`)."""
        over = np.diag((-1.0, 1.0, 1.0, 1.0))
        return replace(self, camera=self.camera.flipped(), camera_from_world=over @ self.camera_from_world)

    def replaced(self, **changes: Any) -> PlacedCamera:
        """The same with some of it changed."""
        return replace(self, **changes)

    def __repr__(self) -> str:
        source = ", ".join(f"{value:.1f}" for value in self.source_mm)
        return f"PlacedCamera('{self.name}', {self.camera!r}, source ({source}) in '{self.world}')"


# ---------------------------------------------------------------------------------------------------------------------
# constructors


def from_axes(source: Vector, axis: Vector, up: Vector, *, seen_from: SeenFrom = "source") -> np.ndarray:
    """(4, 4) camera_from_world of a source that looks along an axis, the picture's upper edge towards `up`.

    source  (3,) mm, world
    axis    (3,) from the source to the detector, any length
    up      (3,) any length, not along the axis
    """
    z = _unit(axis, "a camera's axis")
    across = np.cross(z, _unit(up, "a camera's up"))
    if np.linalg.norm(across) < PARALLEL:
        raise BadInput(
            f"the picture's upper edge is undetermined: up {np.asarray(up).tolist()} lies along the beam",
            "choose another up: (0, -1, 0) is the patient's front",
        )
    # to the right of up for who looks along z, so that y = z x x points down
    x = across / np.linalg.norm(across)
    y = np.cross(z, x)
    rotation = np.stack((x if seen_from == "source" else -x, y, z))
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation, -rotation @ np.asarray(source, float)
    return out


def from_look_at(
    source: Vector, target: Vector, *, up: Vector = (0.0, 0.0, 1.0), seen_from: SeenFrom = "source"
) -> np.ndarray:
    """(4, 4) camera_from_world: from a source (3,) mm towards a target (3,) mm, both world; head up unless said."""
    return from_axes(source, np.asarray(target, float) - np.asarray(source, float), up, seen_from=seen_from)


def from_carm(
    primary_degrees: float,
    secondary_degrees: float,
    *,
    source_isocentre_mm: float,
    isocentre_mm: Vector = (0.0, 0.0, 0.0),
    patient_position: str = "HFS",
    seen_from: SeenFrom = "source",
) -> np.ndarray:
    """(4, 4) camera_from_world (LPS) of a C-arm, by the angles of DICOM's XA positioner (PS3.3 C.8.7.5.1.2).

    At 0 and 0 the detector is in front of the patient's chest and the source behind the back. The head is up.

    primary_degrees    positive moves the detector to the patient's left (LAO), negative to the right (RAO)
    secondary_degrees  positive moves the detector to the head (CRA), negative to the feet (CAU)
    isocentre_mm       (3,) LPS, what the arm turns about
    patient_position   DICOM counts the angles from the patient, however he lies: HFS. Where they are the machine's own,
                       as it would count them for a patient lying head first and supine, say how he lies: HFP, FFS, ...
    seen_from          "detector" for pictures that face the patient, with his left on the right: determinant -1
    """
    primary, secondary = np.radians(primary_degrees), np.radians(secondary_degrees)
    around = np.array((np.sin(primary), -np.cos(primary), 0.0))
    axis = np.cos(secondary) * around + (0.0, 0.0, np.sin(secondary))
    up = -np.sin(secondary) * around + (0.0, 0.0, np.cos(secondary))
    patient_from_table = lying(patient_position)
    axis, up = patient_from_table @ axis, patient_from_table @ up
    source = np.asarray(isocentre_mm, float) - source_isocentre_mm * axis
    return from_axes(source, axis, up, seen_from=seen_from)


def from_gantry(
    gantry_degrees: float,
    *,
    source_axis_mm: float,
    couch_degrees: float = 0.0,
    collimator_degrees: float = 0.0,
    isocentre_mm: Vector = (0.0, 0.0, 0.0),
    patient_position: str = "HFS",
) -> np.ndarray:
    """(4, 4) camera_from_world (LPS) of a linear accelerator by IEC 61217, as its beam's eye sees the patient.

    At 0 the source is above, the picture's rows run along the fixed X axis, its upper edge is at the gantry's side.

    gantry_degrees      positive clockwise for a viewer who faces the gantry; at 90 the source is on the left of a
                        patient lying head first and supine. Say that of the panel's own source, where it has one.
    couch_degrees       positive counter-clockwise seen from above
    collimator_degrees  the picture turned about the beam, positive counter-clockwise seen from the source
    """
    gantry, collimator = np.radians(gantry_degrees), np.radians(collimator_degrees)
    beam = -np.array((np.sin(gantry), 0.0, np.cos(gantry)))
    across = np.array((np.cos(gantry), 0.0, -np.sin(gantry)))
    up = np.cos(collimator) * np.array((0.0, 1.0, 0.0)) - np.sin(collimator) * across
    # what is fixed in the room turns the other way round for whoever lies on the couch
    couch_from_room = se3.rotation_exp(np.array((0.0, 0.0, -np.radians(couch_degrees))))
    patient_from_room = lying(patient_position) @ LPS_FROM_IEC @ couch_from_room
    axis = patient_from_room @ beam
    return from_axes(np.asarray(isocentre_mm, float) - source_axis_mm * axis, axis, patient_from_room @ up)


def lying(patient_position: str) -> np.ndarray:
    """(3, 3): directions in the axes of a patient lying head first and supine to those of one lying otherwise."""
    try:
        return np.array(LYING[patient_position.strip().upper()], float)
    except KeyError:
        raise BadInput(f"a patient's position is one of {', '.join(LYING)}, not '{patient_position}'") from None


# ---------------------------------------------------------------------------------------------------------------------
# what a pose says


def source_mm(camera_from_world: np.ndarray) -> np.ndarray:
    """(3,) world: where the source is."""
    return np.asarray(-camera_from_world[:3, :3].T @ camera_from_world[:3, 3])


def carm_angles(camera_from_world: np.ndarray) -> tuple[float, float]:
    """(primary, secondary) degrees as `from_carm` takes them, of a camera in a patient's world."""
    x, y, z = camera_from_world[2, :3]
    secondary = float(np.degrees(np.arcsin(np.clip(z, -1, 1))))
    primary = float(np.degrees(np.arctan2(x, -y))) if np.hypot(x, y) > PARALLEL else 0.0
    return primary, secondary


def gantry_degrees(camera_from_world: np.ndarray) -> float:
    """IEC 61217's gantry angle in [0, 360) of a beam that crosses a patient lying head first and supine."""
    x, y, _ = camera_from_world[2, :3]
    return float(np.degrees(np.arctan2(-x, y)) % 360)


def meeting(first: PlacedCamera, second: PlacedCamera) -> tuple[np.ndarray, float]:
    """The point (3,) mm where two optical axes pass nearest to each other, and by how many mm they miss."""
    along = np.stack((first.axis, -second.axis), axis=1)
    apart = second.source_mm - first.source_mm
    steps, _, rank, _ = np.linalg.lstsq(along, apart, rcond=1e-9)
    if rank < 2:
        raise BadInput(f"the axes of '{first.name}' and '{second.name}' are parallel: they meet nowhere")
    ends = first.source_mm + steps[0] * first.axis, second.source_mm + steps[1] * second.axis
    return (ends[0] + ends[1]) / 2, float(np.linalg.norm(ends[1] - ends[0]))


def angle_degrees(first: PlacedCamera, second: PlacedCamera) -> float:
    """Between two optical axes."""
    return float(np.degrees(np.arccos(np.clip(first.axis @ second.axis, -1, 1))))


def _unit(vector: Vector, what: str) -> np.ndarray:
    vector = np.asarray(vector, float)
    size = np.linalg.norm(vector)
    if vector.shape != (3,) or not np.isfinite(vector).all() or size == 0:
        raise BadInput(f"{what} must be three finite numbers that are not all 0, got {vector.tolist()}")
    return np.asarray(vector / size)


def _nearest_orthogonal(rotation: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(rotation)
    return np.asarray(left @ right)
