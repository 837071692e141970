"""Keypoints and their matches to files and back: our own `.npz`, FROG's and SIFT3D's tables, and lists of points.

The `.npz` keeps every column, in LPS mm. What FROG and SIFT3D print has no header; its rows are recognised by what
numbers they hold, and where that leaves a choice it is refused until the program is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from homolog.errors import BadInput, UnreadableFile
from homolog.io import frog_points, points, sift3d_points
from homolog.io.files import stem_of, suffix_of, writing
from homolog.io.listings import named_frame
from homolog.io.npz import read_columns, write_columns
from homolog.io.number_tables import first_rows, read_numbers, width_of, write_text
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints, Matches

Format = Literal["frog", "sift3d"]

KEYPOINTS, MATCHES, VERSION = "homolog keypoints", "homolog matches", 1
TABLES = (".csv", ".csv.gz")
READABLE = (".npz", ".csv.gz", ".bin", *points.READABLE)
# Numbers in a row: as many may be places with names or times; six may be two lists side by side.
FEW, SIX = 5, 6
# Of each column: its type in a file, and how many axes it has; names are texts.
COLUMNS = {
    "position": ("<f8", 2), "name": ("U", 1), "scale": ("<f8", 1), "response": ("<f8", 1), "sign": ("|i1", 1),
    "frame": ("<f8", 3), "descriptors": ("<f4", 2),
}  # fmt: skip


def read_keypoints(
    path: Path | str,
    *,
    space: str | None = None,
    frame: str | None = None,
    grid: Grid | None = None,
    format: str | None = None,
    descriptors: Path | str | None = None,
) -> Keypoints:
    """The keypoints of a file, in LPS mm, with the columns it has.

    space        what their space is called (else what the file calls it, else the file's name)
    frame        "LPS", "RAS" or "voxel", where the file does not say; FROG's are taken to be "RAS", as of NIfTI files
    grid         the image's grid, for places that count in voxels: all of SIFT3D's do
    format       "frog" or "sift3d", the program that wrote a table, where its numbers do not tell
    descriptors  of SIFT3D: the file of descriptors that belongs to a file of keys
    """
    path = Path(path)
    form = _format_of(path, format)
    if descriptors is not None and form != "sift3d":
        raise BadInput(f"{path} is no file of SIFT3D's keys: descriptors of another file do not belong to it")
    if form is None:
        return points.read_points(path, space=space, frame=frame, grid=grid)
    if form == "npz":
        return _from_columns(read_columns(path, KEYPOINTS, VERSION), path, space)
    name = space or stem_of(path)
    if form == "frog":
        table = frog_points.read_binary(path) if suffix_of(path) == ".bin" else read_numbers(path)
        return frog_points.keypoints(table, path, name, named_frame(frame) or "RAS")
    found = sift3d_points.keypoints(read_numbers(path), path, name, grid)
    if descriptors is None:
        return found
    other = Path(descriptors)
    return sift3d_points.joined(found, sift3d_points.keypoints(read_numbers(other), other, name, grid), other)


def frame_said(path: Path | str, format: str | None = None) -> str | None:
    """The frame that a file's points are in by its own words or its program's habit, or None."""
    path = Path(path)
    form = _format_of(path, format)
    habits = {"npz": "LPS", "frog": "RAS", "sift3d": "voxel"}
    return points.frame_said(path) if form is None else habits[form]


def write_keypoints(keypoints: Keypoints, path: Path | str, *, format: str | None = None) -> None:
    """Writes keypoints as the ending says: all columns to .npz, FROG's to .csv.gz and .bin, else places and names.

    format  "frog" for FROG's table in a .csv
    """
    path = Path(path)
    suffix = suffix_of(path)
    if format not in (None, "frog"):
        raise BadInput(f"{path}: keypoints are written in FROG's form or in our own, not in {format}'s", "--style frog")
    if format == "frog" and suffix not in (".bin", *TABLES):
        raise BadInput(f"{path}: FROG's points are written to .csv, .csv.gz or .bin, not to '{suffix}'")
    if suffix == ".npz":
        write_columns(path, KEYPOINTS, VERSION, _columns(keypoints))
    elif suffix in (".csv.gz", ".bin") or format == "frog":
        _require_finite(keypoints, path)
        with writing(path) as part:
            if suffix == ".bin":
                part.write_bytes(frog_points.binary(keypoints, path))
            else:
                write_text(frog_points.text(keypoints, path), part)
    elif suffix in points.WRITERS:
        points.write_points(keypoints, path)
    else:
        endings = ", ".join((".npz", ".csv.gz", ".bin", *points.WRITERS))
        raise BadInput(f"{path}: keypoints are written to {endings}, not to '{suffix}'")


def read_matches(path: Path | str) -> Matches:
    """The matches of an `.npz`."""
    path = Path(path)
    found = read_columns(path, MATCHES, VERSION)
    if "pairs" not in found:
        raise UnreadableFile(f"{path} holds no pairs")
    return Matches(found["pairs"], found.get("distance"), found.get("weight"))


def write_matches(matches: Matches, path: Path | str, fixed: Keypoints, moving: Keypoints) -> None:
    """Which rows correspond, as the ending says: .npz for programs, .csv with the places (LPS mm) for people."""
    path = Path(path)
    suffix = suffix_of(path)
    if suffix == ".npz":
        columns = {"pairs": matches.pairs.astype("<i8"), "fixed": np.array(fixed.space)}
        columns["moving"] = np.array(moving.space)
        for name in ("distance", "weight"):
            if getattr(matches, name) is not None:
                columns[name] = np.asarray(getattr(matches, name), "<f8")
        write_columns(path, MATCHES, VERSION, columns)
    elif suffix == ".csv":
        with writing(path) as part:
            part.write_text(_matches_text(matches, fixed, moving), encoding="utf-8", newline="\n")
    else:
        raise BadInput(f"{path}: matches are written to .npz or .csv, not to '{suffix}'")


def _matches_text(matches: Matches, fixed: Keypoints, moving: Keypoints) -> str:
    """Rows count from 0, as everywhere in programs."""
    rows = ["index_fixed,index_moving,x_fixed,y_fixed,z_fixed,x_moving,y_moving,z_moving,distance\n"]
    distance = np.full(len(matches), np.nan) if matches.distance is None else matches.distance
    for (a, b), far in zip(matches.pairs.tolist(), distance.tolist(), strict=True):
        places = ",".join(f"{value:.4f}" for value in (*fixed.position[a], *moving.position[b]))
        rows.append(f"{a},{b},{places},{far:.7g}\n")
    return "".join(rows)


# ---------------------------------------------------------------------------------------------------------------------
# Which format


def _format_of(path: Path, format: str | None) -> Literal["npz", "frog", "sift3d"] | None:
    """None for lists of points, which `points` reads."""
    if format is not None and format not in get_args(Format):
        raise BadInput(f"a table of keypoints is of {' or '.join(get_args(Format))}, not of {format!r}")
    suffix = suffix_of(path)
    if suffix == ".npz":
        return "npz"
    if suffix == ".bin":
        return "frog"
    if format is not None and suffix in TABLES:
        return format  # type: ignore[return-value]
    if suffix in TABLES:
        return _recognised(path)
    if suffix == ".json" and _is_frogs_json(path):
        raise UnreadableFile(
            f"{path} is FROG's JSON of points, whose scales are not in mm", "read the .csv.gz of the same run"
        )
    if suffix not in points.READABLE:
        raise UnreadableFile(f"{path}: keypoints are read from {', '.join(READABLE)}, not from '{suffix}'")
    return None


def _recognised(path: Path) -> Literal["frog", "sift3d"] | None:
    """Whose a table is, by its numbers; None for a plain list of points."""
    width = width_of(path)
    if width == SIX:
        raise UnreadableFile(
            f"{path}: rows of six numbers may be keypoints of FROG without descriptors, or two lists of points",
            f"--format frog; or of two lists the first: cut -d, -f1-3 '{path}' > first.csv",
        )
    if width <= FEW:
        if suffix_of(path) == ".csv.gz":
            raise UnreadableFile(
                f"{path} is no table of keypoints: numbers without a header were wanted", f"gunzip -k '{path}'"
            )
        return None
    table = first_rows(path)
    frogs = frog_points.is_frogs(table)
    sift3ds = sift3d_points.is_keys(table) or sift3d_points.is_described(table)
    if frogs and sift3ds:
        raise UnreadableFile(
            f"{path}: these rows may be keypoints of FROG or of SIFT3D", "--format frog, or --format sift3d"
        )
    if not (frogs or sift3ds):
        raise UnreadableFile(
            f"{path}: rows of {width} numbers are no keypoints of FROG (x,y,z,scale,sign 0 or 1,response,descriptor) "
            "nor of SIFT3D (x,y,z,octave,scale and a rotation; or x,y,z and 768 numbers)",
            "for plain points name the columns in a first line: name,x,y,z",
        )
    return "frog" if frogs else "sift3d"


def _is_frogs_json(path: Path) -> bool:
    import json

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "markups" not in found and {"origin", "spacing", "points"} <= set(found)


# ---------------------------------------------------------------------------------------------------------------------
# Our own columns


def _columns(keypoints: Keypoints) -> dict[str, np.ndarray]:
    found = {}
    for name, (kind, _) in COLUMNS.items():
        values = getattr(keypoints, name)
        if values is not None:
            found[name] = np.array(values, str) if kind == "U" else np.asarray(values).astype(kind)
    return {**found, "space": np.array(keypoints.space)}


def _from_columns(found: Mapping[str, np.ndarray], path: Path, space: str | None) -> Keypoints:
    if not {"position", "space"} <= set(found):
        raise UnreadableFile(f"{path} holds no positions, or does not name their space")
    known = {field.name for field in fields(Keypoints)}
    columns = {name: _checked(name, values, path) for name, values in found.items() if name in known - {"space"}}
    try:
        return Keypoints(space=space or str(found["space"]), **columns)  # type: ignore[arg-type]
    except BadInput as error:
        raise UnreadableFile(f"{path}: {error.message}") from error


def _checked(name: str, values: np.ndarray, path: Path) -> np.ndarray | tuple[str, ...]:
    kind, axes = COLUMNS[name]
    if kind == "U":
        return tuple(values.tolist())
    if values.ndim != axes or values.dtype.kind not in "fi" or (name == "frame" and values.shape[1:] != (3, 3)):
        raise UnreadableFile(f"{path}: its column '{name}' is {values.dtype} of shape {values.shape}")
    if name == "position" and not np.isfinite(values).all():
        raise UnreadableFile(f"{path}: some of its positions are NaN or infinite")
    return values.astype(np.dtype(kind).newbyteorder("="))


def _require_finite(keypoints: Keypoints, path: Path) -> None:
    for name in ("position", "scale", "response", "descriptors"):
        values = getattr(keypoints, name)
        if values is not None and not np.isfinite(values).all():
            raise BadInput(f"{path}: the points' {name} holds NaN or infinite values, which FROG cannot read")
