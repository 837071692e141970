"""What cannot be right, or needs a second look, about a camera: each with what would mend it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from homolog.io.nifti import LPS_FROM_RAS
from homolog.space import se3
from homolog.space.camera_poses import PlacedCamera
from homolog.space.camera_sight import Sight, sight

# X-ray sources stand this far from their detectors, in mm: a C-arm about 1000, a chest stand 1800, a micro-CT 200.
SHORTEST_FOCAL_MM, LONGEST_FOCAL_MM = 100.0, 5000.0
LEAST_PITCH_MM, LARGEST_PITCH_MM = 0.005, 10.0
# Shadows are larger than what throws them; beyond this the volume nearly touches the source.
LEAST_MAGNIFICATION, LARGEST_MAGNIFICATION = 1.0, 4.0
# A volume of which less falls on the detector is missed, or the picture shows next to nothing of it.
LITTLE = 0.05


@dataclass(frozen=True)
class Doubt:
    """One thing.

    name  of the camera
    what  is wrong, or looks so
    hint  what would mend it
    """

    name: str
    what: str
    hint: str


def doubts(placed: PlacedCamera, corners_mm: np.ndarray | None) -> list[Doubt]:
    """All there is about a camera, and about what it sees of a volume with these corners (8, 3), if there is one."""
    found = [*_of_scale(placed), *_of_sides(placed)]
    if corners_mm is not None:
        found += _of_sight(placed, corners_mm)
    return [Doubt(placed.name, what, hint) for what, hint in found]


def _of_scale(placed: PlacedCamera) -> Iterator[tuple[str, str]]:
    camera = placed.camera
    if not placed.pitch_known:
        yield (
            f"the file counts in pixels: a detector {camera.size_px[1] * camera.pitch_mm[1]:.0f} mm wide is assumed",
            "rays do not depend on it; --pitch-mm 0.2 gives focal length and magnification in mm",
        )
    elif not SHORTEST_FOCAL_MM <= camera.focal_mm <= LONGEST_FOCAL_MM:
        yield (
            f"the source is {camera.focal_mm:.4g} mm from the detector, X-ray sources 300 to 2000 mm",
            "--unit-mm 1000 for a file in metres, --unit-mm 10 for one in centimetres; or --pitch-mm is wrong",
        )
    elif not LEAST_PITCH_MM <= min(camera.pitch_mm) <= max(camera.pitch_mm) <= LARGEST_PITCH_MM:
        yield (
            f"pixels of {camera.pitch_mm[0]:.4g} x {camera.pitch_mm[1]:.4g} mm are no detector's",
            "--pitch-mm takes the size of one pixel at the detector",
        )


def _of_sides(placed: PlacedCamera) -> Iterator[tuple[str, str]]:
    (rows, columns), (column, row) = placed.camera.size_px, placed.camera.centre_px
    if not (-0.5 <= column <= columns - 0.5 and -0.5 <= row <= rows - 0.5):
        yield (
            f"the optical axis meets the detector's plane off the detector, at column {column:.1f}, row {row:.1f} of "
            f"{columns} x {rows}",
            "--size-px takes ROWS COLUMNS; was the picture cropped, or made smaller, after it was calibrated?",
        )
    if placed.mirrored:
        yield (
            "its picture is mirrored: as seen from the detector's side (determinant -1)",
            "right for C-arm pictures that face the patient; if yours is seen from the source: --flip",
        )


def _of_sight(placed: PlacedCamera, corners_mm: np.ndarray) -> Iterator[tuple[str, str]]:
    seen = sight(placed, corners_mm)
    wrong = _wrong(placed, seen)
    if wrong:
        yield wrong, mended(placed, corners_mm) or "are the camera's world and the volume's the same?"
    elif placed.pitch_known:
        yield from _of_magnification(placed, seen)


def _wrong(placed: PlacedCamera, seen: Sight) -> str:
    """Why a volume is not seen as volumes are; "" where it is."""
    near, far = seen.depth_mm
    if far <= 0:
        return f"the volume is behind the source, by {-far:.0f} to {-near:.0f} mm"
    if near <= 0:
        return f"the source is inside the volume's box, or beside it ({near:.0f} to {far:.0f} mm along the axis)"
    if seen.caught == 0:
        return f"the volume misses the detector: its shadow lies {_beside(placed, seen)}"
    if seen.caught < LITTLE:
        return f"next to nothing of the volume falls on the detector ({100 * seen.caught:.1f} % of its shadow)"
    return ""


def _beside(placed: PlacedCamera, seen: Sight) -> str:
    """Where a shadow lies that misses the detector."""
    low, high = seen.corners_px.min(axis=0), seen.corners_px.max(axis=0)
    rows, columns = placed.camera.size_px
    words = [
        f"{amount:.0f} px {where}"
        for amount, where in (
            (-0.5 - high[0], "to the left"),
            (low[0] - columns + 0.5, "to the right"),
            (-0.5 - high[1], "above"),
            (low[1] - rows + 0.5, "below"),
        )
        if amount > 0
    ]
    return " and ".join(words) or "past one of its corners"


def _of_magnification(placed: PlacedCamera, seen: Sight) -> Iterator[tuple[str, str]]:
    if seen.magnification < LEAST_MAGNIFICATION:
        yield (
            f"the volume's middle is behind the detector (magnification {seen.magnification:.2f}): shadows are larger "
            "than what throws them",
            "--pitch-mm may be too small, as that of the patient's plane is; or --unit-mm",
        )
    elif seen.magnification > LARGEST_MAGNIFICATION:
        yield (
            f"the volume's shadow is {seen.magnification:.1f} times as large as the volume: it nearly touches the "
            "source",
            "--pitch-mm may be too large; or --unit-mm",
        )


def mended(placed: PlacedCamera, corners_mm: np.ndarray) -> str:
    """The flags with which the camera would see the volume; "" if none of those tried does."""
    working = {}
    for flags, other in readings(placed).items():
        seen = sight(other, corners_mm)
        if not _wrong(other, seen):
            working[flags] = seen.caught
    if not working:
        return ""
    best = max(working, key=lambda flags: working[flags])
    return f"{best} would put it on the detector ({100 * working[best]:.0f} % of its shadow)"


def readings(placed: PlacedCamera) -> dict[str, PlacedCamera]:
    """How else the numbers may have been meant, by the flags that say so."""
    pose = placed.camera_from_world
    turned = np.diag((-1.0, -1.0, -1.0, 1.0)) @ pose
    return {
        "--invert (the poses are world from camera)": placed.replaced(camera_from_world=se3.inverse(pose)),
        "--frame RAS": placed.replaced(camera_from_world=pose @ LPS_FROM_RAS),
        "--unit-mm 1000 (metres)": scaled(placed, 1000.0),
        "--unit-mm 10 (centimetres)": scaled(placed, 10.0),
        "homolog camera convert FILE --volume CT, which decides the sign of a 3x4 matrix,": placed.replaced(
            camera_from_world=turned
        ),
    }


def scaled(placed: PlacedCamera, unit_mm: float) -> PlacedCamera:
    """The camera of a file whose unit is that long; where its pitch was not said in mm, lengths of it grow as well."""
    pose = np.array(placed.camera_from_world)
    pose[:3, 3] *= unit_mm
    camera = placed.camera
    if placed.pitch_known and camera.focal_mm < SHORTEST_FOCAL_MM:
        pitch = (camera.pitch_mm[0] * unit_mm, camera.pitch_mm[1] * unit_mm)
        camera = replace(camera, focal_mm=camera.focal_mm * unit_mm, pitch_mm=pitch)
    return placed.replaced(camera=camera, camera_from_world=pose)
