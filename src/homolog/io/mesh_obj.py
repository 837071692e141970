"""OBJ: a text of lines; `v` and `vn` lines are replaced, every other line is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from homolog.errors import UnreadableFile
from homolog.io.listings import coordinates
from homolog.io.mesh_parts import MeshFile, Normals, fans, number_texts, said_frame, saying_lps

Corner = tuple[int, int | None]  # rows of a vertex and of a normal, counted from 0


@dataclass(frozen=True, eq=False)
class ObjRest:
    """All lines, and which of them hold the vertices and the normals, in order."""

    lines: tuple[str, ...]
    vertex_lines: tuple[int, ...]
    normal_lines: tuple[int, ...]


def parse(raw: bytes, path: Path) -> MeshFile:
    """Points, faces, and the normals that faces refer to."""
    # latin-1 keeps every byte as it is, whatever the names in the file are written in
    lines = tuple(raw.decode("latin-1").replace("\r\n", "\n").replace("\\\n", " ").split("\n"))
    at = {kind: tuple(n for n, line in enumerate(lines) if line.split(None, 1)[:1] == [kind]) for kind in ("v", "vn")}
    points = _vectors(lines, at["v"], path)
    polygons = _polygons(lines, path)
    faces = fans([[vertex for vertex, _ in polygon] for polygon in polygons])
    comments = "\n".join(line for line in lines if line.startswith("#"))
    rest = ObjRest(lines, at["v"], at["vn"])
    return MeshFile(
        points, faces, said_frame(comments), _normals(_vectors(lines, at["vn"], path), polygons, path), rest
    )


def _vectors(lines: tuple[str, ...], at: tuple[int, ...], path: Path) -> np.ndarray:
    rows = [coordinates(lines[n].split()[1:4], f"{path}, line {n + 1}") for n in at]
    return np.array(rows).reshape(-1, 3)


def _polygons(lines: tuple[str, ...], path: Path) -> list[list[Corner]]:
    """The corners of each face; negative numbers count back from the last vertex or normal so far."""
    polygons, vertices, normals = [], 0, 0
    for number, line in enumerate(lines, start=1):
        kind, *fields = line.split() or [""]
        vertices += kind == "v"
        normals += kind == "vn"
        if kind == "f":
            polygons.append([_corner(field, vertices, normals, f"{path}, line {number}") for field in fields])
    return polygons


def _corner(field: str, vertices: int, normals: int, where: str) -> Corner:
    vertex, _, normal = (field.split("/") + ["", ""])[:3]
    try:
        return _row(int(vertex), vertices), _row(int(normal), normals) if normal else None
    except ValueError:
        raise UnreadableFile(f"{where}: wanted a corner such as 1, 1/2 or 1//3, got {field}") from None


def _row(number: int, so_far: int) -> int:
    return number - 1 if number > 0 else so_far + number


def _normals(vectors: np.ndarray, polygons: list[list[Corner]], path: Path) -> tuple[Normals, ...]:
    """The normals, with the corners of the triangles that use them; a triangle without any uses a spare row."""
    if not len(vectors):
        return ()
    spare = len(vectors)
    corner = fans([[spare if normal is None else normal for _, normal in polygon] for polygon in polygons])
    if len(corner) and not (corner.min() >= 0 and corner.max() <= spare):
        raise UnreadableFile(f"{path}: a face uses a normal that is not there, of {len(vectors)}")
    return (Normals(np.concatenate((vectors, np.zeros((1, 3)))), corner),)


def compose(points: np.ndarray, faces: np.ndarray, normals: tuple[Normals, ...], rest: ObjRest | None) -> bytes:
    """The file's bytes; `points` (N, 3) in LPS mm."""
    if rest is None:
        return _bare(points, faces)
    lines = list(rest.lines)
    for n, text in zip(rest.vertex_lines, _triples(points), strict=True):
        # what follows x, y and z is a weight or a colour
        lines[n] = " ".join(["v", text, *lines[n].split()[4:]])
    if normals:
        for n, text in zip(rest.normal_lines, _triples(normals[0].vectors[:-1]), strict=True):
            lines[n] = f"vn {text}"
    return "\n".join(_saying_lps(lines)).encode("latin-1")


def _saying_lps(lines: list[str]) -> list[str]:
    said = [line.startswith("#") and said_frame(line) is not None for line in lines]
    kept = [saying_lps(line) if says else line for line, says in zip(lines, said, strict=True)]
    return kept if any(said) else ["# SPACE=LPS", *kept]


def _bare(points: np.ndarray, faces: np.ndarray) -> bytes:
    vertices = "".join(f"v {text}\n" for text in _triples(points))
    corners = "".join(f"f {a} {b} {c}\n" for a, b, c in (faces + 1).tolist())
    return f"# homolog SPACE=LPS\n{vertices}{corners}".encode()


def _triples(vectors: np.ndarray) -> list[str]:
    # to a nanometre: OBJ names no type, and seventeen digits a number would double the file
    numbers = iter(number_texts(vectors.round(6) + 0.0))
    return [f"{x} {y} {z}" for x, y, z in zip(numbers, numbers, numbers, strict=True)]
