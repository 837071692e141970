"""PLY: ascii, and binary of either byte order; every property but the position is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from homolog.errors import UnreadableFile
from homolog.io.mesh_parts import MeshFile, Normals, fans, number_texts, said_frame, saying_lps, truncated

TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
FACE_LISTS = ("vertex_indices", "vertex_index")
POSITION, NORMAL = ["x", "y", "z"], ["nx", "ny", "nz"]


@dataclass(frozen=True)
class Property:
    """A number, or a list of numbers led by how many they are; types are NumPy's, without byte order."""

    name: str
    type: str
    count_type: str | None = None


@dataclass(frozen=True)
class Element:
    name: str
    count: int
    properties: tuple[Property, ...]


@dataclass(frozen=True, eq=False)
class PlyRest:
    """The header, the vertices with all their properties, and the bytes of the elements around them."""

    format: str
    comments: tuple[str, ...]
    elements: tuple[Element, ...]
    vertices: np.ndarray
    before: bytes
    after: bytes


def parse(raw: bytes, path: Path) -> MeshFile:
    """Points, faces and vertex normals."""
    form, comments, elements, start = _parse_header(raw, path)
    order = ORDERS[form]
    at, rows, spans = start, {}, {}
    for element in elements:
        columns, end = (_ascii_rows if form == "ascii" else _binary_rows)(element, raw, at, order, path)
        rows[element.name], spans[element.name], at = columns, (at, end), end
    vertices = _vertex_table(rows.get("vertex"), next((e for e in elements if e.name == "vertex"), None), path)
    first, last = spans["vertex"]
    rest = PlyRest(form, comments, elements, vertices, raw[start:first], raw[last:at])
    polygons = [rows["face"][name] for name in FACE_LISTS if name in rows.get("face", {})]
    faces = fans(polygons[0] if polygons else [])
    points = np.stack([vertices[axis] for axis in POSITION], axis=1).astype(np.float64)
    return MeshFile(points, faces, said_frame("\n".join(comments)), _normals(vertices, faces), rest)


def _parse_header(raw: bytes, path: Path) -> tuple[str, tuple[str, ...], tuple[Element, ...], int]:
    """The format, the comments, the elements, and where the data begin."""
    end = raw.find(b"end_header")
    if not raw.startswith(b"ply") or end < 0:
        raise UnreadableFile(f"{path} is no PLY: it has no header from 'ply' to 'end_header'")
    start = raw.find(b"\n", end) + 1
    if not start:
        raise truncated(path, "header")
    form, comments, elements = "", [], []
    for number, line in enumerate(raw[:end].decode("latin-1").splitlines(), start=1):
        keyword, _, text = line.strip().partition(" ")
        try:
            if keyword == "format":
                form = text.split()[0]
            elif keyword in ("comment", "obj_info"):
                comments.append(line.strip())
            elif keyword == "element":
                name, count = text.split()
                elements.append(Element(name, int(count), ()))
                if int(count) < 0:
                    raise ValueError
            elif keyword == "property":
                elements[-1] = replace(elements[-1], properties=(*elements[-1].properties, _property(text.split())))
        except (ValueError, KeyError, IndexError):
            raise UnreadableFile(f"{path}, line {number}: this PLY header line is not understood: {line}") from None
    if form not in ORDERS:
        raise UnreadableFile(f"{path}: the PLY format is '{form}', one of {', '.join(ORDERS)} was wanted")
    return form, tuple(comments), tuple(elements), start


def _property(words: list[str]) -> Property:
    if words[0] == "list":
        _, count_type, type_, name = words
        return Property(name, TYPES[type_], TYPES[count_type])
    type_, name = words
    return Property(name, TYPES[type_])


Columns = dict[str, "np.ndarray | list[np.ndarray]"]


def _binary_rows(element: Element, raw: bytes, at: int, order: str, path: Path) -> tuple[Columns, int]:
    """Each property's values, and where the element ends; fast where all lists are as long as the first row's."""
    if not element.count:
        return {p.name: np.empty((0, 3) if p.count_type else 0) for p in element.properties}, at
    dtype = _row_dtype(element, raw, at, order, path)
    end = at + dtype.itemsize * element.count
    if end <= len(raw):
        rows = np.frombuffer(raw, dtype, element.count, at)
        lists = [p.name for p in element.properties if p.count_type]
        if all((rows[_count(name)] == dtype[name].shape[0]).all() for name in lists):
            return {p.name: rows[p.name] for p in element.properties}, end
    return _ragged_rows(element, raw, at, order, path)


def _row_dtype(element: Element, raw: bytes, at: int, order: str, path: Path) -> np.dtype:
    """A row of the element, its lists as long as in the row that begins at `at`."""
    fields: list[tuple] = []
    for prop in element.properties:
        if prop.count_type:
            length = _length(raw, at + np.dtype(fields).itemsize, order + prop.count_type, element, path)
            fields += [(_count(prop.name), order + prop.count_type), (prop.name, order + prop.type, (length,))]
        else:
            fields.append((prop.name, order + prop.type))
    return np.dtype(fields)


def _ragged_rows(element: Element, raw: bytes, at: int, order: str, path: Path) -> tuple[Columns, int]:
    found: dict[str, list[np.ndarray]] = {p.name: [] for p in element.properties}
    for _ in range(element.count):
        dtype = _row_dtype(element, raw, at, order, path)
        if at + dtype.itemsize > len(raw):
            raise truncated(path, f"{element.count} rows of '{element.name}'")
        row = np.frombuffer(raw, dtype, 1, at)[0]
        at += dtype.itemsize
        for name, values in found.items():
            values.append(row[name])
    return {p.name: found[p.name] if p.count_type else np.array(found[p.name]) for p in element.properties}, at


def _length(raw: bytes, at: int, dtype: str, element: Element, path: Path) -> int:
    """How long the list is whose count lies at `at`."""
    length = -1 if at + np.dtype(dtype).itemsize > len(raw) else int(np.frombuffer(raw, dtype, 1, at)[0])
    if not 0 <= length <= len(raw):
        raise truncated(path, f"{element.count} rows of '{element.name}'")
    return length


def _count(name: str) -> str:
    return f"how many {name}"


def _ascii_rows(element: Element, raw: bytes, at: int, order: str, path: Path) -> tuple[Columns, int]:
    """The same for ascii, where each row is a line."""
    *lines, after = raw[at:].split(b"\n", element.count) if element.count else [raw[at:]]
    if len(lines) < element.count and after.strip():
        lines, after = [*lines, after], b""
    if len(lines) < element.count:
        raise truncated(path, f"{element.count} rows of '{element.name}': {len(lines)} are there")
    fields = [line.split() for line in lines]
    found = _even_columns(element, fields)
    if found is None:
        first = raw.count(b"\n", 0, at) + 1
        found = _uneven_columns(element, fields, [f"{path}, line {first + row}" for row in range(len(fields))])
    return found, len(raw) - len(after)


def _even_columns(element: Element, fields: list[list[bytes]]) -> Columns | None:
    """The properties' values where every row is as wide as the first and its lists as long, else None."""
    if not fields or len(set(map(len, fields))) != 1:
        return None
    try:
        table = np.array(fields).astype(np.float64)
    except ValueError:
        return None
    found: Columns = {}
    at = 0
    for prop in element.properties:
        if at < table.shape[1] and prop.count_type:
            length = int(table[0, at])
            if (table[:, at] != length).any():
                return None
            found[prop.name] = table[:, at + 1 : at + 1 + length].astype(np.int64)
            at += 1 + length
        elif at < table.shape[1]:
            found[prop.name] = table[:, at]
            at += 1
    return found if at == table.shape[1] and len(found) == len(element.properties) else None


def _uneven_columns(element: Element, fields: list[list[bytes]], where: list[str]) -> Columns:
    found: dict[str, list] = {p.name: [] for p in element.properties}
    for row, place in zip(fields, where, strict=True):
        _take_fields(element, row, found, place)
    return {
        p.name: [np.array(v, dtype=np.int64) for v in found[p.name]] if p.count_type else np.array(found[p.name])
        for p in element.properties
    }


def _take_fields(element: Element, fields: list[bytes], found: dict[str, list], where: str) -> None:
    """One row's fields, dealt out to the properties."""
    at = 0
    try:
        for prop in element.properties:
            length = int(fields[at]) if prop.count_type else 1
            at += prop.count_type is not None
            values = [float(field) for field in fields[at : at + length]]
            if len(values) != length:
                raise ValueError
            found[prop.name].append(values if prop.count_type else values[0])
            at += length
    except (ValueError, IndexError):
        row = b" ".join(fields).decode("latin-1")
        names = " ".join(p.name for p in element.properties)
        raise UnreadableFile(f"{where}: this row of '{element.name}' does not hold {names}: {row}") from None


def _vertex_table(columns: Columns | None, element: Element | None, path: Path) -> np.ndarray:
    """The vertices as a structured array; positions become double where they were whole numbers."""
    if columns is None or element is None or not set(POSITION) <= set(columns):
        raise UnreadableFile(f"{path}: no element 'vertex' with x, y and z")
    if any(p.count_type for p in element.properties):
        raise UnreadableFile(f"{path}: a vertex has a property that is a list, which is not read here")
    fields = [(p.name, "f8" if p.name in POSITION and p.type[0] != "f" else p.type) for p in element.properties]
    table = np.empty(element.count, np.dtype(fields))
    for name, _ in fields:
        table[name] = columns[name]
    return table


def _normals(vertices: np.ndarray, faces: np.ndarray) -> tuple[Normals, ...]:
    if not set(NORMAL) <= set(vertices.dtype.names or ()):
        return ()
    return (Normals(np.stack([vertices[axis] for axis in NORMAL], axis=1).astype(np.float64), faces),)


def compose(points: np.ndarray, faces: np.ndarray, normals: tuple[Normals, ...], rest: PlyRest | None) -> bytes:
    """The file's bytes; `points` (N, 3) in LPS mm."""
    rest = rest or _bare(len(points), faces)
    vertices = rest.vertices.copy()
    for column, axis in enumerate(POSITION):
        vertices[axis] = points[:, column]
    for column, axis in enumerate(NORMAL if normals else []):
        vertices[axis] = normals[0].vectors[:, column]
    return _header(rest) + rest.before + _vertex_bytes(vertices, rest.format) + rest.after


def _bare(count: int, faces: np.ndarray) -> PlyRest:
    """Points and triangles alone, little endian."""
    rows = np.zeros(len(faces), np.dtype([("n", "u1"), ("corners", "<i4", 3)]))
    rows["n"], rows["corners"] = 3, faces
    vertices = np.zeros(count, np.dtype([(axis, "f4") for axis in POSITION]))
    face = Element("face", len(faces), (Property("vertex_indices", "i4", "u1"),))
    elements = (Element("vertex", count, ()), face)
    return PlyRest("binary_little_endian", ("comment homolog",), elements, vertices, b"", rows.tobytes())


def _header(rest: PlyRest) -> bytes:
    said = [saying_lps(line) for line in rest.comments if said_frame(line)]
    comments = [line for line in rest.comments if not said_frame(line)] + (said[:1] or ["comment SPACE=LPS"])
    lines = ["ply", f"format {rest.format} 1.0", *comments]
    for element in rest.elements:
        lines.append(f"element {element.name} {element.count}")
        lines += map(_property_text, _stored(rest.vertices) if element.name == "vertex" else element.properties)
    return "\n".join([*lines, "end_header\n"]).encode("latin-1")


def _stored(vertices: np.ndarray) -> list[Property]:
    return [Property(name, vertices.dtype[name].str[1:]) for name in vertices.dtype.names or ()]


def _property_text(prop: Property) -> str:
    # the first name of each type in TYPES, the old one, which every reader knows
    name_of = {code: name for name, code in reversed(TYPES.items())}
    kind = name_of[prop.type] if prop.count_type is None else f"list {name_of[prop.count_type]} {name_of[prop.type]}"
    return f"property {kind} {prop.name}"


def _vertex_bytes(vertices: np.ndarray, form: str) -> bytes:
    if form != "ascii":
        order = ORDERS[form]
        return vertices.astype([(p.name, order + p.type) for p in _stored(vertices)]).tobytes()
    columns = [number_texts(vertices[p.name]) for p in _stored(vertices)]
    return "".join(f"{' '.join(row)}\n" for row in zip(*columns, strict=True)).encode()
