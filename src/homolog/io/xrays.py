"""X-rays from files: DICOM (XA, RF, DX, CR, RT Image), TIFF, PNG, JPEG, and NIfTI, NRRD, MetaImage of one plane.

What comes back can be compared with a projection: line integrals, larger where more was in the beam, as seen from the
source. All that a file does not say is assumed aloud, and can be said instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from pydicom import Dataset

from homolog.errors import BadInput, GridMismatch
from homolog.io import xray_headers, xray_pictures
from homolog.io.dicom_pixels import stored_frames
from homolog.io.files import require_file, stem_of, suffix_of
from homolog.io.xray_edges import border, field_within_edges
from homolog.io.xray_fields import field_of_header, field_of_picture
from homolog.io.xray_geometry import Geometry, geometry_of
from homolog.io.xray_intensities import Intensity, Reading, line_integrals, reading_of
from homolog.io.xray_pictures import Picture
from homolog.io.xray_turns import Turn
from homolog.io.xray_writing import write_xray
from homolog.space.camera import Camera
from homolog.space.camera_poses import PlacedCamera
from homolog.space.projection import Projection

__all__ = ["Intensity", "Xray", "camera_of_dicom", "read_xray", "write_xray"]

OURS_SAYS = "homolog wrote it"
READABLE = f"an X-ray is DICOM, or {', '.join(xray_pictures.SUFFIXES)}"


@dataclass(frozen=True, eq=False)
class Xray:
    """An X-ray as it was read.

    data               (rows, columns) float32, line integrals up to a scale; seen from the source where that is known
    name               the file's
    camera             of `data`; None where the file does not know it and none was given
    camera_from_world  (4, 4) a start: where a header's angles place the camera; None where there are none
    world              what that world is
    mask               (rows, columns) bool, what the beam reached; None: all of it
    intensity          how the stored numbers were taken: linear, linear-inverted, log or inverted
    assumed            sentences: all that was read between the lines
    warnings           sentences: what should be looked at
    greys_known        whether it is known how the numbers follow attenuation; else edges may be moved, and with them
                       the depth of what is found in one X-ray
    photometric        DICOM's PhotometricInterpretation, or empty
    orientation        letters of where `data`'s right and lower edge lie in the patient, such as ("R", "F")
    turn               from the picture as stored to `data`; `turn.words` names it, `turn.back` undoes it
    pitch_mm           (row, column) where the file knows it, whether or not the camera is known
    frames             how many the file holds
    """

    data: np.ndarray
    name: str
    camera: Camera | None = None
    camera_from_world: np.ndarray | None = None
    world: str = ""
    mask: np.ndarray | None = None
    intensity: Intensity = "auto"
    assumed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    photometric: str = ""
    orientation: tuple[str, str] | None = None
    turn: Turn = field(default_factory=Turn)
    pitch_mm: tuple[float, float] | None = None
    frames: int = 1
    lacking: tuple[str, ...] = ()
    greys_known: bool = True

    @property
    def turned(self) -> str:
        """How `data` was turned from the stored picture; empty where it was not."""
        return self.turn.words

    def projection(self, camera: Camera | None = None, camera_from_rig: np.ndarray | None = None) -> Projection:
        """What an alignment takes: by the camera given, or by its own."""
        camera = camera or self.camera
        if camera is None:
            lacking = f" ({' and '.join(self.lacking)} are not in its header)" if self.lacking else ""
            raise BadInput(
                f"the camera of '{self.name}' is not known{lacking}",
                "--camera FILE, or --focal-mm 1000 --pitch-mm 0.3",
            )
        rig = np.eye(4) if camera_from_rig is None else camera_from_rig
        return Projection(self.data, camera, rig, self.name, self.mask)


@dataclass(frozen=True, eq=False)
class _Stored:
    """A picture before its numbers are understood."""

    picture: Picture
    header: Dataset | None = None
    frame: int | None = None


def read_xray(
    path: Path | str,
    *,
    camera: Camera | None = None,
    focal_mm: float | None = None,
    pitch_mm: float | tuple[float, float] | None = None,
    intensity: Intensity = "auto",
    unattenuated: float | None = None,
    mirror: bool | None = None,
    frame: int | None = None,
) -> Xray:
    """An X-ray as line integrals.

    camera          of the picture as it is stored, which is then taken as it is: nothing is turned
    focal_mm, pitch_mm  instead of a whole camera: what the file lacks, or says wrongly
    intensity       how the stored numbers are to be taken, where the file or its looks would mislead
    unattenuated    the number of the open beam, of a linear picture
    mirror          True: exchange left and right; False: take the picture as stored, whatever its header says
    frame           of several, counted from 1
    """
    path = Path(path)
    stored = _opened(path, frame)
    _require_picture(stored.picture.values, path)
    pair = (float(pitch_mm),) * 2 if isinstance(pitch_mm, int | float) else pitch_mm
    geometry = _geometry(stored, camera, focal_mm, pair, mirror, path)
    reading, mask = _understood(stored, intensity)
    data, said = _integrals(stored.picture, reading, mask, unattenuated)
    turn = geometry.turn
    return Xray(
        turn.data(data), stem_of(path), geometry.camera, geometry.camera_from_world, geometry.world,
        None if mask is None else turn.data(mask), reading.kind,
        (said, *_shutter_said(mask), *((f"the picture was {turn.words}",) if turn.words else ()), *geometry.assumed),
        (*reading.warnings, *geometry.warnings),
        "" if stored.header is None else str(stored.header.get("PhotometricInterpretation", "")),
        geometry.orientation, turn, geometry.pitch_mm, stored.picture.pages, geometry.lacking,
        reading.known,
    )  # fmt: skip


def camera_of_dicom(dataset: Dataset, *, frame: int | None = None, name: str = "camera") -> PlacedCamera:
    """The camera of a DICOM picture as it is stored; its pose is mirrored where the picture is.

    frame  of several, counted from 1
    """
    xray_headers.require_xray(dataset, name)
    geometry = geometry_of(dataset, None if frame is None else frame - 1)
    if geometry.camera is None:
        raise BadInput(
            f"{name}: its header has no {' and no '.join(geometry.lacking)}, so its camera is not known",
            "--focal-mm 1000 --pitch-mm 0.3",
        )
    if geometry.camera_from_world is None:
        raise BadInput(f"{name}: its header holds no angles, so where its camera stood is not known", "--camera FILE")
    back = geometry.turn.back
    world = "patient" if geometry.world == "the patient's LPS mm" else geometry.world
    return PlacedCamera(back.camera(geometry.camera), back.pose(geometry.camera_from_world), name, world)


def _opened(path: Path, frame: int | None) -> _Stored:
    if path.is_dir():
        raise BadInput(f"{path} is a folder; an X-ray is a file", f"give one of its files: {path}/...")
    with open(require_file(path), "rb") as file:
        first = file.read(132)
    if first[128:] == b"DICM" or suffix_of(path) in (".dcm", ".ima"):
        return _dicom(path, frame)
    if suffix_of(path) not in xray_pictures.SUFFIXES:
        raise BadInput(
            f"{path} is no X-ray that can be read: {READABLE}", "convert it, or give it the ending it should have"
        )
    return _Stored(xray_pictures.opened(path, frame))


def _dicom(path: Path, frame: int | None) -> _Stored:
    header = xray_headers.opened(path)
    frames = stored_frames(header, str(path))
    here = xray_pictures.chosen(path, frame, len(frames))
    slope, intercept = (xray_headers.number(header, here, key) for key in ("RescaleSlope", "RescaleIntercept"))
    values = frames[here]
    if (slope or 1.0, intercept or 0.0) != (1.0, 0.0):
        values = values.astype(np.float64) * (slope or 1.0) + (intercept or 0.0)
    return _Stored(Picture(values, pages=len(frames)), header, here if len(frames) > 1 else None)


def _require_picture(values: np.ndarray, path: Path) -> None:
    """Finite numbers, and more than one of them."""
    finite = np.isfinite(values)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        broken = finite.size - np.count_nonzero(finite)
        raise BadInput(
            f"{path}: {broken} of {finite.size} pixels are not numbers; the first is at row {row}, column {column}",
            "fill them in before, and leave them out with a mask",
        )
    if values.min() == values.max():
        raise BadInput(
            f"{path} is the same everywhere ({values.flat[0]:g}): nothing can be seen in it",
            "check that it is the right file",
        )


def _geometry(
    stored: _Stored, camera: Camera | None, focal_mm: float | None, pitch_mm: tuple[float, float] | None,
    mirror: bool | None, path: Path,
) -> Geometry:  # fmt: skip
    """By the camera given, else by the header."""
    size = stored.picture.values.shape
    if camera is not None and camera.size_px != size:
        raise GridMismatch(
            f"{path} has {size} pixels (rows, columns), its camera {camera.size_px}",
            "give the camera of this very picture",
        )
    if camera is not None or stored.header is None:
        pitch = pitch_mm or stored.picture.pitch_mm
        if camera is None and focal_mm and pitch:
            camera = Camera.centred(focal_mm, size, pitch)
        turn = Turn(left_right=bool(mirror))
        return Geometry(turn.camera(camera) if camera else None, turn=turn, pitch_mm=pitch)
    geometry = geometry_of(stored.header, stored.frame, focal_mm=focal_mm, pitch_mm=pitch_mm)
    return geometry if mirror is None else _turned_as_asked(geometry, mirror)


def _turned_as_asked(geometry: Geometry, mirror: bool) -> Geometry:
    turn = Turn(left_right=mirror)
    if geometry.camera is None or turn == geometry.turn:
        return replace(geometry, turn=turn)
    return replace(geometry, camera=turn.camera(geometry.turn.back.camera(geometry.camera)), turn=turn)


def _understood(stored: _Stored, intensity: Intensity) -> tuple[Reading, np.ndarray | None]:
    """How the numbers are to be taken, and what the beam reached."""
    values = stored.picture.values
    named = None if stored.header is None else field_of_header(stored.header, stored.frame, values.shape)
    if stored.picture.integrals and intensity == "auto":
        ours = Reading("log", OURS_SAYS)
        return ours, _field(stored.picture, ours, None) if named is None else named
    everywhere = np.ones(values.shape, bool)
    numbers = values.astype(np.float64)
    # before it is known which end is bone, only what has a diaphragm's shape can be left out
    painted = [field_of_picture(sign * numbers, shaped=True) for sign in (1, -1)] if named is None else [named]
    before = _common(*painted)
    reading = reading_of(
        intensity, stored.header, stored.frame, values, everywhere if before is None else before,
        white_is_zero=stored.picture.white_is_zero,
        collimated=_collimated(numbers) if before is None else "",
    )  # fmt: skip
    if named is not None:
        return reading, named
    return reading, _field(stored.picture, reading, before)


def _field(picture: Picture, reading: Reading, before: np.ndarray | None) -> np.ndarray | None:
    """What the beam reached: what a diaphragm's shape told before, else by the line integrals.

    After the logarithm, because there blocked beam differs from what a body lets through.
    """
    if before is not None:
        return _common(before)
    first, _ = _integrals(picture, reading, None, None)
    found = field_of_picture(-first)
    return _common(field_within_edges(-first) if found is None else found)


def _collimated(numbers: np.ndarray) -> str:
    """Whether the border may be a collimator's leaves: "dark", "bright", "drawn" or empty."""
    around = border(numbers)
    signs = {"dark": (1,), "bright": (-1,), "drawn": (1, -1)}.get(around, ())
    return around if any(field_within_edges(sign * numbers) is not None for sign in signs) else ""


def _common(*fields: np.ndarray | None) -> np.ndarray | None:
    """What all of them hold; None where there are none, or nothing is left."""
    there = [one for one in fields if one is not None]
    common = np.logical_and.reduce(there) if there else None
    return None if common is None or common.mean() < 0.01 else common


def _integrals(
    picture: Picture, reading: Reading, mask: np.ndarray | None, unattenuated: float | None
) -> tuple[np.ndarray, str]:
    if picture.integrals and reading.why == OURS_SAYS:
        step, start = picture.integrals
        return (picture.values * step + start).astype(np.float32), f"its numbers are line integrals: {OURS_SAYS}"
    everywhere = np.ones(picture.values.shape, bool) if mask is None else mask
    return line_integrals(picture.values, reading, everywhere, unattenuated)


def _shutter_said(mask: np.ndarray | None) -> tuple[str, ...]:
    if mask is None:
        return ()
    return (f"{100 * (1 - mask.mean()):.0f} % of the picture, which the beam did not reach, is left out",)
