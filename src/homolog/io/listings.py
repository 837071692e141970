"""What every reader of points shares: the text, the numbers in it, and the frame they are in."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from homolog.errors import BadInput, UnknownFrame, UnreadableFile
from homolog.io.files import require_file
from homolog.space.grid import Grid

logger = logging.getLogger(__name__)

FRAMES = ("LPS", "RAS", "voxel")
# LPS and RAS are half a turn about z apart, so one matrix goes both ways.
HALF_TURN = np.array((-1.0, -1.0, 1.0))


@dataclass(frozen=True, eq=False)
class Listing:
    """Points as a file lists them, still in the file's own frame.

    rows   (N, 3) float64
    names  N strings, or None where the file has none
    frame  "LPS", "RAS" or "voxel", or None where the file does not say
    space  the space's name, where the file says it
    title  what the file calls the list
    """

    rows: np.ndarray
    names: tuple[str, ...] | None = None
    frame: str | None = None
    space: str | None = None
    title: str = ""


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text, without their ends; a byte order mark and CRLF are let pass."""
    raw = require_file(path).read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnreadableFile(f"{path} is UTF-16 text, UTF-8 was wanted", _recode(path, "utf-16"))
    if b"\0" in raw:
        raise UnreadableFile(f"{path} is not text: it holds zero bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"{path} is not UTF-8 text (byte {error.start})", _recode(path, "latin1")) from error
    # not splitlines(): it also cuts at characters that are allowed inside a name
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def fields_of(line: str, delimiter: str = ",", blanks_count: bool = True) -> list[str]:
    """A line cut at its delimiters; quotes hold a field together, and doubled quotes inside them are quotes."""
    try:
        return next(csv.reader([line], delimiter=delimiter, skipinitialspace=not blanks_count))
    except csv.Error:
        # longer than any field of numbers or names: whatever it is, it is no row of points
        return [line]


def coordinates(fields: Sequence[object], where: str) -> list[float]:
    """Three finite numbers, or an error that says where they were wanted."""
    shown = ", ".join(str(field) for field in fields)
    try:
        values = [float(field) for field in fields]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UnreadableFile(f"{where}: wanted three numbers, got {shown}") from None
    if len(values) != 3:
        raise UnreadableFile(f"{where}: wanted three numbers, got {len(values)}: {shown}")
    if not all(map(math.isfinite, values)):
        raise UnreadableFile(f"{where}: wanted finite numbers, got {shown}", "remove the points that were not placed")
    return values


def named_frame(frame: str | None) -> str | None:
    """The frame a caller asked for, in our spelling."""
    known = {name.lower(): name for name in FRAMES}
    if frame is not None and frame.lower() not in known:
        raise BadInput(f"a frame is {', '.join(FRAMES[:-1])} or {FRAMES[-1]}, not '{frame}'", "--points-space LPS")
    return None if frame is None else known[frame.lower()]


def settled_frame(path: Path, said: str | None, given: str | None) -> str:
    """The frame to read with: what the caller gives, else what the file says; never a guess."""
    if given and said and given != said:
        logger.warning("%s says its points are %s; they are read as %s, as asked", path, said, given)
    frame = given or said
    if frame is None:
        raise UnknownFrame(
            f"{path} does not say in which frame its points are",
            "--points-space LPS (DICOM, ITK, 3D Slicer since 4.11) or --points-space RAS (NIfTI, 3D Slicer before)",
        )
    return frame


def lps_from(rows: np.ndarray, frame: str, grid: Grid | None, path: Path) -> np.ndarray:
    """LPS mm of coordinates in a file's frame, both (N, 3)."""
    if frame == "RAS":
        return rows * HALF_TURN
    if frame == "LPS":
        return rows
    if grid is None:
        raise BadInput(
            f"{path}: points in voxels need the image whose voxels they count, and none was given",
            "--like IMAGE, the one on which they were placed",
        )
    return grid.world(rows)


def _recode(path: Path, encoding: str) -> str:
    return f"iconv -f {encoding} -t utf-8 '{path}' > '{path.with_name(path.stem + '_utf8' + path.suffix)}'"
