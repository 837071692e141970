"""A volume and X-rays of it, with all that was said about them, read and checked before anything is computed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from homolog.cli.align_config import Align
from homolog.cli.align_volume import body_corners, read_body
from homolog.cli.naming import in_order_of, named_apart
from homolog.errors import BadInput, GridMismatch, SpaceMismatch
from homolog.io import xray_pictures
from homolog.io.cameras import read_cameras
from homolog.io.files import content_hash, require_file, stem_of, suffix_of
from homolog.io.records import End, file_hash
from homolog.io.xray_turns import EVERY_TURN, Turn
from homolog.io.xrays import Xray, read_xray
from homolog.space.camera import Camera
from homolog.space.camera_poses import PlacedCamera
from homolog.space.projection import Projection
from homolog.space.volume import Volume

log = logging.getLogger("homolog")

# Worlds that cameras stand in: the patient's LPS mm; his axes about the isocentre; one that nobody knows.
PATIENT, ISOCENTRE, UNKNOWN = "patient", "isocentre", "unknown"
# Between optical axes, so that each sees the depth of the other.
APART_DEGREES = 20.0
UNKNOWN_GREYS = (
    "nothing says how its greys follow attenuation, and greys made for eyes shift the depth (--intensity linear or log)"
)
UNKNOWN_NUMBERS = "nothing says that the volume's numbers grow with attenuation (--values relative does)"
# From a picture seen from the detector to the one seen from the source.
OVER = Turn(left_right=True)
TURNS = {tuple(turn.matrix.ravel()): turn for turn in EVERY_TURN}


@dataclass(frozen=True, eq=False)
class Shot:
    """One X-ray, seen from the source.

    path      its file
    name      of what is made of it
    picture   (rows, columns) float32, line integrals
    mask      (rows, columns) bool, what is compared, or None
    camera    what took it; where it stands is unknown where `stands` is False
    stands    whether the camera's file or the header says where it stands
    begun     where the file of --start says that the camera stands in the patient, seen from the source
    turn      from the picture as its file stores it to this one
    assumed   sentences on what was taken for granted
    doubts    sentences on why it may have been read wrongly
    greys     whether it is known how its numbers follow attenuation
    """

    path: Path
    name: str
    picture: np.ndarray
    mask: np.ndarray | None
    camera: PlacedCamera
    stands: bool
    turn: Turn
    assumed: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    greys: bool = True
    begun: PlacedCamera | None = None

    @property
    def stored_picture(self) -> np.ndarray:
        """(rows, columns), as in the file."""
        return self.turn.back.data(self.picture)

    def stored(self, camera: Camera, camera_from_rig: np.ndarray) -> tuple[Camera, np.ndarray]:
        """A camera and its place in the rig, for the picture as its file stores it."""
        return self.turn.back.camera(camera), self.turn.back.pose(camera_from_rig)

    def seen(self, camera: Camera, camera_from_rig: np.ndarray) -> tuple[Camera, np.ndarray]:
        """What `stored` was made from."""
        return self.turn.camera(camera), self.turn.pose(camera_from_rig)

    def mirrored(self) -> Shot:
        """The same with a picture that was stored as seen from the detector turned over."""
        mask = None if self.mask is None else OVER.data(self.mask)
        turn = TURNS[tuple((OVER.matrix @ self.turn.matrix).ravel())]
        return replace(self, picture=OVER.data(self.picture), mask=mask, camera=self.camera.flipped(), turn=turn)


@dataclass(frozen=True, eq=False)
class Case:
    """All of it.

    volume     attenuation, 1/mm, of the body that is looked for
    patient    the volume's file, grid and hash
    shots      the X-rays
    body_mm    (8, 3) LPS mm: the corners of the box around what attenuates
    assumed    sentences on what was taken for granted of the volume
    guessed    whether its numbers may be no attenuation at all
    """

    volume: Volume
    patient: End
    shots: tuple[Shot, ...]
    body_mm: np.ndarray
    assumed: tuple[str, ...]
    guessed: bool = False

    @property
    def cameras_from_rig(self) -> list[np.ndarray]:
        """One an X-ray (4, 4), seen from the source: the identity for one alone, else where they stand."""
        if len(self.shots) == 1:
            return [np.eye(4)]
        return [np.array(shot.camera.camera_from_world) for shot in self.shots]

    @property
    def projections(self) -> list[Projection]:
        return [
            Projection(shot.picture, shot.camera.camera, pose, shot.name, shot.mask)
            for shot, pose in zip(self.shots, self.cameras_from_rig)
        ]

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why not even a pose that fits the X-rays well need be right."""
        doubts = [f"{shot.name}: {doubt}" for shot in self.shots for doubt in shot.doubts]
        if not _from_two_sides(self.cameras_from_rig):
            # what moves edges outwards looks nearer to the source; another X-ray from the side sees that it is not
            doubts += [f"{shot.name}: {UNKNOWN_GREYS}" for shot in self.shots if not shot.greys]
            doubts += [f"{self.patient.space}: {UNKNOWN_NUMBERS}"] if self.guessed else []
        return tuple(doubts)

    @property
    def middle_mm(self) -> np.ndarray:
        """(3,) LPS mm: of the body's box."""
        return np.asarray(self.body_mm.mean(axis=0))


def _from_two_sides(cameras_from_rig: Sequence[np.ndarray]) -> bool:
    """Whether some optical axes are so far apart that each sees the depth of the other."""
    axes = np.array([pose[2, :3] for pose in cameras_from_rig])
    return bool(np.abs(axes @ axes.T).min() < np.cos(np.radians(APART_DEGREES)))


def read_case(ct: Path, xrays: Sequence[Path], config: Align) -> Case:
    """The volume as attenuation and the X-rays with their cameras."""
    if not xrays:
        raise BadInput("no X-ray is named", "homolog align CT XRAY -o RUN")
    shots = _shots(xrays, config)
    body = read_body(ct, config)
    picture = body.picture
    patient = End(picture.space, picture.grid, ct.resolve(), content_hash(picture))
    return Case(body.volume, patient, shots, body_corners(body.volume, ct, config), body.assumed, body.guessed)


# ---------------------------------------------------------------------------------------------------------------------
# The X-rays


def _shots(paths: Sequence[Path], config: Align) -> tuple[Shot, ...]:
    for path in paths:
        require_file(path)
    for flag, value in (("--focal-mm", config.focal_mm), ("--pitch-mm", config.pitch_mm)):
        if value is not None and not value > 0:
            raise BadInput(f"{flag} is positive, got {value:g}", "--focal-mm 1000 --pitch-mm 0.3")
    twice = [path for n, path in enumerate(paths) if path.resolve() in [other.resolve() for other in paths[:n]]]
    if twice:
        raise BadInput(f"{twice[0]} is named twice", "name each X-ray once")
    names = [each.name for each in named_apart(list(paths))]
    given = _cameras(config.camera, paths, names, config) if config.camera else [None] * len(paths)
    masks = _masks(paths, config)
    shots = [_shot(*each, config) for each in zip(paths, names, given, masks)]
    if config.start_file is not None:
        shots = _standing(shots, _cameras([config.start_file], paths, names, config), config.start_file)
    shots = [shot.mirrored() if shot.camera.mirrored else shot for shot in shots]
    if len(shots) > 1:
        _require_one_world(shots)
    return tuple(shots)


def _standing(shots: Sequence[Shot], starts: Sequence[PlacedCamera], path: Path) -> list[Shot]:
    """X-rays with their start; those whose cameras stand nowhere yet stand there."""
    for shot, start in zip(shots, starts):
        if start.world != PATIENT:
            raise SpaceMismatch(
                f"{path} says where a camera stands in '{start.world}', not in the patient", "--start grid"
            )
        if shot.stands and shot.camera.mirrored != start.mirrored:
            sides = ("detector", "source") if start.mirrored else ("source", "detector")
            raise BadInput(
                f"by {path} {shot.path} is seen from the {sides[0]}, by its camera from the {sides[1]}: one of them is "
                "mirrored",
                "homolog camera info FILE says how a file's picture is seen",
            )
    return [
        replace(
            shot,
            camera=shot.camera if shot.stands else start.replaced(camera=shot.camera.camera),
            stands=True,
            begun=start.flipped() if start.mirrored else start,
        )
        for shot, start in zip(shots, starts)
    ]


def _shot(path: Path, name: str, given: PlacedCamera | None, mask: Path | None, config: Align) -> Shot:
    placed = given or _beside(path)
    if placed is not None and config.focal_mm is not None:
        log.warning("%s: its camera is known, so --focal-mm and --pitch-mm are not used", path)
    xray = read_xray(
        path,
        camera=None if placed is None else placed.camera,
        focal_mm=None if placed else config.focal_mm,
        pitch_mm=None if placed else config.pitch_mm,
        intensity=config.intensity,
        frame=config.frame,
    )
    for warning in xray.warnings:
        log.warning("%s: %s", path, warning)
    assumed, stands = list(xray.assumed), placed is not None or xray.camera_from_world is not None
    if placed is None:
        pose = np.eye(4) if xray.camera_from_world is None else xray.camera_from_world
        placed = PlacedCamera(xray.camera or _no_camera(path, xray, config), pose, name, _world_of(xray))
    if not stands:
        assumed.append("nothing says where its camera stands; taken as seen from the source")
    kept = xray.mask if mask is None else xray.turn.data(_mask(mask, path, xray.turn.back.data(xray.data).shape))
    return Shot(path, name, xray.data, kept, placed, stands, xray.turn, tuple(assumed), xray.warnings, xray.greys_known)


def _world_of(xray: Xray) -> str:
    """Of a header: the patient's own frame, or his axes about the isocentre."""
    if xray.camera_from_world is None:
        return UNKNOWN
    return PATIENT if xray.world == "the patient's LPS mm" else ISOCENTRE


def _cameras(
    files: Sequence[Path], paths: Sequence[Path], names: Sequence[str], config: Align
) -> Sequence[PlacedCamera]:
    """Those of some files, one for each X-ray."""
    found = [placed for path in files for placed in read_cameras(path, **_unsaid(path, paths[0], config))]
    ordered = in_order_of(names, found)
    if len(ordered) != len(paths):
        raise BadInput(
            f"{', '.join(map(str, files))}: {len(found)} cameras for {len(paths)} X-rays",
            "name one camera for each X-ray, in the order of the X-rays",
        )
    return ordered


def _unsaid(path: Path, xray: Path, config: Align) -> dict[str, Any]:
    """What such a file of cameras does not say, and the X-ray does."""
    if suffix_of(path) == ".json":
        return {}
    shape = read_xray(xray, mirror=False, intensity="log", frame=config.frame).data.shape
    return {"size_px": shape, "pitch_mm": config.pitch_mm}


def _beside(path: Path) -> PlacedCamera | None:
    """The camera that `homolog drr` leaves beside a picture."""
    place = path.with_name(f"{stem_of(path)}.json")
    if not place.exists():
        place = path.with_name(f"{path.name}.json")
    if not place.exists():
        return None
    found = read_cameras(place)
    return found[0] if len(found) == 1 else None


def _no_camera(path: Path, xray: Xray, config: Align) -> Camera:
    if config.focal_mm is not None and config.pitch_mm is None and xray.pitch_mm is None:
        raise BadInput(
            f"the size of the pixels of {path} is not known", f"--focal-mm {config.focal_mm:g} --pitch-mm 0.3"
        )
    if config.focal_mm is None and config.pitch_mm is not None:
        hint = f"--focal-mm 1000 --pitch-mm {config.pitch_mm:g}"
        raise BadInput(f"how far the source was from the detector of {path} is not known", hint)
    raise BadInput(
        f"nothing says with which camera {path} was taken: no --camera, no {stem_of(path)}.json beside it, no "
        "distances in its header",
        "--camera FILE, or --focal-mm 1000 --pitch-mm 0.3",
    )


def _require_one_world(shots: Sequence[Shot]) -> None:
    for shot in shots:
        if not shot.stands:
            raise BadInput(
                f"nothing says where the camera of {shot.path} stands among the others",
                "--camera FILE for each X-ray, all in one frame; or align each X-ray alone",
            )
    worlds = {shot.camera.world for shot in shots}
    if len(worlds) > 1:
        raise SpaceMismatch(
            f"the cameras stand in different worlds ({', '.join(sorted(worlds))}), so nothing says how they stand to "
            "each other",
            "--camera FILE for each X-ray, all in one frame; or align each X-ray alone",
        )


def _masks(paths: Sequence[Path], config: Align) -> Sequence[Path | None]:
    if not config.mask:
        return [None] * len(paths)
    if len(config.mask) != len(paths):
        raise BadInput(
            f"{len(config.mask)} masks are named for {len(paths)} X-rays", "--mask with one picture for each X-ray"
        )
    return config.mask


def _mask(path: Path, xray: Path, shape: tuple[int, int]) -> np.ndarray:
    """(rows, columns) bool: where a picture is not 0."""
    values = xray_pictures.opened(path).values
    if values.shape != shape:
        raise GridMismatch(
            f"--mask {path} has {values.shape[0]} rows and {values.shape[1]} columns, {xray} {shape[0]} and {shape[1]}",
            "draw the mask on this very picture",
        )
    if not values.any():
        raise BadInput(f"--mask {path} is 0 everywhere: nothing of {xray} would be compared", "1 where it is compared")
    return np.asarray(values != 0)


def hashes(case: Case, config: Align) -> dict[str, Any]:
    """What decides the pose, apart from the method's options: of files their bytes."""
    said = [config.volume_mask, config.landmarks, *config.mask, *config.landmarks_px, *config.camera]
    start = config.start_network or config.start
    return {
        "volume": case.patient.content_hash,
        "xrays": [file_hash(shot.path) for shot in case.shots],
        "cameras": [_numbers(shot.camera) for shot in case.shots],
        "files": [file_hash(path) for path in said if path is not None],
        "start": file_hash(start) if isinstance(start, Path) else start,
        "flags": [config.labels, config.values, config.floor, config.energy_kev, config.intensity, config.frame],
    }


def _numbers(placed: PlacedCamera) -> list[Any]:
    camera = placed.camera
    return [camera.focal_mm, camera.size_px, camera.pitch_mm, camera.centre_px, placed.camera_from_world.tolist()]
