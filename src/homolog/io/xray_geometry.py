"""A camera and its pose from an X-ray's DICOM header: C-arms (XA, RF), radiographs (DX, CR) and RT Images.

Pitch      ImagerPixelSpacing is of the detector and PixelSpacing often of the patient's plane, so the first is taken.
Pose       of C-arms by the positioner's angles, which DICOM counts from the patient; of RT Images by IEC 61217; of
           radiographs by ViewPosition. It is a start: tables move, and a header's angles are rounded.
Sides      PatientOrientation says where the picture's right and lower edge lie; a picture kept as seen from the
           detector's side is mirrored, and a `Turn` says how to turn it over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from pydicom import Dataset

from homolog.io.xray_centres import centre_of, rt_centre_of
from homolog.io.xray_headers import (
    FLUOROSCOPY,
    RADIOGRAPHS,
    RT_IMAGE,
    direction,
    length,
    letters,
    letters_of,
    number,
    numbers,
    value,
    word,
)
from homolog.io.xray_turns import Turn, nearest_turn
from homolog.space.camera import Camera
from homolog.space.camera_poses import from_axes, from_carm, from_gantry

# Where the beam goes, LPS, by ViewPosition: AP enters in front; LL has the left side at the detector.
VIEWS = {"AP": (0, 1, 0), "PA": (0, -1, 0), "LL": (1, 0, 0), "RL": (-1, 0, 0)}
# Parts of the distance to the detector that lie before the patient, where a header does not say: a C-arm turns about a
# point past the middle, a radiograph's patient stands against the detector.
CARM_PART, RADIOGRAPH_PART = 2 / 3, 0.9
# How much better a turn must fit than the next one: turns differ by 1 or more where letters and angles agree.
CLEAR_TURN = 0.5
STORED = Turn()


@dataclass(frozen=True, eq=False)
class Geometry:
    """What a header says of where an X-ray was taken.

    camera             of the turned picture; None where the header lacks what it takes
    lacking            what it lacks
    camera_from_world  (4, 4) of the turned picture, a rotation and a shift; None where the header has no angles
    world              what that world is
    turn               from the stored picture to one seen from the source
    orientation        letters of where the turned picture's right and lower edge lie
    assumed, warnings  sentences
    """

    camera: Camera | None
    lacking: tuple[str, ...] = ()
    camera_from_world: np.ndarray | None = None
    world: str = ""
    turn: Turn = STORED
    orientation: tuple[str, str] | None = None
    assumed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    pitch_mm: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Pose:
    """camera_from_world (4, 4) as seen from the source, and how it was found."""

    camera_from_world: np.ndarray
    how: str
    warnings: tuple[str, ...] = ()


def geometry_of(
    header: Dataset, frame: int | None, *, focal_mm: float | None = None, pitch_mm: tuple[float, float] | None = None
) -> Geometry:
    """What a header says of one frame (from 0); `focal_mm` and `pitch_mm` (row, column) overrule it."""
    stored = _stored(header, frame, focal_mm, pitch_mm)
    focal = stored.camera.focal_mm if stored.camera else focal_mm or _focal(header, frame)
    pose = _rt_pose(header, frame) if is_rt(header) else _pose(header, frame, focal)
    if pose is None:
        return _without_pose(stored, header, frame)
    turn, orientation, said = _turn(header, frame, pose)
    return replace(
        stored,
        camera=turn.camera(stored.camera) if stored.camera else None,
        camera_from_world=pose.camera_from_world,
        world=_world(header, frame),
        turn=turn,
        orientation=orientation,
        assumed=(*stored.assumed, pose.how),
        warnings=(*stored.warnings, *pose.warnings, *said),
    )


def is_rt(header: Dataset) -> bool:
    return str(header.get("SOPClassUID", "")) == RT_IMAGE or str(header.get("Modality")) == "RTIMAGE"


def _stored(
    header: Dataset, frame: int | None, focal_mm: float | None, pitch_mm: tuple[float, float] | None
) -> Geometry:
    """The camera of the picture as it is stored."""
    size = int(header.Rows), int(header.Columns)
    focal = focal_mm or _focal(header, frame)
    pitch, how = (pitch_mm, "") if pitch_mm else _pitch(header, frame, focal)
    lacking = [] if focal else ["RTImageSID" if is_rt(header) else "DistanceSourceToDetector"]
    lacking += [] if pitch else ["ImagePlanePixelSpacing" if is_rt(header) else "ImagerPixelSpacing"]
    if not focal or not pitch:
        return Geometry(None, tuple(lacking), assumed=(how,) if how else (), pitch_mm=pitch)
    centre, where = (rt_centre_of if is_rt(header) else centre_of)(header, frame, size, pitch)
    camera = Camera(focal, size, pitch, centre)
    return Geometry(camera, assumed=tuple(one for one in (how, where) if one), pitch_mm=pitch)


def _focal(header: Dataset, frame: int | None) -> float | None:
    return length(header, frame, "RTImageSID" if is_rt(header) else "DistanceSourceToDetector")


def _pitch(header: Dataset, frame: int | None, focal: float | None) -> tuple[tuple[float, float] | None, str]:
    """(row, column) mm at the detector, and how it was found."""
    if is_rt(header):
        return _pair(header, frame, "ImagePlanePixelSpacing"), ""
    imager, patient = _pair(header, frame, "ImagerPixelSpacing"), _pair(header, frame, "PixelSpacing")
    if imager:
        differs = patient is not None and not np.allclose(imager, patient, rtol=1e-3)
        other = (
            f", not PixelSpacing ({patient[0]:g} mm), which is of the patient's plane" if differs and patient else ""
        )
        return imager, f"the pixel pitch ({imager[0]:g} mm) is ImagerPixelSpacing, the detector's{other}"
    if not patient:
        return None, ""
    magnification, how = _magnification(header, frame, focal)
    if magnification:
        pitch = (patient[0] * magnification, patient[1] * magnification)
        return pitch, f"the pixel pitch ({pitch[0]:.4g} mm) is PixelSpacing, of the patient's plane, times {how}"
    if value(header, frame, "PixelSpacingCalibrationType") is not None:
        return None, "PixelSpacing was calibrated to the patient's plane and is not the detector's pitch"
    return patient, f"the pixel pitch ({patient[0]:g} mm) is PixelSpacing, taken as the detector's: there is no other"


def _magnification(header: Dataset, frame: int | None, focal: float | None) -> tuple[float | None, str]:
    """From the patient's plane to the detector."""
    factor, source = length(header, frame, "EstimatedRadiographicMagnificationFactor"), _to_patient(header, frame)
    if factor:
        return factor, f"EstimatedRadiographicMagnificationFactor ({factor:g})"
    if focal and source and value(header, frame, "PixelSpacingCalibrationType") is not None:
        return focal / source, f"the distances' ratio ({focal / source:.4g})"
    return None, ""


def _pair(header: Dataset, frame: int | None, keyword: str) -> tuple[float, float] | None:
    pair = numbers(header, frame, keyword, 2)
    return None if pair is None or pair.min() <= 0 else (float(pair[0]), float(pair[1]))


def _to_patient(header: Dataset, frame: int | None) -> float | None:
    return length(header, frame, "DistanceSourceToIsocenter") or length(header, frame, "DistanceSourceToPatient")


def _pose(header: Dataset, frame: int | None, focal: float | None) -> Pose | None:
    primary = _angle(header, frame, "PositionerPrimaryAngle")
    secondary = _angle(header, frame, "PositionerSecondaryAngle")
    if primary is None and secondary is None:
        return _radiograph_pose(header, frame, focal)
    depth, warnings = _depth(header, frame, focal, CARM_PART)
    if depth is None:
        return None
    isocentre = numbers(header, frame, "IsocenterPosition", 3)
    pose = from_carm(
        primary or 0.0, secondary or 0.0, source_isocentre_mm=depth,
        isocentre_mm=(0.0, 0.0, 0.0) if isocentre is None else isocentre,
    )  # fmt: skip
    how = f"the start is the C-arm's angles, primary {primary or 0:g} and secondary {secondary or 0:g} degrees"
    return Pose(pose, how, warnings)


def _angle(header: Dataset, frame: int | None, keyword: str) -> float | None:
    """A positioner's angle at one frame: a single increment is a frame's step, a list holds each frame's offset."""
    start = number(header, frame, keyword)
    steps = value(header, frame, f"{keyword}Increment")
    if start is None or steps is None or not frame:
        return start
    steps = np.atleast_1d(np.array(steps, np.float64))
    return float(start + (steps[0] * frame if len(steps) == 1 else steps[min(frame, len(steps) - 1)]))


def _depth(
    header: Dataset, frame: int | None, focal: float | None, part: float
) -> tuple[float | None, tuple[str, ...]]:
    """mm from the source to the patient, and a warning where it is a guess."""
    depth, factor = _to_patient(header, frame), length(header, frame, "EstimatedRadiographicMagnificationFactor")
    if depth is None and focal and factor:
        depth = focal / factor
    if depth is not None and (focal is None or depth < focal):
        return depth, ()
    if not focal:
        return None, ()
    said = f"its header does not say how far the patient is from the source: {part * focal:.0f} mm is a guess"
    return part * focal, (said,)


def _radiograph_pose(header: Dataset, frame: int | None, focal: float | None) -> Pose | None:
    """Of a radiograph, by the view's name."""
    view, given = word(header, frame, "ViewPosition"), letters(header, frame)
    if view not in VIEWS or given is None:
        return None
    up, axis = -direction(given[1]), np.array(VIEWS[view], float)
    depth, warnings = _depth(header, frame, focal, RADIOGRAPH_PART)
    if depth is None or np.linalg.norm(np.cross(up, axis)) < 0.1:
        return None
    return Pose(from_axes(-depth * axis, axis, up), f"the start is the view's name, {view}", warnings)


def _rt_pose(header: Dataset, frame: int | None) -> Pose | None:
    """Of an RT Image, by its gantry (IEC 61217)."""
    gantry, to_axis = number(header, frame, "GantryAngle"), length(header, frame, "RadiationMachineSAD")
    if gantry is None or to_axis is None:
        return None
    couch = number(header, frame, "PatientSupportAngle") or 0.0
    receptor = number(header, frame, "XRayImageReceptorAngle") or 0.0
    isocentre = numbers(header, frame, "IsocenterPosition", 3)
    position = word(header, frame, "PatientPosition")
    pose = from_gantry(
        gantry, source_axis_mm=to_axis, couch_degrees=couch, collimator_degrees=receptor,
        isocentre_mm=(0.0, 0.0, 0.0) if isocentre is None else isocentre, patient_position=position or "HFS",
    )  # fmt: skip
    said = () if position else ("its header does not say how the patient lies: head first and supine is assumed",)
    return Pose(pose, f"the start is the gantry's angle, {gantry:g} degrees, with the couch at {couch:g}", said)


def _turn(header: Dataset, frame: int | None, pose: Pose) -> tuple[Turn, tuple[str, str], tuple[str, ...]]:
    """How to turn the stored picture, where its edges lie then, and what to warn of."""
    wanted = pose.camera_from_world[:2, :3]
    seen = letters_of(wanted[0]), letters_of(wanted[1])
    if is_rt(header):
        return _rt_turn(header, frame), seen, ()
    given = letters(header, frame)
    if given is None:
        if str(header.get("Modality")) not in FLUOROSCOPY:
            return Turn(), seen, ("its header does not say where its edges lie: it may be mirrored",)
        said = "its header does not say where its edges lie: it is taken as C-arms show it, seen from the detector"
        return Turn(left_right=True), seen, (said,)
    turn, margin = nearest_turn(np.stack([direction(one) for one in given]), wanted)
    said = f"PatientOrientation {'/'.join(given)} hardly fits the angles: the picture may be turned or mirrored"
    return turn, seen, (said,) if margin < CLEAR_TURN else ()


def _rt_turn(header: Dataset, frame: int | None) -> Turn:
    """RTImageOrientation is of rows and columns in the receptor's plane, x across and y up, seen from the source."""
    given = numbers(header, frame, "RTImageOrientation", 6)
    if given is None:
        return Turn()
    return nearest_turn(given.reshape(2, 3), np.array(((1.0, 0.0, 0.0), (0.0, -1.0, 0.0))))[0]


def _without_pose(stored: Geometry, header: Dataset, frame: int | None) -> Geometry:
    said = "its header holds no angles: where the camera stood is not known"
    flipped = word(header, frame, "FieldOfViewHorizontalFlip") == "YES"
    warning = "its header says that it was mirrored after it was taken (FieldOfViewHorizontalFlip)"
    given = letters(header, frame)
    if not flipped and given and str(header.get("Modality")) in RADIOGRAPHS:
        warning = (
            f"its edges lie {'/'.join(given)} in the patient, but not from which side it is seen: it may be mirrored"
        )
        flipped = True
    return replace(
        stored,
        orientation=given,
        assumed=(*stored.assumed, said),
        warnings=(*stored.warnings, *((warning,) if flipped else ())),
    )


def _world(header: Dataset, frame: int | None) -> str:
    placed = numbers(header, frame, "IsocenterPosition", 3) is not None
    return "the patient's LPS mm" if placed else "the patient's LPS axes, with the isocentre at the origin"
