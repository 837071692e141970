"""OpenCV's calibrations: YAML as its FileStorage writes it, or JSON, with camera_matrix, rvec and tvec."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np

from homolog.errors import UnreadableFile
from homolog.io.cameras_told import Unsaid, named, numbers
from homolog.io.listings import read_lines
from homolog.space import se3
from homolog.space.camera_matrices import from_krt, to_opencv
from homolog.space.camera_poses import PlacedCamera

logger = logging.getLogger(__name__)

# Names under which programs keep the same thing, the usual one first.
INTRINSICS = ("camera_matrix", "cameraMatrix", "Camera_Matrix", "K", "M1")
DISTORTION = ("distortion_coefficients", "dist_coeffs", "distCoeffs", "Distortion_Coefficients", "D")
ROTATIONS = ("rvec", "rvecs", "R", "rotation", "rotation_matrix", "rotation_vector")
SHIFTS = ("tvec", "tvecs", "T", "t", "translation", "translation_vector")
SIZES = (("image_height", "image_width"), ("height", "width"))
# key: !!opencv-matrix, its rows and cols, then all numbers in brackets
MATRIX = re.compile(r"^\s*([\w.]+):\s*(?:!!\S+)?\s*\n(?:\s+\w+:[^\[\n]*\n)*?\s+data:\s*\[([^\]]*)\]", re.MULTILINE)
LIST = re.compile(r"^\s*([\w.]+):\s*\[([^\]]*)\]", re.MULTILINE)
SCALAR = re.compile(r"^\s*([\w.]+):\s*([-+0-9.eE]+)\s*$", re.MULTILINE)


def read_opencv(path: Path, unsaid: Unsaid) -> list[PlacedCamera]:
    """The cameras of a calibration: one a pair of rvec and tvec; one at the world's origin where there are none."""
    found = _from_json(path) if path.suffix.lower() == ".json" else _from_yaml(path)
    return cameras_of(found, path, unsaid)


def cameras_of(found: dict[str, Any], path: Path, unsaid: Unsaid) -> list[PlacedCamera]:
    """The cameras that names and numbers tell of."""
    k = _numbers(found, INTRINSICS)
    if k is None or k.size != 9:
        raise UnreadableFile(f"{path} is no calibration of OpenCV: it has no camera_matrix of nine numbers")
    size = _size(found) or unsaid.pixels(path)
    _tell_of_distortion(found, path)
    poses = _poses(found, path)
    return [
        from_krt(
            k.reshape(3, 3),
            rotation,
            shift,
            size,
            pitch_mm=unsaid.pitch_mm,
            first_pixel=unsaid.first_pixel or 0.0,
            **unsaid.about(named(path, n, len(poses)), "calibration"),
        )
        for n, (rotation, shift) in enumerate(poses)
    ]


def opencv_yaml(camera: PlacedCamera) -> str:
    """A camera as OpenCV's FileStorage reads it; a mirrored one has a negative first focal entry."""
    rows, columns = camera.camera.size_px
    k, rvec, tvec = to_opencv(camera)
    parts = [f"%YAML:1.0\n---\nimage_width: {columns}\nimage_height: {rows}\n"]
    for name, matrix in (("camera_matrix", k), ("rvec", rvec[:, None]), ("tvec", tvec[:, None])):
        listed = ", ".join(repr(float(value)) for value in matrix.ravel())
        parts.append(
            f"{name}: !!opencv-matrix\n   rows: {matrix.shape[0]}\n   cols: {matrix.shape[1]}\n   dt: d\n"
            f"   data: [ {listed} ]\n"
        )
    return "".join(parts)


def _from_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads("\n".join(read_lines(path)))
    except ValueError as error:
        raise UnreadableFile(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise UnreadableFile(f"{path} is no calibration of OpenCV: names and numbers were wanted")
    return found


def _from_yaml(path: Path) -> dict[str, Any]:
    text = "\n".join(read_lines(path)) + "\n"
    found: dict[str, Any] = {name: float(value) for name, value in SCALAR.findall(text)}
    for name, listed in LIST.findall(text) + MATRIX.findall(text):
        if name != "data":
            found[name] = numbers(listed.replace(",", " ").split(), f"{path}, {name}")
    return found


def _numbers(found: dict[str, Any], names: tuple[str, ...]) -> np.ndarray | None:
    """What is called by one of the names, as an array; matrices as lists, or as {"data": list}."""
    for name in names:
        if name in found:
            value = found[name]
            value = value.get("data", []) if isinstance(value, dict) else value
            try:
                return np.array(value, float)
            except (TypeError, ValueError):
                raise UnreadableFile(f"'{name}' of a calibration holds something that is no number") from None
    return None


def _size(found: dict[str, Any]) -> tuple[int, int] | None:
    for rows, columns in SIZES:
        if rows in found and columns in found:
            return int(found[rows]), int(found[columns])
    size = _numbers(found, ("image_size", "imageSize", "img_shape"))
    # OpenCV's Size is (width, height)
    return None if size is None or size.size != 2 else (int(size.flat[1]), int(size.flat[0]))


def _poses(found: dict[str, Any], path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    rotations, shifts = _numbers(found, ROTATIONS), _numbers(found, SHIFTS)
    if rotations is None or shifts is None:
        logger.warning("%s says nothing of where its camera stands: the world is the camera's own frame", path)
        return [(np.eye(3), np.zeros(3))]
    shifts = shifts.reshape(-1, 3)
    if rotations.size == 9 * len(shifts):
        return list(zip(rotations.reshape(-1, 3, 3), shifts))
    if rotations.size != 3 * len(shifts):
        raise UnreadableFile(f"{path}: {rotations.size} numbers of rotations do not fit {len(shifts)} translations")
    return [(se3.rotation_exp(rvec), shift) for rvec, shift in zip(rotations.reshape(-1, 3), shifts)]


def _tell_of_distortion(found: dict[str, Any], path: Path) -> None:
    distortion = _numbers(found, DISTORTION)
    if distortion is not None and np.abs(distortion).max(initial=0.0) > 0:
        logger.warning("%s has lens distortion, which is passed over: undistort the picture first", path)
