"""What `homolog camera` does: cameras read and mended as asked, looked at, told of, drawn and written."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from homolog.cli.camera_configs import CameraConvert, CameraFile, CameraInfo
from homolog.cli.camera_doubts import Doubt, doubts, scaled
from homolog.cli.inputs import require_apart
from homolog.errors import BadInput
from homolog.io.cameras import cameras_json, read_cameras, write_cameras
from homolog.io.files import suffix_of
from homolog.io.nifti import LPS_FROM_RAS
from homolog.space import se3
from homolog.space.camera_poses import PlacedCamera, angle_degrees, meeting
from homolog.space.camera_sight import Sight, magnification, picture_in_words, side, sight, view_in_words

logger = logging.getLogger(__name__)

# More cameras than this are told of in a line each.
MOST_COLUMNS = 4
# The cosine of 1 degree: axes that are nearer to parallel meet nowhere in particular.
PARALLEL = np.cos(np.radians(1.0))


@dataclass(frozen=True, eq=False)
class Crossing:
    """Where two optical axes pass nearest to each other.

    point_mm  (3,) between them
    miss_mm   how far they are apart there
    depth_mm  how far in front of either source
    """

    first: PlacedCamera
    second: PlacedCamera
    point_mm: np.ndarray
    miss_mm: float
    depth_mm: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Looked:
    """Cameras, and a volume they may see.

    cameras     as read and mended
    corners_mm  (8, 3) of the volume's box in the cameras' world, or None
    volume      its file
    sights      one a camera, none where there is no volume
    doubts      of all
    """

    cameras: list[PlacedCamera]
    corners_mm: np.ndarray | None
    volume: Path | None
    sights: list[Sight]
    doubts: list[Doubt]


def looked_at(files: Sequence[Path], config: CameraInfo, reading: CameraFile) -> Looked:
    """Everything there is to say about the cameras of some files."""
    cameras = [camera for file in files for camera in read(file, reading)]
    corners = None if config.volume is None else _corners_mm(config.volume, config.spacing_mm)
    if corners is not None and any(camera.world == "isocentre" for camera in cameras):
        # a header does not say where the isocentre is in the CT: people are put there
        corners = corners - corners.mean(axis=0)
    sights = [] if corners is None else [sight(camera, corners) for camera in cameras]
    found = [doubt for camera in cameras for doubt in doubts(camera, corners)]
    return Looked(cameras, corners, config.volume, sights, found + list(_apart(cameras, corners)))


def read(file: Path, reading: CameraFile, *, front_mm: np.ndarray | None = None) -> list[PlacedCamera]:
    """The cameras of a file, mended as the flags say."""
    pitch = reading.pitch_mm
    if len(pitch) > 2 or not all(value > 0 for value in pitch):
        raise BadInput(f"--pitch-mm takes one or two lengths above 0, got {' '.join(map(str, pitch))}")
    if not reading.unit_mm > 0:
        raise BadInput(f"--unit-mm is the length of the file's unit, above 0, got {reading.unit_mm}", "--unit-mm 1000")
    found = read_cameras(
        file,
        format=reading.format,
        size_px=reading.size_px,
        pitch_mm=None if not pitch else (pitch[0], pitch[-1]),
        front_mm=front_mm,
        first_pixel=reading.first_pixel,
        world=reading.world,
    )
    return [_mended(camera, reading) for camera in _chosen(found, reading.only, file)]


def _chosen(cameras: list[PlacedCamera], only: tuple[str, ...], file: Path) -> list[PlacedCamera]:
    names = [camera.name for camera in cameras]
    if missing := [name for name in only if name not in names]:
        raise BadInput(
            f"{file} has no camera {' and no '.join(missing)}",
            f"it has {', '.join(names[:6])}{' ...' * (len(names) > 6)}",
        )
    return [camera for camera in cameras if not only or camera.name in only]


def _mended(camera: PlacedCamera, reading: CameraFile) -> PlacedCamera:
    if reading.invert:
        camera = camera.replaced(camera_from_world=se3.inverse(camera.camera_from_world))
    if reading.unit_mm != 1:
        camera = scaled(camera, reading.unit_mm)
    if reading.frame == "RAS":
        camera = camera.replaced(camera_from_world=camera.camera_from_world @ LPS_FROM_RAS)
    return camera.flipped() if reading.flip else camera


def _corners_mm(volume: Path, spacing_mm: tuple[float, float, float] | None) -> np.ndarray:
    from homolog.io.volumes import read_grid

    return read_grid(volume, spacing_mm=spacing_mm).corners()


def _apart(cameras: list[PlacedCamera], corners_mm: np.ndarray | None) -> Iterator[Doubt]:
    """Cameras that were calibrated together look at one place, in front of all of them."""
    for first, second in _pairs(cameras):
        if first.axis @ second.axis > PARALLEL:
            pair = f"{first.name} and {second.name}"
            yield Doubt(pair, "look along the same direction", "two views are worth little more than one then")
    for each in _crossings(cameras):
        pair, depths = f"{each.first.name} and {each.second.name}", each.depth_mm
        if min(depths) <= 0:
            yield Doubt(
                pair,
                f"their axes pass nearest to each other behind a source ({depths[0]:.0f} and {depths[1]:.0f} mm)",
                "--invert, if the poses are world from camera; 3x4 matrices: convert with --volume",
            )
        elif each.miss_mm > 0.25 * min(depths):
            yield Doubt(
                pair,
                f"their axes miss each other by {each.miss_mm:.0f} mm, {min(depths):.0f} mm in front: they look at "
                "different places",
                "are both in one world?",
            )


def _pairs(cameras: list[PlacedCamera]) -> Iterator[tuple[PlacedCamera, PlacedCamera]]:
    """Those that share a world, as long as there are few."""
    few = cameras if len(cameras) <= MOST_COLUMNS else []
    return ((a, b) for a, b in combinations(few, 2) if a.world == b.world)


def _crossings(cameras: list[PlacedCamera]) -> Iterator[Crossing]:
    """Of pairs whose axes are not parallel: neither look along the same direction, nor at each other."""
    for first, second in _pairs(cameras):
        if abs(first.axis @ second.axis) < PARALLEL:
            point, miss = meeting(first, second)
            depths = float(first.depth_mm(point[None])[0]), float(second.depth_mm(point[None])[0])
            yield Crossing(first, second, point, miss, depths)


def between(looked: Looked) -> list[str]:
    """A sentence a pair of cameras."""
    return [
        f"{each.first.name} and {each.second.name}: axes {angle_degrees(each.first, each.second):.1f} degrees apart; "
        f"they pass nearest at ({_triple(each.point_mm)}) mm, missing each other by {each.miss_mm:.1f} mm, "
        f"{each.depth_mm[0]:.0f} and {each.depth_mm[1]:.0f} mm from the sources"
        for each in _crossings(looked.cameras)
    ]


def middle_mm(looked: Looked) -> np.ndarray | None:
    """(3,) what the cameras look at: the volume's middle, else where the first two axes meet, else the isocentre."""
    if looked.corners_mm is not None:
        return np.asarray(looked.corners_mm.mean(axis=0))
    crossing = next(_crossings(looked.cameras), None)
    if crossing is not None:
        return crossing.point_mm
    return np.zeros(3) if all(camera.world == "isocentre" for camera in looked.cameras) else None


# ---------------------------------------------------------------------------------------------------------------------
# tables


def tables(looked: Looked) -> list[tuple[str, list[str], list[list[object]]]]:
    """(title, columns, rows): a column a camera where they are few, else a row each."""
    if len(looked.cameras) > MOST_COLUMNS:
        rows: list[list[object]] = [_short(looked, n) for n in range(len(looked.cameras))]
        return [("", ["camera", "focal mm", "source mm", "seen", "determinant", "on the detector"], rows)]
    told = [dict(lines(looked, n)) for n in range(len(looked.cameras))]
    keys = list(dict.fromkeys(key for each in told for key in each))
    names = [camera.name for camera in looked.cameras]
    return [("", ["", *names], [[key, *(each.get(key, "-") for each in told)] for key in keys])]


def lines(looked: Looked, n: int) -> Iterator[tuple[str, str]]:
    """What is said of a camera, with its unit."""
    placed, middle = looked.cameras[n], middle_mm(looked)
    camera = placed.camera
    (rows, columns), (down, across) = camera.size_px, camera.pitch_mm
    assumed = "" if placed.pitch_known else " (assumed)"
    yield "picture, columns x rows", f"{columns} x {rows} px"
    yield "pixel, across x down", f"{across:.4g} x {down:.4g} mm{assumed}"
    yield "detector", f"{columns * across:.4g} x {rows * down:.4g} mm{assumed}"
    yield "source to detector", f"{camera.focal_mm:.5g} mm{assumed}"
    yield "the same in pixels", f"{camera.focal_mm / across:.6g} x {camera.focal_mm / down:.6g} px"
    yield "principal point (column, row)", f"{camera.centre_px[0]:.2f}, {camera.centre_px[1]:.2f} px"
    off = camera.centre_px[0] - (columns - 1) / 2, camera.centre_px[1] - (rows - 1) / 2
    yield "its way from the middle", f"{off[0]:+.1f}, {off[1]:+.1f} px"
    yield (
        "world",
        {"patient": "patient, LPS mm", "isocentre": "patient's axes, isocentre at 0"}.get(
            placed.world, f"{placed.world}, a frame of its own"
        ),
    )
    yield "source", f"({_triple(placed.source_mm)}) mm"
    yield "beam", f"({_triple(placed.axis, 3)})"
    if placed.anatomical:
        yield "beam from", f"{side(-placed.axis)} to {side(placed.axis)}"
        yield "view", view_in_words(placed)
        yield "picture's right\\lower edge", picture_in_words(placed)
    yield "determinant", "-1, seen from the detector's side" if placed.mirrored else "+1, seen from the source"
    if middle is not None:
        what = "the volume's middle" if looked.corners_mm is not None else "the point looked at"
        yield f"source to {what}", f"{placed.depth_mm(middle[None])[0]:.1f} mm along the axis"
        larger = magnification(placed, middle)
        if placed.pitch_known and np.isfinite(larger):
            yield "magnification there", f"{larger:.3f}"
        if np.isfinite(larger):
            width, height = columns * across / larger, rows * down / larger
            yield "field of view there", f"{width:.4g} x {height:.4g} mm"
    if looked.sights:
        yield from _of_sight(looked.sights[n])


def _of_sight(seen: Sight) -> Iterator[tuple[str, str]]:
    yield "volume, nearest to farthest", f"{seen.depth_mm[0]:.1f} to {seen.depth_mm[1]:.1f} mm from the source"
    corners = seen.corners_px[np.isfinite(seen.corners_px).all(axis=1)]
    if len(corners):
        low, high = corners.min(axis=0), corners.max(axis=0)
        yield "its corners, columns", f"{low[0]:.1f} to {high[0]:.1f}"
        yield "its corners, rows", f"{low[1]:.1f} to {high[1]:.1f}"
    if seen.in_front:
        yield "its shadow on the detector", f"{100 * seen.caught:.0f} %"
        yield "the detector in its shadow", f"{100 * seen.covered:.0f} %"


def told_doubts(looked: Looked) -> list[Doubt]:
    """Each doubt once, with the names of all cameras it is about."""
    about: dict[tuple[str, str], list[str]] = {}
    for doubt in looked.doubts:
        about.setdefault((doubt.what, doubt.hint), []).append(doubt.name)
    shown = {key: [*names[:3], f"{len(names) - 3} more"] if len(names) > 4 else names for key, names in about.items()}
    return [Doubt(", ".join(names), *key) for key, names in shown.items()]


def _short(looked: Looked, n: int) -> list[object]:
    placed = looked.cameras[n]
    seen = view_in_words(placed) if placed.anatomical else f"along ({_triple(placed.axis, 2)})"
    caught = f"{100 * looked.sights[n].caught:.0f} %" if looked.sights else "-"
    return [
        placed.name,
        f"{placed.camera.focal_mm:.5g}",
        _triple(placed.source_mm),
        seen,
        "-1" if placed.mirrored else "+1",
        caught,
    ]


def as_facts(looked: Looked) -> dict[str, Any]:
    """All of it, for a script."""
    views = cameras_json(looked.cameras)["views"]
    for n, (view, placed) in enumerate(zip(views, looked.cameras)):
        view |= {"source_mm": placed.source_mm, "beam": placed.axis, "determinant": -1 if placed.mirrored else 1}
        if placed.anatomical:
            view |= {"view": view_in_words(placed), "picture": picture_in_words(placed)}
        if looked.sights:
            seen = looked.sights[n]
            view["volume"] = {
                "in_front": seen.in_front,
                "depth_mm": seen.depth_mm,
                "corners_px": seen.corners_px,
                "covered": seen.covered,
                "caught": seen.caught,
                "magnification": seen.magnification,
                "field_mm": seen.field_mm,
            }
        view["doubts"] = [{"what": each.what, "hint": each.hint} for each in looked.doubts if each.name == placed.name]
    pairs = [
        {
            "cameras": [each.first.name, each.second.name],
            "nearest_mm": each.point_mm,
            "miss_mm": each.miss_mm,
            "degrees": angle_degrees(each.first, each.second),
        }
        for each in _crossings(looked.cameras)
    ]
    return {"cameras": views, "pairs": pairs, "volume": looked.volume}


def _triple(vector: np.ndarray, digits: int = 1) -> str:
    return ", ".join(f"{value + 0.0:.{digits}f}" for value in np.round(vector, digits))


# ---------------------------------------------------------------------------------------------------------------------
# files


def draw(looked: Looked, output: Path) -> None:
    """A page, or a drawing alone."""
    from homolog.io.files import writing
    from homolog.report import camera_scene

    if suffix_of(output) not in (".html", ".svg"):
        raise BadInput(f"{output}: a drawing of cameras is a page or an .svg", f"-o {output.with_suffix('.html')}")
    if len(looked.cameras) > camera_scene.MOST_CAMERAS:
        raise BadInput(
            f"{len(looked.cameras)} cameras are too many for one drawing, {camera_scene.MOST_CAMERAS} at most",
            f"--only {looked.cameras[0].name}",
        )
    scene = camera_scene.CameraScene(looked.cameras, looked.corners_mm, middle_mm(looked))
    if suffix_of(output) == ".svg":
        text = camera_scene.drawing(scene)
    else:
        told = [(camera.name, list(lines(looked, n))) for n, camera in enumerate(looked.cameras)]
        doubted = [(doubt.name, doubt.what, doubt.hint) for doubt in told_doubts(looked)]
        text = camera_scene.page_of(scene, told, doubted, between(looked))
    with writing(output) as part:
        part.write_text(text, encoding="utf-8")


def converted(file: Path, output: Path, config: CameraConvert, reading: CameraFile) -> str:
    """Writes the cameras in another format; one line about them."""
    require_apart((file,), [output])
    front = None if config.volume is None else _corners_mm(config.volume, None).mean(axis=0)
    cameras = read(file, reading, front_mm=front)
    if config.to == "plastimatch" and any(camera.mirrored for camera in cameras):
        logger.warning("plastimatch's pictures are seen from the source: reverse the columns of the mirrored ones")
        cameras = [camera.flipped() if camera.mirrored else camera for camera in cameras]
    write_cameras(output, cameras, config.to)
    if suffix_of(output) == ".xml" and not all(camera.mirrored for camera in cameras):
        logger.warning("RTK's rows run upwards: reverse the rows of the pictures, as the file's comments say")
    return f"{output}: {len(cameras)} camera{'s' * (len(cameras) > 1)} in the world of the {cameras[0].world}"
