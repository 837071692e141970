"""Point lists to `Keypoints` and back: 3D Slicer, ANTs, elastix, Learn2Reg and plain tables."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from homolog.errors import BadInput, UnreadableFile
from homolog.io import markups, point_tables
from homolog.io.files import stem_of, suffix_of, writing
from homolog.io.listings import Listing, lps_from, named_frame, read_lines, settled_frame
from homolog.space.grid import Grid
from homolog.space.keypoints import Keypoints

logger = logging.getLogger(__name__)

TABLES = (".csv", ".tsv", ".txt", ".pts", ".dat")
READABLE = (".mrk.json", ".json", ".fcsv", *TABLES)
WRITERS: dict[str, Callable[[Keypoints], str]] = {
    ".mrk.json": markups.mrk_json_text,
    ".fcsv": markups.fcsv_text,
    ".csv": point_tables.csv_text,
    ".txt": point_tables.elastix_text,
}
STYLES: dict[str, Callable[[Keypoints], str]] = {
    "ants": point_tables.ants_text,
    "elastix": point_tables.elastix_text,
}


def read_points(
    path: Path | str, *, space: str | None = None, frame: str | None = None, grid: Grid | None = None
) -> Keypoints:
    """The points of a file, in LPS mm, with their names if it has any.

    space  what their space is called (else what the file calls it, else the file's name)
    frame  "LPS", "RAS" or "voxel"; needed where the file does not say, and it overrules what the file says
    grid   the image's grid, for coordinates in voxels
    """
    path = Path(path)
    given = named_frame(frame)
    listings = _listings(path)
    if not sum(len(listing.rows) for listing in listings):
        raise UnreadableFile(f"{path} lists no points")
    parts = [lps_from(part.rows, settled_frame(path, part.frame, given), grid, path) for part in listings]
    return Keypoints(np.concatenate(parts), space or listings[0].space or stem_of(path), _names(listings))


def frame_said(path: Path | str) -> str | None:
    """The frame a file says its points are in, or None: for messages, and to ask before reading."""
    said = {listing.frame for listing in _listings(Path(path))}
    return said.pop() if len(said) == 1 else None


def write_points(points: Keypoints, path: Path | str, *, style: str | None = None) -> None:
    """Writes positions and names in LPS mm, as the ending says: .mrk.json, .fcsv, .csv, or .txt for elastix.

    style  "ants" or "elastix" for the form of that program, whatever the ending
    """
    path = Path(path)
    text_of = _writer(path, style)
    _require_writable(points, path, text_of)
    with writing(path) as part:
        part.write_text(text_of(points), encoding="utf-8", newline="\n")


def _listings(path: Path) -> list[Listing]:
    suffix = suffix_of(path)
    if suffix in (".mrk.json", ".json"):
        return markups.read_mrk_json(path)
    if suffix == ".fcsv":
        return [markups.read_fcsv(path)]
    if suffix in TABLES:
        return [point_tables.read_text_points(path, read_lines(path))]
    raise UnreadableFile(f"{path}: points are read from {', '.join(READABLE)}, not from '{suffix}'")


def _names(listings: list[Listing]) -> tuple[str, ...] | None:
    """The names of all the lists, each led by its list's title where there are several."""
    if any(listing.names is None for listing in listings):
        return None
    several = len(listings) > 1
    return tuple(f"{part.title}/{name}" if several else name for part in listings for name in part.names or ())


def _writer(path: Path, style: str | None) -> Callable[[Keypoints], str]:
    if style is not None and style not in STYLES:
        raise BadInput(f"a style of points is {' or '.join(STYLES)}, not '{style}'")
    suffix = suffix_of(path)
    if style is not None and suffix in TABLES:
        return STYLES[style]
    if style is not None:
        raise BadInput(f"{path}: {style} points are written to .csv or .txt, not to '{suffix}'")
    if suffix not in WRITERS:
        raise BadInput(f"{path}: points are written to {', '.join(WRITERS)}, not to '{suffix}'")
    return WRITERS[suffix]


def _require_writable(points: Keypoints, path: Path, text_of: Callable[[Keypoints], str]) -> None:
    lost = np.flatnonzero(~np.isfinite(points.position).all(axis=1))
    if len(lost):
        raise BadInput(f"{path}: point {lost[0] + 1} of {len(points)} has no finite position and cannot be written")
    names = points.name or ()
    if text_of is point_tables.elastix_text:
        logger.warning("%s: elastix' points have no names; the order tells them apart", path) if names else None
    elif text_of is not markups.mrk_json_text and any(c in name for name in names for c in "\r\n\0"):
        raise BadInput(f"{path}: a name has a line break, which only .mrk.json can keep", "write to .mrk.json instead")
