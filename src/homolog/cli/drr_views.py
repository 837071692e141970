"""Where the source and the detector stand, when they are to show all of a volume."""

from __future__ import annotations

import logging
from itertools import product
from pathlib import Path

import numpy as np

from homolog.cli import terminal
from homolog.cli.drr_config import FOCAL_MM, ISOCENTRE_PART, View
from homolog.errors import BadInput
from homolog.space import camera_poses
from homolog.space.attenuation import linear_attenuation
from homolog.space.camera import Camera
from homolog.space.camera_poses import PlacedCamera
from homolog.space.volume import Volume

log = logging.getLogger(__name__)

# preset: from the source to the detector, and up, LPS
PRESETS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "ap": ((0, 1, 0), (0, 0, 1)),
    "pa": ((0, -1, 0), (0, 0, 1)),
    "lateral-left": ((1, 0, 0), (0, 0, 1)),
    "lateral-right": ((-1, 0, 0), (0, 0, 1)),
    "oblique-left": ((1, 1, 0), (0, 0, 1)),
    "oblique-right": ((-1, 1, 0), (0, 0, 1)),
    "axial": ((0, 0, -1), (0, -1, 0)),
}
# A tenth of water is more than lungs and the table's foam, and less than fat.
BODY_PART = 0.1
# Fewer pixels look coarse, more show nothing that a CT knows.
LEAST_PX, MOST_PX = 512, 1024


def placed(view: View, volume: Volume) -> list[PlacedCamera]:
    """A camera for each picture, all of which see something of a volume of attenuation in 1/mm."""
    corners_mm = body_corners(volume)
    if view.camera is not None:
        cameras = _from_file(view, view.camera, corners_mm)
    else:
        middle = corners_mm.mean(axis=0) if view.isocentre is None else np.array(view.isocentre)
        poses = _poses(view, middle)
        cameras = [PlacedCamera(_framed(view, pose, corners_mm, volume), pose, name) for name, pose in poses.items()]
    for camera in cameras:
        require_before(camera, corners_mm)
    return cameras


def body_corners(volume: Volume) -> np.ndarray:
    """(8, 3) LPS mm: the box of the voxels that attenuate as tissue does, or at all where none does."""
    data = volume.numpy()
    least = BODY_PART * linear_attenuation("water", 70.0)
    if not (data > least).any():
        least = 0.0
    filled = data > least
    if not filled.any():
        raise BadInput(f"nothing of '{volume.space}' attenuates", "a lower --floor, or another --mask")
    ends = []
    for axis in range(3):
        found = np.flatnonzero(filled.any(axis=tuple({0, 1, 2} - {axis})))
        ends.append((found[0] - 0.5, found[-1] + 0.5))
    return volume.grid.world(np.array(list(product(*ends))))


def require_before(camera: PlacedCamera, corners_mm: np.ndarray) -> None:
    """Refuses a source that has the patient behind it."""
    depth_mm = camera.depth_mm(corners_mm)
    if depth_mm.max() <= 0:
        raise BadInput(
            f"the volume lies behind the source of '{camera.name}', which looks away from it",
            "homolog camera info CAMERA --volume CT draws where they are",
        )
    if depth_mm.min() <= 0:
        raise BadInput(
            f"the source of '{camera.name}' lies within the volume's depth: {-depth_mm.min():.0f} mm of it are behind",
            f"--source-isocentre-mm {np.ceil((depth_mm.max() - depth_mm.min()) / 100) * 100 + 500:.0f}",
        )


def _from_file(view: View, path: Path, corners_mm: np.ndarray) -> list[PlacedCamera]:
    from homolog.io.cameras import read_cameras

    for name in ("primary", "secondary", "isocentre", "source_isocentre_mm", "focal_mm"):
        if getattr(view, name) not in ((), None):
            flag = "--" + name.replace("_", "-")
            raise BadInput(f"{flag} and --camera both say where the camera is", f"leave {flag} out")
    size = _size(view.size)
    found = read_cameras(path, size_px=size, pitch_mm=view.pitch_mm, front_mm=corners_mm.mean(axis=0))
    if any(camera.world != "patient" for camera in found):
        log.warning("%s does not say that its world is the patient's: it is taken as LPS mm", path)
    return [camera if size is None else camera.replaced(camera=camera.camera.resized(size)) for camera in found]


def _poses(view: View, middle_mm: np.ndarray) -> dict[str, np.ndarray]:
    """camera_from_world by the name of the view."""
    away = ISOCENTRE_PART * _focal_mm(view) if view.source_isocentre_mm is None else view.source_isocentre_mm
    if not away > 0:
        raise BadInput(f"--source-isocentre-mm is positive, got {away:g}", "--source-isocentre-mm 1200")
    if view.primary or view.secondary:
        pairs = _angles(view)
        return {
            f"{_sided(primary, 'LAO', 'RAO')} {_sided(secondary, 'CRA', 'CAU')}": camera_poses.from_carm(
                primary, secondary, source_isocentre_mm=away, isocentre_mm=middle_mm, seen_from=view.seen_from
            )
            for primary, secondary in pairs
        }
    axis, up = (np.array(vector, float) for vector in PRESETS[view.preset])
    axis /= np.linalg.norm(axis)
    if view.preset == "pa" and view.seen_from == "source":
        terminal.note("pa as seen from the source: the patient's left is on the picture's left (--seen-from detector)")
    seen_from = view.seen_from if view.preset == "pa" else "source"
    return {view.preset: camera_poses.from_axes(middle_mm - away * axis, axis, up, seen_from=seen_from)}


def _angles(view: View) -> list[tuple[float, float]]:
    """One pair a picture; a single angle is that of all pictures."""
    primary, secondary = view.primary or (0.0,), view.secondary or (0.0,)
    count = max(len(primary), len(secondary))
    if {len(primary), len(secondary)} - {1, count}:
        raise BadInput(
            f"{len(primary)} --primary and {len(secondary)} --secondary angles: as many of both, or one of either",
            "--primary 0 90 --secondary 0 0",
        )
    pairs = zip(primary * (count // len(primary)), secondary * (count // len(secondary)))
    found = list(dict.fromkeys(pairs))
    if len(found) < count:
        raise BadInput("the same pair of angles is given twice", "--primary 0 90 makes two pictures")
    return found


def _sided(degrees: float, positive: str, negative: str) -> str:
    return f"{positive if degrees >= 0 else negative} {abs(degrees):g}"


def _framed(view: View, pose: np.ndarray, corners_mm: np.ndarray, volume: Volume) -> Camera:
    """A detector that shows the patient as he is at his middle depth, around the axis."""
    focal_mm = _focal_mm(view)
    in_camera = corners_mm @ pose[:3, :3].T + pose[:3, 3]
    magnification = focal_mm / max(float(in_camera[:, 2].mean()), 1.0)
    width, height = 2 * np.abs(in_camera[:, :2]).max(axis=0) * magnification
    size = _size(view.size)
    if view.pitch_mm is not None and not view.pitch_mm > 0:
        raise BadInput(f"--pitch-mm is positive, got {view.pitch_mm:g}", "leave --pitch-mm out")
    if size is None:
        longest = max(width, height)
        usual = np.clip(longest / (float(volume.grid.spacing_mm.min()) * magnification), LEAST_PX, MOST_PX)
        pitch_mm = view.pitch_mm or float(longest / np.round(usual))
        size = (max(1, int(np.ceil(height / pitch_mm - 1e-6))), max(1, int(np.ceil(width / pitch_mm - 1e-6))))
    else:
        pitch_mm = view.pitch_mm or float(max(height / size[0], width / size[1]))
    return Camera.centred(focal_mm, size, pitch_mm)


def _focal_mm(view: View) -> float:
    focal_mm = FOCAL_MM if view.focal_mm is None else view.focal_mm
    if not focal_mm > 0:
        raise BadInput(f"--focal-mm is positive, got {focal_mm:g}", f"--focal-mm {FOCAL_MM:g}")
    return focal_mm


def _size(words: tuple[int, ...]) -> tuple[int, int] | None:
    """(rows, columns) as --size says them."""
    if not words:
        return None
    if len(words) > 2 or min(words) < 1:
        raise BadInput(
            f"--size {' '.join(map(str, words))}: rows and columns are wanted, each at least 1", "--size 512 512"
        )
    return words[0], words[-1]
