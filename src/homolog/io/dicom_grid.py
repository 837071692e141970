"""Where a series lies: sorted along the normal, spaced by positions only, with a gantry's tilt kept as shear.

SliceThickness and SpacingBetweenSlices are not looked at: scanners fill them with the beam's width or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from homolog.errors import BadInput
from homolog.io.axes import placed
from homolog.io.dicom_headers import Slice
from homolog.space.grid import Grid

# Scanners write positions to 0.01 mm or better; the larger of the two is allowed between neighbours.
STEP_TOLERANCE, STEP_TOLERANCE_MM = 0.01, 0.01
# How far a slice may lie from the straight line through all of them: drift that single steps hide.
LINE_TOLERANCE, LINE_TOLERANCE_MM = 0.05, 0.05
# A thousandth of a radian, half a pixel over 512: more is another orientation, less is rounding.
SAME_DIRECTION = 1e-3
SAME_PITCH_MM = 1e-4
# What tells two acquisitions at one place apart.
TELLING = (
    "AcquisitionNumber", "TemporalPositionIdentifier", "EchoTime", "TriggerTime", "NominalPercentageOfCardiacPhase",
    "ImageType", "ContentTime",
)  # fmt: skip


def stacked(slices: Sequence[Slice], name: str) -> tuple[list[Slice], Grid]:
    """The slices in the order of k, and their grid: i along a row of the picture, j down a column, k up the normal."""
    _require_same(slices, "size (rows, columns)", lambda s: np.array(s.size, float), 0, name)
    _require_same(slices, "orientation", lambda s: s.numbers("ImageOrientationPatient", 6), SAME_DIRECTION, name)
    _require_same(slices, "pixel spacing (mm)", lambda s: s.numbers("PixelSpacing", 2), SAME_PITCH_MM, name)
    if len(slices) < 2:
        raise BadInput(
            f"{name} holds a single slice, {slices[0].name}: a volume needs two or more", "give the whole series"
        )
    axes = _axes(slices[0], name)
    positions = np.array([s.numbers("ImagePositionPatient", 3) for s in slices])
    order = np.argsort(positions @ axes[:, 2], kind="stable")
    slices, positions = [slices[n] for n in order], positions[order]
    _require_steps(slices, positions @ axes[:, 2], name)
    return list(slices), _grid(slices[0], axes, positions, name)


def _grid(first: Slice, axes: np.ndarray, positions: np.ndarray, name: str) -> Grid:
    origin, step = _line(positions, name)
    # PixelSpacing is the distance between rows, then between columns: (y, x)
    row_mm, column_mm = first.numbers("PixelSpacing", 2)
    matrix = np.eye(4)
    matrix[:3] = np.stack((axes[:, 0] * column_mm, axes[:, 1] * row_mm, step, origin), axis=1)
    rows, columns = first.size
    return placed((columns, rows, len(positions)), matrix, name)


def _axes(first: Slice, name: str) -> np.ndarray:
    """(3, 3): the directions along a row, down a column and of their normal, in the columns."""
    row, column = first.numbers("ImageOrientationPatient", 6).reshape(2, 3)
    lengths = np.linalg.norm((row, column), axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(row @ column) > 0.01:
        raise BadInput(f"{name}: ImageOrientationPatient is not two perpendicular unit vectors: {[*row, *column]}")
    row, column = row / lengths[0], column / lengths[1]
    normal = np.cross(row, column)
    return np.stack((row, column, normal / np.linalg.norm(normal)), axis=1)


def _line(positions: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The first position and the step (LPS mm) of the straight line through the slices, by least squares."""
    k = np.arange(len(positions)) - (len(positions) - 1) / 2
    middle, step = positions.mean(axis=0), k @ positions / (k @ k)
    off_mm = np.linalg.norm(positions - middle - k[:, None] * step, axis=1)
    if off_mm.max() > max(LINE_TOLERANCE_MM, LINE_TOLERANCE * np.linalg.norm(step)):
        raise BadInput(
            f"{name}: the slices do not lie on a straight line; slice {off_mm.argmax() + 1} is {off_mm.max():.3g} mm "
            "beside it"
        )
    return middle + k[0] * step, step


def _require_same(
    slices: Sequence[Slice], what: str, value: Callable[[Slice], np.ndarray], tolerance: float, name: str
) -> None:
    values = np.array([value(s) for s in slices])
    usual = np.array(Counter(map(tuple, values.tolist())).most_common(1)[0][0])
    odd = np.flatnonzero(np.abs(values - usual).max(axis=1) > tolerance).tolist()
    if odd:
        raise BadInput(
            f"{name}: {len(odd)} of {len(slices)} slices have another {what} than the rest: "
            f"{_listed([slices[n].name for n in odd])} ({_words(values[odd[0]])} instead of {_words(usual)})",
            "the series holds two stacks; export them apart, or move these files to a folder of their own",
        )


def _require_steps(slices: Sequence[Slice], along_mm: np.ndarray, name: str) -> None:
    steps = np.diff(along_mm)
    usual = float(np.median(steps[steps > 1e-3])) if (steps > 1e-3).any() else 0.0
    twice = np.flatnonzero(steps <= 0.1 * usual)
    if twice.size:
        raise _taken_twice(slices, along_mm, twice, name)
    odd = np.flatnonzero(np.abs(steps - usual) > max(STEP_TOLERANCE_MM, STEP_TOLERANCE * usual))
    if odd.size:
        raise _uneven(slices, along_mm, odd, usual, name)


def _taken_twice(slices: Sequence[Slice], along_mm: np.ndarray, twice: np.ndarray, name: str) -> BadInput:
    n = int(twice[0])
    first, second = slices[n], slices[n + 1]
    differs = next((k for k in TELLING if first.header.get(k) != second.header.get(k)), "")
    told = f"; they differ in {differs} ({first.header.get(differs)}, {second.header.get(differs)})" if differs else ""
    return BadInput(
        f"{name}: {twice.size} positions hold more than one slice, as {first.name} and {second.name} at "
        f"{along_mm[n]:.2f} mm{told}",
        "several acquisitions share this series; put the files of one in a folder of their own",
    )


def _uneven(slices: Sequence[Slice], along_mm: np.ndarray, odd: np.ndarray, usual: float, name: str) -> BadInput:
    n = int(odd[0])
    step = along_mm[n + 1] - along_mm[n]
    more = f" ({odd.size - 1} more such steps)" if odd.size > 1 else ""
    return BadInput(
        f"{name}: {slices[n].name} at {along_mm[n]:.2f} mm and {slices[n + 1].name} at {along_mm[n + 1]:.2f} mm are "
        f"{step:.4g} mm apart, the slices elsewhere {usual:.4g} mm{more}",
        "slices are missing there; export the series again, whole"
        if step > 1.5 * usual
        else "the steps are uneven; export a reconstruction with even spacing",
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _words(numbers: np.ndarray) -> str:
    return " ".join(f"{n:.6g}" for n in numbers)
