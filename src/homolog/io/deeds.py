"""deeds (Heinrich et al., IEEE TMI 32:1239, 2013): `_matrix.txt` of linearBCV and `_displacements.dat` of deedsBCV.

deeds maps voxels to voxels, along the axes as stored: fixed voxel p lies at moving voxel A p + u(p). u is given at
control nodes, node n at fixed voxel n * (fixed size / number of nodes), linear between them and its edge value beyond.
With F and M the two images' world_from_voxel, and L the linear part of F A^-1, that is without any resampling

    moving_from_fixed(x) = M A F^-1 (x + L u(F^-1 x)).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from homolog.errors import BadInput, GridMismatch
from homolog.io.files import stem_of, suffix_of
from homolog.io.matrices import read_matrix
from homolog.io.stored import COPY_AGAIN
from homolog.space.grid import Grid
from homolog.space.transforms import Affine, Chain, Displacement, Transform, as_numpy, chain

# deeds writes the displacement along j first, then along i, then along k.
STORED_AXES = (1, 0, 2)
ENDING = "_displacements"


def read(
    path: Path,
    like: Grid,
    moving_like: Grid | None = None,
    matrix: Path | str | None = None,
    grid_spacing_vox: int | None = None,
) -> Transform:
    """A `.dat` with the matrix it started from ("none": from nothing), or a matrix alone."""
    moving = moving_like or like
    if suffix_of(path) != ".dat":
        return Affine(_world_map(_voxel_map(path), like, moving))
    start = _starting_map(path, matrix)
    u = _stored_vectors(path, like, grid_spacing_vox)
    nodes = _nodes(like, u.shape[:3])
    lps_from_voxels = like.world_from_voxel[:3, :3] @ np.linalg.inv(start[:3, :3])
    bend = Displacement((u.astype(np.float64) @ lps_from_voxels.T).astype(np.float32), nodes)
    return chain([Affine(_world_map(start, like, moving)), bend], fixed="fixed", moving="moving")


def writers(
    transform: Transform, path: Path, like: Grid, moving_like: Grid | None
) -> dict[Path, Callable[[Path], None]]:
    """What writes the `.dat` and the matrix beside it; only for an affine map after a displacement on deeds' nodes."""
    parts = transform.parts if isinstance(transform, Chain) else (transform,)
    affine = parts[0].matrix if isinstance(parts[0], Affine) else np.eye(4)
    bends = parts[1:] if isinstance(parts[0], Affine) else parts
    start = np.linalg.inv((moving_like or like).world_from_voxel) @ affine @ like.world_from_voxel
    if not bends and suffix_of(path) == ".txt":
        return {path: lambda part: _write_matrix(start, part)}
    nodes = bends[0] if len(bends) == 1 else None
    if suffix_of(path) != ".dat" or not isinstance(nodes, Displacement) or not _are_nodes(nodes.grid, like):
        raise BadInput(
            f"{path}: deeds holds an affine map (.txt), or one after a displacement on its own nodes (.dat); "
            "this map is something else",
            f"{path.with_suffix('.h5')} or {path.with_suffix('.nii.gz')} holds any map",
        )
    voxels_from_lps = start[:3, :3] @ np.linalg.inv(like.world_from_voxel[:3, :3])
    u = (as_numpy(nodes.vectors) @ voxels_from_lps.T).astype("<f4")
    blocks = b"".join(u[..., axis].tobytes(order="F") for axis in STORED_AXES)
    return {
        path: lambda part: _write_bytes(blocks, part),
        _matrix_beside(path): lambda part: _write_matrix(start, part),
    }


def _starting_map(path: Path, matrix: Path | str | None) -> np.ndarray:
    if matrix is not None:
        return np.eye(4) if str(matrix) == "none" else _voxel_map(Path(matrix))
    if _matrix_beside(path).exists():
        raise BadInput(
            f"{path} does not say whether deeds started from {_matrix_beside(path).name}, which lies beside it",
            f"--matrix {_matrix_beside(path)} if it ran with -A, --matrix none if not",
        )
    return np.eye(4)


def _matrix_beside(path: Path) -> Path:
    return path.with_name(stem_of(path).removesuffix(ENDING) + "_matrix.txt")


def _voxel_map(path: Path) -> np.ndarray:
    """moving voxel from fixed voxel; the file holds its transpose, the translation in the last row."""
    stored = read_matrix(path)
    voxel_map = np.eye(4)
    # the last column is 0 0 0 1 but for single precision
    voxel_map[:3, :] = stored.T[:3, :]
    if not np.allclose(stored[:, 3], (0, 0, 0, 1), atol=1e-2):
        raise BadInput(f"{path}: the last column of a deeds matrix is 0 0 0 1, got {stored[:, 3].tolist()}")
    return voxel_map


def _write_matrix(voxel_map: np.ndarray, part: Path) -> None:
    part.write_text("".join("  ".join(repr(number) for number in row) + "\n" for row in voxel_map.T.tolist()))


def _write_bytes(blocks: bytes, part: Path) -> None:
    part.write_bytes(blocks)


def _world_map(voxel_map: np.ndarray, like: Grid, moving: Grid) -> np.ndarray:
    return moving.world_from_voxel @ voxel_map @ like.voxel_from_world


def _stored_vectors(path: Path, like: Grid, grid_spacing_vox: int | None) -> np.ndarray:
    """(I, J, K, 3) float32, moving voxels along i, j, k."""
    shape = _node_shape(path, like, grid_spacing_vox)
    blocks = np.fromfile(path, "<f4").reshape(3, *shape[::-1]).transpose(0, 3, 2, 1)
    return np.stack([blocks[STORED_AXES.index(axis)] for axis in range(3)], axis=-1)


def _node_shape(path: Path, like: Grid, grid_spacing_vox: int | None) -> tuple[int, int, int]:
    """The lattice whose nodes, of three float32 each, fill the file: for a spacing G, (I // G, J // G, K // G).

    There is at most one: as G grows no axis gains a node, so two lattices of the same number are the same lattice.
    """
    spacings = [grid_spacing_vox] if grid_spacing_vox else range(1, min(like.shape) + 1)
    i, j, k = like.shape
    for g in spacings:
        if 12 * (i // g) * (j // g) * (k // g) == path.stat().st_size:
            return i // g, j // g, k // g
    raise GridMismatch(
        f"{path} has {path.stat().st_size} bytes, which is no deeds grid of {like!r}",
        "give deeds' fixed image as --like; if it is, " + COPY_AGAIN,
    )


def _nodes(like: Grid, shape: tuple[int, ...]) -> Grid:
    """Where the nodes lie: no half-voxel shift, node n at voxel n * (size / nodes)."""
    steps = np.diag([*np.array(like.shape) / np.array(shape), 1.0])
    return Grid(shape, like.world_from_voxel @ steps)  # type: ignore[arg-type]


def _are_nodes(grid: Grid, like: Grid) -> bool:
    sizes = (tuple(n // spacing for n in like.shape) for spacing in range(1, min(like.shape) + 1))
    return grid.shape in sizes and grid.same_as(_nodes(like, grid.shape))
