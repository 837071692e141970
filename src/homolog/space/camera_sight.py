"""What a placed camera sees of a volume, and from where, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from homolog.space.camera_poses import PlacedCamera, carm_angles

# Names of LPS directions, +x -x +y -y +z -z: as words, and as the letters of DICOM's PatientOrientation.
SIDES = (("left", "right"), ("back", "front"), ("head", "feet"))
LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))
# A direction is called by every axis along which it goes at least this far: 20 degrees aside are still "the front".
NAMED = np.sin(np.radians(20.0))


@dataclass(frozen=True, eq=False)
class Sight:
    """What a camera sees of a box.

    depth_mm       nearest and farthest of the box's corners along the axis; negative is behind the source
    corners_px     (8, 2) (column, row) of the corners, NaN where they are not in front
    outline_px     (N, 2) the outline of its shadow in the detector's plane; empty where part of it is behind the source
    covered        which part of the detector its shadow covers, 0 to 1
    caught         which part of its shadow falls on the detector, 0 to 1
    magnification  of the box's middle: its shadow's size over its own
    field_mm       (rows, columns) mm: the height and width that the detector sees at the depth of the box's middle
    """

    depth_mm: tuple[float, float]
    corners_px: np.ndarray
    outline_px: np.ndarray
    covered: float
    caught: float
    magnification: float
    field_mm: tuple[float, float]

    @property
    def in_front(self) -> bool:
        """Whether all of the box is in front of the source."""
        return self.depth_mm[0] > 0


def sight(placed: PlacedCamera, corners_mm: np.ndarray) -> Sight:
    """What a camera sees of a box with these corners (8, 3) mm, world."""
    depth = placed.depth_mm(corners_mm)
    corners = placed.project(corners_mm)
    rows, columns = placed.camera.size_px
    outline = _outline(corners) if np.isfinite(corners).all() else np.empty((0, 2))
    on_detector = _clipped(outline, np.array(((-0.5, -0.5), (columns - 0.5, rows - 0.5))))
    shared, whole = _area(on_detector), _area(outline)
    magnified = magnification(placed, corners_mm.mean(axis=0))
    return Sight(
        (float(depth.min()), float(depth.max())),
        corners,
        outline,
        shared / (rows * columns),
        shared / whole if whole > 0 else 0.0,
        magnified,
        field_mm(placed, corners_mm.mean(axis=0)),
    )


def magnification(placed: PlacedCamera, point_mm: np.ndarray) -> float:
    """How much larger the shadow of something small at a point (3,) is; NaN behind the source."""
    depth = float(placed.depth_mm(np.asarray(point_mm, float)[None])[0])
    return placed.camera.focal_mm / depth if depth > 0 else float("nan")


def field_mm(placed: PlacedCamera, point_mm: np.ndarray) -> tuple[float, float]:
    """(height, width) mm that the detector sees at the depth of a point (3,); NaN behind the source."""
    larger = magnification(placed, point_mm)
    (rows, columns), (down, across) = placed.camera.size_px, placed.camera.pitch_mm
    return rows * down / larger, columns * across / larger


def side(direction: np.ndarray) -> str:
    """Where in the patient a direction (3,) LPS points: "front", "left back"."""
    unit = np.asarray(direction, float) / np.linalg.norm(direction)
    order = np.argsort(-np.abs(unit), kind="stable")
    return " ".join(SIDES[axis][int(unit[axis] < 0)] for axis in order if abs(unit[axis]) > NAMED)


def letters(direction: np.ndarray) -> str:
    """The same as DICOM's letters: "L", "PH"."""
    unit = np.asarray(direction, float) / np.linalg.norm(direction)
    order = np.argsort(-np.abs(unit), kind="stable")
    return "".join(LETTERS[axis][int(unit[axis] < 0)] for axis in order if abs(unit[axis]) > NAMED)


def view_in_words(placed: PlacedCamera) -> str:
    """From where a patient is seen: where the detector and the source are, and the C-arm's angles."""
    detector, source = side(placed.axis), side(-placed.axis)
    primary, secondary = carm_angles(placed.camera_from_world)
    around, along = ("LAO" if primary >= 0 else "RAO"), ("CRA" if secondary >= 0 else "CAU")
    return f"detector {detector}, source {source} ({around} {abs(primary):.0f}, {along} {abs(secondary):.0f})"


def picture_in_words(placed: PlacedCamera) -> str:
    """Where in the patient the right and the lower edge of the picture lie, as PatientOrientation has it: L\\F."""
    return "\\".join(letters(axis) for axis in placed.camera_from_world[:2, :3])


def _outline(points: np.ndarray) -> np.ndarray:
    """The corners of the convex hull of points (N, 2), in order."""
    from scipy.spatial import ConvexHull, QhullError

    try:
        return np.asarray(points[ConvexHull(points).vertices])
    except QhullError:
        return np.empty((0, 2))


def _clipped(polygon: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The part of a convex polygon (N, 2) in a box [[low, low], [high, high]], edge by edge (Sutherland, Hodgman)."""
    for axis in (0, 1):
        for sign, limit in ((1.0, box[0, axis]), (-1.0, box[1, axis])):
            inside = sign * (polygon[:, axis] - limit)
            kept = []
            for n in range(len(polygon)):
                here, before = inside[n], inside[n - 1]
                if here * before < 0:
                    kept.append(polygon[n - 1] + before / (before - here) * (polygon[n] - polygon[n - 1]))
                if here >= 0:
                    kept.append(polygon[n])
            polygon = np.array(kept).reshape(-1, 2)
    return polygon


def _area(polygon: np.ndarray) -> float:
    if len(polygon) < 3:
        return 0.0
    x, y = polygon.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
