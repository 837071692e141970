"""Files of cameras: our own JSON, and what other programs write.

A file may hold one camera or many. What it leaves unsaid (the picture's size, the pixels' pitch) is the caller's to
say, and an error where it is needed and was not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from homolog.errors import BadInput, UnreadableFile
from homolog.io import cameras_deepfluoro, cameras_opencv, cameras_rtk, cameras_text
from homolog.io.cameras_told import Unsaid, named
from homolog.io.files import require_file, suffix_of, writing
from homolog.io.listings import read_lines
from homolog.io.poses import camera_of, camera_told
from homolog.space.camera_matrices import Pitch
from homolog.space.camera_poses import PlacedCamera

Format = Literal["json", "matrix", "calibration", "opencv", "rtk", "astra", "plastimatch", "deepfluoro", "dicom"]
Written = Literal["json", "matrix", "calibration", "opencv", "rtk", "astra", "plastimatch"]

FORMAT, VERSION = "homolog cameras", 1
CONVENTIONS = {
    "world": "'patient' is LPS mm (x left, y back, z head); any other is a frame of its own, in mm",
    "matrices": "lists of rows; they multiply columns (x, y, z, 1); names say target_from_source",
    "camera": "mm; origin at the source, x along columns (right), y along rows (down), z from source to detector",
    "mirrored": "a camera_from_world of determinant -1 is of a picture as seen from the detector's side",
    "sizes": "size_px and pitch_mm are (row, column), centre_px is (column, row)",
    "pixels": "centres at integers, (0, 0) is the first pixel; centre_px is where the optical axis meets the detector",
    "pixels_from_world": "3x4, world mm to (column, row, 1) times the depth in mm",
    "pitch_known": "false: focal_mm and pitch_mm are right in proportion only, which is all that rays depend on",
}
BY_SUFFIX: dict[str, Format] = {".xml": "rtk", ".h5": "deepfluoro", ".hdf5": "deepfluoro", ".dcm": "dicom"}
BY_SUFFIX |= {".yml": "opencv", ".yaml": "opencv"}
# where the ending of a file to write leaves no choice
WRITTEN_BY_SUFFIX: dict[str, Written] = {".json": "json", ".xml": "rtk", ".yml": "opencv", ".yaml": "opencv"}


def read_cameras(
    path: Path | str,
    *,
    format: Format | None = None,
    size_px: tuple[int, int] | None = None,
    pitch_mm: Pitch = None,
    front_mm: np.ndarray | None = None,
    first_pixel: float | None = None,
    world: str | None = None,
) -> list[PlacedCamera]:
    """The cameras of a file, each with a name, at least one.

    format       where the ending and the first words leave a choice
    size_px      (rows, columns) of the picture, where the file does not say
    pitch_mm     (row, column) or one for both, where the file counts in pixels
    front_mm     (3,) world: a point in front of the source, which decides the sign of 3x4 matrices
    first_pixel  the coordinate of the first pixel's centre in the file, where it is not the format's usual one
    world        whose mm the world's are, where the file does not say: "patient" for LPS
    """
    path = Path(path)
    unsaid = Unsaid(size_px, pitch_mm, front_mm, first_pixel, world)
    if suffix_of(require_file(path)) == ".npy":
        return _from_npy(path, unsaid)
    return _READERS[format or _format_of(path)](path, unsaid)


def write_cameras(path: Path | str, cameras: Sequence[PlacedCamera], format: Written | None = None) -> None:
    """Cameras in a format, else in that of the file's ending: .json, .xml (RTK), .yml (OpenCV), .txt (3x4 matrices)."""
    path = Path(path)
    chosen = format or WRITTEN_BY_SUFFIX.get(suffix_of(path))
    if chosen is None:
        raise BadInput(f"the ending of {path} does not say in which format to write", f"--to {get_args(Written)[1]}")
    if not cameras:
        raise BadInput(f"there is no camera to write to {path}")
    text = _told(list(cameras), chosen)
    with writing(path) as part:
        part.write_text(text, encoding="utf-8")


def cameras_json(cameras: Sequence[PlacedCamera]) -> dict[str, Any]:
    """Cameras as our own file tells of them, its conventions spelt out."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "conventions": CONVENTIONS,
        "views": [_view(camera) for camera in cameras],
    }


def _view(placed: PlacedCamera) -> dict[str, Any]:
    return {
        "name": placed.name,
        "camera": camera_told(placed.camera),
        "pitch_known": placed.pitch_known,
        "world": placed.world,
        "camera_from_world": placed.camera_from_world.tolist(),
        "pixels_from_world": placed.pixels_from_world.tolist(),
    }


def _told(cameras: list[PlacedCamera], format: Written) -> str:
    if format == "json":
        return json.dumps(cameras_json(cameras), indent=1, allow_nan=False) + "\n"
    if format in ("calibration", "opencv"):
        if len(cameras) > 1:
            raise BadInput(
                f"such a file holds one camera, there are {len(cameras)}", f"--only {cameras[0].name}, one at a time"
            )
        text = {"calibration": cameras_text.calibration_text, "opencv": cameras_opencv.opencv_yaml}[format]
        return text(cameras[0])
    return _WRITERS[format](cameras)


def _format_of(path: Path) -> Format:
    """By the ending, else by what the file begins with."""
    suffix = suffix_of(path)
    if suffix in BY_SUFFIX:
        return BY_SUFFIX[suffix]
    with open(path, "rb") as stream:
        head = stream.read(132)
    if head[128:] == b"DICM":
        return "dicom"
    if suffix == ".json":
        return "json"
    if cameras_text.is_calibration(path):
        return "calibration"
    lines = [line for line in read_lines(path) if line.strip()]
    if any("-nrm" in line for line in lines):
        return "plastimatch"
    widths = {len(line.partition("#")[0].replace(",", " ").split()) for line in lines} - {0}
    if widths == {4}:
        return "matrix"
    if widths == {12}:
        raise BadInput(
            f"{path} has twelve numbers a line: ASTRA's vectors, or 3x4 matrices written in a line",
            "--format astra for the former; break each line in three for the latter",
        )
    raise UnreadableFile(
        f"{path} is no file of cameras that is known here", f"--format, one of {', '.join(get_args(Format))}"
    )


def _from_npy(path: Path, unsaid: Unsaid) -> list[PlacedCamera]:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UnreadableFile(f"{path} is damaged, or no array ({error})") from None
    if array.ndim == 2 and array.shape[1] == 12:
        return cameras_text.astra(array, path, unsaid)
    if array.shape[-2:] == (3, 4) and array.size:
        return cameras_text.matrices(array.reshape(-1, 3, 4), path, unsaid)
    raise UnreadableFile(f"{path}: (N, 3, 4) matrices or (N, 12) vectors of ASTRA were wanted, got {array.shape}")


def _from_json(path: Path, unsaid: Unsaid) -> list[PlacedCamera]:
    try:
        stored = json.loads(require_file(path).read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise ValueError("names were wanted")
        if "views" not in stored and "camera" not in stored:
            return cameras_opencv.cameras_of(stored, path, unsaid)
        _require_known(stored, path)
        views = stored.get("views", [stored])
        placed = [_placed(view, unsaid, f"{path.stem}/{n}" if n else path.stem) for n, view in enumerate(views)]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        why = f"not JSON from line {error.lineno} on" if isinstance(error, json.JSONDecodeError) else repr(error)
        raise UnreadableFile(f"{path} is damaged, or no file of cameras: {why}", "homolog camera --help") from error
    if not placed:
        raise UnreadableFile(f"{path} holds no camera")
    return placed


def _require_known(stored: dict[str, Any], path: Path) -> None:
    if stored.get("format") == FORMAT and stored.get("version", 0) > VERSION:
        raise UnreadableFile(
            f"{path} is of version {stored['version']}, this program reads up to {VERSION}", "pip install -U homolog"
        )


def _placed(view: dict[str, Any], unsaid: Unsaid, fallback: str) -> PlacedCamera:
    """A view of a camera file, or of a pose: there the patient is the world, or the rig where no pose is known."""
    for key, world in (("camera_from_world", None), ("camera_from_patient", "patient"), ("camera_from_rig", "rig")):
        if view.get(key) is not None:
            return PlacedCamera(
                camera_of(view["camera"]),
                np.array(view[key], float),
                name=str(view.get("name") or fallback),
                world=unsaid.world or world or str(view.get("world", "patient")),
                pitch_known=bool(view.get("pitch_known", True)),
            )
    raise KeyError("camera_from_world")


def _from_dicom(path: Path, unsaid: Unsaid) -> list[PlacedCamera]:
    """One camera; one a frame where a run turns about the patient."""
    from homolog.io.xray_headers import opened
    from homolog.io.xrays import camera_of_dicom

    header = opened(path, pixels=False)
    count = int(header.get("NumberOfFrames") or 1)
    frames = [None] if count == 1 else list(range(1, count + 1))
    try:
        found = [camera_of_dicom(header, frame=frame, name=named(path, (frame or 1) - 1, count)) for frame in frames]
    except BadInput as error:
        # its own hint is for who aligns
        raise BadInput(
            error.message, "homolog align CT XRAY -o RUN finds where it stood; RUN/pose.json says it"
        ) from None
    if all(np.array_equal(each.camera_from_world, found[0].camera_from_world) for each in found):
        found = [found[0].replaced(name=path.stem)]
    return [each.replaced(world=unsaid.world or _world_of_header(each.world)) for each in found]


def _world_of_header(said: str) -> str:
    """A header without the isocentre's place in the patient has it at the origin."""
    return "isocentre" if "isocentre" in said else said


_READERS: dict[Format, Callable[[Path, Unsaid], list[PlacedCamera]]] = {
    "json": _from_json,
    "matrix": cameras_text.read_matrices,
    "calibration": cameras_text.read_calibration,
    "opencv": cameras_opencv.read_opencv,
    "rtk": cameras_rtk.read_rtk,
    "astra": cameras_text.read_astra,
    "plastimatch": cameras_text.read_plastimatch,
    "deepfluoro": cameras_deepfluoro.read_deepfluoro,
    "dicom": _from_dicom,
}
_WRITERS: dict[Written, Callable[[list[PlacedCamera]], str]] = {
    "matrix": cameras_text.matrices_text,
    "rtk": cameras_rtk.rtk_text,
    "astra": cameras_text.astra_text,
    "plastimatch": cameras_text.plastimatch_text,
}
