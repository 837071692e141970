"""Surfaces to `Mesh` and back: PLY, STL, OBJ and legacy VTK, with everything else in the file kept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from homolog.errors import BadInput, UnreadableFile
from homolog.io import mesh_obj, mesh_ply, mesh_stl, mesh_vtk
from homolog.io.files import require_file, stem_of, suffix_of, writing
from homolog.io.listings import lps_from, named_frame, settled_frame
from homolog.io.mesh_parts import Normals, is_turned_inside_out, require_points

logger = logging.getLogger(__name__)

READERS = {".ply": mesh_ply.parse, ".stl": mesh_stl.parse, ".obj": mesh_obj.parse, ".vtk": mesh_vtk.parse}
RESTS = {".ply": mesh_ply.PlyRest, ".stl": mesh_stl.StlRest, ".obj": mesh_obj.ObjRest, ".vtk": mesh_vtk.VtkRest}
ELSEWHERE = {
    ".vtp": "in 3D Slicer or ParaView: save it as .ply or legacy .vtk",
    ".vtu": "in ParaView: Extract Surface, then save as .ply",
    ".gii": "mris_convert surface.gii surface.vtk (FreeSurfer); GIfTI is RAS: --points-space RAS",
}


@dataclass(frozen=True, eq=False)
class Mesh:
    """A surface in one space.

    points   (N, 3) float64, LPS mm
    space    the name of the patient space it is in
    faces    (M, 3) int64, rows of points; polygons of a file are cut into triangles here, and kept in `rest`
    normals  of vertices, corners or cells, where the file has them; they follow the points
    rest     what else the file held, for writing it back in the same format
    """

    points: np.ndarray
    space: str
    faces: np.ndarray
    normals: tuple[Normals, ...] = ()
    rest: Any = None

    def __post_init__(self) -> None:
        points = np.asarray(self.points, dtype=np.float64)
        faces = np.asarray(self.faces, dtype=np.int64).reshape(-1, 3)
        if points.ndim != 2 or points.shape[1] != 3:
            raise BadInput(f"the points of a mesh must be (N, 3), got {points.shape}")
        if len(faces) and not (faces.min() >= 0 and faces.max() < len(points)):
            raise BadInput(f"faces join points {faces.min()} to {faces.max()}, the mesh has {len(points)}")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "faces", faces)

    def moved_to(self, points: np.ndarray, space: str) -> Mesh:
        """The same surface with its points elsewhere, in another space. points: (N, 3) LPS mm."""
        points = np.asarray(points, dtype=np.float64)
        if points.shape != self.points.shape:
            raise BadInput(f"a mesh of {len(self.points)} points cannot move to points of shape {points.shape}")
        if is_turned_inside_out(self.points, points, self.faces):
            # turning the faces would mean to edit the polygons that each format keeps in its own way
            logger.warning("the map mirrors: the mesh in '%s' has its inside outside", space)
        normals = tuple(part.following(self.points, points, self.faces) for part in self.normals)
        return replace(self, points=points, space=space, normals=normals)


def read_mesh(path: Path | str, *, space: str | None = None, frame: str | None = None) -> Mesh:
    """The surface in a file, in LPS mm.

    space  what its space is called (else the file's name)
    frame  "LPS" or "RAS"; needed where the file has no SPACE= comment, and it overrules the comment
    """
    path = Path(path)
    suffix = suffix_of(path)
    given = named_frame(frame)
    if given == "voxel":
        raise BadInput(f"{path}: a mesh is read as LPS or RAS, not in voxels", "--points-space LPS")
    if suffix not in READERS:
        raise UnreadableFile(
            f"{path}: meshes are read from {', '.join(READERS)}, not from '{suffix}'", ELSEWHERE.get(suffix, "")
        )
    # bytes that are no number may become signalling NaNs: they are refused below, by name
    with np.errstate(invalid="ignore"):
        found = READERS[suffix](require_file(path).read_bytes(), path)
    require_points(found.points, found.faces, path)
    settled = settled_frame(path, found.frame, given)
    normals = tuple(replace(part, vectors=lps_from(part.vectors, settled, None, path)) for part in found.normals)
    points = lps_from(found.points, settled, None, path)
    return Mesh(points, space or stem_of(path), found.faces, normals, found.rest)


def write_mesh(mesh: Mesh, path: Path | str) -> None:
    """Writes a surface in LPS mm, saying so; what else its file held is kept where the format stays the same."""
    path = Path(path)
    suffix = suffix_of(path)
    if suffix not in RESTS:
        raise BadInput(f"{path}: meshes are written to {', '.join(RESTS)}, not to '{suffix}'")
    if not np.isfinite(mesh.points).all():
        raise BadInput(f"{path}: some points of the mesh are not finite and cannot be written")
    content = _bytes(mesh, suffix, path)
    with writing(path) as part:
        part.write_bytes(content)


def _bytes(mesh: Mesh, suffix: str, path: Path) -> bytes:
    kept = isinstance(mesh.rest, RESTS[suffix])
    if mesh.rest is not None and not kept:
        logger.warning("%s: only points and triangles are carried over from the other format", path)
    rest, normals = (mesh.rest, mesh.normals) if kept else (None, ())
    if suffix == ".stl" and not len(mesh.faces):
        raise BadInput(f"{path}: STL holds triangles, and the mesh has points alone", "write it to .ply")
    if suffix == ".stl":
        return mesh_stl.compose(mesh.points, mesh.faces, rest)
    composers: dict[str, Callable[..., bytes]] = {
        ".ply": mesh_ply.compose,
        ".obj": mesh_obj.compose,
        ".vtk": mesh_vtk.compose,
    }
    return composers[suffix](mesh.points, mesh.faces, normals, rest)
