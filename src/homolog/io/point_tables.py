"""Points in plain text: tables with and without a header, ANTs' csv, elastix' points, and the csv written here."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from homolog.errors import UnreadableFile
from homolog.io.listings import Listing, coordinates, fields_of
from homolog.space.keypoints import Keypoints

# What a csv written here says about itself; the space comes last because its name may hold anything.
OWN_HEADER = re.compile(r"#\s*frame:\s*(\w+),\s*unit:\s*(\w+)(?:,\s*space:\s*(.*\S))?\s*$")
NAME_COLUMNS = ("name", "label", "landmark", "point", "id")
ANTS_COLUMNS, ANTS_EXTRAS = ["x", "y", "z", "t"], {"label", "comment", "mass", "volume", "count"}
OUTPUT_POINT = re.compile(r"OutputPoint\s*=\s*\[([^\]]*)\]")

Row = tuple[int, list[str]]  # a line's number and its fields


def read_text_points(path: Path, lines: list[str]) -> Listing:
    """Points in any of the text forms, told apart by their first lines."""
    if any(OUTPUT_POINT.search(line) for line in lines):
        return _read_outputpoints(path, lines)
    if _elastix_keyword(lines) is not None:
        return _read_elastix(path, lines)
    return _read_table(path, lines)


# ---- elastix


def _elastix_keyword(lines: list[str]) -> str | None:
    """`point` or `index`, `""` where only a count stands first, None where it is no elastix file."""
    first = next((line.strip() for line in lines if line.strip()), "")
    return "" if first.isdecimal() else (first if first in ("point", "index") else None)


def _read_elastix(path: Path, lines: list[str]) -> Listing:
    """`point` or `index`, then how many, then a row for each; world points are LPS mm, as everywhere in ITK."""
    keyword = _elastix_keyword(lines)
    rows = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    rows = rows[1:] if keyword else rows
    if not rows or len(rows[0][1]) != 1 or not rows[0][1][0].isdecimal():
        raise UnreadableFile(f"{path}, line 2: the number of points was wanted after '{keyword}'")
    wanted, rows = int(rows[0][1][0]), rows[1:]
    if len(rows) != wanted:
        raise UnreadableFile(f"{path} says it lists {wanted} points, and lists {len(rows)}", "correct its second line")
    frame = {"point": "LPS", "index": "voxel"}.get(keyword or "")
    return Listing(_positions(path, rows, [0, 1, 2], width=3), frame=frame)


def _read_outputpoints(path: Path, lines: list[str]) -> Listing:
    """transformix' outputpoints.txt: where each point was carried to, LPS mm."""
    rows = []
    for number, line in enumerate(lines, start=1):
        found = OUTPUT_POINT.search(line)
        if line.strip() and not found:
            raise UnreadableFile(f"{path}, line {number}: wanted OutputPoint = [ x y z ], got {line.strip()[:60]}")
        if found:
            rows.append(coordinates(found[1].split(), f"{path}, line {number}"))
    return Listing(np.array(rows).reshape(-1, 3), frame="LPS")


# ---- tables


def _read_table(path: Path, lines: list[str]) -> Listing:
    own = next((found for line in lines if (found := OWN_HEADER.match(line))), None)
    rows = _split(lines, delimiter="," if own else None)
    if own:
        _require_known(path, own[1], own[2])
    if not rows:
        return Listing(np.empty((0, 3)))
    header, rows = _header_and_rows(lines, rows)
    if header is None:
        at, name_at = _columns_of_bare_rows(path, rows[0][1])
    else:
        at, name_at = _columns_of_header(path, header)
    positions = _positions(path, rows, at, width=len(header or rows[0][1]))
    if header is not None and _is_ants(header):
        return Listing(positions, _ants_names(header, rows), "LPS")
    names = _names(rows, name_at, keep_blanks=own is not None)
    return Listing(positions, names, own[1] if own else None, own[3] if own else None)


def _require_known(path: Path, frame: str, unit: str) -> None:
    if frame not in ("LPS", "RAS") or unit != "mm":
        raise UnreadableFile(f"{path} says frame: {frame}, unit: {unit}; LPS or RAS and mm were wanted")


def _split(lines: list[str], delimiter: str | None) -> list[Row]:
    """The rows that are neither blank nor comments, cut into fields."""
    kept = [(number, line) for number, line in enumerate(lines, start=1) if line.strip() and not line.startswith("#")]
    if kept and delimiter is None:
        # the one that cuts the last row into most numbers; blanks come last, for names may have blanks
        delimiter = max((",", ";", "\t", " "), key=lambda d: sum(map(_is_number, _fields(kept[-1][1], d))))
    return [(number, _fields(line, delimiter or ",")) for number, line in kept]


def _fields(line: str, delimiter: str) -> list[str]:
    return line.split() if delimiter == " " else fields_of(line, delimiter, blanks_count=False)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _header_and_rows(lines: list[str], rows: list[Row]) -> tuple[list[str] | None, list[Row]]:
    """The columns' names in lower case, if the file has them, and the rows below."""
    first = rows[0][1]
    if not any(map(_is_number, first)):
        return [field.strip().lower() for field in first], rows[1:]
    # np.savetxt writes the header as a comment
    for line in lines[: rows[0][0] - 1]:
        columns = [field.strip().lower() for field in line.lstrip("# ").split(",")]
        if len(columns) == len(first) and all(columns.count(axis) == 1 for axis in "xyz"):
            return columns, rows
    return None, rows


def _columns_of_header(path: Path, header: list[str]) -> tuple[list[int], int | None]:
    if any(header.count(axis) != 1 for axis in "xyz"):
        raise UnreadableFile(
            f"{path}: wanted one column each named x, y and z, got {','.join(header)}",
            "name them in the first line: name,x,y,z",
        )
    name = next((column for column in NAME_COLUMNS if column in header), None)
    return [header.index(axis) for axis in "xyz"], header.index(name) if name else None


def _columns_of_bare_rows(path: Path, first: list[str]) -> tuple[list[int], int | None]:
    """Three numbers, with a name before or after them; anything else needs a header."""
    numbers = [_is_number(field) for field in first]
    if numbers == [True, True, True]:
        return [0, 1, 2], None
    if numbers == [False, True, True, True]:
        return [1, 2, 3], 0
    if numbers == [True, True, True, False]:
        return [0, 1, 2], 3
    hint = "name the columns in a first line: name,x,y,z"
    if numbers == [True] * 6:
        split = """awk -F'[,;\\t ]+' '!/^#/ {print $1","$2","$3 > "a.csv"; print $4","$5","$6 > "b.csv"}'"""
        hint = f"if these are two lists side by side: {split} '{path}'"
    raise UnreadableFile(f"{path}: wanted rows of x,y,z or name,x,y,z, got {','.join(first)}", hint)


def _positions(path: Path, rows: list[Row], at: Sequence[int], width: int) -> np.ndarray:
    """(N, 3) float64, every row being as wide as the first."""
    for number, fields in rows:
        if len(fields) != width:
            raise UnreadableFile(
                f"{path}, line {number}: wanted {width} columns, got {len(fields)}: {','.join(fields)}",
                "numbers are written with a point: 1.5, not 1,5",
            )
    found = [coordinates([fields[column] for column in at], f"{path}, line {number}") for number, fields in rows]
    return np.array(found).reshape(-1, 3)


def _names(rows: list[Row], column: int | None, keep_blanks: bool) -> tuple[str, ...] | None:
    if column is None:
        return None
    names = [fields[column] if keep_blanks else fields[column].strip() for _, fields in rows]
    if not any(names):
        return None
    return tuple(name or str(row) for row, name in enumerate(names, start=1))


def _is_ants(header: list[str]) -> bool:
    return header[:4] == ANTS_COLUMNS and set(header[4:]) <= ANTS_EXTRAS


def _ants_names(header: list[str], rows: list[Row]) -> tuple[str, ...] | None:
    """The comments, or the labels, if they tell the points apart: many tools fill both columns with zeros."""
    for column in ("comment", "label"):
        if column in header:
            names = [fields[header.index(column)].strip() for _, fields in rows]
            if all(names) and len(set(names)) == len(names):
                return tuple(names)
    return None


# ---- writing


def csv_text(points: Keypoints) -> str:
    """Our own csv: it says its frame, unit and space, so it is read back without asking."""
    text = io.StringIO()
    text.write(f"# frame: LPS, unit: mm, space: {points.space}\n")
    text.write("x,y,z\n" if points.name is None else "name,x,y,z\n")
    # every name is quoted: one that begins with # would else be taken for a comment
    table = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    names = [[name] for name in points.name] if points.name else [[]] * len(points)
    table.writerows([*name, *position] for name, position in zip(names, points.position.tolist(), strict=True))
    return text.getvalue()


def ants_text(points: Keypoints) -> str:
    """ANTs' csv, LPS mm: its labels are numbers, so a name goes into the comment."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*ANTS_COLUMNS, "label", "comment"])
    names = points.name or tuple(str(row + 1) for row in range(len(points)))
    for row, (name, position) in enumerate(zip(names, points.position.tolist(), strict=True), start=1):
        table.writerow([*map(repr, position), 0, row, name])
    return text.getvalue()


def elastix_text(points: Keypoints) -> str:
    """elastix' and transformix' points, LPS mm; the format has no names."""
    rows = "".join(f"{x!r} {y!r} {z!r}\n" for x, y, z in points.position.tolist())
    return f"point\n{len(points)}\n{rows}"
