"""STL: triangles without sharing, ascii or binary; the facet normals are always those of the triangles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from homolog.errors import UnreadableFile
from homolog.io.listings import coordinates
from homolog.io.mesh_parts import MeshFile, area_vectors, number_texts, said_frame, saying_lps, truncated, unit

HEADER_BYTES, COUNT_BYTES = 80, 4
FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


@dataclass(frozen=True, eq=False)
class StlRest:
    """The header's text, whether it was ascii, and the two bytes that some programs keep colours in, (M,) uint16."""

    title: str
    ascii: bool
    attribute: np.ndarray


def parse(raw: bytes, path: Path) -> MeshFile:
    """Corners at the same place become one point, so that a point has one place after moving, too."""
    # By size first: binary files may begin with "solid" as well.
    announced = int.from_bytes(raw[HEADER_BYTES : HEADER_BYTES + COUNT_BYTES], "little")
    is_ascii = raw.lstrip().startswith(b"solid") and len(raw) != _binary_size(announced)
    corners, rest = _parse_ascii(raw, path) if is_ascii else _parse_binary(raw, announced, path)
    points, faces = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    return MeshFile(points, faces.reshape(-1, 3), said_frame(rest.title), (), rest)


def _binary_size(facets: int) -> int:
    return HEADER_BYTES + COUNT_BYTES + FACET.itemsize * facets


def _parse_binary(raw: bytes, announced: int, path: Path) -> tuple[np.ndarray, StlRest]:
    if len(raw) < _binary_size(0):
        raise UnreadableFile(f"{path} is no STL: it neither begins with 'solid' nor has a header of 84 bytes")
    if len(raw) < _binary_size(announced):
        held = (len(raw) - _binary_size(0)) // FACET.itemsize
        raise truncated(path, f"facets: {announced} announced, {held} there")
    facets = np.frombuffer(raw, FACET, announced, HEADER_BYTES + COUNT_BYTES)
    title = raw[:HEADER_BYTES].decode("latin-1").rstrip("\0 ")
    return facets["corners"].astype(np.float64), StlRest(title, False, facets["attribute"].copy())


def _parse_ascii(raw: bytes, path: Path) -> tuple[np.ndarray, StlRest]:
    lines = raw.decode("latin-1").splitlines()
    vertices = [
        coordinates(line.split()[1:], f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.lstrip().startswith("vertex")
    ]
    facets = sum(line.lstrip().startswith("facet") for line in lines)
    if len(vertices) != 3 * facets or not any(line.lstrip().startswith("endsolid") for line in lines):
        raise truncated(path, f"facets: {facets} begun, {len(vertices)} vertices there")
    title = lines[0].strip().removeprefix("solid").strip()
    return np.array(vertices).reshape(-1, 3, 3), StlRest(title, True, np.zeros(facets, np.uint16))


def compose(points: np.ndarray, faces: np.ndarray, rest: StlRest | None) -> bytes:
    """The file's bytes; `points` (N, 3) in LPS mm."""
    rest = rest or StlRest("homolog", False, np.zeros(len(faces), np.uint16))
    normals = unit(area_vectors(points, faces)).astype(np.float32)
    corners = points[faces].astype(np.float32)
    return _compose_ascii(normals, corners, rest) if rest.ascii else _compose_binary(normals, corners, rest)


def _compose_binary(normals: np.ndarray, corners: np.ndarray, rest: StlRest) -> bytes:
    facets = np.zeros(len(corners), FACET)
    facets["normal"], facets["corners"], facets["attribute"] = normals, corners, rest.attribute
    # a binary file that began with "solid" would be taken for ascii by many readers
    title = saying_lps(rest.title.removeprefix("solid").strip()).encode("latin-1", "replace")
    title = title if len(title) <= HEADER_BYTES else b"homolog SPACE=LPS"
    count = len(corners).to_bytes(COUNT_BYTES, "little")
    return title.ljust(HEADER_BYTES, b"\0") + count + facets.tobytes()


def _compose_ascii(normals: np.ndarray, corners: np.ndarray, rest: StlRest) -> bytes:
    title = saying_lps(rest.title)
    numbers = iter(number_texts(np.concatenate((normals[:, None], corners), axis=1)))
    triples = [f"{x} {y} {z}" for x, y, z in zip(numbers, numbers, numbers, strict=True)]
    facets = [
        f"facet normal {n}\n outer loop\n  vertex {a}\n  vertex {b}\n  vertex {c}\n endloop\nendfacet\n"
        for n, a, b, c in zip(*(iter(triples),) * 4, strict=True)
    ]
    return f"solid {title}\n{''.join(facets)}endsolid {title}\n".encode("latin-1", "replace")
