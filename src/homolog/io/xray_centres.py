"""Where an X-ray's optical axis meets its picture: (column, row), pixel centres at integers."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset

from homolog.io.xray_headers import number, numbers, word

MIDDLE = "the beam is taken to meet the picture's middle"


def centre_of(
    header: Dataset, frame: int | None, size_px: tuple[int, int], pitch_mm: tuple[float, float]
) -> tuple[tuple[float, float], str]:
    """The principal point of the stored picture, and how it was found.

    A C-arm's axis meets the detector where the isocentre is projected, else at the detector's middle; the field
    of view's place on the detector and its turns lead to the picture.
    """
    origin = numbers(header, frame, "FieldOfViewOrigin", 2)
    element = numbers(header, frame, "DetectorElementSpacing", 2)
    isocentre = numbers(header, frame, "PositionOfIsocenterProjection", 2)
    detector = numbers(header, frame, "PhysicalDetectorSize", 2)
    if origin is None or element is None or (isocentre is None and detector is None):
        return ((size_px[1] - 1) / 2, (size_px[0] - 1) / 2), MIDDLE
    place_mm = detector / 2 if isocentre is None else isocentre * element  # type: ignore[operator]
    field_mm = place_mm - origin * element
    row_mm, column_mm = _turned(field_mm, header, frame, np.multiply(size_px, pitch_mm))
    centre = (float(column_mm / pitch_mm[1] - 0.5), float(row_mm / pitch_mm[0] - 0.5))
    what = "physical detector's middle" if isocentre is None else "isocentre's projection"
    return centre, f"the beam meets column {centre[0]:.1f}, row {centre[1]:.1f}: the {what}"


def _turned(field_mm: np.ndarray, header: Dataset, frame: int | None, picture_mm: np.ndarray) -> tuple[float, float]:
    """(row, column) mm in the picture of a place in the field of view, which was turned clockwise, then mirrored."""
    row, column = field_mm
    height, width = picture_mm
    turned = {
        0: (row, column),
        90: (column, width - row),
        180: (height - row, width - column),
        270: (height - column, row),
    }
    degrees = round(number(header, frame, "FieldOfViewRotation") or 0) % 360
    row, column = turned.get(degrees, (row, column))
    mirrored = word(header, frame, "FieldOfViewHorizontalFlip") == "YES"
    return float(row), float(width - column if mirrored else column)


def rt_centre_of(
    header: Dataset, frame: int | None, size_px: tuple[int, int], pitch_mm: tuple[float, float]
) -> tuple[tuple[float, float], str]:
    """The principal point of a stored RT Image: where the beam's axis meets the image plane.

    RTImagePosition is the first pixel's place in the receptor's axes (x across, y up), whose origin the receptor's
    translation moves away from the beam.
    """
    first = numbers(header, frame, "RTImagePosition", 2)
    if first is None:
        return ((size_px[1] - 1) / 2, (size_px[0] - 1) / 2), MIDDLE
    half = np.array((-size_px[1] * pitch_mm[1], size_px[0] * pitch_mm[0])) / 2
    if np.allclose(first, half, atol=1e-3 * min(pitch_mm)):
        # a position that is half the picture away from the axis was measured to the corner, not to the pixel's centre
        first = first + (pitch_mm[1] / 2, -pitch_mm[0] / 2)
    turn = np.radians(number(header, frame, "XRayImageReceptorAngle") or 0.0)
    translation = numbers(header, frame, "XRayImageReceptorTranslation", 3)
    axis = np.zeros(2) if translation is None else -translation[:2]
    axis = np.array(((np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn)))) @ axis
    rows_columns = _axes(header, frame)
    column, row = rows_columns @ (axis - first)
    centre = (float(column / pitch_mm[1]), float(row / pitch_mm[0]))
    return centre, f"the beam meets column {centre[0]:.1f}, row {centre[1]:.1f}: RTImagePosition"


def _axes(header: Dataset, frame: int | None) -> np.ndarray:
    """(2, 2): where columns and rows run in the receptor's plane."""
    given = numbers(header, frame, "RTImageOrientation", 6)
    return np.array(((1.0, 0.0), (0.0, -1.0))) if given is None else given.reshape(2, 3)[:, :2]
