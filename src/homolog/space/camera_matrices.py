"""Cameras as matrices of pixels: K [R | t], 3x4 projection matrices, OpenCV's vectors, and a detector given by points.

Other programs put the centre of the first pixel at 0 (OpenCV), at 0.5 (many renderers) or at 1 (MATLAB): `first_pixel`.
Here it is 0. A matrix in pixels does not know how large a pixel is. Rays do not depend on it; where no pitch is given
the detector is taken to be ASSUMED_WIDTH_MM wide, and the camera says so (`pitch_known`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homolog.errors import BadInput
from homolog.space import se3
from homolog.space.camera import Camera
from homolog.space.camera_poses import PlacedCamera

# About the width of a C-arm's flat panel, so that what is drawn looks like one.
ASSUMED_WIDTH_MM = 300.0
# Pixels are rectangles here: a slant that moves no pixel by more than this is rounding of the numbers in a file.
MOST_SLANT_PX = 0.5
# Two pitches that disagree by more than this with K's two focal lengths are not this camera's.
PITCH_DISAGREES = 0.03
# A projection matrix whose three axes span less than this (of unit rows) has no source: it projects in parallel.
SINGULAR = 1e-12

Pitch = float | tuple[float, float] | None


def from_krt(
    intrinsics: np.ndarray,
    rotation: np.ndarray,
    shift: np.ndarray,
    size_px: tuple[int, int],
    *,
    pitch_mm: Pitch = None,
    first_pixel: float = 0.0,
    **about: Any,
) -> PlacedCamera:
    """The camera that projects x to K (R x + t).

    intrinsics   (3, 3) K in pixels, x (columns) first; any scale. Where both focal entries are negative, the frame's
                 z points from the detector to the source, as xReg and DeepFluoro have it; where one is, the picture's
                 columns or rows run against x or y
    rotation     (3, 3) R
    shift        (3,) t, mm
    size_px      (rows, columns)
    pitch_mm     (row, column), or one for both; None where it is not known
    first_pixel  the coordinate of the first pixel's centre
    about        name and world of the PlacedCamera
    """
    camera, signs, known = _camera(intrinsics, size_px, pitch_mm, first_pixel)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = np.asarray(rotation, float), np.asarray(shift, float).reshape(3)
    return PlacedCamera(camera, np.diag((*signs, 1.0)) @ pose, pitch_known=known, **about)


def from_projection_matrix(
    matrix: np.ndarray,
    size_px: tuple[int, int],
    *,
    front_mm: np.ndarray | None = None,
    pitch_mm: Pitch = None,
    first_pixel: float = 0.0,
    **about: Any,
) -> PlacedCamera:
    """The camera of a 3x4 matrix, of any scale and sign.

    The sign of such a matrix says nothing, so two cameras fit it, one of them mirrored, that look to opposite sides.
    Without more it is the one that is not mirrored.

    matrix    (3, 4): world mm to (column, row, 1) times a number
    front_mm  (3,) world: a point that lies in front of the source, as the volume does, which decides it
    others    as in `from_krt`
    """
    from scipy.linalg import rq

    matrix = np.asarray(matrix, float)
    if matrix.shape != (3, 4) or not np.isfinite(matrix).all():
        raise BadInput(f"a projection matrix has 3 rows of 4 finite numbers, got {matrix.shape}")
    rows = matrix[:, :3] / np.maximum(np.linalg.norm(matrix[:, :3], axis=1, keepdims=True), 1e-300)
    if abs(np.linalg.det(rows)) < SINGULAR:
        raise BadInput("the projection matrix has no source: its left 3x3 part is singular", "X-rays need a cone beam")
    intrinsics, rotation = rq(matrix[:, :3])
    signs = np.sign(np.diag(intrinsics))
    intrinsics, rotation = intrinsics * signs, signs[:, None] * rotation
    shift = np.linalg.solve(intrinsics, matrix[:, 3])
    backwards = np.linalg.det(rotation) < 0 if front_mm is None else rotation[2] @ front_mm + shift[2] < 0
    if backwards:
        rotation, shift = -rotation, -shift
    return from_krt(intrinsics, rotation, shift, size_px, pitch_mm=pitch_mm, first_pixel=first_pixel, **about)


def from_opencv(
    intrinsics: np.ndarray, rvec: np.ndarray, tvec: np.ndarray, size_px: tuple[int, int], **options: Any
) -> PlacedCamera:
    """The camera of OpenCV's rotation vector (3,) rad and shift (3,) mm; options as in `from_krt`."""
    rotation = se3.rotation_exp(np.asarray(rvec, float).ravel())
    return from_krt(intrinsics, rotation, np.asarray(tvec, float).ravel(), size_px, **options)


def to_opencv(placed: PlacedCamera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """K (3, 3), rvec (3,) rad and tvec (3,) mm; a mirrored camera has a negative first focal entry."""
    signs = np.array((-1.0 if placed.mirrored else 1.0, 1.0, 1.0))
    pose = signs[:, None] * placed.camera_from_world[:3]
    return placed.camera.pixels_from_camera * signs, se3.rotation_log(pose[:, :3]), pose[:, 3]


def from_detector(
    source: np.ndarray,
    first_pixel_mm: np.ndarray,
    column_step: np.ndarray,
    row_step: np.ndarray,
    size_px: tuple[int, int],
    **about: Any,
) -> PlacedCamera:
    """The camera of a source and a detector that are given by points of the world, mm.

    source          (3,)
    first_pixel_mm  (3,): the centre of pixel (0, 0)
    column_step     (3,): from a pixel to the next one in its row
    row_step        (3,): from a pixel to the one below
    """
    x, across = _direction(column_step)
    y, down = _direction(row_step)
    slant = abs(float(x @ y)) * max(size_px)
    if slant > MOST_SLANT_PX:
        raise BadInput(f"the detector's rows and columns are not at right angles: off by {slant:.2g} px at its end")
    normal = np.cross(x, y)
    normal /= np.linalg.norm(normal)
    distance = float(normal @ (np.asarray(first_pixel_mm, float) - source))
    if distance == 0:
        raise BadInput("the source lies in the plane of the detector")
    rotation = np.stack((x, y, np.copysign(1.0, distance) * normal))
    foot = rotation @ (np.asarray(source, float) - first_pixel_mm)
    camera = Camera(abs(distance), size_px, (down, across), (foot[0] / across, foot[1] / down))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, -rotation @ source
    return PlacedCamera(camera, pose, **about)


def _direction(step: np.ndarray) -> tuple[np.ndarray, float]:
    size = float(np.linalg.norm(step))
    if not np.isfinite(size) or size == 0:
        raise BadInput(f"a detector's pixels need steps of a length, got {np.asarray(step).tolist()}")
    return np.asarray(step, float) / size, size


def _camera(
    intrinsics: np.ndarray, size_px: tuple[int, int], pitch_mm: Pitch, first_pixel: float
) -> tuple[Camera, np.ndarray, bool]:
    """The camera, the signs (3,) of its axes in K's frame, and whether its pitch is known."""
    k = np.asarray(intrinsics, float)
    if k.shape != (3, 3) or not np.isfinite(k).all() or k[2, 2] == 0 or k[0, 0] * k[1, 1] == 0:
        raise BadInput(f"K must be 3x3 with focal lengths on its diagonal, got {k.tolist()}")
    k = k / k[2, 2]
    _require_rectangles(k, size_px)
    # -K is the same camera, seen along the other direction of z
    signs = np.array((*np.sign(np.diag(k)[:2]), 1.0))
    signs = np.array((1.0, 1.0, -1.0)) if (signs[:2] < 0).all() else signs
    across, down = np.abs(np.diag(k)[:2])
    focal, pitch = _in_mm(across, down, size_px, pitch_mm)
    centre = (k[0, 2] - first_pixel, k[1, 2] - first_pixel)
    return Camera(focal, size_px, pitch, centre), signs, pitch_mm is not None


def _require_rectangles(k: np.ndarray, size_px: tuple[int, int]) -> None:
    lower = np.abs(k[[1, 2, 2], [0, 0, 1]]).max() / np.abs(k[0, 0])
    if lower > 1e-6:
        raise BadInput(f"K must be 0 below its diagonal, got {k.tolist()}", "are its rows and columns exchanged?")
    reach = max(abs(k[1, 2]), abs(size_px[0] - 1 - k[1, 2]))
    slant = abs(k[0, 1] / k[1, 1]) * reach
    if slant > MOST_SLANT_PX:
        raise BadInput(
            f"K has a skew of {k[0, 1]:.4g}, which slants the picture by {slant:.1f} px: pixels are rectangles here",
            "resample the picture without the skew, or calibrate without it",
        )


def _in_mm(across: float, down: float, size_px: tuple[int, int], pitch_mm: Pitch) -> tuple[float, tuple[float, float]]:
    """The focal length, and the pitch (row, column) that keeps K as it is."""
    if pitch_mm is None:
        column = ASSUMED_WIDTH_MM / size_px[1]
        return across * column, (across * column / down, column)
    row, column = np.broadcast_to(np.asarray(pitch_mm, float), 2).tolist()
    if not abs(across * column - down * row) <= PITCH_DISAGREES * across * column:
        raise BadInput(
            f"pixels of {row:.4g} x {column:.4g} mm (row, column) do not fit K's focal lengths of {down:.1f} and "
            f"{across:.1f} px: {down * row:.1f} and {across * column:.1f} mm",
            "leave the pitch out: rays do not depend on it",
        )
    return across * column, (across * column / down, column)
