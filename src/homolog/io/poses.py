"""`pose.json`: where a volume lies in X-rays, with all that a reader needs in order not to guess.

The conventions stand in the file in words, and each view's matrices in every form that other programs ask for. The part
under "views" is that of a camera file, so whatever reads those reads a pose too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from homolog.errors import UnreadableFile
from homolog.io.files import require_file, writing
from homolog.io.records import End
from homolog.space.alignment import Alignment
from homolog.space.camera import Camera
from homolog.space.grid import Grid

FORMAT = "homolog pose"
VERSION = 1
CONVENTIONS = {
    "world": "patient, LPS mm (x to the patient's left, y to the back, z to the head), as in DICOM and ITK",
    "matrices": "lists of rows; they multiply columns (x, y, z, 1); names say target_from_source",
    "camera": "mm; origin at the source, x along columns (right), y along rows (down), z from source to detector",
    "pixels": "(column, row), centres at integers, (0, 0) is the first pixel",
    "rig": "the frame that the cameras share; for one X-ray alone its camera's own, as seen from the source",
    "mirrored": "a picture as seen from the detector has a camera_from_rig of determinant -1",
    "pixels_from_patient": "3x4, patient mm to (column, row, 1) times the depth in mm",
    "covariance": "6x6 of (turns, rad, about the first camera's axes, as seen from the source, through pivot_mm; "
    "shifts along them, mm)",
}


@dataclass(frozen=True, eq=False)
class View:
    """One X-ray of a pose.

    name                 of its file
    camera               as refined
    camera_from_rig      (4, 4)
    camera_from_patient  (4, 4), LPS mm
    """

    name: str
    camera: Camera
    camera_from_rig: np.ndarray
    camera_from_patient: np.ndarray

    @property
    def camera_from_world(self) -> np.ndarray:
        """(4, 4): the patient is the world."""
        return self.camera_from_patient


@dataclass(frozen=True, eq=False)
class Pose:
    """What a pose's file holds.

    rig_from_patient  (4, 4), LPS mm
    views             one an X-ray
    pivot_mm          (3,) LPS mm
    covariance        (6, 6), or None
    body_mm           (8, 3) LPS mm: the corners of the box around what was looked for
    judgement         GOOD, CHECK or FAILED
    doubts            its reasons
    patient           the volume
    """

    rig_from_patient: np.ndarray
    views: tuple[View, ...]
    pivot_mm: np.ndarray
    covariance: np.ndarray | None
    body_mm: np.ndarray
    judgement: str
    doubts: tuple[str, ...]
    patient: End

    @classmethod
    def of(cls, found: Alignment, names: tuple[str, ...], body_mm: np.ndarray, patient: End) -> Pose:
        """The pose of an alignment of X-rays with these names."""
        views = zip(names, found.cameras, found.camera_from_rig, found.camera_from_patient, strict=True)
        return cls(
            rig_from_patient=found.rig_from_patient,
            views=tuple(View(*each) for each in views),
            pivot_mm=np.asarray(found.pivot_mm, float),
            covariance=found.covariance if _is_known(found.covariance) else None,
            body_mm=body_mm,
            judgement=found.judgement,
            doubts=found.doubts,
            patient=patient,
        )

    def with_views(self, turns: Sequence[Callable[[Camera, np.ndarray], tuple[Camera, np.ndarray]]]) -> Pose:
        """The pose of the same X-rays stored otherwise, as one function for each says of a camera and its place."""
        views = []
        for view, turned in zip(self.views, turns, strict=True):
            camera, camera_from_rig = turned(view.camera, view.camera_from_rig)
            views.append(View(view.name, camera, camera_from_rig, camera_from_rig @ self.rig_from_patient))
        return replace(self, views=tuple(views))

    @property
    def deviations(self) -> tuple[np.ndarray, np.ndarray] | None:
        """(3,) degrees and (3,) mm: standard deviations about and along the first camera's axes."""
        if self.covariance is None:
            return None
        deviations = np.sqrt(np.diag(self.covariance))
        return np.degrees(deviations[:3]), deviations[3:]


def write_pose(pose: Pose, path: Path | str) -> None:
    """A pose's file, whole or not there."""
    with writing(Path(path)) as part:
        part.write_text(json.dumps(_told(pose), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_pose(path: Path | str) -> Pose:
    """A pose of `homolog align`."""
    path = Path(path)
    try:
        stored = json.loads(require_file(path).read_text(encoding="utf-8"))
        if stored["format"] != FORMAT:
            raise ValueError(stored["format"])
        _require_known(stored["version"], path)
        return _pose(stored)
    except (ValueError, TypeError, KeyError) as error:
        raise UnreadableFile(
            f"{path} is damaged, or no pose: {error!r}", "homolog align CT XRAY -o RUN writes RUN/pose.json"
        ) from error


def camera_told(camera: Camera) -> dict[str, Any]:
    """A camera as JSON takes it."""
    return {
        "focal_mm": camera.focal_mm,
        "size_px": list(camera.size_px),
        "pitch_mm": list(camera.pitch_mm),
        "centre_px": list(camera.centre_px),
    }


def camera_of(stored: dict[str, Any]) -> Camera:
    """The camera that `camera_told` told of."""
    return Camera(*(stored[name] for name in ("focal_mm", "size_px", "pitch_mm", "centre_px")))


def _is_known(covariance: np.ndarray | None) -> bool:
    return covariance is not None and bool(np.isfinite(covariance).all() and (np.diag(covariance) >= 0).all())


def _told(pose: Pose) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "conventions": CONVENTIONS,
        "verdict": pose.judgement,
        "reasons": list(pose.doubts),
        "patient": _patient_told(pose.patient),
        "rig_from_patient": pose.rig_from_patient.tolist(),
        "views": [_view_told(view) for view in pose.views],
        "pivot_mm": pose.pivot_mm.tolist(),
        "covariance": None if pose.covariance is None else pose.covariance.tolist(),
        "standard_deviations": _deviations_told(pose),
        "body_mm": pose.body_mm.tolist(),
    }


def _view_told(view: View) -> dict[str, Any]:
    return {
        "name": view.name,
        "camera": camera_told(view.camera),
        "camera_from_rig": view.camera_from_rig.tolist(),
        "camera_from_patient": view.camera_from_patient.tolist(),
        "source_mm": np.linalg.inv(view.camera_from_patient)[:3, 3].tolist(),
        "pixels_from_camera": view.camera.pixels_from_camera.tolist(),
        "pixels_from_patient": (view.camera.pixels_from_camera @ view.camera_from_patient[:3]).tolist(),
    }


def _patient_told(end: End) -> dict[str, Any]:
    grid = end.grid and {"shape": list(end.grid.shape), "world_from_voxel_lps": end.grid.world_from_voxel.tolist()}
    path = None if end.path is None else str(end.path)
    return {"space": end.space, "path": path, "content_hash": end.content_hash, "grid": grid}


def _deviations_told(pose: Pose) -> dict[str, list[float]] | None:
    found = pose.deviations
    return found and {"rotation_degrees": found[0].tolist(), "translation_mm": found[1].tolist()}


def _pose(stored: dict[str, Any]) -> Pose:
    covariance, patient = stored["covariance"], stored["patient"]
    grid, path = patient["grid"], patient["path"]
    return Pose(
        rig_from_patient=_matrix(stored["rig_from_patient"], (4, 4)),
        views=tuple(_view(view) for view in stored["views"]),
        pivot_mm=_matrix(stored["pivot_mm"], (3,)),
        covariance=None if covariance is None else _matrix(covariance, (6, 6)),
        body_mm=_matrix(stored["body_mm"], (8, 3)),
        judgement=stored["verdict"],
        doubts=tuple(stored["reasons"]),
        patient=End(
            patient["space"],
            grid and Grid(tuple(grid["shape"]), np.array(grid["world_from_voxel_lps"])),
            None if path is None else Path(path),
            patient["content_hash"],
        ),
    )


def _view(stored: dict[str, Any]) -> View:
    matrices = (_matrix(stored[name], (4, 4)) for name in ("camera_from_rig", "camera_from_patient"))
    return View(stored["name"], camera_of(stored["camera"]), *matrices)


def _matrix(rows: Any, shape: tuple[int, ...]) -> np.ndarray:
    matrix = np.array(rows, np.float64)
    if matrix.shape != shape or not np.isfinite(matrix).all():
        raise ValueError(f"finite numbers {shape} were wanted, {matrix.shape} came")
    return matrix


def _require_known(version: int, path: Path) -> None:
    if version > VERSION:
        raise UnreadableFile(
            f"{path} is of version {version}, this program reads up to {VERSION}", "pip install -U homolog"
        )
