"""Line integrals as an X-ray: PNG and TIFF with a line that says what they are, NIfTI, NRRD, MetaImage, DICOM XA.

A DICOM file keeps the camera and, where a C-arm's angles can say it, the pose. The others know no camera: it goes into
a file beside them.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np

from homolog.errors import BadInput
from homolog.io import tiff, volumes
from homolog.io.files import suffix_of, writing
from homolog.io.xray_headers import letters_of
from homolog.io.xray_pictures import OURS, PLANES, as_integers, write_png
from homolog.space.camera import Camera
from homolog.space.camera_poses import SeenFrom, carm_angles, from_carm, source_mm
from homolog.space.grid import Grid
from homolog.space.volume import Volume

log = logging.getLogger(__name__)

WRITABLE = (".png", *tiff.SUFFIXES, *volumes.WRITABLE, ".dcm")
XA = "1.2.840.10008.5.1.4.1.1.12.1"
# A matrix that angles reproduce to this is what they say: a header's numbers have 16 characters.
POSE_AGREES = 1e-6


def write_xray(
    path: Path | str,
    data: np.ndarray,
    camera: Camera | None = None,
    camera_from_world: np.ndarray | None = None,
    *,
    bits: int | None = None,
) -> None:
    """Line integrals (rows, columns) to a file whose ending names the format.

    camera, camera_from_world  kept by DICOM; the pitch by NIfTI, NRRD and MetaImage too
    bits                       PNG: 8 or 16 (16); TIFF: 8, 16 or 32 (32, which rounds nothing)
    """
    path, data = Path(path), np.asarray(data, np.float32)
    suffix = suffix_of(path)
    _require_writable(path, suffix, data, camera)
    if suffix == ".dcm":
        _write_dicom(path, data, camera, camera_from_world)
    elif suffix in PLANES:
        _write_plane(path, data, camera)
    elif suffix in tiff.SUFFIXES and bits in (None, 32):
        tiff.write(data, path, OURS.format(step=1.0, start=0.0))
    else:
        numbers, step, start = as_integers(data, _bits(path, bits))
        text = OURS.format(step=step, start=start)
        write_png(numbers, path, text) if suffix == ".png" else tiff.write(numbers, path, text)


def _require_writable(path: Path, suffix: str, data: np.ndarray, camera: Camera | None) -> None:
    if suffix not in WRITABLE:
        raise BadInput(f"{path}: an X-ray cannot be written as '{suffix}', only as {', '.join(WRITABLE)}")
    if data.ndim != 2 or not data.size or not np.isfinite(data).all():
        raise BadInput(f"{path}: an X-ray is (rows, columns) finite numbers, got {data.shape}")
    if camera is not None and camera.size_px != data.shape:
        raise BadInput(f"{path}: the picture has {data.shape} pixels (rows, columns), its camera {camera.size_px}")


def _bits(path: Path, bits: int | None) -> int:
    if bits not in (None, 8, 16):
        raise BadInput(f"{path} can be written with 8 or 16 bits, not {bits}", "--bits 16")
    return bits or 16


def _write_plane(path: Path, data: np.ndarray, camera: Camera | None) -> None:
    row, column = camera.pitch_mm if camera else (1.0, 1.0)
    grid = Grid((data.shape[1], data.shape[0], 1), np.diag([column, row, 1.0, 1.0]))
    picture = Volume(np.ascontiguousarray(data.T[:, :, None]), grid, "x-ray")
    volumes.write(picture, path, note=OURS.format(step=1.0, start=0.0))


def _write_dicom(path: Path, data: np.ndarray, camera: Camera | None, camera_from_world: np.ndarray | None) -> None:
    from pydicom import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

    numbers, step, start = as_integers(data, 16)
    # named by what it holds: the same picture makes the same bytes
    content = [hashlib.sha256(numbers.tobytes()).hexdigest(), repr(camera), repr(camera_from_world)]
    unique = generate_uid(entropy_srcs=content)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(XA), unique
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    tags = _picture_tags(numbers, step, start, unique) | _camera_tags(camera) | _pose_tags(camera_from_world, path)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset["PixelData"].VR = "OW"
    with writing(path) as part:
        dataset.save_as(part, enforce_file_format=True)


def _picture_tags(numbers: np.ndarray, step: float, start: float, unique: str) -> dict[str, Any]:
    from pydicom.uid import generate_uid

    return {
        "SOPClassUID": XA, "SOPInstanceUID": unique, "StudyInstanceUID": generate_uid(entropy_srcs=[unique, "study"]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=[unique, "series"]), "Manufacturer": "homolog",
        "Modality": "XA", "ImageType": ["DERIVED", "PRIMARY", "SINGLE PLANE"], "PatientName": "", "PatientID": "",
        "StudyDate": "", "StudyTime": "", "StudyID": "", "SeriesNumber": 1, "InstanceNumber": 1,
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": numbers.shape[0],
        "Columns": numbers.shape[1], "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0,
        "PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": -1, "RescaleSlope": _text(step),
        "RescaleIntercept": _text(start), "RescaleType": "US", "PixelData": numbers.astype("<u2").tobytes(),
    }  # fmt: skip


def _camera_tags(camera: Camera | None) -> dict[str, Any]:
    """The detector's middle and the field's place on it say the principal point."""
    if camera is None:
        return {}
    pitch, size = np.array(camera.pitch_mm), np.array(camera.size_px)
    # a detector around the principal point that holds the whole picture, and the picture's corner on it
    corner_px = np.array(camera.centre_px[::-1]) + 0.5
    reach_px = np.maximum(np.abs(corner_px), np.abs(size - corner_px))
    return {
        "DistanceSourceToDetector": _text(camera.focal_mm), "ImagerPixelSpacing": [_text(one) for one in pitch],
        "DetectorElementSpacing": [_text(one) for one in pitch],
        "PhysicalDetectorSize": [float(one) for one in 2 * reach_px * pitch],
        "FieldOfViewOrigin": [_text(one) for one in reach_px - corner_px], "FieldOfViewRotation": "0",
        "FieldOfViewHorizontalFlip": "NO",
    }  # fmt: skip


def _pose_tags(camera_from_world: np.ndarray | None, path: Path) -> dict[str, Any]:
    """A C-arm's angles and the isocentre, if those are the whole pose."""
    if camera_from_world is None:
        return {}
    primary, secondary = carm_angles(camera_from_world)
    source, axis = source_mm(camera_from_world), camera_from_world[2, :3]
    # the point of the axis nearest to the world's origin: the isocentre of a camera that looks at the origin
    depth = float(max(-source @ axis, 1.0))
    isocentre = source + depth * axis
    sides: tuple[SeenFrom, ...] = ("source", "detector")
    made = [
        from_carm(primary, secondary, source_isocentre_mm=depth, isocentre_mm=isocentre, seen_from=s) for s in sides
    ]
    if not any(np.allclose(one, camera_from_world, atol=POSE_AGREES * max(1.0, depth)) for one in made):
        log.warning("%s: a C-arm's angles cannot say this pose, so the file holds none", path)
        return {}
    return {
        "PositionerPrimaryAngle": _text(primary), "PositionerSecondaryAngle": _text(secondary),
        "PositionerMotion": "STATIC", "DistanceSourceToPatient": _text(depth),
        "IsocenterPosition": [_text(one) for one in isocentre], "PatientPosition": "HFS",
        "PatientOrientation": [letters_of(camera_from_world[0, :3]), letters_of(camera_from_world[1, :3])],
    }  # fmt: skip


def _text(number: float) -> str:
    """As many digits as the 16 characters of a decimal string hold."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(number))
