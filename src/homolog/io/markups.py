"""3D Slicer's point lists: `.mrk.json`, and every generation of `.fcsv`."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np

from homolog.errors import UnreadableFile
from homolog.io.listings import Listing, coordinates, fields_of, read_lines
from homolog.space.keypoints import Keypoints

logger = logging.getLogger(__name__)

# Slicer compares this text with the one it writes, so "master" stays although the branch was renamed.
SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
TYPES = ("Fiducial", "Line", "Angle", "Curve", "ClosedCurve", "Plane", "ROI")

FCSV_SYSTEMS = {"0": "RAS", "RAS": "RAS", "1": "LPS", "LPS": "LPS", "2": "voxel", "IJK": "voxel"}
SLICER_4_COLUMNS = [
    "id",
    "x",
    "y",
    "z",
    "ow",
    "ox",
    "oy",
    "oz",
    "vis",
    "sel",
    "lock",
    "label",
    "desc",
    "associatedNodeID",
]
SLICER_3_COLUMNS = ["label", "x", "y", "z", "sel", "vis"]
# Since 5.2 two columns follow that the header does not name: the position's status, 2 where it is placed, and a flag.
STATUS_COLUMN, PLACED = len(SLICER_4_COLUMNS), "2"


def read_mrk_json(path: Path) -> list[Listing]:
    """One listing for each markup that has placed control points."""
    content = _parsed(path)
    markups = content.get("markups") if isinstance(content, dict) else None
    if not isinstance(markups, list) or not all(isinstance(markup, dict) for markup in markups):
        raise UnreadableFile(f'{path} is JSON, but not 3D Slicer markups: it has no list "markups"')
    listings = [_markup(markup, row, path) for row, markup in enumerate(markups, start=1)]
    return [listing for listing in listings if len(listing.rows)]


def _parsed(path: Path) -> Any:
    try:
        return json.loads("\n".join(read_lines(path)))
    except json.JSONDecodeError as error:
        raise UnreadableFile(
            f"{path}, line {error.lineno} column {error.colno}: not JSON ({error.msg})",
            "a file that ends too early was cut off while being copied; copy it again",
        ) from error


def _markup(markup: dict[str, Any], number: int, path: Path) -> Listing:
    title = str(markup.get("name") or f"markup {number}")
    where = f"{path}, '{title}'"
    kind = markup.get("type")
    if kind not in TYPES:
        logger.warning("%s is a markup of type %r, which is not known here: its control points are read", where, kind)
    _require_mm(markup.get("coordinateUnits", "mm"), where)
    names, rows = _control_points(markup.get("controlPoints", []), where)
    return Listing(np.array(rows).reshape(-1, 3), tuple(names), _system(markup, where), title=title)


def _system(markup: dict[str, Any], where: str) -> str | None:
    # the schema's default, and Slicer's: a markup that names no system is LPS
    system = markup.get("coordinateSystem", "LPS")
    if system in ("LPS", "RAS"):
        return system
    logger.warning('%s: coordinateSystem is %r, "LPS" or "RAS" was wanted', where, system)
    return None


def _require_mm(units: Any, where: str) -> None:
    # either "mm", or a coded entry: ["mm", "UCUM", "millimeter"]
    code = units[0] if isinstance(units, list) and units else units
    if code != "mm":
        raise UnreadableFile(f"{where}: coordinates are in {code!r}, mm was wanted", "in 3D Slicer: save it in mm")


def _control_points(points: Any, where: str) -> tuple[list[str], list[list[float]]]:
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise UnreadableFile(f'{where}: "controlPoints" is not a list of points')
    placed = [(row, p) for row, p in enumerate(points, start=1) if p.get("positionStatus", "defined") == "defined"]
    if len(placed) < len(points):
        logger.info(
            "%s: %d of %d points are not placed and are left out", where, len(points) - len(placed), len(points)
        )
    names = [str(point.get("label") or point.get("id") or row) for row, point in placed]
    return names, [_position(point.get("position"), f"{where}, control point {row}") for row, point in placed]


def _position(position: Any, where: str) -> list[float]:
    if not isinstance(position, list):
        raise UnreadableFile(f'{where}: "position" is {position!r}, three numbers were wanted')
    return coordinates([value if type(value) in (int, float) else repr(value) for value in position], where)


def mrk_json_text(points: Keypoints) -> str:
    """One Fiducial markup in LPS mm, named after the points' space."""
    names = points.name or tuple(str(row + 1) for row in range(len(points)))
    markup = {
        "type": "Fiducial",
        "name": points.space,
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "controlPoints": [
            _control_point(str(row + 1), name, position)
            for row, (name, position) in enumerate(zip(names, points.position.tolist(), strict=True))
        ],
    }
    return json.dumps({"@schema": SCHEMA, "markups": [markup]}, indent=2, ensure_ascii=False) + "\n"


def _control_point(identity: str, label: str, position: list[float]) -> dict[str, Any]:
    return {
        "id": identity,
        "label": label,
        "description": "",
        "associatedNodeID": "",
        "position": position,
        "selected": True,
        "locked": False,
        "visibility": True,
        "positionStatus": "defined",
    }


def read_fcsv(path: Path) -> Listing:
    """A fiducial list: Slicer 3, 4.0 to 4.10, 4.11 and later, or a bare list of names and numbers."""
    lines = read_lines(path)
    header = _header(lines)
    columns = _columns(lines, header)
    names, rows = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = fields_of(line)
        if _is_placed(fields, header):
            rows.append(_fcsv_position(fields, columns, f"{path}, line {number}"))
            names.append(_label(fields, columns) or str(len(rows)))
    return Listing(
        np.array(rows).reshape(-1, 3), tuple(names), _fcsv_frame(lines, header), title=header.get("name", "")
    )


def _header(lines: list[str]) -> dict[str, str]:
    """The `# key = value` lines, keys in lower case."""
    found = (re.match(r"#\s*([^=]+?)\s*=\s*(.*?)\s*$", line) for line in lines if line.startswith("#"))
    return {match[1].lower(): match[2] for match in found if match}


def _fcsv_frame(lines: list[str], header: dict[str, str]) -> str | None:
    """What the header says: a system's name or number, or the marks of Slicer 3, whose lists are RAS."""
    if "coordinatesystem" in header:
        return FCSV_SYSTEMS.get(header["coordinatesystem"].upper())
    # A list of names and numbers under a comment of its own, such as "# name,x,y,z", was not written by Slicer 3.
    slicer_3 = any(line.startswith("# Fiducial List file") for line in lines) or {"numpoints", "symbolscale"} <= set(
        header
    )
    return "RAS" if slicer_3 and not _is_versioned(header) else None


def _is_versioned(header: dict[str, str]) -> bool:
    return "markups fiducial file version" in header


def _columns(lines: list[str], header: dict[str, str]) -> list[str]:
    """The columns' names: from `# columns =`, from a comment that lists x, y and z, or those of the generation."""
    comments = [line.lstrip("# ") for line in lines if line.startswith("#") and "=" not in line]
    for candidate in [header.get("columns", ""), *comments]:
        columns = [column.strip() for column in candidate.split(",")]
        if {"x", "y", "z"} <= set(columns):
            return columns
    return SLICER_4_COLUMNS if _is_versioned(header) or "coordinatesystem" in header else SLICER_3_COLUMNS


def _is_placed(fields: list[str], header: dict[str, str]) -> bool:
    status = fields[STATUS_COLUMN] if _is_versioned(header) and len(fields) > STATUS_COLUMN else PLACED
    return status.strip() in (PLACED, "")


def _fcsv_position(fields: list[str], columns: list[str], where: str) -> list[float]:
    at = [columns.index(axis) for axis in "xyz"]
    if len(fields) <= max(at):
        raise UnreadableFile(f"{where}: wanted the columns {','.join(columns)}, got {','.join(fields)}")
    return coordinates([fields[column] for column in at], where)


def _label(fields: list[str], columns: list[str]) -> str:
    """The first of label, name and id that is not empty."""
    at = [columns.index(column) for column in ("label", "name", "id") if column in columns]
    return next((fields[column] for column in at if column < len(fields) and fields[column].strip()), "")


def fcsv_text(points: Keypoints) -> str:
    """The 5.x form in LPS mm; a name with a comma or a quote is quoted, as Slicer itself quotes and reads it."""
    names = points.name or tuple(str(row + 1) for row in range(len(points)))
    text = io.StringIO()
    text.write("# Markups fiducial file version = 5.6\n# CoordinateSystem = LPS\n")
    text.write(f"# columns = {','.join(SLICER_4_COLUMNS)}\n")
    table = csv.writer(text, lineterminator="\n")
    for row, (name, position) in enumerate(zip(names, points.position.tolist(), strict=True), start=1):
        # orientation as a quaternion, visible, selected, not locked, label, description, node, placed
        table.writerow([row, *map(repr, position), 0, 0, 0, 1, 1, 1, 0, name, "", "", PLACED, 0])
    return text.getvalue()
