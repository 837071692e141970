"""Landmarks in an X-ray: a table of a name, a column and a row in pixels, the first pixel's centre at (0, 0)."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

from homolog.errors import UnreadableFile
from homolog.io.listings import fields_of, read_lines

COLUMNS = ("name", "column", "row")


def read_pixel_points(path: Path) -> dict[str, tuple[float, float]]:
    """Name -> (column, row) of a text with commas whose first line is `name,column,row`."""
    lines = [line for line in read_lines(Path(path)) if line.strip() and not line.startswith("#")]
    head = [field.strip().lower() for field in fields_of(lines[0])] if lines else []
    if not set(COLUMNS) <= set(head):
        raise UnreadableFile(f"{path} has no columns {', '.join(COLUMNS)}", "let its first line be  name,column,row")
    found: dict[str, tuple[float, float]] = {}
    for number, line in enumerate(lines[1:], 2):
        cells = dict(zip(head, (field.strip() for field in fields_of(line))))
        name = cells.get("name", "")
        if not name or name in found:
            raise UnreadableFile(f"{path}, row {number}: " + (f"'{name}' stands there twice" if name else "no name"))
        found[name] = _place(cells, f"{path}, row {number}")
    if not found:
        raise UnreadableFile(f"{path} lists no landmarks")
    return found


def _place(cells: dict[str, str], where: str) -> tuple[float, float]:
    try:
        column, row = (float(cells[key]) for key in ("column", "row"))
    except (KeyError, ValueError):
        raise UnreadableFile(f"{where}: wanted a column and a row, got {', '.join(cells.values())}") from None
    if not isfinite(column) or not isfinite(row):
        raise UnreadableFile(f"{where}: wanted finite numbers", "remove the landmarks that are not seen")
    return column, row
