"""What every mesh format shares: triangles, normals that follow the points, and the frame in a comment."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from homolog.errors import UnreadableFile

logger = logging.getLogger(__name__)

# As 3D Slicer writes it, into whatever the format has for comments.
SPACE = re.compile(r"\bSPACE=(LPS|RAS)\b")


@dataclass(frozen=True, eq=False)
class Normals:
    """Normals of vertices, corners or cells: which row each corner of each triangle uses.

    vectors  (K, 3) float64, unit length or zero
    corner   (M, 3) int64, rows of `vectors` for the corners of the M triangles
    """

    vectors: np.ndarray
    corner: np.ndarray

    def following(self, before: np.ndarray, after: np.ndarray, faces: np.ndarray) -> Normals:
        """The normals of the moved surface, on the side of it on which they were.

        before, after  (N, 3) the points the faces join
        """
        old, new = self._of_surface(before, faces), self._of_surface(after, faces)
        side = np.where((old * self.vectors).sum(axis=1) < 0, -1.0, 1.0)
        lost = int((~new.any(axis=1) & self.vectors.any(axis=1)).sum())
        if lost:
            logger.warning("%d normals belong to no face of any area: they are written as 0 0 0", lost)
        return replace(self, vectors=side[:, None] * new)

    def _of_surface(self, points: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """(K, 3): the mean direction of the triangles at each row, larger triangles counting more."""
        areas = area_vectors(points, faces)
        total = np.zeros((len(self.vectors), 3))
        for corner in self.corner.T:
            np.add.at(total, corner, areas)
        return unit(total)


@dataclass(frozen=True, eq=False)
class MeshFile:
    """A mesh as its file has it.

    points   (N, 3) float64, in the file's frame
    faces    (M, 3) int64, polygons cut into fans of triangles
    frame    "LPS" or "RAS", or None where the file does not say
    normals  in the file's frame
    rest     what the format needs to write everything else back
    """

    points: np.ndarray
    faces: np.ndarray
    frame: str | None
    normals: tuple[Normals, ...]
    rest: Any


def area_vectors(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(M, 3): normal times twice the area of each triangle, by the right hand about its corners."""
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    return np.cross(b - a, c - a)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors at length one; zero stays zero. (K, 3)"""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def is_turned_inside_out(before: np.ndarray, after: np.ndarray, faces: np.ndarray) -> bool:
    """Whether a closed surface has its inside outside, as after a map that mirrors."""
    if not len(faces) or not is_closed(before, faces):
        return False
    return bool(signed_volume(before, faces) * signed_volume(after, faces) < 0)


def is_closed(points: np.ndarray, faces: np.ndarray) -> bool:
    """Whether the area vectors cancel, as they do on every closed surface."""
    areas = area_vectors(points, faces)
    total = np.linalg.norm(areas, axis=1).sum()
    # float32 coordinates of a few hundred mm leave about 1e-6 of the area uncancelled
    return bool(np.linalg.norm(areas.sum(axis=0)) < 1e-4 * total)


def signed_volume(points: np.ndarray, faces: np.ndarray) -> float:
    """mm3 inside a closed surface, positive where its normals point outwards."""
    # about the centroid: far from the origin the terms would be large and cancel
    middle = points.mean(axis=0)
    first = points[faces[:, 0]] - middle
    return float((first * area_vectors(points, faces)).sum() / 6)


def fans(polygons: np.ndarray | Iterable[Sequence[int] | np.ndarray]) -> np.ndarray:
    """(M, 3) int64: polygons as triangles about their first corner; an (n, L) array is n polygons of L corners."""
    if isinstance(polygons, np.ndarray) and polygons.ndim == 2:
        steps = range(1, polygons.shape[1] - 1)
        parts = [polygons[:, [0, step, step + 1]] for step in steps]
        triangles = np.stack(parts, axis=1) if parts else np.empty((0, 3))
    else:
        triangles = np.array([(p[0], p[s], p[s + 1]) for p in polygons for s in range(1, len(p) - 1)])
    return triangles.reshape(-1, 3).astype(np.int64)


def said_frame(text: str) -> str | None:
    """The frame that a comment names; two different ones are none."""
    found = set(SPACE.findall(text))
    return found.pop() if len(found) == 1 else None


def saying_lps(text: str) -> str:
    """The comment, saying LPS; a comment that said nothing gets it appended."""
    return SPACE.sub("SPACE=LPS", text) if SPACE.search(text) else f"{text} SPACE=LPS".strip()


def require_points(points: np.ndarray, faces: np.ndarray, path: Path) -> None:
    """Refuses a mesh without points, with points that are nowhere, or with faces of points that are not there."""
    if not len(points):
        raise UnreadableFile(f"{path} has no points")
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        raise UnreadableFile(f"{path}: point {bad[0] + 1} of {len(points)} is not finite: {points[bad[0]].tolist()}")
    if len(faces) and not (faces.min() >= 0 and faces.max() < len(points)):
        wrong = faces.max() if faces.max() >= len(points) else faces.min()
        raise UnreadableFile(f"{path}: a face uses point {wrong} (counted from 0) of only {len(points)}")


def truncated(path: Path, what: str) -> UnreadableFile:
    """A file that ends within what it announces."""
    return UnreadableFile(f"{path} ends within its {what}", "it was probably cut off while being copied; copy it again")


def number_texts(values: np.ndarray) -> list[str]:
    """Numbers as the shortest texts that read back as the same number of the same type."""
    return values.ravel().astype(str).tolist()
